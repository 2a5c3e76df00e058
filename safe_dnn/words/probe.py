"""Which images are likely to have a word: a logistic regression on features of those for which it is known.

It only decides in which stratum an image lies (see `drawing.py`): the rate holds however bad it is.
"""

import numpy as np

COMPONENTS = 64
PENALTY = 0.1  # scikit-learn's C, where images are `SPREAD` from their mean
SPREAD = 8.0
BATCH = 20  # images that are asked at a time
LEAST_OF_EACH = 3  # images with the word, and without it, that a probe needs
MOST_CHOSEN = 60  # images; if there is nothing to learn from these, a random order serves as well


def probe_points(features: np.ndarray, further: np.ndarray | None = None) -> np.ndarray:
    """Features as points for the probe: principal components, halfway between as they are and of equal variance.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        As of `features.extractor.comparable`.
    further : ndarray of shape (n_further, dimension), float32, optional
        Of further images, which do not determine the components.

    Returns
    -------
    ndarray of shape (n_images + n_further, n_components), float64
    """
    from sklearn.decomposition import PCA

    components = min(COMPONENTS, *features.shape)
    with np.errstate(divide="ignore", invalid="ignore"):  # of images that are all alike
        fitted = PCA(components, svd_solver="randomized", random_state=0)
        points = fitted.fit_transform(features).astype(float)
    scale = np.sqrt(np.maximum(points.std(axis=0), np.finfo(float).tiny))
    spread = float(np.sqrt(((points / scale) ** 2).sum(axis=1).mean()))
    points = points if further is None else np.concatenate([points, fitted.transform(further)])
    return points / scale * (SPREAD / spread if spread else 0.0)


def scores(points: np.ndarray, rows: np.ndarray, has_it: np.ndarray) -> np.ndarray:
    """How likely each image has the word, as log odds; 0 if the known images are all alike.

    Parameters
    ----------
    points : ndarray of shape (n_images, n_components)
    rows : ndarray of shape (n_known,), int
    has_it : ndarray of shape (n_known,), bool
    """
    from sklearn.linear_model import LogisticRegression

    if has_it.all() or not has_it.any():
        return np.zeros(len(points))
    regression = LogisticRegression(C=PENALTY, max_iter=1000).fit(points[rows], has_it)
    return np.asarray(regression.decision_function(points))


def is_taught(has_it: np.ndarray) -> bool:
    """Whether the answers to chosen images are enough for a probe, or as many as there will be."""
    n, yes = len(has_it), int(has_it.sum())
    return n >= MOST_CHOSEN or (n >= BATCH and min(yes, n - yes) >= LEAST_OF_EACH)


def chosen_to_teach(
    points: np.ndarray, wrong: np.ndarray, rows: np.ndarray, has_it: np.ndarray, examples: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """The next `BATCH` images to teach the probe: half where the word is likely, half at random.

    Parameters
    ----------
    points : ndarray of shape (n_images, n_components)
    wrong : ndarray of shape (n_images,), bool
    rows, has_it
        As for `scores`.
    examples : ndarray of int
        Images that somebody saw when they chose the word.

    Returns
    -------
    ndarray of int
        Rows that are not known yet; fewer if there are no more.
    """
    open_rows = np.setdiff1d(np.arange(len(points)), rows)
    if has_it.any():
        likely = open_rows[np.argsort(-scores(points, rows, has_it)[open_rows], kind="stable")]
    else:  # the network fails there, or nobody would ask
        open_seen = np.intersect1d(examples, open_rows)
        likely = rng.permutation(open_seen if len(open_seen) else open_rows[wrong[open_rows]])
    likely = likely[: BATCH // 2]
    unlikely = rng.permutation(np.setdiff1d(open_rows, likely))
    return np.concatenate([likely, unlikely[: BATCH - len(likely)]])
