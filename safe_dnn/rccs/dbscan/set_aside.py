"""Set aside what is known not to matter: features without the mean of each value of a parameter. Step 1, before PCA.

RCCs are what failing images look like, and what sets them apart the most may be no reason for failing: they become one
person each, although the DNN fails equally often on each. The mean of each value of such a *nuisance* is estimated over
tested images, right and wrong, and subtracted from the scaled features of any image of which the value is known. Of a
number with many values, these are ranges that hold as many images each.

Scaled features and columns in; a record that is kept with the run out, since all that is compared with the images
later, such as improvement images, has to be treated in the same way.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from safe_dnn.features.extractor import comparable
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

MOST_VALUES = 100  # of a number; with more, each of them is of one of so many ranges:
RANGES = 10
LEAST_REPEATED = 5  # images for each value of a number, on average; with fewer, there are ranges too
BLOCK_ROWS = 128  # images that are scaled at a time

Columns = Mapping[str, np.ndarray]
"""By name: str for a category, empty if unknown; float64 for a number, NaN if unknown."""


class Factor(NamedTuple):
    """A column that is set aside.

    Attributes
    ----------
    name : str
    values : ndarray of shape (n_values,), str or float64
        Sorted; of ranges, their lower ends.
    ranges : bool
        Whether a number is of the range that it lies in, the first and the last of which have no end.
    effects : ndarray of shape (n_values + 1, dimension), float32
        What is subtracted from the scaled features of images that have each value; last, 0 where it is unknown.
    """

    name: str
    values: np.ndarray
    ranges: bool
    effects: np.ndarray

    def places(self, column: np.ndarray) -> np.ndarray:
        """Which value each image has, shape (n_images,); n_values if it is unknown or was never met."""
        unknown = len(self.values)
        if self.ranges:
            at = np.maximum(np.searchsorted(self.values, column, side="right") - 1, 0)
            return np.where(np.isfinite(column), at, unknown)
        at = np.minimum(np.searchsorted(self.values, column), unknown - 1)
        return np.where(self.values[at] == column, at, unknown)

    def n_unknown(self, column: np.ndarray) -> int:
        """From how many images it cannot be set aside."""
        return int((self.places(column) == len(self.values)).sum())


class Nuisance(NamedTuple):
    """What is set aside, and the values of the images that it is set aside from."""

    factors: tuple[Factor, ...]
    columns: Columns

    def without(self, scaled: np.ndarray, rows: slice) -> np.ndarray:
        """Scaled features of some of the images (see `features.extractor.comparable`) without what is set aside."""
        for factor in self.factors:
            scaled = scaled - factor.effects[factor.places(self.columns[factor.name][rows])]
        return scaled


def fit_set_aside(features: np.ndarray, extractor: str, columns: Columns) -> tuple[Factor, ...]:
    """Estimate by how much the mean of each value differs from the mean of all, of one column after the other.

    Each mean is that of one more image, which is like the mean of all: a single image is no mean.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        Of tested images, right and wrong; not scaled.
    extractor : str
        Name of their extractor.
    columns : mapping
        Of the same images (see `check_column`). What earlier ones explain is subtracted before.
    """
    factors: tuple[Factor, ...] = ()
    for name, column in columns.items():
        before, (values, ranges) = Nuisance(factors, columns), _values(column)
        sums = np.zeros((len(values) + 1, features.shape[1]))
        factor = Factor(name, values, ranges, sums.astype(np.float32))
        places = factor.places(column)
        for start in range(0, len(features), BLOCK_ROWS):
            rows = slice(start, start + BLOCK_ROWS)
            scaled = before.without(comparable(features[rows], extractor), rows)
            for place in np.unique(places[rows]).tolist():
                sums[place] += scaled[places[rows] == place].sum(axis=0, dtype=np.float64)
        counts = np.bincount(places, minlength=len(sums))[:-1, None]
        factor.effects[:-1] = (sums[:-1] - counts * sums[:-1].sum(axis=0) / counts.sum()) / (counts + 1)
        factors = *factors, factor
    return factors


def _values(column: np.ndarray) -> tuple[np.ndarray, bool]:
    """See `Factor`."""
    if column.dtype.kind == "U":
        return np.unique(column[column != ""]), False
    known = column[np.isfinite(column)]
    values = np.unique(known)
    if len(values) <= MOST_VALUES and len(known) >= LEAST_REPEATED * len(values):
        return values, False
    return np.unique(np.quantile(known, np.arange(RANGES) / RANGES)), True


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
    n_values = len(np.unique(known))
    if 2 * len(known) <= len(column):
        expected = "known of more than half of the images"
    elif n_values < 2:
        expected = "that differs between images"
    elif category and 2 * n_values > len(known):
        expected = "whose values several images have in common"
    else:
        return
    received = f"{count(n_values, 'value')} and is known of {len(known):,} of {count(len(column), 'image')}"
    raise SAFEError(
        f"Expected a parameter to set aside {expected}. Received {printable(name)}, which has {received}. Set another "
        "one aside, or none."
    )
