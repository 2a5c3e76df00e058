"""Failing images in a row: a direction is found where there is one within classes, and none where there is none."""

import numpy as np
import pytest

from safe_dnn.reasons.order import order_of

N = 600


def drawn(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Points, classes that lie apart and fail at different rates, and persons, ten images each, who look different."""
    rng = np.random.default_rng(seed)
    classes, person = rng.integers(0, 3, N), np.arange(N) // 10
    looks = rng.normal(0, 2, (N // 10, 30))[person]
    return rng.normal(0, 1, (N, 30)) + looks + 5 * np.eye(30)[classes], classes, person


def order(points: np.ndarray, wrong: np.ndarray, classes: np.ndarray, groups: np.ndarray | None):
    rows = np.r_[np.flatnonzero(wrong), np.flatnonzero(~wrong)]
    return order_of(points[wrong], points[~wrong], classes[rows], None if groups is None else groups[rows])


@pytest.mark.parametrize("seed", range(5))
def test_classes_and_persons_alone_are_no_direction(seed):
    points, classes, person = drawn(seed)
    rng = np.random.default_rng([seed, 1])
    rate = np.array([0.6, 0.3, 0.1])[classes]
    assert order(points, rng.random(N) < rate, classes, None) is None
    by_person = rng.beta(0.5, 1, N // 10)[person]
    assert order(points, rng.random(N) < by_person, classes, person) is None


def test_the_direction_in_which_failing_is_likelier_is_found():
    points, classes, person = drawn(0)
    lies = points[:, 7]
    wrong = np.random.default_rng(2).random(N) < 1 / (1 + np.exp(-2 * (lies - 1)))
    found = order(points, wrong, classes, person)
    assert 0.75 < found.told_apart < 1
    assert np.corrcoef(found.places, lies[wrong])[0, 1] > 0.7
    assert order(points, wrong, classes, np.zeros(N, int)) is None  # of one person, nothing is left to fit to
