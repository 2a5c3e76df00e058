"""Rival ways to slices of a test set on which a DNN fails, by images' features: Domino, PlaneSpot, Spotlight, K-means.

Written from the papers. Each takes all tested images and gives slices as sets of images, those first that matter most.

- Domino: a mixture of Gaussians (diagonal covariance) of 128 principal components and of categorical distributions of
  label and answer, these with a weight of 10 each; 25 components, initialized by the cells of the confusion matrix.
  Slices with the largest difference between label and answer come first. Eyuboglu et al., "Domino: Discovering
  Systematic Errors with Cross-Modal Embeddings", ICLR 2022.
- PlaneSpot: two dimensions scaled to 0 to 1, and the confidence times .025; a mixture of Gaussians of at most 32
  components, as many as BIC says. The paper takes scvis for the two dimensions, and here it is UMAP. Slices with the
  largest product of rate and number of failures come first. Plumb et al., TMLR 2023, arXiv 2207.04104.
- Spotlight: a sphere in which the weights max(0, 1 - distance²) of images, scaled such that they add up to 2 % of the
  test set, have the largest weighted mean loss. Losses are then lowered by these weights, for the next one. The paper
  maximizes it by gradients, and here the centre moves to the mean of images weighted by loss until that gains nothing.
  Its slice is as many images as the weights add up to. d'Eon, d'Eon, Wright & Leyton-Brown, "The Spotlight: A General
  Method for Discovering Systematic Errors in Deep Learning Models", FAccT 2022.
- K-means, ranked as PlaneSpot's slices are.
"""

from typing import NamedTuple

import numpy as np

MOST_SLICES = 10
SEED = 0
COMPONENTS = 128  # Domino's principal components, and those that the other three get
DOMINO_PARTS, DOMINO_WEIGHT, DOMINO_STEPS, DOMINO_NOISE = 25, 10.0, 100, 1e-3
LEAST_VARIANCE = 1e-6
TOLERANCE = 1e-3
PLANE_PARTS, PLANE_WEIGHT = 32, 0.025
SPOTLIGHT_SIZE, SPOTLIGHT_STARTS, SPOTLIGHT_STEPS = 0.02, 20, 30
LEAST_PROBABILITY = 1e-6


class AnsweredSet(NamedTuple):
    """A test set as the rivals see it.

    Attributes
    ----------
    features : ndarray of shape (n_images, n_features), float
    labels : ndarray of shape (n_images,), int
        Classes, from 0.
    probabilities : ndarray of shape (n_images, n_classes), float
        The DNN's; ones and zeros where only the answer is known.
    wrong : ndarray of shape (n_images,), bool
    """

    features: np.ndarray
    labels: np.ndarray
    probabilities: np.ndarray
    wrong: np.ndarray

    @property
    def of_label(self) -> np.ndarray:
        """The probability of each image's label."""
        return self.probabilities[np.arange(len(self.labels)), self.labels]


class Slices(NamedTuple):
    """The slice of each image: ndarrays of shape (n_images,), int.

    Attributes
    ----------
    of_answered
        By everything, the DNN's answer included.
    of_unanswered
        Where an image belongs whose answer is not known. Only of images to which nothing was fitted does it say no more
        than looks do: 25 Gaussians in 128 dimensions remember the others.
    """

    of_answered: np.ndarray
    of_unanswered: np.ndarray


def principal_components(features: np.ndarray) -> np.ndarray:
    """At most `COMPONENTS` principal components: float64 of shape (n_images, n_components)."""
    from sklearn.decomposition import PCA

    most = min(COMPONENTS, *features.shape)
    return np.asarray(PCA(most, svd_solver="randomized", random_state=SEED).fit_transform(features), np.float64)


def k_means(tested: AnsweredSet, n: int) -> np.ndarray:
    """The cluster of each image: int of shape (n_images,)."""
    from sklearn.cluster import KMeans

    points = principal_components(tested.features)
    return np.asarray(KMeans(min(n, len(points)), n_init=5, random_state=SEED).fit(points).labels_)


def plane_spot(tested: AnsweredSet, fitted: np.ndarray | None = None) -> Slices:
    """PlaneSpot's components; with `fitted`, bool of shape (n_images,), they are fitted to some of the images only."""
    from sklearn.mixture import GaussianMixture
    from umap import UMAP

    plane = np.asarray(UMAP(2, random_state=SEED, n_jobs=1).fit_transform(principal_components(tested.features)))
    plane = (plane - plane.min(axis=0)) / np.maximum(np.ptp(plane, axis=0), np.finfo(np.float32).tiny)
    points = np.column_stack([plane, PLANE_WEIGHT * tested.of_label]).astype(np.float64)
    most = min(PLANE_PARTS, len(points) if fitted is None else int(fitted.sum()))
    some = points if fitted is None else points[fitted]
    mixtures = [GaussianMixture(n, random_state=SEED).fit(some) for n in range(1, most + 1)]
    best = min(mixtures, key=lambda mixture: mixture.bic(some))
    log = np.log(best.weights_) + np.stack(
        [
            _log_normal(plane, mean[:2], covariance[:2, :2])
            for mean, covariance in zip(best.means_, best.covariances_, strict=True)
        ],
        axis=1,
    )
    return Slices(best.predict(points), log.argmax(axis=1))


def _log_normal(points: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    """The logarithm of a Gaussian's density, up to a constant."""
    centred = points - mean
    squared = np.einsum("ij,jk,ik->i", centred, np.linalg.inv(covariance), centred)
    return np.asarray(-0.5 * (squared + np.linalg.slogdet(covariance)[1]))


def domino(tested: AnsweredSet, fitted: np.ndarray | None = None) -> Slices:
    """Domino's components; with `fitted` as of `plane_spot`."""
    points, rng = principal_components(tested.features), np.random.default_rng(SEED)
    labels, answers = np.eye(tested.probabilities.shape[1])[tested.labels], tested.probabilities
    cells = np.column_stack([tested.labels, answers.argmax(axis=1)])  # of the confusion matrix
    of_cell = np.unique(cells, axis=0, return_inverse=True)[1].ravel()
    parts = min(DOMINO_PARTS, len(points))
    first = of_cell[:, np.newaxis] % parts == np.arange(parts) % (of_cell.max() + 1)
    log = np.log(first + DOMINO_NOISE * rng.random((len(points), parts)))
    for _ in range(DOMINO_STEPS):
        shares = np.exp(log - log.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        if fitted is not None:
            shares *= fitted[:, np.newaxis]
        sizes = shares.sum(axis=0)[:, np.newaxis] + LEAST_PROBABILITY
        means = shares.T @ points / sizes
        variances = np.maximum(shares.T @ points**2 / sizes - means**2, 0) + LEAST_VARIANCE
        squared = (
            points**2 @ (1 / variances).T - 2 * points @ (means / variances).T + (means**2 / variances).sum(axis=1)
        )
        looks = np.log(sizes.ravel()) - 0.5 * (squared + np.log(variances).sum(axis=1))
        of_labels, of_answers = (
            DOMINO_WEIGHT * np.log(np.maximum(known @ (shares.T @ known / sizes).T, LEAST_PROBABILITY))
            for known in (labels, answers)
        )
        log = looks + of_labels + of_answers
    return Slices(log.argmax(axis=1), (looks + of_labels).argmax(axis=1))


def spotlights(tested: AnsweredSet, n: int = MOST_SLICES) -> list[np.ndarray]:
    """The images of each spotlight, one after the other: ndarrays of int."""
    points, rng = principal_components(tested.features), np.random.default_rng(SEED)
    losses = -np.log(np.maximum(tested.of_label, LEAST_PROBABILITY))
    size = SPOTLIGHT_SIZE * len(points)
    found = []
    for _ in range(n):
        chance = np.maximum(losses, 0) / max(losses.sum(), LEAST_PROBABILITY)
        starts = rng.choice(len(points), min(SPOTLIGHT_STARTS, int(np.count_nonzero(chance))), replace=False, p=chance)
        best, weights = -np.inf, np.zeros(len(points))
        for start in starts.tolist():
            gained, lit = _spotlight(points, losses, points[start], size)
            if gained > best:
                best, weights = gained, lit
        if not weights.any():
            break
        found.append(np.argsort(-weights, kind="stable")[: round(size)])
        losses = losses * (1 - weights)
    return found


def _spotlight(points: np.ndarray, losses: np.ndarray, centre: np.ndarray, size: float) -> tuple[float, np.ndarray]:
    """The weighted mean loss of the best spotlight on the way from a centre, and its weights."""
    best, lit = -np.inf, np.zeros(len(points))
    for _ in range(SPOTLIGHT_STEPS):
        weights = _weights(((points - centre) ** 2).sum(axis=1), size)
        gained = float(weights @ losses / weights.sum())
        if gained <= best + TOLERANCE:
            break
        best, lit = gained, weights
        centre = (weights * losses) @ points / max(float(weights @ losses), LEAST_PROBABILITY)
    return best, lit


def _weights(distances: np.ndarray, size: float) -> np.ndarray:
    """max(0, 1 - distance² / radius²), the radius such that they add up to the size; distances are squared."""
    ordered = np.sort(distances)
    counts, sums = np.arange(1, len(ordered) + 1), np.cumsum(ordered)
    # With k images inside, the sum k - sums / radius² is the size where radius² = sums / (k - size).
    with np.errstate(divide="ignore", invalid="ignore"):
        squared = np.where(counts > size, sums / (counts - size), np.inf)
    inside = np.flatnonzero((squared >= ordered) & (squared <= np.append(ordered[1:], np.inf)))
    radius = squared[inside[0]] if len(inside) else ordered[-1]
    return np.maximum(0, 1 - distances / max(float(radius), LEAST_PROBABILITY))


def by_failures(assigned: np.ndarray, tested: AnsweredSet) -> list[np.ndarray]:
    """Slices with failures, the largest product of rate and number of failures first: ndarrays of int."""
    slices = [np.flatnonzero(assigned == part) for part in np.unique(assigned).tolist()]
    score = [tested.wrong[rows].sum() * tested.wrong[rows].mean() for rows in slices]
    order = np.argsort(-np.array(score), kind="stable")
    return [slices[place] for place in order.tolist() if score[place] > 0][:MOST_SLICES]


def by_difference(assigned: np.ndarray, tested: AnsweredSet) -> list[np.ndarray]:
    """Slices, the largest difference between label and answer first, as Domino ranks them: ndarrays of int."""
    slices = [np.flatnonzero(assigned == part) for part in np.unique(assigned).tolist()]
    labels = np.eye(tested.probabilities.shape[1])[tested.labels]
    apart = [np.abs((tested.probabilities[rows] - labels[rows]).mean(axis=0)).max() for rows in slices]
    return [slices[place] for place in np.argsort(-np.array(apart), kind="stable").tolist()][:MOST_SLICES]
