"""Does a reason's heatmap show the pixels that its cause touches?

    python -m lab.benchmarks.heatmaps [--data gd=DIR oc=DIR hpd=DIR] [--photographs faces=DIR signs=DIR] [--write]

A case was built by `lab.casestudies.build`. Of the images with a known cause that is a thing in the image, each is
rendered again without it: the pixels that change by more than `CHANGE` levels are those of the cause. Causes that
change all of the image, such as darkness, have no place.

Photographs are folders with `test/`, class folders, and `model.keras`. Those that the network gets right are given a
sticker, sunglasses or glare (see `PLANTED`), as little as makes `LEAST_FAILING` of them fail: these are the failing
images of that cause, and its pixels are known. With --write, sections of lab/results/heatmaps.md are written.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from lab.benchmarks.results import tell
from lab.casestudies.cases import CASES
from safe_dnn.casestudies.case import Case
from safe_dnn.casestudies.causes import CAUSES_FILE
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.heatmaps import GRID, Heatmaps, heatmaps
from safe_dnn.dnn.model import Dnn, load_dnn, sized_for
from safe_dnn.dnn.predictions import Pixels, labelled_images, run_model
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.pipeline.looking import MOST
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import decode, read_bytes
from safe_dnn.support.run_folder import PREDICTIONS_FILE
from tests.helpers.cases import read_subjects

CHANGE = 48  # grey levels of 255
DRAWS = 5  # of images of each cause
# What the image has instead of the cause; causes that are not listed have no place of their own.
WITHOUT: dict[str, dict[str, Mapping[str, Any]]] = {
    "eyes": {
        "sunglasses": {"eyewear": "none"},
        "glare": {"lens_reflection": 0.2},
        "half open": {"openness": 0.75},
    },
    "heads": {"scarf": {"cover": "none"}, "hair over the face": {"fringe": 0.0}},
}
COLUMNS = """
| case | cause | area | seen | the reason's heatmap | one image |
|---|---|---|---|---|---|
"""
INTRODUCTION = f"""
## Where the network looks

Written by `python -m lab.benchmarks.heatmaps`. *Area* is the share of the image that the cause touches, which is
chance, and *seen* its share of what the network sees (the eyes' networks look at the middle of the image only). The
other columns are shares of a heatmap's mass in the pixels of the cause, and how many times the area that is (1 by the
area at most): of what speaks less for the true class in {MOST} failing images than in {MOST} right ones (*the reason's
heatmap*), and of what speaks for the predicted class in one failing image, which is what Grad-CAM usually shows (*one
image*, the median). Means of {DRAWS} draws.
{COLUMNS}"""
ON_PHOTOGRAPHS = f"""
## Where the network looks in photographs

Written by `python -m lab.benchmarks.heatmaps --photographs`. As above; the cause is put into photographs that the
network gets right, each draw at another place, and the failing ones of these are the reason's images.
{COLUMNS}"""


class Shares(NamedTuple):
    """The share of the cause in the image and in what is seen, and that of the mass of heatmaps inside of it."""

    area: float
    seen: float
    reason: float
    one: float


def cause_mask(case: Case, subject: Any, without: Mapping[str, Any]) -> np.ndarray:
    """The share of each part of the grid that a cause touches: ndarray of shape (GRID, GRID), float32."""
    plain = dataclasses.replace(subject, noise_levels=0.0)
    images = [case.kind.render(one).astype(int) for one in (plain, dataclasses.replace(plain, **without))]
    changed = np.abs(images[0] - images[1]).max(axis=-1) > CHANGE
    return np.asarray(Image.fromarray(changed.astype(np.float32)).resize((GRID, GRID), Image.Resampling.BOX))


def share_inside(mass: np.ndarray, mask: np.ndarray) -> float:
    """Of what is positive."""
    positive = np.maximum(mass, 0)
    return float((positive * mask).sum() / max(positive.sum(), 1e-12))


def shares_of(failing: Heatmaps, right: Heatmaps, predicted: Heatmaps, masks: np.ndarray) -> Shares:
    """What heatmaps of failing and right images for the true class, and for the predicted one, say of masks."""
    mask = masks.mean(axis=0)
    seen = np.abs(np.concatenate([failing.maps, right.maps])).sum(axis=0) > 0
    reason = share_inside(right.maps.mean(axis=0) - failing.maps.mean(axis=0), mask)
    one = np.median([share_inside(*pair) for pair in zip(predicted.maps, masks, strict=True)])
    return Shares(float(mask.mean()), float(mask[seen].mean()), reason, float(one))


def measured(
    case: Case, folder: Path, dnn: Dnn, tested: AnsweredImages, images: list[str], without: Mapping[str, Any], seed: int
) -> Shares:
    """One draw of images with a cause."""
    rng = np.random.default_rng(seed)
    subjects = read_subjects(folder / PARAMETERS_FILE, case.kind)
    failing = [images[i] for i in rng.permutation(len(images))[:MOST].tolist()]
    rows = [tested.paths.index(path) for path in failing]
    label, predicted = (column[rows].tolist() for column in (tested.answers.label, tested.answers.predicted))
    others = [np.flatnonzero(tested.right & (tested.answers.label == name)) for name in label]
    right = [tested.paths[int(rng.choice(pool))] for pool in others]
    of = case.classes.index
    of_failing, of_right, of_predicted = (
        heatmaps(dnn, tested.root, paths, [of(name) for name in names])
        for paths, names in ((failing, label), (right, label), (failing, predicted))
    )
    masks = np.stack([cause_mask(case, subjects[f"test/{path}"], without) for path in failing])
    return shares_of(of_failing, of_right, of_predicted, masks)


def rows_of(name: str, folder: Path) -> list[tuple[str, str, Shares]]:
    """The causes of a case, measured."""
    case, dnn = CASES[name], load_dnn(folder / MODEL_FILE)
    tested = read_predictions(folder / PREDICTIONS_FILE, folder / "test")
    known = {one["name"]: one for one in json.loads((folder / CAUSES_FILE).read_text(encoding="utf-8"))}
    rows = []
    for cause, without in WITHOUT[case.kind.name].items():
        if cause in known:
            images = [path.removeprefix("failures/") for path in known[cause]["failing"]]
            draws = [measured(case, folder, dnn, tested, images, without, seed) for seed in range(DRAWS)]
            rows.append((name, cause, Shares(*np.mean(draws, axis=0).tolist())))
            print(*rows[-1], file=sys.stderr)
    return rows


# --- Photographs ------------------------------------------------------------------------------------------------


def _reach(image: np.ndarray, place: Sequence[float], sides: Sequence[float]) -> np.ndarray:
    """How far each pixel is from a place, in half the sides: both as shares of the image, down and across."""
    down, across = ((np.arange(n) + 0.5) / n for n in image.shape[:2])
    return np.stack(
        np.broadcast_arrays(((down - place[0]) / sides[0] * 2)[:, None], ((across - place[1]) / sides[1] * 2)[None, :])
    )


def _sticker(image: np.ndarray, place: Sequence[float], size: float) -> np.ndarray:
    inside = np.abs(_reach(image, place, (size, size))).max(axis=0) <= 1
    return np.where(inside[..., None], (235, 190, 30), image)


def _glare(image: np.ndarray, place: Sequence[float], size: float) -> np.ndarray:
    light = np.exp(-2 * np.square(_reach(image, place, (size, size))).sum(axis=0))[..., None]
    return image + (255 - image) * light


def _sunglasses(image: np.ndarray, place: Sequence[float], size: float) -> np.ndarray:
    """Before the eyes, which are at about the same place in all portraits; the larger, the darker."""
    lenses = [
        np.square(_reach(image, (0.28 + place[0] / 20, x + place[1] / 20), (0.24, 0.38))).sum(axis=0) <= 1
        for x in (0.25, 0.75)
    ]
    return np.where((lenses[0] | lenses[1])[..., None], image * (1 - size) + 12 * size, image)


PLANTED: dict[str, Callable[[np.ndarray, Sequence[float], float], np.ndarray]] = {
    "sticker": _sticker,
    "glare": _glare,
    "sunglasses": _sunglasses,
}
SIZES = (0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
LEAST_FAILING = 0.3
PLANTED_IN = 200  # images


class Photographs(NamedTuple):
    """Photographs that a network gets right, their classes as indices, and the network."""

    dnn: Dnn
    files: list[Path]
    labels: np.ndarray

    def predicted(self, files: Sequence[Path]) -> np.ndarray:
        return run_model(self.dnn, self.dnn.model, Pixels(self.dnn, files), np.arange(len(files))).outputs.argmax(1)


def load_photographs(folder: Path) -> Photographs:
    """Those of a test set."""
    images = labelled_images(folder / "test", classes=labelled_images(folder / "train").classes)
    every = Photographs(sized_for(load_dnn(folder / MODEL_FILE), images.files), images.files, images.labels)
    right = np.flatnonzero(every.predicted(every.files) == every.labels)
    return every._replace(files=[every.files[i] for i in right], labels=every.labels[right])


def planted_shares(photographs: Photographs, cause: str, seed: int) -> Shares | None:
    """One draw: a place, and images that get the cause there; None if it makes too few fail."""
    dnn, files, labels = photographs
    rng = np.random.default_rng(seed)
    rows, place = rng.permutation(len(files)), rng.uniform(0.35, 0.65, 2)
    places = place + rng.normal(0, 0.03, (PLANTED_IN, 2))
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            changed, masks = [], []
            for row, at in zip(rows[:PLANTED_IN].tolist(), places, strict=False):
                image = np.asarray(decode(read_bytes(files[row]))).astype(float)
                planted = PLANTED[cause](image, at, size).clip(0, 255)
                file = Path(folder) / f"{size}-{row}.png"
                Image.fromarray(np.rint(planted).astype(np.uint8)).save(file)
                touched = (np.abs(planted - image).max(axis=-1) > CHANGE).astype(np.float32)
                masks.append(np.asarray(Image.fromarray(touched).resize((GRID, GRID), Image.Resampling.BOX)))
                changed.append(file)
            own = labels[rows[: len(changed)]]
            predicted = photographs.predicted(changed)
            wrong = np.flatnonzero(predicted != own)
            if len(wrong) >= max(MOST, LEAST_FAILING * len(own)):
                break
        else:
            return None
        wrong, others = wrong[:MOST], rows[len(changed) :]
        pools = (others[labels[others] == label] for label in own[wrong])
        right = [int(rng.choice(pool)) for pool in pools if len(pool)]
        failing = [changed[i] for i in wrong]
        of_failing, of_right, of_predicted = (
            heatmaps(dnn, Path("/"), [str(path).lstrip("/") for path in paths], truth.tolist())
            for paths, truth in (
                (failing, own[wrong]), ([files[i] for i in right], labels[right]), (failing, predicted[wrong])
            )
        )  # fmt: skip
        return shares_of(of_failing, of_right, of_predicted, np.stack([masks[i] for i in wrong]))


def rows_of_photographs(name: str, folder: Path) -> list[tuple[str, str, Shares]]:
    """Planted causes, measured; sunglasses only in portraits."""
    photographs, rows = load_photographs(folder), []
    for cause in PLANTED:
        if cause != "sunglasses" or name == "faces":
            draws = [planted_shares(photographs, cause, seed) for seed in range(DRAWS)]
            if found := [one for one in draws if one]:
                rows.append((name, cause, Shares(*np.mean(found, axis=0).tolist())))
                print(*rows[-1], len(found), file=sys.stderr)
    return rows


def section(introduction: str, rows: list[tuple[str, str, Shares]]) -> str:
    """Markdown: a row for each cause, and the medians."""
    lines = [introduction.strip()]
    for name, cause, found in rows:
        told = [f"{share:.2f} ({share / found.area:.1f} ×)" for share in (found.reason, found.one)]
        lines.append(f"| {name} | {cause} | {found.area:.3f} | {found.seen:.3f} | {told[0]} | {told[1]} |")
    times = {what: np.median([getattr(one, what) / one.area for *_, one in rows]) for what in ("reason", "one")}
    of_seen = np.median([one.reason / one.seen for *_, one in rows])
    lines += [
        "",
        f"Medians: the reason's heatmap has {times['reason']:.1f} times the area ({of_seen:.1f} times what is seen), "
        f"one image {times['one']:.1f} times the area.",
    ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.heatmaps")
    for name, about in (("--data", "case studies that were built"), ("--photographs", "photographs, with a model")):
        parser.add_argument(name, nargs="+", metavar="NAME=DIR", default=[], help=about)
    parser.add_argument("--write", action="store_true", help="write lab/results/heatmaps.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        begun = time.process_time()
        for name, introduction, given, measure in (
            ("heatmaps", INTRODUCTION, options.data, rows_of),
            ("heatmaps-photographs", ON_PHOTOGRAPHS, options.photographs, rows_of_photographs),
        ):
            pairs = [one.partition("=") for one in given]
            if rows := [row for case, _, folder in pairs for row in measure(case, Path(folder))]:
                tell(name, section(introduction, rows), write=options.write)
        print(f"{time.process_time() - begun:.0f} s of processor time", file=sys.stderr)
    except SAFEError as error:
        print(f"heatmaps: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
