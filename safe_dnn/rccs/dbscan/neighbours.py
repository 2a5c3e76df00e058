"""Distances between points: all of them for a few thousand points, and in blocks for more.

The nearest of some points to very many others are searched in two steps: float32, in which matrix products are fast,
selects the candidates within a bound on the rounding error, and float64 decides between them (see
docs/decisions/012-distances-in-blocks.md). Matrix products use one thread: the last digits of sums, and so perhaps
labels, depend on the number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import cache, cached_property
from typing import TypeVar

import numpy as np
from threadpoolctl import ThreadpoolController

BLOCK = 1_000_000  # numbers in a block: 4 MB in float32, 8 MB in float64
PAIRS_BLOCK = 131_072  # numbers in a block of pairs: 1 MB; that of larger ones is asked anew from the system each time
LEAST_ROWS = 64  # of a block, even if that makes it larger: products with fewer rows are slow
THREADS = min(os.cpu_count() or 1, 8)  # each holds a few blocks at a time
LISTED = 20  # nearest points stored for each point
MOST_STORED = 5000  # points all of whose distances are stored: 100 MB
SAME = 1e-13  # squared distances below this share of the largest squared norm are rounding errors of equal points
_Found = TypeVar("_Found")


def one_thread() -> AbstractContextManager:
    """A context in which BLAS uses one thread.

    Contexts that overlap in time in several threads must be within one that all of them share: otherwise the first one
    that ends gives the others their threads back.
    """
    return _controller().limit(limits=1)


@cache
def _controller() -> ThreadpoolController:
    # Looking through the libraries of the process takes 2 ms, so it is done once, when SciPy's BLAS is there as well.
    import scipy.linalg  # noqa: F401

    return ThreadpoolController()


def random_part(n: int) -> np.ndarray:
    """The places of `MOST_STORED` random ones among n, sorted, always the same ones; of all n, if they are not more."""
    return np.sort(np.random.default_rng(0).permutation(n)[:MOST_STORED])


class Points:
    """Points and, on demand, their Euclidean distances.

    Memory is needed for the points and for all their distances; of more than `MOST_STORED` points, for a few blocks of
    distances per thread.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float
        Must be finite.
    """

    def __init__(self, points: np.ndarray) -> None:
        self.exact = np.ascontiguousarray(points, dtype=np.float64)
        self._nearest: tuple[np.ndarray, np.ndarray] | None = None  # the nearest to all points, as many as asked for

    def __len__(self) -> int:
        return len(self.exact)

    @cached_property
    def _centre(self) -> np.ndarray:
        return self.exact.mean(axis=0) if len(self) else np.zeros(self.exact.shape[1])

    @cached_property
    def _centred(self) -> tuple[np.ndarray, np.ndarray]:
        """The points without their mean, since rounding errors grow with the norms, and their squared norms."""
        return _without(self.exact, self._centre)

    @cached_property
    def distances(self) -> np.ndarray:
        """All distances, shape (n_points, n_points), float32; symmetric, 0 between equal points."""
        centred, squares = self._centred
        distances = np.empty((len(self), len(self)), np.float32)
        with one_thread():
            products = centred @ centred.T
        for start in range(0, len(self), LEAST_ROWS):
            rows = slice(start, start + LEAST_ROWS)
            distances[rows] = self._rooted(products[rows], squares[rows])
        return distances

    def among(self, rows: np.ndarray) -> "Points":
        """Some of the points. Of their distances nothing is computed anew, if they are stored."""
        some = Points(self.exact[rows])
        if len(self) <= MOST_STORED:
            some.distances = self.distances[np.ix_(rows, rows)]
        return some

    def _rooted(self, products: np.ndarray, squares: np.ndarray) -> np.ndarray:
        """Distances from the products of some points with all points, and the former's squares. Overwrites them."""
        products *= -2
        products += squares[:, None] + self._centred[1]
        products[products < SAME * self._centred[1].max(initial=0)] = 0
        return np.sqrt(products, out=products)

    @property
    def neighbours(self) -> tuple[np.ndarray, np.ndarray]:
        """The `LISTED` nearest other points of each point, as returned by `nearest`; fewer if n is small."""
        return self.nearest(min(LISTED, len(self) - 1))

    def nearest(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """The k nearest other points of each point, nearest first. Ties are broken by index.

        They are kept, for a further search with the same k or a smaller one.

        Returns
        -------
        indices : ndarray of shape (n_points, k), int
        lengths : ndarray of shape (n_points, k), float32
            Their distances.
        """
        if self._nearest and self._nearest[0].shape[1] >= k:
            return self._nearest[0][:, :k], self._nearest[1][:, :k]
        if k < 1:
            return np.empty((len(self), 0), dtype=int), np.empty((len(self), 0), np.float32)
        blocks = self.per_block(np.arange(len(self)), lambda block, distances: _least(block, distances, k))
        indices, lengths = (np.concatenate(parts) for parts in zip(*blocks, strict=True))
        self._nearest = indices, lengths
        return self._nearest

    def nearest_to(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The nearest point to each of some other points. Ties are broken by index.

        Parameters
        ----------
        queries : ndarray of shape (n_queries, n_components), float

        Returns
        -------
        nearest : ndarray of shape (n_queries,), int
        distances : ndarray of shape (n_queries,), float32
        """
        queries = np.asarray(queries, dtype=np.float64)
        results = self._per_block(np.arange(len(queries)), lambda block: self._nearest_to(queries[block]))
        nothing = (np.zeros(0, int),), (np.zeros(0, np.float32),)
        nearest, distances = zip(*results, strict=True) if results else nothing
        return np.concatenate(nearest), np.concatenate(distances)

    @cached_property
    def _right(self) -> np.ndarray:
        """Such that left @ right.T is |x|² − 2xy + |y|²; float32."""
        centred, squares = self._centred
        return np.column_stack([centred, np.ones(len(self)), squares]).astype(np.float32)

    def _nearest_to(self, queries: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        centred, squares = _without(queries, self._centre)
        factors = np.column_stack([-2 * centred, squares, np.ones(len(queries))]).astype(np.float32)
        squared = factors @ self._right.T  # (others, n)
        # A bound on the rounding error, for any order of summation.
        error = (self.exact.shape[1] + 16) * np.finfo(np.float32).eps
        norms = np.sqrt(squares) + np.sqrt(self._centred[1].max(initial=0))
        limit = squared.min(axis=1) + 2 * (error * norms**2).astype(np.float32)
        row, point = np.divmod(np.flatnonzero(squared <= limit[:, None]), len(self))
        distances = _lengths(queries, row, self.exact, point)
        order = np.lexsort((point, distances, row))
        first = order[np.searchsorted(row, np.arange(len(queries)))]
        return point[first], distances[first].astype(np.float32)

    def per_block(self, rows: np.ndarray, work: Callable[[np.ndarray, np.ndarray], _Found]) -> list[_Found]:
        """Apply `work` to the distances between each block of rows and all points; the results in order.

        Parameters
        ----------
        rows : ndarray of shape (n_rows,), int
        work : callable
            Called from several threads as work(block, distances): some of the rows, and their distances to all points,
            an ndarray of shape (len(block), n_points), float32 or float64, which it may modify.
        """
        if len(self) <= MOST_STORED:
            stored = self.distances
            return self._per_block(rows, lambda block: work(block, stored[block]))
        centred, squares = self._centred
        return self._per_block(
            rows, lambda block: work(block, self._rooted(centred[block] @ centred.T, squares[block]))
        )

    def _per_block(self, rows: np.ndarray, work: Callable[[np.ndarray], _Found]) -> list[_Found]:
        step = max(LEAST_ROWS, BLOCK // max(len(self), 1))
        blocks = [rows[start : start + step] for start in range(0, len(rows), step)]
        with one_thread():
            if len(blocks) < 2:
                return [work(block) for block in blocks]
            with ThreadPoolExecutor(THREADS) as pool:
                return list(pool.map(work, blocks))


def _without(points: np.ndarray, centre: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The points, centred, and their squared norms."""
    centred = points - centre
    return centred, np.einsum("ij,ij->i", centred, centred)


def _least(rows: np.ndarray, distances: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """The k nearest others of some rows (see `Points.nearest`), by their distances to all points; modifies these."""
    distances[np.arange(len(rows)), rows] = np.inf
    limit = np.partition(distances, k - 1, axis=1)[:, k - 1 : k]
    within = distances <= limit
    if np.count_nonzero(within) > k * len(rows):  # of those as far as the last one, the first
        tied = np.flatnonzero(np.count_nonzero(within, axis=1) > k)
        nearer = distances[tied] < limit[tied]
        first = np.cumsum(within[tied] & ~nearer, axis=1) <= k - np.count_nonzero(nearer, axis=1)[:, None]
        within[tied] &= nearer | first
    nearest = np.flatnonzero(within).reshape(-1, k) % distances.shape[1]
    lengths = np.take_along_axis(distances, nearest, axis=1)
    order = np.argsort(lengths, axis=1, kind="stable")
    return np.take_along_axis(nearest, order, axis=1), np.take_along_axis(lengths, order, axis=1).astype(np.float32)


def _lengths(points: np.ndarray, rows: np.ndarray, targets: np.ndarray, target_rows: np.ndarray) -> np.ndarray:
    """Distances between pairs of rows of two arrays, float64, computed in blocks."""
    lengths = np.empty(len(rows))
    step = max(1, PAIRS_BLOCK // max(points.shape[1], 1))
    for start in range(0, len(rows), step):
        pairs = slice(start, start + step)
        differences = points[rows[pairs]]
        differences -= targets[target_rows[pairs]]
        lengths[pairs] = np.sqrt(np.einsum("ij,ij->i", differences, differences))
    return lengths
