"""The steps of SAFE put together: what the page and the command line start, and how they speak of it."""

import dataclasses
import functools
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from clustering import find_root_cause_clusters
from dnn.failure_prediction import predict_failures
from dnn.failures import Failures
from dnn.model import AS_IN_THE_FILE, DnnOptions
from FE import extract_features
from features.batches import Stream
from features.weights import choose_extractor
from rccs.clusters import RootCauseClusters, fingerprint, load_clusters, rccs_of
from rccs.gifs import gif_notes, gif_shows, write_gifs
from rccs.notes import title
from rccs.parameters import find_parameters, read_parameters
from rccs.profiles import REFERENCE, Profile, profile_clusters, profiles_text, save_profiles
from rccs.review import Carried, Review, carry_over, load_review, mend_labels, rccs_marked_safe, reviewed, save_run
from rccs.unsafe_set import UnsafeSet
from reporting.export import Export, check_target, export_rccs, export_zip
from reporting.history import archive_run, earlier_reviews
from reporting.report import report_html
from selection import SelectionSettings, select_unsafe_set
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, prepare_folder, regular
from support.output_folder import check_own, working, writing
from support.progress import Progress, no_progress
from support.run_folder import (
    CLUSTERS_FILE,
    EDITS_FILE,
    FILENAMES_FILE,
    FORMS_FILE,
    LABELS_FILE,
    NOTES_FILE,
    PROFILES_FILE,
    RUN_FILE,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
)
from support.text import count
from training.labels import replace_unsafe_set
from training.result import Retraining


class ClusteringSettings(NamedTuple):
    """How RCCs are generated.

    Attributes
    ----------
    extractor, weights, precision
        As for `features.weights.choose_extractor`.
    reducer : "pca" or "umap"
        As for `clustering.find_root_cause_clusters`.
    parameters : path, optional
        A CSV file of the images' parameters; by default `parameters.csv` in the image folder or beside it, if any.
    """

    extractor: str = "auto"
    reducer: str = "pca"
    weights: str | os.PathLike | None = None
    precision: str = "float32"
    parameters: str | os.PathLike | None = None


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
    """Steps 1 and 2: extract features, cluster, draw the GIFs; write everything to the folder `out`.

    Parameters
    ----------
    within : path, optional
        Parameters that are only found are not read outside this folder.
    stream : callable, optional
        As for `FE.extract_features`.

    Raises
    ------
    SAFEError
        Images, weights or parameters cannot be used, or the folder cannot be written to.
    """
    parameters = settings.parameters
    prepare_folder(out)
    with working(out, "clustering"):
        check_own(out, LABELS_FILE, RUN_FILE, CLUSTERS_FILE, PROFILES_FILE, NOTES_FILE, EDITS_FILE)
        _previous(out)  # notes that cannot be read are told before the long work, and so are parameters
        if parameters:
            read_parameters(parameters, Path(), ())
        extractor = choose_extractor(
            settings.extractor, weights=settings.weights, precision=settings.precision, progress=progress
        )
        features = extract_features(images, extractor, progress=progress, stream=stream)
        clusters = find_root_cause_clusters(
            features, reducer=settings.reducer, weights=settings.weights, progress=progress
        )
        shown = reviewed(clusters, _carried(out, clusters).edits)
        write_gifs(shown, out, progress)
        profiles, record = describe_rccs(shown, parameters, within)
        # What the engineer has said and edited meanwhile counts: it is read in the same step as the run is written.
        with writing(out):
            carried = _carried(out, clusters)
            previous = _previous(out)
            replaced = archive_run(out, clusters)
            # The same run again says again what it left behind when it came.
            behind = _left_behind(carried) if replaced or not previous else left_behind(out)
            record |= {"gifs": {"notes": gif_notes(shown)}, "left_behind": behind}
            if previous and previous.original.image_root != clusters.image_root:
                (out / FORMS_FILE).unlink(missing_ok=True)  # other images have other folders, and another network
            files = {PROFILES_FILE: profiles_text(profiles)} if profiles else {}
            save_run(clusters, carried, out, record, files)
            if not profiles:
                (out / PROFILES_FILE).unlink(missing_ok=True)
        if reviewed(clusters, carried.edits).labels.tolist() != shown.labels.tolist():
            return refresh_rccs(out, within=within, progress=progress)
        write_gifs(shown, out, progress)  # an edit meanwhile may have drawn some of those before
        return shown


def _carried(out: Path, clusters: RootCauseClusters) -> Carried:
    previous = _previous(out)
    return carry_over([*([previous] if previous else []), *earlier_reviews(out)], clusters)


def _left_behind(carried: Carried) -> str:
    """A sentence on what the engineer has said of RCCs that there are no longer; empty where there is nothing."""
    if not carried.left:
        return ""
    some = ", ".join(title(note.rcc, {note.rcc: note}) for note in carried.left[:3])
    more = ", …" if len(carried.left) > 3 else ""
    return (
        f"What was said of {count(len(carried.left), 'RCC')} of the run before does not apply to these ({some}{more}). "
        "It is kept with that run under Earlier runs, and comes back when the same images are an RCC again."
    )


def _previous(out: Path) -> Review | None:
    """The run that a new one replaces; None where there is none that can be read."""
    try:
        load_clusters(out)
    except SAFEError:
        return None
    return load_review(out)


def refresh_rccs(out: Path, *, within: Path | None = None, progress: Progress = no_progress) -> RootCauseClusters:
    """Draw and describe anew what the engineer's edits have changed; call it after an edit or a run brought back."""
    review = load_review(out)
    write_gifs(review.clusters, out, progress)
    try:
        profiles, _ = describe_rccs(review.clusters, _run_record(out).get("parameters", {}).get("source"), within)
    except SAFEError:
        profiles = ()  # the parameters are gone, and the profiles are of other RCCs
    with writing(out):
        if fingerprint(load_review(out).clusters) == fingerprint(review.clusters):  # else whoever changed it does this
            _write_profiles(profiles, out)
    return review.clusters


def mend(out: Path, *, within: Path | None = None, progress: Progress = no_progress) -> bool:
    """Write anew what a killed process or a full disk has left behind the RCCs and edits; whether anything was."""
    behind = mend_labels(out)
    clusters = load_review(out).clusters
    if all(gif_shows(clusters, out, rcc) for rcc in clusters.groups):
        return behind
    refresh_rccs(out, within=within, progress=progress)
    return True


def describe_rccs(
    clusters: RootCauseClusters, parameters: str | os.PathLike | None = None, within: Path | None = None
) -> tuple[tuple[Profile, ...], dict]:
    """The RCCs' profiles where the images' parameters are known; what `run.json` says of it.

    A file that was only found, not named, and cannot be read is a note: the clusters do not need it.
    """
    source = path_of(parameters, "a table of parameters") if parameters else find_parameters(clusters.image_root)
    if source and within and not source.resolve().is_relative_to(within):
        source = None
    profiles: tuple[Profile, ...] = ()
    record = {}
    if source:
        try:
            known = read_parameters(source, clusters.image_root, clusters.paths)
        except SAFEError as error:
            if parameters:
                raise
            record = {"source": os.fspath(source), "notes": [str(error)]}
        else:
            profiles = profile_clusters(clusters, known) if known.columns else ()
            record = {
                "source": os.fspath(source),
                "compared_with": REFERENCE,
                "notes": known.notes,
                "profiles": {str(profile.rcc): profile.text for profile in profiles},
            }
    return profiles, {"parameters": record} if record else {}


def known_parameters(out: Path, clusters: RootCauseClusters, within: Path | None = None) -> Mapping[str, np.ndarray]:
    """The columns of the images' parameters by which the run in `out` was described; none where none are known now."""
    try:
        source = Path(_run_record(out).get("parameters", {})["source"])
        if within and not source.resolve().is_relative_to(within):
            return {}
        return read_parameters(source, clusters.image_root, clusters.paths).columns
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return {}  # run.json is for people, who may have changed it, and the file may be gone


def _write_profiles(profiles: tuple[Profile, ...], out: Path) -> None:
    """Write `rcc_profiles.csv`, or remove that of other RCCs where there is nothing to write."""
    if profiles:
        save_profiles(profiles, out)
    else:
        (out / PROFILES_FILE).unlink(missing_ok=True)


def left_behind(out: Path) -> str:
    """What the run in `out` says of names, notes and verdicts that are about RCCs of an earlier run; a sentence."""
    text = _run_record(out).get("left_behind", "")
    return text if isinstance(text, str) else ""


def parameter_notes(out: Path) -> list[str]:
    """What of the parameters could not be used in the run that `out` holds."""
    try:
        return [str(note) for note in _run_record(out).get("parameters", {}).get("notes", [])]
    except (AttributeError, TypeError):
        return []


def _run_record(out: Path) -> dict:
    try:
        record = json.loads(regular(out / RUN_FILE).read_text(encoding="utf-8"))
    except DAMAGED:
        return {}  # run.json is for people; nothing depends on it
    return record if isinstance(record, dict) else {}


def select_images(
    improvement: str | os.PathLike,
    out: Path,
    settings: SelectionSettings,
    *,
    leave_out_safe: bool = False,
    model: str | os.PathLike | None = None,
    test: str | os.PathLike | None = None,
    options: DnnOptions = AS_IN_THE_FILE,
    weights: str | os.PathLike | None = None,
    stream: Stream | None = None,
    progress: Progress = no_progress,
) -> UnsafeSet:
    """Steps 3 and 4: select the unsafe set for the RCCs in the folder `out`, as reviewed; write it there.

    Parameters
    ----------
    leave_out_safe : bool
        Whether RCCs that the engineer has marked as safe get no images.
    model, test, options
        As for `dnn.failure_prediction.predict_failures`: with both, half of each RCC's images are some that the model
        is likely to get wrong, and the accuracy on the test set and its size are found out where they are not given.
    weights, stream
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        A model without a test set, or the other way round.
    """
    if bool(model) != bool(test):
        raise SAFEError(
            "Expected a model and its test folder, to tell which images the model is likely to get wrong (or neither). "
            f"Received only the {f'model, {model}' if model else f'test folder, {test}'}."
        )
    review = load_review(out)
    with working(out, "selecting"):
        check_own(out, FILENAMES_FILE, UNSAFE_SET_FILE, SELECTION_FILE)
        if leave_out_safe:
            settings = settings._replace(leave_out=rccs_marked_safe(out))
        prediction = predict_failures(model, test, options=options, progress=progress) if model and test else None
        if prediction and settings.test_accuracy is None:
            test_size = len(prediction.wrong) if settings.test_size is None else settings.test_size
            settings = settings._replace(test_accuracy=prediction.accuracy, test_size=test_size)
        unsafe = select_unsafe_set(
            improvement, review.clusters, settings, weights=weights, stream=stream, progress=progress,
            likely_wrong=functools.partial(prediction.of, progress=progress) if prediction else None,
        )  # fmt: skip
        asked = os.fspath(prediction.dnn.path) if prediction else ""
        return replace_unsafe_set(dataclasses.replace(unsafe, model=asked, run=fingerprint(review.original)), out)


def export_results(
    out: Path, to: str | os.PathLike, *, rccs: Sequence[int] | None = None, progress: Progress = no_progress
) -> Export:
    """Copy the images of the RCCs in the folder `out`, as reviewed, to a folder for each, with a table of them.

    Parameters
    ----------
    to : path
        A folder, or a name that ends in `.zip`.
    rccs : sequence of int, optional
        These alone; by default all, and then the report is added.
    """
    review = load_review(out)
    packed = os.fspath(to).strip().lower().endswith(".zip")
    check_target(to)
    write = export_zip if packed else export_rccs
    report = "" if rccs else report_html(out, progress)
    return write(review.clusters, review.notes, to, rccs or None, report, progress)


def cluster_summary(clusters: RootCauseClusters) -> str:
    """One line: how many images, RCCs, in no cluster, skipped; with what."""
    parts = [
        count(len(clusters.paths), "image"),
        count(len(rccs_of(clusters)), "RCC"),
        f"{clusters.noise_share:.0%} in no cluster",
        f"{len(clusters.skipped):,} skipped",
        clusters.extractor
        + (" in bfloat16" if clusters.precision == "bfloat16" else "")
        + (" + UMAP" if clusters.reducer == "umap" else ""),
    ]
    if clusters.settings:
        parts.append(f"eps {clusters.eps:.3g}, min_samples {clusters.min_samples}")
    else:
        parts.append("nothing to tune: too few images, or all alike")
    return " · ".join(parts)


def selection_summary(unsafe: UnsafeSet) -> str:
    """One line: how many of how many, and whether that is less than wanted."""
    text = f"{len(unsafe.images):,} of {count(unsafe.n_improvement, 'improvement image')} selected"
    if len(unsafe.images) < unsafe.wanted:
        text += f", all there are; {unsafe.wanted:,} were wanted"
    return text + (f" · {len(unsafe.skipped):,} skipped" if unsafe.skipped else "")


def failures_summary(failures: Failures) -> str:
    """One line: how many images the DNN gets wrong, of how many."""
    text = f"{count(len(failures.failing), 'failing image')} of {failures.test_size:,}"
    text += f" · test accuracy {failures.accuracy:.4f}"
    return text + (f" · {len(failures.skipped):,} skipped" if failures.skipped else "")


def retraining_summary(result: Retraining) -> str:
    """One line: the accuracy before and after, what improved and what worsened, and which epoch it is."""
    text = (
        f"test accuracy {result.accuracy_before:.4f} → {result.accuracy_after:.4f} · "
        f"{len(result.improved):,} improved, {len(result.worsened):,} worsened of {count(result.test_size, 'image')}"
    )
    if not result.best:
        text += " · no epoch was better than the given model, whose weights are kept"
    else:
        text += f" · epoch {result.best} of {result.settings.epochs} kept"
    return text + (f" · stopped: {result.stopped}" if result.stopped else "")
