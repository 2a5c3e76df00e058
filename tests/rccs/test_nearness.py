"""Near and far: images and RCCs by their distances."""

import dataclasses

import numpy as np
import pytest

from safe_dnn.rccs.confidence import by_closeness, most_similar, nearest_rccs
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError


@pytest.fixture
def on_a_line(clusters):
    """Images on a line. RCC 0: 0, 1, 2 and 6, which is no core point; RCC 1: 10, 11; RCC 2: −20; noise: 7, 100."""
    places = {"a": 0, "b": 1, "c": 2, "d": 6, "e": 10, "f": 11, "g": -20, "h": 7, "i": 100}
    return dataclasses.replace(
        clusters,
        paths=tuple(places),
        labels=np.array([0, 0, 0, 0, 1, 1, 2, NOISE, NOISE]),
        is_core=np.array([1, 1, 1, 0, 1, 1, 1, 0, 0], bool),
        points=np.array(list(places.values()), np.float32)[:, None],
    )


def test_the_nearest_rccs_come_with_the_distance_of_their_centres(on_a_line):
    assert nearest_rccs(on_a_line, 0) == [(1, 9.5), (2, 21.0)]  # the centre of RCC 0 is that of its core, 1
    assert nearest_rccs(on_a_line, 2, n=1) == [(0, 21.0)]
    assert nearest_rccs(on_a_line, NOISE, n=1) == [(1, 43.0)]
    with pytest.raises(SAFEError, match="There is no RCC 5"):
        nearest_rccs(on_a_line, 5)


def test_images_are_ordered_by_their_distance_from_the_middle_of_the_core(on_a_line):
    assert by_closeness(on_a_line, 0) == [("b", 0), ("a", 1), ("c", 1), ("d", 5)]
    assert by_closeness(on_a_line, 2) == [("g", 0)]
    with pytest.raises(SAFEError, match="There is no RCC 5"):
        by_closeness(on_a_line, 5)


def test_the_images_most_like_one_begin_with_it_and_follow_by_distance(clusters):
    found = most_similar(clusters, 5, 8)
    assert (len(found), found[0]) == (8, 5)
    distances = np.linalg.norm(clusters.points - clusters.points[5], axis=1)
    assert sorted(found[1:], key=lambda row: (distances[row], row)) == found[1:]
    assert max(distances[found]) <= np.delete(distances, found).min()
    assert sorted(most_similar(clusters, 5, 10_000)) == list(range(len(clusters.paths)))
