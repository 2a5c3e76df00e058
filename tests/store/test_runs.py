"""Runs: each put in place as a whole, never changed, and found by what it rests on."""

import sqlite3
from pathlib import Path

import pytest

from safe_dnn.store import database
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER, append, changing
from safe_dnn.store.output_folder import claim
from safe_dnn.store.runs import CLUSTERS, add_run, present_runs, run_file, runs_of
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import check_entries, names_in, runs_as_they_are


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
    with pytest.raises(SAFEError, match=r"a\.txt is damaged: it is not as SAFE wrote it\. Compute the clusters again"):
        run_file(run, "a.txt")
    (run.folder / "a.txt").unlink()
    with pytest.raises(SAFEError, match="cannot be read"):
        run_file(run, "a.txt")


# --- A database that is lost ------------------------------------------------------------------------------------


def say(folder: Path, text: str) -> None:
    with changing(folder) as db:
        append(db, "note", text, {})


def lose(folder: Path, how: str) -> None:
    (folder / DATABASE_FILE).unlink()
    if how == "empty":
        (folder / DATABASE_FILE).touch()  # as after a power cut


@pytest.mark.parametrize("how", ["empty", "missing"])
def test_nothing_is_begun_anew_beside_runs_until_a_lost_database_is_put_back(tmp_path, how):
    found(tmp_path, "one")
    kept, before = (tmp_path / DATABASE_FILE).read_bytes(), runs_as_they_are(tmp_path)
    lose(tmp_path, how)
    for use in (present_runs, lambda out: found(out, "two"), lambda out: say(out, "x"), lambda out: claim(out, {})):
        with pytest.raises(SAFEError, match=rf"is {how}, though.*Nothing was changed. Put back a copy of it, or use"):
            use(tmp_path)
    assert runs_as_they_are(tmp_path) == before
    (tmp_path / DATABASE_FILE).write_bytes(kept)
    assert numbers(present_runs(tmp_path)) == {CLUSTERS: 1}


def test_after_an_older_copy_was_put_back_no_run_takes_the_place_of_a_later_one(tmp_path):
    found(tmp_path, "one")
    older = (tmp_path / DATABASE_FILE).read_bytes()
    for text in ("2", "3"):
        found(tmp_path, text, text)
    say(tmp_path, "lost")
    before = runs_as_they_are(tmp_path)
    (tmp_path / DATABASE_FILE).write_bytes(older)
    assert found(tmp_path, "four", "4").number == 4
    assert before.items() <= runs_as_they_are(tmp_path).items()
    check_entries(tmp_path)
    assert [run.number for run in runs_of(tmp_path, CLUSTERS)] == [1, 4]


def test_a_run_that_cannot_be_entered_leaves_no_folder(tmp_path, monkeypatch):
    found(tmp_path, "one")

    def full(*_: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(database, "_commit", full)
    with pytest.raises(SAFEError):
        add_run(tmp_path, CLUSTERS, {"a.txt": "2"}, clusters="two")
    assert names_in(tmp_path / RUNS_FOLDER) == ["1"]
