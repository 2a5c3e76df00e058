"""What tables say instead of a model and of class folders: a DNN's answers to its test set, a regression's targets.

Answers, which any framework may have computed, are in a table (see `dnn.tested.read_predictions`) or, of a regression,
in one with the predicted values, beside one with the targets. Out comes the same record that running a Keras model
gives, so that nothing after this step needs to know.
"""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.predictions import LabelledImages, check_precision, check_spelling, class_folders, judge_regression
from safe_dnn.dnn.tested import (
    PREDICTED,
    AnsweredImages,
    in_words,
    match_images,
    number_columns,
    read_answer_table,
    read_predictions,
)
from safe_dnn.rccs.answers import CONFIDENCE, NO_CLASS
from safe_dnn.rccs.parameters import ANGLE_SUFFIX
from safe_dnn.support.contents import copies_in
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder, path_of
from safe_dnn.support.images import Skipped, find_images
from safe_dnn.support.matching import check_matched, rows_in
from safe_dnn.support.tables import IMAGE, LARGEST, Table, number_in, read_table
from safe_dnn.support.text import count, printable, some

# --- Targets ----------------------------------------------------------------------------------------------------------


class Targets(NamedTuple):
    """A table of numeric targets.

    Attributes
    ----------
    table : Table
    names : tuple of str
        The numeric columns, in the order of the model's outputs.
    rows : ndarray of shape (n_rows, n_targets), float64
        The targets in each row.
    """

    table: Table
    names: tuple[str, ...]
    rows: np.ndarray

    def rows_of(self, root: Path, paths: Sequence[str]) -> dict[str, int]:
        """The row of each image of a folder that has one (see `support.matching.rows_by_image`).

        Raises
        ------
        SAFEError
            The table has several rows for an image, with different targets.
        """
        return {image: rows[0] for image, rows in rows_in(self.table, root, paths, self.names).items()}


def file_and_column(targets: StrPath) -> tuple[str, str]:
    """The two parts of `FILE:COLUMN`; the column is empty if none is named, or there is no such file."""
    file, _, column = str(targets).rpartition(":")
    return (file, column.strip()) if Path(file).is_file() else (str(targets), "")


def read_targets(table: StrPath) -> Targets:
    """Read a table (CSV) whose first line names its columns: `image` and a numeric column for each target.

    Parameters
    ----------
    table : path
        `FILE:COLUMN` names the one column that is the target, in a table that has others as well.

    Raises
    ------
    SAFEError
        The file is missing or not such a table, or has no such column.
    """
    file, column = file_and_column(table)
    cells = read_table(path_of(file, "a table of targets (CSV)"), "targets")
    names = tuple(name for name in cells.header if name != IMAGE)
    if len(names) == len(cells.header) or not names:
        raise SAFEError(
            f"Expected the columns image and at least one target in {cells.source}. Received the columns: "
            f"{some(cells.header)}"
        )
    if column and column not in names:
        raise SAFEError(
            f"Expected {printable(column)} among the columns of {cells.source}. Received: {printable(some(names))}."
        ).about("targets")
    names = (column,) if column else names
    what = "a number (the target)" if column else f"a number (each column is a target, unless {_choice(cells)})"
    return Targets(cells, names, cells.numbers(names, what))


def _choice(cells: Table) -> str:
    """How to name one column of a table with more."""
    column = next(iter(number_columns(cells)), "COLUMN")
    return f"one is named, as in {printable(f'{cells.source.name}:{column}')}"


def with_targets(folder: StrPath, targets: Targets, *, partial: bool = False) -> LabelledImages:
    """List the images of a folder that have a row in a table of targets, which may have others as well.

    Parameters
    ----------
    partial : bool
        Whether more than a tenth of the images may be without a row.

    Raises
    ------
    SAFEError
        There are no images, or none of them has a row, or too few have.
    """
    listing = find_images(folder)
    existing_folder(folder, "a folder of images")
    row_of = targets.rows_of(listing.root, listing.paths)
    if not row_of:
        raise SAFEError(
            f"Expected rows for the images of {listing.root}, named relative to it or to the table's folder. "
            f"Received no such row in {targets.table.source}; the first image is {listing.paths[0]}."
        )
    missing = check_matched(targets.table.source, listing.root, listing.paths, row_of, partial=partial)
    return LabelledImages(
        root=listing.root,
        paths=tuple(row_of),
        classes=targets.names,
        labels=targets.rows[[*row_of.values()]],
        skipped=(*listing.skipped, *(Skipped(path, "no row in the table of targets") for path in missing)),
    )


def check_given(options: DnnOptions) -> StrPath:
    """The table of targets; a SAFEError if it or the threshold is not given."""
    if options.targets is None or options.threshold is None:
        raise SAFEError(
            f"Expected a {'threshold' if options.targets else 'table of targets'}, since the model is a regression. "
            "Give its targets and, as the threshold, the error above which it fails, in their unit."
        ).about("targets", "threshold")
    return options.targets


def images_with_targets(folder: StrPath, options: DnnOptions, outputs: int = 0) -> tuple[LabelledImages, str]:
    """The images of a regression, and the assumption about them as a sentence.

    Parameters
    ----------
    outputs : int
        How many targets there must be, if that is known.

    Raises
    ------
    SAFEError
        The targets or the threshold are not given, or as of `read_targets` and `with_targets`.
    """
    targets = read_targets(check_given(options))
    if outputs and len(targets.names) != outputs:
        raise SAFEError(
            f"Expected as many columns of targets as the model has outputs, {outputs}. Received {len(targets.names)} "
            f"({some(targets.names)}) in {options.targets}. All are targets, unless {_choice(targets.table)}."
        ).about("targets")
    images = with_targets(folder, targets, partial=options.partial)
    angles = [name for name in images.classes if name.endswith(ANGLE_SUFFIX)]
    turning = f" Angles in degrees, of which 359 and 1 are 2 apart: {some(angles)}." if angles else ""
    names = ", ".join(f"output {i} is {name}" for i, name in enumerate(images.classes))
    return images, (
        f"Targets: in the order of the table's columns, {names}. An error (root mean square over the outputs) above "
        f"{options.threshold:g} is a failure.{turning}"
    )


# --- Answers ----------------------------------------------------------------------------------------------------------


_TAKEN = "Answers: from {}, taken as they are."


def read_answers(
    table: StrPath, test: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None
) -> AnsweredImages:
    """Read a table of answers and judge them.

    Parameters
    ----------
    table : path
        Of a regression: `image` and a column for each target, or as `predictions.csv` of a regression.
    test : path
        The folder of test images.
    options : DnnOptions
        Of a regression: the targets and the threshold; without targets, the answers are those of a classifier.
    train : path, optional
        A folder with a folder for each class, if classes are predicted that the test folder does not have.

    Raises
    ------
    SAFEError
        The table cannot be read, or does not fit the images or the classes.
    """
    if options.threshold is not None and not options.targets:
        raise SAFEError(
            f"Expected a table of targets with the threshold {options.threshold:g} of a regression. Received none."
        ).about("targets")
    if options.targets:
        return _of_regression(table, test, options)
    return _of_classifier(table, test, train, options.partial)


# --- Classifiers ------------------------------------------------------------------------------------------------


def _of_classifier(table: StrPath, test: StrPath, train: StrPath | None, partial: bool) -> AnsweredImages:
    learned = class_folders(existing_folder(train, "the training folder")) if train else []
    tested = read_predictions(table, test, partial=partial, classes=learned)
    labels, predicted = tested.answers.label.tolist(), tested.answers.predicted.tolist()
    for names, expected in ((labels, "in class folders or in the column label"), (predicted, f"in {PREDICTED}")):
        if missing := [path for path, name in zip(tested.paths, names, strict=True) if not name]:
            raise SAFEError(
                f"Expected the class of each image {expected}. Received none for {count(len(missing), 'image')} in "
                f"{tested.source}: {printable(some(missing, limit=2))}. Add what is missing."
            )
    by_folder = all(path.split("/", 1)[0] == label for path, label in zip(tested.paths, labels, strict=True))
    known = {*labels, *tested.classes, *learned, *(class_folders(tested.root) if by_folder else ())}
    notes = (_TAKEN.format(tested.source.name), *unknown_classes(tested, known | NO_CLASS), *tested.notes)
    classes = (*tested.classes, *sorted({*known, *predicted} - {*tested.classes}))
    answers = tested.answers._replace(kind=CONFIDENCE)
    return dataclasses.replace(tested, answers=answers, notes=notes, known_classes=classes)


def unknown_classes(tested: AnsweredImages, known: Collection[str]) -> tuple[str, ...]:
    """A sentence on predicted classes that are no labels; a SAFEError if all are, or one is in another spelling."""
    names = {*tested.answers.label.tolist(), *tested.answers.predicted.tolist()} - {""}
    check_spelling(names | {*known}, [names, known], tested.source)
    unknown = Counter(name for name in tested.answers.predicted.tolist() if name and name not in known)
    if unknown.total() == len(tested.paths):
        raise SAFEError(
            f"Expected predicted classes named as the labels ({printable(some(sorted(known)))}). Received: "
            f"{printable(some(sorted(unknown)))} in {tested.source}. Write the names of the classes, no numbers."
        )
    if not unknown:
        return ()
    of = ", ".join(f"{printable(name)} ({count(n, 'image')})" for name, n in sorted(unknown.items())[:5])
    return (f"Predicted in {tested.source.name}, but the class of no image: {of}{', …' if len(unknown) > 5 else ''}.",)


# --- Regressions ------------------------------------------------------------------------------------------------


def _of_regression(table: StrPath, test: StrPath, options: DnnOptions) -> AnsweredImages:
    cells = read_answer_table(path_of(table, "predictions as a CSV file"))
    single = [len(text.split()) for text in cells.texts(PREDICTED)[:1]] == [1]
    images, assumption = images_with_targets(test, options, int(single))
    check_precision("float64", images, options.threshold or 0)
    names = _columns_of(cells, images.classes)
    copies = copies_in(images.root, images.paths)
    matched = match_images(cells, images.root, images.paths, names, partial=options.partial, copies=copies)
    if names == (PREDICTED,):
        outputs = _numbers_in_cells(matched.rows, len(images.classes))
    else:
        outputs = matched.rows.numbers(names, "a finite number")
    place = {path: i for i, path in enumerate(images.paths)}
    indices = np.array([place[path] for path in matched.paths], np.int64)
    judgement = judge_regression(images, indices, outputs, options.threshold)
    images = dataclasses.replace(images, skipped=(*images.skipped, *matched.without_row))
    notes = (_TAKEN.format(cells.source.name), assumption, *matched.notes)
    given = in_words(cells.source, images, judgement, notes=notes, held_out=matched.held_out)
    return given.once(copies)


def _columns_of(cells: Table, targets: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the predicted values; beside `predicted`, one with a target's name has the true values."""
    if PREDICTED in cells.header:
        return (PREDICTED,)
    missing = [name for name in targets if name not in cells.header]
    if not missing:
        return targets
    if len(targets) == len(numbers := number_columns(cells)) == 1:
        return numbers
    raise SAFEError(
        f"Expected a column of predicted values for each target ({printable(some(targets))}). Received none for "
        f"{printable(some(missing))} in {cells.source}. Name the columns as in the table of targets, or the only "
        "target, as FILE:COLUMN."
    ).about("targets")


def _numbers_in_cells(rows: Table, n: int) -> np.ndarray:
    """Numbers separated by spaces, as `failures` writes them: ndarray of shape (n_rows, n), float64."""
    values = [[number_in(number) for number in text.split()] for text in rows.texts(PREDICTED)]
    fine = [len(numbers) == n and bool((np.abs(numbers) < LARGEST).all()) for numbers in values]
    expected = f"{count(n, 'finite number')}, separated by spaces, under {PREDICTED}"
    rows.check(np.array(fine), expected, lambda row: rows.text(PREDICTED, row))
    return np.array(values, np.float64)
