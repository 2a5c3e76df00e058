"""Beyond clusters: failing images in a row, from those that look like right ones of their class to the least alike.

Where VGG16 sees one kind of picture, clusters say little, and yet failing may be likelier in one direction of what it
sees. In: failing and right images as points, and their classes. Out: how far each image lies in the direction in which
failing ones differ from right ones of the same class, as of `rccs.dbscan.contrast`: each image is placed by a direction
that was learnt without it and without others of its group, so that it may come out that there is none. What was tried:
docs/decisions/054-in-a-row.md.
"""

from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.dbscan.contrast import learnt

LEAST_IMAGES = 50  # failing ones, and right ones: of fewer, pairs are told apart by chance
LEAST_TOLD_APART = 0.65


class Order(NamedTuple):
    """Where failing images lie between right ones of their class and the least alike.

    Attributes
    ----------
    places : ndarray of shape (n_failing,), float32
    told_apart : float
        Share of the pairs of a failing and a right image of one class in which the failing one lies farther.
    """

    places: np.ndarray
    told_apart: float


def order_of(
    failing: np.ndarray, right: np.ndarray, classes: np.ndarray | None, groups: np.ndarray | None,
    *, along: np.ndarray | None = None,
) -> Order | None:  # fmt: skip
    """Place failing images; None if there are too few, or no direction tells them from right ones.

    Parameters
    ----------
    failing, right : ndarray of shape (n, n_components), float
    classes, groups : ndarray of int, optional
        Of the failing images, then of the right ones.
    along : ndarray of shape (n_components,), float, optional
        A direction in which they were placed already without having been seen (see `rccs.dbscan.contrast.Axis`).
    """
    n = len(failing)
    if min(n, len(right)) < LEAST_IMAGES:
        return None
    wrong = np.arange(n + len(right)) < n
    of = np.zeros(len(wrong), int) if classes is None else np.unique(classes, return_inverse=True)[1]
    alone = np.arange(len(wrong)) if groups is None else np.unique(groups, return_inverse=True)[1]
    points = np.concatenate([failing, right]).astype(float)
    if along is not None:
        return _order(points @ along, wrong, of)
    points = _within(points, of)
    aim = _within(wrong[:, None].astype(float), of)[:, 0]
    return _order(learnt(points, aim, of, int(of.max()) + 1, alone)[1], wrong, of)


def _order(places: np.ndarray, wrong: np.ndarray, of: np.ndarray) -> Order | None:
    told_apart = _told_apart(places, wrong, of)
    return Order(places[wrong].astype(np.float32), told_apart) if told_apart >= LEAST_TOLD_APART else None


def _within(values: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Values less the mean of the class."""
    sums = np.zeros((int(of.max()) + 1, values.shape[1]))
    np.add.at(sums, of, values)
    return values - (sums / np.bincount(of)[:, None])[of]


def _told_apart(places: np.ndarray, wrong: np.ndarray, of: np.ndarray) -> float:
    """See `Order`; the area under the ROC curve within classes, weighted by pairs."""
    farther, pairs = 0.0, 0
    for one in range(int(of.max()) + 1):
        right, failing = np.sort(places[(of == one) & ~wrong]), places[(of == one) & wrong]
        farther += float(np.searchsorted(right, failing).sum())
        pairs += len(right) * len(failing)
    return farther / pairs if pairs else 0.0
