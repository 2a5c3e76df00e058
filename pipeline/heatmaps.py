"""Where the network looks, for each reason: its failing images beside right ones of the same classes, by the network.

Few images of each reason are enough, and only what is asked for is computed; what is kept is computed again when the
model or an image has changed.
"""

import functools
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.heatmaps import GRID
from dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX, REQUESTED, SCALING_WORDS, DnnOptions
from dnn.model_process import heatmaps_apart, load_apart
from dnn.predictions import class_folders
from dnn.tested import AnsweredImages
from pipeline.answers import answers_of_run
from pipeline.reporting.evidence.basis import sha256_if_there
from pipeline.reporting.heatmaps import SIDE, Heatmap, heatmaps_in, keep_heatmap, known_by, reasons_by_file, sheet
from rccs.answers import ERROR
from rccs.review.review import Review, load_review
from reasons.comparison import load_reasons
from store.output_folder import own_files, save_files, working
from store.places import absolute
from support.entries import is_within, path_of
from support.errors import SAFEError
from support.files import prepare_folder, read_record
from support.images import thumbnail
from support.progress import Progress, no_progress
from support.run_folder import ACCURACY_FILE
from support.text import printable

HEATMAPS_FOLDER = "heatmaps"
HEATMAPS_FILE = "heatmaps.json"
OF_A_CASE = "model.keras"  # beside the failures of a case study
FACTS = ("n_failing", "n_right", "model", "how")  # in the file
MOST = 20  # failing images of a reason, and as many right ones


def network_at_hand(image_root: Path, within: Path | None = None) -> tuple[Path, DnnOptions] | None:
    """The network whose failures are in a folder, by what was recorded of them, or `model.keras` beside them.

    None if it is not there any more.
    """
    folder, record = image_root.parent, _record_of(image_root)
    file = Path(absolute(str(record.get("model") or OF_A_CASE), folder))
    known = file.suffix.lower() in (*KERAS_SUFFIXES, ONNX_SUFFIX) and file.is_file() and is_within(file, within)
    if not record or not known:
        return None
    told = next((text for text in record.get("assumptions", ()) if REQUESTED in text), "")
    return file, DnnOptions(next((name for name, words in SCALING_WORDS.items() if words in told), None))


def _record_of(image_root: Path) -> dict[str, Any]:
    return read_record(image_root.parent / ACCURACY_FILE, errors="surrogateescape")


class _Asked(NamedTuple):
    """The images of a reason to look at, as rows of the test set, and what their heatmap rests on."""

    failing: list[int]
    right: list[int]
    key: str


def look(
    out: Path,
    reasons: Collection[str] = (),
    *,
    model: str | os.PathLike | None = None,
    options: DnnOptions | None = None,
    within: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Heatmap]:
    """Compute where the network looks, keep it, and write `heatmaps/`.

    Parameters
    ----------
    reasons : collection of str
        Names of files of RCCs and weak spots (see `pipeline.reporting.heatmaps.reasons_by_file`); by default all.
    model, options
        As for `dnn.failures.find_failures`; by default what `network_at_hand` gives.
    within : path, optional
        Images and models are only read inside this folder.

    Returns
    -------
    dict of str to Heatmap
        By these names.

    Raises
    ------
    SAFEError
        There is no such reason, the network is not at hand or gives no heatmaps, or its answers are not known.
    """
    with working(out, "looking"):
        review = load_review(out)
        root = review.original.image_root
        network = (model, options or DnnOptions()) if model else network_at_hand(root, within)
        tested = answers_of_run(out, review.original, within)
        if network is None or tested is None:
            missing = "its answers to its test set are not known" if network else "give the file of the model"
            raise SAFEError(f"Expected the network and its answers, to see where it looks. Received one: {missing}.")
        listed = reasons_by_file(review, load_reasons(out, review.original))
        if unknown := sorted({*reasons} - {*listed}):
            raise SAFEError(f"Expected reasons among {', '.join(listed) or 'none'}. Received: {', '.join(unknown)}.")
        digest = sha256_if_there(path_of(network[0], "a Keras or ONNX model"))
        wanted = [name for name in listed if not reasons or name in reasons]
        asked = {known_by(listed[name][1]): _asked(tested, root, listed[name][1], digest) for name in wanted}
        known = {images: heatmap.facts["key"] for images, heatmap in heatmaps_in(out, review.run).items()}
        lacking = {images: one for images, one in asked.items() if known.get(images) != one.key}
        for heatmap in _computed(network, tested, lacking, root, progress) if lacking else ():
            keep_heatmap(out, review.run, heatmap)
        shown = write_heatmaps(out, review)
        return {name: shown[name] for name in wanted}


def _asked(tested: AnsweredImages, image_root: Path, paths: Sequence[str], model: str) -> _Asked:
    """Which images of a reason to look at: evenly spread, and for each a right one of the same class."""
    rows = tested.rows_of(image_root, paths)
    failing = _spread(rows[(rows >= 0) & ~tested.right[rows]], MOST)
    label, right = tested.answers.label, np.flatnonzero(tested.right)
    if tested.answers.kind == ERROR:
        others = _spread(right, len(failing))
    else:
        classes, counts = np.unique(label[failing], return_counts=True)
        of_classes = zip(classes, counts.tolist(), strict=True)
        others = [row for name, n in of_classes for row in _spread(right[label[right] == name], n)]
    files = [sha256_if_there(tested.root / tested.paths[row]) for row in (*failing, *others)]
    return _Asked(failing, others, known_by([model, *files]))


def _spread(rows: np.ndarray, n: int) -> list[int]:
    """At most n of them, evenly spread."""
    places = np.linspace(0, len(rows) - 1, min(n, len(rows))).round().astype(int)
    return rows[places].tolist()


def _computed(
    network: tuple[Any, DnnOptions], tested: AnsweredImages, asked: Mapping[str, _Asked], root: Path, progress: Progress
) -> list[Heatmap]:
    """The heatmaps of reasons, by what they are known by."""
    regression = tested.answers.kind == ERROR
    dnn = load_apart(*network, task="regression" if regression else None, progress=progress)
    rows = sorted({row for one in asked.values() for row in (*one.failing, *one.right)})
    classes = tuple(_record_of(root).get("classes") or ()) or class_folders(tested.root)
    labels = [str(tested.answers.label[row]) for row in rows]
    if unknown := [label for label in labels if not (label if regression else label in classes)]:
        raise SAFEError(
            f"Expected the true {'numbers' if regression else 'class'} of each image as the model has them. Received: "
            f"{printable(unknown[0]) or 'none'}. Is it the model of this analysis?"
        )
    truth = [[*map(float, label.split())] if regression else classes.index(label) for label in labels]
    found = heatmaps_apart(dnn, tested.root, [tested.paths[row] for row in rows], truth, progress=progress)
    maps = {rows[index]: one for index, one in zip(found.indices.tolist(), found.maps, strict=True)}
    facts = {"model": printable(dnn.path.name), "how": found.how, "regression": regression}
    return [_mean(one, maps, tested, {**facts, "images": images, "key": one.key}) for images, one in asked.items()]


def _mean(one: _Asked, maps: Mapping[int, np.ndarray], tested: AnsweredImages, facts: Mapping[str, Any]) -> Heatmap:
    """The heatmap of a reason, from the maps of its images, by row."""
    failing, right = ([row for row in rows if row in maps] for rows in (one.failing, one.right))
    pictures = [[thumbnail(tested.root / tested.paths[row], SIDE) for row in rows] for rows in (failing, right)]
    size = pictures[0][0].size if failing else (SIDE, SIDE)

    def mean(arrays: list[Any], shape: Sequence[int]) -> np.ndarray:
        return np.mean(arrays or np.zeros((1, *shape)), axis=0)

    greys = [[np.asarray(picture.convert("L").resize(size)) for picture in some] for some in pictures]
    grounds = np.array([mean(some, size[::-1]) for some in greys]).astype(np.uint8)
    of_failing, of_right = (mean([maps[row] for row in rows], (GRID, GRID)) for rows in (failing, right))
    numbers = {"n_failing": len(failing), "n_right": len(right)}
    return Heatmap(of_failing, of_right, grounds, {**facts, **numbers})


def write_heatmaps(out: Path, review: Review) -> dict[str, Heatmap]:
    """Write `heatmaps/`: pictures of all reasons whose heatmaps are kept, and what they are of; remove outdated ones.

    Returns
    -------
    dict of str to Heatmap
        By the names of the reasons' files.
    """
    known, files = heatmaps_in(out, review.run), dict[str, Any]()
    listed = reasons_by_file(review, load_reasons(out, review.original))
    images = {name: known_by(paths) for name, (_, paths) in listed.items()}
    shown = {name: known[images[name]] for name in images if images[name] in known}
    for name, heatmap in shown.items():
        files[f"{HEATMAPS_FOLDER}/{name}.png"] = functools.partial(sheet(heatmap).save, format="PNG")
    facts = {name: {fact: heatmap.facts[fact] for fact in FACTS} for name, heatmap in shown.items()}
    folder = prepare_folder(out / HEATMAPS_FOLDER)
    before = [f"{HEATMAPS_FOLDER}/{path.name}" for path in folder.glob("*.png")]
    files[f"{HEATMAPS_FOLDER}/{HEATMAPS_FILE}"] = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
    save_files(out, files, remove=own_files(out, before))
    return shown
