"""Comparable images: how often the DNN fails on images of the same classes for which no other condition holds.

What a condition is compared with decides what is called chance. In a test set with several causes, "all other images"
are mostly wrong for the other causes: a cause that explains an eighth of the failures then seems to fail no more often
than elsewhere. So the images of the other conditions are taken away, inside a condition and outside of it. The rest
outside gives the rate that is expected (see `figures.expected_rate`).

The others of a condition are all that are about what is known of images, but those that say more or less than it does:
whose simple conditions include its own, or are included in them. A condition on classes alone is no other one, and is
compared with images of all classes.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from safe_dnn.rccs.spots.conditions import LEAST_TESTED, Conditions
from safe_dnn.rccs.spots.figures import Alike, expected_rate
from safe_dnn.support.intervals import clopper_pearson

MIXED = 0.5  # share of its images outside of the conditions above it, up to which a conjunction is judged on these


def is_other(condition: Conditions, than: Conditions, label: str) -> bool:
    """Whether a condition is another reason than one: on what is known of images, and neither narrower nor broader."""
    about, its = {*condition}, {*than}
    return not of_classes(condition, label) and not (about <= its or its <= about)


def alike(
    conditions: Sequence[Conditions], holds: np.ndarray, label: str, classes: np.ndarray | None, *, groups: str = "",
    distinct: np.ndarray | None = None, within: Mapping[int, np.ndarray] = MappingProxyType({}),
) -> list[Alike]:  # fmt: skip
    """The comparable images of each condition: those for which no other one holds, within classes.

    Parameters
    ----------
    conditions : sequence of n conjunctions
    holds : ndarray of shape (n, n_images), bool
    label : str
        The column of the class.
    classes : ndarray of shape (n_images,), int, optional
    groups : str
        The column of groups; each of its values is a group.
    distinct : ndarray of shape (n, n), bool, optional
        Which conditions are other reasons than each; by default as in `distinct_reasons`.
    within : mapping of int to ndarray of shape (n_images,), bool
        Images that some are compared within, by their rows.
    """
    distinct, compared = distinct_reasons(conditions, label) if distinct is None else distinct, list[Alike]()
    for row, (condition, inside) in enumerate(zip(conditions, holds, strict=True)):
        free = ~holds[distinct[row]].any(axis=0)
        if row in within:
            free &= within[row]
        strata = None if of_classes(condition, label) else classes
        one_group = [(literal.column, literal.sign) for literal in condition] == [(groups, "=")]
        compared.append(Alike(inside & free, ~inside & free, strata, one_group))
    return compared


def of_classes(condition: Conditions, label: str) -> bool:
    """Whether a condition is about the true class alone."""
    return bool(condition) and all(literal.column == label for literal in condition)


def distinct_reasons(conditions: Sequence[Conditions], label: str) -> np.ndarray:
    """Which conditions are other reasons than each: bool of shape (n, n)."""
    of = [[is_other(each, than, label) for each in conditions] for than in conditions]
    return np.array(of, bool).reshape(len(conditions), len(conditions))


def without_mixtures(
    conditions: Sequence[Conditions], holds: np.ndarray, wrong: np.ndarray, label: str, classes: np.ndarray | None
) -> list[int]:
    """Which conditions are reasons of their own: rows of those that are no mixture of stronger ones.

    A conjunction most of whose images lie in conditions above it (see `by_gain`) is judged on the rest: it stays if
    these are enough to say anything, and fail more often than images like these, beyond chance.
    """
    kept = list[int]()
    others = distinct_reasons(conditions, label)
    for row in by_gain(holds & wrong, others)[0]:
        above = [other for other in kept if others[row, other]]
        taken = holds[above].any(axis=0) if above else np.zeros(len(wrong), bool)
        rest = holds[row] & ~taken
        if len(conditions[row]) > 1 and np.count_nonzero(rest) <= MIXED * np.count_nonzero(holds[row]):
            low, _ = clopper_pearson(np.array([np.count_nonzero(rest & wrong)]), np.array([np.count_nonzero(rest)]))
            expected = expected_rate(wrong, rest, ~holds[row] & ~taken, classes)
            if np.count_nonzero(rest) < LEAST_TESTED or not low[0] > expected:
                continue
        kept.append(row)
    return kept


def by_gain(failing: np.ndarray, distinct: np.ndarray, last: np.ndarray | None = None) -> tuple[list[int], list[int]]:
    """The order of reasons: each time the one that holds most failing images of no other reason above it.

    Parameters
    ----------
    failing : ndarray of shape (n, n_images), bool
        The failing images of each.
    distinct : ndarray of shape (n, n), bool
        Which are other reasons than each (see `is_other`).
    last : ndarray of shape (n,), bool, optional
        Those that come after all that are not.

    Returns
    -------
    order : list of int
    gains : list of int
        In this order: failing images that no other reason above it holds.
    """
    last = np.zeros(len(failing), bool) if last is None else last
    sizes, left = np.count_nonzero(failing, axis=1), failing.copy()
    remaining, order, gains = [*range(len(failing))], list[int](), list[int]()
    while remaining:
        gain = np.count_nonzero(left, axis=1)
        best = max(remaining, key=lambda row: (not last[row], gain[row], sizes[row], -row))
        remaining.remove(best)
        order.append(best)
        gains.append(int(gain[best]))
        left[distinct[:, best]] &= ~failing[best]
    return order, gains
