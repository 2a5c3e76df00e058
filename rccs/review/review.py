"""Step 2 of SAFE, the review: the engineer's names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` is not changed by a review. What the engineer says and does are entries of the database (see `store/`),
about images and runs as `subjects.py` identifies them; the present state follows from them on reading.

In the paper, the engineer recognizes the root causes by inspecting the RCCs (Attaoui et al., ACM TOSEM 32(3):79, 2023,
section 3.3); it does not say what follows from that. Edits are made in `edits.py`, and their effect is defined in
`edited.py`.
"""

import sqlite3
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rccs.clusters import RootCauseClusters, load_clusters, rccs_of, run_of
from rccs.review.edited import labels_after, reviewed
from rccs.review.journal import MAKING, Edit, edits_in
from rccs.review.notes import Kept, RccNote, keep_note, says_something
from rccs.review.subjects import subjects_of
from store.database import changing, reading
from store.entries import present
from support.errors import SAFEError

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
        What identifies each RCC, and `NOISE` (see `subjects.py`).
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
    review = load_review(folder)
    return tuple(
        rcc for rcc in sorted(rccs_of(review.clusters)) if rcc in review.notes and review.notes[rcc].verdict == "safe"
    )


# --- Notes ------------------------------------------------------------------------------------------------------


def set_note(
    folder: Path, note: RccNote, *, seen: RccNote | None = None, by: str = "", original: RootCauseClusters | None = None
) -> Kept[RccNote]:
    """Write the changed fields of the note on one RCC.

    Parameters
    ----------
    note : RccNote
        The new note.
    seen, by
        As for `rccs.review.notes.keep_note`.
    original : RootCauseClusters, optional
        As for `load_review`.

    Raises
    ------
    SAFEError
        The RCC does not exist, or as for `rccs.review.notes.keep_note`.
    """
    original = original or load_clusters(folder)
    with changing(folder) as db:
        review = read_review(db, folder, original)
        if note.rcc not in review.clusters.groups:
            raise SAFEError(f"There is no RCC {note.rcc} to write a note on. Choose one that is displayed.")
        theirs, subject = review.notes.get(note.rcc, RccNote(note.rcc)), review.subjects[note.rcc]
        return keep_note(db, "rcc", subject, note, theirs, seen=seen, by=by, run=review.run)
