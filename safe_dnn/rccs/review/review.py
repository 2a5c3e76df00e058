"""Step 2 of SAFE, the review: the engineer's names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` is not changed by a review. What the engineer says and does are entries of the database (see `store/`),
about images and runs as `rccs/clusters.py` identifies them; the present state follows from them on reading.

A note on a weak spot is about a condition on the images of a test set, not about a run: it is there wherever the
condition is found, after a new run, in another order, or when an earlier run is opened again.

In the paper, the engineer recognizes the root causes by inspecting the RCCs (Attaoui et al., ACM TOSEM 32(3):79, 2023,
section 3.3); it does not say what follows from that. Edits are made in `edits.py`, and their effect is defined in
`journal.py`.
"""

import sqlite3
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters, load_clusters, run_of, run_record, subjects_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import MAKING, Edit, edits_in, labels_after, reviewed
from safe_dnn.rccs.review.notes import (
    AnyNote,
    Kept,
    RccNote,
    Said,
    Scope,
    SpotNote,
    combined,
    says_something,
    tidy_note,
)
from safe_dnn.rccs.spots.weak_spots import WeakSpot, canonical_conditions, conditions_text, load_spots, read_conditions
from safe_dnn.store.chain import Entry, append, present, present_entries
from safe_dnn.store.database import changing, reading
from safe_dnn.store.places import recorded
from safe_dnn.store.runs import COMPARISON, Run, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED

CHANGED = "The clusters have been generated again in another window. Reload the page to see the new ones."


class Review(NamedTuple):
    """RCCs with the engineer's notes and edits.

    Attributes
    ----------
    original : RootCauseClusters
        As the clustering found them.
    clusters : RootCauseClusters
        With the edits applied: the input of all later steps.
    notes : dict of int to RccNote
        By RCC; those that say something.
    edits : tuple of Edit
        The merges, moves and new RCCs, and what was undone and redone of them, oldest first.
    run : str
        As of `rccs.clusters.run_of`.
    subjects : dict of int to str
        What identifies each RCC, and `NOISE` (see `subjects_of`).
    """

    original: RootCauseClusters
    clusters: RootCauseClusters
    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    run: str
    subjects: dict[int, str]

    @property
    def last_number(self) -> int:
        """The number of the last edit; 0 if there is none."""
        return self.edits[-1].number if self.edits else 0


def load_review(folder: Path, *, original: RootCauseClusters | None = None) -> Review:
    """The RCCs in a folder with the engineer's notes and edits.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    original : RootCauseClusters, optional
        The clusters that are reviewed, as they were found: those of an earlier run, or those in the folder if the
        caller has read them since they were last written, since they are most of what there is to read.

    Raises
    ------
    SAFEError
        There are no clusters, or a file is damaged.
    """
    original = original or load_clusters(folder)
    with reading(folder) as db:
        return read_review(db, folder, original)


def read_review(db: sqlite3.Connection, folder: Path, original: RootCauseClusters) -> Review:
    """As `load_review`, within a transaction."""
    run = run_of(original, folder)
    edits = edits_in(db, run, MAKING)
    clusters = reviewed(original, edits, known_reach=edits[-1].reach if edits else None)
    said, subjects = present(db, "rcc"), subjects_of(clusters, run)
    notes = {}
    for rcc, subject in subjects.items():
        if subject in said:
            note = RccNote(*said[subject]["after"])._replace(rcc=rcc)
            if says_something(note):
                notes[rcc] = note
    return Review(original, clusters, dict(sorted(notes.items())), edits, run, subjects)


def all_edits(folder: Path, review: Review) -> tuple[Edit, ...]:
    """Everything that was done in a review, also what was said of RCCs and weak spots, oldest first."""
    with reading(folder) as db:
        return edits_in(db, review.run)


def rcc_by_now(review: Review, rcc: int, *, seen: int) -> int | None:
    """The RCC, or `NOISE`, that has most of the images that one had after an earlier edit.

    Parameters
    ----------
    rcc : int
        It is the answer itself as long as no other one has more of them.
    seen : int
        The number of that edit, 0 for none.

    Returns
    -------
    int or None
        None if it had no images then.
    """
    before = labels_after(review.original, [edit for edit in review.edits if edit.number <= seen])
    rccs, counts = np.unique(review.clusters.labels[before == rcc], return_counts=True)
    most = rccs[counts == counts.max(initial=0)].tolist()
    return rcc if rcc in most else max(most, default=None)


def rccs_marked_safe(folder: Path) -> tuple[int, ...]:
    """The RCCs that have images and the verdict safe."""
    notes = load_review(folder).notes
    return tuple(rcc for rcc, note in notes.items() if rcc != NOISE and note.verdict == "safe")


# --- Notes ------------------------------------------------------------------------------------------------------


def set_note(
    folder: Path, note: AnyNote, *, seen: AnyNote | None = None, by: str = "", run: str = "",
    original: RootCauseClusters | None = None,
) -> Kept[AnyNote]:  # fmt: skip
    """Write the changed fields of the note on an RCC, a weak spot or the whole analysis.

    Parameters
    ----------
    note : RccNote, SpotNote or Scope
        The new note.
    seen : RccNote, SpotNote or Scope, optional
        The note as the author of the change last saw it: fields that are the same in `note` are not changed, and fields
        that someone else has changed in the meantime are conflicts. By default all fields are written.
    by : str
        The window.
    run : str
        The run that the author looks at (see `rccs.clusters.run_of`); of an RCC, it is known.
    original : RootCauseClusters, optional
        Of an RCC, as for `load_review`.

    Raises
    ------
    SAFEError
        The RCC does not exist, the conditions are invalid, or a field is too long, or not one of those that it may be.
    """
    review = None
    if isinstance(note, RccNote):
        original = original or load_clusters(folder)
    elif isinstance(note, SpotNote):
        note = note._replace(conditions=checked_conditions(note.conditions))
    with changing(folder) as db:
        if isinstance(note, RccNote) and original:
            review = read_review(db, folder, original)
            if note.rcc not in review.clusters.groups:
                raise SAFEError(f"There is no RCC {note.rcc} to write a note on. Choose one that is displayed.")
            run = review.run
        kind, subject, theirs = said_now(db, note, review)
        kept, conflicts = combined(tidy_note(seen) if seen else theirs, tidy_note(note), theirs)
        if kept != theirs:
            append(db, kind, subject, {"before": theirs, "after": kept}, author=by, run=run)
    return Kept(kept, conflicts)


def said_now(db: sqlite3.Connection, note: Said, review: Review | None) -> tuple[str, str, Any]:
    """The kind and the subject of the entries on what a note is about, and what is said of it (of an RCC: `review`)."""
    if isinstance(note, RccNote) and review:
        return "rcc", review.subjects[note.rcc], review.notes.get(note.rcc, RccNote(note.rcc))
    if isinstance(note, SpotNote):
        theirs = read_spot_note(db, note)
        return "spot", theirs.subject, theirs
    return "scope", "", read_scope(db)[0]


def load_scope(folder: Path) -> tuple[Scope, Entry | None]:
    """What is said, and the entry that said the last of it (SAFEError if the database is damaged)."""
    with reading(folder) as db:
        return read_scope(db)


def read_scope(db: sqlite3.Connection) -> tuple[Scope, Entry | None]:
    """As `load_scope`, within a transaction."""
    said = present_entries(db, "scope").get("")
    return (Scope(*said.value["after"]) if said else Scope()), said


LONGEST_CONDITIONS = 20_000


def checked_conditions(text: str) -> str:
    """The conditions in order.

    Raises
    ------
    SAFEError
        They are not conditions.
    """
    try:
        if len(text) > LONGEST_CONDITIONS:
            raise ValueError("too long")
        return conditions_text(read_conditions(text))
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


def load_spot_notes(folder: Path) -> dict[tuple[str, str], SpotNote]:
    """All notes on weak spots by what they are about (see `condition_of`), as they were last changed, the latest last.

    A SAFEError if the database is damaged.
    """
    with reading(folder) as db:
        return read_spot_notes(db)


def read_spot_notes(db: sqlite3.Connection) -> dict[tuple[str, str], SpotNote]:
    """As `load_spot_notes`, within a transaction."""
    notes = [SpotNote(*value["after"]) for value in present(db, "spot").values()]
    return {condition_of(note): note for note in notes}


def condition_of(note: SpotNote) -> tuple[str, str]:
    """The conditions, in whatever words, and the test folder that a note is about."""
    return canonical_conditions(note.conditions), note.tested


def notes_of_run(folder: Path, spots: Iterable[WeakSpot] = (), run: Run | None = None) -> dict[str, SpotNote]:
    """The notes on conditions on the test set of a run, by conditions; also on those it has not found.

    Emptied ones are left out (SAFEError as for `load_spot_notes`).

    Parameters
    ----------
    spots : iterable of WeakSpot, optional
        Those of the run: a note on one of them is known by its words.
    run : Run, optional
        As for `folder_tested`.
    """
    tested = folder_tested(folder, run)
    words = {canonical_conditions(spot.conditions): spot.conditions for spot in spots}
    notes = load_spot_notes(folder).items()
    told = {what: note for (what, of), note in notes if of == tested and says_something(note)}
    return {words.get(what, note.conditions): note for what, note in told.items()}


def notes_elsewhere(notes: Mapping[str, SpotNote], conditions: Iterable[str]) -> int:
    """How many notes are on other conditions than these."""
    return len(notes.keys() - set(conditions))


def has_spot_notes(folder: Path, run: Run) -> bool:
    """Whether the engineer has said anything of a weak spot of earlier clusters."""
    comparison = present_runs(folder, run).get(COMPARISON)
    spots = load_spots(comparison) if comparison else ()
    return bool(notes_of_run(folder, spots, run).keys() & {spot.conditions for spot in spots})


def read_spot_note(db: sqlite3.Connection, note: SpotNote) -> SpotNote:
    """What is said of the condition that a note is about."""
    return read_spot_notes(db).get(condition_of(note), SpotNote(*note[:2]))
