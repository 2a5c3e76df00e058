"""What is compared: each method's hypotheses, as sets of test images, the most important first."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
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
from lab.benchmarks.spotcheck.case import IN_TABLE, Answered, Case
from lab.benchmarks.spotcheck.settings import N_CLAUSES
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import comparable
from safe_dnn.rccs.answers import LABEL
from safe_dnn.rccs.dbscan.contrast import RightImages
from safe_dnn.rccs.spots.rates import Placed, among_failing, by_excess, failure_rates, nearest_failing, regions
from safe_dnn.rccs.spots.weak_spots import find_weak_spots

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
    blind : ndarray of shape (n_blind, n_images), bool
        The images in each blind spot.
    wrong : ndarray of shape (n_images,), bool
        Those that the network gets wrong.
    """

    method: str
    sees: str
    hypotheses: Hypotheses
    failing: Hypotheses
    seconds: float
    blind: np.ndarray
    wrong: np.ndarray


def results_of(case: Case, sliceline: Path | None) -> Iterator[Result]:
    """All methods' results for a case."""
    looks = comparable(case.looks, case.extractor.name)
    yield from _of_rccs(case, case.looks, "VGG16")
    yield from _of_rivals(case, looks, "VGG16")
    squares = case.taken(np.flatnonzero(case.tested.scenes.square))
    for some, only in ((case, ""), (squares, ", squares only")):
        yield from _of_rccs(some, _as_looks(some.own, some.looks.shape[1]), f"the network{only}")
        yield from _of_rivals(some, some.own, f"the network{only}")
    yield _result(case.tested, "All failing images", "nothing", partial(_all_failing, case.tested))
    measured = partial(_conditions, case.tested, case.measured, case.measured)
    yield _result(case.tested, "SAFE's conditions", "what it measures", measured)
    for sees, answered in (("metadata", case.tested), (f"metadata of {IN_TABLE:,}", case.table)):
        yield _result(answered, "SAFE's conditions", sees, partial(_conditions, answered, answered.metadata))
        yield _result(answered, "Decision tree", sees, partial(_tree, answered))
        if sliceline:
            yield _result(answered, "SliceLine", sees, partial(_slices, answered, sliceline))


def _of_rccs(case: Case, features: np.ndarray, sees: str) -> Iterator[Result]:
    begin, known = time.process_time(), (case.tested.scenes.blind, case.tested.wrong)
    rccs = _rccs(case, features)
    seconds = time.process_time() - begin
    every, failing = (list(compress(sets, rccs.is_more)) for sets in (rccs.every, rccs.failing))
    yield Result("SAFE's RCCs", sees, every, failing, seconds, *known)
    yield Result("SAFE's RCCs, whatever their rate", sees, rccs.every, rccs.failing, seconds, *known)


def _as_looks(own: np.ndarray, n_features: int) -> np.ndarray:
    """The network's own activations in the form of SAFE's features, whose first 128 are scaled alike."""
    return np.pad(own, ((0, 0), (0, n_features - own.shape[1])))


def _of_rivals(case: Case, features: np.ndarray, sees: str) -> Iterator[Result]:
    tested = _tested(case, features)
    for name, find in _IMAGE_RIVALS.items():
        yield _result(case.tested, name, sees, partial(find, tested))


def _result(answered: Answered, name: str, sees: str, find: Callable[[], Hypotheses]) -> Result:
    begin = time.process_time()
    found = find()
    seconds = time.process_time() - begin
    failing = [one & answered.wrong for one in found]
    return Result(name, sees, found, failing, seconds, answered.scenes.blind, answered.wrong)


def _tested(case: Case, features: np.ndarray) -> AnsweredSet:
    of_square = case.tested.probabilities.astype(np.float64)
    probabilities = np.column_stack([1 - of_square, of_square])
    return AnsweredSet(features, case.tested.scenes.square.astype(int), probabilities, case.tested.wrong)


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


def _all_failing(answered: Answered) -> Hypotheses:
    return [answered.wrong]


class _RCCs(NamedTuple):
    """RCCs, the most failures above expectation first.

    Attributes
    ----------
    failing : list of ndarray of shape (n_images,), bool
        Their images.
    every : list of ndarray of shape (n_images,), bool
        All images in their regions.
    is_more : list of bool
        Whether they are said to fail more often.
    """

    failing: Hypotheses
    every: Hypotheses
    is_more: list[bool]


def _rccs(case: Case, features: np.ndarray) -> _RCCs:
    wrong = case.tested.wrong
    order, n = np.argsort(~wrong, kind="stable"), int(wrong.sum())
    failing = order[:n]
    names = tuple(f"{row:05}.png" for row in order.tolist())
    images = ImageFeatures(Path("/"), names[:n], features[failing], case.extractor, ())
    classes = case.tested.answers[LABEL][order]
    right = RightImages(features[order[n:]], classes, names, np.arange(len(order)))
    clusters = find_root_cause_clusters(images, right=right)
    points = clusters.projection.apply(right.features, classes=classes[n:], names=names[n:])
    nearest, of_class = np.concatenate(nearest_failing(clusters.points, points)), case.tested.scenes.square[order]
    placed = Placed(np.concatenate([clusters.points, points]), of_class.astype(int), np.arange(len(order)))
    nearest[~among_failing(placed, placed, np.arange(len(order)) < n)] = -1
    of_region = regions(nearest, clusters.labels)
    rates = failure_rates(
        of_region[:n], of_region[n:], clusters.n_rccs, labels=clusters.labels, classes=placed.classes,
    )  # fmt: skip
    ranked = by_excess(range(clusters.n_rccs), dict(enumerate(rates)))
    return _RCCs(
        held([failing[clusters.labels == rcc] for rcc in ranked], len(order)),
        held([order[of_region == rcc] for rcc in ranked], len(order)),
        [rates[rcc].verdict == "more" for rcc in ranked],
    )


def _conditions(answered: Answered, columns: Mapping[str, np.ndarray], measured: Collection[str] = ()) -> Hypotheses:
    known = answered.answers | dict(columns)
    spots = find_weak_spots(known, answered.wrong, measured=measured, label=LABEL)
    return [spot.holds(known) for spot in spots]


def _known(answered: Answered) -> dict[str, np.ndarray]:
    """What rivals know: they are not told what is predicted."""
    return {LABEL: answered.answers[LABEL], **answered.metadata}


def _tree(answered: Answered) -> Hypotheses:
    rows = np.arange(len(answered.wrong))
    return [one.holds for one in tree_conditions(_known(answered), answered.wrong, rows, depth=LITERALS)]


def _slices(answered: Answered, python: Path) -> Hypotheses:
    rows = np.arange(len(answered.wrong))
    found = slice_conditions(_known(answered), answered.wrong, rows, python=python, most_literals=LITERALS)
    return [one.holds for one in found]
