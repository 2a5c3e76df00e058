"""The database of an analysis, `analysis.db`: connections, transactions, the schema, and the entries.

An entry is what somebody entered, with the author, the subject and the time. Entries are added and never changed or
removed. The present state is the latest entry on each subject; the order is that of the numbers, never that of a clock.

SQLite in WAL mode: readers never wait, writers take turns, and a process that is killed leaves all of a transaction or
nothing. A connection lives for one block: an analysis can be moved, copied or deleted between any two of them.
"""

import contextlib
import datetime
import json
import os
import re
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from safe_dnn.store.format_3 import BEFORE, rewrite
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import log_ahead, state_of_file
from safe_dnn.support.progress import holding
from safe_dnn.support.text import printable
from safe_dnn.support.version import VERSION

DATABASE_FILE = "analysis.db"
"""What people enter (see `store/`)."""
RUNS_FOLDER = "runs"
"""What was computed (see `store/runs.py`)."""

PATIENCE = 30.0  # seconds that a change waits for another one; a change takes milliseconds
APPLICATION = 0x53414645  # "SAFE", in the file's header

FORMAT = 4
"""Of the schema, as `user_version` has it. A database of the format before is read by a copy, and rewritten with the
first change; one of any other format is refused."""
_SCHEMA = (
    """CREATE TABLE entry (
        number INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        window TEXT NOT NULL,
        engineer TEXT NOT NULL,
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        run TEXT NOT NULL,
        value TEXT NOT NULL,
        part_of INTEGER REFERENCES entry (number),
        version TEXT NOT NULL
    )""",
    "CREATE INDEX entry_by_subject ON entry (kind, subject, number)",
    "CREATE INDEX entry_by_run ON entry (run, kind, number)",
    "CREATE TABLE own_file (name TEXT PRIMARY KEY, digest TEXT NOT NULL, earlier TEXT NOT NULL)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)

RUN = re.compile("[1-9][0-9]{0,11}")  # the name of a run's folder, its number

_ADVICE = (
    "If another SAFE process is writing, try again; otherwise check the disk, its room and the permissions. If the "
    f"file is damaged, put back a copy, or use another output folder; what was computed is in {RUNS_FOLDER}/"
)

LONGEST_ENGINEER = 80  # characters of a name
_ENGINEER: ContextVar[str] = ContextVar("engineer", default="")  # of the current command, request or job


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
        if _format_of(db, folder / DATABASE_FILE) == BEFORE:
            rewrite(db)
            db.execute(f"PRAGMA user_version = {FORMAT}")
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
    with _opened(folder, _connect_to_read) as db, contextlib.closing(sqlite3.connect(":memory:")) as copy:
        if _format_of(db, folder / DATABASE_FILE) == BEFORE:  # whoever reads changes nothing
            db.backup(copy)
            copy.isolation_level = None
            rewrite(copy)
            db = copy
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
        if not _format_of(db, file):
            _make(db, file)
        yield db


def check_database(folder: Path) -> None:
    """Make sure that the database of an analysis can be read, if there is one; errors are those of `reading`."""
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


def _format_of(db: sqlite3.Connection, file: Path) -> int:
    """The format of a database, 0 of an empty one; a SAFEError if it is not SAFE's, or of an unknown format."""
    # In one statement, since another process may be making the database.
    version, application, tables = db.execute(
        "SELECT user_version, application_id, (SELECT count() FROM sqlite_master) "
        "FROM pragma_user_version, pragma_application_id"
    ).fetchone()
    if (application == APPLICATION and version in (BEFORE, FORMAT)) or not (tables or version):
        return int(version)
    other = f"another version, format {version}" if application == APPLICATION else "another program"
    raise SAFEError(
        f"Expected {file} to be missing or of this version of SAFE, format {FORMAT}. Received that of {other}. "
        "Nothing was changed. Use another output folder."
    ).about("out")


def _make(db: sqlite3.Connection, file: Path) -> None:
    log_ahead(db, PATIENCE)
    db.execute("BEGIN IMMEDIATE")
    if not _format_of(db, file):  # another process may have made it meanwhile
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
        raise SAFEError(f"Could not use {folder / DATABASE_FILE}: {error}. Nothing was changed. {_ADVICE}.") from error


# --- Entries ----------------------------------------------------------------------------------------------------------


class Entry(NamedTuple):
    """Something that somebody entered.

    Attributes
    ----------
    number : int
        From 1.
    time : str
        ISO 8601, UTC; for people.
    window : str
        The window of the page, by a random token; empty if unknown.
    engineer : str
        The author's name; empty if unknown.
    kind : str
        For example "verdict on an RCC"; the content of `value` depends on it.
    subject : str
        What it is about, by content: images, a condition.
    run : str
        The run that the author saw; empty if it is about no run.
    value : object
        Of JSON.
    part_of : int or None
        The entry in whose course this one was written.
    version : str
        Of SAFE, which wrote it; empty if that was before versions were recorded.
    """

    number: int
    time: str
    window: str
    engineer: str
    kind: str
    subject: str
    run: str
    value: Any
    part_of: int | None
    version: str


class _Value(dict):
    """The value of an entry, or a part of it. What it lacks was lost with the file."""

    def __missing__(self, name: str) -> None:
        raise sqlite3.DatabaseError(f"an entry lacks {name}")


def speaking(engineer: str) -> contextlib.AbstractContextManager[None]:
    """Entries added in the block have this engineer's name: one line of up to `LONGEST_ENGINEER` characters."""
    return holding(_ENGINEER, printable(" ".join(engineer.split()))[:LONGEST_ENGINEER])


def present_engineer() -> str:
    """The engineer's name in entries that are added now."""
    return _ENGINEER.get()


def append(
    db: sqlite3.Connection, kind: str, subject: str, value: object, *, author: str = "", run: str = "",
    part_of: int | None = None, number: int = 0,
) -> int:  # fmt: skip
    """Add an entry within a transaction (see `changing`); returns its number.

    Parameters
    ----------
    subject : str
        Texts that may hold undecodable bytes of file names, which SQLite's cannot, are written as JSON by the caller.
    author : str
        The window; the engineer's name is that of `speaking`.
    number : int, optional
        The smallest number allowed; by default the next one.
    """
    (last,) = db.execute("SELECT coalesce(max(number), 0) FROM entry").fetchone()
    number = max(number, last + 1)
    texts = (_now(), author, _ENGINEER.get(), kind, subject, run, json.dumps(value))
    db.execute(f"INSERT INTO entry VALUES {marks(Entry._fields)}", (number, *texts, part_of, VERSION))
    return number


def present(db: sqlite3.Connection, kind: str) -> dict[str, Any]:
    """The latest value of each subject of a kind, by subject, in the order of their entries."""
    return {subject: entry.value for subject, entry in present_entries(db, kind).items()}


def present_entries(db: sqlite3.Connection, kind: str) -> dict[str, Entry]:
    """The latest entry on each subject of a kind, by subject, in order."""
    # Not by a view: it would be a text in the file, and damage to it can change what is chosen.
    latest = entries(db, "number IN (SELECT max(number) FROM entry WHERE kind = ? GROUP BY subject)", kind)
    return {entry.subject: entry for entry in latest}


def entries_of(db: sqlite3.Connection, run: str, kinds: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of some kinds on a run, in order, with those that are part of others."""
    return tuple(entries(db, f"run = ? AND kind IN {marks(kinds)}", run, *kinds))


def last_entry(db: sqlite3.Connection, *kinds: str) -> Entry | None:
    """The last entry of some kinds."""
    return next(entries(db, f"number = (SELECT max(number) FROM entry WHERE kind IN {marks(kinds)})", *kinds), None)


def marks(values: Sequence[object]) -> str:
    """A question mark for each value, in brackets, for a condition in SQL."""
    return f"({', '.join('?' * len(values))})"


def entries(db: sqlite3.Connection, which: str, *parameters: object) -> Iterator[Entry]:
    """The entries for which a condition in SQL is true, in order; an error at the first that cannot be read.

    Entries are read only here.
    """
    rows = db.execute(
        f"SELECT {', '.join(Entry._fields)} FROM entry WHERE {which} ORDER BY number", parameters
    ).fetchall()  # an error halfway must not leave a statement behind, which would keep the closed database open
    for number, *texts, part_of, version in rows:
        if not all(isinstance(text, str) for text in texts):
            raise sqlite3.DatabaseError(f"entry {number} cannot be read")
        *known, value = texts
        try:
            entry = Entry._make((number, *known, json.loads(value, object_hook=_Value), part_of, version))
        except ValueError as error:
            raise sqlite3.DatabaseError(f"entry {number} cannot be read") from error
        yield entry


def last_number(db: sqlite3.Connection, *kinds: str) -> int:
    """The number of the last entry of some kinds; 0 if there is none."""
    (number,) = db.execute(f"SELECT max(number) FROM entry WHERE kind IN {marks(kinds)}", kinds).fetchone()
    return number or 0


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
