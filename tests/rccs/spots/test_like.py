"""Like with like: what a condition is compared with, and in which order conditions are."""

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.figures import assess, expected_rate
from safe_dnn.rccs.spots.rates import alike, by_gain, without_mixtures
from safe_dnn.rccs.spots.weak_spots import find_weak_spots, ranked
from safe_dnn.reasons.known import with_new_rates
from tests.helpers.spots import weak_spot

DARK, BLURRED = (Literal("light", "<", 0.4),), (Literal("blur", ">=", 4.0),)


def reasons(columns, wrong, label=""):
    """What the search finds, with rates of new images, in the order of the list."""

    def search(rows):
        return find_weak_spots({name: column[rows] for name, column in columns.items()}, wrong[rows], label=label)

    spots = with_new_rates(search(np.arange(len(wrong))), columns, wrong, search)
    return ranked(spots, columns, wrong, label)


def test_the_expected_rate_is_that_of_each_class_outside_weighted_as_inside():
    classes = np.repeat([0, 1], [10, 20])
    wrong, inside = np.zeros(30, bool), np.zeros(30, bool)
    inside[[0, 10, 11]] = True
    wrong[[1, 2, 12]] = True
    outside = ~inside
    mean = 3 / 27
    first, second = (2 + 2 * mean) / (9 + 2), (1 + 2 * mean) / (18 + 2)
    assert expected_rate(wrong, inside, outside, classes) == pytest.approx((first + 2 * second) / 3)
    assert expected_rate(wrong, inside, outside) == pytest.approx(mean)
    assert np.isnan(expected_rate(wrong, inside, np.zeros(30, bool), classes))


def test_images_of_other_conditions_count_neither_inside_nor_outside():
    holds = np.array([[1, 1, 1, 1, 0, 0, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1, 1, 0, 0, 0]], bool)
    wrong = np.array([1, 0, 1, 1, 1, 1, 1, 0, 0, 1], bool)
    dark, blurred = assess(holds, wrong, like=alike([DARK, BLURRED], holds, "label", None))
    assert (dark.alone, dark.alone_wrong, dark.like) == (2, 1, pytest.approx(1 / 3))
    assert (blurred.alone, blurred.alone_wrong, blurred.like) == (3, 3, pytest.approx(1 / 3))


def test_what_lies_in_conditions_above_it_is_no_reason():
    """Dark images have little contrast: of low contrast and slight blur, few failures are left beside darkness."""
    rng = np.random.default_rng(0)
    dark, blurred = rng.random(4000) < 0.06, rng.random(4000) < 0.08
    mixed = (dark & (rng.random(4000) < 0.6)) | (blurred & (rng.random(4000) < 0.3))
    wrong = rng.random(4000) < np.select([dark, blurred], [0.9, 0.35], 0.01)
    mixture = Literal("blur", ">=", 0.5), Literal("contrast", "<", 0.05)
    holds = np.array([mixed, dark, blurred])
    assert without_mixtures([mixture, DARK, BLURRED], holds, wrong, "label", None) == [1, 2]
    single = [(Literal("contrast", "<", 0.05),), DARK, BLURRED]
    assert sorted(without_mixtures(single, holds, wrong, "label", None)) == [0, 1, 2]  # only conjunctions are judged


def test_each_reason_holds_most_failures_of_those_above_none_holds():
    images = [{1, 2, 3, 4}, {4, 5, 6, 7, 8}, {5, 6, 9}, {10, 11, 12, 13, 14, 15}]
    failing = np.array([[number in each for number in range(16)] for each in images])
    others = ~np.eye(4, dtype=bool)
    assert by_gain(failing, others, np.array([False] * 3 + [True])) == ([1, 0, 2, 3], [5, 3, 1, 6])
    others[2, 1] = False  # the third is a narrower form of the second
    assert by_gain(failing, others) == ([3, 1, 0, 2], [6, 5, 3, 3])
    assert by_gain(np.zeros((0, 5), bool), np.zeros((0, 0), bool)) == ([], [])


def test_a_cause_that_other_causes_hide_is_no_chance():
    """A third of the blurred images are wrong, as of all images, most of which fail for other causes."""
    rng = np.random.default_rng(1)
    cause = rng.choice(["none", "glasses", "dark", "blur"], 1800, p=[0.58, 0.17, 0.15, 0.1])
    light, blur = np.where(cause == "dark", 0.1, rng.uniform(0.6, 1, 1800)), np.where(cause == "blur", 9.0, 0.0)
    wrong = rng.random(1800) < np.select(
        [cause == name for name in ("glasses", "dark", "blur")], [0.95, 0.9, 0.33], 0.01
    )
    columns = {"light": light, "glasses": np.where(cause == "glasses", "yes", "no"), "blur": blur}
    spots = reasons(columns, wrong)
    assert [{literal.column for literal in spot.literals} for spot in spots[:2]] == [{"glasses"}, {"light"}]
    blurred = next(spot for spot in spots if "blur" in spot.where)
    assert blurred.elsewhere > blurred.figures.low > blurred.figures.like
    assert not blurred.may_be_chance


def test_a_condition_inside_classes_is_compared_with_these_classes():
    rng = np.random.default_rng(2)
    label = rng.choice(["nv", "mel", "bkl"], 6000, p=[0.6, 0.2, 0.2])
    site = np.where(label == "nv", rng.choice(["back", "arm"], 6000), rng.choice(["arm", "leg"], 6000))
    rates = np.select([label == "mel", label == "bkl"], [0.65, 0.5], 0.03) + 0.09 * ((label == "nv") & (site == "back"))
    spots = reasons({"label": label, "site": site}, rng.random(6000) < rates, "label")
    spot = next(spot for spot in spots if "site = back" in spot.where)
    assert spot.elsewhere > spot.figures.high > spot.figures.low > spot.figures.like
    assert not spot.may_be_chance


def test_what_classes_alone_make_likely_may_be_chance():
    assert weak_spot(DARK, 44, 24, 0.31, 0.7, 0.69, new_rate=0.5).may_be_chance
    assert not weak_spot(DARK, 44, 24, 0.31, 0.7, 0.3, new_rate=0.5).may_be_chance
