"""A service (`ui --service`) under load: many visitors at once, many idle workspaces, and workspaces that end.

    python -m lab.benchmarks.service --data DIR [--visitors 20] [--images 200] [--idle 1000] [--write]

Each visitor brings a ZIP file of images drawn from the folder, and asks for RCCs, all at the same time; features are
VGG16's, computed for each visitor anew. Meanwhile another visitor opens his page and asks for what it shows, again and
again: that is what an answer takes. Idle workspaces hold an analysis each; the server is started with all of them, and
their pages are opened in a row. Half of them are then made old while visitors ask for RCCs. Linux only, since it reads
/proc.
"""

import argparse
import io
import os
import random
import statistics
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from lab.benchmarks.results import tell
from safe_dnn.page.serving.service import USED, WORKSPACES
from safe_dnn.support.images import find_images

TOOL = Path(__file__).parents[2] / "SAFE_Tool.py"


class Load(NamedTuple):
    """Seconds until each of several visitors was done, and of each time that another opened his page or asked."""

    done: list[float]
    openings: list[float]
    answers: list[float]


def memory_of(process: int) -> float:
    """Resident memory in MiB."""
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def packed(images: list[Path]) -> bytes:
    """A ZIP file of images."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for number, image in enumerate(images):
            archive.write(image, f"failing/{number:04d}{image.suffix}")
    return data.getvalue()


def under_load(url: str, archives: list[bytes], meanwhile: Callable[[], object] = lambda: None) -> Load:
    """Visitors who each bring a ZIP file and ask for RCCs at the same time, while one looks at his page."""
    from tests.helpers.strangers import Stranger

    ready = threading.Barrier(len(archives))
    finished = threading.Event()

    def visit(number: int) -> float:
        visitor = Stranger(url, f"127.0.3.{number + 1}")
        analysis = visitor.make("eyes")
        path = visitor.bring(analysis, "failing", {"failing.zip": archives[number]})["path"]
        window = visitor.window(analysis, f"visitor {number}")
        ready.wait(300)
        began = time.monotonic()
        told = window.fire(
            window.handler("generate", "click"), [path, "", "", "", [], False, [], "auto", "auto", "auto"]
        )
        assert "root cause clusters hold" in told, told[-500:]
        print(f"A visitor is done after {time.monotonic() - began:.0f} s", flush=True)
        return time.monotonic() - began

    def look() -> tuple[list[float], list[float]]:
        visitor = Stranger(url, "127.0.4.1")
        openings, answers = list[float](), list[float]()
        analysis = visitor.make("looking")
        while not finished.is_set():
            began = time.monotonic()
            window = visitor.window(analysis, f"look {len(answers)}")
            opened = time.monotonic()
            window.fire(window.loads()[0], [])
            openings.append(time.monotonic() - began)
            answers.append(time.monotonic() - opened)
            finished.wait(0.5)
        return openings, answers

    with ThreadPoolExecutor(len(archives) + 1) as pool:
        looking = pool.submit(look)
        visits = [pool.submit(visit, number) for number in range(len(archives))]
        meanwhile()
        done = [visit.result() for visit in visits]
        finished.set()
        return Load(done, *looking.result())


def spread(seconds: list[float]) -> str:
    """The median, the 95th of 100, and the longest."""
    ordered = sorted(seconds)
    return f"{statistics.median(ordered):.2f}, {ordered[int(0.95 * len(ordered))]:.2f}, {ordered[-1]:.2f} s"


def text_of(load: Load, images: int, cores: int) -> list[str]:
    done, last = sorted(load.done), max(load.done)
    return [
        f"| visitors at once, images of each | {len(done)}, {images} |",
        f"| done: the first, the middle one, the last | {done[0]:.0f}, {statistics.median(done):.0f}, {last:.0f} s |",
        f"| images in an hour on each of {cores} cores | {3600 * len(done) * images / last / cores:,.0f} |",
        f"| another visitor opens his page ({len(load.openings)} times) | {spread(load.openings)} |",
        f"| of these the answer with what is shown | {spread(load.answers)} |",
    ]


def with_idle_ones(folder: Path, n: int, archives: list[bytes]) -> list[str]:
    """Rows about idle workspaces, which are opened in a row and of which half then end."""
    from tests.helpers.strangers import Stranger
    from tests.helpers.visiting import served

    data = folder / "data"
    with served(folder, "--service", data, tool=TOOL) as (url, _):
        idle = [Stranger(url, f"127.0.{10 + number // 20}.1") for number in range(n)]
        for visitor in idle:
            visitor.make("idle")
    began = time.monotonic()
    with served(folder, "--service", data, tool=TOOL) as (url, process):
        at_first = time.monotonic() - began
        before = memory_of(process)
        for visitor in idle:
            assert visitor.window("/a/idle", "opening", url).client.get("/").status_code == 200
        opened = memory_of(process)
        known = sorted((data / WORKSPACES).iterdir())
        old = known[: len(known) // 2]
        ended: list[float] = []

        def end() -> None:
            for workspace in old:
                os.utime(workspace / USED, (0, 0))
            begun = time.monotonic()
            while any(workspace.exists() for workspace in old):
                time.sleep(0.5)
            ended.append(time.monotonic() - begun)

        load = under_load(url, archives, end)
    return [
        f"| idle workspaces: start of the server, its memory | {n:,}: {at_first:.1f} s, {before:,.0f} MiB |",
        f"| the pages of all opened in a row: memory | {opened:,.0f} MiB |",
        f"| {len(old):,} of them end while {len(archives)} visitors ask for RCCs: gone after | {ended[0]:.0f} s |",
        f"| another visitor opens his page meanwhile | {spread(load.openings)} |",
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="a folder of images")
    parser.add_argument("--visitors", type=int, default=20, help="0: only the idle ones")
    parser.add_argument("--images", type=int, default=200, help="of each visitor")
    parser.add_argument("--idle", type=int, default=1000, help="idle workspaces; 0: only the others")
    parser.add_argument("--write", action="store_true", help="write lab/results/service.md")
    options = parser.parse_args()
    from tests.helpers.visiting import served

    listing = find_images(options.data)
    images, rng = [listing.root / path for path in listing.paths], random.Random(0)
    archives = [packed(rng.sample(images, options.images)) for _ in range(max(4, options.visitors))]
    written = "Written by `python -m lab.benchmarks.service`, which has the definitions."
    table = "\n\n| what | figures: of times the median, 95 of 100, and the longest |\n| --- | --- |\n"
    if options.visitors:
        with (
            tempfile.TemporaryDirectory() as folder,
            served(Path(folder), "--service", Path(folder, "data"), tool=TOOL) as (url, process),
        ):
            rows = text_of(under_load(url, archives[: options.visitors]), options.images, os.cpu_count() or 1)
            rows.append(f"| memory of the server afterwards | {memory_of(process):,.0f} MiB |")
        text = f"## Visitors at once\n\n{written}{table}" + "\n".join(rows) + "\n"
        tell("service-load", text, write=options.write)
    if options.idle:
        with tempfile.TemporaryDirectory() as folder:
            rows = with_idle_ones(Path(folder), options.idle, archives[:4])
        text = f"## Idle workspaces\n\n{written}{table}" + "\n".join(rows) + "\n"
        tell("service-idle", text, write=options.write)


if __name__ == "__main__":
    main()
