"""The search for weak spots."""

import math

import numpy as np
import pytest

from safe_dnn.rccs.spots.weak_spots import find_weak_spots
from tests.helpers.driving import driving, names, search


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


def test_dark_and_rather_dark_images_are_one_reason_and_so_are_dark_and_bright_ones():
    rng = np.random.default_rng(0)
    light = rng.uniform(0, 1, 2000)
    wrong = rng.random(2000) < np.select([light < 0.2, light < 0.3, light >= 0.9], [0.9, 0.5, 0.9], 0.03)
    assert [spot.where for spot in find_weak_spots({"light": light}, wrong)] == ["light < 0.3 or >= 0.9"]


def tails(n: int, seed: int, low: float, high: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Numbers and a category that do not matter, and an age whose two tails do: 6 of 10 are wrong there, else 1."""
    rng = np.random.default_rng(seed)
    columns = {name: rng.uniform(0, 1, n) for name in ("light", "size", "turn")}
    columns |= {"age": rng.integers(0, 100, n).astype(float), "site": rng.choice(["a", "b", "c"], n)}
    return columns, rng.random(n) < np.where((columns["age"] < low) | (columns["age"] >= high), 0.6, 0.1)


def test_the_young_and_the_old_are_one_reason_and_the_young_alone_are_not_told_with_the_old():
    both = [[spot.where for spot in find_weak_spots(*tails(1500, seed, 15, 90))] for seed in range(5)]
    young = [spot.where for seed in range(10) for spot in find_weak_spots(*tails(1500, seed, 20, 100))]
    assert all(len(found) == 1 and found[0].startswith("age < ") and " or >= " in found[0] for found in both)
    assert young
    assert not any(" or " in where for where in young)


def signs(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Signs that are cut off, and then narrow or wide, and narrow ones that are turned away, which fail less often."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(["whole", "narrow", "wide", "turned"], n, p=[0.86, 0.02, 0.04, 0.08])
    aspect = np.select([kind == "wide", kind == "whole"], [rng.uniform(1.3, 2, n), rng.uniform(0.95, 1.06, n)])
    aspect = np.where(aspect == 0, rng.uniform(0.3, 0.75, n), aspect)
    cut_off = np.isin(kind, ["narrow", "wide"])
    wrong = rng.random(n) < np.select([cut_off, kind == "turned"], [0.85, 0.5], 0.1)
    return {"aspect": aspect, "cut_off": np.where(cut_off, "yes", "no"), "size": rng.uniform(0, 1, n)}, wrong


def test_two_tails_that_fail_at_different_rates_for_two_causes_are_two_reasons():
    for seed in range(5):
        conditions = [spot.where for spot in find_weak_spots(*signs(2000, seed))]
        assert "cut_off = yes" in conditions
        assert any(where.startswith("aspect < ") and " or " not in where for where in conditions)


def test_two_tails_between_which_no_image_is_left_say_nothing_more_and_raise_no_warning():
    """Once what lies between is taken out, site a stands out in the rest, whatever most of all images do."""
    rng = np.random.default_rng(0)
    age, site = rng.integers(0, 100, 2000).astype(float), rng.choice(["a", "b"], 2000)
    between = (age >= 20) & (age < 80)
    wrong = rng.random(2000) < np.select([between, site == "a"], [0.95, 0.3], 0.01)
    first, *rest = find_weak_spots({"age": age, "site": site}, wrong)
    assert first.where == "age from 20 to 80"
    assert all("site = a" in spot.where and " or " not in spot.where for spot in rest)


def test_rare_tails_of_a_number_that_is_mostly_nought_are_named_with_their_rate():
    """A regression whose answers are halved where the angle is large, of which speed is a proxy."""
    rng = np.random.default_rng(0)
    angle = np.where(rng.random(1500) < 0.7, 0.0, rng.normal(0, 0.35, 1500)).round(2)
    speed = 30 - 20 * np.abs(angle) * rng.random(1500)
    wrong = rng.random(1500) < np.where(np.abs(angle) >= 0.4, 0.95, 0.015)
    first = find_weak_spots({"speed": speed, "angle": angle}, wrong)[0]
    assert first.where.startswith("angle < -0.")
    assert " or >= 0." in first.where
    assert first.figures.rate == pytest.approx(wrong[np.abs(angle) >= 0.4].mean(), abs=0.05)


def scenes(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray, list[np.ndarray]]:
    """Scenes of ten things that are there or not, as in SpotCheck, and two blind spots of four and five clauses."""
    rng = np.random.default_rng(seed)
    columns = {f"thing_{i}": rng.choice(["yes", "no"], n) for i in range(10)}
    has = np.array([column == "yes" for column in columns.values()])
    blind = [has[0] & has[1] & ~has[2] & has[3], ~has[0] & has[4] & has[5] & ~has[6] & has[7]]
    return columns, rng.random(n) < np.where(blind[0] | blind[1], 0.95, 0.02), blind


def test_blind_spots_of_four_and_five_clauses_are_found_and_no_clause_is_added():
    columns, wrong, blind = scenes(4000, 0)
    spots = find_weak_spots(columns, wrong)
    assert sorted(len(spot.literals) for spot in spots) == [4, 5]
    for holds, spot in zip(blind, spots, strict=True):
        assert np.array_equal(spot.holds(columns), holds)


def test_no_long_condition_is_found_where_right_and_wrong_are_shuffled():
    found = []
    for seed in range(20):
        columns, wrong, _ = scenes(2000, seed)
        found += find_weak_spots(columns, np.random.default_rng(seed).permutation(wrong))
    assert len(found) <= 1


def broad(seed: int, *, narrow: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Few images with rain, of which 28 % are wrong: most of two narrow kinds, or any."""
    rng = np.random.default_rng(seed)
    columns = {name: np.where(rng.random(4000) < 0.4, "yes", "no") for name in ("dark", "wet", "far", "blurred", "new")}
    rain = rng.random(4000) < 0.15
    dark, wet, far, blurred = (columns[name] == "yes" for name in ("dark", "wet", "far", "blurred"))
    rates = np.where((dark & wet) | (~dark & far & ~blurred), 0.9, 0.01) if narrow else np.full(4000, 0.28)
    return columns | {"rain": np.where(rain, "yes", "no")}, rng.random(4000) < np.where(rain, rates, 0.01)


def test_a_broad_condition_is_replaced_by_the_narrow_ones_that_hold_its_failures():
    for seed in range(3):
        columns, wrong = broad(seed, narrow=True)
        where = {frozenset(map(str, spot.literals)) for spot in find_weak_spots(columns, wrong)}
        narrow = {"dark = yes", "wet = yes"}, {"dark = no", "far = yes", "blurred = no"}
        assert where == {frozenset({"rain = yes", *each}) for each in narrow}


def test_a_broad_condition_whose_images_fail_alike_stays():
    found = [[spot.where for spot in find_weak_spots(*broad(seed, narrow=False))] for seed in range(40)]
    assert sum(where != ["rain = yes"] for where in found) <= 1


def test_a_cause_of_few_of_very_many_images_is_found():
    """In a random part of 20,000 there would be 25 such images."""
    rng = np.random.default_rng(0)
    columns = {name: rng.choice(["yes", "no"], 80_000) for name in "abcdef"}
    columns["covered"] = np.where(rng.permutation(80_000) < 100, "yes", "no")
    wrong = rng.random(80_000) < np.where(columns["covered"] == "yes", 0.45, 0.2)
    assert [spot.where for spot in find_weak_spots(columns, wrong)] == ["covered = yes"]


@pytest.mark.parametrize(
    "column",
    [
        np.full(300, math.nan),
        np.full(300, "night"),
        np.array([f"image {i}" for i in range(300)]),
        np.where(np.arange(300) < 5, 1.0, math.nan),
        np.where(np.arange(300) < 5, "a", ""),
        np.where(np.arange(300) < 150, math.inf, -math.inf),
    ],
    ids=["unknown", "one value", "unique", "few numbers", "few values", "infinite"],
)
def test_a_column_that_says_nothing_is_no_reason(column):
    wrong = np.arange(300) < 150
    assert find_weak_spots({"column": column}, wrong) == []
    assert find_weak_spots({"column_deg": column}, wrong) == []


@pytest.mark.slow
def test_among_a_thousand_columns_a_cause_is_found_and_nothing_else():
    found = 0
    for seed in range(4):
        rng = np.random.default_rng(seed)
        columns = {f"c{number}": rng.normal(size=240).round(3) for number in range(1000)}
        wrong = rng.random(240) < 0.3
        found += bool(find_weak_spots(columns, wrong))
        columns["c500"] = np.where(wrong, rng.normal(2, 1, 240), rng.normal(0, 1, 240)).round(3)
        spots = find_weak_spots(columns, wrong, measured=["c999"])
        assert [{one.column for one in spot.literals} for spot in spots] == [{"c500"}]
    assert not found, "by chance in one of 20 runs at most"
