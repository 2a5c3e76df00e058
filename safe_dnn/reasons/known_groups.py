"""Which test images belong together: as the engineer says, or as a column or the names of files look like.

Images of one person, track, drive or lesion are not independent (see `rccs/spots/groups.py`). A test set and the names
of columns in; groups, and sentences on them, out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.group_columns import ALIKE, FOLDER, PREFIX, chains, chosen_columns, group_columns, noun_of
from safe_dnn.dnn.held_out import hold_out_record
from safe_dnn.dnn.tested import IMAGE, AnsweredImages
from safe_dnn.rccs.clusters import run_record
from safe_dnn.rccs.parameters import find_parameters
from safe_dnn.rccs.spots.conditions import literals_of
from safe_dnn.rccs.spots.groups import Groups, Tally, chance_of_more, counted, grouped, tally
from safe_dnn.rccs.spots.search import ERROR_RATE, SHARES
from safe_dnn.rccs.spots.weak_spots import SEARCHES, WeakSpot
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.text import count, printable

INDEPENDENT = (IMAGE,)  # as the engineer says, whatever images look like
LEAST_GROUPS = 5
LEVEL = 0.01  # of the test whether groups differ
LEAST_LOSS = 1.2  # by which factor images must be worth less than independent ones, to be spoken of
MOSTLY = 0.1  # least share of a group's images in which a condition that varies within it differs from the others
MOST_UNDECIDED = 3
MOST_ALIKE = 10_000  # images that are searched for near-duplicates unasked: seconds
TIMES = (2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 50, 100)  # so many times as many groups are tried out


class KnownGroups(NamedTuple):
    """Groups of the test images.

    Attributes
    ----------
    groups : Groups
    given : bool
        Whether the engineer has named them; otherwise they only look like groups.
    notes : tuple of str
        Sentences.
    """

    groups: Groups
    given: bool
    notes: tuple[str, ...]


def named_groups(
    names: Sequence[str], tested: AnsweredImages, *, parameters: Path | None, within: Path | None = None,
    required: bool = True,
) -> KnownGroups | None:  # fmt: skip
    """The groups by the values of columns together; None if no name is given.

    Parameters
    ----------
    names : sequence of str
        Columns of the parameters or of the predictions, `PREFIX`, `FOLDER` or `ALIKE`; `IMAGE` alone: none.
    parameters : path, optional
        The table of the test images' parameters; by default that in or beside their folder.
    within : path, optional
        One that is not given is only read inside this folder.
    required : bool
        Whether it is an error if there is no such column; otherwise images count as independent, and a note says so.

    Raises
    ------
    SAFEError
        There is no such column, or a table cannot be read.
    """
    if tuple(names) in ((), INDEPENDENT):
        return None
    try:
        chosen = chosen_columns(names, _columns_of(tested, parameters, within, names))
    except SAFEError as error:
        if required:
            raise
        return _alone(names, tested.paths, error)
    column = names[0] if len(names) == 1 and names[0] not in (PREFIX, FOLDER, ALIKE) else ""
    groups, unknown = grouped(noun_of(names, tested.paths), chosen, column=column)
    return KnownGroups(groups, True, tuple(_notes(groups, unknown, tested)))


def _alone(names: Sequence[str], paths: Sequence[str], error: SAFEError) -> KnownGroups:
    groups = Groups(noun_of(names, paths), np.arange(len(paths)))
    return KnownGroups(groups, False, (f"Images count as independent: {error}",))


def _notes(groups: Groups, unknown: int, tested: AnsweredImages) -> list[str]:
    name, told = groups.name, tally(groups.of, ~tested.right)
    n = len(told.sizes)
    if n == len(groups.of):
        return [f"Each image is of another {name}: images count as independent."]
    if n == 1:
        return [f"All images are of one {name}: what is found may hold for this one alone."]
    notes = [
        f"The images are of {count(n, name)}, with an intra-group correlation of failing of {told.correlation:.2f}: "
        "rates, verdicts and weak spots take it into account."
    ]
    if unknown:
        notes.append(f"The {name} of {count(unknown, 'image')} is unknown: each counts as one of its own.")
    classes = np.unique(np.column_stack([groups.of, np.unique(tested.answers.label, return_inverse=True)[1]]), axis=0)
    if len(classes) == n and len(np.unique(tested.answers.label)) > 1:
        notes.append(f"Each {name} has images of one class only, so that classes are compared between them alone.")
    return notes


def groups_of_images(
    names: Sequence[str], tested: AnsweredImages, *, parameters: Path | None, within: Path | None = None,
    required: bool = True, looks: bool = True,
) -> KnownGroups | None:  # fmt: skip
    """`named_groups` or, if no name is given, `suspected_groups` or, unless not `looks`, those that `look_alike`."""
    if names:
        return named_groups(names, tested, parameters=parameters, within=within, required=required)
    return suspected_groups(tested, parameters=parameters, within=within) or (look_alike(tested) if looks else None)


def suspected_groups(
    tested: AnsweredImages, *, parameters: Path | None, within: Path | None = None
) -> KnownGroups | None:
    """What looks like groups whose images are not independent: of several, those that make images worth least.

    Columns count that are named like a group, and the names and folders of files, if there are at least `LEAST_GROUPS`
    groups of two images or more on average.

    Parameters
    ----------
    parameters, within
        As for `named_groups`.
    """
    try:
        return _suspected(_columns_of(tested, parameters, within), tested.paths, ~tested.right)
    except SAFEError:
        return None  # the weak spots do without it as well


def look_alike(tested: AnsweredImages) -> KnownGroups | None:
    """Chains of near-duplicates that are as good as suspected groups; all images are read for that."""
    few = tested.has_images and len(tested.paths) <= MOST_ALIKE
    alike = chains(tested.root, tested.paths, sure=True) if few else []
    return _suspected({ALIKE: alike} if alike else {}, tested.paths, ~tested.right)


def _columns_of(
    tested: AnsweredImages, parameters: Path | None, within: Path | None, names: Sequence[str] = ()
) -> dict[str, list[str]]:
    if ALIKE in names and not tested.has_images:
        raise SAFEError(
            f"Expected the folder of test images, in which {ALIKE} are found. Received only their names, in "
            f"{tested.source}."
        ).about("tested")
    source = parameters or find_parameters(tested.root, within=within)
    return group_columns(tested.root, tested.paths, (source, tested.source), names)


def _suspected(columns: Mapping[str, list[str]], paths: Sequence[str], wrong: np.ndarray) -> KnownGroups | None:
    found: tuple[float, KnownGroups] | None = None
    for name, values in sorted(columns.items(), key=lambda each: each[0] in (PREFIX, FOLDER)):
        groups, _ = grouped(noun_of([name], paths), [values])
        told = tally(groups.of, wrong)
        most = len(groups.of) / (1 if name == ALIKE else 2)  # most images may have no near-duplicate
        if not LEAST_GROUPS <= len(told.sizes) <= most or told.chance > LEVEL:
            continue
        loss = 1 + told.correlation * (float((told.sizes**2).sum() / told.sizes.sum()) - 1)
        if loss >= LEAST_LOSS and (found is None or loss > found[0]):
            sentence = (
                f"Images of one {groups.name} are not independent ({count(len(told.sizes), groups.name)}, intra-group "
                f"correlation of failing {told.correlation:.2f}): name {printable(name)} as the group. Until "
                "then, intervals are too narrow, and weak spots and RCCs may stand out by chance."
            )
            found = loss, KnownGroups(groups, False, (sentence,))
    return found[1] if found else None


def groups_of_test(
    folder: Path, root: Path, paths: Sequence[str], right: np.ndarray, *, within: Path | None = None
) -> KnownGroups | None:
    """The groups of images that two models are compared on, by the columns that an analysis names; or suspected ones.

    Where these columns are not known of the images, they are as good as suspected. None if nothing looks like groups.
    Tables of the analysis are about its test set: images of the same names in another folder are others.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    root, paths, right
        The images, and whether the first model gets them right.
    within : path, optional
        A table beside the images is only read inside this folder.
    """
    record, held_out = run_record(folder), hold_out_record(folder / FAILURES)
    names = group_names(record) or group_names(held_out)
    entries = [entry for name in ("parameters", "predictions") if isinstance(entry := record.get(name), dict)]
    tables = [Path(str(entry["source"])) for entry in entries if "source" in entry]
    tested = [Path(str(entry["tested"])) for entry in entries if "tested" in entry]
    ours = not tested or tested[0].resolve() == root.resolve()
    try:
        columns = group_columns(root, paths, [*(tables if ours else ()), find_parameters(root, within=within)], names)
        chosen = chosen_columns(names, columns)
    except SAFEError as error:
        return _alone(names, paths, error) if names else None
    if names == INDEPENDENT:
        return None
    if not names:
        return _suspected(columns, paths, ~right)
    return KnownGroups(grouped(noun_of(names, paths), chosen)[0], True, ())


def accuracy_interval(right: np.ndarray, known_groups: KnownGroups | None) -> tuple[float, float]:
    """95 % interval of the accuracy on new images, by the groups that are given."""
    groups = known_groups.groups.of if known_groups and known_groups.given else np.arange(len(right))
    wrong = counted(np.ones(len(right), bool), ~right, groups, 0.0)
    return 1 - wrong.high, 1 - wrong.low


def notes_of(known_groups: KnownGroups | None) -> tuple[str, ...]:
    """Sentences on groups; none without groups."""
    return known_groups.notes if known_groups else ()


def group_names(record: Mapping[str, object]) -> tuple[str, ...]:
    """The columns by which images are of one group, as a record names them."""
    names = record.get("group", [])
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


# --- What so many groups cannot show ----------------------------------------------------------------------------


def undecided(
    columns: Mapping[str, np.ndarray], wrong: np.ndarray, groups: Groups, spots: Sequence[WeakSpot]
) -> tuple[str, ...]:
    """Sentences on conditions that differ between groups, and would be weak spots if images were independent.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        Recorded ones.
    spots : sequence of WeakSpot
        Those found: their columns are left out.
    """
    from scipy.stats import hypergeom  # type: ignore[attr-defined]

    told = tally(groups.of, wrong)
    if not 1 < len(told.sizes) < len(wrong):
        return ()
    left_out = {groups.column, *(literal.column for spot in spots for literal in spot.literals)}
    tried = {name: literals_of(name, column, parts=20) for name, column in columns.items()}
    level = ERROR_RATE * SEARCHES[0] * SHARES[0] / max(1, sum(map(len, tried.values())))
    images, failures = len(wrong), int(wrong.sum())
    found: list[tuple[float, str]] = []
    for name in tried.keys() - left_out:
        held_by = [literal.holds(columns[name]) for literal, _ in tried[name]]
        drawn = [(int((holds & wrong).sum()), int(holds.sum())) for holds in held_by]
        chances = [float(hypergeom.sf(k - 1, images, failures, n)) for k, n in drawn]
        chance = min(chances, default=1.0)
        if chance > level:
            continue
        best = chances.index(chance)
        literal, (k, n) = tried[name][best][0], drawn[best]
        held = np.bincount(groups.of[held_by[best]], minlength=len(told.sizes))
        varies = np.minimum(held, told.sizes - held) > MOSTLY * told.sizes
        if _chance(held, k, told, 1) <= level or told.sizes[varies].sum() > MOSTLY * images:
            continue
        needed = next(filter(lambda times: _chance(held, k, told, times) <= level, TIMES), 0) * len(told.sizes)
        digit = 10 ** max(0, len(str(needed)) - 2)
        sentence = (
            f"{count(len(told.sizes), groups.name)} cannot show whether {literal} matters ({k / n:.0%} wrong in "
            f"{count(int((held > 0).sum()), groups.name)}, elsewhere {(failures - k) / (images - n):.0%})"
        )
        found.append((chance, sentence + (f"; about {-(-needed // digit) * digit:,} could." if needed else ".")))
    return tuple(sentence for _, sentence in sorted(found)[:MOST_UNDECIDED])


def _chance(held: np.ndarray, wrong: int, of: Tally, times: int) -> float:
    """That of a condition if there were so many times as many groups."""
    more = Tally(np.tile(of.sizes, times), np.tile(of.wrong, times))
    chance = chance_of_more(np.tile(held, times)[None, :], np.array([times * wrong]), more, correlation=of.correlation)
    return float(chance[0])
