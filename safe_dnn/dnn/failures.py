"""Failures of the DNN under test: run it on a labelled test set and collect the failing images.

They are the input of step 1: `failures/` is its image folder. Writes `failures/`, `failures.csv`, `predictions.csv`
(all images, right and wrong) and `accuracy.json`. A table of the DNN's answers can stand in for the DNN.

What tables say instead of a model and of class folders: answers, which any framework may have computed, are in a table
(see `dnn.tested.read_predictions`) or, of a regression, in one with the predicted values, beside one with the targets.
Out comes the same record that running a Keras model gives, so that nothing after this step needs to know.
"""

import dataclasses
import json
import shutil
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn import predictions
from safe_dnn.dnn.group_columns import HOLD_OUT, HoldOut, chosen_columns, draw, group_columns
from safe_dnn.dnn.model import Dnn, sized_for
from safe_dnn.dnn.model_process import load_apart, predict_apart
from safe_dnn.dnn.predictions import (
    Judgement,
    LabelledImages,
    check_precision,
    check_spelling,
    class_folders,
    judge_regression,
)
from safe_dnn.dnn.tested import AnsweredImages, match_images, predictions_text, read_predictions, rounded, rows_about
from safe_dnn.options import AS_IN_THE_FILE, DnnOptions
from safe_dnn.rccs.answers import (
    CONFIDENCE,
    ERROR,
    KNOWN_COLUMNS,
    LABEL,
    NO_CLASS,
    PREDICTED,
    Answers,
    number_columns,
    read_answer_table,
)
from safe_dnn.rccs.parameters import ANGLE_SUFFIX, find_parameters, read_parameters
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.places import absolute, check_replaceable, parameters_given, plain, relative, replacing_images
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError, StrPath, existing_folder, number_of, path_of
from safe_dnn.support.files import intact, prepare_folder, read_json
from safe_dnn.support.images import Skipped, copies_in, find_images
from safe_dnn.support.matching import rows_in
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from safe_dnn.support.tables import IMAGE, LARGEST, Table, number_in, read_table, table_text
from safe_dnn.support.text import count, printable, some

# --- Targets ----------------------------------------------------------------------------------------------------------
TABLES = (FAILURES_FILE, ACCURACY_FILE, PREDICTIONS_FILE)


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
    found, _, without_row = rows_about(
        targets.table, listing.root, listing.paths, targets.names, partial=partial, about_others=True
    )
    labels = targets.rows[[rows[0] for rows in found.values()]]
    return LabelledImages(listing.root, tuple(found), targets.names, labels, (*listing.skipped, *without_row))


def required_targets(options: DnnOptions) -> StrPath:
    """The table of targets; a SAFEError if it or the threshold is missing."""
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
        The targets or the threshold are missing, or as in `read_targets` and `with_targets`.
    """
    targets = read_targets(required_targets(options))
    if outputs and len(targets.names) != outputs:
        raise SAFEError(
            f"Expected as many columns of targets as the model has outputs, {outputs}. Received {len(targets.names)} "
            f"({some(targets.names)}) in {options.targets}. All are targets, unless {_choice(targets.table)}."
        ).about("targets")
    images = with_targets(folder, targets, partial=options.partial)
    angles = [name for name in images.classes if name.endswith(ANGLE_SUFFIX)]
    turning = f" Columns treated as angles in degrees (359 and 1 differ by 2): {some(angles)}." if angles else ""
    names = ", ".join(f"output {i} is {name}" for i, name in enumerate(images.classes))
    return images, (
        f"Targets: in the order of the table's columns, {names}. An error (root mean square over the outputs) above "
        f"{options.threshold:g} is a failure.{turning}"
    )


# --- Answers ----------------------------------------------------------------------------------------------------------


_TAKEN = "Answers: from {}, taken as they are."
NO_IMAGES = "No images were given: the test images are known by their names in the table alone."


def read_answers(
    table: StrPath, test: StrPath | None, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None
) -> AnsweredImages:
    """Read a table of answers and judge them.

    Parameters
    ----------
    table : path
        Of a regression: `image` and a column for each target, or as `predictions.csv` of a regression.
    test : path or None
        The folder of test images; without one, a class, or which answers are right, is in the table.
    options : DnnOptions
        Of a regression: the targets and the threshold; without targets, the answers are those of a classifier or, in
        a table alone, also the errors of a regression that are known to be right or wrong.
    train : path, optional
        A folder with a folder for each class, if classes are predicted that the test folder does not have.

    Raises
    ------
    SAFEError
        The table cannot be read, or does not fit the images or the classes; or, without images, all answers are right
        or wrong, or there are targets.
    """
    if options.threshold is not None and not options.targets:
        raise SAFEError(
            f"Expected a table of targets with the threshold {options.threshold:g} of a regression. Received none."
        ).about("targets")
    if options.targets and not test:
        raise SAFEError(
            "Expected the folder of test images with a table of targets. Received none. Without images, a regression's "
            "answers need the columns error and right."
        ).about("targets")
    if options.targets and test:
        return _of_regression(table, test, options)
    learned = class_folders(existing_folder(train, "the training folder")) if train else []
    tested = read_predictions(table, test, partial=options.partial, classes=learned)
    if not test and tested.one_sided:
        raise SAFEError(f"Expected both correct and wrong answers. {tested.one_sided}")
    if not test and tested.task == "regression":
        return dataclasses.replace(tested, known_classes=(tested.answers.target,))
    labels, predicted = tested.answers.label.tolist(), tested.answers.predicted.tolist()
    needed = ((labels, "in class folders or in the column label"), (predicted, f"in {PREDICTED}"))
    for names, expected in needed if test else ():
        if missing := [path for path, name in zip(tested.paths, names, strict=True) if not name]:
            raise SAFEError(
                f"Expected the class of each image {expected}. Received none for {count(len(missing), 'image')} in "
                f"{tested.source}: {printable(some(missing, limit=2))}. Add what is missing."
            )
    by_folder = all(path.split("/", 1)[0] == label for path, label in zip(tested.paths, labels, strict=True))
    known = {*labels, *tested.classes, *learned, *(class_folders(tested.root) if by_folder else ())}
    unknown = unknown_classes(tested, known | NO_CLASS) if test or any(labels) else ()
    notes = (_TAKEN.format(tested.source.name), *unknown, *tested.notes)
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
    matched = match_images(cells, images.root, images.paths, partial=options.partial, copies=copies)
    if names == (PREDICTED,):
        outputs = _numbers_in_cells(matched.rows, len(images.classes))
    else:
        outputs = matched.rows.numbers(names, "a finite number")
    place = {path: i for i, path in enumerate(images.paths)}
    indices = np.array([place[path] for path in matched.paths], np.int64)
    judgement = judge_regression(images, indices, outputs, options.threshold)
    images = dataclasses.replace(images, skipped=(*images.skipped, *matched.without_row))
    notes = (_TAKEN.format(cells.source.name), assumption, *matched.notes)
    answered = in_words(cells.source, images, judgement, notes=notes, held_out=matched.held_out)
    return answered.once(copies)


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


def find_failures(
    model: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None,
    hold_out: HoldOut | None = None,
) -> AnsweredImages:  # fmt: skip
    """Run a DNN on a test set; write the failing images and the accuracy to the folder `out`.

    Parameters
    ----------
    model : path
        As for `dnn.model.load_dnn`.
    test : path
        A folder of class folders; of a regression, of images.
    options : DnnOptions
        What the engineer specifies about the model.
    train : path, optional
        The training folder, if the test folder does not have a folder for every class.
    hold_out : HoldOut, optional
        A part of the images that the model is not run on, and nothing is chosen by: it is to prove a retraining.

    Raises
    ------
    SAFEError
        The model cannot be loaded or does not match the classes, no image is readable, too much is held out, or `out`
        cannot be written or has a folder `failures` that SAFE did not write.
    """
    options = checked(options)
    out = checked_folder(out, test, *TABLES)
    dnn = load_apart(model, options, task=options.task)
    images, assumptions = examples_for(dnn, test, options=options, train=train)
    images, of_copies = predictions.without_copies(images)
    dnn = sized_for(dnn, images.files)
    held, sentences = np.zeros(len(images.paths), bool), tuple[str, ...]()
    if hold_out:
        held, sentences = draw(images.root, images.paths, images.labels, hold_out)
    held_out, images = images.taken(held).paths, images.taken(~held)
    outputs = predict_apart(dnn, images.root, images.paths)
    judgement = predictions.judge(dnn, images, outputs, threshold=options.threshold)
    images = dataclasses.replace(images, skipped=(*images.skipped, *outputs.skipped))
    notes = (*dnn.assumptions, *assumptions, *of_copies, *predictions.undecided(dnn, outputs), *sentences)
    answered = in_words(dnn.path, images, judgement, notes=notes, held_out=held_out)
    return keep_failures(answered, out, options=options, group=hold_out.group if hold_out else ())


def collect_failures(
    table: StrPath, test: StrPath | None, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE,
    train: StrPath | None = None, hold_out: HoldOut | None = None, notes: tuple[str, ...] = (),
    skipped: tuple[Skipped, ...] = (), group: tuple[str, ...] = (), parameters: StrPath | None = None,
) -> AnsweredImages:  # fmt: skip
    """Do the same as `find_failures` with a table of the DNN's answers in place of the model.

    Parameters
    ----------
    table, test, options, train
        As for `dnn.failures.read_answers`.
    hold_out : HoldOut, optional
        As for `find_failures`; of these images, the answers are not used.
    notes, skipped
        What is known of the table beforehand: sentences, and what has no row in it.
    group
        The columns by which images are of one group; by default those that are held out together.
    parameters : path, optional
        What is known of the images, as for `rccs.parameters.read_parameters`; by default what `find_parameters` finds
        or, without images, further columns of `table`.

    Raises
    ------
    SAFEError
        The table cannot be used, or as in `find_failures`.
    """
    options = checked(options)
    out = checked_folder(out, test, *TABLES)
    answered = read_answers(table, test, options=options, train=train)
    notes = (*notes, *answered.notes, *(() if test else (NO_IMAGES,)))
    answered = dataclasses.replace(answered, notes=notes, skipped=(*answered.skipped, *skipped))
    known = path_of(parameters, "parameters as a CSV file") if parameters else None
    if known:
        read_parameters(known, answered.root, answered.paths, partial=options.partial)
    elif not test:
        known = find_parameters(answered.root) or answered.source
    answered = dataclasses.replace(answered, parameters=known and known.absolute())
    tables = (known or find_parameters(answered.root), answered.source)
    if group:
        chosen_columns(group, group_columns(answered.root, answered.paths, tables, group))
    if hold_out:
        labels = answered.answers.label if answered.task == "classification" else np.zeros((len(answered.paths), 0))
        held, sentences = draw(answered.root, answered.paths, labels, hold_out, tables=tables, unit=answered.noun)
        answered = dataclasses.replace(answered.without(held), notes=answered.notes + sentences)
        group = hold_out.group
    return keep_failures(answered, out, options=options, group=group)


def keep_failures(
    answered: AnsweredImages, out: Path, *, options: DnnOptions = AS_IN_THE_FILE, group: tuple[str, ...] = ()
) -> AnsweredImages:
    """Write `failures/` (the images, in their class folders, if they are there), then the tables and `accuracy.json`
    together."""
    threshold = options.threshold if answered.task == "regression" else None
    options = DnnOptions(options.rescale, options.trust_model, str(options.targets or "") or None, threshold)
    answered = dataclasses.replace(
        answered, notes=answered.doubts + answered.notes, skipped=tuple(sorted(answered.skipped)), options=options,
        group=group,
    )  # fmt: skip
    if answered.held_out and not answered.failing:
        raise SAFEError(
            f"Expected failing images among the {len(answered.paths):,} that are not held out. Received none. Hold out "
            "a smaller share, or nothing."
        )
    wrong = answered.taken(~answered.right)
    label, predicted, score, kind, target = wrong.answers
    columns = (wrong.paths, label.tolist(), predicted.tolist(), map(rounded, score.tolist()))
    place = f"{FAILURES}/" if answered.has_images else ""
    rows = ((f"{place}{path}", path, *cells) for path, *cells in zip(*columns, strict=True))
    table = table_text(["image", "source", target, "predicted", kind], rows)
    accuracy = json.dumps(_record_of(answered, out), indent=2, ensure_ascii=False) + "\n"
    files = {PREDICTIONS_FILE: predictions_text(answered), FAILURES_FILE: table, ACCURACY_FILE: accuracy}
    # All that takes room comes before the images are exchanged.
    with replacing_images(out / FAILURES, lambda: save_files(out, files)) as new:
        for path in wrong.paths if answered.has_images else ():
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(answered.root / path, new / path)
    return answered


def checked_folder(out: StrPath, test: StrPath | None, *files: str, folders: Sequence[str] = (FAILURES,)) -> Path:
    """The output folder, in which nothing of others would be replaced, neither files nor folders of images."""
    # Checked before anything is created: a new folder in the test folder would count as a class.
    folder = path_of(out, "an output folder")
    if test and folder.resolve().is_relative_to(path_of(test, "a test folder").resolve()):
        raise SAFEError(
            f"The output folder must be outside the test folder, or the copies would become test images. Received: "
            f"{out}. Choose another one."
        ).about("out")
    if not test and CLUSTERS in present_runs(folder):
        raise SAFEError(
            f"Expected a folder without root cause clusters. Received: {out}, which has reasons of its own. Name "
            "another output folder for a table without images."
        ).about("out")
    folder = prepare_folder(folder)
    check_own(folder, *files)
    for name in folders:
        check_replaceable(folder / name)
    return folder


def examples_for(
    dnn: Dnn, folder: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None
) -> tuple[predictions.LabelledImages, tuple[str, ...]]:
    """The labelled images of a folder, checked against the DNN, and the assumptions about them, a sentence each.

    Raises
    ------
    SAFEError
        They do not match the DNN, or a regression lacks its targets or threshold.
    """
    if dnn.task == "classification":
        classes = predictions.labelled_images(train).classes if train else None
        images = predictions.labelled_images(folder, classes=classes)
        assumptions = [predictions.check_classes(dnn, images)]
        if images.empty:
            assumptions.append(f"No image of {some(images.empty)} in {images.root}.")
        return images, tuple(assumptions)
    images, assumption = images_with_targets(folder, options, outputs=dnn.n_outputs)
    predictions.check_precision(dnn.precision, images, options.threshold or 0)
    return images, (assumption,)


def checked(options: DnnOptions) -> DnnOptions:
    """The options with the threshold of a regression, if given, as a number.

    Raises
    ------
    SAFEError
        The threshold is not a number above 0.
    """
    if options.threshold is None:
        return options
    number = number_of(options.threshold, "threshold")
    if number <= 0:
        raise SAFEError(
            f"threshold must be a number above 0, in the unit of the targets. Received: {options.threshold}"
        )
    return options._replace(threshold=number)


def in_words(source: Path, images: LabelledImages, judgement: Judgement, **details: Any) -> AnsweredImages:
    """A DNN's answers to labelled images, in the words of a table; `details` as in `AnsweredImages`.

    Numbers of a regression have all their digits, so that they can be judged by another threshold.
    """
    indices, predicted, score, right = judgement
    labels, kind = images.labels[indices], CONFIDENCE
    if labels.ndim == 1:
        label, answered = (np.array(images.classes, str)[of] for of in (labels, predicted))
    else:
        kind, label, answered = ERROR, _numbers(labels), _numbers(predicted)
    has_name = kind == ERROR and len(images.classes) == 1 and images.classes[0] not in KNOWN_COLUMNS
    target = images.classes[0] if has_name else LABEL
    answers = Answers(label, answered, np.asarray(score, np.float32), kind, target=target)
    paths = tuple(images.paths[i] for i in indices.tolist())
    details |= {"skipped": images.skipped, "known_classes": images.classes}
    return AnsweredImages(source, images.root, paths, answers, right, **details)


def _numbers(values: np.ndarray) -> np.ndarray:
    """The numbers of each image, separated by spaces: ndarray of shape (n_images,), str."""
    return np.array([" ".join(repr(number).removesuffix(".0") for number in row) for row in values.tolist()], str)


# --- The files --------------------------------------------------------------------------------------------------


def _record_of(answered: AnsweredImages, folder: Path) -> dict[str, Any]:
    """The contents of `accuracy.json`."""
    held_out, options = {"images": len(answered.held_out), "group": answered.group}, answered.options
    return {
        "test_accuracy": answered.accuracy, "test_size": len(answered.paths), "failures": len(answered.failing),
        "classes": answered.known_classes, "task": answered.task, "threshold": options.threshold,
        "model": relative(answered.source, folder),
        "test_root": relative(answered.root, folder) if answered.has_images else "",
        "assumptions": answered.notes, "skipped": plain(answered.skipped, folder),
        **({"rescale": options.rescale} if options.rescale else {}),
        **({"trust_model": True} if options.trust_model else {}),
        **({"targets": relative(options.targets, folder)} if options.targets else {}),
        **({"parameters": relative(answered.parameters, folder)} if answered.parameters else {}),
        **({HOLD_OUT: held_out} if answered.held_out or answered.group else {}),
    }  # fmt: skip


def load_failures(folder: Path) -> AnsweredImages:
    """Read what `keep_failures` has written, whether or not the test images are still there.

    Raises
    ------
    SAFEError
        The files are missing or damaged, or of different failures, as a killed process may leave them.
    """
    if not all((folder / name).is_file() for name in (ACCURACY_FILE, PREDICTIONS_FILE)):
        raise SAFEError(f"Expected the failures of a DNN in {folder}. Received none. Collect them first.")
    with intact(folder / ACCURACY_FILE, "Collect the failures again."):
        record = read_json(folder / ACCURACY_FILE)
        classes = tuple(map(str, record["classes"]))
        answered = read_predictions(folder.absolute() / PREDICTIONS_FILE, None, classes=classes)
        if (record["test_size"], record["failures"]) != (len(answered.paths), len(answered.failing)):
            raise ValueError(f"of other failures than {PREDICTIONS_FILE}")
        trust, targets = bool(record.get("trust_model")), absolute(record.get("targets", ""), folder)
        root = absolute(record["test_root"], folder) if record["test_root"] else folder.absolute() / FAILURES
        return dataclasses.replace(
            answered, source=Path(absolute(record["model"], folder)), root=Path(root),
            known_classes=classes, notes=tuple(record["assumptions"]),
            skipped=tuple(Skipped(skip["path"], skip["reason"]) for skip in record["skipped"]),
            group=tuple(map(str, record.get(HOLD_OUT, {}).get("group", ()))), has_images=bool(record["test_root"]),
            parameters=parameters_given(folder),
            options=DnnOptions(record.get("rescale"), trust, targets or None, record["threshold"]),
        )  # fmt: skip
