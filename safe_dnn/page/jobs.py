"""What the tabs share: the page's settings, long work in a thread of its own, and how its state is told."""

import contextlib
import contextvars
import itertools
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import gradio as gr

from safe_dnn.page.results import Results
from safe_dnn.page.serving.analyses import TOP, address_of, title_of
from safe_dnn.page.texts import worded
from safe_dnn.pipeline.reporting.markup import escaped
from safe_dnn.support.defects import report_defect
from safe_dnn.support.entries import is_within, path_of, quoted
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED
from safe_dnn.support.progress import Pace
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.text import printable
from safe_dnn.training.labels import take_typed_labels, typed_text

# Handlers that follow a job stay open as long as it runs, one per browser window.
FOLLOW: dict[str, Any] = {"concurrency_limit": None, "show_progress": "hidden", "api_visibility": "private"}
VIEW: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
# Of clicks that come faster than they are answered, the last counts; Gradio by default drops all but the first.
LATEST: dict[str, Any] = VIEW | {"trigger_mode": "always_last"}
# Each click counts, also one that comes before an earlier one is answered.
EACH: dict[str, Any] = VIEW | {"trigger_mode": "multiple"}
# What changes the images that are listed is done one after the other: no earlier answer comes after a later one.
IN_TURN: dict[str, Any] = {"concurrency_id": "listed images", "concurrency_limit": 1}
# Edits of the clusters, and what shows those of others: one after the other.
EDITS: dict[str, Any] = {"concurrency_id": "edits", "concurrency_limit": 1}
AWAY = "safe-away"  # in style.css
WAITING = "Waiting for another analysis"
OPENING = "<div class='safe-status' role='status'>Opening …</div>"
STOPPED = "Stopped. What was finished is kept: the same click goes on from there."


class _Stopped(Exception):  # noqa: N818, it is no error
    """Raised in a job's thread, by its next report of progress, once it was cancelled."""


class Where(NamedTuple):
    """The page of an analysis: the way up to that of its home, for a link; its address below that; and its title."""

    up: str = "."
    address: str = "/"
    title: str = ""

    def link(self, other: "Where") -> str:
        """From this page to another, as HTML."""
        return f"<a href='{self.up}{escaped(other.address)}'>{escaped(other.title)}</a>"


NOWHERE = Where()


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
    where : Where
        The page of its analysis.
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
    check: Callable[[], object] = lambda: None
    form: Any = field(default=None, init=False)
    drawing: str = field(default="", init=False)
    outcome: SAFEError | str | None = field(default=None, init=False)  # what went wrong, once it is finished
    _latest: tuple[str, int, int] = field(default=("Starting", 0, 0), init=False)
    _pace: Pace = field(default_factory=Pace, init=False)
    _cancelled: threading.Event = field(default_factory=threading.Event, init=False)
    _finished: threading.Event = field(default_factory=threading.Event, init=False)

    def start(self) -> None:
        # A daemon: work that is cut off when the page is shut down resumes from the cache.
        # What it writes has the name of the engineer who started it.
        run = contextvars.copy_context().run
        threading.Thread(target=run, args=(self._run,), name=f"job {self.tab}", daemon=True).start()

    def _run(self) -> None:
        try:
            self.form = self.check()
            while self._before():
                self.progress(WAITING, 0, 0)
                self._cancelled.wait(0.1)
            self.work(self)
        except SAFEError as error:
            self.outcome = error
        except _Stopped:
            self.outcome = STOPPED
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
        if self._cancelled.is_set():
            raise _Stopped

    def tell(self, what: str, done: int, total: int) -> None:
        """The same for work that asks `cancelled` itself."""
        self._latest = (what, done, total)

    def cancel(self) -> None:
        self._cancelled.set()

    def cancelled(self) -> bool:
        return self._cancelled.is_set()

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
            told = "Waiting for " + ", ".join(f"{self.where.link(job.where)} ({escaped(job.state)})" for job in before)
        return (
            f"<div class='safe-status' role='status'><progress aria-label='Progress' {value}></progress>"
            f"<span>{told}</span></div>{self.drawing}"
        )


class Turn:
    """What the pages of one process share: one job at a time on this machine, whichever of them it is started in.

    Attributes
    ----------
    lock : Lock
        No job is started while somebody holds it.
    line : tuple of Job
        The one that runs, then those that wait for it, at most one for each analysis; some may be finished.
    """

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.line: tuple[Job, ...] = ()


class Jobs:
    """The jobs of a page: one at a time, whichever tab or visitor starts it, after those of other analyses.

    Parameters
    ----------
    turn : Turn, optional
        Shared with the pages of other analyses.
    """

    def __init__(self, turn: Turn | None = None) -> None:
        self.turn = turn or Turn()
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
            The analysis was renamed or deleted.
        """
        with self.turn.lock:
            if self._gone:
                raise SAFEError("This analysis was renamed or deleted. Reload the page.")
            if self.running:
                return None
            self._started += 1
            job = self._latest[tab] = Job(tab, self._started, work, self.turn, where, *check)
            self.turn.line = (*(other for other in self.turn.line if not other.finished(0)), job)
            job.start()
            return job

    def end(self) -> None:
        """Start no more jobs. Whoever calls it holds the lock."""
        self._gone = True


class Example(NamedTuple):
    """A case study that the page offers to a newcomer (see `casestudies/`)."""

    folder: Path
    accuracy: str
    test_size: str


class PageSettings(NamedTuple):
    """What the page was started with.

    Attributes
    ----------
    out : Path
        The output folder, the one thing that tabs, visitors and restarts share.
    jobs : Jobs
    results : Results
    weights : str or None
        As for `features.weights.choose_extractor`.
    root : Path or None
        Where given, only folders below it are accepted.
    example : Example or None
    home : Path or None
        The folder of the analyses, of which `out` is one; None if that is `out` itself.
    login : str
        The user name that the page asks for; empty if it asks for none.
    """

    out: Path
    jobs: Jobs
    results: Results
    weights: str | None = None
    root: Path | None = None
    example: Example | None = None
    home: Path | None = None
    login: str = ""

    @property
    def up(self) -> str:
        """From the page of `out` to that of its home, as the beginning of a link."""
        return "." if self.home is None else "../.."

    @property
    def where(self) -> Where:
        """The page of this analysis."""
        name = self.out.name if self.home else TOP
        return Where(self.up, address_of(name), title_of(self.out, name))

    def accept(self, source: str | None) -> str:
        """The path that was typed, absolute.

        A folder is walked: links in it may lead elsewhere. So may the lines of a list of images.

        Raises
        ------
        SAFEError
            It can lead nowhere (see `support.entries.path_of`), or it or an image that it leads to is outside the root.
        """
        source = (source or "").strip()
        if self.root is None:
            return os.fspath(path_of(source, "a path")) if source else ""  # the work says what it expects
        refused = f"Expected a path below {self.root}. Received: {quoted(source)}"
        try:
            path = path_of(source, "a path")
            reached = itertools.chain([path], _led_to(path))
            outside = next((place for place in reached if not is_within(place, self.root)), None)
        except (OSError, ValueError, RuntimeError) as error:
            raise SAFEError(refused) from error  # whether or not there is one
        if outside is not None:
            raise SAFEError(refused if outside == path else f"{refused}, which leads to {outside}")
        return os.fspath(path)


def _led_to(path: Path) -> Iterator[Path]:
    """What a folder's links and a list's lines name."""
    if path.is_dir():
        for folder, subfolders, names in os.walk(path):
            yield from (inner for name in (*subfolders, *names) if (inner := Path(folder, name)).is_symlink())
    elif path.suffix.lower() == ".txt" and path.is_file():
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
        yield from (path.parent / line.strip() for line in text.split("\n") if line.strip())


def find_example(folder: Path) -> Example | None:
    """The case study in a folder; None where there is none."""
    try:
        record = json.loads((folder / ACCURACY_FILE).read_text(encoding="utf-8"))
        return Example(folder, f"{float(record['test_accuracy']):.4f}", str(int(record["test_size"])))
    except DAMAGED:
        return None


def typed(**fields: str | None) -> dict[str, str]:
    """Fields that were filled in; Gradio gives None for one that was never touched."""
    return {name: text.strip() for name, text in fields.items() if text and text.strip()}


# --- How things are told ----------------------------------------------------------------------------------------


SHORT = 160  # characters: a line


def done(summary: str, notice: str = "") -> str:
    """The summary of a result, and what else should be known: its first sentence, and the rest where it is opened."""
    state = f"<div class='safe-status' role='status'><strong>{escaped(summary)}</strong></div>"
    first, more, rest = printable(notice).partition(". ")
    if not rest or len(notice) <= SHORT:
        return state + (f"<p class='safe-notice'>{escaped(notice)}</p>" if notice else "")
    return f"{state}<details class='safe-notice'><summary>{escaped(first + more)}</summary>{escaped(rest)}</details>"


def failed(error: SAFEError | str) -> str:
    """A readable error."""
    return f"<div class='safe-status safe-error' role='alert'>{escaped(worded(error))}</div>"


def if_there(show: Callable[[], dict]) -> dict:
    """What `show` gives; nothing if there is nothing to show, or soon something else."""
    try:
        return show()
    except SAFEError:
        return gr.skip()


def warn(what: str, why: SAFEError | str) -> None:
    """Say in a toast why a request was not carried out. (Gradio's page shows no title of a warning.)"""
    gr.Warning(f"<strong>{escaped(what)}</strong><br>{escaped(worded(why))}")


def take_labels(out: Path) -> None:
    """Take over what was typed into `unsafe_set.csv` in another program, and say so; before work that replaces it."""
    with contextlib.suppress(SAFEError):  # damaged: the work is refused, with the reason
        if number := take_typed_labels(out):
            gr.Info(typed_text(number))


def tell(what: str) -> None:
    """Say in a toast what has happened."""
    gr.Info(escaped(what))


def empty(what: str, steps: list[tuple[str, str]]) -> str:
    """An empty pane: what is not there yet and how to get it, step by step, each with a heading and a sentence."""
    items = "".join(f"<li><b>{escaped(heading)}</b><span>{escaped(text)}</span></li>" for heading, text in steps)
    return f"<div class='safe-empty'><p>{escaped(what)}</p><ol>{items}</ol></div>"


def pane(elem_id: str) -> gr.Column:
    """A column that is put away until `reveal`.

    Put away by style, because Gradio mounts what becomes visible while the same answer's values are on their way to
    it, and some of those get lost: galleries stay empty, and widgets with scripts without their data.
    """
    return gr.Column(elem_id=elem_id, elem_classes=AWAY)


def reveal() -> dict[str, Any]:
    """Update that shows a `pane`."""
    return gr.update(elem_classes=[])


def put_away() -> dict[str, Any]:
    """Update that hides a `pane`."""
    return gr.update(elem_classes=AWAY)
