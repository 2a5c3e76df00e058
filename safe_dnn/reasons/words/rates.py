"""How often the network fails on images that have a word, from answers on a stratified sample of them.

What the network gets wrong is known of all tested images; the word is known of some. The rate is wrong / (wrong +
right), two totals over strata. What was asked of a stratum is counted; the rest of it is
beta-binomial given the answers. The distribution of each total is a convolution, so that the limits are computed, not
simulated. The prior is a range, `FEW` to `MANY` images with the word against `OTHERS`: how many there are where none
was found depends on it, so that each limit takes the end that leaves more open, of wrong images and of right ones.
Nothing is weighted by the inverse of a chance, which has no bound where images with the word are few.

Limits are those of `LEVEL`, which measured on known words hold the rate in 95 % or more (lab/results/words.md): small
strata, and an allocation that follows the answers, are not in the distribution.

The rate of the tested images is one thing, that of new ones another. The interval for new images adds on each side,
as squares, what the answers leave open and what Clopper and Pearson's interval does for as many images (of groups, for
the effective number of them): variance estimates recovery.

*Unsure* is counted as yes and as no, and the interval holds both.

Sources: Särndal, Swensson & Wretman, "Model Assisted Survey Sampling", 1992, chapters 3 and 12; Ericson, J. R. Stat.
Soc. B 31(2), 1969 (the posterior of a finite population); Walley, J. R. Stat. Soc. B 58(1), 1996 (a range of priors);
Zou & Donner, Statistics in Medicine 27(10), 2008 (variance estimates recovery).

Which images are asked is a stratified random sample, drawn in rounds, so that a rate follows. Once the probe has been
taught, all images that were not asked yet are put into strata, by its score and by whether the network is right, and
each stratum into a random order. That is the frame, which stays as it is. What is drawn of a stratum is the beginning
of its order, so that any image of it is drawn with the same chance, which is known, whatever the probe is worth. Only
how many are drawn of each depends on the answers: more where they differ and where it matters for the rate (Neyman's
allocation, with what is known so far).

Strata grow by `GROWTH` from the highest scores on: few images have a word, and those that hardly do are many.

The probe is a logistic regression on features of the images for which the word is known. It only decides in which
stratum an image lies: the rate holds however bad it is.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.expected import DRAWN, Expected
from safe_dnn.rccs.spots.figures import Groups, grouping, tally
from safe_dnn.support.intervals import LEFT_OUT, lower_limit, upper_limit
from safe_dnn.support.text import count, range_text, rate_text

# --- The probe ----------------------------------------------------------------------------------------------------

COMPONENTS = 64
PENALTY = 0.1  # scikit-learn's C, where images are `SPREAD` from their mean
SPREAD = 8.0
BATCH = 20  # images that are asked at a time
LEAST_OF_EACH = 3  # images with the word, and without it, that a probe needs
MOST_CHOSEN = 60  # images; if there is nothing to learn from these, a random order serves as well


def probe_points(features: np.ndarray, further: np.ndarray | None = None) -> np.ndarray:
    """Features as points for the probe: principal components, halfway between as they are and of equal variance.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
        As of `features.extractor.comparable`.
    further : ndarray of shape (n_further, dimension), float32, optional
        Of further images, which do not determine the components.

    Returns
    -------
    ndarray of shape (n_images + n_further, n_components), float64
    """
    from sklearn.decomposition import PCA

    components = min(COMPONENTS, *features.shape)
    with np.errstate(divide="ignore", invalid="ignore"):  # of images that are all alike
        fitted = PCA(components, svd_solver="randomized", random_state=0)
        points = fitted.fit_transform(features).astype(float)
    scale = np.sqrt(np.maximum(points.std(axis=0), np.finfo(float).tiny))
    spread = float(np.sqrt(((points / scale) ** 2).sum(axis=1).mean()))
    points = points if further is None else np.concatenate([points, fitted.transform(further)])
    return points / scale * (SPREAD / spread if spread else 0.0)


def scores(points: np.ndarray, rows: np.ndarray, has_it: np.ndarray) -> np.ndarray:
    """How likely each image has the word, as log odds; 0 if the known images are all alike.

    Parameters
    ----------
    points : ndarray of shape (n_images, n_components)
    rows : ndarray of shape (n_known,), int
    has_it : ndarray of shape (n_known,), bool
    """
    from sklearn.linear_model import LogisticRegression

    if has_it.all() or not has_it.any():
        return np.zeros(len(points))
    regression = LogisticRegression(C=PENALTY, max_iter=1000).fit(points[rows], has_it)
    return np.asarray(regression.decision_function(points))


def is_taught(has_it: np.ndarray) -> bool:
    """Whether the answers to chosen images are enough for a probe, or as many as there will be."""
    n, yes = len(has_it), int(has_it.sum())
    return n >= MOST_CHOSEN or (n >= BATCH and min(yes, n - yes) >= LEAST_OF_EACH)


def chosen_to_teach(
    points: np.ndarray, wrong: np.ndarray, rows: np.ndarray, has_it: np.ndarray, examples: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:  # fmt: skip
    """The next `BATCH` images to teach the probe: half where the word is likely, half at random.

    Parameters
    ----------
    points : ndarray of shape (n_images, n_components)
    wrong : ndarray of shape (n_images,), bool
    rows, has_it
        As for `scores`.
    examples : ndarray of int
        Images that somebody saw when they chose the word.

    Returns
    -------
    ndarray of int
        Rows that are not known yet; fewer if there are no more.
    """
    open_rows = np.setdiff1d(np.arange(len(points)), rows)
    if has_it.any():
        likely = open_rows[np.argsort(-scores(points, rows, has_it)[open_rows], kind="stable")]
    else:  # the network fails there, or nobody would ask
        open_seen = np.intersect1d(examples, open_rows)
        likely = rng.permutation(open_seen if len(open_seen) else open_rows[wrong[open_rows]])
    likely = likely[: BATCH // 2]
    unlikely = rng.permutation(np.setdiff1d(open_rows, likely))
    return np.concatenate([likely, unlikely[: BATCH - len(likely)]])


# --- Drawing ------------------------------------------------------------------------------------------------------

STRATA = 4  # by score, of wrong images and of right ones each
GROWTH = 4
LEAST = 4  # images drawn of each stratum before more are drawn of any
DRAWN_TO_ALL = 8  # answers that the rate of a stratum is drawn to that of all with, for the allocation
FLOOR = 0.05  # added to the standard deviation of a stratum: none is known to be all alike
CHOSEN = -1  # the stratum of images that were asked before the frame was made
NO, YES, UNSURE, UNTAGGED = 0, 1, 2, -1
"""What is known of an image."""


class Frame(NamedTuple):
    """The images of a test set that may be asked.

    Attributes
    ----------
    wrong : ndarray of shape (n_images,), bool
        Whether the network gets them wrong.
    stratum : ndarray of shape (n_images,), int
        From 0; `CHOSEN` if the image was asked before.
    place : ndarray of shape (n_images,), int
        From 0, in the random order of the stratum; 0 if chosen.
    """

    wrong: np.ndarray
    stratum: np.ndarray
    place: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Images in each stratum."""
        return np.bincount(self.stratum[self.stratum != CHOSEN])

    @property
    def of_wrong(self) -> np.ndarray:
        """Whether each stratum is one of wrong images."""
        return np.bincount(self.stratum[(self.stratum != CHOSEN) & self.wrong], minlength=len(self.sizes)) > 0

    def counts(self, tags: np.ndarray) -> np.ndarray:
        """The answers that count: of chosen images, and of each stratum's beginning without a gap; bool."""
        gap = np.append(self.sizes, 0)  # the last is that of `CHOSEN`
        open_rows = (tags == UNTAGGED) & (self.stratum != CHOSEN)
        np.minimum.at(gap, self.stratum[open_rows], self.place[open_rows])
        return (tags != UNTAGGED) & ((self.stratum == CHOSEN) | (self.place < gap[self.stratum]))

    def drawn(self, counts: np.ndarray) -> np.ndarray:
        """How many of some images each stratum has: those that were drawn, or those of them that have the word."""
        return np.bincount(self.stratum[counts & (self.stratum != CHOSEN)], minlength=len(self.sizes))


def make_frame(scores: np.ndarray, wrong: np.ndarray, known: np.ndarray, seed: int) -> Frame:
    """Put images into strata, in random order.

    Parameters
    ----------
    scores : ndarray of shape (n_images,), float
    wrong, known : ndarray of shape (n_images,), bool
        `known`: whether they were asked already.
    seed : int
    """
    rng, n = np.random.default_rng(seed), len(scores)
    stratum, place, number = np.full(n, CHOSEN), np.zeros(n, int), 0
    shares = np.cumsum(float(GROWTH) ** np.arange(STRATA))
    for which in (True, False):
        rows = rng.permutation(np.flatnonzero(~known & (wrong == which)))  # ties at random
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        ends = np.round(shares / shares[-1] * len(rows)).astype(int)
        for part in np.split(rows, ends[:-1]):
            if len(part):
                stratum[part], place[rng.permutation(part)] = number, np.arange(len(part))
                number += 1
    return Frame(wrong, stratum, place)


def next_drawn(frame: Frame, tags: np.ndarray, number: int) -> np.ndarray:
    """The next images to ask, as rows: gaps first, then by the allocation; fewer if there are no more.

    Parameters
    ----------
    tags : ndarray of shape (n_images,), int
        `NO`, `YES`, `UNSURE` or `UNTAGGED`; unsure counts as half.
    """
    sizes, counts = frame.sizes, frame.counts(tags)
    n, yes = frame.drawn(counts), frame.drawn(counts & (tags == YES)) + frame.drawn(counts & (tags == UNSURE)) / 2
    pooled = (yes.sum() + 0.5) / (n.sum() + 1) if n.sum() else 0.3
    share = (yes + DRAWN_TO_ALL * pooled) / (n + DRAWN_TO_ALL)
    chosen = (frame.stratum == CHOSEN) & (tags == YES)
    totals = [share[which] @ sizes[which] for which in (frame.of_wrong, ~frame.of_wrong)]
    totals = [total + (chosen & (frame.wrong == w)).sum() for total, w in zip(totals, (True, False), strict=True)]
    rate = np.clip(totals[0] / max(sum(totals), 1e-9), 0.1, 0.9)
    # The variance of the rate, wrong / (wrong + right), by those of both
    spread = sizes * (np.sqrt(share * (1 - share)) + FLOOR) * np.where(frame.of_wrong, 1 - rate, rate)
    wanted = n.copy()
    for _ in range(min(number, int((sizes - n).sum()))):
        gain = np.where(wanted < np.minimum(LEAST, sizes), np.inf, spread**2 / np.maximum(wanted * (wanted + 1), 1))
        gain[wanted >= sizes] = -1
        wanted[np.argmax(gain + spread / (1 + spread.sum()))] += 1
    drawn = (tags == UNTAGGED) & (frame.stratum != CHOSEN) & (frame.place < wanted[frame.stratum])
    later = np.zeros(len(sizes), int)  # tagged behind a gap, which is asked first
    tagged = (tags != UNTAGGED) & (frame.stratum != CHOSEN)
    np.maximum.at(later, frame.stratum[tagged], frame.place[tagged])
    gaps = (tags == UNTAGGED) & (frame.stratum != CHOSEN) & (frame.place < later[frame.stratum])
    rows = np.flatnonzero(drawn | gaps)
    return rows[np.lexsort((frame.stratum[rows], frame.place[rows], ~gaps[rows]))][:number]


# --- Rates --------------------------------------------------------------------------------------------------------

FEW, MANY, OTHERS = 0.1, 0.25, 0.5
LEVEL = 0.97  # of the distribution's interval, for one of 95 %
_HALVINGS = 20
_LITTLE = 1e-12


class Total(NamedTuple):
    """A distribution over whole numbers: `chances[i]` is that of `least + i`."""

    least: int
    chances: np.ndarray

    @property
    def mean(self) -> float:
        return self.least + float(np.arange(len(self.chances)) @ self.chances)


def total_of(strata: np.ndarray, known: int, prior: float) -> Total:
    """How many images of some strata have the word.

    Parameters
    ----------
    strata : ndarray of shape (n_strata, 3), int
        Of each: its images, those that were drawn, and those of them that have the word.
    known : int
        Further images that are known to have it.
    prior : float
        From `FEW` to `MANY`.
    """
    parts = [_rest(size - drawn, yes + prior, drawn - yes + OTHERS) for size, drawn, yes in strata.tolist()]
    length = sum(map(len, parts)) - len(parts) + 1
    room = 1 << max(length - 1, 1).bit_length()
    product = np.prod([np.fft.rfft(part, room) for part in parts], axis=0) if parts else np.ones(room // 2 + 1)
    chances = np.maximum(np.fft.irfft(product, room)[:length], 0)
    return Total(known + int(strata[:, 2].sum()), chances / chances.sum())


def _rest(n: int, a: float, b: float) -> np.ndarray:
    """The beta-binomial chances of 0 to n of the images of a stratum that were not asked."""
    from scipy.special import betaln, gammaln

    k = np.arange(n + 1)
    ways = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
    chances = np.exp(ways + betaln(k + a, n - k + b) - betaln(a, b))
    return np.asarray(chances / chances.sum())


def quantile(wrong: Total, right: Total, chance: float) -> float:
    """The value that wrong / (wrong + right), of two independent totals, does not exceed with this chance."""
    at_least = np.append(np.cumsum(right.chances[::-1])[::-1], 0.0)  # of right images
    likely = wrong.chances > _LITTLE
    numbers, chances = np.flatnonzero(likely) + wrong.least, wrong.chances[likely]
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        needed = np.ceil(numbers * (1 - middle) / middle - 1e-9) - right.least
        held = float(chances @ at_least[np.clip(needed, 0, len(right.chances)).astype(int)])
        low, high = (low, middle) if held >= chance else (middle, high)
    return (low + high) / 2


class WordRate(NamedTuple):
    """How often the network fails on images that have a word, or have not.

    Attributes
    ----------
    rate, low, high : float
        Of the tested images; with the interval in which it lies with 95 %.
    new_low, new_high : float
        The same for new images.
    elsewhere : float
        The rate of all other tested images; NaN if there are none.
    class_rate : float
        How often images of their classes are wrong, each class in its share; NaN if classes are not known.
    without : Expected
        How often the images would be wrong without the word: as often as those of the same classes that have it not.
    base : float
        The rate of all tested images.
    images, wrong : float
        Estimated numbers of tested images that have it, and of those of them that are wrong.
    tested : int
        All images that it is about.
    tagged, chosen, unsure : int
        Answers that count; those of them that taught the probe; of all of them, those that are unsure.
    groups : int
        Groups that images with the word were found in; 0 if groups are not known.
    classes : tuple of (str, WordRate)
        The rates of classes, the highest first, if two of them clearly differ; new images: with 95 % all together.
    """

    rate: float
    low: float
    high: float
    new_low: float
    new_high: float
    elsewhere: float
    class_rate: float
    without: Expected
    base: float
    images: float
    wrong: float
    tested: int
    tagged: int
    chosen: int
    unsure: int
    groups: int = 0
    classes: tuple[tuple[str, "WordRate"], ...] = ()

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def half_width_after(self) -> float:
        """About what the half-width is after `BATCH` more answers."""
        drawn = self.tagged - self.chosen
        return self.half_width * math.sqrt(drawn / (drawn + BATCH))

    @property
    def text(self) -> str:
        """A sentence to follow the word."""
        images, answers = count(self.tested, "image"), count(self.tagged, "answer")
        unsure = f"; unsure answers ({self.unsure:,}) count as both" if self.unsure else ""
        about = f"An estimated {self.images:,.0f} of {images} have it, from {answers}"
        if self.classes:
            rates = ", ".join(f"{name} {rate_text(of_it.rate)}" for name, of_it in self.classes)
            return f"how many are wrong differs by class: {rates}. {about}{unsure}."
        return (
            f"{rate_text(self.rate)} are wrong ({range_text(self.low, self.high)}); expect "
            f"{range_text(self.new_low, self.new_high)} of new images. {about}{unsure}. "
            f"{BATCH} more would make the interval ± {100 * self.half_width_after:.1f} points instead of "
            f"± {100 * self.half_width:.1f}."
        )


class Totals(NamedTuple):
    """How many wrong and right images have a word, with the priors `FEW` and `MANY`."""

    few_wrong: Total
    many_wrong: Total
    few_right: Total
    many_right: Total

    @property
    def means(self) -> tuple[float, float]:
        """The estimated numbers of wrong and of right images."""
        return self.few_wrong.mean, self.few_right.mean

    def ends(self, tail: float) -> tuple[float, float]:
        """The rate of the tested images lies below and above these with this chance each."""
        low = quantile(self.few_wrong, self.many_right, tail)
        return low, quantile(self.many_wrong, self.few_right, 1 - tail)


class Sample(NamedTuple):
    """Answers on a frame, as far as they are about some images.

    Attributes
    ----------
    frame : Frame
    tags : ndarray of shape (n_images,), int
        As for `drawing.next_drawn`.
    within : ndarray of shape (n_images,), bool
        The images that the rate is about, such as those of a class; known of all.
    has_it : bool
        Whether it is about images that have the word, or about those that have not.
    groups : Groups or None
        Of images that are not independent.
    """

    frame: Frame
    tags: np.ndarray
    within: np.ndarray
    has_it: bool = True
    groups: Groups | None = None

    def held(self, unsure: bool) -> np.ndarray:
        """The images that count and have the word (or have not), with the unsure ones or without; bool."""
        tags, counts = self.tags, self.frame.counts(self.tags) & self.within
        yes = (tags == YES) | (unsure & (tags == UNSURE))
        return counts & (yes if self.has_it else ~yes)

    def totals(self) -> list[Totals]:
        """How many wrong and right images have it, with unsure as no and as yes; once if there is none."""
        frame, counts = self.frame, self.frame.counts(self.tags) & self.within
        totals = []
        for unsure in (False, True)[: 1 + bool((counts & (self.tags == UNSURE)).any())]:
            held = self.held(unsure)
            of = np.column_stack([frame.drawn(images) for images in (self.within, counts, held)])
            known = held & (frame.stratum == CHOSEN)
            few_wrong, many_wrong, few_right, many_right = (
                total_of(of[frame.of_wrong == which], int((known & (frame.wrong == which)).sum()), prior)
                for which in (True, False)
                for prior in (FEW, MANY)
            )
            totals.append(Totals(few_wrong, many_wrong, few_right, many_right))
        return totals

    def weights(self) -> np.ndarray:
        """For how many images each that has it stands: ndarray of shape (n_images,), float64."""
        frame, held = self.frame, self.held(False)
        share = frame.sizes / np.maximum(frame.drawn(frame.counts(self.tags)), 1)
        return np.where(held, np.append(share, 1.0)[frame.stratum], 0.0)

    def effective(self, images: float, *, limit: bool = False) -> tuple[float, int]:
        """By which factor so many images are worth less than independent ones; and the groups that they are of.

        The variance is 1 + ρ (n − 1) P times that of independent images, P being the chance that two of them are of one
        group, which is estimated from pairs of answers.

        Parameters
        ----------
        limit : bool
            For what may be claimed of new images (see `rccs.spots.figures.share_for_limit`).
        """
        from scipy.stats import t as t_distribution  # type: ignore[attr-defined]

        weights = self.weights()
        rows = np.flatnonzero(weights)
        if self.groups is None or not len(rows):
            return 1.0, 0
        of, correlation = grouping(self.groups, self.frame.wrong)
        each, squares = np.bincount(of[rows], weights[rows]), float((weights**2).sum())
        n = int((each > 0).sum())
        if limit:
            other_groups = max(int((tally(of[rows], self.frame.wrong[rows]).wrong > 0).sum()) - 1, 0)
            correlation = (other_groups * correlation + 1) / (other_groups + 1)
        all_pairs = weights.sum() ** 2 - squares
        alike = (float((each**2).sum()) - squares) / all_pairs if all_pairs > 0 else 1.0
        few = t_distribution.isf(LEFT_OUT / 2, [max(images - 1, 1), max(n - 1, 1)])
        factor = (few[0] / few[1]) ** 2 / (1 + correlation * max(images - 1, 0) * alike) if correlation > 0 else 1.0
        return min(float(factor), 1.0), n

    def limits(
        self, confidence: float, totals: Sequence[Totals], *, limit: bool = False, share_open: float = 1.0
    ) -> tuple[float, float]:
        """The rate of new images lies above and below these with this confidence, each on its own.

        Parameters
        ----------
        totals : sequence of Totals
            As of `totals`.
        limit : bool
            As for `effective`.
        share_open : float
            By which factor the answers leave less open than they do, as more of them would; 0: all images are asked.
        """
        ends, tail = list[tuple[float, float]](), (1 - confidence) * (1 - LEVEL) / LEFT_OUT
        for each in totals:
            (wrong, right), (low, high) = each.means, each.ends(tail)
            images = max(wrong + right, _LITTLE)
            factor, rate = self.effective(images, limit=limit)[0], wrong / images
            counted = factor * wrong, factor * images, confidence
            below = math.hypot(share_open * max(rate - low, 0), rate - lower_limit(*counted))
            above = math.hypot(share_open * max(high - rate, 0), upper_limit(*counted) - rate)
            ends.append((max(rate - below, 0.0), min(rate + above, 1.0)))
        return min(low for low, _ in ends), max(high for _, high in ends)


def clear_rates(samples: Mapping[str, Sample]) -> tuple[tuple[str, WordRate], ...]:
    """The rates of classes, the highest first, if two of them clearly differ in new images; otherwise empty."""
    rates = ((name, rate_of(sample, among=len(samples))) for name, sample in samples.items())
    by_rate = sorted(((name, one) for name, one in rates if one), key=lambda pair: -pair[1].rate)
    lows, highs = zip((0.0, 1.0), *((one.new_low, one.new_high) for _, one in by_rate), strict=True)
    return tuple(by_rate) if max(lows) > min(highs) else ()


def rate_of(sample: Sample, classes: np.ndarray | None = None, *, among: int = 1) -> WordRate | None:
    """The rate of images that have a word; None if nothing was drawn, or no image that was asked has it.

    Parameters
    ----------
    classes : ndarray of shape (n_images,), int, optional
        From 0.
    among : int
        Of how many rates the intervals for new images hold together.
    """
    frame, within = sample.frame, sample.within
    counts, held = frame.counts(sample.tags) & within, sample.held(True)
    if not held.any() or not (counts & (frame.stratum != CHOSEN)).any():
        return None
    totals = sample.totals()
    lows, highs = zip(*(each.ends((1 - LEVEL) / 2) for each in totals), strict=True)
    wrong, right = np.mean([each.means for each in totals], axis=0).tolist()
    images, n_wrong, n = wrong + right, int((frame.wrong & within).sum()), int(within.sum())
    class_rate, weights = math.nan, sample.weights() * within
    if classes is not None and weights.any():
        of_class = np.bincount(classes, frame.wrong) / np.maximum(np.bincount(classes), 1)
        class_rate = float(weights @ of_class[classes] / weights.sum())
    without = _without(sample, np.zeros(len(within), int) if classes is None else classes, images)
    return WordRate(
        wrong / images, min(lows), max(highs), *sample.limits(1 - LEFT_OUT / 2 / among, totals),
        (n_wrong - wrong) / (n - images) if n - images >= 1 else math.nan, class_rate, without, n_wrong / n, images,
        wrong, n, int(counts.sum()), int((counts & (frame.stratum == CHOSEN)).sum()),
        int((counts & (sample.tags == UNSURE)).sum()), sample.effective(images)[1],
    )  # fmt: skip


def _without(sample: Sample, classes: np.ndarray, images: float) -> Expected:
    """How often images that have a word would be wrong without it, by those of the same classes that have it not.

    How many these are, and how many of them are wrong, is what is left of all images, which are known.

    Parameters
    ----------
    classes : ndarray of shape (n_images,), int
    images : float
        That have it.
    """
    weights, within, wrong, n = sample.weights() * sample.within, sample.within, sample.frame.wrong, classes.max() + 1
    with_it, wrong_with_it = np.bincount(classes, weights, n), np.bincount(classes, weights * wrong, n)
    others = np.maximum(np.bincount(classes[within], minlength=n) - with_it, 0)
    others_wrong = np.clip(np.bincount(classes[within & wrong], minlength=n) - wrong_with_it, 0, others)
    if with_it.sum() <= 0 or others.sum() < 1:
        return Expected(math.nan, 0.0)
    rate = (others_wrong + DRAWN * others_wrong.sum() / others.sum()) / (others + DRAWN)
    share = with_it / with_it.sum()
    # Of one image, the variance is 1. Which of the others are wrong is as uncertain as which of those with the word are
    variance = float((share**2 / (others + DRAWN)).sum()) + (images / others.sum()) ** 2 / np.count_nonzero(weights)
    return Expected(float(share @ rate), 1 / variance)
