"""The search for weak spots."""

import math

import numpy as np
import pytest

from safe_dnn.rccs.spots import weak_spots
from safe_dnn.rccs.spots.weak_spots import find_weak_spots, sample_note
from tests.helpers.driving import CLASS_AND_PREDICTION, driving, names, search


def test_a_cause_that_is_hidden_by_a_larger_one_is_found_too():
    columns, wrong = driving(1500)
    night, turned = search(columns, wrong)[:2]
    assert night.where == "light < 0.2"
    assert night.holds(columns).tolist() == (columns["light"] < 0.2).tolist()
    assert names(turned) == {"head_deg"}
    truth = columns["head_deg"] > 25
    assert np.count_nonzero(turned.holds(columns) & truth) > 0.8 * np.count_nonzero(turned.holds(columns) | truth)


def test_a_cause_that_shares_most_failures_with_a_larger_one_is_named_as_well():
    place = np.arange(2000)
    small, cut_off = place < 200, (place >= 130) & (place < 260)
    columns = {"size_px": np.where(small, 10.0, 30.0), "cut_off": np.where(cut_off, "yes", "no")}
    assert [spot.where for spot in find_weak_spots(columns, small | cut_off)] == ["size_px < 20", "cut_off = yes"]


def test_dark_and_rather_dark_images_are_one_reason_and_dark_and_bright_ones_are_two():
    rng = np.random.default_rng(0)
    light = rng.uniform(0, 1, 2000)
    wrong = rng.random(2000) < np.select([light < 0.2, light < 0.3, light >= 0.9], [0.9, 0.5, 0.9], 0.03)
    assert [spot.where for spot in find_weak_spots({"light": light}, wrong)] == ["light < 0.3", "light >= 0.9"]


def test_class_and_predicted_class_never_stand_together():
    columns, wrong = driving(1500)
    only = {name: columns[name] for name in CLASS_AND_PREDICTION}
    assert all(len(spot.literals) == 1 for spot in search(only, wrong))
    assert any(names(spot) == {"label", "predicted"} for spot in find_weak_spots(only, wrong))


@pytest.mark.parametrize("seed", range(4))
def test_a_prediction_does_not_stand_with_a_parameter_that_determines_the_class(seed):
    rng = np.random.default_rng(seed)
    gaze = rng.uniform(0, 360, 2000)
    label = np.array(["right", "up", "left", "down"])[((gaze + 45) % 360 // 90).astype(int)]
    wrong = rng.random(2000) < 0.15
    columns = {"label": label, "predicted": np.where(wrong, rng.permutation(label), label), "gaze_deg": gaze}
    wrong = columns["label"] != columns["predicted"]
    assert find_weak_spots(columns, wrong, never_together=CLASS_AND_PREDICTION) == []
    assert any(names(spot) == {"predicted", "gaze_deg"} for spot in find_weak_spots(columns, wrong))


def test_of_a_large_test_set_a_part_is_searched_and_all_is_counted(monkeypatch):
    monkeypatch.setattr(weak_spots, "MOST_SEARCHED", 1000)
    columns, wrong = driving(30_000)
    spots = search(columns, wrong)
    assert spots == search(columns, wrong)
    assert (names(spots[0]), spots[0].tested) == ({"light"}, np.count_nonzero(columns["light"] < 0.2))
    assert "random part of 1,000 of the 30,000 tested images" in sample_note(30_000)
    assert sample_note(1000) == ""


@pytest.mark.parametrize(
    "column",
    [
        np.zeros(300),
        np.full(300, math.nan),
        np.full(300, "night"),
        np.full(300, ""),
        np.array([f"image {i}" for i in range(300)]),
        np.where(np.arange(300) < 5, 1.0, math.nan),
        np.where(np.arange(300) < 5, "a", ""),
        np.where(np.arange(300) < 150, math.inf, -math.inf),
    ],
    ids=["constant", "unknown", "one value", "empty", "unique", "few numbers", "few values", "infinite"],
)
def test_a_column_that_says_nothing_is_no_reason(column):
    wrong = np.arange(300) < 150
    assert find_weak_spots({"column": column}, wrong) == []
    assert find_weak_spots({"column_deg": column}, wrong) == []
