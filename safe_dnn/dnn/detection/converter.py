"""A detector's files as a test set of images: crops, a table of answers and one of parameters.

Ground truth, results and images in; the folder `objects/` out. It has a crop of every object and of every false
detection, in folders by class, with `predictions.csv`, as of a classifier, and `parameters.csv`, what is known of each.
Every later step takes it as a test set that the engineer has brought.

Likewise the detections in improvement images are cut out, to select from. What is missed has no crop, but is often seen
with a low score, so that lower scores count here than for failures.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.detection.coco import DetectorTest, read_coco
from safe_dnn.dnn.detection.crops import PARAMETERS, Crop, crops_of, cut_crops, files_of
from safe_dnn.dnn.detection.detections import NONE, TYPES, Cases, Matching, cases_of, checked_iou, match
from safe_dnn.dnn.detection.yolo import read_yolo
from safe_dnn.dnn.failures import TABLES, checked_folder, collect_failures, replacing_images
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.parameters import PARAMETERS_FILE, find_parameters, read_texts
from safe_dnn.rccs.unsafe_set import FULL_IMAGE
from safe_dnn.support.entries import Number, StrPath, existing_folder
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import Skipped
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE, OBJECTS, PREDICTIONS_FILE
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import count, printable

IMAGES = "the folder of the images that the ground truth names"
SEEN = "seen"
OF_TRUTH = ("near_by", "in_crowd", "type", "confused_with")  # parameters that only the ground truth tells


class DetectorFiles(NamedTuple):
    """The files of a detector's test, and which of its results count.

    Attributes
    ----------
    truth, results, score
        As for `dnn.detection.coco.read_coco` or, with `yolo`, for `dnn.detection.yolo.read_yolo`.
    images : path
        The folder of the images that the ground truth names.
    yolo : bool
    iou : float
        As for `dnn.detection.detections.match`.
    """

    truth: StrPath
    results: StrPath
    images: StrPath
    yolo: bool = False
    iou: Number = 0.5
    score: Number = 0.5


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


def find_detection_failures(files: DetectorFiles, out: StrPath, *, progress: Progress = no_progress) -> AnsweredImages:
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
    progress("Matching boxes", 0, 0)
    matching = match(test, iou=iou)
    cases = cases_of(test, matching, iou=iou)
    crops = crops_of(test, cases)
    converted = convert(test, crops, root, out / OBJECTS, progress)
    notes = (*_counts(test, matching, cases, iou), *converted.notes, *_not_cut(crops, converted.crops))
    table = out / OBJECTS / PREDICTIONS_FILE
    return collect_failures(table, out / OBJECTS, out, notes=notes, skipped=converted.skipped)


def cut_seen_objects(
    info: StrPath,
    results: StrPath,
    images: StrPath,
    out: StrPath,
    *,
    score: Number = 0.05,
    progress: Progress = no_progress,
) -> Converted:
    """Cut what a detector sees out of improvement images, into `objects/` in the folder `out`.

    Parameters
    ----------
    info : path
        A JSON file with the lists `images` and `categories`, as of COCO's ground truth; its annotations are not read.
    results, score
        As for `dnn.detection.coco.read_coco`.
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
    rows = np.arange(len(test.detections.image))
    nothing = np.full(len(rows), NONE)
    crops = crops_of(test, Cases(nothing, rows, nothing, np.full(len(rows), SEEN)))
    crops = [crop._replace(name=crop.name.partition("/")[2]) for crop in crops]  # not in folders of classes
    return convert(test, crops, root, out / OBJECTS, progress, tested=False)


def convert(
    test: DetectorTest, crops: Sequence[Crop], root: Path, target: Path, progress: Progress, *, tested: bool = True
) -> Converted:
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
    of_images, unread = _parameters_of_images(root, test.images)
    with replacing_images(target) as folder:
        for measured, unusable in cut_crops(test, crops, files, folder, progress):
            known |= measured
            skipped += unusable
        if not known:
            reason = f" The first: {printable(skipped[0].path)}, {skipped[0].reason}." if skipped else ""
            raise SAFEError(f"Expected images with objects in {root}. Received none that can be used.{reason}")
        kept = sorted((crop for crop in crops if crop.name in known), key=lambda crop: crop.name)
        empty = {} if tested else dict.fromkeys(OF_TRUTH, "")
        rows = (
            [crop.name, test.images[crop.image], *(known[crop.name] | empty).values(),
             *(column[crop.image] for column in of_images.values())]
            for crop in kept
        )  # fmt: skip
        tables = {PARAMETERS_FILE: table_text(["image", FULL_IMAGE, *PARAMETERS, *of_images], rows)}
        if tested:
            answers = ((crop.name, crop.label, crop.predicted, round(crop.confidence, 4)) for crop in kept)
            tables[PREDICTIONS_FILE] = table_text(["image", "label", "predicted", "confidence"], answers)
        for name, text in tables.items():
            (folder / name).write_text(text, "utf-8", errors="surrogateescape", newline="")
    return Converted(kept, (*test.notes, *unread), tuple(sorted(skipped)))


def _parameters_of_images(root: Path, names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The recorded parameters of the whole images, and a sentence if they cannot be read."""
    source = find_parameters(root)
    try:
        texts = read_texts(source, root, names) if source else {}
    except SAFEError as error:
        return {}, [str(error)]
    own = (FULL_IMAGE, *PARAMETERS)
    return {name: column for name, column in texts.items() if any(column) and name not in own}, []


def _counts(test: DetectorTest, matching: Matching, cases: Cases, iou: float) -> Iterator[str]:
    """How the detector does, counted as by the evaluation of COCO, and by type."""
    n_objects = int((~test.objects.crowd).sum())
    n_found, n_false = int((matching.found != NONE).sum()), int(matching.false.sum())
    yield (
        f"With a score from {test.least_score:g} and an overlap (IoU) from {iou:g}: {n_found:,} of "
        f"{count(n_objects, 'object')} found, {n_objects - n_found:,} missed; {count(n_false, 'false detection')}."
    )
    if ignored := int(matching.ignored.sum()):
        yield f"Neither right nor wrong, since in crowds: {count(ignored, 'detection')}."
    types = Counter(cases.type.tolist())
    if each := ", ".join(f"{name} {types[name]:,}" for name in TYPES if types[name]):
        yield f"Failures by type: {each}. An object and the detection that mistakes it are one failure."
    yield "The test images are crops, of all objects and of false detections. The accuracy is the share that is found."


def _not_cut(crops: Sequence[Crop], kept: Sequence[Crop]) -> Iterator[str]:
    known = {crop.name for crop in kept}
    left = [crop for crop in crops if crop.name not in known]
    if left:
        why = "Without a crop, since their images cannot be used or they lie outside of them"
        yield f"{why}: {len(left):,}, the first {printable(left[0].name)}."
