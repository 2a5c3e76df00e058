"""The database of an analysis, `analysis.db`: connections, transactions, and the schema.

SQLite in WAL mode: readers never wait, writers take turns, and a process that is killed leaves all of a transaction or
nothing. A connection lives for one block: an analysis can be moved, copied or deleted between any two of them.
"""

import contextlib
import os
import re
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import log_ahead, state_of_file

DATABASE_FILE = "analysis.db"
"""What people say (see `store/`)."""
RUNS_FOLDER = "runs"
"""What was computed (see `store/runs.py`)."""

PATIENCE = 30.0  # seconds that a change waits for another one; a change takes milliseconds
ROOM = 2**20  # bytes on the disk; a disk with less is called full where SQLite does not say what is wrong
APPLICATION = 0x53414645  # "SAFE", in the file's header

FORMAT = 2
"""Of the schema, as `user_version` has it. A database of another format is refused."""
_SCHEMA = (
    """CREATE TABLE entry (
        number INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        author TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        run TEXT NOT NULL,
        value TEXT NOT NULL,
        part_of INTEGER REFERENCES entry (number)
    )""",
    "CREATE INDEX entry_by_subject ON entry (kind, subject, number)",
    "CREATE INDEX entry_by_run ON entry (run, kind, number)",
    "CREATE TABLE own_file (name TEXT PRIMARY KEY, digest TEXT NOT NULL, earlier TEXT NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)

RUN = re.compile("[1-9][0-9]{0,11}")  # the name of a run's folder, its number

_REASONS = {
    "SQLITE_BUSY": "another SAFE process has been writing for more than {patience:.0f} seconds. Try again",
    "SQLITE_LOCKED": "another SAFE process is writing. Try again",
    "SQLITE_FULL": "the disk is full. Make room",
    "SQLITE_READONLY": "it cannot be written to. Give yourself the permission, or work on a copy",
    "SQLITE_CANTOPEN": "it cannot be opened. Check the permissions of the folder",
    "SQLITE_PERM": "the permission is missing. Check the permissions of the folder",
    "SQLITE_PROTOCOL": "its file system has no locks. Move the analysis to a local disk",
    "SQLITE_NOLFS": "its file system cannot hold it. Move the analysis to a local disk",
    "SQLITE_IOERR": "the disk cannot be read or written ({error}). Check it",
}
_DAMAGED = (
    "it is damaged ({error}). Put back a copy of it, or use another output folder; what was computed is in "
    f"{RUNS_FOLDER}/"
)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[sqlite3.Connection]:
    """A transaction: all that is written in the block is kept, or nothing of it if the block raises.

    Processes and threads take turns, for up to `PATIENCE` seconds. Not re-entrant: pass the connection on.

    Raises
    ------
    SAFEError
        The database cannot be written, is damaged, of another format, or another process writes for too long.
    """
    with _opened(folder, _connect) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
        _commit(db)  # what is not committed is rolled back when the connection is closed


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """A connection that sees one state of the database throughout the block, an empty one if there is none.

    Raises
    ------
    SAFEError
        As for `changing`, but that a folder which cannot be written to is read all the same.
    """
    with _opened(folder, _connect_to_read) as db:
        db.execute("BEGIN")
        yield db


def _commit(db: sqlite3.Connection) -> None:
    db.execute("COMMIT")


@contextlib.contextmanager
def _opened(folder: Path, connect: Callable[[Path], sqlite3.Connection]) -> Iterator[sqlite3.Connection]:
    """A connection to a database of this format."""
    file = folder / DATABASE_FILE
    _check_not_lost(folder)
    with _explained(folder), contextlib.closing(connect(folder)) as db:
        db.executescript("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
        if not _is_made(db, file):
            _make(db, file)
        yield db


def check_database(folder: Path) -> None:
    """Make sure that the database of an analysis can be read, if there is one; a SAFEError as of `reading`."""
    with reading(folder):
        pass


def _check_not_lost(folder: Path) -> None:
    """Refuse a database that is missing or empty beside runs, whose numbers a new one would give again."""
    file = folder / DATABASE_FILE
    state = state_of_file(file)
    if (state and state[1]) or not any(RUN.fullmatch(path.parent.name) for path in (folder / RUNS_FOLDER).glob("*/*")):
        return
    raise SAFEError(
        f"{file} is {'empty' if state else 'missing'}, though there are results in {RUNS_FOLDER}/ that it describes. "
        "Nothing was changed. Put back a copy of it, or use another output folder."
    ).about("out")


def _connect(folder: Path) -> sqlite3.Connection:
    if not folder.is_dir():
        raise SAFEError(f"Expected the folder of an analysis. Received: {folder}, which does not exist.")
    return sqlite3.connect(folder / DATABASE_FILE, timeout=PATIENCE, isolation_level=None)


def _connect_to_read(folder: Path) -> sqlite3.Connection:
    file = folder / DATABASE_FILE
    if not file.is_file():
        return sqlite3.connect(":memory:", isolation_level=None)
    if os.access(folder, os.W_OK) and os.access(file, os.W_OK):
        return _connect(folder)
    # Of a read-only file SQLite cannot make the index of the log; without a log there is nothing to index.
    logged = file.with_name(f"{file.name}-wal").exists()
    place = f"file:{quote(os.fspath(file))}?mode=ro{'' if logged else '&immutable=1'}"
    return sqlite3.connect(place, uri=True, timeout=PATIENCE, isolation_level=None)


def _is_made(db: sqlite3.Connection, file: Path) -> bool:
    """Whether a database has the schema; a SAFEError if it is not SAFE's, or of another format."""
    # In one statement, since another process may be making the database.
    version, application, tables = db.execute(
        "SELECT user_version, application_id, (SELECT count(*) FROM sqlite_master) "
        "FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if application != APPLICATION and tables:
        raise SAFEError(
            f"Expected {file} to be missing or written by SAFE. Received another program's database; it is left "
            "unchanged. Use another output folder."
        )
    if version not in (0, FORMAT):
        raise SAFEError(
            f"{file} was written by another version of SAFE: its format is {version}, and this version reads {FORMAT}. "
            "Nothing was changed. Use that version, or another output folder."
        ).about("out")
    return bool(version)


def _make(db: sqlite3.Connection, file: Path) -> None:
    log_ahead(db, PATIENCE)
    db.execute("BEGIN IMMEDIATE")
    if not _is_made(db, file):  # another process may have made it meanwhile
        for statement in _SCHEMA:
            db.execute(statement)
    _commit(db)


@contextlib.contextmanager
def _explained(folder: Path) -> Iterator[None]:
    """Say in a sentence what SQLite refuses; what is a mistake of the program's stays as it is."""
    try:
        yield
    except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except (sqlite3.Error, UnicodeDecodeError) as error:  # the latter where its own message is damaged
        name = getattr(error, "sqlite_errorname", "SQLITE_CORRUPT")
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and shutil.disk_usage(folder).free < ROOM:
            name = "SQLITE_FULL"  # what SQLite needs beside the database has no room
        known = next((reason for start, reason in _REASONS.items() if name.startswith(start)), _DAMAGED)
        reason = known.format(error=error, patience=PATIENCE)
        raise SAFEError(f"Could not use {folder / DATABASE_FILE}: {reason}. Nothing was changed.") from error
