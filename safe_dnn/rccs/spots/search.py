"""The search for conditions under which the DNN fails more often: one condition after the other.

In: columns, and which images are wrong. Out: the best condition that is significant among the images that no earlier
one has taken. What weak spots are, and what is searched in which order: `weak_spots.py`.

The search is that of subgroup discovery (Klösgen, "Explora", 1996; Atzmueller, WIREs Data Mining 5(1), 2015) over
conjunctions of up to three simple conditions. The best is kept, its images are taken out, and the search goes on in the
rest, as in sequential covering (Lavrač et al., JMLR 5, 2004): a cause that is hidden by the failures of a larger one
stands out once these are gone. A search among so many conditions finds some by chance. Thus one counts only if its rate
is significant after correction for all that were tried (Bonferroni; the error rate is shared out among the lengths of
conditions, as in Webb, Machine Learning 71, 2008, since there are few short ones). Ranges of one number are hardly
independent, and count for less (see `Search._worth`).
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.conditions import LEAST_TESTED, Literal, Tried, fails_equally, literals_of
from safe_dnn.rccs.spots.groups import Groups, Tally, chance_given_class, chance_of_more, given_class

MOST_SPOTS = 15
ERROR_RATE = 0.05  # chance to find anything where right and wrong are independent of everything
LEAST_NEW = 1 / 3  # share of a weak spot's failures that no earlier one has; causes may share as many
LEAST_ODDS = 2.0  # odds of failing there, over those elsewhere
LEAST_ODDS_WITHIN = 1.25  # the same within classes, where there is less left to explain
LEAST_AGREEMENT = 2 / 3  # how often a condition must hold in a class to stand with its prediction, over all images
SHARES = (0.5, 0.25, 0.25)  # of the error rate, for conditions of one, two and three literals
INSIDE = 0.5  # of the error rate within classes, for one condition inside one class: these are few
SLACK = 1000  # by which factor the bound on the chance may exceed the chance itself
KEPT = 2000  # conditions of each length whose significance is computed, best first
BEAM = 100  # pairs that are extended by a third condition
SIMPLER = 0.8  # a longer condition must score higher: its score counts by this factor for each additional literal
EXPONENT = 0.65
Z = 1.96
MOST_PAIRS = 3_000_000  # of simple conditions that are tried
MOST_AT_ONCE = 2_000_000  # conditions × images that are counted by group at once


class Searched(NamedTuple):
    """What is searched for weak spots.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
    wrong : ndarray of shape (n_images,), bool
    never_together : sequence of str
        As of `weak_spots.find_weak_spots`.
    groups : Groups or None
        In order.
    classes : ndarray of shape (n_images,), int, or None
        True classes. What goes with a class is found only if failing is also likelier within classes.
    """

    columns: Mapping[str, np.ndarray]
    wrong: np.ndarray
    never_together: Sequence[str]
    groups: Groups | None
    classes: np.ndarray | None

    def among(self, names: Sequence[str]) -> "Searched":
        """The same with some of the columns."""
        return self._replace(columns={name: self.columns[name] for name in names})


class Search:
    """The search among some columns, in the images of which no weak spot holds so far.

    Attributes
    ----------
    held : ndarray of shape (n_literals, n_images), bool
    here : ndarray of shape (n_literals, n_open), float32
        The same for the images that are open.
    level : float
        Chance to find anything where right and wrong are independent of the columns.
    overall : float
        A rate with which that of a condition is compared as well; 0 for none.
    told : set of str
        The columns of those found so far that are of one condition.
    single : ndarray of shape (n_literals,), bool
        Which of them may stand alone: if `only` is given, those on its columns, of which one is in each condition.
    plain : ndarray of shape (n_plain,), int
        The literals of which one is in each pair.
    whole : ndarray of shape (n_literals,), bool
        Which of them are all images of a group.
    column : ndarray of shape (n_literals,), int
        The column that each is about, from 0.
    parts : list of ndarray of shape (n_images,), int
        For each column, the parts into which its literals cut the images.
    n1, k1 : ndarray of shape (n_literals,)
        For each literal, how many open images it holds for, and how many of these are wrong.
    n2, k2 : ndarray of shape (n_plain, n_literals)
        The same for each pair.
    """

    def __init__(
        self, searched: Searched, open_to: np.ndarray, *, level: float, overall: float = 0.0, only: Sequence[str] = ()
    ):
        columns, wrong, never_together, self.groups, self.classes = searched
        tried = [each for each in _tried(columns) if _is_one(each.literal, searched)]
        held = np.zeros((len(tried), len(wrong)), bool)
        for row, each in zip(held, tried, strict=True):
            row[:] = each.literal.holds(columns[each.literal.column])
        often = held.sum(axis=1)
        kept = np.flatnonzero((often >= LEAST_TESTED) & (often < len(wrong)))
        self.literals = [tried[i].literal for i in kept]
        self.symptom = np.array([literal.column in never_together[1:] for literal in self.literals], bool)
        self.single = np.array([not only or literal.column in only for literal in self.literals], bool)
        self.plain = np.flatnonzero(self.single & np.array([tried[i].plain for i in kept], bool))
        self.level, self.overall, self.told = level, overall, set[str]()
        self.held, self.wrong, self.open_to = held[kept], wrong, open_to.copy()
        self.here = self.held[:, open_to].astype(np.float32)
        self.of_class = np.array([literal.column in never_together[:1] for literal in self.literals], bool)
        whole = self.groups.column if self.groups else None
        self.whole = np.array([literal.column == whole and literal.sign == "=" for literal in self.literals], bool)
        names, self.column = np.unique([literal.column for literal in self.literals], return_inverse=True)
        self.parts = [_parts(self.held[self.column == column]) for column in range(len(names))]
        self.may = self._may(columns, never_together)
        self.n1, self.k1, self.n2, self.k2 = self._counts(self.here, wrong[open_to])
        pairs = int(np.count_nonzero(self.may & (self.n2 >= LEAST_TESTED)))
        # Which triples are tried depends on the failures, so that all that could have been are counted.
        self.tries = (self._worth(self.single, open_to), pairs, pairs * len(self.plain))

    def _worth(self, tried: np.ndarray, among: np.ndarray) -> int:
        """As how many independent conditions some of the simple ones count, among some of the images.

        Those on a column are sums of the parts into which they cut the images, such as what lies between two limits of
        a number. However many ranges these make, the best is as good by chance as the best of some two for each part.
        """
        often = np.bincount(self.column[tried])
        parts = [np.count_nonzero(np.bincount(self.parts[column][among])) for column in np.flatnonzero(often)]
        return int(np.minimum(often[often > 0], 2 * np.maximum(np.array(parts, int) - 1, 1)).sum())

    def next(self) -> tuple[Literal, ...] | None:
        """The best condition that is significant, also against all others; its images are not open any more."""
        failing = self.wrong[self.open_to]
        if not len(self.plain) or not failing.any() or failing.all():
            return None
        for _, places in sorted(self._candidates(), key=lambda each: (-each[0] * self._news(each[1]), each[1])):
            holds = np.logical_and.reduce(self.held[list(places)])
            new = np.count_nonzero(holds & self.open_to & self.wrong)
            if new >= LEAST_NEW * np.count_nonzero(holds & self.wrong) and self._counts_for_more(holds, places):
                self._take_out(holds)
                self.told |= {self.literals[i].column for i in places if len(places) == 1}
                # Rounding, which depends on the number of threads, must not decide which comes first.
                return tuple(self.literals[i] for i in sorted(places, key=lambda i: (i not in self.plain, i)))
        return None

    def _news(self, places: tuple[int, ...]) -> float:
        """Less for more of a number of which an earlier one is, as for the next larger objects: hardly a new reason."""
        numbers = {self.literals[i].column for i in places if not isinstance(self.literals[i].value, str)}
        return SIMPLER if numbers & self.told else 1.0

    def _counts_for_more(self, holds: np.ndarray, places: tuple[int, ...]) -> bool:
        """Whether a condition is also above all other images, and says more than that a class is wrong."""
        return self._above_all_others(holds, places) and (
            self.classes is None
            or bool(self.of_class[list(places)].all() or self.symptom[list(places)].any())
            or self._chance_given_class(holds, places, np.ones(len(holds), bool)) <= self._level_of(len(places))
        )

    def _chance_given_class(self, holds: np.ndarray, places: tuple[int, ...], among: np.ndarray) -> float:
        """See `chance_given_class`; of a single group, images are independent."""
        assert self.classes is not None
        one = len(places) == 1 and self.whole[places[0]]
        groups = self.groups.of[among] if self.groups and not one else None
        return chance_given_class(self.classes[among], self.wrong[among], holds[among], groups)

    def _above_all_others(self, holds: np.ndarray, places: tuple[int, ...]) -> bool:
        """Whether the rate where a condition holds is higher than that of all other images, beyond chance.

        Fisher's exact test, corrected for as many weak spots as there can be. It is not corrected for all that are
        tried: that they matter is shown in comparison with what the earlier ones leave.
        """
        from scipy.stats import hypergeom  # type: ignore[attr-defined]

        tested, wrong = np.count_nonzero(holds), np.count_nonzero(holds & self.wrong)
        images, failures = len(self.wrong), np.count_nonzero(self.wrong)
        if wrong * images <= failures * tested:
            return False
        level = ERROR_RATE / MOST_SPOTS
        if hypergeom.sf(wrong - 1, images, failures, tested) > level:
            return False
        everywhere = np.ones(len(self.wrong), bool)
        return bool(self._stands_out(np.array([places]), np.array([wrong]), everywhere, level)[0])

    def _stands_out(self, places: np.ndarray, wrong: np.ndarray, among: np.ndarray, level: float) -> np.ndarray:
        """Which conditions have more failures than chance would give them if images of a group are not independent.

        Parameters
        ----------
        places : ndarray of shape (n, length), int
        wrong : ndarray of shape (n,), int
            How many of the images are wrong where each condition holds.
        among : ndarray of shape (n_images,), bool
            The images that are compared.
        level : float
        """
        kept = np.ones(len(places), bool)
        if self.groups is None:
            return kept
        asked = np.flatnonzero(~(self.whole[places[:, 0]] & (places.shape[1] == 1)))
        of, failing = self.groups.of[among], self.wrong[among]
        starts = np.flatnonzero(np.diff(of, prepend=-1))
        sizes = np.diff(starts, append=len(of))
        counted = Tally(sizes, np.add.reduceat(failing.astype(int), starts))
        step = max(1, MOST_AT_ONCE // len(of))
        for part in (asked[i : i + step] for i in range(0, len(asked), step)):
            holds = np.logical_and.reduce([self.held[column] for column in places[part].T])[:, among]
            held = np.add.reduceat(holds, starts, axis=1, dtype=np.int32)
            chance = chance_of_more(held, wrong[part], counted, correlation=counted.correlation)
            kept[part] = chance <= level
        return kept

    def _take_out(self, holds: np.ndarray) -> None:
        out = holds[self.open_to]
        taken = self._counts(self.here[:, out], self.wrong[self.open_to & holds])
        for counts, less in zip((self.n1, self.k1, self.n2, self.k2), taken, strict=True):
            counts -= less
        self.here = self.here[:, ~out]
        self.open_to &= ~holds

    def _counts(self, here: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        failing = here[:, wrong]
        return here.sum(axis=1), failing.sum(axis=1), here[self.plain] @ here.T, failing[self.plain] @ failing.T

    def _candidates(self) -> list[tuple[float, tuple[int, ...]]]:
        """The best conditions of each length that are significant, with their scores."""
        alone = np.arange(len(self.literals))
        found, *_ = self._best_of(self.n1, self.k1, self._base(self.here, self.n1), self.single, alone)
        more, pairs, first = self._best_of(self.n2, self.k2, self._base_of_pairs(), self.may, self.plain, alone)
        extended = np.flatnonzero(~self.symptom[pairs].any(axis=1))[:BEAM]
        first, pairs = first[extended], pairs[extended]
        if not len(pairs):
            return found + more
        failing, third = self.wrong[self.open_to], self.here[self.plain]
        both = self.here[pairs[:, 0]] * self.here[pairs[:, 1]]
        n3, k3 = both @ third.T, both[:, failing] @ third[:, failing].T
        may = self.may[first][:, self.plain] & self.may[:, pairs[:, 1]].T & ~self.symptom[self.plain]
        return found + more + self._best_of(n3, k3, self._base(both, n3, third), may, pairs, self.plain)[0]

    def _best_of(
        self, tested: np.ndarray, wrong: np.ndarray, base: np.ndarray, may: np.ndarray, *axes: np.ndarray
    ) -> tuple[list[tuple[float, tuple[int, ...]]], np.ndarray, np.ndarray]:
        """The significant ones of the best conditions of one length with their scores; and the best ones.

        Parameters
        ----------
        tested, wrong, base, may : ndarray of one shape
        axes : ndarray of int
            The literals, or conjunctions of them, that each dimension stands for.

        Returns
        -------
        significant : list
        places : ndarray of shape (n, length), int
            The literals of the best conditions.
        first : ndarray of shape (n,), int
            Where they are in the first dimension.
        """
        scores = np.where(may, score(tested, wrong, base), -np.inf)
        best = _best(scores.ravel(), KEPT)
        at = np.unravel_index(best, scores.shape)
        places = np.column_stack([axis[rows] for axis, rows in zip(axes, at, strict=True)])
        of_best = (scores.flat[best], tested.flat[best], wrong.flat[best], places, base.flat[best])
        return self._significant(*of_best), places, at[0]

    def _base(self, here: np.ndarray, tested: np.ndarray, there: np.ndarray | None = None) -> np.ndarray:
        """The rates that conditions would have if they did not matter, in the shape of `tested`.

        Parameters
        ----------
        here, there : ndarray of shape (n, n_open) and (m, n_open), float32
            For which images they hold; with `there`, both do, and `tested` is of shape (n, m).
        """
        return np.full(tested.shape, float(self.wrong[self.open_to].mean()))

    def _base_of_pairs(self) -> np.ndarray:
        return self._base(self.here, self.n2)

    def _significant(
        self, scores: np.ndarray, tested: np.ndarray, wrong: np.ndarray, places: np.ndarray, base: np.ndarray
    ) -> list[tuple[float, tuple[int, ...]]]:
        """Those of the conditions that have more failures than chance would give them in so many tries.

        The chance of so many failures among so many images, drawn without replacement, is at most exp(−n KL), with the
        Kullback–Leibler divergence of the rate from that of all (Hoeffding, JASA 58, 1963, theorems 1 and 4). Where
        this does not decide, it is computed (hypergeometric distribution).
        """
        from scipy.stats import hypergeom  # type: ignore[attr-defined]

        images, failures = int(self.open_to.sum()), int((self.open_to & self.wrong).sum())
        rate = wrong.astype(float) / tested
        rest = np.maximum((failures - wrong.astype(float)) / np.maximum(images - tested, 1), self.overall)
        length = places.shape[1]
        most = self._level_of(length)
        chance = _bound(tested, rate, base)
        chance[rate * (1 - rest) < LEAST_ODDS * rest * (1 - rate)] = 1
        unsure = np.flatnonzero((chance > most) & (chance < most * SLACK))
        chance[unsure] = hypergeom.sf(wrong[unsure] - 1, images, failures, tested[unsure])
        kept = np.flatnonzero(chance <= most)
        kept = kept[self._stands_out(places[kept], wrong[kept], self.open_to, most)]
        return [(SIMPLER ** (length - 1) * float(scores[i]), tuple(places[i].tolist())) for i in kept]

    def _level_of(self, length: int) -> float:
        """The error rate of one of the conditions of a length."""
        return self.level * SHARES[length - 1] / max(1, self.tries[length - 1])

    def _may(self, columns: Mapping[str, np.ndarray], never_together: Sequence[str]) -> np.ndarray:
        """Which plain condition may stand together with which other: bool of shape (n_plain, n)."""
        exclusive = self.of_class | self.symptom
        may = self.column[self.plain][:, None] != self.column[None, :]
        may &= ~(exclusive[self.plain][:, None] & exclusive[None, :])
        if never_together and never_together[0] in columns:
            label = columns[never_together[0]]
            for row in np.flatnonzero(self.symptom[self.plain]):
                symptom = self.plain[row]
                informative = self._informative(np.asarray(label == self.literals[symptom].value))
                may[:, symptom] &= informative[self.plain]
                may[row] &= informative
        return may

    def _informative(self, of_class: np.ndarray) -> np.ndarray:
        """Which conditions say more than "wrong" together with the prediction of a class: bool of shape (n,).

        A condition that rarely holds for images of a class (a gaze to the left, for the class right) contradicts its
        prediction: where it holds half as often for them as for all, the odds of failing are doubled by that alone.
        """
        if not of_class.any():
            return np.zeros(len(self.literals), bool)
        return self.held[:, of_class].mean(axis=1) >= LEAST_AGREEMENT * self.held.mean(axis=1)


class SearchWithinClasses(Search):
    """The search for what makes failing likelier in comparison with images of the same class.

    Attributes
    ----------
    expected : ndarray of shape (n_images,), float32
        The rate of each image's class, among the images that were open at first. That of those that are open later is
        lower; it is what counts.
    e2 : ndarray of shape (n_plain, n_literals)
        The failures that are expected of each pair.
    inside : float
        The error rate of a pair of a class and one condition.
    """

    def __init__(self, searched: Searched, open_to: np.ndarray, *, level: float):
        super().__init__(searched, open_to, level=level)
        classes = searched.classes
        assert classes is not None
        n = int(classes.max()) + 1
        sizes, failing = (np.bincount(classes[rows], minlength=n) for rows in (open_to, open_to & self.wrong))
        self.expected = (failing / np.maximum(sizes, 1)).astype(np.float32)[classes]
        self.e2 = (self.here[self.plain] * self.expected[open_to]) @ self.here.T
        tried = self.may & (self.n2 >= LEAST_TESTED)
        tries = [
            self._worth(tried[row], open_to & self.held[place])
            for row, place in enumerate(self.plain)
            if self.of_class[place]
        ]
        self.inside = INSIDE * level / max(1, sum(tries))

    def _take_out(self, holds: np.ndarray) -> None:
        out = self.here[:, holds[self.open_to]]
        self.e2 -= (out[self.plain] * self.expected[self.open_to & holds]) @ out.T
        super()._take_out(holds)

    def _base(self, here: np.ndarray, tested: np.ndarray, there: np.ndarray | None = None) -> np.ndarray:
        expected = self.expected[self.open_to]
        found = here @ expected if there is None else (here * expected) @ there.T
        return np.asarray(found / np.maximum(tested, 1))

    def _base_of_pairs(self) -> np.ndarray:
        return np.asarray(self.e2 / np.maximum(self.n2, 1))

    def _significant(
        self, scores: np.ndarray, tested: np.ndarray, wrong: np.ndarray, places: np.ndarray, base: np.ndarray
    ) -> list[tuple[float, tuple[int, ...]]]:
        """Those of the conditions that may be; of the best ones `_counts_for_more` makes sure.

        The bound holds for draws from several classes as well, with the mean of their rates.
        """
        length = places.shape[1]
        kept = np.flatnonzero(_bound(tested, wrong / tested, base) <= self._levels_of(places) * SLACK)
        return [(SIMPLER ** (length - 1) * float(scores[i]), tuple(places[i].tolist())) for i in kept]

    def _counts_for_more(self, holds: np.ndarray, places: tuple[int, ...]) -> bool:
        """Whether failing is likelier among the open images of the same classes, and not less than elsewhere."""
        wrong, images = self.wrong, len(holds)
        tested = np.count_nonzero(holds)
        if np.count_nonzero(holds & wrong) * images <= np.count_nonzero(wrong) * tested:
            return False
        among = self.open_to
        if self._chance_given_class(holds, places, among) > self._levels_of(np.array([places]))[0]:
            return False
        assert self.classes is not None
        odds = given_class(self.classes[among], wrong[among], holds[among]).odds
        return odds is not None and odds >= LEAST_ODDS_WITHIN

    def _levels_of(self, places: np.ndarray) -> np.ndarray:
        """The error rate of each condition; all are of one length."""
        length = places.shape[1]
        inside = self.of_class[places].any(axis=1) & (length == 2)
        return np.where(inside, self.inside, (1 - INSIDE) * self._level_of(length))


def _parts(held: np.ndarray) -> np.ndarray:
    """The part of each image, from 0: images for which the same conditions hold are in one.

    Parameters
    ----------
    held : ndarray of shape (n_literals, n_images), bool
    """
    return np.unique(np.packbits(held, axis=0), axis=1, return_inverse=True)[1].ravel()


def _bound(tested: np.ndarray, rate: np.ndarray, base: np.ndarray) -> np.ndarray:
    """A bound on the chance of as high a rate (see `Search._significant`)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = np.where(rate > 0, rate * np.log(rate / base), 0)
        divergence += np.where(rate < 1, (1 - rate) * np.log((1 - rate) / (1 - base)), 0)
    return np.asarray(np.exp(-tested * divergence))


def score(tested: np.ndarray, wrong: np.ndarray, base: float | np.ndarray) -> np.ndarray:
    """How much a condition matters: its rate's excess at the lower end of Wilson's interval, weighted by its size.

    By the excess alone tiny conditions win, by the number of failures in excess all are broad.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        rate = wrong / tested
        spread = Z * np.sqrt(np.maximum(rate * (1 - rate), 0) / tested + Z**2 / (4 * tested**2))
        low = (rate + Z**2 / (2 * tested) - spread) / (1 + Z**2 / tested)
        return np.where((tested >= LEAST_TESTED) & (low > base), (low - base) * tested**EXPONENT, -np.inf)


def _tried(columns: Mapping[str, np.ndarray]) -> list[Tried]:
    """The simple conditions on all columns; numbers are cut more coarsely if there are many columns."""
    for parts in (20, 16, 12, 10, 8, 6, 4):
        tried = [each for name, column in columns.items() for each in literals_of(name, column, parts=parts)]
        if len(tried) * sum(each.plain for each in tried) <= MOST_PAIRS:
            break
    return tried


def _is_one(literal: Literal, searched: Searched) -> bool:
    """Whether it is one condition: all but the usual value is, if the other values fail about equally often."""
    if literal.sign != "!=":
        return True
    column = searched.columns[literal.column]
    others = literal.holds(column)
    return literal.column not in searched.never_together and fails_equally(column[others], searched.wrong[others])


def _best(scores: np.ndarray, n: int) -> np.ndarray:
    """Places of the n highest finite scores, best first; of equal ones the first."""
    least = -np.partition(-scores, n - 1)[n - 1] if n < len(scores) else -np.inf
    part = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return part[np.argsort(-scores[part], kind="stable")][:n]
