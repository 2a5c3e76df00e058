"""Step 2 of SAFE, the engineer's edits: merges, moves and new RCCs, each of which can be undone and redone.

An edit is an entry of the journal (`rccs/journal.py`); the journal, the notes and `labels.txt` are written together.
"""

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dbscan.outcome import NOISE
from rccs.edited import reviewed
from rccs.journal import MAKING, Edit, describe_edit, standing, touches
from rccs.notes import RccNote, combined, merged_note, tidy_note, title
from rccs.review import Review, check_run, load_review, put_aside, review_files
from support.errors import SAFEError
from support.output_folder import save_files, writing


class Maker(NamedTuple):
    """The author of an edit, and what they have seen of the RCCs.

    Attributes
    ----------
    by : str
        Identifies the visitor; empty if unknown.
    run : str or None
        Fingerprint of the unedited clusters.
    seen : int or None
        Number of journal entries that they have seen; None for all.
    """

    by: str = ""
    run: str | None = None
    seen: int | None = None


NOBODY = Maker()


def merge_rccs(
    folder: Path,
    rcc: int,
    into: int,
    *,
    note: RccNote | None = None,
    maker: Maker = NOBODY,
    asked: RccNote | None = None,
) -> Review:
    """Merge an RCC into another one.

    Parameters
    ----------
    note : RccNote, optional
        The note on the merged RCC; by default that of `merged_note`.
    asked : RccNote, optional
        What `merged_note` gave when the engineer was asked for `note`.

    Raises
    ------
    SAFEError
        The RCCs are the same, one does not exist, the note is too long, or someone else has changed one of them or its
        note.
    """
    rcc, into = int(rcc), int(into)
    with writing(folder):
        notes = load_review(folder).notes
        source, target = notes.get(rcc, RccNote(rcc)), notes.get(into, RccNote(into))
        merged = merged_note(source, target)
        if asked is not None and asked != merged:
            raise SAFEError(
                "What is said of these RCCs was changed in another window since you were asked. Click Do not "
                "merge, then Merge, to see it."
            )
        after = tidy_note((note or merged)._replace(rcc=into))
        return _edit(folder, Edit(_now(), "merge", (), (rcc,), into, maker.by, notes=(target, after, source)), maker)


def move_images(folder: Path, paths: Sequence[str], to: int, *, maker: Maker = NOBODY) -> Review:
    """Move images to another RCC or, with `to=NOISE`, to no cluster, as a single edit.

    Raises
    ------
    SAFEError
        No images are given, an image or the RCC does not exist, an image is already there, or someone else has moved
        one.
    """
    images = tuple(dict.fromkeys(paths))
    with writing(folder):
        clusters = load_review(folder).clusters
        label_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
        source = tuple(label_of.get(path, NOISE) for path in images)
        return _edit(folder, Edit(_now(), "move", images, source, int(to), maker.by), maker)


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
    with writing(folder):
        review = load_review(folder)
        label_of = dict(zip(review.clusters.paths, review.clusters.labels.tolist(), strict=True))
        source = tuple(label_of.get(path, NOISE) for path in images)
        whole = [rcc for rcc in {*source} - {NOISE} if {*review.clusters.members(rcc)} == {*images}]
        if whole:
            raise SAFEError(f"These are all images of {title(whole[0])}: it is an RCC of its own already.")
        used = [review.original.n_rccs - 1, *(edit.target for edit in review.edits if edit.target is not None)]
        rcc = max(used) + 1
        return _edit(folder, Edit(_now(), "new", images, source, rcc, maker.by), maker), rcc


def undo_edit(folder: Path, *, number: int | None = None, maker: Maker | None = None) -> Review:
    """Undo an edit.

    Parameters
    ----------
    number : int, optional
        The number of the edit in the journal, from 0; by default the last edit by `maker` or, without one, by anyone.

    Raises
    ------
    SAFEError
        There is no such edit, or a later edit is about the same images or RCCs.
    """
    return _turn(folder, "undo", number, maker)


def redo_edit(folder: Path, *, number: int | None = None, maker: Maker | None = None) -> Review:
    """Redo the last edit that was undone (SAFEError if there is none, or an edit has been made since)."""
    return _turn(folder, "redo", number, maker)


def _turn(folder: Path, kind: str, number: int | None, maker: Maker | None) -> Review:
    by = maker.by if maker else None
    with writing(folder):
        review = load_review(folder)
        if number is None:
            number = review.last_edit(by=by) if kind == "undo" else review.last_undone(by=by)
        if number is None:
            others = " of yours; edits by others are listed under Edits" if by is not None and review.edits else ""
            what = "edit to undo" if kind == "undo" else "undone edit to redo"
            raise SAFEError(f"There is no {what}{others}.")
        done, _ = standing(review.edits)
        if kind == "undo" and number in done:
            later = [review.edits[other] for other in done[done.index(number) + 1 :]]
            over = next((edit for edit in later if touches(edit, review.edits[number])), None)
            if over is not None:
                raise SAFEError(
                    f"A later edit is about the same images or RCCs: {describe_edit(over)}. Undo that edit first."
                )
        return _edit(folder, Edit(_now(), kind, by=by or "", of=number), maker or NOBODY)


def _edit(folder: Path, edit: Edit, maker: Maker) -> Review:
    """Add an edit to the journal; the journal, the notes and `labels.txt` are written together."""
    with writing(folder):
        review = load_review(folder)
        check_run(review, maker.run)
        unseen = review.edits[maker.seen :] if maker.seen is not None and edit.kind in MAKING else ()
        for entry in unseen:
            other = review.edits[entry.of] if entry.of is not None else entry
            if entry.by != maker.by and other.kind in MAKING and touches(edit, other):
                raise SAFEError(
                    f"Someone else has changed these RCCs in the meantime: {describe_edit(other)}. Check them again "
                    "first."
                )
        edits = (*review.edits, edit)
        clusters = reviewed(review.original, edits)
        notes = dict(review.notes)
        about = review.edits[edit.of] if edit.of is not None else edit
        if about.notes:
            before, after, *source = about.notes
            target = notes.get(after.rcc, RccNote(after.rcc))
            seen, mine = (after, before) if edit.kind == "undo" else (before, after)
            notes[after.rcc], _ = combined(seen, mine, target)
            if edit.kind == "redo" and source:
                now = notes.get(source[0].rcc, RccNote(source[0].rcc))
                # What was said since it was taken back is not lost either.
                if (now, target) != (source[0], before):
                    notes[after.rcc] = tidy_note(merged_note(now, notes[after.rcc]))
        put_aside(folder, review)
        save_files(folder, review_files(review.original, clusters, notes, edits))
        return load_review(folder)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
