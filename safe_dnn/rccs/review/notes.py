"""The engineer's notes on RCCs, weak spots and the whole analysis, for a safety case: what each field may be. Step 2.

The fields of the register follow the notions of ISO 21448 (functional insufficiencies and their triggering conditions)
and ISO/PAS 8800 (kinds of causes, safety impact); no conformity is claimed.
"""

import json
from collections.abc import Mapping
from typing import Any, Generic, NamedTuple, TypeVar

from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

VERDICTS = ("", "safe", "unsafe", "unclear")
LONGEST_TEXT = 300  # of a field of the register
LONGEST_SCOPE = 2_000  # of a field of the scope
SAID = ("name", "note", "verdict")


class Field(NamedTuple):
    """A field of the register or the scope.

    Attributes
    ----------
    title : str
    example : str
    choices : tuple of str
        What it may be besides empty; empty for any text of one line.
    """

    title: str
    example: str = ""
    choices: tuple[str, ...] = ()

    @property
    def noun(self) -> str:
        """The title within a sentence."""
        return self.title[0].lower() + self.title[1:]


REGISTER = {
    "hazard": Field("Hazard", "H3 Gaze lost at night"),
    "trigger": Field("Triggering condition", "light < 0.4 while the driver looks down"),
    "insufficiency": Field("Insufficiency", choices=("sensor", "algorithm", "specification", "data", "interaction")),
    "severity": Field("Severity or ASIL", "ASIL B"),
    "exposure": Field("Exposure", "E3, a tenth of all drives"),
    "criterion": Field("Acceptance criterion", "light < 0.4: at most 5 % wrong at 95 %"),
    "measure": Field(
        "Measure", choices=("more data", "retraining", "redundancy", "monitoring", "restriction of use", "fallback")
    ),
    "ticket": Field("Requirement or ticket", "REQ-117"),
    "owner": Field("Owner", "J. Doe"),
    "status": Field("Status", choices=("open", "in treatment", "closed", "accepted")),
    "residual": Field("Residual risk", "gaze lost for up to 2 s below 10 lux"),
    "hypothesis": Field("Hypothesis", "lids hide the pupil, which few training images show"),
    "refutation": Field("Refutation criterion", "as many failures with lids wide open"),
    "belief": Field("State of the hypothesis", choices=("open", "confirmed", "refuted")),
}
"""What a safety case says of a reason, by field."""
SCOPE = {
    "system": Field("System and function", "driver monitoring: warns when the gaze leaves the road for 2 s"),
    "use": Field("Intended use", "passenger cars, as a warning alone; no control of the car"),
    "domain": Field("Operational design domain", "day and night, with glasses; no sunglasses, 30 to 130 km/h"),
    "training": Field("Source of the training images", "simulator v4, 12 persons, spring 2026"),
    "tested": Field("Source of the test images", "simulator v4, 4 other persons"),
    "improvement": Field("Source of the improvement images", "drives of October 2026, 31 persons, not labelled"),
    "fresh": Field("Source of images that chose nothing", "drives of November 2026, 9 other persons"),
    "hazards": Field("Hazard analysis", "HARA-12, revision 3"),
    "responsible": Field("Responsible person", "J. Doe"),
    "reviewer": Field("Reviewer", "A. Roe"),
}
"""What a safety case says of the analysis as a whole, by field."""
FIELDS = (*SAID, *REGISTER)
LENGTHS = {"name": 80, "note": 20_000, **{field: LONGEST_TEXT for field, of in REGISTER.items() if not of.choices}}
# From the least to the most serious: merged RCCs get the more serious verdict of the two, so that no hazard is lost.
_GRAVITY = ("safe", "", "unclear", "unsafe")


class RccNote(NamedTuple):
    """The engineer's note on an RCC.

    Attributes
    ----------
    rcc : int
        `NOISE` for the images in no cluster.
    name : str
        One line, for example "sunglasses at night".
    note : str
        Any text, for example "hazard H3".
    verdict : "", "safe", "unsafe" or "unclear"
        Whether failures of this root cause are a hazard; empty if not judged yet.
    hazard, trigger, insufficiency, severity, exposure, criterion, measure, ticket, owner, status, residual, \
    hypothesis, refutation, belief : str
        The fields of `REGISTER`; empty where nothing is said.
    """

    rcc: int
    name: str = ""
    note: str = ""
    verdict: str = ""
    hazard: str = ""
    trigger: str = ""
    insufficiency: str = ""
    severity: str = ""
    exposure: str = ""
    criterion: str = ""
    measure: str = ""
    ticket: str = ""
    owner: str = ""
    status: str = ""
    residual: str = ""
    hypothesis: str = ""
    refutation: str = ""
    belief: str = ""


class SpotNote(NamedTuple):
    """The engineer's note on a weak spot.

    Attributes
    ----------
    conditions : str
        As of `rccs.spots.weak_spots.conditions_text`, in the words of the weak spot that the first note was on.
    tested : str
        The folder of the test images, as the analysis records it: the same words are another condition in another test
        set.
    name, note, verdict, and the fields of `REGISTER` : str
        As of `RccNote`.
    """

    conditions: str
    tested: str
    name: str = ""
    note: str = ""
    verdict: str = ""
    hazard: str = ""
    trigger: str = ""
    insufficiency: str = ""
    severity: str = ""
    exposure: str = ""
    criterion: str = ""
    measure: str = ""
    ticket: str = ""
    owner: str = ""
    status: str = ""
    residual: str = ""
    hypothesis: str = ""
    refutation: str = ""
    belief: str = ""

    @property
    def subject(self) -> str:
        """What it is about, in the database."""
        return json.dumps([self.conditions, self.tested])


class Scope(NamedTuple):
    """What the engineer says of the analysis as a whole: the fields of `SCOPE`, empty where nothing is said."""

    system: str = ""
    use: str = ""
    domain: str = ""
    training: str = ""
    tested: str = ""
    improvement: str = ""
    fresh: str = ""
    hazards: str = ""
    responsible: str = ""
    reviewer: str = ""


Noted = RccNote | SpotNote
"""What the engineer says of a reason, whatever it is about."""
Said = Noted | Scope
AnyNote = TypeVar("AnyNote", RccNote, SpotNote, Scope)


class Kept(NamedTuple, Generic[AnyNote]):
    """A note after a change.

    Attributes
    ----------
    note : RccNote, SpotNote or Scope
    conflicts : tuple of str
        The fields that someone else had changed in the meantime and that were not changed.
    """

    note: AnyNote
    conflicts: tuple[str, ...]


def title(rcc: int, notes: Mapping[int, RccNote] | None = None) -> str:
    """For example `RCC 3 · sunglasses at night`, `RCC 3`, `No cluster`; plain text."""
    name = notes[rcc].name if notes and rcc in notes else ""
    return ("No cluster" if rcc == NOISE else f"RCC {rcc}") + (f" · {name}" if name else "")


def combined(seen: AnyNote, mine: AnyNote, theirs: AnyNote) -> tuple[AnyNote, tuple[str, ...]]:
    """Combine two changes of the same note field by field.

    Returns
    -------
    note : RccNote, or another record of a note
    conflicts : tuple of str
        Fields that both have changed, differently; `theirs` is kept.
    """
    conflicts = []
    fields: dict[str, Any] = {}
    for name in fields_of(theirs):
        before, here, there = (getattr(note, name) for note in (seen, mine, theirs))
        fields[name] = there if here == before else here
        if here not in (before, there) and there != before:
            fields[name] = there
            conflicts.append(name)
    return theirs._replace(**fields), tuple(conflicts)


def merged_note(source: RccNote, target: RccNote) -> RccNote:
    """The note on an RCC after another RCC was merged into it; nothing of either note is lost.

    The more serious verdict is kept; an RCC that is not judged yet does not become safe. The name is the target's or,
    if it has none, the source's; so are the fields of the register. The text has both texts, and what was not kept.
    """
    name = target.name or source.name
    verdict = max(source.verdict, target.verdict, key=_GRAVITY.index)
    register: dict[str, Any] = {field: getattr(target, field) or getattr(source, field) for field in REGISTER}
    lines = [target.note, source.note]
    for note in (source, target):
        was = f"“{note.name}”" if note.name and note.name != name else ""
        was += f"{' and ' if was else ''}judged {note.verdict}" if note.verdict and note.verdict != verdict else ""
        lines.append(f"{title(note.rcc)} was {was}." if was else "")
        lines += [
            f"{title(note.rcc)} had: {known.title}: {said}."
            for field, known in REGISTER.items()
            if (said := getattr(note, field)) and said != register[field]
        ]
    text = ""
    for line in lines:
        text += "" if line in text else f"{text and chr(10)}{line}"
    return RccNote(target.rcc, name, text, verdict, **register)


def fields_of(note: Said) -> tuple[str, ...]:
    """What an engineer may say in a note."""
    return note._fields if isinstance(note, Scope) else FIELDS


def says_something(note: Noted) -> bool:
    """Whether any field of a note is filled in."""
    return any(getattr(note, field) for field in FIELDS)


def tidy_note(note: AnyNote) -> AnyNote:
    """A note in the form in which it is saved; a SAFEError if it is invalid."""
    if isinstance(note, Scope):
        return Scope(*(_tidy_text(SCOPE[field].title, text, LONGEST_SCOPE) for field, text in note._asdict().items()))
    name = printable(" ".join(note.name.split()))
    text = _tidy_text("A note", note.note, LENGTHS["note"])
    verdict = note.verdict.strip().lower()
    if verdict not in VERDICTS:
        raise SAFEError(f"verdict must be safe, unsafe, unclear or empty. Received: {note.verdict!r}")
    _check_length("A name", name, LENGTHS["name"])
    register: dict[str, Any] = {field: tidy_field(field, getattr(note, field)) for field in REGISTER}
    return note._replace(name=name, note=text, verdict=verdict, **register)


def tidy_field(field: str, text: str) -> str:
    """A field of the register in the form in which it is saved; a SAFEError if it is invalid."""
    known, tidy = REGISTER[field], printable(" ".join(text.split()))
    if tidy and known.choices:
        tidy = tidy.lower()
        if tidy not in known.choices:
            raise SAFEError(f"{known.title} must be {', '.join(known.choices)} or empty. Received: {text[:80]!r}")
    _check_length(known.title, tidy, LONGEST_TEXT)
    return tidy


def _tidy_text(what: str, text: str, longest: int) -> str:
    """A text of several lines in the form in which it is saved."""
    tidy = printable(text.replace("\r\n", "\n").replace("\r", "\n").strip())
    _check_length(what, tidy, longest)
    return tidy


def _check_length(what: str, text: str, longest: int) -> None:
    if len(text) > longest:
        raise SAFEError(f"{what} may have {longest:,} characters. Received: {len(text):,}")
