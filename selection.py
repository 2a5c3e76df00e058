"""Steps 3 and 4 of SAFE: selection of the unsafe set. Improvement images and RCCs in, the images to label out.

An improvement image is a candidate of the RCC of its nearest core point. From each RCC's candidates, the nearest ones
are selected, in proportion to its failing images or, as in the paper, the same number for each RCC. If the DNN's likely
errors are known, half of the images are chosen by them. The unsafe set is written to `IS_filenames.txt`,
`unsafe_set.csv` and `unsafe_set.json` (see `safe_dnn/rccs/unsafe_set.py`).

Source: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.4. The paper gives no formula for the size of the set; the
one used here is in `unsafe_set_size`.
"""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from safe_dnn.FE import stream_features
from safe_dnn.features.batches import FeatureBatch
from safe_dnn.options import QUOTA, SELECTION_FACTOR, SelectionSettings
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.projection import Nuisance, Projection
from safe_dnn.rccs.parameters import Aside, find_parameters
from safe_dnn.rccs.unsafe_set import QUOTAS, UnsafeImage, UnsafeSet
from safe_dnn.support.errors import Number, SAFEError, StrPath, number_of
from safe_dnn.support.images import ImageListing, Skipped, find_images
from safe_dnn.support.text import count, some

MOST_IMAGES = 10**9  # in a test set or an unsafe set; a larger number must be a typing error
MODEL_SUFFIXES = (".keras", ".h5", ".hdf5", ".onnx")  # of the file of a DNN, not a table of its answers
TOGETHER = 64  # batches that are projected at a time, about 25 MB: a single one is too little work for one call
REACH = 4  # candidates that compete for each place given to images that the DNN is likely to get wrong

LikelyWrong = Callable[[Path, Sequence[str]], np.ndarray]
"""How likely the DNN is wrong on images, given by a folder and paths in it: floats of shape (n_images,)."""


# --- How many images, in all and for each RCC -------------------------------------------------------------------


def unsafe_set_size(
    test_accuracy: Number, n_failures: int, *, test_size: Number | None = None, factor: Number = SELECTION_FACTOR
) -> tuple[int, str]:
    """The size of the unsafe set, N = ⌈factor · test size · test accuracy⌉, and the formula in words.

    The paper says only "proportional to the test set accuracy". If the size of the test set is not given, it is
    derived from the failing images: test size = failures / (1 - accuracy).

    Raises
    ------
    SAFEError
        A number is invalid or out of range.
    """
    accuracy = number_of(test_accuracy, "The test accuracy")
    if not 0 <= accuracy <= 1:
        hint = "; a percentage?" if 1 < accuracy <= 100 else ""
        raise SAFEError(f"The test accuracy must be between 0 and 1. Received: {test_accuracy}{hint}")
    factor = number_of(factor, "The factor")
    if factor <= 0:
        raise SAFEError(f"The factor must be above 0. Received: {factor}")
    images: float
    if test_size is not None:
        images = _images("The test-set size", test_size)
        source = ""
    elif accuracy == 1:
        raise SAFEError(
            "A test accuracy of 1 leaves no failing images to derive the test set's size from. Give that size."
        )
    else:
        images = n_failures / (1 - accuracy)
        source = f", with test-set size = {n_failures} failing images / (1 − accuracy)"
    # Rounded first: in floating point, 0.3 · 1000 · 0.9 is 270.00000000000006.
    n = math.ceil(round(min(factor * images * accuracy, MOST_IMAGES + 1), 6))
    if not 1 <= n <= MOST_IMAGES:
        raise SAFEError(
            f"The formula must give from 1 to {MOST_IMAGES:,} images. Received: ⌈{factor:g} · {images:.0f} · "
            f"{accuracy:g}⌉. Give the size of the unsafe set itself."
        )
    return n, f"N = ⌈factor {factor:g} · test-set size {images:.0f} · accuracy {accuracy:g}⌉ = {n}{source}"


def _images(name: str, value: object) -> int:
    number = number_of(value, name)
    if not 1 <= number <= MOST_IMAGES or number != int(number):
        raise SAFEError(f"{name} must be a whole number of images, from 1 to {MOST_IMAGES:,}. Received: {value}")
    return int(number)


def quotas(n: int, sizes: np.ndarray, available: np.ndarray, *, by: str = QUOTA) -> np.ndarray:
    """Divide n images among RCCs: in proportion to their failing images or, as in the paper, equally.

    The images are allocated one by one, each to the RCC with the fewest for its weight (Adams's method). Equal quotas
    differ by at most one, the remainder going to the largest RCCs; by size, every RCC gets one image before any gets
    two. Images that an RCC lacks candidates for go to the others. By size is the default: RCCs of real failures differ
    much in size, and many labels for small ones are wasted (docs/decisions/020-quotas-by-size.md).

    Parameters
    ----------
    sizes : ndarray of shape (n_rccs,), int
        Failing images in each RCC; of equal RCCs, the first counts as the larger.
    available : ndarray of shape (n_rccs,), int
        Candidates of each RCC.
    by : "equal" or "size"
        "equal": all RCCs have the same weight; "size": their number of failing images.

    Returns
    -------
    ndarray of shape (n_rccs,), int
        At most `available`; the sum is min(n, sum of `available`).
    """
    largest_first = np.argsort(-np.asarray(sizes), kind="stable")
    open_to = np.asarray(available)[largest_first]
    # An RCC that was merged into another has no failing images and no candidates: its weight is irrelevant.
    weights = np.maximum(np.asarray(sizes)[largest_first], 1) if by == "size" else np.ones(len(open_to))
    taken = np.zeros(len(open_to), dtype=int)
    for _ in range(min(n, int(open_to.sum()))):
        taken[np.where(taken < open_to, taken / weights, np.inf).argmin()] += 1
    in_order = np.empty_like(taken)
    in_order[largest_first] = taken
    return in_order


# --- Which images -----------------------------------------------------------------------------------------------


def select_unsafe_set(
    improvement: StrPath, clusters: RootCauseClusters, settings: SelectionSettings, *,
    likely_wrong: LikelyWrong | None = None,
) -> UnsafeSet:  # fmt: skip
    """Select the unsafe set from a folder of improvement images (steps 3 and 4).

    The folder is streamed: in memory are `TOGETHER` batches and, for each RCC, as many candidates as are wanted. Apart
    from the file names, memory grows with the size of the unsafe set, not of the folder.

    Parameters
    ----------
    settings : SelectionSettings
    likely_wrong : callable, optional
        Such as `safe_dnn.dnn.failure_prediction.FailurePrediction.of`; half of each RCC's images are then chosen by it
        (see `choose_half`).

    Raises
    ------
    SAFEError
        A number is out of range, there are no RCCs or no images, all images were learned, all RCCs are left out, or the
        network of the clustering is not available. A nuisance variable was subtracted, and the table of improvement
        parameters cannot be read.
    """
    excluded = _excluded(clusters, settings.leave_out)
    if settings.quota not in QUOTAS:
        raise SAFEError(f"quota must be one of {', '.join(QUOTAS)}. Received: {settings.quota}")
    wanted, formula = wanted_images(settings, len(clusters.paths))
    listing, learned_notes = _not_learned(find_images(improvement), settings.learned)
    extractor = clusters.extractor_of_others(settings.weights, settings.features)

    nearest = _Nearest(clusters, keep=contested(wanted).stop if likely_wrong else wanted)
    batches = stream_features(listing, extractor)
    parameters = find_parameters(listing.root)
    aside = Aside(clusters.set_aside, listing, parameters) if clusters.set_aside else None
    n_improvement, skipped = 0, list(listing.skipped)
    for paths, points, unreadable in _points_of(batches, clusters.projection, aside.of if aside else None):
        n_improvement += len(paths)
        skipped += unreadable
        nearest.add(paths, points)
    if not n_improvement:
        raise SAFEError(
            f"Expected improvement images. Received {count(len(skipped), 'file')} in {listing.root}, all of them "
            f"unreadable; the first, {skipped[0].path}: {skipped[0].reason}"
        )
    available = nearest.counts.copy()
    available[list(excluded)] = 0
    if not available.any():
        raise SAFEError(
            "Expected improvement images near an RCC that is not left out. Received none: all "
            f"{n_improvement:,} are nearest to RCCs that are left out. Leave out fewer RCCs, or choose other images."
        )
    taken = quotas(wanted, clusters.sizes, available, by=settings.quota).tolist()
    candidates = nearest.best
    if likely_wrong:
        chosen = _choose_halves(candidates, taken, lambda paths: likely_wrong(listing.root, paths))
    else:
        chosen = [image for images, most in zip(candidates, taken, strict=True) for image in images[:most]]
    chosen.sort(key=lambda image: (image.rcc, image.distance, image.image))
    notes = [*learned_notes, *(aside.notes if aside else ()), *_lacking(clusters, candidates, excluded)]
    return UnsafeSet(
        listing.root, tuple(chosen), wanted, formula, n_improvement, tuple(nearest.counts.tolist()),
        tuple(sorted(skipped)), fingerprint(clusters), excluded, settings.quota, listed=listing.listed,
        notes=tuple(notes), extractor=extractor if settings.features else None,
    )  # fmt: skip


def _not_learned(listing: ImageListing, learned: Collection[Path]) -> tuple[ImageListing, tuple[str, ...]]:
    """The images that the DNN has not learned, and a sentence on the others."""
    if not learned:
        return listing, ()
    new = tuple(path for path in listing.paths if listing.root / path not in learned)
    if not new:
        raise SAFEError(
            f"Expected images that the network has not learned yet. The network learned all "
            f"{count(len(listing.paths), 'image')} in {listing.root} in earlier rounds. Add a folder with other images."
        )
    note = f"without {count(len(listing.paths) - len(new), 'image')} that earlier rounds have taught it"
    return listing._replace(paths=new), (note,) if len(new) < len(listing.paths) else ()


def _points_of(
    batches: Iterator[FeatureBatch], projection: Projection, nuisance_of: Callable[[Sequence[str]], Nuisance] | None
) -> Iterator[tuple[list[str], np.ndarray, list[Skipped]]]:
    """Paths, points and skipped images, part by part: all features at once would take 30 times the memory."""
    while group := list(islice(batches, TOGETHER)):
        paths = [path for batch in group for path in batch.paths]
        features = np.concatenate([batch.features for batch in group])
        # One thread: several would spend more time waiting for each other than computing.
        with threadpool_limits(limits=1):
            points = projection.apply(features, nuisance=nuisance_of(paths) if nuisance_of and paths else None)
        yield paths, points, [skip for batch in group for skip in batch.skipped]


def wanted_images(settings: SelectionSettings, n_failures: int) -> tuple[int, str]:
    """The size of the set, and how it was computed, in words; errors are those of `unsafe_set_size`."""
    if settings.size is not None:
        return _images("The number of images", settings.size), f"N = {settings.size}, as requested"
    if settings.test_accuracy is None:
        raise SAFEError("Expected the test accuracy, or the size of the unsafe set. Received neither. Give one.")
    return unsafe_set_size(settings.test_accuracy, n_failures, test_size=settings.test_size, factor=settings.factor)


def contested(quota: int) -> slice:
    """The candidates, in order of distance, that compete for the half chosen by likely errors of the DNN."""
    half = (quota + 1) // 2
    return slice(half, half + REACH * (quota - half))


def choose_half(quota: int, likelihood: np.ndarray) -> np.ndarray:
    """Choose an RCC's images among its candidates, given on which of them the DNN is likely wrong.

    Half are the nearest; the other half are those, among the next nearest candidates (`REACH` times as many), on which
    the DNN is most likely wrong, the nearest first if equally likely. Images that a DNN gets wrong teach it more, but
    on their own they also mislead it (docs/decisions/040-likely-failures.md).

    Parameters
    ----------
    quota : int
    likelihood : ndarray of shape (n,), float
        For the candidates that compete (see `contested`).

    Returns
    -------
    ndarray of shape (min(quota, half + n),), int
        Indices of candidates, the nearest half first.
    """
    half = contested(quota).start
    likeliest = np.argsort(-likelihood, kind="stable")[: quota - half]
    return np.append(np.arange(half), half + likeliest)


def chosen_by_model(unsafe: UnsafeSet) -> str:
    """A sentence on how the DNN influenced the choice; empty if it did not."""
    if not unsafe.model:
        return ""
    source = unsafe.model
    wrong = f"{source.name} is most likely to get wrong"
    if source.suffix.lower() not in MODEL_SUFFIXES:
        wrong = f"the network is most likely to get wrong, by its answers in {source.name}"
    return f"Half of each RCC's images are the nearest; the other half are those of the next nearest that {wrong}."


def _choose_halves(
    candidates: Sequence[Sequence[UnsafeImage]], taken: Sequence[int], likely_wrong: Callable[[list[str]], np.ndarray]
) -> list[UnsafeImage]:
    """`choose_half` for every RCC; the DNN is run once, only on the images that compete."""
    competing = [[image.image for image in images[contested(n)]] for images, n in zip(candidates, taken, strict=True)]
    paths = [path for names in competing for path in names]
    likelihood = dict(zip(paths, likely_wrong(paths), strict=True)) if paths else {}
    chosen = []
    for images, n, names in zip(candidates, taken, competing, strict=True):
        half = contested(n).start
        for i in sorted(choose_half(n, np.array([likelihood[name] for name in names])).tolist()):
            share = round(float(likelihood[images[i].image]), 3) if i >= half else None
            chosen.append(images[i]._replace(likely_wrong=share))
    return chosen


def _excluded(clusters: RootCauseClusters, leave_out: Collection[int]) -> tuple[int, ...]:
    """The RCCs to leave out, sorted; a SAFEError if there are no RCCs, or none would be left."""
    present = {rcc for rcc in clusters.groups if rcc != NOISE}
    unknown = sorted(set(leave_out) - present)
    if unknown:
        raise SAFEError(f"Expected RCCs to leave out. Received {unknown[0]}, which does not exist.")
    if present <= set(leave_out):
        all_safe = "all are judged safe and left out. Ask for images for these too"
        why = all_safe if present else "all failing images are in no cluster. Generate clusters from more"
        raise SAFEError(f"Expected at least one root cause cluster to select for. Received none: {why}.")
    return tuple(sorted({int(rcc) for rcc in leave_out}))


class _Nearest:
    """The `keep` nearest candidates of each RCC, of any number that are added; ties go to the first path."""

    def __init__(self, clusters: RootCauseClusters, keep: int):
        cores = np.flatnonzero(clusters.is_core)
        # Of equal core points only the first matters.
        cores = cores[np.sort(np.unique(clusters.points[cores], axis=0, return_index=True)[1])]
        self._core_points, self._core_labels = Points(clusters.points[cores]), clusters.labels[cores]
        self._reach = clusters.reach
        self._keep = keep
        self.best: list[list[UnsafeImage]] = [[] for _ in range(clusters.n_rccs)]  # nearest first
        self.counts = np.zeros(clusters.n_rccs, dtype=int)

    def add(self, paths: Sequence[str], points: np.ndarray) -> None:
        """Add improvement images, as points of the projection."""
        cores, distances = self._core_points.nearest_to(points)
        # Further digits depend on an image's place in its batch, and would decide between equal images.
        distances = distances.astype(float).round(5)
        labels = self._core_labels[cores].tolist()
        for path, rcc, distance in zip(paths, labels, distances.tolist(), strict=True):
            self.best[rcc].append(UnsafeImage(path, rcc, distance, bool(distance <= self._reach[rcc])))
            self.counts[rcc] += 1
        for rcc in {*labels}:
            self.best[rcc] = sorted(self.best[rcc], key=lambda image: (image.distance, image.image))[: self._keep]


def _lacking(
    clusters: RootCauseClusters, best: Sequence[Sequence[UnsafeImage]], excluded: Collection[int]
) -> Iterator[str]:
    """A sentence on RCCs without similar improvement images: no image that would repair them can be selected."""
    wanted = [rcc for rcc in clusters.groups if rcc != NOISE and rcc not in excluded]
    lacking = [rcc for rcc in wanted if not any(image.within_eps for image in best[rcc])]
    if lacking:
        named = [f"RCC {rcc} ({count(len(clusters.members(rcc)), 'failing image')})" for rcc in lacking]
        yield f"no improvement image is like those of {some(named)}: record images like these"
