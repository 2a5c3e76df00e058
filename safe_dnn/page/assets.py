"""What Gradio is given: templates and scripts of widgets, and with each event how its handler is called.

Templates, scripts and styles lie beside the modules that use them.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gradio as gr

PAGE = Path(__file__).parent


def asset(*names: str) -> str:
    """The texts of files, by their paths below `page/`, one after the other."""
    return "".join(PAGE.joinpath(name).read_text(encoding="utf-8") for name in names)


FORMS: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(asset("fields.toml"))
"""The fields of each tab's form by their names, as `fields.toml` explains them."""


def script(*names: str) -> str:
    """Scripts of a widget, behind what the scripts of all widgets are made of."""
    return asset("widgets/parts.js", *names)


def scripted(
    widget: str, value: object, *behind: str, serves: Mapping[str, Callable] | None = None, **properties: Any
) -> gr.HTML:
    """A widget with its template and its script.

    Parameters
    ----------
    widget : str
        What both are called, for example `clusters/map`.
    value : object
        What the script gives to the server when it triggers an event.
    behind : str
        Further scripts, which come behind its own.
    serves : mapping of str to callable, optional
        What the script calls, by the name by which it does, each with one value; scripts may send anything.
    properties
        As for `gr.HTML`; those that it does not know are `props` of the script.
    """
    template = properties.pop("html_template", None) or asset(f"{widget}.html")
    script_of = {"js_on_load": script(f"{widget}.js", *behind)}
    functions = [_named(*one) for one in (serves or {}).items()]
    return gr.HTML(value, html_template=template, server_functions=functions, **script_of | properties)


def _named(name: str, function: Callable) -> Callable:
    def answer(sent: object) -> Any:
        return function(sent)

    answer.__name__ = name  # by which Gradio lets a script call it
    return answer


# --- Events -------------------------------------------------------------------------------------------------------

# Nowhere: Gradio would otherwise tell all widgets that an event may change that it has begun, goes on and has ended.
VIEW: dict[str, Any] = {"show_progress": "hidden", "show_progress_on": [], "api_visibility": "private"}
# Of clicks that come faster than they are answered, the last counts; Gradio by default drops all but the first.
LATEST: dict[str, Any] = VIEW | {"trigger_mode": "always_last"}
# Each click counts, also one that comes before an earlier one is answered.
EACH: dict[str, Any] = VIEW | {"trigger_mode": "multiple"}
# What changes the images that are listed is done one after the other: no earlier answer comes after a later one.
IN_TURN: dict[str, Any] = {"concurrency_id": "listed images", "concurrency_limit": 1}
# Edits of the clusters, and what shows those of others: one after the other.
EDITS: dict[str, Any] = {"concurrency_id": "edits", "concurrency_limit": 1}


# The browser keeps the name as long as the window is open, also where it is loaded anew, if it may.
NAME_OF_WINDOW = """() => {
  const hex = (n) => n.toString(16).padStart(2, "0");
  const fresh = () => Array.from(crypto.getRandomValues(new Uint8Array(8)), hex).join("");
  try {
    let name = sessionStorage.getItem("safe-window");
    if (!name) sessionStorage.setItem("safe-window", name = fresh());
    return name;
  } catch { return fresh(); }
}"""


def visitor_of(sent: object) -> str:
    """The name of a visitor that a browser has sent; empty if it is something else."""
    return sent if isinstance(sent, str) and sent.isalnum() and len(sent) <= 64 else ""
