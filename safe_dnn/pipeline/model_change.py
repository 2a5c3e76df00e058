"""Whether a new model is worse than the one before for a reason: what CI asks before it takes over a model.

In: the answers of both models to the same images. Out: for each reason, and for all images that none is about,
McNemar's test of the difference, of groups where images are not independent, corrected for the number of reasons (see
`training/closure.py`). A difference within this noise is none.

Two kinds of reasons would call a model worse that is as good as the one before, and are left out: those of failures
that are the new model's, since they were chosen where it fails and not where the other one does, and conditions on the
answers given (`training.closure.by_answers`).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.given_answers import unknown_classes
from safe_dnn.dnn.tested import AnsweredImages, read_predictions
from safe_dnn.rccs.answers import CONFIDENCE
from safe_dnn.rccs.clusters import RootCauseClusters, run_record
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.failure_rounds import beside
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.spots.groups import Groups
from safe_dnn.reasons.claims import Claim, claims_of
from safe_dnn.reasons.comparison import Known, known_classes, load_reasons
from safe_dnn.reasons.counted_images import TESTED_FILE
from safe_dnn.reasons.requirements import Requirement
from safe_dnn.store.runs import CLUSTERS, COMPARISON, present_runs, reading_file
from safe_dnn.support.entries import StrPath
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import read_table
from safe_dnn.support.text import count, printable
from safe_dnn.training.closure import Closure, by_answers, closures
from safe_dnn.training.compared import aligned


class Change(NamedTuple):
    """What is different from an earlier model, and sentences on what could not be asked."""

    closures: tuple[Closure, ...] = ()
    notes: tuple[str, ...] = ()


def compare_models(
    before: StrPath, after: AnsweredImages, known: Known, groups: Groups | None, *, partial: bool,
    requirements: Sequence[Requirement], out: Path,
) -> Change:  # fmt: skip
    """What a new model makes of each reason and of each requirement's images, and of all others.

    Parameters
    ----------
    before : path
        The earlier model's answers to the same images, as of `dnn.tested.read_predictions`.
    after, known, groups
        The new model's answers, and what is known of the images.
    out : Path
        If it is an analysis, its weak spots are asked about on any images, its RCCs on the test images that they were
        compared with.

    Raises
    ------
    SAFEError
        The table cannot be read, lacks some of the images, disagrees on their classes, or names them otherwise.
    """
    earlier = right_by(before, after, partial=partial)
    claims, notes = [], []
    if review := load_review(out) if CLUSTERS in present_runs(out) else None:
        reasons, clusters = load_reasons(out, review.original), review.clusters  # as the engineer has edited them
        if _likeness(clusters, after, after.right) > _likeness(clusters, after, earlier):
            notes.append(f"Not compared for the reasons in {out}: they are of the new model's failures.")
        else:
            regions = _regions(out, clusters, after)
            claims = claims_of(reasons.spots, known.columns, reasons.rates(clusters), regions)
    found = {claim.where for claim in claims}
    claims += [
        Claim(one.where, "", math.nan, 0.0, 1.0, one.holds(known.columns, len(after.paths)), conditions=one.conditions)
        for one in requirements
        if one.where not in found
    ]
    changes = closures(claims, earlier, after.right, groups, known_classes(after))
    return Change(tuple(change for change in changes if change.tested), (*notes, *by_answers(claims)))


def _likeness(clusters: RootCauseClusters, tested: AnsweredImages, right: np.ndarray) -> float:
    """How alike a model's failures are to those of an analysis: Jaccard's index."""
    failures = np.zeros(len(right), bool)
    rows = tested.rows_of(clusters.image_root, clusters.paths)
    failures[rows[rows >= 0]] = True
    return float((failures & ~right).sum() / max((failures | ~right).sum(), 1))


def right_by(table: StrPath, images: AnsweredImages, *, partial: bool) -> np.ndarray:
    """Whether another model gets each of these images right: ndarray of shape (n_images,), bool."""
    given = read_predictions(table, images.root, partial=partial)
    check_names(given, images)
    _, other = aligned(images, given)
    if missing := sorted({*images.paths} - {*other.paths}):
        raise SAFEError(
            f"Expected answers of both models to the same images. Received: {other.source}, without "
            f"{count(len(missing), 'image')} of {images.source}, such as {printable(missing[0])}."
        )
    return other.right


def check_names(given: AnsweredImages, first: AnsweredImages) -> None:
    """Refuse answers of a classifier whose classes have other names than in earlier ones: all would be wrong."""
    if given.answers.kind == CONFIDENCE:
        unknown_classes(given, {*first.answers.label.tolist(), *first.answers.predicted.tolist()} - {""})


def _regions(out: Path, clusters: RootCauseClusters, tested: AnsweredImages) -> np.ndarray:
    """The RCC in whose region each image lies, if the RCCs were compared with it; else `NOISE`."""
    run, record = present_runs(out).get(COMPARISON), run_record(out).get("predictions", {})
    if run is None or beside(str(record.get("tested")), clusters.image_root) != tested.root:
        return np.full(len(tested.paths), NOISE)
    with reading_file(run, TESTED_FILE) as file:
        table = read_table(file, "images that were compared", own=True, code_page=None)
    nearest = dict(zip(table.texts("image"), table.texts("nearest"), strict=True))
    rcc_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
    return np.array([rcc_of.get(nearest.get(path, ""), NOISE) for path in tested.paths], int)
