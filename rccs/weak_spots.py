"""Weak spots: conditions, in words, under which the DNN fails more often than elsewhere.

In: what is known of every tested image (classes, parameters, what it shows) and whether the DNN got it right. Out: a
few conditions such as `label = centre and contrast >= 0.27`, each with its failure rate, and `weak_spots.csv`. RCCs
say which failing images look alike; weak spots say what tells them from images that the DNN gets right.

The search is that of subgroup discovery (Klösgen, "Explora", 1996; Atzmueller, WIREs Data Mining 5(1), 2015) over
conjunctions of up to `MOST_LITERALS` simple conditions. The best is kept, its images are taken out, and the search goes
on in the rest, as in sequential covering (Lavrač et al., JMLR 5, 2004): a cause that is hidden by the failures of a
larger one stands out once these are gone. A search among so many conditions finds some by chance. Thus one counts only
if its rate is significant after correction for all that were tried (Bonferroni; the error rate is shared out among
the lengths of conditions, as in Webb, Machine Learning 71, 2008, since there are few short ones). What was
tried: docs/decisions/031-weak-spots.md.
"""

import csv
import io
import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from rccs.conditions import LEAST_TESTED, Literal, Tried, literals_of
from rccs.intervals import clopper_pearson
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.run_folder import WEAK_SPOTS_FILE
from support.tables import cell, from_cell

COLUMNS = ("rank", "where", "tested", "wrong", "rate", "low", "high", "elsewhere", "conditions")
MOST_LITERALS = 3
MOST_SPOTS = 15
MOST_SEARCHED = 20_000  # images; of more, a random part is searched
ERROR_RATE = 0.05  # chance to find anything where right and wrong are independent of everything
LEAST_NEW = 0.5  # share of a weak spot's failures that no earlier one has
LEAST_ODDS = 2.0  # odds of failing there, over those elsewhere
SHARES = (0.5, 0.25, 0.25)  # of the error rate, for conditions of one, two and three literals
SLACK = 1000  # by which factor the bound on the chance may exceed the chance itself
SEARCHES = 2  # among recorded columns, then among all
KEPT = 2000  # conditions of each length whose significance is computed, best first
BEAM = 100  # pairs that are extended by a third condition
SIMPLER = 0.8  # a longer condition must score higher: its score counts by this factor for each additional literal
EXPONENT = 0.65
Z = 1.96
MOST_PAIRS = 3_000_000  # of simple conditions that are tried


class WeakSpot(NamedTuple):
    """A condition, and how often the DNN fails where it holds.

    Attributes
    ----------
    literals : tuple of Literal
        All of them must hold.
    tested, wrong : int
        Images for which the condition holds, and those of them that the DNN gets wrong. Weak spots may overlap.
    low, high : float
        95 % interval of the rate (Clopper & Pearson, 1934). The condition was chosen because its rate is high: the
        search corrects for that, the interval does not.
    elsewhere : float
        The rate of the images for which no weak spot holds; of all the others if there are no such images.
    """

    literals: tuple[Literal, ...]
    tested: int
    wrong: int
    low: float
    high: float
    elsewhere: float

    @property
    def rate(self) -> float:
        """Share of the tested images that the DNN gets wrong; 0 if there are none."""
        return self.wrong / self.tested if self.tested else 0.0

    @property
    def excess(self) -> float:
        """Failures above what the rate elsewhere would give."""
        return self.wrong - self.elsewhere * self.tested

    @property
    def where(self) -> str:
        """The condition in words."""
        return " and ".join(map(str, self.literals))

    @property
    def conditions(self) -> str:
        """The condition for programs, by which it is known again (see `canonical_conditions`)."""
        return canonical_conditions(self.literals)

    @property
    def text(self) -> str:
        """For example `light < 0.1: 98 of 120 are wrong (82%, 74–88%), elsewhere 12%`."""
        ends = f"{100 * self.low:.0f}–{self.high:.0%}"
        return (
            f"{self.where}: {self.wrong:,} of {self.tested:,} are wrong ({self.rate:.0%}, {ends}), "
            f"elsewhere {self.elsewhere:.0%}"
        )

    def holds(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """For which images it holds: bool of shape (n_images,). False where a value is unknown.

        Raises
        ------
        SAFEError
            A column is missing.
        """
        missing = [literal.column for literal in self.literals if literal.column not in columns]
        if missing:
            raise SAFEError(
                f"The weak spot `{self.where}` needs the column {missing[0]}. Received: "
                f"{', '.join(columns) or 'none'}. Provide it, or find the weak spots again."
            )
        return np.logical_and.reduce([literal.holds(columns[literal.column]) for literal in self.literals])


def find_weak_spots(
    columns: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    *,
    measured: Collection[str] = (),
    never_together: Sequence[str] = (),
    most: int = MOST_SPOTS,
    seed: int = 0,
) -> list[WeakSpot]:
    """The conditions under which the DNN fails more often than elsewhere, the most important first.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        As of `parameters.Parameters`: float64, NaN if unknown, or str, empty if unknown.
    wrong : ndarray of shape (n_images,), bool
    measured : collection of str
        Columns that are measured in the images. What is recorded, a class or a parameter, is a better reason: these
        columns explain only failures that recorded ones do not.
    never_together : sequence of str
        The column of the true class, then that of the predicted class. Together they would only say that the image is
        wrong, and so would a prediction with a parameter that determines the class: see `_informative`.
    most : int
    seed : int
        Of the part that is searched of more than `MOST_SEARCHED` images. The figures are of all images.

    Returns
    -------
    list of WeakSpot
        By the failure rate's excess over that elsewhere, at the lower end of its interval, weighted by size. Empty if
        nothing is significant, as when all images are right, or all are wrong.
    """
    wrong = np.asarray(wrong, bool)
    rows = np.arange(len(wrong))
    if len(rows) > MOST_SEARCHED:
        rows = np.sort(np.random.default_rng(seed).choice(len(rows), MOST_SEARCHED, replace=False))
    failing = wrong[rows]
    if not failing.any() or failing.all():
        return []
    known = {name: column[rows] for name, column in columns.items()}
    symptoms = set(never_together[1:])
    recorded = [name for name in columns if name not in measured and name not in symptoms]
    open_to = np.ones(len(rows), bool)
    found: list[tuple[Literal, ...]] = []
    # If only the class is recorded, measured columns do not come after it: each class would be a reason of its own.
    rounds = [recorded] if set(recorded) - set(never_together) else []
    for names in [*rounds, list(columns)]:
        # A recorded cause may be hidden by others, and is compared only with images that are still open. What is
        # measured or predicted must stand out among all: the last failures always have something in common.
        overall = float(failing.mean()) if set(names) - set(recorded) else 0.0
        search = _Search({name: known[name] for name in names}, failing, open_to, never_together, overall)
        while len(found) < most and (literals := search.next()):
            found.append(literals)
        open_to = search.open_to
    return _described(found, columns, wrong)


def sample_note(images: int) -> str:
    """A sentence for a test set that is too large to be searched as a whole; otherwise empty."""
    if images <= MOST_SEARCHED:
        return ""
    return (
        f"The weak spots were searched in a random part of {MOST_SEARCHED:,} of the {images:,} tested images; "
        f"their figures are of all."
    )


def _described(
    found: Sequence[tuple[Literal, ...]], columns: Mapping[str, np.ndarray], wrong: np.ndarray
) -> list[WeakSpot]:
    """The weak spots with their figures over all images, ranked."""
    here = [np.logical_and.reduce([literal.holds(columns[literal.column]) for literal in each]) for each in found]
    nowhere = ~np.logical_or.reduce(here) if here else np.zeros(0, bool)
    spots = []
    for literals, holds in zip(found, here, strict=True):
        tested, failing = int(holds.sum()), int((holds & wrong).sum())
        others = wrong[nowhere] if nowhere.any() else wrong[~holds]
        elsewhere = float(others.mean()) if len(others) else 0.0
        low, high = (float(end[0]) for end in clopper_pearson(np.array([failing]), np.array([tested])))
        spots.append(WeakSpot(literals, tested, failing, low, high, elsewhere))
    return sorted(spots, key=lambda spot: -(spot.low - spot.elsewhere) * spot.tested**EXPONENT)


def spots_text(spots: Sequence[WeakSpot]) -> str:
    """The text of `weak_spots.csv`."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, spot in enumerate(spots, 1):
        conditions = cell(json.dumps(spot.literals, ensure_ascii=False))
        figures = (spot.tested, spot.wrong, spot.rate, spot.low, spot.high, spot.elsewhere)
        writer.writerow((rank, cell(spot.where), *figures, conditions))
    return table.getvalue()


def load_spots(folder: Path) -> tuple[WeakSpot, ...]:
    """Read `weak_spots.csv`; empty if there is none.

    Raises
    ------
    SAFEError
        The table is damaged.
    """
    path = folder / WEAK_SPOTS_FILE
    try:
        with regular(path).open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise ValueError(f"expected the columns {', '.join(COLUMNS)}")
            return tuple(map(_from_row, reader))
    except FileNotFoundError:
        return ()
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). Find the weak spots again.") from error


def _from_row(row: Mapping[str, str]) -> WeakSpot:
    """The weak spot of a row; `where` and the rate follow from the other columns."""
    literals = read_conditions(from_cell(row["conditions"]))
    tested, wrong = int(row["tested"]), int(row["wrong"])
    low, high, elsewhere = (float(row[name]) for name in ("low", "high", "elsewhere"))
    if not 0 <= wrong <= tested or not all(0 <= rate <= 1 for rate in (low, high, elsewhere)):
        raise ValueError(f"weak spot {row['rank']} is invalid")
    return WeakSpot(literals, tested, wrong, low, high, elsewhere)


def canonical_conditions(literals: Sequence[Literal]) -> str:
    """A conjunction as JSON in ASCII: the same text for the same conditions, in whichever order they were found."""
    return json.dumps(sorted(literals, key=lambda literal: json.dumps(literal)))


def read_conditions(text: str) -> tuple[Literal, ...]:
    """The conjunction from the column `conditions` of `weak_spots.csv`; any of `DAMAGED` if it is invalid."""
    literals = tuple(_literal(*each) for each in json.loads(text))
    if not literals:
        raise ValueError("no condition")
    return literals


def _literal(column: Any, sign: Any, value: Any) -> Literal:
    """A simple condition from JSON, checked."""
    if isinstance(value, list):
        low, high = map(float, value)
        literal, finite = Literal(column, sign, (low, high)), math.isfinite(low) and math.isfinite(high)
        kind = "from"
    elif isinstance(value, str):
        literal, finite, kind = Literal(column, sign, value), True, "="
    else:
        literal, finite = Literal(column, sign, float(value)), math.isfinite(float(value))
        kind = "<" if sign == "<" else ">="
    if not isinstance(column, str) or isinstance(value, bool) or sign != kind or not finite:
        raise ValueError(f"invalid condition {[column, sign, value]}")
    return literal


class _Search:
    """The search among some columns, in the images of which no weak spot holds so far.

    Attributes
    ----------
    held : ndarray of shape (n_literals, n_images), bool
    here : ndarray of shape (n_literals, n_open), float32
        The same for the images that are open.
    overall : float
        A rate with which that of a condition is compared as well; 0 for none.
    plain : ndarray of shape (n_plain,), int
        The literals of which one is in each pair.
    n1, k1 : ndarray of shape (n_literals,)
        For each literal, how many open images it holds for, and how many of these are wrong.
    n2, k2 : ndarray of shape (n_plain, n_literals)
        The same for each pair.
    """

    def __init__(
        self,
        columns: Mapping[str, np.ndarray],
        wrong: np.ndarray,
        open_to: np.ndarray,
        never_together: Sequence[str],
        overall: float,
    ):
        tried = _tried(columns)
        held = np.zeros((len(tried), len(wrong)), bool)
        for row, each in zip(held, tried, strict=True):
            row[:] = each.literal.holds(columns[each.literal.column])
        often = held.sum(axis=1)
        kept = np.flatnonzero((often >= LEAST_TESTED) & (often < len(wrong)))
        self.literals = [tried[i].literal for i in kept]
        self.plain = np.flatnonzero([tried[i].plain for i in kept])
        self.overall = overall
        self.held, self.wrong, self.open_to = held[kept], wrong, open_to.copy()
        self.here = self.held[:, open_to].astype(np.float32)
        self.symptom = np.array([literal.column in never_together[1:] for literal in self.literals], bool)
        self.may = self._may(columns, never_together)
        self.n1, self.k1, self.n2, self.k2 = self._counts(self.here, wrong[open_to])
        n, pairs = len(self.literals), int(np.count_nonzero(self.may & (self.n2 >= LEAST_TESTED)))
        # Which triples are tried depends on the failures, so that all that could have been are counted.
        self.tries = (n, pairs, pairs * len(self.plain))

    def next(self) -> tuple[Literal, ...] | None:
        """The best condition that is significant; the images for which it holds are not open any more."""
        failing = self.wrong[self.open_to]
        if not self.literals or not failing.any() or failing.all():
            return None
        for _, places in sorted(self._candidates(float(failing.mean())), key=lambda each: (-each[0], each[1])):
            holds = np.logical_and.reduce(self.held[list(places)])
            new = np.count_nonzero(holds & self.open_to & self.wrong)
            if new >= LEAST_NEW * np.count_nonzero(holds & self.wrong):
                self._take_out(holds)
                return tuple(self.literals[i] for i in places)
        return None

    def _take_out(self, holds: np.ndarray) -> None:
        out = holds[self.open_to]
        taken = self._counts(self.here[:, out], self.wrong[self.open_to & holds])
        for counts, less in zip((self.n1, self.k1, self.n2, self.k2), taken, strict=True):
            counts -= less
        self.here = self.here[:, ~out]
        self.open_to &= ~holds

    def _counts(self, here: np.ndarray, wrong: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        failing = here[:, wrong]
        return (
            here.sum(axis=1),
            failing.sum(axis=1),
            here[self.plain] @ here.T,
            failing[self.plain] @ failing.T,
        )

    def _candidates(self, base: float) -> list[tuple[float, tuple[int, ...]]]:
        """The best conditions of each length that are significant, with their scores."""
        scores = score(self.n1, self.k1, base)
        best = _best(scores, KEPT)
        found = self._significant(scores[best], self.n1[best], self.k1[best], best[:, None])
        scores = np.where(self.may, score(self.n2, self.k2, base), -np.inf)
        best = _best(scores.ravel(), KEPT)
        first, second = np.unravel_index(best, scores.shape)
        pairs = np.column_stack([self.plain[first], second])
        found += self._significant(scores.flat[best], self.n2.flat[best], self.k2.flat[best], pairs)
        extended = np.flatnonzero(~self.symptom[pairs].any(axis=1))[:BEAM]
        first, pairs = first[extended], pairs[extended]
        if not len(pairs):
            return found
        failing, third = self.wrong[self.open_to], self.here[self.plain]
        both = self.here[pairs[:, 0]] * self.here[pairs[:, 1]]
        n3, k3 = both @ third.T, both[:, failing] @ third[:, failing].T
        may = self.may[first][:, self.plain] & self.may[:, pairs[:, 1]].T & ~self.symptom[self.plain]
        scores = np.where(may, score(n3, k3, base), -np.inf)
        best = _best(scores.ravel(), KEPT)
        pair, other = np.unravel_index(best, scores.shape)
        triples = np.column_stack([pairs[pair], self.plain[other]])
        return found + self._significant(scores.flat[best], n3.flat[best], k3.flat[best], triples)

    def _significant(
        self, scores: np.ndarray, tested: np.ndarray, wrong: np.ndarray, places: np.ndarray
    ) -> list[tuple[float, tuple[int, ...]]]:
        """Those of the conditions that have more failures than chance would give them in so many tries.

        The chance of so many failures among so many images, drawn without replacement, is at most exp(−n KL), with the
        Kullback–Leibler divergence of the rate from that of all (Hoeffding, JASA 58, 1963, theorems 1 and 4). Where
        this does not decide, it is computed (hypergeometric distribution).
        """
        from scipy.stats import hypergeom  # type: ignore[attr-defined]

        images, failures = int(self.open_to.sum()), int((self.open_to & self.wrong).sum())
        base, rate = failures / images, wrong.astype(float) / tested
        rest = np.maximum((failures - wrong.astype(float)) / np.maximum(images - tested, 1), self.overall)
        with np.errstate(divide="ignore", invalid="ignore"):
            divergence = np.where(rate > 0, rate * np.log(rate / base), 0)
            divergence += np.where(rate < 1, (1 - rate) * np.log((1 - rate) / (1 - base)), 0)
        length = places.shape[1]
        most = ERROR_RATE / SEARCHES * SHARES[length - 1] / max(1, self.tries[length - 1])
        chance = np.exp(-tested * divergence)
        chance[rate * (1 - rest) < LEAST_ODDS * rest * (1 - rate)] = 1
        unsure = np.flatnonzero((chance > most) & (chance < most * SLACK))
        chance[unsure] = hypergeom.sf(wrong[unsure] - 1, images, failures, tested[unsure])
        kept = np.flatnonzero(chance <= most)
        return [(SIMPLER ** (length - 1) * float(scores[i]), tuple(places[i].tolist())) for i in kept]

    def _may(self, columns: Mapping[str, np.ndarray], never_together: Sequence[str]) -> np.ndarray:
        """Which plain condition may stand together with which other: bool of shape (n_plain, n)."""
        names = np.array([literal.column for literal in self.literals])
        is_plain = np.zeros(len(names), bool)
        is_plain[self.plain] = True
        may = names[self.plain][:, None] != names[None, :]
        exclusive = np.isin(names, list(never_together))
        may &= ~(exclusive[self.plain][:, None] & exclusive[None, :])
        if len(never_together) > 1 and never_together[0] in columns:
            label = columns[never_together[0]]
            for i in np.flatnonzero(np.isin(names, never_together[1:])):
                informative = self._informative(np.asarray(label == self.literals[i].value))
                may[:, i] &= informative[self.plain]
                if is_plain[i]:
                    may[np.searchsorted(self.plain, i)] &= informative
        return may

    def _informative(self, of_class: np.ndarray) -> np.ndarray:
        """Which conditions say more than "wrong" together with the prediction of a class: bool of shape (n,).

        A condition that rarely holds for images of a class (a gaze to the left, for the class right) contradicts its
        prediction. It must hold for them at least half as often as for all images.
        """
        if not of_class.any():
            return np.zeros(len(self.literals), bool)
        return self.held[:, of_class].mean(axis=1) >= 0.5 * self.held.mean(axis=1)


def score(tested: np.ndarray, wrong: np.ndarray, base: float) -> np.ndarray:
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


def _best(scores: np.ndarray, n: int) -> np.ndarray:
    """Places of the n highest finite scores, best first; of equal ones the first."""
    if n < len(scores):
        part = np.argpartition(-scores, n - 1)[:n]
        part = np.flatnonzero(scores >= scores[part].min()) if np.isfinite(scores[part]).all() else np.sort(part)
    else:
        part = np.arange(len(scores))
    part = part[np.isfinite(scores[part])]
    return part[np.argsort(-scores[part], kind="stable")][:n]
