"""Where the network looks, for each reason: its failing images beside right ones of the same classes, by the network.

Few images of each reason are enough, and only what is asked for is computed; what is kept is computed again when the
model or an image has changed.
"""

import functools
import itertools
import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.heatmaps import GRID
from dnn.model import AS_IN_THE_FILE, DnnOptions
from dnn.model_process import heatmaps_apart
from dnn.tested import AnsweredImages
from pipeline.asking import Asking, asking
from pipeline.reporting.evidence.basis import sha256_if_there
from pipeline.reporting.heatmaps import NUMBERS, SIDE, Heatmap, heatmaps_of, keep_heatmap, known_by, sheet
from reasons.listed import Reason
from store.output_folder import own_files, save_files, working
from support.entries import StrPath
from support.errors import SAFEError
from support.files import prepare_folder
from support.images import thumbnail
from support.progress import Progress, no_progress
from support.text import printable

LARGE = 720  # pixels of the longer side of the picture of a single image
HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
FACTS = (*NUMBERS, "model", "how")  # in the file
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
        By the names of the reasons' files.

    Raises
    ------
    SAFEError
        As of `asking`, or the network gives no heatmaps.
    """
    with working(out, "looking"):
        asked = asking(out, names, model=model, options=options, within=within)
        run, digest = asked.review.run, sha256_if_there(asked.model)
        reasons = {known_by(one.images): one for one in asked.reasons if one.images}
        wanted = {images: _wanted(asked, one, digest) for images, one in reasons.items()}
        known = heatmaps_of(out, run, {images: one.images for images, one in reasons.items()})
        for images in known:
            if known[images].facts["key"] == wanted[images].key:
                del wanted[images]
        for heatmap in _computed(asked, wanted, progress) if wanted else ():
            keep_heatmap(out, run, heatmap)
        shown = heatmaps_of(out, run, {one.file: one.images for one in asked.listed})
        _write_heatmaps(out, shown)
        return {one.file: shown[one.file] for one in asked.reasons if one.images}


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
    rows = asked.failing(Reason("", "", images=images)).tolist()
    image_of = dict(zip(asked.tested.rows_of(asked.review.clusters.image_root, images).tolist(), images, strict=True))
    wanted = {image_of[row]: _Wanted(([row], [], []), "") for row in rows}
    computed = _computed(asked, wanted, progress, LARGE) if wanted else []
    found = {one.facts["images"]: one for one in computed if one.facts["n_failing"]}
    if images[0] not in found:
        raise SAFEError(
            f"Expected an image of the test set that can be read. Received: {printable(images[0])}. Choose another one."
        )
    return found


def _wanted(asked: Asking, reason: Reason, model: str) -> _Wanted:
    """Which images of a reason to look at: evenly spread, and for each right ones of its class and its answer."""
    tested, failing = asked.tested, _spread(asked.failing(reason), MOST)
    label, predicted, rows = tested.answers.label, tested.answers.predicted, np.flatnonzero(tested.right)

    def right_of(names: np.ndarray) -> list[int]:
        counts = sorted(Counter(names.tolist()).items())
        return [row for name, n in counts for row in _spread(rows[label[rows] == name], n)]

    if asked.regression:
        right, taken = _spread(rows, len(failing)), list[int]()
    else:
        right, taken = right_of(label[failing]), right_of(predicted[failing])
    files = [sha256_if_there(tested.root / tested.paths[row]) for row in (*failing, *right, *taken)]
    return _Wanted((failing, right, taken), known_by([model, *files]))


def _spread(rows: np.ndarray, n: int) -> list[int]:
    """At most n of them, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)
    return rows[places].tolist()


def _computed(
    asked: Asking, wanted: Mapping[str, _Wanted], progress: Progress, side: int = SIDE
) -> list[Heatmap]:  # fmt: skip
    """The heatmaps of reasons, by what they are known by, on pictures of this size."""
    dnn, tested = asked.load(progress), asked.tested
    rows = sorted({row for one in wanted.values() for row in itertools.chain(*one.rows)})
    paths = [tested.paths[row] for row in rows]
    found = heatmaps_apart(dnn, tested.root, paths, asked.truth(rows), progress=progress)
    maps = {rows[index]: one for index, one in zip(found.indices.tolist(), found.maps, strict=True)}
    facts = {"model": printable(dnn.path.name), "how": found.how, "regression": asked.regression}
    return [
        _mean(one, maps, tested, {**facts, "images": images, "key": one.key}, side) for images, one in wanted.items()
    ]


def _mean(
    one: _Wanted, maps: Mapping[int, np.ndarray], tested: AnsweredImages, facts: Mapping[str, Any], side: int
) -> Heatmap:
    """The heatmap of a reason, from the maps of its images, by row."""
    rows = [[row for row in some if row in maps] for some in one.rows]
    pictures = [[thumbnail(tested.root / tested.paths[row], side) for row in some] for some in rows]
    size = next((picture.size for some in pictures for picture in some), (side, side))
    greys = [[np.asarray(picture.convert("L").resize(size)) for picture in some] for some in pictures]

    def mean(arrays: list[Any], shape: Sequence[int]) -> np.ndarray:
        return np.mean(arrays or np.zeros((1, *shape)), axis=0)

    grounds = np.array([mean(some, size[::-1]) for some in greys]).astype(np.uint8)
    means = np.array([mean([maps[row] for row in some], (GRID, GRID)) for some in rows])
    return Heatmap(means, grounds, {**facts, **dict(zip(NUMBERS, map(len, rows), strict=True))})


def _write_heatmaps(out: Path, shown: Mapping[str, Heatmap]) -> None:
    """Write `heatmaps/`: pictures of these reasons, and what they are of; remove outdated ones."""
    facts = {name: {fact: one.facts[fact] for fact in FACTS} for name, one in shown.items()}
    files: dict[str, Any] = {
        f"{HEATMAPS_FOLDER}/{name}.png": functools.partial(sheet(one).save, format="PNG") for name, one in shown.items()
    }
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in prepare_folder(out / HEATMAPS_FOLDER).glob("*.png")]
    files[f"{HEATMAPS_FOLDER}/{HEATMAPS_FILE}"] = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    save_files(out, files, remove=own_files(out, before))
