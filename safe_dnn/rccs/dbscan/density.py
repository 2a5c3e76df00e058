"""DBSCAN at every eps: its clusters, and how they split as eps decreases, as branches of a tree. Step 1.

Sources: Ester et al., KDD 1996 (DBSCAN); Campello et al., PAKDD 2013 (mutual reachability, by which one spanning tree
holds DBSCAN's answer for every eps, and clusters as branches of that tree).
"""

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import LISTED, Points
from safe_dnn.rccs.dbscan.outcome import NOISE

SAME_POINT = 1e-4  # smaller distances are rounding errors
SMALLEST_BRANCH = 5  # core points; fewer could be chance


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
        noise = np.flatnonzero(labels == NOISE)
        # A border point is not a core point at that eps, or it would be in the cluster. So fewer than min_samples
        # points are within eps, and all of these are among its listed neighbours.
        neighbours, distances = (listed[noise] for listed in self.points.neighbours)
        if not neighbours.size:
            return labels.copy()
        nearest_first = np.where(labels[neighbours] != NOISE, distances, np.inf)
        first, each = nearest_first.argmin(axis=1), np.arange(len(noise))
        nearest = neighbours[each, first]
        reached = nearest_first[each, first] <= reach[nearest]
        labels = labels.copy()
        labels[noise[reached]] = labels[nearest[reached]]
        return labels


class Branches:
    """The clusters of DBSCAN at any eps up to `upper`, and how they merge as eps increases.

    A branch is a cluster with at least `SMALLEST_BRANCH` core points. It begins at the eps at which that many points
    are joined or two branches merge into it. It ends where it merges with another branch, or at `upper`.

    Parameters
    ----------
    density : Density
    upper : float
        The largest eps.

    Attributes
    ----------
    density : Density
    radius : ndarray of shape (n_branches,)
        The eps of each branch as a cluster: halfway between the eps at which the last point joins it and its end.
    gap : ndarray of shape (n_branches,)
        1 − (mean eps at which points join the branch) / (its end); from 0 to 1. The larger, the denser is a cluster in
        comparison with its surroundings.
    """

    def __init__(self, density: Density, *, upper: float = np.inf) -> None:
        n = len(density.points)
        self.density = density
        self._children: list[tuple[int, ...]] = []  # the branches merged into each one; they precede it
        self._branch_of_point = np.full(n, -1)  # the first branch that each point joins
        self._joins_at = np.full(n, np.inf)  # the eps at which it does
        begins, self._ends = self._follow_tree(upper)
        self._sort_points()
        self.radius, self.gap = self._radii(begins)

    @property
    def sizes(self) -> np.ndarray:
        """Number of core points of each branch, shape (n_branches,), int."""
        return self._stop - self._first

    def _follow_tree(self, upper: float) -> tuple[np.ndarray, np.ndarray]:
        """Join points along the edges of the tree, shortest first, and record the branches that form.

        Returns the eps at which each branch begins and ends.
        """
        merges, n = self.density.merges, len(self._branch_of_point)
        merges = merges[merges[:, 2] <= upper]
        joined = merges[:, :2].astype(int)
        branch = [-1] * (n + len(merges))  # of each cluster of the tree
        begins: list[float] = []
        ends: list[float] = []
        open_end = min(upper, float(self.density.merges[-1, 2]) * 1.001)
        for row, (a, b) in enumerate(joined.tolist()):
            one, other = branch[a], branch[b]
            if one >= 0 and other >= 0:
                ends[one] = ends[other] = merges[row, 2]
                self._children.append((one, other))
            elif one < 0 and other < 0:
                if merges[row, 3] < SMALLEST_BRANCH:
                    continue
                self._children.append(())
            else:
                branch[n + row] = max(one, other)
                continue
            branch[n + row] = len(ends)
            begins.append(merges[row, 2])
            ends.append(open_end)
        self._join_points(joined, np.array(branch), merges[:, 2])
        return np.array(begins), np.array(ends)

    def _join_points(self, joined: np.ndarray, branch: np.ndarray, eps: np.ndarray) -> None:
        """Find for each point the smallest cluster of the tree around it that is, or is part of, a branch."""
        n = len(self._branch_of_point)
        around = np.full(n + len(joined), -1)
        around[joined] = n + np.arange(len(joined))[:, None]
        cluster = around[:n].copy()
        for _ in range(SMALLEST_BRANCH):  # clusters in no branch are smaller
            loose = np.flatnonzero((cluster >= 0) & (branch[cluster] < 0))
            cluster[loose] = around[cluster[loose]]
        inside = cluster >= 0
        self._branch_of_point[inside], self._joins_at[inside] = branch[cluster[inside]], eps[cluster[inside] - n]

    def _sort_points(self) -> None:
        """Order the points so that those of a branch, including its children, are `order[first:stop]`."""
        n, n_branches = len(self._branch_of_point), len(self._children)
        rank, descendants = np.full(n_branches, -1), np.ones(n_branches, dtype=int)
        for branch, pair in enumerate(self._children):
            descendants[branch] += sum(descendants[child] for child in pair)
        following = 0
        for branch in range(n_branches - 1, -1, -1):
            if rank[branch] < 0:  # not a child of another branch
                rank[branch] = following
                following += descendants[branch]
            inner = rank[branch] + 1
            for child in self._children[branch]:
                rank[child] = inner
                inner += descendants[child]
        of_point = np.append(rank, n_branches)[self._branch_of_point]
        self._order = np.argsort(of_point, kind="stable")
        self._first = np.searchsorted(of_point[self._order], rank)
        self._stop = np.searchsorted(of_point[self._order], rank + descendants)
        self._position = np.empty(n, dtype=int)
        self._position[self._order] = np.arange(n)

    def members(self, branch: int) -> np.ndarray:
        """Core points of a branch, including its children, shape (size,), int."""
        return self._order[self._first[branch] : self._stop[branch]]

    def _radii(self, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        inside = self._branch_of_point >= 0
        branch, joins_at, n_branches = self._branch_of_point[inside], self._joins_at[inside], len(begins)
        # Points of its children were joined when a branch begins.
        children = self.sizes - np.bincount(branch, minlength=n_branches)
        mean = (np.bincount(branch, joins_at, minlength=n_branches) + begins * children) / self.sizes
        last, before = begins.copy(), joins_at < self._ends[branch]
        np.maximum.at(last, branch[before], joins_at[before])
        return (last + self._ends) / 2, 1 - mean / np.maximum(self._ends, SAME_POINT)

    def shares_inside(self, neighbours: np.ndarray) -> np.ndarray:
        """For each branch, the share of its points' neighbours that are in the branch as well, shape (n_branches,).

        Parameters
        ----------
        neighbours : ndarray of shape (n, k), int
            The neighbours of each point.
        """
        of_each = self._position[neighbours[self._order]]  # positions in the order
        inside = np.zeros(len(self._ends))
        for branch, (first, stop) in enumerate(zip(self._first, self._stop, strict=True)):
            there = of_each[first:stop]
            inside[branch] = np.count_nonzero((there >= first) & (there < stop))
        return inside / (self.sizes * neighbours.shape[1])

    def separation(self, elsewhere: Density) -> np.ndarray:
        """For each branch, how well its points are separated from all others in another space, shape (n_branches,).

        1 − (mean core distance of its points) / (shortest edge from them to other points); from 0 to 1.

        Parameters
        ----------
        elsewhere : Density
            The same points in that space.
        """
        reachability = elsewhere.reachability()[np.ix_(self._order, self._order)]
        core_distances = elsewhere.core_distances[self._order]
        longest = elsewhere.merges[:, 2].max(initial=0)
        separation = np.zeros(len(self._ends))
        for branch, (first, stop) in enumerate(zip(self._first, self._stop, strict=True)):
            rows = reachability[first:stop]
            out = min(rows[:, :first].min(initial=longest), rows[:, stop:].min(initial=longest))
            separation[branch] = (out - np.minimum(core_distances[first:stop], out).mean()) / max(out, SAME_POINT)
        return separation

    def best(self, worth: np.ndarray) -> list[int]:
        """The disjoint branches whose total worth is largest. Branches that are worth nothing are left out.

        Parameters
        ----------
        worth : ndarray of shape (n_branches,)
        """
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
        """Labels and core points with these branches as clusters, each of shape (n,)."""
        labels, reach = np.full(len(self._order), NOISE), np.zeros(len(self._order))
        for label, branch in enumerate(branches):
            members = self.members(branch)
            members = members[self._joins_at[members] < self._ends[branch]]  # at its end it has merged
            labels[members], reach[members] = label, self.radius[branch]
        return self.density.with_border_points(labels, reach), labels != NOISE
