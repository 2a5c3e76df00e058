import dataclasses

import numpy as np

from safe_dnn.rccs.split import parts_of
from tests.helpers.point_groups import groups


def of_points(clusters, points):
    """An RCC of the first images, with other points."""
    n = len(points)
    return dataclasses.replace(
        clusters, paths=clusters.paths[:n], labels=np.zeros(n, int), points=np.asarray(points, np.float32),
        min_samples=3,
    )  # fmt: skip


def test_two_reasons_in_one_rcc_come_apart_and_images_between_them_go_to_the_nearer(clusters):
    points = groups([12, 8], dimension=4)[0]
    points = np.vstack([points, 0.7 * points[:12].mean(axis=0) + 0.3 * points[12:].mean(axis=0)])
    found = parts_of(of_points(clusters, points), 0)
    assert found == [(*clusters.paths[:12], clusters.paths[20]), clusters.paths[12:20]]


def test_an_rcc_of_one_kind_or_of_few_images_has_no_parts(clusters):
    assert parts_of(of_points(clusters, groups([20], dimension=4)[0]), 0) == []
    assert parts_of(of_points(clusters, groups([4, 4], dimension=4)[0]), 0) == []
    assert parts_of(of_points(clusters, np.zeros((20, 4))), 0) == []
    strays = np.vstack([groups([20], dimension=4)[0], np.full((2, 4), 50.0), np.full((2, 4), -50.0)])
    assert parts_of(of_points(clusters, strays), 0) == []  # single images that lie apart are no part
