"""A detector's test set and results in the format of COCO: two JSON files in, boxes as arrays out.

The ground truth has the lists `images`, `annotations` and `categories`, the results are a list of `image_id`,
`category_id`, `bbox` and `score` (https://cocodataset.org/#format-data). A result may name its image by the number, or
by the name or the stem of the file. If it has a `file_name`, as Ultralytics writes it, this counts: its `image_id` of
`0007.png` is 7, whatever the number in the ground truth. What cannot be used is left out and told, as the library that
matches boxes would leave it out (see `detections.py`); what contradicts the format is an error.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from safe_dnn.rccs.answers import NO_CLASS
from safe_dnn.support.entries import StrPath, number_of, path_of, quoted
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED, regular
from safe_dnn.support.text import count, printable

FORMAT = "https://cocodataset.org/#format-data"
Rows: TypeAlias = Mapping[Hashable, int]
"""The row of each image or category, by what names it."""


class Boxes(NamedTuple):
    """Boxes in the order of their file.

    Attributes
    ----------
    image, category : ndarray of shape (n_boxes,), int64
        Rows of `DetectorTest.images` and `DetectorTest.classes`.
    number : ndarray of shape (n_boxes,), int64
        The place of each in the file, from 0.
    box : ndarray of shape (n_boxes, 4), float64
        Left, top, width and height in pixels, as in the file; width and height are positive.
    score : ndarray of shape (n_boxes,), float64
        From 0 to 1; NaN for an object of the ground truth.
    crowd : ndarray of shape (n_boxes,), bool
        Whether it is a region with many objects, in which detections are neither right nor wrong.
    """

    image: np.ndarray
    category: np.ndarray
    number: np.ndarray
    box: np.ndarray
    score: np.ndarray
    crowd: np.ndarray


@dataclass(frozen=True)
class DetectorTest:
    """Objects in images, and what a detector found.

    Attributes
    ----------
    classes : tuple of str
        No two are the same, and none is one of `NO_CLASS`.
    images : tuple of str
        Names of files.
    sizes : ndarray of shape (n_images, 2), int64
        Width and height in pixels according to the ground truth; 0 if unknown.
    objects, detections : Boxes
    least_score : float
        Detections with a lower score were left out.
    notes : tuple of str
        Sentences on what was left out.
    """

    classes: tuple[str, ...]
    images: tuple[str, ...]
    sizes: np.ndarray
    objects: Boxes
    detections: Boxes
    least_score: float
    notes: tuple[str, ...] = ()


def read_coco(truth: StrPath, results: StrPath, *, score: float | str = 0.5, labelled: bool = True) -> DetectorTest:
    """Read ground truth and results.

    Parameters
    ----------
    labelled : bool
        If not, only `images` and `categories` of the ground truth are read.
    score : float
        Detections with a lower score are left out.

    Raises
    ------
    SAFEError
        A file cannot be read or is not in the format, or nothing in it belongs to the images and categories.
    """
    least = least_score(score)
    truth, results = path_of(truth, "a ground truth as a JSON file"), path_of(results, "a JSON file of results")
    record = _read(truth, "a ground truth in COCO's format")
    if not labelled and isinstance(record, dict):
        record["annotations"] = []
    return detector_test(record, _read(results, "a list of results in COCO's format"), truth, results, score=least)


def least_score(score: float | str) -> float:
    """The score from which detections count, as a number; a SAFEError if it is none from 0 to 1."""
    number = number_of(score, "score")
    if not 0 <= number <= 1:
        raise SAFEError(f"score must be between 0 and 1. Received: {score}")
    return number


def detector_test(record: Any, listed: Any, truth: Path, results: Path, *, score: float) -> DetectorTest:
    """The test of a detector from the content of the two files (parameters and errors as of `read_coco`)."""
    images, annotations, categories = (_list_of(record, key, truth) for key in ("images", "annotations", "categories"))
    names = [_text(image, "file_name", truth) for image in images]
    image_rows = _rows([image.get("id") for image in images], truth, "images")
    category_rows = _rows([category.get("id") for category in categories], truth, "categories")
    if not isinstance(listed, list):
        raise SAFEError(
            f"Expected a list of results with image_id, category_id, bbox and score ({FORMAT}). Received: {results}, "
            "which is no list. Is it the ground truth?"
        )
    objects, notes = _boxes(annotations, image_rows, category_rows, truth, "object", scored=False)
    by_name = {**_by_name(image_rows, names), **image_rows}
    detections, more = _boxes(listed, by_name, category_rows, results, "detection", scored=True)
    if not len(objects.image) and not len(detections.image):
        raise SAFEError(f"Expected objects or detections. Received none in {truth} and {results}.")
    detections = Boxes(*(column[detections.score >= score] for column in detections))
    sizes = np.array([[_side(image.get(key)) for key in ("width", "height")] for image in images], np.int64)
    sizes = sizes.reshape(-1, 2)
    classes = _class_names(categories, truth)
    return DetectorTest(classes, tuple(names), sizes, objects, detections, score, (*notes, *more))


def _read(path: Path, what: str) -> Any:
    try:
        return json.loads(regular(path).read_bytes())
    except DAMAGED as error:
        reason = getattr(error, "strerror", None) or quoted(str(error))
        raise SAFEError(f"Expected {what}, as JSON. Received: {path} ({reason}).") from error


def _list_of(record: Any, name: str, path: Path) -> list[dict]:
    entries = record.get(name) if isinstance(record, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise SAFEError(
            f"Expected the ground truth as an object with the lists images, annotations and categories ({FORMAT}). "
            f"Received {path} without a list of {name}. Is it the file of results?"
        )
    return entries


def _text(entry: dict, key: str, path: Path) -> str:
    text = entry.get(key)
    if not isinstance(text, str) or not text.strip() or re.search("[\0\ud800-\udfff]", text):
        raise SAFEError(f"Expected a text as {key}. Received in {path}: {quoted(printable(repr(entry)))}.")
    return text


def _rows(ids: Sequence[Any], path: Path, what: str) -> dict[Hashable, int]:
    """The row of each id."""
    rows: dict[Hashable, int] = {}
    for row, own in enumerate(ids):
        if not isinstance(own, (int, float, str)) or own in rows:
            raise SAFEError(f"Expected {what} with an id each, a different one. Received {own!r} in {path}.")
        rows[own] = row
    return rows


def _by_name(rows: Rows, names: Sequence[str]) -> dict[Hashable, int]:
    """The row of each image by other names: its id as a text, its path, file name and stem, if no two are the same."""
    found: dict[Hashable, int] = {}
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    ways = ((path.stem, path.name, (path.parent / path.stem).as_posix(), path.as_posix()) for path in paths)
    for texts in zip(*ways, strict=True):
        often = Counter(texts)
        found |= {text: row for row, text in enumerate(texts) if often[text] == 1}
    return found | {str(own): row for own, row in rows.items()}


def _class_names(categories: Sequence[dict], path: Path) -> tuple[str, ...]:
    """The names of the categories, with the id where two are the same or one is a word for no class."""
    names = [_text(category, "name", path).strip() for category in categories]
    often = Counter([*names, *NO_CLASS])
    return tuple(
        name if often[name] == 1 else f"{name} ({category.get('id')})"
        for name, category in zip(names, categories, strict=True)
    )


def _side(value: Any) -> int:
    return value if isinstance(value, int) and 0 < value < 2**31 else 0


def _boxes(
    entries: Sequence[Any], image_rows: Rows, category_rows: Rows, path: Path, noun: str, *, scored: bool
) -> tuple[Boxes, list[str]]:
    """The boxes that can be used, and sentences on the others.

    Raises
    ------
    SAFEError
        An entry is not in the format, or none belongs to the images and categories.
    """
    rows: list[tuple] = []
    left_out: dict[str, list[str]] = {}
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise _fault(path, number, f"a {noun} with image_id, category_id and bbox", entry)
        named = "file_name" if scored and isinstance(entry.get("file_name"), str) else "image_id"
        image, category = _row(image_rows, entry, named), _row(category_rows, entry, "category_id")
        if image is None or category is None:
            key, why = (named, "image") if image is None else ("category_id", "category")
            left_out.setdefault(f"of an unknown {why}", []).append(printable(quoted(repr(entry.get(key)))))
            continue
        box = _box(path, number, entry)
        score = _score(path, number, entry) if scored else math.nan
        if min(box[2:]) <= 0:
            left_out.setdefault("without width or height", []).append(f"number {number + 1:,}")
        else:
            rows.append((image, category, number, box, score, not scored and entry.get("iscrowd") == 1))
    notes = [
        f"Left out: {count(len(those), noun)} {why}, the first {those[0]}, in {path.name}."
        for why, those in left_out.items()
    ]
    if entries and not rows and "without width or height" not in left_out:
        raise SAFEError(
            f"Expected {noun}s of images and categories of the ground truth. Received none in {path}. "
            f"{' '.join(notes)} Are both files about the same images, and do they count categories alike?"
        )
    columns = zip(*rows, strict=True) if rows else [()] * len(Boxes._fields)
    kinds = (np.int64, np.int64, np.int64, np.float64, np.float64, bool)
    found = Boxes(*(np.array(column, kind) for column, kind in zip(columns, kinds, strict=True)))
    return found._replace(box=found.box.reshape(-1, 4)), notes


def _row(rows: Rows, entry: dict, key: str) -> int | None:
    own = entry.get(key)
    return rows.get(own) if isinstance(own, (int, float, str)) else None


def _box(path: Path, number: int, entry: dict) -> list[float]:
    box: Any = entry.get("bbox")
    if box is None and "segmentation" in entry:
        raise SAFEError(
            f"Expected boxes (bbox). Received a segmentation without one in {path}, number {number + 1:,}. Compute "
            "the boxes, for example with pycocotools.mask.toBbox."
        )
    # Limits as of an image: beyond them, areas would not be exact.
    sides: list[Any] = box if isinstance(box, list) and len(box) == 4 else [None]
    if not all(type(side) in (int, float) and abs(side) < 2**31 for side in sides):
        raise _fault(path, number, "a bbox of four numbers: left, top, width and height in pixels", box)
    return box


def _score(path: Path, number: int, entry: dict) -> float:
    score: Any = entry.get("score")
    if type(score) not in (int, float) or not 0 <= score <= 1:
        raise _fault(path, number, "a score from 0 to 1", score)
    return score


def _fault(path: Path, number: int, expected: str, received: Any) -> SAFEError:
    return SAFEError(
        f"Expected {expected}. Received {printable(quoted(repr(received)))} in {path}, number {number + 1:,}. Correct "
        "the file."
    )
