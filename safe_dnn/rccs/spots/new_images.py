"""What to expect of new images where a condition was chosen because the DNN fails there.

Of thousands of conditions, those that are found are also those that chance has favoured: on new images, the rate is
lower. By how much is seen by the same search in half of the test set (sample splitting): what is found in it is counted
in the other half, and loses some standard errors. A longer condition has been chosen among more, and loses more. And
the fewer of the weak spots half of the images are enough for, the nearer all of them are to chance.

In: weak spots, and the search that has found them. Out: the same with the rate that is expected of new images, and a
95 % interval. It extends from the lower end of that of the expected rate to the upper end of that of the counted one,
since not every rate was favoured, and least of all one at which nearly all images are wrong.

If it is known which images are of one group, such as a person, no group is in both halves, and both figures are those
of other groups. What was tried: docs/decisions/035-new-images.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from safe_dnn.rccs.spots.figures import Groups, share_of, tally
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.support.intervals import clopper_pearson

Columns: TypeAlias = Mapping[str, np.ndarray]
Find: TypeAlias = Callable[[np.ndarray], Sequence[WeakSpot]]

LOSSES = (0.25, 0.7, 1.2)  # standard errors lost by conditions of one to three literals where half of all find as many
MEASURED = 1.5  # what this is worth beside the losses in the other half: the precision of the factor on it
MOST_FACTOR = 4.0  # on it, where half of the images are enough for fewer
MOST_LOST = 3.0  # standard errors; a rate that loses more says little about the others
MOST_CROSSED = 10_000  # images; of more, a random part is halved


class _Counts(NamedTuple):
    """Images under a condition, and those of them that are wrong: as many independent ones as they are worth."""

    wrong: float
    tested: float

    @property
    def error(self) -> float:
        """The standard error of the rate, as if one image more were wrong, and one right."""
        rate = (self.wrong + 1) / (self.tested + 2)
        return math.sqrt(rate * (1 - rate) / self.tested)


def with_new_rates(
    spots: Sequence[WeakSpot], columns: Columns, wrong: np.ndarray, search: Find, *, groups: Groups | None = None
) -> list[WeakSpot]:
    """The weak spots with the rate that is expected of new images and its interval.

    Parameters
    ----------
    columns, wrong
        As for `find_weak_spots`.
    search : callable
        `search(rows)` finds weak spots in a part of the images; it has found `spots` in all.
    groups : Groups, optional
    """
    if not spots:
        return []
    correlation = tally(groups.of, wrong).correlation if groups else 0.0
    factor = _factor(len(spots), len(wrong), _crossed(columns, wrong, search, groups, correlation))
    return [_expected(spot, _counts(spot, columns, wrong, groups, correlation), factor) for spot in spots]


def _expected(spot: WeakSpot, counts: _Counts, factor: float) -> WeakSpot:
    lost = factor * _usual_loss(spot) * counts.error * counts.tested
    left = np.array([max(counts.wrong - lost, 0.0), counts.wrong])
    low, high = clopper_pearson(left, np.full(2, counts.tested))
    figures = spot.figures._replace(low=float(low[0]), high=float(high[1]))
    return spot._replace(figures=figures, new_rate=float(left[0] / counts.tested))


def _usual_loss(spot: WeakSpot) -> float:
    return LOSSES[min(len(spot.literals), len(LOSSES)) - 1]


class _Crossed(NamedTuple):
    """What the search finds in one half.

    Attributes
    ----------
    images : int
        Of this half.
    n_spots : int
        Weak spots.
    losses : ndarray of shape (n, 3)
        What they lose in the other half, in standard errors; what is usual; and the weight: the other half's error is
        noise as well.
    """

    images: int
    n_spots: int
    losses: np.ndarray


def _crossed(
    columns: Columns, wrong: np.ndarray, search: Find, groups: Groups | None, correlation: float
) -> _Crossed | None:
    """None if all images are of one group."""
    here, there = _halves(groups.of if groups else np.arange(len(wrong)))
    if not len(there):
        return None
    known, others = ({name: column[rows] for name, column in columns.items()} for rows in (here, there))
    here_groups, there_groups = (groups.taken(rows) if groups else None for rows in (here, there))
    spots, losses = search(here), []
    for spot in spots:
        seen = _counts(spot, known, wrong[here], here_groups, correlation)
        new = _counts(spot, others, wrong[there], there_groups, correlation)
        if new.tested:
            loss = (seen.wrong / seen.tested - new.wrong / new.tested) / seen.error
            weight = 1 / (1 + seen.tested / new.tested)
            losses.append((min(max(loss, -MOST_LOST), MOST_LOST), _usual_loss(spot), weight))
    return _Crossed(len(here), len(spots), np.array(losses).reshape(-1, 3))


def _factor(n_spots: int, images: int, crossed: _Crossed | None) -> float:
    """By what factor losses differ from the usual ones: weighted least squares, drawn to what the numbers say.

    Of a very large test set only a part is halved, which finds less than half of all would: as a power of the number of
    images.
    """
    if crossed is None:
        return 1.0
    ratio = (n_spots + 0.5) / (crossed.n_spots + 0.5)
    ratio **= math.log(2) / math.log(images / crossed.images)
    loss, usual, weight = crossed.losses.T
    drawn = MEASURED * min(max(ratio, 1.0), MOST_FACTOR) + float((weight * usual * loss).sum())
    return max(drawn / (MEASURED + float((weight * usual**2).sum())), 0.0)


def _halves(of: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of two random halves, which have no group in common; the second is empty if there is only one."""
    place = np.random.default_rng(0).permutation(int(of.max(initial=-1)) + 1)[of]
    rows = np.argsort(place, kind="stable")[:MOST_CROSSED]
    cuts = np.flatnonzero(np.diff(place[rows])) + 1
    cut = int(cuts[np.argmin(np.abs(cuts - len(rows) / 2))]) if len(cuts) else len(rows)
    return np.sort(rows[:cut]), np.sort(rows[cut:])


def _counts(spot: WeakSpot, columns: Columns, wrong: np.ndarray, groups: Groups | None, correlation: float) -> _Counts:
    holds = spot.holds(columns)
    share = share_of(groups.of[holds], wrong[holds], correlation) if groups else 1.0
    return _Counts(share * np.count_nonzero(holds & wrong), share * np.count_nonzero(holds))
