"""Are copies found that were changed a little, and is nothing else taken for a copy?

    python -m lab.benchmarks.near_duplicates --data NAME=DIR ... [--images N] [--write]

A case is a folder of real images. Copies of some of them are encoded again, resized, brightened, mirrored and cut, each
alone, and looked for among all. With --write, a section of lab/results/calibration.md is written.
"""

import argparse
import io
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageEnhance, ImageOps

from lab.benchmarks.results import tell
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from safe_dnn.support.near_duplicates import near_duplicates, thumbnails

COPIES = 300
INTRODUCTION = f"""
## Near-duplicates

Written by `python -m lab.benchmarks.near_duplicates`. Of real images, {COPIES} are copied with a change and looked for
among all. *Others* are the pairs of different images of the folder that are taken for copies: in part they are, frames
of a series or of a track. The time is for all pairs of the folder's images, after reading, of one processor.
"""


def encoded_again(image: Image.Image, rng: random.Random) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return Image.open(stream)


def cut(image: Image.Image, rng: random.Random) -> Image.Image:
    """Without 5 % of its width and of its height, from any side."""
    width, height = image.size
    across, down = max(1, round(0.05 * width)), max(1, round(0.05 * height))
    left, top = rng.randint(0, across), rng.randint(0, down)
    return image.crop((left, top, left + width - across, top + height - down))


CHANGES: dict[str, Callable[[Image.Image, random.Random], Image.Image]] = {
    "JPEG, quality 75": encoded_again,
    "half the size": lambda image, rng: image.resize((max(1, image.width // 2), max(1, image.height // 2))),
    "1.5 times the size": lambda image, rng: image.resize((image.width * 3 // 2, image.height * 3 // 2)),
    "5 % brighter": lambda image, rng: ImageEnhance.Brightness(image).enhance(1.05),
    "mirrored": lambda image, rng: ImageOps.mirror(image),
    "5 % cut": cut,
}


class Case(NamedTuple):
    """How many images, the share of copies found by change, that of other pairs taken for copies, and seconds."""

    images: int
    found: dict[str, float]
    others: float
    seconds: float


def measured(folder: Path, limit: int) -> Case:
    """What is found in a folder of images."""
    listing = find_images(folder)
    files = [listing.root / path for path in listing.paths]
    random.Random(0).shuffle(files)
    files = files[:limit]
    known = thumbnails(files)
    start = time.process_time()
    pairs = near_duplicates(known)
    seconds = time.process_time() - start
    found, rng = {}, random.Random(1)
    for change, changed in CHANGES.items():
        with tempfile.TemporaryDirectory() as place:
            copies = [Path(place) / f"{row}.png" for row in range(min(COPIES, len(files)))]
            for file, copy in zip(files, copies, strict=False):
                changed(Image.open(file).convert("RGB"), rng).save(copy)
            alike = {pair[:2] for pair in near_duplicates(known, thumbnails(copies))}
        found[change] = sum((row, row) in alike for row in range(len(copies))) / len(copies)
    return Case(len(files), found, len(pairs) / (len(files) * (len(files) - 1) / 2), seconds)


def section(cases: dict[str, Case]) -> str:
    """Markdown: a row for each case."""
    lines = [INTRODUCTION.strip(), "", f"| case | {' | '.join(CHANGES)} | others | seconds |"]
    lines.append(f"|---|{'---|' * (len(CHANGES) + 2)}")
    for name, case in cases.items():
        found = " | ".join(f"{100 * share:.1f} %" for share in case.found.values())
        lines.append(f"| {name} ({case.images:,}) | {found} | {100 * case.others:.3f} % | {case.seconds:.1f} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.near_duplicates")
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of images")
    parser.add_argument("--images", type=int, default=5000, metavar="N", help="of each folder (default: 5000)")
    parser.add_argument("--write", action="store_true", help="write lab/results/calibration.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        cases = {}
        for given in options.data:
            name, _, folder = given.partition("=")
            cases[name] = measured(Path(folder), options.images)
        tell("calibration-near-duplicates", section(cases), write=options.write)
    except SAFEError as error:
        print(f"near_duplicates: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
