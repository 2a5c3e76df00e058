"""Soak test of the page: many clusterings and selections in a row, while memory and open files are monitored.

    python -m lab.benchmarks.soak [--rounds 200]

The page runs in a separate process, with a stub for VGG16, since the memory of the network is not of interest. In each
round, a new window clusters new images and selects from others; every tenth round also exports. Then the process's
resident memory, open files and temporary folder are measured. The reported slopes are those of a line fitted to the
second half, when everything that is loaded once has been loaded. Linux only, since it reads /proc.
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

from lab.benchmarks.results import write_section

PICTURES = 500  # in place of `safe_dnn.page.pictures.MOST_PICTURES`, so that the limit is reached
EXPORTING = 10  # rounds from one export to the next


class Usage(NamedTuple):
    """After a round: resident memory (MiB), open files, size of the temporary folder (MiB), duration (seconds)."""

    memory: float
    files: int
    temporary: float
    seconds: float


def usage_of(pid: int, temporary: Path, seconds: float) -> Usage:
    """The current usage of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    size = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    return Usage(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, files, size / 2**20, seconds)


def slope(values: list[float]) -> float:
    """Growth per round over the second half."""
    half = values[len(values) // 2 :]
    return float(np.polyfit(range(len(half)), half, 1)[0]) if len(half) > 1 else 0.0


def soak(rounds: int, folder: Path) -> list[Usage]:
    """Cluster new images and select from others, `rounds` times, each time in a new window."""
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
                answer = visitor.fire(visitor.handler("generate", "click"), [images, "pca"])
                assert re.search(r"[2-9] root cause clusters hold \d+% of 3[06] failures", answer), answer[-500:]
                form = [improvement, "0.5", None, "0.3", "6", "size", False, None, None]
                answer = visitor.fire(visitor.handler("select", "click"), form)
                assert "6 of 24" in answer, answer[-500:]
                for button in ("export-all", "report") if k % EXPORTING == 0 else ():
                    visitor.fire(visitor.loads()[0], [])  # this window still shows the previous run
                    answer = visitor.fire(visitor.handler(button, "click"), [None, None])
                    assert "Download" in answer, answer[-500:]
            measured.append(usage_of(pid, folder / "tmp", time.monotonic() - began))
            if k % 10 == 0 or k == rounds - 1:
                print(k, *(f"{value:.1f}" for value in measured[-1]), flush=True)
    return measured


def soak_section(measured: list[Usage]) -> str:
    """The section of `lab/results/soak.md`; every figure is computed from the measurements."""
    memory = [one.memory for one in measured]
    files = [float(one.files) for one in measured]
    temporary = [one.temporary for one in measured]
    places = sorted({0, *(len(measured) * k // 4 for k in (1, 2, 3)), len(measured) - 1})
    rows = "".join(f"| {k + 1} | {memory[k]:.0f} | {files[k]:.0f} | {temporary[k]:.1f} |\n" for k in places)
    return (
        "## The page under long use\n\n"
        f"This section was written by `python -m lab.benchmarks.soak`. In each of {len(measured)} rounds, a new window "
        "of the same page process clustered new images (30 or 36) and selected from 24 others; every "
        f"{EXPORTING}th round also exported everything and wrote the report. VGG16 was replaced with a stub. A round "
        f"took {np.median([one.seconds for one in measured]):.1f} s (median).\n\n"
        "| round | resident memory, MiB | open files | temporary folder, MiB |\n|---|---|---|---|\n"
        f"{rows}\n"
        f"Growth per round over the second half (slope of a fitted line): {slope(memory) * 1024:.0f} KiB of memory, "
        f"{round(slope(files), 3) + 0:.3f} open files, {slope(temporary) * 1024:.1f} KiB of temporary files. "
        f"In this run the page kept at most {PICTURES:,} thumbnails, so that the limit was reached.\n"
    )


def main() -> None:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200, metavar="N", help="default: 200")
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        print("round, memory (MiB), open files, temporary folder (MiB), seconds")
        text = soak_section(soak(rounds, Path(folder)))
    write_section("soak", text)
    print(text)


if __name__ == "__main__":
    main()
