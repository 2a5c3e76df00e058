"""Step 2 of SAFE, the review: the engineer's names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` is not changed by a review. What the engineer says and does are entries of the database (see `store/`),
about images and runs as `rccs/clusters.py` identifies them; the present state follows from them on reading.

A note on a weak spot is about a condition on the images of a test set, not about a run: it is there wherever the
condition is found, after a new run, in another order, or when an earlier run is opened again.

An edit (a merge, a move, a new RCC) is an entry as well; it copies the notes on the RCCs that it changes to their new
images. Undo brings the images back to the RCCs where they were, and restores the notes on these.

In the paper, the engineer recognizes the root causes by inspecting the RCCs (Attaoui et al., ACM TOSEM 32(3):79, 2023,
section 3.3); it does not say what follows from that. The effect of edits is defined in `journal.py`.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.rccs.clusters import (
    LABELS_FILE,
    RootCauseClusters,
    fingerprint,
    labels_text,
    load_clusters,
    run_of,
    run_record,
    subjects_of,
)
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import (
    MAKING,
    NOBODY,
    SAFE,
    AnyNote,
    Edit,
    Maker,
    Note,
    Scope,
    add_edit,
    change_of,
    check_up_to_date,
    combined,
    edits_in,
    fields_of,
    merged_note,
    note_of,
    reviewed,
    standing,
    tidy_note,
    title,
)
from safe_dnn.rccs.spots.weak_spots import WeakSpot, canonical_conditions, conditions_text, read_conditions
from safe_dnn.store.database import Entry, append, changing, present, present_entries, reading
from safe_dnn.store.output_folder import save_files, writing
from safe_dnn.store.places import recorded, test_set_of
from safe_dnn.store.runs import Run
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
    notes : dict of int to Note
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
    notes: dict[int, Note]
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
    clusters = reviewed(original, edits)
    noted, subjects = present_entries(db, "rcc"), subjects_of(clusters, run)
    notes = {}
    for rcc, subject in subjects.items():
        if subject in noted:
            note = note_of(noted[subject])._replace(about=rcc)
            if any(note[1:]):
                notes[rcc] = note
    return Review(original, clusters, dict(sorted(notes.items())), edits, run, subjects)


def all_edits(folder: Path, review: Review | None) -> tuple[Edit, ...]:
    """All edits of a review, notes on RCCs and weak spots included, oldest first; without clusters, those notes."""
    with reading(folder) as db:
        return edits_in(db, review.run if review else "")


def rccs_marked_safe(folder: Path) -> tuple[int, ...]:
    """The RCCs that have images and the verdict safe."""
    notes = load_review(folder).notes
    return tuple(rcc for rcc, note in notes.items() if rcc != NOISE and note.verdict == SAFE)


# --- Notes ------------------------------------------------------------------------------------------------------


def set_note(
    folder: Path, note: AnyNote, *, maker: Maker = NOBODY, run: str = "",
    original: RootCauseClusters | None = None, twin: int | None = None,
) -> AnyNote:  # fmt: skip
    """Write a note on an RCC, a weak spot or the whole analysis; returns it as saved.

    Parameters
    ----------
    note : Note or Scope
    maker : Maker
        Whose change it is.
    run : str
        The run that the author sees (see `rccs.clusters.run_of`); for an RCC, it is known.
    original : RootCauseClusters, optional
        For an RCC, as in `load_review`.
    twin : int, optional
        For a weak spot, the RCC that is about the same images: its note is changed as well, as part of the same entry
        (see `both`).

    Raises
    ------
    SAFEError
        The RCC does not exist, the conditions are invalid, a field is too long, or not one of those that it may be, or
        something was changed elsewhere.
    """
    review = None
    if isinstance(note, Note) and note.rcc is None:
        conditions, tested = note.about
        note = note._replace(about=(checked_conditions(conditions), tested))
    on_rcc = isinstance(note, Note) and (note.rcc is not None or twin is not None)
    original = (original or load_clusters(folder)) if on_rcc else None
    note = tidy_note(note)
    with changing(folder) as db:
        check_up_to_date(db, maker)
        if original and isinstance(note, Note):
            review, rcc = read_review(db, folder, original), note.about if twin is None else twin
            if rcc not in review.subjects:
                raise SAFEError(f"There is no RCC {rcc} to write a note on. Choose one that is displayed.")
            run = review.run
        kind, subject, alone = current_note(db, note, review)
        on_twin = Note(0) if review is None or twin is None else review.notes.get(twin, Note(twin))
        now = alone if twin is None else both(alone, on_twin)
        changed: dict[str, Any] = {field: getattr(note, field) for field in fields_of(note)}
        changed = {field: text for field, text in changed.items() if text != getattr(now, field)}
        if changed:
            value = change_of(alone, alone._replace(**changed))
            number = append(db, kind, subject, value, author=maker.by, run=run)
            if review and twin is not None:
                value = change_of(on_twin, on_twin._replace(**changed))
                append(db, "rcc", review.subjects[twin], value, author=maker.by, run=run, part_of=number)
    return note


def both(on_spot: AnyNote, on_rcc: AnyNote) -> AnyNote:
    """The note on a weak spot; for each empty field, that on an RCC that is about the same images."""
    filled: dict[str, Any] = {field: getattr(on_spot, field) or getattr(on_rcc, field) for field in fields_of(on_spot)}
    return on_spot._replace(**filled)


def current_note(db: sqlite3.Connection, note: Note | Scope, review: Review | None) -> tuple[str, str, Any]:
    """The kind and subject of the entries on what a note is about, and its current note (of an RCC, by `review`)."""
    if isinstance(note, Scope):
        return "scope", "", read_scope(db)[0]
    if review and note.rcc is not None:
        return "rcc", review.subjects[note.rcc], review.notes.get(note.rcc, Note(note.rcc))
    theirs = read_spot_notes(db).get(condition_of(note), Note(note.about))
    return "spot", theirs.subject, theirs


def load_scope(folder: Path) -> tuple[Scope, Entry | None]:
    """The note on the whole analysis, and its last entry (SAFEError if the database is damaged)."""
    with reading(folder) as db:
        return read_scope(db)


def read_scope(db: sqlite3.Connection) -> tuple[Scope, Entry | None]:
    """As `load_scope`, within a transaction."""
    entry = present_entries(db, "scope").get("")
    return (note_of(entry) if entry else Scope()), entry


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

    Without clusters, that of the collected failures or, if these have no images, the table of answers.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    run : Run, optional
        Earlier clusters; by default the present ones.
    """
    record = run_record(folder, run)
    tested = record.get("predictions", {}).get("tested", "") if record else test_set_of(folder)
    return recorded(tested, folder) if tested else ""


def load_spot_notes(folder: Path) -> dict[tuple[str, str], Note]:
    """All notes on weak spots by what they are about (see `condition_of`), as they were last changed, the latest last.

    A SAFEError if the database is damaged.
    """
    with reading(folder) as db:
        return read_spot_notes(db)


def read_spot_notes(db: sqlite3.Connection) -> dict[tuple[str, str], Note]:
    """As `load_spot_notes`, within a transaction."""
    notes = [note_of(entry) for entry in present_entries(db, "spot").values()]
    return {condition_of(note): note for note in notes}


def condition_of(note: Note) -> tuple[str, str]:
    """The conditions, in whatever words, and the test folder that a note is about."""
    conditions, tested = note.about
    return canonical_conditions(conditions), tested


def notes_of_run(folder: Path, spots: Iterable[WeakSpot] = ()) -> dict[str, Note]:
    """The notes on conditions on the test set of the present run, by conditions; also on those it has not found.

    Emptied ones are left out (SAFEError as for `load_spot_notes`).

    Parameters
    ----------
    spots : iterable of WeakSpot, optional
        Those of the run: a note on one of them is known by its words.
    """
    tested = folder_tested(folder)
    words = {canonical_conditions(spot.conditions): spot.conditions for spot in spots}
    notes = load_spot_notes(folder).items()
    noted = {what: note for (what, of), note in notes if of == tested and any(note[1:])}
    return {words.get(what, note.about[0]): note for what, note in noted.items()}


def notes_elsewhere(notes: Mapping[str, Note], conditions: Iterable[str]) -> int:
    """How many notes are on other conditions than these."""
    return len(notes.keys() - set(conditions))


# --- Edits -----------------------------------------------------------------------------------------------------


def merge_rccs(folder: Path, rcc: int, into: int, *, maker: Maker = NOBODY) -> Review:
    """Merge an RCC into another one, whose note then has what both say (see `merged_note`).

    Raises
    ------
    SAFEError
        The RCCs are the same, one does not exist, the note is too long, or something was changed elsewhere.
    """
    rcc, into = int(rcc), int(into)
    with _editing(folder, maker) as editing:
        merged = tidy_note(merged_note(editing.note(rcc), editing.note(into)))
        return editing.make("merge", source=(rcc,), target=into, merged=merged)


def move_images(folder: Path, paths: Sequence[str], to: int, *, maker: Maker = NOBODY) -> Review:
    """Move images to another RCC or, with `to=NOISE`, to no cluster, as a single edit.

    Raises
    ------
    SAFEError
        No images are given, an image or the RCC does not exist, an image is already there, or something was changed
        elsewhere.
    """
    images = tuple(dict.fromkeys(paths))
    with _editing(folder, maker) as editing:
        return editing.make("move", images=images, source=editing.labels_of(images), target=int(to))


def new_rcc(folder: Path, paths: Sequence[str], *, maker: Maker = NOBODY) -> tuple[Review, int]:
    """Make a new RCC of images, wherever they are now, as a single edit; taken back, they return there.

    Returns
    -------
    Review, int
        The review, and the new RCC: a number that none has ever had, so that no note on another is taken for its own.

    Raises
    ------
    SAFEError
        No images are given, one does not exist, they are all that an RCC has, or something was changed elsewhere.
    """
    images = tuple(dict.fromkeys(paths))
    with _editing(folder, maker) as editing:
        review, source = editing.review, editing.labels_of(images)
        whole = [rcc for rcc in {*source} - {NOISE} if {*review.clusters.members(rcc)} == {*images}]
        if whole:
            raise SAFEError(f"These are all images of {title(whole[0])}: it is an RCC of its own already.")
        used = [review.original.n_rccs - 1, *(edit.target for edit in review.edits)]
        rcc = max(used) + 1
        return editing.make("new", images=images, source=source, target=rcc), rcc


def undo_edit(folder: Path, *, maker: Maker = NOBODY) -> Review:
    """Undo the last edit, or take back what was said last (SAFEError if there is none)."""
    return _turned(folder, "undo", maker)


def redo_edit(folder: Path, *, maker: Maker = NOBODY) -> Review:
    """Redo the edit that was undone last (SAFEError if there is none, or an edit has been made since)."""
    return _turned(folder, "redo", maker)


def _turned(folder: Path, kind: str, maker: Maker) -> Review:
    with _editing(folder, maker) as editing:
        edits = standing(edits_in(editing.db, editing.review.run))[kind == "redo"]
        if not edits:
            raise SAFEError(f"There is nothing to {kind}.")
        return editing.turn(kind, edits[-1])


@dataclass
class _Editing:
    """One edit of the RCCs in a folder, within a transaction.

    Attributes
    ----------
    review : Review
        Before the edit or, once it was made, after it.
    """

    db: sqlite3.Connection
    folder: Path
    maker: Maker
    review: Review

    def note(self, rcc: int) -> Note:
        return self.review.notes.get(rcc, Note(rcc))

    def labels_of(self, images: Sequence[str]) -> tuple[int, ...]:
        """The RCC of each image."""
        clusters = self.review.clusters
        label_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
        return tuple(label_of.get(path, NOISE) for path in images)

    def make(self, kind: str, *, merged: Note | None = None, **what: Any) -> Review:
        """Merge or move.

        The notes on the RCCs stay with them; that on the target of a merge is `merged`.
        """
        before = self.review
        edit = Edit(0, "", kind, by=self.maker.by, **what)
        number = add_edit(self.db, self.review.run, edit)
        self.read()
        spoken_of = present(self.db, "rcc")
        for rcc in [one for one in self.review.subjects if one in (*edit.source, edit.target)]:
            note = merged if merged and rcc == edit.target else before.notes.get(rcc, Note(rcc))
            # Also an empty one: there may be an older note on the images that it has now.
            if note != self.note(rcc) and (note is merged or before.subjects.get(rcc, "") in spoken_of):
                self.say(self.note(rcc), note, part_of=number)
        return self.read()

    def turn(self, kind: str, edit: Edit) -> Review:
        """Undo or redo an edit."""
        turned = Edit(0, "", kind, by=self.maker.by, of=edit.number)
        number = add_edit(self.db, self.review.run, turned)
        for notes in filter(None, (edit.notes, edit.part)):
            reached, mine = reversed(notes) if kind == "undo" else notes
            now = current_note(self.db, mine, self.review)[2]
            self.say(now, combined(reached, mine, now), part_of=number)
        return self.read()

    def say(self, before: AnyNote, after: AnyNote, *, part_of: int) -> None:
        """Add an entry with the note from now on, as part of an edit."""
        kind, subject, _ = current_note(self.db, after, self.review)
        append(
            self.db, kind, subject, change_of(before, after), author=self.maker.by, run=self.review.run, part_of=part_of
        )

    def read(self) -> Review:
        self.review = read_review(self.db, self.folder, self.review.original)
        return self.review


@contextlib.contextmanager
def _editing(folder: Path, maker: Maker) -> Iterator[_Editing]:
    """A transaction, after which `labels.txt` is written, by one process at a time.

    If the file cannot be written, the edit is kept all the same: it is written when the analysis is next opened.
    """
    with writing(folder):
        original = load_clusters(folder)
        if maker.run not in (None, fingerprint(original)):
            raise SAFEError(CHANGED)
        with changing(folder) as db:
            check_up_to_date(db, maker)
            editing = _Editing(db, folder, maker, read_review(db, folder, original))
            yield editing
        with contextlib.suppress(SAFEError):
            save_files(folder, {LABELS_FILE: labels_text(editing.review.clusters)})
