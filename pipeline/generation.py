"""Steps 1 and 2 in an output folder: from failing images to RCCs with GIFs and profiles, and what is kept of a run
that was there before.
"""

import dataclasses
import os
from pathlib import Path
from typing import NamedTuple

from clustering import find_root_cause_clusters
from FE import extract_features
from features.attributes import measured_images
from features.batches import Stream
from features.weights import choose_extractor
from looks import check_answers, looks_alone, looks_record, right_images
from nuisances import fit_nuisance, nuisance_values
from pipeline.answers import found_answers, given_answers, with_answers
from pipeline.descriptions import describe_rccs, profiles_file, refresh_rccs
from pipeline.run_record import left_behind
from rccs.carried import Carried, carry_over, save_run
from rccs.clusters import RootCauseClusters, load_clusters
from rccs.edited import reviewed
from rccs.gifs import gif_notes, write_gifs
from rccs.notes import title
from rccs.parameters import read_parameters
from rccs.review import Review, load_review
from reporting.history import archive_run, earlier_reviews
from support.errors import SAFEError
from support.files import prepare_folder
from support.images import find_images
from support.output_folder import check_own, own_files, working, writing
from support.progress import Progress, no_progress
from support.run_folder import (
    CLUSTERS_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    FORMS_FILE,
    LABELS_FILE,
    NOTES_FILE,
    PROFILES_FILE,
    RATES_FILE,
    RUN_FILE,
    UNSAFE_SET_FILE,
    WEAK_SPOTS_FILE,
)
from support.text import count, some
from training.labels import load_kept_labels

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
        tested = given_answers(settings.predictions, settings.tested)
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
                tested, answered = found_answers(listing.root, within)
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
            tested, answered = found_answers(clusters.image_root, within)
        if tested:
            clusters, answered = with_answers(clusters, tested, given=given)
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
            save_run(clusters, carried, out, more=record, files=profiles_file(profiles), remove=remove)
        if reviewed(clusters, carried.edits).labels.tolist() != edited.labels.tolist():
            return refresh_rccs(out, within=within, progress=progress)
        write_gifs(edited, out)  # an edit in the meantime may have drawn the previous RCCs again
        return edited


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
