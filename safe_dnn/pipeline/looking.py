"""Where the network looks, for each reason: in its failing images, and in right ones of the same classes.

Parts of an image are covered, one after the other, with its mean colour. A part speaks for the true class if the log
odds of that class fall without it; of a regression, minus the squared error stands for the log odds. The predicted
class would say what speaks for another answer in each image; what speaks for the true one can be compared between
images that are right and images that fail.

Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014.
docs/decisions/055-heatmaps.md has figures.
"""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup
from PIL import Image

from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.pipeline.asking import Asking, asking
from safe_dnn.pipeline.reporting.markup import filled, jpeg_uri
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import spread_over
from safe_dnn.store.output_folder import own_files, save_files, working
from safe_dnn.store.runs import HEATMAP, Run, add_run, reading_file, runs_of
from safe_dnn.support.entries import StrPath
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import count, printable

HEATMAP_FILE = "heatmap.png"
HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
MOST = 10  # failing images of a reason, and as many right ones of their classes
COVERED = 8  # parts of each side
LEAST = 1e-37  # a probability is taken to be larger by this


SIDE = 240  # pixels of the longer side of a part of the picture
FOR, AGAINST = (0, 114, 255), (255, 110, 0)  # told apart by everybody, and from grey
MOST_COLOUR = 0.8  # of a pixel, so that what is below it stays in sight


class Heatmap(NamedTuple):
    """Heatmaps of a reason, as means over images.

    Attributes
    ----------
    picture : PIL image
        As of `side_by_side`.
    facts : mapping
        `subject`, what they are of; `n_failing` and `n_right`, of how many images; `model`, its name; `regression`,
        whether it is one.
    """

    picture: Image.Image
    facts: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What is in the picture, what was computed, and what the colours mean."""
        facts, colours = self.facts, "speaks for the true class, orange against it"
        if facts["regression"]:
            colours = "lowers the error, orange raises it"
        parts = f"{count(facts['n_failing'], 'failing image')}, {facts['n_right']} right, and what failing ones lack"
        return f"From left to right: {parts}. Blue {colours}. Model: {facts['model']}."


def look(
    out: Path, names: Collection[str] = (), *, model: StrPath | None = None, options: DnnOptions = AS_IN_THE_FILE,
    within: Path | None = None, progress: Progress = no_progress,
) -> dict[str, Heatmap]:  # fmt: skip
    """Compute where the network looks, keep it, and write `heatmaps/`.

    Parameters
    ----------
    names, model, options, within
        As for `pipeline.asking.asking`.

    Returns
    -------
    dict of str to Heatmap
        By the names of the reasons, such as `RCC 0`.

    Raises
    ------
    SAFEError
        As of `asking`.
    """
    with working(out, "looking"):
        asked = asking(out, names, model=model, options=options, within=within, progress=progress)
        found = _heatmaps(asked, [reason for reason in asked.reasons if reason.images])
        for heatmap in found.values():
            keep_heatmap(out, asked.review.run, heatmap)
        kept = heatmaps_of(out, asked.review.run, [one.subject for one in asked.listed])
        _write_heatmaps(out, {one.file: kept[one.subject] for one in asked.listed if one.subject in kept})
        return found


def _heatmaps(asked: Asking, reasons: Collection[Reason]) -> dict[str, Heatmap]:
    """The heatmaps of reasons, by name."""
    drawn = {reason.name: _drawn_for(asked, reason) for reason in reasons}
    rows = sorted({row for kinds in drawn.values() for row in itertools.chain(*kinds)})
    read, maps, found = dict[int, np.ndarray](), dict[int, np.ndarray](), {}
    for done, row in enumerate(rows):
        asked.progress("Looking where the model looks", done, len(rows))
        if (pixels := asked.pixels(row)) is not None:
            read[row], maps[row] = pixels, map_of(asked, row, pixels)
    for reason in reasons:
        kinds = [[row for row in some if row in maps] for some in drawn[reason.name]]
        size = next((_size(read[row]) for row in itertools.chain(*kinds)), (SIDE, SIDE))
        greys = [[Image.fromarray(read[row]).convert("L").resize(size) for row in some] for some in kinds]
        grounds = [np.mean([np.asarray(one) for one in some] or [np.zeros(size[::-1])], axis=0) for some in greys]
        means = [np.mean([maps[row] for row in some] or [np.zeros((COVERED, COVERED))], axis=0) for some in kinds]
        facts = {"subject": reason.subject, "n_failing": len(kinds[0]), "n_right": len(kinds[1])}
        facts |= {"model": printable(asked.dnn.path.name), "regression": asked.regression}
        found[reason.name] = Heatmap(side_by_side(*means, *grounds), facts)
    return found


def _size(pixels: np.ndarray) -> tuple[int, int]:
    """Width and height of its picture."""
    height, width, _ = pixels.shape
    return max(1, round(SIDE * width / max(height, width))), max(1, round(SIDE * height / max(height, width)))


def map_of(asked: Asking, row: int, pixels: np.ndarray) -> np.ndarray:
    """How much each part of an image speaks for the truth, shape (COVERED, COVERED)."""
    images = [pixels]
    down, across = (np.linspace(0, side, COVERED + 1).round().astype(int) for side in pixels.shape[:2])
    for i, j in np.ndindex(COVERED, COVERED):
        images.append(pixels.copy())
        images[-1][down[i] : down[i + 1], across[j] : across[j + 1]] = pixels.mean(axis=(0, 1))
    (true,), outputs = asked.truth([row]), asked.answers(images).outputs
    if asked.regression:
        scores = -((outputs - true) ** 2).sum(axis=1)
    else:
        scores = np.log(outputs[:, true] + LEAST) - np.log(np.delete(outputs, true, axis=1).sum(axis=1) + LEAST)
    return (scores[0] - scores[1:]).reshape(COVERED, COVERED)


def _drawn_for(asked: Asking, reason: Reason) -> tuple[list[int], list[int]]:
    """Some failing images of a reason, as rows of the test set, and as many right ones of each of their classes."""
    failing, right = _drawn(asked.failing(reason), MOST), np.flatnonzero(asked.tested.right)
    if asked.regression:
        return failing, _drawn(right, len(failing))
    label = asked.tested.answers.label
    counts = sorted(Counter(label[failing].tolist()).items())
    return failing, [row for name, n in counts for row in _drawn(right[label[right] == name], n)]


def _drawn(rows: np.ndarray, n: int) -> list[int]:
    return spread_over(rows, rows, n).tolist()


def _write_heatmaps(out: Path, shown: Mapping[str, Heatmap]) -> None:
    """Write `heatmaps/`: the pictures of these reasons, and what they are of; remove outdated ones."""
    facts = {name: dict(one.facts) for name, one in shown.items()}
    files: dict[str, Any] = {HEATMAPS_FILE: json.dumps(facts, indent=1, ensure_ascii=False) + "\n"}
    for name, one in shown.items():
        files[f"{name}.png"] = functools.partial(Image.Image.save, one.picture, format="PNG", compress_level=1)
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in prepare_folder(out / HEATMAPS_FOLDER).glob("*.png")]
    save_files(out, {f"{HEATMAPS_FOLDER}/{name}": file for name, file in files.items()}, remove=own_files(out, before))


# --- The pictures -----------------------------------------------------------------------------------------------------


def keep_heatmap(folder: Path, clusters: str, heatmap: Heatmap) -> None:
    """Keep it, in place of an earlier one of the reason; `clusters` as of `rccs.clusters.run_of`."""
    files = {HEATMAP_FILE: functools.partial(heatmap.picture.save, format="PNG")}
    before = _last(folder, clusters).get(heatmap.facts["subject"])
    add_run(folder, HEATMAP, files, clusters=clusters, facts=heatmap.facts, instead_of=before)


def _last(folder: Path, clusters: str) -> dict[Any, Run]:
    return {run.facts.get("subject"): run for run in runs_of(folder, HEATMAP) if run.clusters == clusters}


def heatmaps_of(folder: Path, clusters: str, subjects: Iterable[str]) -> dict[str, Heatmap]:
    """The heatmap of each of some reasons that has one, by subject (see `reasons.listed.Reason`).

    Raises
    ------
    SAFEError
        One is damaged.
    """
    last, found = _last(folder, clusters), {}
    for subject in subjects:
        if run := last.get(subject):
            with reading_file(run, HEATMAP_FILE) as path, Image.open(path) as picture:
                found[subject] = Heatmap(picture.convert("RGB"), run.facts)
    return found


def side_by_side(failing: np.ndarray, right: np.ndarray, below: np.ndarray, below_right: np.ndarray) -> Image.Image:
    """Mean heatmaps of failing and of right images, each over their mean image in grey, and the difference."""
    most = max(float(np.abs(failing).max()), float(np.abs(right).max())) or 1.0
    lost = np.minimum(failing - right, 0)
    parts = (failing / most, below), (right / most, below_right), (lost / (-float(lost.min()) or 1.0), below)
    return Image.fromarray(np.hstack([coloured(*part) for part in parts]))


def coloured(values: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """A heatmap from -1 to 1 over a grey picture, whose black and white give way to the colours."""
    height, width = ground.shape
    spread = np.asarray(Image.fromarray(values.astype(np.float32)).resize((width, height), Image.Resampling.BILINEAR))
    share = np.minimum(np.abs(spread), 1)[..., None] * MOST_COLOUR
    colour = np.where(spread[..., None] > 0, FOR, AGAINST)
    return ((80 + 0.55 * ground[..., None]) * (1 - share) + colour * share).astype(np.uint8)


def heatmap_html(heatmap: Heatmap) -> Markup:
    """The picture, and what is in it."""
    return filled("heatmap.html", picture=jpeg_uri(heatmap.picture, 85), text=heatmap.text)
