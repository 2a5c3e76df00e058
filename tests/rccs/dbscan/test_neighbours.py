"""Distances and nearest points, against all n² distances by the definition."""

import numpy as np
import pytest

from safe_dnn.rccs.dbscan import neighbours
from safe_dnn.rccs.dbscan.neighbours import Points
from tests.helpers.point_groups import pairwise_distances


def cloud(n=60, dimension=7, seed=0):
    return np.random.default_rng(seed).normal(size=(n, dimension)).astype(np.float32)


def expected_nearest(distances, k):
    np.fill_diagonal(distances, np.inf)
    order = np.argsort(distances, axis=1, kind="stable")[:, :k]
    return order, np.take_along_axis(distances, order, axis=1).astype(np.float32)


@pytest.mark.parametrize("block", [10**6, 150])  # one block, and two rows at a time
@pytest.mark.parametrize("stored", [0, 60])  # in blocks, and with all distances
@pytest.mark.parametrize("k", [1, 4, 59])
def test_the_nearest_are_those_of_all_distances_whatever_the_block(monkeypatch, block, stored, k):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "MOST_STORED", stored)
    monkeypatch.setattr(neighbours, "LEAST_ROWS", 1)
    points = cloud()
    others, lengths = Points(points).nearest(k)
    order, expected = expected_nearest(pairwise_distances(points), k)
    assert np.array_equal(others, order)
    assert np.array_equal(lengths, expected)


@pytest.mark.parametrize("stored", [0, 40])
def test_of_equally_near_points_the_first_are_taken(monkeypatch, stored):
    monkeypatch.setattr(neighbours, "MOST_STORED", stored)
    points = np.ones((40, 3), np.float32)
    others, lengths = Points(points).nearest(3)
    assert others[[0, 1, 2, 3, 39]].tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2]]
    assert not lengths.any()


@pytest.mark.parametrize("block", [10**6, 150])
def test_the_nearest_to_other_points_are_those_of_all_distances(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "LEAST_ROWS", 1)
    points, others = cloud(), cloud(n=33, seed=1) + 100  # far away: what differs is small beside what is common
    nearest, distances = Points(points).nearest_to(others)
    expected = np.sqrt(np.square(others[:, None].astype(float) - points).sum(axis=2))
    assert np.array_equal(nearest, expected.argmin(axis=1))
    assert np.array_equal(distances, expected.min(axis=1).astype(np.float32))
