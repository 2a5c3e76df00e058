"""Set aside what is known not to matter: features without what a recorded parameter explains. Step 1, before PCA.

RCCs are what failing images look like, and what sets them apart the most may be no reason for failing: they become one
person each, although the DNN fails equally often on each. What such a *nuisance* explains is estimated over all
tested images, right and wrong, and subtracted from the scaled features of any image of which its value is known.

- A category: the mean of its images, shrunk towards the mean of all, the more the fewer they are, and the less
  categories differ in comparison with images of the same one.
- A number: a polynomial of its rank. An angle: a Fourier series, which wraps around.
- Of numbers and angles that take only some values, such as the number of a camera: each value's mean as well.

All columns are fitted together, so that what two of them share is subtracted once.

Scaled features and columns in; a record that is kept with the run out, since all that is compared with the images
later, such as improvement images, has to be treated in the same way.

Sources: Hoerl & Kennard, Technometrics 12(1), 1970 (ridge regression); Robinson, Stat. Sci. 6(1), 1991 (shrunk means
as predictions of random effects).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from safe_dnn.features.extractor import comparable
from safe_dnn.rccs.dbscan.one_thread import one_thread
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

CATEGORY, NUMBER, ANGLE = "category", "number", "angle"
FEWEST, MOST = 0.1, 20.0  # images of the overall mean that are added to those of each value (see `_added`)
RIDGE = 1.0  # the same for a smooth term
DEGREE = 4  # of the polynomial of a number
WAVES = 3  # of the Fourier series of an angle: down to 120 degrees
N_QUANTILES = 33  # by which a number's rank is remembered
MOST_VALUES = 100  # of a number whose values are also categories
LEAST_REPEATED = 5  # images for each of these values, on average
LEAST_KNOWN = 0.5  # share of the images
BLOCK_ROWS = 128  # images that are fitted at a time

Columns = Mapping[str, np.ndarray]
"""By name: str for a category, empty if unknown; float64 for a number or an angle, NaN if unknown."""


@dataclass(frozen=True)
class Factor:
    """A column that is set aside, and the terms that stand for it in the regression.

    Attributes
    ----------
    name : str
    kind : CATEGORY, NUMBER or ANGLE
    values : ndarray of shape (n_values,), str or float64
        Sorted; a term each, which is 1 for images that have it. Of numbers and angles, only where values are repeated.
    quantiles : ndarray of shape (at most N_QUANTILES,), float64
        Of a number, increasing; otherwise empty.
    """

    name: str
    kind: str
    values: np.ndarray
    quantiles: np.ndarray

    @property
    def n_terms(self) -> int:
        """Terms in all: those of the values, then the smooth ones."""
        return len(self.values) + {CATEGORY: 0, NUMBER: DEGREE, ANGLE: 2 * WAVES}[self.kind]

    def known(self, column: np.ndarray) -> np.ndarray:
        """Which values are known: bool of shape (n_images,). A category that was never met is not."""
        return self._at(column) >= 0 if self.kind == CATEGORY else np.isfinite(column)

    def terms(self, column: np.ndarray, centre: np.ndarray | float = 0.0) -> np.ndarray:
        """The terms of images, less `centre`; 0 where they are unknown.

        Parameters
        ----------
        column : ndarray of shape (n_images,)
        centre : ndarray of shape (n_terms,), float64

        Returns
        -------
        ndarray of shape (n_images, n_terms), float64
        """
        terms = np.zeros((len(column), self.n_terms))
        met, n_values = np.zeros(terms.shape, bool), len(self.values)
        if n_values:
            at = self._at(column)
            rows = np.flatnonzero(at >= 0)
            terms[rows, at[rows]] = 1
            met[rows, :n_values] = True
        if self.kind != CATEGORY:
            rows = np.flatnonzero(np.isfinite(column))
            terms[rows, n_values:] = self._smooth(column[rows])
            met[rows, n_values:] = True
        return np.where(met, terms - centre, 0.0)

    def _at(self, column: np.ndarray) -> np.ndarray:
        """Places among the values; −1 if unknown or not among them."""
        if self.kind == ANGLE:
            column = column % 360
        at = np.minimum(np.searchsorted(self.values, column), len(self.values) - 1)
        return np.where(self.values[at] == column, at, -1)

    def _smooth(self, known: np.ndarray) -> np.ndarray:
        """Smooth terms of numbers or angles, shape (n, n_terms)."""
        if self.kind == ANGLE:
            turns = np.deg2rad(known)[:, None] * np.arange(1, WAVES + 1)
            return np.concatenate([np.cos(turns), np.sin(turns)], axis=1)
        # The rank, from −1 to 1, since numbers may be skewed, and values beyond those fitted must not run away.
        ranks = np.interp(known, self.quantiles, np.linspace(-1, 1, len(self.quantiles)))
        return np.polynomial.legendre.legvander(ranks, DEGREE)[:, 1:]


@dataclass(frozen=True)
class SetAside:
    """What nuisances explain of the features of images.

    Attributes
    ----------
    extractor : str
        Name of the extractor of the features.
    factors : tuple of Factor
    centre : ndarray of shape (n_terms,), float64
        Mean of each term over the images that were fitted and of which it is known. It is what stays in the features.
    effects : ndarray of shape (n_terms, dimension), float32
        What is subtracted from scaled features for each term.
    """

    extractor: str
    factors: tuple[Factor, ...]
    centre: np.ndarray
    effects: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """The columns that are set aside."""
        return tuple(factor.name for factor in self.factors)

    def terms(self, columns: Columns) -> np.ndarray:
        """The terms of images, centred; 0 where a value is unknown: shape (n_images, n_terms), float64."""
        centres = zip(self.factors, _split(self.factors, self.centre), strict=True)
        parts = [factor.terms(columns[factor.name], centre) for factor, centre in centres]
        return np.concatenate(parts, axis=1)

    def known(self, columns: Columns) -> np.ndarray:
        """For which images all of the nuisances are known: bool of shape (n_images,)."""
        return np.logical_and.reduce([factor.known(columns[factor.name]) for factor in self.factors])

    def apply(self, scaled: np.ndarray, columns: Columns) -> np.ndarray:
        """Scaled features without what the nuisances explain.

        Parameters
        ----------
        scaled : ndarray of shape (n_images, dimension), float
            Of `features.extractor.comparable`.
        columns : mapping
            Of the same images. Where a value is unknown, its part is left in the features.

        Returns
        -------
        ndarray of shape (n_images, dimension), float64
        """
        return scaled - self.terms(columns) @ self.effects.astype(np.float64)


class Nuisance(NamedTuple):
    """What is set aside, and the values of the images that it is set aside from."""

    what: SetAside
    columns: Columns

    def without(self, scaled: np.ndarray, rows: slice) -> np.ndarray:
        """Scaled features of some of the images without what the nuisances explain (see `SetAside.apply`)."""
        return self.what.apply(scaled, {name: self.columns[name][rows] for name in self.what.names})


def fit_set_aside(features: np.ndarray, extractor: str, columns: Columns) -> SetAside:
    """Estimate what columns explain of features: ridge regression, with a mean that is not shrunk.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        Of all tested images or a random part of them, right and wrong; not scaled.
    extractor : str
        Name of their extractor.
    columns : mapping
        At least one column, of the same images.

    Raises
    ------
    SAFEError
        A column says nothing about the images (see `check_column`).
    """
    for name, column in columns.items():
        check_column(name, column)
    factors = tuple(_factor(name, column) for name, column in columns.items())
    blocks = [slice(start, start + BLOCK_ROWS) for start in range(0, len(features), BLOCK_ROWS)]
    known = [(factor, columns[factor.name]) for factor in factors]
    centre = np.concatenate([_sums(factor, of) / np.count_nonzero(factor.known(of)) for factor, of in known])
    empty = SetAside(extractor, factors, centre, np.zeros((len(centre), 1), np.float32))
    products, answers, total = np.zeros((len(centre),) * 2), np.zeros((len(centre), features.shape[1])), 0.0
    with one_thread():
        mean = sum(comparable(features[rows], extractor).sum(axis=0, dtype=np.float64) for rows in blocks)
        for rows in blocks:
            terms = empty.terms({name: column[rows] for name, column in columns.items()})
            centred = comparable(features[rows], extractor) - mean / len(features)
            products += terms.T @ terms
            answers += terms.T @ centred
            total += float(np.einsum("ij,ij", centred, centred))
        added = [
            _added(f, part, columns[f.name], total) for f, part in zip(factors, _split(factors, answers), strict=True)
        ]
        for factor, of_terms in zip(factors, added, strict=True):
            if any(_divides(columns[factor.name], columns[other.name]) for other in factors):
                of_terms[:] = MOST  # the other column holds most of what the means differ by
        effects = np.linalg.solve(products + np.diag(np.concatenate(added)), answers)
    return SetAside(extractor, factors, centre, effects.astype(np.float32))


def _divides(column: np.ndarray, other: np.ndarray) -> bool:
    """Whether each value of a category goes with one of another that has fewer values, as confusions with a class."""
    if not column.dtype.kind == other.dtype.kind == "U":
        return False
    pairs = len(np.unique(np.column_stack([column, other]), axis=0))
    return len(np.unique(other)) < len(np.unique(column)) == pairs


def _split(factors: Sequence[Factor], terms: np.ndarray) -> list[np.ndarray]:
    """The rows of each factor."""
    return np.split(terms, np.cumsum([factor.n_terms for factor in factors])[:-1])


def _added(factor: Factor, sums: np.ndarray, column: np.ndarray, total: float) -> np.ndarray:
    """How many images of the overall mean are added to those that have each term.

    For values, it is the variance of an image around the mean of its value by the variance of these means, as a one-way
    analysis of variance estimates them: the mean of few images is kept only where values differ much more than images.

    Parameters
    ----------
    sums : ndarray of shape (n_terms, dimension), float64
        Sum of the features, less their mean, of the images of each value.
    total : float
        Sum of squares of the features, less their mean.

    Returns
    -------
    ndarray of shape (n_terms,), float64
    """
    added = np.full(factor.n_terms, RIDGE)
    n_values = len(factor.values)
    if n_values < 2:
        return added
    counts = _sums(factor, column)[:n_values]
    n = counts.sum()
    between = float((np.einsum("ij,ij->i", sums[:n_values], sums[:n_values]) / counts).sum())
    within = max(total * n / len(column) - between, 0.0) / max(n - n_values, 1)
    # Means of images differ by chance as well.
    means = (between / (n_values - 1) - within) / ((n - (counts**2).sum() / n) / (n_values - 1))
    added[:n_values] = np.clip(within / means, FEWEST, MOST) if means > 0 else MOST
    return added


def _factor(name: str, column: np.ndarray) -> Factor:
    nothing = np.zeros(0)
    if column.dtype.kind == "U":
        return Factor(name, CATEGORY, np.unique(column[column != ""]), nothing)
    known = column[np.isfinite(column)]
    angle = kind_of(name, column) == ANGLE
    if angle:
        known = known % 360
    values = np.unique(known)
    repeated = len(values) <= MOST_VALUES and len(known) >= LEAST_REPEATED * len(values)
    quantiles = nothing if angle else np.unique(np.quantile(known, np.linspace(0, 1, N_QUANTILES)))
    return Factor(name, ANGLE if angle else NUMBER, values if repeated else nothing, quantiles)


def _sums(factor: Factor, column: np.ndarray) -> np.ndarray:
    """Sum of each term over images, block by block, since there may be many values."""
    total = np.zeros(factor.n_terms)
    for start in range(0, len(column), BLOCK_ROWS):
        total += factor.terms(column[start : start + BLOCK_ROWS]).sum(axis=0)
    return total


def kind_of(name: str, column: np.ndarray) -> str:
    """CATEGORY, NUMBER, or ANGLE: numbers whose name ends in `_deg`, as in `rccs.parameters`."""
    return CATEGORY if column.dtype.kind == "U" else ANGLE if name.endswith("_deg") else NUMBER


def check_column(name: str, column: np.ndarray) -> None:
    """Check that a column can be set aside.

    Raises
    ------
    SAFEError
        More than half of its values are unknown, all are the same, or it is a category that is another one for
        (nearly) every image.
    """
    category = column.dtype.kind == "U"
    known = column[column != ""] if category else column[np.isfinite(column)]
    n_values, images = len(np.unique(known)), count(len(column), "image")
    if len(known) <= len(column) * (1 - LEAST_KNOWN):
        what = f"which is unknown of {len(column) - len(known):,} of {images}"
        expected = "known of more than half of the images"
    elif n_values < 2:
        what, expected = f"which is the same for all {images}", "that differs between images"
    elif category and 2 * n_values > len(known):
        what = f"which has {n_values:,} different values in {images}"
        expected = "whose values several images have in common"
    else:
        return
    raise SAFEError(
        f"Expected a parameter to set aside {expected}. Received {printable(name)}, {what}. Set another one aside, or "
        "none."
    )
