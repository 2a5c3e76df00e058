"""The pages of analyses below one folder: each is built when it is first asked for, and shares nothing with another.

An analysis's page is the same as that of an output folder that is served alone, with its own handlers, sessions, queue
and jobs. What all have in common are the process, its one turn for long work, and the folder of pictures.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import FastAPI
from gradio.queueing import Queue
from starlette.types import ASGIApp, Receive, Scope, Send

from safe_dnn.page.analyses import TOP, address_of, folder_of
from safe_dnn.page.jobs import Job, Jobs, Turn
from safe_dnn.page.settings import PageSettings

AWAKE, AT_REST = 0.02, 0.1  # seconds from one look for work to the next
QUIET = 20  # seconds without an event until a page is at rest


class Resting:
    """ASGI middleware around a page, whose queue looks for work less often while no window sends an event.

    Gradio looks for work every 0.001 s: 3 % of a core for each page that was ever opened. To ask for news is no event.

    Parameters
    ----------
    app : ASGI application
    queue : gradio.queueing.Queue
        Of that page.
    """

    def __init__(self, app: ASGIApp, queue: Queue):
        self._app = app
        self._queue = queue
        self._quiet: asyncio.TimerHandle | None = None
        queue.sleep_when_free = AT_REST
        queue.progress_update_sleep_when_free = 1.0  # for a `gr.Progress`, of which there is none

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("path", "").endswith("/queue/join"):
            if self._quiet:
                self._quiet.cancel()
            self._queue.sleep_when_free = AWAKE
            self._quiet = asyncio.get_running_loop().call_later(QUIET, setattr, self._queue, "sleep_when_free", AT_REST)
        await self._app(scope, receive, send)


class _Mounted:
    """The page of an analysis.

    Attributes
    ----------
    app : ASGI application
    jobs : Jobs
    closed : Event
        Set when the page is to end.
    used : float
        When it was last asked for anything, in seconds of this process's clock.
    """

    def __init__(self, app: FastAPI, jobs: Jobs):
        self.app = app
        self.jobs = jobs
        self.closed = asyncio.Event()
        self.used = time.monotonic()
        self._ready = asyncio.Event()
        self._life: asyncio.Task | None = None

    async def begin(self) -> None:
        """Start what works behind the page, as its queue. It must end in the task in which it began."""
        self._life = asyncio.create_task(self._live())
        await self._ready.wait()

    async def _live(self) -> None:
        async with self.app.router.lifespan_context(self.app):
            self._ready.set()
            await self.closed.wait()
        if hasattr(self.app.state, "queue"):
            self.app.state.queue.close()  # its tasks would keep the page in memory


@dataclass
class Mounts:
    """The pages that are open.

    Parameters
    ----------
    home : Path
        The folder of the analyses.
    top : PageSettings
        Of the page of this folder itself, which is always there.
    prepare : callable
        Gives the settings for the page of a folder, in a thread; a SAFEError where it cannot be shown.
    build : callable
        Builds the page with these settings, in the server's thread: Gradio keeps what is being built in variables of
        the process, and its other uses of them are in that thread.
    path : str
        That the page of `home` lies below.
    opening : Lock
        Held while a page is built, half a second in the server's thread; whoever waits for another answer comes between
        two of them.
    """

    home: Path
    top: PageSettings
    prepare: Callable[[Path, Turn], PageSettings]
    build: Callable[[PageSettings], FastAPI]
    path: str = ""
    opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _open: dict[str, _Mounted] = field(default_factory=dict, init=False)  # of about 6 MiB each

    async def page(self, name: str, path: str) -> ASGIApp | None:
        """The page of an analysis, to answer a request for a path on it; None where there is no such analysis.

        Raises
        ------
        SAFEError
            The analysis cannot be shown.
        """
        if path == "/" and folder_of(self.home, name) is None:
            self.close(name)
        mounted = self._open.get(name) or await self._mount(name)
        if mounted is None:
            return None
        prefix = self.path + address_of(name).rstrip("/")  # encoded, as the page's own addresses are derived from it

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            mounted.used = time.monotonic()
            await mounted.app({**scope, "root_path": prefix, "path": prefix + path}, receive, send)

        return answer

    async def folder(self, name: str) -> Path | None:
        """The folder of an analysis; None where there is no such analysis.

        Raises
        ------
        SAFEError
            The analysis cannot be shown.
        """
        shown = name == TOP or name in self._open or await self._mount(name)
        return self.home if name == TOP else folder_of(self.home, name) if shown else None

    async def _mount(self, name: str) -> _Mounted | None:
        async with self.opening:
            if name in self._open:
                return self._open[name]
            if (folder := folder_of(self.home, name)) is None:
                return None
            settings = await asyncio.to_thread(self.prepare, folder, self.top.jobs.turn)
            mounted = _Mounted(self.build(settings), settings.jobs)
            await mounted.begin()
            self._open[name] = mounted
            return mounted

    def close(self, name: str) -> None:
        """End the page of an analysis, in the server's thread."""
        if mounted := self._open.pop(name, None):
            mounted.closed.set()

    @property
    def open(self) -> bool:
        """Whether any page is."""
        return bool(self._open)

    @property
    def working(self) -> list[Job]:
        """The jobs that run or wait in the analyses."""
        return [job for one in self._open.values() if (job := one.jobs.running)]

    def idle(self) -> list[tuple[float, str]]:
        """The pages on which nothing works, and when each was last used; the one that was used least lately first."""
        return sorted((one.used, name) for name, one in self._open.items() if not one.jobs.running)

    def end(self) -> list[Job]:
        """Let no job begin any more, and stop those that run, in the server's thread; these, which end soon."""
        with self.top.jobs.turn.lock:
            for mounted in self._open.values():
                mounted.jobs.end()
        stopped = self.working
        for job in stopped:
            job.cancel()
        for name in [*self._open]:
            self.close(name)
        return stopped

    def at_work(self, name: str) -> str:
        """What the job that runs in an analysis does, and how far it is; empty where none runs."""
        mounted = self.top if name == TOP else self._open.get(name)
        running = mounted.jobs.running if mounted else None
        return running.state if running else ""
