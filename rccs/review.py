"""Step 2 of SAFE, the review: the engineer's names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` is not changed by a review. `rcc_notes.csv` has the name, note and verdict of each RCC, and
`rcc_edits.json` is a journal of merges, moves, undos and redos. Both belong to one clustering, whose fingerprint is in
the journal, and are never applied to another.

In the paper, the engineer recognizes the root causes by inspecting the RCCs (Attaoui et al., ACM TOSEM 32(3):79, 2023,
section 3.3); it does not say what follows from that. Edits, and their effect on core points, are defined here.
"""

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbscan.outcome import NOISE, Steadiness
from rccs.clusters import RootCauseClusters, cluster_files, fingerprint, labels_text, load_clusters, rcc_reach, rccs_of
from rccs.journal import MAKING, Edit, describe_edit, journal_text, read_journal, standing, touches
from rccs.notes import RccNote, combined, merged_note, notes_text, read_notes, says_something, tidy_note, title
from support.errors import SAFEError
from support.files import free_name
from support.output_folder import Writer, save_files, save_text, settle, writing
from support.run_folder import EDITS_FILE, LABELS_FILE, NOTES_FILE
from support.text import printable

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
        By RCC; notes on merged RCCs are kept in case the merge is undone.
    edits : tuple of Edit
        The whole journal, oldest first.
    touched : bool
        Whether the engineer has ever written a note or made an edit: missing notes were then removed on purpose.
    """

    original: RootCauseClusters
    clusters: RootCauseClusters
    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    touched: bool

    def last_edit(self, *, by: str | None = None) -> int | None:
        """The number of the last edit in effect, of one visitor or of anyone; None if there is none."""
        return max((number for number in standing(self.edits)[0] if by in (None, self.edits[number].by)), default=None)

    def last_undone(self, *, by: str | None = None) -> int | None:
        """The number of the last undone edit, of one visitor or of anyone; None if none can be redone."""
        return next((number for number, who in reversed(standing(self.edits)[1]) if by in (None, who)), None)


# --- RCCs with edits applied ------------------------------------------------------------------------------------


def reviewed(
    clusters: RootCauseClusters, edits: Iterable[Edit], *, known_reach: Mapping[int, float] | None = None
) -> RootCauseClusters:
    """Apply a journal of edits.

    Ids are stable: the id of a merged or emptied RCC is missing from `groups`, the other ids do not change.

    An image moved to noise is not a core point. An image moved to an RCC becomes a core point of it: the engineer has
    confirmed that it shows this root cause, and only core points attract candidates in the selection. The reach of an
    RCC (see `rccs.clusters.rcc_reach`) is computed without the images that were moved to it, since a single outlier
    would otherwise bring all images within reach. An image moved back to its original RCC is as the clustering left it.
    Of a new RCC, made by the engineer, all images are core points and count for its reach.

    Parameters
    ----------
    known_reach : mapping of int to float, optional
        The reach of RCCs after these edits, since computing it takes a second for an RCC of 5,000 images.

    Raises
    ------
    SAFEError
        An edit is about an image or RCC that does not exist.
    """
    edits = tuple(edits)
    applied = [edits[number] for number in standing(edits)[0]]
    if not applied:
        return clusters
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    labels = clusters.labels.copy()
    home = clusters.labels.copy()  # the RCCs in which the images were found, after merges, or which were made of them
    made = np.zeros(len(labels), dtype=bool)
    touched: set[int] = set()
    for edit in applied:
        target = _checked_target(edit, labels, row_of)
        touched |= {*edit.source, target}
        if edit.kind == "merge":
            labels[labels == edit.source[0]] = target
            home[home == edit.source[0]] = target
        else:
            rows = [row_of[path] for path in edit.images]
            labels[rows] = target
            if edit.kind == "new":
                home[rows], made[rows] = target, True
    moved = labels != home
    is_core = np.where(moved | made, labels != NOISE, clusters.is_core)
    n_rccs = int(labels.max(initial=NOISE)) + 1
    reach = np.zeros(n_rccs, clusters.reach.dtype)
    reach[: len(clusters.reach)] = clusters.reach[:n_rccs]
    known_reach = known_reach or {}
    for rcc in touched & set(range(len(reach))):
        if rcc in known_reach:
            reach[rcc] = known_reach[rcc]
            continue
        found = np.flatnonzero((labels == rcc) & ~moved)
        one = np.zeros(len(found), dtype=int)
        reach[rcc] = rcc_reach(clusters.points[found], one, is_core[found])[0] if len(found) else 0
    return dataclasses.replace(
        clusters,
        labels=labels,
        is_core=is_core,
        reach=reach,
        steadiness=_steadiness_left(clusters.steadiness, len(reach), touched),
    )


def _steadiness_left(steadiness: Steadiness | None, n_rccs: int, touched: set[int]) -> Steadiness | None:
    """What is still known after edits: nothing about the RCCs that were changed, for which it is NaN."""
    if steadiness is None:
        return None
    of_rccs = np.full(max(n_rccs, len(steadiness.of_rccs)), np.nan, steadiness.of_rccs.dtype)
    of_rccs[: len(steadiness.of_rccs)] = steadiness.of_rccs
    of_rccs[[rcc for rcc in touched if NOISE < rcc < len(of_rccs)]] = np.nan
    return steadiness._replace(of_rccs=of_rccs[:n_rccs])


def _checked_target(edit: Edit, labels: np.ndarray, row_of: Mapping[str, int]) -> int:
    """The target of a merge or move; a SAFEError if the edit cannot be applied to these labels."""
    target = NOISE if edit.target is None else edit.target
    if edit.kind == "merge":
        if NOISE in (edit.source[0], target):
            raise SAFEError("Expected two RCCs to merge. Received the images in no cluster; move them instead.")
        if edit.source[0] == target:
            raise SAFEError(f"Expected two RCCs to merge. Received RCC {target} twice.")
        rccs = [edit.source[0], target]
    else:
        if not edit.images:
            raise SAFEError("Expected images to move. Received none. Select some first.")
        unknown = [path for path in edit.images if path not in row_of]
        if unknown:
            raise SAFEError(f"Expected images of this clustering. Received: {printable(unknown[0])}")
        there = [path for path in edit.images if labels[row_of[path]] == target]
        if there:
            raise SAFEError(f"{printable(there[0])} is already in {title(target)}. Choose another target.")
        if edit.kind == "new" and (target in labels or target < 0):
            raise SAFEError(f"Expected a number that no RCC has for a new one. Received {target}.")
        rccs = [] if target == NOISE or edit.kind == "new" else [target]
    for rcc in rccs:
        if rcc < 0 or rcc not in labels:
            raise SAFEError(f"There is no RCC {rcc}; it may have been merged or emptied. Choose one that is displayed.")
    return target


# --- The review in a folder -------------------------------------------------------------------------------------


def load_review(folder: Path, *, original: RootCauseClusters | None = None) -> Review:
    """The RCCs in a folder with the engineer's notes and edits.

    Parameters
    ----------
    original : RootCauseClusters, optional
        The clusters in the folder as they were found, if the caller has read them since they were last written: they
        are most of what there is to read.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    if original is None:
        original = load_clusters(folder)
    else:
        settle(folder)
    journal = read_journal(folder)
    ours = journal is None or journal.clusters == fingerprint(original)
    edits = journal.edits if journal and ours else ()
    known_reach = journal.reach if journal and ours else {}
    notes = read_notes(folder / NOTES_FILE) if ours else {}
    return Review(
        original=original,
        clusters=reviewed(original, edits, known_reach=known_reach),
        notes=notes,
        edits=edits,
        touched=bool(notes or (journal and ours)),
    )


def active_clusters(folder: Path) -> RootCauseClusters:
    """The RCCs in a folder with the engineer's edits applied (SAFEError as for `load_review`)."""
    return load_review(folder).clusters


def load_notes(folder: Path) -> dict[int, RccNote]:
    """The notes on the RCCs in a folder, by RCC (SAFEError as for `load_review`)."""
    return load_review(folder).notes


def load_edits(folder: Path) -> tuple[Edit, ...]:
    """The journal of edits of the RCCs in a folder (SAFEError as for `load_review`)."""
    return load_review(folder).edits


def rccs_marked_safe(folder: Path) -> tuple[int, ...]:
    """The RCCs that have images and the verdict safe."""
    review = load_review(folder)
    safe = {rcc for rcc, note in review.notes.items() if note.verdict == "safe"}
    return tuple(rcc for rcc in sorted(rccs_of(review.clusters)) if rcc in safe)


# --- Notes ------------------------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """The result of `set_note`.

    Attributes
    ----------
    notes : dict of int to RccNote
        All notes after the change.
    conflicts : tuple of str
        The fields (`name`, `note`, `verdict`) that someone else had changed in the meantime and that were not changed.
    """

    notes: dict[int, RccNote]
    conflicts: tuple[str, ...]


def set_note(
    folder: Path,
    note: RccNote,
    *,
    seen: RccNote | None = None,
    run: str | None = None,
    original: RootCauseClusters | None = None,
) -> Kept:
    """Write the changed fields of the note on one RCC; an empty note is removed.

    Parameters
    ----------
    note : RccNote
        The new note.
    seen : RccNote, optional
        The note as its author last saw it: fields that are the same in `note` are not changed, and fields that someone
        else has changed in the meantime are conflicts. By default all fields are written.
    run : str, optional
        Fingerprint of the unedited clusters that the note is about.
    original : RootCauseClusters, optional
        As for `load_review`.

    Raises
    ------
    SAFEError
        The RCC does not exist, the clusters have changed, the verdict is not one of `VERDICTS`, or the name or note is
        too long.
    """
    with writing(folder):
        review = load_review(folder, original=original)
        _check_run(review, run)
        if note.rcc not in review.clusters.labels and note.rcc != NOISE:
            raise SAFEError(f"There is no RCC {note.rcc} to write a note on. Choose one that is displayed.")
        theirs = review.notes.get(note.rcc, RccNote(note.rcc))
        kept, conflicts = combined(tidy_note(seen) if seen else theirs, tidy_note(note), theirs)
        notes = {**review.notes, note.rcc: kept}
        if kept != theirs:
            _save_notes(folder, review, notes)
        return Kept({rcc: note for rcc, note in sorted(notes.items()) if says_something(note)}, conflicts)


def save_notes(folder: Path, notes: Mapping[int, RccNote]) -> None:
    """Replace all notes.

    Raises
    ------
    SAFEError
        A verdict is not one of `VERDICTS`, or a name or note is too long.
    """
    with writing(folder):
        _save_notes(folder, load_review(folder), {rcc: tidy_note(note) for rcc, note in notes.items()})


def _save_notes(folder: Path, review: Review, notes: Mapping[int, RccNote]) -> None:
    _put_aside(folder, review)
    save_files(folder, _review_files(review.original, review.clusters, notes, review.edits, labels=False))


# --- Edits ------------------------------------------------------------------------------------------------------


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
        _check_run(review, maker.run)
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
        _put_aside(folder, review)
        save_files(folder, _review_files(review.original, clusters, notes, edits))
        return load_review(folder)


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _check_run(review: Review, run: str | None) -> None:
    if run is not None and run != fingerprint(review.original):
        raise SAFEError(CHANGED)


def _put_aside(folder: Path, review: Review) -> None:
    """Rename notes and edits that belong to another clustering, for example because files were copied here."""
    journal = read_journal(folder)
    if journal is None or journal.clusters == fingerprint(review.original):
        return
    for name in (NOTES_FILE, EDITS_FILE):
        old = folder / name
        if old.is_file():
            aside = old.with_stem(f"{old.stem}-{journal.clusters}")
            old.replace(free_name(aside) if aside.exists() else aside)


# --- From one clustering to the next ----------------------------------------------------------------------------


class Carried(NamedTuple):
    """The notes and edits that also apply to new clusters.

    Attributes
    ----------
    notes : dict of int to RccNote
    edits : tuple of Edit
    left : tuple of RccNote
        Notes of the previous run on RCCs that the new clusters do not have.
    """

    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    left: tuple[RccNote, ...]


def carry_over(runs: Sequence[Review], clusters: RootCauseClusters) -> Carried:
    """The notes and edits that apply when clusters are generated again.

    Edits are those of the latest run that found the same clusters. A note belongs to the images of its RCC: it applies
    to the RCC with exactly the same images, whichever run it was written in. If several runs have such an RCC, the
    latest one that the engineer has reviewed decides, even if it has no note.

    Parameters
    ----------
    runs : sequence of Review
        The previous run, then earlier ones, the latest first.
    """
    reviews = [run for run in runs if run.touched]
    same = next((run for run in reviews if _is_same(run.original, clusters)), None)
    edits = same.edits if same else ()
    notes = dict(same.notes) if same else {}
    now = reviewed(clusters, edits)
    groups = {rcc: _images(now, rcc) for rcc in now.groups}
    rcc_of = [{_images(run.clusters, rcc): rcc for rcc in run.clusters.groups} for run in reviews]
    for rcc, images in groups.items():
        for run, known in zip(reviews, rcc_of, strict=True):
            if images in known:
                note = run.notes.get(known[images])
                notes = {**notes, rcc: note._replace(rcc=rcc)} if note else {k: v for k, v in notes.items() if k != rcc}
                break
    there = set(groups.values())
    before = runs[0] if runs else None
    left = () if before is None or before is same else tuple(
        note for rcc, note in sorted(before.notes.items())
        if rcc in before.clusters.groups and _images(before.clusters, rcc) not in there
    )  # fmt: skip
    return Carried(notes, edits, left)


def with_newer_notes(review: Review, newer: Sequence[Review]) -> dict[str, Writer]:
    """The files of a run that is opened again, with what was said of the same images since it was left.

    A note belongs to the images of its RCC. One that a newer run has on exactly the same images is added, unless the
    run has a note on them itself: that stays as it was.

    Parameters
    ----------
    newer : sequence of Review
        The runs since, the latest first.

    Returns
    -------
    dict of str to Writer
        Empty if there is nothing to add.
    """
    notes = dict(review.notes)
    rcc_of = [{_images(run.clusters, rcc): rcc for rcc in run.clusters.groups} for run in newer]
    for rcc in review.clusters.groups:
        images = _images(review.clusters, rcc)
        since = (run.notes.get(known[images]) for run, known in zip(newer, rcc_of, strict=True) if images in known)
        note = next(since, None)  # the latest run that has such an RCC decides, even if it has no note
        if note and rcc not in notes:
            notes[rcc] = note._replace(rcc=rcc)
    if notes == review.notes:
        return {}
    return _review_files(review.original, review.clusters, notes, review.edits, labels=False)


def _is_same(a: RootCauseClusters, b: RootCauseClusters) -> bool:
    return a.home == b.home and fingerprint(a) == fingerprint(b)


def _images(clusters: RootCauseClusters, rcc: int) -> tuple[Path, bool, frozenset[str]]:
    """The images of an RCC: their folder, since other data sets have images of the same names, and their paths."""
    return clusters.home, rcc == NOISE, frozenset(clusters.members(rcc))


def save_run(
    clusters: RootCauseClusters,
    carried: Carried,
    folder: Path,
    *,
    more: Mapping[str, object] | None = None,
    files: Mapping[str, Writer] | None = None,
    remove: Collection[str] = (),
) -> None:
    """Replace the run in a folder by new clusters, with the notes and edits that apply to them.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    more : mapping, optional
        Further entries of `run.json`.
    files : mapping, optional
        Further files of the run (see `support.output_folder.save_files`).
    remove : collection of str
        Files of the previous run that this one does not have.

    Raises
    ------
    SAFEError
        As for `support.output_folder.save_files`.
    """
    after = reviewed(clusters, carried.edits)
    review = _review_files(clusters, after, carried.notes, carried.edits) if carried.notes or carried.edits else {}
    # The journal last: it identifies the clusters of the notes, and old notes must never be applied to new RCCs.
    save_files(
        folder,
        {**(files or {}), **cluster_files(clusters, more=more), **review},
        remove=(*remove, NOTES_FILE, EDITS_FILE),
    )


# --- The files --------------------------------------------------------------------------------------------------


def mend_labels(folder: Path) -> bool:
    """Write `labels.txt` again if it does not match the clusters and edits; whether it did not.

    It may be outdated after a process was killed between two files, or a disk was full.
    """
    with writing(folder):
        expected = labels_text(active_clusters(folder))
        path = folder / LABELS_FILE
        if path.is_file() and path.read_bytes() == expected.encode("utf-8", "surrogateescape"):
            return False
        save_text(folder, LABELS_FILE, expected)
        return True


def _review_files(
    original: RootCauseClusters,
    after: RootCauseClusters,
    notes: Mapping[int, RccNote],
    edits: Sequence[Edit],
    labels: bool = True,
) -> dict[str, Writer]:
    """The files of a review, in the order in which they must be replaced."""
    files: dict[str, Writer] = {LABELS_FILE: labels_text(after)} if labels else {}
    filled = [note for _, note in sorted(notes.items()) if says_something(note)]
    return {**files, NOTES_FILE: notes_text(filled), EDITS_FILE: journal_text(original, edits, after)}
