"""Weak spots given the class: what the classes explain is left out, and what happens inside them is found."""

import numpy as np
import pytest
from scipy.stats import hypergeom

from safe_dnn.rccs.spots.figures import Groups, chance_given_class, given_class
from safe_dnn.rccs.spots.weak_spots import find_weak_spots

RATES = {"bkl": 0.6, "mel": 0.4, "nv": 0.1}


def lesions(n: int, seed: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Columns, and failure rates that only depend on the class; most lesions of `bkl` are pale."""
    rng = np.random.default_rng(seed)
    label = rng.choice(list(RATES), n, p=[0.3, 0.2, 0.5])
    columns = {
        "label": label,
        "pale": rng.uniform(0, 1, n) + 0.5 * (label == "bkl"),
        "site": rng.choice(["scalp", "arm", "leg", "trunk"], n),
        "hair": rng.uniform(0, 1, n),
    }
    return columns, np.array([RATES[name] for name in label])


def search(columns, wrong, **options):
    return find_weak_spots(columns, wrong, measured=("hair",), label="label", **options)


@pytest.mark.parametrize("groups", [False, True])
def test_where_only_the_class_matters_only_the_class_is_found(groups):
    found = []
    for seed in range(10):
        columns, rates = lesions(1200, seed)
        rng = np.random.default_rng([seed, 1])
        of = Groups("patient", rng.integers(0, 300, len(rates))) if groups else None
        spots = search(columns, rng.random(len(rates)) < rates, groups=of)
        assert spots
        found += [spot.where for spot in spots if spot.class_rate is not None]
    assert found == []


@pytest.mark.parametrize("groups", [False, True])
def test_causes_inside_a_class_that_is_mostly_wrong_and_one_that_is_mostly_right_are_found(groups):
    columns, rates = lesions(3000, 1)
    label = columns["label"]
    inside = {
        "label = bkl and site = scalp": (label == "bkl") & (columns["site"] == "scalp"),
        "label = nv and hair": (label == "nv") & (columns["hair"] > 0.75),
    }
    for holds in inside.values():
        rates = rates + 0.35 * holds
    rng = np.random.default_rng(2)
    of = Groups("patient", rng.integers(0, 800, len(rates))) if groups else None
    spots = search(columns, rng.random(len(rates)) < rates, groups=of)
    first = [spot.where for spot in spots if spot.class_rate is not None][:5]
    assert all(any(where.startswith(name) for where in first) for name in inside)
    spot = next(spot for spot in spots if spot.where == "label = bkl and site = scalp")
    assert spot.class_rate < 0.75
    assert spot.figures.rate > spot.figures.expected + 0.1
    assert f", {spot.figures.expected:.0%} expected without it" in spot.text


@pytest.mark.parametrize("groups", [False, True])
def test_a_rare_condition_is_found_in_a_broad_one_but_no_companion_of_it(groups):
    for seed in range(3):
        rng = np.random.default_rng(seed)
        plain = rng.random(6000) < 0.7
        blocked, bright = plain & (rng.random(6000) < 0.03), plain & (rng.random(6000) < 0.1)
        wrong = rng.random(6000) < np.where(plain, 0.35, 0.1) + 0.3 * blocked
        columns = {"plain": plain, "blocked": blocked, "bright": bright}
        columns = {name: np.where(holds, "yes", "no") for name, holds in columns.items()}
        of = Groups("patient", rng.integers(0, 1500, 6000)) if groups else None
        spots = search({"label": lesions(6000, seed)[0]["label"], **columns}, wrong, groups=of)
        assert {spot.where for spot in spots if spot.class_rate is not None} == {"plain = yes", "blocked = yes"}


def test_what_is_found_where_nothing_is_is_compared_with_what_it_is_taken_for():
    rng = np.random.default_rng(5)
    n = 1500
    shops, false = rng.random(n) < 0.2, rng.random(n) < 0.02
    false |= shops & (rng.random(n) < 0.3)
    sign = rng.choice(["round", "triangle"], n)
    columns = {
        "label": np.where(false, "", sign),
        "place": np.where(shops, "shops", rng.choice(["road", "field"], n)),
    }
    spots = find_weak_spots(columns, false, label="label", classes=sign)
    assert [spot.where for spot in spots if spot.class_rate is not None] == ["place = shops"]
    columns |= {"label": np.where(false, "", "sign")}  # a single class says nothing
    assert [spot.class_rate for spot in find_weak_spots(columns, false, classes=np.full(n, "sign"))] == [None]


def test_what_is_expected_and_the_odds_are_those_of_each_class_put_together():
    classes = np.repeat([0, 1], [10, 20])
    wrong, holds = np.zeros(30, bool), np.zeros(30, bool)
    wrong[[0, 1, 2, 3, 4, 10, 11]] = True
    holds[[0, 1, 2, 3, 5, 10, 12, 13]] = True
    given = given_class(classes, wrong, holds)
    assert given.expected == pytest.approx((5 * 5 / 10 + 3 * 2 / 20) / 8)
    assert given.odds == pytest.approx((4 * 4 / 10 + 1 * 16 / 20) / (1 * 1 / 10 + 2 * 1 / 20))
    assert given_class(classes, wrong, classes == 0).odds is None  # there is nothing to compare with


def test_the_chance_is_that_of_draws_from_each_class():
    rng = np.random.default_rng(3)
    classes = np.repeat([0, 1, 2], [100, 60, 200])
    holds = rng.random(360) < 0.3
    rates = np.array([0.7, 0.3, 0.1])[classes]
    one = classes == 1
    wrong = rng.random(360) < rates + 0.2 * holds
    assert chance_given_class(classes[one], wrong[one], holds[None, one])[0] == pytest.approx(
        hypergeom.sf((wrong & holds & one).sum() - 1, 60, (wrong & one).sum(), (holds & one).sum())
    )
    chances = [chance_given_class(classes, rng.random(360) < rates, holds[None])[0] for _ in range(1000)]
    assert np.mean(np.array(chances) <= 0.05) <= 0.065
    assert np.mean(np.array(chances) <= 0.05) >= 0.02
