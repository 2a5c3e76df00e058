"""What of the images counts: what images that fail for one reason have in common, rather than what they show.

Step 1 of SAFE between PCA and DBSCAN. Nobody has named the reasons yet, but an image's nearest neighbours mostly share
its own. So what neighbours differ in is of less importance (`relevant_directions`), and an image may stand where its
neighbours stand on average (`average_neighbours`).

Sources: Bar-Hillel, Hertz, Shental, Weinshall, JMLR 6, 2005 (relevant component analysis: directions scaled by how much
points of one group differ in them; there the groups are given).
"""

import numpy as np
from threadpoolctl import threadpool_limits

from dbscan.density import SAME_POINT
from dbscan.neighbours import Points

AVERAGING_ROUNDS = 2
EVENNESS = 0.3  # 1: all directions count as PCA has them; 0: each by what neighbours differ in alone
LEAST_DIFFERENCE = 1e-3  # of neighbours, as a share of that of all images: neighbours that are equal say nothing


def neighbourhood(n: int) -> int:
    """How many nearest neighbours of n points are asked, .45 √n; fewer where there are no more.

    (A fixed number of 20 left more of the small scenarios of a set of 500 without an RCC of their own.)
    """
    return min(max(round(0.45 * np.sqrt(n)), 1), n - 1)


def relevant_directions(points: np.ndarray) -> np.ndarray:
    """Scale directions so that neighbours differ equally in all.

    What images of one cause differ in, what they show, mostly differs between nearest neighbours as well; what sets
    causes apart differs between images but not between neighbours. After scaling, distances count the latter. The
    neighbours are those after `average_neighbours`, which are more often of one cause.

    Evidence (`vgg16-conv`; mixes of 3 to 9 disturbances of traffic signs, 600 images). Of an image's five nearest, the
    share with its disturbance rises from .935 to .955 (median of 20 mixes), purity and coverage of `tune` from
    .94 / .75 to .96 / .89. An evenness from .15 to .5 hardly differs; keeping only the first 64 or 128 directions,
    scaling a second time with the neighbours of the first, and neighbours before averaging were no better.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float

    Returns
    -------
    ndarray of shape (n_components, n_components), float64
        Directions as rows, for `points @ directions.T`; the points vary most along the first.
    """
    points = np.asarray(points, dtype=np.float64)
    n, n_components = points.shape
    overall = _covariance(points - points.mean(axis=0))
    if n < 2 or np.sqrt(overall.trace()) < SAME_POINT:  # nothing differs
        return np.eye(n_components)
    # Imported here and not above: with it the page would start later.
    from scipy.linalg import eigh

    nearest, _ = Points(average_neighbours(points.astype(np.float32))).nearest(neighbourhood(n))
    # One thread: the sums differ in their last digits with the number of threads, and so might the labels.
    with threadpool_limits(limits=1):
        # Two differ from each other by twice as much as each from what they have in common.
        of_neighbours = sum(_covariance(points[others] - points) for others in nearest.T) / (2 * nearest.shape[1])
        even = (of_neighbours.trace() + LEAST_DIFFERENCE * overall.trace()) / n_components
        of_neighbours = (1 - EVENNESS) * of_neighbours + EVENNESS * even * np.eye(n_components)
        _, directions = eigh(overall, of_neighbours)  # along each, neighbours' variance is 1; that of all ascends
    return directions.T[::-1]


def _covariance(differences: np.ndarray) -> np.ndarray:
    return differences.T @ differences / len(differences)


def average_neighbours(points: np.ndarray) -> np.ndarray:
    """Move each point to the mean of itself and its mutual nearest neighbours, twice.

    Images that fail for one reason draw together, and what else differs between them, such as what they show, averages
    out. Two points are mutual neighbours when each is among the nearest (see `neighbourhood`) of the other: a small
    group far away from the rest keeps to itself, since strangers do not count its members among their nearest.

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float32

    Returns
    -------
    ndarray of the same shape and dtype
    """
    # Imported here and not above: with it the page would start later.
    from scipy.sparse import csr_array, eye_array

    n = len(points)
    k = neighbourhood(n)
    if k < 1:
        return points
    moved = points.astype(np.float64)
    rows = np.repeat(np.arange(n), k)
    with threadpool_limits(limits=1):  # as in `neighbours`
        for _ in range(AVERAGING_ROUNDS):
            nearest = Points(moved).nearest(k)[0].ravel()
            among_nearest = csr_array((np.ones(n * k), (rows, nearest)), shape=(n, n))
            mutual = among_nearest.minimum(among_nearest.T) + eye_array(n, format="csr")
            moved = (mutual @ moved) / mutual.sum(axis=1).reshape(n, 1)
    return np.asarray(moved, dtype=np.float32)
