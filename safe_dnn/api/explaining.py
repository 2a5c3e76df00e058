"""Why the DNN fails: weak spots, as soon as its answers are known; RCCs in comparison with what it gets right; and
failing images beside others like them.

Weak spots need no features. They are searched once: a run keeps them with a digest of all that was searched, and they
are read from there as long as that is the same.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.group_columns import hold_out_record
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.options import NONE_GIVEN
from safe_dnn.rccs.clusters import load_clusters, run_record
from safe_dnn.rccs.gifs import write_spot_gifs
from safe_dnn.rccs.parameters import find_parameters
from safe_dnn.rccs.spots.conditions import are_known
from safe_dnn.rccs.spots.curves import CURVES_FILE, curves_text
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, WeakSpot, load_spots, spots_text
from safe_dnn.reasons.comparison import compare_with_right, reasons_of, save_reasons
from safe_dnn.reasons.known import (
    TESTED_FILE,
    Known,
    bins_of,
    counted_text,
    doubts_on,
    known_of,
    spots_hold,
    weak_spots_of,
)
from safe_dnn.reasons.known_groups import KnownGroups, group_names, groups_of_images
from safe_dnn.reasons.known_groups import notes_of as notes_on_groups
from safe_dnn.reasons.listed import HOLDS_FILE, FailureReasons, failure_reasons, found_before, runs_with
from safe_dnn.reasons.run_record import answers_of_run, groups_of, known_answers, table_of
from safe_dnn.report.exports import show_reasons
from safe_dnn.store.output_folder import Writer, foreign_files, save_files, working
from safe_dnn.store.places import relative
from safe_dnn.store.runs import CLUSTERS, COMPARISON, REASONS, add_run, present_runs
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.files import read_record
from safe_dnn.support.progress import report_progress
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from safe_dnn.support.version import VERSION
from safe_dnn.training.earlier import earlier_analysis


def explain_failures(out: Path, *, weights: StrPath | None = None) -> bool:
    """After `generate_clusters`: error rates of the RCCs and weak spots, in comparison with what the DNN gets right.

    Weak spots come first, since they are found in seconds; the features of the images that are right take longer.

    Parameters
    ----------
    weights
        As for `selection.select_unsafe_set`.

    Returns
    -------
    bool
        False if the DNN's answers to its test set are not known.

    Raises
    ------
    SAFEError
        The predictions have changed since the clusters were found, or the test images, or a table of parameters that
        was given, cannot be read.
    """
    with working(out, "comparing"):
        run = present_runs(out).get(CLUSTERS)
        clusters = load_clusters(out, run)
        tested = answers_of_run(out, clusters)
        if run is None or tested is None or tested.right.all() or not tested.right.any():
            return False
        record = run_record(out, run).get("parameters", {})
        how: dict[str, Any] = {"required": bool(record.get("given"))}
        conditions = conditions_of(tested, groups_of(out), out, parameters=table_of(out, "parameters"), **how)
        known, known_groups, spots, _ = conditions
        curves = bins_of(tested, known, known_groups, spots)
        reasons = replace(reasons_of(clusters, tested, known, spots), curves=curves)
        save_reasons(reasons, clusters, out, run)
        show_reasons(out)
        write_spot_gifs(clusters, out, reasons.images)
        comparison = compare_with_right(
            clusters, tested, parameters=table_of(out, "set_aside"), known_groups=known_groups, weights=weights
        )
        right_in_spots = spots_hold(spots, known, len(tested.paths))[:, comparison.rows[len(comparison.failing) :]]
        further = (note for note in known.notes if note not in record.get("notes", ()))
        notes = (*doubts_on(spots), *comparison.notes, *further)
        comparison = comparison._replace(right_in_spots=right_in_spots, notes=notes)
        reasons = replace(reasons, comparison=comparison)
        nearest = np.full(len(tested.paths), -1)
        nearest[comparison.rows] = np.concatenate([comparison.of_failing, comparison.of_right])
        groups = known_groups.groups if known_groups and known_groups.named else None
        images = {TESTED_FILE: counted_text(tested, known, clusters.paths, nearest, groups)}
        save_reasons(reasons, clusters, out, run, images=images)
        show_reasons(out)
    return True


class Searched(NamedTuple):
    """Under which conditions the network fails more often, by what is known of the images.

    Attributes
    ----------
    known : Known
    groups : KnownGroups or None
    spots : tuple of WeakSpot
        The most important first.
    searched : str
        A digest of all that was searched.
    """

    known: Known
    groups: KnownGroups | None
    spots: tuple[WeakSpot, ...]
    searched: str


def conditions_of(
    tested: AnsweredImages, groups: Sequence[str], out: Path, *, parameters: Path | None, required: bool = False
) -> Searched:
    """Search for weak spots, which needs no features, and no images if nothing is to be measured in them.

    Parameters
    ----------
    groups
        As for `reasons.known_groups.groups_of_images`.
    out : Path
        The analysis: if the same was searched there before, the weak spots are those that were found then.
    parameters
        As for `reasons.known.known_of`.
    required : bool
        As for both.
    """
    how: dict[str, Any] = {"parameters": parameters, "required": required}
    known = known_of(tested, groups=groups, **how)
    report_progress("Searching for weak spots", 0, 0)
    image_groups = groups_of_images(groups, tested, **how)
    searched = _digest_of(tested, known, image_groups)
    before = found_before(out, "searched", searched)
    spots = weak_spots_of(tested, known, image_groups) if before is None or before.spots is None else before.spots
    return Searched(known, image_groups, spots, searched)


def _digest_of(tested: AnsweredImages, known: Known, known_groups: KnownGroups | None) -> str:
    """What differs where the search may find something else: images, answers, columns, groups, or SAFE's version."""
    groups = known_groups.groups if known_groups and known_groups.named else None
    arrays = {**known.columns, " right": tested.right, **({" groups": groups.of} if groups else {})}
    named = [groups.name, groups.column] if groups else []
    facts = [VERSION, tested.paths, tested.answers.kind, sorted(known.measured), named]
    digest = hashlib.sha256(json.dumps([facts, [(name, str(one.dtype)) for name, one in arrays.items()]]).encode())
    for one in arrays.values():
        digest.update(one.tobytes())
    return digest.hexdigest()


def _keep(
    out: Path, tested: AnsweredImages, conditions: Searched, notes: Sequence[str]
) -> tuple[FailureReasons, dict[str, Writer]]:
    """Keep the reasons for a network's answers in place of earlier ones, for `conditions_of` and `failure_reasons`.

    Returns
    -------
    FailureReasons
    dict
        The tables of conditions and of curves.
    """
    before = runs_with(out, "predictions", tested.digest)
    notes = (*doubts_on(conditions.spots), *notes, *conditions.known.notes, *notes_on_groups(conditions.groups))
    facts: dict[str, Any] = {"predictions": tested.digest, "searched": conditions.searched, "notes": notes}
    if earlier := earlier_analysis(out):
        facts["earlier"] = _compared(earlier, out, tested, conditions.known)
    holds = spots_hold(conditions.spots, conditions.known, len(tested.paths))
    curves = bins_of(tested, conditions.known, conditions.groups, conditions.spots)
    tables: dict[str, Writer] = {WEAK_SPOTS_FILE: spots_text(conditions.spots), CURVES_FILE: curves_text(curves)}
    files = {**tables, HOLDS_FILE: lambda path: np.savez(path, paths=np.array(tested.paths), holds=holds)}
    add_run(out, REASONS, files, facts=facts, instead_of=before[0] if before else None)
    paths = np.array(tested.paths, object)
    images = {spot.conditions: tuple(paths[row].tolist()) for spot, row in zip(conditions.spots, holds, strict=True)}
    return FailureReasons(conditions.spots, notes, curves, images), tables


def _compared(earlier: Path, out: Path, tested: AnsweredImages, known: Known) -> dict[str, Any]:
    """How often the networks of two analyses are wrong: on all images, and under the conditions found in the first.

    `now` is None of a condition on what is not known of these images.
    """
    run = present_runs(earlier).get(COMPARISON)
    before = failure_reasons(earlier)
    reasons = []
    for spot in load_spots(run) if run else (before and before.spots) or ():
        holds = spot.holds(known.columns) if are_known(spot.literals, known.columns) else None
        now = None if holds is None else [int(holds.sum()), int((holds & ~tested.right).sum())]
        reasons.append({"where": spot.where, "before": [spot.figures.tested, spot.figures.wrong], "now": now})
    accuracy = [read_record(earlier / ACCURACY_FILE).get("test_accuracy"), tested.accuracy]
    return {"analysis": relative(earlier, out), "accuracy": accuracy, "reasons": reasons}


def explain_collected(out: Path) -> FailureReasons:
    """After failures were collected in a folder: search for weak spots, and keep them.

    Nothing is lost where that fails: what cannot be used, such as a table of parameters, is a note.
    """
    failing, reasons, files = out / FAILURES, FailureReasons(None, ()), dict[str, Writer]()
    names = groups_of(out) or group_names(hold_out_record(failing))
    for required in (True, False):  # the second time without what cannot be used
        try:
            tested, _ = known_answers(NONE_GIVEN, failing)
            if tested and not tested.one_sided:
                conditions = conditions_of(tested, names, out, parameters=find_parameters(failing), required=required)
                reasons, files = _keep(out, tested, conditions, reasons.notes)
            break
        except SAFEError as error:
            reasons = FailureReasons(None, tuple(dict.fromkeys((*reasons.notes, str(error)))))
    tables = [WEAK_SPOTS_FILE, CURVES_FILE]
    if CLUSTERS not in present_runs(out) and not foreign_files(out, tables):
        save_files(out, files, remove=tables)
    return reasons
