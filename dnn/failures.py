"""Failures of the DNN under test: run it on a labelled test set and collect the failing images.

They are the input of step 1: `failures/` is its image folder. Writes `failures/`, `failures.csv`, `predictions.csv`
(all images, right and wrong) and `accuracy.json`. A table of the DNN's answers can stand in for the DNN.
"""

import contextlib
import csv
import io
import json
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.given_answers import read_answers
from dnn.model import AS_IN_THE_FILE, Dnn, DnnOptions, load_dnn, sized_for
from dnn.predictions import (
    Judgement,
    LabelledImages,
    Pixels,
    check_classes,
    check_outputs,
    doubts,
    judge,
    labelled_images,
    run_model,
    skipped_of,
)
from dnn.rounds import keep_round
from dnn.targets import images_with_targets
from dnn.tested import predictions_text
from rccs.answers import CONFIDENCE, ERROR, Answers
from rccs.parameters import PARAMETERS_FILE
from support.entries import number_of, path_of
from support.errors import SAFEError
from support.files import DAMAGED, prepare_folder, put_back, regular, replacing_folder
from support.images import Skipped
from support.output_folder import check_own, save_files
from support.progress import Progress, no_progress
from support.run_folder import (
    ACCURACY_FILE,
    FAILURES,
    FAILURES_FILE,
    FAILURES_MARK,
    OBJECTS,
    OBJECTS_FILE,
    PREDICTIONS_FILE,
)
from support.tables import cell, from_cell
from support.text import some

DETECTION = "detection"


class Failure(NamedTuple):
    """A row of `failures.csv`.

    Attributes
    ----------
    image : str
        Path of the copy, relative to the output folder: `failures/<path in the test folder>`.
    source : str
        Path relative to the test folder.
    label, predicted : str
        Classes; for a regression, the numbers, separated by spaces.
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
    task : "classification", "detection" or "regression"
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

    @property
    def accuracy(self) -> float:
        """Share of the test set on which the DNN does not fail."""
        return 1 - len(self.failing) / self.test_size


def find_failures(
    model: str | os.PathLike,
    test: str | os.PathLike,
    out: str | os.PathLike,
    *,
    options: DnnOptions = AS_IN_THE_FILE,
    train: str | os.PathLike | None = None,
    progress: Progress = no_progress,
) -> Failures:
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

    Raises
    ------
    SAFEError
        The model cannot be loaded or does not match the classes, no image is readable, or `out` cannot be written or
        has a folder `failures` that SAFE did not write.
    """
    options = checked(options)
    out = _checked_folder(out, test)
    dnn = load_dnn(model, rescale=options.rescale, trust=options.trust, task=options.task)
    images, assumptions = examples_for(dnn, test, options=options, train=train)
    dnn = sized_for(dnn, images.files)
    threshold = options.threshold
    judgement, skipped = run_on(dnn, images, threshold, progress, "Running the model")
    failures = Failures(
        test_root=images.root,
        model=dnn.path,
        task=dnn.task,
        classes=images.classes,
        failing=_failing(images, judgement),
        test_size=len(judgement.indices),
        threshold=threshold,
        assumptions=(*dnn.assumptions, *assumptions, *doubts(dnn, judgement.accuracy, "the test images")),
        skipped=tuple(sorted((*images.skipped, *skipped))),
    )
    save_failures(failures, out, predictions=predictions_text(*_tested(images, judgement), judgement.right))
    return failures


def collect_failures(
    table: str | os.PathLike,
    test: str | os.PathLike,
    out: str | os.PathLike,
    *,
    options: DnnOptions = AS_IN_THE_FILE,
    train: str | os.PathLike | None = None,
) -> Failures:
    """Do the same as `find_failures` with a table of the DNN's answers in place of the model.

    Parameters
    ----------
    table, test, options, train
        As for `dnn.given_answers.read_answers`.

    Raises
    ------
    SAFEError
        The table cannot be used, or as of `find_failures`.
    """
    options = checked(options)
    out = _checked_folder(out, test)
    given = read_answers(table, test, options=options, train=train)
    images, judgement = given.images, given.judgement
    failures = Failures(
        test_root=images.root,
        model=given.source,
        task=given.task,
        classes=images.classes,
        failing=_failing(images, judgement),
        test_size=len(judgement.indices),
        threshold=options.threshold if given.task == "regression" else None,
        assumptions=given.assumptions,
        skipped=tuple(sorted(images.skipped)),
    )
    text = predictions_text(
        *_tested(images, judgement), judgement.right, classes=given.classes, probabilities=given.probabilities
    )
    save_failures(failures, out, predictions=text)
    return failures


def _checked_folder(out: str | os.PathLike, test: str | os.PathLike) -> Path:
    """The output folder, in which nothing of others would be replaced."""
    # Checked before anything is created: a new folder in the test folder would count as a class.
    refuse_inside(path_of(out, "an output folder"), path_of(test, "a test folder"))
    out = prepare_folder(out)
    check_own(out, FAILURES_FILE, ACCURACY_FILE, PREDICTIONS_FILE)
    check_replaceable(out / FAILURES)
    return out


def examples_for(
    dnn: Dnn,
    folder: str | os.PathLike,
    *,
    options: DnnOptions = AS_IN_THE_FILE,
    train: str | os.PathLike | None = None,
) -> tuple[LabelledImages, tuple[str, ...]]:
    """The labelled images of a folder, checked against the DNN, and the assumptions about them, a sentence each.

    Raises
    ------
    SAFEError
        They do not match the DNN, or a regression lacks its targets or threshold.
    """
    if dnn.task == "classification":
        images = labelled_images(folder, classes=labelled_images(train).classes if train else None)
        assumptions = [check_classes(dnn, images)]
        if images.empty:
            assumptions.append(f"No image of {some(images.empty)} in {images.root}.")
        return images, tuple(assumptions)
    images, assumption = images_with_targets(folder, options)
    if len(images.classes) != dnn.n_outputs:
        raise SAFEError(
            f"Expected a column of targets for each of the model's {dnn.n_outputs} outputs. Received "
            f"{len(images.classes)} ({some(images.classes)}) in {options.targets}."
        )
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


def run_on(
    dnn: Dnn, images: LabelledImages, threshold: float | None, progress: Progress, what: str
) -> tuple[Judgement, tuple[Skipped, ...]]:
    """Run the DNN on labelled images streamed from disk; return its judgement and the unreadable images."""
    pixels = Pixels(dnn, images.files, cache_bytes=0)
    indices, outputs = run_model(dnn, dnn.model, pixels, np.arange(len(images.paths)), progress=progress, what=what)
    skipped = skipped_of(pixels, images.paths)
    check_outputs(outputs, dnn, images.root, skipped)
    return judge(dnn, images, indices, outputs, threshold=threshold), skipped


def _failing(images: LabelledImages, judgement: Judgement) -> tuple[Failure, ...]:
    return tuple(_failure(images, judgement, i) for i in np.flatnonzero(~judgement.right).tolist())


def _failure(images: LabelledImages, judgement: Judgement, i: int) -> Failure:
    source = images.paths[judgement.indices[i]]
    label, predicted = (
        describe(images, value) for value in (images.labels[judgement.indices[i]], judgement.predicted[i])
    )
    return Failure(f"{FAILURES}/{source}", source, label, predicted, round(float(judgement.score[i]), 4))


def _tested(images: LabelledImages, judgement: Judgement) -> tuple[list[str], Answers]:
    """The readable images, and the DNN's answers to them."""
    labels = [describe(images, value) for value in images.labels[judgement.indices]]
    predicted = [describe(images, value) for value in judgement.predicted]
    kind = ERROR if images.labels.ndim == 2 else CONFIDENCE
    answers = Answers(np.array(labels, str), np.array(predicted, str), np.asarray(judgement.score, np.float32), kind)
    return [images.paths[i] for i in judgement.indices], answers


def describe(images: LabelledImages, value: np.ndarray | np.integer) -> str:
    """A label or prediction as text: the name of the class or, for a regression, the numbers."""
    if isinstance(value, np.ndarray):
        return " ".join(f"{number:.6g}" for number in value)
    return images.classes[int(value)]


# --- The files --------------------------------------------------------------------------------------------------


def save_failures(
    failures: Failures, folder: Path, *, predictions: str = "", tables: Mapping[str, str] | None = None
) -> None:
    """Write `failures/` (the images, in their class folders), then the tables and `accuracy.json` together.

    Earlier failures that clusters in the folder are of are kept (see `rccs.rounds`).

    Parameters
    ----------
    predictions : str
        The content of `predictions.csv`.
    tables : mapping of str to str, optional
        Further files. Those of a detector that SAFE wrote before, and that are not among them, are removed.
    """
    keep_round(folder)
    _copy_failures(failures, folder)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    score = ERROR if failures.task == "regression" else CONFIDENCE
    writer.writerow([*Failure._fields[:-1], score])
    writer.writerows(
        [*map(cell, failure[:-1]), "" if math.isnan(failure.score) else failure.score] for failure in failures.failing
    )
    record = {
        "test_accuracy": failures.accuracy,
        "test_size": failures.test_size,
        "failures": len(failures.failing),
        "classes": failures.classes,
        "task": failures.task,
        "threshold": failures.threshold,
        "model": os.fspath(failures.model),
        "test_root": os.fspath(failures.test_root),
        "assumptions": failures.assumptions,
        "skipped": [skip._asdict() for skip in failures.skipped],
    }
    accuracy = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    files = {**(tables or {}), FAILURES_FILE: table.getvalue(), ACCURACY_FILE: accuracy}
    files |= {PREDICTIONS_FILE: predictions} if predictions else {}
    # Other parameters are the engineer's.
    of_detector = (OBJECTS_FILE, PARAMETERS_FILE) if (folder / OBJECTS_FILE).is_file() else ()
    save_files(folder, files, remove=of_detector)


def load_failures(folder: Path) -> Failures:
    """Read the files written by `save_failures`.

    Raises
    ------
    SAFEError
        They are missing or damaged.
    """
    if not (folder / ACCURACY_FILE).is_file() or not (folder / FAILURES_FILE).is_file():
        raise SAFEError(f"Expected the failures of a DNN in {folder}. Received none. Collect them first.")
    try:
        record = json.loads(regular(folder / ACCURACY_FILE).read_text(encoding="utf-8", errors="surrogateescape"))
        with regular(folder / FAILURES_FILE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            _, *rows = csv.reader(file, strict=True)
        return Failures(
            test_root=Path(record["test_root"]),
            model=Path(record["model"]),
            task=_task_of(record, folder),
            classes=tuple(record["classes"]),
            failing=tuple(_failure_of(row) for row in rows),
            test_size=int(record["test_size"]),
            threshold=record["threshold"],
            assumptions=tuple(record["assumptions"]),
            skipped=tuple(Skipped(skip["path"], skip["reason"]) for skip in record["skipped"]),
        )
    except DAMAGED as error:
        raise SAFEError(f"The failures in {folder} are damaged ({error}). Collect them again.") from error


def _task_of(record: Mapping[str, Any], folder: Path) -> str:
    """The task; older versions call detectors classification as well."""
    of_detector = Path(record["test_root"]).name == OBJECTS and (folder / OBJECTS_FILE).is_file()
    return DETECTION if of_detector else str(record["task"])


def _failure_of(row: list[str]) -> Failure:
    image, source, label, predicted = map(from_cell, row[:4])
    return Failure(image, source, label, predicted, float(row[4] or "nan"))


def _copy_failures(failures: Failures, folder: Path) -> None:
    """Copy the failing images to a new folder that then replaces `failures/`, so that it is never a mixture."""
    target = folder / FAILURES
    try:
        with replacing_images(target) as new:
            for failure in failures.failing:
                copy = new / failure.source
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(failures.test_root / failure.source, copy)
    except OSError as error:
        raise SAFEError(f"Could not write {target}: {error.strerror or error}. Its content is unchanged.") from error


@contextlib.contextmanager
def replacing_images(target: Path) -> Iterator[Path]:
    """Yield a folder to fill with images, which then replaces `target`, with a hidden list of them.

    Raises
    ------
    SAFEError
        `target` has files that SAFE did not write.
    OSError
        The operating system refused to write.
    """
    check_replaceable(target)
    with replacing_folder(target) as new:
        yield new
        # The files written by SAFE, a path per line
        names = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if not path.is_dir())
        (new / FAILURES_MARK).write_text("".join(f"{name}\n" for name in names), "utf-8", errors="surrogateescape")


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
            "Choose another output folder with --out."
        )


def refuse_inside(out: Path, test: Path) -> None:
    if out.resolve().is_relative_to(test.resolve()):
        raise SAFEError(
            f"The output folder must be outside the test folder, or the copies would become test images. Received: "
            f"{out}. Choose another folder with --out."
        )
