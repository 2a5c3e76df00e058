"""Requirements are checked on a test set, so that what decides about a model, such as CI, can ask."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from dnn.tested import AnsweredImages
from pipeline.answers import answers_of_run, given_answers
from pipeline.run_record import groups_of
from rccs.clusters import load_clusters
from rccs.parameters import find_parameters
from reasons.comparison import known_of
from reasons.groups import named_groups
from reasons.requirements import Finding, findings, read_requirements
from store.runs import CLUSTERS, present_runs
from support.entries import StrPath
from support.errors import SAFEError
from support.images import find_images
from support.progress import Progress, no_progress
from training.proof import overlaps

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
    notes = (*answered.notes, *shared, *(found.notes if found else ()), *(() if given else (CHOSEN_BY,)))
    return Checked(tuple(told), notes)


def _overlaps(learned: StrPath, tested: AnsweredImages, progress: Progress) -> list[str]:
    """How many tested images are nearly the same as learned ones, in words."""
    images = find_images(learned)
    proving = {"test": [tested.root / path for path in tested.paths]}
    found = overlaps({"training": [images.root / path for path in images.paths]}, proving, progress=progress)
    return [f"{one.text}, and prove less than they seem to, such as {one.examples[0][1]}." for one in found]
