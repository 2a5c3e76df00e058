"""Like with like: how often the DNN fails on images of the same classes of which no other condition holds.

What a condition is compared with decides what is called chance. In a test set with several causes, "all other images"
are mostly wrong for the other causes: a cause that explains an eighth of the failures then seems to fail no more often
than elsewhere. So the images of the other conditions are taken away, inside a condition and outside of it. The rest
outside gives the rate that is *expected*: that of each class, weighted as the classes are inside (indirect
standardisation). Each class's rate is drawn to the mean of all by two images, since few images say little.

The others of a condition are all that are about what is known of images, but those that say more or less than it does:
whose simple conditions include its own, or are included in them. A condition on classes alone is no other one, and is
compared with images of all classes.
"""

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from safe_dnn.rccs.spots.conditions import LEAST_TESTED, Literal
from safe_dnn.support.intervals import clopper_pearson

DRAWN = 2.0  # images of the mean rate that are added to each class
MIXED = 0.5  # share of its images outside of the conditions above it, up to which a conjunction is judged on these

Conditions: TypeAlias = tuple[Literal, ...]


class Like(NamedTuple):
    """A condition without the images of others, and images like these.

    Attributes
    ----------
    alone, alone_wrong : int
        Images of which it holds and no other condition, and those of them that the DNN gets wrong.
    like : float
        That of images of the same classes of which neither it nor another condition holds.
    """

    alone: int
    alone_wrong: int
    like: float


def is_other(condition: Conditions, than: Conditions, label: str) -> bool:
    """Whether a condition is another reason than one: on what is known of images, and neither narrower nor broader."""
    about, its = {*condition}, {*than}
    return any(literal.column != label for literal in condition) and not (about <= its or its <= about)


def held_by_others(conditions: Sequence[Conditions], holds: np.ndarray, label: str) -> np.ndarray:
    """Of which images a condition other than each one holds.

    Parameters
    ----------
    conditions : sequence of n conjunctions
    holds : ndarray of shape (n, n_images), bool
    label : str
        The column of the class.

    Returns
    -------
    ndarray of shape (n, n_images), bool
    """
    return np.array([holds[row].any(axis=0) for row in others_of(conditions, label)], bool).reshape(holds.shape)


def expected_rate(
    wrong: np.ndarray, inside: np.ndarray, outside: np.ndarray, classes: np.ndarray | None = None
) -> float:
    """How often images like those inside are wrong outside: of each class, weighted as inside; NaN if none is outside.

    Parameters
    ----------
    wrong, inside, outside : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int, optional
        From 0.
    """
    if not outside.any():
        return float("nan")
    mean = float(wrong[outside].mean())
    if classes is None or not inside.any():
        return mean
    n = int(classes.max()) + 1
    sizes, failing = (np.bincount(classes[rows], minlength=n) for rows in (outside, outside & wrong))
    rates = (failing + DRAWN * mean) / (sizes + DRAWN)
    return float(rates[classes[inside]].mean())


def compare_like(
    conditions: Sequence[Conditions], holds: np.ndarray, wrong: np.ndarray, label: str, classes: np.ndarray | None
) -> list[Like]:
    """Each condition, like with like.

    Parameters
    ----------
    conditions, holds, label
        As for `held_by_others`.
    wrong : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int, optional
    """
    compared = []
    for condition, inside, others in zip(conditions, holds, held_by_others(conditions, holds, label), strict=True):
        alone, outside = inside & ~others, ~inside & ~others
        of_classes = all(literal.column == label for literal in condition)
        rate = expected_rate(wrong, alone if alone.any() else inside, outside, None if of_classes else classes)
        if np.isnan(rate):  # the others hold all images outside
            rate = float(wrong[~inside].mean()) if not inside.all() else 0.0
        compared.append(Like(int(alone.sum()), int((alone & wrong).sum()), rate))
    return compared


def others_of(conditions: Sequence[Conditions], label: str) -> np.ndarray:
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
    others = others_of(conditions, label)
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


def by_gain(failing: np.ndarray, others: np.ndarray, last: np.ndarray | None = None) -> tuple[list[int], list[int]]:
    """The order of reasons: each time the one that holds most failing images of no other reason above it.

    Parameters
    ----------
    failing : ndarray of shape (n, n_images), bool
        The failing images of each.
    others : ndarray of shape (n, n), bool
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
        left[others[:, best]] &= ~failing[best]
    return order, gains
