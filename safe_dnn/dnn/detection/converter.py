"""A detector's files as a test set of images: crops, a table of answers and one of parameters.

Ground truth, results and images in; the folder `objects/` out. It has a crop of every object and of every false
detection, in folders by class, with `predictions.csv`, as for a classifier, and `parameters.csv`, with what is known
about each. A crop has some context, and is an image to every later step: it is clustered, shown and compared as the
images of a classifier are.

Likewise the detections in improvement images are cut out, to select from. What is missed has no crop, but is often seen
with a low score, so that lower scores count here than for failures.

A table with several rows for an image, each about a unit of it, becomes a test set with an image for each row. A unit
is what is right or wrong by itself: a class of a multi-label network or of a segmentation, an object, a region;
the column `unit` names it. `objects/` gets the image, if it was given, once more for each row, with `predictions.csv`
and `parameters.csv`, by which images that show the same are of one group. After that, a unit is an image to every step.
"""

import contextlib
import itertools
import os
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from safe_dnn.dnn.detection.detections import (
    CLASS,
    FOUND,
    NONE,
    SIDES,
    TYPES,
    Case,
    DetectorTest,
    cases_of,
    checked_iou,
    read_coco,
    read_yolo,
)
from safe_dnn.dnn.failures import TABLES, checked_folder, collect_failures
from safe_dnn.dnn.group_columns import HoldOut
from safe_dnn.dnn.predictions import counted_once
from safe_dnn.dnn.tested import AnsweredImages, images_named_in, rows_about
from safe_dnn.features.batches import LOADING_THREADS, load_ahead
from safe_dnn.options import AS_IN_THE_FILE, DetectorFiles, DnnOptions
from safe_dnn.rccs.answers import FALSE_DETECTION, LABEL, MISSED, PREDICTED, read_answer_table
from safe_dnn.rccs.parameters import ANSWERS, FULL_IMAGE, PARAMETERS_FILE, find_parameters, read_columns
from safe_dnn.store.places import replacing_images
from safe_dnn.support.errors import Number, SAFEError, StrPath, existing_folder, path_of
from safe_dnn.support.images import (
    BOX_KEY,
    UNREADABLE,
    Skipped,
    box_text,
    copies_in,
    decode,
    find_images,
    read_bytes,
    reason_for,
)
from safe_dnn.support.progress import report_progress
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE, OBJECTS, PREDICTIONS_FILE
from safe_dnn.support.tables import IMAGE, UNIT, Table, table_text, with_point
from safe_dnn.support.text import count, printable

if TYPE_CHECKING:
    from pandas import DataFrame

MARGIN, LEAST_MARGIN = 0.25, 8  # context on each side: a share of the longer side, and pixels
BORDER = 1.0  # pixels: so near to it, a box is cut off by the image's border
LONGEST_NAME, LONGEST_BYTES = 80, 200  # of a folder's or file's name; file systems allow 255 bytes
UNSAFE_IN_NAMES = '<>:"/\\|?*'
PARAMETERS = ("object_px", "object_aspect", "truncated", "in_crowd", "near_by", "type", "confused_with")
"""The columns of `parameters.csv` that are about boxes; the last two are empty for what is right."""
IMAGES = "the folder of the images that the ground truth names"
SEEN = "seen"
OF_TRUTH = ("near_by", "in_crowd", "type", "confused_with")  # parameters that only the ground truth gives


class Crop(NamedTuple):
    """What is cut out for a case.

    Attributes
    ----------
    name : str
        Path of the crop, in the folder of its label. Its box is part of it: two crops of a name show the same.
    image : int
        Row of the image.
    box : ndarray of shape (4,), float64
        Of the object or the false detection.
    label : str
        The class of the object or, of a false detection, the predicted one.
    predicted : str
        A class, `MISSED` or `FALSE_DETECTION`.
    confidence : float
        The score of the detection; NaN if the object is missed.
    case : Case
    """

    name: str
    image: int
    box: np.ndarray
    label: str
    predicted: str
    confidence: float
    case: Case


# --- What is cut out ----------------------------------------------------------------------------------------------


def crops_of(test: DetectorTest, cases: Sequence[Case]) -> list[Crop]:
    """The crop to cut out for each case.

    The label is the class of the object or, without an object, that of the detection. The prediction is the class of
    the detection that has found the object, or that overlaps it but has another class; the object is missed if no box
    overlaps it enough. Any other detection is a false one.
    """
    stems = [_stem(name) for name in test.images]
    folders = _class_folders(test.classes)
    objects, detections = ([*boxes.itertuples()] for boxes in (test.objects, test.detections))
    crops = []
    for case in cases:
        is_object = case.object != NONE
        box, noun = (objects[case.object], "object") if is_object else (detections[case.detection], "detection")
        # A box that is not enough on the object has not found it.
        answer = detections[case.detection] if case.type in (FOUND, CLASS) or not is_object else None
        label, sides = test.classes[box.category], np.array([getattr(box, side) for side in SIDES])
        predicted = FALSE_DETECTION if not is_object else test.classes[answer.category] if answer else MISSED
        place = "_".join(f"{side:.0f}" for side in sides.tolist())
        name = f"{folders[label]}/{stems[box.image]}_{noun}_{box.number}_at_{place}.png"
        crops.append(Crop(name, box.image, sides, label, predicted, answer.score if answer else float("nan"), case))
    return crops


def _stem(name: str) -> str:
    """Where an image's crops lie in the folders of classes: the path of the image without its suffix."""
    path = PurePosixPath(name.replace("\\", "/"))
    return "/".join(plain_name(part) for part in (*path.parent.parts, path.stem) if part not in ("/", ".."))


def plain_name(name: str) -> str:
    """A name that each file system accepts, and that is no formula to a spreadsheet."""
    plain = "".join("_" if c in UNSAFE_IN_NAMES or not c.isprintable() else c for c in name)
    plain = plain[:LONGEST_NAME].encode()[:LONGEST_BYTES].decode(errors="ignore")
    return plain.strip(". ").lstrip("=+-@'") or "_"


def _class_folders(classes: Sequence[str]) -> dict[str, str]:
    """The name of a folder for each class; no two are the same."""
    names: dict[str, str] = {}
    for name in classes:
        plain = plain_name(name)
        taken = {each.casefold() for each in names.values()}
        others = (f"{plain}_{number}" for number in itertools.count(2))
        names[name] = next(free for free in itertools.chain([plain], others) if free.casefold() not in taken)
    return names


def files_of(root: Path, names: Sequence[str]) -> tuple[list[Path | None], list[Skipped]]:
    """The file of each image: where its name says or, without the folders in its name, in the image folder."""
    files: list[Path | None] = []
    missing = []
    for name in names:
        path = Path(os.path.normpath(root / name.replace("\\", "/")))
        tried = [path] if path.is_relative_to(root) else []
        # A name that no file can have is an error to pathlib.
        file = next((each for each in (*tried, root / path.name) if os.path.isfile(each)), None)  # noqa: PTH113
        files.append(file)
        if file is None:
            missing.append(Skipped(name, f"not in {root}"))
    return files, missing


def window_of(box: np.ndarray, size: tuple[int, int]) -> tuple[int, int, int, int] | None:
    """What is cut out for a box, with context: left, top, right and bottom in the image; None if it is outside.

    Parameters
    ----------
    box : ndarray of shape (4,)
        Left, top, width and height; what reaches over the border is cut off.
    size : (int, int)
        Width and height of the image.
    """
    left, top, right, bottom = _ends(box, size)
    if right <= left or bottom <= top:
        return None
    margin = max(LEAST_MARGIN, MARGIN * max(right - left, bottom - top))
    first, second = (max(0, int(np.floor(side - margin))) for side in (left, top))
    third, fourth = (min(int(np.ceil(side + margin)), most) for side, most in zip((right, bottom), size, strict=True))
    return first, second, third, fourth


def _ends(box: np.ndarray, size: tuple[int, int]) -> tuple[float, float, float, float]:
    left, top, width, height = box.tolist()
    right, bottom = min(left + width, size[0]), min(top + height, size[1])
    return max(left, 0.0), max(top, 0.0), right, bottom


def cut_crops(
    test: DetectorTest, crops: Sequence[Crop], files: Sequence[Path | None], folder: Path
) -> Iterator[tuple[dict[str, dict[str, str]], list[Skipped]]]:
    """Cut the crops out of each image; what is known of each, by name, and what could not be read."""
    of_image: dict[int, list[Crop]] = {}
    for crop in crops:
        if files[crop.image] is not None:
            of_image.setdefault(crop.image, []).append(crop)
    objects = dict(list(test.objects.groupby("image")))

    def cut(image: int) -> tuple[dict[str, dict[str, str]], list[Skipped]]:
        return _cut_image(test, of_image[image], files[image], objects.get(image, test.objects[:0]), folder)

    with contextlib.closing(load_ahead([*of_image], cut, LOADING_THREADS)) as ahead:
        for done, result in enumerate(itertools.chain.from_iterable(ahead), start=1):
            report_progress("Cutting out objects", done, len(of_image))
            yield result


def _cut_image(
    test: DetectorTest, crops: Sequence[Crop], file: Path | None, objects: "DataFrame", folder: Path
) -> tuple[dict[str, dict[str, str]], list[Skipped]]:
    """The crops of an image, without those of boxes that lie outside of it."""
    name = test.images[crops[0].image]
    try:
        picture = decode(read_bytes(file or Path(name)))
    except UNREADABLE as error:
        return {}, [Skipped(name, reason_for(error))]
    expected = test.sizes[crops[0].image]
    if all(expected) and picture.size != expected:
        sizes = " × ".join(map(str, picture.size)), " × ".join(map(str, expected))
        return {}, [Skipped(name, f"{sizes[0]} pixels, but {sizes[1]} in the ground truth, so that boxes do not fit")]
    known = {}
    for crop in crops:
        window = window_of(crop.box, picture.size)
        if window is not None:
            _save_crop(picture, crop, window, folder / crop.name)
            known[crop.name] = _measured(test, crop, window, picture.size, objects)
    return known, []


def _save_crop(picture: Image.Image, crop: Crop, window: tuple[int, int, int, int], path: Path) -> None:
    """Write a crop; its box is a note in the file, which is drawn where people look at it, and not in the pixels."""
    left, top, right, bottom = _ends(crop.box, picture.size)
    note = PngInfo()
    note.add_text(BOX_KEY, box_text((left - window[0], top - window[1], right - window[0], bottom - window[1])))
    path.parent.mkdir(parents=True, exist_ok=True)
    # Compressing more takes twice as long and saves a tenth.
    picture.crop(window).save(path, pnginfo=note, compress_level=1)


# --- What is known ------------------------------------------------------------------------------------------------


def _measured(
    test: DetectorTest, crop: Crop, window: tuple[int, int, int, int], size: tuple[int, int], objects: "DataFrame"
) -> dict[str, str]:
    """The parameters of a crop; those of failures alone are empty for others.

    Parameters
    ----------
    objects : DataFrame
        Those in the same image.
    """
    left, top, right, bottom = ends = _ends(crop.box, size)
    beyond = left <= BORDER or top <= BORDER or right >= size[0] - BORDER or bottom >= size[1] - BORDER
    neighbours = objects[~objects.index.isin([crop.case.object, crop.case.about])]
    crowd, boxes = neighbours.crowd.to_numpy(), neighbours[SIDES].to_numpy()
    wrong = crop.case.type != FOUND
    return {
        "object_px": f"{np.sqrt((right - left) * (bottom - top)):.1f}",
        "object_aspect": f"{(right - left) / (bottom - top):.3g}", "truncated": "yes" if beyond else "no",
        "in_crowd": "yes" if _meet(boxes[crowd], ends).any() else "no",
        "near_by": str(int(_meet(boxes[~crowd], window).sum())),
        "type": crop.case.type if wrong else "", "confused_with": _confused_with(test, crop) if wrong else "",
    }  # fmt: skip


def _meet(boxes: np.ndarray, ends: tuple[float, float, float, float]) -> np.ndarray:
    """Which boxes overlap a rectangle."""
    left, top, right, bottom = ends
    across = (boxes[:, 0] < right) & (boxes[:, 0] + boxes[:, 2] > left)
    return across & (boxes[:, 1] < bottom) & (boxes[:, 1] + boxes[:, 3] > top)


def _confused_with(test: DetectorTest, crop: Crop) -> str:
    """The other class: the one that an object was taken for, or that of the object that a false detection is on."""
    if crop.case.about == NONE:
        return crop.predicted if crop.predicted not in (MISSED, FALSE_DETECTION, crop.label) else ""
    about = test.classes[test.objects.category[crop.case.about]]
    return about if about != crop.label else ""


class Converted(NamedTuple):
    """What was cut out.

    Attributes
    ----------
    crops : list of Crop
        Those with a file, by name.
    notes : tuple of str
        Sentences on what was left out.
    skipped : tuple of Skipped
        Images that could not be used.
    """

    crops: list[Crop]
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def find_detection_failures(files: DetectorFiles, out: StrPath) -> AnsweredImages:
    """Convert a detector's files to `objects/` in the folder `out`, and collect failures from there.

    Raises
    ------
    SAFEError
        The files cannot be used, no image can be read, or `out` cannot be written or has a folder `failures` or
        `objects` that SAFE did not write.
    """
    truth, results, images, yolo, iou, score = files
    root = existing_folder(images, IMAGES)
    iou = checked_iou(iou)
    test = read_yolo(truth, results, root, score=score) if yolo else read_coco(truth, results, score=score)
    out = checked_folder(out, root, *TABLES, folders=(FAILURES, OBJECTS))
    report_progress("Matching boxes", 0, 0)
    cases = cases_of(test, iou=iou)
    crops = crops_of(test, cases)
    converted = convert(test, crops, root, out / OBJECTS)
    notes = (*_counts(test, cases, iou), *converted.notes, *_not_cut(crops, converted.crops))
    table = out / OBJECTS / PREDICTIONS_FILE
    return collect_failures(table, out / OBJECTS, out, notes=notes, skipped=converted.skipped)


def cut_detections(
    info: StrPath, results: StrPath, images: StrPath, out: StrPath, *, score: Number = 0.05
) -> Converted:
    """Cut a detector's detections out of improvement images, into `objects/` in the folder `out`.

    Parameters
    ----------
    info : path
        A JSON file with the lists `images` and `categories`, as in COCO's ground truth; its annotations are not read.
    results, score
        As for `dnn.detection.detections.read_coco`.
    images : path
        The folder of the images.

    Raises
    ------
    SAFEError
        The files cannot be used, or `out` cannot be written, holds the failures of a DNN, or has a folder `objects`
        that SAFE did not write.
    """
    root = existing_folder(images, IMAGES)
    test = read_coco(info, results, score=score, labelled=False)
    out = checked_folder(out, root, folders=(OBJECTS,))
    if (out / FAILURES_FILE).exists():
        raise SAFEError(f"Expected a folder without failures of a DNN. Received: {out}. Choose another.").about("out")
    crops = crops_of(test, [Case(NONE, row, NONE, SEEN) for row in range(len(test.detections))])
    crops = [crop._replace(name=crop.name.partition("/")[2]) for crop in crops]  # not in folders of classes
    return convert(test, crops, root, out / OBJECTS, tested=False)


def convert(test: DetectorTest, crops: Sequence[Crop], root: Path, target: Path, *, tested: bool = True) -> Converted:
    """Cut the crops into a new folder with their tables, which replaces `target`.

    Parameters
    ----------
    tested : bool
        Whether there is a ground truth.

    Raises
    ------
    SAFEError
        No image can be used, or the folder cannot be written.
    """
    files, skipped = files_of(root, test.images)
    known: dict[str, dict[str, str]] = {}
    of_images, unread = parameters_of_images(root, test.images)
    with replacing_images(target) as folder:
        for measured, unusable in cut_crops(test, crops, files, folder):
            known |= measured
            skipped += unusable
        if not known:
            reason = f" The first: {printable(skipped[0].path)}, {skipped[0].reason}." if skipped else ""
            raise SAFEError(f"Expected images with objects in {root}. Received none that can be used.{reason}")
        readable = sorted((crop for crop in crops if crop.name in known), key=lambda crop: crop.name)
        empty = {} if tested else dict.fromkeys(OF_TRUTH, "")
        rows = (
            [crop.name, test.images[crop.image], *(known[crop.name] | empty).values(),
             *(column[crop.image] for column in of_images.values())]
            for crop in readable
        )  # fmt: skip
        tables = {PARAMETERS_FILE: table_text(["image", FULL_IMAGE, *PARAMETERS, *of_images], rows)}
        if tested:
            answers = ((crop.name, crop.label, crop.predicted, round(crop.confidence, 4)) for crop in readable)
            tables[PREDICTIONS_FILE] = table_text(["image", "label", "predicted", "confidence"], answers)
        for name, text in tables.items():
            (folder / name).write_text(text, "utf-8", errors="surrogateescape", newline="")
    return Converted(readable, (*test.notes, *unread), tuple(sorted(skipped)))


def parameters_of_images(
    root: Path, names: Sequence[str], given: StrPath | None = None, *, partial: bool = True
) -> tuple[dict[str, list[str]], list[str]]:
    """The recorded parameters of the whole images, and sentences on what could not be used; of a table that was given,
    a SAFEError."""
    source = given or find_parameters(root)
    try:
        texts, notes = read_columns(source, root, names, partial) if source else ({}, [])
    except SAFEError as error:
        if given:
            raise
        return {}, [str(error)]
    own = (FULL_IMAGE, UNIT, LABEL, *PARAMETERS)  # those of a part of an image are others
    return {name: column for name, column in texts.items() if any(column) and name not in own}, notes


def _counts(test: DetectorTest, cases: Sequence[Case], iou: float) -> Iterator[str]:
    """How the detector does, counted as by the evaluation of COCO, and by type."""
    types = Counter(case.type for case in cases)
    n_objects, n_found = sum(case.object != NONE for case in cases), types[FOUND]
    n_detections = sum(case.detection != NONE for case in cases)
    yield (
        f"With a score from {test.least_score:g} and an overlap (IoU) from {iou:g}: {n_found:,} of "
        f"{count(n_objects, 'object')} found, {n_objects - n_found:,} missed; "
        f"{count(n_detections - n_found, 'false detection')}."
    )
    if ignored := len(test.detections) - n_detections:
        yield f"Neither right nor wrong, since in crowds: {count(ignored, 'detection')}."
    if each := ", ".join(f"{name} {types[name]:,}" for name in TYPES if types[name]):
        yield f"Failures by type: {each}. An object and the detection that mistakes it are one failure."
    yield "The test images are crops, of all objects and of false detections. The accuracy is the share that is found."


def _not_cut(crops: Sequence[Crop], cut: Sequence[Crop]) -> Iterator[str]:
    known = {crop.name for crop in cut}
    uncut = [crop for crop in crops if crop.name not in known]
    if uncut:
        why = "Without a crop, since their images cannot be used or they lie outside of them"
        yield f"{why}: {len(uncut):,}, the first {printable(uncut[0].name)}."


# --- A table of units ---------------------------------------------------------------------------------------------


def failures_in_table(
    table: StrPath, test: StrPath | None, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE,
    hold_out: HoldOut | None = None, train: StrPath | None = None, **further: Any,
) -> AnsweredImages:  # fmt: skip
    """Collect failures by a table of answers (see `dnn.failures.collect_failures`), which may be about units.

    `further` are the group and the parameters; of units, which images show the same, and what is known of the images.

    Raises
    ------
    SAFEError
        A row names no unit, or two of an image the same one; or as of `collect_failures`.
    """
    source = path_of(table, "predictions as a CSV file")
    cells = read_answer_table(source)
    names = cells.texts(IMAGE)
    how: dict[str, Any] = {"options": options, "train": train}
    if options.targets or UNIT not in cells.header or len({*names}) == len(names):
        return collect_failures(table, test, out, hold_out=hold_out, **how, **further)
    folder = checked_folder(out, test, *TABLES, folders=(FAILURES, OBJECTS))
    notes, skipped = _split(cells, test, folder, further.get("parameters"), partial=options.partial)
    if hold_out and not hold_out.group:
        hold_out = hold_out._replace(group=(FULL_IMAGE,))
    return collect_failures(
        folder / OBJECTS / PREDICTIONS_FILE, test and folder / OBJECTS, folder, hold_out=hold_out, notes=notes,
        skipped=skipped, group=further.get("group") or (FULL_IMAGE,), **how,
    )  # fmt: skip


def _split(
    cells: Table, test: StrPath | None, out: Path, parameters: StrPath | None, *, partial: bool
) -> tuple[tuple[str, ...], tuple[Skipped, ...]]:
    """Write `objects/`; sentences on it, and images without a row."""
    images_given = existing_folder(test, "a folder of test images").resolve() if test else None
    listing = find_images(images_given) if images_given else images_named_in(cells)
    root, units = listing.root, cells.texts(UNIT)
    cells.check(np.array([*map(bool, units)]), f"a text under {UNIT}", lambda row: "")
    found, notes, without_row = rows_about(cells, root, listing.paths, partial=partial)
    descriptions = cells.rows.drop(columns=IMAGE).agg(" ".join, axis=1).tolist()
    known = ["; ".join(sorted(descriptions[row] for row in rows)) for rows in found.values()]
    counts, of_copies = counted_once([*found], copies_in(root, listing.paths) if images_given else {}, known)
    number = {unit: i for i, unit in enumerate(sorted({*units}))}
    images, names, of = list[str](), list[str](), list[int]()
    for image, rows in itertools.compress(found.items(), counts):
        for row in sorted(rows, key=units.__getitem__):
            if of and images[-1] == image and units[of[-1]] == units[row]:
                raise cells.fault(row, f"a unit once for {image}", f"{units[row]}, as in line {cells.lines[of[-1]]}")
            path = PurePosixPath(image)
            names.append(f"{path.with_suffix('')}_{number[units[row]]}_{plain_name(units[row])}{path.suffix}")
            images.append(image)
            of.append(row)
    recorded, unread = parameters_of_images(root, [*found], parameters, partial=partial)
    place = {image: i for i, image in enumerate(found)}
    of_images = {name: [column[place[image]] for image in images] for name, column in recorded.items()}
    columns = {name: cells.taken(of).texts(name) for name in cells.header if name not in (IMAGE, UNIT)}
    for name in columns.keys() - {LABEL, PREDICTED} if cells.decimal_comma else ():
        columns[name] = [*map(with_point, columns[name])]
    if not images_given:  # the table may be all that there is
        own = [name for name in columns if name != LABEL and not ANSWERS.fullmatch(name)]
        of_images |= {name: columns[name] for name in own}
    of_images = {FULL_IMAGE: images, UNIT: [units[row] for row in of], **of_images}
    with replacing_images(out / OBJECTS) as folder:
        for image, name in zip(images, names, strict=True) if images_given else ():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                (folder / name).hardlink_to(root / image)
            except OSError:  # on another disk, or of somebody else
                shutil.copyfile(root / image, folder / name)
        for file, each in ((PREDICTIONS_FILE, columns), (PARAMETERS_FILE, of_images)):
            text = table_text([IMAGE, *each], zip(names, *each.values(), strict=True))
            (folder / file).write_text(text, "utf-8", errors="surrogateescape", newline="")
    units_of = f"{count(len(names), 'unit')} of {count(len({*images}), 'image')}"
    sentence = f"The test images are {units_of}, by {cells.source.name}; those of one image are a group."
    return (sentence, *notes, *of_copies, *unread), tuple(without_row)
