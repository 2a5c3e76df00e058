"""DBSCAN at every eps: its clusters, and how they split as eps decreases. Step 1, for `tuning.py`.

Sources: Ester et al., KDD 1996 (DBSCAN); Campello et al., PAKDD 2013 (mutual reachability, by which one spanning tree
holds DBSCAN's answer for every eps, and clusters as branches of that tree).
"""

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import LISTED, Points
from safe_dnn.rccs.dbscan.outcome import NOISE

SAME_POINT = 1e-4  # smaller distances are rounding errors


class Density:
    """The clusters of DBSCAN with a given `min_samples`, at every eps.

    Two core points are in the same cluster at eps if and only if a chain of core points with steps of at most eps joins
    them, that is, if they are together in the tree of single linkage of mutual reachability distances, max(distance,
    both core distances), cut at eps. So the tree is built once, in O(n²) time and memory, and every eps takes O(n).

    Parameters
    ----------
    points : Points
    min_samples : int
        A core point has at least as many points within eps, the point itself counted. At most `LISTED` + 1.

    Attributes
    ----------
    core_distances : ndarray of shape (n,), float32
        The smallest eps at which each point is a core point.
    merges : ndarray of shape (n - 1, 4), float64
        The tree as `scipy.cluster.hierarchy.linkage` gives it, by increasing eps.

    Raises
    ------
    ValueError
        `min_samples` is larger than `LISTED` + 1 or the number of points.
    """

    def __init__(self, points: Points, min_samples: int) -> None:
        if min_samples > min(LISTED + 1, len(points)):
            raise ValueError(f"min_samples must be at most {min(LISTED + 1, len(points))}. Received: {min_samples}")
        self.points = points
        self.min_samples = min_samples
        self.core_distances = np.zeros(len(points), np.float32)
        if min_samples > 1:
            self.core_distances = points.neighbours[1][:, min_samples - 2]
        # Imported here so that the page starts faster.
        from scipy.cluster.hierarchy import linkage
        from scipy.spatial.distance import squareform

        self.merges = linkage(squareform(self.reachability(), checks=False), "single")

    def reachability(self) -> np.ndarray:
        """The mutual reachability distances, shape (n, n), float32; not on the diagonal."""
        reachability = np.maximum(self.points.distances, self.core_distances)
        return np.maximum(reachability, self.core_distances[:, None], out=reachability)

    def cluster(self, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Labels and core points at eps (inclusive), each of shape (n,).

        DBSCAN leaves open to which cluster a border point within reach of several clusters belongs. Here it is the
        cluster of the nearest core point.
        """
        # Imported here so that the page starts faster.
        from scipy.cluster.hierarchy import fcluster

        component = fcluster(self.merges, eps, "distance")
        is_core = self.core_distances <= eps
        labels = np.full(len(self.points), NOISE)
        labels[is_core] = np.unique(component[is_core], return_inverse=True)[1]
        return self.with_border_points(labels, np.full(len(labels), eps)), is_core

    def with_border_points(self, labels: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Add border points: noise gets the label of the nearest labelled point, if that is within its reach.

        Parameters
        ----------
        labels : ndarray of shape (n,), int
            The core points of complete DBSCAN clusters, each with its own eps; `NOISE` elsewhere.
        reach : ndarray of shape (n,)
            For each core point, the eps (inclusive) of its cluster.
        """
        others = np.flatnonzero(labels == NOISE)
        # A border point is not a core point at that eps, or it would be in the cluster. So fewer than min_samples
        # points are within eps, and all of these are among its listed neighbours.
        neighbours, distances = (listed[others] for listed in self.points.neighbours)
        if not neighbours.size:
            return labels.copy()
        nearest_first = np.where(labels[neighbours] != NOISE, distances, np.inf)
        first, each = nearest_first.argmin(axis=1), np.arange(len(others))
        nearest = neighbours[each, first]
        reached = nearest_first[each, first] <= reach[nearest]
        labels = labels.copy()
        labels[others[reached]] = labels[nearest[reached]]
        return labels
