"""Conditions made plain: no clause that only leaves out another reason, and limits where the curve bends."""

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.revision import KnownImages, merged_with, revised, without_needless
from safe_dnn.rccs.spots.weak_spots import find_weak_spots

DARK, BRIGHT, BLURRED = Literal("dark", ">=", 0.8), Literal("dark", "<", 0.8), Literal("blur", ">=", 1.0)


def overlapping(seed, n=6000, together=1.0):
    """Images that fail if they are dark, and if they are blurred, each by itself; dark ones are more often blurred.

    `together` is the share of the power of blur that is left in the dark.
    """
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=n)
    columns = {"dark": np.round(factor + rng.normal(size=n), 3), "blur": np.round(factor + rng.normal(size=n), 3)}
    dark, blurred = columns["dark"] >= 0.8, columns["blur"] >= 1.0
    power = np.where(dark, 0.45 * together, 0.45)
    right = 0.96 * np.where(dark, 0.4, 1) * np.where(blurred, 1 - power, 1)
    return columns, rng.random(n) > right


@pytest.mark.parametrize("seed", range(5))
def test_a_clause_that_only_leaves_out_another_reason_goes(seed):
    columns, wrong = overlapping(seed)
    assert without_needless([(DARK,), (BRIGHT, BLURRED)], KnownImages(columns, wrong)) == [(DARK,), (BLURRED,)]


@pytest.mark.parametrize("seed", range(5))
def test_a_clause_without_which_there_is_nothing_stays(seed):
    columns, wrong = overlapping(seed, together=0.1)
    found = [(DARK,), (BRIGHT, BLURRED)]
    assert without_needless(found, KnownImages(columns, wrong)) == found


def test_of_two_causes_in_one_condition_each_stands_alone():
    columns, wrong = overlapping(0)
    assert {*without_needless([(DARK, BLURRED)], KnownImages(columns, wrong))} == {(DARK,), (BLURRED,)}


def test_an_interaction_stays_whole():
    rng = np.random.default_rng(0)
    a, b = (np.where(rng.random(8000) < 0.4, "yes", "no") for _ in "ab")
    wrong = rng.random(8000) < np.where((a == "yes") & (b == "yes"), 0.6, 0.03)
    both = (Literal("a", "=", "yes"), Literal("b", "=", "yes"))
    assert revised([both], KnownImages({"a": a, "b": b}, wrong)) == [both]


def test_a_condition_of_each_class_becomes_one_and_a_class_is_no_clause_to_drop():
    """Sketches fail, whatever they show: rows of one class each say one thing."""
    rng = np.random.default_rng(1)
    label, domain = rng.choice(["dog", "horse", "house"], 6000), rng.choice(["photo", "sketch"], 6000)
    wrong = rng.random(6000) < np.where(domain == "sketch", 0.7, 0.1)
    sketch = Literal("domain", "=", "sketch")
    found = [(Literal("label", "=", name), sketch) for name in ("dog", "horse", "house")]
    classes = np.unique(label, return_inverse=True)[1]
    columns = {"label": label, "domain": domain}
    assert revised(found, KnownImages(columns, wrong, "label", classes)) == [(sketch,)]
    only = rng.random(6000) < np.where((domain == "sketch") & (label == "dog"), 0.7, 0.1)
    assert revised(found[:1], KnownImages(columns, only, "label", classes)) == found[:1]


def test_few_images_beyond_a_clause_decide_nothing():
    columns, wrong = overlapping(0, n=150)
    found = [(DARK,), (BRIGHT, BLURRED)]
    assert without_needless(found, KnownImages(columns, wrong)) == found


def test_equal_conditions_and_ranges_that_touch_are_one():
    low, high = Literal("dark", "from", (0.2, 0.8)), Literal("dark", "from", (0.8, 1.0))
    assert merged_with([(BLURRED, DARK)], (DARK, BLURRED)) == [(BLURRED, DARK)]
    assert merged_with([(low,), (BLURRED,)], (high,)) == [(BLURRED,), (Literal("dark", "from", (0.2, 1.0)),)]


def curved(seed, n):
    """A number along which failing rises or falls as a logistic curve, beside another cause; wrong, and the curve."""
    rng = np.random.default_rng(seed)
    x = np.round(rng.uniform(0, 1, n) if seed % 2 else rng.beta(2, 2, n), 4)
    bend, steep, sign = rng.uniform(0.2, 0.8), rng.choice([8, 15, 30, 80]), rng.choice([-1, 1])
    low, high, y = rng.uniform(0.02, 0.2), rng.uniform(0.5, 0.95), np.round(rng.normal(size=n), 3)

    def curve(value):
        return 1 / (1 + np.exp(-steep * sign * (value - bend)))

    wrong = rng.random(n) < 1 - (1 - low - (high - low) * curve(x)) * np.where(y > 1.2, 0.6, 1)
    return {"x": x, "y": y, "label": rng.choice(["a", "b", "c"], n)}, wrong, curve


def test_a_limit_lies_between_a_quarter_and_three_quarters_of_the_curve():
    named = []
    for seed in range(45):
        columns, wrong, curve = curved(seed, (300, 1000, 5000)[seed % 3])
        spots = find_weak_spots(columns, wrong, label="label")
        of_x = [one for spot in spots for one in spot.literals if one.column == "x"]
        named += [0.25 <= curve(one.value) <= 0.75 for one in of_x[:1] if isinstance(one.value, float)]
    assert len(named) >= 40
    assert np.mean(named) >= 0.8


def test_of_a_graded_disturbance_the_limit_is_at_the_steepest_step():
    """The error rate falls .94 .85 .65 .40 .27 .20 .17 .14 over eight levels: the limit is between .65 and .27."""
    level, rates = np.repeat([1.0, 2, 3, 5, 10, 15, 20, 30], 600), [0.94, 0.85, 0.65, 0.40, 0.27, 0.20, 0.17, 0.14]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        wrong = rng.random(len(level)) < np.repeat(rates, 600)
        (spot,) = find_weak_spots({"contrast": level, "noise": rng.random(len(level))}, wrong)[:1]
        ((literal),) = spot.literals
        assert literal.sign == "<"
        assert 3 < literal.value < 10
