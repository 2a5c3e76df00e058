"""What is compared: each method's hypotheses, as sets of test images, the most important first."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.benchmarks.reasons.rivals import slice_conditions, tree_conditions
from lab.benchmarks.rivals.slices import (
    AnsweredSet,
    by_difference,
    by_failures,
    domino,
    k_means,
    plane_spot,
    spotlights,
)
from lab.benchmarks.spotcheck.case import Case
from lab.benchmarks.spotcheck.settings import N_CLAUSES
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import comparable
from safe_dnn.rccs.dbscan.contrast import RightImages
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.spots.rates import by_excess, failure_rates, nearest_failing, regions
from safe_dnn.rccs.spots.weak_spots import find_weak_spots
from safe_dnn.reasons.comparison import LABEL, PREDICTED

NEAREST = 9
K_MEANS = 25  # as many as Domino has
LITERALS = max(N_CLAUSES) + 1  # the longest blind spot's, with the square

Hypotheses = list[np.ndarray]  # each of shape (n_images,), bool


class Result(NamedTuple):
    """What a method says.

    Attributes
    ----------
    method, sees : str
        Its name, and by what it tells images apart.
    hypotheses : list of ndarray of shape (n_images,), bool
    failing : list of ndarray of shape (n_images,), bool
        The same with failing images only.
    seconds : float
        Of processor time.
    """

    method: str
    sees: str
    hypotheses: Hypotheses
    failing: Hypotheses
    seconds: float


def results_of(case: Case, sliceline: Path | None) -> Iterator[Result]:
    """All methods' results for a case."""
    yield from _of_images(case)
    rows = np.flatnonzero(case.scenes.square)
    for one in _of_images(case.taken(rows)):
        every, failing = (_everywhere(some, rows, len(case.wrong)) for some in (one.hypotheses, one.failing))
        yield one._replace(sees=f"{one.sees}, squares only", hypotheses=every, failing=failing)
    yield _result(case, "All failing images", "nothing", partial(_all_failing, case))
    yield _result(case, "SAFE's conditions", "what it measures", partial(_conditions, case, case.measured))
    yield _result(case, "SAFE's conditions", "metadata", partial(_conditions, case, case.metadata))
    known = {LABEL: case.answers[LABEL], **case.metadata}
    yield _result(case, "Decision tree", "metadata", partial(_tree, case, known))
    if sliceline:
        yield _result(case, "SliceLine", "metadata", partial(_slices, case, known, sliceline))


def _of_images(case: Case) -> Iterator[Result]:
    """Those of the methods that see images."""
    for reducer, way in (("auto", "SAFE's RCCs"), ("pca", "SAFE's RCCs by looks")):
        begin = time.process_time()
        rccs = _rccs(case, reducer)
        seconds = time.process_time() - begin
        every, failing = (list(compress(sets, rccs.is_more)) for sets in (rccs.every, rccs.failing))
        yield Result(way, "VGG16", every, failing, seconds)
        yield Result(f"{way}, whatever their rate", "VGG16", rccs.every, rccs.failing, seconds)
        near = [held & case.wrong for held in rccs.near]
        yield Result(f"{way}, among their like (tried)", "VGG16", rccs.near, near, seconds)
    for sees, features in (("VGG16", comparable(case.looks, case.extractor.name)), ("the network", case.own)):
        tested = _tested(case, features)
        for name, find in _IMAGE_RIVALS.items():
            yield _result(case, name, sees, partial(find, tested))


def _everywhere(hypotheses: Hypotheses, rows: np.ndarray, n: int) -> Hypotheses:
    """Those of some images, as of all."""
    return held([rows[held] for held in hypotheses], n)


def _result(case: Case, name: str, sees: str, find: Callable[[], Hypotheses]) -> Result:
    begin = time.process_time()
    found = find()
    return Result(name, sees, found, [held & case.wrong for held in found], time.process_time() - begin)


def _tested(case: Case, features: np.ndarray) -> AnsweredSet:
    probabilities = np.column_stack([1 - case.probabilities, case.probabilities]).astype(np.float64)
    return AnsweredSet(features, case.scenes.square.astype(int), probabilities, case.wrong)


def held(rows: Sequence[np.ndarray], n: int) -> Hypotheses:
    """Sets of images, each as an ndarray of shape (n,), bool."""
    return [np.isin(np.arange(n), some) for some in rows]


def _of_k_means(tested: AnsweredSet) -> Hypotheses:
    return held(by_failures(k_means(tested, K_MEANS), tested), len(tested.wrong))


def _of_plane_spot(tested: AnsweredSet) -> Hypotheses:
    return held(by_failures(plane_spot(tested).of_answered, tested), len(tested.wrong))


def _of_domino(tested: AnsweredSet) -> Hypotheses:
    return held(by_difference(domino(tested).of_answered, tested), len(tested.wrong))


def _of_spotlight(tested: AnsweredSet) -> Hypotheses:
    return held(spotlights(tested), len(tested.wrong))


_IMAGE_RIVALS = {
    f"K-means, {K_MEANS}": _of_k_means,
    "PlaneSpot": _of_plane_spot,
    "Domino": _of_domino,
    "Spotlight": _of_spotlight,
}


def _all_failing(case: Case) -> Hypotheses:
    return [case.wrong]


class _RCCs(NamedTuple):
    """RCCs, the most failures above expectation first.

    Attributes
    ----------
    failing : list of ndarray of shape (n_images,), bool
        Their images.
    every : list of ndarray of shape (n_images,), bool
        All images in their regions.
    near : list of ndarray of shape (n_images,), bool
        The images that have mostly images of the RCC among the `NEAREST` other tested images of their class, right ones
        included; regions have no such limit.
    is_more : list of bool
        Whether they are said to fail more often.
    """

    failing: Hypotheses
    every: Hypotheses
    near: Hypotheses
    is_more: list[bool]


def _rccs(case: Case, reducer: str) -> _RCCs:
    order = np.argsort(~case.wrong, kind="stable")
    n, failing = int(case.wrong.sum()), order[: int(case.wrong.sum())]
    names = tuple(f"{row:05}.png" for row in order.tolist())
    images = ImageFeatures(Path("/"), names[:n], case.looks[failing], case.extractor, ())
    classes = case.answers[LABEL][order]
    right = RightImages(case.looks[order[n:]], classes, names, np.arange(len(order)))
    clusters = find_root_cause_clusters(images, reducer=reducer, right=right)
    points = clusters.projection.apply(right.features, classes=classes[n:], names=names[n:])
    of_failing, of_right = (regions(of, clusters.labels) for of in nearest_failing(clusters.points, points))
    rates = failure_rates(
        of_failing, of_right, clusters.n_rccs, labels=clusters.labels,
        classes=case.scenes.square[order].astype(int),
    )  # fmt: skip
    ranked = by_excess(range(clusters.n_rccs), dict(enumerate(rates)))
    of_region = np.concatenate([of_failing, of_right])
    labels = np.concatenate([clusters.labels, np.full(len(points), NOISE)])
    of_near = labels[_nearest_of_class(np.concatenate([clusters.points, points]), classes)]
    return _RCCs(
        held([failing[clusters.labels == rcc] for rcc in ranked], len(order)),
        held([order[of_region == rcc] for rcc in ranked], len(order)),
        held([order[(of_near == rcc).mean(axis=1) > 1 / 2] for rcc in ranked], len(order)),
        [rates[rcc].verdict == "more" for rcc in ranked],
    )


def _nearest_of_class(points: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """The nearest other images of the same class: int of shape (n_images, at most `NEAREST`)."""
    squares = (points**2).sum(axis=1)
    distances = squares[:, np.newaxis] + squares - 2 * points @ points.T
    distances[classes[:, np.newaxis] != classes] = np.inf
    np.fill_diagonal(distances, np.inf)
    return np.argsort(distances, axis=1)[:, :NEAREST]


def _conditions(case: Case, columns: dict[str, np.ndarray]) -> Hypotheses:
    known = case.answers | columns
    measured = columns.keys() & case.measured.keys()
    spots = find_weak_spots(known, case.wrong, measured=measured, never_together=(LABEL, PREDICTED))
    return [spot.holds(known) for spot in spots]


def _tree(case: Case, known: dict[str, np.ndarray]) -> Hypotheses:
    rows = np.arange(len(case.wrong))
    return [one.holds for one in tree_conditions(known, case.wrong, rows, depth=LITERALS)]


def _slices(case: Case, known: dict[str, np.ndarray], python: Path) -> Hypotheses:
    rows = np.arange(len(case.wrong))
    return [one.holds for one in slice_conditions(known, case.wrong, rows, python=python, most_literals=LITERALS)]
