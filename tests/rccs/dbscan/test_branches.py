"""The branches of the tree of densities, against scikit-learn's DBSCAN."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN

from safe_dnn.rccs.dbscan.branches import Branches
from safe_dnn.rccs.dbscan.density import Density
from safe_dnn.rccs.dbscan.neighbours import Points
from tests.helpers.point_groups import groups, pairwise_distances


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
