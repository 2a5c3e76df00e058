"""What the engineer has said and done in the review of a run, as the entries of the database say it. Step 2.

The paper does not say what follows from the engineer's inspection of RCCs. The effect of edits on core points, and so
on the selection, is defined here (`reviewed`).

Notes on RCCs, weak spots and the whole analysis are for a safety case. The fields of the register follow the notions of
ISO 21448 (functional insufficiencies and their triggering conditions) and ISO/PAS 8800 (kinds of causes, safety
impact); no conformity is claimed.
"""

import dataclasses
import json
import sqlite3
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters, rcc_reach
from safe_dnn.rccs.dbscan.outcome import NOISE, Steadiness
from safe_dnn.rccs.spots.weak_spots import read_conditions
from safe_dnn.store.database import Entry, append, entries, entries_of, last_number, marks, reading
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable, some
from safe_dnn.support.version import VERSION

# --- Notes --------------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    """What is known of a word that a reason for failing is judged with.

    Attributes
    ----------
    gravity : float
        Merged RCCs get the more serious verdict of the two, so that no hazard is lost. What is more serious than not
        judged is part of a safety case.
    mark : str
        Displayed before the word in lists.
    key : str
        Pressed on the page to judge.
    """

    gravity: float
    mark: str
    key: str


SAFE, UNSAFE = "safe", "unsafe"
VERDICTS = {
    "": Verdict(0, "", "x"),
    UNSAFE: Verdict(2, "⚠", "u"),
    SAFE: Verdict(-1, "✓", "s"),
    "unclear": Verdict(1, "?", "c"),
}
"""By word, whether failures for a reason are a hazard; the empty one if that is not judged yet.

Their colours are in `page/style.css` and `report/report.css`.
"""
NOT_JUDGED = "not judged"


def judgements() -> list[str]:
    """The words that a reason can be judged with, the most serious first."""
    return sorted(filter(None, VERDICTS), key=lambda word: -VERDICTS[word].gravity)


class Field(NamedTuple):
    """A field of a note.

    Attributes
    ----------
    title : str
    example : str
    choices : collection of str
        The values allowed in addition to an empty one; empty for any text.
    longest : int
        Characters.
    lines : bool
        Whether it may have several lines.
    """

    title: str
    example: str = ""
    choices: Collection[str] = ()
    longest: int = 300
    lines: bool = False

    @property
    def noun(self) -> str:
        """The title within a sentence."""
        return self.title[0].lower() + self.title[1:]

    def tidy(self, text: str) -> str:
        """A text in the form in which it is saved; a SAFEError if it is invalid."""
        lines = text.replace("\r\n", "\n").replace("\r", "\n").strip()
        tidy = printable(lines if self.lines else " ".join(text.split()))
        if tidy and self.choices:
            tidy = tidy.lower()
            if tidy not in self.choices:
                choices = ", ".join(filter(None, self.choices))
                raise SAFEError(f"{self.title} must be {choices} or empty. Received: {text[:80]!r}")
        if len(tidy) > self.longest:
            raise SAFEError(f"{self.title} may have {self.longest:,} characters. Received: {len(tidy):,}")
        return tidy


def _long(title: str, example: str) -> Field:
    return Field(title, example, longest=2_000, lines=True)


class Note(NamedTuple):
    """The engineer's note on a reason; fields without a text are empty.

    Attributes
    ----------
    about : int or (str, str)
        An RCC; `NOISE` for the images in no cluster. For a weak spot, its conditions, as in
        `rccs.spots.weak_spots.conditions_text`, in the words of the weak spot that the first note was on, and the
        folder of the test images, as the analysis records it: the same words are another condition in another test
        set.
    """

    about: Any
    name: Annotated[str, Field("A name", longest=80)] = ""
    note: Annotated[str, Field("A note", longest=20_000, lines=True)] = ""
    verdict: Annotated[str, Field("verdict", choices=VERDICTS)] = ""
    hazard: Annotated[str, Field("Hazard", "H3 Gaze lost at night")] = ""
    trigger: Annotated[str, Field("Triggering condition", "light < 0.4 while the driver looks down")] = ""
    insufficiency: Annotated[
        str, Field("Insufficiency", choices=("sensor", "algorithm", "specification", "data", "interaction"))
    ] = ""
    severity: Annotated[str, Field("Severity or ASIL", "ASIL B")] = ""
    exposure: Annotated[str, Field("Exposure", "E3, a tenth of all drives")] = ""
    criterion: Annotated[str, Field("Acceptance criterion", "light < 0.4: at most 5 % wrong at 95 %")] = ""
    measure: Annotated[
        str,
        Field(
            "Measure", choices=("more data", "retraining", "redundancy", "monitoring", "restriction of use", "fallback")
        ),
    ] = ""
    ticket: Annotated[str, Field("Requirement or ticket", "REQ-117")] = ""
    owner: Annotated[str, Field("Owner", "J. Doe")] = ""
    status: Annotated[str, Field("Status", choices=("open", "in treatment", "closed", "accepted"))] = ""
    residual: Annotated[str, Field("Residual risk", "gaze lost for up to 2 s below 10 lux")] = ""
    hypothesis: Annotated[str, Field("Hypothesis", "lids hide the pupil, which few training images show")] = ""
    refutation: Annotated[str, Field("Refutation criterion", "as many failures with lids wide open")] = ""
    belief: Annotated[str, Field("State of the hypothesis", choices=("open", "confirmed", "refuted"))] = ""

    @property
    def rcc(self) -> int | None:
        """The RCC; None for a weak spot."""
        return None if isinstance(self.about, tuple) else self.about

    @property
    def subject(self) -> str:
        """The subject of entries on a weak spot."""
        return json.dumps(self.about)


class Scope(NamedTuple):
    """The engineer's note on the analysis as a whole; fields without a text are empty."""

    system: Annotated[
        str, _long("System and function", "driver monitoring: warns when the gaze leaves the road for 2 s")
    ] = ""
    use: Annotated[str, _long("Intended use", "passenger cars, as a warning alone; no control of the car")] = ""
    domain: Annotated[
        str, _long("Operational design domain", "day and night, with glasses; no sunglasses, 30 to 130 km/h")
    ] = ""
    training: Annotated[str, _long("Source of the training images", "simulator v4, 12 persons, spring 2026")] = ""
    tested: Annotated[str, _long("Source of the test images", "simulator v4, 4 other persons")] = ""
    improvement: Annotated[
        str, _long("Source of the improvement images", "drives of October 2026, 31 persons, not labelled")
    ] = ""
    fresh: Annotated[str, _long("Source of images that chose nothing", "drives of November 2026, 9 other persons")] = ""
    hazards: Annotated[str, _long("Hazard analysis", "HARA-12, revision 3")] = ""
    responsible: Annotated[str, _long("Responsible person", "J. Doe")] = ""
    reviewer: Annotated[str, _long("Reviewer", "A. Roe")] = ""


def _fields_of(record: type) -> dict[str, Field]:
    hints = get_type_hints(record, include_extras=True).items()
    return {name: hint.__metadata__[0] for name, hint in hints if name != "about"}


FIELDS, SCOPE = _fields_of(Note), _fields_of(Scope)
"""The fields of a note on a reason, and of one on the analysis as a whole, by name."""
REGISTER = {name: field for name, field in FIELDS.items() if name not in ("name", "note", "verdict")}
"""The fields of a reason in a safety case, by name."""
AnyNote = TypeVar("AnyNote", Note, Scope)


def change_of(before: Note | Scope, after: Note | Scope) -> dict[str, dict[str, Any]]:
    """The value of an entry that changes a note: before and after, the fields that have a text, by name."""
    return {"before": _by_name(before), "after": _by_name(after)}


def _by_name(note: Note | Scope) -> dict[str, Any]:
    return {name: content for name, content in note._asdict().items() if content or name == "about"}


def note_of(entry: Entry, when: str = "after") -> Any:
    """The note that an entry has written, a `Note` or `Scope`.

    Parameters
    ----------
    when : "before" or "after"

    Raises
    ------
    SAFEError
        It has a field that this version does not know.
    """
    fields = {**entry.value[when]}
    record: Any = Scope if entry.kind == "scope" else Note
    if unknown := sorted(fields.keys() - {*record._fields}):
        wrote = f"version {entry.version}" if entry.version else "another version"
        raise SAFEError(
            f"Expected a note with fields that SAFE {VERSION} knows. Received: {some(unknown)}, written by {wrote} of "
            "SAFE. Nothing was changed. Use that version, or a later one."
        )
    if entry.kind == "spot":
        fields["about"] = tuple(fields["about"])
    return record(**fields)


def title(rcc: int, notes: Mapping[int, Note] | None = None) -> str:
    """For example `RCC 3 · sunglasses at night`, `RCC 3`, `No cluster`; plain text."""
    name = notes[rcc].name if notes and rcc in notes else ""
    return ("No cluster" if rcc == NOISE else f"RCC {rcc}") + (f" · {name}" if name else "")


def combined(before: AnyNote, after: AnyNote, now: AnyNote) -> AnyNote:
    """Make a change of a note where it may have been changed again: a field that was stays as it is now."""
    same = [name for name in fields_of(now) if getattr(now, name) == getattr(before, name)]
    fields: dict[str, Any] = {name: getattr(after, name) for name in same}
    return now._replace(**fields)


def merged_note(source: Note, target: Note) -> Note:
    """The note on an RCC after another RCC was merged into it; nothing of either note is lost.

    The more serious verdict is kept; an RCC that is not judged yet does not become safe. The name is the target's or,
    if it has none, the source's; so are the fields of the register. The text has both texts, and what was not kept.
    """
    name = target.name or source.name
    verdict = max(source.verdict, target.verdict, key=lambda word: VERDICTS[word].gravity)
    register: dict[str, Any] = {field: getattr(target, field) or getattr(source, field) for field in REGISTER}
    lines = [target.note, source.note]
    for note in (source, target):
        was = f"“{note.name}”" if note.name and note.name != name else ""
        was += f"{' and ' if was else ''}judged {note.verdict}" if note.verdict and note.verdict != verdict else ""
        lines.append(f"{title(note.about)} was {was}." if was else "")
        lines += [
            f"{title(note.about)} had: {known.title}: {content}."
            for field, known in REGISTER.items()
            if (content := getattr(note, field)) and content != register[field]
        ]
    text = ""
    for line in lines:
        text += "" if line in text else f"{text and chr(10)}{line}"
    return Note(target.about, name, text, verdict, **register)


def fields_of(note: Note | Scope) -> dict[str, Field]:
    """What an engineer may say in a note, by field."""
    return SCOPE if isinstance(note, Scope) else FIELDS


def tidy_note(note: AnyNote) -> AnyNote:
    """A note in the form in which it is saved; a SAFEError if it is invalid."""
    return note._replace(**{name: known.tidy(getattr(note, name)) for name, known in fields_of(note).items()})


# --- Entries ------------------------------------------------------------------------------------------------------

MAKING = ("merge", "move", "new")  # they change which images an RCC has
SAYING = ("rcc", "spot", "scope")  # notes on an RCC, a weak spot and the whole analysis
TURNING = ("undo", "redo")
_RECORDED = ("images", "source", "target", "of")  # fields of an edit that its entry has
KINDS = (*MAKING, *SAYING, *TURNING)
UNKNOWN = "unknown"  # the engineer
# Fields that are kept while they are typed
TYPED = {field for field, known in {**FIELDS, **SCOPE}.items() if not known.choices}


ELSEWHERE = "Changed elsewhere: reload the page."


class Maker(NamedTuple):
    """The author of a change, and what they have seen.

    Attributes
    ----------
    by : str
        The window; empty if unknown.
    run : str or None
        Fingerprint of the unedited clusters.
    last_entry : int or None
        Number of the newest entry that they have seen; None for all.
    """

    by: str = ""
    run: str | None = None
    last_entry: int | None = None


NOBODY = Maker()


def newest(folder: Path) -> int:
    """The number of the newest entry on what was done or said; 0 if there is none."""
    with reading(folder) as db:
        return last_number(db, *KINDS)


def check_up_to_date(db: sqlite3.Connection, maker: Maker) -> None:
    """Refuse a change by somebody who looks at an older state; a SAFEError if there is an entry from elsewhere."""
    last, later = maker.last_entry, f"kind IN {marks(KINDS)} AND number > ?"
    unseen = () if last is None else entries(db, later, *KINDS, last)
    if any(entry.window != maker.by or not maker.by for entry in unseen):
        raise SAFEError(ELSEWHERE)


class Edit(NamedTuple):
    """Something that the engineer has done.

    Attributes
    ----------
    number : int
        Of the entry.
    time : str
        ISO 8601, UTC.
    kind : one of KINDS
        Those of `SAYING` change the note on an RCC, a weak spot or the whole analysis. An undo or redo has neither
        images, source nor target. A new RCC is made of images of others.
    images : tuple of str
        The images moved; empty for a merge.
    source : tuple of int
        For a merge, the RCC that disappears; for a move and a new RCC, the previous RCC of each image.
    target : int
        The RCC that the images belong to afterwards, or `NOISE`. That of a new RCC was never used before.
    by : str
        The author: a window of the page; empty if unknown.
    of : int or None
        For an undo or redo, the number of the edit.
    notes : tuple of Note or of Scope
        For an edit of `SAYING`, the notes before and afterwards.
    engineer : str
        The author's name; empty if unknown.
    part : tuple of Note
        For a note on a weak spot: the notes before and afterwards on the RCC that is about the same images.
    """

    number: int
    time: str
    kind: str
    images: tuple[str, ...] = ()
    source: tuple[int, ...] = ()
    target: int = NOISE
    by: str = ""
    of: int | None = None
    notes: tuple[Any, ...] = ()
    engineer: str = ""
    part: tuple[Note, ...] = ()

    @property
    def about(self) -> object:
        """What an edit of `SAYING` is about: an RCC, a condition on a test set, or the whole analysis."""
        return getattr(self.notes[1], "about", None)

    @property
    def changed(self) -> tuple[str, ...]:
        """The fields that an edit of `SAYING` has changed."""
        before, after = self.notes
        return tuple(name for name in fields_of(after) if getattr(before, name) != getattr(after, name))


def edits_in(db: sqlite3.Connection, run: str, kinds: Sequence[str] = KINDS) -> tuple[Edit, ...]:
    """The edits of a run, oldest first; undos and redos only of edits of these kinds.

    What is typed into a field comes in pieces, one after the other, and is one edit.
    """
    edits: list[Edit] = []
    numbers: set[int | None] = set()
    entries = entries_of(db, run, (*kinds, *TURNING))
    parts = {entry.part_of: entry for entry in entries if entry.kind == "rcc"}
    for entry in entries:
        if entry.part_of is not None:
            continue
        edit = _edit_of(entry)
        if edit.kind == "spot" and edit.number in parts:
            edit = edit._replace(part=_edit_of(parts[edit.number]).notes)
        if edit.kind in TURNING and edit.of not in numbers:
            continue
        if edits and _goes_on(edits[-1], edit):
            begun = edits.pop()
            part = (begun.part[0], edit.part[1]) if begun.part and edit.part else ()
            edit = edit._replace(notes=(begun.notes[0], edit.notes[1]), part=part)
            if not edit.changed:  # typed, and removed again
                continue
        edits.append(edit)
        numbers.add(edit.number)
    return tuple(edits)


def _goes_on(before: Edit, edit: Edit) -> bool:
    """Whether an edit goes on with what the one before it has typed."""
    same = before.kind == edit.kind in SAYING and before.about == edit.about
    same = same and (before.by, before.engineer, bool(before.part)) == (edit.by, edit.engineer, bool(edit.part))
    return same and before.changed == edit.changed and len(edit.changed) == 1 and edit.changed[0] in TYPED


def add_edit(db: sqlite3.Connection, run: str, edit: Edit) -> int:
    """Add the entry of an edit that makes, undoes or redoes something; its number."""
    value = {name: getattr(edit, name) for name in _RECORDED}
    return append(db, edit.kind, "", value, author=edit.by, run=run)


def _edit_of(entry: Entry) -> Edit:
    value, edit = entry.value, Edit(entry.number, entry.time, entry.kind, by=entry.window, engineer=entry.engineer)
    if entry.kind in SAYING:
        return edit._replace(notes=(note_of(entry, "before"), note_of(entry, "after")))
    known = {name: value[name] for name in _RECORDED}
    return edit._replace(**known | {"images": tuple(value["images"]), "source": tuple(value["source"])})


def standing(edits: Iterable[Edit]) -> tuple[list[Edit], list[Edit]]:
    """The edits that are in effect, in the order in which they apply, and those that can be redone, the last one last.

    An edit that is redone counts as the last one. An undone edit can be redone until another edit is made.
    """
    done: dict[int | None, Edit] = {}
    undone: dict[int | None, Edit] = {}
    for edit in edits:
        if edit.kind == "undo":
            undone[edit.of] = done.pop(edit.of)
        elif edit.kind == "redo":
            done[edit.of] = undone.pop(edit.of)
        else:
            done[edit.number] = edit
            undone = {}
    return [*done.values()], [*undone.values()]


def describe_edit(edit: Edit, journal: Sequence[Edit] = ()) -> str:
    """A plain sentence for a list of edits; `journal` has the edit that an undo or redo is about."""
    if edit.kind in TURNING:
        done = "Undone" if edit.kind == "undo" else "Redone"
        of = next((other for other in journal if other.number == edit.of), None)
        return f"{done}: {describe_edit(of)}" if of else f"{done}: an edit"
    if edit.kind in SAYING:
        return _describe_saying(edit)
    if edit.kind == "merge":
        return f"Merged {title(edit.source[0])} into {title(edit.target)}"
    what = printable(edit.images[0]) if len(edit.images) == 1 else f"{len(edit.images):,} images"
    sources = ", ".join(title(rcc) for rcc in sorted(set(edit.source)))
    if edit.kind == "new":
        return f"Made {title(edit.target)} of {what} from {sources}"
    return f"Moved {what} from {sources} to {title(edit.target)}"


def _describe_saying(edit: Edit) -> str:
    before, after = edit.notes
    what = title(after.about) if edit.kind == "rcc" else "the analysis"
    if edit.kind == "spot":
        what = printable(" and ".join(map(str, read_conditions(after.about[0]))))
    changes = []
    for name in edit.changed:
        old, new = (getattr(note, name) for note in (before, after))
        was = f" (was {old if name == 'verdict' else f'“{old}”'})" if old else ""
        if name == "verdict":
            changes.append(f"Judged {what} {new}{was}" if new else f"Took back that {what} is {old}")
        elif name == "name":
            changes.append(f"Named {what} “{new}”{was}" if new else f"Removed the name “{old}” of {what}")
        elif known := REGISTER.get(name) or SCOPE.get(name):
            what_of = f"{known.noun} of {what}"
            changes.append(f"Set the {what_of} to “{new}”{was}" if new else f"Removed the {what_of}, “{old}”")
        else:
            changes.append(f"{'Changed' if old and new else 'Wrote' if new else 'Removed'} the note on {what}")
    return "; ".join(changes)


def reviewed(clusters: RootCauseClusters, edits: Iterable[Edit]) -> RootCauseClusters:
    """Apply a journal of edits.

    Ids are stable: the id of a merged or emptied RCC is missing from `groups`, the other ids do not change.

    An image moved to noise is not a core point. An image moved to an RCC becomes a core point of it: the engineer has
    confirmed that it shows this root cause, and only core points attract candidates in the selection. The reach of an
    RCC (see `rccs.clusters.rcc_reach`) is computed without the images that were moved to it, since a single outlier
    would otherwise bring all images within reach. An image moved back to its original RCC is as the clustering left it.
    Of a new RCC, made by the engineer, all images are core points and count for its reach.

    Raises
    ------
    SAFEError
        An edit is about an image or RCC that does not exist.
    """
    applied, _ = standing(edits)
    if not applied:
        return clusters
    labels, home, made, touched = _applied(clusters, applied)
    moved = labels != home
    is_core = np.where(moved | made, labels != NOISE, clusters.is_core)
    n_rccs = int(labels.max(initial=NOISE)) + 1
    reach = np.zeros(n_rccs, clusters.reach.dtype)
    reach[: len(clusters.reach)] = clusters.reach[:n_rccs]
    for rcc in touched & {*range(n_rccs)}:
        rows = np.flatnonzero((labels == rcc) & ~moved)
        one = np.zeros(len(rows), dtype=int)
        reach[rcc] = rcc_reach(clusters.points[rows], one, is_core[rows])[0] if len(rows) else 0
    steadiness = _steadiness_left(clusters.steadiness, len(reach), touched)
    return dataclasses.replace(clusters, labels=labels, is_core=is_core, reach=reach, steadiness=steadiness)


def _applied(clusters: RootCauseClusters, edits: Iterable[Edit]) -> tuple[np.ndarray, np.ndarray, np.ndarray, set[int]]:
    """The RCC of each image, that in which it was found or which was made of it, which were made, and RCCs changed."""
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    labels, home = clusters.labels.copy(), clusters.labels.copy()
    made = np.zeros(len(labels), dtype=bool)
    touched: set[int] = set()
    for edit in edits:
        _check(edit, labels, row_of)
        touched |= {*edit.source, edit.target}
        if edit.kind == "merge":
            labels[labels == edit.source[0]] = edit.target
            home[home == edit.source[0]] = edit.target
        else:
            rows = [row_of[path] for path in edit.images]
            labels[rows] = edit.target
            if edit.kind == "new":
                home[rows], made[rows] = edit.target, True
    return labels, home, made, touched


def _steadiness_left(steadiness: Steadiness | None, n_rccs: int, touched: set[int]) -> Steadiness | None:
    """What is still known after edits: nothing about the RCCs that were changed, for which it is NaN."""
    if steadiness is None:
        return None
    of_rccs = np.full(max(n_rccs, len(steadiness.of_rccs)), np.nan, steadiness.of_rccs.dtype)
    of_rccs[: len(steadiness.of_rccs)] = steadiness.of_rccs
    of_rccs[[rcc for rcc in touched if NOISE < rcc < len(of_rccs)]] = np.nan
    return steadiness._replace(of_rccs=of_rccs[:n_rccs])


def _check(edit: Edit, labels: np.ndarray, row_of: Mapping[str, int]) -> None:
    """A SAFEError if a merge or move cannot be applied to these labels."""
    target = edit.target
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
        rccs = [] if target == NOISE or edit.kind == "new" else [target]
    for rcc in rccs:
        if rcc < 0 or rcc not in labels:
            raise SAFEError(f"There is no RCC {rcc}; it may have been merged or emptied. Choose one that is displayed.")
