"""The rounds of an analysis as one history: a model, its reasons for failing, what became of them, and the next model.

Everything is read from what was recorded; no model is run, and no reason is looked for.
"""

import contextlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.clusters import load_clusters, rccs_of, run_record
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.groups import counted
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.reasons.claims import asked
from safe_dnn.reasons.comparison import Reasons, load_reasons
from safe_dnn.store.chain import entries
from safe_dnn.store.database import reading
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, RETRAINING, SELECTION, Run, present_runs, run_file, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.training.closure import CLOSURE_FILE, REST
from safe_dnn.training.earlier import failing_model, retraining_behind
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE, read_retraining


class Round(NamedTuple):
    """A model and the reasons for its failures, or a model of which none were looked for yet.

    Attributes
    ----------
    number : int
        From 1; the same for clusters of the same failures that were both worked on.
    time : str
        When the reasons were found, or the model was retrained; ISO 8601, UTC.
    who : tuple of str
        Names of the engineers.
    model : str
        Its file, or the table of its answers; empty if not known.
    since : int
        The round whose retraining led to it; 0 if none did.
    figures : tuple of float
        Test images, how many of them it gets right, and the accuracy with its 95 % interval, without that where images
        are of groups and no reasons were looked for; empty if its answers are not known.
    tested : str
        Of which images they are.
    reasons : tuple of int
        RCCs and weak spots; empty if none were looked for.
    later : mapping of str to int
        How many of these are in which state with a later model (see `training.closure`); empty if none was asked.
    unsafe : tuple of int
        Images of the unsafe set, and labelled ones; empty if none was selected.
    problem : str
        Why the reasons cannot be read.
    """

    number: int
    time: str
    who: tuple[str, ...]
    model: str = ""
    since: int = 0
    figures: tuple[float, ...] = ()
    tested: str = ""
    reasons: tuple[int, ...] = ()
    later: Mapping[str, int] = MappingProxyType({})
    unsafe: tuple[int, ...] = ()
    problem: str = ""


def rounds_of(folder: Path) -> list[Round]:
    """The rounds of an analysis, the first one first; last, a retrained model whose failures were not clustered yet.

    A SAFEError if there are no clusters.
    """
    found: list[Round] = []
    retrained: dict[int, Run] = {}  # by round
    for number, run in _worked_on(folder):
        behind = None
        with contextlib.suppress(SAFEError):  # damaged, which the round says
            behind = retraining_behind(folder, run)
        since = next((before for before, led in retrained.items() if led == behind), 0)
        found.append(_round(folder, number, run, since))
        if result := present_runs(folder, run).get(RETRAINING):
            retrained[number] = result
    if retrained and (last := max(retrained)) not in [one.since for one in found]:
        found.append(_next(folder, last, retrained[last]))
    return found


def _worked_on(folder: Path) -> list[tuple[int, Run]]:
    """Clusters with the numbers of their rounds: of those of the same answers, the present ones and those that somebody
    went on with, or else the last."""
    present = present_runs(folder).get(CLUSTERS)
    if present is None:
        raise SAFEError(f"Expected root cause clusters. Received none in {folder}. Generate them first.")
    rounds: dict[str, list[Run]] = {}
    for run in ({run.clusters: run for run in runs_of(folder, CLUSTERS)} | {present.clusters: present}).values():
        answers = run_record(folder, run).get("predictions", {}).get("digest")
        rounds.setdefault(answers or run.clusters.partition(" ")[2], []).append(run)
    chosen: list[tuple[int, Run]] = []
    for number, runs in enumerate(rounds.values(), 1):
        used = [run for run in runs if run == present or {RETRAINING, CONFIRMATION} & present_runs(folder, run).keys()]
        chosen += [(number, run) for run in used or runs[-1:]]
    return chosen


def _round(folder: Path, number: int, run: Run, since: int) -> Round:
    resting, answers = present_runs(folder, run), run_record(folder, run).get("predictions", {})
    one = Round(number, run.time, _who(folder, run))
    try:
        review = load_review(folder, original=load_clusters(folder, run))
        reasons = load_reasons(folder, review.original, run)
        unsafe = load_unsafe_set(folder, resting[SELECTION]).images if SELECTION in resting else ()
        later = asked(resting.get(CONFIRMATION), review, CLOSURE_FILE, "state")
    except SAFEError as error:
        return one._replace(problem=str(error))
    model = failing_model(review.clusters.image_root) or Path(answers.get("source", ""))
    return one._replace(
        model=MODEL_FILE if since else model.name, since=since,
        figures=_figures(answers.get("images", 0), answers.get("wrong", 0), reasons),
        tested=Path(answers.get("tested", "")).name, reasons=(len(rccs_of(review.clusters)), len(reasons.spots)),
        later=Counter(state for reason, state in later.items() if reason != REST),
        unsafe=(len(unsafe), sum(bool(image.label) for image in unsafe)) if unsafe else (),
    )  # fmt: skip


def _next(folder: Path, since: int, run: Run) -> Round:
    """The model that a round led to, of which no reasons were looked for."""
    one = Round(since + 1, run.time, _who(folder, run), since=since)
    try:
        result = read_retraining(run_file(run, RETRAINING_FILE), folder)
    except SAFEError as error:
        return one._replace(problem=str(error))
    final, images, by_group, tested = result.final, result.test_size, result.by_group, result.test_root.name
    if final:
        images, by_group, tested = final.counts.images, final.by_group, "images that chose nothing"
    right = round(images * (final or result).accuracy_after)
    low, high = clopper_pearson(np.array([right]), np.array([images]))
    known = (right / images, float(low[0]), float(high[0]))[: 1 if by_group else 3]
    return one._replace(model=(result.after or Path(MODEL_FILE)).name, figures=(images, right, *known), tested=tested)


def _who(folder: Path, run: Run) -> tuple[str, ...]:
    """The engineers who have said or made anything of clusters and what rests on them, or have made a run."""
    rests_on = (run.clusters, run.itself, run.number)
    with reading(folder) as db:
        return tuple(sorted({one.engineer for one in entries(db, "run IN (?, ?) OR number = ?", *rests_on)} - {""}))


def _figures(images: int, wrong: int, reasons: Reasons) -> tuple[float, ...]:
    """See `Round`; the interval is wider where images are of groups."""
    if not images:
        return ()
    of, failing = np.arange(images), wrong
    if reasons.comparison and reasons.comparison.groups:  # of a part, if images are very many
        of, failing = reasons.comparison.groups.of, len(reasons.comparison.failing)
    _, _, low, high, *_ = counted(np.ones(len(of), bool), np.arange(len(of)) < failing, of, 0.0)
    return (images, images - wrong, 1 - wrong / images, 1 - high, 1 - low)
