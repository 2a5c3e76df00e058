"""Steps 3 and 4 in an output folder: from the improvement images to the unsafe set."""

import contextlib
import dataclasses
import functools
import re
from pathlib import Path
from typing import NamedTuple

from safe_dnn.dnn.failure_prediction import FailurePrediction, predict_failures, predict_failures_from_tables
from safe_dnn.dnn.held_out import held_out_of
from safe_dnn.dnn.model import AS_IN_THE_FILE, DnnOptions
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.features.batches import Stream
from safe_dnn.pipeline.descriptions import show_unsafe_set
from safe_dnn.pipeline.run_record import answers_of_run, without_held_out
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, run_record
from safe_dnn.rccs.parameters import find_parameters, read_texts
from safe_dnn.rccs.review.review import load_review, rccs_marked_safe
from safe_dnn.rccs.unsafe_set import (
    FILENAMES_FILE,
    FULL_IMAGE,
    UNSAFE_IMAGES_FILE,
    UNSAFE_SET_FILE,
    UnsafeSet,
    full_images_text,
    save_unsafe_set,
)
from safe_dnn.selection import SelectionSettings, select_unsafe_set, wanted_images
from safe_dnn.store.output_folder import Writer, check_own, working
from safe_dnn.support.contents import in_common
from safe_dnn.support.entries import StrPath
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import count
from safe_dnn.training.earlier import kept_copy, learned_files
from safe_dnn.training.labels import take_typed_labels


class Likely(NamedTuple):
    """What the images that a DNN is likely to get wrong are predicted from: the DNN, or tables of its probabilities.

    Attributes
    ----------
    model : path, optional
        As for `dnn.failure_prediction.predict_failures`.
    test : path, optional
        The test set of the model or, if it is given, of the table `predictions`.
    improvement_predictions : path, optional
        In place of the model, as `table` of `dnn.failure_prediction.predict_failures_from_tables`.
    predictions : path, optional
        As for `dnn.tested.read_predictions`; by default the predictions that the clusters were found with.
    loading : DnnOptions
        `partial` is about the tables.
    """

    model: StrPath | None = None
    test: StrPath | None = None
    improvement_predictions: StrPath | None = None
    predictions: StrPath | None = None
    loading: DnnOptions = AS_IN_THE_FILE


UNKNOWN = Likely()


def select_images(
    improvement: StrPath, out: Path, settings: SelectionSettings, *, likely: Likely = UNKNOWN,
    within: Path | None = None, stream: Stream | None = None, progress: Progress = no_progress,
) -> UnsafeSet:  # fmt: skip
    """Steps 3 and 4: select the unsafe set for the RCCs in the folder `out`, with the engineer's edits; write it there.

    If the settings have neither the accuracy on the test set nor the number of images, the accuracy is that of the
    model if it is given, or else of the predictions that the clusters were found with.

    Parameters
    ----------
    likely : Likely
        If it is given, half of each RCC's images are chosen among those that the DNN is likely to get wrong.
    within : path, optional
        A table of the improvement images' parameters is only read inside this folder.
    stream
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        Only one of the model and its test set is given, or a model and tables.
    """
    _check_likely(likely)
    review = load_review(out)
    with working(out, "selecting"):
        check_own(out, FILENAMES_FILE, UNSAFE_SET_FILE, UNSAFE_IMAGES_FILE)
        take_typed_labels(out)  # what is in a table that is about to be replaced; a damaged one is refused
        if settings.leave_out_safe:
            settings = settings._replace(leave_out={*settings.leave_out, *rccs_marked_safe(out)})
        known = settings.test_accuracy is not None or settings.size is not None
        if known:
            wanted_images(settings, len(review.original.paths))  # refused before the model is run
        prediction = _prediction(likely, improvement, out, review.original, within, progress)
        if not known:
            settings = _with_accuracy(settings, prediction, out, review.original, within)
        settings = settings._replace(learned={*settings.learned, *learned_files(out)})
        unsafe = select_unsafe_set(
            improvement, review.clusters, settings, stream=stream,
            likely_wrong=functools.partial(prediction.of, progress=progress) if prediction else None, within=within,
            progress=progress,
        )  # fmt: skip
        notes = [*unsafe.notes, *(prediction.notes if prediction else ())]
        more: dict[str, Writer] = {}
        try:
            if sources := _full_images(unsafe, within):
                more[UNSAFE_IMAGES_FILE], n_full = full_images_text(unsafe.images, sources)
                notes.append(f"they are parts of {count(n_full, 'full image')} ({UNSAFE_IMAGES_FILE})")
        except SAFEError as error:
            notes.append(f"whether they are parts of full images is unknown: {error}")
        if n_tested := _of_the_test(unsafe, out, review.original):
            which = "they are" if n_tested == len(unsafe.images) else f"{n_tested:,} of them are"
            notes.append(f"{which} test images, by content: a network that learns them cannot be tested with them")
        chosen_by = prediction.source if prediction else None
        unsafe = dataclasses.replace(unsafe, run=fingerprint(review.original), model=chosen_by, notes=tuple(notes))
        unsafe = save_unsafe_set(unsafe, out, more=more)
        show_unsafe_set(out)
        return unsafe


def _check_likely(likely: Likely) -> None:
    """Make sure that what likely errors are predicted from is complete, and given once."""
    model, test, table, tested, _ = likely
    if tested and not table:
        raise SAFEError(
            "Expected answers to the test images together with those to the improvement images. Received the former."
        ).about("predictions", "improvement_predictions")
    if table and model:
        raise SAFEError(f"Expected a model or tables of its answers. Received both: {model} and {table}.")
    source, what = (tested, "the table of the answers to the test set") if table else (model, "a model")
    if bool(source) != bool(test):
        received = f"{'the table' if table else 'the model'}, {source}" if source else f"the test folder, {test}"
        raise SAFEError(
            f"Expected {what} and the test folder, or neither of them. Received only {received}. Give both, to predict "
            "which images are likely wrong."
        )


def _prediction(
    likely: Likely, improvement: StrPath, out: Path, clusters: RootCauseClusters, within: Path | None,
    progress: Progress,
) -> FailurePrediction | None:  # fmt: skip
    """Where the DNN is likely wrong; None if nothing is given to predict it from."""
    table, partial = likely.improvement_predictions, likely.loading.partial
    if table:
        tested = _tested_with(likely, out, clusters, within)
        return predict_failures_from_tables(tested, table, improvement, partial=partial)
    if not likely.model or not likely.test:
        return None
    find_images(improvement)  # refused before the model is run
    model, held_out = kept_copy(likely.model), held_out_of(clusters.image_root, within=within)
    return predict_failures(model, likely.test, options=likely.loading, held_out=held_out, progress=progress)


def _with_accuracy(
    settings: SelectionSettings, prediction: FailurePrediction | None, out: Path, clusters: RootCauseClusters,
    within: Path | None,
) -> SelectionSettings:  # fmt: skip
    """The settings with the accuracy on the test set, by the model or when the clusters were found, if it is known."""
    accuracy, size = None, None
    if prediction:
        accuracy, size = prediction.accuracy, len(prediction.wrong)
    else:
        with contextlib.suppress(SAFEError):  # the engineer is asked for the accuracy instead
            tested = answers_of_run(out, clusters, within)
            if tested and tested.paths:
                accuracy, size = tested.accuracy, len(tested.paths)
    given = settings.test_size
    return settings._replace(test_accuracy=accuracy, test_size=size if given is None else given)


def _full_images(unsafe: UnsafeSet, within: Path | None) -> dict[str, str]:
    """The image of which each image of the set is a part, if the table of their parameters says so."""
    root, table = unsafe.improvement_root, find_parameters(unsafe.improvement_root, within=within)
    texts = read_texts(table, root, unsafe.paths, re.compile(FULL_IMAGE)).get(FULL_IMAGE) if table else None
    return dict(zip(unsafe.paths, texts, strict=True)) if texts else {}


def _of_the_test(unsafe: UnsafeSet, out: Path, clusters: RootCauseClusters) -> int:
    """How many images of the unsafe set have the content of a test image; of a failing one, where no other is known."""
    files = [clusters.image_root / path for path in clusters.paths]
    if tested := run_record(out).get("predictions", {}).get("tested"):
        root = Path(tested)
        with contextlib.suppress(SAFEError):  # it is gone
            files += [root / path for path in find_images(root).paths]
    return int(in_common(unsafe.files, files).sum())


def _tested_with(likely: Likely, out: Path, clusters: RootCauseClusters, within: Path | None) -> AnsweredImages:
    """The DNN's answers to its test set, as given or as the clusters were found with."""
    if likely.predictions and likely.test:
        tested = read_predictions(likely.predictions, likely.test, partial=likely.loading.partial)
        return without_held_out(tested, clusters.image_root, within)
    known = answers_of_run(out, clusters, within)
    if known is None:
        raise SAFEError(
            "Expected the answers to the test set, to predict which other images are likely wrong. Received none, and "
            f"the clusters in {out} were found without. Give the table and its folder."
        ).about("predictions", "test")
    return known
