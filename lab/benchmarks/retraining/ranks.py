"""Strategies ranked over all cases and numbers of labels: Friedman's test, and what can be told apart.

Pure functions on the kept runs. Each case with a number of labels is a block, in which the strategies are ranked by
their mean accuracy.

Sources: Friedman, JASA 32, 1937 (ranks); Demšar, "Statistical comparisons of classifiers over multiple data sets", JMLR
7, 2006 (Friedman's test, and Nemenyi's critical difference of mean ranks).
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from lab.benchmarks.paper.measures import effect
from lab.benchmarks.retraining.runs import CaseRuns

LEVEL = 0.05
FEWEST_STRATEGIES = 3  # for Friedman's test
FEWEST_BLOCKS = 2


class Ranks(NamedTuple):
    """The strategies that have runs in every block, the best mean rank first.

    Attributes
    ----------
    strategies : tuple of str
    blocks : tuple of str
        Case and number of labels.
    means : ndarray of shape (n_strategies,), float
        Mean ranks; 1 is the most accurate of all in every block.
    p : float
        Friedman's; that the strategies differ no more than by chance.
    critical : float
        Nemenyi's difference: mean ranks that are closer than this may differ by chance (level .05).
    worse : tuple of tuple of str
        For each strategy, the blocks in which some other one is significantly better (Mann–Whitney, two-sided, p < .05,
        not corrected), with that one's name.
    """

    strategies: tuple[str, ...]
    blocks: tuple[str, ...]
    means: np.ndarray
    p: float
    critical: float
    worse: tuple[tuple[str, ...], ...]


def rank(cases: Sequence[CaseRuns], strategies: Sequence[str]) -> Ranks | None:
    """Rank the strategies that were run in every block; None where there are too few of them, or of blocks.

    A case with a number of labels is no block if fewer than `FEWEST_STRATEGIES` were run there.
    """
    blocks = [(case, labels) for case in cases for labels in case.budgets]
    blocks = [block for block in blocks if _n_run(*block, strategies) >= FEWEST_STRATEGIES]
    common = [name for name in strategies if all(case.values(name, labels) for case, labels in blocks)]
    if len(common) < FEWEST_STRATEGIES or len(blocks) < FEWEST_BLOCKS:
        return None
    accuracy = np.array([[statistics.mean(case.values(name, n)) for name in common] for case, n in blocks])
    means = stats.rankdata(-accuracy, axis=1).mean(axis=0)
    order = np.argsort(means, kind="stable")
    p = float(stats.friedmanchisquare(*accuracy.T).pvalue)
    k = len(common)
    quantile = stats.studentized_range.ppf(1 - LEVEL, k, math.inf)  # type: ignore[attr-defined]  # not in the stubs
    critical = float(quantile) / math.sqrt(2) * math.sqrt(k * (k + 1) / 6 / len(blocks))
    return Ranks(
        tuple(common[i] for i in order),
        tuple(f"{case.about['name']}, {labels}" for case, labels in blocks),
        means[order],
        1.0 if math.isnan(p) else p,
        critical,
        tuple(tuple(_worse(common[i], common, blocks)) for i in order),
    )


def _n_run(case: CaseRuns, labels: int, strategies: Sequence[str]) -> int:
    return sum(bool(case.values(name, labels)) for name in strategies)


def _worse(name: str, others: Sequence[str], blocks: Sequence[tuple[CaseRuns, int]]) -> list[str]:
    found = []
    for case, labels in blocks:
        mine = case.values(name, labels)
        for other in others:
            theirs = case.values(other, labels)
            if min(len(mine), len(theirs)) < 2 or statistics.mean(theirs) <= statistics.mean(mine):
                continue
            if effect(mine, theirs)[0] < LEVEL:
                found.append(f"{case.about['name']}, {labels} ({other})")
    return found
