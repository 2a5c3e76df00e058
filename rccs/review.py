"""Step 2 of SAFE, the engineer's part: names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` stays what the clustering found. Beside it, `rcc_notes.csv` says what the engineer calls each RCC and
thinks of it, and `rcc_edits.json` is a journal of what was merged, moved, undone and redone. Both belong to one
clustering: the journal carries its fingerprint, and what belongs to another is never attached to it.

The paper leaves the root causes to the engineer's eye (Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.3); it does
not say what is done with what the engineer sees. The edits, and what they mean for core points, are decided here.
"""

import dataclasses
import datetime
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, cluster_files, fingerprint, labels_text, load_clusters, rcc_reach, rccs_of
from rccs.journal import Edit, describe_edit, journal_text, read_journal, standing, touches
from rccs.notes import RccNote, combined, merged_note, notes_text, read_notes, says_something, tidy_note, title
from support.errors import SAFEError
from support.output_folder import Writer, save_files, save_text, writing
from support.run_folder import EDITS_FILE, LABELS_FILE, NOTES_FILE
from support.text import printable

CHANGED = "These clusters were generated anew in another window. Reload the page to see the new ones."


class Review(NamedTuple):
    """RCCs with what the engineer has added to them.

    Attributes
    ----------
    original : RootCauseClusters
        As the clustering found them.
    clusters : RootCauseClusters
        With the edits applied: what every later step works on.
    notes : dict of int to RccNote
        By RCC; those of merged RCCs are kept for the case of an undo.
    edits : tuple of Edit
        The whole journal, oldest first.
    touched : bool
        Whether the engineer has ever noted or edited anything: notes that are missing were then removed.
    """

    original: RootCauseClusters
    clusters: RootCauseClusters
    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    touched: bool

    def last_edit(self, by: str | None = None) -> int | None:
        """The number of the last edit that holds, of one visitor or of all; None where there is none."""
        return max((number for number in standing(self.edits)[0] if by in (None, self.edits[number].by)), default=None)

    def last_undone(self, by: str | None = None) -> int | None:
        """The number of the edit that was taken back last, by one visitor or by any, and can be done again."""
        return next((number for number, who in reversed(standing(self.edits)[1]) if by in (None, who)), None)


# --- RCCs with edits applied ------------------------------------------------------------------------------------


def reviewed(
    clusters: RootCauseClusters, edits: Iterable[Edit], known_reach: Mapping[int, float] | None = None
) -> RootCauseClusters:
    """Apply a journal of edits.

    Ids are stable: the id of a merged or emptied RCC is missing from `groups`, no other changes.

    An image moved to noise is no core point. An image moved to an RCC becomes a core point of it: the engineer vouches
    that it shows this root cause, and only as a core point does it draw candidates in the selection. An RCC reaches as
    far as the images that the clustering gave it (see `rccs.clusters.rcc_reach`), since one odd image moved there by
    hand would otherwise let everything count as near. An image moved back to where it was found is as it was found.

    Parameters
    ----------
    known_reach : mapping of int to float, optional
        How far RCCs reach after these very edits: of an RCC of 5,000 images it takes a second to find out.

    Raises
    ------
    SAFEError
        An edit speaks of an image or RCC that there is not.
    """
    edits = tuple(edits)
    applied = [edits[number] for number in standing(edits)[0]]
    if not applied:
        return clusters
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    labels = clusters.labels.copy()
    home = clusters.labels.copy()  # where the images were found, merges followed
    touched = set()
    for edit in applied:
        _check(edit, labels, row_of)
        touched |= {*edit.source, edit.target}
        if edit.kind == "merge":
            labels[labels == edit.source[0]] = edit.target
            home[home == edit.source[0]] = edit.target
        else:
            labels[[row_of[path] for path in edit.images]] = edit.target
    moved = labels != home
    is_core = np.where(moved, labels != NOISE, clusters.is_core)
    reach = clusters.reach[: int(labels.max(initial=NOISE)) + 1].copy()
    known_reach = known_reach or {}
    for rcc in touched & set(range(len(reach))):
        if rcc in known_reach:
            reach[rcc] = known_reach[rcc]
            continue
        found = np.flatnonzero((labels == rcc) & ~moved)
        one = np.zeros(len(found), dtype=int)
        reach[rcc] = rcc_reach(clusters.points[found], one, is_core[found])[0] if len(found) else 0
    return dataclasses.replace(clusters, labels=labels, is_core=is_core, reach=reach)


def _check(edit: Edit, labels: np.ndarray, row_of: Mapping[str, int]) -> None:
    """Whether an edit can be applied to these labels; a SAFEError that says why not."""
    if edit.kind == "merge":
        if NOISE in (edit.source[0], edit.target):
            raise SAFEError("Expected two RCCs to merge. Received the images in no cluster; move them instead.")
        if edit.source[0] == edit.target:
            raise SAFEError(f"Expected two RCCs to merge. Received RCC {edit.target} twice.")
        rccs = [edit.source[0], edit.target]
    else:
        if not edit.images:
            raise SAFEError("Expected images to move. Received none. Select some first.")
        unknown = [path for path in edit.images if path not in row_of]
        if unknown:
            raise SAFEError(f"Expected images of this clustering. Received: {printable(unknown[0])}")
        there = [path for path in edit.images if labels[row_of[path]] == edit.target]
        if there:
            where = title(edit.target)
            raise SAFEError(f"{printable(there[0])} is in {where} already. Choose another target.")
        rccs = [] if edit.target == NOISE else [edit.target]
    for rcc in rccs:
        if rcc < 0 or rcc not in labels:
            raise SAFEError(f"There is no RCC {rcc}: it was merged or emptied, or never was. Choose one that is shown.")


# --- What lies in a folder --------------------------------------------------------------------------------------


def load_review(folder: Path) -> Review:
    """The RCCs in a folder with all that the engineer has added.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    original = load_clusters(folder)
    journal = read_journal(folder)
    ours = journal is None or journal.clusters == fingerprint(original)
    edits, known_reach = (journal.edits, journal.reach) if journal and ours else ((), {})
    notes = read_notes(folder / NOTES_FILE) if ours else {}
    return Review(
        original=original,
        clusters=reviewed(original, edits, known_reach),
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
    """The RCCs, of those that there still are, whose verdict is safe."""
    review = load_review(folder)
    safe = {rcc for rcc, note in review.notes.items() if note.verdict == "safe"}
    return tuple(rcc for rcc in sorted(rccs_of(review.clusters)) if rcc in safe)


# --- What the engineer says -------------------------------------------------------------------------------------


class Kept(NamedTuple):
    """What became of a note.

    Attributes
    ----------
    notes : dict of int to RccNote
        All notes as they are now.
    conflicts : tuple of str
        The fields, of `name`, `note` and `verdict`, that somebody else had changed meanwhile: theirs are kept.
    """

    notes: dict[int, RccNote]
    conflicts: tuple[str, ...]


def set_note(folder: Path, note: RccNote, seen: RccNote | None = None, run: str | None = None) -> Kept:
    """Write what has changed of the note on one RCC; one that says nothing is removed.

    Parameters
    ----------
    note : RccNote
        As it is to be.
    seen : RccNote, optional
        As it was when whoever changes it last saw it: fields that are the same in both are left as they are by now, and
        those that somebody else has changed meanwhile are conflicts. Without it, all fields are written.
    run : str, optional
        Fingerprint of the clusters, as they were found, that the note is about.

    Raises
    ------
    SAFEError
        There is no such RCC, the clusters are others by now, the verdict is not one of `VERDICTS`, or the name or note
        is too long.
    """
    with writing(folder):
        review = load_review(folder)
        _check_run(review, run)
        if note.rcc not in review.clusters.labels and note.rcc != NOISE:
            raise SAFEError(f"There is no RCC {note.rcc} to note something on. Choose one that is shown.")
        theirs = review.notes.get(note.rcc, RccNote(note.rcc))
        kept, conflicts = combined(tidy_note(seen) if seen else theirs, tidy_note(note), theirs)
        notes = {**review.notes, note.rcc: kept}
        if kept != theirs:
            save_notes(folder, notes)
        return Kept({rcc: note for rcc, note in sorted(notes.items()) if says_something(note)}, conflicts)


def save_notes(folder: Path, notes: Mapping[int, RccNote]) -> None:
    """Write all notes, in place of those that there are.

    Raises
    ------
    SAFEError
        A verdict is not one of `VERDICTS`, or a name or note is too long.
    """
    tidy = {rcc: tidy_note(note) for rcc, note in notes.items()}
    with writing(folder):
        review = load_review(folder)
        _put_aside(folder, review)
        save_files(folder, _review_files(review.original, review.clusters, tidy, review.edits, labels=False))


# --- What the engineer changes ----------------------------------------------------------------------------------


class Maker(NamedTuple):
    """Who makes an edit, and what they have seen of the RCCs.

    Attributes
    ----------
    by : str
        A name of the visitor's own; empty for the one who has none.
    run : str or None
        Fingerprint of the clusters, as they were found.
    seen : int or None
        How many entries of the journal they have seen; None for all.
    """

    by: str = ""
    run: str | None = None
    seen: int | None = None


NOBODY = Maker()


def merge_rccs(
    folder: Path,
    rcc: int,
    into: int,
    note: RccNote | None = None,
    maker: Maker = NOBODY,
    asked: RccNote | None = None,
) -> Review:
    """Let the images of an RCC belong to another one from now on.

    Parameters
    ----------
    note : RccNote, optional
        What is then said of the latter; by default what `merged_note` gives.
    asked : RccNote, optional
        What that was when the engineer was asked for `note`.

    Raises
    ------
    SAFEError
        They are the same, there is no such RCC, the note is too long, or somebody else has changed one of them, or
        what is said of it.
    """
    rcc, into = int(rcc), int(into)
    with writing(folder):
        notes = load_review(folder).notes
        source, target = notes.get(rcc, RccNote(rcc)), notes.get(into, RccNote(into))
        merged = merged_note(source, target)
        if asked is not None and asked != merged:
            raise SAFEError("Meanwhile something else was said of these RCCs. Merge them again to see it first.")
        after = tidy_note((note or merged)._replace(rcc=into))
        return _edit(folder, Edit(_now(), "merge", (), (rcc,), into, maker.by, notes=(target, after, source)), maker)


def move_images(folder: Path, paths: Sequence[str], to: int, maker: Maker = NOBODY) -> Review:
    """Let images belong to another RCC, or with `to=NOISE` to none, from now on: one edit, however many they are.

    Raises
    ------
    SAFEError
        There is no such image or RCC, no image is given, one is there already, or somebody else has moved one.
    """
    images = tuple(dict.fromkeys(paths))
    with writing(folder):
        clusters = load_review(folder).clusters
        label_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
        source = tuple(label_of.get(path, NOISE) for path in images)
        return _edit(folder, Edit(_now(), "move", images, source, int(to), maker.by), maker)


def undo_edit(folder: Path, number: int | None = None, maker: Maker | None = None) -> Review:
    """Take back an edit.

    Parameters
    ----------
    number : int, optional
        Which one, from 0; by default the last one of `maker`, or of all where there is no maker.

    Raises
    ------
    SAFEError
        There is none, or a later one is about the same images or RCCs.
    """
    return _turn(folder, "undo", number, maker)


def redo_edit(folder: Path, number: int | None = None, maker: Maker | None = None) -> Review:
    """Do again what was last taken back (SAFEError where there is nothing, or an edit has been made since)."""
    return _turn(folder, "redo", number, maker)


def _turn(folder: Path, kind: str, number: int | None, maker: Maker | None) -> Review:
    by = maker.by if maker else None
    with writing(folder):
        review = load_review(folder)
        if number is None:
            number = review.last_edit(by) if kind == "undo" else review.last_undone(by)
        if number is None:
            others = " of yours; those of others are under Edits" if by is not None and review.edits else ""
            what = "edit to undo" if kind == "undo" else "undone edit to redo"
            raise SAFEError(f"There is no {what}{others}.")
        done, _ = standing(review.edits)
        if kind == "undo" and number in done:
            later = [review.edits[other] for other in done[done.index(number) + 1 :]]
            over = next((edit for edit in later if touches(edit, review.edits[number])), None)
            if over is not None:
                raise SAFEError(
                    f"A later edit is about the same images or RCCs: {describe_edit(over)}. Take that back first."
                )
        return _edit(folder, Edit(_now(), kind, by=by or "", of=number), maker or NOBODY)


def _edit(folder: Path, edit: Edit, maker: Maker) -> Review:
    """Add an edit to the journal; the journal, the notes and `labels.txt` are all written or none."""
    with writing(folder):
        review = load_review(folder)
        _check_run(review, maker.run)
        unseen = review.edits[maker.seen :] if maker.seen is not None and edit.kind in ("merge", "move") else ()
        for entry in unseen:
            other = review.edits[entry.of] if entry.of is not None else entry
            if entry.by != maker.by and other.kind in ("merge", "move") and touches(edit, other):
                raise SAFEError(
                    f"Meanwhile somebody else has changed these RCCs: {describe_edit(other)}. Look at them again first."
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
    """Rename notes and edits of another clustering, which came here in another way than by running one."""
    journal = read_journal(folder)
    if journal is None or journal.clusters == fingerprint(review.original):
        return
    for name in (NOTES_FILE, EDITS_FILE):
        old = folder / name
        if old.is_file():
            old.replace(old.with_stem(f"{old.stem}-{journal.clusters}"))


# --- From one clustering to the next ----------------------------------------------------------------------------


class Carried(NamedTuple):
    """What the engineer has said that holds for new clusters.

    Attributes
    ----------
    notes : dict of int to RccNote
    edits : tuple of Edit
    left : tuple of RccNote
        Notes of the run before on RCCs that the new clusters do not have.
    """

    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    left: tuple[RccNote, ...]


def carry_over(runs: Sequence[Review], clusters: RootCauseClusters) -> Carried:
    """Which notes and edits hold where clusters are generated anew.

    Edits are those of the latest run that found the same clusters. A note belongs to the images of its RCC: it holds
    for the RCC that has exactly these images, whichever run it was written in. Of several runs that have such an RCC,
    the latest that the engineer has looked through decides, also that there is no note.

    Parameters
    ----------
    runs : sequence of Review
        The run before, then earlier ones, the latest first.
    """
    same = next((run for run in runs if run.touched and fingerprint(run.original) == fingerprint(clusters)), None)
    edits = same.edits if same else ()
    notes = dict(same.notes) if same else {}
    now = reviewed(clusters, edits)
    groups = {rcc: _images(now, rcc) for rcc in now.groups}
    rcc_of = [{_images(run.clusters, rcc): rcc for rcc in run.clusters.groups} for run in runs]
    for rcc, images in groups.items():
        for run, known in zip(runs, rcc_of, strict=True):
            if run.touched and images in known:
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


def _images(clusters: RootCauseClusters, rcc: int) -> tuple[bool, frozenset[str]]:
    """Which images an RCC has, and whether it is one at all."""
    return rcc == NOISE, frozenset(clusters.members(rcc))


def save_run(
    clusters: RootCauseClusters,
    carried: Carried,
    folder: Path,
    more: Mapping[str, object] | None = None,
    files: Mapping[str, Writer] | None = None,
    remove: Collection[str] = (),
) -> None:
    """Write new clusters, and what holds of the engineer's notes and edits, in place of the run that is there.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    more : mapping, optional
        What else `run.json` says of the run.
    files : mapping, optional
        Further files that belong to it (see `support.output_folder.save_files`).
    remove : collection of str
        Files of the run before that this one does not have.

    Raises
    ------
    SAFEError
        As `support.output_folder.save_files`.
    """
    after = reviewed(clusters, carried.edits)
    said = _review_files(clusters, after, carried.notes, carried.edits) if carried.notes or carried.edits else {}
    # The journal last: it says whose notes these are, and the old ones must never be taken for the new RCCs'.
    save_files(
        folder, {**(files or {}), **cluster_files(clusters, more), **said}, remove=(*remove, NOTES_FILE, EDITS_FILE)
    )


# --- The files --------------------------------------------------------------------------------------------------


def mend_labels(folder: Path) -> bool:
    """Write `labels.txt` anew where it is not what the clusters and edits say; whether it was.

    A process that is killed between two files, or a full disk, may leave it behind.
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
    """The files that hold what the engineer says and changes, in the order in which they are to be replaced."""
    files: dict[str, Writer] = {LABELS_FILE: labels_text(after)} if labels else {}
    said = [note for _, note in sorted(notes.items()) if says_something(note)]
    return {**files, NOTES_FILE: notes_text(said), EDITS_FILE: journal_text(original, edits, after)}
