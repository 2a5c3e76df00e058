"""The measures of the paper's research questions, as functions of clusters and parameters.

Definitions. Variance reduction of a parameter in an RCC: 1 − variance in the RCC / variance in the reference; circular
variance for angles, Gini impurity for categories. A category counts only if the most common value in the RCC differs
from that in the reference, since a usual value explains nothing. An unsafe value is covered if an RCC reduces the
parameter's variance by half or more and its mean is within a quarter of the sub-range's width (for a category: if it is
the most common value in the RCC). Inspected % is 100 · Σ min(5, images of the RCC) / failing images.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu

from lab.benchmarks.paper.cases import UnsafeValue
from safe_dnn.rccs.clusters import INSPECTED_PER_RCC
from safe_dnn.rccs.parameters import ANGLE_SUFFIX
from safe_dnn.rccs.profiles import circular_mean, circular_variance, gini_impurity

REDUCED = 0.5  # smallest variance reduction at which a parameter characterises an RCC
NEAR = 0.25  # share of the sub-range's width

Columns = dict[str, np.ndarray]


class Outcome(NamedTuple):
    """The outcome of one method on one set of failing images; written as JSON.

    Attributes
    ----------
    sizes : list of int
        Number of images in each RCC.
    inspect_percent, noise : float
    reductions : list of float
        Variance reduction of the best parameter of each RCC.
    best : list of str
        That parameter.
    among_failing : list of float
        As `reductions`, but relative to the variance of the failing images.
    covered : list of int
        Indices of the unsafe values covered by some RCC.
    """

    sizes: list[int]
    inspect_percent: float
    noise: float
    reductions: list[float]
    best: list[str]
    among_failing: list[float]
    covered: list[int]


def measure_outcome(labels: np.ndarray, failing: Columns, reference: Columns, values: Sequence[UnsafeValue]) -> Outcome:
    """All measures of a clustering.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int
        −1 for noise.
    failing : dict of str to ndarray of shape (n_images,)
    reference : dict of str to ndarray of shape (n_test_images,)
    """
    rccs = [np.flatnonzero(labels == rcc) for rcc in np.unique(labels[labels >= 0]).tolist()]
    sizes = [len(rcc) for rcc in rccs]
    found = [{name: reduction(name, column[rcc], reference[name]) for name, column in failing.items()} for rcc in rccs]
    best = [max(of_rcc, key=of_rcc.__getitem__) for of_rcc in found]
    covered = {
        number
        for rcc, of_rcc in zip(rccs, found, strict=True)
        for number, value in enumerate(values)
        if covers(value, failing[value.parameter][rcc], of_rcc[value.parameter])
    }
    return Outcome(
        sizes,
        100 * sum(min(INSPECTED_PER_RCC, size) for size in sizes) / len(labels),
        float(np.mean(labels < 0)),
        [of_rcc[name] for of_rcc, name in zip(found, best, strict=True)],
        best,
        [max(reduction(name, column[rcc], column) for name, column in failing.items()) for rcc in rccs],
        sorted(covered),
    )


def reduction(name: str, own: np.ndarray, reference: np.ndarray) -> float:
    """Variance reduction of a parameter; 0 if fewer than two values are known or the reference does not vary.

    Never below −1: how much more an RCC varies than the reference does not matter.
    """
    if own.dtype.kind == "U":
        counts, overall = Counter(own[own != ""].tolist()), Counter(reference[reference != ""].tolist())
        if counts.total() < 2 or _most_common(counts) == _most_common(overall):
            return 0.0
        variance, of_reference = gini_impurity(counts), gini_impurity(overall)
    else:
        own, reference = own[~np.isnan(own)], reference[~np.isnan(reference)]
        if len(own) < 2:
            return 0.0
        spread = circular_variance if name.endswith(ANGLE_SUFFIX) else np.var
        variance, of_reference = float(spread(own)), float(spread(reference))
    return max(1 - variance / of_reference, -1.0) if of_reference > 0 else 0.0


def _most_common(counts: Counter) -> str:
    return min(counts, key=lambda value: (-counts[value], value))


def covers(value: UnsafeValue, own: np.ndarray, reduced: float) -> bool:
    """Whether an RCC with these values of the parameter covers an unsafe value."""
    if reduced < REDUCED:
        return False
    if isinstance(value.value, str):
        return _most_common(Counter(own[own != ""].tolist())) == value.value
    own = own[~np.isnan(own)]
    if value.parameter.endswith(ANGLE_SUFFIX):
        away = abs((circular_mean(own) - value.value + 180) % 360 - 180)
    else:
        away = abs(float(own.mean()) - value.value)
    return away <= NEAR * value.width


def share_above(reductions: Sequence[float], percent: int) -> float:
    """Share of RCCs whose best parameter's variance falls by more than `percent` %; for 100, if it rounds to 100."""
    if not len(reductions):
        return 0.0
    values = np.asarray(reductions)
    return float(np.mean(values >= 0.995 if percent == 100 else values > percent / 100))


def known_cause_labels(causes: dict[str, np.ndarray]) -> np.ndarray:
    """The clusters of a perfect method: each image belongs to the first of its root causes, or −1 if it has none."""
    labels = np.full(len(next(iter(causes.values()))), -1)
    for number, members in enumerate(causes.values()):
        labels[(labels < 0) & members] = number
    return labels


def effect(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Mann–Whitney's two-sided p, and Vargha and Delaney's Â12: the probability that ours is larger, ties by half."""
    if not len(ours) or not len(theirs):
        return math.nan, math.nan
    test = mannwhitneyu(ours, theirs, alternative="two-sided")
    p = 1.0 if len({*ours, *theirs}) == 1 else float(test.pvalue)
    return p, float(test.statistic) / (len(ours) * len(theirs))
