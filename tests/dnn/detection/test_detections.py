"""Matching and typing, compared with the library's own evaluation and by hand."""

import numpy as np
import pytest

from safe_dnn.dnn.detection.detections import FOUND, NONE, DetectorTest, cases_of, read_coco
from tests.helpers.detected import counted_by_the_library, write_json

CAR, TRUCK = 1, 2
A, B = [10, 10, 40, 40], [100, 10, 40, 40]


def obj(image: int, category: int, box: list[float], crowd: int = 0) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "iscrowd": crowd}


def det(image: int, category: int, box: list[float], score: float = 0.9) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


@pytest.fixture
def compared(tmp_path):
    """A detector's test by its objects and detections in a few images."""

    def compared(objects: list[dict], detections: list[dict], n_images: int = 4) -> DetectorTest:
        truth = {
            "images": [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 200} for i in range(n_images)],
            "categories": [{"id": CAR, "name": "car"}, {"id": TRUCK, "name": "truck"}],
            # Numbered from 1: for the library an object with the id 0 is never found.
            "annotations": [
                each | {"id": row, "area": each["bbox"][2] * each["bbox"][3]} for row, each in enumerate(objects, 1)
            ],
        }
        write_json(tmp_path / "truth.json", truth)
        write_json(tmp_path / "results.json", detections)
        return read_coco(tmp_path / "truth.json", tmp_path / "results.json", score=0)

    return compared


def counted(test: DetectorTest, iou: float = 0.5) -> tuple[int, int, int]:
    cases = cases_of(test, iou=iou)
    found = sum(case.type == FOUND for case in cases)
    objects, detections = (sum(row != NONE for row in rows) for rows in list(zip(*cases, strict=True))[:2])
    return found, objects - found, detections - found


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("iou", [0.5, 0.75])
def test_random_boxes_count_as_in_the_evaluation_of_coco(compared, tmp_path, seed, iou):
    rng = np.random.default_rng(seed)

    def boxes(n: int) -> list[list[int]]:
        return np.hstack([rng.integers(0, 120, (n, 2)), rng.integers(20, 60, (n, 2))]).tolist()

    objects = [obj(int(rng.integers(4)), int(rng.integers(1, 3)), box, int(rng.random() < 0.1)) for box in boxes(30)]
    detections = [
        det(
            each["image_id"], int(rng.integers(1, 3)), [side + int(rng.integers(-4, 5)) for side in each["bbox"]], score
        )
        for each, score in zip(objects * 2, rng.permutation(60) / 60, strict=True)
    ]
    assert counted(compared(objects, detections), iou) == counted_by_the_library(
        tmp_path / "truth.json", tmp_path / "results.json", iou
    )


def rows(test: DetectorTest) -> list[tuple[int, int, int, str]]:
    return [tuple(case) for case in cases_of(test)]


@pytest.mark.parametrize(
    ("category", "box", "expected"),
    [
        (CAR, [100, 100, 40, 40], [(0, NONE, NONE, "missed"), (NONE, 0, NONE, "background")]),
        (TRUCK, A, [(0, 0, NONE, "class")]),
        (CAR, [30, 10, 40, 40], [(0, 0, NONE, "localisation")]),  # a third of both
        (TRUCK, [30, 10, 40, 40], [(0, NONE, NONE, "missed"), (NONE, 0, 0, "both")]),
        (TRUCK, [46, 10, 40, 40], [(0, NONE, NONE, "missed"), (NONE, 0, NONE, "background")]),  # 0.053
        (TRUCK, [10, 10, 40, 4], [(0, NONE, NONE, "missed"), (NONE, 0, NONE, "background")]),  # 0.1, as in TIDE
        (CAR, [10, 10, 40, 4], [(0, 0, NONE, "localisation")]),  # 0.1, as in TIDE
    ],
)
def test_a_detection_and_an_object_that_do_not_match_have_the_types_of_tide(compared, category, box, expected):
    assert rows(compared([obj(0, CAR, A)], [det(0, category, box)])) == expected


def test_each_missed_object_and_each_false_detection_is_in_one_case(compared):
    rng = np.random.default_rng(3)
    boxes = np.hstack([rng.integers(0, 120, (200, 2)), rng.integers(20, 60, (200, 2))]).tolist()
    objects = [obj(i % 4, 1 + i % 2, box) for i, box in enumerate(boxes[:80])]
    test = compared(objects, [det(i % 4, 1 + i % 3 % 2, box, i / 200) for i, box in enumerate(boxes)])
    cases = cases_of(test)
    assert [case.object for case in cases if case.object != NONE] == list(range(80))
    assert sorted(case.detection for case in cases if case.detection != NONE) == list(range(200))
    assert {case.type for case in cases} >= {"found", "class", "localisation", "background"}
