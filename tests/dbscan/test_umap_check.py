"""One clustering checked against another of the same images."""

import numpy as np
import pytest

from dbscan.neighbours import Points
from dbscan.outcome import NOISE
from dbscan.umap_check import agreement, divide, without_strays


def test_agreement_is_the_mean_jaccard_index_over_the_images():
    sizes = np.array([10, 6, 4])
    assert agreement(np.repeat(0, 10), sizes) == 1
    assert agreement(np.repeat(0, 5), sizes) == pytest.approx(5 / 10)
    # 6 and 4 of ten, of RCCs of 6 and 4: each index is its share of the ten
    assert agreement(np.repeat([1, 2], [6, 4]), sizes) == pytest.approx(0.6 * 0.6 + 0.4 * 0.4)
    assert agreement(np.repeat([1, 0], [6, 3]), sizes) == pytest.approx((6 * 6 / 9 + 3 * 3 / 16) / 9)


def test_images_that_are_noise_elsewhere_say_nothing_of_agreement():
    assert agreement(np.array([0, 0, 0, NOISE, NOISE]), np.array([3])) == 1
    assert agreement(np.array([NOISE, NOISE]), np.array([3])) == 1
    assert agreement(np.array([NOISE]), np.array([], dtype=int)) == 1


def in_a_row(*where):
    return Points(np.array(where, dtype=float)[:, None])


def test_an_rcc_is_divided_where_its_parts_are_worth_more():
    labels = np.zeros(12, int)
    other = np.array([0] * 5 + [1] * 5 + [NOISE, 2])
    images = in_a_row(0, 1, 2, 3, 4, 20, 21, 22, 23, 24, 6, 19)
    divided, is_core = divide(labels, np.ones(12, bool), other, worth=lambda members: 1, images=images)
    assert divided.tolist() == [0] * 5 + [1] * 5 + [0, 1], "the others join the nearest part"
    assert is_core.tolist() == [True] * 10 + [False] * 2
    whole, is_core = divide(labels, np.ones(12, bool), other, worth=len, images=images)
    assert whole.tolist() == labels.tolist(), "ten are not worth more than twelve"
    assert is_core.all()


def test_a_part_has_five_images_or_more_and_noise_is_not_divided():
    other = np.array([0] * 5 + [1] * 4 + [2] * 5 + [3] * 5)
    labels = np.array([0] * 9 + [NOISE] * 10)
    divided, _ = divide(labels, labels == 0, other, worth=lambda members: 1, images=in_a_row(*range(19)))
    assert divided.tolist() == labels.tolist()


def test_several_rccs_are_divided_and_what_is_given_stays():
    other = np.repeat([0, 1, 2, 3], 5)
    labels = np.repeat([0, 1], 10)
    divided, _ = divide(labels, np.ones(20, bool), other, worth=lambda members: 1, images=in_a_row(*range(20)))
    assert divided.tolist() == [0] * 5 + [2] * 5 + [1] * 5 + [3] * 5
    assert labels.tolist() == [0] * 10 + [1] * 10


def test_an_image_stays_with_half_of_its_neighbours():
    labels = np.array([0] * 7 + [1] * 6 + [NOISE])
    neighbours = np.array([[1, 2]] * 5 + [[0, 8], [8, 9]] + [[8, 9]] * 6 + [[8, 9]])
    found, is_core = without_strays(labels, labels != NOISE, neighbours)
    assert found.tolist() == [0] * 6 + [NOISE] + [1] * 6 + [NOISE]
    assert is_core.tolist() == (found != NOISE).tolist()


def test_an_rcc_of_fewer_than_five_core_points_is_noise_and_the_others_move_up():
    labels = np.array([0] * 5 + [1] * 6)
    neighbours = np.array([[1, 2]] * 5 + [[6, 7]] * 6)
    is_core = np.array([True] * 4 + [False] + [True] * 6)
    found, is_core = without_strays(labels, is_core, neighbours)
    assert found.tolist() == [NOISE] * 5 + [0] * 6
    assert is_core.tolist() == [False] * 5 + [True] * 6


def test_nothing_but_noise_stays_noise():
    labels = np.full(3, NOISE)
    found, is_core = without_strays(labels, np.zeros(3, bool), np.array([[1], [2], [0]]))
    assert found.tolist() == [NOISE] * 3
    assert not is_core.any()
