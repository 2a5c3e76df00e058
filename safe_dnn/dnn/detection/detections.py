"""Which objects a detector finds, which it misses, and which of its detections are false, and why.

Boxes are matched by the evaluation of COCO (pycocotools; Lin et al., ECCV 2014). Failures have the types of TIDE (Bolya
et al., "TIDE: A general toolbox for identifying object detection errors", ECCV 2020, doi 10.1007/978-3-030-58580-8_33):

| type | |
|---|---|
| class | on an object of another class |
| localisation | of the right class, but not enough on the object |
| both | of another class, and not enough on the object |
| duplicate | on an object that a detection with a higher score has found |
| background | on no object |
| missed | an object that no detection is about; those of the first two types are about one |
"""

import contextlib
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.detection.files import Boxes, DetectorTest
from safe_dnn.rccs.answers import MISSED
from safe_dnn.support.errors import SAFEError, number_of
from safe_dnn.support.version import install

FOUND = "found"
CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND = "class", "localisation", "both", "duplicate", "background"
TYPES = (MISSED, CLASS, LOCALISATION, BOTH, DUPLICATE, BACKGROUND)
LEAST_IOU = 0.1  # TIDE's threshold of the background
NONE = -1


class Matching(NamedTuple):
    """Which detection has found which object.

    Attributes
    ----------
    finder : ndarray of shape (n_objects,), int64
        The row of the detection that has found the object; `NONE` if none has, and for crowds.
    object_of : ndarray of shape (n_detections,), int64
        The row of the object that the detection has found; `NONE` if it has found none.
    ignored : ndarray of shape (n_detections,), bool
        Whether the detection lies in a crowd, and so is neither right nor wrong.
    """

    finder: np.ndarray
    object_of: np.ndarray
    ignored: np.ndarray

    @property
    def false(self) -> np.ndarray:
        """Which detections are false: bool of shape (n_detections,)."""
        return (self.object_of == NONE) & ~self.ignored


class Cases(NamedTuple):
    """What is right or wrong, a case each: every object, and every false detection that is not about a missed one.

    A missed object and the first false detection that is about it, of the wrong class or in the wrong place, are one
    case: they are one error.

    Attributes
    ----------
    object, detection : ndarray of shape (n_cases,), int64
        Rows; `NONE` for a false detection that is a case of its own, and for an object that nothing was found of.
    about : ndarray of shape (n_cases,), int64
        The object that a false detection overlaps; otherwise `NONE`.
    type : ndarray of shape (n_cases,), str
        `FOUND`, or one of `TYPES`.
    """

    object: np.ndarray
    detection: np.ndarray
    about: np.ndarray
    type: np.ndarray


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


def match(test: DetectorTest, *, iou: float = 0.5) -> Matching:
    """Match detections with objects of the same class, as the evaluation of COCO does.

    Detections come in the order of their scores, and each takes the object with which it overlaps most, if that is
    still free.

    Parameters
    ----------
    iou : float
        Least intersection over union of a detection and the object that it finds.

    Raises
    ------
    SAFEError
        The package pycocotools is missing.
    """
    objects, detections = test.objects, test.detections
    finder = np.full(len(objects.image), NONE, np.int64)
    detected = np.full(len(detections.image), NONE, np.int64)
    ignored = np.zeros(len(detections.image), bool)
    for each in _evaluated(test, iou):
        rows, matched = np.array(each["dtIds"], np.int64) - 1, each["dtMatches"][0].astype(np.int64) - 1
        ignored[rows] = each["dtIgnore"][0]
        right = (matched >= 0) & ~each["dtIgnore"][0]
        detected[rows[right]] = matched[right]
        finder[matched[right]] = rows[right]
    return Matching(finder, detected, ignored)


def matcher() -> tuple[Any, Any]:
    """The classes of pycocotools that hold and match boxes.

    Raises
    ------
    SAFEError
        The package is missing.
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError as error:
        raise SAFEError(
            f"Expected the package pycocotools, which matches boxes. Received none. Install it: {install('detection')}"
        ) from error
    return COCO, COCOeval


def _evaluated(test: DetectorTest, iou: float) -> list[dict]:
    """What pycocotools finds in each image for each category."""
    COCO, COCOeval = matcher()
    images, categories = ([{"id": row} for row in range(len(names))] for names in (test.images, test.classes))
    both: list[Any] = []
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
        for boxes in (test.objects, test.detections):
            coco = COCO()
            coco.dataset = {"images": images, "categories": categories, "annotations": _annotations(boxes)}
            coco.createIndex()
            both.append(coco)
        evaluation = COCOeval(both[0], both[1], "bbox")
        evaluation.params.iouThrs = np.array([iou])
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [max(1, len(test.detections.image))]
        evaluation.evaluate()
    return [each for each in evaluation.evalImgs if each is not None]


def _annotations(boxes: Boxes) -> list[dict]:
    """Boxes as pycocotools wants them. Its ids begin at 1: an object with the id 0 would count as missed."""
    names = ("image_id", "category_id", "bbox", "score", "iscrowd", "area")
    columns = (boxes.image, boxes.category, boxes.box, np.nan_to_num(boxes.score), boxes.crowd.astype(int))
    rows = zip(*(column.tolist() for column in (*columns, boxes.box[:, 2] * boxes.box[:, 3])), strict=True)
    return [{"id": row, **dict(zip(names, values, strict=True))} for row, values in enumerate(rows, start=1)]


def cases_of(test: DetectorTest, matching: Matching, *, iou: float = 0.5) -> Cases:
    """The objects and the false detections, with their types; objects come first.

    Parameters
    ----------
    iou : float
        As for `match`.
    """
    types, about = _false_types(test, matching, iou)
    objects = np.flatnonzero(~test.objects.crowd)
    detection = matching.finder.copy()
    kind = np.where(matching.finder == NONE, MISSED, FOUND).astype("U12")
    false = np.flatnonzero(matching.false)
    alone = []
    for row in false[np.argsort(-test.detections.score[false], kind="stable")].tolist():
        place = about[row]
        if types[row] in (CLASS, LOCALISATION) and detection[place] == NONE:
            detection[place], kind[place] = row, types[row]
        else:
            alone.append(row)
    rows = np.sort(np.array(alone, np.int64))
    return Cases(
        np.concatenate([objects, np.full(len(rows), NONE)]),
        np.concatenate([detection[objects], rows]),
        np.concatenate([np.full(len(objects), NONE), about[rows]]),
        np.concatenate([kind[objects], types[rows]]),
    )


def _false_types(test: DetectorTest, matching: Matching, iou: float) -> tuple[np.ndarray, np.ndarray]:
    """The type of each false detection, and the object that it is about, `NONE` for the background.

    As in TIDE's `quantify.py`, in its order; an overlap of exactly `iou` with an object that another detection has
    found is a duplicate.
    """
    from pycocotools.mask import iou as overlaps

    types = np.full(len(matching.object_of), "", "U12")
    about = np.full(len(matching.object_of), NONE, np.int64)
    objects, detections = test.objects, test.detections
    at_objects = _by_image(objects.image, ~objects.crowd, len(test.images))
    at_false = _by_image(detections.image, matching.false, len(test.images))
    for here, rows in zip(at_objects, at_false, strict=True):
        types[rows] = BACKGROUND
        if not len(here) or not len(rows):
            continue
        shared = overlaps(detections.box[rows], objects.box[here], [0] * len(here))
        alike = detections.category[rows][:, None] == objects.category[here]
        for row, overlap, same in zip(rows.tolist(), shared, alike, strict=True):
            types[row], place = _false_type(overlap, same, iou)
            about[row] = here[place] if place != NONE else NONE
    return types, about


def _false_type(overlap: np.ndarray, same: np.ndarray, iou: float) -> tuple[str, int]:
    """The type of a false detection, and which of the image's objects it is about."""
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


def _by_image(image: np.ndarray, used: np.ndarray, n_images: int) -> Sequence[np.ndarray]:
    """The rows in use of each image, in order."""
    rows = np.flatnonzero(used)
    rows = rows[np.argsort(image[rows], kind="stable")]
    return np.split(rows, np.searchsorted(image[rows], np.arange(1, n_images)))
