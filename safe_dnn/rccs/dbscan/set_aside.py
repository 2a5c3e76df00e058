"""Set aside what is known not to matter: features without the mean of each value of a parameter. Step 1, before PCA.

RCCs are what failing images look like, and what sets them apart the most may be no reason for failing: they become one
person each, although the DNN fails equally often on each. The mean of each value of such a *nuisance* is estimated over
tested images, right and wrong, and subtracted from the scaled features of any image of which the value is known.

Scaled features and columns in; a record that is kept with the run out, since all that is compared with the images
later, such as improvement images, has to be treated in the same way.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from safe_dnn.features.extractor import comparable
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

BLOCK_ROWS = 128  # images that are scaled at a time

Columns = Mapping[str, np.ndarray]
"""By name: the value of each image as it is recorded, ndarray of str; empty if unknown."""


class Factor(NamedTuple):
    """A column that is set aside.

    Attributes
    ----------
    name : str
    values : ndarray of shape (n_values,), str
        Sorted.
    effects : ndarray of shape (n_values + 1, dimension), float32
        What is subtracted from the scaled features of images that have each value; last, 0 where it is unknown.
    """

    name: str
    values: np.ndarray
    effects: np.ndarray

    def places(self, column: np.ndarray) -> np.ndarray:
        """Which value each image has, shape (n_images,); n_values if it is unknown or was never met."""
        unknown = len(self.values)
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
        before, values = Nuisance(factors, columns), np.unique(column[column != ""])
        sums = np.zeros((len(values) + 1, features.shape[1]))
        factor = Factor(name, values, sums.astype(np.float32))
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


def check_column(name: str, column: np.ndarray) -> None:
    """Check that a column can be set aside.

    Raises
    ------
    SAFEError
        Half of its values or more are unknown, all are the same, or it has more than one for two images.
    """
    known = column[column != ""]
    n_values = len(np.unique(known))
    if 2 * len(known) <= len(column) or not 2 <= n_values <= len(known) / 2:
        raise SAFEError(
            "Expected a parameter to set aside that is known of more than half of the images, differs between them and "
            f"has values that several have in common. Received {printable(name)}, which has {count(n_values, 'value')} "
            f"and is known of {len(known):,} of {count(len(column), 'image')}. Set another one aside, or none."
        )
