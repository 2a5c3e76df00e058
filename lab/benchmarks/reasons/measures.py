"""Measures of reasons for failing: of clusters of failing images, and of conditions on the whole test set."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

PURE = 0.9  # share of an RCC's images that have one cause
FIRST = 10  # conditions that an engineer reads


class Condition(NamedTuple):
    """A condition under which a method says that the DNN fails.

    Attributes
    ----------
    where : str
        In words.
    columns : frozenset of str
        What it is about.
    holds : ndarray of shape (n_images,), bool
        For which test images it holds.
    """

    where: str
    columns: frozenset[str]
    holds: np.ndarray


def information(tested: np.ndarray, wrong: np.ndarray) -> tuple[float, float]:
    """Mutual information of right or wrong with the cells of a partition of the test set.

    Random cells have some as well, (n_cells - 1) / (2 n_images ln 2) bits on average (Miller, "Note on the bias of
    information estimates", 1955), which is subtracted.

    Parameters
    ----------
    tested, wrong : ndarray of shape (n_cells,), int
        Images in each cell, and how many of them are wrong; empty cells do not count.

    Returns
    -------
    bits : float
        0 or more.
    share : float
        Of the entropy of right or wrong; 0 if all images are right, or all are wrong.
    """
    wrong, tested = wrong[tested > 0], tested[tested > 0]
    total = tested.sum()
    if not total:
        return 0.0, 0.0
    entropy = float(_entropy(np.array([wrong.sum() / total]))[0])
    bits = entropy - float(_entropy(wrong / tested) @ tested) / total
    bits = max(0.0, bits - (len(tested) - 1) / (2 * total * np.log(2)))
    return bits, bits / entropy if entropy else 0.0


def _entropy(share: np.ndarray) -> np.ndarray:
    """Of a choice between two, in bits."""
    both = np.stack([share, 1 - share])
    return -np.sum(both * np.log2(both, out=np.zeros_like(both), where=both > 0), axis=0)


def first_of(conditions: Sequence[Condition], n_images: int) -> np.ndarray:
    """The first condition that holds for each image, shape (n_images,), int; −1 where none does."""
    cells = np.full(n_images, -1)
    for place, condition in reversed(list(enumerate(conditions))):
        cells[condition.holds] = place
    return cells


def counts(cells: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How many images each cell has, −1 first, and how many of them are wrong."""
    return np.bincount(cells + 1), np.bincount(cells + 1, weights=wrong).astype(int)


def held_failures(conditions: Sequence[Condition], wrong: np.ndarray) -> tuple[float, float]:
    """Share of the failures for which any condition holds, and the failure rate where one does.

    The rate is NaN if there are no such images.
    """
    anywhere = first_of(conditions, len(wrong)) >= 0
    held, failures = np.count_nonzero(wrong & anywhere), np.count_nonzero(wrong)
    rate = held / np.count_nonzero(anywhere) if anywhere.any() else float("nan")
    return held / failures if failures else 0.0, rate


def causes_of_clusters(labels: np.ndarray, causes: Mapping[str, np.ndarray], called: Collection[int]) -> list[str]:
    """The causes that make up at least `PURE` of some RCC that is said to fail more often.

    Parameters
    ----------
    labels : ndarray of shape (n_failing,), int
    causes : mapping of str to ndarray of shape (n_failing,), bool
    called : collection of int
        RCCs.
    """
    members = [labels == rcc for rcc in called]
    return [name for name, has in causes.items() if any(has[one].mean() >= PURE for one in members if one.any())]


def causes_of_conditions(
    conditions: Sequence[Condition],
    wrong: np.ndarray,
    causes: Mapping[str, np.ndarray],
    parameters: Mapping[str, Collection[str]],
) -> list[str]:
    """The causes that are named among the first conditions.

    A condition names a cause if it is about one of the cause's parameters, and most of the failures for which it holds
    have that cause.

    Parameters
    ----------
    causes : mapping of str to ndarray of shape (n_images,), bool
        Failing images with that cause.
    parameters : mapping of str to collection of str
        Columns by which an engineer would know the cause.
    """
    found = []
    for name, has in causes.items():
        about = [one for one in conditions[:FIRST] if one.columns & set(parameters[name])]
        failing = [one.holds & wrong for one in about]
        if any(has[one].mean() > 0.5 for one in failing if one.any()):
            found.append(name)
    return found


def holding(intervals: Iterable[tuple[float, float]], base: float) -> int:
    """How many intervals hold the rate of the whole test set."""
    return sum(low <= base <= high for low, high in intervals)
