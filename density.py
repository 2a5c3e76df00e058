"""What DBSCAN finds at every eps: its clusters, and how they split as eps falls. Step 1 decides in `tuning.py`.

Sources: Ester et al., KDD 1996 (DBSCAN); Campello et al., PAKDD 2013 (mutual reachability, by which one spanning tree
holds DBSCAN's answer for every eps, and clusters as branches of that tree).
"""

import numpy as np

NOISE = -1
SMALLEST_BRANCH = 5  # points; fewer could not be told from chance
BLOCK = 1024  # points whose neighbours are looked for at a time: memory then grows with n, not n²
SAME_POINT = 1e-4  # points within this of each other are one: rounding, not difference


def pairwise_distances(points: np.ndarray) -> np.ndarray:
    """Euclidean distances, float32 of shape (n, n), zero on the diagonal; computed in float64."""
    exact = points.astype(np.float64)
    squares = np.einsum("ij,ij->i", exact, exact)
    squared = squares[:, None] + squares - 2 * exact @ exact.T
    distances = np.sqrt(np.maximum(squared, 0, out=squared), out=squared).astype(np.float32)
    np.fill_diagonal(distances, 0)
    return distances


def nearest_neighbours(points: np.ndarray, k: int) -> np.ndarray:
    """The k nearest other points of each point, in no order: int of shape (n, k)."""
    exact = points.astype(np.float64)
    squares = np.einsum("ij,ij->i", exact, exact)
    nearest = np.empty((len(points), k), dtype=int)
    for start in range(0, len(points), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(points)))
        farness = squares - 2 * exact[rows] @ exact.T  # the point's own square is the same for all
        farness[rows - start, rows] = np.inf
        nearest[rows] = np.argpartition(farness, k - 1, axis=1)[:, :k]
    return nearest


class Density:
    """What DBSCAN with one `min_samples` makes of the points, at every eps.

    Two core points are in one cluster at eps exactly if a chain of core points with steps of at most eps joins them,
    that is, if the minimum spanning tree of the mutual reachability distances joins them by edges of at most eps. So
    the tree is built once, in O(n²), and every eps costs O(n).

    Parameters
    ----------
    distances : ndarray of shape (n, n), float32
    min_samples : int
        Points within eps, the point itself counted, that make a point a core point.
    """

    def __init__(self, distances: np.ndarray, min_samples: int):
        self.distances = distances
        self.min_samples = min_samples
        self.core_distances = np.partition(distances, min_samples - 1, axis=1)[:, min_samples - 1]
        self.edges, self.lengths = _spanning_tree(distances, self.core_distances)

    def cluster(self, eps: float) -> tuple[np.ndarray, np.ndarray]:
        """Labels and core points at eps (inclusive), each of shape (n,).

        As DBSCAN defines it, with one choice made where DBSCAN leaves it open: a border point between two clusters
        joins that of its nearest core point, rather than that which happens to be found first.
        """
        # Imported here and not above: with them the page would start later.
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        n = len(self.distances)
        short = self.edges[self.lengths <= eps]
        graph = coo_array((np.ones(len(short)), (short[:, 0], short[:, 1])), shape=(n, n))
        component = connected_components(graph, directed=False)[1]
        is_core = self.core_distances <= eps
        labels = np.full(n, NOISE)
        labels[is_core] = np.unique(component[is_core], return_inverse=True)[1]
        return self.with_border_points(labels, np.full(n, eps)), is_core

    def with_border_points(self, labels: np.ndarray, reach: np.ndarray) -> np.ndarray:
        """Give each point without a label that of its nearest labelled one, where that one reaches as far.

        Parameters
        ----------
        labels : ndarray of shape (n,), int
            Those of core points.
        reach : ndarray of shape (n,)
            The radius (inclusive) around each core point.
        """
        labels = labels.copy()
        cores, others = np.flatnonzero(labels != NOISE), np.flatnonzero(labels == NOISE)
        if len(cores):
            nearest = cores[self.distances[np.ix_(others, cores)].argmin(axis=1)]
            reached = self.distances[others, nearest] <= reach[nearest]
            labels[others[reached]] = labels[nearest[reached]]
        return labels


def _spanning_tree(distances: np.ndarray, core_distances: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Minimum spanning tree of max(distance, core distance of either end), by Prim's algorithm.

    Returns edges of shape (n - 1, 2) and their lengths.
    """
    n = len(distances)
    reach, parent = np.full(n, np.inf, np.float32), np.zeros(n, dtype=int)
    edges, lengths = np.empty((n - 1, 2), dtype=int), np.empty(n - 1, np.float32)
    outside = np.ones(n, dtype=bool)
    current = 0
    for i in range(n - 1):
        outside[current] = False
        step = np.maximum(np.maximum(distances[current], core_distances), core_distances[current])
        nearer = outside & (step < reach)
        reach[nearer], parent[nearer] = step[nearer], current
        current = int(np.where(outside, reach, np.inf).argmin())
        edges[i], lengths[i] = (parent[current], current), reach[current]
    return edges, lengths


class Branches:
    """The clusters that DBSCAN finds at any eps up to `upper`: how they split as eps falls, and what each is worth.

    A branch is a cluster of `SMALLEST_BRANCH` core points or more. It begins at the eps at which so many points are
    joined, or two branches are, and ends where it merges with another branch, or at `upper`.

    Parameters
    ----------
    density : Density
    upper : float
        The largest eps.

    Attributes
    ----------
    radius : ndarray of shape (n_branches,)
        The eps of each as a cluster: halfway between the last point that it takes up and its end.
    gap : ndarray of shape (n_branches,)
        How far below its end a branch takes up its points, on average and relative to that end: from 0 to 1.
    """

    def __init__(self, density: Density, upper: float = np.inf):
        n = len(density.distances)
        self._density = density
        self._children: list[tuple[int, ...]] = []  # those that a branch was joined from; they come before it
        self._branch_of_point = np.full(n, -1)  # the first that took it up
        self._taken_up_at = np.full(n, np.inf)  # the eps at which it did
        begins, self._ends = self._follow_tree(upper)
        self._sort_points()
        self.radius, self.gap = self._radii(begins)

    @property
    def sizes(self) -> np.ndarray:
        """Core points of each, shape (n_branches,), int."""
        return self._stop - self._first

    def _follow_tree(self, upper: float) -> tuple[np.ndarray, np.ndarray]:
        """Join points by the tree's edges, shortest first, and note the branches that come about.

        Returns the eps at which each begins and ends.
        """
        density, n = self._density, len(self._branch_of_point)
        open_end = min(upper, float(density.lengths.max()) * 1.001)
        parent, size, branch = list(range(n)), [1] * n, [-1] * n
        loose = [[point] for point in range(n)]  # those of a component that no branch has taken up
        begins: list[float] = []
        ends: list[float] = []

        def component(point: int) -> int:
            while parent[point] != point:
                parent[point] = parent[parent[point]]
                point = parent[point]
            return point

        order = np.argsort(density.lengths, kind="stable")
        for (left, right), eps in zip(density.edges[order].tolist(), density.lengths[order].tolist(), strict=True):
            if eps > upper:
                break
            a, b = component(left), component(right)
            pair = tuple(branch[c] for c in (a, b) if branch[c] >= 0)
            parent[b] = a
            size[a] += size[b]
            loose[a] += loose[b]
            if not pair and size[a] < SMALLEST_BRANCH:
                continue
            if len(pair) != 1:
                for child in pair:
                    ends[child] = eps
                self._children.append(pair)
                begins.append(eps)
                ends.append(open_end)
            branch[a] = pair[0] if len(pair) == 1 else len(ends) - 1
            self._branch_of_point[loose[a]] = branch[a]
            self._taken_up_at[loose[a]] = eps
            loose[a] = []
        return np.array(begins), np.array(ends)

    def _sort_points(self) -> None:
        """Order the points so that those of a branch, its children's included, are `order[first:stop]`."""
        n, count = len(self._branch_of_point), len(self._children)
        rank, descendants = np.full(count, -1), np.ones(count, dtype=int)
        for branch, pair in enumerate(self._children):
            descendants[branch] += sum(descendants[child] for child in pair)
        following = 0
        for branch in range(count - 1, -1, -1):
            if rank[branch] < 0:  # no branch has it as a child
                rank[branch] = following
                following += descendants[branch]
            inner = rank[branch] + 1
            for child in self._children[branch]:
                rank[child] = inner
                inner += descendants[child]
        of_point = np.append(rank, count)[self._branch_of_point]
        self._order = np.argsort(of_point, kind="stable")
        self._first = np.searchsorted(of_point[self._order], rank)
        self._stop = np.searchsorted(of_point[self._order], rank + descendants)
        self._position = np.empty(n, dtype=int)
        self._position[self._order] = np.arange(n)

    def _members(self, branch: int) -> np.ndarray:
        return self._order[self._first[branch] : self._stop[branch]]

    def _radii(self, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        radius, gap = np.zeros(len(begins)), np.zeros(len(begins))
        for branch, (begin, end) in enumerate(zip(begins, self._ends, strict=True)):
            taken_up_at = np.maximum(self._taken_up_at[self._members(branch)], begin)
            last = taken_up_at[taken_up_at < end].max(initial=begin)
            radius[branch] = (last + end) / 2
            gap[branch] = 1 - taken_up_at.mean() / max(end, SAME_POINT)
        return radius, gap

    def kept(self, neighbours: np.ndarray) -> np.ndarray:
        """Share of the neighbours of a branch's points that are in it too, shape (n_branches,).

        Parameters
        ----------
        neighbours : ndarray of shape (n, k), int
            Of each point.
        """
        of_each = self._position[neighbours[self._order]]  # where in the order they are
        kept = np.zeros(len(self._ends))
        for branch, (first, stop) in enumerate(zip(self._first, self._stop, strict=True)):
            kept[branch] = np.mean((of_each[first:stop] >= first) & (of_each[first:stop] < stop))
        return kept

    def best(self, worth: np.ndarray) -> list[int]:
        """The branches, none within another, that are worth most together; those worth nothing are left out."""
        value: list[float] = []
        chosen: list[list[int]] = []
        outermost = set(range(len(self._children)))
        for branch, pair in enumerate(self._children):
            outermost -= set(pair)
            divided = sum(value[child] for child in pair)
            whole = worth[branch] >= divided
            value.append(max(worth[branch], 0) if whole else divided)
            parts = [part for child in pair for part in chosen[child]]
            chosen.append(([branch] if value[-1] > 0 else []) if whole else parts)
        return [part for branch in sorted(outermost) for part in chosen[branch]]

    def cluster(self, branches: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """Labels and core points when these branches are the clusters, each of shape (n,)."""
        labels, reach = np.full(len(self._order), NOISE), np.zeros(len(self._order))
        for label, branch in enumerate(branches):
            members = self._members(branch)
            members = members[self._taken_up_at[members] < self._ends[branch]]  # at its end it is one with another
            labels[members], reach[members] = label, self.radius[branch]
        return self._density.with_border_points(labels, reach), labels != NOISE
