"""The engineer's notes on weak spots.

A note is about a condition on the images of a test set, not about a run: it is there wherever the condition is found,
after a new run, in another order, or when an earlier run is opened again.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path

from rccs.clusters import run_record
from rccs.review.notes import Kept, SpotNote, keep_note, says_something
from rccs.spots.weak_spots import canonical_conditions, load_spots, read_conditions
from store.database import changing, reading
from store.entries import present
from store.places import recorded
from store.runs import COMPARISON, Run, present_runs
from support.errors import SAFEError
from support.files import DAMAGED

LONGEST_CONDITIONS = 20_000

SpotNotes = dict[tuple[str, str], SpotNote]
"""By conditions and test folder."""


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


def folder_tested(folder: Path, run: Run | None = None) -> str:
    """The folder of the test images that a run was compared with, as the analysis records it; empty if not known.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    run : Run, optional
        Earlier clusters; by default the present ones.
    """
    tested = run_record(folder, run).get("predictions", {}).get("tested", "")
    return recorded(tested, folder) if tested else ""


def load_spot_notes(folder: Path) -> SpotNotes:
    """All notes on weak spots, in the order in which they were last changed (SAFEError if the database is damaged)."""
    with reading(folder) as db:
        notes = [SpotNote(*value["after"]) for value in present(db, "spot").values()]
    return {(note.conditions, note.tested): note for note in notes}


def notes_of_run(folder: Path, run: Run | None = None) -> dict[str, SpotNote]:
    """The notes on conditions on the test set of a run, by conditions; also on those it has not found.

    Emptied ones are left out (SAFEError as for `load_spot_notes`).

    Parameters
    ----------
    run : Run, optional
        As for `folder_tested`.
    """
    tested = folder_tested(folder, run)
    notes = load_spot_notes(folder).values()
    return {note.conditions: note for note in notes if note.tested == tested and says_something(note)}


def notes_elsewhere(notes: Mapping[str, SpotNote], conditions: Iterable[str]) -> int:
    """How many notes are on other conditions than these."""
    return len(notes.keys() - set(conditions))


def has_spot_notes(folder: Path, run: Run) -> bool:
    """Whether the engineer has said anything of a weak spot of earlier clusters."""
    noted, comparison = notes_of_run(folder, run), present_runs(folder, run).get(COMPARISON)
    return comparison is not None and any(spot.conditions in noted for spot in load_spots(comparison))


def set_spot_note(
    folder: Path, note: SpotNote, *, seen: SpotNote | None = None, by: str = "", run: str = ""
) -> Kept[SpotNote]:
    """Write the changed fields of the note on one weak spot.

    Parameters
    ----------
    seen, by
        As for `rccs.review.notes.keep_note`.
    run : str
        The run that the author looks at (see `rccs.clusters.run_of`).

    Raises
    ------
    SAFEError
        The conditions are invalid, or as for `rccs.review.notes.keep_note`.
    """
    note = note._replace(conditions=checked_conditions(note.conditions))
    with changing(folder) as db:
        theirs = read_spot_note(db, note)
        return keep_note(db, "spot", note.subject, note, theirs, seen=seen, by=by, run=run)


def read_spot_note(db: sqlite3.Connection, about: SpotNote) -> SpotNote:
    """What is said of the condition that a note is about."""
    said = present(db, "spot").get(about.subject)
    return SpotNote(*said["after"]) if said else SpotNote(about.conditions, about.tested)
