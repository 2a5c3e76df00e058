"""What the tabs in which long work is started have in common: they follow the work, and what changes in the folder."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import gradio as gr

from safe_dnn.analysis import check_links
from safe_dnn.page.assets import LATEST, VIEW
from safe_dnn.page.forms import FormView, take_labels
from safe_dnn.page.jobs import STOPPED, Job
from safe_dnn.page.messages import OPENING, done, failed, put_away, warn
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.errors import SAFEError

Work = Callable[[Job], object]

REFRESH_SECONDS = 1.0
OPEN_FORM, CLOSE_FORM = "Other inputs or options", "Hide the form"


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


def widgets_in(part: gr.blocks.BlockContext) -> list[gr.blocks.Block]:
    """All that lies in a part of the page, laid out in whatever it is: what an answer may change."""
    inner = (widgets_in(child) if isinstance(child, gr.blocks.BlockContext) else [child] for child in part.children)
    return [part, *itertools.chain.from_iterable(inner)]


class WorkTab:
    """A tab in which work is started, and whose pane shows the result.

    A tab lays out its form, if it has one, then `_lay_out_state`, then its pane; `wire` connects its widgets.

    Attributes
    ----------
    name : str
        As in `steps.TABS`.
    submits : sequence of str
        The fields in which Enter starts the work as well.
    stopped : str
        What is shown of work that was stopped.
    pane : Column
        Holds the result (see `messages.pane`); put away if there is none.
    start, cancel : Button
        The buttons that start the work, and stop it at its next batch.
    other_buttons : sequence of Button
        Further buttons that start work.
    marks : State
        What of the folder the window shows; first the run.
    followed : State
        The number of the last job that the window has shown.
    timer : Timer
        Ticks as long as there is work to follow.
    """

    name: str
    submits: Sequence[str] = ()
    stopped = STOPPED
    pane: gr.Column
    start: gr.Button
    other_buttons: Sequence[gr.Button] = ()

    def __init__(self, settings: PageSettings, form: FormView | None = None):
        self._settings = settings
        self.form: Any = form or FormView(settings, self.name, self._last_form)
        self.marks, self.followed = gr.State(None), gr.State(0)
        self.timer = gr.Timer(REFRESH_SECONDS, active=False)

    def _lay_out_start(self, name: str, title: str, elem_id: str, min_width: int = 170) -> None:
        """Lay out the buttons at the end of the first row: the example, if there is one, and the one that starts."""
        self.form.lay_out_example(name)
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
        self.cancel.click(self._stop, None, None, **VIEW)

    # --- What each tab says ---------------------------------------------------------------------------------------

    def _last_form(self) -> Mapping[str, Any]:
        """The form as it was last sent."""
        return {}

    def _work_of(self, fields: Mapping[str, Any]) -> Work:
        """The work that the fields, which are kept, ask for; a SAFEError if one cannot be used."""
        raise NotImplementedError

    def _guide(self) -> str:
        """What to do if there is no result to show, as HTML; empty if there is one."""
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

    # --- The folder ---------------------------------------------------------------------------------------------------

    def look(self, show: Callable[[], dict], *, same: bool = False) -> dict:
        """What `show` finds in the folder or, if there is no result, the instructions, without an earlier result.

        Parameters
        ----------
        same : bool
            The window shows this result already. If the last job has failed since, or was stopped, this stays in sight.
        """
        job = self._job
        try:
            self._settings.results.check_there()
            guide = self._guide()
            updates = {self.pane: put_away(), self.status: guide} if guide else show()
        except SAFEError as error:
            return {self.status: failed(error), self.pane: put_away()}
        if job and not job.finished(0):
            return {**updates, **self._progress(job)}
        return {**updates, **self._without_result(job.outcome)} if same and job and job.outcome is not None else updates

    def first_look(self, show: Callable[[], dict] | None = None) -> dict:
        """For a window that was just opened; a job that runs is yet to be followed."""
        marks, job = self._now(), self._job
        return {
            self.followed: job.number if job and job.finished(0) else 0, self.marks: marks,
            **self.look(show or self.show), **self.form.first_look(marks[0]),
        }  # fmt: skip

    def on_tab(self, marks: tuple | None, before: dict, *values: Any) -> dict:
        """Show what has changed in the folder."""
        now = self._now()
        updates, _ = self.form.follow(now[0], before, self.form.named(values))
        if now != marks:
            same = marks is not None and self._result_of(now) == self._result_of(marks)
            updates = {**updates, self.marks: now, **self.look(self.show, same=same)}
        return updates or gr.skip()

    def _wire(self, loaded: gr.events.Dependency, tab: gr.Tab) -> None:
        """Follow work and folder; `loaded` is the event that a window that was just opened shows the RCCs."""
        tab.select(self.on_tab, [self.marks, self.form.filled, *self.form.widgets], widgets_in(tab), **LATEST)
        loaded.then(self.first_look, None, widgets_in(tab), **VIEW)
        self.timer.tick(lambda followed: self.tick(followed) or gr.skip(), self.followed, widgets_in(tab), **VIEW)

    def _wire_form(self, tab: gr.Tab) -> None:
        """Start work, and fill in the example."""
        sent = [self.start.click, *(self.form[name].submit for name in self.submits)]
        gr.on(sent, self.on_start, self.form.widgets, widgets_in(tab), **VIEW)
        self.form.wire_example()

    # --- Work ---------------------------------------------------------------------------------------------------------

    @property
    def _job(self) -> Job | None:
        return self._settings.jobs.latest(self.name)

    def _view(self) -> dict:
        """What the tab shows after work."""
        folded = self.fold.show(folded=True) if self.fold else {}
        return {self.marks: self._now(), **self.show(), **folded}

    def _start(self, work_of: Callable[[], Work], show: Callable[[], dict]) -> dict:
        """Start work, whose result `show` shows; if this analysis is at work, say so.

        `work_of` gives the work; a SAFEError if what it needs cannot be used.
        """
        self._settings.results.check_there()
        jobs, job = self._settings.jobs, None
        if not jobs.running:
            try:
                job = jobs.start(self.name, work_of())
            except SAFEError as error:
                return self._without_result(error)
        if job is None:
            warn("Busy", f"{jobs.busy} Wait for it, or stop it.")
            return {self.status: gr.skip()}
        job.show = show
        return self._progress(job)

    def on_start(self, *values: Any) -> dict:
        """Start work with the values of the form."""
        return self.begin(self.form.named(values))

    def begin(self, fields: Mapping[str, Any]) -> dict:
        """The same, with the values by name; what was typed into a table of labels is taken over before."""
        take_labels(self._settings.out)
        started = self._start(lambda: self._work_of(fields), self._view)
        return {**self.form.sent(self._now()[0], fields), **started}

    def _work_on(
        self, marks: tuple | None, work_of: Callable[[], Work], show: Callable[[], dict] | None = None
    ) -> dict:
        """Start work on the clusters that a window shows, unless they are others by now.

        Images that lead out of the page's root by now are refused as well.
        """

        def checked() -> Work:
            work = work_of()

            def on_these(job: Job) -> None:
                state = self._settings.results.state(marks[0] if marks else None)
                if state.there:
                    check_links(state.clusters)
                work(job)

            return on_these

        return self._start(checked, show or self._view)

    def tick(self, followed: int) -> dict:
        """The progress of the tab's latest job, then what it has found, or its error; nothing once it is followed.

        Only the end of a job stops the timer, and only once. An answer without news may reach the window after that to
        a click that has started the next job, which nobody would follow then.
        """
        job = self._job
        if job and not job.finished(0):
            return self._progress(job)
        if job is None or job.number == followed:
            return {}
        updates = {
            self.followed: job.number, self.timer: gr.Timer(active=False),
            **self._switch(interactive=True), self.cancel: gr.Button(visible=False),
        }  # fmt: skip
        try:
            found = job.show() if job.outcome is None else self._without_result(job.outcome)
        except SAFEError as error:
            found = self._without_result(error)
        return {**found, **updates}

    def _progress(self, job: Job) -> dict:
        guide = self._guide()  # it may be gone meanwhile: the job has a result before it is done
        return {
            self.status: job.bar + guide, **self._switch(interactive=False), self.timer: gr.Timer(active=True),
            self.cancel: gr.Button(visible=True, interactive=not job.cancelled()),
            # no result of other clusters beside this progress
            **({self.pane: put_away()} if guide else {}),
        }  # fmt: skip

    def _switch(self, *, interactive: bool) -> dict[Any, Any]:
        """Updates of the buttons that start work."""
        return {button: gr.Button(interactive=interactive) for button in (self.start, *self.other_buttons)}

    def _stop(self) -> None:
        job = self._settings.jobs.running
        if job and job.tab == self.name:
            job.cancel()

    def _without_result(self, outcome: SAFEError | str) -> dict:
        """How a job ended that has no result."""
        text = done(self.stopped) if outcome == STOPPED else failed(outcome)
        return {self.status: text + self._guide()}
