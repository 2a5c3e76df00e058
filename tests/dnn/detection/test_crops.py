"""What is cut out of images, and what is known of it."""

import numpy as np
import pytest
from PIL import Image

from safe_dnn.dnn.detection.converter import Crop, crops_of, cut_crops, files_of, window_of
from safe_dnn.dnn.detection.detections import DetectorTest, cases_of, read_coco
from safe_dnn.support.images import BOX_KEY
from tests.helpers.detected import write_json


@pytest.fixture
def test_set(tmp_path) -> DetectorTest:
    """A car found, one missed at the border and in a crowd of cars, a car taken for a truck, and three false ones."""
    boxes = {"found": [10, 10, 20, 20], "missed": [80, 60, 20, 20], "taken": [40, 10, 20, 20]}
    objects = [{"image_id": 1, "category_id": 1, "bbox": box} for box in boxes.values()]
    crowd = {"image_id": 1, "category_id": 1, "bbox": [70, 50, 30, 30], "iscrowd": 1}
    write_json(
        tmp_path / "truth.json",
        {
            "images": [{"id": 1, "file_name": "day/a.png", "width": 100, "height": 80}],
            "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "truck: 4/8"}], "annotations": [*objects, crowd],
        },
    )  # fmt: skip
    detections = [
        (1, boxes["found"], 0.9),
        (2, boxes["taken"], 0.8),
        (1, [10, 12, 20, 20], 0.7),  # once more
        (2, [20, 10, 20, 20], 0.6),  # near the car that is found
        (1, [-5, 50, 25, 40], 0.6),  # nothing is there, and it reaches out of the image
    ]
    write_json(
        tmp_path / "results.json",
        [{"image_id": 1, "category_id": c, "bbox": box, "score": score} for c, box, score in detections],
    )
    return read_coco(tmp_path / "truth.json", tmp_path / "results.json")


def test_a_crop_says_what_there_is_and_what_was_seen(test_set):
    crops = crops_of(test_set, cases_of(test_set))
    assert [(crop.name, crop.label, crop.predicted, crop.case.type) for crop in crops] == [
        ("car/day/a_object_0_at_10_10_20_20.png", "car", "car", "found"),
        ("car/day/a_object_1_at_80_60_20_20.png", "car", "missed", "missed"),
        ("car/day/a_object_2_at_40_10_20_20.png", "car", "truck: 4/8", "class"),
        ("car/day/a_detection_2_at_10_12_20_20.png", "car", "false detection", "duplicate"),
        ("truck_ 4_8/day/a_detection_3_at_20_10_20_20.png", "truck: 4/8", "false detection", "both"),
        ("car/day/a_detection_4_at_-5_50_25_40.png", "car", "false detection", "background"),
    ]  # fmt: skip
    assert [crop.confidence for crop in crops] == pytest.approx([0.9, np.nan, 0.8, 0.7, 0.6, 0.6], nan_ok=True)


def cut(test: DetectorTest, folder) -> tuple[list[Crop], dict[str, dict[str, str]]]:
    (folder / "images" / "day").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(256, size=(80, 100, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "images" / "day" / "a.png")
    files, missing = files_of(folder / "images", test.images)
    assert missing == []
    crops = crops_of(test, cases_of(test))
    [(known, skipped)] = cut_crops(test, crops, files, folder / "objects")
    assert skipped == []
    return crops, known


def test_a_crop_is_cut_out_exactly_and_its_box_is_not_in_the_pixels(test_set, tmp_path):
    cut(test_set, tmp_path)
    with (
        Image.open(tmp_path / "images" / "day" / "a.png") as image,
        Image.open(tmp_path / "objects" / "car" / "day" / "a_object_1_at_80_60_20_20.png") as crop,
    ):
        np.testing.assert_array_equal(np.asarray(crop), np.asarray(image)[52:80, 72:100])
        assert crop.info[BOX_KEY] == "8.0 8.0 28.0 28.0"
    assert window_of(np.array([20, 20, 40, 20], float), (100, 80)) == (10, 10, 70, 50)  # a quarter of the longer side


def test_what_is_known_of_a_box_is_measured_in_the_image(test_set, tmp_path):
    crops, known = cut(test_set, tmp_path)
    found, missed, taken, twice, both, background = (known[crop.name] for crop in crops)
    assert found["object_px"] == "20.0"
    assert background["object_px"] == "24.5", "20 × 30 pixels of it are in the image"
    assert background["object_aspect"] == "0.667"
    assert [each["truncated"] for each in (found, missed, background)] == ["no", "yes", "yes"]
    assert [each["in_crowd"] for each in (found, missed, background)] == ["no", "yes", "no"]
    # The crop of the first car ends at 38, that of the third begins at 32, and the object of a duplicate is the same.
    assert [each["near_by"] for each in (found, taken, twice, both)] == ["0", "0", "0", "1"]
    assert [each["type"] for each in (found, missed, taken)] == ["", "missed", "class"]
    assert [each["confused_with"] for each in (found, missed, taken, twice, both, background)] == [
        "", "", "truck: 4/8", "", "car", ""
    ]  # fmt: skip


def test_names_of_classes_become_names_of_folders_that_differ(tmp_path, test_set):
    truth = {
        "images": [{"id": 1, "file_name": "..\\x/../a\tb.png"}],
        "categories": [{"id": i, "name": name} for i, name in enumerate(("a/b", "A_b", "..", "Missed", "missed"))],
        "annotations": [{"image_id": 1, "category_id": i, "bbox": [0, 0, 9, 9]} for i in range(5)],
    }  # fmt: skip
    write_json(tmp_path / "truth.json", truth)
    write_json(tmp_path / "results.json", [])
    test = read_coco(tmp_path / "truth.json", tmp_path / "results.json")
    names = [crop.name for crop in crops_of(test, cases_of(test))]
    assert names == [
        "a_b/x/a_b_object_0_at_0_0_9_9.png", "A_b_2/x/a_b_object_1_at_0_0_9_9.png", "_/x/a_b_object_2_at_0_0_9_9.png",
        "Missed/x/a_b_object_3_at_0_0_9_9.png", "missed (4)/x/a_b_object_4_at_0_0_9_9.png",
    ]  # fmt: skip


def test_an_image_is_where_its_name_says_or_in_the_folder_itself_but_never_outside(tmp_path):
    (tmp_path / "images" / "day").mkdir(parents=True)
    for name in ("images/day/a.png", "images/b.png", "secret.png"):
        (tmp_path / name).touch()
    root = tmp_path / "images"
    none = ["../secret.png", f"{tmp_path}/secret.png", "a" * 300, ".", "/", ".."]
    files, missing = files_of(root, ["day/a.png", "day\\a.png", "val/b.png", *none])
    assert files == [root / "day" / "a.png", root / "day" / "a.png", root / "b.png", *[None] * len(none)]
    assert [skip.path for skip in missing] == none
