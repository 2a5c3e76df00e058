"""Text files of YOLO are read as the same boxes in COCO's format are."""

import json
from pathlib import Path

import pytest
from PIL import Image

from safe_dnn import SAFE_Tool
from safe_dnn.dnn.detection.detections import SIDES, read_yolo
from safe_dnn.support.errors import SAFEError
from tests.helpers.detected import CLASSES, SIDE, DetectedCase, draw_detected
from tests.helpers.powers import bound_by_permissions


def as_yolo(case: DetectedCase) -> tuple[Path, Path]:
    """The case's boxes as text files."""
    folders = case.truth.parent / "labels", case.truth.parent / "found"
    for folder, entries in zip(
        folders, (json.loads(case.truth.read_text())["annotations"], json.loads(case.results.read_text())), strict=True
    ):
        folder.mkdir()
        for entry in entries:
            left, top, width, height = (side / SIDE for side in entry["bbox"])
            numbers = [entry["category_id"] - 1, left + width / 2, top + height / 2, width, height]
            numbers += [entry["score"]] if "score" in entry else []
            with (folder / f"{entry['image_id']:04d}.txt").open("a") as file:
                file.write(" ".join(map(str, numbers)) + "\n")
    (folders[0] / "classes.txt").write_text("\n".join(CLASSES) + "\n")
    return folders


@pytest.fixture
def case(tmp_path) -> DetectedCase:
    return draw_detected(tmp_path, 6)


def test_an_image_without_a_file_has_no_boxes_and_a_class_without_a_name_its_number(case):
    labels, results = as_yolo(case)
    (labels / "classes.txt").write_text("disc\n")
    (labels / "0001.txt").unlink()
    (results / "0002.txt").write_text("\n")
    (results / "other.txt").write_text("0 0 0 0 0 0")
    test = read_yolo(labels, results, case.images)
    assert test.classes == ("disc", "class 1", "class 2")
    assert 1 not in test.objects.image.tolist()
    assert 2 not in test.detections.image.tolist()
    assert test.notes == (f"Left out: 1 file of no image, the first {results / 'other.txt'}.",)


def test_labels_in_a_folder_that_cannot_be_read_do_not_count_as_none(case):
    labels, results = as_yolo(case)
    (labels / "inner").mkdir(mode=0)
    expected = r"Expected a folder that can be read\. Received: .*inner \(Permission denied"
    with bound_by_permissions(), pytest.raises(SAFEError, match=expected):
        read_yolo(labels, results, case.images)


def test_the_size_is_that_of_the_image_as_it_is_shown(tmp_path):
    for folder in ("images", "labels", "found"):
        (tmp_path / folder).mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 20)).save(tmp_path / "images" / "a.jpg", exif=exif)
    (tmp_path / "labels" / "a.txt").write_text("0 0.5 0.5 1 0.5")
    (tmp_path / "found" / "a.txt").write_text("0 0.5 0.5 1 0.5 0.9")
    test = read_yolo(tmp_path / "labels", tmp_path / "found", tmp_path / "images")
    assert test.sizes == [(20, 40)]
    assert test.objects[SIDES].to_numpy().tolist() == [[0, 10, 20, 20]]


@pytest.mark.parametrize(
    "line", ["0 0.5 0.5 1", "0 0.5 0.5 1 1.5", "a b c d e", "-1 0 0 1 1", "0.5 0 0 1 1", "1e9 0 0 1 1", "0 nan 0 1 1",
             "0 .1 .1 .2 .2 .3 .3 .4 .4"],
)  # fmt: skip
def test_a_line_that_is_no_box_is_an_error_that_says_where(case, line):
    labels, results = as_yolo(case)
    (labels / "0003.txt").write_text(f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(SAFEError, match=r"Expected 5 numbers: .* Received in .*0003\.txt, line 2: "):
        read_yolo(labels, results, case.images)


def test_the_command_line_takes_both_formats_and_cuts_out_the_same(case, tmp_path):
    labels, results = as_yolo(case)
    (case.images / "0000.png").write_bytes(b"no image")
    outs = []
    for option, *places in (("--coco", case.truth, case.results), ("--yolo", labels, results)):
        outs.append(tmp_path / f"out{option}")
        arguments = ["failures", option, *places, case.images, "--out", outs[-1]]
        assert SAFE_Tool.main(list(map(str, arguments))) == 0
    for name in ("objects/parameters.csv", "objects/predictions.csv", "predictions.csv"):
        assert (outs[0] / name).read_text() == (outs[1] / name).read_text()
    assert SAFE_Tool.main([*map(str, arguments), "--coco", "a", "b", "c"]) == 2
