"""A long day of the page: clusterings and selections one after another, while memory and open files are watched.

    python -m benchmarks.soak [--rounds 200]

The page runs with a stand-in for VGG16 (the network's own memory is not the question) in a process of its own. Each
round clusters new images in a window of its own and selects from others; each tenth also exports. Then the process's
resident memory, open files and temporary folder are read. The slopes told are those of a line fitted to the second
half, when all that is loaded once has been loaded. Linux only, since it reads /proc.
"""

import argparse
import contextlib
import os
import re
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.results import write_section

PICTURES = 500  # instead of `page.pictures.MOST_PICTURES`, so that the bound is reached
EXPORTING = 10  # rounds


class Measured(NamedTuple):
    """After a round: resident memory in MiB, open files, MiB in the temporary folder, and seconds that it took."""

    memory: float
    files: int
    temporary: float
    seconds: float


def measure(pid: int, temporary: Path, seconds: float) -> Measured:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    size = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    return Measured(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, size / 2**20, seconds)


def slope(values: list[float]) -> float:
    """Growth per round over the second half."""
    half = values[len(values) // 2 :]
    return float(np.polyfit(range(len(half)), half, 1)[0]) if len(half) > 1 else 0.0


def soak(rounds: int, folder: Path) -> list[Measured]:
    """Cluster new images and select from others, `rounds` times, each in a window of its own."""
    from tests.helpers.scenes import draw_scene
    from tests.helpers.visiting import Visitor, served

    rng = np.random.default_rng(0)

    def draw(name: str, n: int) -> str:
        (folder / name).mkdir(exist_ok=True)
        for scene in ("night", "snow", "wood"):
            for i in range(n):
                draw_scene(scene, rng).save(folder / name / f"{scene}_{i:02d}.png")
        return str(folder / name)

    measured = []
    with served(folder, FAKE_PICTURES=str(PICTURES)) as (url, pid):
        for k in range(rounds):
            images, improvement = draw(f"images {k % 2}", 10 + 2 * (k % 2)), draw("improvement", 8)
            began = time.monotonic()
            visitor = Visitor(url, f"round {k}")
            with contextlib.closing(visitor.client):
                for load in visitor.loads():
                    visitor.fire(load, [])
                told = visitor.fire(visitor.handler("generate", "click"), [images, "pca"])
                assert re.search(r"3[06] images · [2-9] RCCs", told), told[-500:]
                given = [improvement, "0.5", None, "0.3", "6", "size", False]
                told = visitor.fire(visitor.handler("select", "click"), given)
                assert "6 of 24" in told, told[-500:]
                for button in ("export-all", "report") if k % EXPORTING == 0 else ():
                    visitor.fire(visitor.loads()[0], [])  # this window shows the run before
                    told = visitor.fire(visitor.handler(button, "click"), [None, None])
                    assert "Download" in told, told[-500:]
            measured.append(measure(pid, folder / "tmp", time.monotonic() - began))
            if k % 10 == 0 or k == rounds - 1:
                print(k, *(f"{value:.1f}" for value in measured[-1]), flush=True)
    return measured


def report(measured: list[Measured]) -> str:
    """The section of `RESULTS.md`; every figure is computed from what was measured."""
    memory, files, temporary, seconds = map(list, zip(*measured, strict=True))
    places = sorted({0, *(len(measured) * k // 4 for k in (1, 2, 3)), len(measured) - 1})
    rows = "".join(f"| {k + 1} | {memory[k]:.0f} | {files[k]} | {temporary[k]:.1f} |\n" for k in places)
    return (
        "## The page under long use\n\n"
        f"`python -m benchmarks.soak` wrote this section. {len(measured)} times, a window of its own clustered new "
        "images (30 or 36) and selected from 24 others, one round after another in one process of the page; each "
        f"{EXPORTING}th also exported all and wrote the report. VGG16 is a stand-in. A round took "
        f"{np.median(seconds):.1f} s (median).\n\n"
        "| round | resident memory, MiB | open files | temporary folder, MiB |\n|---|---|---|---|\n"
        f"{rows}\n"
        f"Growth per round over the second half (slope of a fitted line): {slope(memory) * 1024:.0f} KiB of memory, "
        f"{round(slope(files), 3) + 0:.3f} open files, {slope(temporary) * 1024:.1f} KiB of temporary files. "
        f"For this run the page kept {PICTURES:,} thumbnails at most, so that the bound was reached.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        print("round, memory (MiB), open files, temporary folder (MiB), seconds")
        text = report(soak(rounds, Path(folder)))
    write_section("soak", text)
    print(text)


if __name__ == "__main__":
    main()
