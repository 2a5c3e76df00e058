"""From ground truth and results to the files of a detector's failures, and from these to RCCs and weak spots."""

import json
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from safe_dnn.dnn.detection.converter import find_detection_failures
from safe_dnn.dnn.tested import collected_answers
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import reporting
from tests.helpers.detected import DetectedCase, draw_detected
from tests.helpers.places import names_in


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> DetectedCase:
    return draw_detected(tmp_path_factory.mktemp("detected"), 12)


@pytest.fixture
def case(drawn, tmp_path) -> DetectedCase:
    shutil.copytree(drawn.truth.parent, tmp_path, dirs_exist_ok=True)
    return DetectedCase(tmp_path / "truth.json", tmp_path / "results.json", tmp_path / "images", tmp_path / "dnn")


def find(case: DetectedCase, **least):
    return find_detection_failures(case.given._replace(**least), case.out)


def test_the_crops_are_a_test_set_with_predictions(case):
    failures = find(case)
    truth, results = json.loads(case.truth.read_text()), json.loads(case.results.read_text())
    assert names_in(case.out) == [
        "accuracy.json", "failures", "failures.csv", "objects", "predictions.csv"
    ]  # fmt: skip
    tested = collected_answers(case.out / "failures")
    assert tested.notes == ()
    assert tested.root == case.out / "objects"
    assert tested.paths == find_images(case.out / "objects").paths
    assert find_images(case.out / "failures").paths == failures.failing
    assert len(tested.paths) == len(failures.paths)
    assert tested.failing == failures.failing
    found = int(tested.right.sum())
    assert f"{found} of {len(truth['annotations'])} objects found" in failures.notes[0]
    assert f"{len(results) - found} false detections" in failures.notes[0]


def test_images_that_cannot_be_used_are_skipped_and_told(case):
    (case.images / "0000.png").unlink()
    (case.images / "0001.png").write_bytes(b"no image")
    Image.new("RGB", (80, 160)).save(case.images / "0002.png")
    failures = find(case)
    assert [(skip.path, skip.reason.split(",")[0]) for skip in failures.skipped] == [
        ("0000.png", f"not in {case.images}"), ("0001.png", "not an image"), ("0002.png", "80 × 160 pixels"),
    ]  # fmt: skip
    assert any("36 objects" in note for note in failures.notes), "they count as the evaluation counts them"
    assert any(note.startswith("Without a crop") for note in failures.notes)
    assert not any(Path(path).name < "0003" for path in find_images(case.out / "objects").paths)


def test_a_run_that_is_stopped_leaves_what_there_was_and_cuts_no_more(case, monkeypatch):
    find(case)
    before = (case.out / "objects" / "parameters.csv").read_text()
    cut: list[str] = []
    monkeypatch.setattr(
        "safe_dnn.dnn.detection.converter._save_crop",
        lambda picture, crop, *_: cut.append(crop.name) or time.sleep(0.02),
    )

    def stop(what: str, done: int, total: int) -> None:
        if what == "Cutting out objects":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), reporting(stop):
        find(case, iou=0.9)
    assert 0 < len(cut) < 36
    assert (case.out / "objects" / "parameters.csv").read_text() == before
    assert len(find_images(case.out / "objects").paths) == before.count("\n") - 1
    assert not list(case.out.glob(".objects*"))


# --- The command line, and the steps after it -----------------------------------------------------------------------
