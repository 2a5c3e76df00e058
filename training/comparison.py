"""The DNN before and after retraining: which test images improved or worsened, and the correct share of each RCC."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.failures import describe
from dnn.predictions import Judgement, LabelledImages
from features.cache import content_key
from rccs.clusters import RootCauseClusters
from support.images import read_bytes


class Changed(NamedTuple):
    """A test image that only one of the two models, before and after, predicts correctly.

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


class Answered(NamedTuple):
    """A test image with what both models say of it.

    Attributes
    ----------
    image : str
        Path relative to the test folder.
    label, before, after : str
        The class and the predictions.
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
        The RCC's id (-1 for noise), or the class.
    images : int
        Number of test images in the group. For an RCC: its failing images that are found in the test set.
    before, after : int
        How many of them the model predicts correctly.
    """

    name: str
    images: int
    before: int
    after: int


class Outcome(NamedTuple):
    """The results of both models on a failing image that is found in the test set.

    Attributes
    ----------
    image : str
        Path relative to the folder of failing images.
    before, after : bool
        Whether the model predicts it correctly.
    """

    image: str
    before: bool
    after: bool


class BeforeAfter(NamedTuple):
    """What two models get right on the same test set.

    Attributes
    ----------
    accuracy_before, accuracy_after : float
    test_size : int
        Number of images that both were tested on.
    improved, worsened : tuple of Changed
        Wrong before and correct after, and vice versa. Sorted by path.
    per_rcc : tuple of Share
        For each RCC, noise last; empty if there are no clusters to compare with.
    per_class : tuple of Share
        Empty for a regression.
    outcomes : tuple of Outcome
        The results on the failing images of the RCCs.
    answers : tuple of Answered
        Of every test image; empty for a regression.
    """

    accuracy_before: float
    accuracy_after: float
    test_size: int
    improved: tuple[Changed, ...]
    worsened: tuple[Changed, ...]
    per_rcc: tuple[Share, ...]
    per_class: tuple[Share, ...]
    outcomes: tuple[Outcome, ...]
    answers: tuple[Answered, ...]


def before_and_after(
    clusters: RootCauseClusters | None, test: LabelledImages, before: Judgement, after: Judgement
) -> BeforeAfter:
    """Compare the judgements of two models; entry i of both belongs to the same image.

    Parameters
    ----------
    clusters : RootCauseClusters or None
        The RCCs of the first model's failures, if they are known.
    """
    found = outcomes(clusters, test, before, after) if clusters else ()
    return BeforeAfter(
        accuracy_before=before.accuracy,
        accuracy_after=after.accuracy,
        test_size=len(before.indices),
        improved=changed(test, before, after, ~before.right & after.right),
        worsened=changed(test, before, after, before.right & ~after.right),
        per_rcc=shares_by_rcc(clusters, found) if clusters else (),
        per_class=shares_by_class(test, before, after) if test.labels.ndim == 1 else (),
        outcomes=found,
        answers=answered(test, before, after) if test.labels.ndim == 1 else (),
    )


def answered(test: LabelledImages, before: Judgement, after: Judgement) -> tuple[Answered, ...]:
    """What two classifiers say of every test image."""
    columns = (of.tolist() for of in (before.indices, before.predicted, after.predicted))
    return tuple(
        Answered(test.paths[i], test.classes[int(test.labels[i])], test.classes[first], test.classes[second])
        for i, first, second in zip(*columns, strict=True)
    )


def changed(test: LabelledImages, before: Judgement, after: Judgement, which: np.ndarray) -> tuple[Changed, ...]:
    """The test images for which the boolean array `which` is true."""
    return tuple(
        Changed(
            test.paths[before.indices[i]],
            describe(test, test.labels[before.indices[i]]),
            describe(test, before.predicted[i]),
            describe(test, after.predicted[i]),
        )
        for i in np.flatnonzero(which).tolist()
    )


def shares_by_class(test: LabelledImages, before: Judgement, after: Judgement) -> tuple[Share, ...]:
    """The number of correct predictions for each class."""
    labels = test.labels[before.indices]
    return tuple(
        Share(name, int(of.sum()), int(before.right[of].sum()), int(after.right[of].sum()))
        for name, of in ((name, labels == i) for i, name in enumerate(test.classes))
    )


def outcomes(
    clusters: RootCauseClusters, test: LabelledImages, before: Judgement, after: Judgement
) -> tuple[Outcome, ...]:
    """The results of both models on the failing images.

    Failing images are copies of test images, in any folder. A failing image is matched to the test image with the same
    content; if there are several, to the one with the same path or else the same class.
    """
    row_of = {int(index): row for row, index in enumerate(before.indices)}
    found = find_in_test_set(clusters, test)
    rows = {path: row_of[found[path]] for path in clusters.paths if found.get(path) in row_of}
    return tuple(Outcome(path, bool(before.right[row]), bool(after.right[row])) for path, row in rows.items())


def shares_by_rcc(clusters: RootCauseClusters, found: Iterable[Outcome]) -> tuple[Share, ...]:
    """The number of correct predictions for the failing images of each RCC, with the RCCs as they are now."""
    by_image = {outcome.image: outcome for outcome in found}
    shares = []
    for rcc in clusters.groups:
        of_rcc = [by_image[path] for path in clusters.members(rcc) if path in by_image]
        shares.append(Share(str(rcc), len(of_rcc), sum(one.before for one in of_rcc), sum(one.after for one in of_rcc)))
    return tuple(shares)


def find_in_test_set(clusters: RootCauseClusters, test: LabelledImages) -> dict[str, int]:
    """Map each failing image that is found in the test set to the index of the test image."""
    sizes = {path: _size(clusters.image_root / path) for path in clusters.paths}
    wanted = set(sizes.values()) - {None}
    by_content: dict[bytes | None, list[int]] = {}
    # Only files of the same size as a failing image can be equal to it, so only these are read.
    for i, file in enumerate(test.files):
        if _size(file) in wanted:
            by_content.setdefault(_key(file), []).append(i)
    found = {}
    for path, size in sizes.items():
        same = by_content.get(_key(clusters.image_root / path), []) if size is not None else []
        if same:
            found[path] = max(
                same, key=lambda i: (test.paths[i] == path, test.paths[i].split("/")[0] == path.split("/")[0])
            )
    return found


def _size(file: Path) -> int | None:
    try:
        return file.stat().st_size
    except OSError:
        return None


def _key(file: Path) -> bytes | None:
    try:
        return content_key(read_bytes(file))
    except OSError:
        return None
