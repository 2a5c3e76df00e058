"""Distances and nearest points, against all n² distances by the definition."""

import numpy as np
import pytest

from dbscan import neighbours
from dbscan.neighbours import Points
from tests.helpers.point_groups import pairwise_distances


def cloud(n=60, dimension=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)


def expected_nearest(distances, k):
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1).astype(np.float32)


@pytest.mark.parametrize("block", [10**6, 150])  # one block, and two rows at a time
@pytest.mark.parametrize("k", [1, 4, 59])
def test_the_nearest_are_those_of_all_distances_whatever_the_block(monkeypatch, block, k):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "PAIRS_BLOCK", block // 4)
    monkeypatch.setattr(neighbours, "LEAST_ROWS", 1)
    points = cloud()
    others, lengths = Points(points).nearest(k)
    order, expected = expected_nearest(pairwise_distances(points), k)
    assert np.array_equal(others, order)
    assert np.array_equal(lengths, expected)


def test_after_a_search_one_for_fewer_gives_the_first_and_one_for_more_all():
    points, fresh = Points(cloud()), Points(cloud())
    points.nearest(7)
    for k in (3, 7, 9):
        for one, other in zip(points.nearest(k), fresh.nearest(k, rows=np.arange(60)), strict=True):
            assert np.array_equal(one, other)
    # Not what was found among others, or by other distances
    component = np.arange(60) % 2
    others, _ = points.nearest(3, component=component)
    assert (component[others] != component[:, None]).all()


def test_points_that_float32_cannot_tell_apart_are_in_the_right_order():
    line = 1 + 1e-9 * np.random.default_rng(0).permutation(50)[:, None]
    points = np.concatenate([line, [[5000.0]]])
    others, _ = Points(points).nearest(6)
    order, _ = expected_nearest(pairwise_distances(points), 6)
    assert np.array_equal(others, order)


def test_of_equally_near_points_the_first_are_taken():
    points = np.zeros((40, 3), np.float32)
    others, lengths = Points(points).nearest(3)
    assert others[[0, 1, 2, 3, 39]].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert not lengths.any()


def test_copies_of_a_point_are_compared_once_and_have_their_own_neighbours(monkeypatch):
    points = cloud()
    points[20:] = points[7]
    compared = []
    between = Points.between
    monkeypatch.setattr(Points, "between", lambda *given: compared.append(len(given[1])) or between(*given))
    others, lengths = Points(points).nearest(5)
    order, expected = expected_nearest(pairwise_distances(points), 5)
    assert np.array_equal(others, order)
    assert np.array_equal(lengths, expected)
    assert sum(compared) < 20 * 60  # each different point with all, and not all with all


def test_core_distances_and_components_are_heeded():
    points = cloud()
    points[50:] = points[3]
    rng = np.random.default_rng(1)
    core, component = rng.uniform(1, 4, 60).astype(np.float32), rng.integers(0, 4, 60)
    core[50:] = core[3]
    rows = np.array([3, 50, 7, 51, 59, 58])
    others, lengths = Points(points).nearest(5, rows=rows, core_distances=core, component=component)
    reachability = np.maximum(np.maximum(pairwise_distances(points), core), core[:, None])
    reachability[component[:, None] == component] = np.inf
    order, expected = expected_nearest(reachability, 5)
    assert np.array_equal(others, order[rows])
    assert np.array_equal(lengths, expected[rows])


def test_where_there_are_fewer_than_asked_for_a_point_stands_for_itself():
    component = np.array([0, 0, 0, 1])
    core = np.zeros(4, np.float32)
    others, lengths = Points(np.arange(4.0)[:, None]).nearest(2, core_distances=core, component=component)
    assert others.tolist() == [[3, 0], [3, 1], [3, 2], [2, 1]]
    assert lengths.tolist() == [[3, np.inf], [2, np.inf], [1, np.inf], [1, 2]]


@pytest.mark.parametrize("block", [10**6, 150])
def test_blocks_hold_the_distances_of_the_definition(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "LEAST_ROWS", 1)
    points = cloud()
    rows = np.arange(5, 40)
    blocks = Points(points).per_block(rows, lambda some, distances: (some, distances))
    assert np.concatenate([some for some, _ in blocks]).tolist() == rows.tolist()
    assert len(blocks) == (1 if block > 150 else 18)
    assert np.concatenate([distances for _, distances in blocks]) == pytest.approx(pairwise_distances(points)[5:40])


@pytest.mark.parametrize("block", [10**6, 150])
def test_the_nearest_to_other_points_are_those_of_all_distances(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "LEAST_ROWS", 1)
    points, others = cloud(), cloud(n=33, seed=1) + 100  # far away: what differs is small beside what is common
    nearest, distances = Points(points).nearest_to(others)
    expected = np.sqrt(np.square(others[:, None].astype(float) - points).sum(axis=2))
    assert np.array_equal(nearest, expected.argmin(axis=1))
    assert np.array_equal(distances, expected.min(axis=1).astype(np.float32))


def test_of_points_equally_near_to_another_the_first_is_the_nearest():
    nearest, distances = Points(np.array([[3.0], [1.0], [-1.0], [1.0]])).nearest_to(np.array([[0.0], [1.0], [3.5]]))
    assert nearest.tolist() == [1, 1, 0]
    assert distances.tolist() == [1, 0, 0.5]


def test_nothing_is_near_to_no_points():
    nearest, distances = Points(cloud()).nearest_to(np.empty((0, 7)))
    assert nearest.shape == distances.shape == (0,)


def test_one_point_has_no_neighbours():
    others, lengths = Points(np.ones((1, 3))).neighbours
    assert others.shape == lengths.shape == (1, 0)
