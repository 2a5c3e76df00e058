"""A detector's test set and results: files of COCO or of YOLO in; out, what it finds, what it misses, and why.

COCO: two JSON files. The ground truth has the lists `images`, `annotations` and `categories`, the results are a list of
`image_id`, `category_id`, `bbox` and `score` (https://cocodataset.org/#format-data). A result may name its image by the
number, or by the name or the stem of the file. If it has a `file_name`, as Ultralytics writes it, this counts: its
`image_id` of `0007.png` is 7, whatever the number in the ground truth. Unusable results are left out and noted; what
contradicts the format is an error.

YOLO: text files, read as if they were in COCO's format. For each image there may be a file of its name that ends in
`.txt`, with a line for each box: the number of the class, the box's middle, width and height as shares of the image's,
and in results the score (https://docs.ultralytics.com/datasets/detect/). Names of classes are the lines of
`classes.txt`, if there is one.

Boxes are matched as by the evaluation of COCO (pycocotools; Lin et al., ECCV 2014). Failures have the types of TIDE
(Bolya et al., "TIDE: A general toolbox for identifying object detection errors", ECCV 2020, doi
10.1007/978-3-030-58580-8_33):

| type | |
|---|---|
| class | on an object of another class |
| localisation | of the right class, but not enough on the object |
| both | of another class, and not enough on the object |
| duplicate | on an object that a detection with a higher score has found |
| background | on no object |
| missed | an object that no detection is about; those of the first two types are about one |
"""

import dataclasses
import json
import math
import os
import re
from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np

from safe_dnn.rccs.answers import MISSED, NO_CLASS
from safe_dnn.support.errors import SAFEError, StrPath, number_of, path_of, quoted
from safe_dnn.support.files import DAMAGED, read_text, regular
from safe_dnn.support.images import ImageListing, find_images, size_of
from safe_dnn.support.text import count, printable

if TYPE_CHECKING:
    from pandas import DataFrame

FORMAT = "https://cocodataset.org/#format-data"
Rows: TypeAlias = Mapping[Hashable, int]
"""The row of each image or category, by what names it."""
CLASSES_FILE = "classes.txt"
MOST_CLASSES = 10_000
SIDES = ["left", "top", "width", "height"]
COLUMNS = {"image": int, "category": int, "number": int, **dict.fromkeys(SIDES, float), "score": float, "crowd": bool}
"""Of a table of boxes in the order of their file: rows of `DetectorTest.images` and `DetectorTest.classes`; the place
in the file from 0; the box in pixels as in the file, with a positive width and height; the score from 0 to 1, NaN for
an object of the ground truth; and whether it is a region with many objects, in which detections are neither right nor
wrong."""
FOUND = "found"
CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND = "class", "localisation", "both", "duplicate", "background"
TYPES = (MISSED, CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND)
LEAST_IOU = 0.1  # TIDE's threshold of the background
NONE = -1


@dataclass(frozen=True)
class DetectorTest:
    """Objects in images, and what a detector found.

    Attributes
    ----------
    classes : tuple of str
        No two are the same, and none is one of `NO_CLASS`.
    images : tuple of str
        Names of files.
    sizes : list of (int, int)
        Width and height in pixels according to the ground truth; 0 if unknown.
    objects, detections : DataFrame
        With `COLUMNS`.
    least_score : float
        Detections with a lower score were left out.
    notes : tuple of str
        Sentences on what was left out.
    """

    classes: tuple[str, ...]
    images: tuple[str, ...]
    sizes: list[tuple[int, int]]
    objects: "DataFrame"
    detections: "DataFrame"
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
    """The score from which detections count, as a number; a SAFEError if it is not from 0 to 1."""
    number = number_of(score, "score")
    if not 0 <= number <= 1:
        raise SAFEError(f"score must be between 0 and 1. Received: {score}")
    return number


def detector_test(record: Any, listed: Any, truth: Path, results: Path, *, score: float) -> DetectorTest:
    """The test of a detector from the content of the two files (parameters and errors as in `read_coco`)."""
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
    detections, further_notes = _boxes(listed, by_name, category_rows, results, "detection", scored=True)
    if objects.empty and detections.empty:
        raise SAFEError(f"Expected objects or detections. Received none in {truth} and {results}.")
    detections = detections[detections.score >= score].reset_index(drop=True)
    sizes = [(_side(image.get("width")), _side(image.get("height"))) for image in images]
    classes = _class_names(categories, truth)
    return DetectorTest(classes, tuple(names), sizes, objects, detections, score, (*notes, *further_notes))


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
    row_of: dict[Hashable, int] = {}
    paths = [PurePosixPath(name.replace("\\", "/")) for name in names]
    ways = ((path.stem, path.name, (path.parent / path.stem).as_posix(), path.as_posix()) for path in paths)
    for texts in zip(*ways, strict=True):
        often = Counter(texts)
        row_of |= {text: row for row, text in enumerate(texts) if often[text] == 1}
    return row_of | {str(own): row for own, row in rows.items()}


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
) -> tuple["DataFrame", list[str]]:
    """The boxes that can be used, and sentences on the others.

    Raises
    ------
    SAFEError
        An entry is not in the format, or none belongs to the images and categories.
    """
    import pandas

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
            rows.append((image, category, number, *box, score, not scored and entry.get("iscrowd") == 1))
    notes = [
        f"Left out: {count(len(those), noun)} {why}, the first {those[0]}, in {path.name}."
        for why, those in left_out.items()
    ]
    if entries and not rows and "without width or height" not in left_out:
        raise SAFEError(
            f"Expected {noun}s of images and categories of the ground truth. Received none in {path}. "
            f"{' '.join(notes)} Are both files about the same images, and do they count categories alike?"
        )
    return pandas.DataFrame(rows, columns=[*COLUMNS]).astype(COLUMNS), notes


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
    # Limits as for an image: beyond them, areas would not be exact.
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


def read_yolo(labels: StrPath, results: StrPath, images: StrPath, *, score: float | str = 0.5) -> DetectorTest:
    """Read labels and results of the images in a folder; an image without a file has no boxes.

    Parameters
    ----------
    labels, results : path
        Folders of text files, with the subfolders of the images. The results have scores (Ultralytics' `save_conf`).
    score : float
        As for `dnn.detection.detections.read_coco`.

    Raises
    ------
    SAFEError
        A folder is missing or has no file for any image, or a line is invalid.
    """
    least = least_score(score)
    folders = path_of(labels, "a folder of labels"), path_of(results, "a folder of results")
    listing = find_images(images)
    names = _names_in(folders[0])
    of_images, notes = [], list[str]()
    lines_of = [_all_lines(folder, listing, n, notes) for folder, n in zip(folders, (5, 6), strict=True)]
    boxes: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row, (path, *both) in enumerate(zip(listing.paths, *lines_of, strict=True)):
        # Unreadable images are noted when their crops are cut.
        width, height = (size_of(listing.root / path) or (1, 1)) if any(both) else (0, 0)
        of_images.append({"id": row, "file_name": path, "width": width, "height": height})
        for kind, lines in zip(boxes, both, strict=True):
            kind.extend(_entry(row, line, width, height) for line in lines)
    n_classes = max([len(names), *(1 + entry["category_id"] for kind in boxes for entry in kind)])
    names += [f"class {number}" for number in range(len(names), n_classes)]
    record = {
        "images": of_images,
        "annotations": boxes[0],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names)],
    }
    test = detector_test(record, boxes[1], *folders, score=least)
    return dataclasses.replace(test, notes=(*notes, *test.notes))


def _all_lines(folder: Path, listing: ImageListing, n_numbers: int, notes: list[str]) -> list[list[list[float]]]:
    """The lines of each image's file, and a note on files of no image."""
    there = {Path(place, name) for place, _, names in os.walk(folder, onerror=_refuse) for name in names}
    files = [folder / PurePosixPath(path).with_suffix(".txt") for path in listing.paths]
    if not any(file.is_file() for file in files):
        raise SAFEError(
            f"Expected a folder with a text file of YOLO for images in {listing.root}, such as {files[0].name}. "
            f"Received none: {folder}"
        )
    if strangers := sorted({path for path in there if path.suffix == ".txt"} - {*files, folder / CLASSES_FILE}):
        notes.append(f"Left out: {count(len(strangers), 'file')} of no image, the first {strangers[0]}.")
    return [_lines(file, n_numbers) if os.path.lexists(file) else [] for file in files]


def _refuse(error: OSError) -> None:
    if isinstance(error, PermissionError):  # or its images would count as without any object
        raise SAFEError(
            f"Expected a folder that can be read. Received: {error.filename} ({error.strerror})."
        ) from error


def _names_in(folder: Path) -> list[str]:
    """The names in `classes.txt` in a folder or beside it; none if there is no such file."""
    for path in (folder / CLASSES_FILE, folder.parent / CLASSES_FILE):
        if os.path.lexists(path):
            return [line.strip() for line in read_text(path).strip().splitlines()]
    return []


def _lines(path: Path, n_numbers: int) -> list[list[float]]:
    """The numbers in each line of a file that is not empty."""
    found = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        words = line.split()
        if not words:
            continue
        try:
            numbers = [float(word) for word in words]
        except ValueError:
            numbers = []
        shares = all(0 <= one <= 1 for one in numbers[1:])
        if len(numbers) != n_numbers or numbers[0] not in range(MOST_CLASSES) or not shares:
            what = "class, middle, width and height from 0 to 1" + (" and score" if n_numbers == 6 else "")
            raise SAFEError(
                f"Expected {n_numbers} numbers: {what}. Received in {path}, line {number}: {quoted(printable(line))}"
            )
        found.append(numbers)
    return found


def _entry(image: int, line: list[float], width: int, height: int) -> dict[str, Any]:
    """A box in COCO's format."""
    number, x, y, w, h = line[:5]
    box = [(x - w / 2) * width, (y - h / 2) * height, w * width, h * height]
    entry = {"image_id": image, "category_id": int(number), "bbox": box}
    return entry | ({"score": line[5]} if len(line) > 5 else {})


# --- Right and wrong --------------------------------------------------------------------------------------------


class Case(NamedTuple):
    """What is right or wrong: an object, or a false detection that is not about a missed one.

    A missed object and the first false detection that is about it, of the wrong class or in the wrong place, are one
    case: they are one error.

    Attributes
    ----------
    object, detection : int
        Rows; `NONE` for a false detection that is a case of its own, and for an object that nothing was found of.
    about : int
        The object that a false detection overlaps; otherwise `NONE`.
    type : str
        `FOUND`, or one of `TYPES`.
    """

    object: int
    detection: int
    about: int
    type: str


def checked_iou(iou: float | str) -> float:
    """The least overlap as a number.

    Raises
    ------
    SAFEError
        It is not a number above that of the background, up to 1.
    """
    number = number_of(iou, "iou")
    if not LEAST_IOU < number <= 1:
        raise SAFEError(f"iou must be above {LEAST_IOU} and at most 1. Received: {iou}")
    return number


def cases_of(test: DetectorTest, *, iou: float = 0.5) -> list[Case]:
    """The objects and then the false detections, with their types; detections in crowds are of none.

    As in the evaluation of COCO, detections come in the order of their scores, and each takes the object of its class
    with which it overlaps most, if that is still free.

    Parameters
    ----------
    iou : float
        Least intersection over union of a detection and the object that it finds.
    """
    objects, detections = test.objects, test.detections
    cases = {row: Case(row, NONE, NONE, MISSED) for row in np.flatnonzero(~objects.crowd).tolist()}
    alone: list[Case] = []
    at_objects = objects.groupby("image").indices
    for image, rows in detections.groupby("image").indices.items():
        rows = rows[np.argsort(-detections.score.to_numpy()[rows], kind="stable")]
        here = at_objects.get(image, rows[:0])
        crowd = objects.crowd.to_numpy()[here]
        overlaps = _overlaps(detections[SIDES].to_numpy()[rows], objects[SIDES].to_numpy()[here], crowd)
        alike = detections.category.to_numpy()[rows][:, None] == objects.category.to_numpy()[here]
        free, false = ~crowd, []
        for row, overlap, same in zip(rows.tolist(), overlaps, alike, strict=True):
            enough = same & (overlap >= min(iou, 1 - 1e-10))  # as the library rounds
            if (enough & free).any():
                place = len(here) - 1 - int(np.where(enough & free, overlap, 0)[::-1].argmax())  # the last, as there
                free[place] = False
                cases[int(here[place])] = Case(int(here[place]), row, NONE, FOUND)
            elif not (enough & crowd).any():
                false.append((row, overlap[~crowd], same[~crowd]))
        for row, overlap, same in false:
            kind, place = _false_type(overlap, same, iou)
            about = NONE if place == NONE else int(here[~crowd][place])
            if kind in (CLASS, LOCALISATION) and cases[about].detection == NONE:
                cases[about] = Case(about, row, NONE, kind)
            else:
                alone.append(Case(NONE, row, about, kind))
    return [*cases.values(), *sorted(alone)]


def _overlaps(first: np.ndarray, second: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes, shape (n_first, n_second); with a crowd, over the first one's area."""
    starts, ends = ([box[..., :2] + end * box[..., 2:] for box in (first[:, None], second)] for end in (0, 1))
    shared = (np.minimum(*ends) - np.maximum(*starts)).clip(0).prod(axis=-1)
    areas, others = first[:, None, 2:].prod(axis=-1), second[:, 2:].prod(axis=-1)
    return shared / np.where(crowd, areas, areas + others - shared)


def _false_type(overlap: np.ndarray, same: np.ndarray, iou: float) -> tuple[str, int]:
    """The type of a false detection, and which of the image's objects it is about, `NONE` for the background.

    As in TIDE's `quantify.py`, in its order; an overlap of exactly `iou` with an object that another detection has
    found is a duplicate.
    """
    if not len(overlap):
        return BACKGROUND, NONE
    right, wrong = np.where(same, overlap, 0), np.where(same, 0, overlap)
    if LEAST_IOU <= right.max() < iou:
        return LOCALISATION, int(right.argmax())
    if wrong.max() >= iou:
        return CLASS, int(wrong.argmax())
    if right.max() >= iou:
        return DUPLICATE, int(right.argmax())
    if wrong.max() <= LEAST_IOU:
        return BACKGROUND, NONE
    return BOTH, int(wrong.argmax())
