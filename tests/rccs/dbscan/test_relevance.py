"""What of the images counts: directions and neighbours."""

import numpy as np

from safe_dnn.rccs.dbscan.relevance import average_neighbours, relevant_directions
from tests.helpers.point_groups import groups


def test_what_neighbours_differ_in_counts_less():
    rng = np.random.default_rng(0)
    points = np.column_stack([np.repeat([0.0, 1.0], 60) + rng.normal(0, 0.02, 120), rng.normal(0, 0.3, 120)])
    scaled = points @ relevant_directions(points).T

    def apart_over_spread(points):
        one, other = points[:60], points[60:]
        return np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) / np.linalg.norm(one.std(axis=0))

    assert apart_over_spread(scaled) > 1.5 * apart_over_spread(points)


def test_equal_points_keep_their_directions():
    assert np.array_equal(relevant_directions(np.ones((9, 3))), np.eye(3))


def test_averaging_draws_groups_together_and_leaves_a_far_one_alone():
    points, owner = groups((100, 100, 6), spread=0.5)
    points[owner == 2] += 20
    moved = average_neighbours(points)
    assert moved.dtype == np.float32
    for group in range(3):
        assert moved[owner == group].std(axis=0).sum() < 0.8 * points[owner == group].std(axis=0).sum()
    assert np.abs(moved[owner == 2].mean(axis=0) - points[owner == 2].mean(axis=0)).max() < 1e-5
