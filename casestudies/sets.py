"""The sets of a case study: which images they have, and their pixels."""

import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from casestudies.case import Case, Subject
from support.files import write_text
from support.progress import Progress, no_progress

MODEL_FILE = "model.keras"
AHEAD = 32  # images that are rendered before they are asked for
FEWEST_FOR_PROCESSES = 500  # images; starting the processes takes seconds

Rows = list[tuple[str, str, Subject]]  # path relative to the case, label, parameters


def lay_out(case: Case, part: str, count: int, seed: int) -> Iterator[tuple[str, str, Subject]]:
    """Draw the parameters of a set's images, with their paths, for example `test/3_up_left/00012.png`."""
    for number, (label, subject) in enumerate(case.draw(part, count, seed)):
        yield f"{part}/{label}/{number:05d}.png" if label else f"{part}/{number:05d}.png", label, subject


def lay_out_all(case: Case, *, seed: int, scale: float) -> dict[str, Rows]:
    """The same for all sets, by name; `scale` is a factor on their sizes."""
    return {part: list(lay_out(case, part, max(1, round(n * scale)), seed)) for part, n in case.sizes.items()}


def render_images(case: Case, folder: Path, rows: Rows, *, progress: Progress = no_progress) -> Iterator[np.ndarray]:
    """Render images, write them below `folder` and yield their pixels in the order of `rows`.

    Many are rendered by several processes: heads take forty milliseconds each, in steps too small for threads.
    """
    for parent in sorted({(folder / path).parent for path, _, _ in rows}):
        parent.mkdir(parents=True, exist_ok=True)
    ahead: deque = deque()
    with _pool(len(rows)) as pool:
        try:
            for done, (path, _, subject) in enumerate(rows, start=1):
                ahead.append(pool.submit(_write, case.kind.render, subject, folder / path))
                if len(ahead) >= AHEAD:
                    yield ahead.popleft().result()
                progress(f"Rendering {case.kind.name}", done, len(rows))
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def _write(render: Callable[[Subject], np.ndarray], subject: Subject, file: Path) -> np.ndarray:
    pixels = render(subject)
    # Noise hardly compresses; a higher level would take as long as the rendering.
    Image.fromarray(pixels).save(file, compress_level=1)
    return pixels


def _pool(images: int) -> Executor:
    workers = os.cpu_count() or 1
    if images < FEWEST_FOR_PROCESSES or workers == 1:
        return ThreadPoolExecutor(workers)
    # Not forked: TensorFlow's threads may be running.
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), initializer=_follow_parent)


def _follow_parent() -> None:
    """Leave interruptions to the parent, and end with it, even if it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is None:
        raise RuntimeError("expected to run in a process of its own")

    def end() -> None:
        multiprocessing.connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
