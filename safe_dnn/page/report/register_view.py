"""On the tab Report: the register, and what is said of the analysis as a whole.

The register is filtered by what is missing, and a table to save and to read back; the scope is kept as it is typed.
"""

import base64
import tempfile
from pathlib import Path
from typing import Any

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.visitors import visitor_of
from safe_dnn.pipeline.exports import load_register
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.rccs.review.notes import REGISTER, SCOPE, Scope
from safe_dnn.rccs.review.review import load_scope, set_note
from safe_dnn.reasons import register
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable


def lay_out_register(settings: PageSettings) -> gr.HTML:
    """The widget; its script asks for what it shows."""

    def register_table(sent: list) -> dict[str, Any]:
        """Called by the script with one value, a list: what to do and, of a table, its bytes in base64, what was shown
        of it, and who takes that over."""
        try:
            what, *given = sent
            entries, scope = load_register(settings.out), register.scope_entry(settings.out)
            if what == "save":
                return {"text": register.register_text(settings.out, entries).encode("utf-8", "replace").decode()}
            if what == "rows":
                return {"rows": [_row(one) for one in entries]}
            if what == "say":
                return _say(settings.out, entries, *map(str, given))
            changes = _read(base64.b64decode(given[0], validate=True), entries, scope)
            shown = [printable(change.text) for change in changes]
            if what == "take" and shown == given[1]:
                register.take_over(settings.out, changes, by=visitor_of(given[2]))
                return {"news": f"Taken over: {count(len(changes), 'change')}."}
        except SAFEError as error:
            return {"problem": printable(str(error))}
        except (TypeError, ValueError, IndexError):
            return {"problem": "Not done: the page sent something other than a table. Reload it."}
        news = f"{count(len(changes), 'change')}. Nothing is taken over yet." if changes else "It says nothing new."
        return {"changes": shown, "news": f"Something was said meanwhile: {news}" if what == "take" else news}

    template = filled("page/report/register.html")
    serves = {"register_table": register_table}
    return scripted("report/register", "", html_template=template, serves=serves, elem_id="register")


def _say(
    out: Path, entries: list[register.Entry], key: str, field: str, seen: str, text: str, by: str
) -> dict[str, str]:
    """Keep what was typed into a field of a reason where `seen` stood; what stands there by now, and what to tell."""
    entry = next((one for one in entries if key in one.keys), None)
    if entry is None or field not in REGISTER:
        raise ValueError("no such field")
    now = getattr(entry.note, field)
    if now not in (seen, text):
        told = f"{REGISTER[field].title} was changed to “{now}” by somebody else. Change yours again to overwrite it."
        return {"kept": now, "problem": printable(told)}
    tidy = REGISTER[field].tidy(text)
    if tidy != now:
        register.take_over(out, [register.Change(entry, field, tidy)], by=visitor_of(by))
    return {"kept": tidy, "news": "Kept."}


def _row(one: register.Entry) -> dict[str, Any]:
    """What the table shows of a reason, and what it is filtered by."""
    note, lacks = one.note, one.lacks.items()
    belief = f"{note.hypothesis} ({note.belief})" if note.hypothesis and note.belief else note.hypothesis or note.belief
    cells = (note.verdict, note.status, belief, one.fresh, "; ".join(one.missing))
    return {
        "reason": one.reason,
        "key": one.key,
        "link": ["rcc", str(note.rcc)] if one.about is None or one.about.spot is None else ["spot", one.about.subject],
        "fields": {field: getattr(note, field) for field in REGISTER},
        "about": printable(", ".join(filter(None, (note.name, one.where)))),
        "cells": [*map(printable, cells)],
        "lacks": [text for said, those in lacks for text in ([f"{said}, but no {it}" for it in those] or [said])],
    }


def _read(table: bytes, entries: list[register.Entry], scope: register.Entry) -> list[register.Change]:
    """What a table that was sent would change; a SAFEError as of `reasons.register.changes_in`."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, register.REGISTER_FILE)
        file.write_bytes(table)
        try:
            return register.changes_in(file, entries, scope)
        except SAFEError as error:
            raise SAFEError(str(error).replace(f"{file}", file.name)) from error


def lay_out_scope(settings: PageSettings) -> gr.HTML:
    """The widget; its script asks for what it shows, and sends what is typed."""

    def scope(sent: list) -> dict[str, Any]:
        """Called by the script with one value, a list: what to do and, of a change, what stood there before, what is
        typed, and by whom."""
        try:
            what, *given = sent
            if what == "look":
                return {"said": load_scope(settings.out)[0]._asdict()}
            seen, mine = (Scope(**{field: str(text) for field, text in given[n].items()}) for n in (0, 1))
            run = settings.results.shown().review.run
            kept = set_note(settings.out, mine, seen=seen, by=visitor_of(given[2]), run=run)
        except SAFEError as error:
            return {"problem": f"Not kept: {printable(str(error))}"}
        except (TypeError, ValueError, IndexError, AttributeError):
            return {"problem": "Not kept: the page sent something other than a scope. Reload it."}
        theirs = (f"{SCOPE[field].title} was changed to “{getattr(kept.note, field)}”" for field in kept.conflicts)
        told = f"{printable('; '.join(theirs))} by somebody else. Change yours again to overwrite it."
        problem = told if kept.conflicts else ""
        return {"said": kept.note._asdict(), "conflicts": list(kept.conflicts), "problem": problem}

    template = filled("page/report/scope.html")
    return scripted("report/scope", "", html_template=template, serves={"scope": scope}, elem_id="scope")
