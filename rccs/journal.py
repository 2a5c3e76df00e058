"""The engineer's edits of RCCs, and `rcc_edits.json`, the journal that keeps them. Step 2."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, fingerprint
from rccs.notes import RccNote, tidy_note, title
from support.errors import SAFEError
from support.files import DAMAGED
from support.run_folder import EDITS_FILE
from support.text import printable

KINDS = ("merge", "move", "undo", "redo")


class Edit(NamedTuple):
    """An entry of the journal.

    Attributes
    ----------
    time : str
        ISO 8601, UTC.
    kind : "merge", "move", "undo" or "redo"
        An undo takes an edit back, a redo does it again; neither has images, source or target.
    images : tuple of str
        The images moved; empty for a merge.
    source : tuple of int
        For a merge the RCC that disappears; for a move the RCC of each image before it.
    target : int or None
        The RCC that they belong to from then on; `NOISE` for none.
    by : str
        Who made it: a window of the page; empty where that is unknown.
    of : int or None
        For an undo or redo the number of the edit in the journal, from 0; None, in older journals, for the last one.
    notes : tuple of RccNote, or None
        For a merge the notes on the target before and after it and, but for older journals, the one on the source.
    """

    time: str
    kind: str
    images: tuple[str, ...] = ()
    source: tuple[int, ...] = ()
    target: int | None = None
    by: str = ""
    of: int | None = None
    notes: tuple[RccNote, ...] | None = None


def standing(edits: Sequence[Edit]) -> tuple[list[int], list[tuple[int, str]]]:
    """The edits of a journal that hold, and those that can be done again.

    An edit that is done again counts as the last one. What somebody has taken back can be done again until the same one
    makes another edit.

    Returns
    -------
    done : list of int
        Numbers of edits in the order in which they apply.
    undone : list of (int, str)
        Numbers and who has taken them back, the last one last.

    Raises
    ------
    SAFEError
        Something is taken back, or done again, that is not there.
    """
    done: list[int] = []
    undone: list[tuple[int, str]] = []
    for number, edit in enumerate(edits):
        if edit.kind == "undo":
            of = edit.of if edit.of is not None else done[-1] if done else None
            if of not in done:
                raise SAFEError("There is no edit to undo.")
            done.remove(of)
            undone.append((of, edit.by))
        elif edit.kind == "redo":
            of = edit.of if edit.of is not None else undone[-1][0] if undone else None
            if of not in [number for number, _ in undone]:
                raise SAFEError("There is no undone edit to redo.")
            undone = [one for one in undone if one[0] != of]
            done.append(of)
        else:
            done.append(number)
            undone = [one for one in undone if one[1] != edit.by]
    return done, undone


def touches(a: Edit, b: Edit) -> bool:
    """Whether one of two edits, merges or moves, changes what the other is about: their order then counts."""
    if a.kind == b.kind == "move":
        return not {*a.images}.isdisjoint(b.images)
    return not ({*a.source, a.target} & {*b.source, b.target}) <= {NOISE}


def describe_edit(edit: Edit, journal: Sequence[Edit] = ()) -> str:
    """One sentence, plain text, for a list of edits; `journal` has the edit that an undo or redo is about."""
    if edit.kind in ("undo", "redo"):
        known = edit.of is not None and edit.of < len(journal)
        which = f": {describe_edit(journal[edit.of])}" if known else ""
        return f"Took back{which or ' the last edit'}" if edit.kind == "undo" else f"Done again{which}"
    if edit.kind == "merge":
        return f"Merged {title(edit.source[0])} into {title(edit.target)}"
    what = printable(edit.images[0]) if len(edit.images) == 1 else f"{len(edit.images):,} images"
    sources = ", ".join(title(rcc) for rcc in sorted(set(edit.source)))
    return f"Moved {what} from {sources} to {title(edit.target)}"


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


def journal_text(clusters: RootCauseClusters, edits: Collection[Edit], after: RootCauseClusters) -> str:
    """What `rcc_edits.json` holds; `clusters` are those before any edit, `after` those after all."""
    entries = []
    for edit in edits:
        entry: dict[str, object] = {"time": edit.time, "kind": edit.kind}
        if edit.images:
            entry["images"] = edit.images
        if edit.kind in ("merge", "move"):
            entry |= {"from": edit.source, "to": edit.target}
        if edit.by:
            entry["by"] = edit.by
        if edit.of is not None:
            entry["of"] = edit.of
        if edit.notes:
            entry["notes"] = [note._asdict() for note in edit.notes]
        entries.append(entry)
    touched = {rcc for edit in edits if edit.target is not None for rcc in (*edit.source, edit.target)}
    reach = {str(rcc): float(after.reach[rcc]) for rcc in sorted(touched) if 0 <= rcc < len(after.reach)}
    return json.dumps({"clusters": fingerprint(clusters), "edits": entries, "reach": reach}, indent=1) + "\n"


def read_journal(folder: Path) -> Journal | None:
    """The journal in a folder; None where nothing was ever written."""
    path = folder / EDITS_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        edits = tuple(_edit_of(entry) for entry in record["edits"])
        standing(edits)
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
    time, by = str(entry["time"]), str(entry.get("by", ""))
    if kind in ("undo", "redo"):
        return Edit(time, kind, by=by, of=None if entry.get("of") is None else int(entry["of"]))
    images = tuple(map(str, entry.get("images", ())))
    source = tuple(map(int, entry["from"]))
    if len(source) != (1 if kind == "merge" else len(images)):
        raise ValueError("from does not fit")
    notes = None
    if "notes" in entry:
        notes = tuple(
            tidy_note(RccNote(int(note["rcc"]), note["name"], note["note"], note["verdict"])) for note in entry["notes"]
        )
        if len(notes) not in (2, 3):
            raise ValueError("notes do not fit")
    return Edit(time, kind, images, source, int(entry["to"]), by, notes=notes)
