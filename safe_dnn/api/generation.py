"""Steps 1 to 4 in an output folder: from failing images to RCCs with GIFs and profiles, and from the improvement images
to the unsafe set. Earlier runs stay, and can be restored. If image folders were moved, the analysis records once where
they are now.
"""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.failure_prediction import FailurePrediction, predict_failures, predict_failures_from_tables
from safe_dnn.dnn.failures import load_failures
from safe_dnn.dnn.group_columns import hold_out_record
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.FE import extract_features
from safe_dnn.features.attributes import measured_images
from safe_dnn.features.extractor import Extractor
from safe_dnn.features.own import own_extractor
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.options import (
    ClusteringSettings,
    Likely,
    SelectionSettings,
    values_of,
)
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint, load_clusters, run_record, save_clusters
from safe_dnn.rccs.gifs import write_gifs
from safe_dnn.rccs.parameters import FULL_IMAGE, find_parameters, read_parameters, read_texts
from safe_dnn.rccs.review.journal import title
from safe_dnn.rccs.review.review import Review, load_review, rccs_marked_safe
from safe_dnn.rccs.unsafe_set import (
    FILENAMES_FILE,
    UNSAFE_IMAGES_FILE,
    UNSAFE_SET_FILE,
    UnsafeSet,
    full_images_text,
    load_unsafe_set,
    save_unsafe_set,
)
from safe_dnn.reasons.comparison import right_images
from safe_dnn.reasons.known_groups import KnownGroups, group_names, named_groups
from safe_dnn.reasons.nuisances import Fit, what_is_set_aside
from safe_dnn.reasons.run_record import (
    answers_of_run,
    describe_rccs,
    known_answers,
    lost_notes,
    with_answers,
    without_held_out,
)
from safe_dnn.report.exports import SHOWN, show_present, show_unsafe_set
from safe_dnn.selection import select_unsafe_set, wanted_images
from safe_dnn.store.output_folder import Writer, check_own, working, writing
from safe_dnn.store.places import point
from safe_dnn.store.runs import CLUSTERS, SELECTION, open_clusters, present_runs, runs_of
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images, in_common
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE
from safe_dnn.support.text import count, printable, some
from safe_dnn.training.earlier import kept_copy, learned_files
from safe_dnn.training.labels import take_typed_labels

LOOKED_AT = 100  # images of a folder, whose content is compared


DEFAULTS = ClusteringSettings()


def generate_clusters(images: StrPath, out: Path, settings: ClusteringSettings = DEFAULTS) -> RootCauseClusters:
    """Steps 1 and 2: extract features, cluster them, draw the GIFs; write everything to the folder `out`.

    Parameters
    ----------

    Raises
    ------
    SAFEError
        Images, weights, parameters or predictions cannot be used, or the folder cannot be written to.
    """
    prepare_folder(out)
    with working(out, "clustering"):
        check_own(out, *SHOWN)
        take_typed_labels(out)  # the table goes with the unsafe set
        _previous(out)  # entries that cannot be read are an error before the long work
        extractor, tested, groups, aside, known = _read_before(images, settings)
        features = extract_features(images, extractor)
        nuisance, right = None, None
        if aside:
            nuisance, known["set_aside"] = aside(features)
        if settings.reducer == "auto" and tested and not aside:
            with contextlib.suppress(SAFEError):  # the comparison says it, after the RCCs are there
                right = right_images(tested, features, groups)
        clusters = find_root_cause_clusters(
            features, reducer=settings.reducer, weights=settings.features or settings.weights, nuisance=nuisance,
            right=right,
        )  # fmt: skip
        if tested:
            clusters, answered = with_answers(clusters, tested, specified=bool(settings.answers.predictions))
            known = answered | known
        attributes = measured_images(clusters.image_root, clusters.paths)
        clusters = dataclasses.replace(clusters, attributes=attributes)
        edited = load_review(out, original=clusters).clusters
        write_gifs(edited, out)
        _, record = describe_rccs(edited, parameters=settings.parameters)
        previous, review = _previous(out), load_review(out, original=clusters)
        # If the run is the same again, so is the sentence on the notes that it did not take over.
        same = previous is not None and previous.run == review.run
        lost = lost_notes(out) if same else _lost_notes(previous, review)
        record |= known | {"left_behind": lost, "settings": values_of(settings)}
        save_clusters(clusters, out, extra=record)
        show_present(out)
        return load_review(out).clusters


def _read_before(
    images: StrPath, settings: ClusteringSettings
) -> tuple[Extractor, AnsweredImages | None, KnownGroups | None, Fit | None, dict[str, object]]:
    """What an engineer may have to put right: a SAFEError comes before the long work. Last, what `run.json` says."""
    listing, parameters = find_images(images), settings.parameters
    if parameters:
        read_parameters(parameters, listing.root, listing.paths, partial=settings.answers.partial)
    tested, known = known_answers(settings.answers, listing.root)
    extractor = _extractor(settings)
    group, table = settings.answers.group or group_names(hold_out_record(listing.root)), parameters and Path(parameters)
    known |= {"group": list(group)} if group else {}
    groups = named_groups(group, tested, parameters=table or None) if tested else None
    aside = what_is_set_aside(settings.set_aside, listing, tested, parameters=parameters)
    return extractor, tested, groups, aside, known


def _extractor(settings: ClusteringSettings) -> Extractor:
    name = settings.extractor
    if not settings.features:
        return choose_extractor(name, weights=settings.weights, precision=settings.precision)
    if name != "auto":
        raise SAFEError(
            f"Expected features in a file or those of an extractor. Received both: {settings.features} and {name}."
        ).about("features", "extractor")
    return own_extractor(settings.features)


def _lost_notes(previous: Review | None, review: Review) -> str:
    """A sentence on notes about RCCs that no longer exist; empty if there are none."""
    if previous is None:
        return ""
    there = {*review.subjects.values()}
    lost = [note for rcc, note in previous.notes.items() if previous.subjects[rcc] not in there]
    if not lost:
        return ""
    titles = some((title(note.about, {note.about: note}) for note in lost), limit=3)
    return (
        f"Notes on {count(len(lost), 'RCC')} of the previous run do not apply to the new RCCs ({titles}). They "
        "are kept with that run under Earlier runs, and are restored when the same images form an RCC again."
    )


def _previous(out: Path) -> Review | None:
    """The run that a new one replaces; None if there is none or it cannot be read."""
    try:
        clusters = load_clusters(out)
    except SAFEError:
        return None
    return load_review(out, original=clusters)


def restore_run(out: Path, number: int) -> RootCauseClusters:
    """Make earlier clusters the present ones, with all that rests on them.

    Later notes on the same images and conditions, and labels, stay valid. To be followed by `show_present`.

    Returns
    -------
    RootCauseClusters
        With the engineer's edits applied.

    Raises
    ------
    SAFEError
        They do not exist or are damaged, other work is in progress in the folder, or a file in it that would show
        them belongs to somebody else.
    """
    with working(out, "opening an earlier run"):
        run = next((run for run in runs_of(out, CLUSTERS) if run.number == number), None)
        if run is None:
            raise SAFEError(f"Expected the number of a run with clusters in {out}. Received: {number}.")
        review = load_review(out, original=load_clusters(out, run))  # damaged ones must not replace intact ones
        if run != present_runs(out).get(CLUSTERS):
            check_own(out, *SHOWN)
            take_typed_labels(out)
            open_clusters(out, run.number)
        return review.clusters


class _Images(NamedTuple):
    """Images of an analysis in one folder: what they are, and which of some differ in another folder."""

    what: str
    root: Path
    paths: Sequence[str]
    differing: Callable[[Path, Sequence[str]], Sequence[str]]


def missing_folder(out: Path) -> Path | None:
    """The folder that is no longer there of those that images of an analysis lie in, or the one around several."""
    gone = [images.root for images in _image_folders(out) if not images.root.is_dir()]
    around = Path(os.path.commonpath(gone)) if gone else None
    return gone[0] if around and around.is_dir() else around


def moved_around(old: Path, new: Path) -> tuple[Path, Path]:
    """The outermost folders that were moved: what lay beside the images, as a table of parameters, has moved along."""
    while old.name == new.name and not old.parent.is_dir():
        old, new = old.parent, new.parent
    return old, new


def take_new_place(out: Path, old: Path, new: Path) -> list[str]:
    """Record that what lay in a folder lies in another one by now; a sentence on the images of each kind found there.

    What could not be described without it is described again.

    Up to `LOOKED_AT` images of each kind are compared by what they show, or byte by byte with SAFE's own copies;
    improvement images by their names alone.

    Raises
    ------
    SAFEError
        No images of the analysis are missing there, or the new folder holds others.
    """
    folders = _image_folders(out)
    moved = [images for images in folders if images.root.is_relative_to(old) and not images.root.is_dir()]
    if not moved:
        missing = sorted({str(images.root) for images in folders if not images.root.is_dir()})
        raise SAFEError(
            f"Expected a folder with images of this analysis that is no longer there: "
            f"{printable(some(missing)) or 'none is missing'}. Received {old}."
        )
    for images in moved:
        place = new / images.root.relative_to(old)
        step = max(1, -(-len(images.paths) // LOOKED_AT))
        lacking = [path for path in images.paths if not (place / path).is_file()]
        differing = lacking or images.differing(place, images.paths[::step])
        if differing:
            raise SAFEError(
                f"Expected the {images.what} of {images.root} in {place}. Received "
                f"{count(len(differing), 'image')} that {'are missing' if lacking else 'show something else'}, such as "
                f"{printable(differing[0])}. Name the folder in which they lie now."
            )
    with writing(out):
        point(out, old, new)
    if CLUSTERS in present_runs(out):
        show_present(out)
    return [f"{count(len(images.paths), images.what.removesuffix('s'))} found" for images in moved]


def _image_folders(out: Path) -> list[_Images]:
    runs, sets = present_runs(out), []
    if CLUSTERS in runs:
        clusters = load_clusters(out)
        differing = functools.partial(_looking_otherwise, clusters)
        sets.append(_Images("failing images", clusters.image_root, clusters.paths, differing))
    if SELECTION in runs:
        unsafe = load_unsafe_set(out)
        sets.append(_Images("improvement images", unsafe.improvement_root, unsafe.paths, lambda *_: []))
    failures = load_failures(out) if (out / FAILURES_FILE).is_file() else None
    if failures and failures.has_images:
        sets.append(_Images("test images", failures.root, failures.failing, functools.partial(_not_as_copied, out)))
    return sets


def _looking_otherwise(clusters: RootCauseClusters, root: Path, paths: Sequence[str]) -> list[str]:
    if clusters.attributes is None:
        return []
    known = clusters.attributes[np.isin(clusters.paths, paths)]
    same = np.isclose(measured_images(root, paths), known, equal_nan=True).all(axis=1)
    return [path for path, as_known in zip(paths, same.tolist(), strict=True) if not as_known]


def _not_as_copied(out: Path, root: Path, paths: Sequence[str]) -> list[str]:
    copies = {path: out / FAILURES / path for path in paths}
    return [p for p, copy in copies.items() if copy.is_file() and copy.read_bytes() != (root / p).read_bytes()]


UNKNOWN = Likely()


def select_images(
    improvement: StrPath, out: Path, settings: SelectionSettings, *, likely: Likely = UNKNOWN
) -> UnsafeSet:
    """Steps 3 and 4: select the unsafe set for the RCCs in the folder `out`, with the engineer's edits; write it there.

    If the settings have neither the accuracy on the test set nor the number of images, the accuracy is that of the
    model if it is given, or else of the predictions that the clusters were found with.

    Parameters
    ----------
    likely : Likely
        If it is given, half of each RCC's images are chosen among those that the DNN is likely to get wrong.

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
        prediction = _prediction(likely, improvement, out, review.original)
        if not known:
            settings = _with_accuracy(settings, prediction, out, review.original)
        settings = settings._replace(learned={*settings.learned, *learned_files(out)})
        likely_wrong = prediction.of if prediction else None
        unsafe = select_unsafe_set(improvement, review.clusters, settings, likely_wrong=likely_wrong)
        notes = [*unsafe.notes, *(prediction.notes if prediction else ())]
        extra_files: dict[str, Writer] = {}
        try:
            if sources := _full_images(unsafe):
                extra_files[UNSAFE_IMAGES_FILE], n_full = full_images_text(unsafe.images, sources)
                notes.append(f"they are parts of {count(n_full, 'full image')} ({UNSAFE_IMAGES_FILE})")
        except SAFEError as error:
            notes.append(f"whether they are parts of full images is unknown: {error}")
        if n_tested := _of_the_test(unsafe, out, review.original):
            which = f"{count(n_tested, 'test image')} among the selected images, by content"
            notes.append(f"{which}: a network cannot be tested with images that it learns")
        chosen_by = prediction.source if prediction else None
        unsafe = dataclasses.replace(unsafe, run=fingerprint(review.original), model=chosen_by, notes=tuple(notes))
        unsafe = save_unsafe_set(unsafe, out, extra_files=extra_files)
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
    likely: Likely, improvement: StrPath, out: Path, clusters: RootCauseClusters,
) -> FailurePrediction | None:  # fmt: skip
    """Where the DNN is likely wrong; None if nothing is given to predict it from."""
    table, partial = likely.improvement_predictions, likely.loading.partial
    if table:
        tested = _tested_with(likely, out, clusters)
        return predict_failures_from_tables(tested, table, improvement, partial=partial)
    if not likely.model or not likely.test:
        return None
    find_images(improvement)  # refused before the model is run
    model, failing = kept_copy(likely.model), clusters.image_root
    return predict_failures(model, likely.test, options=likely.loading, failing=failing)


def _with_accuracy(
    settings: SelectionSettings, prediction: FailurePrediction | None, out: Path, clusters: RootCauseClusters,
) -> SelectionSettings:  # fmt: skip
    """The settings with the accuracy on the test set, by the model or when the clusters were found, if it is known."""
    accuracy, size = None, None
    if prediction:
        accuracy, size = prediction.accuracy, len(prediction.wrong)
    else:
        with contextlib.suppress(SAFEError):  # the engineer is asked for the accuracy instead
            tested = answers_of_run(out, clusters)
            if tested and tested.paths:
                accuracy, size = tested.accuracy, len(tested.paths)
    given = settings.test_size
    return settings._replace(test_accuracy=accuracy, test_size=size if given is None else given)


def _full_images(unsafe: UnsafeSet) -> dict[str, str]:
    """The whole image that each image of the set is a part of, if the table of their parameters has it."""
    root, table = unsafe.improvement_root, find_parameters(unsafe.improvement_root)
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


def _tested_with(likely: Likely, out: Path, clusters: RootCauseClusters) -> AnsweredImages:
    """The DNN's answers to its test set, as given or as the clusters were found with."""
    if likely.predictions and likely.test:
        tested = read_predictions(likely.predictions, likely.test, partial=likely.loading.partial)
        return without_held_out(tested, clusters.image_root)
    known = answers_of_run(out, clusters)
    if known is None:
        raise SAFEError(
            "Expected the answers to the test set, to predict which other images are likely wrong. Received none, and "
            f"the clusters in {out} were found without. Give the table and its folder."
        ).about("predictions", "test")
    return known
