"""The sets of a case study: which images they have, and their pixels."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator
from multiprocessing.pool import Pool, ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from safe_dnn.casestudies.case import Case, Subject
from safe_dnn.support.files import write_text
from safe_dnn.support.progress import report_progress

MODEL_FILE = "model.keras"
FEWEST_FOR_PROCESSES = 500  # images; starting the processes takes seconds

Rows = list[tuple[str, str, Subject]]  # path relative to the case, label, parameters


def lay_out(case: Case, part: str, count: int, seed: int) -> Iterator[tuple[str, str, Subject]]:
    """Draw the parameters of a set's images, with their paths, for example `test/3_up_left/00012.png`."""
    for number, (label, subject) in enumerate(case.draw(part, count, seed)):
        yield f"{part}/{label}/{number:05d}.png" if label else f"{part}/{number:05d}.png", label, subject


def lay_out_all(case: Case, *, seed: int, scale: float) -> dict[str, Rows]:
    """The same for all sets, by name; `scale` is a factor on their sizes."""
    return {part: list(lay_out(case, part, max(1, round(n * scale)), seed)) for part, n in case.sizes.items()}


def render_images(case: Case, folder: Path, rows: Rows) -> Iterator[np.ndarray]:
    """Render images, write them below `folder` and yield their pixels in the order of `rows`.

    Many are rendered by several processes: heads take forty milliseconds each, in steps too small for threads.
    """
    for parent in sorted({(folder / path).parent for path, _, _ in rows}):
        parent.mkdir(parents=True, exist_ok=True)
    tasks = ((case.kind.render, subject, folder / path) for path, _, subject in rows)
    with _pool(len(rows)) as pool:
        for done, pixels in enumerate(pool.imap(_write, tasks, chunksize=8), start=1):
            report_progress(f"Rendering {case.kind.name}", done, len(rows))
            yield pixels


def _write(task: tuple[Callable[[Subject], np.ndarray], Subject, Path]) -> np.ndarray:
    render, subject, file = task
    pixels = render(subject)
    # Noise hardly compresses; a higher level would take as long as the rendering.
    Image.fromarray(pixels).save(file, compress_level=1)
    return pixels


def _pool(images: int) -> Pool:
    workers = os.cpu_count() or 1
    if images < FEWEST_FOR_PROCESSES or workers == 1:
        return ThreadPool(workers)
    # Not forked: TensorFlow's threads may be running. Interruptions are the parent's.
    return multiprocessing.get_context("spawn").Pool(workers, signal.signal, (signal.SIGINT, signal.SIG_IGN))


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
