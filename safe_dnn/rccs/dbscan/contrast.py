"""What sets failing images apart from those that the DNN gets right. Step 1, instead of PCA of looks alone.

Failing images differ from each other in what makes the DNN fail and in what they happen to show. Images that the DNN
gets right differ in the latter only. So images are compared

- in the directions in which failing images vary much more than right ones do, beyond chance: contrastive PCA;
- and by how far they lie along an *axis*, the direction in which failing images of a class differ from right ones of
  the same class: ridge regression, of all classes and of each one, drawn to that of all.

The axis is learnt from right and wrong, so that it would prove itself. Hence it is learnt in folds, of groups where
these are known, and each image is placed by a fold that has not seen it; any other image by their mean.

What was tried: docs/decisions/057-what-sets-failing-images-apart.md.

Sources: Abid, Zhang, Bagaria & Zou, Nature Communications 9:2134, 2018 (contrastive PCA); Hoerl & Kennard,
Technometrics 12(1), 1970 (ridge regression); Evgeniou & Pontil, KDD 2004 (a direction of all tasks, and one of each
drawn to it); Eyuboglu et al., "Domino", ICLR 2022 (groups by features and errors together).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import random_part
from safe_dnn.rccs.dbscan.one_thread import one_thread

LOOKS = "looks"  # what earlier versions of SAFE set aside on request, by these directions alone
TIMES = 2.0  # what failing images vary in less than that many times as much as right ones is looks
N_COMMON = 512  # principal components of failing and right images, among which directions are sought
SHUFFLES = 20  # of failing and right: what none of them gives is not by chance, at a level of 5 %
LEAST_DIRECTIONS = 2  # one alone is more often by chance
FOLDS = 5
RIDGE = 0.1  # times the mean variance of a component
LEAST_OF_CLASS = 10  # failing images of a class, and right ones, to have a direction of its own
LEAST_IMAGES = 50  # failing ones, and right ones, for an axis: fewer are told apart by chance


class RightImages(NamedTuple):
    """Images that the DNN gets right, to compare failing ones with.

    Attributes
    ----------
    features : ndarray of shape (n_right, dimension), float32
    classes : ndarray of shape (n_failing + n_right,), str
        The true class of the failing images, then of the right ones; empty if unknown.
    names : tuple of str
        By which the same images are known later, in the same order.
    units : ndarray of shape (n_failing + n_right,), int
        Images of one unit, such as a person, are in one fold.
    """

    features: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    units: np.ndarray

    def beside(self, rows: np.ndarray, n_failing: int) -> "RightImages":
        """The same beside some of the failing images."""
        kept = np.concatenate([rows, np.arange(n_failing, len(self.names))])
        names = tuple(self.names[row] for row in kept.tolist())
        return self._replace(classes=self.classes[kept], names=names, units=self.units[kept])


class Axis(NamedTuple):
    """Where images lie in the direction in which failing ones differ from right ones of their class.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,), str
        Those with a direction of their own, sorted.
    directions : ndarray of shape (FOLDS, 1 + n_classes, dimension), float32
        That of all other classes first.
    offsets : ndarray of shape (FOLDS, 1 + n_classes), float64
        Where the middle of each class lies.
    into : ndarray of shape (n_components,), float64
        What a step along the axis is in the space of points.
    along : ndarray of shape (n_components,), float64
        What points are multiplied by to give their places along the axis.
    seen : ndarray of shape (n_images,), uint64
        Digests of the names of the images that it was learnt from, sorted.
    folds : ndarray of shape (n_images,), uint8
        The fold that has not seen each of them.
    """

    classes: np.ndarray
    directions: np.ndarray
    offsets: np.ndarray
    into: np.ndarray
    along: np.ndarray
    seen: np.ndarray
    folds: np.ndarray

    def places(self, centred: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """How far images lie along the axis: float64 of shape (n_images,).

        Parameters
        ----------
        centred : ndarray of shape (n_images, dimension), float64
        classes : ndarray of shape (n_images,), str
        names : sequence of str
            As of `RightImages`, for images that the axis was learnt from.
        """
        n_folds, n_classes, dimension = self.directions.shape
        along = centred @ self.directions.reshape(-1, dimension).T.astype(np.float64)
        along = along.reshape(-1, n_folds, n_classes) - self.offsets
        rows = np.arange(len(centred))
        of_class = along[rows, :, numbers_of(classes, self.classes)]
        digests = digests_of(names)
        at = np.minimum(np.searchsorted(self.seen, digests), len(self.seen) - 1)
        return np.where(self.seen[at] == digests, of_class[rows, self.folds[at]], of_class.mean(axis=1))


class SetApart(NamedTuple):
    """What sets failing images apart.

    Attributes
    ----------
    directions : ndarray of shape (n_directions, dimension), float64
        Orthonormal rows, the one with the largest eigenvalue first.
    axis : Axis or None
        `into` and `along` are empty. None if there are too few images.
    """

    directions: np.ndarray
    axis: Axis | None


def set_apart(failing: np.ndarray, right: np.ndarray, of: RightImages, *, seed: int = 0) -> SetApart | None:
    """Directions in which failing images vary more than `TIMES` as much as right ones, beyond chance, and the axis.

    The directions are the eigenvectors of C − 2 R, with C and R the covariances of failing and of right images, whose
    eigenvalues exceed all of those that are found if failing and right are dealt out at random.

    Parameters
    ----------
    failing, right : ndarray of shape (n, dimension), float32
        Scaled and centred features; of very many failing images, a random part counts for the directions.
    of : RightImages
        Whose classes and units they are; its features are not used.
    seed : int
        Of the shuffles and the folds.

    Returns
    -------
    SetApart or None
        None if there are fewer than `LEAST_DIRECTIONS`.
    """
    # Imported here so that the page starts faster.
    from scipy.linalg import eigh
    from sklearn.utils.extmath import randomized_svd

    rng = np.random.default_rng(seed)
    part = random_part(len(failing))
    n = len(part)
    n_common = min(N_COMMON, n + len(right) - 1, failing.shape[1])
    if min(n, len(right), n_common) < 2:
        return None
    with one_thread():
        both = np.concatenate([failing[part], right])
        both -= both.mean(axis=0)
        _, _, components = randomized_svd(both, n_common, random_state=seed)  # PCA, also of images that are all equal
        components = components.astype(np.float64)
        points = both.astype(np.float64) @ components.T
        by_chance = max(
            float(eigh(_difference(points[rng.permutation(len(points))], n), eigvals_only=True)[-1])
            for _ in range(SHUFFLES)
        )
        differences, directions = eigh(_difference(points, n))
        kept = directions.T[::-1][: np.count_nonzero(differences > max(by_chance, 0.0))]
        if len(kept) < LEAST_DIRECTIONS:
            return None
        axis = None
        if min(len(failing), len(right)) >= LEAST_IMAGES:
            axis = _axis(np.concatenate([failing, right]).astype(np.float64) @ components.T, components, of)
    return SetApart(kept @ components, axis)


def _difference(points: np.ndarray, n: int) -> np.ndarray:
    """The covariance of the first `n` points, less `TIMES` that of the others."""
    first, others = points[:n] - points[:n].mean(axis=0), points[n:] - points[n:].mean(axis=0)
    return first.T @ first / len(first) - TIMES * (others.T @ others) / len(others)


def _axis(points: np.ndarray, components: np.ndarray, of: RightImages) -> Axis:
    """The axis, learnt from failing and right images in the space of some components."""
    wrong = np.arange(len(points)) < len(points) - len(of.features)
    named, counts = np.unique(of.classes, return_counts=True)
    failing = np.array([np.count_nonzero(wrong & (of.classes == name)) for name in named])
    own = named[(named != "") & (np.minimum(failing, counts - failing) >= LEAST_OF_CLASS)]
    number = numbers_of(of.classes, own)
    middles = np.stack([points[number == one].mean(axis=0) if (number == one).any() else points.mean(axis=0)
                        for one in range(len(own) + 1)])  # fmt: skip
    centred = points - middles[number]
    shares = np.bincount(number, wrong, len(own) + 1) / np.maximum(np.bincount(number, minlength=len(own) + 1), 1)
    aim = wrong - shares[number]
    fold = np.random.default_rng(0).permutation(int(of.units.max()) + 1)[of.units] % FOLDS
    directions = np.stack([_directions(centred[fold != one], aim[fold != one], number[fold != one], len(own) + 1)
                           for one in range(FOLDS)])  # fmt: skip
    seen = digests_of(of.names)
    order = np.argsort(seen, kind="stable")
    return Axis(
        own, (directions @ components).astype(np.float32), np.einsum("fcd,cd->fc", directions, middles),
        np.zeros(0), np.zeros(0), seen[order], fold[order].astype(np.uint8),
    )  # fmt: skip


def _directions(points: np.ndarray, aim: np.ndarray, number: np.ndarray, n_classes: int) -> np.ndarray:
    """Ridge regression with weights w + v of each class, both drawn to 0: float64 of shape (n_classes, n_components).

    With S = XᵀX of a class, v = (S + λ)⁻¹ (Xᵀy − S w), and w is the sum of all v.
    """
    ridge = RIDGE * float(np.einsum("ij,ij->", points, points)) / points.shape[1] or 1.0  # all may be equal

    def solved(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(XᵀX + λ)⁻¹ Xᵀ y."""
        if len(x) < x.shape[1]:
            return x.T @ np.linalg.solve(x @ x.T + ridge * np.eye(len(x)), y)
        return np.linalg.solve(x.T @ x + ridge * np.eye(x.shape[1]), x.T @ y)

    of_class = [(points[number == one], aim[number == one]) for one in range(n_classes)]
    both = np.sum([solved(x, np.column_stack([x, y])) for x, y in of_class if len(x)], axis=0)
    common = np.linalg.solve(np.eye(points.shape[1]) + both[:, :-1], both[:, -1])
    return np.stack([common + (solved(x, y - x @ common) if len(x) else 0) for x, y in of_class])


def numbers_of(classes: np.ndarray, known: np.ndarray) -> np.ndarray:
    """From 1, the place of each class among sorted known ones; 0 if it is not among them."""
    if not len(known):
        return np.zeros(len(classes), int)
    at = np.minimum(np.searchsorted(known, classes), len(known) - 1)
    return np.where(known[at] == classes, at + 1, 0)


def digests_of(names: Sequence[str]) -> np.ndarray:
    """Eight bytes for each name, as uint64."""
    parts = (hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest() for name in names)
    return np.frombuffer(b"".join(parts), np.uint64)
