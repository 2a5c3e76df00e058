"""Every detection as an image, to select from, and traced to its whole image."""

import json
from pathlib import Path

import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.api.generation import generate_clusters, select_images
from safe_dnn.dnn.detection.converter import cut_detections, find_detection_failures
from safe_dnn.options import SelectionSettings
from safe_dnn.rccs.unsafe_set import UnsafeImage, full_images_text
from safe_dnn.report.summary_lines import selection_summary
from safe_dnn.support.images import find_images
from tests.helpers.detected import DetectedCase, draw_detected, write_json
from tests.helpers.places import names_in, rows_in


@pytest.fixture
def improvement(tmp_path) -> DetectedCase:
    """Other scenes, of which only the images and categories are known."""
    case = draw_detected(tmp_path / "improvement", 8, seed=1)
    record = json.loads(case.truth.read_text())
    write_json(case.truth, {"images": record["images"], "categories": record["categories"]})
    return case


def cut(case: DetectedCase, **options):
    return cut_detections(case.truth, case.results, case.images, case.out, **options)


def test_every_detection_is_cut_out_and_traced_to_its_image(improvement):
    seen = cut(improvement)
    results = json.loads(improvement.results.read_text())
    images = {crop.image for crop in seen.crops}
    assert (len(seen.crops), len(images)) == (len(results), len({each["image_id"] for each in results}))
    assert names_in(improvement.out) == ["objects"]
    known = rows_in(improvement.out / "objects" / "parameters.csv")
    assert tuple(row["image"] for row in known) == find_images(improvement.out / "objects").paths
    assert all(row["image"].startswith(Path(row["full_image"]).stem) for row in known)
    assert all(float(row["object_px"]) > 0 for row in known)
    assert {row["near_by"] + row["in_crowd"] + row["type"] for row in known} == {""}, "nothing tells them"


def test_whole_images_come_in_the_order_of_selection_with_their_crops():
    selected = [UnsafeImage(name, rcc, 0.5, True) for name, rcc in (("b_0.png", 0), ("a_0.png", 0), ("b_1.png", 1))]
    text, n_whole = full_images_text(selected, {"b_0.png": "b.jpg", "a_0.png": "=a.jpg", "b_1.png": "b.jpg"})
    assert n_whole == 2
    assert text.splitlines() == [
        "image,part,rcc,distance", "b.jpg,b_0.png,0,0.5", "b.jpg,b_1.png,1,0.5", "'=a.jpg,a_0.png,0,0.5",
    ]  # fmt: skip


def test_selecting_from_crops_names_the_whole_images_to_label(fake_network, improvement, tmp_path, draw_folder):
    tested = draw_detected(tmp_path / "tested", 12)
    find_detection_failures(tested.given, tested.out)
    out = tmp_path / "run"
    generate_clusters(tested.out / "failures", out)
    assert SAFE_Tool.main(["crops", *map(str, improvement[:3]), "--out", str(improvement.out)]) == 0
    unsafe = select_images(improvement.out / "objects", out, SelectionSettings(size="6"))
    table = rows_in(out / "unsafe_images.csv")
    assert sorted(row["part"] for row in table) == sorted(image.image for image in unsafe.images)
    whole = {row["image"] for row in table}
    assert all((improvement.images / image).is_file() for image in whole)
    assert f"they are parts of {len(whole)} full images (unsafe_images.csv)" in selection_summary(unsafe)
    table = improvement.out / "objects" / "parameters.csv"
    table.write_text(table.read_text() + '"')
    unsafe = select_images(improvement.out / "objects", out, SelectionSettings(size="6"))
    assert "whether they are parts of full images is unknown: Expected" in selection_summary(unsafe)
    select_images(draw_folder(tmp_path / "plain", {"night": 9}), out, SelectionSettings(size="3"))
    assert not (out / "unsafe_images.csv").exists(), "these images are whole"
