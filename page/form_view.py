"""The fields of a tab, as they were last sent; filled in anew when the output folder holds another run."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import gradio as gr

from page.forms import renewed


class FormView:
    """Fill in the fields of a tab.

    Parameters
    ----------
    fields : mapping of str to component
        Name to widget, in the order in which Gradio sends their values.
    options : gr.Accordion or None
        Opened if a field in it, one of `optional`, differs from its default.
    last : callable
        The form as it was last sent for the run in the output folder, by name.
    """

    def __init__(
        self,
        fields: Mapping[str, gr.components.Component],
        options: gr.Accordion | None,
        optional: Collection[str],
        last: Callable[[], Mapping[str, Any]],
    ):
        self._fields, self._options, self._optional, self._last = fields, options, optional, last
        for widget in fields.values():
            widget.interactive = False  # until it is filled in: what was typed before would be overwritten
        self._defaults = {name: widget.value or "" for name, widget in fields.items()}
        self.filled = gr.State({})  # what the fields were last filled in or sent with, and the run
        self.widgets = list(fields.values())
        self.outputs = [*([options] if options else []), *self.widgets]

    def named(self, values: Iterable[Any]) -> dict[str, Any]:
        """The values that Gradio sends, by name."""
        return dict(zip(self._fields, values, strict=True))

    def first_look(self, run: str) -> dict:
        """Updates for a window that was just opened: from now on, the fields can be edited."""
        last = self._last_by_name()
        released = {
            widget: gr.update(interactive=True, **({"value": last[name]} if name in last else {}))
            for name, widget in self._fields.items()
        }
        return {**self._fill_in(last), **released, self.filled: {**self._defaults, **last, "run": run}}

    def sent(self, run: str, fields: Mapping[str, Any]) -> dict:
        """The update for a form that was sent as it is."""
        return {self.filled: {"run": run, **fields}}

    def follow(self, run: str, before: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[dict, dict[str, Any]]:
        """Updates for the run in the folder, none if the form was `filled` for it, and the fields as they then are."""
        if before.get("run") == run:
            return {}, dict(fields)
        last = {**self._defaults, **self._last_by_name()}
        renewal = renewed(before, fields, last)
        return {**self._fill_in(renewal), self.filled: {**last, "run": run}}, {**fields, **renewal}

    def fill(self, run: str, before: Mapping[str, Any], fields: Mapping[str, Any], values: Mapping[str, Any]) -> dict:
        """Updates that fill in other values for a run; fields that were edited since they were `filled` stay."""
        return {**self._fill_in(renewed(before, fields, values)), self.filled: {**values, "run": run}}

    def _last_by_name(self) -> dict[str, Any]:
        last = self._last()
        return {name: last[name] for name in self._fields if name in last}

    def _fill_in(self, values: Mapping[str, Any]) -> dict:
        differs = any((values[name] or "") != self._defaults[name] for name in self._optional if name in values)
        opened = {self._options: gr.update(open=True)} if differs and self._options else {}
        return {**opened, **{self._fields[name]: value for name, value in values.items()}}
