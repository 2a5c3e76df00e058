"""Evidence through the command line: written and verified."""

from safe_dnn.pipeline.reporting.evidence.statement import EVIDENCE_FILE
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.runs import HEATMAP, add_run


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_evidence_is_written_and_verified_until_something_changes(attested, tmp_path, capsys):
    (attested / EVIDENCE_FILE).unlink()
    assert run("verify", "--out", attested) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "without evidence" in error

    add_run(attested, HEATMAP, {"heatmap.npz": "as computed"})
    assert run("evidence", "--out", attested) == 0
    printed = capsys.readouterr()
    assert "Images: failing 26, unsafe 3, improvement 3, training 2, test 2\n" in printed.out
    assert "Reading images, failing: 26 / 26" in printed.err
    assert run("verify", "--images", "--out", attested) == 0
    assert capsys.readouterr().out.startswith("All is as the evidence says")

    (attested / "labels.txt").write_text("other")
    (tmp_path / "failing" / "night_00.png").unlink()
    assert run("verify", "--images", "--out", attested) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "changed: labels.txt. Put it back from a copy; if the change is meant, write the evidence again.",
        "missing: failing/night_00.png (of evidence/failing.sha256). Put it back from a copy; if it is meant to be "
        "gone, write the evidence again.",
    ]
    assert "Received 2 differences" in printed.err.splitlines()[-1]
