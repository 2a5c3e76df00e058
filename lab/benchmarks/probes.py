"""Do probes tell a cause that pixels make from what only comes with the cause?

    python -m lab.benchmarks.probes --data NAME=DIR ... [--seeds N ...] [--work DIR] [--write]

A case is a folder with `test/`, class folders of images, and `model.keras`. Planted *causes*: images that the network
gets right are darkened, overexposed, hazed, defocused, made noisy or pale, rotated, or given fewer pixels, by other
means than those of the probes, as little as makes 30 % of them fail; those that do are the failing images, and others
the right ones. Planted *companions*: the same change, as much of it as makes less than 5 % fail, in images that also
get a logo which makes them fail, with the change and without it. Thus the truth is known. With --write, a section of
lab/results/reasons.md is written.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.signal import fftconvolve  # type: ignore[attr-defined]

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.results import tell
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.model import Dnn, load_dnn, sized_for
from safe_dnn.dnn.predictions import Pixels, labelled_images, run_model
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import CAUSE, COMPANION, IMAGES, OPEN, PARTLY, ROTATION, Ask, images_of, probe
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from tests.helpers.small_models import Ready

DRAWN = 110  # images that get a change, and as many that do not
LEAST_FAILING, MOST_ALONE = 0.3, 0.05
MOST_TURNED = 60  # degrees
SOURCES = ("safe_dnn/reasons/probes.py", "safe_dnn/features/attributes.py", "lab/benchmarks/probes.py")
LEAST_APART = 0.5  # of pairs, those in order less the others
INTRODUCTION = """
## Causes and companions, by probes

Written by `python -m lab.benchmarks.probes`. Planted causes are changes of pixels that make right images fail; planted
companions are changes that do not, in images that fail by a logo. A dash is what cannot be planted, or what the
attribute does not tell from right images.
"""


def _dark(x: np.ndarray, by: float, rng: np.random.Generator) -> np.ndarray:
    light = 255 * (x / 255) ** (1 + by) * (1 - by / 2)
    return light + rng.normal(0, 1, x.shape) * np.sqrt(np.maximum(light, 0)) * 0.3


def _overexposed(x: np.ndarray, by: float, _: np.random.Generator) -> np.ndarray:
    return 255 * (x / 255) ** (1 / (1 + 2 * by)) * (1 + by)


def _haze(x: np.ndarray, by: float, _: np.random.Generator) -> np.ndarray:
    depth = by * np.linspace(1, 0.9, x.shape[0])[:, None, None]
    return x * (1 - depth) + x.mean() * depth


def _defocus(x: np.ndarray, by: float, _: np.random.Generator) -> np.ndarray:
    radius = by * 0.1 * min(x.shape[:2])
    at = np.arange(-int(radius) - 1, int(radius) + 2)
    disk = np.clip(radius + 0.5 - np.hypot(at[:, None], at), 0, 1)
    around = np.pad(x, ((len(at) // 2,) * 2, (len(at) // 2,) * 2, (0, 0)), mode="edge")
    return fftconvolve(around, (disk / disk.sum())[..., None], mode="valid", axes=(0, 1))


def _noise(x: np.ndarray, by: float, rng: np.random.Generator) -> np.ndarray:
    return x + rng.uniform(-1, 1, x.shape) * 120 * by


def _pale(x: np.ndarray, by: float, _: np.random.Generator) -> np.ndarray:
    return x * (1 - by) + by * x.mean(axis=2, keepdims=True)


def _rotated(x: np.ndarray, by: float, _: np.random.Generator) -> np.ndarray:
    colour = tuple(x.mean(axis=(0, 1)).astype(int).tolist())
    image = Image.fromarray(x.astype(np.uint8))
    return np.asarray(image.rotate(MOST_TURNED * by, Image.Resampling.BICUBIC, fillcolor=colour))


def _few_pixels(x: np.ndarray, by: float, _: np.random.Generator) -> np.ndarray:
    """Smaller: whoever asks the network enlarges it."""
    side = [max(3, round(n * (1 - by))) for n in x.shape[1::-1]]
    return np.asarray(Image.fromarray(x.astype(np.uint8)).resize(side, Image.Resampling.BOX))


PLANTED: dict[str, tuple[str, Callable[[np.ndarray, float, np.random.Generator], np.ndarray]]] = {
    "dark": ("brightness", _dark),
    "overexposed": ("brightness", _overexposed),
    "haze": ("contrast", _haze),
    "defocus": ("sharpness", _defocus),
    "noise": ("noise", _noise),
    "pale": ("saturation", _pale),
    "rotated": (ROTATION, _rotated),
    "few pixels": ("width_px", _few_pixels),
}
STRENGTHS = (0.08, 0.15, 0.25, 0.35, 0.5, 0.65, 0.8, 0.95)


def _logo(x: np.ndarray) -> np.ndarray:
    """A logo of two colours over the middle of an image."""
    y, size = x.copy(), min(x.shape[:2])
    top, left, side = x.shape[0] // 2 - size // 4, x.shape[1] // 2 - size // 4, size // 2
    y[top : top + side, left : left + side] = (200, 40, 40)
    y[top + side // 4 : top + side // 2, left + side // 4 : left + side] = (250, 250, 250)
    return y


class Pool(NamedTuple):
    """Images that a network gets right, and the network."""

    pixels: list[np.ndarray]
    ask: Ask


def load_pool(folder: Path) -> Pool:
    """The network of a case, and test images that it gets right."""
    dnn = load_dnn(folder / MODEL_FILE)
    images = labelled_images(folder / "test", classes=labelled_images(folder / "train").classes)
    dnn = sized_for(dnn, images.files)
    drawn = np.random.default_rng(0).permutation(len(images.paths))[: 6 * DRAWN]
    taken, kept = Pixels(dnn, images.files).take(drawn)
    ask = _asking(dnn, images.labels, images.classes)
    if taken.shape[-1] == 1:
        taken = np.repeat(taken, 3, axis=3)
    right = np.flatnonzero(ask(list(taken), kept.tolist()))
    own = images.labels[kept[right]]
    return Pool([taken[i] for i in right], _asking(dnn, own, images.classes))


def _asking(dnn: Dnn, labels: np.ndarray, classes: Sequence[str]) -> Ask:
    side = dnn.width or 0, dnn.height or 0  # known, of models at the images' own size as well

    def ask(pixels: Sequence[np.ndarray], rows: Sequence[int]) -> np.ndarray:
        images = [Image.fromarray(one).resize(side, Image.Resampling.BILINEAR) for one in pixels]
        stack = np.stack([np.asarray(one) for one in images])
        if dnn.channels == 1:
            stack = np.rint(stack @ np.array([[0.299], [0.587], [0.114]])).astype(np.uint8)
        found = run_model(dnn, dnn.model, Ready(dnn, stack), np.arange(len(stack)))
        return found.outputs.argmax(axis=1) == labels[list(rows)]

    return ask


def verdict_on(pool: Pool, name: str, companion: bool, seed: int = 1) -> str | None:
    """What probes say of the attribute that a planted reason changes; None if it cannot be planted."""
    rng = np.random.default_rng(seed)
    attribute, plant = PLANTED[name]
    rows = rng.permutation(len(pool.pixels))
    own, others = rows[:DRAWN], rows[DRAWN : 2 * DRAWN]
    alone = {by: _planted(pool, own, plant, by, rng) for by in STRENGTHS}
    failing = {by: ~pool.ask(images, own.tolist()) for by, images in alone.items()}
    if companion:
        mild = [by for by in STRENGTHS if failing[by].mean() < MOST_ALONE]
        if not mild:
            return None
        by = mild[-1]
        changed = [_logo(one) for one in alone[by]]
        wrong = ~pool.ask(changed, own.tolist()) & ~pool.ask([_logo(pool.pixels[row]) for row in own], own.tolist())
    else:
        strong = [by for by in STRENGTHS if failing[by].mean() >= LEAST_FAILING]
        if not strong:
            return None
        by = strong[0]
        changed, wrong = alone[by], failing[by]
    if wrong.mean() < LEAST_FAILING or len(others) < DRAWN // 2:
        return None
    bad = np.flatnonzero(wrong)[:IMAGES]
    others, own = others[:IMAGES], own[bad]
    right_images = images_of(others, [pool.pixels[i] for i in others], others, 0.0)
    turned = MOST_TURNED * by if attribute == ROTATION else 0.0
    failing_images, planted = (images_of(own, [images[i] for i in bad], own, turned) for images in (changed, alone[by]))
    usual = right_images.measured[attribute]
    apart, meant = (
        float(np.sign(images.measured[attribute][:, None] - usual).mean()) for images in (failing_images, planted)
    )
    if abs(apart) < LEAST_APART or apart * meant < 0:
        return None  # nobody would take it for a reason, or a logo has made it the opposite
    asked = Reason("planted", "", stated={attribute}, rate=float(wrong.mean()))
    found = probe(asked, right_images, failing_images, pool.ask)
    print(name, companion, [one.text for one in found], file=sys.stderr)
    return next((one.verdict for one in found if one.attribute == attribute), OPEN)


def _planted(
    pool: Pool, rows: np.ndarray, plant: Callable[..., np.ndarray], by: float, rng: np.random.Generator
) -> list[np.ndarray]:
    changed = (plant(pool.pixels[row].astype(float), by, rng) for row in rows.tolist())
    return [np.rint(np.clip(one, 0, 255)).astype(np.uint8) for one in changed]


def section(results: Mapping[str, Mapping[tuple[str, bool], str | None]]) -> str:
    """Markdown: a row for each case, and the verdicts of all."""
    lines = [INTRODUCTION.strip(), ""]
    lines += ["| case, seed | planted | " + " | ".join(PLANTED) + " |", "|---|---|" + "---|" * len(PLANTED)]
    counts: dict[bool, Counter[str]] = {False: Counter(), True: Counter()}
    for case, found in results.items():
        for companion, what in ((False, "causes"), (True, "companions")):
            own = [found[name, companion] for name in PLANTED]
            counts[companion].update(filter(None, own))
            lines.append(f"| {case} | {what} | {' | '.join(one or '–' for one in own)} |")
    for companion, what in ((False, "causes"), (True, "companions")):
        n = counts[companion].total()
        said = ", ".join(f"{v} {counts[companion][v]}" for v in (CAUSE, PARTLY, COMPANION, OPEN))
        lines.append(f"\nOf {n} planted {what}: {said}.")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.probes", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of the cases")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2], metavar="N", help="which images (default: 1 2)")
    parser.add_argument("--work", default=".probes", metavar="DIR", help="where verdicts are kept (default: .probes)")
    parser.add_argument("--write", action="store_true", help="write lab/results/reasons.md instead of printing")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        results, work = {}, prepare_folder(options.work)
        for given in options.data:
            name, _, folder = given.partition("=")
            for seed in options.seeds:

                def compute(folder: str = folder, seed: int = seed) -> list[list[str | None]]:
                    pool = load_pool(Path(folder))
                    return [[verdict_on(pool, one, companion, seed) for companion in (False, True)] for one in PLANTED]

                found = kept(prepare_folder(work / name) / f"{seed}.json", key_of(*SOURCES, folder, str(seed)), compute)
                pairs = zip(PLANTED, found, strict=True)
                results[f"{name}, {seed}"] = {(one, bool(i)): own[i] for one, own in pairs for i in (0, 1)}
        tell("reasons-probes", section(results), write=options.write)
    except SAFEError as error:
        print(f"probes: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
