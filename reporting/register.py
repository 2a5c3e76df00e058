"""The report's section of the register: what is said of each reason, and what is missing."""

from rccs.review.notes import REGISTER
from reasons.register import Entry
from reporting.markup import badge, escaped, html_table
from reporting.material import Material


def register_section(known: Material) -> str:
    """A row for each reason of which anything is said, and what a safety case would ask for."""
    entries = known.register
    said = [entry for entry in entries if any(getattr(entry.note, field) for field in REGISTER)]
    missing = [f"<li>{escaped(f'{one.reason}: {text}')}</li>" for one in entries for text in one.missing]
    lacking = f"<h4>Missing</h4><ul>{''.join(missing)}</ul>" if missing else ""
    if not said:
        return f"<p>Nothing has been said for the safety case yet.</p>{lacking}"
    rows = [[_named(one), badge(one.note.verdict), escaped(one.note.status), _said(one)] for one in said]
    return html_table(["Reason", "Judged", "Status", "For the safety case"], rows) + lacking


def _named(entry: Entry) -> str:
    title = ", ".join(filter(None, (entry.reason, entry.where)))
    return f"<b>{escaped(title)}</b>" + (f"<br>{escaped(entry.note.name)}" if entry.note.name else "")


def _said(entry: Entry) -> str:
    """The fields that are filled in, each with its name."""
    said = ((known.title, getattr(entry.note, field)) for field, known in REGISTER.items() if field != "status")
    return "<br>".join(f"{escaped(title)}: {escaped(text)}" for title, text in said if text)
