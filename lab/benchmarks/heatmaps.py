"""Does a reason's heatmap show the pixels that its cause touches?

    python -m lab.benchmarks.heatmaps --data gd=DIR oc=DIR hpd=DIR [--write]

A case was built by `lab.casestudies.build`. Of the images with a known cause that is a thing in the image, each is
rendered again without it: the pixels that change by more than `CHANGE` levels are those of the cause. Causes that
change all of the image, such as darkness, have no place. With --write, lab/results/heatmaps.md is written.
"""

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from casestudies.case import Case
from casestudies.causes import CAUSES_FILE
from casestudies.sets import MODEL_FILE
from dnn.heatmaps import GRID, Heatmaps, heatmaps
from dnn.model import Dnn, load_dnn
from dnn.tested import AnsweredImages, read_predictions
from lab.benchmarks.results import tell
from lab.casestudies.cases import CASES
from pipeline.heatmaps import MOST
from rccs.parameters import PARAMETERS_FILE
from support.errors import SAFEError
from support.run_folder import PREDICTIONS_FILE
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
INTRODUCTION = f"""
## Where the network looks

Written by `python -m lab.benchmarks.heatmaps`. *Area* is the share of the image that the cause touches, which is
chance, and *seen* its share of what the network sees (the eyes' networks look at the middle of the image only). The
other columns are shares of a heatmap's mass in the pixels of the cause, and how many times the area that is: of what
speaks less for the true class in {MOST} failing images than in {MOST} right ones (*the reason's heatmap*), and of what
speaks for the predicted class in one failing image, which is what Grad-CAM usually shows (*one image*, the median).
Means of {DRAWS} draws.

| case | cause | area | seen | the reason's heatmap | one image |
|---|---|---|---|---|---|
"""


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


def section(rows: list[tuple[str, str, Shares]]) -> str:
    """Markdown: a row for each cause, and the medians."""
    lines = [INTRODUCTION.strip()]
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
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="case studies that were built")
    parser.add_argument("--write", action="store_true", help="write lab/results/heatmaps.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        begun, rows = time.process_time(), []
        for given in options.data:
            name, _, folder = given.partition("=")
            rows += rows_of(name, Path(folder))
        print(f"{time.process_time() - begun:.0f} s of processor time", file=sys.stderr)
        tell("heatmaps", section(rows), write=options.write)
    except SAFEError as error:
        print(f"heatmaps: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
