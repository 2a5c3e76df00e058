"""A long day of the page: clusterings and selections one after another, while memory and open files are watched.

    python -m benchmarks.soak [--rounds 200]

The page runs with a stand-in for VGG16 (the network's own memory is not the question) in a process of its own. After
each round its resident memory, open files and temporary folder are read; the slopes told are those of a line fitted to
the second half, when all that is loaded once has been loaded. Linux only, since it reads /proc.
"""

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import numpy as np

TESTS = Path(__file__).parents[1] / "tests"


def measure(pid: int, temporary: Path) -> tuple[float, int, float]:
    """Resident memory in MiB, open files, and MiB in the temporary folder."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    size = sum(path.stat().st_size for path in temporary.rglob("*") if path.is_file())
    return pages * 4096 / 2**20, files, size / 2**20


def slope(values: list[float]) -> float:
    """Growth per round over the second half."""
    half = values[len(values) // 2 :]
    return float(np.polyfit(range(len(half)), half, 1)[0]) if len(half) > 1 else 0.0


def soak(rounds: int, folder: Path) -> list[tuple[float, int, float]]:
    """Cluster one of two folders and select from another, `rounds` times, each in a window of its own."""
    sys.path.insert(0, str(TESTS))
    from conftest import draw_scene
    from visiting import Visitor, served

    rng = np.random.default_rng(0)
    for name, n in (("a", 10), ("b", 12), ("improvement", 8)):
        (folder / name).mkdir()
        for scene in ("night", "snow", "wood"):
            for i in range(n):
                draw_scene(scene, rng).save(folder / name / f"{scene}_{i:02d}.png")
    measured = []
    with served(folder) as (url, pid):
        for k in range(rounds):
            visitor = Visitor(url, f"round {k}")
            with contextlib.closing(visitor.client):
                for load in visitor.loads():
                    visitor.fire(load, [])
                told = visitor.fire(visitor.handler("generate", "click"), [str(folder / "ab"[k % 2]), "pca"])
                assert "3 RCCs" in told, told[-500:]
                given = [str(folder / "improvement"), "0.5", None, "0.3", "6", "size", False]
                told = visitor.fire(visitor.handler("select", "click"), given)
                assert "6 of 24" in told, told[-500:]
            measured.append(measure(pid, folder / "tmp"))
            if k % 10 == 0 or k == rounds - 1:
                print(k, *(f"{value:.1f}" for value in measured[-1]), flush=True)
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=200)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        print("round, memory (MiB), open files, temporary folder (MiB)")
        memory, files, size = map(list, zip(*soak(rounds, Path(folder)), strict=True))
    print(f"growth per round over the second half: {slope(memory) * 1024:.0f} KiB, {slope(files):.3f} open files, "
          f"{slope(size) * 1024:.0f} KiB of temporary files")  # fmt: skip


if __name__ == "__main__":
    main()
