"""Two runs of an analysis beside each other: what each found, what its engineer said, and the model it led to."""

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters, load_clusters, rccs_of
from rccs.review.review import Review, load_review
from rccs.spots.rates import Rate
from reasons.comparison import load_reasons
from reporting.history import Comparison, Listed, compare_clusters, find_run, list_runs
from support.errors import SAFEError
from training.certainty import accuracy_of
from training.result import Retraining, retraining_of


class Side(NamedTuple):
    """One of two runs.

    Attributes
    ----------
    run : Listed
    review : Review
    rates : mapping of int to Rate
        By RCC; empty if nothing was compared with images that are right.
    base : float
        Share of all tested images that are wrong; 0 if not known.
    retraining : Retraining or None
    """

    run: Listed
    review: Review
    rates: Mapping[int, Rate]
    base: float
    retraining: Retraining | None

    @property
    def clusters(self) -> RootCauseClusters:
        return self.review.clusters

    @property
    def accuracy(self) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
        """The accuracy before and after retraining, each with the ends of its 95 % interval; None without one."""
        result = self.retraining
        if result is None or not result.test_size:
            return None
        n = result.test_size
        return accuracy_of(round(n * result.accuracy_before), n), accuracy_of(round(n * result.accuracy_after), n)


class Match(NamedTuple):
    """RCCs of two runs that have images in common; one of them is None where the other run has none like it.

    Attributes
    ----------
    images : int
        Images in common.
    share : float
        Images in common, of all in either of the two, as far as both runs have them.
    """

    a: int | None
    b: int | None
    images: int
    share: float


def sides(folder: Path, a: str, b: str) -> tuple[Side, Side, Comparison]:
    """Two runs, given by name.

    Raises
    ------
    SAFEError
        They are the same, or one of them does not exist or is damaged.
    """
    if a == b:
        raise SAFEError("Expected two different runs. Received the same one twice. Choose another one.")
    listed = {run.name: run for run in list_runs(folder)}
    one, other = (_side(folder, name, listed) for name in (a, b))
    return one, other, compare_clusters(one.clusters, other.clusters)


def _side(folder: Path, name: str, listed: Mapping[str, Listed]) -> Side:
    run = find_run(folder, name)
    review = load_review(folder, original=load_clusters(folder, run))
    rates: Mapping[int, Rate] = {}
    base, retraining = 0.0, None
    with contextlib.suppress(SAFEError):  # the rest is worth showing without them
        reasons = load_reasons(folder, review.original, run)
        rates, base = reasons.rates(review.clusters), reasons.base
    with contextlib.suppress(SAFEError):
        retraining = retraining_of(folder, review, run)
    return Side(listed[name], review, rates, base, retraining)


def matches(a: RootCauseClusters, b: RootCauseClusters, found: Comparison) -> list[Match]:
    """Each RCC of two runs once: with the RCC of the other run that is like it, or alone.

    The pairs are those with the largest sum of shares (see `Match`); without an image in common there is no pair. In
    the order of the first run's RCCs, largest first, then those of the second alone.

    Notes
    -----
    H. W. Kuhn, "The Hungarian method for the assignment problem", 1955, as `scipy.optimize.linear_sum_assignment`.
    """
    from scipy.optimize import linear_sum_assignment

    rows, columns = ([rcc for rcc in one.groups if rcc != NOISE] for one in (a, b))
    in_common = {(o.rcc_a, o.rcc_b): o for o in found.overlaps}
    share = np.zeros((len(rows), len(columns)))
    for i, rcc in enumerate(rows):
        for j, other in enumerate(columns):
            if overlap := in_common.get((rcc, other)):
                sizes = overlap.images / overlap.share_a + overlap.images / overlap.share_b
                share[i, j] = overlap.images / (sizes - overlap.images)
    pairs = {
        rows[i]: (columns[j], float(share[i, j]))
        for i, j in zip(*linear_sum_assignment(share, maximize=True), strict=True)
        if share[i, j] > 0
    }
    paired = [
        Match(rcc, pairs[rcc][0], in_common[rcc, pairs[rcc][0]].images, pairs[rcc][1])
        if rcc in pairs
        else Match(rcc, None, 0, 0.0)
        for rcc in rows
    ]
    taken = {other for other, _ in pairs.values()}
    return [*paired, *(Match(None, rcc, 0, 0.0) for rcc in columns if rcc not in taken)]


def judged(side: Side) -> int:
    """How many RCCs have a verdict."""
    notes = side.review.notes
    return sum(1 for rcc in rccs_of(side.clusters) if rcc in notes and notes[rcc].verdict)
