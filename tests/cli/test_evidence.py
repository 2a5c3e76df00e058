"""Evidence through the command line: written and verified."""

import subprocess

from safe_dnn.report.evidence import SUMS_FILE
from safe_dnn.SAFE_Tool import main
from safe_dnn.store.runs import HEATMAP, add_run


def run(*arguments: object) -> int:
    return main([str(argument) for argument in arguments])


def test_evidence_is_written_and_verified_until_something_changes(attested, tmp_path, capsys):
    (attested / SUMS_FILE).unlink()
    assert run("verify", "--out", attested) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "without evidence" in error

    add_run(attested, HEATMAP, {"heatmap.npz": "as computed"})
    assert run("evidence", "--out", attested) == 0
    printed = capsys.readouterr()
    assert "failing: 26 files in ../failing\n" in printed.out
    assert "Reading files: " in printed.err
    assert run("verify", "--out", attested) == 0
    assert capsys.readouterr().out.startswith("All is as the evidence says")
    assert subprocess.run(("sha256sum", "-c", "--quiet", SUMS_FILE), cwd=attested, check=False).returncode == 0

    (attested / "labels.txt").write_text("other")
    (tmp_path / "failing" / "night_00.png").unlink()
    assert run("verify", "--out", attested) == 2
    printed = capsys.readouterr()
    assert printed.out.splitlines() == ["changed: labels.txt", "missing: ../failing/night_00.png"]
    assert "Received 2 differences" in printed.err.splitlines()[-1]
