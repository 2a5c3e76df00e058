"""RCCs, and the files that keep them."""

import dataclasses
import json

import numpy as np
import pytest

from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from rccs.answers import CONFIDENCE, NOTHING, Answers
from rccs.clusters import load_clusters, rcc_reach, save_clusters
from support.errors import SAFEError
from support.run_folder import CLUSTERS_FILE, LABELS_FILE, RUN_FILE
from support.version import VERSION
from tests.helpers.features import features_of


def test_an_rcc_reaches_as_far_as_its_farthest_image_from_a_core_point():
    points = np.array([[0], [1], [3], [10], [10.5]], np.float32)
    labels = np.array([0, 0, 0, 1, 1])
    is_core = np.array([True, True, False, True, False])
    assert rcc_reach(points, labels, is_core).tolist() == [2.0, 0.5]


def test_saved_clusters_load_equal(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)), weights="weights.h5")
    save_clusters(found, tmp_path)
    loaded = load_clusters(tmp_path)
    for field in dataclasses.fields(found):
        before, after = getattr(found, field.name), getattr(loaded, field.name)
        if isinstance(before, np.ndarray):
            assert np.array_equal(before, after), field.name
            assert before.dtype == after.dtype, field.name
        elif field.name in ("projection", "steadiness"):
            assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        else:
            assert before == after, field.name


@pytest.mark.parametrize("detector", [True, False])
def test_whether_the_answers_are_a_detectors_is_kept_with_them(tmp_path, detector):
    found = find_root_cause_clusters(features_of((3, 3)))
    nothing = np.full(6, NOTHING)
    answers = Answers(np.full(6, "car"), nothing, np.full(6, np.nan, np.float32), CONFIDENCE, detector)
    save_clusters(dataclasses.replace(found, answers=answers), tmp_path)
    assert load_clusters(tmp_path).told(0) == ("car, missed" if detector else "car → nothing")


def test_answers_of_an_older_version_are_no_detectors(tmp_path):
    found = find_root_cause_clusters(features_of((3, 3)))
    answers = Answers(np.full(6, "car"), np.full(6, "nothing"), np.full(6, 0.5, np.float32), CONFIDENCE)
    save_clusters(dataclasses.replace(found, answers=answers), tmp_path)
    with np.load(tmp_path / CLUSTERS_FILE, allow_pickle=False) as stored:
        arrays = dict(stored)
    label, predicted, kind, _ = json.loads(arrays["answers"].tobytes())
    arrays["answers"] = np.frombuffer(json.dumps([label, predicted, kind]).encode(), np.uint8)
    np.savez(tmp_path / CLUSTERS_FILE, **arrays)
    assert load_clusters(tmp_path).told(0) == "car → nothing (50%)"


def test_labels_txt_has_a_line_per_image_in_the_order_of_paths(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)))
    save_clusters(found, tmp_path)
    lines = (tmp_path / LABELS_FILE).read_text().splitlines()
    assert lines == [f"{label}\t{path}" for label, path in zip(found.labels, found.paths, strict=True)]
    assert lines == sorted(lines, key=lambda line: line.split("\t")[1])


def test_the_same_images_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_clusters(find_root_cause_clusters(features_of((20, 12, 9))), tmp_path / folder)
    assert (tmp_path / "one" / LABELS_FILE).read_bytes() == (tmp_path / "two" / LABELS_FILE).read_bytes()


def test_run_json_says_how_the_clusters_came_about(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)))
    save_clusters(found, tmp_path)
    record = json.loads((tmp_path / RUN_FILE).read_text())
    assert record["counts"] == {"images": 32, "rccs": 2, "noise": 0, "skipped": 1}
    assert record["rcc_sizes"] == [20, 12]
    assert record["inspect_percent"] == 31.25
    assert record["skipped"] == [{"path": "broken.png", "reason": "the file is empty"}]
    assert record["extractor"]["notice"] == "a notice"
    assert len(record["settings_tried"]) == len(found.settings)
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["safe"] == VERSION


def test_paths_that_are_no_unicode_survive(tmp_path):
    found = find_root_cause_clusters(features_of((3, 3)))
    odd = dataclasses.replace(found, paths=("caf\udce9.png", *found.paths[1:]))
    save_clusters(odd, tmp_path)
    assert load_clusters(tmp_path).paths[0] == "caf\udce9.png"
    assert b"caf\xe9.png" in (tmp_path / LABELS_FILE).read_bytes()


def test_missing_clusters_are_asked_for(tmp_path):
    with pytest.raises(SAFEError, match="Generate them first"):
        load_clusters(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another archive", "later version"])
def test_damaged_clusters_are_refused_in_a_sentence(damage, tmp_path, monkeypatch):
    found = find_root_cause_clusters(features_of((6, 5)))
    if damage == "later version":
        monkeypatch.setattr("rccs.clusters.FORMAT_VERSION", 99)
    save_clusters(found, tmp_path)
    monkeypatch.undo()
    path = tmp_path / CLUSTERS_FILE
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("labels")
    elif damage == "another archive":
        np.savez(path, other=np.zeros(3))
    with pytest.raises(SAFEError, match="Generate the clusters again"):
        load_clusters(tmp_path)


def test_all_noise_has_no_rccs():
    found = find_root_cause_clusters(features_of((2,)))
    assert found.n_rccs == 0
    assert found.noise_share == 1
    assert found.sizes.tolist() == []
    assert len(found.members(NOISE)) == 2
