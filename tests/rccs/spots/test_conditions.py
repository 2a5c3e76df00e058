"""Conditions in words."""

import math

import numpy as np
import pytest

from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import find_weak_spots


@pytest.mark.parametrize(
    ("first", "last", "begin", "end", "words"),
    [
        (-130, 130, -100, -60, "from -100 to -60"),
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
    ],
)
def test_a_condition_holds_at_its_lower_end_and_never_for_the_unknown(literal, column, holds):
    assert literal.holds(np.array(column)).tolist() == [bool(each) for each in holds]
