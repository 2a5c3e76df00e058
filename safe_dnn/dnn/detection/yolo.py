"""A detector's test set and results as the text files of YOLO, read as if they were in COCO's format (see `coco.py`).

For each image there may be a file of its name that ends in `.txt`, with a line for each box: the number of the class,
the box's middle, width and height as shares of the image's, and in results the score
(https://docs.ultralytics.com/datasets/detect/). Names of classes are the lines of `classes.txt`, if there is one.
"""

import dataclasses
import os
from pathlib import Path, PurePosixPath
from typing import Any

from safe_dnn.dnn.detection.coco import DetectorTest, detector_test, least_score
from safe_dnn.support.entries import StrPath, path_of, quoted
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import read_text
from safe_dnn.support.images import ImageListing, find_images, size_of
from safe_dnn.support.text import count, printable

CLASSES_FILE = "classes.txt"
MOST_CLASSES = 10_000


def read_yolo(labels: StrPath, results: StrPath, images: StrPath, *, score: float | str = 0.5) -> DetectorTest:
    """Read labels and results of the images in a folder; an image without a file has no boxes.

    Parameters
    ----------
    labels, results : path
        Folders of text files, with the subfolders of the images. The results have scores (Ultralytics' `save_conf`).
    score : float
        As for `dnn.detection.coco.read_coco`.

    Raises
    ------
    SAFEError
        A folder is missing or has no file for any image, or a line is invalid.
    """
    least = least_score(score)
    folders = path_of(labels, "a folder of labels"), path_of(results, "a folder of results")
    listing = find_images(images)
    names = _class_names(folders[0])
    of_images, notes = [], list[str]()
    found = [_all_lines(folder, listing, n, notes) for folder, n in zip(folders, (5, 6), strict=True)]
    boxes: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    for row, (path, *both) in enumerate(zip(listing.paths, *found, strict=True)):
        # What cannot be read is told when it is cut.
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


def _class_names(folder: Path) -> list[str]:
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
