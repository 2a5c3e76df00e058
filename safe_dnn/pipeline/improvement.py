"""Steps 3 and 4 in an output folder: from the improvement images to the unsafe set."""

import contextlib
import dataclasses
import functools
import os
from pathlib import Path
from typing import NamedTuple

from safe_dnn.dnn.detection.detector_failures import sources_of
from safe_dnn.dnn.detection.seen_objects import unsafe_images_text
from safe_dnn.dnn.failure_prediction import FailurePrediction, predict_failures, predict_failures_from_tables
from safe_dnn.dnn.held_out import held_out_of
from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.features.batches import Stream
from safe_dnn.pipeline.descriptions import show_unsafe_set
from safe_dnn.pipeline.run_answers import answers_of_run, without_held_out
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, load_clusters, run_record
from safe_dnn.rccs.failure_rounds import beside
from safe_dnn.rccs.review.review import load_review, rccs_marked_safe
from safe_dnn.rccs.unsafe_set import FILENAMES_FILE, UNSAFE_IMAGES_FILE, UNSAFE_SET_FILE, UnsafeSet
from safe_dnn.selection import SelectionSettings, select_unsafe_set, wanted_images
from safe_dnn.store.output_folder import Writer, check_own, working
from safe_dnn.support.contents import in_common
from safe_dnn.support.entries import StrPath, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import count
from safe_dnn.training.earlier import kept_copy, learned_files
from safe_dnn.training.labels import replace_unsafe_set, take_typed_labels


class AnswerTables(NamedTuple):
    """Tables of a DNN's probabilities, for `select_images`, in place of the DNN.

    Attributes
    ----------
    improvement : path
        As `table` of `dnn.failure_prediction.predict_failures_from_tables`.
    tested : path, optional
        As for `dnn.tested.read_predictions`; by default the predictions that the clusters were found with.
    partial : bool
        Whether they may be about a part of the images (see `support.matching.check_matched`).
    """

    improvement: StrPath
    tested: StrPath | None = None
    partial: bool = False


def select_images(
    improvement: StrPath, out: Path, settings: SelectionSettings, *, leave_out_safe: bool = False,
    within: Path | None = None, model: StrPath | None = None, test: StrPath | None = None,
    options: DnnOptions = AS_IN_THE_FILE, tables: AnswerTables | None = None, weights: StrPath | None = None,
    stream: Stream | None = None, progress: Progress = no_progress,
) -> UnsafeSet:  # fmt: skip
    """Steps 3 and 4: select the unsafe set for the RCCs in the folder `out`, with the engineer's edits; write it there.

    If the settings have neither the accuracy on the test set nor the number of images, the accuracy is that of the
    model if it is given, or else of the predictions that the clusters were found with.

    Parameters
    ----------
    leave_out_safe : bool
        Select no images for RCCs that the engineer has judged safe.
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
        Only one of the model and its test set is given, or a model and tables.
    """
    _check_likely_sources(model, test, tables)
    review = load_review(out)
    sources = sources_of(path_of(improvement, "an improvement folder"), within=within)
    with working(out, "selecting"):
        check_own(out, FILENAMES_FILE, UNSAFE_SET_FILE, *([UNSAFE_IMAGES_FILE] if sources else []))
        take_typed_labels(out)  # what is in a table that is about to be replaced; a damaged one is refused
        if leave_out_safe:
            settings = settings._replace(leave_out=rccs_marked_safe(out))
        known = settings.test_accuracy is not None or settings.size is not None
        if known:
            wanted_images(settings, len(review.original.paths))  # refused before the model is run
        prediction = None
        if tables:
            prediction = predict_failures_from_tables(
                _tested_with(tables, test, out, within), tables.improvement, improvement, partial=tables.partial
            )
        elif model and test:
            find_images(improvement)  # refused before the model is run
            model = kept_copy(model, out)
            held_out = held_out_of(review.original.image_root, within=within)
            prediction = predict_failures(model, test, options=options, held_out=held_out, progress=progress)
        if not known:
            accuracy, n = _known_accuracy(prediction, out, review.original, within)
            size = n if settings.test_size is None else settings.test_size
            settings = settings._replace(test_accuracy=accuracy, test_size=size)
        unsafe = select_unsafe_set(
            improvement, review.clusters, settings, weights=weights, stream=stream, progress=progress, within=within,
            likely_wrong=functools.partial(prediction.of, progress=progress) if prediction else None,
            learned=learned_files(out),
        )  # fmt: skip
        notes = [*unsafe.notes, *(prediction.notes if prediction else ())]
        more: dict[str, Writer] = {}
        if sources:
            more[UNSAFE_IMAGES_FILE], n_whole = unsafe_images_text(unsafe.images, sources)
            notes.append(f"they are parts of {count(n_whole, 'whole image')} ({UNSAFE_IMAGES_FILE})")
        if n_tested := _of_the_test(unsafe, out, review.original):
            which = "they are" if n_tested == len(unsafe.images) else f"{n_tested:,} of them are"
            notes.append(f"{which} test images, by content: a network that learns them cannot be tested with them")
        chosen_by = os.fspath(prediction.source) if prediction else unsafe.model
        unsafe = dataclasses.replace(unsafe, run=fingerprint(review.original), model=chosen_by, notes=tuple(notes))
        unsafe = replace_unsafe_set(unsafe, out, more=more)
        show_unsafe_set(out)
        return unsafe


def _check_likely_sources(model: StrPath | None, test: StrPath | None, tables: AnswerTables | None) -> None:
    """Make sure that what likely errors are predicted from is complete, and given once."""
    if tables and model:
        raise SAFEError(f"Expected a model or tables of its answers. Received both: {model} and {tables.improvement}.")
    source, what = (tables.tested, "the table of the answers to the test set") if tables else (model, "a model")
    if bool(source) != bool(test):
        received = f"{'the table' if tables else 'the model'}, {source}" if source else f"the test folder, {test}"
        raise SAFEError(
            f"Expected {what} and the test folder, or neither of them. Received only {received}. Give both, to predict "
            "which images are likely wrong."
        )


def _known_accuracy(
    prediction: FailurePrediction | None, out: Path, clusters: RootCauseClusters, within: Path | None
) -> tuple[float | None, int | None]:
    """The accuracy on the test set and its size, by the model or when the clusters were found; None if not known."""
    if prediction:
        return prediction.accuracy, len(prediction.wrong)
    with contextlib.suppress(SAFEError):  # the engineer is asked for the accuracy instead
        tested = answers_of_run(out, clusters, within)
        if tested and tested.paths:
            return tested.accuracy, len(tested.paths)
    return None, None


def _of_the_test(unsafe: UnsafeSet, out: Path, clusters: RootCauseClusters) -> int:
    """How many images of the unsafe set have the content of a test image; of a failing one, where no other is known."""
    files = [clusters.image_root / path for path in clusters.paths]
    if tested := run_record(out).get("predictions", {}).get("tested"):
        root = beside(tested, clusters.image_root)
        with contextlib.suppress(SAFEError):  # it is gone
            files += [root / path for path in find_images(root).paths]
    return int(in_common(unsafe.files, files).sum())


def _tested_with(tables: AnswerTables, test: StrPath | None, out: Path, within: Path | None) -> AnsweredImages:
    """The DNN's answers to its test set, as given or as the clusters were found with."""
    clusters = load_clusters(out)
    if tables.tested and test:
        tested = read_predictions(tables.tested, test, partial=tables.partial)
        return without_held_out(tested, clusters.image_root, within)
    known = answers_of_run(out, clusters, within)
    if known is None:
        raise SAFEError(
            "Expected the answers to the test set, to predict which other images are likely wrong. Received none, and "
            f"the clusters in {out} were found without. Give the table (--predictions) and its folder (--test)."
        )
    return known
