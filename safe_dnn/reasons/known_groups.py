"""Which test images belong together: as the engineer says, or as a column or the names of files look like.

Images of one person, track, drive or lesion are not independent (see `rccs/spots/figures.py`). A test set and the names
of columns in; groups, and sentences on them, out.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.group_columns import FOLDER, PREFIX, chosen_columns, group_columns, hold_out_record, noun_of
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import run_record
from safe_dnn.rccs.parameters import find_parameters
from safe_dnn.rccs.spots.figures import Groups, assess, grouped, tally
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES
from safe_dnn.support.tables import IMAGE
from safe_dnn.support.text import count, printable

INDEPENDENT = (IMAGE,)  # as the engineer says, whatever images look like
LEAST_GROUPS = 5
LEVEL = 0.01  # of the test whether groups differ
LEAST_LOSS = 1.2  # by which factor images must be worth less than independent ones, to be spoken of


class KnownGroups(NamedTuple):
    """Groups of the test images.

    Attributes
    ----------
    groups : Groups
    named : bool
        Whether the engineer has named them; otherwise they only look like groups.
    notes : tuple of str
        Sentences.
    """

    groups: Groups
    named: bool
    notes: tuple[str, ...]


def named_groups(
    names: Sequence[str], tested: AnsweredImages, *, parameters: Path | None,
    required: bool = True,
) -> KnownGroups | None:  # fmt: skip
    """The groups by the values of columns together; None if no name is given.

    Parameters
    ----------
    names : sequence of str
        Columns of the parameters or of the predictions, `PREFIX` or `FOLDER`; `IMAGE` alone: none.
    parameters : path, optional
        The table of the test images' parameters; by default that in or beside their folder.
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
        chosen = chosen_columns(names, _columns_of(tested, parameters, names))
    except SAFEError as error:
        if required:
            raise
        return _alone(names, len(tested.paths), error, tested.noun)
    column = names[0] if len(names) == 1 and names[0] not in (PREFIX, FOLDER) else ""
    groups, unknown = grouped(noun_of(names), chosen, column=column)
    return KnownGroups(groups, True, tuple(_notes(groups, unknown, tested)))


def _alone(names: Sequence[str], n: int, error: SAFEError, unit: str = "image") -> KnownGroups:
    groups = Groups(noun_of(names), np.arange(n))
    return KnownGroups(groups, False, (f"{unit.capitalize()}s count as independent: {error}",))


def _notes(groups: Groups, unknown: int, tested: AnsweredImages) -> list[str]:
    name, unit, told = groups.name, tested.noun, tally(groups.of, ~tested.right)
    n = len(told.sizes)
    if n == len(groups.of):
        return [f"Each {unit} is of another {name}: {unit}s count as independent."]
    if n == 1:
        return [f"All {unit}s are of one {name}: what is found may hold for this one alone."]
    notes = [
        f"The {unit}s are of {count(n, name)}, with an intra-group correlation of failing of {told.correlation:.2f}: "
        "rates, verdicts and weak spots take it into account."
    ]
    if unknown:
        notes.append(f"The {name} of {count(unknown, unit)} is unknown: each counts as one of its own.")
    classes = np.unique(np.column_stack([groups.of, np.unique(tested.answers.label, return_inverse=True)[1]]), axis=0)
    if len(classes) == n and len(np.unique(tested.answers.label)) > 1:
        notes.append(f"Each {name} has {unit}s of one class only, so that classes are compared between them alone.")
    return notes


def groups_of_images(
    names: Sequence[str], tested: AnsweredImages, *, parameters: Path | None,
    required: bool = True,
) -> KnownGroups | None:  # fmt: skip
    """`named_groups` or, if no name is given, `suspected_groups`."""
    if names:
        return named_groups(names, tested, parameters=parameters, required=required)
    return suspected_groups(tested, parameters=parameters)


def suspected_groups(tested: AnsweredImages, *, parameters: Path | None) -> KnownGroups | None:
    """What looks like groups whose images are not independent: of several, those that make images worth least.

    Columns count that are named like a group, and the names and folders of files, if there are at least `LEAST_GROUPS`
    groups of two images or more on average.

    Parameters
    ----------
    parameters
        As for `named_groups`.
    """
    try:
        return _suspected(_columns_of(tested, parameters), ~tested.right, tested.noun)
    except SAFEError:
        return None  # the weak spots do without it as well


def _columns_of(tested: AnsweredImages, parameters: Path | None, names: Sequence[str] = ()) -> dict[str, list[str]]:
    source = parameters or find_parameters(tested.root)
    return group_columns(tested.root, tested.paths, (source, tested.source), names)


def _suspected(columns: Mapping[str, list[str]], wrong: np.ndarray, unit: str = "image") -> KnownGroups | None:
    found: tuple[float, KnownGroups] | None = None
    for name, values in sorted(columns.items(), key=lambda each: each[0] in (PREFIX, FOLDER)):
        groups, _ = grouped(noun_of([name]), [values])
        told = tally(groups.of, wrong)
        if not LEAST_GROUPS <= len(told.sizes) <= len(groups.of) / 2 or told.chance > LEVEL:
            continue
        loss = 1 + told.correlation * (float((told.sizes**2).sum() / told.sizes.sum()) - 1)
        if loss >= LEAST_LOSS and (found is None or loss > found[0]):
            sentence = (
                f"{unit.capitalize()}s of one {groups.name} are not independent "
                f"({count(len(told.sizes), groups.name)}, intra-group correlation of failing {told.correlation:.2f}): "
                f"name {printable(name)} as the group. Until then, intervals are too narrow, and weak spots and RCCs "
                "may stand out by chance."
            )
            found = loss, KnownGroups(groups, False, (sentence,))
    return found[1] if found else None


def groups_of_test(folder: Path, root: Path, paths: Sequence[str], right: np.ndarray) -> KnownGroups | None:
    """The groups of images that two models are compared on, by the columns that an analysis names; or suspected ones.

    Where these columns are not known of the images, they are as good as suspected. None if nothing looks like groups.
    Tables of the analysis are about its test set: images of the same names in another folder are others.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    root, paths, right
        The images, and whether the first model gets them right.
    """
    record, held_out = run_record(folder), hold_out_record(folder / FAILURES)
    names = group_names(record) or group_names(held_out)
    entries = [entry for name in ("parameters", "predictions") if isinstance(entry := record.get(name), dict)]
    tables = [Path(str(entry["source"])) for entry in entries if "source" in entry]
    tested = [Path(str(entry["tested"])) for entry in entries if "tested" in entry]
    ours = not tested or tested[0].resolve() == root.resolve()
    try:
        columns = group_columns(root, paths, [*(tables if ours else ()), find_parameters(root)], names)
        chosen = chosen_columns(names, columns)
    except SAFEError as error:
        return _alone(names, len(paths), error) if names else None
    if names == INDEPENDENT:
        return None
    if not names:
        return _suspected(columns, ~right)
    return KnownGroups(grouped(noun_of(names), chosen)[0], True, ())


def accuracy_interval(right: np.ndarray, known_groups: KnownGroups | None) -> tuple[float, float]:
    """95 % interval of the accuracy on new images, by the groups that are given."""
    groups = known_groups.groups if known_groups and known_groups.named else None
    (wrong,) = assess([np.ones(len(right), bool)], ~right, groups, for_new=False)
    return 1 - wrong.high, 1 - wrong.low


def notes_of(known_groups: KnownGroups | None) -> tuple[str, ...]:
    """Sentences on groups; none without groups."""
    return known_groups.notes if known_groups else ()


def group_names(record: Mapping[str, object]) -> tuple[str, ...]:
    """The columns by which images are of one group, as a record names them."""
    names = record.get("group", [])
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
