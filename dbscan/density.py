"""DBSCAN at every eps: its clusters, and how they split as eps decreases. Step 1, for `tuning.py`.

Sources: Ester et al., KDD 1996 (DBSCAN); Campello et al., PAKDD 2013 (mutual reachability, by which one spanning tree
holds DBSCAN's answer for every eps, and clusters as branches of that tree).
"""

import heapq
from collections.abc import Iterator

import numpy as np

from dbscan.neighbours import LISTED, Points
from dbscan.outcome import NOISE

SAME_POINT = 1e-4  # smaller distances are rounding errors


class Density:
    """The clusters of DBSCAN with a given `min_samples`, at every eps.

    Two core points are in the same cluster at eps if and only if a chain of core points with steps of at most eps joins
    them, that is, if edges of at most eps of the minimum spanning tree of mutual reachability distances join them. So
    the tree is built once, in O(n²) time and O(n) memory, and every eps takes O(n).

    Parameters
    ----------
    points : Points
    min_samples : int
        A core point has at least as many points within eps, the point itself counted. At most `LISTED` + 1.

    Attributes
    ----------
    core_distances : ndarray of shape (n,), float32
        The smallest eps at which each point is a core point.
    edges : ndarray of shape (n - 1, 2), int
        The edges of the tree.
    lengths : ndarray of shape (n - 1,), float32
        Their lengths.

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
        self.edges, self.lengths = _spanning_tree(points, self.core_distances, min_samples)

    def cluster(self, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Labels and core points at eps (inclusive), each of shape (n,).

        DBSCAN leaves open to which cluster a border point within reach of several clusters belongs. Here it is the
        cluster of the nearest core point.
        """
        n = len(self.points)
        component = _components(n, *self.edges[self.lengths <= eps].T)
        is_core = self.core_distances <= eps
        labels = np.full(n, NOISE)
        labels[is_core] = np.unique(component[is_core], return_inverse=True)[1]
        return self.with_border_points(labels, np.full(n, eps)), is_core

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


def _components(n: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Connected components of a graph of n nodes: the component of each node."""
    # Imported here so that the page starts faster.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(left)), (left, right)), shape=(n, n))
    return connected_components(graph, directed=False)[1]


def _spanning_tree(points: Points, core_distances: np.ndarray, min_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Minimum spanning tree of the mutual reachability distances: max(distance, both core distances).

    The tree is the one that Prim's algorithm finds among all n² edges, but from O(n) candidates. Borůvka's algorithm
    yields edges that join all points at minimum cost: in each round, the shortest edge from every component to another.
    It chooses arbitrarily between edges of equal length. Those are edges as long as the core distance of one end, so
    the edges to all points within the core distance are added. Prim's algorithm then runs on these candidates.

    Returns
    -------
    edges : ndarray of shape (n - 1, 2), int
        In Prim's order from point 0.
    lengths : ndarray of shape (n - 1,), float32
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
    """The edges (left, right) of each round of Borůvka: from every component, the shortest to another one.

    For each point, some neighbours and a lower bound on the distance of all others are known. All points are searched
    again only for points where this does not determine the shortest edge of their component.
    """
    n = len(points)
    others, lengths = (listed.copy() for listed in points.neighbours)
    beyond = np.maximum(lengths[:, -1:].max(axis=1, initial=0), core_distances)  # lower bound for all others
    np.maximum(lengths, np.maximum(core_distances[:, None], core_distances[others]), out=lengths)
    component, each = np.arange(n), np.arange(n)
    while (n_components := component.max(initial=0) + 1) > 1:
        to_others = np.where(component[others] != component[:, None], lengths, np.inf)
        place = to_others.argmin(axis=1)
        shortest = to_others[each, place]
        known = shortest <= beyond
        least = np.full(n_components, np.inf, np.float32)
        np.minimum.at(least, component[known], shortest[known])
        unknown = np.flatnonzero(~known & (beyond < least[component]))
        if len(unknown):
            others[unknown], lengths[unknown] = points.nearest(
                others.shape[1], rows=unknown, core_distances=core_distances, component=component
            )
            beyond[unknown] = lengths[unknown, -1]
            continue
        ends = np.flatnonzero(known & (shortest == least[component]))
        ends = ends[np.unique(component[ends], return_index=True)[1]]
        found = others[ends, place[ends]]
        yield ends, found
        component = _components(n_components, component[ends], component[found])[component]


def _prim(n: int, left: np.ndarray, right: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum spanning tree of a connected graph by Prim's algorithm from node 0. Ties are broken by index."""
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
