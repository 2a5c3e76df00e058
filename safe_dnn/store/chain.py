"""What people say of an analysis, as entries that are added and never changed or removed.

Each entry says who said what of what, and when. The present state is the latest entry on each subject; the order is
that of the numbers, never that of a clock.
"""

import contextlib
import datetime
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from safe_dnn.support.text import printable

LONGEST_ENGINEER = 80  # characters of a name
_ENGINEER: ContextVar[str] = ContextVar("engineer", default="")  # of the command, request or job at hand


class Entry(NamedTuple):
    """Something that somebody said.

    Attributes
    ----------
    number : int
        From 1.
    time : str
        ISO 8601, UTC; for people.
    author : str
        The window, by a random token without blanks, and behind a blank the engineer's name; each empty if unknown.
    kind : str
        Of the statement, e.g. "verdict on an RCC"; what `value` holds depends on it.
    subject : str
        What it is about, by content: images, a condition.
    run : str
        The run that the author looked at; empty if it is about none.
    value : object
        Of JSON.
    part_of : int or None
        The entry in whose course this one was written.
    """

    number: int
    time: str
    author: str
    kind: str
    subject: str
    run: str
    value: Any
    part_of: int | None

    @property
    def window(self) -> str:
        """The window that it was said in, by its token."""
        return self.author.partition(" ")[0]

    @property
    def engineer(self) -> str:
        """The name of whoever said it."""
        return self.author.partition(" ")[2]


@contextlib.contextmanager
def speaking(engineer: str) -> Iterator[None]:
    """What is said in the block has this engineer's name: one line of up to `LONGEST_ENGINEER` characters."""
    token = _ENGINEER.set(printable(" ".join(engineer.split()))[:LONGEST_ENGINEER])
    try:
        yield
    finally:
        _ENGINEER.reset(token)


def present_engineer() -> str:
    """The name that what is said has now."""
    return _ENGINEER.get()


def append(
    db: sqlite3.Connection, kind: str, subject: str, value: object, *, author: str = "", run: str = "",
    part_of: int | None = None, number: int = 0,
) -> int:  # fmt: skip
    """Add an entry within a transaction (see `store.database.changing`); its number.

    Parameters
    ----------
    subject : str
        Texts that may hold undecodable bytes of file names, which SQLite's cannot, are written as JSON by the caller.
    author : str
        The window; the engineer's name is that of `speaking`.
    number : int, optional
        A number above all that there are; by default the next one.
    """
    if engineer := _ENGINEER.get():
        author = f"{author} {engineer}"
    number = number or next_number(db)
    texts = (_now(), author, kind, subject, run, json.dumps(value))
    db.execute("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (number, *texts, part_of))
    return number


def next_number(db: sqlite3.Connection) -> int:
    """That of the entry that is added next."""
    return int(db.execute("SELECT coalesce(max(number), 0) + 1 FROM entry").fetchone()[0])


def present(db: sqlite3.Connection, kind: str) -> dict[str, Any]:
    """The latest value of each subject of a kind, by subject, in the order in which they were said."""
    return {subject: entry.value for subject, entry in present_entries(db, kind).items()}


def present_entries(db: sqlite3.Connection, kind: str) -> dict[str, Entry]:
    """The latest entry on each subject of a kind, by subject, in order."""
    # Not by a view: it would be a text in the file, and damage to it can change what is chosen.
    latest = entries(db, "number IN (SELECT max(number) FROM entry WHERE kind = ? GROUP BY subject)", kind)
    return {entry.subject: entry for entry in latest}


def entries_of(db: sqlite3.Connection, run: str, kinds: Sequence[str]) -> tuple[Entry, ...]:
    """The entries of some kinds on a run, without those that are part of others, in order."""
    return tuple(entries(db, f"run = ? AND part_of IS NULL AND kind IN {marks(kinds)}", run, *kinds))


def parts_of(db: sqlite3.Connection, run: str, kind: str) -> tuple[Entry, ...]:
    """The entries of a kind on a run that are part of others, in order."""
    return tuple(entries(db, "run = ? AND part_of IS NOT NULL AND kind = ?", run, kind))


def last_entry(db: sqlite3.Connection, *kinds: str) -> Entry | None:
    """The last entry of some kinds."""
    return next(entries(db, f"number = (SELECT max(number) FROM entry WHERE kind IN {marks(kinds)})", *kinds), None)


def marks(values: Sequence[object]) -> str:
    """A question mark for each value, in brackets, for a condition in SQL."""
    return f"({', '.join('?' * len(values))})"


def entries(db: sqlite3.Connection, which: str, *parameters: object) -> Iterator[Entry]:
    """The entries of which a condition in SQL is true, in order; an error at the first that cannot be read.

    All that is read of an entry is read here.
    """
    rows = db.execute(
        f"SELECT number, time, author, kind, subject, run, value, part_of FROM entry WHERE {which} ORDER BY number",
        parameters,
    ).fetchall()  # an error halfway must not leave a statement behind, which would keep the closed database open
    for number, *texts, part_of in rows:
        if not all(isinstance(text, str) for text in texts):
            raise sqlite3.DatabaseError(f"entry {number} cannot be read")
        time, author, kind, subject, run, value = texts
        try:
            entry = Entry(number, time, author, kind, subject, run, json.loads(value), part_of)
        except ValueError as error:
            raise sqlite3.DatabaseError(f"entry {number} cannot be read") from error
        yield entry


def last_number(db: sqlite3.Connection, *kinds: str) -> int:
    """The number of the last entry of some kinds; 0 if there is none."""
    (number,) = db.execute(f"SELECT max(number) FROM entry WHERE kind IN {marks(kinds)}", kinds).fetchone()
    return number or 0


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
