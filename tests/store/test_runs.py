"""Runs: each put in place as a whole, never changed, and found by what it rests on."""

from pathlib import Path

import pytest

from store.places import recorded
from store.runs import CLUSTERS, RUNS_FOLDER, add_run, present_runs, run_file, runs_of
from support.errors import SAFEError


def found(out, clusters, text="1"):
    """Clusters with an identity."""
    return add_run(out, CLUSTERS, {"a.txt": text}, clusters=clusters)


def numbers(runs):
    return {kind: run.number for kind, run in runs.items()}


def test_a_run_has_its_files_its_facts_and_the_number_of_its_entry(tmp_path):
    files = {"a.txt": "caf\udce9\n", "b.bin": lambda path: path.write_bytes(b"\0\1")}
    run = add_run(tmp_path, CLUSTERS, files, clusters="abc .", facts={"settings": "s"})
    assert run.folder == tmp_path / RUNS_FOLDER / str(run.number)
    assert (run.folder / "a.txt").read_bytes() == b"caf\xe9\n"
    assert (run.folder / "b.bin").read_bytes() == b"\0\1"
    assert run[:2] == (1, CLUSTERS)
    assert run[3:5] == ("abc .", {"settings": "s"})
    assert run.time.endswith("+00:00")
    assert present_runs(tmp_path) == {CLUSTERS: run}
    assert runs_of(tmp_path, CLUSTERS) == (run,)


def test_a_file_that_was_changed_or_removed_is_not_read(tmp_path):
    run = found(tmp_path, "one")
    assert run_file(run, "a.txt").read_text() == "1"
    (run.folder / "a.txt").chmod(0o644)
    (run.folder / "a.txt").write_text("2")
    with pytest.raises(SAFEError, match=r"a\.txt is damaged: it is not as SAFE wrote it\. Generate the clusters again"):
        run_file(run, "a.txt")
    (run.folder / "a.txt").unlink()
    with pytest.raises(SAFEError, match="cannot be read"):
        run_file(run, "a.txt")


# --- Paths as an analysis records them --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/data/analyses/one", "."),
        ("/data/analyses/one/images", "images"),
        ("/data/analyses/one/images/../images/", "images"),
        ("/data/analyses/images", "../images"),  # beside it
        ("/data/analyses/one more", "../one more"),
        ("/data/analyses", "/data/analyses"),
        ("/data/images", "/data/images"),
        ("/elsewhere", "/elsewhere"),
        ("/elsewhere/caf\udce9", "/elsewhere/caf\\xe9"),
    ],
)
def test_what_is_in_or_beside_an_analysis_is_recorded_as_seen_from_it(path, text):
    assert recorded(path, Path("/data/analyses/one")) == text
    text.encode()
