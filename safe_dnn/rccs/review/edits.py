"""Step 2 of SAFE, the engineer's edits: merges, moves, new RCCs; and undo and redo of what was done or said, in order.

An edit is an entry of the database; with it, what is said of the RCCs that it changes goes on to their new images. Undo
brings the images back to the RCCs where they were, of which what was said before is said again.
"""

import contextlib
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.rccs.clusters import LABELS_FILE, fingerprint, labels_text, load_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import SAYING, Edit, add_edit, describe_edit, edits_in, reviewed, standing, touches
from safe_dnn.rccs.review.notes import AnyNote, Note, combined, merged_note, row_of, tidy_note, title
from safe_dnn.rccs.review.review import CHANGED, Review, read_review, said_now
from safe_dnn.store.database import append, changing, present
from safe_dnn.store.output_folder import save_files, writing
from safe_dnn.support.errors import SAFEError


class Maker(NamedTuple):
    """The author of an edit, and what they have seen of the RCCs.

    Attributes
    ----------
    by : str
        Identifies the visitor; empty if unknown.
    run : str or None
        Fingerprint of the unedited clusters.
    seen : int or None
        Number of the last edit that they have seen; None for all.
    """

    by: str = ""
    run: str | None = None
    seen: int | None = None


NOBODY = Maker()


def merge_rccs(folder: Path, rcc: int, into: int, *, maker: Maker = NOBODY) -> Review:
    """Merge an RCC into another one, whose note then has what both say (see `merged_note`).

    Raises
    ------
    SAFEError
        The RCCs are the same, one does not exist, the note is too long, or someone else has changed one of them.
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
        No images are given, an image or the RCC does not exist, an image is already there, or someone else has moved
        one.
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
        No images are given, one does not exist, they are all that an RCC has, or someone else has moved one.
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
    """Undo the last edit by `maker`, or take back what they have said last.

    Raises
    ------
    SAFEError
        There is none, or a later edit by somebody else is about the same RCCs or field.
    """
    with _editing(folder, maker) as editing:
        done = standing(edits_in(editing.db, editing.review.run))[0]
        place = max((place for place, edit in enumerate(done) if edit.by == maker.by), default=None)
        if place is None:
            raise SAFEError("There is no edit of yours to undo.")
        return editing.turn("undo", done[place], done[place + 1 :])


def redo_edit(folder: Path, *, maker: Maker = NOBODY) -> Review:
    """Redo the last edit that `maker` has undone.

    Raises
    ------
    SAFEError
        There is none, or they have made an edit since, or somebody else one about the same RCCs or field.
    """
    with _editing(folder, maker) as editing:
        edits = edits_in(editing.db, editing.review.run)
        by_number = {edit.number: edit for edit in edits}
        undo = next((undo for undo in reversed(standing(edits)[1]) if undo.by == maker.by), None)
        if undo is None or undo.of is None:
            raise SAFEError("There is no undone edit of yours to redo.")
        since = [by_number[edit.number if edit.of is None else edit.of] for edit in edits if edit.number > undo.number]
        return editing.turn("redo", by_number[undo.of], [edit for edit in since if edit.by != maker.by])


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
        """Merge or move; a SAFEError if somebody else has done so meanwhile.

        What is said of the RCCs stays with them or, of the target of a merge, is `merged`.
        """
        before, seen = self.review, self.maker.seen
        for other in before.edits:
            if seen is not None and other.number > seen and other.by != self.maker.by:
                raise SAFEError(
                    f"Someone else has changed RCCs in the meantime: {describe_edit(other, before.edits)}. Check them "
                    "again first."
                )
        edit = Edit(0, "", kind, by=self.maker.by, **what)
        number = self._add(edit)
        spoken_of = present(self.db, "rcc")
        for rcc in [one for one in self.review.subjects if one in (*edit.source, edit.target)]:
            note = merged if merged and rcc == edit.target else before.notes.get(rcc, Note(rcc))
            # Also that nothing is said any more: there may be an older note on the images that it has now.
            if note != self.note(rcc) and (note is merged or before.subjects.get(rcc, "") in spoken_of):
                self.say(self.note(rcc), note, part_of=number)
        return self.read()

    def turn(self, kind: str, edit: Edit, since: Iterable[Edit]) -> Review:
        """Undo or redo an edit; a SAFEError if one of those that somebody else has made since is in the way."""
        if over := next((other for other in since if touches(other, edit)), None):
            raise SAFEError(
                f"A later edit by somebody else is about the same: {describe_edit(over)}. Undo that edit first."
            )
        turned = Edit(0, "", kind, by=self.maker.by, of=edit.number)
        if edit.kind not in SAYING:
            self._add(turned)
            return self.review
        number = add_edit(self.db, self.review.run, turned)
        for notes in filter(None, (edit.notes, edit.part)):
            seen, mine = reversed(notes) if kind == "undo" else notes
            now = said_now(self.db, mine, self.review)[2]
            self.say(now, combined(seen, mine, now)[0], part_of=number)
        return self.read()

    def say(self, before: AnyNote, after: AnyNote, *, part_of: int) -> None:
        """Add an entry on what is said from now on, as part of an edit."""
        kind, subject, _ = said_now(self.db, after, self.review)
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
            editing = _Editing(db, folder, maker, read_review(db, folder, original))
            yield editing
        with contextlib.suppress(SAFEError):
            save_files(folder, {LABELS_FILE: labels_text(editing.review.clusters)})
