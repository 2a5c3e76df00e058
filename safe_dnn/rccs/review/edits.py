"""Step 2 of SAFE, the engineer's edits: merges, moves, new RCCs; and undo and redo, in order.

An edit is an entry of the database; it copies the notes on the RCCs that it changes to their new images. Undo brings
the images back to the RCCs where they were, and restores the notes on these.
"""

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safe_dnn.rccs.clusters import LABELS_FILE, fingerprint, labels_text, load_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import (
    NOBODY,
    SAYING,
    Edit,
    Maker,
    add_edit,
    check_up_to_date,
    edits_in,
    reviewed,
    standing,
)
from safe_dnn.rccs.review.notes import AnyNote, Note, combined, merged_note, row_of, tidy_note, title
from safe_dnn.rccs.review.review import CHANGED, Review, current_note, read_review
from safe_dnn.store.database import append, changing, present
from safe_dnn.store.output_folder import save_files, writing
from safe_dnn.support.errors import SAFEError


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
        number = self._add(edit)
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
        if edit.kind not in SAYING:
            self._add(turned)
            return self.review
        number = add_edit(self.db, self.review.run, turned)
        for notes in filter(None, (edit.notes, edit.part)):
            reached, mine = reversed(notes) if kind == "undo" else notes
            now = current_note(self.db, mine, self.review)[2]
            self.say(now, combined(reached, mine, now), part_of=number)
        return self.read()

    def say(self, before: AnyNote, after: AnyNote, *, part_of: int) -> None:
        """Add an entry with the note from now on, as part of an edit."""
        kind, subject, _ = current_note(self.db, after, self.review)
        value = {"before": row_of(before), "after": row_of(after)}
        append(self.db, kind, subject, value, author=self.maker.by, run=self.review.run, part_of=part_of)

    def read(self) -> Review:
        self.review = read_review(self.db, self.folder, self.review.original)
        return self.review

    def _add(self, edit: Edit) -> int:
        """Add an edit of images, an undo or a redo of one; its number."""
        edits = (*self.review.edits, edit._replace(number=self.review.last_number + 1))
        reach = reviewed(self.review.original, edits).reach.tolist()
        number = add_edit(self.db, self.review.run, edit._replace(reach=reach))
        self.read()
        return number


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
