"""The steps of SAFE put together: what the page and the command line run, and the summaries that they show.

`generate_clusters` runs steps 1 and 2, `select_images` steps 3 and 4; steps 5 and 6 are `retrain.retrain`.
`explain_failures` compares the RCCs with what the DNN gets right. `export_results` copies their images to folders.
"""

import dataclasses
import functools
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from dnn.detector_failures import sources_of
from dnn.failure_prediction import predict_failures, predict_failures_from_tables
from dnn.failures import DETECTION, Failures
from dnn.model import AS_IN_THE_FILE, DnnOptions
from dnn.predictions import class_folders
from dnn.seen_objects import unsafe_images_text
from dnn.tested import AnsweredImages, find_predictions, read_predictions
from FE import extract_features
from features.attributes import measured_images
from features.batches import Stream
from features.weights import choose_extractor
from looks import check_answers, looks_alone, looks_offer, looks_record, right_images
from nuisances import Offer, fit_nuisance, nuisance_offer, nuisance_values
from rccs.clusters import RootCauseClusters, explained_percent, fingerprint, headline, load_clusters
from rccs.confidence import loose_text, no_steady_groups, why_unknown
from rccs.gifs import gif_notes, gif_shows, write_gifs, write_spot_gifs
from rccs.notes import title
from rccs.parameters import find_parameters, read_parameters
from rccs.profiles import REFERENCE, Profile, known_ranges, profile_clusters, profiles_text
from rccs.rates import rates_text
from rccs.review import Carried, Review, carry_over, load_review, mend_labels, rccs_marked_safe, reviewed, save_run
from rccs.rounds import beside
from rccs.spot_candidates import SpotsSought
from rccs.unsafe_set import UnsafeSet, load_unsafe_set
from reasons import Reasons, compare_with_right, known_of, load_reasons, reasons_files, reasons_of, weak_spots_of
from reporting.export import Export, check_target, export_rccs, export_zip
from reporting.history import archive_run, earlier_reviews
from reporting.labelled import check_labelled, export_labelled
from reporting.report import report_html
from selection import SelectionSettings, select_unsafe_set
from similar_images import IMPROVEMENT, OtherImages, gather_improvement, gather_right
from support.entries import is_within, path_of
from support.errors import SAFEError
from support.files import prepare_folder, read_record
from support.images import find_images
from support.output_folder import Writer, check_own, own_files, save_files, working, writing
from support.progress import Progress, no_progress
from support.run_folder import (
    CLUSTERS_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    EXPORT_ZIP,
    FILENAMES_FILE,
    FORMS_FILE,
    LABELS_FILE,
    NOTES_FILE,
    PROFILES_FILE,
    RATES_FILE,
    RUN_FILE,
    SELECTION_FILE,
    UNSAFE_IMAGES_FILE,
    UNSAFE_SET_FILE,
    WEAK_SPOTS_FILE,
)
from support.text import count, printable, some
from training.certainty import class_lines, in_words, lost_in_words, right_intervals
from training.labels import (
    AS_LABELLED,
    Labelling,
    label_unsafe_set,
    load_kept_labels,
    replace_unsafe_set,
    save_labels,
    unlabelled,
)
from training.result import Retraining, certainty_of, certainty_of_classes
from training.settings import AIMS
from training.together import trade_off_text

REASONS_FILES = (WEAK_SPOTS_FILE, RATES_FILE, COMPARISON_FILE)


class ClusteringSettings(NamedTuple):
    """How RCCs are generated.

    Attributes
    ----------
    extractor, weights, precision
        As for `features.weights.choose_extractor`.
    reducer : "pca" or "umap"
        As for `clustering.find_root_cause_clusters`.
    parameters : path, optional
        A CSV file of the images' parameters; by default `parameters.csv` in the image folder or beside it, if it
        exists.
    predictions, tested : path, optional
        The DNN's answers to its test set as a CSV file, and the folder of the test images; by default what
        `dnn.failures.find_failures` wrote beside the image folder.
    set_aside : tuple of str
        Recorded parameters, measured attributes or `label` that do not matter: what they explain is removed from the
        features. Or `looks` alone, those that images which the DNN gets right have as well.
    """

    extractor: str = "auto"
    reducer: str = "pca"
    weights: str | os.PathLike | None = None
    precision: str = "auto"
    parameters: str | os.PathLike | None = None
    predictions: str | os.PathLike | None = None
    tested: str | os.PathLike | None = None
    set_aside: tuple[str, ...] = ()


DEFAULTS = ClusteringSettings()


def generate_clusters(
    images: str | os.PathLike,
    out: Path,
    settings: ClusteringSettings = DEFAULTS,
    *,
    within: Path | None = None,
    stream: Stream | None = None,
    progress: Progress = no_progress,
) -> RootCauseClusters:
    """Steps 1 and 2: extract features, cluster them, draw the GIFs; write everything to the folder `out`.

    Parameters
    ----------
    within : path, optional
        A file of parameters that is not given, but found by itself, is only read inside this folder.
    stream : callable, optional
        As for `FE.extract_features`.

    Raises
    ------
    SAFEError
        Images, weights, parameters or predictions cannot be used, or the folder cannot be written to.
    """
    parameters = settings.parameters
    prepare_folder(out)
    with working(out, "clustering"):
        check_own(out, *REASONS_FILES, LABELS_FILE, RUN_FILE, CLUSTERS_FILE, PROFILES_FILE, NOTES_FILE, EDITS_FILE)
        _previous(out)  # notes that cannot be read are an error before the long work, and so are labels and parameters
        if own_files(out, [UNSAFE_SET_FILE]):
            load_kept_labels(out)
        if parameters:
            read_parameters(parameters, Path(), ())
        tested = _given_predictions(settings)
        answered: dict[str, object] = {}
        given = tested is not None
        extractor = choose_extractor(
            settings.extractor, weights=settings.weights, precision=settings.precision, progress=progress
        )
        nuisance, right, aside = None, None, {}
        looks = looks_alone(settings.set_aside)
        if settings.set_aside:
            listing = find_images(images)
            if not given:
                tested, answered = _found_predictions(listing.root, within)
            if looks:
                check_answers(tested)
            else:
                values = nuisance_values(
                    settings.set_aside, listing, tested, parameters=parameters, within=within, progress=progress
                )
        features = extract_features(images, extractor, progress=progress, stream=stream)
        if looks:
            right = right_images(features, tested, stream=stream, progress=progress)
        elif settings.set_aside:
            nuisance, entry = fit_nuisance(values, features, tested, stream=stream, progress=progress)
            aside = {"set_aside": entry}
        clusters = find_root_cause_clusters(
            features,
            reducer=settings.reducer,
            weights=settings.weights,
            nuisance=nuisance,
            right=right,
            progress=progress,
        )
        if right is not None:
            aside = {"set_aside": looks_record(clusters, len(right))}
        if not given and not settings.set_aside:
            tested, answered = _found_predictions(clusters.image_root, within)
        if tested:
            clusters, answered = _answered(clusters, tested, given=given)
        attributes = measured_images(clusters.image_root, clusters.paths, progress=progress)
        clusters = dataclasses.replace(clusters, attributes=attributes)
        edited = reviewed(clusters, _carried(out, clusters).edits)
        write_gifs(edited, out, progress=progress)
        profiles, record = describe_rccs(edited, parameters=parameters, within=within)
        # Read under the same lock as the run is written, to include notes and edits made in the meantime.
        with writing(out):
            carried = _carried(out, clusters)
            previous = _previous(out)
            replaced = archive_run(out, successor=clusters)
            # If the run is the same again, so is the sentence on the notes that it did not take over.
            behind = _left_behind(carried) if replaced or not previous else left_behind(out)
            record |= answered | aside | {"gifs": {"notes": gif_notes(edited)}, "left_behind": behind}
            remove = [PROFILES_FILE, *REASONS_FILES]
            if previous and previous.original.home != clusters.home:
                remove.append(FORMS_FILE)  # the forms name folders and the DNN of other images
            save_run(clusters, carried, out, more=record, files=_profiles_file(profiles), remove=remove)
        if reviewed(clusters, carried.edits).labels.tolist() != edited.labels.tolist():
            return refresh_rccs(out, within=within, progress=progress)
        write_gifs(edited, out)  # an edit in the meantime may have drawn the previous RCCs again
        return edited


def _given_predictions(settings: ClusteringSettings) -> AnsweredImages | None:
    """The predictions that the engineer names; None if there are none.

    Raises
    ------
    SAFEError
        They cannot be read, or only one of the two places is given.
    """
    if not settings.predictions and not settings.tested:
        return None
    if not settings.predictions or not settings.tested:
        given, missing = ("--predictions", "--tested") if settings.predictions else ("--tested", "--predictions")
        raise SAFEError(
            f"Expected the table of predictions (--predictions) and the folder of test images (--tested) together. "
            f"Received {given} without {missing}."
        )
    return read_predictions(settings.predictions, settings.tested)


def _found_predictions(image_root: Path, within: Path | None) -> tuple[AnsweredImages | None, dict[str, object]]:
    """The DNN's answers to its test set, found beside the image folder; or why there are none, for `run.json`.

    Those that cannot be read only cause a note: the clusters do not need them.
    """
    found = find_predictions(image_root)
    if found is None or not all(is_within(path, within) for path in found):
        return None, {}
    try:
        tested = read_predictions(*found)
    except SAFEError as error:
        return None, {"predictions": {"source": os.fspath(found[0]), "notes": [str(error)]}}
    return (tested if _lies_within(tested, within) else None), {}


def _lies_within(tested: AnsweredImages, within: Path | None) -> bool:
    """Whether all test images lie below a folder, all links followed."""
    return within is None or all(is_within(tested.root / path, within) for path in tested.paths)


def _answered(
    clusters: RootCauseClusters, tested: AnsweredImages, *, given: bool
) -> tuple[RootCauseClusters, dict[str, object]]:
    """The clusters with the DNN's answers to their images, and what `run.json` says of the predictions."""
    rows = tested.rows_of(clusters.image_root, clusters.paths)
    notes = [*tested.notes, *filter(None, [tested.one_sided])]
    if (missing := int((rows < 0).sum())) and len(tested.paths):
        notes.append(f"Without a prediction: {missing:,} of {count(len(rows), 'image')}.")
    if contrary := int(tested.right[rows[rows >= 0]].sum()):
        notes.append(f"Right according to the predictions: {contrary:,} of {count(len(rows), 'image')}.")
    record = {
        "source": os.fspath(tested.source),
        "tested": os.fspath(tested.root),
        "digest": tested.digest,
        "images": len(tested.paths),
        "wrong": int((~tested.right).sum()),
        "notes": notes,
        **({"given": True} if given else {}),
    }
    answers = tested.answers_to(rows)
    known = ((answers.label != "") | (answers.predicted != "")).any()
    return (dataclasses.replace(clusters, answers=answers) if known else clusters), {"predictions": record}


def _carried(out: Path, clusters: RootCauseClusters) -> Carried:
    previous = _previous(out)
    return carry_over([*([previous] if previous else []), *earlier_reviews(out)], clusters)


def _left_behind(carried: Carried) -> str:
    """A sentence on notes about RCCs that no longer exist; empty if there are none."""
    if not carried.left:
        return ""
    titles = some((title(note.rcc, {note.rcc: note}) for note in carried.left), limit=3)
    return (
        f"Notes on {count(len(carried.left), 'RCC')} of the previous run do not apply to the new RCCs ({titles}). They "
        "are kept with that run under Earlier runs, and are restored when the same images form an RCC again."
    )


def _previous(out: Path) -> Review | None:
    """The run that a new one replaces; None if there is none or it cannot be read."""
    try:
        load_clusters(out)
    except SAFEError:
        return None
    return load_review(out)


def explain_failures(
    out: Path,
    *,
    within: Path | None = None,
    weights: str | os.PathLike | None = None,
    stream: Stream | None = None,
    progress: Progress = no_progress,
) -> bool:
    """After `generate_clusters`: failure rates of the RCCs and weak spots, in comparison with what the DNN gets right.

    Weak spots come first, since they are found in seconds; the features of the images that are right take longer.

    Parameters
    ----------
    within : path, optional
        Predictions and test images are only read inside this folder.
    weights, stream
        As for `selection.select_unsafe_set`.

    Returns
    -------
    bool
        False if the DNN's answers to its test set are not known.

    Raises
    ------
    SAFEError
        The predictions have changed since the clusters were found, or the test images cannot be read.
    """
    with working(out, "comparing"):
        clusters = load_clusters(out)
        tested = _tested(out, clusters, within)
        if tested is None or tested.right.all() or not tested.right.any():
            return False
        parameters = _parameters_source(out, clusters)
        known = known_of(tested, parameters=parameters, within=within, progress=progress)
        progress("Searching for weak spots", 0, 0)
        reasons = reasons_of(clusters, tested, known, weak_spots_of(tested, known))
        _save_reasons(out, clusters, reasons)
        write_spot_gifs(clusters, out, reasons.images, progress=progress)
        offer = None
        if not clusters.contrast:  # looks are set aside alone
            offer = nuisance_offer(clusters, tested, parameters=parameters, within=within)
        _save_offer(out, clusters, offer)
        comparison = compare_with_right(
            clusters,
            tested,
            parameters=_nuisance_source(out, clusters),
            weights=weights,
            stream=stream,
            progress=progress,
        )
        _save_reasons(out, clusters, reasons._replace(comparison=comparison))
        if offer is None and "set_aside" not in read_record(out / RUN_FILE):  # nor if it was tried in vain
            _save_offer(out, clusters, looks_offer(comparison.rates(clusters)))
    return True


def other_images(
    out: Path,
    kind: str,
    *,
    compute: bool = False,
    within: Path | None = None,
    weights: str | os.PathLike | None = None,
    progress: Progress = no_progress,
) -> OtherImages:
    """Images that the failing ones of the run in `out` are compared with one by one (see `similar_images.py`).

    Parameters
    ----------
    kind : RIGHT or IMPROVEMENT
        Test images that the DNN gets right, or the images that the unsafe set was selected from.
    compute : bool
        Whether to compute the features that are not cached.
    within : path, optional
        Images and tables are only read inside this folder.
    weights
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        Such images are not known, or cannot be read.
    """
    clusters = load_clusters(out)
    if kind == IMPROVEMENT:
        unsafe = load_unsafe_set(out) if (out / UNSAFE_SET_FILE).is_file() else None
        if unsafe is None or unsafe.run not in ("", fingerprint(clusters)):
            raise SAFEError(
                "Expected the improvement images of these RCCs. Received none: no unsafe set has been selected for "
                "them. Select it in the tab Unsafe set."
            )
        if not is_within(unsafe.improvement_root, within):
            raise SAFEError(f"Expected improvement images below {within} (--root). Received: others.")
        return gather_improvement(clusters, unsafe, compute=compute, within=within, weights=weights, progress=progress)
    tested = _tested(out, clusters, within)
    if tested is None or not tested.right.any():
        raise SAFEError(
            "Expected test images that the network gets right. Received none: its answers to its whole test set are "
            "not known. Give them as predictions, and generate the RCCs again."
        )
    parameters = _nuisance_source(out, clusters)
    return gather_right(clusters, tested, compute=compute, parameters=parameters, weights=weights, progress=progress)


def _save_offer(out: Path, clusters: RootCauseClusters, offer: Offer | None) -> None:
    """Keep an offer in `run.json`, unless the folder holds another run by now."""
    with writing(out):
        record = read_record(out / RUN_FILE)
        if record.get("offer") != (offer._asdict() if offer else None) and fingerprint(
            load_review(out).original
        ) == fingerprint(clusters):
            record.pop("offer", None)
            record |= {"offer": offer._asdict()} if offer else {}
            save_files(out, {RUN_FILE: json.dumps(record, indent=2) + "\n"})


def nuisance_of(out: Path) -> tuple[str, str] | None:
    """A parameter that most RCCs of the run in `out` are one value of, but that does not matter; and a sentence.

    None if there is none, or the images have not been compared with those that the DNN gets right.
    """
    offer = read_record(out / RUN_FILE).get("offer")
    if not isinstance(offer, dict) or not all(isinstance(offer.get(key), str) for key in Offer._fields):
        return None
    return offer["name"], offer["sentence"]


def set_aside_notes(out: Path) -> list[str]:
    """Sentences on what could not be set aside in the run in `out`."""
    return _notes_in(out, "set_aside")


def _nuisance_source(out: Path, clusters: RootCauseClusters) -> Path | None:
    """The table of the tested images' parameters by which something was set aside in the run in a folder."""
    return _source_in(out, "set_aside", clusters)


def _source_in(out: Path, entry: str, clusters: RootCauseClusters) -> Path | None:
    """The table that an entry of `run.json` names, where it is by now."""
    record = read_record(out / RUN_FILE).get(entry, {})
    source = record.get("source") if isinstance(record, dict) else None
    return beside(source, clusters.image_root) if isinstance(source, str) else None


def _tested(out: Path, clusters: RootCauseClusters, within: Path | None) -> AnsweredImages | None:
    """The predictions that the run in a folder was found with; None if there are none.

    Raises
    ------
    SAFEError
        They cannot be read, or are not the same any more.
    """
    record = read_record(out / RUN_FILE).get("predictions", {})
    if not isinstance(record, dict) or "digest" not in record:
        return None
    source, root = (beside(str(record.get(key)), clusters.image_root) for key in ("source", "tested"))
    if not is_within(source, within) or not is_within(root, within):
        return None
    tested = read_predictions(source, root)
    if tested.digest != record["digest"]:
        raise SAFEError(f"{source} has changed since the clusters were found. Generate them again to compare with it.")
    return tested if _lies_within(tested, within) else None


def _save_reasons(out: Path, clusters: RootCauseClusters, reasons: Reasons) -> None:
    """Write what was found, unless the folder holds another run by now."""
    with writing(out):
        review = load_review(out)
        if fingerprint(review.original) == fingerprint(clusters):
            save_files(out, reasons_files(reasons, clusters, review.clusters))


def refresh_rccs(out: Path, *, within: Path | None = None, progress: Progress = no_progress) -> RootCauseClusters:
    """Update GIFs and profiles to the engineer's edits; to be called after an edit or after restoring a run."""
    review = load_review(out)
    write_gifs(review.clusters, out, progress=progress)
    try:
        source = _parameters_source(out, review.clusters)
        profiles, _ = describe_rccs(review.clusters, parameters=source, within=within)
    except SAFEError:
        profiles = ()  # the parameters can no longer be read, and the old profiles are about other RCCs
    with writing(out):
        # Otherwise there is a later edit, whose own call of this function writes the profiles.
        if fingerprint(load_review(out).clusters) == fingerprint(review.clusters):
            rates = load_reasons(out, review.original).rates(review.clusters).values()
            files = _profiles_file(profiles) | ({RATES_FILE: rates_text(rates)} if rates else {})
            save_files(out, files, remove=[PROFILES_FILE])
    return review.clusters


def _parameters_source(out: Path, clusters: RootCauseClusters) -> Path | None:
    """The table of parameters with which the run in a folder was described."""
    return _source_in(out, "parameters", clusters)


def mend(out: Path, *, within: Path | None = None, progress: Progress = no_progress) -> bool:
    """Update `labels.txt`, GIFs and profiles that a killed process or a full disk has left outdated.

    Returns
    -------
    bool
        Whether anything was outdated.
    """
    behind = mend_labels(out)
    clusters = load_review(out).clusters
    if all(gif_shows(clusters, out, rcc) for rcc in clusters.groups):
        return behind
    refresh_rccs(out, within=within, progress=progress)
    return True


def describe_rccs(
    clusters: RootCauseClusters, *, parameters: str | os.PathLike | None = None, within: Path | None = None
) -> tuple[tuple[Profile, ...], dict]:
    """The RCCs' profiles, by recorded parameters and by what was measured, and the entries of `run.json` about them.

    A file that was not given, but found by itself, and cannot be read only causes a note: the clusters do not need it.
    """
    given = path_of(parameters, "a table of parameters") if parameters else None
    source = given or find_parameters(clusters.image_root)
    if source and not is_within(source, within):
        source = None
    recorded: Mapping[str, np.ndarray] = {}
    record: dict[str, object] = {}
    if source:
        record["source"] = os.fspath(source)
        try:
            known = read_parameters(source, clusters.image_root, clusters.paths)
        except SAFEError as error:
            if parameters:
                raise
            record["notes"] = [str(error)]
        else:
            recorded, record["notes"] = known.columns, known.notes
    measured = {name: column for name, column in clusters.measured.items() if name not in recorded}
    columns = {**recorded, **measured}
    if not columns:
        return (), {"parameters": record} if record else {}
    profiles = profile_clusters(clusters, columns, measured=measured)
    record |= {
        "compared_with": REFERENCE,
        "measured": list(measured),
        "ranges": known_ranges(profiles),
        "profiles": {str(profile.rcc): profile.text for profile in profiles},
    }
    return profiles, {"parameters": record}


def known_parameters(out: Path, clusters: RootCauseClusters, *, within: Path | None = None) -> Mapping[str, np.ndarray]:
    """What is known of each image of the run in `out`, by name: answers of the DNN, measured and recorded parameters.

    A parameter of the same name counts. Parameters that can no longer be read are left out.
    """
    answers = clusters.answers.columns if clusters.answers else {}
    return {**answers, **clusters.measured, **_recorded(out, clusters, within)}


def _recorded(out: Path, clusters: RootCauseClusters, within: Path | None) -> Mapping[str, np.ndarray]:
    try:
        source = beside(read_record(out / RUN_FILE).get("parameters", {})["source"], clusters.image_root)
        if not is_within(source, within):
            return {}
        return read_parameters(source, clusters.image_root, clusters.paths).columns
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return {}  # people may have edited run.json, and the file may be gone


def _profiles_file(profiles: tuple[Profile, ...]) -> dict[str, Writer]:
    """`rcc_profiles.csv`, to be saved; nothing if there are no profiles: a file that is there is about other RCCs."""
    return {PROFILES_FILE: profiles_text(profiles)} if profiles else {}


def left_behind(out: Path) -> str:
    """A sentence on names, notes and verdicts that the run in `out` did not take over; empty if it took all."""
    text = read_record(out / RUN_FILE).get("left_behind", "")
    return text if isinstance(text, str) else ""


def _notes_in(out: Path, entry: str) -> list[str]:
    """The notes in an entry of `run.json`."""
    try:
        return [str(note) for note in read_record(out / RUN_FILE).get(entry, {}).get("notes", [])]
    except (AttributeError, TypeError):
        return []  # people may have edited run.json


def parameter_notes(out: Path) -> list[str]:
    """Sentences on parameters that could not be used in the run in `out`."""
    return _notes_in(out, "parameters")


def given_predictions(out: Path) -> tuple[str, str]:
    """The table and the test folder that the engineer gave for the run in `out`; empty if SAFE found them, or none."""
    record = read_record(out / RUN_FILE).get("predictions", {})
    if not isinstance(record, dict) or record.get("given") is not True:
        return "", ""
    return str(record.get("source", "")), str(record.get("tested", ""))


def prediction_notes(out: Path) -> list[str]:
    """Sentences on predictions that could not be used in the run in `out`."""
    return _notes_in(out, "predictions")


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
        those that the model is likely to get wrong, and the accuracy on the test set and its size need not be given.
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
        if prediction and settings.test_accuracy is None:
            test_size = len(prediction.wrong) if settings.test_size is None else settings.test_size
            settings = settings._replace(test_accuracy=prediction.accuracy, test_size=test_size)
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


def _tested_with(
    tables: AnswerTables, test: str | os.PathLike | None, out: Path, within: Path | None
) -> AnsweredImages:
    """The DNN's answers to its test set, as given or as the clusters were found with."""
    if tables.tested and test:
        return read_predictions(tables.tested, test)
    tested = _tested(out, load_clusters(out), within)
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


def export_results(
    out: Path, to: str | os.PathLike, *, rccs: Sequence[int] | None = None, progress: Progress = no_progress
) -> Export:
    """Copy the images of the RCCs in the folder `out` to a folder per RCC, with a table; the engineer's edits count.

    Parameters
    ----------
    to : path
        A folder, or a name that ends in `.zip`.
    rccs : sequence of int, optional
        The RCCs to export; by default all of them, with the report.
    """
    review = load_review(out)
    check_target(to)
    write = export_zip if os.fspath(to).strip().lower().endswith(".zip") else export_rccs
    report = "" if rccs else report_html(out, progress=progress)
    return write(review.clusters, review.notes, to, what=rccs or None, report=report, progress=progress)


def export_here(out: Path, *, progress: Progress = no_progress) -> Export:
    """Write what `export_results` does to `export.zip` in the folder `out` itself, which replaces the one before."""
    check_own(out, EXPORT_ZIP)
    with tempfile.TemporaryDirectory(dir=out, prefix=".safe-export-") as building:
        made = export_results(out, Path(building) / EXPORT_ZIP, progress=progress)
        save_files(out, {EXPORT_ZIP: made.path.replace})
    return made._replace(path=out / EXPORT_ZIP)


def export_labelled_set(
    out: Path, to: str | os.PathLike, labelling: Labelling = AS_LABELLED, *, progress: Progress = no_progress
) -> tuple[Export, int]:
    """Copy the labelled images of the unsafe set in the folder `out` to class folders, for training elsewhere.

    Parameters
    ----------
    to : path
        As for `reporting.labelled.export_labelled`.
    labelling : Labelling
        Sources of further labels, which are saved in `unsafe_set.csv`. Class folders are labels only in a folder that
        is given here: those of the improvement folder may be something else.

    Returns
    -------
    Export
    int
        Number of images of the set that have no label, and are left out.
    """
    check_target(to)
    improvement = labelling.improvement
    classes: list[str] = []
    if improvement is not None and path_of(improvement, "the improvement folder").is_dir():
        classes = class_folders(path_of(improvement, "the improvement folder"))
    with writing(out):
        before = load_unsafe_set(out)
        unsafe = label_unsafe_set(before, classes, improvement=improvement, labels=labelling.labels)
        check_labelled(unsafe)
        if unsafe.images != before.images:
            save_labels(unsafe, out)
    return export_labelled(unsafe, to, progress=progress), len(unlabelled(unsafe))


def cluster_summary(clusters: RootCauseClusters) -> str:
    """One line, such as `7 root cause clusters explain 98% of 504 failures · 2% in no cluster · 1 of 7 is loose`."""
    text = headline(clusters)
    if no_steady_groups(clusters):
        text += ": no steady groups"
    elif clusters.noise_share:
        text += f" · {100 - explained_percent(clusters)}% in no cluster"
    if loose := loose_text(clusters):
        text += f" · {loose}"
    return text + (f" · {len(clusters.skipped):,} skipped" if clusters.skipped else "")


def how_found(clusters: RootCauseClusters) -> str:
    """One line on the algorithm, for example `vgg16-fc2 · PCA, then UMAP · DBSCAN with eps 3.21, min_samples 5`.

    Where RCCs are a consensus, it ends in ` · consensus of 100 random parts`; eps and min_samples are then those with
    which all images are clustered.
    """
    features = clusters.extractor + (" in bfloat16" if clusters.precision == "bfloat16" else "")
    reduced = "PCA, then UMAP" if clusters.reducer == "umap" else "PCA, then neighbour averaging"
    dbscan = f"DBSCAN with eps {clusters.eps:.3g}, min_samples {clusters.min_samples}"
    if not clusters.settings:
        dbscan = "nothing to tune: too few images, or all of them alike"
    aside = f" · without {printable(', '.join(clusters.without))}" if clusters.without else ""
    steadiness = clusters.steadiness
    consensus = f" · consensus of {count(steadiness.n_samples, 'random part')}" if steadiness else ""
    return f"{features}{aside} · {reduced} · {dbscan}{consensus}"


def not_measured(out: Path, clusters: RootCauseClusters) -> str:
    """Why it is not known how steady the RCCs of the run in `out` are, a sentence (see `why_unknown`); may be empty.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    """
    return why_unknown(clusters, read_record(out / RUN_FILE))


def selection_summary(unsafe: UnsafeSet) -> str:
    """One line: how many images were selected, of how many, and whether these are fewer than wanted."""
    text = f"{len(unsafe.images):,} of {count(unsafe.n_improvement, 'improvement image')} selected"
    text += " to label (the unsafe set)"
    if len(unsafe.images) < unsafe.wanted:
        text += f"; {unsafe.wanted:,} were wanted, but there are no more candidates"
    text += "".join(f" · {note}" for note in unsafe.notes)
    return text + (f" · {len(unsafe.skipped):,} skipped" if unsafe.skipped else "")


def failures_summary(failures: Failures) -> str:
    """One line: how many images the DNN gets wrong, of how many."""
    if failures.task == DETECTION:
        text = f"{count(len(failures.failing), 'failure')} of {failures.test_size:,} objects and false detections"
        text += f" · share of them that is found {failures.accuracy:.4f}"
    else:
        text = f"{count(len(failures.failing), 'failing image')} of {failures.test_size:,}"
        text += f" · test accuracy {failures.accuracy:.4f}"
    return text + (f" · {len(failures.skipped):,} skipped" if failures.skipped else "")


def retraining_summary(result: Retraining) -> str:
    """One line: the accuracy before and after, how sure that is, how many images changed, and any epoch kept."""
    text = (
        f"test accuracy {result.accuracy_before:.4f} → {result.accuracy_after:.4f} · "
        f"{len(result.improved):,} improved, {len(result.worsened):,} worsened of {count(result.test_size, 'image')}"
    )
    sure = certainty_of(result)
    if sure is None:
        text += " · no epoch was better than the given model, whose weights are kept"
    else:
        text = f"{in_words(sure)} · {text}"
        text += f" · epoch {result.best} of {result.settings.epochs} kept" if result.settings else ""
    return text + (f" · stopped: {result.stopped}" if result.stopped else "")


def retraining_details(result: Retraining) -> list[str]:
    """A line each on the images that are wrong now, on classes and on RCCs, with how sure it is."""
    sure = certainty_of(result)
    lines = [lost_in_words(sure)] if sure and lost_in_words(sure) else []
    lines += class_lines([share.name for share in result.per_class], certainty_of_classes(result))
    for share, (low, high) in zip(result.per_rcc, right_intervals(result.per_rcc), strict=True):
        name = "in no cluster" if share.name == str(NOISE) else f"RCC {share.name}"
        line = f"{name}: {share.after} of {count(share.images, 'failing image')} now right"
        lines.append(f"{line} (95% interval {low:.0%} to {high:.0%})" if share.images else line)
    if result.settings:
        shares = {"now": result.settings.original_share, "offered": AIMS["keep"].original_share}
        along = trade_off_text(result.trade_off, result.test_size, **shares)
        lines += [along] if along else []
    return lines
