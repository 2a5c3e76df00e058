"""What DBSCAN finds at every eps: its clusters, and how they split as eps falls. Step 1 decides in `tuning.py`.

Sources: Ester et al., KDD 1996 (DBSCAN); Campello et al., PAKDD 2013 (mutual reachability, by which one spanning tree
holds DBSCAN's answer for every eps, and clusters as branches of that tree).
"""

import heapq
from collections.abc import Iterator

import numpy as np

from dbscan.neighbours import LISTED, Points
from dbscan.outcome import NOISE

SAME_POINT = 1e-4  # points within this of each other are one: rounding, not difference


class Density:
    """What DBSCAN with one `min_samples` makes of the points, at every eps.

    Two core points are in one cluster at eps exactly if a chain of core points with steps of at most eps joins them,
    that is, if the minimum spanning tree of the mutual reachability distances joins them by edges of at most eps. So
    the tree is built once, in O(n²) time and O(n) memory, and every eps costs O(n).

    Parameters
    ----------
    points : Points
    min_samples : int
        Points within eps, the point itself counted, that make a point a core point; at most `LISTED` + 1.

    Attributes
    ----------
    core_distances : ndarray of shape (n,), float32
        The least eps at which each point is a core point.
    edges : ndarray of shape (n - 1, 2), int
    lengths : ndarray of shape (n - 1,), float32
        The tree.

    Raises
    ------
    ValueError
        `min_samples` is above `LISTED` + 1 or the number of points.
    """

    def __init__(self, points: Points, min_samples: int):
        if min_samples > min(LISTED + 1, len(points)):
            raise ValueError(f"min_samples must be at most {min(LISTED + 1, len(points))}. Received: {min_samples}")
        self.points = points
        self.min_samples = min_samples
        self.core_distances = np.zeros(len(points), np.float32)
        if min_samples > 1:
            self.core_distances = points.neighbours[1][:, min_samples - 2]
        self.edges, self.lengths = _spanning_tree(points, self.core_distances, min_samples)

    def cluster(self, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Labels and core points at eps (inclusive), each of shape (n,).

        As DBSCAN defines it, with one choice made where DBSCAN leaves it open: a border point between two clusters
        joins that of its nearest core point, rather than that which happens to be found first.
        """
        n = len(self.points)
        component = _components(n, *self.edges[self.lengths <= eps].T)
        is_core = self.core_distances <= eps
        labels = np.full(n, NOISE)
        labels[is_core] = np.unique(component[is_core], return_inverse=True)[1]
        return self.with_border_points(labels, np.full(n, eps)), is_core

    def with_border_points(self, labels: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Give each point without a label that of its nearest labelled one, where that one reaches as far.

        Parameters
        ----------
        labels : ndarray of shape (n,), int
            Those of the core points of whole clusters of DBSCAN, each with an eps of its own.
        reach : ndarray of shape (n,)
            That eps (inclusive) around each core point.
        """
        others = np.flatnonzero(labels == NOISE)
        # A point that is reached is no core point at that eps, or it would be in the cluster: fewer than min_samples
        # points are as near, all of which are among its neighbours.
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


def _components(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Number of the component of each of n nodes, when these edges join them."""
    # Imported here and not above: with them the page would start later.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left)), (left, right)), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _spanning_tree(points: Points, core_distances: np.ndarray, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Minimum spanning tree of max(distance, core distance of either end).

    Borůvka's algorithm finds edges that join all points at the least cost: in each round, every component's shortest to
    another. Where several edges are equally short, as those are that are as long as a point's core distance, it takes
    any; so these are added, and Prim's algorithm draws from all of them the tree that it would from all n² edges.

    Returns edges of shape (n - 1, 2) and their lengths, in Prim's order from point 0.
    """
    n = len(points)
    within_core = points.neighbours[0][:, : min_samples - 1]
    left, right = [np.repeat(np.arange(n), within_core.shape[1])], [within_core.ravel()]
    for one, other in _shortest_between_components(points, core_distances):
        left.append(one)
        right.append(other)
    one, other = np.concatenate(left), np.concatenate(right)
    lengths = np.maximum(points.between(one, other).astype(np.float32), core_distances[one])
    return _prim(n, one, other, np.maximum(lengths, core_distances[other]))


def _shortest_between_components(points: Points, core_distances: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The edges of Borůvka's rounds: each component's shortest to another, from one (left) to the other (right).

    Of each point some neighbours are known, and how far away the others are at least. Only where that leaves a
    component's shortest edge open are a point's nearest in other components looked for anew, among all points.
    """
    n = len(points)
    others, lengths = (listed.copy() for listed in points.neighbours)
    beyond = np.maximum(lengths[:, -1:].max(axis=1, initial=0), core_distances)  # no other point is nearer
    np.maximum(lengths, np.maximum(core_distances[:, None], core_distances[others]), out=lengths)
    component, each = np.arange(n), np.arange(n)
    while (count := component.max(initial=0) + 1) > 1:
        to_others = np.where(component[others] != component[:, None], lengths, np.inf)
        place = to_others.argmin(axis=1)
        shortest = to_others[each, place]
        known = shortest <= beyond
        least = np.full(count, np.inf, np.float32)
        np.minimum.at(least, component[known], shortest[known])
        unknown = np.flatnonzero(~known & (beyond < least[component]))
        if len(unknown):
            others[unknown], lengths[unknown] = points.nearest(others.shape[1], unknown, core_distances, component)
            beyond[unknown] = lengths[unknown, -1]
            continue
        ends = np.flatnonzero(known & (shortest == least[component]))
        ends = ends[np.unique(component[ends], return_index=True)[1]]
        found = others[ends, place[ends]]
        yield ends, found
        component = _components(count, component[ends], component[found])[component]


def _prim(n: int, left: np.ndarray, right: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum spanning tree of a connected graph, from node 0; of equally near nodes the first is taken."""
    both = np.concatenate([left, right]), np.concatenate([right, left])
    order = np.lexsort((both[1], both[0]))
    starts = np.searchsorted(both[0][order], np.arange(n + 1)).tolist()
    to, cost = both[1][order].tolist(), np.concatenate([lengths, lengths])[order].tolist()
    reach, parent, outside = [np.inf] * n, [0] * n, [True] * n
    edges: list[tuple[int, int]] = []
    nearest: list[tuple[float, int]] = [(0.0, 0)]
    while nearest:
        current = heapq.heappop(nearest)[1]
        if not outside[current]:
            continue
        outside[current] = False
        edges.append((parent[current], current))
        for i in range(starts[current], starts[current + 1]):
            if outside[to[i]] and cost[i] < reach[to[i]]:
                reach[to[i]], parent[to[i]] = cost[i], current
                heapq.heappush(nearest, (cost[i], to[i]))
    ends = [current for _, current in edges[1:]]
    return np.array(edges[1:], dtype=int).reshape(-1, 2), np.array([reach[end] for end in ends], np.float32)
