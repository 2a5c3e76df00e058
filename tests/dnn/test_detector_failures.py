"""From ground truth and results to the files of a detector's failures, and from these to RCCs and weak spots."""

import csv
import errno
import json
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

import SAFE_Tool
from dnn.detector_failures import find_detection_failures
from dnn.failures import load_failures, save_failures
from dnn.tested import find_predictions, read_predictions
from pipeline.comparison import explain_failures
from pipeline.generation import generate_clusters
from reasons import known_of, weak_spots_of
from reporting.report import report_html
from support.errors import SAFEError
from support.images import find_images
from tests.helpers.detected import DetectedCase, draw_detected, write_json
from tests.helpers.places import names_in


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> DetectedCase:
    return draw_detected(tmp_path_factory.mktemp("detected"), 12)


@pytest.fixture
def case(drawn, tmp_path) -> DetectedCase:
    shutil.copytree(drawn.truth.parent, tmp_path, dirs_exist_ok=True)
    return DetectedCase(tmp_path / "truth.json", tmp_path / "results.json", tmp_path / "images", tmp_path / "dnn")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def changed(path: Path, change) -> None:
    content = json.loads(path.read_text())
    change(content)
    write_json(path, content)


def find(case: DetectedCase, **options):
    return find_detection_failures(case.truth, case.results, case.images, case.out, **options)


def test_the_crops_are_a_test_set_with_predictions(case):
    failures = find(case)
    truth, results = json.loads(case.truth.read_text()), json.loads(case.results.read_text())
    assert names_in(case.out) == [
        "accuracy.json", "failures", "failures.csv", "objects", "objects.csv", "parameters.csv", "predictions.csv"
    ]  # fmt: skip
    tested = read_predictions(*find_predictions(case.out / "failures"))
    assert tested.notes == ()
    assert tested.root == case.out / "objects"
    assert tested.paths == find_images(case.out / "objects").paths
    assert find_images(case.out / "failures").paths == tuple(failure.source for failure in failures.failing)
    assert len(tested.paths) == failures.test_size
    assert [path for path, right in zip(tested.paths, tested.right, strict=True) if not right] == [
        failure.source for failure in failures.failing
    ]
    found = int(tested.right.sum())
    assert f"{found} of {len(truth['annotations'])} objects found" in failures.assumptions[0]
    assert f"{len(results) - found} false detections" in failures.assumptions[0]


def test_what_is_saved_is_what_is_loaded(case):
    saved, loaded = find(case), load_failures(case.out)
    assert repr(loaded) == repr(saved)  # NaN, an unknown confidence, is not equal to itself


def test_a_detector_is_one_also_in_files_of_an_older_version(case):
    find(case)
    assert json.loads((case.out / "accuracy.json").read_text())["task"] == "detection"
    changed(case.out / "accuracy.json", lambda record: record.update(task="classification"))
    assert load_failures(case.out).task == "detection"
    (case.out / "objects.csv").unlink()
    assert load_failures(case.out).task == "classification"  # of a test folder that has this name


def test_each_crop_has_a_row_that_says_where_it_comes_from_and_one_of_parameters(case):
    find(case)
    images = find_images(case.out / "objects").paths
    for table in ("objects.csv", "parameters.csv", "predictions.csv"):
        assert tuple(row["image"] for row in rows(case.out / table)) == images
    for row in rows(case.out / "objects.csv"):
        assert (case.images / row["source"]).is_file()
        assert Path(row["image"]).name.startswith(Path(row["source"]).stem)


def test_parameters_of_the_images_are_those_of_their_objects(case):
    lines = ["image,weather,type", *(f"{number:04d}.png,{('sun', 'rain')[number % 2]},x" for number in range(12))]
    (case.images / "parameters.csv").write_text("\n".join(lines))
    find(case)
    known = rows(case.out / "parameters.csv")
    weather = {row["image"]: row["weather"] for row in known}
    for row in rows(case.out / "objects.csv"):
        assert weather[row["image"]] == ("sun", "rain")[int(row["source"][:4]) % 2]
    assert {row["type"] for row in known} <= {"", "missed", "class", "duplicate", "background"}


def test_a_higher_score_and_overlap_can_be_asked_for(case):
    assert find(case, score=0.99).accuracy < find(case).accuracy
    assert find(case, iou=0.999).accuracy == 0
    with pytest.raises(SAFEError, match="score must be"):
        find(case, score="half")


def test_a_detector_without_failures_has_none(fake_network, case, capsys):
    truth = json.loads(case.truth.read_text())
    keys = ("image_id", "category_id", "bbox")
    write_json(case.results, [{key: each[key] for key in keys} | {"score": 1} for each in truth["annotations"]])
    failures = find(case)
    assert (failures.failing, failures.accuracy) == ((), 1)
    assert names_in(case.out / "failures") == [".safe"]
    assert SAFE_Tool.main(["cluster", str(case.out / "failures"), "--out", str(case.out.parent / "run")]) == 2
    assert "Received no images" in capsys.readouterr().err


def test_images_that_cannot_be_used_are_skipped_and_told(case):
    (case.images / "0000.png").unlink()
    (case.images / "0001.png").write_bytes(b"no image")
    Image.new("RGB", (80, 160)).save(case.images / "0002.png")
    failures = find(case)
    assert [(skip.path, skip.reason.split(",")[0]) for skip in failures.skipped] == [
        ("0000.png", f"not in {case.images}"),
        ("0001.png", "not an image"),
        ("0002.png", "80 × 160 pixels"),
    ]
    assert "36 objects" in failures.assumptions[0], "they count as the evaluation counts them"
    assert failures.assumptions[-1].startswith("Without a crop")
    assert not any(Path(path).name < "0003" for path in find_images(case.out / "objects").paths)


def test_boxes_that_reach_out_of_their_image_are_cut_off_and_those_outside_have_no_crop(case):
    boxes = [[-20, 5, 60, 40], [500, 500, 10, 10]]
    changed(
        case.truth,
        lambda truth: truth["annotations"].extend(
            {"id": 1000 + row, "image_id": 5, "category_id": 1, "bbox": box} for row, box in enumerate(boxes)
        ),
    )
    failures = find(case)
    [row] = [row for row in rows(case.out / "objects.csv") if row["left"] == "-20.0"]
    with Image.open(case.out / "objects" / row["image"]) as crop:
        assert crop.size == (50, 55)
    assert failures.assumptions[-1].endswith("1, the first disc/0005_object_37.png.")
    assert "2 objects reach out of their images, the first number 37; crops end at the border." in failures.assumptions


def test_a_run_that_is_stopped_leaves_what_there_was_and_cuts_no_more(case, monkeypatch):
    find(case)
    before = (case.out / "objects.csv").read_text()
    cut: list[str] = []
    monkeypatch.setattr("dnn.crops._save_crop", lambda picture, crop, *_: cut.append(crop.name) or time.sleep(0.02))

    def stop(what: str, done: int, total: int) -> None:
        if what == "Cutting out objects":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(case, iou=0.9, progress=stop)
    assert 0 < len(cut) < 36
    assert (case.out / "objects.csv").read_text() == before
    assert len(find_images(case.out / "objects").paths) == before.count("\n") - 1
    assert not list(case.out.glob(".objects*"))


def test_a_full_disk_is_one_sentence_and_leaves_what_there_was(case, monkeypatch):
    find(case)
    before = find_images(case.out / "objects").paths

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("dnn.crops._save_crop", full)
    with pytest.raises(
        SAFEError, match=r"Could not write .*objects: No space left on device\. Its content is unchanged"
    ):
        find(case)
    assert find_images(case.out / "objects").paths == before


def test_no_usable_image_is_an_error_and_nothing_is_written(case, tmp_path):
    find(case)
    before = find_images(case.out / "objects").paths
    for image in case.images.iterdir():
        image.unlink()
    with pytest.raises(SAFEError, match=r"Received none that can be used\. The first: 0000\.png, not in"):
        find(case)
    with pytest.raises(SAFEError, match="no folder"):
        find_detection_failures(case.truth, case.results, tmp_path / "gone", case.out)
    assert find_images(case.out / "objects").paths == before


def test_files_that_safe_did_not_write_are_kept(case, tmp_path):
    case.out.mkdir()
    (case.out / "parameters.csv").write_text("image,weather\n")
    with pytest.raises(SAFEError, match=r"parameters\.csv .* to be missing or written by SAFE"):
        find(case)
    (case.out / "parameters.csv").unlink()
    (case.out / "objects").mkdir()
    (case.out / "objects" / "thesis.txt").write_text("mine")
    with pytest.raises(SAFEError, match=r"other files \(thesis\.txt\)"):
        find(case)
    assert names_in(case.out / "objects") == ["thesis.txt"]
    with pytest.raises(SAFEError, match="outside the test folder"):
        find_detection_failures(case.truth, case.results, case.images, case.images / "out")


def test_a_second_run_replaces_the_first(case):
    find(case, iou=0.999)
    find(case)
    assert len(rows(case.out / "objects.csv")) == len(find_images(case.out / "objects").paths)


def test_a_classifiers_failures_in_the_same_folder_do_not_keep_a_detectors_tables(case):
    failures = find(case)
    save_failures(failures, case.out, predictions="image,predicted\n")
    assert names_in(case.out) == ["accuracy.json", "failures", "failures.csv", "objects", "predictions.csv"]
    (case.out / "parameters.csv").write_text("image,weather\n")
    save_failures(failures, case.out)
    assert (case.out / "parameters.csv").is_file(), "the engineer's own"


def test_crops_in_a_folder_of_images_are_no_further_images(case):
    find(case)
    (case.out / "own.png").write_bytes((case.images / "0000.png").read_bytes())
    listing = find_images(case.out)
    assert listing.paths == ("own.png",)
    assert [skip.reason for skip in listing.skipped] == ["copies made by SAFE"] * 2


# --- The command line, and the steps after it -----------------------------------------------------------------------


def test_the_command_line_says_what_was_found(case, capsys):
    assert SAFE_Tool.main([*map(str, case.arguments), "--iou", "0.6", "--score", "0.65"]) == 0
    out = capsys.readouterr().out
    assert "With a score from 0.65 and an overlap (IoU) from 0.6:" in out
    assert "Failures by type: missed" in out
    assert "Written: objects/, failures/" in out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "for a detector, --coco TRUTH RESULTS IMAGES"),
        (["model.keras", "test", "--iou", "0.5"], "for a detector, --coco"),
        (["model.keras", "--coco", "t", "r", "i"], "either --coco or --yolo, without MODEL, TEST and their options"),
    ],
)
def test_arguments_of_a_classifier_and_of_a_detector_are_not_mixed(arguments, expected, capsys):
    assert SAFE_Tool.main(["failures", *arguments]) == 2
    assert expected in capsys.readouterr().err


def test_the_causes_of_a_detectors_failures_are_among_its_weak_spots(tmp_path):
    case = draw_detected(tmp_path, 60)
    find(case)
    tested = read_predictions(*find_predictions(case.out / "failures"))
    known = known_of(tested)
    assert known.columns.keys().isdisjoint({"type", "confused_with"}), "they would only say that an image is wrong"
    assert "nothing" not in {*known.columns["label"], *known.columns["predicted"]}
    spots = [spot.where for spot in weak_spots_of(tested, known)]
    assert spots[0].startswith("brightness < 0.4")


def test_crops_are_clustered_described_and_explained(fake_network, case, tmp_path):
    find(case)
    out = tmp_path / "run"
    clusters = generate_clusters(case.out / "failures", out)
    assert {clusters.told(row) for row in range(len(clusters.paths))} > {"box, missed"}
    assert explain_failures(out)
    record = json.loads((out / "run.json").read_text())
    assert record["predictions"]["notes"] == record["parameters"]["notes"] == []
    assert {"type", "object_px"} <= {row["parameter"] for row in rows(out / "rcc_profiles.csv")}
    document = report_html(out)
    assert "Missed or false" in document
    assert "taken for nothing" not in document
