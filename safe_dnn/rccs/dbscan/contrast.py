"""The contrast of failing images with those that the DNN gets right. Step 1, instead of PCA of appearance alone.

Failing images differ from each other in what makes the DNN fail and in what they happen to show. Images that the DNN
gets right differ in the latter only. So images are compared

- in the directions in which failing images vary much more than right ones do, beyond chance: contrastive PCA;
- and by how far they lie along an *axis*, the direction in which failing images of a class differ from right ones of
  the same class: ridge regression, of all classes and of each one, drawn to that of all.

The axis is learnt from right and wrong, so that it would prove itself. Hence each image is placed by the axis that is
learnt from all others, without those of its group where groups are known.

The uncertainty that RCCs explain beyond the class (`explained_beyond_class`) is measured on held-out halves of the test
set: rates of the RCCs' regions and of classes are counted in one half, and what they explain of right and wrong in the
other one, as a share of the entropy there (Theil's U). Rates of few images are drawn to that of their class, or of all.
Below zero, what is counted in one half misleads in the other.

What was tried: docs/decisions/057-what-sets-failing-images-apart.md.

Sources: Abid, Zhang, Bagaria & Zou, Nature Communications 9:2134, 2018 (contrastive PCA); Hoerl & Kennard,
Technometrics 12(1), 1970 (ridge regression); Evgeniou & Pontil, KDD 2004 (a direction of all tasks, and one of each
drawn to it); Cook & Weisberg, "Residuals and Influence in Regression", 1982 (what a regression without some images
gives for these); Eyuboglu et al., "Domino", ICLR 2022 (groups by features and errors together).
"""

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import one_thread, random_part

TIMES = 2.0  # directions in which failing images vary less than so many times as much as right ones are appearance
N_COMMON = 512  # principal components of failing and right images, among which directions are sought
SHUFFLES = 20  # of failing and right: what none of them gives is not by chance, at a level of 5 %
LEAST_DIRECTIONS = 2  # one alone is more often by chance
RIDGE = 1.0  # times the mean variance of a component
LEAST_OF_CLASS = 10  # failing images of a class, and right ones, to have a direction of its own
LEAST_IMAGES = 50  # failing ones, and right ones, for an axis: fewer are separated by chance
ROUNDING = 1e-9  # of places along the axis: less is 0
HALVINGS = 10  # in both directions
ENOUGH = 0.75  # of what contrast explains: then RCCs by appearance are used, since people see what they have in common
NOTHING_EXPLAINED = 0.01  # of the entropy: less is chance
DRAWN = 4  # images of the rate that a cell's rate is drawn to


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
        Images of one unit, such as a person, are left out together.
    """

    features: np.ndarray
    classes: np.ndarray
    names: tuple[str, ...]
    units: np.ndarray

    def beside(self, rows: np.ndarray, n_failing: int) -> "RightImages":
        """The same beside some of the failing images."""
        remaining = np.concatenate([rows, np.arange(n_failing, len(self.names))])
        names = tuple(self.names[row] for row in remaining.tolist())
        return self._replace(classes=self.classes[remaining], names=names, units=self.units[remaining])


class Axis(NamedTuple):
    """Where images lie in the direction in which failing ones differ from right ones of their class.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,), str
        Those with a direction of their own, sorted.
    directions : ndarray of shape (1 + n_classes, dimension), float32
        That of all other classes first.
    offsets : ndarray of shape (1 + n_classes,), float64
        Where the middle of each class lies.
    into : ndarray of shape (n_components,), float64
        What a step along the axis is in the space of points.
    digests : ndarray of shape (n_images,), uint64
        Digests of the names of the images that it was learnt from, sorted.
    held_out : ndarray of shape (n_images,), float64
        The place of each of them along the axis that is learnt without its unit.
    """

    classes: np.ndarray
    directions: np.ndarray
    offsets: np.ndarray
    into: np.ndarray
    digests: np.ndarray
    held_out: np.ndarray

    def places(self, centred: np.ndarray, classes: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """How far images lie along the axis: float64 of shape (n_images,).

        Parameters
        ----------
        centred : ndarray of shape (n_images, dimension), float64
        classes : ndarray of shape (n_images,), str
        names : sequence of str
            As of `RightImages`, for images that the axis was learnt from.
        """
        number = numbers_of(classes, self.classes)
        along = centred @ self.directions.T.astype(np.float64) - self.offsets
        digests = digests_of(names)
        at = np.minimum(np.searchsorted(self.digests, digests), len(self.digests) - 1)
        return np.where(self.digests[at] == digests, self.held_out[at], along[np.arange(len(along)), number])


class Contrast(NamedTuple):
    """The contrast of failing images with right ones: directions, and an axis.

    Attributes
    ----------
    directions : ndarray of shape (n_directions, dimension), float64
        Orthonormal rows, the one with the largest eigenvalue first.
    axis : Axis or None
        `into` is empty. None if there are too few images, or all are of one unit.
    """

    directions: np.ndarray
    axis: Axis | None


def find_contrast(failing: np.ndarray, right: np.ndarray, of: RightImages, *, seed: int = 0) -> Contrast | None:
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
        Of the shuffles.

    Returns
    -------
    Contrast or None
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
        chosen = directions.T[::-1][: np.count_nonzero(differences > max(by_chance, 0.0))]
        if len(chosen) < LEAST_DIRECTIONS:
            return None
        axis = None
        if min(len(failing), len(right)) >= LEAST_IMAGES:
            axis = _axis(np.concatenate([failing, right]).astype(np.float64) @ components.T, components, of)
            axis = axis if axis.held_out.any() else None
    return Contrast(chosen @ components, axis)


def _difference(points: np.ndarray, n: int) -> np.ndarray:
    """The covariance of the first `n` points, less `TIMES` that of the others."""
    first, rest = points[:n] - points[:n].mean(axis=0), points[n:] - points[n:].mean(axis=0)
    return first.T @ first / len(first) - TIMES * (rest.T @ rest) / len(rest)


def _axis(points: np.ndarray, components: np.ndarray, of: RightImages) -> Axis:
    """The axis, learnt from failing and right images in the space of some components."""
    wrong = np.arange(len(points)) < len(points) - len(of.features)
    named, counts = np.unique(of.classes, return_counts=True)
    failing = np.array([np.count_nonzero(wrong & (of.classes == name)) for name in named])
    own = named[(named != "") & (np.minimum(failing, counts - failing) >= LEAST_OF_CLASS)]
    number = numbers_of(of.classes, own)
    sizes = np.bincount(number, minlength=len(own) + 1)
    sums = np.zeros((len(sizes), points.shape[1]))
    np.add.at(sums, number, points)
    middles = np.where(sizes[:, None] > 0, sums / np.maximum(sizes, 1)[:, None], points.mean(axis=0))
    aim = wrong - (np.bincount(number, wrong, len(sizes)) / np.maximum(sizes, 1))[number]
    directions, held_out = learnt(points - middles[number], aim, number, len(sizes), of.units)
    digests = digests_of(of.names)
    order = np.argsort(digests, kind="stable")
    offsets = np.einsum("cd,cd->c", directions, middles)
    directions = (directions @ components).astype(np.float32)
    return Axis(own, directions, offsets, np.zeros(0), digests[order], held_out[order])


def learnt(
    x: np.ndarray, y: np.ndarray, number: np.ndarray, n_classes: int, units: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Ridge regression with weights w + v of each class, both drawn to 0; and what it gives for units without these.

    With X of a class, U = (X Xᵀ + λ)⁻¹ X and H = UᵀX: v = Uᵀ (y − X w), and w = T⁻¹ ΣUᵀy with T = 1 + ΣH. A unit's
    images weigh λ U T⁻¹ Uᵀ + X Uᵀ (the latter inside classes) in what is given for them, so that without them it is
    y − (1 − that)⁻¹ (y − what is given).

    Returns
    -------
    directions : ndarray of shape (n_classes, n_components), float64
    held_out : ndarray of shape (n_images,), float64
    """
    p = x.shape[1]
    ridge = RIDGE * float(np.einsum("ij,ij->", x, x)) / p or 1.0  # all may be equal
    u, together, sums = np.zeros_like(x), np.eye(p), np.zeros(p)
    for one in range(n_classes):
        rows = np.flatnonzero(number == one)
        own = x[rows]
        if len(own) < p:
            u[rows] = np.linalg.solve(own @ own.T + ridge * np.eye(len(own)), own)
        else:
            u[rows] = np.linalg.solve(own.T @ own + ridge * np.eye(p), own.T).T
        together += u[rows].T @ own
        sums += u[rows].T @ y[rows]
    common = np.linalg.solve(together, sums)
    rest = y - x @ common
    directions = common + np.stack([u[number == one].T @ rest[number == one] for one in range(n_classes)])
    fitted = np.einsum("ij,ij->i", x, directions[number])
    shared = ridge * np.linalg.solve(together, u.T).T
    weights = np.einsum("ij,ij->i", shared, u) + np.einsum("ij,ij->i", x, u)
    held_out = y - (y - fitted) / (1 - weights)
    for unit in np.flatnonzero(np.bincount(units) > 1).tolist():
        rows = np.flatnonzero(units == unit)
        inside = number[rows][:, None] == number[rows]
        weight = shared[rows] @ u[rows].T + np.where(inside, x[rows] @ u[rows].T, 0)
        held_out[rows] = y[rows] - np.linalg.solve(np.eye(len(rows)) - weight, y[rows] - fitted[rows])
    held_out[np.abs(held_out) < ROUNDING] = 0.0  # if all images are of one unit
    return directions, held_out


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


class ExplainedUncertainty(NamedTuple):
    """Explained uncertainty about right and wrong beyond the class, as a share of the entropy.

    Attributes
    ----------
    contrast : float
        That of RCCs by contrast with right images.
    appearance : float
        That of RCCs by appearance alone, as in the paper.
    is_contrast : bool
        Whether images are grouped by contrast with right ones, rather than by appearance.
    """

    contrast: float
    appearance: float
    is_contrast: bool

    @classmethod
    def chosen(cls, contrast: float, appearance: float) -> "ExplainedUncertainty":
        """The grouping to use: by appearance, unless that explains much less."""
        return cls(contrast, appearance, appearance < ENOUGH * contrast and contrast >= NOTHING_EXPLAINED)

    @property
    def is_nothing(self) -> bool:
        """Whether neither explains anything."""
        return max(self.contrast, self.appearance) < NOTHING_EXPLAINED

    @property
    def text(self) -> str:
        """A sentence on which grouping was used, and how much both explain."""
        if self.is_nothing:
            return (
                "Clusters by appearance explain nothing about which images fail, beyond the class: these RCCs show "
                "what failing images look like, hardly why they fail."
            )
        ways = [
            ("contrast with correctly classified images", self.contrast),
            ("appearance, as in the paper", self.appearance),
        ]
        (way, share), (other, other_share) = ways if self.is_contrast else ways[::-1]
        return (
            f"Grouped by {way}: these clusters explain {max(100 * share, 0):.0f} % of the uncertainty about which "
            f"images fail, beyond the class (clusters by {other.partition(',')[0]}: {max(100 * other_share, 0):.0f} %)."
        )


def explained_beyond_class(
    of_region: np.ndarray, classes: np.ndarray, wrong: np.ndarray, units: np.ndarray | None = None
) -> float:
    """The uncertainty about right and wrong that RCCs explain beyond the class, as a share of the entropy.

    Parameters
    ----------
    of_region : ndarray of shape (n_images,), int
        In whose region each tested image lies (see `rccs.spots.rates.regions`).
    classes : ndarray of shape (n_images,)
    wrong : ndarray of shape (n_images,), bool
    units : ndarray of shape (n_images,), int, optional
        As of `uncertainty_coefficient`.
    """
    of_class = np.unique(classes, return_inverse=True)[1]
    both = np.unique(np.column_stack([of_region, of_class]), axis=0, return_inverse=True)[1].ravel()
    return uncertainty_coefficient(both, wrong, units, of_class) - uncertainty_coefficient(of_class, wrong, units)


def uncertainty_coefficient(
    cells: np.ndarray, wrong: np.ndarray, units: np.ndarray | None = None, within: np.ndarray | None = None
) -> float:
    """The uncertainty coefficient (Theil's U) of cells on held-out images, from −∞ to 1.

    This is the share of the entropy of right and wrong in one half of the images that the rates of the cells, counted
    in the other half, explain; averaged over `HALVINGS` random halvings, each used both ways.

    Parameters
    ----------
    cells : ndarray of shape (n_images,), int
        From 0.
    wrong : ndarray of shape (n_images,), bool
    units : ndarray of shape (n_images,), int, optional
        From 0; no unit is in both halves.
    within : ndarray of shape (n_images,), int, optional
        From 0: coarser cells, to whose rate that of each cell is drawn.
    """
    units = np.arange(len(wrong)) if units is None else units
    rng, shares = np.random.default_rng(0), list[float]()
    for _ in range(HALVINGS):
        first = (rng.permutation(int(units.max(initial=0)) + 1) % 2 == 0)[units]
        for here, there in ((first, ~first), (~first, first)):
            if not (wrong[here].any() and not wrong[here].all() and there.any()):
                continue
            base = np.full(len(wrong), wrong[here].mean())
            drawn_to = base if within is None else _rates(within, wrong, here, base)
            shares.append(1 - _loss(_rates(cells, wrong, here, drawn_to), wrong, there) / _loss(base, wrong, there))
    return float(np.mean(shares)) if shares else 0.0


def _rates(cells: np.ndarray, wrong: np.ndarray, here: np.ndarray, drawn_to: np.ndarray) -> np.ndarray:
    """The rate of each image's cell, counted in a part of the images."""
    n = int(cells.max()) + 1
    tested, failing = (np.bincount(cells[rows], minlength=n)[cells] for rows in (here, here & wrong))
    return (failing + DRAWN * drawn_to) / (tested + DRAWN)


def _loss(rates: np.ndarray, wrong: np.ndarray, there: np.ndarray) -> float:
    """The mean surprise, in nats, at what is right and wrong in a part of the images."""
    return float(-np.log(np.where(wrong, rates, 1 - rates)[there]).mean())
