"""Set aside looks that right images have as well, where it is not known what the nuisance is. Step 1, instead of PCA.

Failing images differ from each other in what makes the DNN fail and in what they happen to show. Images that the DNN
gets right differ in the latter only. So only directions are kept in which failing images vary much more than right ones
do: contrastive PCA, in directions that chance does not give.

What right images vary in as much cannot be told from looks: a reason for failing that is an unusual value of something
usual, such as a certain direction of the gaze, is set aside as well. See docs/decisions/032-unknown-nuisances.md.

Source: Abid, Zhang, Bagaria & Zou, Nature Communications 9:2134, 2018 (contrastive PCA).
"""

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import random_part
from safe_dnn.rccs.dbscan.one_thread import one_thread

LOOKS = "looks"  # in the place of the name of a parameter to set aside
TIMES = 2.0  # what failing images vary in less than that many times as much as right ones is looks
N_COMMON = 512  # principal components of failing and right images, among which directions are sought
SHUFFLES = 20  # of failing and right: what none of them gives is not by chance, at a level of 5 %
LEAST_DIRECTIONS = 2  # one alone is more often by chance


def contrasting_directions(failing: np.ndarray, right: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Directions in which failing images vary more than `TIMES` as much as right ones, beyond chance.

    The eigenvectors of C − 2 R, with C and R the covariances of failing and of right images, whose eigenvalues exceed
    all of those that are found if failing and right are dealt out at random.

    Parameters
    ----------
    failing : ndarray of shape (n_failing, dimension), float
        Scaled features; of very many images, a random part counts.
    right : ndarray of shape (n_right, dimension), float
        The same of images that the DNN gets right.
    seed : int
        Of the shuffles.

    Returns
    -------
    ndarray of shape (n_directions, dimension), float64
        Orthonormal rows, the one with the largest eigenvalue first; none if there are fewer than `LEAST_DIRECTIONS`.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import eigh
    from sklearn.utils.extmath import randomized_svd

    rng = np.random.default_rng(seed)
    nothing = np.zeros((0, failing.shape[1]))
    failing = failing[random_part(len(failing))]
    n = len(failing)
    n_common = min(N_COMMON, n + len(right) - 1, failing.shape[1])
    if min(n, len(right), n_common) < 2:
        return nothing
    with one_thread():
        both = np.concatenate([failing, right])
        both -= both.mean(axis=0)
        _, _, components = randomized_svd(both, n_common, random_state=seed)  # PCA, also of images that are all equal
        points = both.astype(np.float64) @ components.T.astype(np.float64)
        by_chance = max(
            float(eigh(_difference(points[rng.permutation(len(points))], n), eigvals_only=True)[-1])
            for _ in range(SHUFFLES)
        )
        differences, directions = eigh(_difference(points, n))
        kept = directions.T[::-1][: np.count_nonzero(differences > max(by_chance, 0.0))]
        return kept @ components if len(kept) >= LEAST_DIRECTIONS else nothing


def _difference(points: np.ndarray, n: int) -> np.ndarray:
    """The covariance of the first `n` points, less `TIMES` that of the others."""
    first, others = points[:n] - points[:n].mean(axis=0), points[n:] - points[n:].mean(axis=0)
    return first.T @ first / len(first) - TIMES * (others.T @ others) / len(others)
