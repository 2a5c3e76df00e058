"""Conditions with figures as a search would give them."""

import math
from typing import Any

from safe_dnn.rccs.spots.conditions import Conditions
from safe_dnn.rccs.spots.figures import Figures
from safe_dnn.rccs.spots.weak_spots import WeakSpot


def weak_spot(
    literals: Conditions, tested: int, wrong: int, low: float, high: float, like: float = math.nan, **further: Any
) -> WeakSpot:
    """A weak spot with the interval of its rate, and the rate of comparable images."""
    return WeakSpot(literals, Figures(tested, wrong, low, high, like=like), **further)
