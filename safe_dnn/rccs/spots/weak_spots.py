"""Weak spots: conditions, in words, under which the DNN fails more often than elsewhere.

In: what is known of every tested image (classes, parameters, what it shows) and whether the DNN got it right. Out: a
few conditions such as `label = centre and contrast >= 0.27`, each with its error rate, and `weak_spots.csv`. RCCs
say which failing images look alike; weak spots say how they differ from images that the DNN gets right.

They are found one after the other, each among the images that the earlier ones leave (see `search.py`). What stands out
in the rest need not do so in the whole test set. The DNN must also fail more often than on *all* other images, and,
unless it was found given the class, beyond chance. This is the rate that a weak spot is shown with.

Some classes are wrong more often than others, and whatever goes with such a class goes with failing. Thus there are two
levels: what the classes say, and what makes failing likelier in comparison with images of the same class (see
`figures.py`). For the second level the search begins anew, since a class that was found holds what happens inside it.
A broad condition takes the images of narrower ones inside it, which may take its place (see `_narrower`), and of rarer
ones, which are searched for last (see `_hidden`).

Images of one person or drive are not independent. If it is known which are, both comparisons are also made between
groups or within them (see `figures.py`), which leaves out what only holds for persons on whom the DNN fails anyway.

What was tried: docs/decisions/031-weak-spots.md.
"""

import csv
import itertools
import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.rccs.spots.conditions import Conditions, Literal, hold, of_classes
from safe_dnn.rccs.spots.expected import baselines_of, expected_rates
from safe_dnn.rccs.spots.figures import Figures, Groups, assess, compared_with, figures_in, given_class
from safe_dnn.rccs.spots.revision import KnownImages, merged_with, revised
from safe_dnn.rccs.spots.search import (
    ERROR_RATE,
    MOST_SPOTS,
    Search,
    Searched,
    SearchWithinClasses,
    columns_to_search,
    cuts_of,
)
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.tables import from_cell, table_text
from safe_dnn.support.text import printable, rate_text

WEAK_SPOTS_FILE = "weak_spots.csv"

COLUMNS = (
    "rank", "where", "tested", "wrong", "rate", "low", "high", "new_rate", "expected", "expected_low", "expected_high",
    "excess", "excess_low", "excess_high", "elsewhere", "class_rate", "conditions", "values", "groups", "group",
    "doubted",
)  # fmt: skip
MOST_VALUES = 12  # of a category, that are told one by one
SEARCHES = (0.25, 0.15)  # of the error rate, for the searches one after the other
WITHIN_CLASSES = (0.2, 0.1)  # of the error rate, for those within classes; what is left is for what these have hidden
NARROWER = 0.05  # of the error rate, for those inside all conditions found
SURE = 0.8  # the rate from which a condition is not searched inside
LEFT_OVER = 0.15  # the share of its failures that may lie outside the narrower ones


class WeakSpot(NamedTuple):
    """A condition, and how often the DNN fails where it holds.

    Attributes
    ----------
    literals : tuple of Literal
        All of them must hold.
    figures : Figures
        Weak spots may overlap. The interval is that of the rate in new images (see `reasons/known.py`), or as long as
        that is unknown of the counted rate; the condition was chosen because its rate is high, which only the former
        corrects for.
    elsewhere : float
        The rate of all other images; NaN if there are none.
    class_rate : float
        How often images of its classes are wrong, each class in the share that it has of the condition's images. None
        if there are no classes, or if the condition is about nothing else.
    new_rate : float
        The rate that is expected of new images. None if unknown.
    values : tuple of (str, int, int)
        Of a condition that leaves out one value of a category with more than two, each value with the images for which
        the rest of the condition holds, and the wrong ones among them: the value that is left out comes last.
    doubted : bool
        Whether it is about a column that may be the answer under another name (see `reasons.known`).
    """

    literals: Conditions
    figures: Figures
    elsewhere: float = math.nan
    class_rate: float | None = None
    new_rate: float | None = None
    doubted: bool = False
    values: tuple[tuple[str, int, int], ...] = ()

    @property
    def where(self) -> str:
        """The condition in words."""
        return " and ".join(map(str, self.literals))

    @property
    def words(self) -> str:
        """The condition as a clause: what narrows it further comes after a comma."""
        return " and ".join(literal.words for literal in self.literals)

    @property
    def conditions(self) -> str:
        """The condition for programs."""
        return conditions_text(self.literals)

    @property
    def text(self) -> str:
        """For example `light < 0.1: 98 of 120 are wrong (82%, 71–88% of new images), 6% expected without it`."""
        doubt = "; perhaps the network's answer under another name" if self.doubted else ""
        of, new = self.figures, "" if self.new_rate is None else " of new images"
        rates = f"{rate_text(of.rate)}, {of.interval}{new}"
        values = f" ({self.of_values})" if self.values else ""
        return f"{self.where}: {of.wrong_of_tested} are wrong ({rates}){of.compared}{values}{doubt}"

    @property
    def of_values(self) -> str:
        """For example `asian 61%, black 54%, indian 44%; white 42%`; empty without `values`."""
        rates = [f"{printable(name)} {rate_text(wrong / tested)}" for name, tested, wrong in self.values]
        return f"{', '.join(rates[:-1])}; {rates[-1]}" if rates else ""

    @property
    def may_be_chance(self) -> bool:
        """Whether new images may be wrong no more often than without it. What may be the answer itself is no reason
        either."""
        return self.doubted or self.figures.excess_low <= 0

    def holds(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """For which images it holds: bool of shape (n_images,). False where a value is unknown."""
        return _holds(self.literals, columns)


def find_weak_spots(
    columns: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    *,
    measured: Collection[str] = (),
    label: str = "",
    classes: np.ndarray | None = None,
    groups: Groups | None = None,
) -> list[WeakSpot]:
    """The conditions under which the DNN fails more often than elsewhere, the most important first.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        As of `parameters.Parameters`: float64, NaN if unknown, or str, empty if unknown. Nothing that depends on the
        DNN's answers: a condition on them holds for wrong images by construction.
    wrong : ndarray of shape (n_images,), bool
    measured : collection of str
        Columns that are measured in the images. What is recorded, a class or a parameter, is a better reason: these
        columns explain only failures that recorded ones do not.
    label : str
        The column of the true class; empty if there is none.
    classes : ndarray of shape (n_images,), optional
        The class of each image, if it is not that of the column, as for a false detection.
    groups : Groups, optional
        Of images that are not independent. A weak spot must then stand out in comparison of groups, or within groups. A
        value of their column is itself a group, whose images are independent.

    Returns
    -------
    list of WeakSpot
        In the order in which they were found. Empty if nothing is significant, as when all images are right, or all
        are wrong.
    """
    wrong = np.asarray(wrong, bool)
    if not wrong.any() or wrong.all():
        return []
    of = columns[label] if classes is None and label in columns else classes
    numbers = None if of is None else np.unique(of, return_inverse=True)[1]
    classes = numbers if numbers is not None and numbers.any() else None  # a single one says nothing
    recorded = [name for name in columns if name not in measured]
    others = [name for name in recorded if name != label]
    every, columns = columns, {name: columns[name] for name in columns_to_search(columns, wrong, others, classes)}
    rows = np.arange(len(wrong)) if groups is None else np.argsort(groups.of, kind="stable")  # see `search.Searched`
    known, failing = {name: column[rows] for name, column in columns.items()}, wrong[rows]
    searched = Searched(
        known, cuts_of(known, failing, label), failing, label, groups and groups.taken(rows),
        None if classes is None else classes[rows], max(1, len(every)) / max(1, len(columns)),
    )  # fmt: skip
    recorded = [name for name in columns if name not in measured]
    open_to = comparable = np.ones(len(wrong), bool)
    found: list[Conditions] = []
    # If only the class is recorded, measured columns do not come after it: each class would be a reason of its own.
    rounds = [recorded] if set(recorded) - {label} else []
    rounds += [[*columns]] if [*columns] not in rounds else []
    for names, share in zip(rounds, SEARCHES, strict=False):
        # A recorded cause may be hidden by others, and is compared only with images that are still open. What is
        # measured must stand out among all: the last failures always have something in common.
        overall = 0.0 if names == recorded and set(recorded) - {label} else float(failing.mean())
        search = Search(
            searched.among(names), open_to, level=ERROR_RATE * share, overall=overall, comparable=comparable
        )
        while len(found) < MOST_SPOTS and (literals := search.next()):
            found = merged_with(found, literals)
        open_to, comparable = search.open_to, search.comparable
    if searched.classes is not None:
        inside = [literals for literals in found if not of_classes(literals, label)]
        most = MOST_SPOTS + len(found) - len(inside)
        open_to = ~_hold_any(inside, known, len(wrong))
        for names, share in zip(rounds, WITHIN_CLASSES, strict=False):
            within = SearchWithinClasses(searched.among(names), open_to, level=ERROR_RATE * share)
            while len(found) < most and (literals := within.next()):
                found = merged_with(found, literals)
            open_to = within.open_to
    level = ERROR_RATE * NARROWER / max(1, len(found))
    own = ~_hold_any((each for each in found if _is_sure(each, searched)), known, len(wrong))
    narrower = [_narrower(literals, searched.among(rounds[0]), level, own) for literals in found]
    once = {frozenset(each): each for each in itertools.chain(*narrower)}
    sure = [of for of, each in once.items() if _is_sure(each, searched)]
    found = [each for of, each in once.items() if not any(other < of for other in sure)]
    if searched.classes is not None:
        left = 1 - NARROWER - sum(SEARCHES[: len(rounds)]) - sum(WITHIN_CLASSES[: len(rounds)])
        while len(found) < most and (literals := _hidden(found, searched, recorded, ERROR_RATE * left)):
            found.append(literals)
    tested = KnownImages(every, wrong, label, classes, groups)
    return _counted(revised(found, tested), tested)


def _narrower(literals: Conditions, searched: Searched, level: float, own: np.ndarray) -> list[Conditions]:
    """The conditions inside one, in its place, if hardly any of its own failures lies outside all of them.

    Its own are those that no sure condition explains: bool of shape (n_images,). What is inside classes was searched
    for.
    """
    holds, named = _holds(literals, searched.columns), {literal.column for literal in literals}
    if of_classes(literals, searched.label) or _is_sure(literals, searched):
        return [literals]
    inside = searched.inside(holds).among([name for name in searched.cuts if name not in named])
    search, found = Search(inside, np.ones(len(inside.wrong), bool), level=level / 2), list[Conditions]()
    while len(found) < MOST_SPOTS and (inner := search.next()):
        found = merged_with(found, inner)
    left = inside.wrong & search.open_to & own[holds]
    if not found or left.sum() > LEFT_OVER * np.count_nonzero(searched.wrong & holds & own):
        return [literals]
    return [each for inner in found for each in _narrower((*literals, *inner), searched, level / 2 / len(found), own)]


def _is_sure(literals: Conditions, searched: Searched) -> bool:
    """Whether nearly all images of a condition are wrong, so that no narrower one says more."""
    return bool(searched.wrong[_holds(literals, searched.columns)].mean() >= SURE)


def _hidden(
    conditions: Sequence[Conditions], searched: Searched, recorded: Sequence[str], level: float
) -> Conditions | None:
    """A condition on columns that none found given the class is about: a broad one may have taken its images.

    An image is compared with those of its class where the same of the conditions found holds, that with the highest
    rate if several do: what goes with such a condition is none of its own.
    """
    classes = searched.classes
    assert classes is not None
    conditions = [each for each in conditions if not of_classes(each, searched.label)]
    named = {literal.column for each in conditions for literal in each} | {searched.label}
    held = [_holds(each, searched.columns) for each in conditions]
    held.sort(key=lambda holds: -searched.wrong[holds].mean())
    same = np.argmax([*held, np.ones(len(classes), bool)], axis=0)
    cells = np.unique(classes * (len(held) + 1) + same, return_inverse=True)[1]
    others = searched._replace(classes=cells).among([name for name in recorded if name not in named])
    return SearchWithinClasses(others, np.ones(len(classes), bool), level=level).next()


def _holds(literals: Conditions, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    return hold(literals, columns, len(columns[literals[0].column]))


def _hold_any(conditions: Iterable[Conditions], columns: Mapping[str, np.ndarray], n_images: int) -> np.ndarray:
    return np.logical_or.reduce([np.zeros(n_images, bool), *(_holds(each, columns) for each in conditions)])


def _counted(conditions: Sequence[Conditions], tested: KnownImages) -> list[WeakSpot]:
    """Weak spots with their figures over all images."""
    columns, wrong, label, classes, groups = tested
    holds, spots = tested.holds(conditions), list[WeakSpot]()
    for literals, here, figures in zip(conditions, holds, assess(holds, wrong, groups, for_new=False), strict=True):
        by_class = None if classes is None or of_classes(literals, label) else given_class(classes, wrong, here)
        elsewhere = float(wrong[~here].mean()) if not here.all() else math.nan
        values = _values_of(literals, columns, wrong)
        spots.append(WeakSpot(literals, figures, elsewhere, by_class and by_class.expected, values=values))
    return judged(spots, columns, wrong, label=label, classes=classes, groups=groups)


def _values_of(
    literals: Conditions, columns: Mapping[str, np.ndarray], wrong: np.ndarray
) -> tuple[tuple[str, int, int], ...]:
    """What `WeakSpot.values` are; values on either side of the mean are no one thing."""
    left_out = next((one for one in literals if one.sign == "!=" and isinstance(one.value, str)), None)
    if left_out is None:
        return ()
    rest = hold(tuple(one for one in literals if one != left_out), columns, len(wrong))
    names, place, counts = np.unique(columns[left_out.column][rest], return_inverse=True, return_counts=True)
    failing = np.bincount(place, wrong[rest], len(names)).astype(int)
    every = [(str(name), int(n), int(k)) for name, n, k in zip(names, counts, failing, strict=True) if name]
    every.sort(key=lambda value: (value[0] == left_out.value, -value[2] / value[1]))
    return tuple(every) if 2 < len(every) <= MOST_VALUES else ()


def judged(
    spots: Sequence[WeakSpot], columns: Mapping[str, np.ndarray], wrong: np.ndarray, *, label: str = "",
    classes: np.ndarray | None = None, groups: Groups | None = None,
) -> list[WeakSpot]:  # fmt: skip
    """Weak spots with what is expected without each, in the order of the list: by failures in excess, chance last.

    A reason is one whose excess is beyond chance: with 95 %, all intervals of the reasons together hold what they are
    of. The least certain is dropped first, and what is expected of the others is estimated anew without it.

    Parameters
    ----------
    spots : sequence of WeakSpot
        With the rate of new images, if it is known.
    columns, wrong, label, groups
        As for `find_weak_spots`.
    classes : ndarray of shape (n_images,), int, optional
        From 0.

    Returns
    -------
    list of WeakSpot
        Without those of which no failure is in excess.
    """
    conditions, holds = [spot.literals for spot in spots], [spot.holds(columns) for spot in spots]
    judged, reasons = [*spots], {*range(len(spots))}
    while True:
        baselines = baselines_of(conditions, label, reasons, groups=groups.column if groups else "")
        expected = expected_rates(np.array(holds, bool), wrong, baselines, classes, groups.of if groups else None)
        for row, (spot, without) in enumerate(zip(spots, expected, strict=True)):
            left = None if spot.new_rate is None else spot.new_rate * spot.figures.tested
            figures = compared_with(spot.figures, without, left=left, comparisons=max(len(reasons), 1))
            judged[row] = spot._replace(figures=figures)
        sure = {row: _certainty(judged[row].figures) for row in reasons}
        dropped = min(sure, key=lambda row: sure[row], default=0)
        if not reasons or sure[dropped] > 0:
            break
        reasons.remove(dropped)
    listed = [judged[row] for row in range(len(spots)) if judged[row].figures.excess > 0]
    return sorted(listed, key=lambda spot: (spot.may_be_chance, -spot.figures.excess))


def figures_given(
    conditions: Sequence[Conditions], reasons: Sequence[Conditions], columns: Mapping[str, np.ndarray],
    wrong: np.ndarray, *, label: str = "", classes: np.ndarray | None = None, groups: Groups | None = None,
    for_new: bool = True,
) -> list[Figures]:  # fmt: skip
    """Count conditions that nobody has searched for, with what is expected without each, given the listed reasons.

    Parameters
    ----------
    conditions : sequence of conjunctions
    reasons : sequence of conjunctions
        Those that hold beyond chance. They stay as they are, unless they say more than the condition.
    columns, wrong, label, groups
        As for `find_weak_spots`.
    classes : ndarray of shape (n_images,), int, optional
        From 0.
    for_new : bool
        As for `figures.assess`.
    """
    known = KnownImages(columns, wrong, label, classes, groups)
    holds = known.holds([*conditions, *reasons])
    stay, column = range(len(conditions), len(holds)), groups.column if groups else ""
    baselines = baselines_of([*conditions, *reasons], label, stay, groups=column)[: len(conditions)]
    expected = expected_rates(holds, wrong, baselines, classes, groups.of if groups else None)
    return assess(holds[: len(conditions)], wrong, groups, expected=expected, for_new=for_new)


def _certainty(of: Figures) -> float:
    """By how many half-widths of its interval an excess is above 0, less 1; −infinity if it is not known."""
    if math.isnan(of.excess_low):
        return -math.inf
    return of.excess_low / max(of.excess - of.excess_low, 1e-9)


def spots_text(spots: Sequence[WeakSpot]) -> str:
    """The text of `weak_spots.csv`."""
    rows = []
    for rank, spot in enumerate(spots, 1):
        conditions = json.dumps(spot.literals, ensure_ascii=False)
        known = spot.figures.cells | spot._asdict() | {"rank": rank, "where": spot.where, "conditions": conditions}
        known["doubted"] = "yes" if spot.doubted else None
        known["values"] = json.dumps(spot.values, ensure_ascii=False) if spot.values else None
        rows.append([known[name] for name in COLUMNS])
    return table_text(COLUMNS, rows)


def load_spots(run: Run) -> tuple[WeakSpot, ...]:
    """Read `weak_spots.csv` of a comparison.

    Raises
    ------
    SAFEError
        The table is damaged.
    """
    with reading_file(run, WEAK_SPOTS_FILE) as path, path.open(encoding="utf-8", newline="") as file:
        return tuple(map(_from_row, csv.DictReader(file, strict=True)))


def _from_row(row: Mapping[str, str]) -> WeakSpot:
    """The weak spot of a row; `where` and the rate follow from the other columns."""
    literals, figures = read_conditions(from_cell(row["conditions"])), figures_in(row)
    elsewhere = float(row["elsewhere"]) if row["elsewhere"] else math.nan
    class_rate, rate = (float(row[name]) if row[name] else None for name in ("class_rate", "new_rate"))
    values = tuple((str(name), int(n), int(k)) for name, n, k in json.loads(from_cell(row["values"]) or "[]"))
    return WeakSpot(literals, figures, elsewhere, class_rate, rate, row["doubted"] == "yes", values)


def conditions_text(literals: Iterable[Literal]) -> str:
    """A conjunction as JSON in ASCII, the same in whichever order its conditions were found."""
    return json.dumps(sorted(literals, key=lambda literal: json.dumps(literal)))


def canonical_conditions(text: str) -> str:
    """The same text for the same conjunction, in whatever words its angles are."""
    return conditions_text(literal.canonical for literal in read_conditions(text))


def read_conditions(text: str) -> tuple[Literal, ...]:
    """The conjunction from the column `conditions` of `weak_spots.csv`; any of `DAMAGED` if it is invalid."""
    literals = tuple(_literal(*each) for each in json.loads(text))
    if not literals:
        raise ValueError("no condition")
    return literals


def _literal(column: Any, sign: Any, value: Any) -> Literal:
    """A simple condition from JSON, checked."""
    signs: tuple[str, ...] = ("=", "!=") if isinstance(value, str) else ("<", ">=")
    known: Any = value if isinstance(value, str | list) else float(value)
    if isinstance(value, list):
        low, high = map(float, value)
        signs, known = ("from", "outside"), (low, high)
    finite = isinstance(value, str) or np.isfinite(known).all()
    if not isinstance(column, str) or isinstance(value, bool) or sign not in signs or not finite:
        raise ValueError(f"invalid condition {[column, sign, value]}")
    return Literal(column, sign, known)
