"""What the tabs with a form and long work have in common: they follow the work, and what changes in the folder."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from safe_dnn.page.events import EDITS, FOLLOW, LATEST, VIEW
from safe_dnn.page.form_view import Fold, FormView, example_button
from safe_dnn.page.job_view import JobView, News
from safe_dnn.page.jobs import Job
from safe_dnn.page.messages import OPENING
from safe_dnn.page.results import Marks
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.entries import quoted
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.labels import take_typed_labels, typed_text


class FormTab:
    """A tab in whose form work is started, and whose pane shows the result.

    A tab lays out its form, then `_lay_out_state`, then its pane, and calls `_show_in`; `wire` connects its widgets.
    The form is folded once its work has a result.
    """

    def __init__(self, settings: PageSettings):
        self._settings = settings
        self.form = FormView(self._last_form)
        self.marks = gr.State(None)  # of the folder, as the window shows it

    def _lay_out_start(self, name: str, title: str, elem_id: str, min_width: int = 170) -> None:
        """Lay out the buttons at the end of the first row: the example, if there is one, and the one that starts."""
        self.example = example_button(self._settings, name)
        self.start = gr.Button(title, variant="primary", scale=1, min_width=min_width, elem_id=elem_id)

    def _lay_out_state(self, name: str, form: gr.Column, onward: gr.Button | None = None) -> None:
        """Lay out what says how far the work is, and buttons: to stop it, to show the form, and to go on from there."""
        with gr.Row(elem_classes="safe-state"):
            self.status = gr.HTML(OPENING, elem_id=f"{name}-status", scale=1)
            self.fold = Fold(form)
            if onward:
                onward.render()
            self.cancel = gr.Button("Stop", scale=0, min_width=110, visible=False, elem_id=f"cancel-{name}")

    def _show_in(self, tab: str, result: gr.Column, outputs: list, **more: Any) -> None:
        """Follow the work of a tab; `outputs` are the widgets of its pane."""
        self.job_view = JobView(
            self._settings, tab, self.status, self.start, self.cancel, guide=self._guide, result=result, **more
        )
        self.outputs = [*self.job_view.outputs, *self.fold.outputs, self.marks, self.form.filled, *outputs]

    # --- What each tab says ---------------------------------------------------------------------------------------

    def _last_form(self) -> Mapping[str, Any]:
        """The form as it was last sent."""
        raise NotImplementedError

    def _guide(self) -> str:
        """What to do if there is no result to show; empty if there is one."""
        raise NotImplementedError

    def show(self) -> dict:
        """What the widgets show of the result in the folder; a SAFEError if there is none."""
        raise NotImplementedError

    def _now(self) -> Marks:
        """What of the folder the tab depends on."""
        return self._settings.results.marks()

    def _result_of(self, marks: Marks) -> tuple:
        """What of `_now` says whether the result is another one."""
        raise NotImplementedError

    # --- What they do alike ---------------------------------------------------------------------------------------

    def _shown(self) -> dict:
        return {self.marks: self._now(), **self.show()}

    def _work(self, fields: Mapping[str, Any], work: Callable[[Job], object], ask: Callable) -> Iterator[dict]:
        """Start work with the fields that were sent, and follow it.

        `ask` gives what the fields ask for, and keeps them; a SAFEError where one cannot be used.
        """
        yield self.form.sent(self._now().run, fields)
        yield from self.job_view.start(work, lambda: self._shown() | self.fold.show(folded=True), lambda: ask(fields))

    def _first_look(self) -> dict:
        marks = self._now()
        looked = {**self.job_view.look(self._shown), **self.form.first_look(marks.run)}
        return {**looked, **self.fold.show(folded=True), self.marks: marks}

    def on_tab(self, followed: int, marks: Marks | None) -> dict:
        """Look again if the folder has changed since."""
        now = self._now()
        return gr.skip() if now == marks else {self.marks: now, **self.job_view.look(self._shown, followed)}

    def on_folder(self, followed: int, marks: Marks | None, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder."""
        now = self._now()
        updates, _ = self.form.follow(now.run, before, self.form.named(values))
        if now != marks:
            same = marks is not None and self._result_of(now) == self._result_of(marks)
            updates = {**updates, self.marks: now, **self.job_view.look(self._shown, followed, same=same)}
        return updates or gr.skip()

    def _wire(self, loaded: gr.events.Dependency, tab: gr.Tab, news: News) -> None:
        """Follow work and folder; `loaded` is the event that a window that was just opened shows the RCCs."""
        looked, filled_in = [self.job_view.followed, self.marks], [*self.form.outputs, *self.outputs]
        tab.select(self.on_tab, looked, self.outputs, **VIEW)
        loaded.then(partial(self.job_view.load, self._first_look, self._shown), None, filled_in, **FOLLOW)
        self.job_view.wire(news, self._shown, self.outputs)
        news.folder(self.on_folder, [*looked, self.form.filled, *self.form.widgets], filled_in, **LATEST, **EDITS)


def given(path: str | None, what: str, settings: PageSettings) -> str:
    """A path that a form must give; a SAFEError if it does not, or if the page accepts no such path."""
    if not (path or "").strip():
        raise SAFEError(f"Expected the {what}. Received: nothing.")
    return settings.accept(path)


def check_there(paths: Mapping[str, str]) -> None:
    """Make sure that there is something at each path, by what it is of; a SAFEError if there is not."""
    for what, path in paths.items():
        if not path or not Path(path).exists():
            received = f"{quoted(path)}, which does not exist" if path else "nothing"
            raise SAFEError(f"Expected the {what}. Received: {received}.")


def take_labels(out: Path) -> None:
    """Take over what was typed into `unsafe_set.csv` in another program, and say so; before work that replaces it."""
    with contextlib.suppress(SAFEError):  # damaged: the work is refused, with the reason
        if number := take_typed_labels(out):
            gr.Info(typed_text(number))
