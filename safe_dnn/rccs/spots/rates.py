"""Step 2 of SAFE, if the test set is known: how often the DNN fails on images like those of each RCC.

A cluster of failing images may only show what images look like. Whether it is a reason for failing is told by the
images that look the same and that the DNN gets *right*. A tested image lies in the region of an RCC if, of all failing
images, the nearest one is in that RCC, and it is among failing images; the *rate* of the RCC is the share of wrong
images among the tested images in its region. It is neither the share of the failures that the RCC explains nor the
probability that an image of the RCC is wrong (they all are). Images of one scene count as if they were independent,
unless it is known which images are of one scene (see `figures.py`).

The rate must not be high only because regions are drawn around wrong images: if right and wrong are dealt out at
random, it has to be that of the whole test set. Therefore:

- A wrong image is placed by the *other* failing images (leave one out).
- An RCC exists only because a few wrong images happen to lie together, and a small one because of each of them.
  Therefore, the lower end of the interval and the test for "more" count only images of the RCC that the others place in
  it, and `DEFINING` fewer of them: the rest is evidence.
- A limit on the distance would not do. The projection is fitted to the failing images, and they lie farther from each
  other than right images lie from them, so that it would keep out more wrong images than right ones. Instead, an image
  lies in a region only if `FAILING` of the `NEAREST` tested images of its class that are nearest to it fail as well,
  itself and others of its group left out, unless that leaves hardly any failing image. Whether an image itself fails
  does not decide on that. Without any limit, all of the test set looks like its only RCC.

Points in, `rcc_rates.csv` out. What was tried: docs/decisions/030-failure-rates.md.

Sources: Clopper & Pearson, Biometrika 26(4), 1934 (the interval); Fisher, J. R. Stat. Soc. 98(1), 1935 (the exact
test); Holm, Scand. J. Stat. 6(2), 1979 (the correction for the number of RCCs).

What a rate is compared with is that of the same images outside of the region (see `expected.py`).
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.spots.expected import Baseline, expected_rates
from safe_dnn.rccs.spots.figures import (
    Figures,
    Groups,
    chance_of,
    compared_with,
    corrected,
    effective_share,
    tally,
)
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import count, rate_text

RATES_FILE = "rcc_rates.csv"

DEFINING = 2  # wrong images of an RCC that are no evidence: a core point needs two others, see `rccs.dbscan.tuning`
NEAREST, FAILING = 5, 2  # tested images of its class around an image in a region, and those that fail, at least
LEAST_AMONG = 0.25  # of the failing images among failing ones: else this limit keeps out what it should not
LEVEL = 0.05  # of the tests
OF_ONE = 0.8  # least share of an RCC's images that are of one group, for which the RCC stands then
ENOUGH = 200  # tested images: if a verdict is not possible with these, they look like much of the test set


class Rate(NamedTuple):
    """How often the DNN fails in the region of an RCC; a row of `rcc_rates.csv`.

    Attributes
    ----------
    figures : Figures
        Of the tested images in the region. An image of the RCC is not counted if the nearest other failing image is not
        in the RCC, and images of other RCCs may be. The interval holds the rate of images like these with a probability
        of at least 95 % (see `failure_rates`); p is how likely a difference like that from the expected rate is by
        chance, in its direction, corrected for the number of RCCs. There is one group if nearly all images of the RCC
        are of it.
    elsewhere : float
        Rate among all tested images outside of this region. NaN if there are none.
    verdict : one of VERDICTS
        "too few" if a rate that would matter (see `_matters`) can neither be confirmed nor excluded.
    """

    rcc: int
    figures: Figures
    elsewhere: float
    verdict: str

    def in_words(self, noun: str = "image") -> str:
        """One sentence; `noun` is what was tested."""
        of = self.figures
        if not of.tested:
            return f"No other tested {noun} looks like these: nothing to compare."
        of_groups = f" (nearly all of one {of.group})" if of.groups == 1 else of.of_groups
        if self.verdict == "too few":
            wrong = "none is" if not of.wrong else "1 is" if of.wrong == 1 else f"{of.wrong:,} are"
            why = "Appearance alone does not decide" if of.tested >= ENOUGH else f"Too few tested {noun}s to be sure"
            if of.groups and of.tested >= 2 * of.groups:
                why = f"{noun.capitalize()}s of {count(of.groups, of.group)} do not decide"
            images = count(of.tested, f"tested {noun}")
            return f"{why}: of {images}{of_groups} like these, {wrong} wrong{of.compared}."
        rate = rate_text(of.rate)
        if self.verdict == "more":
            return (
                f"Fails more often than expected: {rate} of {of.tested:,} tested {noun}s like these"
                f"{of_groups} are wrong ({of.interval}){of.compared}."
            )
        less = "fails on them less often" if self.verdict == "less" else "does not clearly fail on them more often"
        return f"These {noun}s look alike, but the network {less} than expected ({rate}{of.compared})."


# Of `rcc_rates.csv`
COLUMNS = (
    "rcc", "tested", "wrong", "rate", "low", "high", "expected", "expected_low", "expected_high", "excess",
    "excess_low", "excess_high", "elsewhere", "p", "verdict", "groups", "group",
)  # fmt: skip


# --- Regions ----------------------------------------------------------------------------------------------------


def nearest_failing(failing: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other failing image of each tested image, which says in whose region it may lie (see `regions`).

    Ties are broken by the order of the failing images.

    Parameters
    ----------
    failing : ndarray of shape (n_failing, n_components), float
        `RootCauseClusters.points`.
    right : ndarray of shape (n_right, n_components), float
        Images that the DNN gets right, projected by `RootCauseClusters.projection`.

    Returns
    -------
    of_failing : ndarray of shape (n_failing,), int
        Rows of `failing`; −1 if there is no other.
    of_right : ndarray of shape (n_right,), int
    """
    if not len(failing):
        return np.full(0, -1), np.full(len(right), -1)
    points = Points(failing)
    of_right = points.nearest_to(right)[0]
    return points.nearest(1)[0][:, 0] if len(failing) > 1 else np.full(1, -1), of_right


class Placed(NamedTuple):
    """Images as points.

    Attributes
    ----------
    points : ndarray of shape (n_images, n_components), float
    classes : ndarray of shape (n_images,), int
        Images are only compared with others of their class.
    units : ndarray of shape (n_images,), int
        And not with those of their unit, such as a person.
    """

    points: np.ndarray
    classes: np.ndarray
    units: np.ndarray


def among_failing(images: Placed, tested: Placed, wrong: np.ndarray) -> np.ndarray:
    """Which images lie in any region: `FAILING` of the `NEAREST` tested images of their class around them fail.

    Of fewer as large a share; where there are none, nothing keeps an image out. Nor does it where hardly any failing
    image lies among others: a projection that is fitted to few images has directions of each one's own, in which all
    right images lie between them.

    Parameters
    ----------
    wrong : ndarray of shape (n_tested,), bool

    Returns
    -------
    ndarray of shape (n_images,), bool
    """
    among = _fail_around(tested, tested, wrong)
    if np.count_nonzero(among & wrong) < LEAST_AMONG * np.count_nonzero(wrong):
        return np.ones(len(images.points), bool)
    return among if images is tested else _fail_around(images, tested, wrong)


def _fail_around(images: Placed, tested: Placed, wrong: np.ndarray) -> np.ndarray:
    # Imported here so that the page starts faster.
    from sklearn.neighbors import NearestNeighbors

    found = np.ones(len(images.points), bool)
    for name in np.intersect1d(images.classes, tested.classes).tolist():
        rows, there = (np.flatnonzero(of.classes == name) for of in (images, tested))
        together = int(np.unique(tested.units[there], return_counts=True)[1].max())
        search = NearestNeighbors(n_neighbors=min(NEAREST + together, len(there)), algorithm="brute")
        near = there[search.fit(tested.points[there]).kneighbors(images.points[rows], return_distance=False)]
        others = tested.units[near] != images.units[rows][:, None]
        others &= np.cumsum(others, axis=1) <= NEAREST
        found[rows] = NEAREST * (others & wrong[near]).sum(axis=1) >= FAILING * others.sum(axis=1)
    return found


def regions(nearest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The RCC in whose region each tested image lies: that of its nearest other failing image.

    Parameters
    ----------
    nearest : ndarray of shape (n_images,), int
        Of `nearest_failing`; −1 for images that are not `among_failing`.
    labels : ndarray of shape (n_failing,), int
        RCCs of the failing images; `NOISE` if in none.

    Returns
    -------
    ndarray of shape (n_images,), int
        `NOISE` if in no region: the nearest other failing image is in no RCC, or none counts.
    """
    return np.append(labels, NOISE)[nearest]  # −1 is the last


# --- Rates ------------------------------------------------------------------------------------------------------


def failure_rates(
    of_failing: np.ndarray,
    of_right: np.ndarray,
    n_rccs: int,
    *,
    labels: np.ndarray,
    groups: Groups | None = None,
    classes: np.ndarray | None = None,
    spots: np.ndarray | None = None,
    others: Sequence[Collection[int]] = (),
    whole: Collection[int] = (),
) -> tuple[Rate, ...]:
    """The error rate of each RCC, and whether it differs from the rate that is expected of its images without it.

    The interval extends from the lower end of Clopper and Pearson's for the wrong images that are evidence (see the top
    of this module) to the upper end for all that are counted.

    Fisher's exact test, within classes that of Mantel and Haenszel, with the correction of Holm: if right and wrong are
    independent of the regions, the probability that any RCC is said to fail more often is at most 5 %, and the same
    holds for less often.

    Parameters
    ----------
    of_failing, of_right : ndarray of shape (n_failing,) and (n_right,), int
        Result of `regions`. If the right images are only a random part of all of them, leave out as large a part of the
        failing ones, here and in `labels`: otherwise rates are too high.
    n_rccs : int
    labels : ndarray of shape (n_failing,), int
        As for `regions`.
    groups : Groups, optional
        Of the failing images, then of the right ones. An RCC must then also differ in comparison of groups, or within
        groups, unless nearly all of its images are of one: it stands for that group.
    classes : ndarray of shape (n_failing + n_right,), int, optional
        From 0, of the failing images, then of the right ones.
    spots : ndarray of shape (n_spots, n_failing + n_right), bool, optional
        For which images each weak spot holds.
    others : sequence of collections of int, optional
        For each RCC, the weak spots that are other reasons: it is compared with images for which the same of them hold.
    whole : collection of int
        RCCs that are a class: they are compared with images of all classes.

    Returns
    -------
    tuple of Rate
        One per RCC, in order.
    """
    of_all = np.concatenate([of_failing, of_right])
    images, wrong = len(of_all), np.arange(len(of_all)) < len(of_failing)
    n_wrong, n_right, own = (_per_rcc(of, n_rccs) for of in (of_failing, of_right, labels[of_failing == labels]))
    evidence_of = np.maximum(own - DEFINING, 0)
    share, n_groups, one = np.ones(n_rccs), np.zeros(n_rccs, int), np.zeros(n_rccs, bool)
    if groups:
        share, n_groups, one = _of_groups(groups, of_all, labels, n_rccs)
    low, _ = clopper_pearson(share * evidence_of, share * (evidence_of + n_right))
    _, high = clopper_pearson(share * n_wrong, share * (n_wrong + n_right))
    in_region = of_all == np.arange(n_rccs)[:, None]
    holds, baselines = in_region if spots is None else np.concatenate([in_region, spots]), []
    for rcc in range(n_rccs):
        reasons = tuple(n_rccs + spot for spot in sorted(others[rcc])) if others else ()
        baselines.append(Baseline(reasons, (rcc,), rcc not in whole, bool(one[rcc])))
    expected = expected_rates(holds, wrong, baselines, classes, groups.of if groups else None)
    rates, tails = [], np.ones((2, n_rccs))
    for rcc, (here, without) in enumerate(zip(in_region, expected, strict=True)):
        tested, failing = int(here.sum()), int(n_wrong[rcc])
        of = groups.of if groups and not without.independent else None
        evident = here.copy()
        evident[: len(labels)] &= labels == rcc
        defining = np.flatnonzero(evident & wrong)[:DEFINING]
        if len(defining) < DEFINING:
            defining = np.r_[defining, np.flatnonzero(wrong & ~evident)][:DEFINING]
        evidence = np.ones(images, bool)
        evidence[defining] = False
        tails[0, rcc] = chance_of(wrong, evident, evidence, without.strata, of)
        tails[1, rcc] = chance_of(~wrong, here, np.ones(images, bool), without.strata, of)
        elsewhere = (len(of_failing) - failing) / (images - tested) if tested < images else math.nan
        limits, units = (float(low[rcc]), float(high[rcc])), (int(n_groups[rcc]), groups.name if groups else "")
        figures = Figures(tested, failing, *limits, *units, worth=float(share[rcc]))
        figures = compared_with(figures, without, left=failing - min(DEFINING, failing))
        rates.append(Rate(rcc, figures, elsewhere, ""))
    p = np.minimum(*map(corrected, tails)).tolist()
    rates = [rate._replace(figures=rate.figures._replace(p=p[rate.rcc])) for rate in rates]
    return tuple(rate._replace(verdict=_verdict(rate.figures)) for rate in rates)


def _per_rcc(regions: np.ndarray, n_rccs: int) -> np.ndarray:
    return np.bincount(regions[regions != NOISE], minlength=n_rccs)


def _of_groups(
    groups: Groups, regions: np.ndarray, labels: np.ndarray, n_rccs: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What share of independent images those in each region are worth, their groups, and whether nearly all images of
    the RCC are of one."""
    held = _per_group(groups.of, regions, n_rccs)
    own = _per_group(groups.of, labels, n_rccs)
    one = own.max(axis=1, initial=0) >= OF_ONE * np.maximum(own.sum(axis=1), 1)
    correlation = tally(groups.of, np.arange(len(regions)) < len(labels)).correlation
    failing = _per_group(groups.of, regions[: len(labels)], n_rccs)
    share = np.where(one, 1.0, effective_share(held, failing, correlation))
    return share, np.where(one, 1, (held > 0).sum(axis=1)), one


def _per_group(of: np.ndarray, rccs: np.ndarray, n_rccs: int) -> np.ndarray:
    """Images of each group in each RCC, shape (n_rccs, n_groups)."""
    held = np.zeros((n_rccs, int(of.max(initial=-1)) + 1), np.int64)
    np.add.at(held, (rccs[rccs != NOISE], of[: len(rccs)][rccs != NOISE]), 1)
    return held


def _verdict(of: Figures) -> str:
    if of.p < LEVEL:
        return "more" if of.rate > of.expected else "less"
    if not of.tested or math.isnan(of.expected) or of.high >= _matters(of.expected):
        return "too few"
    return "as often"


def _matters(expected: float) -> float:
    """The least rate that an engineer should hear of: twice the expected one, or half as many right images."""
    return min(2 * expected, (1 + expected) / 2)


def by_excess(groups: Sequence[int], rates: Mapping[int, Rate]) -> list[int]:
    """RCCs by the failures in excess, the most first; of equal ones as given.

    Parameters
    ----------
    groups : sequence of int
        As of `RootCauseClusters.groups`; `NOISE` stays last.
    """
    excess = {rcc: rate.figures.excess for rcc, rate in rates.items() if not math.isnan(rate.figures.excess)}
    return sorted(groups, key=lambda rcc: (rcc == NOISE, -excess.get(rcc, 0.0)))


# --- The file ---------------------------------------------------------------------------------------------------


def rates_text(rates: Iterable[Rate]) -> str:
    """`rcc_rates.csv`: a row per RCC; undefined values are empty."""
    known = (rate.figures.cells | rate._asdict() for rate in rates)
    return table_text(COLUMNS, ([each[name] for name in COLUMNS] for each in known))
