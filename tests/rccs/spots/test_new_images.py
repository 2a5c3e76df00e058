"""What is expected of new images, against what is drawn anew."""

import math

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal, hold
from safe_dnn.rccs.spots.figures import Groups, assess
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots
from safe_dnn.reasons.known import with_new_rates

VALUES = 6
RUNS = range(700, 712)


def draw(images: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Categories of which each matters a little, as in reality, and how likely each image is wrong."""
    effects = np.random.default_rng(0).normal(0, 0.35, (12, VALUES))
    values = np.random.default_rng(seed).integers(0, VALUES, (images, len(effects)))
    logit = -1.5 + effects[np.arange(len(effects)), values].sum(axis=1)
    return {f"c{i}": column.astype(str) for i, column in enumerate(values.T)}, 1 / (1 + np.exp(-logit))


def search(columns, wrong, groups=None) -> list[WeakSpot]:
    return find_weak_spots(columns, wrong, groups=groups)


def expected_of(find, columns, wrong, groups=None) -> list[WeakSpot]:
    """What a search finds, with the rates of new images."""

    def search(rows):
        taken = {name: column[rows] for name, column in columns.items()}
        return find(taken, wrong[rows], groups and groups.taken(rows))

    return with_new_rates(find(columns, wrong, groups), columns, wrong, search, groups=groups)


def test_intervals_hold_the_rate_of_new_images_where_those_of_the_counted_rate_do_not():
    new, likely = draw(20_000, seed=99)
    counted, expected, off = [], [], []
    for seed in RUNS:
        columns, chance = draw(3000, seed)
        wrong = np.random.default_rng(seed).random(3000) < chance
        for before, spot in zip(search(columns, wrong), expected_of(search, columns, wrong), strict=True):
            truth, of = likely[spot.holds(new)].mean(), spot.figures
            counted.append(before.figures.low <= truth <= before.figures.high)
            expected.append(of.low <= truth <= of.high)
            off.append((of.rate - truth, spot.new_rate - truth))
    assert len(counted) > 20
    assert np.mean(expected) >= 0.93 > np.mean(counted)
    assert abs(np.mean(off, axis=0)[1]) < np.mean(off, axis=0)[0] * 0.6


def two_spots(columns, wrong, groups=None) -> list[WeakSpot]:
    """What a search would find that always takes the same conditions."""
    spots = []
    for literals in ((Literal("x", "=", "a"),), (Literal("x", "=", "b"), Literal("y", "=", "c"))):
        (figures,) = assess([hold(literals, columns, len(wrong))], wrong)
        spots.append(WeakSpot(literals, figures))
    return spots


def alike(images: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Both conditions hold for half of the images, and half of these are wrong."""
    number = np.arange(images)
    return {"x": np.where(number % 2, "a", "b"), "y": np.full(images, "c")}, number % 4 < 2


def test_a_rate_that_loses_nothing_in_the_other_half_is_hardly_corrected():
    columns, wrong = alike(4000)
    usual = 0.25 * math.sqrt(0.25 / 2000)
    one, two = expected_of(two_spots, columns, wrong)
    assert 0 <= one.figures.rate - one.new_rate < usual
    assert two.figures.rate - two.new_rate == pytest.approx(2.8 * (one.figures.rate - one.new_rate), rel=0.01)
    assert one.figures.low < one.new_rate < one.figures.rate < one.figures.high


def test_without_halves_the_usual_loss_is_taken():
    columns, wrong = alike(4000)
    groups = Groups("person", np.zeros(4000, int))
    one, _ = expected_of(two_spots, columns, wrong, groups)
    assert one.figures.rate - one.new_rate == pytest.approx(0.25 * math.sqrt(0.25 / 2000), rel=0.01)


def test_groups_make_intervals_for_new_images_wider():
    rng = np.random.default_rng(0)
    person = rng.integers(0, 30, 1500)
    columns = {"night": rng.choice(["yes", "no"], 1500, p=[0.3, 0.7])}
    wrong = rng.random(1500) < np.where(columns["night"] == "yes", 0.6, 0.05) + rng.uniform(-0.3, 0.3, 30)[person]
    groups = Groups("person", person)
    (alone,) = expected_of(search, columns, wrong)
    (grouped,) = expected_of(search, columns, wrong, groups)
    assert np.ptp(grouped.figures[2:4]) > 1.2 * np.ptp(alone.figures[2:4])
