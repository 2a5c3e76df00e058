"""Step 2 of SAFE, if the test set is known: how often the DNN fails on images like those of each RCC.

A cluster of failing images may only show what images look like. Whether it is a reason for failing is told by the
images that look the same and that the DNN gets *right*. A tested image lies in the region of an RCC if the nearest
failing image is one of that RCC, and the *rate* is the share of wrong images among the tested images in the region. It
is not the share of failures that the RCC explains, nor a probability for an image that was not drawn like the test set;
images of one scene count as if they were independent.

The rate must not be high only because the region was drawn around wrong images. If right and wrong were dealt out at
random, it would have to be that of the whole test set. Therefore, wrong and right images are treated alike:

1. A wrong image is placed by the *other* failing images (leave one out).
2. The points are those of a projection that is fitted to a random part of the tested images (`fair_points`). That of
   the clustering is fitted to the wrong images, which makes all of them lie farther from each other than right images
   lie from them.
3. How far a region reaches is counted in tested images, not measured as a distance between wrong ones.

Features in, `rcc_rates.csv` out.

Sources: Clopper & Pearson, Biometrika 26(4), 1934 (the interval); Fisher, J. R. Stat. Soc. 98(1), 1935 (the exact
test); Holm, Scand. J. Stat. 6(2), 1979 (the correction for the number of RCCs).
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dbscan.neighbours import Points
from dbscan.outcome import NOISE
from dbscan.projection import fit_projection
from dbscan.set_aside import Nuisance
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.run_folder import RATES_FILE
from support.text import count

FITTED = 512  # tested images to which the projection is fitted
EXPECTED = 3  # wrong images among the nearest tested images in which the nearest wrong one is searched for
MOST_NEAREST = 200  # of these tested images, if wrong images are rare
LEVEL = 0.05  # of the tests, and what the intervals leave out
VERDICTS = ("more", "as often", "less", "too few")


class Rate(NamedTuple):
    """How often the DNN fails in the region of an RCC; a row of `rcc_rates.csv`.

    Attributes
    ----------
    tested, wrong : int
        Tested images in the region, and those of them that the DNN gets wrong. Images of the RCC are not counted where
        the nearest of the other failing images is not in the RCC.
    low, high : float
        95 % interval of the rate.
    elsewhere : float
        Rate among the tested images that are neither in this region nor in that of an RCC with the verdict "more".
        NaN if there are none.
    p : float
        How likely a difference like that to `elsewhere` is by chance, corrected for the number of RCCs; at most 1.
    verdict : one of VERDICTS
        "too few" if a rate that would matter (see `_matters`) can neither be confirmed nor excluded.
    """

    rcc: int
    tested: int
    wrong: int
    low: float
    high: float
    elsewhere: float
    p: float
    verdict: str

    @property
    def rate(self) -> float:
        """Share of wrong images among the tested ones in the region; NaN if there are none."""
        return self.wrong / self.tested if self.tested else math.nan

    @property
    def excess(self) -> float:
        """Wrong images beyond those that the rate elsewhere would give; 0 if it is unknown."""
        return 0.0 if math.isnan(self.elsewhere) else self.wrong - self.tested * self.elsewhere

    @property
    def text(self) -> str:
        """One sentence."""
        if not self.tested:
            return "No other tested image looks like these: nothing to compare."
        elsewhere = "" if math.isnan(self.elsewhere) else f", elsewhere {_percent(self.elsewhere)}"
        if self.verdict == "too few":
            wrong = "none is" if not self.wrong else "1 is" if self.wrong == 1 else f"{self.wrong:,} are"
            images = count(self.tested, "tested image")
            return f"Too few tested images to compare: of {images} like these, {wrong} wrong{elsewhere}."
        if self.verdict == "as often":
            return (
                "These images look alike, but the network does not fail on them more often than on others "
                f"({_percent(self.rate)}{elsewhere})."
            )
        interval = f"{_percent(self.low)[:-1]}–{_percent(self.high)}"
        return (
            f"Fails {self.verdict} often than elsewhere: {_percent(self.rate)} of {self.tested:,} tested images like "
            f"these are wrong ({interval}){elsewhere}."
        )


COLUMNS = ("rcc", "tested", "wrong", "rate", "low", "high", "elsewhere", "p", "verdict")  # of `rcc_rates.csv`


def _percent(share: float) -> str:
    # 99.7 % must not be rounded to all images, nor .3 % to none.
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{math.floor(1000 * share) / 10 if share > 0.5 else math.ceil(1000 * share) / 10}%"
    return f"{round(100 * share)}%"


# --- Regions ----------------------------------------------------------------------------------------------------


def fair_points(
    failing: np.ndarray, right: np.ndarray, extractor: str, *, nuisance: Nuisance | None = None, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Project the features of all tested images so that wrong and right ones are treated alike.

    The projection is fitted to `FITTED` of them, drawn at random.

    Parameters
    ----------
    failing : ndarray of shape (n_failing, dimension), float32
    right : ndarray of shape (n_right, dimension), float32
    extractor : str
        Name of their extractor.
    nuisance : Nuisance, optional
        What is set aside from the features of these images, failing ones first.

    Returns
    -------
    failing : ndarray of shape (n_failing, n_components), float32
    right : ndarray of shape (n_right, n_components), float32

    Raises
    ------
    SAFEError
        Features are NaN or infinite.
    """
    n_tested = len(failing) + len(right)
    drawn = np.sort(np.random.default_rng(seed).permutation(n_tested)[:FITTED])
    of_failing, of_right = drawn[drawn < len(failing)], drawn[drawn >= len(failing)] - len(failing)
    of_drawn, of_all_failing, of_all_right = (
        nuisance.taken(rows) if nuisance else None
        for rows in (drawn, slice(len(failing)), slice(len(failing), n_tested))
    )
    projection = fit_projection(np.concatenate([failing[of_failing], right[of_right]]), extractor, nuisance=of_drawn)
    return projection.apply(failing, nuisance=of_all_failing), projection.apply(right, nuisance=of_all_right)


def nearest_failing(failing: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other failing image of each tested image, which says in whose region it lies (see `regions`).

    It is searched for among so many of the nearest tested images that `EXPECTED` of them would be wrong if wrong images
    were everywhere as frequent.

    Parameters
    ----------
    failing : ndarray of shape (n_failing, n_components), float
        Points of `fair_points`; those of `RootCauseClusters.points` would make rates too low.
    right : ndarray of shape (n_right, n_components), float
        Points of images that the DNN gets right.

    Returns
    -------
    of_failing : ndarray of shape (n_failing,), int
        Rows of `failing`; −1 if none of the nearest tested images fails.
    of_right : ndarray of shape (n_right,), int
    """
    points = np.concatenate([failing, right])
    n, n_failing = len(points), len(failing)
    if n < 2 or not n_failing:
        return np.full(n_failing, -1), np.full(n - n_failing, -1)
    n_nearest = min(math.ceil(EXPECTED * n / n_failing), MOST_NEAREST, n - 1)
    nearest, _ = Points(points).nearest(n_nearest)  # (n, n_nearest)
    is_wrong = nearest < n_failing
    first = nearest[np.arange(n), is_wrong.argmax(axis=1)]
    found = np.where(is_wrong.any(axis=1), first, -1)
    return found[:n_failing], found[n_failing:]


def regions(nearest: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The RCC in whose region each tested image lies: that of its nearest other failing image.

    Parameters
    ----------
    nearest : ndarray of shape (n_images,), int
        Of `nearest_failing`.
    labels : ndarray of shape (n_failing,), int
        RCCs of the failing images; `NOISE` if in none.

    Returns
    -------
    ndarray of shape (n_images,), int
        `NOISE` if in no region.
    """
    if not len(labels):
        return np.full(len(nearest), NOISE)
    return np.where(nearest >= 0, labels[np.maximum(nearest, 0)], NOISE)


# --- Rates ------------------------------------------------------------------------------------------------------


def failure_rates(of_failing: np.ndarray, of_right: np.ndarray, n_rccs: int) -> tuple[Rate, ...]:
    """The failure rate of each RCC, and whether it differs from the rate elsewhere.

    The RCC that most clearly fails more often than the rest of the test set is compared first. If it does, its region
    no longer belongs to what the others are compared with, since otherwise a few reasons that explain most failures
    would hide the smaller ones. This is repeated until no RCC is left that fails more often. Fisher's exact test, two
    sided, with the correction of Holm: if right and wrong are independent of the regions, the first step finds an RCC
    with a probability of at most 5 %.

    Parameters
    ----------
    of_failing, of_right : ndarray of shape (n_failing,) and (n_right,), int
        Result of `regions`. If the right images are a random part of all, so must the failing ones be.
    n_rccs : int

    Returns
    -------
    tuple of Rate
        One per RCC, in order.
    """
    wrong = np.bincount(of_failing[of_failing != NOISE], minlength=n_rccs)
    tested = wrong + np.bincount(of_right[of_right != NOISE], minlength=n_rccs)
    rest = np.array([len(of_failing) + len(of_right), len(of_failing)])  # images, wrong ones
    p = np.ones(n_rccs)
    others = list(range(n_rccs))
    so_far = 0.0  # Holm: no corrected p is below that of an earlier step
    while others:
        p[others] = _two_sided(wrong[others], tested[others], rest, more=True) * len(others)
        first = min(others, key=lambda rcc: p[rcc])
        if p[first] >= LEVEL:
            break
        so_far = p[first] = max(so_far, p[first])
        others.remove(first)
        rest -= tested[first], wrong[first]
    p[others] = _two_sided(wrong[others], tested[others], rest) * len(others)
    low, high = clopper_pearson(wrong, tested)
    rates = []
    for rcc in range(n_rccs):
        left = rest - (tested[rcc], wrong[rcc]) if rcc in others else rest
        elsewhere = left[1] / left[0] if left[0] else math.nan
        rate = Rate(
            rcc, int(tested[rcc]), int(wrong[rcc]), float(low[rcc]), float(high[rcc]), float(elsewhere),
            min(float(p[rcc]), 1.0), "more",
        )  # fmt: skip
        rates.append(rate if rcc not in others else rate._replace(verdict=_verdict(rate)))
    return tuple(rates)


def _two_sided(wrong: np.ndarray, tested: np.ndarray, rest: np.ndarray, *, more: bool = False) -> np.ndarray:
    """p of Fisher's exact test for regions that are part of `rest`: twice the smaller tail, or the one of `more`."""
    from scipy.stats import hypergeom  # type: ignore[attr-defined]

    images, all_wrong = rest.tolist()
    upper = hypergeom.sf(wrong - 1, images, all_wrong, tested)
    tail = upper if more else np.minimum(upper, hypergeom.cdf(wrong, images, all_wrong, tested))
    return np.minimum(2 * tail, 1)


def clopper_pearson(wrong: np.ndarray, tested: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Exact 95 % interval of a rate; 0 to 1 if nothing was tested.

    Parameters
    ----------
    wrong, tested : ndarray of shape (n,), int

    Returns
    -------
    low, high : ndarray of shape (n,), float64
    """
    from scipy.special import betaincinv

    right = tested - wrong
    low = betaincinv(np.maximum(wrong, 1), right + 1, LEVEL / 2)
    high = betaincinv(wrong + 1, np.maximum(right, 1), 1 - LEVEL / 2)
    return np.where(wrong > 0, low, 0.0), np.where(right > 0, high, 1.0)


def _verdict(rate: Rate) -> str:
    """The verdict on an RCC that does not fail more often, as far as can be said."""
    if rate.p < LEVEL and rate.rate < rate.elsewhere:
        return "less"
    if not rate.tested or math.isnan(rate.elsewhere) or rate.high >= _matters(rate.elsewhere):
        return "too few"
    return "as often"


def _matters(elsewhere: float) -> float:
    """The least rate that an engineer should hear of: twice that elsewhere, or half as many right images."""
    return min(2 * elsewhere, (1 + elsewhere) / 2)


def by_excess(groups: Sequence[int], rates: Mapping[int, Rate]) -> list[int]:
    """RCCs by the failures above what would be expected, the most first; of equal ones, and without rates, as given.

    Parameters
    ----------
    groups : sequence of int
        As of `RootCauseClusters.groups`; `NOISE` stays last.
    """
    return sorted(groups, key=lambda rcc: (rcc == NOISE, -rates[rcc].excess if rcc in rates else 0.0))


# --- The file ---------------------------------------------------------------------------------------------------


def rates_text(rates: Iterable[Rate]) -> str:
    """`rcc_rates.csv`: a row per RCC; undefined values are empty."""
    table = io.StringIO()
    writer = csv.DictWriter(table, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for rate in rates:
        row = {**rate._asdict(), "rate": rate.rate}
        # NaN differs from itself.
        writer.writerow({name: "" if value != value else value for name, value in row.items()})
    return table.getvalue()


def load_rates(folder: Path) -> tuple[Rate, ...]:
    """Read `rcc_rates.csv`; empty if there is none.

    Raises
    ------
    SAFEError
        The table is damaged.
    """
    path = folder / RATES_FILE
    try:
        with regular(path).open(encoding="utf-8", newline="") as file:
            return tuple(_from_row(row, rcc) for rcc, row in enumerate(csv.DictReader(file, strict=True)))
    except FileNotFoundError:
        return ()
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). Generate the clusters again.") from error


def _from_row(row: dict[str, Any], rcc: int) -> Rate:
    rate = Rate(
        int(row["rcc"]), int(row["tested"]), int(row["wrong"]), float(row["low"]), float(row["high"]),
        float(row["elsewhere"] or "nan"), float(row["p"]), row["verdict"],
    )  # fmt: skip
    shares = (rate.low, rate.high, rate.p, *([] if math.isnan(rate.elsewhere) else [rate.elsewhere]))
    if rate.rcc != rcc or not 0 <= rate.wrong <= rate.tested or not all(0 <= share <= 1 for share in shares):
        raise ValueError(f"invalid numbers of RCC {rcc}")
    if rate.verdict not in VERDICTS:
        raise ValueError(f"unknown verdict {rate.verdict!r} of RCC {rcc}")
    return rate
