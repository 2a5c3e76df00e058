"""What is out of sight until there is something to show."""

from collections.abc import Callable
from typing import Any

import gradio as gr

from safe_dnn.support.errors import SAFEError

AWAY = "safe-away"  # in style.css


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


def if_there(show: Callable[[], dict]) -> dict:
    """What `show` gives; nothing if there is nothing to show, or soon something else."""
    try:
        return show()
    except SAFEError:
        return gr.skip()
