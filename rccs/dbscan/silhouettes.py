"""The silhouette index of several labellings at once. Step 1, for `tuning.py`.

Source: Rousseeuw, J. Comput. Appl. Math. 20, 1987.
"""

from collections.abc import Sequence

import numpy as np

from rccs.dbscan.neighbours import Points
from rccs.dbscan.outcome import NOISE


def balanced_silhouettes(points: Points, labellings: Sequence[np.ndarray]) -> list[float]:
    """Mean over clusters of the mean silhouette of their points, for each labelling.

    Noise is ignored. The result is 0 if there are fewer than two clusters. It is exact and takes O(n²) time; each
    distance is computed once for all labellings.

    Parameters
    ----------
    points : Points
    labellings : sequence of ndarray of shape (n_points,), int
        Consecutive labels from 0, and `NOISE`.
    """
    # Imported here so that the page starts faster.
    from scipy.sparse import csr_array

    n = len(points)
    clusters = []  # for each labelling, a matrix of shape (n_clusters, n_points): 1 if a point is in a cluster
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
    """Silhouettes of points; 0 for noise and for points that are alone in their cluster.

    Parameters
    ----------
    sums : ndarray of shape (n_clusters, n_points), float64
        Sum of the distances from each point to the points of each cluster. Overwritten.
    own : ndarray of shape (n_points,), int
        Cluster of each point, or `NOISE`.
    sizes : ndarray of shape (n_clusters,)
        Number of points in each cluster.
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
