"""The DNN before and after retraining: which test images improved or worsened, and the correct share of each reason."""

import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import RootCauseClusters, run_record
from safe_dnn.rccs.spots.conditions import are_known
from safe_dnn.rccs.spots.weak_spots import load_spots
from safe_dnn.reasons.known import is_tested, known_of, nearest_to_tested
from safe_dnn.reasons.known_groups import KnownGroups, group_names, groups_of_test, notes_of
from safe_dnn.store.runs import COMPARISON, REASONS, present_runs, runs_of
from safe_dnn.support.images import same_content


class Answered(NamedTuple):
    """A test image with what both models say of it.

    Attributes
    ----------
    image : str
        Path relative to the test folder.
    label, before, after : str
        The class and the predictions; for a regression, numbers separated by spaces.
    """

    image: str
    label: str
    before: str
    after: str


class Share(NamedTuple):
    """The number of correct predictions in a group of test images.

    Attributes
    ----------
    name : str
        The RCC's id (-1 for noise), the class, a weak spot's conditions, or the path of a failing image.
    images : int
        Number of test images in the group. For an RCC: those in its region or, if nothing was compared with right
        images, its failing images that are found in the test set.
    before, after : int
        How many of them the model predicts correctly.
    """

    name: str
    images: int
    before: int
    after: int


class Counts(NamedTuple):
    """What two models get right on the same images.

    Attributes
    ----------
    images : int
    right_before : int
        Images that the first model gets right.
    improved, worsened : int
        Images that only the second, or only the first model gets right.
    """

    images: int
    right_before: int
    improved: int
    worsened: int


class GroupCount(NamedTuple):
    """What both models get right of a class in a group of images that are not independent, such as those of a person.

    Attributes
    ----------
    group : int
        From 0.
    label : str
        The class; empty for a regression.
    images, right_before, improved, worsened : int
        As of `Counts`.
    """

    group: int
    label: str
    images: int
    right_before: int
    improved: int
    worsened: int


class ByGroup(NamedTuple):
    """The test images by group.

    Attributes
    ----------
    name : str
        What a group is, such as `person`.
    counts : tuple of GroupCount
        Empty if images only look as if they were of such groups, and count as independent.
    """

    name: str
    counts: tuple[GroupCount, ...]


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """What two models get right on the same test set.

    Attributes
    ----------
    accuracy_before, accuracy_after : float
    test_size : int
        Number of images that both were tested on.
    improved, worsened : tuple of Answered
        Wrong before and correct after, and vice versa. Sorted by path.
    per_rcc : tuple of Share
        For each RCC, noise last; empty if there are no clusters to compare with.
    per_class : tuple of Share
        Empty for a regression.
    per_condition : tuple of Share
        For each weak spot whose condition is known of the images.
    outcomes : tuple of Share
        For each failing image of the RCCs that a test image is nearest to, these test images; if nothing was compared
        with right images, itself.
    answers : tuple of Answered
        What both models say of every test image, in the order of the test set; empty for a regression.
    by_group : ByGroup or None
        The test images by person, drive or the like; None if they are, as far as is known, independent.
    """

    accuracy_before: float
    accuracy_after: float
    test_size: int
    improved: tuple[Answered, ...]
    worsened: tuple[Answered, ...]
    per_rcc: tuple[Share, ...]
    per_class: tuple[Share, ...]
    per_condition: tuple[Share, ...] = ()
    outcomes: tuple[Share, ...] = ()
    answers: tuple[Answered, ...] = ()
    by_group: ByGroup | None = None

    @property
    def counts(self) -> Counts:
        """Of all test images."""
        right_before = round(self.accuracy_before * self.test_size)
        return Counts(self.test_size, right_before, len(self.improved), len(self.worsened))


def compare_in(
    folder: Path, clusters: RootCauseClusters | None, before: AnsweredImages, after: AnsweredImages, *,
    nearest: Iterable[tuple[str, int]] = (),
) -> tuple[BeforeAfter, tuple[str, ...]]:  # fmt: skip
    """Compare the answers of two models, by the groups that are known of the images; and sentences on these groups.

    Parameters
    ----------
    folder
        As for `reasons.known_groups.groups_of_test`.
    clusters : RootCauseClusters or None
        The RCCs of the first model's failures, if they are known.
    before, after : AnsweredImages
        Entry i of both belongs to the same image.
    nearest : iterable of (str, int), optional
        As for `outcomes`.
    """
    known_groups = groups_of_test(folder, before.root, before.paths, before.right)
    pairs = nearest or (_nearest(folder, before) or _themselves(clusters, before) if clusters else ())
    outcomes_of_images = outcomes(pairs, before, after)
    label, is_classifier = before.answers.label, before.task == "classification"
    columns = (label.tolist(), before.answers.predicted.tolist(), after.answers.predicted.tolist())
    answers = tuple(map(Answered, before.paths, *columns))
    compared = BeforeAfter(
        accuracy_before=before.accuracy, accuracy_after=after.accuracy, test_size=len(answers),
        improved=tuple(itertools.compress(answers, ~before.right & after.right)),
        worsened=tuple(itertools.compress(answers, before.right & ~after.right)),
        per_rcc=shares_by_rcc(clusters, outcomes_of_images) if clusters else (),
        per_class=shares_by_class(before, after) if is_classifier else (),
        per_condition=shares_by_condition(folder, before, after),
        outcomes=outcomes_of_images, answers=answers if is_classifier else (),
        by_group=_by_group(before, after, known_groups),
    )  # fmt: skip
    return compared, notes_of(known_groups)


def _by_group(before: AnsweredImages, after: AnsweredImages, known_groups: KnownGroups | None) -> ByGroup | None:
    if known_groups is None:
        return None
    groups = known_groups.groups
    if not known_groups.named:
        return ByGroup(groups.name, ())
    of_classes = before.answers.label if before.task == "classification" else np.full(len(before.paths), "")
    names, labels = np.unique(of_classes, return_inverse=True)
    return ByGroup(groups.name, count_by_group(groups.of, labels, names.tolist(), before.right, after.right))


def count_by_group(
    groups: np.ndarray, labels: np.ndarray, names: Sequence[str], before: np.ndarray, after: np.ndarray
) -> tuple[GroupCount, ...]:
    """What both models get right of each class in each group.

    Parameters
    ----------
    groups, labels : ndarray of shape (n_images,), int
        The group of each image, and its class, as an index.
    names : sequence of str
        Of the classes.
    before, after : ndarray of shape (n_images,), bool
        Whether each model gets the image right.
    """
    cells, place = np.unique(np.column_stack([groups, labels]), axis=0, return_inverse=True)
    counted = (before | True, before, ~before & after, before & ~after)
    columns = np.column_stack([np.bincount(place.ravel(), of, len(cells)) for of in counted]).astype(int)
    rows = zip(cells.tolist(), columns.tolist(), strict=True)
    return tuple(GroupCount(group, names[label], *row) for (group, label), row in rows)


def shares_by_class(before: AnsweredImages, after: AnsweredImages) -> tuple[Share, ...]:
    """The number of correct predictions for each class."""
    label = before.answers.label
    return tuple(_share(name, label == name, before, after) for name in before.known_classes)


def _share(name: str, of: np.ndarray, before: AnsweredImages, after: AnsweredImages) -> Share:
    return Share(name, int(of.sum()), int(before.right[of].sum()), int(after.right[of].sum()))


def shares_by_condition(folder: Path, before: AnsweredImages, after: AnsweredImages) -> tuple[Share, ...]:
    """The number of correct predictions for the images of each weak spot of an analysis; not of words.

    What its table of parameters says is about its own test set; of other images it is found beside them.
    """
    runs = present_runs(folder)
    compared = [run for run in (runs.get(COMPARISON), *reversed(runs_of(folder, REASONS))) if run][:1]
    spots = [spot for run in compared for spot in load_spots(run)]
    if not spots:
        return ()
    table = run_record(folder).get("parameters", {}).get("source") if is_tested(folder, before.root) else None
    groups = group_names(run_record(folder))
    columns = known_of(before, parameters=table, groups=groups).columns
    known = (spot for spot in spots if are_known(spot.literals, columns))
    return tuple(_share(spot.conditions, spot.holds(columns), before, after) for spot in known)


def outcomes(nearest: Iterable[tuple[str, int]], before: AnsweredImages, after: AnsweredImages) -> tuple[Share, ...]:
    """The results of both models, by the failing image that test images are nearest to (see `rccs.spots.rates`).

    Parameters
    ----------
    nearest : iterable of (str, int)
        Failing images, each with the row of a test image that is nearest to it. If nothing was compared with right
        images, or these are not the images that were compared: the failing images themselves, which are copies of test
        images, and matched by their content.
    """
    rows = list(nearest)
    images, right, later = (Counter(path for path, row in rows if of[row]) for of in (
        np.ones(len(before.paths), bool), before.right, after.right))  # fmt: skip
    return tuple(Share(path, images[path], right[path], later[path]) for path in sorted(images))


def _nearest(folder: Path, tested: AnsweredImages) -> list[tuple[str, int]]:
    """The failing image that each tested image is nearest to, with its row; empty if that is not known."""
    row_of = {path: row for row, path in enumerate(tested.paths)}
    pairs = nearest_to_tested(folder, tested.root).items()
    return [(nearest, row_of[image]) for image, nearest in pairs if nearest and image in row_of]


def _themselves(clusters: RootCauseClusters, tested: AnsweredImages) -> Iterator[tuple[str, int]]:
    places = ((clusters.image_root, clusters.paths), (tested.root, tested.paths))
    files, images = ([root / path for path in paths] for root, paths in places)
    for path, rows in zip(clusters.paths, same_content(files, images), strict=True):
        yield from ((path, row) for row in rows[:1])


def shares_by_rcc(clusters: RootCauseClusters, shares: Iterable[Share]) -> tuple[Share, ...]:
    """The number of correct predictions for the images of each RCC, as in `outcomes`, with the RCCs as they are now."""
    rcc_of = dict(zip(clusters.paths, clusters.labels.tolist(), strict=True))
    counts = {rcc: np.zeros(3, int) for rcc in clusters.groups}
    for share in shares:
        if share.name in rcc_of:
            counts[rcc_of[share.name]] += share[1:]
    return tuple(Share(str(rcc), *of_rcc.tolist()) for rcc, of_rcc in counts.items())
