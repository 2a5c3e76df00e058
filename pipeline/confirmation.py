"""After step 2, without searching again: what was found is asked of a fresh test set, and requirements are checked.

So that what decides about a model, such as CI, can ask as well.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.tested import AnsweredImages, read_predictions
from pipeline.answers import answers_of_run, given_answers
from pipeline.descriptions import show_reasons
from pipeline.run_record import groups_of
from rccs.answers import CONFIDENCE
from rccs.clusters import load_clusters
from rccs.dbscan.neighbours import Points
from rccs.dbscan.outcome import NOISE
from rccs.parameters import find_parameters
from rccs.review.review import Review, load_review
from reasons.comparison import known_of, load_reasons, points_of_tested
from reasons.confirmation import CONFIRMATION_FILE, answers_to, claims_of, confirmation_text
from reasons.groups import named_groups, notes_of
from reasons.requirements import Finding, findings, read_requirements
from store.output_folder import working
from store.places import relative
from store.runs import CLUSTERS, CONFIRMATION, add_run, present_runs
from support.contents import in_common
from support.entries import StrPath
from support.errors import SAFEError
from support.images import find_images
from support.progress import Progress, no_progress
from support.text import count, printable, some
from training.closure import CLOSURE_FILE, closure_text, closures
from training.proof import overlaps


class Confirmation(NamedTuple):
    """Sentences: what fresh images say of each reason, what a later model makes of it, and on the images themselves."""

    told: tuple[str, ...]
    closed: tuple[str, ...]
    notes: tuple[str, ...]


def confirm(
    out: Path, predictions: StrPath, tested: StrPath, *, after: StrPath | None = None, groups: Sequence[str] = (),
    partial: bool = False, weights: StrPath | None = None, progress: Progress = no_progress,
) -> Confirmation:  # fmt: skip
    """Ask the weak spots, and the RCCs that fail more often, of the run in `out` of fresh images.

    Parameters
    ----------
    predictions, tested, partial
        As for `dnn.tested.read_predictions`.
    after : path, optional
        What a later model says of the same images: then also which reasons are closed (see `training/closure.py`).
    groups : sequence of str
        As for `cluster`; by default those of the run.
    weights
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        Nothing was found, the fresh images have images or classes in common with the others that they must not have, or
        a table or image cannot be read.
    """
    with working(out, "confirming"):
        review, run = load_review(out), present_runs(out)[CLUSTERS]
        reasons = load_reasons(out, review.original, run)
        first = answers_of_run(out, review.original, None)
        if first is None or reasons.comparison is None:
            raise SAFEError(
                f"Expected RCCs and weak spots found with the network's answers to a test set. Received: {out}, "
                "without such answers. Find the failures and cluster them first."
            )
        fresh = read_predictions(predictions, tested, partial=partial)
        _check_fresh(fresh, first, review)
        later = _right_after(after, fresh, partial) if after else None
        names = tuple(groups) or groups_of(out)
        parameters = find_parameters(fresh.root)
        found = named_groups(names, fresh, parameters=parameters, required=bool(groups))
        columns = known_of(fresh, groups=names, progress=progress).columns
        regions = np.full(len(fresh.paths), NOISE)  # also of images that cannot be read
        points, read = points_of_tested(
            review.clusters, fresh, np.arange(len(fresh.paths)), parameters=parameters, weights=weights,
            progress=progress,
        )  # fmt: skip
        regions[read] = review.clusters.labels[Points(review.clusters.points).nearest_to(points)[0]]
        claims = claims_of(reasons.spots, columns, reasons.rates(review.clusters), regions)
        of = found.groups if found and found.given else None
        answers = answers_to(claims, ~fresh.right, of)
        closed = [] if later is None else closures(claims, fresh.right, later, of)
        texts = (tuple(one.text for one in answers), tuple(one.text for one in closed))
        confirmation = Confirmation(*texts, (*fresh.notes, *notes_of(found)))
        facts = {
            "source": relative(fresh.source, out), "tested": relative(fresh.root, out), "images": len(fresh.paths),
            "wrong": int((~fresh.right).sum()), "edits": review.last_number, **confirmation._asdict(),
        }  # fmt: skip
        files = {CONFIRMATION_FILE: confirmation_text(answers)}
        files |= {CLOSURE_FILE: closure_text(closed)} if closed else {}
        add_run(out, CONFIRMATION, files, clusters=run.itself, facts=facts)
        show_reasons(out)
    return confirmation


def _right_after(table: StrPath, fresh: AnsweredImages, partial: bool) -> np.ndarray:
    """Whether a later model gets each fresh image right: ndarray of shape (n_fresh,), bool."""
    later = read_predictions(table, fresh.root, partial=partial)
    right = dict(zip(later.paths, later.right.tolist(), strict=True))
    missing = [path for path in fresh.paths if path not in right]
    if missing:
        raise SAFEError(
            f"Expected answers of both models to the same images. Received: {later.source}, without "
            f"{count(len(missing), 'image')} of {fresh.source}, such as {printable(missing[0])}."
        )
    return np.array([right[path] for path in fresh.paths], bool)


def _check_fresh(fresh: AnsweredImages, first: AnsweredImages, review: Review) -> None:
    """Make sure that the images have chosen nothing, and that the network tells the same classes apart."""
    found_with = (first.root, first.paths), (review.clusters.image_root, review.clusters.paths)
    used = [root / path for root, paths in found_with for path in paths]
    same = np.flatnonzero(in_common([fresh.root / path for path in fresh.paths], used))
    if len(same):
        examples = printable(some([fresh.paths[row] for row in same[:3].tolist()]))
        raise SAFEError(
            f"Expected images that the RCCs and weak spots were not found with. Received {len(same):,} of "
            f"{count(len(fresh.paths), 'image')} that were, such as {examples}. Leave them out."
        )
    others = set(fresh.answers.label) - set(first.answers.label) if first.answers.kind == CONFIDENCE else set()
    if others or fresh.answers.kind != first.answers.kind:
        raise SAFEError(
            f"Expected answers of the same network, with the classes of {first.source}. Received: {fresh.source}"
            f"{', also with ' + printable(some(sorted(others))) if others else ''}. Give images of the same classes."
        )


CHOSEN_BY = (
    "These images also chose the weak spots and RCCs: a requirement that was written after them is shown by other "
    "images alone (--predictions, --tested)."
)


class Checked(NamedTuple):
    """What a test set says of requirements.

    Attributes
    ----------
    findings : tuple of Finding
    notes : tuple of str
        Sentences on the images.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]


def check_requirements(
    requirements: StrPath, out: Path, predictions: StrPath | None = None, tested: StrPath | None = None, *,
    learned: StrPath | None = None, groups: Sequence[str] = (), partial: bool = False, progress: Progress = no_progress,
) -> Checked:  # fmt: skip
    """Check requirements on a network's answers: given ones or, by default, those that the run in `out` is about.

    Parameters
    ----------
    requirements : path
        As for `reasons.requirements.read_requirements`.
    predictions, tested, partial
        As for `pipeline.answers.given_answers`.
    learned : path, optional
        Images that the network has learned from: the notes then tell how many tested ones are nearly the same.
    groups : sequence of str
        As for `cluster`; by default those of the run in `out`, if there is one.

    Raises
    ------
    SAFEError
        A file cannot be read, there are no answers, a requirement is about what is not known of the images, or tested
        images are learned ones.
    """
    required = read_requirements(requirements)  # what is wrong with them is said before the images are read
    given, there = given_answers(predictions, tested, partial=partial), CLUSTERS in present_runs(out)
    answered = given or (answers_of_run(out, load_clusters(out), None) if there else None)
    if answered is None:
        raise SAFEError(
            "Expected the network's answers: --predictions CSV --tested DIR, or an analysis with them. Received: "
            f"{out}, without."
        )
    shared = _overlaps(learned, answered, progress) if learned else ()
    names = tuple(groups) or (groups_of(out) if there else ())
    found = named_groups(names, answered, parameters=find_parameters(answered.root), required=bool(groups))
    known = known_of(answered, groups=names, progress=progress)
    of_images = found.groups if found and found.given else None
    told = findings(required, known.columns, ~answered.right, of_images)
    notes = (*answered.notes, *shared, *notes_of(found), *(() if given else (CHOSEN_BY,)))
    return Checked(tuple(told), notes)


def _overlaps(learned: StrPath, tested: AnsweredImages, progress: Progress) -> list[str]:
    """How many tested images are nearly the same as learned ones, in words."""
    images = find_images(learned)
    proving = {"test": [tested.root / path for path in tested.paths]}
    found = overlaps({"training": [images.root / path for path in images.paths]}, proving, progress=progress)
    return [f"{one.text}, and prove less than they seem to, such as {one.examples[0][1]}." for one in found]
