import csv
import io
import re

import numpy as np
import pytest
from scipy.stats import binomtest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, find_weak_spots, load_spots, spots_text
from safe_dnn.store.runs import COMPARISON, add_run
from tests.helpers.driving import CLASSES, driving, names, search
from tests.helpers.spots import weak_spot


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
        assert (spot.figures.tested, spot.figures.wrong) == (here.sum(), (here & wrong).sum())
        assert spot.figures.rate == wrong[here].mean()
        exact = binomtest(spot.figures.wrong, spot.figures.tested).proportion_ci(0.95, "exact")
        assert (spot.figures.low, spot.figures.high) == pytest.approx((exact.low, exact.high))
        assert spot.elsewhere == wrong[~here].mean()


def few(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Classes only."""
    return {"label": rng.choice([f"{i:02d}" for i in range(30)], 600)}


def many(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Columns that depend on each other, as those that are measured in images do."""
    base = rng.normal(size=(400, 3)) @ rng.normal(size=(3, 8)) + rng.normal(size=(400, 8)) * 0.3
    return {f"column_{i}": base[:, i] for i in range(8)} | {"label": rng.choice(CLASSES, 400)}


@pytest.mark.parametrize("table", [few, pytest.param(many, marks=pytest.mark.slow)])
@pytest.mark.parametrize("rate", [0.1, pytest.param(0.4, marks=pytest.mark.slow)])
def test_where_right_and_wrong_are_shuffled_nothing_is_found(table, rate):
    found = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        columns = table(rng)
        wrong = rng.permutation(np.arange(len(columns["label"])) < rate * len(columns["label"]))
        found.append(bool(search(columns, wrong)))
    assert sum(found) <= 1


def test_the_same_input_gives_the_same_weak_spots_and_is_not_modified():
    columns, wrong = driving(1500)
    before = {name: column.copy() for name, column in columns.items()}, wrong.copy()
    assert search(columns, wrong) == search(columns, wrong)
    assert all(np.array_equal(columns[name], before[0][name]) for name in columns)
    assert np.array_equal(wrong, before[1])


@pytest.mark.parametrize("wrong", [np.zeros(300, bool), np.ones(300, bool), *(np.arange(n) == 0 for n in range(3))])
def test_there_is_no_weak_spot_where_all_images_fare_alike_or_are_hardly_any(wrong):
    assert search(driving(len(wrong))[0], wrong) == []
    assert find_weak_spots({}, wrong) == []


def test_what_is_saved_is_loaded(tmp_path):
    columns, wrong = driving(1500)
    strange = weak_spot(
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
    spot = weak_spot((Literal("=1+cmd", "=", "a"), Literal("light", "<", 0.2)), 8, 4, 0.157, 0.843, 0.1)
    (row,) = csv.DictReader(io.StringIO(spots_text([spot])))
    assert {name: float(row.pop(name)) for name in ("excess", "excess_low", "excess_high")} == pytest.approx(
        {"excess": 3.2, "excess_low": 0.456, "excess_high": 5.944}
    )
    assert row == {
        "rank": "1", "values": "", "where": "'=1+cmd = a and light < 0.2", "tested": "8", "wrong": "4",
        "rate": "0.5", "low": "0.157",
        "high": "0.843", "elsewhere": "", "class_rate": "", "conditions": '[["=1+cmd", "=", "a"], ["light", "<", 0.2]]',
        "groups": "", "group": "", "new_rate": "", "doubted": "", "expected": "0.1", "expected_low": "0.1",
        "expected_high": "0.1",
    }  # fmt: skip


def test_what_is_expected_of_new_images_is_said_and_kept(tmp_path):
    counted = weak_spot((Literal("light", "<", 0.2),), 92, 47, 0.404, 0.617)
    spot = counted._replace(new_rate=0.44, figures=counted.figures._replace(low=0.33, high=0.62))
    assert counted.text == "light < 0.2: 47 of 92 are wrong (51%, 40–62%)"
    assert spot.text == "light < 0.2: 47 of 92 are wrong (51%, 33–62% of new images)"
    limits = {"expected_low": 0.01, "expected_high": 0.04, "excess_low": 30.0, "excess_high": 55.0}
    compared = spot._replace(figures=spot.figures._replace(expected=0.02, **limits))
    assert compared.text == "light < 0.2: 47 of 92 are wrong (51%, 33–62% of new images), 2% expected without it"
    (kept,) = load_spots(add_run(tmp_path, COMPARISON, {WEAK_SPOTS_FILE: spots_text([compared])}))
    assert kept == compared


def test_a_condition_that_leaves_out_a_value_says_what_it_is_made_of(tmp_path):
    rng = np.random.default_rng(0)
    race = rng.choice(["white", "asian", "black", "other"], 4000, p=[0.5, 0.2, 0.2, 0.1])
    wrong = rng.random(4000) < np.select([race == "white", race == "asian"], [0.05, 0.34], 0.3)
    columns = {"race": race, "sex": np.where(rng.random(4000) < 0.5, "woman", "man")}
    spots = find_weak_spots(columns, wrong)
    spot = next(one for one in spots if one.where == "race != white")
    assert spot.values[-1][0] == "white", "which is left out"
    rates = [k / n for _, n, k in spot.values[:-1]]
    assert rates == sorted(rates, reverse=True)
    assert [(n, k) for _, n, k in spot.values[-1:]] == [((race == "white").sum(), (wrong & (race == "white")).sum())]
    assert sum(k for _, _, k in spot.values[:-1]) == spot.figures.wrong
    assert re.fullmatch(r"(\w+ \d+%, ){2}\w+ \d+%; white \d+%", spot.of_values)
    assert spot.of_values in spot.text
    assert load_spots(add_run(tmp_path, COMPARISON, {WEAK_SPOTS_FILE: spots_text([spot])})) == (spot,)
