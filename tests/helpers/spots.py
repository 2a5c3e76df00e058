"""Conditions with figures as a search would give them."""

import math
from typing import Any

from safe_dnn.rccs.spots.conditions import Conditions
from safe_dnn.rccs.spots.figures import Figures
from safe_dnn.rccs.spots.weak_spots import WeakSpot


def figures_of(tested: int, wrong: int, low: float, high: float, expected: float = math.nan, **further: Any) -> Figures:
    """Figures with the interval of the rate, and the rate that is expected for certain."""
    excess = tested * (low - expected), tested * (high - expected)
    return Figures(
        tested, wrong, low, high, expected=expected, expected_low=expected, expected_high=expected,
        excess_low=excess[0], excess_high=excess[1], **further,
    )  # fmt: skip


def weak_spot(
    literals: Conditions, tested: int, wrong: int, low: float, high: float, expected: float = math.nan, **further: Any
) -> WeakSpot:
    """A weak spot with such figures."""
    return WeakSpot(literals, figures_of(tested, wrong, low, high, expected), **further)
