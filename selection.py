"""Steps 3 and 4 of SAFE: selection of the unsafe set. Improvement images and RCCs in, the images worth labelling out.

An improvement image is a candidate of the RCC that holds its nearest core point. Of each RCC's candidates the nearest
are taken, the same number from each; or, on request, the more the more failing images the RCC has. Where it is known
which images the DNN is likely to get wrong, half of them are such ones. Writes `IS_filenames.txt`,
`unsafe_set.csv` and `unsafe_set.json`.

Source: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.4. The paper gives no formula for the size of the set;
`unsafe_set_size` says which one is used here.
"""

import math
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from dbscan.neighbours import Points
from dbscan.outcome import NOISE
from FE import stream_features
from features.batches import FeatureBatch, Stream
from features.weights import recall_extractor
from rccs.clusters import RootCauseClusters, fingerprint
from rccs.unsafe_set import QUOTA, QUOTAS, UnsafeImage, UnsafeSet
from support.entries import number_of
from support.errors import SAFEError
from support.images import find_images
from support.progress import Progress, no_progress

SELECTION_FACTOR = 0.3
MOST_IMAGES = 10**9  # in a test set or an unsafe set; a larger number is mistyped
TOGETHER = 64  # batches of features that are compared with the core points at a time: some 25 MB
REACH = 4  # times as many of the next nearest images compete to be among those that the DNN is likely to get wrong

LikelyWrong = Callable[[Path, Sequence[str]], np.ndarray]
"""How likely the DNN is wrong on images, of a folder and by paths in it: floats of shape (n_images,)."""


# --- How many, and how many of each RCC -------------------------------------------------------------------------


def unsafe_set_size(
    test_accuracy: float, n_failures: int, test_size: int | None = None, factor: float = SELECTION_FACTOR
) -> tuple[int, str]:
    """The size of the unsafe set, N = ⌈factor · test size · test accuracy⌉, and the formula in words.

    The paper says only "proportional to the test set accuracy". If the size of the test set is not known, it follows
    from the failing images: test size = failures / (1 - accuracy).

    Raises
    ------
    SAFEError
        A number is out of range.
    """
    accuracy = number_of(test_accuracy, "test_accuracy")
    if not 0 <= accuracy <= 1:
        hint = "; a percentage?" if 1 < accuracy <= 100 else ""
        raise SAFEError(f"test_accuracy must be between 0 and 1. Received: {test_accuracy}{hint}")
    factor = number_of(factor, "factor")
    if factor <= 0:
        raise SAFEError(f"factor must be above 0. Received: {factor}")
    if test_size is not None:
        images = _images("test_size", test_size)
        source = ""
    elif accuracy == 1:
        raise SAFEError(
            "A test_accuracy of 1 leaves no failing images to derive the test set's size from. Give test_size."
        )
    else:
        images = n_failures / (1 - accuracy)
        source = f", with test-set size = {n_failures} failing images / (1 − accuracy)"
    product = factor * images * accuracy
    if product > MOST_IMAGES:
        raise SAFEError(
            f"The formula must give at most {MOST_IMAGES:,} images. Received: ⌈{factor:g} · {images:.0f} · "
            f"{accuracy:g}⌉. Give a smaller factor, or the size of the unsafe set itself."
        )
    # Rounded first: 0.3 · 1000 · 0.9 is 270.00000000000006 in floating point, and is 270.
    n = math.ceil(round(product, 6))
    if n < 1:
        raise SAFEError(
            f"The formula must give at least one image. Received: ⌈{factor:g} · {images:.0f} · {accuracy:g}⌉ = 0. "
            "Give the size of the unsafe set itself."
        )
    return n, f"N = ⌈factor {factor:g} · test-set size {images:.0f} · accuracy {accuracy:g}⌉ = {n}{source}"


def _images(name: str, value: object) -> int:
    number = number_of(value, name)
    if number < 1 or number != int(number):
        raise SAFEError(f"{name} must be a whole number of images, 1 or more. Received: {value}")
    if number > MOST_IMAGES:
        raise SAFEError(f"{name} must be at most {MOST_IMAGES:,} images. Received: {value}")
    return int(number)


def quotas(n: int, sizes: np.ndarray, available: np.ndarray, by: str = QUOTA) -> np.ndarray:
    """Divide n images among RCCs: evenly, or in proportion to their failing images.

    The images are handed out one by one, each to the RCC that has the fewest for its weight (Adams's method): even
    quotas of RCCs that do not run out differ by at most one, the remainder going to the largest; by size, every RCC
    gets one before any gets two. What one cannot fill goes to the others.

    Even quotas are the paper's and the default: with them, choosing by RCC beats as many random images on all three
    cases of benchmarks/RESULTS.md with 100 and with 300 labels, by size on two. Between the two, 10 seeds show a
    difference in three of eleven places: by size is .9 points better on `gd` with 50 labels, even quotas 1.2 and .7
    points on `oc` with 50 and 300.

    Parameters
    ----------
    sizes : ndarray of shape (n_rccs,), int
        Failing images in each RCC; of equal ones the first counts as the larger.
    available : ndarray of shape (n_rccs,), int
        Candidates of each.
    by : "equal" or "size"
        Whether an RCC weighs as much as it has failing images, or as much as any other.

    Returns
    -------
    ndarray of shape (n_rccs,), int
        Its sum is min(n, sum of `available`); never above `available`.
    """
    largest_first = np.argsort(-np.asarray(sizes), kind="stable")
    open_to = np.asarray(available)[largest_first]
    # An RCC without failing images, one that was merged into another, has no candidates either: any weight will do.
    weights = np.maximum(np.asarray(sizes)[largest_first], 1) if by == "size" else np.ones(len(open_to))
    taken = np.zeros(len(open_to), dtype=int)
    for _ in range(min(n, int(open_to.sum()))):
        taken[np.where(taken < open_to, taken / weights, np.inf).argmin()] += 1
    in_order = np.empty_like(taken)
    in_order[largest_first] = taken
    return in_order


# --- Which ones -------------------------------------------------------------------------------------------------


class SelectionSettings(NamedTuple):
    """How many images, and of which RCCs. Numbers may be as typed.

    Attributes
    ----------
    test_accuracy, test_size, factor
        The formula of `unsafe_set_size`.
    size : int, optional
        The size itself, instead of the formula.
    quota : "equal" or "size"
        As for `quotas`.
    leave_out : collection of int
        RCCs that get no images, for example those whose failures are no hazard. Their candidates stay theirs: an image
        that shows such a root cause is not selected for another RCC either.
    """

    test_accuracy: float | str | None = None
    test_size: int | str | None = None
    factor: float | str = SELECTION_FACTOR
    size: int | str | None = None
    quota: str = QUOTA
    leave_out: Collection[int] = ()


def select_unsafe_set(
    improvement: str | os.PathLike,
    clusters: RootCauseClusters,
    settings: SelectionSettings,
    *,
    weights: str | os.PathLike | None = None,
    stream: Stream | None = None,
    likely_wrong: LikelyWrong | None = None,
    progress: Progress = no_progress,
) -> UnsafeSet:
    """Select the unsafe set from a folder of improvement images (steps 3 and 4).

    The folder is streamed: of its features only `TOGETHER` batches are held, of each RCC's candidates at most twice as
    many as are wanted and a thousand, so that memory grows with the size of the unsafe set, not of the folder (but for
    the names of its files).

    Parameters
    ----------
    settings : SelectionSettings
    weights : path, optional
        As for `features.weights.choose_extractor`; without it, those of the clustering.
    stream : callable, optional
        As for `FE.extract_features`.
    likely_wrong : callable, optional
        As `dnn.failure_prediction.FailurePrediction.of`: then half of each RCC's images are chosen by it (see
        `choose_half`).

    Raises
    ------
    SAFEError
        A number is out of range, there are no RCCs or no images, all RCCs are left out, or the network of the
        clustering is gone.
    """
    left_out = _left_out(clusters, settings.leave_out)
    if settings.quota not in QUOTAS:
        raise SAFEError(f"quota must be one of {', '.join(QUOTAS)}. Received: {settings.quota}")
    wanted, formula = _wanted(settings, len(clusters.paths))
    listing = find_images(improvement)
    named = weights or clusters.weights or None
    extractor = recall_extractor(clusters.extractor, clusters.extractor_identity, weights=named)

    nearest = _Nearest(clusters, keep=contested(wanted).stop if likely_wrong else wanted)
    n_improvement = 0
    skipped = list(listing.skipped)
    for batches in _together((stream or stream_features)(listing, extractor, progress=progress)):
        paths = [path for batch in batches for path in batch.paths]
        n_improvement += len(paths)
        skipped += [skip for batch in batches for skip in batch.skipped]
        if paths:
            features = np.concatenate([batch.features for batch in batches])
            # One thread: several wait for each other for longer than they compute.
            with threadpool_limits(limits=1):
                points = clusters.projection.apply(features)
            nearest.add(paths, points)
    if not n_improvement:
        raise SAFEError(
            f"Expected improvement images. Received {len(skipped)} files of which none is readable, in {listing.root}; "
            f"the first, {skipped[0].path}: {skipped[0].reason}"
        )
    available = nearest.counts.copy()
    available[list(left_out)] = 0
    if not available.any():
        raise SAFEError(
            "Expected improvement images near an RCC that is not left out. Received none: all "
            f"{n_improvement:,} are nearest to RCCs left out. Leave out fewer, or give other images."
        )
    taken = quotas(wanted, clusters.sizes, available, settings.quota)
    candidates = [nearest.best(rcc) for rcc in range(len(taken))]
    if likely_wrong:
        chosen = _choose_halves(candidates, taken.tolist(), lambda paths: likely_wrong(listing.root, paths))
    else:
        chosen = [image for images, most in zip(candidates, taken, strict=True) for image in images[:most]]
    return UnsafeSet(
        improvement_root=listing.root,
        images=tuple(chosen),
        wanted=wanted,
        formula=formula,
        n_improvement=n_improvement,
        candidates=tuple(int(count) for count in nearest.counts),
        skipped=tuple(sorted(skipped)),
        clusters=fingerprint(clusters),
        left_out=left_out,
        quota=settings.quota,
    )


def _wanted(settings: SelectionSettings, n_failures: int) -> tuple[int, str]:
    """The size of the set, and how it came about."""
    if settings.size is not None:
        return _images("size", settings.size), f"N = {settings.size}, as asked for"
    if settings.test_accuracy is None:
        raise SAFEError("Expected the test accuracy (or a size). Received neither.")
    return unsafe_set_size(settings.test_accuracy, n_failures, settings.test_size, settings.factor)


def contested(quota: int) -> slice:
    """Of an RCC's candidates, nearest first: those that compete for the half that the DNN is likely to get wrong."""
    half = (quota + 1) // 2
    return slice(half, half + REACH * (quota - half))


def choose_half(quota: int, likelihood: np.ndarray) -> np.ndarray:
    """Which of an RCC's candidates are chosen where it is known on which of them the DNN is likely wrong.

    Half are the nearest, half those out of the next four times as many on which the DNN is most likely wrong; of equal
    ones the nearest.

    Why half: images that a DNN gets wrong teach it more, but those alone also mislead it. On `oc`, where each cause
    makes it wrong in one way, they lack the counterexamples: 100 random ones bring it from .761 to .834, the nearest
    ones to .932, these halves to .915. There they are a risk with few labels (three of ten trainings lose over a tenth
    of what was right) and level with the nearest from 300 on; on `gd` they are .5 to 1.0 points better with any number
    (p ≤ .03 with 50, 100 and 389 labels), on `gtsrb` level. Means of 10 seeds, benchmarks/RESULTS.md.

    Parameters
    ----------
    quota : int
    likelihood : ndarray of shape (n,), float
        Of the candidates that compete (see `contested`).

    Returns
    -------
    ndarray of shape (min(quota, half + n),), int
        Places among the candidates, the nearest half first.
    """
    half = contested(quota).start
    likeliest = np.argsort(-likelihood, kind="stable")[: quota - half]
    return np.append(np.arange(half), half + likeliest)


def chosen_by_model(unsafe: UnsafeSet) -> str:
    """A sentence on how the DNN took part in the choice; empty where it did not."""
    if not unsafe.model:
        return ""
    return (
        "Half of each RCC's images are the nearest; half, out of the next nearest, are ones that "
        f"{Path(unsafe.model).name} is likely to get wrong."
    )


def _choose_halves(
    candidates: Sequence[Sequence[UnsafeImage]], taken: Sequence[int], likely_wrong: Callable[[list[str]], np.ndarray]
) -> list[UnsafeImage]:
    """`choose_half` for every RCC; the DNN is asked once, about no more images than compete."""
    competing = [[image.image for image in images[contested(n)]] for images, n in zip(candidates, taken, strict=True)]
    paths = [path for names in competing for path in names]
    likelihood = dict(zip(paths, likely_wrong(paths), strict=True)) if paths else {}
    return [
        images[i]
        for images, n, names in zip(candidates, taken, competing, strict=True)
        for i in sorted(choose_half(n, np.array([likelihood[name] for name in names])).tolist())
    ]


def _left_out(clusters: RootCauseClusters, leave_out: Collection[int]) -> tuple[int, ...]:
    """The RCCs to leave out, sorted; a SAFEError where there is no RCC, or none would be left."""
    present = {rcc for rcc in clusters.groups if rcc != NOISE}
    if not present:
        raise SAFEError(
            "Expected at least one root cause cluster to select for. Received none: all failing images are in no "
            "cluster. Generate clusters from more failing images."
        )
    unknown = sorted(set(leave_out) - present)
    if unknown:
        raise SAFEError(f"Expected RCCs to leave out. Received {unknown[0]}, which is none.")
    if present <= set(leave_out):
        raise SAFEError("Expected at least one root cause cluster to select for. Received none: all are left out.")
    return tuple(sorted({int(rcc) for rcc in leave_out}))


def _together(batches: Iterator[FeatureBatch]) -> Iterator[list[FeatureBatch]]:
    """Batches in lists of `TOGETHER`: each of them alone is too little work for the projection to be worth starting."""
    while some := list(islice(batches, TOGETHER)):
        yield some


class _Nearest:
    """The `keep` nearest candidates of each RCC, out of any number; ties go to the first path."""

    def __init__(self, clusters: RootCauseClusters, keep: int):
        cores = np.flatnonzero(clusters.is_core)
        # Of equal core points the first decides; the others would only be compared in vain.
        cores = cores[np.sort(np.unique(clusters.points[cores], axis=0, return_index=True)[1])]
        self._core_points, self._core_labels = Points(clusters.points[cores]), clusters.labels[cores]
        self._reach = clusters.reach
        self._keep = keep
        self._kept: list[list[UnsafeImage]] = [[] for _ in range(clusters.n_rccs)]
        self.counts = np.zeros(clusters.n_rccs, dtype=int)

    def add(self, paths: Sequence[str], points: np.ndarray) -> None:
        cores, distances = self._core_points.nearest_to(points)
        # The digits beyond hang on an image's place in its batch, and would decide between equal images.
        distances = distances.astype(float).round(5)
        for path, rcc, distance in zip(paths, self._core_labels[cores], distances.tolist(), strict=True):
            self._kept[rcc].append(UnsafeImage(path, int(rcc), distance, bool(distance <= self._reach[rcc])))
            self.counts[rcc] += 1
            # Trimmed only now and then: sorting at every image would cost more than it frees.
            if len(self._kept[rcc]) >= 2 * self._keep + 1000:
                self._kept[rcc] = self.best(rcc)

    def best(self, rcc: int) -> list[UnsafeImage]:
        return sorted(self._kept[rcc], key=lambda image: (image.distance, image.image))[: self._keep]
