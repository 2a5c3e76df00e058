"""Ground truth and results in COCO's format."""

import math

import numpy as np
import pytest

from safe_dnn.dnn.detection.detections import SIDES, DetectorTest, read_coco
from safe_dnn.support.errors import SAFEError
from tests.helpers.detected import write_json

TRUTH = {
    "images": [
        {"id": 7, "file_name": "day/000007.jpg", "width": 100, "height": 80},
        {"id": 8, "file_name": "day/b.jpg"},
    ],
    "categories": [{"id": 3, "name": "car"}, {"id": 5, "name": "nothing"}],
    "annotations": [
        {"id": 0, "image_id": 7, "category_id": 3, "bbox": [1, 2, 30, 40]},
        {"id": 1, "image_id": 8, "category_id": 5, "bbox": [0, 0, 50, 50], "iscrowd": 1},
    ],
}
RESULT = {"image_id": 7, "category_id": 3, "bbox": [1.5, 2, 30, 40], "score": 0.9}


@pytest.fixture
def read(tmp_path):
    def read(results: object, truth: object = TRUTH, **options: object) -> DetectorTest:
        paths = [
            write_json(tmp_path / name, content) for name, content in (("truth.json", truth), ("results.json", results))
        ]
        return read_coco(*paths, **options)

    return read


def changed(**entries: object) -> list[dict]:
    return [RESULT, RESULT | entries]


def test_boxes_refer_to_rows_of_images_and_classes(read):
    test = read([RESULT, RESULT | {"image_id": 8, "category_id": 5, "score": 0.5}, RESULT | {"score": 0.4}])
    assert test.images == ("day/000007.jpg", "day/b.jpg")
    assert test.sizes == [(100, 80), (0, 0)]
    assert test.objects.image.tolist() == [0, 1]
    assert test.objects.category.tolist() == [0, 1]
    assert test.objects.crowd.tolist() == [False, True]
    assert np.isnan(test.objects.score).all()
    assert test.detections.image.tolist() == [0, 1]
    assert test.detections[SIDES].to_numpy().tolist() == [[1.5, 2, 30, 40]] * 2
    assert test.detections.score.tolist() == [0.9, 0.5], "the least score counts, lower ones do not"
    assert test.notes == ()


@pytest.mark.parametrize("name", [7, "7", 7.0, "000007", "000007.jpg", "day/000007", "day/000007.jpg"])
def test_a_result_names_its_image_by_number_or_file(read, name):
    assert read([RESULT | {"image_id": name}]).detections.image.tolist() == [0]


@pytest.mark.parametrize(
    ("entries", "note"),
    [
        ({"image_id": 99}, "Left out: 1 detection of an unknown image, the first 99, in results.json."),
        ({"category_id": 0}, "Left out: 1 detection of an unknown category, the first 0, in results.json."),
        ({"bbox": [1, 2, 0, 4]}, "Left out: 1 detection without width or height, the first number 2, in results.json."),
    ],
)  # fmt: skip
def test_what_belongs_to_nothing_is_left_out_and_told(read, entries, note):
    test = read(changed(**entries))
    assert len(test.detections.image) == 1
    assert test.notes == (note,)


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (changed(score=math.nan), r"a score from 0 to 1\. Received nan in .*results\.json, number 2"),
        (changed(score=93), "a score from 0 to 1. Received 93"),
        (changed(bbox=[1, 2, 3, math.inf]), "a bbox of four numbers"),
        ([{key: RESULT[key] for key in RESULT if key != "bbox"} | {"segmentation": {"counts": "a", "size": [1, 1]}}],
         r"Expected boxes \(bbox\)\. Received a segmentation without one"),
        ([RESULT, "car"], "a detection with image_id, category_id and bbox. Received 'car'"),
        (TRUTH, "which is no list. Is it the ground truth"),
        ([RESULT | {"image_id": 99}], "none in .* Are both files about the same images"),
        ([RESULT | {"category_id": 0}], "the first 0, .* do they count categories alike"),
    ],
)  # fmt: skip
def test_results_that_contradict_the_format_are_an_error_that_says_where(read, results, expected):
    with pytest.raises(SAFEError, match=expected):
        read(results)


@pytest.mark.parametrize(
    ("truth", "expected"),
    [
        ([], "without a list of images. Is it the file of results"),
        (TRUTH | {"images": [{"id": 7}]}, "a text as file_name"),
        (TRUTH | {"categories": [{"id": 3, "name": "\ud800"}]}, "a text as name"),
        (TRUTH | {"images": TRUTH["images"][:1] * 2}, "images with an id each, a different one. Received 7"),
        (TRUTH | {"annotations": [{"image_id": 1, "category_id": 3, "bbox": [0, 0, 1, 1]}]}, "Received none in"),
    ],
)  # fmt: skip
def test_a_ground_truth_that_is_none_is_an_error(read, truth, expected):
    with pytest.raises(SAFEError, match=expected):
        read([RESULT], truth)
