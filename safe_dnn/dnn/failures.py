"""Failures of the DNN under test: run it on a labelled test set and collect the failing images.

They are the input of step 1: `failures/` is its image folder. Writes `failures/`, `failures.csv`, `predictions.csv`
(all images, right and wrong) and `accuracy.json`. A table of the DNN's answers can stand in for the DNN.
"""

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn import predictions
from safe_dnn.dnn.copies import without_copies
from safe_dnn.dnn.given_answers import images_with_targets, read_answers
from safe_dnn.dnn.held_out import HOLD_OUT, HoldOut, draw
from safe_dnn.dnn.model import AS_IN_THE_FILE, Dnn, DnnOptions, sized_for
from safe_dnn.dnn.model_process import load_apart, predict_apart
from safe_dnn.dnn.tested import LABEL, AnsweredImages, in_words, predictions_text, rounded
from safe_dnn.rccs.answers import CONFIDENCE, ERROR
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.places import absolute, plain, relative
from safe_dnn.support.entries import StrPath, number_of, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import intact, prepare_folder, put_back, read_json, replacing_folder
from safe_dnn.support.images import Skipped
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import (
    ACCURACY_FILE,
    FAILURES,
    FAILURES_FILE,
    FAILURES_MARK,
    PREDICTIONS_FILE,
)
from safe_dnn.support.tables import read_own, table_text
from safe_dnn.support.text import some

TABLES = (FAILURES_FILE, ACCURACY_FILE, PREDICTIONS_FILE)
_RECORDED = ("classes", "task", "threshold", "model", "test_root", "assumptions", "skipped")


class Failure(NamedTuple):
    """A row of `failures.csv`.

    Attributes
    ----------
    image : str
        Path of the copy, relative to the output folder: `failures/<path in the test folder>`.
    source : str
        Path relative to the test folder.
    label, predicted : str
        Classes; for a regression, the numbers, separated by spaces. Of one target, the column has its name.
    score : float
        Probability of the predicted class, NaN if a table of answers does not have it; for a regression, the error (the
        column is then called `error`).
    """

    image: str
    source: str
    label: str
    predicted: str
    score: float


@dataclass(frozen=True)
class Failures:
    """The images of a test set on which a DNN fails.

    Attributes
    ----------
    test_root : Path
    model : Path
        The file of the DNN, or the table of its answers.
    task : "classification" or "regression"
    classes : tuple of str
    failing : tuple of Failure
        Sorted by path.
    test_size : int
        Number of readable images.
    threshold : float or None
        For a regression: an error above it is a failure.
    assumptions : tuple of str
        Assumptions about the model and the classes, a sentence each.
    skipped : tuple of Skipped
    held_out : int
        Number of further images that are held out, to prove a retraining.
    group : tuple of str
        The columns by which they are held out in groups.
    rescale : str or None
        As of `DnnOptions`.
    trust_model : bool
        As of `DnnOptions`.
    targets : str
        As of `DnnOptions`; empty if none were given.
    answered : AnsweredImages
        All test images with the answers; None of failures that were read again.
    """

    test_root: Path
    model: Path
    task: str
    classes: tuple[str, ...]
    failing: tuple[Failure, ...]
    test_size: int
    threshold: float | None
    assumptions: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    held_out: int = 0
    group: tuple[str, ...] = ()
    rescale: str | None = None
    trust_model: bool = False
    targets: str = ""
    answered: Any = field(default=None, compare=False, repr=False)

    @property
    def accuracy(self) -> float:
        """Share of the test set on which the DNN does not fail."""
        return 1 - len(self.failing) / self.test_size


def find_failures(
    model: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None,
    hold_out: HoldOut | None = None, progress: Progress = no_progress,
) -> Failures:  # fmt: skip
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
    dnn = load_apart(model, options, task=options.task, progress=progress)
    images, assumptions = examples_for(dnn, test, options=options, train=train)
    images, of_copies = without_copies(images)
    dnn = sized_for(dnn, images.files)
    held, sentences = draw(images, hold_out) if hold_out else (np.zeros(len(images.paths), bool), ())
    held_out, images = images.taken(held).paths, images.taken(~held)
    found = predict_apart(dnn, images.root, images.paths, progress=progress)
    judgement = predictions.judge(dnn, images, found, threshold=options.threshold)
    doubtful = (*predictions.undecided(dnn, found), *predictions.doubts(dnn, judgement.accuracy, "the test images"))
    images = dataclasses.replace(images, skipped=(*images.skipped, *found.skipped))
    notes = (*dnn.assumptions, *assumptions, *of_copies, *doubtful, *sentences)
    given = in_words(dnn.path, images, judgement, threshold=options.threshold, notes=notes, held_out=held_out)
    return keep_failures(given, out, options=options, hold_out=hold_out)


def collect_failures(
    table: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None,
    hold_out: HoldOut | None = None, notes: tuple[str, ...] = (), skipped: tuple[Skipped, ...] = (),
) -> Failures:  # fmt: skip
    """Do the same as `find_failures` with a table of the DNN's answers in place of the model.

    Parameters
    ----------
    table, test, options, train
        As for `dnn.given_answers.read_answers`.
    hold_out : HoldOut, optional
        As for `find_failures`; of these images, the answers are not used.
    notes, skipped
        What is known of the table beforehand: sentences, and what has no row in it.

    Raises
    ------
    SAFEError
        The table cannot be used, or as of `find_failures`.
    """
    options = checked(options)
    out = checked_folder(out, test, *TABLES)
    given = read_answers(table, test, options=options, train=train)
    given = dataclasses.replace(given, notes=notes + given.notes, skipped=(*given.skipped, *skipped))
    if hold_out:
        class_of = {name: i for i, name in enumerate(given.known_classes)}
        labels = np.array([class_of.get(label, 0) for label in given.answers.label.tolist()])
        images = predictions.LabelledImages(given.root, given.paths, given.known_classes, labels)
        held, sentences = draw(images, hold_out, table=given.source)
        given = dataclasses.replace(given.without(held), notes=given.notes + sentences)
    return keep_failures(given, out, options=options, hold_out=hold_out)


def keep_failures(
    given: AnsweredImages, out: Path, *, options: DnnOptions = AS_IN_THE_FILE, hold_out: HoldOut | None = None
) -> Failures:
    """Write the failures among answers, and the answers themselves."""
    answers, task = given.answers, given.task
    columns = (column.tolist() for column in (answers.label, answers.predicted, answers.score, given.right))
    failing = tuple(
        Failure(f"{FAILURES}/{path}", path, label, predicted, rounded(score))
        for path, label, predicted, score, right in zip(given.paths, *columns, strict=True)
        if not right
    )
    if given.held_out and not failing:
        raise SAFEError(
            f"Expected failing images among the {len(given.paths):,} that are not held out. Received none. Hold out "
            "a smaller share, or nothing."
        )
    failures = Failures(
        given.root, given.source, task, given.known_classes, failing, len(given.paths),
        threshold=options.threshold if task == "regression" else None, assumptions=given.doubts + given.notes,
        skipped=tuple(sorted(given.skipped)), held_out=len(given.held_out), group=hold_out.group if hold_out else (),
        rescale=options.rescale, trust_model=options.trust_model, targets=str(options.targets or ""), answered=given,
    )  # fmt: skip
    save_failures(failures, out, {PREDICTIONS_FILE: predictions_text(given)})
    return failures


def checked_folder(out: StrPath, test: StrPath, *files: str, folders: Sequence[str] = (FAILURES,)) -> Path:
    """The output folder, in which nothing of others would be replaced, neither files nor folders of images."""
    # Checked before anything is created: a new folder in the test folder would count as a class.
    if path_of(out, "an output folder").resolve().is_relative_to(path_of(test, "a test folder").resolve()):
        raise SAFEError(
            f"The output folder must be outside the test folder, or the copies would become test images. Received: "
            f"{out}. Choose another one."
        ).about("out")
    out = prepare_folder(out)
    check_own(out, *files)
    for name in folders:
        check_replaceable(out / name)
    return out


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


# --- The files --------------------------------------------------------------------------------------------------


def save_failures(failures: Failures, folder: Path, tables: Mapping[str, str]) -> None:
    """Write `failures/` (the images, in their class folders), then the tables and `accuracy.json` together.

    Parameters
    ----------
    tables : mapping of str to str
        Further files, such as `predictions.csv`.
    """
    score = ERROR if failures.task == "regression" else CONFIDENCE
    label = failures.answered.answers.target if failures.answered else LABEL
    table = table_text(["image", "source", label, "predicted", score], failures.failing)
    accuracy = json.dumps(_record_of(failures, folder), indent=2, ensure_ascii=False) + "\n"
    files = {**tables, FAILURES_FILE: table, ACCURACY_FILE: accuracy}
    # All that takes room comes before the images are exchanged.
    with replacing_images(folder / FAILURES, lambda: save_files(folder, files)) as new:
        for failure in failures.failing:
            (new / failure.source).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(failures.test_root / failure.source, new / failure.source)


def _record_of(failures: Failures, folder: Path) -> dict[str, Any]:
    """The contents of `accuracy.json`."""
    return {
        "test_accuracy": failures.accuracy,
        "test_size": failures.test_size,
        "failures": len(failures.failing),
        **{name: plain(getattr(failures, name), folder) for name in _RECORDED},
        **({"rescale": failures.rescale} if failures.rescale else {}),
        **({"trust_model": True} if failures.trust_model else {}),
        **({"targets": relative(failures.targets, folder)} if failures.targets else {}),
        **({HOLD_OUT: {"images": failures.held_out, "group": failures.group}} if failures.held_out else {}),
    }


def load_failures(folder: Path) -> Failures:
    """Read the files written by `save_failures`.

    Raises
    ------
    SAFEError
        They are missing or damaged.
    """
    if not (folder / ACCURACY_FILE).is_file() or not (folder / FAILURES_FILE).is_file():
        raise SAFEError(f"Expected the failures of a DNN in {folder}. Received none. Collect them first.")
    with intact(folder / FAILURES_FILE, f"Or {ACCURACY_FILE} is. Collect the failures again."):
        _, *rows = read_own(folder / FAILURES_FILE)
        return _from_record(read_json(folder / ACCURACY_FILE), rows, folder)


def _from_record(record: dict[str, Any], rows: list[list[str]], folder: Path) -> Failures:
    held_out = record.get(HOLD_OUT, {})
    return Failures(
        test_root=Path(absolute(record["test_root"], folder)), model=Path(absolute(record["model"], folder)),
        task=str(record["task"]), classes=tuple(record["classes"]),
        failing=tuple(Failure._make([*row[:4], float(row[4] or "nan")]) for row in rows),
        test_size=int(record["test_size"]), threshold=record["threshold"], assumptions=tuple(record["assumptions"]),
        skipped=tuple(Skipped(skip["path"], skip["reason"]) for skip in record["skipped"]),
        held_out=int(held_out.get("images", 0)), group=tuple(map(str, held_out.get("group", ()))),
        rescale=record.get("rescale"), trust_model=bool(record.get("trust_model")),
        targets=absolute(record.get("targets", ""), folder),
    )  # fmt: skip


@contextlib.contextmanager
def replacing_images(target: Path, then: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield a folder to fill with images, which then replaces `target`, with a hidden list of them.

    Parameters
    ----------
    target : Path
    then : callable, optional
        Called when the new folder is on the disk, right before it takes the place of `target`.

    Raises
    ------
    SAFEError
        `target` has files that SAFE did not write, or cannot be written.
    """
    check_replaceable(target)
    try:
        with replacing_folder(target) as new:
            yield new
            # The files written by SAFE, a path per line
            names = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if not path.is_dir())
            text = "".join(f"{name}\n" for name in names)
            (new / FAILURES_MARK).write_text(text, "utf-8", errors="surrogateescape")
            then()
    except OSError as error:
        raise SAFEError(f"Could not write {target}: {error.strerror or error}. Its content is unchanged.") from error


def check_replaceable(target: Path) -> None:
    """Refuse to replace a folder of images with files that SAFE did not write."""
    put_back(target)
    if not target.exists():
        return
    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()} - {FAILURES_MARK}
    try:
        written = set((target / FAILURES_MARK).read_text(encoding="utf-8", errors="surrogateescape").split("\n"))
    except OSError:
        written = set()
    if not target.is_dir() or found - written:
        raise SAFEError(
            f"Expected {target} to be missing or written by SAFE. Received one with other files"
            f"{f' ({some(sorted(found - written), limit=2)})' if found else ''}. "
            "Choose another output folder."
        ).about("out")
