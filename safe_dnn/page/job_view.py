"""Long work as the windows of the page show it: its progress, its result, and work started in another window."""

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import gradio as gr

from safe_dnn.page.assets import script
from safe_dnn.page.events import FOLLOW, VIEW
from safe_dnn.page.jobs import STOPPED, Job
from safe_dnn.page.messages import AWAY, done, failed, put_away, warn
from safe_dnn.page.settings import PageSettings
from safe_dnn.page.steps import TABS, Steps
from safe_dnn.support.errors import SAFEError

REFRESH_SECONDS = 1.0  # an update costs a window a tenth of a second and more, which the work lacks


class News:
    """Keeps open windows up to date: every few seconds a script asks for the numbers of the jobs and for a text that
    changes with the folder."""

    def __init__(self, settings: PageSettings):
        steps = Steps(settings)
        self._settings = settings

        def latest_news(_: object) -> dict[str, Any]:
            """Called by the script."""
            return {**self._now(), "steps": steps.now(), "words": settings.results.words_at_rest}

        self.widget = gr.HTML(
            html_template="<span></span>", server_functions=[latest_news], known="", elem_id="news", elem_classes=AWAY,
            # Gradio takes for an event what the script names.
            js_on_load=script("widgets/news.js") + f"// {json.dumps([*TABS, 'folder'])}",
        )  # fmt: skip
        # Something in the folder has changed. Handlers must take turns with edits (`events.EDITS`), or they could show
        # something older than an edit has shown.
        self.folder: Callable = self.widget.folder
        # Notes have changed, and nothing else may have. An event of its own: with each event, Gradio's page copies all
        # that its widgets hold, and notes change with every key and click of a review.
        self.notes: Callable = self.widget.notes
        # Something was said, in this window or another, while the list of edits is in sight.
        self.edits: Callable = self.widget.edits

    def _now(self) -> dict[str, Any]:
        """The number of each tab's latest job, and what differs with the folder."""
        jobs = ((tab, self._settings.jobs.latest(tab)) for tab in TABS)
        numbers = {tab: job.number for tab, job in jobs if job}
        results = self._settings.results
        return {**numbers, "folder": results.stamp, "notes": results.notes_stamp}

    def known(self) -> gr.HTML:
        """For a window that is opened, before anything is read for it: what it will know without being told."""
        return gr.HTML(known=json.dumps(self._now()))

    def listen(self, tab: str, handler: Callable, inputs: gr.State, outputs: list) -> gr.events.Dependency:
        """Call a handler for each new job of a tab."""
        event = getattr(self.widget, tab)
        return event(handler, inputs, outputs, **(FOLLOW | {"trigger_mode": "always_last"}))


class JobView:
    """The long work of a tab as its windows show it.

    Parameters
    ----------
    settings : PageSettings
    tab : str
    status : HTML
        Shows the progress, then the result or the error.
    button, cancel : Button
        The buttons that start the work, and stop it at its next batch.
    guide : callable
        Gives the instructions below the status as long as there is no result, as HTML.
    result : Column
        Holds the result (see `page.messages.pane`); put away if there is none.
    stopped : str
        What is shown of a job that was stopped.
    others : sequence of Button
        Further buttons that start work of this tab.

    Attributes
    ----------
    outputs : list
        The widgets.
    followed : State
        The number of the last job that a window has shown.
    """

    def __init__(
        self, settings: PageSettings, tab: str, status: gr.HTML, button: gr.Button, cancel: gr.Button,
        guide: Callable[[], str], result: gr.Column, stopped: str = STOPPED, others: Sequence[gr.Button] = (),
    ):  # fmt: skip
        self._buttons = (button, *others)
        self._tab, self._guide, self._result = tab, guide, result
        self._settings = settings
        self._stopped = stopped
        self._status, self._cancel = status, cancel
        self.followed = gr.State(0)
        self.outputs = [status, cancel, *self._buttons, self.followed]
        cancel.click(self._stop, None, None, **VIEW)

    def start(self, work: Callable[[Job], object], show: Callable[[], dict], *check: Callable) -> Iterator[dict]:
        """Start work and follow it; if this analysis is at work, say so, and follow that if it is this tab's.

        `check` is as for `page.jobs.Job`, if the work has a form.
        """
        self._settings.results.check_there()
        job = self._settings.jobs.start(self._tab, work, self._settings.where, *check)
        if job is None:
            warn("Busy", f"{self._settings.jobs.busy} Wait for it, or stop it.")
            running = self._settings.jobs.running
            job = running if running and running is self._settings.jobs.latest(self._tab) else None
        yield from self._follow(job, show)

    def load(self, found: Callable[[], dict], show: Callable[[], dict]) -> Iterator[dict]:
        """For a window that is opened: what `found` shows of the folder, then the tab's job, if one is running."""
        at_first = self.first(found)
        yield at_first
        yield from self.go_on(at_first[self.followed], show)

    def first(self, found: Callable[[], dict]) -> dict:
        """For a window that is opened: what `found` shows of the folder. A job that runs is yet to be followed."""
        job = self._settings.jobs.latest(self._tab)
        return {self.followed: job.number if job and job.finished(0) else 0, **found()}

    def go_on(self, followed: int, show: Callable[[], dict]) -> Iterator[dict]:
        """The tab's latest job, if it is not the one that the window has shown last; nothing if it is."""
        job = self._settings.jobs.latest(self._tab)
        if job and job.number != followed:
            yield from self._follow(job, show)

    def look(self, show: Callable[[], dict], followed: int | None = None, *, same: bool = False) -> dict:
        """What `show` finds in the folder or, if there is no result, the instructions, without an earlier result.

        Parameters
        ----------
        followed : int, optional
            The last job that the window had shown when it asked: the status of a later one is left as it is. None for
            a window that is opened, which has shown no job.
        same : bool
            The window shows this result already. If that job has failed since, or was stopped, this stays in sight.
        """
        earlier = self._settings.jobs.latest(self._tab)
        number = followed if followed is not None else earlier.number if earlier else 0
        guide = self._guide()
        try:
            found = {self._result: put_away(), self._status: guide} if guide else show()
            if same and earlier and earlier.number == followed and earlier.outcome is not None:
                found[self._status] = self._ended(earlier.outcome) + guide
        except SAFEError as error:
            found = {self._status: failed(error), self._result: put_away()}
        latest = self._settings.jobs.latest(self._tab)
        if latest and (latest.number != number or not latest.finished(0)):
            return {**found, self._status: gr.skip()}
        return found

    def wire(self, news: News, show: Callable[[], dict], outputs: list) -> gr.events.Dependency:
        """Follow work started in other windows."""

        def on_news(followed: int) -> Iterator[dict]:
            yield gr.skip()
            yield from self.go_on(followed, show)

        return news.listen(self._tab, on_news, self.followed, outputs)

    def _follow(self, job: Job | None, show: Callable[[], dict]) -> Iterator[dict]:
        """Show the progress of a job, then what `show` finds in the folder, or the error."""
        if job is None:
            yield gr.skip()
            return
        wait, state = 0.0, ""
        while not job.finished(wait):
            wait = REFRESH_SECONDS
            guide = self._guide()  # it may be gone meanwhile: the job has a result before it is done
            before, state = state, job.bar + guide
            if state == before:  # Gradio works for each update, and many windows may follow work that waits
                continue
            earlier = {self._result: put_away()} if guide else {}  # no result of other clusters beside this progress
            yield {
                self.followed: job.number,
                self._status: state,
                **self._switch(interactive=False),
                self._cancel: gr.Button(visible=True, interactive=not job.cancelled()),
                **earlier,
            }
        ready = {self.followed: job.number, **self._switch(interactive=True), self._cancel: gr.Button(visible=False)}
        if job.outcome is None:
            try:
                yield {**show(), **ready}
            except SAFEError as error:
                yield {self._status: failed(error) + self._guide(), **ready}
        else:
            yield {self._status: self._ended(job.outcome) + self._guide(), **ready}

    def _switch(self, *, interactive: bool) -> dict[Any, Any]:
        """Updates of the buttons that start work."""
        return {button: gr.Button(interactive=interactive) for button in self._buttons}

    def _stop(self) -> None:
        job = self._settings.jobs.running
        if job and job.tab == self._tab:
            job.cancel()

    def _ended(self, outcome: SAFEError | str) -> str:
        """How a job ended that has no result."""
        return done(self._stopped) if outcome == STOPPED else failed(outcome)
