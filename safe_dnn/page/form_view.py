"""The fields of a tab, as they were last sent; filled in anew when the output folder holds another run."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import gradio as gr

from safe_dnn.page.events import VIEW
from safe_dnn.page.forms import renewed
from safe_dnn.page.settings import PageSettings

Field = TypeVar("Field", bound=gr.components.Component)
OPEN_FORM, CLOSE_FORM = "Other inputs or options", "Hide the form"


def example_button(settings: PageSettings, name: str) -> gr.Button:
    """The button that fills in a form with the example, out of sight if there is none."""
    there = settings.example is not None
    return gr.Button("Example", scale=0, min_width=110, visible=there, elem_id=f"example-{name}")


class FormView:
    """The fields of a tab, each laid out with the name by which it is sent, kept and filled in again.

    Parameters
    ----------
    last : callable
        The form as it was last sent for the run in the output folder, by name.
    """

    def __init__(self, last: Callable[[], Mapping[str, Any]]):
        self._last = last
        self._fields: dict[str, gr.components.Component] = {}
        self._defaults: dict[str, Any] = {}
        self.more: gr.Accordion | None = None
        self._optional: set[str] = set()
        self.filled = gr.State({})  # what the fields were last filled in or sent with, and the run

    def add(self, name: str, widget: Field) -> Field:
        """Take up a field that was laid out; it can be edited once a window is filled in."""
        widget.interactive = False  # until it is filled in: what was typed before would be overwritten
        self._fields[name] = widget
        self._defaults[name] = widget.value or ""
        return widget

    def text(self, name: str, elem_id: str, label: str, info: str, example: str = "", **more: Any) -> gr.Textbox:
        """Lay out a field that is typed into, with an example as long as it is empty."""
        return self.add(name, gr.Textbox(label=label, info=info, placeholder=example, elem_id=elem_id, **more))

    def path(self, name: str, elem_id: str, label: str, info: str, example: str, **more: Any) -> gr.Textbox:
        """The same of the first row of a form, for a path."""
        return self.text(name, elem_id, label, info, f"/path/to/{example}", scale=3, min_width=220, **more)

    def fill_from(self, button: gr.Button, values: Mapping[str, object]) -> gr.events.Dependency:
        """Fill in fields with values, by name, when the button of the example is clicked."""
        fields = [self._fields[name] for name in values]
        return button.click(lambda: dict(zip(fields, map(str, values.values()), strict=True)), None, fields, **VIEW)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    @contextlib.contextmanager
    def options(self, title: str, elem_id: str | None = None, known: Iterable[str] = ()) -> Iterator[None]:
        """Fold away the fields laid out in the block, until one differs from its default, but for those `known`."""
        others = set(self._fields)
        with gr.Accordion(title, open=False, elem_id=elem_id) as self.more:
            yield
        self._optional = set(self._fields) - others - set(known)

    @property
    def widgets(self) -> list[gr.components.Component]:
        """The fields in the order in which Gradio sends their values."""
        return [*self._fields.values()]

    @property
    def outputs(self) -> list:
        """What an update of the form can change, without `filled`."""
        return [*([self.more] if self.more else []), *self.widgets]

    def named(self, values: Iterable[Any]) -> dict[str, Any]:
        """The values that Gradio sends, by name."""
        return dict(zip(self._fields, values, strict=True))

    def first_look(self, run: str) -> dict:
        """Updates for a window that was just opened: from now on, the fields can be edited."""
        last = self._last_by_name()
        return {**self.released(last), **self.sent(run, {**self._defaults, **last})}

    def released(self, values: Mapping[str, Any]) -> dict:
        """Updates that fill in the fields of a window that was just opened, which can be edited from now on.

        A field below folded options is filled in when these are opened, and may just be typed into: what it holds
        already is not sent again.
        """
        differs = self._differing(values)
        fields = {
            widget: gr.update(interactive=True, **({"value": differs[name]} if name in differs else {}))
            for name, widget in self._fields.items()
        }
        return {**self._opened(values), **fields}

    def sent(self, run: str, fields: Mapping[str, Any]) -> dict:
        """The update for a form that was sent, or filled in, with these fields."""
        return {self.filled: {**fields, "run": run}}

    def follow(self, run: str, before: Mapping[str, Any], fields: Mapping[str, Any]) -> tuple[dict, dict[str, Any]]:
        """Updates for the run in the folder, none if the form was `filled` for it, and the fields as they then are."""
        if before.get("run") == run:
            return {}, dict(fields)
        last = {**self._defaults, **self._last_by_name()}
        renewal = renewed(before, fields, last)
        return {**self._fill_in(renewal), **self.sent(run, last)}, {**fields, **renewal}

    def fill(self, run: str, before: Mapping[str, Any], fields: Mapping[str, Any], values: Mapping[str, Any]) -> dict:
        """Updates that fill in other values for a run; fields that were edited since they were `filled` stay."""
        return {**self._fill_in(renewed(before, fields, values)), **self.sent(run, values)}

    def _last_by_name(self) -> dict[str, Any]:
        last = self._last()
        return {name: last[name] for name in self._fields if name in last}

    def _fill_in(self, values: Mapping[str, Any]) -> dict:
        return {**self._opened(values), **{self._fields[name]: value for name, value in values.items()}}

    def _differing(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if (value or "") != self._defaults[name]}

    def _opened(self, values: Mapping[str, Any]) -> dict:
        """The update that opens the folded options, if one of these values is theirs and not the default."""
        differs = self._optional & self._differing(values).keys()
        return {self.more: gr.update(open=True)} if differs else {}


class Fold:
    """A form that leaves the room to the result, and the button that shows it again.

    Where there is no result, the style shows the form all the same, without the button.
    """

    def __init__(self, form: gr.Column):
        self._form, self._folded = form, gr.State(False)
        self._button = gr.Button(CLOSE_FORM, size="sm", scale=0, elem_classes="safe-fold")
        self.outputs = [form, self._folded, self._button]
        self._button.click(lambda folded: self.show(folded=not folded), self._folded, self.outputs, **VIEW)

    def show(self, *, folded: bool) -> dict:
        """Updates that show the form, or only the button."""
        classes = ["safe-folded"] if folded else []
        button = gr.Button(OPEN_FORM if folded else CLOSE_FORM)
        return {self._form: gr.update(elem_classes=classes), self._folded: folded, self._button: button}
