"""Clusters on which clusterings of many random parts of the images agree."""

import threading

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from safe_dnn.rccs.dbscan.consensus import (
    LARGEST_SHARE,
    LEFT_OUT,
    SMALLEST_SHARE,
    Votes,
    agree,
    cluster_samples,
    draw_samples,
)
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.progress import reporting
from tests.helpers.point_groups import groups

pytestmark = pytest.mark.usefixtures("all_samples")


def votes(*clusterings, n_samples=1):
    labels = np.array(clusterings, np.int16)
    return Votes(labels, labels > NOISE, np.ones(len(labels), int), n_samples)


def cluster(points, **options):
    """`cluster_samples` of images whose names are numbers."""
    return cluster_samples(points, [str(i) for i in range(len(points))], **options)


@pytest.fixture(scope="module")
def three_groups():
    points, owner = groups((60, 40, 25), spread=0.3)
    return points.astype(np.float64), owner


def test_groups_are_found_again_with_confidence(three_groups):
    points, owner = three_groups
    labels, is_core, steadiness = agree(cluster(points))
    clustered = labels != NOISE
    assert clustered.mean() > 0.95
    assert adjusted_rand_score(owner[clustered], labels[clustered]) == 1
    assert np.bincount(labels[clustered]).tolist() == sorted(np.bincount(labels[clustered]), reverse=True)
    assert (steadiness.of_rccs > 0.9).all()
    assert steadiness.is_steady.all()
    assert is_core[clustered].mean() > 0.9
    assert not is_core[~clustered].any()


@pytest.mark.parametrize(("n", "seeds"), [(40, 2), pytest.param(150, 20, marks=pytest.mark.slow)])
def test_a_cloud_without_structure_has_no_steady_cluster(n, seeds):
    clouds = [np.random.default_rng(seed).normal(size=(n, 30)) for seed in range(seeds)]
    steady = [seed for seed, cloud in enumerate(clouds) if agree(cluster(cloud))[2].is_steady.any()]
    assert len(steady) <= seeds / 20, steady  # of 60 clouds of 150 points, 2 have one


def test_left_out_images_do_not_vote():
    together, apart = [0] * 5 + [1] * 5, [0] * 5 + [LEFT_OUT] * 5
    labels, _, steadiness = agree(votes(together, apart, apart))
    assert labels.tolist() == together
    assert steadiness.of_rccs.tolist() == [1, 1]


def test_an_image_that_changes_its_cluster_makes_it_less_steady():
    one, other = [0] * 6 + [1] * 6, [0] * 5 + [1] * 7
    labels, _, steadiness = agree(votes(one, one, one, other, other))
    assert labels.tolist() == one
    assert steadiness.of_rccs[0] == pytest.approx((5 * (4 + 3 / 5) / 5 + 3 / 5) / 6)


def test_clusters_that_are_seldom_found_are_noise():
    found, nothing = [0] * 6 + [NOISE] * 6, [NOISE] * 12
    labels, is_core, steadiness = agree(votes(found, found, nothing, nothing, nothing))
    assert (labels == NOISE).all()
    assert not is_core.any()
    assert steadiness.of_rccs.shape == (0,)


def test_the_core_points_are_those_of_at_least_half_of_the_votes_and_one_at_least():
    labels = np.array([[0] * 6 + [1] * 6] * 4, np.int16)
    is_core = np.ones(labels.shape, dtype=bool)
    is_core[:3, 0] = False
    is_core[:3, 6:] = False
    is_core[2, 8] = True
    assert np.flatnonzero(agree(Votes(labels, is_core, np.ones(4, int), 4))[1]).tolist() == [1, 2, 3, 4, 5, 8]


def test_votes_decide_by_their_weights_and_confidence_is_how_often_images_are_together():
    labels = np.array([[0] * 6 + [1] * 6, [0] * 12], np.int16)
    for weights, confidences in (([3, 1], [1, 1]), ([1, 3], [(1 + 5 / 11) / 2])):
        found, _, steadiness = agree(Votes(labels, labels > NOISE, np.array(weights), 1))
        assert found.max() + 1 == len(confidences)
        assert steadiness.of_rccs.tolist() == pytest.approx(confidences)


def test_samples_hold_from_half_to_four_fifths_of_the_images(three_groups):
    points, _ = three_groups
    found = cluster(points[::3])
    shares = (found.labels != LEFT_OUT).mean(axis=1)
    shares = shares[shares > 0]  # without those that tell nothing apart, and so have no vote
    assert found.labels.shape == (3 * found.n_samples, len(points[::3]))
    assert SMALLEST_SHARE - 0.02 <= shares.min() < 0.6 < 0.7 < shares.max() <= LARGEST_SHARE + 0.02


def test_equal_images_are_not_divided():
    assert agree(cluster(np.zeros((30, 3))))[0].max(initial=NOISE) < 1


def test_a_cause_that_is_missing_from_some_samples_is_found_all_the_same():
    points, owner = groups((80, 80, 6))
    labels, _, steadiness = agree(cluster(points.astype(np.float64)))
    rare = labels[owner == 2]
    assert (rare == rare[0]).all()
    assert rare[0] != NOISE
    assert steadiness.of_rccs[rare[0]] > 0.5


@pytest.fixture
def small_samples(monkeypatch):
    """As if 80 images were very many."""
    monkeypatch.setattr("safe_dnn.rccs.dbscan.consensus.MOST_IMAGES", 80)
    monkeypatch.setattr("safe_dnn.rccs.dbscan.neighbours.MOST_STORED", 80)
    monkeypatch.setattr("safe_dnn.rccs.dbscan.consensus.ROWS", 50)


def test_of_very_many_images_all_take_part_in_samples_of_a_fixed_size(small_samples):
    points, owner = groups((300, 300, 200, 1), spread=0.3)
    points[-1] *= 20
    found = cluster(points.astype(np.float64))
    assert (found.labels != LEFT_OUT).all(axis=1).sum() > found.n_samples
    labels, is_core, steadiness = agree(found)
    clustered = labels != NOISE
    assert clustered[:-1].mean() > 0.95
    assert not clustered[-1]  # it stands apart
    assert adjusted_rand_score(owner[clustered], labels[clustered]) == 1
    assert steadiness.is_steady.all()
    assert is_core[clustered].mean() > 0.9


@pytest.mark.usefixtures("small_samples")
@pytest.mark.parametrize("calls", [1, 4])
def test_a_cancelled_run_ends_at_once(three_groups, calls):
    points, _ = three_groups
    left, before = iter(range(calls - 1)), threading.enumerate()

    def cancel(what, done, total):
        if next(left, None) is None:
            raise InterruptedError

    with pytest.raises(InterruptedError), reporting(cancel):
        cluster(points)
    assert set(threading.enumerate()) <= set(before)


def test_images_that_are_left_out_hardly_change_the_samples_of_the_others():
    names = [f"images/{i}.png" for i in range(200)]
    fewer = names[:60] + names[80:]
    for whole, part in zip(draw_samples(names, 20), draw_samples(fewer, 20), strict=True):
        before, after = {names[i] for i in whole} & set(fewer), {fewer[i] for i in part}
        assert len(before ^ after) <= 10  # of about 120; two independent samples differ in about 80
