"""From ground truth and results to the files of a detector's failures, and from these to RCCs and weak spots."""

import json
import shutil
import time
from pathlib import Path

import pytest
from PIL import Image

from safe_dnn import SAFE_Tool
from safe_dnn.dnn.detection.detector_failures import (
    cut_seen_objects,
    find_detection_failures,
    sources_of,
    unsafe_images_text,
)
from safe_dnn.dnn.tested import find_predictions, read_predictions
from safe_dnn.pipeline.generation import generate_clusters
from safe_dnn.pipeline.improvement import select_images
from safe_dnn.pipeline.summary_lines import selection_summary
from safe_dnn.rccs.unsafe_set import UnsafeImage
from safe_dnn.selection import SelectionSettings
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import no_progress
from tests.helpers.detected import DetectedCase, draw_detected, write_json
from tests.helpers.places import names_in, rows_in


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> DetectedCase:
    return draw_detected(tmp_path_factory.mktemp("detected"), 12)


@pytest.fixture
def case(drawn, tmp_path) -> DetectedCase:
    shutil.copytree(drawn.truth.parent, tmp_path, dirs_exist_ok=True)
    return DetectedCase(tmp_path / "truth.json", tmp_path / "results.json", tmp_path / "images", tmp_path / "dnn")


def find(case: DetectedCase, progress=no_progress, **least):
    return find_detection_failures(case.given._replace(**least), case.out, progress=progress)


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


def test_a_class_name_longer_than_names_of_folders_may_be_is_cut_off_there(case):
    truth = json.loads(case.truth.read_text())
    truth["categories"][0]["name"] = "😀" * 64
    write_json(case.truth, truth)
    failures = find_detection_failures(case.given, case.out)
    assert "😀" * 64 in failures.classes
    assert (case.out / "objects" / ("😀" * 50)).is_dir()


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


def test_a_run_that_is_stopped_leaves_what_there_was_and_cuts_no_more(case, monkeypatch):
    find(case)
    before = (case.out / "objects.csv").read_text()
    cut: list[str] = []
    monkeypatch.setattr(
        "safe_dnn.dnn.detection.crops._save_crop", lambda picture, crop, *_: cut.append(crop.name) or time.sleep(0.02)
    )

    def stop(what: str, done: int, total: int) -> None:
        if what == "Cutting out objects":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        find(case, iou=0.9, progress=stop)
    assert 0 < len(cut) < 36
    assert (case.out / "objects.csv").read_text() == before
    assert len(find_images(case.out / "objects").paths) == before.count("\n") - 1
    assert not list(case.out.glob(".objects*"))


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
        find_detection_failures(case.given, case.images / "out")


# --- The command line, and the steps after it -----------------------------------------------------------------------


def test_the_command_line_says_what_was_found(case, capsys):
    assert SAFE_Tool.main([*map(str, case.arguments), "--iou", "0.6", "--score", "0.65"]) == 0
    out = capsys.readouterr().out
    assert "With a score from 0.65 and an overlap (IoU) from 0.6:" in out
    assert "Failures by type: missed" in out
    assert "Written: objects/, objects.csv, parameters.csv, failures/" in out


# --- The improvement set: crops to select from, and whole images to label ---------------------------------------


@pytest.fixture
def improvement(tmp_path) -> DetectedCase:
    """Other scenes, of which only the images and categories are known."""
    case = draw_detected(tmp_path / "improvement", 8, seed=1)
    record = json.loads(case.truth.read_text())
    write_json(case.truth, {"images": record["images"], "categories": record["categories"]})
    return case


def cut(case: DetectedCase, **options):
    return cut_seen_objects(case.truth, case.results, case.images, case.out, **options)


def test_every_detection_is_cut_out_and_traced_to_its_image(improvement):
    seen = cut(improvement)
    results = json.loads(improvement.results.read_text())
    images = {crop.image for crop in seen.crops}
    assert (len(seen.crops), len(images)) == (len(results), len({each["image_id"] for each in results}))
    assert names_in(improvement.out) == ["objects", "objects.csv", "parameters.csv"]
    sources = sources_of(improvement.out / "objects")
    assert tuple(sources) == find_images(improvement.out / "objects").paths
    assert all(name.startswith(Path(source).stem) for name, source in sources.items())
    known = rows_in(improvement.out / "parameters.csv")
    assert all(float(row["object_px"]) > 0 for row in known)
    assert {row["near_by"] + row["in_crowd"] + row["type"] for row in known} == {""}, "nothing tells them"


def test_whole_images_come_in_the_order_of_selection_with_their_crops():
    selected = [UnsafeImage(name, rcc, 0.5, True) for name, rcc in (("b_0.png", 0), ("a_0.png", 0), ("b_1.png", 1))]
    text, n_whole = unsafe_images_text(selected, {"b_0.png": "b.jpg", "a_0.png": "=a.jpg", "b_1.png": "b.jpg"})
    assert n_whole == 2
    assert text.splitlines() == [
        "image,crop,rcc,distance",
        "b.jpg,b_0.png,0,0.5",
        "b.jpg,b_1.png,1,0.5",
        "'=a.jpg,a_0.png,0,0.5",
    ]


def test_a_damaged_table_of_crops_is_an_error(improvement):
    cut(improvement)
    (improvement.out / "objects.csv").write_text("name\nx\n")
    with pytest.raises(SAFEError, match="Cut out the objects again"):
        sources_of(improvement.out / "objects")
    assert sources_of(improvement.images) == {}
    assert sources_of(improvement.out / "objects", within=improvement.images) == {}, "another's, outside of the root"


def test_selecting_from_crops_names_the_whole_images_to_label(fake_network, improvement, tmp_path, draw_folder):
    tested = draw_detected(tmp_path / "tested", 12)
    find_detection_failures(tested.given, tested.out)
    out = tmp_path / "run"
    generate_clusters(tested.out / "failures", out)
    assert SAFE_Tool.main(["crops", *map(str, improvement[:3]), "--out", str(improvement.out)]) == 0
    unsafe = select_images(improvement.out / "objects", out, SelectionSettings(size="6"))
    table = rows_in(out / "unsafe_images.csv")
    assert sorted(row["crop"] for row in table) == sorted(image.image for image in unsafe.images)
    whole = {row["image"] for row in table}
    assert all((improvement.images / image).is_file() for image in whole)
    assert f"they are parts of {len(whole)} whole images (unsafe_images.csv)" in selection_summary(unsafe)
    select_images(draw_folder(tmp_path / "plain", {"night": 9}), out, SelectionSettings(size="3"))
    assert not (out / "unsafe_images.csv").exists(), "these images are whole"
