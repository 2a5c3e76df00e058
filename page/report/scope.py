"""On the tab Report: what is said of the analysis as a whole, kept as it is typed, and its rounds."""

from typing import Any

import gradio as gr

from page.assets import scripted
from page.jobs import PageSettings
from page.visitors import visitor_of
from pipeline.reporting.markup import filled
from pipeline.reporting.rounds import rounds_html
from rccs.review.notes import LONGEST_SCOPE, SCOPE, Scope
from rccs.review.review import load_scope, set_note
from support.errors import SAFEError
from support.text import printable


def lay_out_scope(settings: PageSettings) -> gr.HTML:
    """The widget; its script asks for what it shows, and sends what is typed."""

    def scope(sent: list) -> dict[str, Any]:
        """Called by the script with one value, a list: what to do and, of a change, what stood there before, what is
        typed, and by whom."""
        try:
            what, *given = sent
            if what == "rounds":
                return {"html": rounds_html(settings.out)}
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

    template = filled("page/report/scope.html", fields=SCOPE, longest=LONGEST_SCOPE)
    return scripted("report/scope", "", html_template=template, server_functions=[scope], elem_id="scope")
