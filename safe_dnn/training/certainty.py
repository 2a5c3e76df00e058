"""How sure it is that retraining made the DNN better or worse, from what both models get right on the same test images.

Only test images on which the two models differ say which one is better. If neither is, each of these is equally likely
to have improved or worsened: the exact test of McNemar. The difference of the accuracies has Tango's score interval
with a continuity correction of half an image. Without it, coverage falls to 93 % for 30 to 100 images; with it, it was
at least 95 % for each of 200 pairs of rates and seven numbers of images from 5 to 200.
Where the exact test does not reject, the interval is extended to 0, so that interval and verdict agree.

The images are taken as independent draws of those that the DNN will meet. Where they are of persons or drives, these
are what is drawn: the difference is then a ratio of sums over groups, with the variance of leaving out each group in
turn (jackknife) and Student's t with the effective number of groups, (Σ n)² / Σ n², less one. The larger p and the
wider interval count, so that groups never add a verdict (docs/decisions/051-claims.md).

Training again with another seed may give another model; this module says nothing about that.

Which reasons for failing are closed is asked in the same way, and none is looked for anew. In: claims on the earlier
model (see `reasons/claims.py`), and what both models get right of images that chose nothing. Out: for each claim the
rates before and after, with the test of the difference, corrected for the number of claims, and what may be claimed of
new images.

Sources: McNemar, Psychometrika 12(2), 1947 (the test; exact, as a sign test); Tango, Stat. Med. 17(8), 1998 (the
interval); Clopper & Pearson, Biometrika 26(4), 1934 (intervals of shares); Obuchowski, Stat. Med. 17(13),
1998 (McNemar's test of groups, here with the jackknife's variance); Holm, Scand. J. Stat. 6(2), 1979 (the
correction for the number of classes).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.figures import Figures, Groups, assess, corrected, effective_share
from safe_dnn.reasons.claims import Claim, expected_of
from safe_dnn.support.intervals import LEFT_OUT, clopper_pearson
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import count, printable, rate_text, some
from safe_dnn.training.before_after import Answered, ByGroup, Counts, Share, count_by_group

BETTER, WORSE, NOT_SHOWN = "better beyond doubt", "worse beyond doubt", "not shown"
LEVEL = 0.05  # of the tests
CORRECTION = 0.5  # images
FEWEST = 6  # changed images that can show a difference: 2 / 2 ** 6 < LEVEL
MOST_CHANGED = 5  # classes, or RCCs, in a line each
HALVINGS = 60  # from 1 to below the precision of a float64
CLOSURE_FILE = "closure.csv"
CLOSED, REDUCED, UNCHANGED, WORSENED, NEW = "closed", "reduced", "unchanged", "worse", "new"
CONFIDENCE = 0.95
REST = "everything else"
# Of `closure.csv`, with what they hold of a `Closure`
_COLUMNS = {"reason": "claim.reason", "where": "claim.where", "state": "state", "tested": "after.tested"}
_COLUMNS |= {"wrong_before": "before.wrong", "wrong_after": "after.wrong", "rate_after": "after.rate"}
_COLUMNS |= {"low": "after.low", "high": "after.high", "limit": "limit", "expected": "before.expected"}
_COLUMNS |= {"gain": "sure.gain", "gain_low": "sure.low", "gain_high": "sure.high", "p": "sure.p"}
_COLUMNS |= {"groups": "after.n_groups", "group": "after.group"}


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
    groups : int
        Of how many groups, such as persons, the images are; 0 if they count as independent.
    group : str
        What such a group is.
    """

    counts: Counts
    gain: float
    low: float
    high: float
    p: float
    verdict: str
    lost_low: float
    lost_high: float
    groups: int = 0
    group: str = ""


def count_pairs(before: np.ndarray, after: np.ndarray) -> Counts:
    """Count what changed between two models.

    Parameters
    ----------
    before, after : ndarray of shape (n_images,), bool
        Whether each model gets the image right.
    """
    return Counts(len(before), int(before.sum()), int((~before & after).sum()), int((before & ~after).sum()))


def certainty(counts: Counts, by_group: ByGroup | None = None) -> Certainty:
    """How sure it is that the second model is better or worse.

    Parameters
    ----------
    by_group : ByGroup, optional
        Of the same images, where they are not independent.
    """
    return certainties([counts], by_group)[0]


def certainties(
    classes: Sequence[Counts], by_group: ByGroup | None = None, names: Sequence[str | None] = (None,)
) -> list[Certainty]:
    """How sure it is for each of several classes of images, with p corrected for their number.

    If the models are equally good in every class, the probability that any gets a verdict other than NOT_SHOWN is below
    5 % (Holm). Classes without images do not count.

    Parameters
    ----------
    by_group : ByGroup, optional
        As for `certainty`.
    names : sequence of str or None
        Of the classes, by which `by_group` has them; None for all images.
    """
    if not classes:
        return []
    table = np.array(classes, int)
    images, right, improved, worsened = table.T
    alone = mcnemar(improved, worsened)
    low, high = difference_interval(images, improved, worsened)
    parts = [_by_group(by_group, name) for name in names] if by_group else []
    worth, groups = np.ones(len(table)), [0] * len(table)
    for i, part in enumerate(parts):
        if 1 < len(part) < images[i]:  # images of one group alone, or of a group each, count as independent
            p_of_groups, low_of_groups, high_of_groups = clustered(part)
            alone[i] = max(alone[i], p_of_groups)
            low[i], high[i] = min(low[i], low_of_groups), max(high[i], high_of_groups)
            was_right = part[part[:, 1] > 0]
            worth[i] = effective_share(was_right[None, :, 1], was_right[None, :, 3], 0.0)[0]
            groups[i] = len(part)
    p = np.ones(len(table))
    p[images > 0] = corrected(alone[images > 0])
    lost_low, lost_high = clopper_pearson(worth * worsened, worth * right)
    gain = (improved - worsened) / np.maximum(images, 1)
    verdicts = [NOT_SHOWN if p[i] >= LEVEL else BETTER if gain[i] > 0 else WORSE for i in range(len(table))]
    name = by_group.name if by_group else ""
    columns = (gain.tolist(), low.tolist(), high.tolist(), p.tolist(), verdicts, lost_low.tolist(), lost_high.tolist())
    return [Certainty._make([*row, name]) for row in zip(classes, *columns, groups, strict=True)]


def class_certainties(
    shares: Sequence[Share], improved: Iterable[Answered], worsened: Iterable[Answered], by_group: ByGroup | None
) -> list[Certainty]:
    """`certainties` of the classes that shares are of, in their order."""
    better, worse = (Counter(image.label for image in images) for images in (improved, worsened))
    counts = [Counts(share.images, share.before, better[share.name], worse[share.name]) for share in shares]
    return certainties(counts, by_group, [share.name for share in shares])


def _by_group(by_group: ByGroup, name: str | None) -> np.ndarray:
    """The counts of each group that has images of a class, or of all: ndarray of shape (n_groups, 4), int64."""
    rows = [row for row in by_group.counts if name in (None, row.label)]
    of, place = np.unique([row.group for row in rows], return_inverse=True)
    table = np.zeros((len(of), 4), np.int64)
    np.add.at(table, place, np.array([row[2:] for row in rows], np.int64).reshape(-1, 4))
    return table


def clustered(groups: np.ndarray) -> tuple[float, float, float]:
    """The two-sided p of the difference of two accuracies, and its 95 % interval, of images of two groups or more.

    The interval contains 0 if and only if p is at least .05.

    Parameters
    ----------
    groups : ndarray of shape (n_groups, 4), int
        As `Counts`, of each group.
    """
    from scipy.stats import t as t_distribution  # type: ignore[attr-defined]

    size, change = groups[:, 0].astype(float), (groups[:, 2] - groups[:, 3]).astype(float)
    images, gain = size.sum(), change.sum() / size.sum()
    by_leaving_out = (change - size * gain) / (images - size)  # so much smaller is the gain without the group
    error = np.sqrt((1 - 1 / len(size)) * (by_leaving_out**2).sum())
    degrees = max(images**2 / (size**2).sum() - 1, 1)
    p = 2 * t_distribution.sf(abs(gain) / error, degrees) if error else float(gain == 0)
    half = error * t_distribution.isf(LEFT_OUT / 2, degrees)
    return float(p), max(gain - half, -1.0), min(gain + half, 1.0)


def mcnemar(improved: np.ndarray | int, worsened: np.ndarray | int) -> np.ndarray:
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
        inside = _score(n, improved, worsened, middle) < bound
        inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
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


def with_intervals(shares: Sequence[Share], by_group: ByGroup | None = None) -> list[tuple[Share, tuple[float, float]]]:
    """Each share with the 95 % interval of what is right after retraining; 0 to 1 without images.

    Parameters
    ----------
    by_group : ByGroup, optional
        Of the same images, if shares are those of classes; otherwise images count as independent.
    """
    worth = np.ones(len(shares))
    for i, part in enumerate([_by_group(by_group, share.name) for share in shares] if by_group else ()):
        images, right, improved, worsened = part.T
        if len(images):
            worth[i] = effective_share(images[None], (right + improved - worsened)[None], 0.0)[0]
    after, tested = (worth * np.array([getattr(s, name) for s in shares], int) for name in ("after", "images"))
    low, high = clopper_pearson(after, tested)
    return list(zip(shares, zip(low.tolist(), high.tolist(), strict=True), strict=True))


# --- In words ---------------------------------------------------------------------------------------------------


def in_words(sure: Certainty) -> str:
    """The verdict with its figures, such as `Better beyond doubt: +18.4 points (95% interval 16.5 to 20.4; …)`."""
    text = f"{sure.verdict.capitalize()}: {gain_text(sure)} points ({interval_text(sure)}; {mcnemar_text(sure)})"
    return f"{text}: {what_is_missing(sure)}" if sure.verdict == NOT_SHOWN else text


def mcnemar_text(sure: Certainty) -> str:
    """The test with its p, such as `McNemar p = .034`, `McNemar by 18 persons p = .034`."""
    if sure.group and not sure.groups:
        return f"McNemar {p_text(sure.p)}; images of one {sure.group} counted as independent"
    return f"McNemar {f'by {count(sure.groups, sure.group)} ' if sure.groups else ''}{p_text(sure.p)}"


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


def what_is_missing(sure: Certainty) -> str:
    """Why no difference between two models is shown, for a verdict of NOT_SHOWN."""
    counts = sure.counts
    differ = counts.improved + counts.worsened
    if not differ:
        return "both are right on the same test images"
    if mcnemar(counts.improved, counts.worsened) < LEVEL:
        return f"{count(sure.groups, sure.group)} differ too much from each other; more of them might show it"
    few = f", and fewer than {FEWEST} cannot show anything" if differ < FEWEST else ""
    return f"the networks differ on {count(differ, 'test image')}; the second one is right on {counts.improved:,}{few}"


def lost_in_words(sure: Certainty) -> str:
    """How many images that were right before are wrong now; empty if none was right before."""
    worsened, right = sure.counts.worsened, sure.counts.right_before
    if not right:
        return ""
    interval = f"95% interval {sure.lost_low:.1%} to {sure.lost_high:.1%}"
    return f"Wrong now of {count(right, 'image')} right before: {worsened:,}, {worsened / right:.1%} ({interval})"


def class_lines(names: Sequence[str], sure: Sequence[Certainty]) -> list[str]:
    """How many classes are better and how many worse beyond doubt, and a sentence for each, unless they are many.

    Those that are worse come first, then those that gained most; at most `MOST_CHANGED`.
    """
    changed = [(name, one) for name, one in zip(names, sure, strict=True) if one.verdict != NOT_SHOWN]
    changed.sort(key=lambda named: (named[1].verdict != WORSE, -abs(named[1].gain)))
    lines = [
        f"Class {name}: {one.verdict}, {gain_text(one)} points ({interval_text(one)}; {p_text(one.p)}, corrected)"
        for name, one in changed[:MOST_CHANGED]
    ]
    return [summary, *lines] if (summary := class_summary(sure)) else []


def class_summary(sure: Sequence[Certainty]) -> str:
    """How many classes are better and how many worse beyond doubt; empty unless there are several."""
    verdicts = [one.verdict for one in sure if one.counts.images > 0]
    better, worse = verdicts.count(BETTER), verdicts.count(WORSE)
    if len(verdicts) < 2:
        return ""
    return f"Of {len(verdicts):,} classes, {better or 'none'} better and {worse or 'none'} worse beyond doubt"


def _digits(sure: Certainty) -> int:
    """One decimal, or as many as it takes for ends that are not 0 not to look like 0."""
    ends = [end for end in (sure.low, sure.high) if end]
    return next((n for n in (1, 2, 3) if all(abs(100 * end) >= 0.5 * 10**-n for end in ends)), 4)


def _points(share: float, digits: int, *, sign: str = "") -> str:
    return f"{round(100 * share, digits) + 0.0:{sign}.{digits}f}"  # adding 0 turns -0 into 0


class Closure(NamedTuple):
    """What a later model makes of a claim.

    Attributes
    ----------
    claim : Claim
        Last, `REST`: the images that no claim is about.
    state : str
        CLOSED: fewer are wrong, beyond chance, and the interval of the rate after lies below the rate that the earlier
        model had on images like these: nothing stands out any more. REDUCED: fewer are wrong, beyond chance. WORSENED:
        more are, beyond chance; NEW, of images that no claim is about. UNCHANGED: a difference is not shown.
    before, after : Figures
    sure : Certainty
        Of the gain in accuracy; p is corrected.
    """

    claim: Claim
    state: str
    before: Figures
    after: Figures
    sure: Certainty

    @property
    def limit(self) -> float:
        """Which the rate after does not exceed at 95 %, one-sided: if none is wrong, 1 − .05^(1/n), of n groups if
        images are of groups (see `share_for_limit`)."""
        return self.after.limits(CONFIDENCE)[1]

    @property
    def text(self) -> str:
        """For example `weak spot 1, light < 0.1: closed. Of 52 images, 40 were wrong and 1 is (2%, 0–10%), …`."""
        wrong = self.after.wrong
        if not self.after.tested:
            return f"{self.claim.called}: not known. There are no such images."
        return (
            f"{self.claim.called}: {self.state}. Of {self.after.images()}, {self.before.wrong:,} were wrong and "
            f"{wrong:,} {'is' if wrong == 1 else 'are'} ({rate_text(self.after.rate)}, "
            f"{self.after.interval}): {gain_text(self.sure)} points ({interval_text(self.sure)}). Of new "
            f"ones, at most {self.limit:.1%} at {CONFIDENCE:.0%}."
        )


def by_answers(claims: Iterable[Claim]) -> list[str]:
    """A sentence on the claims whose conditions name the answers given, which `closures` leaves out; or none.

    Where one model answers so, images are chosen by its own errors: another one that is as good fails less often there.
    """
    wheres = [claim.where for claim in claims if claim.is_by_answers]
    return [f"Not compared, since each model gives other answers: {printable(some(wheres))}."] if wheres else []


def closures(
    claims: Sequence[Claim], before: np.ndarray, after: np.ndarray, groups: Groups | None = None,
    classes: np.ndarray | None = None, *, beside: Sequence[Claim] = (),
) -> list[Closure]:  # fmt: skip
    """What a later model makes of each claim and, last, of the images that none is about.

    Parameters
    ----------
    claims : sequence of Claim
        Those are left out whose images are not known, or depend on the answers given (see `by_answers`).
    before, after : ndarray of shape (n_images,), bool
        Whether each model gets the image right.
    groups : Groups, optional
        Of images that are not independent.
    classes : ndarray of shape (n_images,), int, optional
        As of `reasons.known.known_classes`.
    beside : sequence of Claim, optional
        Further ones, whose images may be of no claim all the same.
    """
    about, held, rest = list[Claim](), list[np.ndarray](), np.ones(len(before), bool)
    for at, claim in enumerate((*claims, *beside)):
        if claim.holds is not None and not claim.is_by_answers:
            about, held = [*about, claim], [*held, claim.holds]
            rest &= ~claim.holds | (at >= len(claims))
    about, held = [*about, Claim(REST, (), rest)], [*held, rest]
    names, by_group = [str(number) for number in range(len(held))], None
    if groups:  # an image may be of several claims
        row_of, row = np.nonzero(held)
        by_group = ByGroup(groups.name, count_by_group(groups.of[row], row_of, names, before[row], after[row]))
    sure = certainties([count_pairs(before[holds], after[holds]) for holds in held], by_group, names)
    without = expected_of(about[:-1], ~before, groups, classes)
    first, later = assess(held, ~before, groups, expected=without), assess(held, ~after, groups)
    changes = []
    for claim, then, now, one in zip(about, first, later, sure, strict=True):
        better, worse = (REDUCED, NEW) if claim.reason == REST else (CLOSED, WORSENED)
        states = {BETTER: better if now.high <= then.expected else REDUCED, WORSE: worse}
        changes.append(Closure(claim, states.get(one.verdict, UNCHANGED), then, now, one))
    return changes


def closure_text(closures: Iterable[Closure]) -> str:
    """`closure.csv`: a row for each claim, and the last for the images that none is about."""
    return table_text(_COLUMNS, map(attrgetter(*_COLUMNS.values()), closures))
