"""What of the images counts: directions and neighbours."""

import numpy as np
import pytest

from dbscan.neighbours import Points
from dbscan.relevance import _covariance_of_differences, average_neighbours, relevant_directions
from tests.helpers.point_groups import groups


def test_what_neighbours_differ_in_counts_less():
    rng = np.random.default_rng(0)
    points = np.column_stack([np.repeat([0.0, 1.0], 60) + rng.normal(0, 0.02, 120), rng.normal(0, 0.3, 120)])
    scaled = points @ relevant_directions(points).T

    def apart_over_spread(points):
        one, other = points[:60], points[60:]
        return np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) / np.linalg.norm(one.std(axis=0))

    assert apart_over_spread(scaled) > 1.5 * apart_over_spread(points)


def test_the_covariance_of_neighbours_differences_is_the_mean_of_their_products():
    points = np.random.default_rng(0).normal(3, 1, (40, 5))
    nearest, _ = Points(points).nearest(4)
    products = [np.outer(points[j] - points[i], points[j] - points[i]) for i in range(40) for j in nearest[i]]
    found = _covariance_of_differences(points - points.mean(axis=0), nearest)
    assert np.allclose(found, np.mean(products, axis=0), rtol=1e-12)


def test_points_vary_most_along_the_first_direction_and_not_together_along_any_two():
    points, _ = groups((60, 40, 30), spread=0.4)
    scaled = points @ relevant_directions(points).T
    covariance = np.cov(scaled.T)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-3 * covariance.max())
    assert (np.diff(np.diag(covariance)) <= 1e-6).all()


def test_the_unit_of_the_points_does_not_matter():
    points, _ = groups((60, 40, 30), spread=0.4)
    scaled, in_millimetres = (x @ relevant_directions(x).T for x in (points, 1000 * points))
    np.testing.assert_allclose(np.abs(scaled), np.abs(in_millimetres), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_few_points_have_directions(n):
    points = np.random.default_rng(0).normal(size=(n, 4))
    assert np.isfinite(relevant_directions(points)).all()


def test_equal_points_keep_their_directions():
    assert np.array_equal(relevant_directions(np.ones((9, 3))), np.eye(3))


def test_groups_of_equal_points_are_not_driven_apart_without_bound():
    points = np.repeat(np.random.default_rng(0).normal(size=(4, 4)), 20, axis=0)
    assert np.abs(points @ relevant_directions(points).T).max() < 1000


def test_averaging_draws_groups_together_and_leaves_a_far_one_alone():
    points, owner = groups((100, 100, 6), spread=0.5)
    points[owner == 2] += 20
    moved = average_neighbours(points)
    assert moved.dtype == np.float32
    for group in range(3):
        assert moved[owner == group].std(axis=0).sum() < 0.8 * points[owner == group].std(axis=0).sum()
    assert np.abs(moved[owner == 2].mean(axis=0) - points[owner == 2].mean(axis=0)).max() < 1e-5


@pytest.mark.parametrize("n", [1, 2, 3])
def test_averaging_few_points_is_no_error(n):
    assert average_neighbours(np.arange(2 * n, dtype=np.float32).reshape(n, 2)).shape == (n, 2)
