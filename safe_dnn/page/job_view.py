"""Long work as the page shows it: its progress, asked for by a timer as long as there is any, then its result."""

from collections.abc import Callable, Sequence
from typing import Any

import gradio as gr

from safe_dnn.page.events import VIEW
from safe_dnn.page.jobs import STOPPED, Job
from safe_dnn.page.messages import done, failed, put_away, warn
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.errors import SAFEError

REFRESH_SECONDS = 1.0


class JobView:
    """The long work of a tab as a window shows it.

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
    followed : State
        The number of the last job that a window has shown.
    timer : Timer
        Ticks as long as there is work to follow.
    """

    def __init__(
        self, settings: PageSettings, tab: str, status: gr.HTML, button: gr.Button, cancel: gr.Button,
        guide: Callable[[], str], result: gr.Column, stopped: str = STOPPED, other_buttons: Sequence[gr.Button] = (),
    ):  # fmt: skip
        self._buttons = (button, *other_buttons)
        self._tab, self._guide, self._result = tab, guide, result
        self._settings = settings
        self._stopped = stopped
        self._status, self._cancel = status, cancel
        self.followed = gr.State(0)
        self.timer = gr.Timer(REFRESH_SECONDS, active=False)
        cancel.click(self._stop, None, None, **VIEW)

    def start(self, work: Callable[[Job], object], show: Callable[[], dict], form: Callable = lambda: None) -> dict:
        """Start work, whose result `show` shows; if this analysis is at work, say so.

        `form` gives what the fields ask for; a SAFEError if one cannot be used.
        """
        self._settings.results.check_there()
        jobs, job = self._settings.jobs, None
        if not jobs.running:
            try:
                job = jobs.start(self._tab, work, form())
            except SAFEError as error:
                return {self._status: failed(error) + self._guide()}
        if job is None:
            warn("Busy", f"{jobs.busy} Wait for it, or stop it.")
            return self._follow()
        job.show = show
        return self._progress(job)

    def first(self, look: Callable[[], dict]) -> dict:
        """For a window that is opened: what `look` shows of the folder. A job that runs is yet to be followed."""
        job = self._settings.jobs.latest(self._tab)
        return {self.followed: job.number if job and job.finished(0) else 0, **self._follow(), **look()}

    def look(self, show: Callable[[], dict], *, same: bool = False) -> dict:
        """What `show` finds in the folder or, if there is no result, the instructions, without an earlier result.

        Parameters
        ----------
        same : bool
            The window shows this result already. If the last job has failed since, or was stopped, this stays in sight.
        """
        guide, job = self._guide(), self._settings.jobs.latest(self._tab)
        try:
            updates = {self._result: put_away(), self._status: guide} if guide else show()
            if same and job and job.finished(0) and job.outcome is not None:
                updates[self._status] = self._ended(job.outcome) + guide
        except SAFEError as error:
            updates = {self._status: failed(error), self._result: put_away()}
        if job and not job.finished(0):
            return {**updates, self._status: gr.skip(), **self._follow()}
        return updates

    def tick(self, followed: int) -> dict:
        """The progress of the tab's latest job, then what it has found, or its error."""
        job = self._settings.jobs.latest(self._tab)
        if job and not job.finished(0):
            return self._progress(job)
        updates: dict[Any, Any] = {self.timer: gr.Timer(active=False)}
        if job is None or job.number == followed:
            return updates
        updates |= {self.followed: job.number, **self._switch(interactive=True), self._cancel: gr.Button(visible=False)}
        try:
            found = job.show() if job.outcome is None else {self._status: self._ended(job.outcome) + self._guide()}
        except SAFEError as error:
            found = {self._status: failed(error) + self._guide()}
        return {**found, **updates}

    def _follow(self) -> dict:
        running = self._settings.jobs.running
        return {self.timer: gr.Timer(active=running is not None and running.tab == self._tab)}

    def _progress(self, job: Job) -> dict:
        guide = self._guide()  # it may be gone meanwhile: the job has a result before it is done
        return {
            self._status: job.bar + guide, **self._switch(interactive=False), self.timer: gr.Timer(active=True),
            self._cancel: gr.Button(visible=True, interactive=not job.cancelled()),
            # no result of other clusters beside this progress
            **({self._result: put_away()} if guide else {}),
        }  # fmt: skip

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
