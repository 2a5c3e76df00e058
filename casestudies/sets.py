"""The sets of a case study: which images they have, and their pixels."""

import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from casestudies.case import Case, Subject
from support.files import write_text
from support.progress import Progress, no_progress

MODEL_FILE = "model.keras"

Rows = list[tuple[str, str, Subject]]  # path relative to the case, label, parameters


def lay_out(case: Case, part: str, count: int, seed: int) -> Iterator[tuple[str, str, Subject]]:
    """Draw the parameters of a set's images, with their paths, for example `test/3_up_left/00012.png`."""
    for number, (label, subject) in enumerate(case.draw(part, count, seed)):
        yield f"{part}/{label}/{number:05d}.png" if label else f"{part}/{number:05d}.png", label, subject


def lay_out_all(case: Case, *, seed: int, scale: float) -> dict[str, Rows]:
    """The same for all sets, by name; `scale` is a factor on their sizes."""
    return {part: list(lay_out(case, part, max(1, round(n * scale)), seed)) for part, n in case.sizes.items()}


def render_images(case: Case, folder: Path, rows: Rows, *, progress: Progress = no_progress) -> Iterator[np.ndarray]:
    """Render images, write them below `folder` and yield their pixels in the order of `rows`."""
    for parent in sorted({(folder / path).parent for path, _, _ in rows}):
        parent.mkdir(parents=True, exist_ok=True)

    def write(path: str, subject: Subject) -> np.ndarray:
        pixels = case.kind.render(subject)
        # Noise hardly compresses; a higher level would take as long as the rendering.
        Image.fromarray(pixels).save(folder / path, compress_level=1)
        return pixels

    ahead: deque = deque()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            for done, (path, _, subject) in enumerate(rows, start=1):
                ahead.append(pool.submit(write, path, subject))
                if len(ahead) >= 32:
                    yield ahead.popleft().result()
                progress(f"Rendering {case.kind.name}", done, len(rows))
            while ahead:
                yield ahead.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def write_json(path: Path, content: object) -> None:
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
