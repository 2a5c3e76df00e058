"""The page with many reasons, for `lab/benchmarks/speed/`."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lab.benchmarks.speed.review_times import make_analysis, timed_review
from lab.benchmarks.speed.start import TOOL, free_port, wait_for
from tests.helpers.browsing import forget


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


MEASURED = {function.__name__: function for function in (review_page,)}
