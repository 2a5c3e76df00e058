"""What the page was started with, which analysis a request is about, and which paths are accepted."""

import contextlib
import itertools
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, cast

from safe_dnn.analysis import Analysis, check_places
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.page.analyses import MOST_ANALYSES, TOP, Where, address_of, folder_of, title_of
from safe_dnn.page.jobs import Jobs, Turn
from safe_dnn.rccs.review.review import CHANGED
from safe_dnn.rccs.unsafe_set import UnsafeSet, set_key
from safe_dnn.store.database import speaking
from safe_dnn.support.errors import SAFEError, confined, is_within, path_of, quoted
from safe_dnn.support.files import DAMAGED, caching_in
from safe_dnn.support.progress import holding
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.uploads import Limits

MOST_OPEN = 256  # analyses, of a few MiB each


class Example(NamedTuple):
    """A case study that the page offers to a newcomer (see `casestudies/`)."""

    folder: Path
    accuracy: str
    test_size: str


class Results:
    """What the output folder holds, read once and kept as long as it stays the same.

    Parameters
    ----------
    out : Path
    """

    def __init__(self, out: Path):
        self._out = out
        self._lock = threading.Lock()
        self._latest: Analysis | None = None
        self._is_seen = False  # clusters were shown

    @property
    def latest(self) -> Analysis:
        """The analysis as it is now."""
        with self._lock:
            self._latest = self._latest.now() if self._latest else Analysis(self._out)
            return self._latest

    def state(self, run: str | None = None) -> Analysis:
        """The same, whose clusters can be read, or whose failures were collected without images.

        Parameters
        ----------
        run : str, optional
            What the window shows; a SAFEError where the folder holds something else by now.
        """
        self.check_there(run)
        now = self.latest
        if now.has_tables_alone and not run:
            return now
        self._is_seen = bool(now.review)
        if run is not None and run != now.run:
            raise SAFEError(CHANGED)
        return now

    def failures(self, key: str) -> AnsweredImages:
        """The failures that a window shows, which have this digest; a SAFEError if there are others by now, or none."""
        failures = self.latest.failures
        if key != failures.digest:
            raise SAFEError("Other failures were collected in the meantime. Reload the page to see them.")
        return failures

    def unsafe_set(self, key: object) -> UnsafeSet:
        """The unsafe set that a window shows; a SAFEError if the folder holds another one by now."""
        unsafe = self.latest.unsafe
        if key != set_key(unsafe):
            raise SAFEError("Another unsafe set was selected in the meantime.")
        return unsafe

    def check_there(self, run: str | None = None) -> None:
        """Make sure that the folder still holds what was shown, here or in a window; a SAFEError if it was moved."""
        if (run or self._is_seen) and not self.latest.there:
            raise SAFEError(f"This analysis was moved away from {self._out}. Open it where it is now.")


class PageSettings(NamedTuple):
    """An analysis that is open, and what its page was started with.

    Attributes
    ----------
    out : Path
        Its folder, the one thing that tabs, visitors and restarts share.
    jobs : Jobs
    results : Results
    weights : str or None
        As for `features.vgg16.choose_extractor`.
    root : Path or None
        Where given, only folders below it are accepted.
    example : Example or None
    home : Path or None
        The folder of the analyses, such as `out`; None if that is `out` itself.
    login : str
        The user name that the page asks for; empty if it asks for none.
    uploads : Limits or None
        Of images that may be brought with the browser; None if none may.
    hosted : bool
        Whether it is the page of a service's visitor, who knows no folders of this machine.
    most : int
        Analyses that may be made beside this one.
    cache : Path or None
        As for `support.files.caching_in`.
    names : mapping of str to str
        What paths are called outside (see `page/serving/guard.py`); empty where they are no secret.
    workspace : mapping of str to str
        What a visitor of a service sees about his workspace: its `link`, and the `days` that it stays.
    """

    out: Path
    jobs: Jobs
    results: Results
    weights: str | None = None
    root: Path | None = None
    example: Example | None = None
    home: Path | None = None
    login: str = ""
    uploads: Limits | None = None
    hosted: bool = False
    most: int = MOST_ANALYSES
    cache: Path | None = None
    names: Mapping[str, str] = MappingProxyType({})
    workspace: Mapping[str, str] = MappingProxyType({})

    @property
    def where(self) -> Where:
        """The page of this analysis."""
        name = self.out.name if self.home else TOP
        return Where("../.." if self.home else ".", address_of(name), title_of(self.out, name))

    @property
    def takes_models(self) -> bool:
        """Whether a network can be given: a service takes none, since to run it is to trust it."""
        return not self.hosted

    def accept(self, source: str | None) -> str:
        """The path that was typed, absolute.

        A folder is walked: links in it may lead elsewhere. So may the lines of a list of images.

        Raises
        ------
        SAFEError
            It can lead nowhere (see `support.errors.path_of`), or it or an image that it leads to is outside the root.
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


_SHOWN: ContextVar[PageSettings] = ContextVar("the analysis that a request is about")


@contextlib.contextmanager
def showing(settings: PageSettings, engineer: str) -> Iterator[None]:
    """In the block, and in work that is begun there, `of_request` is this, and what is said has the engineer's name.

    Nothing outside the root is opened.
    """
    cached, shut_in = caching_in(settings.cache), confined(settings.root)
    with holding(_SHOWN, settings), speaking(engineer), cached, shut_in:
        yield


class _OfRequest:
    def __init__(self, at_first: PageSettings):
        self._at_first = at_first

    def __getattr__(self, name: str) -> Any:
        return getattr(_SHOWN.get(self._at_first), name)


def of_request(at_first: PageSettings) -> PageSettings:
    """Settings that are those of the analysis that a request is about, wherever it is answered.

    One page shows all analyses. While it is laid out, they are those that it is started with.
    """
    return cast(PageSettings, _OfRequest(at_first))


class Opened:
    """The analyses that are open, each with its jobs and what was read of it; `turn` is shared by all."""

    def __init__(self, turn: Turn) -> None:
        self.turn = turn
        self._known: OrderedDict[Path, PageSettings] = OrderedDict()
        self._lock = threading.Lock()

    def at(self, folder: Path, like: PageSettings) -> PageSettings:
        """The analysis in a folder, which is opened with the settings of another one.

        Raises
        ------
        SAFEError
            It shows images outside the root.
        """
        with self._lock:
            if folder not in self._known:
                with confined(like.root):
                    check_places(folder)
                jobs, results = Jobs(self.turn, like.jobs.owner), Results(folder)
                idle = [place for place, one in self._known.items() if not one.jobs.running]
                for place in idle[: max(0, len(self._known) + 1 - MOST_OPEN)]:
                    del self._known[place]
                self._known[folder] = like._replace(out=folder, jobs=jobs, results=results)
            self._known.move_to_end(folder)
            return self._known[folder]

    def below(self, top: PageSettings, name: str) -> PageSettings | None:
        """The same of an analysis in the folder of another one, by its name; None where there is none."""
        folder = folder_of(top.out, name)
        return self.at(folder, top._replace(home=top.out)) if folder else None

    def end(self, folder: Path) -> list[Jobs]:
        """Let no job begin in the analyses in a folder, and stop those that run; these, which end soon."""
        with self._lock, self.turn.lock:
            ended = [place for place in self._known if place.is_relative_to(folder)]
            jobs = [self._known.pop(place).jobs for place in ended]
            for one in jobs:
                one.end()
        return jobs

    def working(self, folder: Path) -> bool:
        """Whether a job runs, or waits, in an analysis in a folder."""
        with self._lock:
            return any(one.jobs.running for place, one in self._known.items() if place.is_relative_to(folder))


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
