"""Step 2 of SAFE, the engineer's edits: merges, moves and new RCCs, and undoing and redoing whatever was done or said.

An edit is an entry of the database; with it, what is said of the RCCs that it changes goes on to their new images.
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
    check_seen,
    edits_in,
    reviewed,
    standing,
)
from safe_dnn.rccs.review.notes import AnyNote, Note, combined, merged_note, row_of, tidy_note, title
from safe_dnn.rccs.review.review import CHANGED, Review, read_review, said_now
from safe_dnn.store.database import append, changing, present_entries
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
        source, target = editing.note(rcc), editing.note(into)
        after = tidy_note(merged_note(source, target))
        return editing.make("merge", source=(rcc,), target=into, notes=(target, after, source))


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
        used = [review.original.n_rccs - 1, *(edit.target for edit in review.edits if edit.target is not None)]
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
        edits = {edit.number: edit for edit in editing.edits}
        numbers = standing(edits.values())[kind == "redo"]
        if not numbers:
            raise SAFEError(f"There is nothing to {kind}.")
        return editing.turn(kind, edits[numbers[-1]])


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

    @property
    def edits(self) -> tuple[Edit, ...]:
        """All that was done and said."""
        return edits_in(self.db, self.review.run)

    def note(self, rcc: int) -> Note:
        return self.review.notes.get(rcc, Note(rcc))

    def labels_of(self, images: Sequence[str]) -> tuple[int, ...]:
        """The RCC of each image."""
        clusters = self.review.clusters
        label_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
        return tuple(label_of.get(path, NOISE) for path in images)

    def make(self, kind: str, **what: Any) -> Review:
        """Merge or move."""
        edit = Edit(0, "", kind, by=self.maker.by, **what)
        return self._add(edit, edit)

    def turn(self, kind: str, edit: Edit) -> Review:
        """Undo or redo an edit."""
        turned = Edit(0, "", kind, by=self.maker.by, of=edit.number)
        if edit.kind not in SAYING:
            return self._add(turned, edit)
        number = add_edit(self.db, self.review.run, turned)
        if edit.kind == "rcc" and edit.about not in self.review.clusters.groups:
            raise SAFEError(
                f"{title(edit.notes[1].about)} has no images any more. Take back first what has moved them."
            )
        # Of an RCC that was about the same images as a weak spot, only while it is there.
        parts = [edit.part] if edit.part and edit.part[1].about in self.review.clusters.groups else []
        for notes in (edit.notes, *parts):
            seen, mine = reversed(notes) if kind == "undo" else notes
            now = said_now(self.db, mine, self.review)[2]
            self.say(now, combined(seen, mine, now), part_of=number)
        return self.read()

    def say(self, before: AnyNote, after: AnyNote, *, part_of: int | None = None) -> int:
        """Add an entry on what is said from now on, by itself or as part of an edit; its number."""
        kind, subject, _ = said_now(self.db, after, self.review)
        value = {"before": row_of(before), "after": row_of(after)}
        return append(self.db, kind, subject, value, author=self.maker.by, run=self.review.run, part_of=part_of)

    def read(self) -> Review:
        self.review = read_review(self.db, self.folder, self.review.original)
        return self.review

    def _add(self, edit: Edit, about: Edit) -> Review:
        """Add an edit of images; `about` is the one that is undone or redone, or the edit itself."""
        before, original = self.review, self.review.original
        edits = (*before.edits, edit._replace(number=before.last_number + 1))
        after = reviewed(original, edits)
        touched = {rcc for one in edits if one.target is not None for rcc in (*one.source, one.target)}
        reach = {rcc: float(after.reach[rcc]) for rcc in sorted(touched) if 0 <= rcc < len(after.reach)}
        number = add_edit(self.db, before.run, edit._replace(reach=reach))
        said = present_entries(self.db, "rcc")
        # What another run said of images that an RCC has had only since an edit does not go back with it to its own.
        since = 0 if edit is about else about.number
        spoken = {
            rcc
            for rcc, subject in before.subjects.items()
            if subject in said and (said[subject].run == before.run or said[subject].number > since)
        }
        self.read()
        # Also that it is empty by now, if it was not always: images may have had a note where they go back to.
        news = [
            (now, note)
            for note in _notes_after(edit.kind, about, before)
            if note.about in self.review.clusters.groups
            and note != (now := self.note(note.about))
            and (note.about in spoken or about.notes)
        ]
        for now, note in news:
            self.say(now, note, part_of=number)
        return self.read() if news else self.review


def _notes_after(kind: str, about: Edit, before: Review) -> list[Note]:
    """What is said of the RCCs that an edit has changed: as before or, of merged ones, of both.

    Parameters
    ----------
    kind : str
        "undo", "redo", or the edit's own.
    about : Edit
        What is done, undone or redone.
    before : Review
    """
    rccs = {*about.source, NOISE if about.target is None else about.target}
    notes = {rcc: before.notes.get(rcc, Note(rcc)) for rcc in rccs if rcc in before.clusters.groups}
    if about.kind == "merge":
        target, merged, source = about.notes
        now, mine = (before.notes.get(one.about, Note(one.about)) for one in (source, target))
        after = combined(merged, target, mine) if kind == "undo" else combined(target, merged, mine)
        # What was said since it was taken back is not lost either.
        if kind == "redo" and (now, mine) != (source, target):
            after = tidy_note(merged_note(now, after))
        notes[after.about] = after
    return list(notes.values())


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
            check_seen(db, maker)
            editing = _Editing(db, folder, maker, read_review(db, folder, original))
            yield editing
        with contextlib.suppress(SAFEError):
            save_files(folder, {LABELS_FILE: labels_text(editing.review.clusters)})
