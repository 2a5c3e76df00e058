"""The templates, scripts and styles of the page's widgets, which lie beside the modules that use them."""

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
