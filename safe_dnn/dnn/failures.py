"""Failures of the DNN under test: run it on a labelled test set and collect the failing images.

They are the input of step 1: `failures/` is its image folder. Writes `failures/`, `failures.csv`, `predictions.csv`
(all images, right and wrong) and `accuracy.json`. A table of the DNN's answers can stand in for the DNN.
"""

import contextlib
import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.dnn import predictions
from safe_dnn.dnn.given_answers import images_with_targets, read_answers
from safe_dnn.dnn.group_columns import HOLD_OUT, HoldOut, draw
from safe_dnn.dnn.model import AS_IN_THE_FILE, Dnn, DnnOptions, sized_for
from safe_dnn.dnn.model_process import load_apart, predict_apart
from safe_dnn.dnn.tested import AnsweredImages, in_words, predictions_text, read_predictions, rounded
from safe_dnn.store.output_folder import check_own, save_files
from safe_dnn.store.places import absolute, plain, relative
from safe_dnn.support.errors import SAFEError, StrPath, number_of, path_of
from safe_dnn.support.files import intact, prepare_folder, put_back, read_json, replacing_folder, state_of_file
from safe_dnn.support.images import Skipped
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, FAILURES_MARK, PREDICTIONS_FILE
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import some

TABLES = (FAILURES_FILE, ACCURACY_FILE, PREDICTIONS_FILE)


def find_failures(
    model: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None,
    hold_out: HoldOut | None = None, progress: Progress = no_progress,
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
    dnn = load_apart(model, options, task=options.task, progress=progress)
    images, assumptions = examples_for(dnn, test, options=options, train=train)
    images, of_copies = predictions.without_copies(images)
    dnn = sized_for(dnn, images.files)
    held, sentences = np.zeros(len(images.paths), bool), tuple[str, ...]()
    if hold_out:
        held, sentences = draw(images.root, images.paths, images.labels, hold_out)
    held_out, images = images.taken(held).paths, images.taken(~held)
    found = predict_apart(dnn, images.root, images.paths, progress=progress)
    judgement = predictions.judge(dnn, images, found, threshold=options.threshold)
    images = dataclasses.replace(images, skipped=(*images.skipped, *found.skipped))
    notes = (*dnn.assumptions, *assumptions, *of_copies, *predictions.undecided(dnn, found), *sentences)
    given = in_words(dnn.path, images, judgement, notes=notes, held_out=held_out)
    return keep_failures(given, out, options=options, hold_out=hold_out)


def collect_failures(
    table: StrPath, test: StrPath, out: StrPath, *, options: DnnOptions = AS_IN_THE_FILE, train: StrPath | None = None,
    hold_out: HoldOut | None = None, notes: tuple[str, ...] = (), skipped: tuple[Skipped, ...] = (),
) -> AnsweredImages:  # fmt: skip
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
        labels = given.answers.label if given.task == "classification" else np.zeros((len(given.paths), 0))
        held, sentences = draw(given.root, given.paths, labels, hold_out, table=given.source)
        given = dataclasses.replace(given.without(held), notes=given.notes + sentences)
    return keep_failures(given, out, options=options, hold_out=hold_out)


def keep_failures(
    given: AnsweredImages, out: Path, *, options: DnnOptions = AS_IN_THE_FILE, hold_out: HoldOut | None = None
) -> AnsweredImages:
    """Write the failures among answers, and the answers themselves."""
    given = dataclasses.replace(
        given, notes=given.doubts + given.notes, skipped=tuple(sorted(given.skipped)),
        threshold=options.threshold if given.task == "regression" else None, targets=str(options.targets or ""),
        rescale=options.rescale, trust_model=options.trust_model, group=hold_out.group if hold_out else (),
    )  # fmt: skip
    if given.held_out and not given.failing:
        raise SAFEError(
            f"Expected failing images among the {len(given.paths):,} that are not held out. Received none. Hold out "
            "a smaller share, or nothing."
        )
    save_failures(given, out)
    return given


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


def save_failures(given: AnsweredImages, folder: Path) -> None:
    """Write `failures/` (the images, in their class folders), then the tables and `accuracy.json` together."""
    wrong = given.taken(~given.right)
    label, predicted, score, kind, target = wrong.answers
    columns = (wrong.paths, label.tolist(), predicted.tolist(), map(rounded, score.tolist()))
    rows = ((f"{FAILURES}/{path}", path, *cells) for path, *cells in zip(*columns, strict=True))
    table = table_text(["image", "source", target, "predicted", kind], rows)
    accuracy = json.dumps(_record_of(given, folder), indent=2, ensure_ascii=False) + "\n"
    files = {PREDICTIONS_FILE: predictions_text(given), FAILURES_FILE: table, ACCURACY_FILE: accuracy}
    # All that takes room comes before the images are exchanged.
    with replacing_images(folder / FAILURES, lambda: save_files(folder, files)) as new:
        for path in wrong.paths:
            (new / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(given.root / path, new / path)


def _record_of(given: AnsweredImages, folder: Path) -> dict[str, Any]:
    """The contents of `accuracy.json`."""
    held_out = {"images": len(given.held_out), "group": given.group}
    return {
        "test_accuracy": given.accuracy, "test_size": len(given.paths), "failures": len(given.failing),
        "classes": given.known_classes, "task": given.task, "threshold": given.threshold,
        "model": relative(given.source, folder), "test_root": relative(given.root, folder),
        "assumptions": given.notes, "skipped": plain(given.skipped, folder),
        **({"rescale": given.rescale} if given.rescale else {}),
        **({"trust_model": True} if given.trust_model else {}),
        **({"targets": relative(given.targets, folder)} if given.targets else {}),
        **({HOLD_OUT: held_out} if given.held_out else {}),
    }  # fmt: skip


def load_failures(folder: Path) -> AnsweredImages:
    """Read what `save_failures` has written, whether or not the test images are still there.

    Raises
    ------
    SAFEError
        The files are missing or damaged, or of different failures, as a killed process may leave them.
    """
    states = [state_of_file(folder / name) for name in (ACCURACY_FILE, PREDICTIONS_FILE)]
    if None in states:
        raise SAFEError(f"Expected the failures of a DNN in {folder}. Received none. Collect them first.")
    with intact(folder / ACCURACY_FILE, "Collect the failures again."):
        record = read_json(folder / ACCURACY_FILE)
        classes = tuple(map(str, record["classes"]))
        given = _predictions_in(folder.absolute() / PREDICTIONS_FILE, classes, states[1])
        if (record["test_size"], record["failures"]) != (len(given.paths), len(given.failing)):
            raise ValueError(f"of other failures than {PREDICTIONS_FILE}")
        return dataclasses.replace(
            given, source=Path(absolute(record["model"], folder)), root=Path(absolute(record["test_root"], folder)),
            known_classes=classes, threshold=record["threshold"], notes=tuple(record["assumptions"]),
            rescale=record.get("rescale"), trust_model=bool(record.get("trust_model")),
            skipped=tuple(Skipped(skip["path"], skip["reason"]) for skip in record["skipped"]),
            group=tuple(map(str, record.get(HOLD_OUT, {}).get("group", ()))), has_images=True,
            targets=absolute(record.get("targets", ""), folder),
        )  # fmt: skip


@functools.lru_cache(maxsize=4)  # every tab of the page needs them
def _predictions_in(table: Path, classes: tuple[str, ...], _: object) -> AnsweredImages:
    return read_predictions(table, None, classes=classes)


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
