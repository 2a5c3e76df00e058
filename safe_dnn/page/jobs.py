"""Long work in one worker thread, one job after the other, whichever tab, window or analysis it is started in."""

import contextlib
import contextvars
import math
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from safe_dnn.report.markup import escaped
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Pace, reporting
from safe_dnn.support.text import count

BEHIND = 5  # in priority: answers come first
STOPPED = "Stopped. What was finished is kept: the same click goes on from there."
TOO_LONG = "Stopped, since this service lets nobody's work take longer. What was finished is kept."


class _Stopped(Exception):  # noqa: N818, it is no error
    """Raised in a job, by its next report of progress, once it was cancelled."""


@dataclass(eq=False)
class Job:
    """Long work, which goes on when the browser that started it is closed.

    Attributes
    ----------
    tab : str
        The tab that it belongs to.
    number : int
        Of the page's jobs, from 1.
    owner : str
        The visitor whose analysis it is, where each has a workspace.
    seconds : float
        That it may take.
    drawing : str
        HTML to show below the progress; the work may set it.
    show : callable
        What a window shows of its result.
    """

    tab: str
    number: int
    work: Callable[["Job"], object]
    turn: "Turn"
    owner: str = ""
    drawing: str = field(default="", init=False)
    show: Callable[[], dict] = field(default=dict, init=False)
    outcome: SAFEError | str | None = field(default=None, init=False)  # what went wrong, once it is finished
    # What it writes has the name of the engineer who started it.
    _context: contextvars.Context = field(default_factory=contextvars.copy_context, init=False)
    _latest: tuple[str, int, int] = field(default=("Starting", 0, 0), init=False)
    _pace: Pace = field(default_factory=Pace, init=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, init=False)
    _finished: threading.Event = field(default_factory=threading.Event, init=False)
    _until: float = field(default=math.inf, init=False)

    def run(self) -> None:
        self._until = time.monotonic() + self.turn.allowance.seconds
        try:
            if not self.cancelled():
                self._context.run(self._worked)
            elif self.outcome is None:
                raise _Stopped
        except SAFEError as error:
            self.outcome = error
        except _Stopped:
            self.outcome = STOPPED if self._cancelled.is_set() else TOO_LONG
        except Exception as error:  # noqa: BLE001, nobody else hears of it in this thread
            self.outcome = report_defect(error)
        finally:
            self._finished.set()

    def _worked(self) -> None:
        with reporting(self.progress):
            self.work(self)

    def progress(self, what: str, done: int, total: int) -> None:
        """Take a report of progress (see `support.progress.reporting`)."""
        self._latest = (what, done, total)
        if self.cancelled():
            raise _Stopped

    def tell(self, what: str, done: int, total: int) -> None:
        """The same for work that asks `cancelled` itself."""
        self._latest = (what, done, total)

    def cancel(self) -> None:
        self._cancelled.set()
        if self.turn.before(self):  # it has not begun
            self.outcome = STOPPED
            self._finished.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set() or time.monotonic() > self._until

    def finished(self, within: float) -> bool:
        """Whether it is, or gets so within some seconds."""
        return self._finished.wait(within)

    @property
    def state(self) -> str:
        """What it is doing, how far it is and how long it will take."""
        what, _, total = self._latest
        return self._pace.describe(*self._latest) if total else f"{what} …"

    @property
    def bar(self) -> str:
        """The same as HTML."""
        _, done, total = self._latest
        value = f"max='{total}' value='{done}'" if total else ""
        before = self.turn.before(self)
        text = f"Waiting for {count(before, 'job')} of other analyses" if before else self.state
        text = "Stopping after this batch …" if self.cancelled() else text
        return (
            f"<div class='safe-status' role='status'><progress aria-label='Progress' {value}></progress>"
            f"<span>{escaped(text)}</span></div>{self.drawing}"
        )


class Allowance(NamedTuple):
    """What visitors may ask of the machine: jobs of one of them and of all, running or waiting, and a job's seconds."""

    jobs: float = math.inf
    in_all: float = math.inf
    seconds: float = math.inf


UNLIMITED = Allowance()


class Turn:
    """The worker that the pages of one process share.

    Attributes
    ----------
    lock : Lock
        No job is started while somebody holds it.
    """

    def __init__(self, allowance: Allowance = UNLIMITED) -> None:
        self.allowance = allowance
        self.lock = threading.Lock()
        self._line: list[Job] = []  # the one that runs, then those that wait for it; some may be finished
        self._queue = queue.SimpleQueue[Job]()
        # A daemon: work that is cut off when the page is shut down resumes from the cache.
        self._worker = threading.Thread(target=self._work, name="jobs", daemon=True)

    def take_in(self, job: Job) -> None:
        """Let a job wait for its turn. Whoever calls it holds the lock.

        Raises
        ------
        SAFEError
            Too many wait.
        """
        line = [other for other in self._line if not other.finished(0)]
        if len(line) >= self.allowance.in_all or sum(one.owner == job.owner for one in line) >= self.allowance.jobs:
            raise SAFEError("As many analyses as this service takes at once are waiting. Try again in a while.")
        self._line = [*line, job]
        self._queue.put(job)
        if not self._worker.is_alive():
            self._worker.start()

    def before(self, job: Job) -> int:
        """How many jobs are done before one."""
        line = [other for other in self._line if not other.finished(0)]
        return line.index(job) if job in line else 0

    def _work(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # of this thread and those that it starts; Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)
        while True:
            self._queue.get().run()


class Jobs:
    """The jobs of a page: one at a time, whichever tab or visitor starts it, after those of other analyses.

    Parameters
    ----------
    turn : Turn, optional
        Shared with the pages of other analyses.
    owner : str, optional
        As of `Job`.
    """

    def __init__(self, turn: Turn | None = None, owner: str = "") -> None:
        self.turn = turn or Turn()
        self.owner = owner
        self._gone = False
        self._started = 0
        self._latest: dict[str, Job] = {}

    @property
    def running(self) -> Job | None:
        return next((job for job in list(self._latest.values()) if not job.finished(0)), None)

    @property
    def busy(self) -> str:
        """Why no job can be started now: what is running, in a sentence."""
        what = f" ({running.state})" if (running := self.running) else ""
        return f"An analysis does one thing at a time, and is at work{what}."

    def latest(self, tab: str) -> Job | None:
        """The job of a tab that was started last, finished or not."""
        return self._latest.get(tab)

    def start(self, tab: str, work: Callable[[Job], object]) -> Job | None:
        """Start a job, which waits for those of other analyses; None where one of this analysis is running or waiting.

        Raises
        ------
        SAFEError
            The analysis was deleted, or too many jobs wait.
        """
        with self.turn.lock:
            if self._gone:
                raise SAFEError("This analysis was deleted. Reload the page.")
            if self.running:
                return None
            job = Job(tab, self._started + 1, work, self.turn, self.owner)
            self.turn.take_in(job)
            self._started += 1
            self._latest[tab] = job
            return job

    def end(self) -> None:
        """Start no more jobs, and stop the one that runs. Whoever calls it holds the lock."""
        self._gone = True
        if running := self.running:
            running.cancel()
