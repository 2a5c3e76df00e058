"""The database of an analysis: all or nothing, one state at a time, and one sentence where something is refused."""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from safe_dnn.store import database
from safe_dnn.store.database import DATABASE_FILE, append, changing, entries_of, reading, speaking
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import check_entries

ROOT = Path(__file__).parents[2]


def texts(folder: Path) -> list[str]:
    """What was said, in order, in numbers without gaps."""
    with reading(folder) as db:
        rows = db.execute("SELECT number, subject FROM entry ORDER BY number").fetchall()
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
    return [subject for _, subject in rows]


def say(folder: Path, *subjects: str) -> None:
    with changing(folder) as db:
        for subject in subjects:
            append(db, "note", subject, {"note": subject})


def process(code: str, *arguments: object) -> subprocess.Popen:
    """Another process that has the functions of this file."""
    begin = (
        "import sys; from pathlib import Path; from tests.store.test_database import *; folder = Path(sys.argv[1])\n"
    )
    return subprocess.Popen([sys.executable, "-c", begin + code, *map(str, arguments)], cwd=ROOT)


@pytest.fixture
def plain(tmp_path):
    """Another connection, with which to do to the file what SAFE does not."""
    say(tmp_path, "first", "second")
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_FILE, isolation_level=None)) as db:
        yield db


# --- Transactions -----------------------------------------------------------------------------------------------


IN_THE_BLOCK = """
with changing(folder) as db:
    for i in range(50):
        append(db, 'note', f'lost {i}', {})
    os.kill(os.getpid(), signal.SIGKILL)
"""
BEFORE_THE_COMMIT = """
database._commit = lambda db: os.kill(os.getpid(), signal.SIGKILL)
say(folder, 'lost')
"""
AFTER_THE_COMMIT = """
with changing(folder) as db:
    append(db, 'note', 'kept', {})
    db.execute('COMMIT')  # and the connection is not closed: the log is what has it
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize(
    ("code", "expected"),
    [(IN_THE_BLOCK, []), (BEFORE_THE_COMMIT, []), (AFTER_THE_COMMIT, ["kept"])],
    ids=["in the block", "before the commit", "after the commit"],
)
def test_a_process_that_is_killed_leaves_all_of_a_transaction_or_nothing(tmp_path, code, expected):
    say(tmp_path, "before")
    assert process(code, tmp_path).wait() == -signal.SIGKILL
    assert texts(tmp_path) == ["before", *expected]
    check_entries(tmp_path)
    say(tmp_path, "after")
    assert texts(tmp_path) == ["before", *expected, "after"]


def test_a_process_that_is_killed_while_it_makes_the_database_leaves_one_that_is_made_anew(tmp_path):
    assert process(BEFORE_THE_COMMIT, tmp_path).wait() == -signal.SIGKILL
    assert (tmp_path / DATABASE_FILE).exists()
    assert texts(tmp_path) == []
    say(tmp_path, "after")
    assert texts(tmp_path) == ["after"]


def test_of_two_processes_that_write_at_once_no_entry_is_lost(tmp_path):
    code = "for i in range(200): say(folder, f'{sys.argv[2]} {i}')"
    writers = [process(code, tmp_path, name) for name in ("ann", "bob")]
    assert [writer.wait() for writer in writers] == [0, 0]
    said = texts(tmp_path)
    assert len(said) == 400
    for name in ("ann", "bob"):
        assert [text for text in said if text.startswith(name)] == [f"{name} {i}" for i in range(200)]
    check_entries(tmp_path)


def test_a_reader_sees_one_state_and_waits_for_nobody(tmp_path):
    say(tmp_path, "first")
    with changing(tmp_path) as writer:
        append(writer, "note", "not yet", {})
        assert texts(tmp_path) == ["first"]
    with reading(tmp_path) as db:
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (2,)
        say(tmp_path, "meanwhile")
        assert db.execute("SELECT count(*) FROM entry").fetchone() == (2,)
    assert len(texts(tmp_path)) == 3


def test_where_nothing_was_said_reading_finds_nothing_and_leaves_no_file(tmp_path):
    assert texts(tmp_path) == []
    check_entries(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_said_has_the_name_of_whoever_speaks(tmp_path):
    with changing(tmp_path) as db, speaking(" Ann\n Lee"):
        append(db, "rcc", "a", {}, author="window", run="one")
        with speaking(""):
            append(db, "rcc", "a", {}, run="one")
    with reading(tmp_path) as db:
        spoken = [(entry.window, entry.engineer) for entry in entries_of(db, "one", ("rcc",))]
    assert spoken == [("window", "Ann Lee"), ("", "")]


# --- What cannot be ---------------------------------------------------------------------------------------------


def refused(folder: Path, why: str, *, read: bool = True) -> None:
    """Neither changed nor (unless it says so) read, and told in a sentence."""
    with pytest.raises(SAFEError, match=why) as told, changing(folder) as db:
        append(db, "note", "lost", {})
    assert "Traceback" not in str(told.value)
    assert str(folder) in str(told.value)
    if read:
        with pytest.raises(SAFEError, match=why):
            texts(folder)


def test_the_database_of_another_program_is_left_alone(tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE_FILE)) as db:
        db.executescript("CREATE TABLE entry (number INTEGER); INSERT INTO entry VALUES (7)")
    before = (tmp_path / DATABASE_FILE).read_bytes()
    refused(
        tmp_path,
        "missing or of this .* Received that of another program. Nothing was changed",
    )
    assert (tmp_path / DATABASE_FILE).read_bytes() == before


def test_what_is_said_while_another_process_writes_for_long_is_refused_and_can_be_said_again(
    tmp_path, plain, monkeypatch
):
    monkeypatch.setattr(database, "PATIENCE", 0.05)
    plain.execute("BEGIN IMMEDIATE")
    refused(tmp_path, "database is locked.*If another SAFE process is writing, try again", read=False)
    assert texts(tmp_path) == ["first", "second"]
    plain.execute("ROLLBACK")
    say(tmp_path, "third")
    assert texts(tmp_path) == ["first", "second", "third"]


def full(monkeypatch) -> None:
    """A disk that has no room for another page."""
    connect = database._connect

    def connected(folder: Path) -> sqlite3.Connection:
        db = connect(folder)
        db.execute("PRAGMA max_page_count = 1")  # as many as there are
        return db

    monkeypatch.setattr(database, "_connect", connected)


def test_on_a_full_disk_nothing_is_lost_and_it_goes_on_once_there_is_room(tmp_path, monkeypatch):
    say(tmp_path, "first")
    with monkeypatch.context() as patch:
        full(patch)
        with pytest.raises(SAFEError, match=r"analysis\.db: database or disk is full\. Nothing was changed"):
            say(tmp_path, "second", "x" * 100_000)
        assert texts(tmp_path) == ["first"]
    check_entries(tmp_path)
    say(tmp_path, "second")
    assert texts(tmp_path) == ["first", "second"]


def test_what_a_killed_process_has_left_in_the_log_is_read_where_nothing_can_be_written(tmp_path, monkeypatch):
    say(tmp_path, "first")
    with changing(tmp_path) as db:
        append(db, "note", "in the log", {})
        db.execute("COMMIT")
        copy = tmp_path / "copy é 100%"
        copy.mkdir()
        for name in (DATABASE_FILE, f"{DATABASE_FILE}-wal"):
            shutil.copyfile(tmp_path / name, copy / name)
        db.execute("BEGIN")
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert texts(copy) == ["first", "in the log"]
