"""DBSCAN at every eps, against scikit-learn's."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.metrics import adjusted_rand_score

from safe_dnn.rccs.dbscan.density import Branches, Density
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from tests.helpers.point_groups import groups, pairwise_distances


@pytest.mark.parametrize("min_samples", [2, 3, 5, 12])
@pytest.mark.parametrize("seed", range(4))
def test_density_agrees_with_scikit_learn(min_samples, seed):
    points, _ = groups((50, 40, 30), spread=0.7, seed=seed)
    distances = pairwise_distances(points).astype(np.float32)
    made = Density(Points(points), min_samples)
    for eps in np.quantile(made.core_distances, (0.05, 0.3, 0.6, 0.9, 1.0)):
        labels, is_core = made.cluster(float(eps))
        theirs = DBSCAN(eps=float(eps), min_samples=min_samples, metric="precomputed").fit(distances)
        assert np.array_equal(np.flatnonzero(is_core), theirs.core_sample_indices_)
        assert np.array_equal(labels == NOISE, theirs.labels_ == NOISE)
        assert adjusted_rand_score(labels[is_core], theirs.labels_[is_core]) == 1


def test_eps_is_inclusive_and_min_samples_counts_the_point_itself():
    line = np.array([[0.0], [1.0], [2.0], [4.0]], np.float32)
    labels, is_core = Density(Points(line), 3).cluster(1.0)
    assert labels.tolist() == [0, 0, 0, NOISE]
    assert is_core.tolist() == [False, True, False, False]


def test_a_border_point_joins_its_nearest_core_point():
    left, right = [0.0, 0.2, 0.3, 0.4], [2.0, 2.4, 2.6, 2.7]
    line = np.array([*left, 1.25, *right], np.float32)[:, None]
    labels, is_core = Density(Points(line), 4).cluster(0.9)
    assert not is_core[4]
    assert labels[4] == labels[5] != labels[3]


@pytest.mark.parametrize("min_samples", [3, 5, 10])
@pytest.mark.parametrize("seed", range(3))
def test_each_branch_is_a_cluster_of_dbscan_at_its_radius(min_samples, seed):
    points, _ = groups((50, 40, 30), spread=0.7, seed=seed)
    distances = pairwise_distances(points).astype(np.float32)
    branches = Branches(Density(Points(points), min_samples))
    assert len(branches.radius)
    for branch, radius in enumerate(branches.radius):
        members = np.flatnonzero(branches.cluster([branch])[1])
        theirs = DBSCAN(eps=float(radius), min_samples=min_samples, metric="precomputed").fit(distances)
        cores = theirs.core_sample_indices_
        assert members.tolist() == cores[theirs.labels_[cores] == theirs.labels_[members[0]]].tolist()
