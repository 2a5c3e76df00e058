"""The record `run.json` of the run in an output folder; with it the DNN's answers to its test set.

The answers are given or found, added to the clusters, and read again as they were then. `run.json` has their place and
their digest, so that nothing is compared with answers that have changed since.
"""

import contextlib
import dataclasses
import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.dnn.group_columns import held_out_among
from safe_dnn.dnn.tested import AnsweredImages, collected_answers, read_predictions
from safe_dnn.options import GivenAnswers
from safe_dnn.rccs.clusters import RootCauseClusters, run_record
from safe_dnn.rccs.parameters import find_parameters, read_parameters
from safe_dnn.rccs.profiles import Profile, profile_clusters
from safe_dnn.reasons.known_groups import group_names
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError, StrPath, may_open, path_of, present_root
from safe_dnn.support.images import content_of
from safe_dnn.support.run_folder import FAILURES, PREDICTIONS_FILE
from safe_dnn.support.text import count


def lost_notes(out: Path) -> str:
    """A sentence on names, notes and verdicts that the run in `out` did not take over; empty if it took all."""
    return run_record(out).get("left_behind", "")


def notes_of(out: Path) -> list[str]:
    """Sentences on parameters and predictions that could not be used in the run in `out`, or not be subtracted."""
    record = run_record(out)
    entries = ("parameters", "predictions", "set_aside")
    notes = [f"{name.replace('_', ' ')}: {note}" for name in entries for note in record.get(name, {}).get("notes", [])]
    return [*filter(None, [outdated(out)]), *notes]


def outdated(out: Path) -> str:
    """A sentence on whose answers the run in `out` is of, if failures of others have been collected since; or empty."""
    record, table, run = run_record(out).get("predictions", {}), out / PREDICTIONS_FILE, present_runs(out).get(CLUSTERS)
    digest = content_of(table)
    if not digest or run is None or digest.hex() == record.get("digest", digest.hex()):
        return ""
    if table.stat().st_mtime < datetime.fromisoformat(run.time).timestamp():
        return ""
    counts = f"{record['wrong']:,} of {count(record['images'], 'image')}"
    return f"Failures of other answers have been collected since: these are of {record['source']}, {counts} wrong."


def settings_of(out: Path) -> dict[str, Any]:
    """The options of `options.ClusteringSettings` that the run in `out` was made with, by name, but for defaults."""
    return dict(run_record(out).get("settings", {}))


def groups_of(out: Path) -> tuple[str, ...]:
    """The columns by which images are of one group in the run in `out`."""
    return group_names(run_record(out))


def table_of(out: Path, entry: str) -> Path | None:
    """The table of parameters that an entry of `run.json` names.

    Parameters
    ----------
    entry : str
        `parameters`, with which the run was described, or `set_aside`, that of the nuisance variables.
    """
    source = run_record(out).get(entry, {}).get("source")
    return Path(source) if source else None


def describe_rccs(
    clusters: RootCauseClusters, *, parameters: StrPath | None = None
) -> tuple[tuple[Profile, ...], dict]:
    """The RCCs' profiles, by recorded parameters and by what was measured, and the entries of `run.json` about them.

    A file that was not given, but found by itself, and cannot be read only causes a note: the clusters do not need it.
    """
    given = path_of(parameters, "a table of parameters") if parameters else None
    source = given or find_parameters(clusters.image_root)
    if source and not may_open(source):
        source = None
    recorded: Mapping[str, np.ndarray] = {}
    record: dict[str, object] = {}
    if source:
        record |= {"source": os.fspath(source), **({"given": True} if given else {})}
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
    profiles = profile_clusters(clusters, columns, measured=measured) if columns else ()
    return profiles, {"parameters": record} if record else {}


def known_parameters(out: Path, clusters: RootCauseClusters) -> Mapping[str, np.ndarray]:
    """What is known of each image of the run in `out`, by name: answers of the DNN, recorded and measured parameters.

    Parameters that can no longer be read are left out.
    """
    known = dict(clusters.answers.columns if clusters.answers else {})
    source = table_of(out, "parameters") or find_parameters(clusters.image_root)
    with contextlib.suppress(OSError, ValueError):  # people may have edited run.json, and the file may be gone
        if source and may_open(source):
            known = read_parameters(source, clusters.image_root, clusters.paths).columns | known
    return {**known, **{name: column for name, column in clusters.measured.items() if name not in known}}


# --- The DNN's answers ------------------------------------------------------------------------------------------


def specified_answers(tables: GivenAnswers) -> AnsweredImages | None:
    """The answers in the tables that the engineer specified; None if none were.

    Raises
    ------
    SAFEError
        They cannot be read, or only one of the two places is given.
    """
    if not tables.predictions and not tables.tested:
        return None
    if not tables.predictions or not tables.tested:
        raise SAFEError(
            "Expected the table of predictions and the folder of test images together. Received only one of them."
        ).about("predictions", "tested")
    return read_predictions(tables.predictions, tables.tested, partial=tables.partial)


def without_held_out(tested: AnsweredImages, image_root: Path) -> AnsweredImages:
    """Answers without those to images that were held out when the failures in a folder were collected."""
    held = held_out_among(image_root, tested.root, tested.paths)
    return tested.without(held) if held.any() else tested


def known_answers(tables: GivenAnswers, image_root: Path) -> tuple[AnsweredImages | None, dict[str, object]]:
    """The DNN's answers to its test set, given or found beside the image folder; or why there are none, for `run.json`.

    Those that are found and cannot be read, or are of a part of the test set, only cause a note: the clusters do not
    need them, and SAFE has written them.
    """
    if own := specified_answers(tables):
        return without_held_out(own, image_root), {}
    try:
        tested = collected_answers(image_root)
    except SAFEError as error:
        return None, {"predictions": {"source": f"{image_root.parent / PREDICTIONS_FILE}", "notes": [str(error)]}}
    return (tested if tested and _may_open_all(tested) else None), {}  # the table says itself what is held out


def _may_open_all(tested: AnsweredImages) -> bool:
    """Whether all test images, if they were given, may be opened, all links followed."""
    return present_root() is None or not tested.has_images or all(may_open(tested.root / path) for path in tested.paths)


def with_answers(
    clusters: RootCauseClusters, tested: AnsweredImages, *, specified: bool
) -> tuple[RootCauseClusters, dict[str, object]]:
    """The clusters with the DNN's answers to their images, and the record of the predictions in `run.json`."""
    rows = tested.rows_of(clusters.image_root, clusters.paths)
    notes = [*tested.doubts, *tested.notes, *filter(None, [tested.one_sided])]
    if (missing := int((rows < 0).sum())) and len(tested.paths):
        notes.append(f"Without a prediction: {missing:,} of {count(len(rows), 'image')}.")
    if contrary := int(tested.right[rows[rows >= 0]].sum()):
        notes.append(f"Right according to the predictions: {contrary:,} of {count(len(rows), 'image')}.")
    record = {**record_of(tested), "notes": notes, **({"given": True} if specified else {})}
    answers = tested.answers_to(rows)
    known = ((answers.label != "") | (answers.predicted != "")).any()
    return (dataclasses.replace(clusters, answers=answers) if known else clusters), {"predictions": record}


def record_of(tested: AnsweredImages, further: Sequence[str] = ()) -> dict[str, object]:
    """What `run.json` and the report say of the answers to a test set; `further` are more doubts."""
    return {
        "source": os.fspath(tested.source), "tested": os.fspath(tested.root) if tested.has_images else "",
        "digest": tested.digest, "images": len(tested.paths), "wrong": int((~tested.right).sum()),
        "held_out": len(tested.held_out), "doubts": (*tested.doubts, *further),
    }  # fmt: skip


def answers_of_run(out: Path, clusters: RootCauseClusters) -> AnsweredImages | None:
    """The predictions that the run in a folder was found with; None if there are none.

    Raises
    ------
    SAFEError
        They cannot be read, or are not the same any more.
    """
    record = run_record(out).get("predictions", {})
    if "digest" not in record:
        return None
    source, root = (Path(str(record.get(key))) for key in ("source", "tested"))
    if not may_open(source) or not may_open(root):
        return None
    tested = without_held_out(read_predictions(source, root, partial=True), clusters.image_root)
    if tested.digest != record["digest"]:
        raise SAFEError(f"{source} has changed since the clusters were found. Generate them again to compare with it.")
    return tested if _may_open_all(tested) else None


def newest_answers(out: Path, clusters: RootCauseClusters | None) -> AnsweredImages | None:
    """The answers to which failures were last collected in a folder, or those of its run; None if there are neither.

    Raises
    ------
    SAFEError
        The run was found with other answers than the failures, or as in `answers_of_run`.
    """
    of_run = answers_of_run(out, clusters) if clusters else None
    newest = collected_answers(out / FAILURES)
    if of_run and newest and (of_run.paths, of_run.right.tolist()) != (newest.paths, newest.right.tolist()):
        raise SAFEError(
            f"Expected failures and reasons of the same answers. Received: {out}, with failures of {newest.source} and "
            f"reasons of {of_run.source}. Generate the clusters again, or name the answers and their test images."
        ).about("predictions", "tested")
    return of_run or newest
