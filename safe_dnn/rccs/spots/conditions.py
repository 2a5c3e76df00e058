"""Simple conditions on what is known of images: `label = centre`, `contrast >= 0.27`, `gaze_deg from 350 to 20`.

Weak spots are made of them (see `weak_spots.py`). A column in; the conditions that are worth trying out, with numbers
cut at round values, as an engineer would say them.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from safe_dnn.rccs.parameters import ANGLE_SUFFIX, spelt_alike

LEAST_TESTED = 8  # images under a condition; of fewer nothing can be said
TURN = 360
ARC_WIDTHS = (10, 20, 30, 40, 50, 60, 70, 80, 90, 120, 150, 180)
COARSE_ARC = 45  # degrees; of the arcs that are combined with others
GAP = 0.2  # of a number's range: so far apart are groups of values such as day and night
EQUALLY = 0.05  # chance in the chi-square test from which values fail equally often
LITTLE = 0.05  # of the variance of right and wrong: values that explain less fail about equally often
FINER = 3  # times as many parts make the rare values at both ends of a number
MARGIN = 0.4  # of a part: how far a cut may be from its quantile to be round


class Literal(NamedTuple):
    """A simple condition on one column.

    Attributes
    ----------
    column : str
    sign : "=", "!=", "<", ">=", "from" or "outside"
        "from" is a range, of angles also across 0° or 180°; its lower end belongs to it, its upper end does not.
        "outside" is all that is in no such range: two tails.
    value : str, float, or a pair of float
    """

    column: str
    sign: str
    value: str | float | tuple[float, float]

    def __str__(self) -> str:
        if isinstance(self.value, tuple):
            low, high = (f"{end:.12g}" for end in self.value)
            return f"{self.column} " + (f"from {low} to {high}" if self.sign == "from" else f"< {low} or >= {high}")
        return f"{self.column} {self.sign} {self.value if isinstance(self.value, str) else f'{self.value:.12g}'}"

    @property
    def words(self) -> str:
        """For example `the class is centre`, `light is below 0.4`, `age is below 3.5 or from 65 on`."""
        name = {"label": "the class", "predicted": "the answer"}.get(self.column, self.column)
        if isinstance(self.value, str):
            return f"{name} is {'' if self.sign == '=' else 'not '}{self.value}"
        low, high = (f"{end:.12g}" for end in (self.value if isinstance(self.value, tuple) else (self.value,) * 2))
        ranges = {"<": f"below {low}", ">=": f"from {low} on", "from": f"from {low} to {high}"}
        name = self.column if name == "the class" else name
        return f"{name} is {ranges.get(self.sign, f'below {low} or from {high} on')}"

    @property
    def canonical(self) -> "Literal":
        """The same for the same condition: a range of angles from 0° to 360°, whatever words it is in."""
        if isinstance(self.value, tuple) and self.is_arc:
            return self._replace(value=(self.value[0] % TURN, self.value[1] % TURN))
        return self

    @property
    def is_arc(self) -> bool:
        """Whether it is a range of angles, which goes on at 360°."""
        return self.sign == "from" and self.column.endswith(ANGLE_SUFFIX)

    def is_about(self, column: np.ndarray) -> bool:
        """Whether the column is of the kind that it compares: texts or numbers."""
        return (column.dtype.kind in "fiub") != isinstance(self.value, str)

    def holds(self, column: np.ndarray) -> np.ndarray:
        """For which images it holds: bool of shape (n_images,). False where the value is unknown."""
        if not self.is_about(column):  # it has become another kind
            return np.zeros(len(column), bool)
        if isinstance(self.value, str):
            same = column == self.value
            if not same.any() and self.column not in ("label", "predicted"):  # it may be spelt in another way here
                own = spelt_alike(self.value)
                same = np.array([spelt_alike(text) == own for text in column.tolist()], bool)
            return np.asarray((column != "") & (same == (self.sign == "=")))
        if isinstance(self.value, tuple):
            low, high = self.value
            if self.is_arc:
                return (column - low) % TURN < (high - low) % TURN
            return (column >= low) & (column < high) if self.sign == "from" else (column < low) | (column >= high)
        return column >= self.value if self.sign == ">=" else column < self.value


Conditions: TypeAlias = tuple[Literal, ...]


def are_known(conditions: Conditions, columns: Mapping[str, np.ndarray]) -> bool:
    """Whether images have all columns, of the kind that is compared."""
    return all(one.column in columns and one.is_about(columns[one.column]) for one in conditions)


def hold(conditions: Conditions, columns: Mapping[str, np.ndarray], n_images: int) -> np.ndarray:
    """For which images all conditions hold: bool of shape (n_images,); without conditions, for all."""
    each = (one.holds(columns[one.column]) for one in conditions)
    return np.logical_and.reduce([np.ones(n_images, bool), *each])


def of_classes(conditions: Conditions, label: str) -> bool:
    """Whether conditions are about the true class alone."""
    return bool(conditions) and all(literal.column == label for literal in conditions)


def says_more(conditions: Conditions, than: Conditions) -> bool:
    """Whether a conjunction holds only where another one does: each of its conditions includes one of this one."""
    return all(any(_within(literal, broader) for literal in conditions) for broader in than)


def _within(literal: Literal, broader: Literal) -> bool:
    """Whether a simple condition is as narrow as another one on its column, or narrower."""
    if literal.canonical == broader.canonical:
        return True
    texts = isinstance(literal.value, str) or isinstance(broader.value, str)
    if literal.column != broader.column or texts or literal.is_arc or broader.is_arc:
        same = literal.column == broader.column and isinstance(literal.value, str) and isinstance(broader.value, str)
        return same and (literal.sign, broader.sign) == ("=", "!=") and literal.value != broader.value
    return all(
        any(begin <= low and high <= end for begin, end in spans(broader)) for low, high in spans(literal)
    )  # fmt: skip


def joined(first: Sequence[Literal], second: Sequence[Literal]) -> tuple[Literal, ...] | None:
    """One conjunction for two that differ in a range of a number alone, if the ranges touch; otherwise None."""
    apart = [pair for pair in zip(first, second, strict=False) if pair[0] != pair[1]]
    if len(first) != len(second) or len(apart) != 1:
        return None
    both = _joined(*apart[0])
    return both and tuple(both if literal == apart[0][0] else literal for literal in first)


def _joined(first: Literal, second: Literal) -> Literal | None:
    """None also if all is in one range or the other."""
    if first.column != second.column or isinstance(first.value, str) or isinstance(second.value, str):
        return None
    if first.is_arc and second.is_arc:
        return _joined_arc(first.column, spans(first)[0], spans(second)[0])
    ranges = sorted(spans(first) + spans(second))
    merged = ranges[:1]
    for low, high in ranges[1:]:
        if low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(high, merged[-1][1]))
        else:
            merged.append((low, high))
    ends = [end for span in merged for end in span if math.isfinite(end)]
    if len(merged) == len(ranges) or not 0 < len(ends) < 3:
        return None
    if len(ends) == 2:
        return Literal(first.column, "from" if len(merged) == 1 else "outside", (ends[0], ends[1]))
    return Literal(first.column, "<" if math.isinf(merged[0][0]) else ">=", ends[0])


def spans(literal: Literal) -> list[tuple[float, float]]:
    """The ranges of numbers that it holds for, from low to high."""
    ends = literal.value if isinstance(literal.value, tuple) else (float(literal.value),) * 2
    if literal.sign == "from":
        return [ends]
    tails = [(-math.inf, ends[0]), (ends[1], math.inf)]
    return {"<": tails[:1], ">=": tails[1:], "outside": tails}[literal.sign]


def _joined_arc(column: str, first: tuple[float, float], second: tuple[float, float]) -> Literal | None:
    for (low, high), (begin, end) in ((first, second), (second, first)):
        width, later = (high - low) % TURN, (begin - low) % TURN
        wider = max(width, later + (end - begin) % TURN)
        if later <= width and wider < TURN:
            return Literal(column, "from", _turned(low, low + wider, _least(np.array([first, second]))))
    return None


class Tried(NamedTuple):
    """A condition to try; each pair has at least one that is plain, which bounds their number."""

    literal: Literal
    plain: bool


class Cut(NamedTuple):
    """A column in the parts that its simple conditions are made of, such as what lies between two limits of a number.

    Attributes
    ----------
    literals : tuple of Literal
    plain : ndarray of shape (n_literals,), bool
    held : ndarray of shape (n_literals, n_parts), float64
        1 where a condition holds in a part, otherwise 0.
    part : ndarray of shape (n_images,), int
        The part that each image is in.
    """

    literals: tuple[Literal, ...]
    plain: np.ndarray
    held: np.ndarray
    part: np.ndarray

    def among(self, rows: np.ndarray) -> "Cut":
        """The same conditions in some of the images, and the parts that these are in."""
        parts, part = np.unique(self.part[rows], return_inverse=True)
        return self._replace(held=self.held[:, parts], part=part)


def cut(tried: Sequence[Tried], column: np.ndarray) -> Cut:
    """The parts into which some conditions cut a column; conditions for hardly any or for all images are left out."""
    parted = column
    if column.dtype.kind in "fiub":
        ends = np.unique([end for literal, _ in tried for end in np.atleast_1d(np.array(literal.value, float))])
        if all(literal.is_arc for literal, _ in tried):  # otherwise they are numbers
            ends, parted = np.unique(ends % TURN), column % TURN
        parted = np.where(np.isnan(column), -1, np.searchsorted(ends, parted, side="right"))
    _, first, part, sizes = np.unique(parted, return_index=True, return_inverse=True, return_counts=True)
    values = column[first]
    held = np.array([literal.holds(values) for literal, _ in tried], bool).reshape(-1, len(first))
    often = held @ sizes
    kept = np.flatnonzero((often >= LEAST_TESTED) & (often < len(column)))
    held, merged = np.unique(held[kept], axis=1, return_inverse=True)
    part = merged.ravel()[part].astype(np.min_scalar_type(held.shape[1]))
    literals, plain = zip(*(tried[i] for i in kept.tolist()), strict=True) if len(kept) else ((), ())
    return Cut(literals, np.array(plain, bool), held.astype(float), part)


def literals_of(name: str, column: np.ndarray, *, parts: int) -> list[Tried]:
    """The simple conditions on a column: values of a category, all but its usual one, and ranges of a number or angle.

    Parameters
    ----------
    parts : int
        A number is cut into about so many parts of equally many images.
    """
    if column.dtype.kind not in "fiub":
        values, counts = np.unique(column[column != ""], return_counts=True)
        often = [Tried(Literal(name, "=", str(value)), True) for value in values[counts >= LEAST_TESTED]]
        usual = values[(counts >= counts.sum() / 2) & (len(values) > 2)]
        return often + [Tried(Literal(name, "!=", str(value)), True) for value in usual]
    known = column[np.isfinite(column)].astype(float)
    if len(known) < 2 * LEAST_TESTED or known.min() == known.max():
        return []
    if name.endswith(ANGLE_SUFFIX) and np.ptp(known) > TURN / 2:
        return _arcs(name, _least(known))
    cuts = round_cuts(known, parts=parts)
    # Beyond some limits lie fewer values than in a part: these are combined with each other alone, to be few.
    fine = {end: np.count_nonzero(known < end) for end in round_cuts(known, parts=FINER * parts) if end not in cuts}
    rare = [end for end, n in fine.items() if min(n, len(known) - n) < len(known) / parts]
    halves = [Tried(Literal(name, sign, end), True) for end in cuts for sign in ("<", ">=")]
    halves += [Tried(Literal(name, "<" if fine[end] < len(known) / 2 else ">=", end), False) for end in rare]
    ranges = [*itertools.combinations(cuts, 2), *itertools.combinations(rare, 2)]
    inside = [np.count_nonzero((known >= low) & (known < high)) for low, high in ranges]
    return halves + [
        Tried(Literal(name, "outside" if n > len(known) / 2 else "from", ends), False)
        for ends, n in zip(ranges, inside, strict=True)
    ]


def _arcs(name: str, least: float) -> list[Tried]:
    """Ranges of angles, in the words of a file in which they begin at `least`."""
    fine = [(start, width, False) for width in ARC_WIDTHS for start in range(0, TURN, 10)]
    coarse = [(start, width, True) for width in (45, 90, 135, 180) for start in range(0, TURN, COARSE_ARC)]
    return [
        Tried(Literal(name, "from", _turned(start, start + width, least)), plain)
        for start, width, plain in fine + coarse
    ]


def _least(angles: np.ndarray) -> float:
    """Where the turn begins in whose words these angles are."""
    return -TURN / 2 if angles.min() < 0 else 0.0


def _turned(low: float, high: float, least: float) -> tuple[float, float]:
    """The ends of a range of angles, turned to be from `least` to a turn more."""
    return float((low - least) % TURN + least), float(least + TURN - (least - high) % TURN)


def fails_equally(column: np.ndarray, wrong: np.ndarray) -> bool:
    """Whether the DNN fails about equally often on all values of a category.

    Either a chi-square test finds no difference, or the values explain less than `LITTLE` of the variance of right and
    wrong, beyond what they would by chance.

    Parameters
    ----------
    column : ndarray of shape (n_images,), str
    wrong : ndarray of shape (n_images,), bool
    """
    from scipy.stats import chi2  # type: ignore[attr-defined]

    known = column != ""
    values, at = np.unique(column[known], return_inverse=True)
    n, n_wrong = np.bincount(at), np.bincount(at, wrong[known])
    base = n_wrong.sum() / n.sum()
    if len(values) < 2 or base in (0, 1):
        return True
    statistic = float((((n_wrong - n * base) ** 2) / (n * base * (1 - base))).sum())
    degrees = len(values) - 1
    return bool(chi2.sf(statistic, degrees) >= EQUALLY or (statistic - degrees) / n.sum() < LITTLE)


def round_cuts(known: np.ndarray, *, parts: int) -> list[float]:
    """Values at which a number is cut: near its quantiles, and as round as can be without moving many images.

    A gap between groups of values, such as day and night, is cut as well. A number of few values is cut between
    any two.
    """
    ordered = np.sort(known)
    values = np.unique(ordered)
    if len(values) <= parts // 2:
        between = [(float(low), float(high)) for low, high in itertools.pairwise(values)]
    else:
        gaps = np.diff(values)
        ends = ((np.arange(1, parts)[:, None] + [-MARGIN, MARGIN]) / parts * (len(ordered) - 1)).round().astype(int)
        between = [_inside(values, i) for i in np.flatnonzero(gaps > GAP * (values[-1] - values[0])).tolist()]
        for first, last in np.searchsorted(values, ordered[ends]).tolist():
            if first == last:  # a value of many images, such as 0
                between.append((float(values[max(0, first - 1)]), float(values[first])))
                continue
            widest = first + int(np.argmax(gaps[first:last]))
            # A gap of more than half of it is not a matter of chance: what lies on its two sides is kept apart.
            apart = gaps[widest] > (values[last] - values[first]) / 2
            between.append(_inside(values, widest) if apart else (float(values[first]), float(values[last])))
    cuts = {roundest(low, high) for low, high in between if low < high}
    return sorted(cut for cut in cuts if values[0] < cut <= values[-1])


def _inside(values: np.ndarray, i: int) -> tuple[float, float]:
    """The middle half between a value and the next."""
    low, high = float(values[i]), float(values[i + 1])
    return low + (high - low) / 4, high - (high - low) / 4


def roundest(low: float, high: float) -> float:
    """The number above `low`, up to `high`, with the fewest digits; of several the nearest to their middle."""
    middle = low + (high - low) / 2
    exponent = math.floor(math.log10(high - low)) + 1 if 0 < high - low < math.inf else -math.inf
    while exponent > math.log10(abs(high) + 1e-300) - 14 and exponent > -300:
        for factor in (1.0, 0.5, 0.2):
            step = factor * 10.0**exponent
            number = float(f"{round(middle / step) * step:.14g}")
            if low < number <= high:
                return number
        exponent -= 1
    return high


def parts_of(column: np.ndarray, most: int) -> np.ndarray:
    """The values of a category, or at most so many equal parts of a number, from 0; unknown ones are a part as well."""
    if column.dtype.kind not in "fiub":
        return np.unique(column, return_inverse=True)[1]
    known, parts = np.isfinite(column), np.zeros(len(column), int)
    values, at = np.unique(column[known], return_inverse=True)
    if len(values) <= most:
        parts[known] = at + 1
    else:  # equal values are in one part
        before = np.searchsorted(np.sort(column[known]), column[known])
        parts[known] = before * most // max(len(at), 1) + 1
    return np.unique(parts, return_inverse=True)[1]
