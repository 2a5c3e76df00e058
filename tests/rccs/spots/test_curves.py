"""A rate over its range: bins are counted by hand, their intervals hold, and classes differ only where they do."""

import math
from collections import Counter

import numpy as np
import pytest

from safe_dnn.rccs.parameters import MOST_CATEGORIES
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.curves import CURVES_FILE, MOST_BINS, curves_text, find_curves, load_curves
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.store.runs import COMPARISON, add_run
from safe_dnn.support.intervals import clopper_pearson


def two_classes(rng, n=2000):
    return {"label": rng.choice(["man", "woman"], n), "age": rng.integers(0, 90, n).astype(float)}


def held_by(each, column):
    """The images of a bin, as the table's columns say."""
    if each.value:
        return column == each.value
    last = each.below == 1
    return (column >= each.low) & ((column <= each.high) if last else (column < each.high))


def test_bins_of_a_number_hold_each_known_image_once_and_their_counts_are_those_of_the_table():
    rng = np.random.default_rng(0)
    light = rng.gamma(2, size=700)
    light[:50] = np.nan
    wrong = rng.random(700) < 0.3
    bins = find_curves({"light": light}, wrong)
    inside = np.array([held_by(each, light) for each in bins])
    assert 8 <= len(bins) <= MOST_BINS
    assert (inside.sum(axis=0) == np.isfinite(light)).all()
    assert [each.tested for each in bins] == inside.sum(axis=1).tolist()
    assert [each.wrong for each in bins] == (inside & wrong).sum(axis=1).tolist()
    assert min(each.tested for each in bins) >= 30
    assert [each.below for each in bins] == pytest.approx(inside.sum(axis=1).cumsum() / 650)
    assert [each.middle for each in bins] == [np.median(light[held]) for held in inside]
    low, high = clopper_pearson(np.array([each.wrong for each in bins]), np.array([each.tested for each in bins]))
    assert [(each.rate_low, each.rate_high) for each in bins] == list(zip(low, high, strict=True))


def test_each_of_few_values_is_a_bin_and_a_category_has_its_most_frequent_values():
    lanes, weather = np.repeat([1.0, 2.0, 4.0], 100), np.repeat(["", "rain", "sun"], [10, 90, 200])
    bins = find_curves({"lanes": lanes, "weather": weather}, np.arange(300) % 3 == 0)
    assert [(each.middle, each.tested) for each in bins[:3]] == [(1, 100), (2, 100), (4, 100)]
    assert [(each.column, each.value, each.tested) for each in bins[3:]] == [
        ("weather", "sun", 200),
        ("weather", "rain", 90),
    ]
    assert all(math.isnan(each.low) and math.isnan(each.below) for each in bins[3:])
    names = np.array([f"{i}" for i in range(MOST_CATEGORIES + 5) for _ in range(10)])
    assert len(find_curves({"street": names}, np.arange(len(names)) % 2 == 0)) == MOST_CATEGORIES


def test_a_value_of_most_images_leaves_the_others_their_bins():
    angle = np.concatenate([np.linspace(-1, 1, 401), np.zeros(1000)])
    bins = find_curves({"angle": angle}, np.abs(angle) > 0.6)
    assert max(each.tested for each in bins) <= 1000 + 30
    assert [bins[0].rate, bins[-1].rate] == [1, 1]
    assert len(bins) >= 8


@pytest.mark.parametrize(
    "column", [np.full(100, 3.0), np.full(100, "day"), np.full(100, np.nan), np.append(np.full(99, np.nan), [1.0])]
)
def test_a_column_that_is_constant_or_unknown_has_no_curve(column):
    assert find_curves({"speed": column}, np.arange(100) < 30) == ()


def test_few_classes_have_a_bar_each_and_the_target_of_a_regression_has_a_curve():
    rng = np.random.default_rng(1)
    known = two_classes(rng)
    wrong = rng.random(2000) < 0.2
    bars = [each for each in find_curves(known, wrong, label="label") if each.column == "label"]
    assert {each.value: each.tested for each in bars} == dict(Counter(known["label"].tolist()))
    assert {each.column for each in find_curves({"label": known["age"]}, wrong)} == {"label"}


def test_classes_have_curves_of_their_own_where_they_differ_even_if_they_fail_equally_often_in_all():
    rng = np.random.default_rng(2)
    known = two_classes(rng)
    young, woman = known["age"] < 45, known["label"] == "woman"
    wrong = rng.random(2000) < np.where(young == woman, 0.4, 0.1)
    bins = find_curves(known, wrong, label="label")
    assert {each.of_class for each in bins} == {"", "woman", "man"}
    women = [each for each in bins if each.of_class == "woman"]
    assert [each.tested for each in women] == [np.count_nonzero(held_by(each, known["age"]) & woman) for each in women]
    assert women[-1].below == 1


def test_classes_that_fail_alike_seldom_have_curves_of_their_own():
    rng = np.random.default_rng(3)
    apart = 0
    for _ in range(200):
        known = two_classes(rng, 600)
        wrong = rng.random(600) < np.where(known["age"] < 20, 0.5, 0.05)
        apart += any(each.of_class for each in find_curves(known, wrong, label="label"))
    assert apart <= 18  # of 200 expected to be 10 at most, with a standard deviation of 3


def test_many_classes_have_no_curves_of_their_own():
    rng = np.random.default_rng(4)
    known = {"label": rng.choice([*"abcde"], 2000), "age": rng.random(2000)}
    assert not any(each.of_class for each in find_curves(known, known["label"] == "a", label="label"))
    known["label"] = rng.integers(0, 20, 2000).astype(str)
    assert {each.column for each in find_curves(known, known["label"] == "1", label="label")} == {"age"}


@pytest.mark.parametrize("per_person", [1, 10])
def test_intervals_hold_the_true_rate_also_where_images_of_a_person_fail_together(per_person):
    rng = np.random.default_rng(5)
    held = tested = 0
    for _ in range(40):
        person = np.arange(1200) // per_person
        age = rng.random(1200)
        # A person fails on most images or on few; 0.3 of all images are wrong at any age.
        wrong = rng.random(1200) < (rng.choice([0.1, 0.7], 1200, p=[2 / 3, 1 / 3])[person])
        groups = Groups("person", person) if per_person > 1 else None
        for each in find_curves({"age": age}, wrong, groups=groups):
            tested += 1
            held += each.rate_low <= 0.3 <= each.rate_high
    assert held / tested >= 0.94


def test_a_table_is_read_as_it_was_written_and_a_run_of_before_has_none(tmp_path):
    rng = np.random.default_rng(6)
    known = two_classes(rng) | {"=sum": rng.choice(["-", "wet", "@x"], 2000)}
    bins = find_curves(known, known["label"] == "man", label="label")
    assert any(each.of_class for each in bins)
    read = load_curves(add_run(tmp_path, COMPARISON, {CURVES_FILE: curves_text(bins)}))
    assert str(read) == str(bins)  # NaN is not equal to itself
    assert load_curves(add_run(tmp_path, COMPARISON, {"comparison.npz": "older"})) == ()


# --- Categories ---------------------------------------------------------------------------------------------------


def by_site(seed, *, effect=0.0, people=0, n=4000):
    """Sites whose images are of other classes; a class is often wrong, images in the dark, and, it may be, a site."""
    rng = np.random.default_rng(seed)
    site = rng.choice(["north", "south", "west"], n, p=[0.5, 0.3, 0.2])
    label = np.where(rng.random(n) < np.where(site == "north", 0.8, 0.2), "a", "b")
    dark, of = rng.random(n) < np.where(site == "west", 0.6, 0.2), rng.integers(0, max(people, 1), n)
    rates = np.where(label == "a", 0.4, 0.1) + 0.3 * dark + effect * (site == "west")
    rates = rates + (rng.beta(1, 6, people)[of] if people else 0)
    columns = {"site": site, "label": label, "light": np.where(dark, 0.1, 0.9)}
    return columns, rng.random(n) < rates, Groups("person", of) if people else None


DARK = (Literal("light", "<", 0.5),)


def sites_of(columns, wrong, groups=None):
    bins = find_curves(columns, wrong, label="label", groups=groups, reasons=[DARK])
    return {one.value: one for one in bins if one.column == "site" and not one.of_class}


def test_a_value_is_compared_with_images_of_other_values_of_its_class_with_the_same_reasons():
    columns, wrong, _ = by_site(0, n=40000)
    for one in sites_of(columns, wrong).values():
        assert one.rate == pytest.approx(one.expected, abs=0.02), "its rate is that of its classes and its light"
    apart = [one.rate - wrong.mean() for one in sites_of(columns, wrong).values()]
    assert max(map(abs, apart)) > 0.05, "but not that of all images"
    columns, wrong, _ = by_site(0, effect=0.2)
    found = sites_of(columns, wrong)
    assert found["west"].differs
    assert found["west"].rate > found["west"].expected + 0.1
    assert "beyond chance" in found["west"].compared


@pytest.mark.parametrize("people", [0, 60])
def test_what_a_category_does_not_matter_for_is_seldom_beyond_chance(people):
    found = [any(one.differs for one in sites_of(*by_site(seed, people=people)).values()) for seed in range(60)]
    assert sum(found) <= 7  # 5 % are 3 of 60; 2.7 % of the time more than 6


def test_numbers_and_the_class_itself_are_not_compared(tmp_path):
    columns, wrong, _ = by_site(0)
    bins = find_curves(columns, wrong, label="label", reasons=[DARK])
    assert all(math.isnan(one.expected) == (one.column != "site") for one in bins)
    text = curves_text(bins)
    kept = load_curves(add_run(tmp_path, COMPARISON, {CURVES_FILE: text}))
    assert repr(kept) == repr(bins)


def test_a_reason_about_the_category_does_not_take_away_what_its_values_are_compared_with():
    columns, wrong, _ = by_site(0, effect=0.2)
    bins = find_curves(columns, wrong, label="label", reasons=[DARK, (Literal("site", "!=", "north"),)])
    north = next(one for one in bins if one.value == "north" and not one.of_class)
    assert north.expected == sites_of(columns, wrong)["north"].expected
