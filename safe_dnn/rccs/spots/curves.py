"""A rate over its range: how often the DNN fails by each number or category that is known of the images.

A weak spot says where the DNN fails more often; the curve shows where that begins and ends, and what the rate is
elsewhere. A number is cut into bins of about equally many images, at round values, whatever is wrong in them. Thus, and
since no bin is chosen for its rate, the intervals need no correction. What is known of every tested image in; bins with
their counts, and `rates.csv`, out.

Values of a category differ in more than the category: of one, the images are of other classes, or other reasons hold
for them. So each has the rate that is expected of its images if they were like those of the other values, of the same
class and with the same reasons (see `expected.py`), and how likely its difference is by chance: by the test of Mantel
and Haenszel, with Holm's correction for all values.
"""

import csv
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.parameters import MOST_CATEGORIES
from safe_dnn.rccs.spots.conditions import (
    LEAST_TESTED,
    Conditions,
    are_known,
    hold,
    of_classes,
    round_cuts,
    roundest,
)
from safe_dnn.rccs.spots.expected import Expected, FailureModel
from safe_dnn.rccs.spots.figures import Groups, chance_of, corrected, grouping, share_of
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.tables import from_cell, table_text
from safe_dnn.support.text import rate_text

CURVES_FILE = "rates.csv"

COLUMNS = (
    "column", "class", "value", "low", "middle", "high", "tested", "wrong", "rate", "rate_low", "rate_high", "below",
    "least", "most", "expected", "p",
)  # fmt: skip
MOST_BINS = 12
LEAST_IN_BIN = 30  # images; of fewer than four times as many, a quarter
MOST_CLASSES = 4  # curves that can be told apart in one drawing
LEVEL = 0.05  # chance that classes have curves of their own for no reason, in any column; or that a value differs
MOST_CUT = 100_000  # images; of more, as many say where bins end


class Bin(NamedTuple):
    """A range of a number, or a value of a category, and how often the DNN fails there; a row of `rates.csv`.

    Attributes
    ----------
    column : str
    of_class : str
        Images of this class alone; empty of all images.
    value : str
        Of a category; empty of a number.
    low, middle, high : float
        Of a number: the range, its upper end left out, and the median of the images in it. The first range begins at
        the smallest value; the last ends at the largest, which is in it. NaN of a category.
    tested, wrong : int
        Images, and those of them that the DNN gets wrong.
    rate_low, rate_high : float
        95 % interval of the rate (see `figures.share_of`).
    below : float
        The share of the images of this curve that are in this range or a lower one; NaN of a category.
    least, most : float
        The smallest and the largest value of an image in the range, of whatever class; NaN of a category.
    expected : float
        Of a category, the rate of the same images if they were like those of other values; NaN if it is not known.
    p : float
        How likely the rate is as far from the expected one by chance, corrected for all values; 1 if not compared.
    """

    column: str
    of_class: str
    value: str
    low: float
    middle: float
    high: float
    tested: int
    wrong: int
    rate_low: float
    rate_high: float
    below: float
    least: float = math.nan
    most: float = math.nan
    expected: float = math.nan
    p: float = 1.0

    @property
    def rate(self) -> float:
        """Share of wrong images."""
        return self.wrong / self.tested

    @property
    def differs(self) -> bool:
        """Whether its rate is another than the expected one, beyond chance."""
        return self.p < LEVEL

    @property
    def compared(self) -> str:
        """For example `; 47% expected, beyond chance`; empty if that is not known."""
        if math.isnan(self.expected):
            return ""
        return f"; {rate_text(self.expected)} expected{', beyond chance' if self.differs else ''}"

    @property
    def place(self) -> str | float:
        """What the bins of other classes at the same place have, too."""
        return self.value or self.low


class _Parts(NamedTuple):
    """The part of each image, −1 if unknown, and what the parts are: values, or ranges with their medians and the
    smallest and the largest value in them."""

    of: np.ndarray
    values: Sequence[str] = ()
    ranges: Sequence[tuple[float, float, float]] = ()
    extents: Sequence[tuple[float, float]] = ()


def find_curves(
    columns: Mapping[str, np.ndarray], wrong: np.ndarray, *, label: str = "", groups: Groups | None = None,
    reasons: Sequence[Conditions] = (),
) -> tuple[Bin, ...]:  # fmt: skip
    """How often the DNN fails over the range of each column; nothing of one that is constant, or of many classes.

    Two to `MOST_CLASSES` classes have bins of their own, after those of all images, where they differ: if the failures
    of a bin are not spread over its classes as its images are, beyond chance (see `_differ`).

    Parameters
    ----------
    columns, wrong, label, groups
        As for `weak_spots.find_weak_spots`.
    reasons : sequence of conjunctions
        Those that hold beyond chance, given which values of categories are compared.
    """
    wrong = np.asarray(wrong, bool)
    strata = _Strata(columns, wrong, label, groups, [each for each in reasons if not of_classes(each, label)])
    classes = _categories(columns[label]) if label in columns else None
    of, correlation = grouping(groups, wrong)
    grouped = of if groups else None
    kinds = {True: _ranges, False: _categories}
    parts = {name: kinds[c.dtype.kind in "fiub"](c) for name, c in columns.items() if name != label}
    drawn = {name: each for name, each in parts.items() if each}
    bins: list[Bin] = []
    for name, each in drawn.items():
        n = len(each.values or each.ranges)
        of_all = _bins(name, [""], each, _Counts.of(each.of, n, wrong, grouped, correlation))
        bins += strata.compared(of_all) if each.values else of_all
        if classes and len(classes.values) <= MOST_CLASSES:
            cells = np.where((each.of < 0) | (classes.of < 0), -1, classes.of * n + each.of)
            counts = _Counts.of(cells, n * len(classes.values), wrong, grouped, correlation)
            if _differ(counts, len(classes.values), LEVEL / len(drawn)):
                by_class = _bins(name, classes.values, each, counts)
                bins += strata.compared(by_class) if each.values else by_class
    if classes and len(classes.values) <= MOST_BINS:
        bins += _bins(label, [""], classes, _Counts.of(classes.of, len(classes.values), wrong, grouped, correlation))
    return tuple(bins)


class _Strata:
    """Images that are alike in class and reasons, to compare the values of categories with each other.

    Parameters
    ----------
    columns, wrong, label, groups, reasons
        As for `find_curves`.
    """

    def __init__(
        self, columns: Mapping[str, np.ndarray], wrong: np.ndarray, label: str, groups: Groups | None,
        reasons: Sequence[Conditions],
    ):  # fmt: skip
        self._columns, self._wrong, self._label, self._groups = columns, wrong, label, groups
        self._reasons = [each for each in reasons if are_known(each, columns)]
        self._classes = np.unique(columns[label], return_inverse=True)[1] if label in columns else None
        self._models = dict[tuple[Conditions, ...], FailureModel]()

    def compared(self, bins: Sequence[Bin]) -> list[Bin]:
        """The bins of a category with what is expected of each, if its values were alike."""
        column, found = bins[0].column, list[Bin]()
        # A reason that is about the category would take away what it is compared with
        others = tuple(each for each in self._reasons if all(literal.column != column for literal in each))
        if others not in self._models:
            holds = np.array([hold(each, self._columns, len(self._wrong)) for each in others], bool)
            holds = holds.reshape(len(others), len(self._wrong))
            of = self._groups.of if self._groups else None
            self._models[others] = FailureModel(holds, self._wrong, self._classes, of)
        for one in bins:
            holds = self._columns[column] == one.value
            if one.of_class:
                holds = holds & (self._columns[self._label] == one.of_class)
            expected = self._models[others].beside(holds)
            found.append(one._replace(expected=expected.rate, p=self._chance(holds, one, expected)))
        p = corrected(np.array([one.p for one in found])).tolist()
        return [one._replace(p=each) for one, each in zip(found, p, strict=True)]

    def _chance(self, holds: np.ndarray, one: Bin, expected: Expected) -> float:
        """How likely a rate is as far from the expected one, on its side, twice."""
        if math.isnan(expected.rate) or one.tested < LEAST_TESTED:
            return 1.0
        wrong = self._wrong if one.rate >= expected.rate else ~self._wrong
        groups = self._groups.of if self._groups else None
        return min(2 * chance_of(wrong, holds, np.ones(len(wrong), bool), expected.strata, groups), 1.0)


def _categories(column: np.ndarray) -> _Parts | None:
    """The most frequent values, the most frequent first; None if there is but one."""
    texts = column.tolist()
    often = Counter(texts)
    values = sorted((value for value in often if value), key=lambda value: (-often[value], value))[:MOST_CATEGORIES]
    number = dict.fromkeys(often, -1) | {value: at for at, value in enumerate(values)}
    return _Parts(np.fromiter(map(number.__getitem__, texts), int, len(texts)), values) if len(values) > 1 else None


def _ranges(column: np.ndarray) -> _Parts | None:
    """Ranges of a number; None if it is constant, or known of too few images."""
    known = np.sort(column[np.isfinite(column)].astype(float))
    if len(known) < 2 * LEAST_TESTED or known[0] == known[-1]:
        return None
    least = min(LEAST_IN_BIN, len(known) // 4)
    cuts = _cuts(known[:: -(-len(known) // MOST_CUT)])
    kept: list[tuple[float, int]] = []  # cuts, with the images before them
    for end, before in zip(cuts, np.searchsorted(known, cuts).tolist() if cuts else [], strict=True):
        if before - (kept[-1][1] if kept else 0) >= least and len(known) - before >= least:
            kept.append((end, before))
    if not kept:
        return None
    limits = [end for end, _ in kept]
    ends = [float(known[0]), *limits, float(known[-1])]
    parts = np.split(known, [before for _, before in kept])
    middles, extents = [float(np.median(each)) for each in parts], [(float(each[0]), float(each[-1])) for each in parts]
    of = np.where(np.isfinite(column), np.searchsorted(limits, column, side="right"), -1)
    return _Parts(of, ranges=list(zip(ends[:-1], middles, ends[1:], strict=True)), extents=extents)


def _cuts(known: np.ndarray) -> list[float]:
    """Where a sorted number may be cut: on both sides of a value of many images, such as 0, and elsewhere evenly."""
    values, counts = np.unique(known, return_counts=True)
    many = counts > len(known) / MOST_BINS
    rest = np.repeat(values[~many], counts[~many])
    cuts = round_cuts(rest, parts=min(MOST_BINS, max(2, len(rest) // LEAST_IN_BIN))) if len(rest) else []
    apart = (many[1:] | many[:-1]).nonzero()[0].tolist()
    return sorted({*cuts, *(roundest(float(values[i]), float(values[i + 1])) for i in apart)})


class _Counts(NamedTuple):
    """Images in each cell, those of them that are wrong, and the effective share for its interval."""

    tested: np.ndarray
    wrong: np.ndarray
    share: np.ndarray

    @classmethod
    def of(
        cls, cells: np.ndarray, n: int, wrong: np.ndarray, groups: np.ndarray | None, correlation: float
    ) -> "_Counts":
        """Count by the cell of each image, −1 if it is in none."""
        tested = np.bincount(cells + 1, minlength=n + 1)
        failing, share = np.bincount(cells + 1, wrong, minlength=n + 1)[1:], np.ones(n)
        if groups is not None:
            rows = np.split(np.argsort(cells.astype(np.int16), kind="stable"), np.cumsum(tested)[:-1])[1:]
            share = np.array([share_of(groups[r], wrong[r], correlation) if len(r) else 1.0 for r in rows])
        return cls(tested[1:], failing, share)


def _differ(counts: _Counts, n_classes: int, level: float) -> bool:
    """Whether classes fail at different rates in the same bins.

    Given the failures of a bin, those of a class in it have a hypergeometric distribution. Squared deviations from its
    mean are summed as in a chi-square test of each bin. Where less than one failure, or right answer, is expected, a
    cell is left out with its share of the degrees of freedom. Images of groups count as fewer.
    """
    from scipy.stats import chi2  # type: ignore[attr-defined]

    tested, wrong = (numbers.reshape(n_classes, -1).astype(float) for numbers in (counts.tested, counts.wrong))
    images = np.maximum(tested.sum(axis=0), 1)
    base = wrong.sum(axis=0) / images
    counting = np.minimum(tested * base, tested * (1 - base)) >= 1
    effect = counts.tested.sum() / (counts.tested * counts.share).sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = (wrong - tested * base) ** 2 / (tested * base * (1 - base)) * (1 - 1 / images)
    degrees = float((1 - tested / images)[counting].sum())
    return degrees > 0 and float(chi2.sf(squares[counting].sum() / effect, degrees)) < level


def _bins(name: str, classes: Sequence[str], parts: _Parts, counts: _Counts) -> list[Bin]:
    """The bins of all images (one class, without a name) or of each class, in this order; none without images."""
    low, high = clopper_pearson(counts.share * counts.wrong, counts.share * counts.tested)
    tested = counts.tested.reshape(len(classes), -1)
    below = tested.cumsum(axis=1) / np.maximum(tested.sum(axis=1, keepdims=True), 1)
    named = [("", ends) for ends in parts.ranges] or [(value, (np.nan,) * 3) for value in parts.values]
    of = [(of_class, value, *ends) for of_class in classes for value, ends in named]
    extents = [*(parts.extents or [(np.nan, np.nan)] * len(named))] * len(classes)
    numbers = zip(
        counts.tested.tolist(), counts.wrong.astype(int).tolist(), low.tolist(), high.tolist(),
        below.ravel().tolist() if parts.ranges else [np.nan] * len(of), strict=True,
    )  # fmt: skip
    return [
        Bin(name, *what, *each, *extent) for what, each, extent in zip(of, numbers, extents, strict=True) if each[0]
    ]


# --- The file ---------------------------------------------------------------------------------------------------


def curves_text(bins: Sequence[Bin]) -> str:
    """The text of `rates.csv`."""
    known = ({**part._asdict(), "class": part.of_class, "rate": part.rate} for part in bins)
    return table_text(COLUMNS, ([each[name] for name in COLUMNS] for each in known))


def load_curves(run: Run) -> tuple[Bin, ...]:
    """Read `rates.csv` of a comparison; nothing of one that was made without.

    Raises
    ------
    SAFEError
        The table is damaged.
    """
    if not (run.folder / CURVES_FILE).is_file():
        return ()
    with reading_file(run, CURVES_FILE) as path, path.open(encoding="utf-8", newline="") as file:
        return tuple(map(_from_row, csv.DictReader(file, strict=True)))


def _from_row(row: Mapping[str, str]) -> Bin:
    column, of_class, value = (from_cell(row[name]) for name in COLUMNS[:3])
    low, middle, high = (float(row[name] or "nan") for name in COLUMNS[3:6])
    further = {name: float(row[name] or "nan") for name in ("rate_low", "rate_high", *COLUMNS[-5:])}
    return Bin(column, of_class, value, low, middle, high, int(row["tested"]), int(row["wrong"]), **further)
