"""The forms of tabs: what was last typed into them is kept as entries, so that a page opened again is filled in again.

The fields of a tab are filled in anew when the output folder holds another run. What the tabs with a form and long work
have in common is here as well: they follow the work, and what changes in the folder.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import gradio as gr

from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.events import LATEST, VIEW
from safe_dnn.page.job_view import JobView
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import OPENING
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.analysis import Analysis, check_links
from safe_dnn.store.database import append, changing, entries, reading
from safe_dnn.store.places import absolute, relative
from safe_dnn.store.runs import CLUSTERS
from safe_dnn.support.errors import SAFEError, quoted
from safe_dnn.support.text import printable
from safe_dnn.training.labels import take_typed_labels, typed_text

LONGEST = 4096
FORM = "form"
"""The kind of an entry: its subject is the tab, its value the fields."""
HERE = "here"
"""Of a path below the folder of the analysis, that relative to it."""


def remember(out: Path, tab: str, fields: Mapping[str, str | bool | None]) -> None:
    """Keep the values of a tab's fields, by name, except those too long for a path or a number."""
    short = {name: value for name, value in fields.items() if isinstance(value, bool) or len(value or "") < LONGEST}
    # If nothing can be written, the work itself reports it.
    with contextlib.suppress(SAFEError, OSError):
        if remembered(out, tab) != {name: value for name, value in short.items() if value is not None}:
            run = Analysis(out).runs.get(CLUSTERS)
            with changing(out) as db:
                value = {name: _without_folder(typed, out) for name, typed in short.items()}
                append(db, FORM, tab, value, run=run.clusters if run else "")


def remembered(out: Path, tab: str) -> dict[str, str | bool]:
    """The values that were last kept for the present clusters; otherwise for others of the same images, or for none.

    Empty if there are none.
    """
    run = Analysis(out).runs.get(CLUSTERS)
    clusters = run.clusters if run else ""
    home = clusters.partition(" ")[2]
    with reading(out) as db:
        saved = [*entries(db, "kind = ? AND subject = ?", FORM, tab)]
    mine = [entry.value for entry in saved if entry.run == clusters]
    other = [entry.value for entry in saved if not (entry.run and home) or entry.run.partition(" ")[2] == home]
    fields = [{}, *other, *mine][-1]
    values = {name: absolute(one[HERE], out) if isinstance(one, dict) else one for name, one in fields.items()}
    return {name: value for name, value in values.items() if isinstance(value, str | bool)}


def _without_folder(value: str | bool | None, out: Path) -> object:
    if isinstance(value, str) and value.startswith(f"{out}{os.sep}"):
        return {HERE: relative(value, out)}
    return value


def renewed(
    before: Mapping[str, object], typed: Mapping[str, object], after: Mapping[str, object]
) -> dict[str, object]:
    """New values for fields when the folder holds another run; fields that were edited meanwhile stay as they are.

    Parameters
    ----------
    before, after : mapping
        What the fields were last filled in or sent with, and the values that belong to the run in the folder now.
    typed : mapping
        What the fields hold.
    """
    same = {name for name in after if (typed[name] or "") == (before.get(name) or "")}
    return {name: after[name] for name in after if name in same and (typed[name] or "") != (after[name] or "")}


def typed(**fields: str | None) -> dict[str, str]:
    """Fields that were filled in; Gradio gives None for one that was never touched."""
    return {name: text.strip() for name, text in fields.items() if text and text.strip()}


# --- The fields of a tab ----------------------------------------------------------------------------------------------


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
        self.fold: gr.Accordion | None = None
        self._folds: dict[gr.Accordion, set[str]] = {}  # with the fields that open them
        self.filled = gr.State({})  # what the fields were last filled in or sent with, and the run

    def add(self, name: str, widget: Field) -> Field:
        """Take up a field that was laid out; it can be edited once a window is filled in."""
        widget.interactive = False  # until it is filled in: what was typed before would be overwritten
        self._fields[name] = widget
        self._defaults[name] = widget.value or ""
        return widget

    def text(self, name: str, elem_id: str, label: str, info: str, example: str = "", **options: Any) -> gr.Textbox:
        """Lay out a field that is typed into, with an example as long as it is empty."""
        return self.add(
            name, gr.Textbox(label=label, info=info, placeholder=example, max_lines=1, elem_id=elem_id, **options)
        )

    def path(self, name: str, elem_id: str, label: str, info: str, example: str, **options: Any) -> gr.Textbox:
        """The same of the first row of a form, for a path."""
        return self.text(name, elem_id, label, info, f"/path/to/{example}", scale=3, min_width=220, **options)

    def fill_from(self, button: gr.Button, values: Mapping[str, object]) -> gr.events.Dependency:
        """Fill in fields with values, by name, when the button of the example is clicked."""
        fields = [self._fields[name] for name in values]
        return button.click(lambda: dict(zip(fields, map(str, values.values()), strict=True)), None, fields, **VIEW)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    @contextlib.contextmanager
    def options(self, title: str, elem_id: str | None = None, known: Iterable[str] = ()) -> Iterator[None]:
        """Fold away the fields laid out in the block, until one differs from its default, but for those `known`.

        Blocks may lie in one another; `fold` is the outer one.
        """
        earlier = set(self._fields)
        with gr.Accordion(title, open=False, elem_id=elem_id) as fold:
            yield
        self.fold, self._folds[fold] = fold, set(self._fields) - earlier - set(known)

    @property
    def widgets(self) -> list[gr.components.Component]:
        """The fields in the order in which Gradio sends their values."""
        return [*self._fields.values()]

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

    def _last_by_name(self) -> dict[str, Any]:
        last = self._last()
        return {name: last[name] for name in self._fields if name in last}

    def _fill_in(self, values: Mapping[str, Any]) -> dict:
        return {**self._opened(values), **{self._fields[name]: value for name, value in values.items()}}

    def _differing(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if (value or "") != self._defaults[name]}

    def _opened(self, values: Mapping[str, Any]) -> dict:
        """The updates that open folded options, if one of these values is theirs and not the default."""
        differs = self._differing(values).keys()
        return {fold: gr.update(open=True) for fold, names in self._folds.items() if names & differs}


class Fold:
    """A form that leaves the room to the result, and the button that shows it again.

    Where there is no result, the style shows the form all the same, without the button.
    """

    def __init__(self, form: gr.Column):
        form.elem_classes = ["safe-folded"]
        self._form, self._folded = form, gr.State(True)
        self._button = gr.Button(OPEN_FORM, size="sm", scale=0, elem_classes="safe-fold")
        outputs = [form, self._folded, self._button]
        self._button.click(lambda folded: self.show(folded=not folded), self._folded, outputs, **VIEW)

    def show(self, *, folded: bool) -> dict:
        """Updates that show the form, or only the button."""
        classes = ["safe-folded"] if folded else []
        button = gr.Button(OPEN_FORM if folded else CLOSE_FORM)
        return {self._form: gr.update(elem_classes=classes), self._folded: folded, self._button: button}


# --- A tab in which work is started -----------------------------------------------------------------------------------


def widgets_in(part: gr.blocks.BlockContext) -> list[gr.blocks.Block]:
    """All that lies in a part of the page, laid out in whatever it is: what an answer may change."""
    inner = (widgets_in(child) if isinstance(child, gr.blocks.BlockContext) else [child] for child in part.children)
    return [part, *itertools.chain.from_iterable(inner)]


class WorkTab:
    """A tab in which work is started, and whose pane shows the result.

    A tab lays out its form, if it has one, then `_lay_out_state`, its pane, and `_follow`; `wire` connects its widgets.
    """

    name: str
    start: gr.Button

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.form = FormView(self._last_form)
        self.marks = gr.State(None)  # of the folder, as the window shows it; first the run

    def _lay_out_start(self, name: str, title: str, elem_id: str, min_width: int = 170) -> None:
        """Lay out the buttons at the end of the first row: the example, if there is one, and the one that starts."""
        self.example = example_button(self._settings, name)
        self.start = gr.Button(title, variant="primary", scale=1, min_width=min_width, elem_id=elem_id)

    def _lay_out_state(self, form: gr.Column | None = None, onward: gr.Button | None = None) -> None:
        """Lay out what says how far the work is, and buttons: to show the form, which is folded as soon as there is a
        result, to go on from there, and to stop it."""
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(OPENING, elem_id=f"{self.name}-status", scale=1)
            self.fold: Any = Fold(form) if form else None
            if onward:
                onward.render()
            self.cancel = gr.Button("Stop", scale=0, min_width=110, visible=False, elem_id=f"cancel-{self.name}")

    def _follow(self, result: gr.Column, **options: Any) -> None:
        """Follow the work, whose result is shown in a pane."""
        self.job_view = JobView(
            self._settings, self.name, self.status, self.start, self.cancel, guide=self._guide, result=result, **options
        )

    # --- What each tab says ---------------------------------------------------------------------------------------

    def _last_form(self) -> Mapping[str, Any]:
        """The form as it was last sent."""
        return {}

    def _guide(self) -> str:
        """What to do if there is no result to show; empty if there is one."""
        raise NotImplementedError

    def show(self) -> dict:
        """What the widgets show of the result in the folder; a SAFEError if there is none."""
        raise NotImplementedError

    def _now(self) -> tuple:
        """What of the folder the tab depends on; first the run that its form is of."""
        return self._settings.results.latest.marks

    def _result_of(self, marks: tuple) -> object:
        """What of `_now` says whether the result is another one."""
        return marks

    # --- What they do alike ---------------------------------------------------------------------------------------

    def _view(self) -> dict:
        return {self.marks: self._now(), **self.show()}

    def _folded(self) -> dict:
        """The same after work."""
        return self._view() | (self.fold.show(folded=True) if self.fold else {})

    def _work(self, fields: Mapping[str, Any], work: Callable[[Job], object], ask: Callable) -> dict:
        """Start work with the fields that were sent.

        `ask` gives what the fields ask for, and keeps them; a SAFEError where one cannot be used.
        """
        started = self.job_view.start(work, self._folded, lambda: ask(fields))
        return {**self.form.sent(self._now()[0], fields), **started}

    def _work_on(
        self, marks: tuple | None, work: Callable[[Job], object], show: Callable[[], dict] | None = None,
        ask: Callable = lambda: None,
    ) -> dict:  # fmt: skip
        """Start work on the clusters that a window shows, unless they are others by now.

        Images that lead out of the page's root by now are refused as well.
        """

        def checked(job: Job) -> None:
            check_links(self._settings.results.state(marks[0] if marks else None).clusters)
            work(job)

        return self.job_view.start(checked, show or self._view, ask)

    def _first_look(self) -> dict:
        marks = self._now()
        return {**self.job_view.look(self._view), **self.form.first_look(marks[0]), self.marks: marks}

    def on_tab(self, marks: tuple | None, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder."""
        now = self._now()
        updates, _ = self.form.follow(now[0], before, self.form.named(values))
        if now != marks:
            same = marks is not None and self._result_of(now) == self._result_of(marks)
            updates = {**updates, self.marks: now, **self.job_view.look(self._view, same=same)}
        return updates or gr.skip()

    def _wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Follow work and folder; `loaded` is the event that a window that was just opened shows the RCCs."""
        tab.select(self.on_tab, [self.marks, self.form.filled, *self.form.widgets], widgets_in(tab), **LATEST)
        loaded.then(lambda: self.job_view.first(self._first_look), None, widgets_in(tab), **VIEW)
        self.job_view.timer.tick(self.job_view.tick, self.job_view.followed, widgets_in(tab), **VIEW)


def network_of(failures: AnsweredImages, settings: PageSettings) -> dict[str, str]:
    """The network that failed and its test images, as a form names them: `model`, `test`; empty as in `model_of`.

    Empty as well if they are not for the visitors of the page.
    """
    if (model := model_of(failures)) is None:
        return {}
    try:
        paths = [printable(settings.accept(os.fspath(path))) for path in (model, failures.root)]
    except SAFEError:
        return {}
    return dict(zip(("model", "test"), paths, strict=True))


def model_of(failures: AnsweredImages) -> Path | None:
    """The file of the network that failed, if it can be run again without being told anything about it.

    That is, of a classifier whose pixels are scaled as its file says, and which needs no trust; not a table.
    """
    model = failures.source
    is_keras, is_onnx = model.suffix.lower() in KERAS_SUFFIXES, model.suffix.lower() == ONNX_SUFFIX
    needs_options = failures.task != "classification" or failures.rescale or failures.trust_model
    return model if not needs_options and (is_keras or is_onnx) and model.is_file() else None


def required_path(path: str | None, what: str, settings: PageSettings) -> str:
    """The path in a field that must be filled in; a SAFEError if it is empty or the page refuses the path."""
    if not (path or "").strip():
        raise SAFEError(f"Expected the {what}. Received: nothing.")
    return settings.accept(path)


def check_there(paths: Mapping[str, str]) -> None:
    """Make sure that there is something at each path, by what it is of; a SAFEError if there is not."""
    for what, path in paths.items():
        if not path or not Path(path).exists():
            received = f"{quoted(path)}, which does not exist" if path else "nothing"
            raise SAFEError(f"Expected the {what}. Received: {received}.")


def take_labels(out: Path) -> SAFEError | None:
    """Take over what was typed into `unsafe_set.csv` in another program, and say so; before work that replaces it.

    Returns
    -------
    SAFEError or None
        Why the table cannot be read: work that would replace it is refused.
    """
    try:
        if number := take_typed_labels(out):
            gr.Info(typed_text(number))
    except SAFEError as error:
        return error
    return None
