"""The engineer's notes on RCCs, weak spots and the whole analysis, for a safety case: what each field may be. Step 2.

The fields of the register follow the notions of ISO 21448 (functional insufficiencies and their triggering conditions)
and ISO/PAS 8800 (kinds of causes, safety impact); no conformity is claimed.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable


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


def row_of(note: Note | Scope) -> Sequence[Any]:
    """A note as its entries have it (see `note_of`)."""
    return [*note.about, *note[1:]] if isinstance(note, Note) and note.rcc is None else note


def note_of(kind: str, row: Sequence[Any]) -> Any:
    """What an entry of a kind says, a `Note` or `Scope`."""
    if kind == "scope":
        return Scope(*row)
    return Note(*row) if kind == "rcc" else Note(tuple(row[:2]), *row[2:])


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
