"""Distances between points, computed on demand and in blocks, so that memory does not grow with n².

Nearest points are searched in two steps: float32, in which matrix products are fast, selects the candidates within a
bound on the rounding error, and float64 decides between them (see docs/decisions/012-distances-in-blocks.md).
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import TypeVar

import numpy as np

from dbscan.one_thread import one_thread

BLOCK = 1_000_000  # numbers in a block: 4 MB in float32, 8 MB in float64
PAIRS_BLOCK = 131_072  # numbers in a block of pairs: 1 MB; that of larger ones is asked anew from the system each time
LEAST_ROWS = 64  # of a block, even if that makes it larger: products with fewer rows are slow
THREADS = min(os.cpu_count() or 1, 8)  # each holds a few blocks at a time
LISTED = 20  # nearest points stored for each point
SPREAD = 8  # groups into which a row is divided, per nearest point searched for

_Found = TypeVar("_Found")


class Points:
    """Points and, on demand, their Euclidean distances.

    Memory is needed for the points, `LISTED` neighbours of each, and a few blocks per thread.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float
        Must be finite.
    """

    def __init__(self, points: np.ndarray) -> None:
        self.exact = np.ascontiguousarray(points, dtype=np.float64)
        # Centred, since rounding errors grow with the norms.
        self._centre = self.exact.mean(axis=0) if len(self.exact) else np.zeros(self.exact.shape[1])
        self._left, self._right, self._norms = self._factors(self.exact)
        self._found: tuple[np.ndarray, np.ndarray] | None = None  # the nearest to all points, as many as asked for

    def _factors(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Matrices, float32, such that left @ right.T is |x|² - 2xy + |y|², and the norms |x|."""
        centred = points - self._centre
        squares, ones = np.einsum("ij,ij->i", centred, centred), np.ones(len(points))
        left = np.column_stack([-2 * centred, squares, ones]).astype(np.float32)
        right = np.column_stack([centred, ones, squares]).astype(np.float32)
        return left, right, np.sqrt(squares)

    def _error(self, norms: np.ndarray) -> np.ndarray:
        """Bound on the rounding error of squared distances from points with these norms, for any order of summation."""
        rounding = (self.exact.shape[1] + 16) * np.finfo(np.float32).eps
        return (rounding * (norms + self._norms.max(initial=0)) ** 2).astype(np.float32)

    def __len__(self) -> int:
        return len(self.exact)

    @property
    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """The `LISTED` nearest other points of each point, as returned by `nearest`; fewer if n is small."""
        return self.nearest(min(LISTED, len(self) - 1))

    def nearest(
        self,
        k: int,
        *,
        rows: np.ndarray | None = None,
        core_distances: np.ndarray | None = None,
        component: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest other points, nearest first. Ties are broken by index.

        Those of all points are kept, for a further search with the same k or a smaller one.

        Parameters
        ----------
        k : int
        rows : ndarray of shape (n_rows,), int, optional
            The points whose neighbours are searched for; all points by default.
        core_distances : ndarray of shape (n_points,), float32, optional
            Use the mutual reachability distance: the maximum of the distance and both core distances. Equal points must
            have equal core distances.
        component : ndarray of shape (n_points,), int, optional
            Consider only points in a different component.

        Returns
        -------
        others : ndarray of shape (n_rows, k), int
            Filled up with the point itself if there are fewer than k.
        lengths : ndarray of shape (n_rows, k), float32
            Their distances; infinite where `others` is filled up.
        """
        of_all = rows is None and core_distances is None and component is None
        if of_all and self._found and self._found[0].shape[1] >= k:
            return self._found[0][:, :k], self._found[1][:, :k]
        rows = np.arange(len(self)) if rows is None else rows
        if k < 1 or not len(rows):
            return np.empty((len(rows), k), dtype=int), np.empty((len(rows), k), np.float32)
        # Equal points in one component have the same nearest points, which are searched for once.
        alike = self._first_equal[rows]
        if component is not None:
            alike = alike * len(self) + component[rows]
        _, one, of_each = np.unique(alike, return_index=True, return_inverse=True)
        wanted = k if component is not None else k + 1  # one more, since the point itself is among them
        found = self._per_block(rows[one], lambda block: self._nearest(block, wanted, core_distances, component))
        others, lengths = (np.concatenate(parts)[of_each] for parts in zip(*found, strict=True))
        itself = others == rows[:, None]
        last = np.argsort(itself, axis=1, kind="stable")[:, :k]
        others, lengths = np.take_along_axis(others, last, axis=1), np.take_along_axis(lengths, last, axis=1)
        others = np.where(np.isfinite(lengths), others, rows[:, None])
        if of_all:
            self._found = others, lengths
        return others, lengths

    @cached_property
    def _first_equal(self) -> np.ndarray:
        """Index of the first point equal to each point, shape (n_points,), int."""
        as_bytes = self.exact.view(np.dtype((np.void, self.exact.dtype.itemsize * self.exact.shape[1])))
        _, first, of_each = np.unique(as_bytes.ravel(), return_index=True, return_inverse=True)
        return first[of_each]

    def _nearest(
        self, rows: np.ndarray, k: int, core_distances: np.ndarray | None, component: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        n = len(self)
        squared = self._left[rows] @ self._right.T  # (rows, n)
        if core_distances is not None:
            np.maximum(squared, core_distances**2, out=squared)
        if component is not None:
            np.copyto(squared, np.inf, where=component[rows, None] == component)
        # At least k points are within the k-th smallest of the groups' minima.
        groups = min(SPREAD * k, n)
        least = squared[:, : n // groups * groups].reshape(len(rows), -1, groups).min(axis=1)
        limit = np.partition(least, k - 1, axis=1)[:, k - 1]
        if core_distances is not None:
            limit = np.maximum(limit, core_distances[rows] ** 2)
        limit = np.minimum(limit + 2 * self._error(self._norms[rows]), np.finfo(np.float32).max)
        row, other = np.divmod(np.flatnonzero(squared <= limit[:, None]), n)
        lengths = self.between(rows[row], other)
        if core_distances is not None:
            lengths = np.maximum(lengths, np.maximum(core_distances[rows[row]], core_distances[other]))
        order = np.lexsort((other, lengths, row))
        place = np.searchsorted(row, np.arange(len(rows)))[:, None] + np.arange(k)
        there = place < np.searchsorted(row, np.arange(len(rows)), side="right")[:, None]
        others = np.repeat(rows[:, None], k, axis=1)
        nearest = np.full(others.shape, np.inf, np.float32)
        taken = order[place[there]]
        others[there], nearest[there] = other[taken], lengths[taken]
        return others, nearest

    def nearest_to(self, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest point to each of some other points. Ties are broken by index.

        Parameters
        ----------
        others : ndarray of shape (n_others, n_components), float

        Returns
        -------
        nearest : ndarray of shape (n_others,), int
        distances : ndarray of shape (n_others,), float32
        """
        others = np.asarray(others, dtype=np.float64)
        found = self._per_block(np.arange(len(others)), lambda block: self._nearest_to(others[block]))
        nearest, distances = zip(*found, strict=True) if found else ((np.zeros(0, int),), (np.zeros(0, np.float32),))
        return np.concatenate(nearest), np.concatenate(distances)

    def _nearest_to(self, others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        left, _, norms = self._factors(others)
        squared = left @ self._right.T  # (others, n)
        limit = squared.min(axis=1) + 2 * self._error(norms)
        row, point = np.divmod(np.flatnonzero(squared <= limit[:, None]), len(self))
        distances = _lengths(others, row, self.exact, point)
        order = np.lexsort((point, distances, row))
        first = order[np.searchsorted(row, np.arange(len(others)))]
        return point[first], distances[first].astype(np.float32)

    def between(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """Distances of pairs of points, shape (n_pairs,), float64."""
        return _lengths(self.exact, left, self.exact, right)

    def per_block(self, rows: np.ndarray, work: Callable[[np.ndarray, np.ndarray], _Found]) -> list[_Found]:
        """Apply `work` to the distances between each block of rows and all points; the results in order.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int
        work : callable
            Called from several threads as work(block, distances): some of the rows, and their distances to all points,
            an ndarray of shape (len(block), n_points), float64, which it may modify.
        """
        squares = np.einsum("ij,ij->i", self.exact, self.exact)

        def distances(block: np.ndarray) -> _Found:
            squared = self.exact[block] @ self.exact.T
            squared *= -2
            squared += squares[block, None]
            squared += squares
            np.sqrt(np.maximum(squared, 0, out=squared), out=squared)
            squared[np.arange(len(block)), block] = 0
            return work(block, squared)

        return self._per_block(rows, distances)

    def _per_block(self, rows: np.ndarray, work: Callable[[np.ndarray], _Found]) -> list[_Found]:
        blocks = list(self._blocks(rows))
        with one_thread():
            if len(blocks) < 2:
                return [work(block) for block in blocks]
            with ThreadPoolExecutor(THREADS) as pool:
                return list(pool.map(work, blocks))

    def _blocks(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        step = max(LEAST_ROWS, BLOCK // max(len(self), 1))
        return (rows[start : start + step] for start in range(0, len(rows), step))


def _lengths(points: np.ndarray, rows: np.ndarray, others: np.ndarray, of_others: np.ndarray) -> np.ndarray:
    """Distances between pairs of rows of two arrays, float64, computed in blocks."""
    lengths = np.empty(len(rows))
    step = max(1, PAIRS_BLOCK // max(points.shape[1], 1))
    for start in range(0, len(rows), step):
        pairs = slice(start, start + step)
        apart = points[rows[pairs]]
        apart -= others[of_others[pairs]]
        lengths[pairs] = np.sqrt(np.einsum("ij,ij->i", apart, apart))
    return lengths
