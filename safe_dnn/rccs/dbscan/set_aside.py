"""Set aside what is known not to matter: features without the mean of each value of a parameter. Step 1, before PCA.

RCCs are what failing images look like, and what sets them apart the most may be no reason for failing: they become one
person each, although the DNN fails equally often on each. The mean of each value of such a *nuisance* is estimated over
tested images, right and wrong, and subtracted from the scaled features of any image of which the value is known. Of
several parameters, this is the mean of each combination of values.

Scaled features and columns in; a record that is kept with the run out, since all that is compared with the images
later, such as improvement images, has to be treated in the same way.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.features.extractor import comparable
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable

BLOCK_ROWS = 128  # images that are scaled at a time


def combined(columns: Sequence[Sequence[str]]) -> np.ndarray:
    """The combination of values that each image has, as text; empty if one of them is unknown."""
    return np.array(["\t".join(values) if all(values) else "" for values in zip(*columns, strict=True)], str)


class SetAside(NamedTuple):
    """What is set aside.

    Attributes
    ----------
    names : tuple of str
        Of the parameters.
    values : ndarray of shape (n_values,), str
        Their combinations of values, sorted.
    effects : ndarray of shape (n_values + 1, dimension), float32
        What is subtracted from the scaled features of images that have each value; last, 0 where it is unknown.
    """

    names: tuple[str, ...]
    values: np.ndarray
    effects: np.ndarray

    def places(self, column: np.ndarray) -> np.ndarray:
        """Which value each image has, shape (n_images,); n_values if it is unknown or was never met."""
        at = np.minimum(np.searchsorted(self.values, column), len(self.values) - 1)
        return np.where(self.values[at] == column, at, len(self.values))

    def unknown(self, column: np.ndarray) -> int:
        """From how many images it cannot be set aside."""
        return int((self.places(column) == len(self.values)).sum())


class Nuisance(NamedTuple):
    """What is set aside, and what the images that it is set aside from have, as of `combined`."""

    aside: SetAside
    column: np.ndarray

    def without(self, scaled: np.ndarray, rows: slice) -> np.ndarray:
        """Scaled features of some of the images (see `features.extractor.comparable`) without what is set aside."""
        return scaled - self.aside.effects[self.aside.places(self.column[rows])]


def fit_set_aside(features: np.ndarray, extractor: str, names: tuple[str, ...], column: np.ndarray) -> SetAside:
    """Estimate by how much the mean of each value differs from the mean of all.

    Each mean is that of one more image, which is like the mean of all: a single image is no mean.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        Of tested images, right and wrong; not scaled.
    extractor : str
        Name of their extractor.
    column : ndarray of shape (n_images,), str
        What the same images have (see `check_column`).
    """
    values = np.unique(column[column != ""])
    sums = np.zeros((len(values) + 1, features.shape[1]))
    aside = SetAside(names, values, sums.astype(np.float32))
    places = aside.places(column)
    for start in range(0, len(features), BLOCK_ROWS):
        scaled, of = comparable(features[start : start + BLOCK_ROWS], extractor), places[start : start + BLOCK_ROWS]
        for place in np.unique(of).tolist():
            sums[place] += scaled[of == place].sum(axis=0, dtype=np.float64)
    counts = np.bincount(places, minlength=len(sums))[:-1, None]
    aside.effects[:-1] = (sums[:-1] - counts * sums[:-1].sum(axis=0) / counts.sum()) / (counts + 1)
    return aside


def check_column(names: Sequence[str], column: np.ndarray) -> None:
    """Check that what images have of parameters can be set aside.

    Raises
    ------
    SAFEError
        Half of its values or more are unknown, all are the same, or it has more than one for two images.
    """
    known = column[column != ""]
    n_values = len(np.unique(known))
    if 2 * len(known) <= len(column) or not 2 <= n_values <= len(known) / 2:
        received = f"{printable(' and '.join(names))}, which has {count(n_values, 'value')}"
        raise SAFEError(
            "Expected a parameter to set aside that is known of more than half of the images, differs between them and "
            f"has values that several have in common. Received {received} and is known of {len(known):,} of "
            f"{count(len(column), 'image')}. Set another one aside, or none."
        )
