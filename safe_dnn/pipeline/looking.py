"""Where the network looks, for each reason: its failing images beside right ones of the same classes, by the network.

Few images of each reason are enough, and only what is asked for is computed; what is kept is computed again when the
model or an image has changed.
"""

import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.dnn.heatmaps import GRID
from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.model_process import heatmaps_apart
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.pipeline.asking import Asking, asking
from safe_dnn.pipeline.reporting.evidence import sha256_if_there
from safe_dnn.pipeline.reporting.heatmap_panels import NUMBERS, SIDE, Heatmap, heatmaps_of, keep_heatmap, panels
from safe_dnn.reasons.listed import Reason
from safe_dnn.reasons.probes import spread_over
from safe_dnn.store.output_folder import own_files, save_files, working
from safe_dnn.support.entries import StrPath
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import thumbnail
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import printable

HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
MOST = 20  # failing images of a reason, and as many right ones of their classes, and of those they are taken for


class _Wanted(NamedTuple):
    """The images to look at, as rows of the test set (see `Heatmap.maps`), and what their heatmap rests on."""

    rows: tuple[list[int], list[int], list[int]]
    key: str


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
        asked = asking(out, names, model=model, options=options, within=within)
        run, digest = asked.review.run, sha256_if_there(asked.model)
        wanted = {one.subject: _wanted(asked, one, digest) for one in asked.reasons if one.images}
        kept = heatmaps_of(out, run, [one.subject for one in asked.listed])
        left = {name: one for name, one in wanted.items() if name not in kept or kept[name].facts["key"] != one.key}
        for subject, heatmap in _computed(asked, left, progress).items():
            keep_heatmap(out, run, heatmap)
            kept[subject] = heatmap
        _write_heatmaps(out, {one.file: kept[one.subject] for one in asked.listed if one.subject in kept})
        return {one.name: kept[one.subject] for one in asked.reasons if one.images}


def look_at(
    out: Path, images: Sequence[str], *, within: Path | None = None, progress: Progress = no_progress
) -> dict[str, Heatmap]:
    """Compute where the network looks in single failing images, by their paths; nothing is written.

    Raises
    ------
    SAFEError
        As of `look`, or the first image is not in the test set, or unreadable.
    """
    asked = asking(out, (), within=within)
    rows = asked.tested.rows_of(asked.review.clusters.image_root, images).tolist()
    known = {image: _Wanted(([row], [], []), "") for image, row in zip(images, rows, strict=True) if row >= 0}
    found = {image: one for image, one in _computed(asked, known, progress).items() if one.facts["n_failing"]}
    if images[0] not in found:
        raise SAFEError(
            f"Expected an image of the test set that can be read. Received: {printable(images[0])}. Choose another one."
        )
    return found


def _wanted(asked: Asking, reason: Reason, model: str) -> _Wanted:
    """Which images of a reason to look at, and for each, right ones of its class and of the class it is taken for."""
    tested, failing = asked.tested, _drawn(asked.failing(reason), MOST)
    label, predicted, rows = tested.answers.label, tested.answers.predicted, np.flatnonzero(tested.right)

    def right_of(names: np.ndarray) -> list[int]:
        counts = sorted(Counter(names.tolist()).items())
        return [row for name, n in counts for row in _drawn(rows[label[rows] == name], n)]

    if asked.regression:
        right, taken = _drawn(rows, len(failing)), list[int]()
    else:
        right, taken = right_of(label[failing]), right_of(predicted[failing])
    files = [sha256_if_there(tested.root / tested.paths[row]) for row in (*failing, *right, *taken)]
    return _Wanted((failing, right, taken), hashlib.sha256("\n".join([model, *files]).encode()).hexdigest())


def _drawn(rows: np.ndarray, n: int) -> list[int]:
    return spread_over(rows, rows, n).tolist()


def _computed(asked: Asking, wanted: Mapping[str, _Wanted], progress: Progress) -> dict[str, Heatmap]:
    """The heatmaps of reasons, by subject."""
    if not wanted:
        return {}
    dnn, tested = asked.load(progress), asked.tested
    rows = sorted({row for one in wanted.values() for row in itertools.chain(*one.rows)})
    found = heatmaps_apart(dnn, tested.root, [tested.paths[row] for row in rows], asked.truth(rows), progress=progress)
    maps = {rows[index]: one for index, one in zip(found.indices.tolist(), found.maps, strict=True)}
    facts = {"model": printable(dnn.path.name), "how": found.how, "regression": asked.regression}
    return {
        subject: _mean(one.rows, maps, tested, {**facts, "subject": subject, "key": one.key})
        for subject, one in wanted.items()
    }


def _mean(
    wanted: tuple[list[int], ...], maps: Mapping[int, np.ndarray], tested: AnsweredImages, facts: dict
) -> Heatmap:
    """The heatmap of a reason, from the maps of its images, by row."""
    rows = [[row for row in some if row in maps] for some in wanted]
    pictures = [[thumbnail(tested.root / tested.paths[row], SIDE) for row in some] for some in rows]
    size = next((picture.size for some in pictures for picture in some), (SIDE, SIDE))
    greys = [[np.asarray(picture.convert("L").resize(size)) for picture in some] for some in pictures]

    def mean(arrays: list[Any], shape: Sequence[int]) -> np.ndarray:
        return np.mean(arrays or np.zeros((1, *shape)), axis=0)

    grounds = np.array([mean(some, size[::-1]) for some in greys]).astype(np.uint8)
    means = np.array([mean([maps[row] for row in some], (GRID, GRID)) for some in rows])
    return Heatmap(means, grounds, {**facts, **dict(zip(NUMBERS, map(len, rows), strict=True))})


def _write_heatmaps(out: Path, shown: Mapping[str, Heatmap]) -> None:
    """Write `heatmaps/`: the pictures of these reasons side by side, and what they are of; remove outdated ones."""
    facts = {name: {fact: one.facts[fact] for fact in (*NUMBERS, "model", "how")} for name, one in shown.items()}
    files: dict[str, Any] = {HEATMAPS_FILE: json.dumps(facts, indent=1, ensure_ascii=False) + "\n"}
    for name, one in shown.items():
        sheet = Image.fromarray(np.hstack([np.asarray(picture) for _, picture in panels(one)]))
        files[f"{name}.png"] = functools.partial(sheet.save, format="PNG", compress_level=1)
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in prepare_folder(out / HEATMAPS_FOLDER).glob("*.png")]
    save_files(out, {f"{HEATMAPS_FOLDER}/{name}": file for name, file in files.items()}, remove=own_files(out, before))
