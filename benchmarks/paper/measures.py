"""What the paper's research questions measure, as functions of clusters and parameters.

Definitions. Variance reduction of a parameter in an RCC: 1 − variance in the RCC / variance in the reference; circular
variance for angles, the Gini impurity for categories. A category counts only where the RCC's commonest value is not
the reference's: that nothing is unusual about an RCC explains nothing. An unsafe value is covered where an RCC reduces
its parameter's variance by half or more and its mean lies within a quarter of the sub-range's width (for a category:
where it is the RCC's commonest value). Inspected % is 100 · Σ min(5, images of the RCC) / failing images.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import mannwhitneyu

from benchmarks.paper.cases import UnsafeValue
from rccs.clusters import INSPECTED_PER_RCC
from rccs.parameters import ANGLE_SUFFIX
from rccs.profiles import circular_mean, circular_variance

REDUCED = 0.5  # the least variance reduction at which an RCC is about a parameter
NEAR = 0.25  # of the sub-range's width
BANDS = 8  # of a parameter, to tell the values that RCCs are about apart

Columns = dict[str, np.ndarray]


class Outcome(NamedTuple):
    """What one method found on one set of failing images; written as JSON.

    Attributes
    ----------
    sizes : list of int
        Images in each RCC.
    inspect_percent, noise : float
    reductions : list of float
        Of each RCC's best parameter.
    best : list of str
        That parameter.
    among_failing : list of float
        The same as `reductions`, but compared with the variance of the failing images.
    covered : list of int
        Indices of the unsafe values that some RCC covers.
    unique : float
        Share of RCCs whose set of values is that of no other.
    """

    sizes: list[int]
    inspect_percent: float
    noise: float
    reductions: list[float]
    best: list[str]
    among_failing: list[float]
    covered: list[int]
    unique: float


def measure(labels: np.ndarray, failing: Columns, reference: Columns, values: Sequence[UnsafeValue]) -> Outcome:
    """All measures of a clustering.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int
        −1 for images in no cluster.
    failing : dict of str to ndarray of shape (n_images,)
    reference : dict of str to ndarray of shape (n_test_images,)
    """
    rccs = [np.flatnonzero(labels == rcc) for rcc in np.unique(labels[labels >= 0]).tolist()]
    sizes = [len(rcc) for rcc in rccs]
    found = [{name: reduction(name, column[rcc], reference[name]) for name, column in failing.items()} for rcc in rccs]
    best = [max(of_rcc, key=of_rcc.get) for of_rcc in found]
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
        unique_share([_described(rcc, of_rcc, failing, reference) for rcc, of_rcc in zip(rccs, found, strict=True)]),
    )


def reduction(name: str, own: np.ndarray, reference: np.ndarray) -> float:
    """Variance reduction of a parameter; 0 where fewer than two values are known or nothing varies.

    Never below −1: how much more an RCC varies than the reference does not matter.
    """
    if own.dtype.kind == "U":
        counts, overall = Counter(own[own != ""].tolist()), Counter(reference[reference != ""].tolist())
        if counts.total() < 2 or _commonest(counts) == _commonest(overall):
            return 0.0
        variance, of_reference = _impurity(counts), _impurity(overall)
    else:
        own, reference = own[~np.isnan(own)], reference[~np.isnan(reference)]
        if len(own) < 2:
            return 0.0
        spread = circular_variance if name.endswith(ANGLE_SUFFIX) else np.var
        variance, of_reference = float(spread(own)), float(spread(reference))
    return max(1 - variance / of_reference, -1.0) if of_reference > 0 else 0.0


def _impurity(counts: Counter) -> float:
    return 1 - sum((count / counts.total()) ** 2 for count in counts.values())


def _commonest(counts: Counter) -> str:
    return min(counts, key=lambda value: (-counts[value], value))


def covers(value: UnsafeValue, own: np.ndarray, reduced: float) -> bool:
    """Whether an RCC with these values of the parameter covers an unsafe value."""
    if reduced < REDUCED:
        return False
    if isinstance(value.value, str):
        return _commonest(Counter(own[own != ""].tolist())) == value.value
    own = own[~np.isnan(own)]
    if value.parameter.endswith(ANGLE_SUFFIX):
        away = abs((circular_mean(own) - value.value + 180) % 360 - 180)
    else:
        away = abs(float(own.mean()) - value.value)
    return away <= NEAR * value.width


def _described(rcc: np.ndarray, reductions: dict[str, float], failing: Columns, reference: Columns) -> frozenset:
    """What an RCC is about: each parameter that it reduces by half or more, with the band or category it lies in."""
    described = set()
    for name, reduced in reductions.items():
        if reduced < REDUCED:
            continue
        own = failing[name][rcc]
        if own.dtype.kind == "U":
            described.add((name, _commonest(Counter(own[own != ""].tolist()))))
        elif name.endswith(ANGLE_SUFFIX):
            described.add((name, round(circular_mean(own[~np.isnan(own)]) / (360 / BANDS)) % BANDS))
        else:
            low, high = np.nanquantile(reference[name], [0.02, 0.98])
            described.add((name, math.floor(BANDS * (np.nanmean(own) - low) / max(high - low, 1e-12))))
    return frozenset(described)


def unique_share(described: Sequence[frozenset]) -> float:
    """Share of RCCs that are about something, and about something else than every other RCC."""
    counts = Counter(described)
    return sum(bool(one) and counts[one] == 1 for one in described) / len(described) if described else 0.0


def share_above(reductions: Sequence[float], percent: int) -> float:
    """Share of RCCs whose best parameter's variance falls by more than `percent` %; for 100, by what rounds to it."""
    if not len(reductions):
        return 0.0
    values = np.asarray(reductions)
    return float(np.mean(values >= 0.995 if percent == 100 else values > percent / 100))


def known_cause_labels(causes: dict[str, np.ndarray]) -> np.ndarray:
    """The clusters that a perfect method would find: an image belongs to the first of its root causes; −1 without."""
    labels = np.full(len(next(iter(causes.values()))), -1)
    for number, members in enumerate(causes.values()):
        labels[(labels < 0) & members] = number
    return labels


def effect(ours: Sequence[float], theirs: Sequence[float]) -> tuple[float, float]:
    """Mann–Whitney's two-sided p and Vargha and Delaney's Â12, the chance that ours is larger (0.5 for each tie)."""
    if not len(ours) or not len(theirs):
        return math.nan, math.nan
    test = mannwhitneyu(ours, theirs, alternative="two-sided")
    p = 1.0 if len({*ours, *theirs}) == 1 else float(test.pvalue)
    return p, float(test.statistic) / (len(ours) * len(theirs))
