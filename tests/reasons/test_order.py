"""Failing images in a row: a direction is found where there is one within classes, and none where there is none."""

import numpy as np
import pytest

from safe_dnn.pipeline.reporting.sections import row_html
from safe_dnn.reasons.comparison import Comparison, Reasons
from safe_dnn.reasons.order import order_of
from tests.helpers.small_models import clusters_of

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


def test_the_row_goes_from_one_end_to_the_other_and_only_where_rccs_say_little(tmp_path):
    clusters = clusters_of(tmp_path, {f"a{i:02d}.png": i % 2 for i in range(40)})
    places = np.arange(40, dtype=np.float32)[::-1]
    nearest, right = np.roll(np.arange(40), 2), np.arange(40).repeat(10)  # both RCCs fail alike
    found = Reasons((), (), Comparison(np.arange(40), nearest, right, places=places, told_apart=0.8), 0.1)
    told, paths = found.in_a_row(clusters)
    assert told.startswith("RCCs that fail more often, without any that holds most failing images, hold 0% of them. ")
    assert told.endswith("tells which is which in 80% of pairs; chance in 50%.")
    assert paths == [f"a{i:02d}.png" for i in (39, 34, 29, 24, 19, 15, 10, 5, 0)]
    assert paths[0] in row_html(told, dict.fromkeys(paths, "data:"))
    all_in_more = found._replace(comparison=found.comparison._replace(of_right=np.full(400, -1)))
    assert all_in_more.in_a_row(clusters) is None
    one = clusters_of(tmp_path, {path: int(path < "a12") for path in clusters.paths})  # of which one holds most
    assert "hold 30% of them" in all_in_more.in_a_row(one)[0]
    assert found._replace(comparison=found.comparison._replace(places=None)).in_a_row(clusters) is None
