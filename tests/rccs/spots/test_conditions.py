"""Conditions in words."""

import math

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal, cut, fails_equally, literals_of
from safe_dnn.rccs.spots.weak_spots import find_weak_spots


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


def test_a_cut_of_some_images_has_their_parts_alone_and_the_same_conditions():
    column = np.repeat(["cat", "dog", "fox", "owl"], 20)
    whole = cut(literals_of("animal", column, parts=20), column)
    rows = np.isin(column, ["dog", "owl"])
    inside = whole.among(rows)
    assert inside.held.shape == (4, 2)
    assert [literal.value for literal in inside.literals] == ["cat", "dog", "fox", "owl"]
    for held, literal in zip(inside.held, inside.literals, strict=True):
        assert (held[inside.part] == literal.holds(column[rows])).all()


def test_rates_of_values_are_compared_beyond_chance():
    rng = np.random.default_rng(0)
    column = np.repeat([f"p{i}" for i in range(50)], 30)
    wrong = rng.random(1500) < 0.36
    assert fails_equally(column, wrong)
    assert fails_equally(column, np.where(rng.random(1500) < 0.1, column < "p3", wrong))
    assert not fails_equally(column, wrong | (column < "p2"))
    assert fails_equally(np.append(column, [""] * 500), np.append(wrong, [True] * 500))  # unknown values do not count
