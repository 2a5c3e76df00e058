"""Conditions as they were found, made as plain as the failures allow: no needless clause, limits where the curve bends.

The search takes the images of one condition away before it looks for the next. So a second cause may be found as
`blur >= 1 and dark < 0.8` only because dark images are gone, though blurred images fail more often among dark ones,
too. A clause is *needless* if the rest of the condition fails where the clause is false nearly as much as where it
holds, beyond chance. As much is measured by the *power* of a cause: of the images that would be right without it, the
share that is lost to it. Independent causes have the same power whatever else is wrong; their log odds and differences
of rates differ. Of two needless clauses, that is dropped which explains wrong and right least, or each stands alone.

A condition is also found as wide as its failure rate exceeds that of the images that are left. But along a number that
failing goes with gradually, a limit says most where the curve bends: where one step predicts wrong and right best,
given the class and the other reasons.

Conditions in; conditions out. What was tried: docs/decisions/061-expected-rates.md.

Sources: Cheng, Psychological Review 104(2), 1997 (causal power); Schwarz, Annals of Statistics 6(2), 1978 (the price of
one more condition).
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.conditions import (
    LEAST_TESTED,
    TURN,
    Conditions,
    Literal,
    hold,
    joined,
    of_classes,
    round_cuts,
    says_more,
)
from safe_dnn.rccs.spots.expected import LOGISTIC, FailureModel
from safe_dnn.rccs.spots.figures import Groups, grouping, share_of

SHARE = 0.4  # of the power of a condition that is left where a needless clause is false
LEFT_OUT = 0.0124  # by the interval of the excess there: 2.5 standard deviations on each side
LEAST_THERE, LEAST_WRONG = 30, 10  # images where a clause is false, and wrong ones: of fewer nothing follows
PARTS = 100  # into which a number is cut for limits; beyond the outermost limits into three times as many
LEVELS = 24  # of the rates without a reason
MOST_ROUNDS = 4  # in which limits and clauses are chosen, since each depends on the others
STEPS = 12  # of Newton's method, for the height of a step
GAIN = 1.0  # for which a limit is moved (see `_Steps.gains`)
AS_GOOD = 0.5  # below the best: of such limits, the roundest is taken


class KnownImages(NamedTuple):
    """What is known of tested images, and whether the DNN gets them wrong.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
    wrong : ndarray of shape (n_images,), bool
    label : str
        The column of the class; empty if there is none.
    classes : ndarray of shape (n_images,), int, or None
        From 0.
    groups : Groups or None
        Of images that are not independent.
    """

    columns: Mapping[str, np.ndarray]
    wrong: np.ndarray
    label: str = ""
    classes: np.ndarray | None = None
    groups: Groups | None = None

    def holds(self, conditions: Sequence[Conditions]) -> np.ndarray:
        """For which images conjunctions hold: bool of shape (n_conditions, n_images)."""
        n = len(self.wrong)
        return np.array([hold(each, self.columns, n) for each in conditions], bool).reshape(len(conditions), n)

    def model(self, holds: np.ndarray) -> FailureModel:
        """The model of failures by classes and by the reasons that hold."""
        return FailureModel(holds, self.wrong, self.classes, self.groups.of if self.groups else None)


def revised(conditions: Sequence[Conditions], tested: KnownImages) -> list[Conditions]:
    """The conditions without needless clauses, with limits where the curve bends; equal ones are one.

    Parameters
    ----------
    conditions : sequence of conjunctions
    tested : KnownImages
    """
    plain = without_needless(conditions, tested)
    for _ in range(MOST_ROUNDS):
        before = [*plain]
        for place in range(len(plain)):
            plain[place] = _at_bends(plain, place, tested)
        plain = without_needless(_merged(plain), tested)
        if plain == before:
            break
    return plain


def _merged(conditions: Sequence[Conditions]) -> list[Conditions]:
    """Without those that are equal to earlier ones; two whose ranges touch are one."""
    kept = list[Conditions]()
    for each in conditions:
        kept = merged_with(kept, each)
    return kept


def merged_with(conditions: Sequence[Conditions], literals: Conditions) -> list[Conditions]:
    """The conditions with another one added: two that touch, such as those of dark and rather dark images, are one."""
    for place, earlier in enumerate(conditions):
        if {*earlier} == {*literals}:
            return [*conditions]
        if both := joined(earlier, literals):
            return merged_with([*conditions[:place], *conditions[place + 1 :]], both)
    return [*conditions, literals]


# --- Clauses ------------------------------------------------------------------------------------------------------


def without_needless(conditions: Sequence[Conditions], tested: KnownImages) -> list[Conditions]:
    """The conditions without clauses that only leave out other reasons."""
    kept = [*conditions]
    while revision := next(_revisions(kept, tested), None):
        place, parts = revision
        kept = _merged([*kept[:place], *parts, *kept[place + 1 :]])
    return kept


def _revisions(conditions: Sequence[Conditions], tested: KnownImages) -> Iterator[tuple[int, Sequence[Conditions]]]:
    """The place of each condition that has a needless clause, and what it becomes."""
    for place, literals in enumerate(conditions):
        others = [*conditions[:place], *conditions[place + 1 :]]
        rests = [_without(literals, clause) for clause in literals if _is_needless(literals, clause, others, tested)]
        if len(rests) == 1:
            yield place, rests
        elif rests:
            yield place, max(([rests[0]], [rests[1]], rests[:2]), key=lambda each: _worth([*others, *each], tested))


def _without(literals: Conditions, clause: Literal) -> Conditions:
    return tuple(each for each in literals if each != clause)


def _is_needless(literals: Conditions, clause: Literal, others: Sequence[Conditions], tested: KnownImages) -> bool:
    rest, wrong = _without(literals, clause), tested.wrong
    if not rest or of_classes(rest, tested.label):
        return False
    column = tested.columns[clause.column]
    known = column != "" if column.dtype.kind not in "fiub" else np.isfinite(column)
    there, (of_rest,) = clause.holds(column), tested.holds([rest])
    here, beyond = of_rest & there, of_rest & known & ~there
    if np.count_nonzero(beyond) < LEAST_THERE or np.count_nonzero(beyond & wrong) < LEAST_WRONG:
        return False
    stay = [each for each in others if not says_more(each, rest) and not of_classes(each, tested.label)]
    model, away = tested.model(np.array([here, beyond, *tested.holds(stay)], bool)), (0, 1)
    powers = []
    for images in (here, beyond):
        expected, rate = model.expected(images, away), float(wrong[images].mean())
        powers.append(1 - (1 - rate) / max(1 - expected.rate, 1e-9))
    of, correlation = grouping(tested.groups, wrong)
    worth = share_of(of[beyond], wrong[beyond], correlation) if tested.groups else 1.0
    failing = int(np.count_nonzero(beyond & wrong))
    low, _ = expected.limits_of_excess(failing, int(np.count_nonzero(beyond)), worth, LEFT_OUT)
    return low > 0 and powers[1] >= SHARE * powers[0]


def _worth(conditions: Sequence[Conditions], tested: KnownImages) -> float:
    """How well conditions explain wrong and right, each at its price."""
    about = [each for each in conditions if not of_classes(each, tested.label)]
    return tested.model(tested.holds(about)).likelihood - math.log(len(tested.wrong)) / 2 * len(about)


# --- Limits -------------------------------------------------------------------------------------------------------


def _at_bends(conditions: Sequence[Conditions], place: int, tested: KnownImages) -> Conditions:
    """A condition with each limit of a number where one step explains most, given the class and other reasons."""
    literals = conditions[place]
    if all(isinstance(literal.value, str) for literal in literals):
        return literals
    stay = [each for at, each in enumerate(conditions) if at != place and not says_more(each, literals)]
    stay = [each for each in stay if not of_classes(each, tested.label)]
    rates = tested.model(tested.holds([literals, *stay])).rates_without([0])
    for literal in literals:
        rest = _without(literals, literal)
        images = hold(rest, tested.columns, len(tested.wrong))
        chosen = _best(literal, tested.columns[literal.column], images, rates, tested.wrong)
        literals = tuple(chosen if each == literal else each for each in literals)
    return literals


def _best(literal: Literal, column: np.ndarray, images: np.ndarray, rates: np.ndarray, wrong: np.ndarray) -> Literal:
    """The condition on the same column that explains most among some images, for which the rest holds."""
    if isinstance(literal.value, str):
        return literal
    images = images & np.isfinite(column)
    values, failing = column[images].astype(float), wrong[images]
    sums = np.log(rates[images]) - np.log1p(-rates[images])
    ends = np.unique(np.quantile(sums, np.linspace(0, 1, LEVELS + 1)[1:-1]))
    level = np.searchsorted(ends, sums)
    heights = np.bincount(level, sums, len(ends) + 1) / np.maximum(np.bincount(level, minlength=len(ends) + 1), 1)
    steps = _Steps(values, failing, level, heights)
    for end in range(2 if isinstance(literal.value, tuple) else 1):
        tried = [literal, *_moved(literal, end, column)]
        gains = steps.gains(tried)
        if gains.max() > gains[0] + GAIN:
            as_good = [each for each, gain in zip(tried, gains, strict=True) if gain >= gains.max() - AS_GOOD]
            literal = min(as_good, key=lambda each: len(f"{np.atleast_1d(each.value)[end]:g}".rstrip("0")))
    return literal


def _moved(literal: Literal, end: int, column: np.ndarray) -> list[Literal]:
    """The condition with other limits at one of its ends."""
    if literal.is_arc:
        low, high = (float(value) for value in np.atleast_1d(np.array(literal.value, float)))
        ends = [(low, low + width) if end else (high - width, high) for width in range(10, TURN, 10)]
        begin = -TURN / 2 if min(low, high) < 0 else 0.0
        turned = [((first - begin) % TURN + begin, (last - begin) % TURN + begin) for first, last in ends]
        return [literal._replace(value=pair) for pair in turned]
    cuts = _limits(column[np.isfinite(column)].astype(float))
    if not isinstance(literal.value, tuple):
        return [literal._replace(value=cut) for cut in cuts]
    other = literal.value[1 - end]
    pairs = [(other, cut) if end else (cut, other) for cut in cuts]
    return [literal._replace(value=pair) for pair in pairs if pair[0] < pair[1]]


def _limits(known: np.ndarray) -> list[float]:
    """Where a number may be cut; at its ends, where few images are, more finely."""
    cuts = round_cuts(known, parts=PARTS)
    if not cuts:
        return []
    rare = [cut for cut in round_cuts(known, parts=3 * PARTS) if not cuts[0] < cut < cuts[-1]]
    return sorted({*cuts, *rare})


class _Steps(NamedTuple):
    """Images along a number, to explain wrong and right by one step given their rates without a reason.

    Attributes
    ----------
    values : ndarray of shape (n_images,), float64
    wrong : ndarray of shape (n_images,), bool
    level : ndarray of shape (n_images,), int
        Of their rates without the reason.
    heights : ndarray of shape (n_levels,), float64
        The mean log odds of each level.
    """

    values: np.ndarray
    wrong: np.ndarray
    level: np.ndarray
    heights: np.ndarray

    def gains(self, tried: Sequence[Literal]) -> np.ndarray:
        """How much a step at each of some conditions explains; −infinity if it is downwards, or of few images.

        The squared error of the rates (Brier score), negative, in units of twice the variance of wrong, in which it is
        about a log likelihood. That itself is least where the curve is nearer to its rarer side; this is halfway up.

        Returns
        -------
        ndarray of shape (n_tried,), float64
        """
        limits = np.unique([limit for literal in tried for limit in np.atleast_1d(literal.value)])
        part = self.values if tried[0].is_arc else np.searchsorted(limits, self.values, side="right")
        _, first, at = np.unique(part, return_index=True, return_inverse=True)
        numbers, n = self.values[first], len(self.heights)
        cells = at * n + self.level
        images = np.bincount(cells, minlength=len(numbers) * n).reshape(len(numbers), n)
        failing = np.bincount(cells, self.wrong, minlength=len(numbers) * n).reshape(len(numbers), n)
        holds = np.array([literal.holds(numbers) for literal in tried], bool).astype(float)
        inside, wrong_inside = holds @ images, holds @ failing
        shift, error = self._fitted(inside, wrong_inside)
        shift_beyond, beyond = self._fitted(images.sum(axis=0) - inside, failing.sum(axis=0) - wrong_inside)
        fine = (inside.sum(axis=1) >= LEAST_TESTED) & (shift > shift_beyond)
        unit = 2 * max(float(self.wrong.mean() * (1 - self.wrong.mean())), 1e-9)
        return np.where(fine, -(error + beyond) / unit, -np.inf)

    def _fitted(self, images: np.ndarray, failing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shift of log odds that fits best, and the squared error that is left: each of shape (n_tried,)."""
        shift, sums = np.zeros(len(images)), failing.sum(axis=1) + 0.5 * (images.sum(axis=1) > 0)
        for _ in range(STEPS):
            rates, slopes = LOGISTIC.rates(self.heights + shift[:, None])
            # Half a wrong and half a right image keep it finite
            difference = sums - (images * rates).sum(axis=1) - LOGISTIC.rates(shift)[0]
            shift += np.clip(difference / np.maximum((images * slopes).sum(axis=1) + 1e-3, 1e-3), -3, 3)
        rates = LOGISTIC.rates(self.heights + shift[:, None])[0]
        return shift, (failing * (1 - rates) ** 2 + (images - failing) * rates**2).sum(axis=1)
