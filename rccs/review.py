"""Step 2 of SAFE, the review: the engineer's names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` is not changed by a review. `rcc_notes.csv` has the name, note and verdict of each RCC, and
`rcc_edits.json` is a journal of merges, moves, undos and redos. Both belong to one clustering, whose fingerprint is in
the journal, and are never applied to another.

In the paper, the engineer recognizes the root causes by inspecting the RCCs (Attaoui et al., ACM TOSEM 32(3):79, 2023,
section 3.3); it does not say what follows from that. Edits are made in `rccs/edits.py`, and their effect is defined in
`rccs/edited.py`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, fingerprint, labels_text, load_clusters, rccs_of
from rccs.edited import reviewed
from rccs.journal import Edit, journal_text, read_journal, standing
from rccs.notes import RccNote, combined, notes_text, read_notes, says_something, tidy_note
from support.errors import SAFEError
from support.files import free_name
from support.output_folder import Writer, save_files, save_text, settle, writing
from support.run_folder import EDITS_FILE, LABELS_FILE, NOTES_FILE

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
        check_run(review, run)
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
    put_aside(folder, review)
    save_files(folder, review_files(review.original, review.clusters, notes, review.edits, labels=False))


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


def review_files(
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


def check_run(review: Review, run: str | None) -> None:
    """Make sure that a change is about the clusters of this review; a SAFEError if they have been generated again."""
    if run is not None and run != fingerprint(review.original):
        raise SAFEError(CHANGED)


def put_aside(folder: Path, review: Review) -> None:
    """Rename notes and edits that belong to another clustering, for example because files were copied here."""
    journal = read_journal(folder)
    if journal is None or journal.clusters == fingerprint(review.original):
        return
    for name in (NOTES_FILE, EDITS_FILE):
        old = folder / name
        if old.is_file():
            aside = old.with_stem(f"{old.stem}-{journal.clusters}")
            old.replace(free_name(aside) if aside.exists() else aside)
