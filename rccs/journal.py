"""The engineer's edits of RCCs, and the journal of them, `rcc_edits.json`. Step 2."""

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

MAKING = ("merge", "move", "new")  # what is done; the other kinds take it back and do it again
KINDS = (*MAKING, "undo", "redo")


class Edit(NamedTuple):
    """An entry of the journal.

    Attributes
    ----------
    time : str
        ISO 8601, UTC.
    kind : "merge", "move", "new", "undo" or "redo"
        Neither an undo nor a redo has images, source or target. A new RCC is made of images of others.
    images : tuple of str
        The images moved; empty for a merge.
    source : tuple of int
        For a merge, the RCC that disappears; for a move and a new RCC, the previous RCC of each image.
    target : int or None
        The RCC that the images belong to afterwards, or `NOISE`. That of a new RCC was never used before.
    by : str
        The author: a window of the page; empty if unknown.
    of : int or None
        For an undo or redo, the number of the edit in the journal, from 0; None, in older journals, for the last edit.
    notes : tuple of RccNote, or None
        For a merge, the notes on the target before and after it and, except in older journals, that on the source.
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
    """The edits of a journal that are in effect, and those that can be redone.

    An edit that is redone counts as the last one. An undone edit can be redone until the author of the undo makes
    another edit.

    Returns
    -------
    done : list of int
        Numbers of edits, in the order in which they apply.
    undone : list of (int, str)
        Numbers, and the authors of the undos, the last one last.

    Raises
    ------
    SAFEError
        An undo or redo is about an edit that cannot be undone or redone.
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
            undone = [(other, by) for other, by in undone if other != of]
            done.append(of)
        else:
            done.append(number)
            undone = [(other, by) for other, by in undone if by != edit.by]
    return done, undone


def touches(a: Edit, b: Edit) -> bool:
    """Whether two edits are about the same images or RCCs, so that their order matters."""
    if "merge" not in (a.kind, b.kind):
        made = {edit.target for edit in (a, b) if edit.kind == "new"}
        return not ({*a.images}.isdisjoint(b.images) and made.isdisjoint({*a.source, a.target} & {*b.source, b.target}))
    return not ({*a.source, a.target} & {*b.source, b.target}) <= {NOISE}


def describe_edit(edit: Edit, journal: Sequence[Edit] = ()) -> str:
    """A plain sentence for a list of edits; `journal` has the edit that an undo or redo is about."""
    if edit.target is None:  # an undo or redo
        done = "Undone" if edit.kind == "undo" else "Redone"
        if edit.of is None or edit.of >= len(journal):
            return f"{done}: the last edit"
        return f"{done}: {describe_edit(journal[edit.of])}"
    if edit.kind == "merge":
        return f"Merged {title(edit.source[0])} into {title(edit.target)}"
    what = printable(edit.images[0]) if len(edit.images) == 1 else f"{len(edit.images):,} images"
    sources = ", ".join(title(rcc) for rcc in sorted(set(edit.source)))
    if edit.kind == "new":
        return f"Made {title(edit.target)} of {what} from {sources}"
    return f"Moved {what} from {sources} to {title(edit.target)}"


class Journal(NamedTuple):
    """The contents of `rcc_edits.json`.

    Attributes
    ----------
    clusters : str
        Fingerprint of the clusters before any edit.
    edits : tuple of Edit
    reach : dict of int to float
        The reach of the RCCs that the edits have changed (see `rccs.clusters.rcc_reach`).
    """

    clusters: str
    edits: tuple[Edit, ...]
    reach: dict[int, float]


def journal_text(clusters: RootCauseClusters, edits: Collection[Edit], after: RootCauseClusters) -> str:
    """The text of `rcc_edits.json`; `clusters` are those before any edit, `after` those after all edits."""
    entries = []
    for edit in edits:
        entry: dict[str, object] = {"time": edit.time, "kind": edit.kind}
        if edit.images:
            entry["images"] = edit.images
        if edit.kind in MAKING:
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
    """The journal in a folder; None if there is none.

    Raises
    ------
    SAFEError
        The journal is damaged.
    """
    path = folder / EDITS_FILE
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        edits = tuple(_edit_of(entry) for entry in record["edits"])
        standing(edits)
        clusters = record["clusters"]
        if not isinstance(clusters, str) or not re.fullmatch("[0-9a-f]{16}", clusters):
            raise ValueError("an invalid fingerprint")
        reach = {int(rcc): float(value) for rcc, value in record.get("reach", {}).items()}
        if not all(0 <= value < 1e38 for value in reach.values()):
            raise ValueError("an invalid reach")
        return Journal(clusters, edits, reach)
    except DAMAGED as error:
        raise SAFEError(
            f"{path} must be the complete journal written by SAFE. Received something else ({error}). Repair it, or "
            "move it away to start from the unedited clusters."
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
        raise ValueError("wrong length of from")
    notes = None
    if "notes" in entry:
        notes = tuple(
            tidy_note(RccNote(int(note["rcc"]), note["name"], note["note"], note["verdict"])) for note in entry["notes"]
        )
        if len(notes) not in (2, 3):
            raise ValueError("notes do not fit")
    return Edit(time, kind, images, source, int(entry["to"]), by, notes=notes)
