"""Steps 3 and 4 of SAFE: selection of the unsafe set. Improvement images and RCCs in, the images worth labelling out.

An improvement image is a candidate of the RCC that holds its nearest core point. Of each RCC's candidates the nearest
are taken, the same number from each; or, on request, the more the more failing images the RCC has. Where it is known
which images the DNN is likely to get wrong, half of them are such ones. Writes `IS_filenames.txt`,
`unsafe_set.csv` and `unsafe_set.json`.

Source: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.4. The paper gives no formula for the size of the set;
`unsafe_set_size` says which one is used here.
"""

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from support.entries import number_of
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.images import Skipped, find_images
from support.output_folder import save_files, save_text
from support.progress import Progress, no_progress
from support.run_folder import FILENAMES_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from support.tables import cell, from_cell

COLUMNS = ("image", "rcc", "distance", "within_eps", "label")

SELECTION_FACTOR = 0.3
MOST_IMAGES = 10**9  # in a test set or an unsafe set; a larger number is mistyped
TOGETHER = 64  # batches of features that are compared with the core points at a time: some 25 MB
QUOTAS = ("equal", "size")
QUOTA = "equal"
REACH = 4  # times as many of the next nearest images compete to be among those that the DNN is likely to get wrong

LikelyWrong = Callable[[Path, Sequence[str]], np.ndarray]
"""How likely the DNN is wrong on images, of a folder and by paths in it: floats of shape (n_images,)."""


class UnsafeImage(NamedTuple):
    """A row of `unsafe_set.csv`.

    Attributes
    ----------
    image : str
        Path relative to the improvement folder.
    rcc : int
    distance : float
        To the nearest core point, in the space of PCA.
    within_eps : bool
        Whether that distance is at most the RCC's reach, the counterpart of DBSCAN's eps in that space (see
        `rccs.clusters.rcc_reach`): as near to a core point as the RCC's own images are.
    label : str
        The class, where the engineer has given it.
    """

    image: str
    rcc: int
    distance: float
    within_eps: bool
    label: str = ""


@dataclass(frozen=True)
class UnsafeSet:
    """The images worth labelling.

    Attributes
    ----------
    improvement_root : Path
    images : tuple of UnsafeImage
        By RCC, nearest first within each.
    wanted : int
        Size asked for; more than `len(images)` where the improvement set did not hold as many.
    formula : str
        How that number came about.
    n_improvement : int
        Readable images of the improvement set.
    candidates : tuple of int
        Improvement images nearest to each RCC.
    skipped : tuple of Skipped
    clusters : str
        Fingerprint of the RCCs that the selection belongs to (see `rccs.clusters.fingerprint`).
    left_out : tuple of int
        RCCs that no image was selected for, because the engineer wanted none.
    quota : "equal" or "size"
        How the images were divided among the RCCs (see `quotas`).
    model : str
        The DNN of which images that it is likely to get wrong were preferred, if there was one.
    run : str
        Fingerprint of those clusters as they were found, without the engineer's edits; empty in sets of older versions.
    labels : str
        What became of the labels of the set before, in words.
    """

    improvement_root: Path
    images: tuple[UnsafeImage, ...]
    wanted: int
    formula: str
    n_improvement: int
    candidates: tuple[int, ...]
    skipped: tuple[Skipped, ...]
    clusters: str
    left_out: tuple[int, ...] = ()
    quota: str = QUOTA
    model: str = ""
    run: str = ""
    labels: str = ""


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


def select_unsafe_set(
    improvement: str | os.PathLike,
    clusters: RootCauseClusters,
    test_accuracy: float | None = None,
    test_size: int | None = None,
    factor: float = SELECTION_FACTOR,
    size: int | None = None,
    weights: str | os.PathLike | None = None,
    progress: Progress = no_progress,
    leave_out: Collection[int] = (),
    quota: str = QUOTA,
    stream: Stream | None = None,
    likely_wrong: LikelyWrong | None = None,
) -> UnsafeSet:
    """Select the unsafe set from a folder of improvement images (steps 3 and 4).

    The folder is streamed: of its features only `TOGETHER` batches are held, of each RCC's candidates at most twice as
    many as are wanted and a thousand, so that memory grows with the size of the unsafe set, not of the folder (but for
    the names of its files).

    Parameters
    ----------
    test_accuracy, test_size, factor
        The formula of `unsafe_set_size`.
    size : int, optional
        The size itself, instead of the formula.
    weights : path, optional
        As for `features.weights.choose_extractor`; without it, those of the clustering.
    leave_out : collection of int
        RCCs that get no images, for example those whose failures are no hazard. Their candidates stay theirs: an
        image that shows such a root cause is not selected for another RCC either.
    quota : "equal" or "size"
        As for `quotas`.
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
    left_out = _left_out(clusters, leave_out)
    if quota not in QUOTAS:
        raise SAFEError(f"quota must be one of {', '.join(QUOTAS)}. Received: {quota}")
    if size is not None:
        wanted = _images("size", size)
        formula = f"N = {size}, as asked for"
    elif test_accuracy is None:
        raise SAFEError("Expected the test accuracy (or a size). Received neither.")
    else:
        wanted, formula = unsafe_set_size(test_accuracy, len(clusters.paths), test_size, factor)
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
    taken = quotas(wanted, clusters.sizes, available, quota)
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
        quota=quota,
    )


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


# --- The files --------------------------------------------------------------------------------------------------


def save_unsafe_set(unsafe: UnsafeSet, folder: Path) -> None:
    """Write `IS_filenames.txt`, `unsafe_set.csv` and, with how they came about, `unsafe_set.json`."""
    record = {
        "improvement_root": os.fspath(unsafe.improvement_root),
        "selected": len(unsafe.images),
        "wanted": unsafe.wanted,
        "formula": unsafe.formula,
        "n_improvement": unsafe.n_improvement,
        "candidates": unsafe.candidates,
        "skipped": [skip._asdict() for skip in unsafe.skipped],
        "clusters": unsafe.clusters,
        "left_out": unsafe.left_out,
        "quota": unsafe.quota,
        "model": unsafe.model,
        "run": unsafe.run,
        "labels": unsafe.labels,
        "images": _digest(unsafe.images),
    }
    files = {
        FILENAMES_FILE: "".join(f"{image.image}\n" for image in unsafe.images),
        UNSAFE_SET_FILE: _table(unsafe),
        SELECTION_FILE: json.dumps(record, indent=2) + "\n",
    }
    save_files(folder, files)


def save_labels(unsafe: UnsafeSet, folder: Path) -> None:
    """Write `unsafe_set.csv` alone, the one file that labelling changes."""
    save_text(folder, UNSAFE_SET_FILE, _table(unsafe))


def _table(unsafe: UnsafeSet) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image in unsafe.images:
        within = str(image.within_eps).lower()
        writer.writerow(image._replace(image=cell(image.image), within_eps=within, label=cell(image.label)))
    return table.getvalue()


def set_key(unsafe: UnsafeSet) -> str:
    """Tells one unsafe set from another, whatever its labels are."""
    return f"{unsafe.clusters}-{_digest(unsafe.images)}"


def _digest(images: Sequence[UnsafeImage]) -> str:
    """Tells the table of one selection from that of another: which images, of which RCCs, in any order."""
    rows = sorted(f"{image.rcc}\t{image.image}\n" for image in images)
    return hashlib.blake2b("".join(rows).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def load_unsafe_set(folder: Path) -> UnsafeSet:
    """Read what `save_unsafe_set` wrote.

    Raises
    ------
    SAFEError
        There is none, or it is damaged.
    """
    path = folder / UNSAFE_SET_FILE
    if not path.is_file() or not (folder / SELECTION_FILE).is_file():
        raise SAFEError(f"Expected an unsafe set. Received none in {folder}. Select it first.")
    try:
        # Engineers fill in the labels with a spreadsheet, which may add a byte order mark and write TRUE for true.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        images = tuple(map(_image_of, rows))
        if not images:
            raise ValueError("no image in it")
        if len({image.image for image in images}) < len(images):
            raise ValueError("an image in it twice")
        record = json.loads((folder / SELECTION_FILE).read_text(encoding="utf-8"))
        if "images" in record and record["images"] != _digest(images):
            raise ValueError(f"{SELECTION_FILE} is of other images than {UNSAFE_SET_FILE}")
        if record.get("quota", "equal") not in QUOTAS:
            raise ValueError(f"a quota that is none: {record['quota']}")
        candidates = tuple(map(int, record["candidates"]))
        if max(image.rcc for image in images) >= len(candidates):
            raise ValueError("an RCC that there is not")
        return UnsafeSet(
            improvement_root=Path(record["improvement_root"]),
            images=images,
            wanted=int(record["wanted"]),
            formula=str(record["formula"]),
            n_improvement=int(record["n_improvement"]),
            candidates=candidates,
            skipped=tuple(Skipped(skip["path"], skip["reason"]) for skip in record["skipped"]),
            clusters=str(record["clusters"]),
            left_out=tuple(map(int, record.get("left_out", ()))),
            quota=record.get("quota", "equal"),  # those of older versions were
            model=str(record.get("model", "")),
            run=str(record.get("run", "")),
            labels=str(record.get("labels", "")),
        )
    except DAMAGED as error:
        raise SAFEError(f"The unsafe set in {folder} is damaged ({error}). Select it again.") from error


def selection_run(folder: Path) -> str:
    """The fingerprint of the clusters, as found, that the unsafe set in a folder belongs to; empty where unknown."""
    try:
        return str(json.loads(regular(folder / SELECTION_FILE).read_text(encoding="utf-8"))["run"])
    except DAMAGED:
        return ""


def _image_of(row: Mapping[str, str]) -> UnsafeImage:
    """A row of `unsafe_set.csv`; a ValueError where it is none."""
    image, label = from_cell(row["image"] or ""), from_cell((row["label"] or "").strip())
    rcc, distance = int(row["rcc"]), float(row["distance"])
    if not image or set(image) & set("\0\r\n") or rcc < 0 or not 0 <= distance < math.inf:
        raise ValueError(f"a row that is none: {image!r}, {rcc}, {distance}")
    return UnsafeImage(image, rcc, distance, row["within_eps"].strip().lower() == "true", label)
