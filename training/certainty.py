"""How sure it is that retraining made the DNN better or worse, from what both models get right on the same test images.

Only test images on which the two models differ say which one is better. If neither is, each of these is equally likely
to have improved or worsened: the exact test of McNemar. The difference of the accuracies has Tango's score interval
with a continuity correction of half an image. Without it, coverage falls to 93 % for 30 to 100 images; with it, it was
at least 95 % for each of 200 pairs of rates and seven numbers of images from 5 to 200.
Where the exact test does not reject, the interval is extended to 0, so that interval and verdict agree.

The images are taken as independent draws of those that the DNN will meet. Training again with another seed may give
another model; nothing is said of it here.

Sources: McNemar, Psychometrika 12(2), 1947 (the test; exact, as a sign test); Tango, Stat. Med. 17(8), 1998 (the
interval); Clopper & Pearson, Biometrika 26(4), 1934 (intervals of shares); Holm, Scand. J. Stat. 6(2), 1979 (the
correction for the number of classes).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from rccs.intervals import LEFT_OUT, clopper_pearson
from support.errors import SAFEError
from support.text import count
from training.comparison import Changed, Share

BETTER, WORSE, NOT_SHOWN = "better beyond doubt", "worse beyond doubt", "not shown"
LEVEL = 0.05  # of the tests
CORRECTION = 0.5  # images
FEWEST = 6  # changed images that can show a difference: 2 / 2 ** 6 < LEVEL
HALVINGS = 60  # from 1 to below the precision of a float64


class Counts(NamedTuple):
    """What two models get right on the same images.

    Attributes
    ----------
    images : int
    right_before : int
        Images that the first model gets right.
    improved, worsened : int
        Images that only the second, or only the first model gets right.
    """

    images: int
    right_before: int
    improved: int
    worsened: int


class Certainty(NamedTuple):
    """How sure a difference between two models is.

    Attributes
    ----------
    counts : Counts
    gain : float
        Accuracy after minus accuracy before, from -1 to 1; 0 without images.
    low, high : float
        95 % interval of the gain, by itself: not corrected for other groups of images.
    p : float
        Exact and two-sided; corrected if several groups were tested together.
    verdict : BETTER, WORSE or NOT_SHOWN
        The first two only if p is below .05.
    lost_low, lost_high : float
        95 % interval of the share of images right before that are wrong now; 0 to 1 if none was right before.
    """

    counts: Counts
    gain: float
    low: float
    high: float
    p: float
    verdict: str
    lost_low: float
    lost_high: float


def count_pairs(before: np.ndarray, after: np.ndarray) -> Counts:
    """Count what changed between two models.

    Parameters
    ----------
    before, after : ndarray of shape (n_images,), bool
        Whether each model gets the image right.
    """
    return Counts(len(before), int(before.sum()), int((~before & after).sum()), int((before & ~after).sum()))


def count_classes(shares: Iterable[Share], improved: Iterable[Changed], worsened: Iterable[Changed]) -> list[Counts]:
    """The counts of each class, in order. `shares` are those of the classes."""
    better, worse = (Counter(image.label for image in images) for images in (improved, worsened))
    return [Counts(share.images, share.before, better[share.name], worse[share.name]) for share in shares]


def check_counts(counts: Counts) -> None:
    """Raise a SAFEError if there are no images with these counts."""
    wrong_before = counts.images - counts.right_before
    if not (0 <= counts.worsened <= counts.right_before and 0 <= counts.improved <= wrong_before):
        raise SAFEError(
            "Expected at most as many worsened images as were right before, and at most as many improved ones as were "
            f"wrong. Received {counts.worsened:,} of {counts.right_before:,} and {counts.improved:,} of "
            f"{wrong_before:,}. Retrain again."
        )


def certainty(counts: Counts) -> Certainty:
    """How sure it is that the second model is better or worse.

    Raises
    ------
    SAFEError
        The counts contradict each other.
    """
    return certainties([counts])[0]


def certainties(groups: Sequence[Counts]) -> list[Certainty]:
    """How sure it is for each of several groups of images, with p corrected for their number.

    If the models are equally good in every group, the probability that any gets a verdict other than NOT_SHOWN is below
    5 % (Holm). Groups without images do not count.

    Raises
    ------
    SAFEError
        The counts of a group contradict each other.
    """
    for counts in groups:
        check_counts(counts)
    if not groups:
        return []
    table = np.array(groups, int)
    images, right, improved, worsened = table.T
    alone = mcnemar(improved, worsened)
    p = np.ones(len(table))
    p[images > 0] = holm(alone[images > 0])
    low, high = difference_interval(images, improved, worsened)
    lost_low, lost_high = clopper_pearson(worsened, right)
    gain = (improved - worsened) / np.maximum(images, 1)
    verdicts = [NOT_SHOWN if p[i] >= LEVEL else BETTER if gain[i] > 0 else WORSE for i in range(len(table))]
    return [
        Certainty(
            counts,
            float(gain[i]),
            float(low[i]),
            float(high[i]),
            float(p[i]),
            verdicts[i],
            float(lost_low[i]),
            float(lost_high[i]),
        )
        for i, counts in enumerate(groups)
    ]


def mcnemar(improved: np.ndarray, worsened: np.ndarray) -> np.ndarray:
    """The exact two-sided p of McNemar's test; 1 if nothing changed.

    Parameters
    ----------
    improved, worsened : ndarray of shape (n,), int

    Returns
    -------
    ndarray of shape (n,), float64
    """
    from scipy.special import bdtr

    fewer = np.minimum(improved, worsened).astype(float)
    return np.minimum(2 * bdtr(fewer, improved + worsened, 0.5), 1.0)


def holm(p: np.ndarray) -> np.ndarray:
    """Correct the p-values of several tests, such that the chance of any false rejection stays below the level.

    Parameters
    ----------
    p : ndarray of shape (n,), float64

    Returns
    -------
    ndarray of shape (n,), float64
    """
    order = np.argsort(p, kind="stable")
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def difference_interval(
    images: np.ndarray, improved: np.ndarray, worsened: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of the difference of two accuracies on the same images; -1 to 1 without images.

    The interval are the differences that Tango's score test with the correction does not reject. It contains 0 if and
    only if `mcnemar` is at least .05.

    Parameters
    ----------
    images, improved, worsened : ndarray of shape (n,), int

    Returns
    -------
    low, high : ndarray of shape (n,), float64
    """
    n, gain = np.maximum(images, 1), (improved - worsened) / np.maximum(images, 1)
    low, high = (_end(n, improved, worsened, gain, side) for side in (-1.0, 1.0))
    open_ended = mcnemar(improved, worsened) >= LEVEL
    low, high = np.where(open_ended, np.minimum(low, 0), low), np.where(open_ended, np.maximum(high, 0), high)
    return np.where(images > 0, low, -1.0), np.where(images > 0, high, 1.0)


def _end(n: np.ndarray, improved: np.ndarray, worsened: np.ndarray, gain: np.ndarray, side: float) -> np.ndarray:
    """Bisect between the gain, which is not rejected, and the largest or smallest difference that there is."""
    from scipy.special import ndtri

    bound = ndtri(1 - LEFT_OUT / 2)
    inner, outer = gain, np.full(len(n), side)
    for _ in range(HALVINGS):
        middle = (inner + outer) / 2
        kept = _score(n, improved, worsened, middle) < bound
        inner, outer = np.where(kept, middle, inner), np.where(kept, outer, middle)
    return outer


def _score(n: np.ndarray, improved: np.ndarray, worsened: np.ndarray, difference: np.ndarray) -> np.ndarray:
    """Tango's statistic, corrected: the distance of the gain from a difference, in standard errors under it.

    q is the maximum-likelihood estimate of the probability to worsen if the difference is the true one.
    """
    d = difference
    b = (2 * n - improved + worsened) * d - improved - worsened
    c = -worsened * d * (1 - d)
    q = (np.sqrt(np.maximum(b**2 - 8 * n * c, 0)) - b) / (4 * n)
    error = np.sqrt(np.maximum(n * (2 * q + d * (1 - d)), np.finfo(float).tiny))
    return np.maximum(np.abs(improved - worsened - n * d) - CORRECTION, 0) / error


def right_intervals(shares: Sequence[Share]) -> list[tuple[float, float]]:
    """For each group, the 95 % interval of the share that is right after retraining; 0 to 1 without images."""
    low, high = clopper_pearson(np.array([s.after for s in shares], int), np.array([s.images for s in shares], int))
    return list(zip(low.tolist(), high.tolist(), strict=True))


# --- In words ---------------------------------------------------------------------------------------------------


def in_words(sure: Certainty) -> str:
    """The verdict with its figures, such as `Better beyond doubt: +18.4 points (95% interval 16.5 to 20.4; …)`."""
    text = f"{sure.verdict.capitalize()}: {gain_text(sure)} points ({interval_text(sure)}; McNemar {p_text(sure.p)})"
    return f"{text}: {what_is_missing(sure.counts)}" if sure.verdict == NOT_SHOWN else text


def gain_text(sure: Certainty) -> str:
    """The gain in percentage points, with its sign."""
    return _points(sure.gain, _digits(sure), sign="+")


def interval_text(sure: Certainty) -> str:
    """The interval of the gain in percentage points, such as `95% interval 16.5 to 20.4`."""
    digits = _digits(sure)
    return f"95% interval {_points(sure.low, digits)} to {_points(sure.high, digits)}"


def p_text(p: float) -> str:
    """For example `p = .034`, `p < .0001`; never rounded across the level of the test."""
    if p < 0.0001:
        return "p < .0001"
    text = next(text for text in (f"{p:.{n}g}" for n in (2, 3, 4, 6, 17)) if (float(text) < LEVEL) == (p < LEVEL))
    return f"p = {text.removeprefix('0')}"


def what_is_missing(counts: Counts) -> str:
    """What it would take to show a difference with as many changed images, for a verdict of NOT_SHOWN."""
    changes = counts.improved + counts.worsened
    if not changes:
        return "no test image changed"
    least = least_to_show(changes)
    if least is None:
        return f"only {count(changes, 'test image')} changed, and fewer than {FEWEST} cannot show anything"
    return (
        f"{counts.improved:,} of the {changes:,} test images that changed improved; at least {least:,} improved would "
        f"show that it is better, at most {changes - least:,} that it is worse"
    )


def least_to_show(changes: int) -> int | None:
    """The least number, of so many changed images, that have to change the same way; None if all are too few."""
    more = np.arange((changes + 1) // 2, changes + 1)
    shown = more[mcnemar(more, changes - more) < LEVEL]
    return int(shown[0]) if len(shown) else None


def lost_in_words(sure: Certainty) -> str:
    """How many images that were right before are wrong now; empty if none was right before."""
    worsened, right = sure.counts.worsened, sure.counts.right_before
    if not right:
        return ""
    interval = f"95% interval {sure.lost_low:.1%} to {sure.lost_high:.1%}"
    return f"Wrong now of {count(right, 'image')} right before: {worsened:,}, {worsened / right:.1%} ({interval})"


def class_lines(names: Sequence[str], sure: Sequence[Certainty]) -> list[str]:
    """A sentence for each class that is better or worse beyond doubt, or one that says that none is worse."""
    tested = sum(one.counts.images > 0 for one in sure)
    if not tested:
        return []
    lines = [
        f"Class {name}: {one.verdict}, {gain_text(one)} points ({interval_text(one)}; {p_text(one.p)}, corrected for "
        f"{_classes(tested)})"
        for name, one in zip(names, sure, strict=True)
        if one.verdict != NOT_SHOWN
    ]
    if not any(one.verdict == WORSE for one in sure):
        lines.append(f"Of {_classes(tested)}, none is worse beyond doubt")
    return lines


def class_summary(sure: Sequence[Certainty]) -> str:
    """How many classes are better and how many worse beyond doubt; empty without classes."""
    verdicts = [one.verdict for one in sure if one.counts.images > 0]
    better, worse = verdicts.count(BETTER), verdicts.count(WORSE)
    return (
        f"Of {_classes(len(verdicts))}, {better or 'none'} better and {worse or 'none'} worse beyond doubt"
        if verdicts
        else ""
    )


def _classes(n: int) -> str:
    return f"{n:,} class{'' if n == 1 else 'es'}"


def _digits(sure: Certainty) -> int:
    """One decimal, or as many as it takes for ends that are not 0 not to look like 0."""
    ends = [end for end in (sure.low, sure.high) if end]
    return next((n for n in (1, 2, 3) if all(abs(100 * end) >= 0.5 * 10**-n for end in ends)), 4)


def _points(share: float, digits: int, *, sign: str = "") -> str:
    return f"{round(100 * share, digits) + 0.0:{sign}.{digits}f}"  # adding 0 turns -0 into 0
