"""The database of an analysis, `analysis.db`: connections, transactions, and the schema with its migrations.

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
from safe_dnn.support.files import date_of, free_name, log_ahead, replacing, state_of_file

DATABASE_FILE = "analysis.db"
"""What people say (see `store/`)."""
COPY_FILE = ".safe-copy.db"
"""A copy of it as of the last run or the last time that the analysis was opened (see `store.runs.keep_copy`)."""
RUNS_FOLDER = "runs"
"""What was computed (see `store/runs.py`)."""

BEFORE_DATABASES = ".safe.json"
"""What versions before 2.0 wrote to a folder, which had no database."""

PATIENCE = 30.0  # seconds that a change waits for another one; a change takes milliseconds
ROOM = 2**20  # bytes on the disk; a disk with less is called full where SQLite does not say what is wrong
APPLICATION = 0x53414645  # "SAFE", in the file's header

# The statements of each version of the schema, in order; `user_version` says how many versions a database has. Never
# changed, only added.
MIGRATIONS = (
    (
        """CREATE TABLE entry (
            number INTEGER PRIMARY KEY,
            time TEXT NOT NULL,
            author TEXT NOT NULL,
            kind TEXT NOT NULL,
            subject TEXT NOT NULL,
            run TEXT NOT NULL,
            value TEXT NOT NULL,
            part_of INTEGER REFERENCES entry (number),
            digest TEXT NOT NULL
        )""",
        "CREATE INDEX entry_by_subject ON entry (kind, subject, number)",
        "CREATE INDEX entry_by_run ON entry (run, kind, number)",
        "CREATE TABLE own_file (name TEXT PRIMARY KEY, digest TEXT NOT NULL, earlier TEXT NOT NULL)",
        "CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry "
        "BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END",
        "CREATE TRIGGER entry_is_never_removed BEFORE DELETE ON entry "
        "BEGIN SELECT RAISE(ABORT, 'entries are never removed'); END",
    ),
)

_RUN = re.compile("[1-9][0-9]*")  # the name of a run's folder

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
    "it is damaged ({error}). Put back a copy of it, or move it away and try again: SAFE puts back the last copy that "
    "it has kept, or begins without names, judgements and labels if nothing was computed"
)


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[sqlite3.Connection]:
    """A transaction: all that is written in the block is kept, or nothing of it if the block raises.

    Processes and threads take turns, for up to `PATIENCE` seconds. Not re-entrant: pass the connection on.

    Raises
    ------
    SAFEError
        The database cannot be written, is damaged, of a newer version, or another process writes for too long.
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
    """A connection to a database of this version."""
    file = folder / DATABASE_FILE
    check_not_lost(folder)
    with _explained(folder), contextlib.closing(connect(folder)) as db:
        db.executescript("PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;")
        if _version_of(db, file) < len(MIGRATIONS):
            _migrate(db, file)
        yield db


def check_not_lost(folder: Path) -> None:
    """Put back the copy of a database that is missing or empty beside runs, whose numbers a new one would give again.

    Raises
    ------
    SAFEError
        It is, or the analysis is of a version without a database; nothing else was changed.
    """
    file, copy = folder / DATABASE_FILE, folder / COPY_FILE
    state = state_of_file(file)
    if state and state[1]:
        return
    if (folder / BEFORE_DATABASES).is_file() and not state:
        raise SAFEError(
            f"Expected an analysis of SAFE 2.0 or later. Received: {folder}, written by an earlier version. Nothing "
            "was changed. Open it once with SAFE 2.8.1, which takes it over, or use another output folder."
        )
    if not any(_RUN.fullmatch(path.parent.name) for path in (folder / RUNS_FOLDER).glob("*/*")):
        return
    lost = f"{file} is {'empty' if state else 'missing'}, though there are results in {RUNS_FOLDER}/ that it describes."
    log = file.with_name(f"{file.name}-wal")
    try:
        of = date_of(copy.stat().st_mtime).astimezone()
        if log.exists():  # of the lost one
            log.rename(free_name(log))
        with replacing(file) as new:
            shutil.copyfile(copy, new)
    except (OSError, SAFEError) as error:
        problem = f"{lost} Nothing was changed. Put back a copy of it, or use another output folder."
        raise SAFEError(problem).about("out") from error
    raise SAFEError(
        f"{lost} SAFE has put back its copy of {of:%Y-%m-%d %H:%M}, without what was said since: try again, or put a "
        "later copy in its place first."
    )


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


def _version_of(db: sqlite3.Connection, file: Path) -> int:
    """How many migrations a database has; a SAFEError if it is not SAFE's, or of a newer version."""
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
    if version < 0:
        raise sqlite3.DatabaseError(f"its version is {version}")
    if version > len(MIGRATIONS):
        raise SAFEError(
            f"{file} was written by a newer version of SAFE: its format is {version}, and this version knows up to "
            f"{len(MIGRATIONS)}. Nothing was changed. Use the newer version, or another output folder."
        )
    return version


def _migrate(db: sqlite3.Connection, file: Path) -> None:
    log_ahead(db, PATIENCE)
    db.execute("BEGIN IMMEDIATE")
    for number in range(_version_of(db, file), len(MIGRATIONS)):  # another process may have done it meanwhile
        for statement in MIGRATIONS[number]:
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number + 1}")
    db.execute(f"PRAGMA application_id = {APPLICATION}")
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
