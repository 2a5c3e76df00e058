"""The silhouette, for many labellings at a time. Step 1, for `tuning.py`.

Source: Rousseeuw, J. Comput. Appl. Math. 20, 1987.
"""

from collections.abc import Sequence

import numpy as np

from dbscan.neighbours import Points
from dbscan.outcome import NOISE


def balanced_silhouettes(points: Points, labellings: Sequence[np.ndarray]) -> list[float]:
    """Mean over clusters of the mean silhouette of their points; noise left out; 0 for fewer than two clusters.

    Exact, in O(n²) time; each distance is computed once for all labellings.

    Parameters
    ----------
    points : Points
    labellings : sequence of ndarray of shape (n_points,), int
        From 0, none left out, and `NOISE`.
    """
    # Imported here and not above: with it the page would start later.
    from scipy.sparse import csr_array

    n = len(points)
    clusters = []  # of each labelling: clusters × points, 1 where a point is in a cluster
    for labels in labellings:
        members = np.flatnonzero(labels != NOISE)
        shape = (int(labels.max(initial=NOISE)) + 1, n)
        clusters.append(csr_array((np.ones(len(members)), (labels[members], members)), shape=shape))

    def silhouettes(rows: np.ndarray, distances: np.ndarray) -> list[np.ndarray]:
        to_points = np.ascontiguousarray(distances.T)
        return [
            _silhouettes(belongs @ to_points, labels[rows], belongs.sum(axis=1))
            for belongs, labels in zip(clusters, labellings, strict=True)
        ]

    of_blocks = points.per_block(np.arange(n), silhouettes)
    scores = []
    for labels, *of_each in zip(labellings, *of_blocks, strict=True):
        members = labels != NOISE
        sizes = np.bincount(labels[members])
        sums = np.bincount(labels[members], np.concatenate(of_each)[members])
        scores.append(float((sums / sizes).mean()) if len(sizes) > 1 else 0.0)
    return scores


def _silhouettes(sums: np.ndarray, own: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Silhouettes of some points; 0 for noise and for points alone in their cluster.

    Parameters
    ----------
    sums : ndarray of shape (n_clusters, n_points), float64
        Distances from each point to those of each cluster, summed; overwritten.
    own : ndarray of shape (n_points,), int
        Cluster of each point, or `NOISE`.
    sizes : ndarray of shape (n_clusters,)
    """
    found = np.zeros(len(own))
    members = np.flatnonzero(own != NOISE)
    if len(sizes) < 2 or not len(members):
        return found
    own = own[members]
    within = sums[own, members] / np.maximum(sizes[own] - 1, 1)
    sums /= sizes[:, None]
    sums[own, members] = np.inf
    nearest_other = sums.min(axis=0)[members]
    larger = np.maximum(np.maximum(within, nearest_other), np.finfo(np.float32).tiny)
    found[members] = np.where(sizes[own] > 1, (nearest_other - within) / larger, 0)
    return found
