"""Step 2 of SAFE, the engineer's part: names, notes, verdicts and edits of RCCs. RCCs in, reviewed RCCs out.

`clusters.npz` stays what the clustering found. Beside it, `rcc_notes.csv` says what the engineer calls each RCC and
thinks of it, and `rcc_edits.json` is a journal of what was merged, moved, undone and redone. Both belong to one
clustering: the journal carries its fingerprint, and what belongs to another is never attached to it.

The paper leaves the root causes to the engineer's eye (Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.3); it does
not say what is done with what the engineer sees. The edits, and what they mean for core points, are decided here.
"""

import csv
import dataclasses
import datetime
import hashlib
import io
import json
import re
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from artefacts import DAMAGED, cell, from_cell, prepare_folder, write_text
from clustering import LABELS_FILE, RootCauseClusters, load_clusters, rcc_reach
from errors import SAFEError
from images import printable
from tuning import NOISE

NOTES_FILE = "rcc_notes.csv"
EDITS_FILE = "rcc_edits.json"
COLUMNS = ("rcc", "name", "note", "verdict")
VERDICTS = ("", "safe", "unsafe", "unclear")
KINDS = ("merge", "move", "undo", "redo")
LONGEST_NAME = 80
LONGEST_NOTE = 4000

# Two tabs may click at once: reading the files, changing them and writing them is one step.
_WRITING = threading.RLock()


class RccNote(NamedTuple):
    """What the engineer says of an RCC.

    Attributes
    ----------
    rcc : int
        `NOISE` for the images in no cluster.
    name : str
        One line, for example "sunglasses at night".
    note : str
        Any text, for example "hazard H3".
    verdict : "", "safe", "unsafe" or "unclear"
        Whether failing for this reason is a hazard; empty as long as nobody has judged it.
    """

    rcc: int
    name: str = ""
    note: str = ""
    verdict: str = ""


class Edit(NamedTuple):
    """An entry of the journal.

    Attributes
    ----------
    time : str
        ISO 8601, UTC.
    kind : "merge", "move", "undo" or "redo"
        An undo takes back the last edit that still holds, a redo the last undo; neither has images, source or target.
    images : tuple of str
        The images moved; empty for a merge.
    source : tuple of int
        For a merge the RCC that disappears; for a move the RCC of each image before it.
    target : int or None
        The RCC that they belong to from then on; `NOISE` for none.
    """

    time: str
    kind: str
    images: tuple[str, ...] = ()
    source: tuple[int, ...] = ()
    target: int | None = None


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
    can_undo, can_redo : bool
    """

    original: RootCauseClusters
    clusters: RootCauseClusters
    notes: dict[int, RccNote]
    edits: tuple[Edit, ...]
    can_undo: bool
    can_redo: bool


# --- RCCs with edits applied ------------------------------------------------------------------------------------


def reviewed(
    clusters: RootCauseClusters, edits: Iterable[Edit], known_reach: Mapping[int, float] | None = None
) -> RootCauseClusters:
    """Apply a journal of edits.

    Ids are stable: the id of a merged or emptied RCC is missing from `groups`, no other changes.

    An image moved to noise is no core point. An image moved to an RCC becomes a core point of it: the engineer vouches
    that it shows this root cause, and only as a core point does it draw candidates in the selection. An RCC reaches as
    far as the images that the clustering gave it (see `clustering.rcc_reach`), since one odd image moved there by hand
    would otherwise let everything count as near. An image moved back to where it was found is as it was found.

    Parameters
    ----------
    known_reach : mapping of int to float, optional
        How far RCCs reach after these very edits: of an RCC of 5,000 images it takes a second to find out.

    Raises
    ------
    SAFEError
        An edit speaks of an image or RCC that there is not.
    """
    applied, _ = _standing(edits)
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


def _standing(edits: Iterable[Edit]) -> tuple[list[Edit], list[Edit]]:
    """The edits of a journal that hold, oldest first, and those that a redo would bring back, the next one last."""
    done: list[Edit] = []
    undone: list[Edit] = []
    for edit in edits:
        if edit.kind == "undo":
            if not done:
                raise SAFEError("There is no edit to undo.")
            undone.append(done.pop())
        elif edit.kind == "redo":
            if not undone:
                raise SAFEError("There is no undone edit to redo.")
            done.append(undone.pop())
        else:
            done.append(edit)
            undone.clear()
    return done, undone


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


def fingerprint(clusters: RootCauseClusters) -> str:
    """16 hexadecimal digits that differ where the images or their RCCs differ."""
    digest = hashlib.blake2b(digest_size=8)
    for label, path in zip(clusters.labels.tolist(), clusters.paths, strict=True):
        digest.update(f"{label}\t{path}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def rccs_of(clusters: RootCauseClusters) -> list[int]:
    """The RCCs that have images, the largest first. Their number may be below `n_rccs`, the bound of their ids."""
    return [rcc for rcc in clusters.groups if rcc != NOISE]


# --- How RCCs and edits are spoken of ---------------------------------------------------------------------------


def title(rcc: int, notes: Mapping[int, RccNote] | None = None) -> str:
    """For example `RCC 3 · sunglasses at night`, `RCC 3`, `No cluster`; plain text."""
    name = notes[rcc].name if notes and rcc in notes else ""
    return ("No cluster" if rcc == NOISE else f"RCC {rcc}") + (f" · {name}" if name else "")


def describe_edit(edit: Edit) -> str:
    """One sentence, plain text, for a list of edits."""
    if edit.kind == "undo":
        return "Took back the last edit"
    if edit.kind == "redo":
        return "Did the edit again that was taken back"
    if edit.kind == "merge":
        return f"Merged {title(edit.source[0])} into {title(edit.target)}"
    what = printable(edit.images[0]) if len(edit.images) == 1 else f"{len(edit.images):,} images"
    sources = ", ".join(title(rcc) for rcc in sorted(set(edit.source)))
    return f"Moved {what} from {sources} to {title(edit.target)}"


# --- What lies in a folder --------------------------------------------------------------------------------------


def load_review(folder: Path) -> Review:
    """The RCCs in a folder with all that the engineer has added.

    Raises
    ------
    SAFEError
        There are no clusters, or one of the files is damaged.
    """
    original = load_clusters(folder)
    journal = _read_journal(folder)
    ours = journal is None or journal.clusters == fingerprint(original)
    edits, known_reach = (journal.edits, journal.reach) if journal and ours else ((), {})
    done, undone = _standing(edits)
    return Review(
        original=original,
        clusters=reviewed(original, edits, known_reach),
        notes=_read_notes(folder / NOTES_FILE) if ours else {},
        edits=edits,
        can_undo=bool(done),
        can_redo=bool(undone),
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


# --- What the engineer does -------------------------------------------------------------------------------------


def set_note(folder: Path, note: RccNote) -> dict[int, RccNote]:
    """Write the note on one RCC; one that says nothing is removed. Returns all notes.

    Raises
    ------
    SAFEError
        There is no such RCC, the verdict is none of `VERDICTS`, or the name or note is too long.
    """
    with _WRITING:
        review = load_review(folder)
        if note.rcc not in review.clusters.labels and note.rcc != NOISE:
            raise SAFEError(f"There is no RCC {note.rcc} to note something on. Choose one that is shown.")
        notes = {**review.notes, note.rcc: note}
        save_notes(folder, notes)
        return load_notes(folder)


def save_notes(folder: Path, notes: Mapping[int, RccNote]) -> None:
    """Write all notes, in place of those that there are.

    Raises
    ------
    SAFEError
        A verdict is none of `VERDICTS`, or a name or note is too long.
    """
    tidy = [_tidy(note) for _, note in sorted(notes.items())]
    with _WRITING:
        review = load_review(folder)
        _claim(folder, review)
        _write_notes(folder, [note for note in tidy if note.name or note.note or note.verdict])


def merge_rccs(folder: Path, rcc: int, into: int) -> Review:
    """Let the images of an RCC belong to another one from now on.

    Raises
    ------
    SAFEError
        They are the same, or there is no such RCC.
    """
    return _edit(folder, "merge", (), (int(rcc),), int(into))


def move_images(folder: Path, paths: Sequence[str], to: int) -> Review:
    """Let images belong to another RCC, or with `to=NOISE` to none, from now on: one edit, however many they are.

    Raises
    ------
    SAFEError
        There is no such image or RCC, no image is given, or one of them is there already.
    """
    return _edit(folder, "move", tuple(dict.fromkeys(paths)), (), int(to))


def undo_edit(folder: Path) -> Review:
    """Take back the last edit that holds (SAFEError where there is none)."""
    return _edit(folder, "undo")


def redo_edit(folder: Path) -> Review:
    """Do again what was last taken back (SAFEError where there is nothing, or an edit has been made since)."""
    return _edit(folder, "redo")


def _edit(
    folder: Path, kind: str, images: tuple[str, ...] = (), source: tuple[int, ...] = (), target: int | None = None
) -> Review:
    """Add an edit to the journal and write `labels.txt` anew."""
    with _WRITING:
        review = load_review(folder)
        if kind == "move":
            label_of = dict(zip(review.clusters.paths, review.clusters.labels.tolist(), strict=True))
            source = tuple(label_of.get(path, NOISE) for path in images)
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        edits = (*review.edits, Edit(now, kind, images, source, target))
        clusters = reviewed(review.original, edits)
        _claim(folder, review)
        write_journal(folder, review.original, edits, clusters)
        write_labels(folder, clusters)
        return load_review(folder)


def _claim(folder: Path, review: Review) -> None:
    """Put aside notes and edits of another clustering, and begin a journal for this one.

    Running a clustering carries over or archives them; this is for files that came here in another way.
    """
    prepare_folder(folder)
    journal = _read_journal(folder)
    mine = fingerprint(review.original)
    if journal is not None and journal.clusters == mine:
        return
    if journal is not None:
        for name in (NOTES_FILE, EDITS_FILE):
            old = folder / name
            if old.is_file():
                old.replace(old.with_stem(f"{old.stem}-{journal.clusters}"))
    write_journal(folder, review.original, ())


# --- From one clustering to the next ----------------------------------------------------------------------------


def carry_over(previous: Review | None, clusters: RootCauseClusters) -> tuple[dict[int, RccNote], tuple[Edit, ...]]:
    """Which notes and edits still hold where clusters are generated anew.

    The same clusters keep all. Otherwise a note is kept where an RCC has exactly the same images as the reviewed RCC
    that it was written for, and no edit is kept: the earlier run's record has the rest.
    """
    if previous is None:
        return {}, ()
    if fingerprint(previous.original) == fingerprint(clusters):
        return previous.notes, previous.edits
    group_of = {frozenset(clusters.members(rcc)): rcc for rcc in clusters.groups}
    kept = {}
    for rcc, note in previous.notes.items():
        now = group_of.get(frozenset(previous.clusters.members(rcc)))
        if now is not None and (now == NOISE) == (rcc == NOISE):
            kept[now] = note._replace(rcc=now)
    return kept, ()


def save_review(
    folder: Path, clusters: RootCauseClusters, notes: Mapping[int, RccNote], edits: tuple[Edit, ...]
) -> None:
    """Write what `carry_over` gave, in place of what is there, for clusters that have just been saved.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them, no edit applied.
    """
    with _WRITING:
        if edits or notes or (folder / EDITS_FILE).exists() or (folder / NOTES_FILE).exists():
            after = reviewed(clusters, edits)
            # The journal last: it says whose notes these are, and the old ones must never be taken for the new RCCs'.
            _write_notes(folder, [note for _, note in sorted(notes.items())])
            write_journal(folder, clusters, edits, after)
            if edits:
                write_labels(folder, after)


# --- The files --------------------------------------------------------------------------------------------------


def write_labels(folder: Path, clusters: RootCauseClusters) -> None:
    """Write `labels.txt`, as `clustering.save_clusters` does."""
    lines = (f"{label}\t{path}\n" for label, path in zip(clusters.labels, clusters.paths, strict=True))
    write_text(folder / LABELS_FILE, "".join(lines))


class Journal(NamedTuple):
    """What `rcc_edits.json` holds.

    Attributes
    ----------
    clusters : str
        Fingerprint of the clusters before any edit.
    edits : tuple of Edit
    reach : dict of int to float
        How far the RCCs reach after the edits, of those that the edits have changed.
    """

    clusters: str
    edits: tuple[Edit, ...]
    reach: dict[int, float]


def write_journal(
    folder: Path, clusters: RootCauseClusters, edits: Collection[Edit], after: RootCauseClusters | None = None
) -> None:
    """Write `rcc_edits.json`; `clusters` are those before any edit, `after` those after all."""
    entries = [
        {"time": time, "kind": kind, **({"images": images} if images else {}), "from": source, "to": target}
        if kind in ("merge", "move")
        else {"time": time, "kind": kind}
        for time, kind, images, source, target in edits
    ]
    reach = {}
    if after is not None:
        touched = {rcc for edit in edits if edit.target is not None for rcc in (*edit.source, edit.target)}
        reach = {str(rcc): float(after.reach[rcc]) for rcc in sorted(touched) if 0 <= rcc < len(after.reach)}
    record = {"clusters": fingerprint(clusters), "edits": entries, "reach": reach}
    write_text(folder / EDITS_FILE, json.dumps(record, indent=1) + "\n")


def _read_journal(folder: Path) -> Journal | None:
    """The journal in a folder; None where nothing was ever written."""
    path = folder / EDITS_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        edits = tuple(_edit_of(entry) for entry in record["edits"])
        _standing(edits)
        mine = record["clusters"]
        if not isinstance(mine, str) or not re.fullmatch("[0-9a-f]{16}", mine):
            raise ValueError("no fingerprint")
        reach = {int(rcc): float(value) for rcc, value in record.get("reach", {}).items()}
        if not all(0 <= value < 1e38 for value in reach.values()):
            raise ValueError("a reach that is none")
        return Journal(mine, edits, reach)
    except DAMAGED as error:
        raise SAFEError(
            f"{path} must be the journal that SAFE wrote, and whole. Received something else ({error}). "
            "Repair it, or move it away to start from the clusters as they were found."
        ) from error


def _edit_of(entry: Mapping) -> Edit:
    kind = entry["kind"]
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r}")
    if kind in ("undo", "redo"):
        return Edit(str(entry["time"]), kind)
    images = tuple(map(str, entry.get("images", ())))
    source = tuple(map(int, entry["from"]))
    if len(source) != (1 if kind == "merge" else len(images)):
        raise ValueError("from does not fit")
    return Edit(str(entry["time"]), kind, images, source, int(entry["to"]))


def _write_notes(folder: Path, notes: Sequence[RccNote]) -> None:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(note._replace(name=cell(note.name), note=cell(note.note)) for note in notes)
    write_text(folder / NOTES_FILE, table.getvalue())


def _read_notes(path: Path) -> dict[int, RccNote]:
    """Read `rcc_notes.csv`, which people fill in with a spreadsheet too: other separators and code pages are known."""
    if not path.is_file():
        return {}
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SAFEError(f"Could not read {path}: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", "replace")
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    notes: dict[int, RccNote] = {}
    try:
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        if "rcc" not in reader.fieldnames:
            raise SAFEError(f"{path} must begin with a line of column names, rcc,name,note,verdict. Add it.")
        for row in reader:
            note = _note_of(row)
            if note.rcc in notes:
                raise SAFEError(f"{title(note.rcc)} has two rows")
            notes[note.rcc] = note
    except (SAFEError, csv.Error) as error:
        if str(error).startswith(str(path)):
            raise
        raise SAFEError(f"{path}, line {reader.reader.line_num}: {error}. Correct the line, or remove it.") from error
    return notes


def _note_of(row: Mapping[str | None, object]) -> RccNote:
    typed = {name: from_cell(str(row.get(name) or "").strip()) for name in COLUMNS}
    number = re.fullmatch(r"(?:rcc)?\s*(-?\d{1,9})(?:\.0)?", typed["rcc"], re.IGNORECASE)
    if number is None or int(number[1]) < NOISE:
        raise SAFEError(f"rcc must be a whole number, -1 or more. Received: {typed['rcc']!r}")
    return _tidy(RccNote(int(number[1]), typed["name"], typed["note"], typed["verdict"]))


def _tidy(note: RccNote) -> RccNote:
    """A note as it is kept; a SAFEError where it cannot be."""
    name = printable(" ".join(note.name.split()))
    text = printable(note.note.replace("\r\n", "\n").replace("\r", "\n").strip())
    verdict = note.verdict.strip().lower()
    if verdict not in VERDICTS:
        raise SAFEError(f"verdict must be safe, unsafe, unclear or empty. Received: {note.verdict!r}")
    for what, value, longest in (("name", name, LONGEST_NAME), ("note", text, LONGEST_NOTE)):
        if len(value) > longest:
            raise SAFEError(f"A {what} may have {longest:,} characters. Received: {len(value):,}")
    return RccNote(note.rcc, name, text, verdict)
