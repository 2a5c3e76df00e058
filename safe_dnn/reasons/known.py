"""What is known of tested images, and under which conditions on it the DNN fails more often: weak spots.

A test set with its answers in; columns (the class, the predicted one, recorded parameters, measured attributes), weak
spots and curves over these columns out.

What is expected of new images where a condition was chosen because the DNN fails there is another figure. Of thousands
of conditions, those that are found are also those that chance has favoured: on new images, the rate is lower. By how
much is seen by the same search in half of the test set (sample splitting): what is found in it is counted in the other
half, and loses some standard errors. A longer condition has been chosen among more, and loses more. And the fewer of
the weak spots half of the images are enough for, the nearer all of them are to chance.

The 95 % interval of the rate that is expected of new images extends from the lower end of that of the expected rate to
the upper end of that of the counted one, since not every rate was favoured, and least of all one at which nearly all
images are wrong.

If it is known which images are of one group, such as a person, no group is in both halves, and both figures are those
of other groups. What was tried: docs/decisions/035-new-images.md.
"""

import contextlib
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.attributes import ATTRIBUTES, measured_images
from safe_dnn.rccs.answers import CONFIDENCE, LABEL, PREDICTED, known_in
from safe_dnn.rccs.clusters import run_record
from safe_dnn.rccs.dbscan.contrast import uncertainty_coefficient
from safe_dnn.rccs.parameters import MOST_CATEGORIES, find_parameters, read_parameters, read_texts, typed_column
from safe_dnn.rccs.spots.conditions import parts_of
from safe_dnn.rccs.spots.curves import Bin, find_curves
from safe_dnn.rccs.spots.figures import Groups, share_of, tally
from safe_dnn.rccs.spots.search import MOST_COLUMNS
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots, judged
from safe_dnn.reasons.known_groups import KnownGroups
from safe_dnn.store.runs import COMPARISON, present_runs, reading_file
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.tables import read_table, table_text
from safe_dnn.support.text import count, printable, some

Columns: TypeAlias = Mapping[str, np.ndarray]
Find: TypeAlias = Callable[[np.ndarray], Sequence[WeakSpot]]


# --- New images ---------------------------------------------------------------------------------------------------

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


# --- What is known ------------------------------------------------------------------------------------------------

MOST_DOUBTED = 3  # columns that may be the answer itself, and are listed with the doubt
PARTS = 24  # of equally many images, into which a number is cut
MOST_EXPLAINED = 0.5  # of the uncertainty that the class leaves
MOST_IMAGES = 10_000  # of more, a random part says as much
TESTED_FILE = "tested_images.csv"
FRESH_FILE = "fresh_images.csv"


class Known(NamedTuple):
    """What is known of every tested image.

    Attributes
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        As of `rccs.parameters.Parameters`.
    measured : frozenset of str
        The columns that SAFE has measured in the images.
    notes : tuple of str
        Sentences on what could not be used of recorded parameters.
    """

    columns: Mapping[str, np.ndarray]
    measured: frozenset[str]
    notes: tuple[str, ...] = ()


def known_of(
    tested: AnsweredImages, *, parameters: StrPath | None = None, groups: Sequence[str] = (), required: bool = False
) -> Known:
    """What is known of every tested image: its class and the predicted one, recorded parameters, measured attributes.

    Parameters
    ----------
    parameters : path, optional
        As for `rccs.parameters.read_parameters`; by default `parameters.csv` in the test folder or beside it, if it
        exists. A column that is known of no image that the DNN gets right is left out: it would only say that an image
        is wrong.
    groups : sequence of str
        Columns that say which group an image is of: their values are no numbers, and left out if they are many.
    required : bool
        Whether it is an error (SAFEError) if the table cannot be read. Otherwise it is left out, as one may be that
        nobody gave: RCCs have a note on it.
    """
    columns, notes = _answers_known(tested), ()
    source = parameters or find_parameters(tested.root)
    if source:
        with contextlib.suppress(*(() if required else (SAFEError,))):
            recorded, notes = vars(read_parameters(source, tested.root, tested.paths)).values()
            texts = read_texts(source, tested.root, tested.paths) if recorded.keys() & set(groups) else {}
            for name in recorded.keys() & set(groups):
                recorded[name] = np.array(texts[name], str)
                if len(np.unique(recorded[name])) > MOST_CATEGORIES:
                    del recorded[name]
            if same := tested.same_as_target(recorded):
                notes += (f"Taken as the target, not as a parameter: {some(same)}.",)
                if LABEL in columns:  # a table that does not name its target
                    columns[same[0]] = columns.pop(LABEL)
            if shares := recorded.keys() & {*tested.classes, *tested.answers.label.tolist()}:
                notes += (f"Left out of the parameters, since they are named like classes: {some(sorted(shares))}.",)
            new = recorded.keys() - columns.keys() - shares - {*same}
            columns |= {name: of for name, of in recorded.items() if name in new and known_in(of[tested.right])}
            if len(new) > MOST_COLUMNS:
                most = f"the {MOST_COLUMNS} of {count(len(new), 'parameter')} that by themselves go most with failing"
                notes += (f"Conditions are on {most}.",)
    unknown = set(ATTRIBUTES) - set(columns) if tested.has_images else ()
    measured: dict[str, np.ndarray] = {}
    if unknown:
        rows = measured_images(tested.root, tested.paths).astype(np.float64)
        measured = {name: rows[:, i] for i, name in enumerate(ATTRIBUTES) if name in unknown}
    return Known({**columns, **measured}, frozenset(measured), notes)


def _answers_known(tested: AnsweredImages) -> dict[str, np.ndarray]:
    """The class and the predicted one, or the numbers of a regression, as columns."""
    answers = tested.answers
    columns: dict[str, np.ndarray | None] = {answers.target: answers.label, PREDICTED: answers.predicted}
    for name, values in ((answers.target, answers.label), (PREDICTED, answers.predicted)):
        if tested.answers.kind != CONFIDENCE:
            columns[name], _ = typed_column(name, values.tolist())
        else:
            # An answer that is no image's class, such as missed, would say that it is wrong.
            columns[name] = np.where(np.isin(values, answers.label), values, "")
    return {name: column for name, column in columns.items() if column is not None}


def known_classes(*tested: AnsweredImages) -> np.ndarray | None:
    """The class of each image as a number, of one test set after the other; None if unknown, or the same of all."""
    if tested[0].answers.kind != CONFIDENCE:
        return None
    numbers = np.unique(np.concatenate([class_names(one) for one in tested]), return_inverse=True)[1]
    return numbers if numbers.any() else None


def class_names(tested: AnsweredImages) -> np.ndarray:
    """The class of each image, or what a detector takes it for where nothing is; empty of a regression."""
    if tested.answers.kind != CONFIDENCE:
        return np.full(len(tested.paths), "")
    known = _answers_known(tested)
    return np.where(known[LABEL] == "", known[PREDICTED], known[LABEL])


def weak_spots_of(
    tested: AnsweredImages, known: Known, known_groups: KnownGroups | None = None
) -> tuple[WeakSpot, ...]:
    """The conditions under which the DNN fails more often than elsewhere, and how often on new images."""
    columns, label, classes, groups = _searched(tested, known, known_groups)
    wrong = ~tested.right
    own = {label, *known.measured, *tested.same_as_target(columns)}  # a target is no answer, however much it explains
    recorded = {name: column for name, column in columns.items() if name not in own}
    doubted = disguised(recorded, wrong, classes=classes, groups=groups)
    columns = {name: column for name, column in columns.items() if name not in doubted}

    def search(rows: np.ndarray) -> list[WeakSpot]:
        return find_weak_spots(
            {name: column[rows] for name, column in columns.items()}, wrong[rows], measured=known.measured, label=label,
            classes=None if classes is None else classes[rows], groups=groups and groups.taken(rows),
        )  # fmt: skip

    found = with_new_rates(search(np.arange(len(wrong))), columns, wrong, search, groups=groups)
    spots = judged(found, columns, wrong, label=label, classes=classes, groups=groups)
    alone = [find_weak_spots({name: recorded[name]}, wrong)[:1] for name in sorted(doubted, key=lambda n: -doubted[n])]
    last = [spot._replace(doubted=True) for spot in itertools.chain(*alone[:MOST_DOUBTED])]
    return (*spots, *last)


def doubts_on(spots: Sequence[WeakSpot]) -> tuple[str, ...]:
    """A sentence on the columns that may be the answer under another name, if there are any."""
    names = sorted({one.column for spot in spots if spot.doubted for one in spot.literals})
    sentence = (
        "Perhaps the network's answer under another name, since right and wrong nearly follow from it: "
        f"{printable(some(names))}. The other reasons were searched for in the remaining columns."
    )
    return (sentence,) if names else ()


def bins_of(
    tested: AnsweredImages, known: Known, known_groups: KnownGroups | None = None, spots: Sequence[WeakSpot] = ()
) -> tuple[Bin, ...]:
    """How often the DNN fails over the range of what is known of the images; values are compared given weak spots."""
    columns, label, _, groups = _searched(tested, known, known_groups)
    reasons = [spot.literals for spot in spots if not spot.may_be_chance]
    return find_curves(columns, ~tested.right, label=label, groups=groups, reasons=reasons)


def _searched(
    tested: AnsweredImages, known: Known, known_groups: KnownGroups | None
) -> tuple[Mapping[str, np.ndarray], str, np.ndarray | None, Groups | None]:
    """What is known of images but the answers, the column of the class, the classes, and the groups if given."""
    columns = {name: column for name, column in known.columns.items() if name != PREDICTED}
    groups = known_groups.groups if known_groups and known_groups.named else None
    return columns, LABEL if tested.answers.kind == CONFIDENCE else "", known_classes(tested), groups


def spots_hold(spots: Sequence[WeakSpot], known: Known, n_tested: int) -> np.ndarray:
    """For which tested images each weak spot holds: bool of shape (n_spots, n_tested)."""
    return np.array([spot.holds(known.columns) for spot in spots], bool).reshape(len(spots), n_tested)


def disguised(
    columns: Mapping[str, np.ndarray], wrong: np.ndarray, *, classes: np.ndarray | None = None,
    groups: Groups | None = None,
) -> dict[str, float]:  # fmt: skip
    """Columns that may be the answer under another name, with the share of the uncertainty that each explains.

    A table of parameters may hold the network's answer itself: a copy, its loss or score, "a->b", a flag of an earlier
    evaluation. As a condition it would be the only reason, and hide all true ones. Such a column is recognized by its
    content: together with the class it explains more than half of the uncertainty of right and wrong that the class
    leaves, on unseen halves of the test set. On eight real test sets no true column explains much more than a quarter,
    and most disguises explain two thirds or more.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        Texts, empty if unknown, or numbers, NaN if unknown; the class is none of them.
    wrong : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int, optional
    groups : Groups, optional
        None is in both halves.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(wrong))[:MOST_IMAGES])
    wrong = wrong[rows]
    of_class = np.zeros(len(rows), int) if classes is None else np.unique(classes[rows], return_inverse=True)[1]
    units = groups.taken(rows).of if groups else None
    by_class = uncertainty_coefficient(of_class, wrong, units)
    found = {}
    for name, column in columns.items():
        parts = parts_of(column[rows], PARTS)
        if 1 < int(parts.max(initial=0)) + 1 <= len(wrong) / 2:
            both = np.unique(of_class * (int(parts.max()) + 1) + parts, return_inverse=True)[1]
            explained = (uncertainty_coefficient(both, wrong, units, of_class) - by_class) / max(1 - by_class, 1e-9)
            if explained > MOST_EXPLAINED:
                found[name] = float(explained)
    return found


# --- The file ---------------------------------------------------------------------------------------------------


def counted_text(
    images: AnsweredImages, known: Known, failing: Sequence[str], nearest: np.ndarray, groups: Groups | None
) -> str:
    """The images that rates are counted from, as a table, so that anybody can count again without SAFE.

    A row for each tested or fresh image. `labels.txt` has the RCC of its `nearest` failing image, in whose region it
    lies (empty if it lies in none); with all that is known of it, the conditions of weak spots can be checked.

    Parameters
    ----------
    failing : sequence of str
        Paths of the clustered images.
    nearest : ndarray of shape (n_images,), int
        The nearest of them to each image, itself left out; −1 if the image lies in no region, or was not compared.
    groups : Groups, optional
        Numbered as they are counted; the same number is the same group.
    """
    columns: dict[str, Sequence[object]] = {
        "image": images.paths,
        "wrong": (~images.right).astype(int).tolist(),
        "group": groups.of.tolist() if groups else [""] * len(images.paths),
        "nearest": [failing[row] if row >= 0 else "" for row in nearest.tolist()],
    }
    columns |= {name: known.columns[name].tolist() for name in sorted(known.columns.keys() - columns)}
    return table_text(columns, zip(*columns.values(), strict=True))


def is_tested(folder: Path, root: Path) -> bool:
    """Whether a folder is that of the test images that an analysis was made with."""
    tested = run_record(folder).get("predictions", {}).get("tested")
    return tested is not None and Path(tested).resolve() == root.resolve()


def nearest_to_tested(folder: Path, root: Path) -> dict[str, str]:
    """The tested images of an analysis, each with the failing image in whose region it lies, empty if in none.

    Parameters
    ----------
    root : Path
        A folder of test images; nothing is known of another one's.
    """
    run = present_runs(folder).get(COMPARISON)
    if run is None or TESTED_FILE not in run.files or not is_tested(folder, root):
        return {}
    with reading_file(run, TESTED_FILE) as file:
        table = read_table(file, "images that were compared", own=True)
    return dict(zip(table.texts("image"), table.texts("nearest"), strict=True))
