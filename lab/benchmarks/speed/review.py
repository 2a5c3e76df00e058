"""The page with many reasons, for `lab/benchmarks/speed/`."""

import base64
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.benchmarks.speed.review_times import make_analysis, timed_review
from lab.benchmarks.speed.start import TOOL, free_port, wait_for
from safe_dnn.rccs.gifs import gif_path
from tests.helpers.browsing import forget

SETTLING = 40  # seconds after which a page has been filled in and its rubbish collected, also on a busy machine
WINDOWS = 20
PAUSE = "#rcc-gif button"


def review_page(work: str, n_rccs: int, n_spots: int) -> dict:
    """Load the page with this many RCCs and weak spots in a browser without a cache, and judge some RCCs by keys."""
    out = make_analysis(Path(work), n_rccs, n_spots)
    forget(out)  # what was judged in an earlier run
    with served(out) as url:
        return timed_review(url, n_rccs, n_spots)


@contextlib.contextmanager
def served(out: Path) -> Iterator[str]:
    """The page of an output folder, once the server is ready for it; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = os.environ | {"no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, str(TOOL), "ui", "--port", str(port), "--out", str(out)]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
        try:
            assert server.stdout is not None
            server.stdout.readline()  # said when the page listens
            wait_for(url)
            yield url
        finally:
            server.terminate()


def idle_page(work: str, n_rccs: int, n_spots: int, seconds: float) -> dict:
    """What server and browser take of a core, in per cent, while nobody does anything.

    Returns
    -------
    dict
        `server_…` and `browser_…` in each of the states `none`, without a window; `bare`, with a page of nothing but
        the GIF of an RCC; `plays`, with a window in which that GIF plays; `away`, where another tab hides it; `paused`;
        and `many`, with `windows` windows, paused.
    """
    from tests.helpers.browsing import launched  # here, since it needs Playwright

    out = make_analysis(Path(work), n_rccs, n_spots)
    shares: dict[str, float] = {}
    with served(out) as url, launched() as browser:
        shares |= _taken(seconds, "none")
        bare = browser.new_page()
        gif = base64.b64encode(gif_path(out, 0, n_rccs).read_bytes()).decode()
        bare.set_content(f"<img src='data:image/gif;base64,{gif}'>")
        shares |= _taken(seconds, "bare")
        bare.close()
        page = _window(browser, url)
        shares |= _taken(seconds, "plays")
        page.get_by_role("tab", name="Unsafe set").click()
        shares |= _taken(seconds, "away")
        page.get_by_role("tab", name="Root cause clusters").click()
        page.locator(PAUSE).click()
        shares |= _taken(seconds, "paused")
        for _ in range(WINDOWS - 1):
            _window(browser, url).locator(PAUSE).click()
        shares |= _taken(seconds, "many")
    return {"rccs": n_rccs, "spots": n_spots, "windows": WINDOWS, **shares}


def _window(browser: Any, url: str) -> Any:
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(url)
    page.locator("#rcc-gif canvas").wait_for(timeout=60_000)
    return page


def _taken(seconds: float, name: str) -> dict[str, float]:
    time.sleep(SETTLING)
    before, begin = _processor_seconds(), time.perf_counter()
    time.sleep(seconds)
    share = 100 / (time.perf_counter() - begin)
    return {f"{what}_{name}": share * (now - before[what]) for what, now in _processor_seconds().items()}


def _processor_seconds() -> dict[str, float]:
    """Of the processes that this one has started: the page's server, and all others, which are the browser's."""
    from psutil import Process  # here, since only this needs it

    taken = {"server": 0.0, "browser": 0.0}
    for process in Process().children(recursive=True):
        times = process.cpu_times()
        taken["server" if str(TOOL) in process.cmdline() else "browser"] += times.user + times.system
    return taken


MEASURED = {function.__name__: function for function in (review_page, idle_page)}
