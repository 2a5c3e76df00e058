"""A DNN's answers to its test set from a table instead of a model: what any framework may have computed.

In: a table (see `dnn.tested.read_predictions`) or, of a regression, one with the predicted values and one with the
targets. Out: the same record that running a Keras model gives, so that nothing after this step needs to know.
"""

import dataclasses
from collections import Counter
from collections.abc import Collection

import numpy as np

from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.predictions import check_precision, check_spelling, class_folders, judge_regression
from safe_dnn.dnn.targets import images_with_targets
from safe_dnn.dnn.tested import PREDICTED, AnsweredImages, AnswerTable, in_words, read_answer_table, read_predictions
from safe_dnn.rccs.answers import CONFIDENCE
from safe_dnn.support.contents import copies_in
from safe_dnn.support.entries import StrPath, existing_folder, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import count, printable, some

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
    _check_known(tested, labels, "the class of each image, in class folders or in the column label")
    _check_known(tested, predicted, f"a class for each image in the column {PREDICTED}")
    by_folder = all(path.split("/", 1)[0] == label for path, label in zip(tested.paths, labels, strict=True))
    known = {*labels, *tested.classes, *learned, *(class_folders(tested.root) if by_folder else ())}
    notes = (_TAKEN.format(tested.source.name), *unknown_classes(tested, known), *tested.notes)
    classes = (*tested.classes, *sorted({*known, *predicted} - {*tested.classes}))
    answers = tested.answers._replace(kind=CONFIDENCE)
    return dataclasses.replace(tested, answers=answers, notes=notes, known_classes=classes)


def _check_known(tested: AnsweredImages, names: list[str], expected: str) -> None:
    missing = [path for path, name in zip(tested.paths, names, strict=True) if not name]
    if missing:
        raise SAFEError(
            f"Expected {expected}. Received none for {count(len(missing), 'image')} in {tested.source}: "
            f"{printable(some(missing, limit=2))}. Add what is missing."
        )


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
    images, assumption = images_with_targets(test, options)
    check_precision("float64", images, options.threshold or 0)
    cells = read_answer_table(path_of(table, "predictions as a CSV file"))
    names = _columns_of(cells, images.classes)
    copies = copies_in(images.root, images.paths)
    used, held_out, notes, missing = cells.images_in(
        images.root, images.paths, names, partial=options.partial, copies=copies
    )
    rows = [row for _, row in used]
    if names == (PREDICTED,):
        outputs = cells.numbers_in_cells(PREDICTED, rows, len(images.classes))
    else:
        outputs = cells.numbers(names, rows, "a finite number")
    place = {path: i for i, path in enumerate(images.paths)}
    indices = np.array([place[path] for path, _ in used], np.int64)
    judgement = judge_regression(images, indices, outputs, options.threshold)
    images = dataclasses.replace(images, skipped=(*images.skipped, *missing))
    notes = [_TAKEN.format(cells.source.name), assumption, *notes]
    more = {"notes": tuple(notes), "held_out": held_out}
    return in_words(cells.source, images, judgement, threshold=options.threshold, **more).once(copies)


def _columns_of(cells: AnswerTable, targets: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of the predicted values."""
    missing = [name for name in targets if name not in cells.header]
    if not missing:
        return targets
    if PREDICTED in cells.header:
        return (PREDICTED,)
    raise SAFEError(
        f"Expected a column of predicted values for each target ({printable(some(targets))}). Received none for "
        f"{printable(some(missing))} in {cells.source}. Name the columns as in the table of targets."
    )
