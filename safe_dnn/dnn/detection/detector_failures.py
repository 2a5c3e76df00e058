"""Failures of a detector: the objects that it misses, and its false detections; and what it sees in unlabelled images.

Ground truth, results and images in; crops out, which are the input of step 1 as the failing images of a classifier are.
`objects/` has a crop of every object and of every false detection, and takes the place of the test folder; `failures/`
has copies of those that are wrong. What is known of them goes to `parameters.csv`, where each comes from to
`objects.csv`.

RCCs of a detector are groups of crops, and so are the images near them: what it sees in the improvement images is cut
out, too. `select` on these crops names some; from them it follows which whole images to label (`unsafe_images.csv`).
What is missed has no crop, but is often seen with a low score, so that lower scores count here than for failures.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.detection.coco import DetectorTest, read_coco
from safe_dnn.dnn.detection.crops import PARAMETERS, Crop, crops_of, cut_crops, files_of
from safe_dnn.dnn.detection.detections import FOUND, NONE, TYPES, Cases, Matching, cases_of, checked_iou, match
from safe_dnn.dnn.detection.yolo import read_yolo
from safe_dnn.dnn.failures import DETECTION, TABLES, checked_folder, keep_failures, replacing_images
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.answers import CONFIDENCE, NOTHING, Answers
from safe_dnn.rccs.parameters import PARAMETERS_FILE, find_parameters, read_texts
from safe_dnn.rccs.unsafe_set import UnsafeImage
from safe_dnn.store.output_folder import save_files
from safe_dnn.support.entries import Number, StrPath, existing_folder, is_within
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import intact
from safe_dnn.support.images import Skipped
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE, OBJECTS, OBJECTS_FILE
from safe_dnn.support.tables import read_own, table_text
from safe_dnn.support.text import count, printable

IMAGES = "the folder of the images that the ground truth names"


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


def find_detection_failures(files: DetectorFiles, out: StrPath, *, progress: Progress = no_progress) -> AnsweredImages:
    """Compare a detector's results with the ground truth; write crops of all objects and failures to the folder `out`.

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
    out = checked_folder(out, root, *TABLES, PARAMETERS_FILE, OBJECTS_FILE, folders=(FAILURES, OBJECTS))
    progress("Matching boxes", 0, 0)
    matching = match(test, iou=iou)
    cases = cases_of(test, matching, iou=iou)
    crops = crops_of(test, cases)
    cut = cut_into(test, crops, root, out / OBJECTS, progress)
    kept = cut.crops
    label, predicted, confidence, kind = (
        np.array([getattr(crop, name) for crop in kept]) for name in ("label", "predicted", "confidence", "type")
    )
    notes = (*_counts(test, matching, cases, iou), *cut.notes, *_not_cut(crops, kept))
    given = AnsweredImages(
        test.results, out / OBJECTS, tuple(crop.name for crop in kept),
        Answers(label, predicted, confidence.astype(np.float32), CONFIDENCE), kind == FOUND, notes,
        skipped=cut.skipped, known_classes=(*test.classes, NOTHING),
    )  # fmt: skip
    return keep_failures(given, out, task=DETECTION, tables=cut.tables)


class Cut(NamedTuple):
    """What was cut out.

    Attributes
    ----------
    crops : list of Crop
        Those with a file, by name.
    tables : dict of str to str
        `parameters.csv` and `objects.csv` of them.
    notes : tuple of str
        Sentences on what was left out.
    skipped : tuple of Skipped
        Images that could not be used.
    """

    crops: list[Crop]
    tables: dict[str, str]
    notes: tuple[str, ...]
    skipped: tuple[Skipped, ...]


def cut_into(
    test: DetectorTest, crops: Sequence[Crop], root: Path, target: Path, progress: Progress, unknown: Sequence[str] = ()
) -> Cut:
    """Cut the crops into a new folder that replaces `target`.

    Parameters
    ----------
    unknown : sequence of str
        Parameters that are not known of these crops, and left empty.

    Raises
    ------
    SAFEError
        No image can be used, or the folder cannot be written.
    """
    files, skipped = files_of(root, test.images)
    known: dict[str, dict[str, str]] = {}
    with replacing_images(target) as folder:
        for found, unusable in cut_crops(test, crops, files, folder, progress):
            known |= found
            skipped += unusable
        if not known:
            reason = f" The first: {printable(skipped[0].path)}, {skipped[0].reason}." if skipped else ""
            raise SAFEError(f"Expected images with objects in {root}. Received none that can be used.{reason}")
    kept = sorted((crop for crop in crops if crop.name in known), key=lambda crop: crop.name)
    of_images, unread = _parameters_of_images(root, test.images)
    left_empty = dict.fromkeys(unknown, "")
    rows = (
        [crop.name, *(known[crop.name] | left_empty).values(), *(column[crop.image] for column in of_images.values())]
        for crop in kept
    )
    parameters = table_text(["image", *PARAMETERS, *of_images], rows)
    tables = {PARAMETERS_FILE: parameters, OBJECTS_FILE: _objects_text(test, kept)}
    return Cut(kept, tables, (*test.notes, *unread), tuple(sorted(skipped)))


def _parameters_of_images(root: Path, names: Sequence[str]) -> tuple[dict[str, list[str]], list[str]]:
    """The recorded parameters of the whole images, and a sentence if they cannot be read."""
    source = find_parameters(root)
    try:
        texts = read_texts(source, root, names) if source else {}
    except SAFEError as error:
        return {}, [str(error)]
    return {name: column for name, column in texts.items() if any(column) and name not in PARAMETERS}, []


# --- The files ----------------------------------------------------------------------------------------------------


def _objects_text(test: DetectorTest, crops: Sequence[Crop]) -> str:
    """`objects.csv`: where each crop comes from."""
    rows = (
        (crop.name, test.images[crop.image], crop.type, *(round(n, 2) for n in crop.box.tolist()), round(crop.score, 4))
        for crop in crops
    )
    return table_text(["image", "source", "type", "left", "top", "width", "height", "score"], rows)


def sources_of(image_root: Path, *, within: Path | None = None) -> dict[str, str]:
    """The image of which each crop in a folder is a part; empty if it is not a folder of crops.

    Parameters
    ----------
    within : path, optional
        The table beside the folder is only read inside this one.

    Raises
    ------
    SAFEError
        The table beside the folder is damaged.
    """
    path = image_root.parent / OBJECTS_FILE
    if image_root.name != OBJECTS or not path.is_file() or not is_within(path, within):
        return {}
    with intact(path, "Cut out the objects again."):
        header, *rows = read_own(path) or [[]]
        columns = [header.index(name) for name in ("image", "source")] if rows else []
        return {row[columns[0]]: row[columns[1]] for row in rows}


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
    yield (
        "The test images are crops, of all objects and of false detections. The share of them that is found takes the "
        "place of the accuracy."
    )


def _not_cut(crops: Sequence[Crop], kept: Sequence[Crop]) -> Iterator[str]:
    known = {crop.name for crop in kept}
    left = [crop for crop in crops if crop.name not in known]
    if left:
        why = "Without a crop, since their images cannot be used or they lie outside of them"
        yield f"{why}: {len(left):,}, the first {printable(left[0].name)}."


# --- What it sees in improvement images -------------------------------------------------------------------------------


SEEN = "seen"
OF_TRUTH = ("near_by", "in_crowd", "type", "confused_with")  # parameters that only the ground truth tells


def cut_seen_objects(
    info: StrPath,
    results: StrPath,
    images: StrPath,
    out: StrPath,
    *,
    score: Number = 0.05,
    progress: Progress = no_progress,
) -> Cut:
    """Cut what a detector sees out of images; write `objects/`, `objects.csv` and `parameters.csv` to the folder `out`.

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
    out = checked_folder(out, root, OBJECTS_FILE, PARAMETERS_FILE, folders=(OBJECTS,))
    if (out / FAILURES_FILE).exists():
        raise SAFEError(f"Expected a folder without failures of a DNN. Received: {out}. Choose another.").about("out")
    rows = np.arange(len(test.detections.image))
    nothing = np.full(len(rows), NONE)
    crops = crops_of(test, Cases(nothing, rows, nothing, np.full(len(rows), SEEN)))
    crops = [crop._replace(name=crop.name.partition("/")[2]) for crop in crops]  # not in folders of labels
    cut = cut_into(test, crops, root, out / OBJECTS, progress, OF_TRUTH)
    save_files(out, cut.tables)
    return cut


def unsafe_images_text(selected: Sequence[UnsafeImage], sources: Mapping[str, str]) -> tuple[str, int]:
    """`unsafe_images.csv`: the whole images to label, each with the crops that it was selected for; how many these are.

    Parameters
    ----------
    selected : sequence of UnsafeImage
        The crops, in the order of selection.
    sources : mapping of str to str
        As of `dnn.detection.detector_failures.sources_of`; a crop that it lacks is its own image.
    """
    crops: dict[str, list[UnsafeImage]] = {}
    for crop in selected:
        crops.setdefault(sources.get(crop.image, crop.image), []).append(crop)
    rows = ((image, crop.image, crop.rcc, crop.distance) for image, own in crops.items() for crop in own)
    return table_text(["image", "crop", "rcc", "distance"], rows), len(crops)
