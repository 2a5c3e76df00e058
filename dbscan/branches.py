"""The clusters that DBSCAN finds at every eps, as branches of its tree. Step 1, for `tuning.py`.

Source: Campello et al., PAKDD 2013 (clusters as branches of the spanning tree of mutual reachability).
"""

import numpy as np

from dbscan.density import SAME_POINT, Density
from dbscan.outcome import NOISE

SMALLEST_BRANCH = 5  # points; fewer could not be told from chance


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
    density : Density
    radius : ndarray of shape (n_branches,)
        The eps of each as a cluster: halfway between the last point that it takes up and its end.
    gap : ndarray of shape (n_branches,)
        How far below its end a branch takes up its points, on average and relative to that end: from 0 to 1.
    """

    def __init__(self, density: Density, upper: float = np.inf):
        n = len(density.points)
        self.density = density
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
        density, n = self.density, len(self._branch_of_point)
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

    def members(self, branch: int) -> np.ndarray:
        """Core points of a branch, its children's included, shape (size,), int."""
        return self._order[self._first[branch] : self._stop[branch]]

    def _radii(self, begins: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        radius, gap = np.zeros(len(begins)), np.zeros(len(begins))
        for branch, (begin, end) in enumerate(zip(begins, self._ends, strict=True)):
            taken_up_at = np.maximum(self._taken_up_at[self.members(branch)], begin)
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

    def apart(self, elsewhere: Density) -> np.ndarray:
        """How far the points of each branch stand apart from all others in another space, shape (n_branches,).

        1 − their mean core distance / the shortest step that leads out of them, from 0 to 1.

        Parameters
        ----------
        elsewhere : Density
            Of the same points in that space. Its spanning tree has the shortest step out of any set of points.
        """
        ends = self._position[elsewhere.edges]
        core_distances = elsewhere.core_distances[self._order]
        longest = elsewhere.lengths.max(initial=0)
        apart = np.zeros(len(self._ends))
        for branch, (first, stop) in enumerate(zip(self._first, self._stop, strict=True)):
            within = (ends >= first) & (ends < stop)
            out = elsewhere.lengths[within[:, 0] != within[:, 1]].min(initial=longest)
            apart[branch] = (out - np.minimum(core_distances[first:stop], out).mean()) / max(out, SAME_POINT)
        return apart

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
            members = self.members(branch)
            members = members[self._taken_up_at[members] < self._ends[branch]]  # at its end it is one with another
            labels[members], reach[members] = label, self.radius[branch]
        return self.density.with_border_points(labels, reach), labels != NOISE
