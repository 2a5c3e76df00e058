"""RCCs, and the files that keep them."""

import dataclasses
import json

import numpy as np
import pytest

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers
from safe_dnn.rccs.clusters import RUN_FILE, load_clusters, save_clusters
from safe_dnn.rccs.dbscan.contrast import ExplainedUncertainty
from safe_dnn.support.version import VERSION
from tests.helpers.features import features_of
from tests.helpers.places import in_run


def test_saved_clusters_load_equal(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)), weights=str(tmp_path / "weights.h5"))
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


def test_saved_clusters_know_the_name_of_a_regression_s_target(tmp_path):
    numbers = np.full(32, "0.5")
    answers = Answers(numbers, numbers, np.zeros(32, np.float32), ERROR, target="steering")
    save_clusters(dataclasses.replace(find_root_cause_clusters(features_of((20, 12))), answers=answers), tmp_path)
    loaded = load_clusters(tmp_path).answers
    assert (loaded.target, loaded.kind) == ("steering", ERROR)


@pytest.mark.parametrize(("kind", "beyond"), [(ERROR, False), (CONFIDENCE, True)])
def test_only_of_classes_is_said_what_is_explained_beyond_them(kind, beyond):
    answers = Answers(*(np.array(["1"] * 32),) * 2, np.zeros(32, np.float32), kind)
    found = find_root_cause_clusters(features_of((20, 12)))
    found = dataclasses.replace(found, answers=answers, beyond_class=ExplainedUncertainty(0.2, 0.1, True))
    assert found.explained_text.startswith(
        "Grouped by contrast with correctly classified images: these clusters explain"
    )
    assert ("beyond the class" in found.explained_text) == beyond


def test_run_json_says_how_the_clusters_came_about(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)))
    save_clusters(found, tmp_path)
    record = json.loads(in_run(tmp_path, RUN_FILE).read_text())
    assert record["counts"] == {"images": 32, "rccs": 2, "noise": 0, "skipped": 1}
    assert record["rcc_sizes"] == [20, 12]
    assert record["skipped"] == [{"path": "broken.png", "reason": "the file is empty"}]
    assert record["extractor"]["notice"] == "a notice"
    assert len(record["settings_tried"]) == len(found.settings)
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["safe"] == VERSION
