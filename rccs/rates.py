"""Step 2 of SAFE, if the test set is known: how often the DNN fails on images like those of each RCC.

A cluster of failing images may only show what images look like. Whether it is a reason for failing is told by the
images that look the same and that the DNN gets *right*. A tested image lies in the region of an RCC if, of all failing
images, the nearest one is in that RCC, and the *rate* of the RCC is the share of wrong images among the tested images
in its region. It is neither the share of the failures that the RCC explains nor the probability that an image of the
RCC is wrong (they all are), and images of one scene count as if they were independent.

The rate must not be high only because regions are drawn around wrong images: if right and wrong are dealt out at
random, it has to be that of the whole test set. Therefore:

- A wrong image is placed by the *other* failing images (leave one out).
- An RCC exists only because a few wrong images happen to lie together, and a small one because of each of them.
  Therefore, the lower end of the interval and the test for "more" count only images of the RCC that the others place in
  it, and `DEFINING` fewer of them: the rest is evidence.
- There is no limit on the distance. The projection is fitted to the failing images, and they lie farther from each
  other than right images lie from them, so any limit would keep out more wrong images than right ones. And images far
  from all failing ones are mostly right: without them, nearly every region would seem to fail often.

Points in, `rcc_rates.csv` out. What was tried: docs/decisions/030-failure-rates.md.

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
from rccs.intervals import clopper_pearson
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.run_folder import RATES_FILE
from support.text import count

DEFINING = 2  # wrong images of an RCC that are no evidence: a core point needs two others, see `dbscan.tuning`
LEVEL = 0.05  # of the tests
ENOUGH = 200  # tested images: if a verdict is not possible with these, they look like much of the test set
LEAST_REST = 0.5  # of the tested images, with which RCCs are compared
VERDICTS = ("more", "as often", "less", "too few")


class Rate(NamedTuple):
    """How often the DNN fails in the region of an RCC; a row of `rcc_rates.csv`.

    Attributes
    ----------
    tested, wrong : int
        Tested images in the region, and those of them that the DNN gets wrong. An image of the RCC is not counted if
        the nearest other failing image is not in the RCC, and images of other RCCs may be.
    low, high : float
        Interval that holds the rate of images like these with a probability of at least 95 % (see `failure_rates`).
    elsewhere : float
        Rate among the tested images outside of this region, without the regions that `failure_rates` leaves out, which
        fail more often. NaN if there are none.
    p : float
        How likely a difference like that is by chance, in its direction, corrected for the number of RCCs; at most 1.
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
            why = "Too few tested images to be sure" if self.tested < ENOUGH else "Looks alone do not tell"
            return f"{why}: of {images} like these, {wrong} wrong{elsewhere}."
        if self.verdict == "more":
            interval = f"{_percent(self.low)[:-1]}–{_percent(self.high)}"
            return (
                f"Fails more often than elsewhere: {_percent(self.rate)} of {self.tested:,} tested images like these "
                f"are wrong ({interval}){elsewhere}."
            )
        less = "fails on them less often" if self.verdict == "less" else "does not fail on them more often"
        return f"These images look alike, but the network {less} than on others ({_percent(self.rate)}{elsewhere})."


COLUMNS = ("rcc", "tested", "wrong", "rate", "low", "high", "elsewhere", "p", "verdict")  # of `rcc_rates.csv`


def _percent(share: float) -> str:
    # 99.7 % must not be rounded to all images, nor .3 % to none.
    if 0 < share < 0.01 or 0.99 < share < 1:
        return f"{math.floor(1000 * share) / 10 if share > 0.5 else math.ceil(1000 * share) / 10}%"
    return f"{round(100 * share)}%"


# --- Regions ----------------------------------------------------------------------------------------------------


def nearest_failing(failing: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest other failing image of each tested image, which says in whose region it lies (see `regions`).

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
        `NOISE` if in no region: the nearest other failing image is in no RCC, or there is none.
    """
    if not len(labels):
        return np.full(len(nearest), NOISE)
    return np.where(nearest >= 0, labels[np.maximum(nearest, 0)], NOISE)


# --- Rates ------------------------------------------------------------------------------------------------------


class _Counts(NamedTuple):
    """Images in each region, ndarrays of shape (n_rccs,), int.

    Attributes
    ----------
    tested, wrong : as in `Rate`
    evident_tested, evident : the same without wrong images that are no evidence of a high rate
    """

    tested: np.ndarray
    wrong: np.ndarray
    evident_tested: np.ndarray
    evident: np.ndarray


def failure_rates(of_failing: np.ndarray, of_right: np.ndarray, n_rccs: int, *, labels: np.ndarray) -> tuple[Rate, ...]:
    """The failure rate of each RCC, and whether it differs from the rate elsewhere.

    The interval extends from the lower end of Clopper and Pearson's for the wrong images that are evidence (see the top
    of this module) to the upper end for all that are counted.

    The RCC that most clearly fails more often than the other tested images is taken first, and what the others are
    compared with no longer includes its region: a few reasons that explain most failures must not hide the smaller
    ones. This is repeated as long as an RCC fails more often and half of the tested images remain to compare with.

    Fisher's exact test with the correction of Holm: if right and wrong are independent of the regions, the probability
    that any RCC is said to fail more often is at most 5 %, and the same holds for less often.

    Parameters
    ----------
    of_failing, of_right : ndarray of shape (n_failing,) and (n_right,), int
        Result of `regions`. If the right images are only a random part of all of them, leave out as large a part of the
        failing ones, here and in `labels`: otherwise rates are too high.
    n_rccs : int
    labels : ndarray of shape (n_failing,), int
        As for `regions`.

    Returns
    -------
    tuple of Rate
        One per RCC, in order.
    """
    counts = _count(of_failing, of_right, n_rccs, labels)
    rest = np.array([len(of_failing) + len(of_right), len(of_failing)])  # images to compare with, wrong ones
    least = LEAST_REST * rest[0]
    p = np.ones(n_rccs)
    others = list(range(n_rccs))
    so_far = 0.0  # Holm: no corrected p is below that of an earlier step
    while others:
        more, less = _tails(_Counts(*(column[others] for column in counts)), rest)
        p[others] = np.maximum(np.minimum(more, less) * len(others), so_far)
        clearest = int(np.argmin(more))
        rcc = others[clearest]
        if more[clearest] > less[clearest] or p[rcc] >= LEVEL or rest[0] - counts.tested[rcc] < least:
            break
        so_far = p[rcc]
        others.remove(rcc)
        rest -= counts.tested[rcc], counts.wrong[rcc]
    low, _ = clopper_pearson(counts.evident, counts.evident_tested)
    _, high = clopper_pearson(counts.wrong, counts.tested)
    rates = []
    for rcc in range(n_rccs):
        tested, wrong = int(counts.tested[rcc]), int(counts.wrong[rcc])
        left = rest - (tested, wrong) if rcc in others else rest
        elsewhere = float(left[1] / left[0]) if left[0] else math.nan
        rate = Rate(rcc, tested, wrong, float(low[rcc]), float(high[rcc]), elsewhere, min(float(p[rcc]), 1.0), "")
        rates.append(rate._replace(verdict=_verdict(rate)))
    return tuple(rates)


def _count(of_failing: np.ndarray, of_right: np.ndarray, n_rccs: int, labels: np.ndarray) -> _Counts:
    def per_rcc(regions: np.ndarray) -> np.ndarray:
        return np.bincount(regions[regions != NOISE], minlength=n_rccs)

    wrong, right, own = per_rcc(of_failing), per_rcc(of_right), per_rcc(labels[of_failing == labels])
    evident = np.maximum(own - DEFINING, 0)
    return _Counts(wrong + right, wrong, evident + right, evident)


def _tails(counts: _Counts, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of at least, and of at most, so many wrong images in regions that are part of the `rest`."""
    from scipy.stats import hypergeom  # type: ignore[attr-defined]

    images, wrong = rest.tolist()
    missing = min(DEFINING, wrong)
    more = hypergeom.sf(counts.evident - 1, images - missing, wrong - missing, counts.evident_tested)
    return more, hypergeom.cdf(counts.wrong, images, wrong, counts.tested)


def _verdict(rate: Rate) -> str:
    if rate.p < LEVEL:
        return "more" if rate.rate > rate.elsewhere else "less"
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
