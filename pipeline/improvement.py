"""Steps 3 and 4 in an output folder: from the improvement images to the unsafe set."""

import contextlib
import dataclasses
import functools
import os
from pathlib import Path
from typing import NamedTuple

from dnn.detector_failures import sources_of
from dnn.failure_prediction import predict_failures, predict_failures_from_tables
from dnn.model import AS_IN_THE_FILE, DnnOptions
from dnn.seen_objects import unsafe_images_text
from dnn.tested import AnsweredImages, read_predictions
from features.batches import Stream
from pipeline.answers import answers_of_run
from rccs.clusters import RootCauseClusters, fingerprint, load_clusters
from rccs.review import load_review, rccs_marked_safe
from rccs.spot_candidates import SpotsSought
from rccs.unsafe_set import UnsafeSet
from reasons import load_reasons
from selection import SelectionSettings, select_unsafe_set
from support.entries import path_of
from support.errors import SAFEError
from support.output_folder import check_own, save_files, working
from support.progress import Progress, no_progress
from support.run_folder import FILENAMES_FILE, SELECTION_FILE, UNSAFE_IMAGES_FILE, UNSAFE_SET_FILE
from support.text import count
from training.labels import replace_unsafe_set


class AnswerTables(NamedTuple):
    """Tables of a DNN's probabilities, for `select_images`, in place of the DNN.

    Attributes
    ----------
    improvement : path
        As `table` of `dnn.failure_prediction.predict_failures_from_tables`.
    tested : path, optional
        As for `dnn.tested.read_predictions`; by default the predictions that the clusters were found with.
    """

    improvement: str | os.PathLike
    tested: str | os.PathLike | None = None


def select_images(
    improvement: str | os.PathLike,
    out: Path,
    settings: SelectionSettings,
    *,
    leave_out_safe: bool = False,
    reasons: bool = False,
    within: Path | None = None,
    model: str | os.PathLike | None = None,
    test: str | os.PathLike | None = None,
    options: DnnOptions = AS_IN_THE_FILE,
    tables: AnswerTables | None = None,
    weights: str | os.PathLike | None = None,
    stream: Stream | None = None,
    progress: Progress = no_progress,
) -> UnsafeSet:
    """Steps 3 and 4: select the unsafe set for the RCCs in the folder `out`, with the engineer's edits; write it there.

    If the settings have neither the accuracy on the test set nor the number of images, the accuracy is that of the
    model if it is given, or else of the predictions that the clusters were found with.

    Parameters
    ----------
    leave_out_safe : bool
        Select no images for RCCs that the engineer has judged safe.
    reasons : bool
        Select half of the images by weak spots instead of RCCs (see `rccs/spot_candidates.py`).
    within : path, optional
        A table of the improvement images' parameters is only read inside this folder.
    model, test, options
        As for `dnn.failure_prediction.predict_failures`. If both are given, half of each RCC's images are chosen among
        those that the model is likely to get wrong.
    tables : AnswerTables, optional
        In place of the model; `test` is then the folder of the test images, if their table is given.
    weights, stream
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        Only one of the model and its test set is given, or a model and tables, or images are to be selected by weak
        spots, and there are none.
    """
    _check_likely_sources(model, test, tables)
    review = load_review(out)
    sources = sources_of(path_of(improvement, "an improvement folder"), within=within)
    with working(out, "selecting"):
        check_own(out, FILENAMES_FILE, UNSAFE_SET_FILE, SELECTION_FILE, *([UNSAFE_IMAGES_FILE] if sources else []))
        if leave_out_safe:
            settings = settings._replace(leave_out=rccs_marked_safe(out))
        sought = _spots_sought(out, review.original, within) if reasons else None
        prediction = None
        if tables:
            prediction = predict_failures_from_tables(
                _tested_with(tables, test, out, within), tables.improvement, improvement
            )
        elif model and test:
            prediction = predict_failures(model, test, options=options, progress=progress)
        if settings.test_accuracy is None and settings.size is None:
            known = (
                (prediction.accuracy, len(prediction.wrong))
                if prediction
                else _accuracy_of_run(out, review.original, within)
            )
            if known:
                accuracy, tested = known
                test_size = tested if settings.test_size is None else settings.test_size
                settings = settings._replace(test_accuracy=accuracy, test_size=test_size)
        if sought and prediction:
            sought = sought._replace(predict=prediction.predicted)
        unsafe = select_unsafe_set(
            improvement, review.clusters, settings, weights=weights, stream=stream, progress=progress, sought=sought,
            within=within,
            likely_wrong=functools.partial(prediction.of, progress=progress) if prediction else None,
        )  # fmt: skip
        table, n_whole = unsafe_images_text(unsafe.images, sources)
        if sources:
            whole = f"they are parts of {count(n_whole, 'whole image')} ({UNSAFE_IMAGES_FILE})"
            unsafe = dataclasses.replace(unsafe, notes=(*unsafe.notes, whole))
        unsafe = dataclasses.replace(unsafe, run=fingerprint(review.original))
        if prediction:
            notes = (*unsafe.notes, *prediction.notes)
            unsafe = dataclasses.replace(unsafe, model=os.fspath(prediction.source), notes=notes)
        unsafe = replace_unsafe_set(unsafe, out)
        save_files(out, {UNSAFE_IMAGES_FILE: table} if sources else {}, remove=[UNSAFE_IMAGES_FILE])
        return unsafe


def _check_likely_sources(
    model: str | os.PathLike | None, test: str | os.PathLike | None, tables: AnswerTables | None
) -> None:
    """Make sure that what likely errors are predicted from is complete, and given once."""
    if tables is None:
        if bool(model) != bool(test):
            raise SAFEError(
                "Expected a model and its test folder, to predict which images the model gets wrong, or neither of "
                f"them. Received only the {f'model, {model}' if model else f'test folder, {test}'}."
            )
    elif model:
        raise SAFEError(f"Expected a model or tables of its answers. Received both: {model} and {tables.improvement}.")
    elif bool(tables.tested) != bool(test):
        raise SAFEError(
            "Expected the table of the answers to the test set and the test folder, or neither of them, to use what "
            f"the clusters were found with. Received only {tables.tested or test}."
        )


def _accuracy_of_run(out: Path, clusters: RootCauseClusters, within: Path | None) -> tuple[float, int] | None:
    """The accuracy on the test set when the clusters were found, and the size of the set; None if not known."""
    with contextlib.suppress(SAFEError):  # the engineer is asked for the accuracy instead
        tested = answers_of_run(out, clusters, within)
        if tested is not None and tested.paths:
            return 1 - tested.failure_rate, len(tested.paths)
    return None


def _tested_with(
    tables: AnswerTables, test: str | os.PathLike | None, out: Path, within: Path | None
) -> AnsweredImages:
    """The DNN's answers to its test set, as given or as the clusters were found with."""
    if tables.tested and test:
        return read_predictions(tables.tested, test)
    tested = answers_of_run(out, load_clusters(out), within)
    if tested is None:
        raise SAFEError(
            "Expected the answers to the test set, to predict which other images are likely wrong. Received none, and "
            f"the clusters in {out} were found without. Give the table (--predictions) and its folder (--test)."
        )
    return tested


def _spots_sought(out: Path, clusters: RootCauseClusters, within: Path | None) -> SpotsSought:
    """The weak spots of the clusters in a folder, as they were found; a SAFEError if there are none."""
    reasons = load_reasons(out, clusters)
    if reasons.spots:
        return SpotsSought(reasons.spots, reasons.images, within=within)
    if reasons.base:  # compared
        raise SAFEError(
            f"Expected weak spots to select images by. Received none in {out}: no condition on the test images stands "
            "out. Select without weak spots."
        )
    raise SAFEError(
        f"Expected weak spots to select images by. Received none in {out}: they are found where the network's answers "
        "to its test set are known. Generate the clusters with predictions, or select without weak spots."
    )
