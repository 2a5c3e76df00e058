"""After steps 1 and 2: RCCs in comparison with what the DNN gets right, and failing images beside others like them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.features.batches import Stream
from safe_dnn.pipeline.descriptions import show_reasons
from safe_dnn.pipeline.run_record import GivenAnswers, answers_of_run, groups_of, table_of
from safe_dnn.rccs.clusters import load_clusters, run_record
from safe_dnn.rccs.gifs import write_spot_gifs
from safe_dnn.rccs.spots.curves import CURVES_FILE, Bin, curves_text
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, WeakSpot, spots_text
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.reasons.comparison import (
    PREDICTED,
    Known,
    bins_of,
    compare_with_right,
    in_any_spot,
    known_of,
    reasons_of,
    save_reasons,
    weak_spots_of,
)
from safe_dnn.reasons.counted_images import TESTED_FILE, counted_text
from safe_dnn.reasons.known_groups import KnownGroups, groups_of_images, undecided
from safe_dnn.reasons.nuisances import class_offer, looks_offer, nuisance_offer
from safe_dnn.reasons.other_images import IMPROVEMENT, OtherImages, gather_improvement, gather_right
from safe_dnn.store.output_folder import save_files, working
from safe_dnn.store.runs import CLUSTERS, SELECTION, present_runs
from safe_dnn.support.entries import StrPath, is_within, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.progress import Progress, no_progress


def explain_failures(
    out: Path,
    *,
    within: Path | None = None,
    weights: StrPath | None = None,
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
        run = present_runs(out).get(CLUSTERS)
        clusters = load_clusters(out, run)
        tested = answers_of_run(out, clusters, within)
        if run is None or tested is None or tested.right.all() or not tested.right.any():
            return False
        parameters = table_of(out, "parameters", clusters)
        found = conditions_of(tested, groups_of(out), parameters=parameters, within=within, progress=progress)
        known, known_groups, spots, curves = found
        reasons = reasons_of(clusters, tested, known, spots)._replace(curves=curves)
        offer = None
        if not clusters.contrast:  # looks are set aside alone
            offer = nuisance_offer(clusters, tested, parameters=parameters, within=within)
        save_reasons(reasons, clusters, out, run, offer=offer._asdict() if offer else None)
        show_reasons(out)
        write_spot_gifs(clusters, out, reasons.images, progress=progress)
        comparison = compare_with_right(
            clusters, tested, parameters=table_of(out, "set_aside", clusters), known_groups=known_groups,
            weights=weights, stream=stream, progress=progress,
        )  # fmt: skip
        right_in_spots = in_any_spot(spots, known, len(tested.paths))[comparison.rows][len(comparison.failing) :]
        if offer is None and "set_aside" not in run_record(out, run):  # nor if it was tried in vain
            offer = class_offer(clusters) or looks_offer(comparison.rates(clusters))
        told = run_record(out, run).get("parameters", {}).get("notes", ())
        further = (note for note in known.notes if note not in told)
        comparison = comparison._replace(right_in_spots=right_in_spots, notes=(*comparison.notes, *further))
        reasons = reasons._replace(comparison=comparison)
        nearest = np.full(len(tested.paths), -1)
        nearest[comparison.rows] = np.concatenate([comparison.of_failing, comparison.of_right])
        groups = known_groups.groups if known_groups and known_groups.given else None
        images = {TESTED_FILE: counted_text(tested, known, clusters.paths, nearest, groups)}
        save_reasons(reasons, clusters, out, run, offer=offer._asdict() if offer else None, images=images)
        show_reasons(out)
    return True


class Conditions(NamedTuple):
    """Under which conditions the network fails more often, by what is known of the images.

    Attributes
    ----------
    known : Known
    groups : KnownGroups or None
    spots : tuple of WeakSpot
        The most important first.
    curves : tuple of Bin
        As of `reasons.comparison.Reasons`.
    """

    known: Known
    groups: KnownGroups | None
    spots: tuple[WeakSpot, ...]
    curves: tuple[Bin, ...]


def conditions_of(
    tested: AnsweredImages, groups: Sequence[str], *, parameters: Path | None, within: Path | None = None,
    required: bool = False, progress: Progress = no_progress,
) -> Conditions:  # fmt: skip
    """Search for weak spots, which needs no features, and no images if nothing is to be measured in them.

    Parameters
    ----------
    groups
        As for `reasons.known_groups.groups_of_images`.
    parameters, within
        As for `reasons.comparison.known_of`.
    required : bool
        As for both.
    """
    known = known_of(tested, parameters=parameters, within=within, groups=groups, required=required, progress=progress)
    progress("Searching for weak spots", 0, 0)
    found = groups_of_images(groups, tested, parameters=parameters, within=within, required=required)
    spots = weak_spots_of(tested, known, found)
    if found and found.given:
        others = {*known.measured, PREDICTED}
        recorded = {name: column for name, column in known.columns.items() if name not in others}
        unclear = undecided(recorded, ~tested.right, found.groups, spots)
        found = found._replace(notes=(*found.notes, *unclear))
    return Conditions(known, found, spots, bins_of(tested, known, found))


def find_reasons(
    given: GivenAnswers, out: StrPath, *, parameters: StrPath | None = None, progress: Progress = no_progress
) -> tuple[AnsweredImages, Conditions]:
    """Write `weak_spots.csv` and `rates.csv` by a network's answers and a table alone; nothing is clustered.

    Parameters
    ----------
    given : GivenAnswers
        With a folder of test images, conditions may also be on what is measured in them; without one, images are only
        known by their names.
    parameters : path, optional
        As for `reasons.comparison.known_of`.

    Raises
    ------
    SAFEError
        A table cannot be read, all answers are right or wrong, or the folder has an analysis with reasons of its own.
    """
    if CLUSTERS in present_runs(path_of(out, "an output folder")):
        raise SAFEError(
            f"Expected a folder without root cause clusters. Received: {out}, which has reasons of its own."
        )
    tested = read_predictions(given.predictions, given.tested or None, partial=given.partial)
    if tested.one_sided:
        raise SAFEError(f"Expected answers of which some are wrong and some right. {tested.one_sided}")
    table = path_of(parameters, "parameters as a CSV file") if parameters else None
    found = conditions_of(tested, given.group, parameters=table, required=True, progress=progress)
    folder = prepare_folder(path_of(out, "an output folder"))
    save_files(folder, {WEAK_SPOTS_FILE: spots_text(found.spots), CURVES_FILE: curves_text(found.curves)})
    return tested, found


def other_images(
    out: Path, kind: str, *, within: Path | None, weights: StrPath | None, progress: Progress
) -> OtherImages:
    """Images that the failing ones of the run in `out` are compared with one by one (see `reasons/other_images.py`).

    Parameters
    ----------
    kind : RIGHT or IMPROVEMENT
        Test images that the DNN gets right, or the images that the unsafe set was selected from.
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
        unsafe = load_unsafe_set(out) if SELECTION in present_runs(out) else None
        if unsafe is None:
            raise SAFEError(
                "Expected the improvement images of these RCCs. Received none: no unsafe set has been selected for "
                "them. Select it in the tab Unsafe set."
            )
        if not is_within(unsafe.improvement_root, within):
            raise SAFEError(f"Expected improvement images below {within}. Received: others.")
        return gather_improvement(clusters, unsafe, within=within, weights=weights, progress=progress)
    tested = answers_of_run(out, clusters, within)
    if tested is None or not tested.right.any():
        raise SAFEError(
            "Expected test images that the network gets right. Received none: its answers to its whole test set are "
            "not known. Give them as predictions, and generate the RCCs again."
        )
    parameters = table_of(out, "set_aside", clusters)
    return gather_right(clusters, tested, parameters=parameters, weights=weights, progress=progress)
