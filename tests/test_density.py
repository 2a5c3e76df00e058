"""DBSCAN at every eps, against scikit-learn's, and the branches of its tree."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

import density
from density import NOISE, Branches, Density, nearest_neighbours, pairwise_distances


def groups(sizes, spread=0.1, dimension=10, seed=0):
    """Gaussian groups around corners of a simplex, and which group each point is of."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    points = 2 * np.eye(dimension)[owner % dimension] * (1 + owner[:, None] // dimension)
    return (points + rng.normal(0, spread, points.shape)).astype(np.float32), owner


@pytest.mark.parametrize("min_samples", [2, 3, 5, 12])
@pytest.mark.parametrize("seed", range(4))
def test_density_agrees_with_scikit_learn(min_samples, seed):
    points, _ = groups((50, 40, 30), spread=0.7, seed=seed)
    distances = pairwise_distances(points)
    made = Density(distances, min_samples)
    for eps in np.quantile(made.core_distances, (0.05, 0.3, 0.6, 0.9, 1.0)):
        labels, is_core = made.cluster(float(eps))
        theirs = DBSCAN(eps=float(eps), min_samples=min_samples, metric="precomputed").fit(distances)
        assert np.array_equal(np.flatnonzero(is_core), theirs.core_sample_indices_)
        assert np.array_equal(labels == NOISE, theirs.labels_ == NOISE)
        assert adjusted_rand_score(labels[is_core], theirs.labels_[is_core]) == 1


@pytest.mark.parametrize("min_samples", [3, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_each_branch_is_a_cluster_of_dbscan_at_its_radius(min_samples, seed):
    points, _ = groups((50, 40, 30), spread=0.7, seed=seed)
    distances = pairwise_distances(points)
    branches = Branches(Density(distances, min_samples))
    assert len(branches.radius)
    for branch, radius in enumerate(branches.radius):
        members = np.flatnonzero(branches.cluster([branch])[1])
        theirs = DBSCAN(eps=float(radius), min_samples=min_samples, metric="precomputed").fit(distances)
        cores = theirs.core_sample_indices_
        assert members.tolist() == cores[theirs.labels_[cores] == theirs.labels_[members[0]]].tolist()


def test_the_best_branches_are_worth_more_than_any_one_and_do_not_overlap():
    points, _ = groups((80, 50, 30, 20), spread=0.4)
    branches = Branches(Density(pairwise_distances(points), 5))
    worth = branches.sizes * branches.gap
    best = branches.best(worth)
    assert worth[best].sum() >= worth.max()
    members = np.sum([branches.cluster([branch])[1] for branch in best], axis=0)
    assert members.max() == 1
    assert len(best) == branches.cluster(best)[0].max() + 1


def test_neighbours_do_not_hang_on_how_many_are_looked_for_at_a_time(monkeypatch):
    points, _ = groups((30, 20), spread=0.5)
    at_once = nearest_neighbours(points, 4)
    monkeypatch.setattr(density, "BLOCK", 7)
    assert np.array_equal(np.sort(at_once, axis=1), np.sort(nearest_neighbours(points, 4), axis=1))
    order = np.argsort(pairwise_distances(points), axis=1)[:, 1:5]
    assert np.array_equal(np.sort(order, axis=1), np.sort(at_once, axis=1))


def test_eps_is_inclusive_and_min_samples_counts_the_point_itself():
    line = np.array([[0.0], [1.0], [2.0], [4.0]], np.float32)
    labels, is_core = Density(pairwise_distances(line), 3).cluster(1.0)
    assert labels.tolist() == [0, 0, 0, NOISE]
    assert is_core.tolist() == [False, True, False, False]


def test_a_border_point_joins_its_nearest_core_point():
    left, right = [0.0, 0.2, 0.3, 0.4], [2.0, 2.4, 2.6, 2.7]
    line = np.array([*left, 1.25, *right], np.float32)[:, None]
    labels, is_core = Density(pairwise_distances(line), 4).cluster(0.9)
    assert not is_core[4]
    assert labels[4] == labels[5] != labels[3]


def test_distances_are_those_of_the_definition():
    points = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32)
    expected = np.linalg.norm(points[:, None] - points[None], axis=2)
    assert pairwise_distances(points) == pytest.approx(expected, abs=1e-5)


def test_branches_know_which_neighbours_they_keep():
    points, owner = groups((20, 30), spread=0.05)
    branches = Branches(Density(pairwise_distances(points), 3))
    kept = branches.kept(nearest_neighbours(points, 4))
    whole, pair = [kept[branches.sizes == size] for size in (50, 20)]
    assert whole.tolist() == [1.0]
    assert pair.tolist() == [1.0]
    strangers = np.where(owner[:, None] == 0, [[20, 21]], [[0, 1]])
    assert branches.kept(strangers)[branches.sizes == 20].tolist() == [0.0]


def test_without_a_branch_there_is_no_cluster():
    branches = Branches(Density(pairwise_distances(np.arange(4, dtype=np.float32)[:, None]), 3))
    assert branches.best(np.ones(0)) == []
    assert branches.cluster([])[0].tolist() == [NOISE] * 4
