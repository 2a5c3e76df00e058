"""Counting what a detector finds and misses in many images, for `lab/benchmarks/speed/`."""

import contextlib
import io
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from safe_dnn.dnn.detection.coco import read_coco
from safe_dnn.dnn.detection.detections import NONE, cases_of, match

CLASSES = 80  # as in COCO


def count_detections(n_images: int, n_boxes: int, work: str) -> dict:
    """Reading, matching and typing generated boxes: half of the detections lie on an object, the others anywhere.

    With `theirs`, the seconds that the evaluation of COCO alone takes for all of its thresholds and sizes, and `same`,
    1 if both count the same at an overlap of 0.5.
    """
    with TemporaryDirectory(dir=work) as folder:
        truth, results = Path(folder, "truth.json"), Path(folder, "results.json")
        _generate(truth, results, n_images, n_boxes)
        started = time.perf_counter()
        test = read_coco(truth, results, score=0)
        read = time.perf_counter()
        matching = match(test)
        cases_of(test, matching)
        done = time.perf_counter()
        found, theirs = _counted_by_coco(truth, results)
    ours = int((matching.finder != NONE).sum()), int(matching.false.sum())
    return {
        "images": n_images, "boxes": n_boxes, "reading": read - started, "seconds": done - started, "theirs": theirs,
        "same": int(ours == found),
    }  # fmt: skip


def _generate(truth: Path, results: Path, n_images: int, n_boxes: int) -> None:
    rng = np.random.default_rng(0)
    box = np.hstack([rng.integers(0, 500, (n_boxes, 2)), rng.integers(20, 120, (n_boxes, 2))])
    image, category = rng.integers(n_images, size=n_boxes), rng.integers(CLASSES, size=n_boxes)
    moved = np.where(rng.random((n_boxes, 1)) < 0.5, box + rng.integers(-2, 3, (n_boxes, 4)), rng.permutation(box))
    columns = image.tolist(), (category + 1).tolist()
    objects = [
        {"id": row, "image_id": i, "category_id": c, "bbox": sides, "area": sides[2] * sides[3], "iscrowd": 0}
        for row, (i, c, sides) in enumerate(zip(*columns, box.tolist(), strict=True), start=1)
    ]
    found = [
        {"image_id": i, "category_id": c, "bbox": sides, "score": score}
        for i, c, sides, score in zip(*columns, moved.tolist(), rng.random(n_boxes).round(4).tolist(), strict=True)
    ]
    images = [{"id": i, "file_name": f"{i}.jpg"} for i in range(n_images)]
    categories = [{"id": c, "name": f"class {c}"} for c in range(1, CLASSES + 1)]
    truth.write_text(json.dumps({"images": images, "categories": categories, "annotations": objects}))
    results.write_text(json.dumps(found))


def _counted_by_coco(truth: Path, results: Path) -> tuple[tuple[int, int], float]:
    """Found objects and false detections at an overlap of 0.5, and the seconds of the whole evaluation."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    started = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        objects = COCO(str(truth))
        evaluation = COCOeval(objects, objects.loadRes(str(results)), "bbox")
        evaluation.evaluate()
    seconds = time.perf_counter() - started
    every = [each for each in evaluation.evalImgs if each and each["aRng"] == evaluation.params.areaRng[0]]
    found = sum(int((each["gtMatches"][0] > 0).sum()) for each in every)
    false = sum(int((each["dtMatches"][0] == 0).sum()) for each in every)
    return (found, false), seconds


MEASURED = {"count_detections": count_detections}
