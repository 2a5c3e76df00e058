"""The engineer's notes on RCCs, and `rcc_notes.csv`, which can also be edited in a spreadsheet. Step 2.

What a name, a note and a verdict may be is the same for weak spots (see `spot_notes.py`).
"""

import csv
import io
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, Self, TypeVar

from dbscan.outcome import NOISE
from support.errors import SAFEError
from support.tables import cell, from_cell
from support.text import printable

FIELDS = ("name", "note", "verdict")
COLUMNS = ("rcc", "name", "note", "verdict")
VERDICTS = ("", "safe", "unsafe", "unclear")
LONGEST_NAME = 80
LONGEST_NOTE = 20_000
# From the least to the most serious: merged RCCs get the more serious verdict of the two, so that no hazard is lost.
_GRAVITY = ("safe", "", "unclear", "unsafe")


class Noted(Protocol):
    """What the engineer says of something, whatever it is about: a record with the fields of `RccNote`."""

    @property
    def name(self) -> str: ...
    @property
    def note(self) -> str: ...
    @property
    def verdict(self) -> str: ...
    def _replace(self, *, name: str = ..., note: str = ..., verdict: str = ...) -> Self: ...


_Note = TypeVar("_Note", bound=Noted)


class RccNote(NamedTuple):
    """The engineer's note on an RCC.

    Attributes
    ----------
    rcc : int
        `NOISE` for the images in no cluster.
    name : str
        One line, for example "sunglasses at night".
    note : str
        Any text, for example "hazard H3".
    verdict : "", "safe", "unsafe" or "unclear"
        Whether failures of this root cause are a hazard; empty if not judged yet.
    """

    rcc: int
    name: str = ""
    note: str = ""
    verdict: str = ""


def title(rcc: int, notes: Mapping[int, RccNote] | None = None) -> str:
    """For example `RCC 3 · sunglasses at night`, `RCC 3`, `No cluster`; plain text."""
    name = notes[rcc].name if notes and rcc in notes else ""
    return ("No cluster" if rcc == NOISE else f"RCC {rcc}") + (f" · {name}" if name else "")


def combined(seen: _Note, mine: _Note, theirs: _Note) -> tuple[_Note, tuple[str, ...]]:
    """Combine two changes of the same note field by field.

    Returns
    -------
    note : RccNote, or another record of a note
    conflicts : tuple of str
        Fields that both have changed, differently; `theirs` is kept.
    """
    conflicts = []
    fields = {}
    for name in FIELDS:
        before, here, there = (getattr(note, name) for note in (seen, mine, theirs))
        fields[name] = there if here == before else here
        if here not in (before, there) and there != before:
            fields[name] = there
            conflicts.append(name)
    return theirs._replace(**fields), tuple(conflicts)


def merged_note(source: RccNote, target: RccNote) -> RccNote:
    """The note on an RCC after another RCC was merged into it; nothing of either note is lost.

    The more serious verdict is kept; an RCC that is not judged yet does not become safe. The name is the target's or,
    if it has none, the source's. The text has both texts, and the names and verdicts that were not kept.
    """
    name = target.name or source.name
    verdict = max(source.verdict, target.verdict, key=_GRAVITY.index)
    lines = [target.note, source.note]
    for note in (source, target):
        was = f"“{note.name}”" if note.name and note.name != name else ""
        was += f"{' and ' if was else ''}judged {note.verdict}" if note.verdict and note.verdict != verdict else ""
        lines.append(f"{title(note.rcc)} was {was}." if was else "")
    text = ""
    for line in lines:
        text += "" if line in text else f"{text and chr(10)}{line}"
    return RccNote(target.rcc, name, text, verdict)


def differ(source: RccNote, target: RccNote) -> bool:
    """Whether merging two RCCs would change the target's note."""
    return merged_note(source, target) != target


def notes_text(notes: Sequence[RccNote]) -> str:
    """The text of `rcc_notes.csv`."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(note._replace(name=cell(note.name), note=cell(note.note)) for note in notes)
    return table.getvalue()


def read_notes(path: Path) -> dict[int, RccNote]:
    """Read `rcc_notes.csv`; empty if there is none.

    Raises
    ------
    SAFEError
        The file cannot be read, or a row is invalid.
    """
    notes: dict[int, RccNote] = {}

    def add(row: Mapping[str, str]) -> None:
        note = _note_of(row)
        if note.rcc in notes:
            raise SAFEError(f"{title(note.rcc)} has two rows")
        notes[note.rcc] = note

    read_rows(path, COLUMNS, add)
    return notes


def read_rows(path: Path, columns: Sequence[str], add: Callable[[Mapping[str, str]], object]) -> None:
    """Read a table of notes, row by row; nothing if there is none.

    Spreadsheets may have saved it with semicolons or tabs, or in the code page cp1252.

    Parameters
    ----------
    columns : sequence of str
        The first one must be there; what is missing of the others is empty.
    add : callable
        Takes each row, as texts by column; its SAFEError says what is wrong with the row.

    Raises
    ------
    SAFEError
        The file cannot be read, or a row is invalid.
    """
    if not path.is_file():
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SAFEError(f"Could not read {path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if columns[0] not in reader.fieldnames:
            raise SAFEError(f"{path} must begin with the column names {','.join(columns)}. Add this line.")
        for row in reader:
            add({name: from_cell(str(row.get(name) or "").strip()) for name in columns})
    except (SAFEError, csv.Error) as error:
        if str(error).startswith(str(path)):
            raise
        raise SAFEError(f"{path}, line {reader.reader.line_num}: {error}. Correct the line, or remove it.") from error


def _note_of(row: Mapping[str, str]) -> RccNote:
    number = re.fullmatch(r"(?:rcc)?\s*(-?\d{1,9})(?:\.0)?", row["rcc"], re.IGNORECASE)
    if number is None or int(number[1]) < NOISE:
        raise SAFEError(f"rcc must be a whole number, -1 or more. Received: {row['rcc']!r}")
    return tidy_note(RccNote(int(number[1]), row["name"], row["note"], row["verdict"]))


def says_something(note: Noted) -> bool:
    """Whether any field of a note is filled in."""
    return bool(note.name or note.note or note.verdict)


def tidy_note(note: _Note) -> _Note:
    """A note in the form in which it is saved; a SAFEError if it is invalid."""
    name = printable(" ".join(note.name.split()))
    text = printable(note.note.replace("\r\n", "\n").replace("\r", "\n").strip())
    verdict = note.verdict.strip().lower()
    if verdict not in VERDICTS:
        raise SAFEError(f"verdict must be safe, unsafe, unclear or empty. Received: {note.verdict!r}")
    for what, value, longest in (("name", name, LONGEST_NAME), ("note", text, LONGEST_NOTE)):
        if len(value) > longest:
            raise SAFEError(f"A {what} may have {longest:,} characters. Received: {len(value):,}")
    return note._replace(name=name, note=text, verdict=verdict)
