"""What the page tells the engineer: results, errors, toasts, and panes that are out of sight until they have any."""

import json
from collections.abc import Iterable
from typing import Any

import gradio as gr
from markupsafe import Markup

from safe_dnn.page.assets import FORMS
from safe_dnn.report.markup import escaped
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import printable

AWAY = "safe-away"  # in style.css
OPENING = "<div class='safe-status' role='status'>Opening …</div>"
SHORT = 160  # characters: a line


def done(summary: str, notice: str = "", below: str = "") -> str:
    """The summary of a result, what stands `below` it, and what else should be known (see `noticed`)."""
    of, below = ("safe-status safe-story", f"<span>{escaped(below)}</span>") if below else ("safe-status", "")
    state = f"<div class='{of}' role='status'><strong>{escaped(summary)}</strong>{below}</div>"
    return state + noticed(notice)


def noticed(notice: str) -> str:
    """What else should be known: its first sentence, and the rest where it is opened."""
    first, more, rest = printable(notice).partition(". ")
    if not rest or len(notice) <= SHORT:
        return f"<p class='safe-notice'>{escaped(notice)}</p>" if notice else ""
    rest = f"<span>{escaped(rest)}</span>"
    return f"<details class='safe-notice'><summary>{escaped(first + more)}</summary>{rest}</details>"


def doubted(doubts: str) -> str:
    """What a result may be worth nothing for, to stand above its summary; empty without doubts."""
    return (
        f"<div class='safe-status safe-doubt' role='alert'><strong>{escaped(doubts)}</strong></div>" if doubts else ""
    )


def failed(error: SAFEError | str) -> str:
    """A readable error."""
    return f"<div class='safe-status safe-error' role='alert'>{escaped(worded(error))}</div>"


def warn(what: str, why: SAFEError | str) -> None:
    """Say in a toast why a request was not carried out. (Gradio's page shows no title of a warning.)"""
    gr.Warning(f"<strong>{escaped(what)}</strong><br>{escaped(worded(why))}")


def tell(what: str) -> None:
    """Say in a toast what has happened."""
    gr.Info(escaped(what))


def empty(what: str, steps: list[tuple[str, str]]) -> str:
    """An empty pane: what is not there yet, and steps to it or answers, each with a heading and a sentence."""
    items = Markup("").join(Markup("<li><b>{}</b><span>{}</span></li>").format(*step) for step in steps)
    return f"<div class='safe-empty'><p>{escaped(what)}</p><ol>{items}</ol></div>"


def pane(elem_id: str) -> gr.Column:
    """A column that is put away until `reveal`.

    Put away by style, because Gradio mounts what becomes visible while the same answer's values are on their way to
    it, and some of those get lost: galleries stay empty, and widgets with scripts without their data.
    """
    return gr.Column(elem_id=elem_id, elem_classes=AWAY)


def reveal() -> dict[str, Any]:
    """Update that shows a `pane`."""
    return gr.update(elem_classes=[])


def put_away() -> dict[str, Any]:
    """Update that hides a `pane`."""
    return gr.update(elem_classes=AWAY)


FORM_LABELS = {name: field["label"] for form in reversed(FORMS.values()) for name, field in form.items()}
"""By the field of an error; of several forms with a field of that name, that of the first."""
FORM_LABELS["out"] = "Name of a new analysis"


def worded(error: SAFEError | str) -> str:
    return error if isinstance(error, str) else error.named({field: f"“{FORM_LABELS[field]}”" for field in FORM_LABELS})


def as_text(value: object) -> str:
    """A value that a script parses itself.

    Gradio's page watches each item of a list or mapping that it holds, and copies all of them several times with every
    event that the widget takes part in: of 20,000 images that takes longer than anything else. A text is one item.
    """
    return json.dumps(value, separators=(",", ":"))


def lay_out_skipped(elem_id: str) -> tuple[gr.Accordion, gr.Dataframe]:
    """Lay out what says which images were skipped, and why; see `show_skipped`."""
    with gr.Accordion("Skipped images", open=False, visible=False, elem_id=elem_id) as fold:
        return fold, gr.Dataframe(headers=["image", "reason"], interactive=False, max_height=260, wrap=True)


def show_skipped(where: tuple[gr.Accordion, gr.Dataframe], skipped: Iterable[tuple[str, str]]) -> dict:
    """Updates that show skipped images; out of sight without any."""
    rows = [[printable(path), printable(reason)] for path, reason in skipped]
    return {where[0]: gr.update(label=f"Skipped images ({len(rows):,})", visible=bool(rows)), where[1]: rows}
