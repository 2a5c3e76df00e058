import csv
import io
import math

import numpy as np
import pytest
from scipy.stats import binomtest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import (
    WEAK_SPOTS_FILE,
    WeakSpot,
    find_weak_spots,
    load_spots,
    spots_text,
)
from safe_dnn.store.runs import COMPARISON, add_run

CLASSES = ("left", "right", "centre")
CLASS_AND_PREDICTION = ("label", "predicted")


def driving(n: int, seed: int = 0) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Known columns of drawn images, and which of them a DNN gets wrong: 9 in 10 at night, 4 in 10 on turned heads."""
    rng = np.random.default_rng(seed)
    label = rng.choice(CLASSES, n)
    night = rng.random(n) < 0.15
    light = np.where(night, rng.uniform(0.01, 0.05, n), rng.uniform(0.5, 1, n))
    head = rng.uniform(-40, 40, n)
    wrong = rng.random(n) < np.select([night, head > 25], [0.9, 0.4], 0.02)
    others = np.array(CLASSES)[(np.searchsorted(sorted(CLASSES), label) + 1) % 3]
    columns = {
        "label": label, "predicted": np.where(wrong, others, label),
        "person": rng.choice([f"p{i}" for i in range(20)], n), "light": light, "head_deg": head,
        "brightness": light * 0.5 + rng.normal(0, 0.02, n), "hue_deg": rng.uniform(0, 360, n),
    }  # fmt: skip
    return columns, wrong


def search(columns, wrong, **options) -> list[WeakSpot]:
    return find_weak_spots(
        columns, wrong, measured=("brightness", "hue_deg"), never_together=CLASS_AND_PREDICTION, **options
    )


def names(spot: WeakSpot) -> set[str]:
    return {literal.column for literal in spot.literals}


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


@pytest.mark.parametrize(
    ("first", "last", "begin", "end", "words"),
    [
        (-130, 130, -100, -60, "from -100 to -60"),
        (0, 360, 260, 300, "from 260 to 300"),
        (-180, 180, 100, -40, "from 100 to -40"),  # 220 degrees: ranges that touch
        (0, 360, 300, 160, "from 300 to 160"),
    ],
)
def test_angles_are_named_as_the_file_has_them(first, last, begin, end, words):
    angle = np.arange(first, last, 0.5)
    wrong = (angle - begin) % 360 < (end - begin) % 360
    assert [spot.where for spot in find_weak_spots({"light_deg": angle}, wrong)] == [f"light_deg {words}"]


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


def test_two_tails_between_which_no_image_is_left_say_nothing_more_and_raise_no_warning():
    """Once what lies between is taken out, site a stands out in the rest, but not among all images."""
    rng = np.random.default_rng(0)
    age, site = rng.integers(0, 100, 2000).astype(float), rng.choice(["a", "b"], 2000)
    between = (age >= 20) & (age < 80)
    wrong = rng.random(2000) < np.select([between, site == "a"], [0.95, 0.3], 0.01)
    assert [spot.where for spot in find_weak_spots({"age": age, "site": site}, wrong)] == ["age from 20 to 80"]


def test_rare_tails_of_a_number_that_is_mostly_nought_are_named_with_their_rate():
    """A regression whose answers are halved where the angle is large, of which speed is a proxy."""
    rng = np.random.default_rng(0)
    angle = np.where(rng.random(1500) < 0.7, 0.0, rng.normal(0, 0.35, 1500)).round(2)
    speed = 30 - 20 * np.abs(angle) * rng.random(1500)
    wrong = rng.random(1500) < np.where(np.abs(angle) >= 0.4, 0.95, 0.015)
    first = find_weak_spots({"speed": speed, "angle": angle}, wrong)[0]
    assert first.where.startswith("angle < -0.")
    assert " or >= 0." in first.where
    assert first.rate == pytest.approx(wrong[np.abs(angle) >= 0.4].mean(), abs=0.05)


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


def test_a_prediction_that_is_no_class_of_the_test_set_is_no_reason():
    columns, wrong, _ = scenes(2000, 0)
    known = {"label": np.full(2000, "scene"), "predicted": np.where(wrong, "other", "scene"), **columns}
    spots = search(known, wrong)
    assert spots
    assert not any("predicted" in names(spot) for spot in spots)


@pytest.mark.parametrize("rates", [(0.4, 0.4, 0.4, 0.4), (0.8, 0.1, 0.1, 0.1)])
def test_all_but_the_usual_value_is_one_reason_where_the_others_fail_equally(rates):
    rng = np.random.default_rng(0)
    tone = rng.choice(["none", *"abcd"], 1500, p=[0.8, *[0.05] * 4])
    wrong = rng.random(1500) < np.select([tone == value for value in "abcd"], rates, 0.1)
    found = search({"tone": tone, "label": rng.choice(["none", "some", "all"], 1500, p=[0.6, 0.2, 0.2])}, wrong)
    assert [spot.where for spot in found] == ["tone != none" if rates[1] == rates[0] else "tone = a"]


def test_looks_that_do_not_matter_are_not_called_reasons():
    columns, wrong = driving(1500)
    spots = search(columns, wrong)
    assert spots
    assert not {"person", "hue_deg"} & set().union(*map(names, spots))


def test_what_is_recorded_comes_before_what_is_measured():
    columns, wrong = driving(1500)
    assert "brightness" not in set().union(*map(names, search(columns, wrong)))
    without = {name: column for name, column in columns.items() if name != "light"}
    assert names(search(without, wrong)[0]) == {"brightness"}


def test_figures_are_those_of_counting():
    columns, wrong = driving(1500)
    spots = search(columns, wrong)
    for spot in spots:
        here = spot.holds(columns)
        assert (spot.tested, spot.wrong) == (here.sum(), (here & wrong).sum())
        assert spot.rate == wrong[here].mean()
        exact = binomtest(spot.wrong, spot.tested).proportion_ci(0.95, "exact")
        assert (spot.low, spot.high) == pytest.approx((exact.low, exact.high))
        assert spot.elsewhere == wrong[~here].mean()


def test_a_weak_spot_fails_more_often_than_all_other_images():
    """Half of the images at night are wrong; in the rain more than in the dry day, but less than all others."""
    rng = np.random.default_rng(0)
    night, rain = rng.random(3000) < 0.5, rng.random(3000) < 0.3
    columns = {"time": np.where(night, "night", "day"), "weather": np.where(rain, "rain", "dry")}
    wrong = rng.random(3000) < np.select([night & ~rain, rain], [0.8, 0.2], 0.01)
    spots = find_weak_spots(columns, wrong)
    assert [spot.where for spot in spots] == ["time = night and weather = dry"]
    assert spots[0].elsewhere == wrong[~spots[0].holds(columns)].mean()
    assert wrong[rain].mean() < wrong[~rain].mean()


def few(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Classes and predictions only."""
    label = rng.choice([f"{i:02d}" for i in range(30)], 600)
    return {"label": label, "predicted": np.where(rng.random(600) < 0.8, label, rng.permutation(label))}


def anyone(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return driving(500, int(rng.integers(99)))[0]


def many(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns that depend on each other, as those that are measured in images do."""
    base = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 8)) + rng.normal(size=(400, 8)) * 0.3
    return {f"column_{i}": base[:, i] for i in range(8)} | {"label": rng.choice(CLASSES, 400)}


@pytest.mark.parametrize("table", [few, *(pytest.param(table, marks=pytest.mark.slow) for table in (many, anyone))])
@pytest.mark.parametrize("rate", [0.1, pytest.param(0.4, marks=pytest.mark.slow)])
def test_where_right_and_wrong_are_shuffled_nothing_is_found(table, rate):
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        columns = table(rng)
        wrong = rng.permutation(np.arange(len(columns["label"])) < rate * len(columns["label"]))
        found.append(bool(search(columns, wrong)))
    assert sum(found) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("rate", [0.15, 0.36])
def test_where_right_and_wrong_are_shuffled_only_the_prediction_tells_and_never_less_than_all_others(rate):
    """Wrong images are mostly taken for `left`. Without them, all that is left of that class would be wrong."""
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        columns, _ = driving(600, seed)
        wrong = rng.permutation(np.arange(600) < rate * 600)
        taken = np.where(columns["label"] == "left", "right", "left")
        taken[rng.random(600) < 0.1] = "none"
        columns["predicted"] = np.where(wrong, taken, columns["label"])
        spots = search(columns, wrong)
        assert all(spot.rate > spot.elsewhere for spot in spots)
        found.append(any("predicted" not in names(spot) for spot in spots))
    assert sum(found) <= 1


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


def test_the_same_input_gives_the_same_weak_spots_and_is_not_modified():
    columns, wrong = driving(1500)
    before = {name: column.copy() for name, column in columns.items()}, wrong.copy()
    assert search(columns, wrong) == search(columns, wrong)
    assert all(np.array_equal(columns[name], before[0][name]) for name in columns)
    assert np.array_equal(wrong, before[1])


def test_a_cause_of_few_of_very_many_images_is_found():
    """In a random part of 20,000 there would be 25 such images."""
    rng = np.random.default_rng(0)
    columns = {name: rng.choice(["yes", "no"], 80_000) for name in "abcdef"}
    columns["covered"] = np.where(rng.permutation(80_000) < 100, "yes", "no")
    wrong = rng.random(80_000) < np.where(columns["covered"] == "yes", 0.45, 0.2)
    assert [spot.where for spot in find_weak_spots(columns, wrong)] == ["covered = yes"]


@pytest.mark.parametrize("wrong", [np.zeros(300, bool), np.ones(300, bool), *(np.arange(n) == 0 for n in range(3))])
def test_there_is_no_weak_spot_where_all_images_fare_alike_or_are_hardly_any(wrong):
    assert search(driving(len(wrong))[0], wrong) == []
    assert find_weak_spots({}, wrong) == []


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


@pytest.mark.parametrize(
    ("literal", "column", "holds"),
    [
        (Literal("x", "<", 2.0), [1.0, 2.0, math.nan], [True, False, False]),
        (Literal("x", ">=", 2.0), [1.0, 2.0, math.nan], [False, True, False]),
        (Literal("x", "from", (1.0, 2.0)), [0.9, 1.0, 2.0, math.nan], [False, True, False, False]),
        (Literal("x", "outside", (1.0, 2.0)), [0.9, 1.0, 2.0, math.nan], [True, False, True, False]),
        (Literal("x_deg", "outside", (-20.0, 20.0)), [-30.0, -20.0, 20.0, math.nan], [True, False, True, False]),
        (Literal("x_deg", "from", (350.0, 10.0)), [349, 350, -5, 725, 10, math.nan], [0, 1, 1, 1, 0, 0]),
        (Literal("x", "=", "a"), ["a", "b", ""], [True, False, False]),
        (Literal("x", "!=", "a"), ["a", "b", ""], [False, True, False]),
        (Literal("x", "=", "a"), [1.0, 2.0], [False, False]),
        (Literal("x", "<", 2.0), ["1", "2"], [False, False]),
    ],
)
def test_a_condition_holds_at_its_lower_end_and_never_for_the_unknown(literal, column, holds):
    assert literal.holds(np.array(column)).tolist() == [bool(each) for each in holds]


def test_what_is_saved_is_loaded(tmp_path):
    columns, wrong = driving(1500)
    strange = WeakSpot(
        (
            Literal("=cmd|x", "=", 'a, "b"\n@é'),
            Literal("head_deg", "from", (350.0, 0.1 + 0.2)),
            Literal("x", ">=", -1e-7),
            Literal("age", "outside", (3.5, 65.0)),
        ),
        0, 0, 0.0, 1.0, 0.25,
    )  # fmt: skip
    spots = (*search(columns, wrong), strange)
    found = load_spots(add_run(tmp_path, COMPARISON, {WEAK_SPOTS_FILE: spots_text(spots)}))
    assert found == spots
    assert np.array_equal(found[0].holds(columns), spots[0].holds(columns))


def test_the_table_is_read_by_people_and_opened_in_a_spreadsheet():
    spot = WeakSpot((Literal("=1+cmd", "=", "a"), Literal("light", "<", 0.2)), 8, 4, 0.157, 0.843, 0.1)
    (row,) = csv.DictReader(io.StringIO(spots_text([spot])))
    assert row == {
        "rank": "1", "where": "'=1+cmd = a and light < 0.2", "tested": "8", "wrong": "4", "rate": "0.5", "low": "0.157",
        "high": "0.843", "elsewhere": "0.1", "conditions": '[["=1+cmd", "=", "a"], ["light", "<", 0.2]]',
        "groups": "", "group": "", "expected": "", "odds": "", "new_rate": "", "new_low": "", "new_high": "",
    }  # fmt: skip


def test_what_is_expected_of_new_images_is_said_and_kept(tmp_path):
    counted = WeakSpot((Literal("light", "<", 0.2),), 92, 47, 0.404, 0.617, 0.1)
    spot = counted._replace(new_rate=0.44, new_low=0.33, new_high=0.62)
    assert counted.text == "light < 0.2: 47 of 92 are wrong (51%, 40–62%), elsewhere 10%"
    assert spot.text == "light < 0.2: 47 of 92 are wrong (51%), elsewhere 10%; expect 44% (33–62%) of new images"
    text = spots_text([spot])
    assert load_spots(add_run(tmp_path, COMPARISON, {WEAK_SPOTS_FILE: text})) == (spot,)
