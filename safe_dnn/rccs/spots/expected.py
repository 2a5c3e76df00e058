"""The expected rate of a reason: how often its images would be wrong without it.

A rate says nothing by itself: of 89 % wrong images in the dark, how many are wrong because it is dark? They are also of
certain classes, and other reasons hold for some of them. So each image is compared with images *like it* for which the
reason does not hold: of the same class, and with the same other reasons. The mean over the images of the reason is
expected without it (marginal standardisation, the g-formula). Both rates are about the same images; what is wrong
beyond the expectation is the number of failures *in excess*, that is, because of the reason.

The images of one class for which the same reasons hold are a *stratum*. Large strata speak for themselves. For small
and empty ones, a model of wrong images by class and reasons says what is likely: either a logistic one, or one of
causes that each take their share of the images that are right without them (noisy or), whichever is likelier. It counts
for the less the more strata deviate from it (a beta-binomial model). Of many classes, those with like rates are one:
few images of a class say little.

A reason and all that say more than it are taken away together: without darkness, there is no darkness with rain. One
that says less stays. A condition on classes alone is compared with all other classes.

What was tried: docs/decisions/061-expected-rates.md.

Sources: Robins, Mathematical Modelling 7(9-12), 1986, and Greenland & Robins, Int. J. Epidemiology 15(3), 1986 (the
g-formula); Pearl, "Probabilistic Reasoning in Intelligent Systems", 1988, and Cheng, Psychological Review 104(2), 1997
(noisy or, and causal power); Crowder, Applied Statistics 27(1), 1978 (the beta-binomial model); Newcombe, Statistics in
Medicine 17(8), 1998, and Zou, American J. Epidemiology 163(7), 2006 (the interval of a difference); Korn & Graubard,
Survey Methodology 24(2), 1998 (the effective number of images).
"""

import math
from collections.abc import Callable, Collection, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.conditions import Conditions, of_classes, says_more
from safe_dnn.support.intervals import LEFT_OUT, lower_limit, upper_limit

# Penalties on squared coefficients: that of a reason whose images are all wrong stays finite; and where all images of a
# class are of one reason, it is the reason that counts, as if the class were like the others.
RIDGE, RIDGE_OF_CLASSES = 0.05, 0.5
MOST_CLASSES = 50  # of more, those with like rates count as one
POOLED = 24  # classes that these become, of about equally many images
DRAWN = 4.0  # images of the mean rate that are added to each class, for its rate
LEAST_STRENGTH, MOST_STRENGTH = 2.0, 10.0  # images of a stratum for which the model may count
MOST_FIT = 30.0  # images of a stratum from whose number on a deviation from the model is left out of intervals
LEAST_RATE = 1e-4  # that causes give together
MOST_STEPS, HALVINGS, ENOUGH = 50, 12, 1e-4  # of fitting, of a step, and the gain in log likelihood worth another one
MOST_EXPLAINED = 0.9  # of the variance of wrong
SMALL = 1e-9


# --- Models -------------------------------------------------------------------------------------------------------


class Link(NamedTuple):
    """The scale on which classes and reasons add up.

    Attributes
    ----------
    rates : callable
        Of sums, ndarray of float64: the rates, and their slopes.
    solve : callable
        Of a positive definite matrix and a vector: the coefficients, such as are allowed, that solve the normal
        equations best.
    start : float
        Where fitting begins.
    """

    rates: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    solve: Callable[[np.ndarray, np.ndarray], np.ndarray]
    start: float


def _of_log_odds(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rates = 1 / (1 + np.exp(-np.clip(sums, -500, 500)))
    return rates, rates * (1 - rates)


def _of_causes(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    right = np.exp(-np.maximum(sums, LEAST_RATE))
    return 1 - right, right


def _not_negative(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    from scipy.optimize import nnls

    root = np.linalg.cholesky(matrix)
    return nnls(root.T, np.linalg.solve(root, vector))[0]


LOGISTIC = Link(_of_log_odds, np.linalg.solve, 0.0)
NOISY_OR = Link(_of_causes, _not_negative, 0.1)  # the logarithm of the share of right images; no cause saves any


class Expected(NamedTuple):
    """How often the images of a reason would be wrong without it.

    Attributes
    ----------
    rate : float
        NaN if there is no image with the reason, or none without it.
    images : float
        The number of independent images that the estimate is worth.
    strata : ndarray of shape (n_images,), int, or None
        The stratum of each image: those in the same one are alike in everything but the reason. None if it was
        estimated otherwise.
    independent : bool
        Whether images are independent whatever groups there are.
    explained : float
        The share of the variance of wrong among the images of the reason that what is expected of each explains. The
        excess is as much more certain than the rate.
    """

    rate: float
    images: float
    strata: np.ndarray | None = None
    independent: bool = False
    explained: float = 0.0

    def limits(self, left_out: float = LEFT_OUT) -> tuple[float, float]:
        """The two-sided interval, which leaves out so much; NaN if the rate is not known."""
        if math.isnan(self.rate):
            return math.nan, math.nan
        wrong, confidence = self.rate * self.images, 1 - left_out / 2
        return lower_limit(wrong, self.images, confidence), upper_limit(wrong, self.images, confidence)

    def limits_of_excess(
        self, wrong: float, tested: int, worth: float = 1.0, left_out: float = LEFT_OUT
    ) -> tuple[float, float]:
        """The interval of the number of failures in excess.

        Parameters
        ----------
        wrong : float
            Of the images of the reason.
        tested : int
        worth : float
            The share of independent images that these are worth.
        left_out : float
        """
        if not tested:
            return math.nan, math.nan
        worth, confidence = worth / (1 - self.explained), 1 - left_out / 2
        counts = worth * wrong, worth * tested
        limits = lower_limit(*counts, confidence), upper_limit(*counts, confidence)
        low, high = self.limits_of_difference(wrong / tested, limits, left_out)
        return tested * low, tested * high

    def limits_of_difference(
        self, rate: float, limits: tuple[float, float], left_out: float = LEFT_OUT
    ) -> tuple[float, float]:
        """The interval of how far a rate, itself with its interval, lies above the expected one (Newcombe, Zou)."""
        (low, high), difference = self.limits(left_out), rate - self.rate
        return (
            difference - math.hypot(rate - limits[0], high - self.rate),
            difference + math.hypot(limits[1] - rate, self.rate - low),
        )


class FailureModel:
    """Wrong images by class and by the reasons that hold, counted by stratum, with a model of the counts.

    Parameters
    ----------
    holds : ndarray of shape (n_reasons, n_images), bool
        At most 50 reasons.
    wrong : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int, optional
        From 0.
    groups : ndarray of shape (n_images,), int, optional
        Of images that are not independent.
    """

    def __init__(
        self, holds: np.ndarray, wrong: np.ndarray, classes: np.ndarray | None = None, groups: np.ndarray | None = None
    ):
        self._n_reasons, self._groups, self._failing = len(holds), groups, wrong
        self._code = np.zeros(len(wrong), np.int64) if classes is None else pooled_classes(classes, wrong)
        for row in holds[::-1]:
            self._code = 2 * self._code + row
        self._strata, self._stratum = np.unique(self._code, return_inverse=True)
        self._images = np.bincount(self._stratum).astype(float)
        self._wrong = np.bincount(self._stratum, wrong)
        self._design = self._columns(self._strata)
        fits = [self._fit(link) for link in (LOGISTIC, NOISY_OR)]
        self.likelihood, self._link, self._coefficients = max(fits, key=lambda fit: fit[0])

    def _columns(self, strata: np.ndarray) -> np.ndarray:
        """What adds up in the model: 1, each reason, and each class; shape (n_strata, n_columns)."""
        reasons, classes = (strata[:, None] >> np.arange(self._n_reasons)) & 1, strata >> self._n_reasons
        every = np.unique(self._strata >> self._n_reasons)
        of_class = classes[:, None] == every[: len(every) if len(every) > 1 else 0]
        return np.hstack([np.ones((len(strata), 1)), reasons, of_class]).astype(float)

    def _fit(self, link: Link) -> tuple[float, Link, np.ndarray]:
        """Fit a model of one link by Fisher's scoring: its log likelihood, the link, and the coefficients."""
        design, images, wrong, penalty = self._design, self._images, self._wrong, self._penalty

        def loss_of(coefficients: np.ndarray) -> float:
            rates = np.clip(link.rates(design @ coefficients)[0], SMALL, 1 - SMALL)
            return float(penalty @ coefficients**2 / 2 - wrong @ np.log(rates) - (images - wrong) @ np.log1p(-rates))

        coefficients = np.full(design.shape[1], link.start)
        loss = loss_of(coefficients)
        for _ in range(MOST_STEPS):
            sums = design @ coefficients
            rates, slopes = link.rates(sums)
            rates, slopes = np.clip(rates, SMALL, 1 - SMALL), np.maximum(slopes, SMALL)
            weights = images * slopes**2 / (rates * (1 - rates))
            information = design.T @ (design * weights[:, None]) + np.diag(penalty)
            aim = link.solve(information, design.T @ (weights * (sums + (wrong / images - rates) / slopes)))
            tried = [coefficients + (aim - coefficients) / 2**halved for halved in range(HALVINGS)]
            better = next(((each, new) for each in tried if (new := loss_of(each)) < loss - ENOUGH), None)
            if better is None:
                break
            coefficients, loss = better
        return float(penalty @ coefficients**2 / 2 - loss), link, coefficients

    @property
    def _penalty(self) -> np.ndarray:
        n_classes = self._design.shape[1] - 1 - self._n_reasons
        return np.repeat([SMALL, RIDGE, RIDGE_OF_CLASSES], [1, self._n_reasons, n_classes])

    @cached_property
    def _fitted(self) -> np.ndarray:
        """The rate of each stratum by the model: float64 of shape (n_strata,)."""
        return np.clip(self._link.rates(self._design @ self._coefficients)[0], SMALL, 1 - SMALL)

    @cached_property
    def _strength(self) -> float:
        """As how many images of a stratum the model counts, by how far strata deviate from it."""
        spread = self._fitted * (1 - self._fitted)
        pairs = float((self._images * (self._images - 1) * spread).sum())
        squares = float(((self._wrong - self._images * self._fitted) ** 2 - self._images * spread).sum())
        return max(pairs / max(squares, SMALL) - 1, LEAST_STRENGTH)

    @cached_property
    def _rates(self) -> np.ndarray:
        """The rate of each stratum, by its images and by the model."""
        strength = min(self._strength, MOST_STRENGTH)
        return (self._wrong + strength * self._fitted) / (self._images + strength)

    @cached_property
    def _scores(self) -> tuple[np.ndarray, np.ndarray]:
        """What a wrong image of each stratum adds to the score of the model; and the covariance of its coefficients."""
        slopes, spread = self._link.rates(self._design @ self._coefficients)[1], self._fitted * (1 - self._fitted)
        information = self._design.T @ (self._design * (self._images * slopes**2 / spread)[:, None])
        return slopes / spread, np.linalg.inv(information + np.diag(self._penalty))

    @cached_property
    def _correlation(self) -> float:
        """The intra-group correlation of failing, given class and reasons, by analysis of variance; at least 0."""
        if self._groups is None:
            return 0.0
        rest = self._failing - self._rates[self._stratum]
        sizes, sums = np.bincount(self._groups).astype(float), np.bincount(self._groups, rest)
        sizes, sums, images = sizes[sizes > 0], sums[sizes > 0], len(rest)
        if not 1 < len(sizes) < images:
            return 0.0
        of_groups = float((sums**2 / sizes).sum())
        between, within = of_groups / (len(sizes) - 1), (float(rest @ rest) - of_groups) / (images - len(sizes))
        typical = float(images - (sizes**2).sum() / images) / (len(sizes) - 1)
        return max((between - within) / (between + (typical - 1) * within), 0.0) if between > 0 else 0.0

    def rates_without(self, reasons: Sequence[int]) -> np.ndarray:
        """The rate of each image by the model if some reasons did not hold: float64 of shape (n_images,)."""
        without, place = np.unique(_without(self._strata, reasons), return_inverse=True)
        rates = self._link.rates(self._columns(without) @ self._coefficients)[0]
        return np.clip(rates, SMALL, 1 - SMALL)[place][self._stratum]

    def expected(self, holds: np.ndarray, reasons: Sequence[int], *, independent: bool = False) -> Expected:
        """The rate that some images would have without some of the reasons.

        Parameters
        ----------
        holds : ndarray of shape (n_images,), bool
        reasons : sequence of int
            Those that do not hold then; all others stay as they are.
        independent : bool
            Whether images are independent whatever groups there are.
        """
        code = _without(self._code, reasons)
        alike = np.unique(code, return_inverse=True)[1]
        if not holds.any() or not (code == self._code).any():
            return Expected(math.nan, 0.0, alike, independent)
        strata, counts = np.unique(code[holds], return_counts=True)
        share, columns, strength = counts / counts.sum(), self._columns(strata), min(self._strength, MOST_STRENGTH)
        likely, slopes = self._link.rates(columns @ self._coefficients)
        place = np.minimum(np.searchsorted(self._strata, strata), len(self._strata) - 1)
        there = self._strata[place] == strata
        images, wrong = np.where(there, self._images[place], 0.0), np.where(there, self._wrong[place], 0.0)
        rates, by_model = (wrong + strength * likely) / (images + strength), share * strength / (images + strength)
        rate = float(share @ rates)
        # By how much one more wrong image of each stratum changes the estimate
        scores, covariance = self._scores
        part = scores * (self._design @ (covariance @ ((by_model * slopes) @ columns)))
        np.add.at(part, place[there], (share / (images + strength))[there])
        variance = float((self._images * part**2 * self._rates * (1 - self._rates)).sum())
        variance += float((by_model**2 * rates * (1 - rates)).sum()) / (min(self._strength, MOST_FIT) + 1)
        effect = 1.0 if independent else self._design_effect(holds, part)
        explained = self._explained(holds, rates[np.searchsorted(strata, code[holds])])
        return Expected(rate, rate * (1 - rate) / max(variance * effect, SMALL), alike, independent, explained)

    def beside(self, holds: np.ndarray) -> Expected:
        """The rate that some images would have if they were like the others of their strata.

        The images are of no reason of the model, such as those of a value of a category.

        Parameters
        ----------
        holds : ndarray of shape (n_images,), bool
        """
        n = len(self._images)
        ours, ours_wrong = np.bincount(self._stratum, holds, n), np.bincount(self._stratum, holds & self._failing, n)
        others, wrong, strength = self._images - ours, self._wrong - ours_wrong, min(self._strength, MOST_STRENGTH)
        if not ours.any() or not others[ours > 0].any():
            return Expected(math.nan, 0.0, self._stratum)
        share = ours / ours.sum()
        rates = (wrong + strength * self._fitted) / (others + strength)
        return Expected(float(share @ rates), 1 / float((share**2 / (others + strength)).sum()), self._stratum)

    def _explained(self, holds: np.ndarray, rates: np.ndarray) -> float:
        """The share of the variance of wrong among some images that their expected rates explain; at most .9."""
        wrong = self._failing[holds].astype(float)
        variance = float(wrong.var())
        return min(max(1 - float((wrong - rates).var()) / variance, 0.0), MOST_EXPLAINED) if variance > 0 else 0.0

    def _design_effect(self, holds: np.ndarray, part: np.ndarray) -> float:
        """By which factor groups make the variance of an expected rate larger; at least 1.

        A group that has as large a part in the estimate as in the images does not: these are compared within it.

        Parameters
        ----------
        holds : ndarray of shape (n_images,), bool
        part : ndarray of shape (n_strata,), float64
            By how much one more wrong image of each stratum changes the estimate.
        """
        if self._groups is None or not self._correlation:
            return 1.0
        spread = np.sqrt(self._rates * (1 - self._rates))[self._stratum]
        ours, theirs = holds / holds.sum() * spread, part[self._stratum] * spread
        by_group, groups = (
            np.bincount(self._groups, theirs - ours),
            int(np.count_nonzero(np.bincount(self._groups, theirs))),
        )
        alone, between = float(theirs @ theirs), float(by_group @ by_group)
        return max(1 + self._correlation * (_for_few(groups) * between / alone - 1), 1.0) if alone > 0 else 1.0


def _without(codes: np.ndarray, reasons: Sequence[int]) -> np.ndarray:
    """Codes of strata in which some reasons do not hold."""
    return codes & ~np.int64(sum(1 << int(reason) for reason in reasons))


def _for_few(groups: int) -> float:
    """By which factor a variance counts more that is estimated from few groups (Student's t)."""
    from scipy.stats import norm, t  # type: ignore[attr-defined]

    return float((t.isf(LEFT_OUT / 2, groups - 1) / norm.isf(LEFT_OUT / 2)) ** 2) if groups > 1 else 1.0


def pooled_classes(classes: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """The classes or, of more than `MOST_CLASSES`, parts of about equally many images of classes with like rates.

    Parameters
    ----------
    classes : ndarray of shape (n_images,), int
        From 0.
    wrong : ndarray of shape (n_images,), bool

    Returns
    -------
    ndarray of shape (n_images,), int64
    """
    sizes, failing = np.bincount(classes), np.bincount(classes, wrong)
    if np.count_nonzero(sizes) <= MOST_CLASSES:
        return classes.astype(np.int64)
    order = np.argsort((failing + DRAWN * wrong.mean()) / (sizes + DRAWN), kind="stable")
    before = np.cumsum(sizes[order]) - sizes[order]
    pooled = np.empty(len(sizes), np.int64)
    pooled[order] = before * POOLED // len(classes)
    return pooled[classes]


# --- Reasons ------------------------------------------------------------------------------------------------------


class Baseline(NamedTuple):
    """What a reason is compared with: the same images without it.

    Attributes
    ----------
    others : tuple of int
        Reasons that stay as they are.
    away : tuple of int
        Reasons that are taken away with it, since they say more; itself is the first.
    by_class : bool
        Whether images are compared with those of the same class.
    independent : bool
        Whether images are independent whatever groups there are: all images of a group.
    """

    others: tuple[int, ...]
    away: tuple[int, ...]
    by_class: bool = True
    independent: bool = False


def baselines_of(
    conditions: Sequence[Conditions], label: str, stay: Collection[int], *, groups: str = ""
) -> list[Baseline]:
    """What each of some conditions is compared with.

    Parameters
    ----------
    conditions : sequence of n conjunctions
        Empty of what is no condition, such as an RCC.
    label : str
        The column of the class.
    stay : collection of int
        Conditions that stay as they are when others are taken away: those that are reasons beyond chance.
    groups : str
        The column of groups; each of its values is a group.
    """
    baselines = []
    for row, condition in enumerate(conditions):
        more = [at for at, other in enumerate(conditions) if condition and at != row and says_more(other, condition)]
        others = [at for at in sorted(stay) if at != row and at not in more and not of_classes(conditions[at], label)]
        one_group = [(literal.column, literal.sign) for literal in condition] == [(groups, "=")]
        away = row, *(at for at in more if at in stay)
        baselines.append(Baseline(tuple(others), away, not of_classes(condition, label), one_group))
    return baselines


def expected_rates(
    holds: np.ndarray, wrong: np.ndarray, baselines: Sequence[Baseline], classes: np.ndarray | None = None,
    groups: np.ndarray | None = None,
) -> list[Expected]:  # fmt: skip
    """The expected rate of each of some reasons.

    Parameters
    ----------
    holds : ndarray of shape (n_reasons, n_images), bool
    wrong : ndarray of shape (n_images,), bool
    baselines : sequence of Baseline
        Of the first of the reasons; further ones are others alone.
    classes, groups : ndarray of shape (n_images,), int, optional
        From 0.
    """
    models, expected = dict[tuple[tuple[int, ...], bool], FailureModel](), list[Expected]()
    for row, baseline in zip(holds, baselines, strict=False):
        reasons = tuple(sorted({*baseline.others, *baseline.away}))
        key = reasons, baseline.by_class
        if key not in models:
            models[key] = FailureModel(holds[list(reasons)], wrong, classes if baseline.by_class else None, groups)
        away = [reasons.index(reason) for reason in baseline.away]
        expected.append(models[key].expected(row, away, independent=baseline.independent))
    return expected
