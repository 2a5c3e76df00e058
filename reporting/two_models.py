"""Two models side by side: what each gets right on the test images that both were run on.

The counts, the test and its interval are those of a retraining, whose first model is A here and whose second one is B.
Images are matched by their paths in the test folders.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.failures import DETECTION, describe
from dnn.predictions import Judgement, LabelledImages
from rccs.review.notes import title
from rccs.review.review import Review
from reasons.comparison import Reasons
from reasons.groups import groups_of_test, notes_of
from reporting.models import REGRESSION, ModelAnswers
from support.errors import SAFEError
from support.text import count, printable
from training.certainty import (
    BETTER,
    NOT_SHOWN,
    Certainty,
    accuracy_of,
    certainty,
    class_certainties,
    count_pairs,
    gain_text,
    interval_text,
    mcnemar_text,
    what_is_missing,
)
from training.compared import aligned
from training.comparison import BeforeAfter, Outcome, before_and_after

MOST_READ = 200  # images of the same name in two folders whose contents are compared
# Lists of images by who gets them right.
EVERY, A_RIGHT, B_RIGHT, BOTH, ONLY_A, ONLY_B, NEITHER = "all", "a", "b", "both", "only-a", "only-b", "neither"
MEANINGS = {
    EVERY: "run on both",
    A_RIGHT: "A is right",
    B_RIGHT: "B is right",
    BOTH: "both are right",
    ONLY_A: "only A is right",
    ONLY_B: "only B is right",
    NEITHER: "both are wrong",
}


class Group(NamedTuple):
    """Failing images that have something in common: an RCC or a weak spot of the analysis at hand.

    Attributes
    ----------
    key : str
        `rcc:3`, or `spot:0`.
    name : str
        For people; plain text.
    failing : int
        Its failing images.
    outcomes : tuple of Outcome
        Of those that both models were run on; `before` is that of A, `after` that of B.
    """

    key: str
    name: str
    failing: int
    outcomes: tuple[Outcome, ...]

    def right(self, which: str) -> int:
        """How many of them A (`A_RIGHT`) or B (`B_RIGHT`) gets right."""
        return sum(one.before if which == A_RIGHT else one.after for one in self.outcomes)


class TwoModels(NamedTuple):
    """Two models on the same test images.

    Attributes
    ----------
    names : tuple of str
        Of A and B.
    images : LabelledImages
        Those that both were run on.
    a, b : Judgement
        Entry i of each belongs to image i.
    found : BeforeAfter
        A is the model before, B the one after. Of classes without images there is no share.
    groups : tuple of Group
        RCCs, then weak spots; empty if the analysis at hand has none.
    failing_root : Path
        The folder of the failing images in the groups.
    notes : tuple of str
        Sentences on images that could not be matched.
    """

    names: tuple[str, str]
    images: LabelledImages
    a: Judgement
    b: Judgement
    found: BeforeAfter
    groups: tuple[Group, ...]
    failing_root: Path
    notes: tuple[str, ...]

    @property
    def sure(self) -> Certainty:
        """How sure it is that B is better or worse."""
        return certainty(count_pairs(self.a.right, self.b.right), self.found.by_group)

    @property
    def sure_of_classes(self) -> list[Certainty]:
        """The same for each class of `found.per_class`, with p corrected for their number."""
        found = self.found
        return class_certainties(found.per_class, found.improved, found.worsened, found.by_group)

    def of(self, which: str) -> np.ndarray:
        """Whether an image is in a list, such as `ONLY_A`: ndarray of shape (n_images,), bool."""
        a, b = self.a.right, self.b.right
        known = {EVERY: a | True, A_RIGHT: a, B_RIGHT: b, BOTH: a & b, ONLY_A: a & ~b, ONLY_B: ~a & b}
        return known.get(which, ~a & ~b)


class ListedImages(NamedTuple):
    """Images to show.

    Attributes
    ----------
    heading : str
        What they are, in words.
    root : Path
    images : tuple of (str, str)
        For each the path below `root`, and what both models say of it.
    """

    heading: str
    root: Path
    images: tuple[tuple[str, str], ...]


# --- Comparing --------------------------------------------------------------------------------------------------


def compare_models(
    a: ModelAnswers,
    b: ModelAnswers,
    *,
    review: Review | None = None,
    reasons: Reasons | None = None,
    within: Path | None = None,
) -> TwoModels:
    """Compare two models by their answers.

    Parameters
    ----------
    review : Review, optional
        The RCCs of the analysis at hand.
    reasons : Reasons, optional
        Its weak spots.
    within : Path, optional
        As for `reasons.groups.groups_of_test`; the analysis is that of A.

    Raises
    ------
    SAFEError
        They are the same model, or models that cannot be compared, or were tested on different images.
    """
    _check_comparable(a, b)
    images, first, second = aligned(a.given, b.given)
    notes = [_alone(a, b, len(images.paths)), _check_same_images(images, b)]
    clusters = review.clusters if review else None
    known_groups = groups_of_test(a.model.folder, images.root, images.paths, first.right, within=within)
    found = before_and_after(clusters, images, first, second, known_groups)
    found = found._replace(per_class=tuple(share for share in found.per_class if share.images))
    return TwoModels(
        names=(a.model.name, b.model.name),
        images=images,
        a=first,
        b=second,
        found=found,
        groups=tuple(_groups(review, reasons or Reasons(), found.outcomes)) if review else (),
        failing_root=clusters.image_root if clusters else images.root,
        notes=tuple(filter(None, (*notes, *notes_of(known_groups)))),
    )


def _check_comparable(a: ModelAnswers, b: ModelAnswers) -> None:
    names = f"{a.model.name}, and {b.model.name}"
    tasks = (a.given.task, b.given.task)
    if (a.model.folder.resolve(), a.model.key) == (b.model.folder.resolve(), b.model.key):
        raise SAFEError("Expected two different models. Received the same one twice. Choose another one.")
    if DETECTION in tasks:
        raise SAFEError(
            "Expected classifiers or regressions: what a detector finds and misses is cut out as images of its own, "
            f"which no other one was run on. Received: {names}. Compare the reports of both."
        )
    of_regression = [(one.threshold, len(one.given.images.classes)) for one in (a, b)]
    if tasks[0] != tasks[1] or (tasks[0] == REGRESSION and of_regression[0] != of_regression[1]):
        raise SAFEError(
            "Expected two classifiers, or two regressions with the same targets and threshold. Received: "
            f"{names}. Choose models of the same kind."
        )


def _alone(a: ModelAnswers, b: ModelAnswers, both: int) -> str:
    """A sentence on the images that only one of the models was run on; empty if there are none."""
    alone = [len(one.given.judgement.indices) - both for one in (a, b)]
    if not any(alone):
        return ""
    told = " and ".join(f"{count(n, 'image')} of {name}" for n, name in zip(alone, "AB", strict=True) if n)
    return f"Left out, since only one of the models was run on them: {told}."


def _check_same_images(images: LabelledImages, b: ModelAnswers) -> str:
    """Make sure that images of the same name in two test folders are the same; a sentence if that is not known.

    All sizes are compared, and the contents of `MOST_READ` images.
    """
    root, other = images.root.resolve(), b.given.images.root.resolve()
    if root == other:
        return ""
    read = set(np.linspace(0, len(images.paths) - 1, MOST_READ).astype(int).tolist())
    unknown = 0
    for i, path in enumerate(images.paths):
        try:
            same = (root / path).stat().st_size == (other / path).stat().st_size
            same = same and (i not in read or (root / path).read_bytes() == (other / path).read_bytes())
        except OSError:
            unknown += 1
            continue
        if not same:
            raise SAFEError(
                f"Expected models that were tested on the same images. Received: {printable(path)} in {root} is "
                f"another image than in {other}. Choose a model with the same test set."
            )
    if not unknown:
        return ""
    return f"Matched by name alone, since they are gone from {root} or {other}: {count(unknown, 'image')}."


def _groups(review: Review, reasons: Reasons, outcomes: Sequence[Outcome]) -> Iterator[Group]:
    clusters, by_image = review.clusters, {one.image: one for one in outcomes}
    named = [(f"rcc:{rcc}", title(rcc, review.notes), clusters.members(rcc)) for rcc in clusters.groups]
    for number, (spot, rows) in enumerate(zip(reasons.spots, reasons.images, strict=True)):
        named.append((f"spot:{number}", spot.where, [clusters.paths[row] for row in rows.tolist()]))
    for key, name, paths in named:
        yield Group(key, name, len(paths), tuple(by_image[path] for path in paths if path in by_image))


# --- The images of a count --------------------------------------------------------------------------------------


def images_of_count(two: TwoModels, chosen: str) -> ListedImages:
    """The images of a count.

    Parameters
    ----------
    chosen : str
        One of `MEANINGS`, alone, or after a class (`class:2/only-a`) or a group (`rcc:3/b`). Anything else, which only
        a script of somebody else can have sent, is `NEITHER`.
    """
    group, _, which = chosen.rpartition("/")
    which = which if which in MEANINGS else NEITHER
    kind, _, number = group.partition(":")
    meaning = MEANINGS[which]
    if found := next((one for one in two.groups if one.key == group), None):
        wanted = [one for one in found.outcomes if which == EVERY or (one.before if which == A_RIGHT else one.after)]
        row_of = {path: row for row, path in enumerate(two.images.paths)}
        told = [(one.image, _told(two, row_of[one.image]) if one.image in row_of else "") for one in wanted]
        return ListedImages(f"{count(len(told), 'image')} of {found.name}: {meaning}", two.failing_root, tuple(told))
    rows, of = two.of(which), ""
    classes = two.images.classes
    if kind == "class" and number.isdecimal() and int(number[:9]) < len(classes) and two.images.labels.ndim == 1:
        rows, of = rows & (two.images.labels == int(number[:9])), f" of {classes[int(number[:9])]}"
    told = [(two.images.paths[row], _told(two, row)) for row in np.flatnonzero(rows).tolist()]
    return ListedImages(f"{count(len(told), 'image')}{of}: {meaning}", two.images.root, tuple(told))


def _told(two: TwoModels, row: int) -> str:
    label, a, b = (describe(two.images, of[row]) for of in (two.images.labels, two.a.predicted, two.b.predicted))
    return f"{label} · A: {a} · B: {b}"


# --- In words ---------------------------------------------------------------------------------------------------


def accuracy_texts(two: TwoModels) -> tuple[str, str]:
    """The accuracy of A and of B, each with its interval: `92.1% (95% interval 91.0–93.1%)`."""
    both = (accuracy_of(int(of.right.sum()), len(two.images.paths)) for of in (two.a, two.b))
    first, second = (f"{share:.1%} (95% interval {100 * low:.1f}–{high:.1%})" for share, low, high in both)
    return first, second


def verdict_text(sure: Certainty) -> str:
    """Which model is better, with its figures; otherwise what it would take to show it."""
    figures = f"{gain_text(sure)} points for B ({interval_text(sure)}; {mcnemar_text(sure)})"
    if sure.verdict != NOT_SHOWN:
        return f"{'B' if sure.verdict == BETTER else 'A'} is better beyond doubt: {figures}"
    return f"Not shown which is better: {figures}: {what_is_missing(sure)}"


def class_verdict(sure: Certainty) -> str:
    """Which model is better on a class beyond doubt, in a word; empty if that is not shown."""
    return "" if sure.verdict == NOT_SHOWN else "B is better" if sure.verdict == BETTER else "A is better"


def comparison_lines(two: TwoModels) -> list[str]:
    """The whole comparison, a line each, for the command line."""
    n = len(two.images.paths)
    accuracies = accuracy_texts(two)
    four = (BOTH, ONLY_A, ONLY_B, NEITHER)
    counts = ", ".join(f"{MEANINGS[which]} on {int(two.of(which).sum()):,}" for which in four)
    models = zip("AB", two.names, accuracies, strict=True)
    told = [f"{letter}: {name}: accuracy {accuracy}" for letter, name, accuracy in models]
    told += [f"Of {count(n, 'test image')} of both, {counts}", verdict_text(two.sure), *two.notes]
    for share, sure in zip(two.found.per_class, two.sure_of_classes, strict=True):
        if verdict := class_verdict(sure):
            told.append(f"Class {share.name}: {verdict}: {gain_text(sure)} points for B ({interval_text(sure)})")
    for group in two.groups:
        of = f"of {count(len(group.outcomes), 'failing image')}"
        told.append(f"{group.name}: A gets {group.right(A_RIGHT):,}, B {group.right(B_RIGHT):,} right {of}")
    return told
