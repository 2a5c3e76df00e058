"""What a classifier takes for what: the confusion matrix of a test set, and how often each class fails.

In: the true and the predicted class of each test image. Out: counts, classes by name.
"""

import functools
from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.figures import Groups, share_of, tally
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.text import printable

MOST_CLASSES = 20  # shown one by one; a larger matrix is no longer looked at
ONE_ANOTHER = "one another"  # what the classes that are summed up are taken for in their own cell


@dataclass(frozen=True)
class ConfusionMatrix:
    """Counts of test images by true and by predicted class.

    Attributes
    ----------
    classes : tuple of str
        The classes shown one by one, by name.
    rest : int
        How many further classes the last row and column sum up; 0 if there are none.
    row, column : ndarray of shape (n_images,), int64
        Where each image is counted: by its true and by its predicted class. −1 if it is not: right images of further
        classes, which would hide those that are taken for another of them.
    """

    classes: tuple[str, ...]
    rest: int
    row: np.ndarray
    column: np.ndarray

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """Images by true class (row) and predicted class (column): ndarray of shape (n, n), int64.

        n is `len(classes)`, and one more if there is a rest.
        """
        counted = self.row >= 0
        counts = np.zeros((len(self.names),) * 2, np.int64)
        np.add.at(counts, (self.row[counted], self.column[counted]), 1)
        return counts

    @property
    def wrong(self) -> np.ndarray:
        """How many of the images in each cell are wrong: all, but on the diagonal of `classes` none."""
        wrong = self.counts.copy()
        diagonal = np.arange(len(self.classes))
        wrong[diagonal, diagonal] = 0
        return wrong

    @property
    def names(self) -> list[str]:
        """What rows and columns are called: the classes and, last, how many further ones there are; plain text."""
        rest = [f"{self.rest:,} other classes"] if self.rest else []
        return [printable(name) for name in self.classes] + rest

    def images_in(self, row: int, column: int) -> np.ndarray:
        """The images counted in a cell: ndarray of shape (n_cell,), int64, in their order."""
        return np.flatnonzero((self.row == row) & (self.column == column))


class ClassRate(NamedTuple):
    """How often a class fails.

    Attributes
    ----------
    name : str
    tested, wrong : int
        Images of the class.
    low, high : float
        95 % interval of the error rate.
    taken_for : str
        The class that its wrong images are taken for most often; empty if none is wrong.
    taken : int
        How many of them are.
    """

    name: str
    tested: int
    wrong: int
    low: float
    high: float
    taken_for: str
    taken: int

    @property
    def rate(self) -> float:
        """Share of its images that are wrong."""
        return self.wrong / self.tested


def confusion_matrix(label: np.ndarray, predicted: np.ndarray, *, most: int = MOST_CLASSES) -> ConfusionMatrix:
    """Count test images by true and predicted class.

    Parameters
    ----------
    label, predicted : ndarray of shape (n_images,), str
    most : int
        At most so many classes are shown one by one: those that take part in most confusions, ties by name. If one
        alone would be left, it is shown as well, since its row is no longer than that of the rest.

    Returns
    -------
    ConfusionMatrix
    """
    names, codes = np.unique(np.concatenate([label, predicted]), return_inverse=True)
    true, answered = codes[: len(label)], codes[len(label) :]
    fails = true != answered
    part = np.bincount(true[fails], minlength=len(names)) + np.bincount(answered[fails], minlength=len(names))
    order = np.lexsort((np.arange(len(names)), -part))
    listed = np.sort(order if len(names) <= most + 1 else order[:most])
    rest = len(names) - len(listed)
    place = np.full(len(names), len(listed), np.int64)
    place[listed] = np.arange(len(listed))
    hidden = ~fails & (place[true] == len(listed))
    row, column = (np.where(hidden, -1, place[classes]) for classes in (true, answered))
    return ConfusionMatrix(tuple(names[listed].tolist()), rest, row, column)


def confusion_matrices(
    label: np.ndarray, before: np.ndarray, after: np.ndarray
) -> tuple[ConfusionMatrix, ConfusionMatrix]:
    """Count test images by true and predicted class for two networks, with the same classes in the same order.

    Parameters
    ----------
    label, before, after : ndarray of shape (n_images,), str
        Of many classes, those with the most confusions of both networks together are shown one by one.
    """
    n = len(label)
    both = confusion_matrix(np.concatenate([label, label]), np.concatenate([before, after]))
    first, second = (replace(both, row=both.row[part], column=both.column[part]) for part in (slice(n), slice(n, None)))
    return first, second


def class_rates(label: np.ndarray, predicted: np.ndarray, groups: Groups | None = None) -> list[ClassRate]:
    """How often each class fails, those first whose rate is surely high (by the lower end of the interval).

    Parameters
    ----------
    label, predicted : ndarray of shape (n_images,), str
    groups : Groups, optional
        Of images that are not independent.
    """
    names, true = np.unique(label, return_inverse=True)
    fails, rates = label != predicted, []
    correlation = tally(groups.of, fails).correlation if groups else 0.0
    for number, name in enumerate(names.tolist()):
        here = true == number
        wrong = fails & here
        share = share_of(groups.of[here], fails[here], correlation) if groups else 1.0
        low, high = clopper_pearson(*(share * images.sum(keepdims=True) for images in (wrong, here)))
        taken = Counter(predicted[wrong].tolist())
        mostly = min(taken.items(), key=lambda item: (-item[1], item[0]), default=("", 0))
        rates.append(ClassRate(name, int(here.sum()), int(wrong.sum()), low.item(), high.item(), *mostly))
    return sorted(rates, key=lambda rate: (-rate.low, -rate.rate, rate.name))
