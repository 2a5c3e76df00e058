"""Emphasizing why images fail over what they show. Step 1, between PCA and DBSCAN.

The root causes are not known yet, but most of an image's nearest neighbours share its cause. So directions in which
neighbours differ are scaled down (`relevant_directions`), and images are moved towards the mean of their neighbours
(`average_neighbours`).

Source: Bar-Hillel, Hertz, Shental, Weinshall, JMLR 6, 2005 (relevant component analysis, which scales directions by the
variance within given groups; here the groups are the neighbourhoods).
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from safe_dnn.rccs.dbscan.density import SAME_POINT
from safe_dnn.rccs.dbscan.neighbours import Points, random_part
from safe_dnn.rccs.dbscan.one_thread import one_thread

AVERAGING_ROUNDS = 2
EVENNESS = 0.3  # 1: directions keep their scale; 0: the variance of neighbours becomes equal in all directions
LEAST_DIFFERENCE = 1e-3  # least variance of neighbours, relative to that of all images: neighbours may be equal


def neighbourhood(n: int) -> int:
    """Number of nearest neighbours to consider among n points: .45 √n, at least 1 and at most n − 1."""
    return min(max(round(0.45 * np.sqrt(n)), 1), n - 1)


def relevant_directions(points: np.ndarray) -> np.ndarray:
    """Directions scaled such that neighbours differ about equally in all of them.

    What images with one cause differ in is mostly what they show, and nearest neighbours differ in that as well. What
    separates causes varies between images but not between neighbours. After the scaling, distances reflect the latter.
    With C the covariance of all points and N that of neighbours, the directions solve the generalized eigenproblem
    C v = λ ((1 − e) N + e tr(N)/d I) v, where e is `EVENNESS`. Neighbours are determined after `average_neighbours`,
    since more of them then share a cause. See docs/decisions/003-scaling-of-directions.md.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float
        Of more than `MOST_STORED`, a random part decides.

    Returns
    -------
    ndarray of shape (n_components, n_components), float64
        Directions as rows, for `points @ directions.T`, by decreasing variance of the result.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import eigh

    points = points[random_part(len(points))]
    centred = np.asarray(points - points.mean(axis=0), dtype=np.float64)
    with one_thread():
        of_neighbours = _covariance_of_neighbours(Points(centred))
        if of_neighbours is None:
            return np.eye(points.shape[1])
        _, directions = eigh(centred.T @ centred / len(centred), of_neighbours)  # by ascending variance
    return directions.T[::-1]


def relevant_scale(points: Points) -> Callable[[np.ndarray], np.ndarray]:
    """What gives points the distances that `relevant_directions` gives them.

    It does not turn them to these directions, which takes longer.

    Returns
    -------
    callable
        Of points, an ndarray of shape (any, n_components), float64, it gives one of the same shape, float32.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import cholesky, solve_triangular

    with one_thread():
        of_neighbours = _covariance_of_neighbours(points)
        if of_neighbours is None:
            return partial(np.asarray, dtype=np.float32)
        lower = cholesky(of_neighbours, lower=True)
    return lambda points: solve_triangular(lower, points.T, lower=True).T.astype(np.float32)


def _covariance_of_neighbours(points: Points) -> np.ndarray | None:
    """(1 − e) N + e tr(N)/d I of `relevant_directions`; None if all points are equal."""
    n, n_components = points.exact.shape
    centred = points.exact - points.exact.mean(axis=0)
    variance = np.einsum("ij,ij->", centred, centred) / n
    if n < 2 or np.sqrt(variance) < SAME_POINT:
        return None
    nearest = Points(average_neighbours(points)).nearest_unordered(neighbourhood(n))
    # The variance of a difference of two points is twice that of each of them.
    of_neighbours = _covariance_of_differences(centred, nearest) / 2
    even = (of_neighbours.trace() + LEAST_DIFFERENCE * variance) / n_components
    return (1 - EVENNESS) * of_neighbours + EVENNESS * even * np.eye(n_components)


def _covariance_of_differences(points: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Covariance of the differences between points and each of their neighbours.

    Their products sum up to Xᵀ L X, where L is the Laplacian of the graph of neighbours: one product of matrices, not
    one for each neighbour.

    Parameters
    ----------
    points : ndarray of shape (n, n_components), float64
        Centred, since rounding errors grow with their norms.
    nearest : ndarray of shape (n, k), int
    """
    # Imported here so that the page starts faster.
    from scipy.sparse import diags_array

    n, k = nearest.shape
    is_neighbour = _graph_of(nearest)
    degrees = k + is_neighbour.sum(axis=0)
    laplacian = (diags_array(degrees) - is_neighbour - is_neighbour.T).tocsr()
    return points.T @ (laplacian @ points) / (n * k)


def _graph_of(nearest: np.ndarray) -> Any:
    """Sparse matrix of shape (n, n), 1 where a column's point is among the `nearest` (of shape (n, k)) of a row's."""
    # Imported here so that the page starts faster.
    from scipy.sparse import csr_array

    n, k = nearest.shape
    return csr_array((np.ones(n * k), (np.repeat(np.arange(n), k), nearest.ravel())), shape=(n, n))


def average_neighbours(points: np.ndarray | Points) -> np.ndarray:
    """Move each point to the mean of itself and its mutual nearest neighbours, twice.

    Images with one cause move together, and other differences, such as what they show, average out. Two points are
    mutual neighbours if each is among the nearest `neighbourhood(n)` points of the other. A small, distant group is not
    mixed with others, since its points are not among the nearest of any other point.
    See docs/decisions/004-neighbour-averaging.md.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float32, or Points

    Returns
    -------
    ndarray of the same shape, float32
    """
    # Imported here so that the page starts faster.
    from scipy.sparse import eye_array

    cloud = points if isinstance(points, Points) else Points(points)
    n = len(cloud)
    k = neighbourhood(n)
    moved = cloud.exact
    if k < 1:
        return moved.astype(np.float32)
    with one_thread():
        for i in range(AVERAGING_ROUNDS):
            among_nearest = _graph_of(Points(moved).nearest_unordered(k) if i else cloud.nearest(k)[0])
            mutual = among_nearest.minimum(among_nearest.T) + eye_array(n, format="csr")
            moved = (mutual @ moved) / mutual.sum(axis=1).reshape(n, 1)
    return np.asarray(moved, dtype=np.float32)
