"""The search for conditions under which the DNN fails more often: one condition after the other.

In: columns, and which images are wrong. Out: the best condition that is significant among the images that no earlier
one has taken. What weak spots are, and what is searched in which order: `weak_spots.py`.

The search is that of subgroup discovery (Klösgen, "Explora", 1996; Atzmueller, WIREs Data Mining 5(1), 2015) over
conjunctions of up to seven simple conditions: all single ones and pairs, and of each further length those that extend
the best of the one before (beam search; Clark & Niblett, Machine Learning 3, 1989). The best is kept, its images are
taken out, and the search goes on in the rest, as in sequential covering (Lavrač et al., JMLR 5, 2004): a cause that is
hidden by the failures of a larger one stands out once these are gone. A search among so many conditions finds some by
chance. Thus one counts only if its rate is significant after correction for all that were tried (Bonferroni; the error
rate is shared out among the lengths of conditions, as in Webb, Machine Learning 71, 2008, since there are few short
ones). Ranges of one number are hardly independent, and count for less (see `Search._worth`).

Each column is cut into parts, and a simple condition on it is a union of them. So images are counted by part, which
takes a few bytes of memory for each image and column, and conditions are sums of these counts.

What was tried: docs/decisions/036-longer-conditions-and-two-tails.md.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.conditions import LEAST_TESTED, Cut, Literal, cut, fails_equally, literals_of, parts_of
from safe_dnn.rccs.spots.figures import Groups, Tally, assess, chance_given_class, chance_of_excess, given_class

MOST_SPOTS = 15
ERROR_RATE = 0.05  # chance to find anything where right and wrong are independent of everything
LEAST_NEW = 1 / 3  # share of a weak spot's failures that no earlier one has; causes may share as many
LEAST_ODDS = 2.0  # odds of failing there, over those elsewhere
LEAST_ODDS_WITHIN = 1.25  # the same within classes, where there is less left to explain
MOST_CLAUSES = 7
SHARES = tuple(0.5**n for n in range(1, MOST_CLAUSES + 1))  # of the error rate, for conditions of one literal and more
INSIDE = 0.5  # of the error rate within classes, for one condition inside one class: these are few
SLACK = 1000  # by which factor the bound on the chance may exceed the chance itself
KEPT = 2000  # conditions of each length whose significance is computed, best first
BEAM = 30  # conditions of each length that are extended by one more
SIMPLER = 0.8  # a longer condition must score higher: its score counts by this factor for a second and a third literal
LONGER = 0.97  # and by this one for each further literal: few causes are so narrow by chance
PRICES = tuple(SIMPLER ** min(n, 2) * LONGER ** max(n - 2, 0) for n in range(MOST_CLAUSES))
EXPONENT = 0.65
Z = 1.96
MOST_COLUMNS = 100  # that are searched, of more those that by themselves go most with failing
COARSE = 8  # parts of a number that show which
MOST_PAIRS = 5_000_000  # of simple conditions that are tried
FIRST = 8  # conditions that are compared with all other images at once, and then as many again as were
MOST_AT_ONCE = 2_000_000  # conditions, or columns, × images that are counted at once


class Searched(NamedTuple):
    """What is searched for weak spots.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
    cuts : mapping of str to Cut
        Those of the columns that have conditions.
    wrong : ndarray of shape (n_images,), bool
    label : str
        The column of the true class; empty if there is none.
    groups : Groups or None
        In order.
    classes : ndarray of shape (n_images,), int, or None
        True classes. What goes with a class is found only if failing is also likelier within classes.
    chosen_of : float
        For each column, those that it was chosen from; so many times as many simple conditions count as tried.
    """

    columns: Mapping[str, np.ndarray]
    cuts: Mapping[str, Cut]
    wrong: np.ndarray
    label: str
    groups: Groups | None
    classes: np.ndarray | None
    chosen_of: float = 1.0

    def among(self, names: Sequence[str]) -> "Searched":
        """The same with some of the columns."""
        return self._replace(cuts={name: self.cuts[name] for name in names if name in self.cuts})

    def inside(self, holds: np.ndarray) -> "Searched":
        """The same for the images for which a condition holds."""
        return self._replace(
            columns={name: column[holds] for name, column in self.columns.items()},
            cuts={name: each.among(holds) for name, each in self.cuts.items()},
            wrong=self.wrong[holds],
            groups=self.groups and self.groups.taken(holds),
            classes=None if self.classes is None else self.classes[holds],
        )


class Search:
    """The search among some columns, in the images for which no weak spot holds so far.

    Attributes
    ----------
    level : float
        Chance to find anything where right and wrong are independent of the columns.
    overall : float
        A rate with which that of a condition is compared as well; 0 for none.
    comparable : ndarray of shape (n_images,), bool
        Images of no condition found so far but of those on classes alone: what is found is compared within these.
    again : ndarray of shape (n_literals,), bool
        Which of them are about a number of which one found so far is, alone.
    plain : ndarray of shape (n_plain,), int
        The literals that occur in pairs.
    tag : ndarray of shape (n_literals,), int64
        Random numbers; conditions with the same sum of them have the same literals, in whichever order.
    whole : ndarray of shape (n_literals,), bool
        Which of them are all images of a group.
    column : ndarray of shape (n_literals,), int
        The column that each is about, from 0.
    of_part : sparse array of shape (n_parts, n_images), float32
        1 where an image is in a part.
    one : list of ndarray of shape (1, n_literals)
        For each literal, how many open images it holds for, and how many of these are wrong.
    two : list of ndarray of shape (n_literals, n_plain)
        The same for each pair.
    """

    def __init__(
        self, searched: Searched, open_to: np.ndarray, *, level: float, overall: float = 0.0,
        comparable: np.ndarray | None = None,
    ):  # fmt: skip
        from scipy.linalg import block_diag
        from scipy.sparse import csr_array

        self.columns, cuts, self.wrong, label, self.groups, self.classes, self.chosen_of = searched
        self.literals = [literal for each in cuts.values() for literal in each.literals]
        names = [literal.column for literal in self.literals]
        self.of_class = np.array([name == label for name in names], bool)
        plain = [each.plain for each in cuts.values()]
        self.plain = np.flatnonzero(np.concatenate([np.zeros(0, bool), *plain]))
        self.level, self.overall, self.again = level, overall, np.zeros(len(names), bool)
        self.comparable = open_to.copy() if comparable is None else comparable.copy()
        self.open_to, self.tag = open_to.copy(), np.random.default_rng(0).integers(2**63, size=len(names))
        whole = self.groups.column if self.groups else None
        self.whole = np.array([literal.column == whole and literal.sign == "=" for literal in self.literals], bool)
        self.column = np.repeat(np.arange(len(cuts)), [len(each) for each in plain])
        held = block_diag(np.zeros((0, 0)), *(each.held for each in cuts.values()))
        self.in_part, self.held = held.astype(bool), csr_array(held.astype(np.float32))
        self.plainly = self.held[self.plain]
        self.first = np.cumsum([0, *(each.held.shape[1] for each in cuts.values())])  # part of each column
        self.part = np.zeros((len(cuts), len(self.wrong)), np.int32)
        for part, each, first in zip(self.part, cuts.values(), self.first[:-1], strict=True):
            part[:] = each.part + first
        ends, parts = np.arange(len(self.wrong) + 1) * len(cuts), self.part.T.ravel()
        self.of_part = csr_array((np.ones(len(parts), np.float32), parts, ends), (len(self.wrong), held.shape[1])).T
        self.may = self.column[:, None] != self.column[None, self.plain]
        rows = np.flatnonzero(open_to)
        self.one, self.two = self._sums(rows * 0, 1, rows), self._sums_of_pairs(rows)
        pairs = float(np.count_nonzero(self.may & (self.two[0] >= LEAST_TESTED)))
        # Which longer ones are tried depends on the failures, so that all that could have been are counted.
        longer = [pairs * len(self.plain) ** n for n in range(MOST_CLAUSES - 1)]
        alone = self._worth(np.ones(len(names), bool), self._count(rows * 0, 1, rows)[0])
        self.tries = [n * self.chosen_of**length for length, n in enumerate((alone, *longer), 1)]

    def _holds(self, places: Sequence[int]) -> np.ndarray:
        """For which images all of the conditions hold: bool of shape (n_images,)."""
        return functools.reduce(np.logical_and, map(self._holds_alone, places))

    def _holds_alone(self, place: int) -> np.ndarray:
        return np.asarray(self.in_part[place][self.part[self.column[place]]])

    def _count(self, of: np.ndarray, n: int, rows: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        """Images, or sums of their weights, in each of n sets and in each part: ndarray of shape (n, n_parts).

        Parameters
        ----------
        of, rows : ndarray of shape (m,), int
            In which set is which image.
        """
        counts: np.ndarray = np.zeros(0)
        parts = self.held.shape[1]
        step = max(1, MOST_AT_ONCE // max(1, len(self.part)))
        for begin in range(0, len(rows) or 1, step):
            some = rows[begin : begin + step]
            at = of[begin : begin + step].astype(np.int64) * parts + self.part.take(some, axis=1)
            of_each = None if weights is None else np.tile(weights[some], len(self.part))
            block = np.bincount(at.ravel(), of_each, n * parts)
            counts = counts + block if begin else block  # each is as large as all of these sums
        return counts.reshape(n, parts).astype(np.float32)

    def _counts(self, of: np.ndarray, n: int, rows: np.ndarray) -> list[np.ndarray]:
        """As `_count`, all images and wrong ones."""
        failing = self.wrong[rows]
        return [self._count(of, n, rows), self._count(of[failing], n, rows[failing])]

    def _weights(self) -> list[np.ndarray]:
        """How much each image counts in each of the `_counts`: ndarrays of shape (n_images,)."""
        return [np.ones(len(self.wrong), np.float32), self.wrong.astype(np.float32)]

    def _sums(self, of: np.ndarray, n: int, rows: np.ndarray) -> list[np.ndarray]:
        """The same for each literal: ndarrays of shape (n, n_literals)."""
        return [(self.held @ counts.T).T for counts in self._counts(of, n, rows)]

    def _sums_of_pairs(self, rows: np.ndarray) -> list[np.ndarray]:
        """The same for each literal together with each plain one: ndarrays of shape (n_literals, n_plain)."""
        of_columns = zip(self.part, self.first[:-1], np.diff(self.first), strict=True)
        counts = [self._counts(part[rows] - first, parts, rows) for part, first, parts in of_columns]
        counts.append(self._counts(rows[:0], 0, rows[:0]))
        found = (self.plainly @ np.vstack(each) for each in zip(*counts, strict=True))
        return [self.held @ np.ascontiguousarray(each.T) for each in found]

    def _worth(self, tried: np.ndarray, counts: np.ndarray) -> int:
        """As how many independent conditions some of the simple ones count, among images that are counted by part.

        Those on a column are sums of the parts into which they cut the images, such as what lies between two limits of
        a number. However many ranges these make, the best is as good by chance as the best of some two for each part.
        """
        often = np.bincount(self.column[tried], minlength=len(self.part))
        parts = np.add.reduceat(counts > 0, self.first[:-1], dtype=int) if len(often) else often
        return int(np.minimum(often, 2 * np.maximum(parts - 1, 1)).sum())

    def next(self) -> tuple[Literal, ...] | None:
        """The best condition that is significant, also against all others; its images are not open any more.

        Two tails of a number that fail at different rates are one condition only where the next one is a proxy: it
        fails less often, and is about other columns. Other limits of the two, which hide the difference, do not count.
        """
        failing = self.wrong[self.open_to]
        if not len(self.plain) or not failing.any() or failing.all():
            return None
        ordered, unlike, numbers = [places for _, places in sorted(self._candidates())], tuple[int, ...](), set[str]()
        begin, most = 0, max(1, MOST_AT_ONCE // (4 * len(self.wrong)))
        while part := ordered[begin : begin + min(begin + FIRST, most)]:  # the first ones are mostly enough
            begin += len(part)
            holds = np.array([self._holds(places) for places in part])
            failing = holds & self.wrong
            enough = np.count_nonzero(failing & self.open_to, axis=1) >= LEAST_NEW * np.count_nonzero(failing, axis=1)
            asked = np.flatnonzero(enough)
            kept = asked[self._count_for_more(holds[asked], [part[i] for i in asked])] if len(asked) else asked
            for places in (part[i] for i in kept.tolist()):
                tails = self._tails(places)
                if numbers & tails.keys() or not self._has_two_tails(tails):
                    continue
                if self._fail_alike(tails):
                    rates = [self.wrong[self._holds(each)].mean() for each in (places, unlike) if each]
                    proxy = rates[0] < max(rates) and numbers.isdisjoint(self.literals[i].column for i in places)
                    return self._taken(unlike if proxy else places)
                unlike, numbers = unlike or places, numbers or {*tails}
        return self._taken(unlike) if unlike else None

    def _taken(self, places: tuple[int, ...]) -> tuple[Literal, ...]:
        holds = self._holds(places)
        self._take_out(holds)
        if not self.of_class[list(places)].all():
            self.comparable &= ~holds
        if len(places) == 1 and not isinstance(self.literals[places[0]].value, str):
            self.again |= self.column == self.column[places[0]]
        return tuple(self.literals[i] for i in sorted(places, key=lambda i: (i not in self.plain, i)))

    def _tails(self, places: tuple[int, ...]) -> dict[str, list[np.ndarray]]:
        """Of the numbers of which two tails are meant: where each tail, and where what lies between, holds with the
        other conditions."""
        found = {}
        for place in places:
            name, sign, value = self.literals[place]
            if sign == "outside" and isinstance(value, tuple):
                column, (low, high) = self.columns[name], value
                others = [self._holds_alone(other) for other in places if other != place]
                parts = (column < low, column >= high, (column >= low) & (column < high))
                found[name] = [np.logical_and.reduce([part, *others]) for part in parts]
        return found

    def _has_two_tails(self, tails_of: Mapping[str, Sequence[np.ndarray]]) -> bool:
        """Whether of each two tails of a number both fail more often than what lies between them, beyond chance."""
        for *tails, between in tails_of.values():
            failing = self.wrong[between & self.open_to]
            rate = failing.mean() if len(failing) else 1.0  # it adds nothing where none lies between
            if any(
                score(tail.sum(), self.wrong[tail].sum(), rate) < 0 for tail in (each & self.open_to for each in tails)
            ):
                return False
        return True

    def _fail_alike(self, tails_of: Mapping[str, Sequence[np.ndarray]]) -> bool:
        """Whether the intervals of the rates of each two tails of a number have something in common."""
        both = (assess(tails, self.wrong, self.groups, for_new=False) for *tails, _ in tails_of.values())
        return all(max(low.low, high.low) <= min(low.high, high.high) for low, high in both)

    def _count_for_more(self, holds: np.ndarray, places: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Which conditions say more than that a class is wrong and, of measured columns, are above all other images.

        Parameters
        ----------
        holds : ndarray of shape (n, n_images), bool
        places : sequence of n tuples of int

        Returns
        -------
        ndarray of shape (n,), bool
        """
        fine = self._above_all_others(holds, places) if self.overall else np.ones(len(places), bool)
        if self.classes is not None:
            causes = [not self.of_class[list(each)].all() for each in places]
            levels = np.array([self._level_of(len(each)) for each in places])
            rows = np.flatnonzero(fine & causes)
            chance = self._chance_given_class(holds, places, self.comparable, rows)
            fine[rows] = chance <= levels[rows]
        return fine

    def _chance_given_class(
        self, holds: np.ndarray, places: Sequence[tuple[int, ...]], among: np.ndarray, rows: np.ndarray
    ) -> np.ndarray:
        """See `chance_given_class`, of some of the conditions; of a single group, images are independent."""
        assert self.classes is not None
        one = np.array([len(places[i]) == 1 and self.whole[places[i][0]] for i in rows.tolist()], bool)
        chance, of = np.ones(len(rows)), self.groups.of[among] if self.groups else None
        for alike, groups in ((one, None), (~one, of)):
            if alike.any():
                held = holds[rows[alike]][:, among]
                chance[alike] = chance_given_class(self.classes[among], self.wrong[among], held, groups)
        return chance

    def _above_all_others(self, holds: np.ndarray, places: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Where which conditions hold the rate is higher than that of all other images, beyond chance.

        Fisher's exact test, corrected for as many weak spots as there can be. It is not corrected for all that are
        tried: that they matter is shown in comparison with what the earlier ones leave.
        """
        tested, wrong = np.count_nonzero(holds, axis=1), np.count_nonzero(holds & self.wrong, axis=1)
        images, failures, level = len(self.wrong), int(self.wrong.sum()), ERROR_RATE / MOST_SPOTS
        fine = wrong * images > failures * tested
        fine[fine] = _chance(wrong[fine], images, failures, tested[fine]) <= level
        everywhere, lengths = np.ones(images, bool), np.array([len(each) for each in places])
        for length in np.unique(lengths[fine]).tolist():
            rows = np.flatnonzero(fine & (lengths == length))
            fine[rows] = self._stands_out(np.array([places[i] for i in rows.tolist()]), wrong[rows], everywhere, level)
        return np.asarray(fine)

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
            holds = np.array([self._holds(each)[among] for each in places[part]])
            held = np.add.reduceat(holds, starts, axis=1, dtype=np.int32)
            chance = chance_of_excess(held, wrong[part], counted, correlation=counted.correlation)
            kept[part] = chance <= level
        return kept

    def _take_out(self, holds: np.ndarray) -> None:
        rows = np.flatnonzero(holds & self.open_to)
        taken = self._sums(rows * 0, 1, rows) + self._sums_of_pairs(rows)
        for sums, less in zip(self.one + self.two, taken, strict=True):
            sums -= less
        self.open_to &= ~holds

    def _candidates(self) -> list[tuple[float, tuple[int, ...]]]:
        """The best conditions of each length that are significant, with their scores, the highest being the least.

        More of a number of which an earlier one is, as for the next larger objects, is hardly a new reason.
        """
        alone = np.arange(len(self.literals))
        found, _ = self._best_of(self.one, np.ones((1, len(alone)), bool), np.zeros((1, 0), int), alone)
        pairs, best = self._best_of(self.two, self.may, alone[:, None], self.plain)
        found += pairs
        while len(best := best[:BEAM]) and best.shape[1] < MOST_CLAUSES:
            holds = np.array([self._holds(each) & self.open_to for each in best.tolist()])
            sums, there = [], holds.any(axis=0)
            for weights in self._weights():
                rows = np.flatnonzero(there & (weights > 0))
                counts = self.of_part[:, rows] @ (holds[:, rows] * weights[rows]).T
                sums.append((self.plainly @ counts.astype(np.float32)).T)
            longer, best = self._best_of(sums, self.may[best].all(axis=1), best, self.plain)
            found += longer
        return found

    def _best_of(
        self, sums: Sequence[np.ndarray], may: np.ndarray, first: np.ndarray, last: np.ndarray
    ) -> tuple[list[tuple[float, tuple[int, ...]]], np.ndarray]:
        """The significant ones of the best conditions of one length with their scores; and the best ones.

        Parameters
        ----------
        sums : sequence of ndarray of shape (n, m)
            As of `_sums`.
        may : ndarray of shape (n, m), bool
        first : ndarray of shape (n, length - 1), int
        last : ndarray of shape (m,), int
            The literals of the conjunctions.

        Returns
        -------
        significant : list
        places : ndarray of shape (n, length), int
            The literals of the best conditions.
        """
        base = self._base(sums)
        # Not the place of each in two dimensions, which takes longer than all else
        at = np.flatnonzero(may & (sums[0] >= LEAST_TESTED) & (sums[1] > base.astype(np.float32) * sums[0]))
        tested, wrong = (each.ravel()[at].astype(float) for each in sums[:2])
        base = np.broadcast_to(base.ravel()[at] if base.ndim else base, at.shape).astype(float)
        scores = score(tested, wrong, base)
        best = _best(scores, KEPT)
        rows, columns = np.unravel_index(at[best], sums[0].shape)
        places = np.column_stack([first[rows], last[columns]])
        once = np.sort(np.unique(self.tag[places].sum(axis=1), return_index=True)[1])
        best, places = best[once], places[once]
        kept, length = self._significant(tested[best], wrong[best], places, base[best]), places.shape[1]
        worth = PRICES[length - 1] * scores[best[kept]] * np.where(self.again[places[kept]].any(axis=1), SIMPLER, 1)
        # Rounding must not decide which comes first.
        return list(zip((-worth.round(6)).tolist(), map(tuple, places[kept].tolist()), strict=True)), places

    def _base(self, sums: Sequence[np.ndarray]) -> np.ndarray:
        """The rates that conditions would have if they did not matter, of all or in the shape of each of the sums."""
        return np.asarray(self.wrong[self.open_to].mean())

    def _significant(self, tested: np.ndarray, wrong: np.ndarray, places: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Those of the conditions that have more failures than chance would give them in so many tries.

        The chance of so many failures among so many images, drawn without replacement, is at most exp(−n KL), with the
        Kullback–Leibler divergence of the rate from that of all (Hoeffding, JASA 58, 1963, theorems 1 and 4). Where
        this does not decide, it is computed (hypergeometric distribution).
        """
        images, failures = int(self.open_to.sum()), int((self.open_to & self.wrong).sum())
        rate = wrong.astype(float) / tested
        rest = np.maximum((failures - wrong.astype(float)) / np.maximum(images - tested, 1), self.overall)
        most = self._level_of(places.shape[1])
        chance = _bound(tested, rate, base)
        chance[rate * (1 - rest) < LEAST_ODDS * rest * (1 - rate)] = 1
        unsure = np.flatnonzero((chance > most) & (chance < most * SLACK))
        chance[unsure] = _chance(wrong[unsure], images, failures, tested[unsure])
        kept = np.flatnonzero(chance <= most)
        return kept[self._stands_out(places[kept], wrong[kept], self.open_to, most)]

    def _level_of(self, length: int) -> float:
        """The error rate of one of the conditions of a length."""
        return self.level * SHARES[length - 1] / max(1, self.tries[length - 1])


class SearchWithinClasses(Search):
    """The search for what makes failing likelier in comparison with images of the same class.

    Attributes
    ----------
    expected : ndarray of shape (n_images,), float64
        The rate of each image's class, among the images that were open at first. That of those that are open later is
        lower; it is what counts.
    inside : float
        The error rate of a pair of a class and one condition.
    """

    def __init__(self, searched: Searched, open_to: np.ndarray, *, level: float):
        classes = searched.classes
        assert classes is not None
        n = int(classes.max()) + 1
        sizes, failing = (np.bincount(classes[rows], minlength=n) for rows in (open_to, open_to & searched.wrong))
        self.expected = (failing / np.maximum(sizes, 1))[classes]
        super().__init__(searched, open_to, level=level)
        tried, rows = self.may & (self.two[0] >= LEAST_TESTED), np.flatnonzero(open_to)
        counts = self._count(classes[rows], n, rows)
        tries = [
            self._worth(tried[:, column], counts[classes[np.argmax(self._holds([place]))]])
            for column, place in enumerate(self.plain.tolist())
            if self.of_class[place]
        ]
        self.inside = INSIDE * level / max(1, sum(tries) * self.chosen_of)
        self.level = level * (1 - INSIDE) if tries else level

    def _counts(self, of: np.ndarray, n: int, rows: np.ndarray) -> list[np.ndarray]:
        """The failures that are expected as well."""
        return [*super()._counts(of, n, rows), self._count(of, n, rows, self.expected)]

    def _weights(self) -> list[np.ndarray]:
        return [*super()._weights(), self.expected]

    def _base(self, sums: Sequence[np.ndarray]) -> np.ndarray:
        return np.asarray(sums[2] / np.maximum(sums[0], 1))

    def _significant(self, tested: np.ndarray, wrong: np.ndarray, places: np.ndarray, base: np.ndarray) -> np.ndarray:
        """Those of the conditions that may be; of the best ones `_count_for_more` makes sure.

        The bound holds for draws from several classes as well, with the mean of their rates.
        """
        return np.flatnonzero(_bound(tested, wrong / tested, base) <= self._levels_of(places) * SLACK)

    def _count_for_more(self, holds: np.ndarray, places: Sequence[tuple[int, ...]]) -> np.ndarray:
        """Where which conditions hold failing is likelier among the open images of the same classes."""
        assert self.classes is not None
        wrong, among = self.wrong, self.open_to
        levels = np.array([self._levels_of(np.array([each]))[0] for each in places])
        fine = self._chance_given_class(holds, places, among, np.arange(len(places))) <= levels
        for row in np.flatnonzero(fine).tolist():
            odds = given_class(self.classes[among], wrong[among], holds[row][among]).odds
            fine[row] = odds is not None and odds >= LEAST_ODDS_WITHIN
        return np.asarray(fine)

    def _levels_of(self, places: np.ndarray) -> np.ndarray:
        """The error rate of each condition; all are of one length."""
        length = places.shape[1]
        inside = self.of_class[places].any(axis=1) & (length == 2)
        return np.where(inside, self.inside, self._level_of(length))


def _chance(wrong: np.ndarray, images: int, failures: int, tested: np.ndarray) -> np.ndarray:
    """The chance of as many failures among images drawn without replacement; of equal numbers it is computed once."""
    from scipy.stats import hypergeom  # type: ignore[attr-defined]

    _, first, of = np.unique(tested * (images + 1.0) + wrong, return_index=True, return_inverse=True)
    return np.asarray(hypergeom.sf(wrong[first] - 1, images, failures, tested[first])[of])


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


def columns_to_search(
    columns: Mapping[str, np.ndarray], wrong: np.ndarray, recorded: Sequence[str], classes: np.ndarray | None
) -> list[str]:
    """The columns, but for recorded ones beyond `MOST_COLUMNS`: those that go least with failing within classes.

    By a chi-square test of each alone.
    """
    if len(recorded) <= MOST_COLUMNS:
        return [*columns]
    from scipy.stats import chi2  # type: ignore[attr-defined]

    strata = np.zeros(len(wrong), int) if classes is None else classes
    rates = (np.bincount(strata, wrong) / np.maximum(np.bincount(strata), 1))[strata]
    tests = []
    for name in recorded:
        parts = parts_of(columns[name], COARSE)
        cells = strata * (int(parts.max(initial=0)) + 1) + parts
        sizes, expected = np.bincount(cells), np.bincount(cells, rates)
        spread = np.bincount(cells, rates * (1 - rates))
        some = (sizes >= LEAST_TESTED) & (spread > 0)
        statistic = float(((np.bincount(cells, wrong) - expected)[some] ** 2 / spread[some]).sum())
        tests.append((statistic, max(np.count_nonzero(some) - len(np.unique(strata)), 1)))
    order = np.argsort(chi2.logsf(*np.array(tests).T), kind="stable")[:MOST_COLUMNS]
    chosen = {recorded[at] for at in order.tolist()}
    return [name for name in columns if name in chosen or name not in recorded]


def cuts_of(columns: Mapping[str, np.ndarray], wrong: np.ndarray, label: str) -> dict[str, Cut]:
    """The simple conditions on all columns; numbers are cut more coarsely if there are many columns."""
    for parts in (20, 16, 12, 10, 8, 6, 4):
        tried = {name: literals_of(name, column, parts=parts) for name, column in columns.items()}
        if sum(map(len, tried.values())) * sum(plain for each in tried.values() for _, plain in each) <= MOST_PAIRS:
            break
    cuts = {}
    for name, column in columns.items():
        # All but the usual value is one condition, if the other values fail about equally often.
        kept = [
            each for each in tried[name] if each.literal.sign != "!=" or _is_one(each.literal, column, wrong, label)
        ]
        if kept:
            cuts[name] = cut(kept, column)
    return cuts


def _is_one(literal: Literal, column: np.ndarray, wrong: np.ndarray, label: str) -> bool:
    others = literal.holds(column)
    return literal.column != label and fails_equally(column[others], wrong[others])


def _best(scores: np.ndarray, n: int) -> np.ndarray:
    """Places of the n highest finite scores, best first; of equal ones the first."""
    least = -np.partition(-scores, n - 1)[n - 1] if n < len(scores) else -np.inf
    part = np.flatnonzero((scores >= least) & np.isfinite(scores))
    return part[np.argsort(-scores[part], kind="stable")][:n]
