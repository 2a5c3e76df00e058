"""The report's sections of the register: what is said of the analysis and of each reason, and what is missing."""

from markupsafe import Markup

from pipeline.reporting.markup import filled
from pipeline.reporting.material import Material
from rccs.review.journal import UNKNOWN
from rccs.review.notes import REGISTER, SCOPE
from reasons.register import Entry


def scope_section(known: Material) -> Markup:
    """What is said of the analysis as a whole, by whom, and which fields say nothing."""
    scope, last = known.scope
    said = [(SCOPE[field], text) for field, text in scope._asdict().items()]
    return filled("scope.html", said=said, last=last, unknown=UNKNOWN)


def register_section(known: Material) -> Markup:
    """A row for each reason of which anything is said, and what a safety case would ask for."""
    entries = known.register
    said = [(one, _said(one)) for one in entries if any(getattr(one.note, field) for field in REGISTER)]
    missing = [f"{one.reason}: {text}" for one in entries for text in one.missing]
    return filled("register.html", said=said, missing=missing)


def _said(entry: Entry) -> list[tuple[str, str]]:
    """The fields that are filled in, each with its name."""
    said = ((known.title, getattr(entry.note, field)) for field, known in REGISTER.items() if field != "status")
    return [(title, text) for title, text in (*said, ("Fresh test set", entry.fresh)) if text]
