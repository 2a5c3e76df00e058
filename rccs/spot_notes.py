"""The engineer's notes on weak spots, and `weak_spot_notes.csv`, which can also be edited in a spreadsheet.

A note is about a condition on the images of a test set, not about a run: it is there wherever the condition is found,
after a new run, in another order, or when an earlier run is opened again. Notes on conditions that are not found any
more stay in the file. Thus a new run does not replace it; the earlier one is archived with a copy. When that is opened
again, notes that only the copy has are added. Of the others the present ones count, even emptied ones, whose rows stay.
"""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from rccs.notes import combined, read_rows, says_something, tidy_note
from rccs.weak_spots import canonical_conditions, load_spots, read_conditions
from support.errors import SAFEError
from support.files import DAMAGED, read_record
from support.output_folder import Writer, save_text, writing
from support.run_folder import RUN_FILE, SPOT_NOTES_FILE
from support.tables import cell
from support.text import printable

COLUMNS = ("conditions", "where", "name", "note", "verdict", "tested")
LONGEST_CONDITIONS = 20_000


class SpotNote(NamedTuple):
    """The engineer's note on a weak spot.

    Attributes
    ----------
    conditions : str
        As of `rccs.weak_spots.canonical_conditions`.
    tested : str
        The folder of the test images: the same words are another condition in another test set.
    name, note, verdict : str
        As of `rccs.notes.RccNote`.
    """

    conditions: str
    tested: str
    name: str = ""
    note: str = ""
    verdict: str = ""


Key = tuple[str, str]  # conditions and test folder
SpotNotes = dict[Key, SpotNote]


class KeptSpotNote(NamedTuple):
    """The result of `set_spot_note`.

    Attributes
    ----------
    note : SpotNote
        After the change.
    conflicts : tuple of str
        As of `rccs.review.Kept`.
    """

    note: SpotNote
    conflicts: tuple[str, ...]


def checked_conditions(text: str) -> str:
    """The conditions in canonical form.

    Raises
    ------
    SAFEError
        They are not conditions.
    """
    try:
        if len(text) > LONGEST_CONDITIONS:
            raise ValueError("too long")
        return canonical_conditions(read_conditions(text))
    except DAMAGED as error:
        raise SAFEError(f"conditions must be those of a row of weak_spots.csv. Received: {text[:80]!r}") from error


def tested_folder(folder: Path) -> str:
    """The folder of the test images that the run in a folder was compared with; empty if it is not known."""
    record = read_record(folder / RUN_FILE).get("predictions", {})
    return printable(str(record.get("tested", ""))).strip() if isinstance(record, dict) else ""


def load_spot_notes(folder: Path) -> SpotNotes:
    """Read `weak_spot_notes.csv`, in its order; empty if there is none.

    Raises
    ------
    SAFEError
        The file cannot be read, or a row is invalid.
    """
    notes: SpotNotes = {}

    def add(row: Mapping[str, str]) -> None:
        key = checked_conditions(row["conditions"]), row["tested"]
        if key in notes:
            raise SAFEError(f"the conditions {_where(key[0])} have two rows")
        notes[key] = tidy_note(SpotNote(*key, row["name"], row["note"], row["verdict"]))

    read_rows(folder / SPOT_NOTES_FILE, COLUMNS, add)
    return notes


def notes_of_run(folder: Path) -> dict[str, SpotNote]:
    """The notes on conditions on the test set of the run in a folder, by conditions; also on those it has not found.

    Emptied ones are left out.

    Raises
    ------
    SAFEError
        As for `load_spot_notes`.
    """
    tested = tested_folder(folder)
    notes = load_spot_notes(folder).values()
    return {note.conditions: note for note in notes if note.tested == tested and says_something(note)}


def notes_elsewhere(notes: Mapping[str, SpotNote], conditions: Iterable[str]) -> int:
    """How many notes are on other conditions than these."""
    return len(notes.keys() - set(conditions))


def has_spot_notes(folder: Path) -> bool:
    """Whether the engineer has said anything of a weak spot of the run in a folder; True if that cannot be read."""
    try:
        return bool(notes_of_run(folder).keys() & {spot.conditions for spot in load_spots(folder)})
    except SAFEError:
        return (folder / SPOT_NOTES_FILE).is_file()


def set_spot_note(folder: Path, note: SpotNote, *, seen: SpotNote | None = None) -> KeptSpotNote:
    """Write the changed fields of the note on one weak spot; all other notes stay.

    Parameters
    ----------
    seen : SpotNote, optional
        As for `rccs.review.set_note`.

    Raises
    ------
    SAFEError
        The file is damaged and left as it is, the conditions are invalid, the verdict is not one of
        `rccs.notes.VERDICTS`, or the name or note is too long.
    """
    with writing(folder):
        notes = load_spot_notes(folder)
        key = checked_conditions(note.conditions), note.tested
        theirs = notes.get(key, SpotNote(*key))
        kept, conflicts = combined(tidy_note(seen) if seen else theirs, tidy_note(note), theirs)
        if kept != theirs:
            save_text(folder, SPOT_NOTES_FILE, spot_notes_text({**notes, key: kept}))
        return KeptSpotNote(kept, conflicts)


def spot_notes_brought_back(folder: Path, source: Path) -> dict[str, Writer]:
    """What the notes are to be when an earlier run is opened again: all that there are, and what only it has.

    Parameters
    ----------
    folder : Path
        The output folder.
    source : Path
        The folder of the earlier run. Its notes are left out where they are damaged.

    Returns
    -------
    dict
        Files for `support.output_folder.save_files`.

    Raises
    ------
    SAFEError
        The notes in the output folder are damaged.
    """
    now = load_spot_notes(folder)
    try:
        then = load_spot_notes(source)
    except SAFEError:
        then = {}
    notes = {**then, **now}
    return {SPOT_NOTES_FILE: spot_notes_text(notes)} if notes else {}


def spot_notes_text(notes: SpotNotes) -> str:
    """The text of `weak_spot_notes.csv`."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for note in notes.values():
        texts = (note.conditions, _where(note.conditions), note.name, note.note, note.verdict, note.tested)
        writer.writerow(map(cell, texts))
    return table.getvalue()


def _where(conditions: str) -> str:
    """Conditions in words."""
    return printable(" and ".join(map(str, read_conditions(conditions))))
