"""How often the network is wrong where something holds: one count, whatever it is asked for.

Sets of images and what a model gets wrong in; `Figures` out. Conditions, RCCs, what is found on fresh images,
requirements, and what a later model makes of reasons are these figures, and a small table of verdicts.

What images are compared with decides what is called chance. Here it is given: `expected.py` says how often these images
would be wrong without what holds of them, and which images are alike in everything else.

*Groups*: images of one person, track or drive are not independent:
100 images of a person say less about sunglasses than one image of each of 100 persons. Groups of images and what the
DNN gets wrong in; how likely a higher rate is by chance, and intervals of rates, out. Two tests are made:

- *between groups*: that of images as independent, with so many images as the difference of the two rates is worth. With
  p of all images wrong and an intra-group correlation ρ, its variance is
  p(1−p) [(1−ρ)(1/n₁ + 1/n₀) + ρ Σ a²], where a = n₁ᵍ/n₁ − n₀ᵍ/n₀ is summed over the groups g;
- *within groups*: of images of the same group, those for which a condition holds are compared with the others. A group
  with a rate of its own does not matter then, but a condition that holds for a whole group cannot be told.

A condition may be of either kind, so that the better one counts, at half the error rate. What was tried:
docs/decisions/033-groups.md.

*Given the class*: where classes are wrong at different rates, whatever goes with a class goes with failing. In
comparison with images of the same class this is left out. The rate that is *expected* under a condition is that of its
images if each class failed there as often as everywhere (indirect standardisation). The odds of failing are compared
within classes, and the chance of so many failures is that of drawing as many images from each class.

Sources: Donner & Klar, "Design and Analysis of Cluster Randomization Trials", 2000 (the correlation by analysis of
variance); Rao & Scott, Biometrics 48(2), 1992 (the number of images); Mantel & Haenszel, J. Natl. Cancer Inst. 22(4),
1959 (within groups and classes); Korn & Graubard, Survey Methodology 24(2), 1998 (the interval).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.rccs.spots.expected import Expected
from safe_dnn.support.intervals import LEFT_OUT, clopper_pearson, lower_limit, upper_limit
from safe_dnn.support.tables import from_cell
from safe_dnn.support.text import count, range_text, rate_text

ENDLESS = 10_000  # images for each that is drawn are as good as any number; of more, the chance takes seconds


class Groups(NamedTuple):
    """The group of each image.

    Attributes
    ----------
    name : str
        What a group is, such as `person`.
    of : ndarray of shape (n_images,), int
        From 0. An image whose group is unknown is a group of its own.
    column : str
        The one column whose values are the groups; empty if there is none.
    """

    name: str
    of: np.ndarray
    column: str = ""

    def taken(self, rows: np.ndarray) -> "Groups":
        """Those of some images."""
        return self._replace(of=np.unique(self.of[rows], return_inverse=True)[1])


class Tally(NamedTuple):
    """Images in each group, and those of them that the DNN gets wrong: ndarrays of shape (n_groups,), int."""

    sizes: np.ndarray
    wrong: np.ndarray

    @property
    def correlation(self) -> float:
        """The intra-group correlation of failing, by analysis of variance; at least 0."""
        between, within, typical = self._mean_squares()
        if not between > within:
            return 0.0
        return float((between - within) / (between + (typical - 1) * within))

    @property
    def chance(self) -> float:
        """How likely groups differ as much by chance (F test); 1 if it cannot be told."""
        from scipy.stats import f as f_distribution  # type: ignore[attr-defined]

        between, within, _ = self._mean_squares()
        groups, images = len(self.sizes), int(self.sizes.sum())
        if not between > within:
            return 1.0
        return float(f_distribution.sf(between / within, groups - 1, images - groups)) if within else 0.0

    def _mean_squares(self) -> tuple[float, float, float]:
        """The mean squares between and within groups, and the typical size of a group; 0 if there are none."""
        groups, images = len(self.sizes), int(self.sizes.sum())
        if not 1 < groups < images:
            return 0.0, 0.0, 1.0
        rates, base = self.wrong / self.sizes, self.wrong.sum() / images
        between = float((self.sizes * (rates - base) ** 2).sum() / (groups - 1))
        within = float((self.wrong * (1 - rates)).sum() / (images - groups))
        return between, within, float((images - (self.sizes**2).sum() / images) / (groups - 1))


def tally(groups: np.ndarray, wrong: np.ndarray) -> Tally:
    """Count the images of each group that has any."""
    sizes = np.bincount(groups)
    return Tally(sizes[sizes > 0], np.bincount(groups, wrong)[sizes > 0].astype(int))


def grouping(groups: Groups | None, wrong: np.ndarray) -> tuple[np.ndarray, float]:
    """The group of each image, and the intra-group correlation of failing; without groups, each is one of its own."""
    of = groups.of if groups else np.arange(len(wrong))
    return of, tally(of, wrong).correlation if groups else 0.0


def chance_of_excess(held: np.ndarray, wrong: np.ndarray, of: Tally, *, correlation: float) -> np.ndarray:
    """How likely as many images are wrong where a condition holds, if it does not matter.

    Parameters
    ----------
    held : ndarray of shape (n_conditions, n_groups), int
        Images of each group for which each condition holds.
    wrong : ndarray of shape (n_conditions,), int
        Those of all groups that are wrong.
    of : Tally
    correlation : float

    Returns
    -------
    ndarray of shape (n_conditions,), float64
    """
    held = held.astype(float)
    chance = np.minimum(_between(held, wrong, of, correlation), chance_within(held, wrong, of))
    return np.minimum(2 * chance, 1.0)


def design_effect(held: np.ndarray, of: Tally, correlation: float) -> np.ndarray:
    """The variance of the difference of two rates, as a multiple of that of independent images; at least 1.

    Parameters
    ----------
    held, of, correlation
        As for `chance_of_excess`.
    """
    n, images = held.sum(axis=1), of.sizes.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        there, elsewhere = held / n[:, None], (of.sizes - held) / (images - n)[:, None]
        squares = ((there - elsewhere) ** 2).sum(axis=1)
        effect = 1 - correlation + correlation * squares / (1 / n + 1 / (images - n))
    return np.maximum(np.nan_to_num(effect, nan=1.0), 1.0)


def _between(held: np.ndarray, wrong: np.ndarray, of: Tally, correlation: float) -> np.ndarray:
    """The chance in a comparison of all images, with their number reduced by the design effect."""
    from scipy.stats import hypergeom  # type: ignore[attr-defined]

    effect = design_effect(held, of, correlation)
    drawn = np.ceil(held.sum(axis=1) / effect)
    images = np.maximum(np.ceil(of.sizes.sum() / effect), drawn)
    return np.asarray(hypergeom.sf(np.floor(wrong / effect) - 1, images, np.ceil(of.wrong.sum() / effect), drawn))


def chance_within(held: np.ndarray, wrong: np.ndarray, of: Tally, effect: float | np.ndarray = 1.0) -> np.ndarray:
    """The chance in comparisons within groups.

    Given how many images of each group are wrong, those where the condition holds are a sum of hypergeometric
    variables. Its distribution is taken to be hypergeometric, with as many drawn and the same mean and variance, which
    is exact for a single group. (The normal one, usual with this test, has too little weight where few are wrong.)

    Parameters
    ----------
    held, wrong, of
        As for `chance_of_excess`.
    effect : float or ndarray of shape (n_conditions,)
        By which the images are fewer that are independent (see `design_effect`).
    """
    from scipy.stats import hypergeom  # type: ignore[attr-defined]

    held = held.astype(float)
    sizes, failing = of.sizes.astype(float), of.wrong.astype(float)
    mean = held * (failing / sizes)
    variance = held * (sizes - held) * (failing * (sizes - failing) / (sizes**2 * np.maximum(sizes - 1, 1)))
    tells = variance > 0
    drawn = np.where(tells, held, 0).sum(axis=1)
    seen = np.rint(wrong - np.where(tells, 0, mean).sum(axis=1))
    mean, variance = np.where(tells, mean, 0).sum(axis=1), variance.sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = mean / drawn
        share = variance / (mean * (1 - rate))  # of the variance of as many that are drawn with replacement
        images = np.where(share < 1, (drawn - share) / (1 - share), np.inf)
    known = (drawn > 0) & (seen > mean)
    at_least = np.maximum(drawn, 1)
    images = np.ceil(np.clip(np.where(known, images, 1), at_least, ENDLESS * at_least) / effect)
    seen, drawn = np.floor(seen / effect), np.minimum(np.ceil(drawn / effect), images)
    marked = np.clip(np.ceil(np.where(known, rate, 0) * images), np.minimum(seen, images), images)
    return np.where(known, hypergeom.sf(seen - 1, images, np.maximum(marked, 0), drawn), 1.0)


def effective_share(held: np.ndarray, failing: np.ndarray, correlation: float, times: float = 1) -> np.ndarray:
    """The effective number of images for the interval of a rate, as a share of the tested ones (Korn & Graubard).

    Groups may differ more where a condition holds than elsewhere, so that the larger correlation counts. Where groups
    are few, the share is reduced by Student's t. For a single group it is 1: then other groups are unknown.

    Parameters
    ----------
    held, failing : ndarray of shape (n_rates, n_groups), int
        Tested images of each group, and those of them that are wrong.
    correlation : float
        Of all images; 0 if they are independent.
    times : float
        So many times as many groups of these sizes.

    Returns
    -------
    ndarray of shape (n_rates,), float64
    """
    from scipy.stats import t as t_distribution  # type: ignore[attr-defined]

    tested, groups = held.sum(axis=1), times * (held > 0).sum(axis=1)
    here = [Tally(of[of > 0], wrong[of > 0]).correlation for of, wrong in zip(held, failing, strict=True)]
    larger = np.maximum(here, correlation)
    effect = 1 + larger * ((held.astype(float) ** 2).sum(axis=1) / np.maximum(tested, 1) - 1)
    of_images, of_groups = (t_distribution.isf(LEFT_OUT / 2, np.maximum(n - 1, 1)) for n in (times * tested, groups))
    return np.where((groups > 1) & (larger > 0), np.minimum((of_images / of_groups) ** 2 / effect, 1), 1.0)


def share_of(of: np.ndarray, wrong: np.ndarray, correlation: float) -> float:
    """As `effective_share`, of some images: their groups, and whether they are wrong."""
    return _share(tally(of, wrong), correlation)


def share_for_limit(of: np.ndarray, wrong: np.ndarray, correlation: float, times: float = 1) -> float:
    """As `share_of`, for claims about new images, about which few wrong ones say little.

    How alike images of a group are is told by groups that have wrong ones. So the correlation is the mean of the
    estimated one, which counts as often as there are such groups but the first, and of 1, which counts once: if none or
    one has a wrong image, each group counts as one image. So do all images of a single group.
    """
    counted = tally(of, wrong)
    others = max(times * int((counted.wrong > 0).sum()) - 1, 0)
    if not others or len(counted.sizes) == 1:
        return len(counted.sizes) / len(of)
    correlation = (others * max(counted.correlation, correlation) + 1) / (others + 1)
    return _share(counted, correlation, times)


def _share(counts: Tally, correlation: float, times: float = 1) -> float:
    return float(effective_share(counts.sizes[None, :], counts.wrong[None, :], correlation, times)[0])


def in_words(groups: int, name: str) -> str:
    """For example ` (of 18 persons)`; empty if images count as independent."""
    return f" (of {count(groups, name)})" if groups else ""


def grouped(name: str, values: Sequence[Sequence[str]], *, column: str = "") -> tuple[Groups, int]:
    """The groups of images by one or several columns, and how many images are of an unknown group.

    Parameters
    ----------
    values : sequence of sequence of str
        A column each, all of the same length; empty where unknown.
    """
    rows = list(zip(*values, strict=True))
    known = {row: number for number, row in enumerate(sorted({row for row in rows if all(row)}))}
    of = np.array([known.get(row, -1) for row in rows], np.int64)
    unknown = of < 0
    of[unknown] = len(known) + np.arange(unknown.sum())
    return Groups(name, of, column), int(unknown.sum())


class GivenClass(NamedTuple):
    """Failing under a condition, in comparison with images of the same classes.

    Attributes
    ----------
    expected : float or None
        The rate that the classes alone would give; None if there are none, or the condition is about nothing else.
    odds : float
        The odds of failing where the condition holds, over those of images of the same class elsewhere; infinite if
        all are wrong there, None if no class has images of both kinds.
    """

    expected: float | None = None
    odds: float | None = None


def given_class(classes: np.ndarray, wrong: np.ndarray, holds: np.ndarray) -> GivenClass:
    """Compare the images for which a condition holds with others of their classes.

    Parameters
    ----------
    classes : ndarray of shape (n_images,), int
        From 0.
    wrong, holds : ndarray of shape (n_images,), bool
        `holds` of at least one image.
    """
    sizes, failing = np.bincount(classes), np.bincount(classes, wrong)
    there = np.bincount(classes[holds], minlength=len(sizes))
    wrong_there = np.bincount(classes[holds & wrong], minlength=len(sizes))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nansum(there * failing / sizes) / there.sum()
        right_elsewhere = sizes - failing - (there - wrong_there)
        for_it = np.nansum(wrong_there * right_elsewhere / sizes)
        against = np.nansum((there - wrong_there) * (failing - wrong_there) / sizes)
        odds = float(for_it / against)
    return GivenClass(float(expected), None if math.isnan(odds) else odds)


def chance_given_class(
    classes: np.ndarray, wrong: np.ndarray, holds: np.ndarray, groups: np.ndarray | None = None
) -> np.ndarray:
    """How likely as many images are wrong where conditions hold, if within each class they do not matter.

    Parameters
    ----------
    classes, wrong
        As for `given_class`.
    holds : ndarray of shape (n_conditions, n_images), bool
    groups : ndarray of shape (n_images,), int, optional
        Of images that are not independent. As in `chance_of_excess`, the better counts of two comparisons at half
        the error rate: one within groups, and one of so many images as the difference is worth.

    Returns
    -------
    ndarray of shape (n_conditions,), float64
    """
    n_wrong = np.count_nonzero(holds & wrong, axis=1)
    if groups is None:
        return _chance(classes, wrong, holds, n_wrong)
    counts = tally(groups, wrong)
    effect = design_effect(_counted(groups, holds), counts, counts.correlation)
    cells = classes * (int(groups.max()) + 1) + groups
    chance = np.minimum(_chance(classes, wrong, holds, n_wrong, effect), _chance(cells, wrong, holds, n_wrong))
    return np.minimum(2 * chance, 1.0)


def _chance(
    of: np.ndarray, wrong: np.ndarray, holds: np.ndarray, n_wrong: np.ndarray, effect: float | np.ndarray = 1.0
) -> np.ndarray:
    return chance_within(_counted(of, holds), n_wrong, tally(of, wrong), effect)


def _counted(of: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Images where conditions hold of each group, or class, that has any images: shape (n_conditions, n_groups)."""
    sizes = np.bincount(of)
    return np.array([np.bincount(of[each], minlength=len(sizes))[sizes > 0] for each in holds])


class Figures(NamedTuple):
    """Images for which a condition holds, and how often the network is wrong on them.

    Attributes
    ----------
    tested, wrong : int
    low, high : float
        95 % interval of the rate.
    groups : int
        Of the tested images; 0 if groups are not known.
    group : str
        What a group is, such as `person`.
    expected, expected_low, expected_high : float
        How often these images would be wrong without what holds of them (see `expected.py`), with its 95 % interval;
        NaN if that is not known.
    excess_low, excess_high : float
        The interval of the failures in excess (see `excess`).
    p : float
        How likely as many are wrong if what holds does not matter; 1 if it is not compared.
    worth : float
        The share of independent images that the tested ones are worth (see `rccs.spots.figures`).
    answers : int
        Of a person, from which all figures are estimated (see `reasons.words.rates`); 0 if they were counted.
    estimate : float
        The rate by answers.
    """

    tested: int
    wrong: int
    low: float = 0.0
    high: float = 1.0
    groups: int = 0
    group: str = ""
    expected: float = math.nan
    expected_low: float = math.nan
    expected_high: float = math.nan
    excess_low: float = math.nan
    excess_high: float = math.nan
    p: float = 1.0
    worth: float = 1.0
    answers: int = 0
    estimate: float = math.nan

    @property
    def rate(self) -> float:
        """Share of the tested images that are wrong; NaN if there are none. By answers, it is estimated."""
        if self.answers:
            return self.estimate
        return self.wrong / self.tested if self.tested else math.nan

    @property
    def excess(self) -> float:
        """How many images are wrong beyond what is expected, that is, because of what holds; NaN if not known."""
        return (self.rate - self.expected) * self.tested

    @property
    def n_groups(self) -> int | None:
        """None if groups are not known."""
        return self.groups or None

    def limits(self, confidence: float) -> tuple[float, float]:
        """The limits above and below which the rate lies with this confidence, each on its own."""
        effective = self.worth * self.wrong, self.worth * self.tested
        return lower_limit(*effective, confidence), upper_limit(*effective, confidence)

    @property
    def cells(self) -> dict[str, object]:
        """For tables, by the name of the column; None where nothing is known."""
        return {**self._asdict(), "rate": self.rate, "excess": self.excess, "groups": self.n_groups}

    @property
    def interval(self) -> str:
        """For example `79–93%`."""
        return range_text(self.low, self.high)

    def images(self, noun: str = "image") -> str:
        """For example `540 images (of 18 persons)`."""
        return f"{count(self.tested, noun)}{self.of_groups}"

    @property
    def of_groups(self) -> str:
        """See `in_words`."""
        return in_words(self.groups, self.group)

    @property
    def wrong_of_tested(self) -> str:
        """For example `98 of 120`, and what the two numbers are from."""
        about, by = ("about ", f" (by {count(self.answers, 'answer')})") if self.answers else ("", "")
        return f"{about}{self.wrong:,} of {self.tested:,}{self.of_groups}{by}"

    @property
    def compared(self) -> str:
        """For example `, 6% expected without it`; empty if that is not known."""
        return "" if math.isnan(self.expected) else f", {rate_text(self.expected)} expected without it"

    @property
    def more(self) -> str:
        """For example `: about 95 failures more`, after `compared`; empty if that is not known, or there are none."""
        more = 0 if math.isnan(self.excess) else round(self.excess)
        return f": about {count(more, 'failure')} more" if more > 0 else ""


COMPARED = ("expected", "expected_low", "expected_high", "excess_low", "excess_high")
# Columns of tables that list reasons
FIGURES = (
    "tested", "wrong", "rate", "low", "high", "expected", "expected_low", "expected_high", "excess", "excess_low",
    "excess_high",
)  # fmt: skip


def row_of(figures: Figures | None) -> tuple[Any, ...]:
    """What `FIGURES` are; None where nothing is known."""
    return tuple(figures.cells[name] for name in FIGURES) if figures else (None,) * len(FIGURES)


def figures_in(row: Mapping[str, str]) -> Figures:
    """Figures from the cells of a table; ValueError if they are damaged."""
    tested, wrong, groups = (int(row.get(name) or 0) for name in ("tested", "wrong", "groups"))
    low, high, expected, *limits = (float(row.get(name) or "nan") for name in ("low", "high", *COMPARED))
    least, most, fewest, largest = limits
    group = from_cell(row.get("group") or "")
    return Figures(tested, wrong, low, high, groups, group, expected, least, most, fewest, largest)


def assess(
    held: Iterable[np.ndarray], wrong: np.ndarray, groups: Groups | None = None, *, expected: Sequence[Expected] = (),
    for_new: bool = True,
) -> list[Figures]:  # fmt: skip
    """Count sets of images.

    Parameters
    ----------
    held : iterable of ndarray of shape (n_images,), bool
        The images of each set.
    wrong : ndarray of shape (n_images,), bool
    groups : Groups, optional
        Of images that are not independent.
    expected : sequence of Expected, optional
        How often the images of the first sets would be wrong without what holds of them.
    for_new : bool
        Whether limits are for new images, about which few wrong ones say little (see `share_for_limit`).
    """
    of, correlation = grouping(groups, wrong)
    share, name, figures = share_for_limit if for_new else share_of, groups.name if groups else "", list[Figures]()
    for at, holds in enumerate(held):
        worth = share(of[holds], wrong[holds], correlation) if holds.any() else 1.0
        tested, failing = int(holds.sum()), int((holds & wrong).sum())
        low, high = map(float, clopper_pearson(np.array(worth * failing), np.array(worth * tested)))
        n_groups = len(np.unique(of[holds])) if groups else 0
        figures.append(Figures(tested, failing, low, high, n_groups, name, worth=worth))
        if at < len(expected):
            without = expected[at]
            units = None if without.independent or not groups else of
            p = chance_of(wrong, holds, np.ones(len(wrong), bool), without.strata, units)
            figures[-1] = compared_with(figures[-1], without)._replace(p=p)
    return figures


def compared_with(
    figures: Figures, expected: Expected, *, left: float | None = None, comparisons: int = 1,
    limits: tuple[float, float] | None = None,
) -> Figures:  # fmt: skip
    """Figures with what is expected without what holds.

    Parameters
    ----------
    left : float, optional
        As many wrong images are certain, if it is fewer than are counted, as where a condition was chosen for them.
    comparisons : int
        So many intervals of the excess hold together with 95 %.
    limits : (float, float), optional
        The interval of the rate, if it was estimated.
    """
    if math.isnan(expected.rate) or not figures.tested:
        return figures
    low, high = expected.limits()
    if limits:
        ends = [figures.tested * end for end in expected.limits_of_difference(figures.rate, limits)]
    else:
        counts = (min(figures.wrong if left is None else left, figures.wrong), figures.wrong)
        ends = [
            expected.limits_of_excess(wrong, figures.tested, figures.worth, LEFT_OUT / comparisons)[end]
            for end, wrong in enumerate(counts)
        ]
    return figures._replace(
        expected=expected.rate, expected_low=low, expected_high=high, excess_low=ends[0], excess_high=ends[1]
    )


def chance_of(
    wrong: np.ndarray, here: np.ndarray, among: np.ndarray, classes: np.ndarray | None, groups: np.ndarray | None
) -> float:
    """How likely as many images are wrong here, among some, if within classes and groups the place does not matter."""
    if not (here & among).any() or not (wrong & among).any():
        return 1.0
    strata = np.zeros(len(wrong), int) if classes is None else classes
    some = strata[among], wrong[among], here[None, among]
    units = (None,) if groups is None else (None, groups[among])
    return max(float(chance_given_class(*some, each)[0]) for each in units)


def corrected(p: np.ndarray) -> np.ndarray:
    """Corrected for their number (Holm): none is below that of a smaller one."""
    order = np.argsort(p)
    found = np.empty(len(p))
    found[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(found, 1.0)
