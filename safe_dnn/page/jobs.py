"""Long work in a thread of its own, one at a time, whichever tab, window or analysis it is started in."""

import contextlib
import contextvars
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from safe_dnn.page.analyses import NOWHERE, Where
from safe_dnn.pipeline.reporting.markup import escaped
from safe_dnn.support.defects import report_defect
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Pace
from safe_dnn.support.text import count

BEHIND = 5  # in priority: answers come first
WAITING = "Waiting for another analysis"
STOPPED = "Stopped. What was finished is kept: the same click goes on from there."
TOO_LONG = "Stopped, since this service lets nobody's work take longer. What was finished is kept."


class _Stopped(Exception):  # noqa: N818, it is no error
    """Raised in a job's thread, by its next report of progress, once it was cancelled."""


@dataclass(eq=False)
class Job:
    """Long work in a thread of its own, which goes on when the browser that started it is closed.

    Attributes
    ----------
    tab : str
        The tab that it belongs to.
    number : int
        Of the page's jobs, from 1.
    drawing : str
        HTML to show below the progress; the work may set it.
    show : callable
        What a window shows of its result.
    where : Where
        The page of its analysis.
    owner : str
        The visitor whose analysis it is, where each has a workspace.
    check : callable
        Checks the form before those of other analyses are waited for; a SAFEError where it cannot be used.
    form : object
        What `check` has given, for the work.
    """

    tab: str
    number: int
    work: Callable[["Job"], object]
    turn: "Turn | None" = None
    where: Where = NOWHERE
    owner: str = ""
    check: Callable[[], object] = lambda: None
    form: Any = field(default=None, init=False)
    drawing: str = field(default="", init=False)
    show: Callable[[], dict] = field(default=dict, init=False)
    outcome: SAFEError | str | None = field(default=None, init=False)  # what went wrong, once it is finished
    _latest: tuple[str, int, int] = field(default=("Starting", 0, 0), init=False)
    _pace: Pace = field(default_factory=Pace, init=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, init=False)
    _finished: threading.Event = field(default_factory=threading.Event, init=False)
    _until: float = field(default=math.inf, init=False)

    def start(self) -> None:
        # A daemon: work that is cut off when the page is shut down resumes from the cache.
        # What it writes has the name of the engineer who started it.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name=f"job {self.tab}", daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # of this thread and those that it starts; Linux
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), BEHIND)
        try:
            self.form = self.check()
            while self._before():
                self.progress(WAITING, 0, 0)
                self._cancelled.wait(0.1)
            if self.turn:
                self._until = time.monotonic() + self.turn.allowance.seconds
            self.work(self)
        except SAFEError as error:
            self.outcome = error
        except _Stopped:
            self.outcome = STOPPED if self._cancelled.is_set() else TOO_LONG
        except Exception as error:  # noqa: BLE001, nobody else hears of it in this thread
            self.outcome = report_defect(error)
        finally:
            self._finished.set()

    def _before(self) -> list["Job"]:
        """The jobs of other analyses that are done first."""
        line = [job for job in self.turn.line if not job.finished(0)] if self.turn else []
        return line[: line.index(self)] if self in line else []

    def progress(self, what: str, done: int, total: int) -> None:
        """Take a report of progress (see `support.progress.Progress`)."""
        self._latest = (what, done, total)
        if self.cancelled():
            raise _Stopped

    def tell(self, what: str, done: int, total: int) -> None:
        """The same for work that asks `cancelled` itself."""
        self._latest = (what, done, total)

    def cancel(self) -> None:
        self._cancelled.set()

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
        told = escaped("Stopping after this batch …" if self.cancelled() else self.state)
        if before := self._before():
            named = [
                f"{self.where.link(job.where)} ({escaped(job.state)})" for job in before if job.owner == self.owner
            ]
            if others := len(before) - len(named):  # nothing else about them
                named.append(f"{count(others, 'job')} of other visitors")
            told = "Waiting for " + ", ".join(named)
        return (
            f"<div class='safe-status' role='status'><progress aria-label='Progress' {value}></progress>"
            f"<span>{told}</span></div>{self.drawing}"
        )


class Allowance(NamedTuple):
    """What visitors may ask of the machine: jobs of one of them and of all, running or waiting, and a job's seconds."""

    jobs: float = math.inf
    in_all: float = math.inf
    seconds: float = math.inf


UNLIMITED = Allowance()


class Turn:
    """What the pages of one process share: one job at a time on this machine, whichever of them it is started in.

    Visitors take turns: the second job of one comes after the first of each other.

    Attributes
    ----------
    lock : Lock
        No job is started while somebody holds it.
    line : tuple of Job
        The one that runs, then those that wait for it, at most one for each analysis; some may be finished.
    """

    def __init__(self, allowance: Allowance = UNLIMITED) -> None:
        self.allowance = allowance
        self.lock = threading.Lock()
        self.line: tuple[Job, ...] = ()

    def take_in(self, job: Job) -> None:
        """Let a job wait for its turn. Whoever calls it holds the lock.

        Raises
        ------
        SAFEError
            Too many wait.
        """
        line = [other for other in self.line if not other.finished(0)]
        if len(line) >= self.allowance.in_all or sum(one.owner == job.owner for one in line) >= self.allowance.jobs:
            raise SAFEError("As many analyses as this service takes at once are waiting. Try again in a while.")
        before, ranked = Counter[str](), list[tuple[int, Job]]()
        for one in (*line, job):
            ranked.append((before[one.owner], one))
            before[one.owner] += 1
        waiting = sorted(ranked[1:], key=lambda entry: entry[0])  # stable; the first one runs
        self.line = tuple(one for _, one in (*ranked[:1], *waiting))


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
        self._owner = owner
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

    def start(self, tab: str, work: Callable[[Job], object], where: Where = NOWHERE, *check: Callable) -> Job | None:
        """Start a job, which waits for those of other analyses; None where one of this analysis is running or waiting.

        `check` is as for `Job`.

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
            self._started += 1
            job = Job(tab, self._started, work, self.turn, where, self._owner, *check)
            self.turn.take_in(job)
            self._latest[tab] = job
            job.start()
            return job

    def end(self) -> None:
        """Start no more jobs. Whoever calls it holds the lock."""
        self._gone = True
