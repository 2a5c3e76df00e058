"""Ways to make clusters show reasons rather than looks when it is not known what the nuisance is.

What SAFE does on request is in `safe_dnn/rccs/dbscan/contrast.py`; these are its rivals. Images that the DNN gets right
look like the others, but have no reason to fail. Each function takes points of failing and of right images, whose
distances are Euclidean, and returns other points of both, in the same order; `joined` adds what the DNN itself has
computed.

Sources: Abid et al., Nature Communications 9, 2018 (contrastive PCA); Hatch et al., Interspeech 2006 (within-class
covariance normalization: directions are shrunk in which what shall not count varies); Solomonoff et al., ICASSP 2005
(nuisance attribute projection: they are removed).
"""

import numpy as np
from scipy.linalg import eigh

Both = tuple[np.ndarray, np.ndarray]  # of failing and of right images


def covariance(points: np.ndarray) -> np.ndarray:
    """Of shape (n_dimensions, n_dimensions), float64."""
    centred = points - points.mean(axis=0)
    return centred.T @ centred / len(points)


def contrastive(failing: np.ndarray, right: np.ndarray, *, alpha: float, most: int = 256) -> Both:
    """Contrastive PCA: the directions in which failing images vary more than `alpha` times as much as right ones do.

    Parameters
    ----------
    failing, right : ndarray of shape (n_failing, n_dimensions) and (n_right, n_dimensions)
    most : int
        Directions that are kept, those with the largest difference.
    """
    differences, directions = eigh(covariance(failing) - alpha * covariance(right))
    kept = directions[:, differences > 0][:, -most:]
    return failing @ kept, right @ kept


def whitened(failing: np.ndarray, right: np.ndarray, *, shrinkage: float) -> Both:
    """All directions are scaled such that right images vary equally in them.

    Parameters
    ----------
    shrinkage : float
        Part of the covariance that is replaced by that of a sphere with the same total variance; more than 0.
    """
    variances, directions = eigh(covariance(right))
    variances = (1 - shrinkage) * np.maximum(variances, 0) + shrinkage * variances.mean()
    scaled = directions / np.sqrt(variances)
    return failing @ scaled, right @ scaled


def without_directions(failing: np.ndarray, right: np.ndarray, *, n: int) -> Both:
    """Without the first `n` principal components of the right images."""
    _, directions = eigh(covariance(right), subset_by_index=(right.shape[1] - n, right.shape[1] - 1))
    return failing - failing @ directions @ directions.T, right - right @ directions @ directions.T


def without_nearest(failing: np.ndarray, right: np.ndarray, *, n: int) -> Both:
    """Without the mean of the `n` nearest right images, its own image not counted."""
    from sklearn.neighbors import NearestNeighbors

    near = NearestNeighbors(n_neighbors=n).fit(right)
    of_failing, of_right = near.kneighbors(failing, return_distance=False), near.kneighbors(return_distance=False)
    return failing - right[of_failing].mean(axis=1), right - right[of_right].mean(axis=1)


def without_centres(failing: np.ndarray, right: np.ndarray, *, n: int) -> Both:
    """Without the centre of the nearest of `n` K-means clusters of right images."""
    from sklearn.cluster import KMeans

    looks = KMeans(n, n_init=3, random_state=0).fit(right)
    return (
        failing - looks.cluster_centers_[looks.predict(failing)],
        right - looks.cluster_centers_[looks.predict(right)],
    )


def joined(points: Both, hidden: Both, *, weight: float) -> Both:
    """Beside the points what a layer of the DNN gives out for the same images.

    Each of the two is scaled such that the variances of the failing images add up to 1, and then the second one by
    `weight`. One that does not vary is left out.
    """
    spreads = [float(np.sqrt(failing.var(axis=0).sum())) for failing, _ in (points, hidden)]
    kept = [
        (failing * factor / spread, right * factor / spread)
        for (failing, right), factor, spread in zip((points, hidden), (1.0, weight), spreads, strict=True)
        if spread > 0
    ]
    return np.concatenate([one for one, _ in kept], axis=1), np.concatenate([one for _, one in kept], axis=1)
