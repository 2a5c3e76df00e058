"""Beyond the paper: what looks like a failing image, among images that the DNN gets right and improvement images.

An engineer who sees a failing image beside those that look alike but are predicted correctly sees what is different.
Clusters and other images in, these as points out (`OtherImages`); then the nearest of them to a failing image.

Distances are Euclidean, between points of the clusters' projection: the space of PCA in which the distance of an
improvement image to an RCC is measured when the unsafe set is selected (`selection.py`), and in which images that are
right are compared with failing ones (`reasons/comparison.py`). The features are those that these two have cached.
Unless asked for, none are computed.
"""

import functools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.tested import AnsweredImages
from FE import NOT_CACHED, stream_features
from features.extractor import Extractor
from features.weights import recall_extractor
from rccs.clusters import RootCauseClusters
from rccs.dbscan.set_aside import Nuisance
from rccs.projected import Aside, project
from rccs.unsafe_set import UnsafeSet
from reasons.comparison import compared_images, nuisance_of_tested
from support.entries import StrPath, is_within
from support.images import ImageListing, find_images
from support.progress import Progress, no_progress
from support.text import count

RIGHT, IMPROVEMENT = "right", "improvement"
MOST = 50_000  # improvement images, of which each takes 1 kB; of more, a random part, always the same


class OtherImages(NamedTuple):
    """Images that failing ones are compared with.

    Attributes
    ----------
    root : Path
    paths : tuple of str
        Relative to `root`, sorted; only those whose features are known.
    points : ndarray of shape (n_images, n_components), float32
        In the space of PCA.
    told : tuple of str
        What is known of each image: class, prediction, whether it is in the unsafe set. May be empty.
    missing : int
        Images whose features are not computed yet.
    unreadable : int
    notes : tuple of str
        Sentences on what was left out.
    """

    root: Path
    paths: tuple[str, ...]
    points: np.ndarray
    told: tuple[str, ...]
    missing: int
    unreadable: int
    notes: tuple[str, ...] = ()


def nearest_others(others: OtherImages, point: np.ndarray, n: int) -> list[tuple[int, float]]:
    """The `n` images nearest to a failing one, as rows of `others` with their distances, nearest first; ties by path.

    Parameters
    ----------
    point : ndarray of shape (n_components,)
        Of the failing image, a row of `RootCauseClusters.points`.
    """
    distances = np.linalg.norm(others.points.astype(np.float64) - point.astype(np.float64), axis=1)
    nearest = np.argsort(distances.round(6), kind="stable")[:n]
    return [(int(row), float(distances[row])) for row in nearest]


def gather_right(
    clusters: RootCauseClusters,
    tested: AnsweredImages,
    *,
    compute: bool = False,
    parameters: StrPath | None = None,
    weights: StrPath | None = None,
    progress: Progress = no_progress,
) -> OtherImages:
    """The images that the DNN gets right, those with which failing ones are compared
    (`reasons.comparison.compared_images`).

    Parameters
    ----------
    compute : bool
        Whether to compute the features that are not cached.
    parameters, weights
        As for `reasons.comparison.compare_with_right`.

    Raises
    ------
    SAFEError
        No failing image is among the tested ones, or features are to be computed and cannot be.
    """
    compared = compared_images(tested, clusters.image_root, clusters.paths)
    right = compared.rows[len(compared.failing) :]
    listing = ImageListing(tested.root, tuple(tested.paths[row] for row in right.tolist()), ())
    row_of = {path: place for place, path in enumerate(listing.paths)}
    nuisance = None
    if clusters.set_aside:
        nuisance = nuisance_of_tested(clusters.set_aside, tested, right, parameters=parameters, progress=progress)

    def nuisance_of(paths: Sequence[str]) -> Nuisance | None:
        return nuisance.taken(np.array([row_of[path] for path in paths])) if nuisance else None

    others = _gathered(clusters, listing, nuisance_of, compute=compute, weights=weights, progress=progress)
    told = (tested.answers.text(int(right[row_of[path]])) for path in others.paths)
    n_right = int(tested.right.sum())
    part = f"Only {len(right):,} of {count(n_right, 'right image')} are compared, drawn at random."
    return others._replace(told=tuple(told), notes=(part,) if len(right) < n_right else ())


def gather_improvement(
    clusters: RootCauseClusters,
    unsafe: UnsafeSet,
    *,
    compute: bool = False,
    within: Path | None = None,
    weights: StrPath | None = None,
    progress: Progress = no_progress,
) -> OtherImages:
    """The images in the folder that the unsafe set was selected from.

    Parameters
    ----------
    compute, weights
        As for `gather_right`.
    within : path, optional
        Images outside this folder, links followed, are left out; a table of parameters is only read inside it.

    Raises
    ------
    SAFEError
        The folder is gone, or features are to be computed and cannot be.
    """
    listing = find_images(unsafe.improvement_root)
    if within is not None:
        inside = tuple(path for path in listing.paths if is_within(listing.root / path, within))
        listing = listing._replace(paths=inside)
    notes: tuple[str, ...] = ()
    if (n_images := len(listing.paths)) > MOST:
        drawn = np.sort(np.random.default_rng(0).permutation(n_images)[:MOST])
        listing = listing._replace(paths=tuple(listing.paths[place] for place in drawn.tolist()))
        notes = (f"Only {MOST:,} of {n_images:,} improvement images are compared, drawn at random.",)
    aside = Aside(clusters.set_aside, listing, within) if clusters.set_aside else None
    others = _gathered(
        clusters, listing, aside.of if aside else None, compute=compute, weights=weights, progress=progress
    )
    told = _told_of_improvement(unsafe, others.paths, set(clusters.answers.label.tolist()) if clusters.answers else ())
    return others._replace(told=told, notes=notes)


def _told_of_improvement(unsafe: UnsafeSet, paths: Sequence[str], classes: Collection[str]) -> tuple[str, ...]:
    """Class, as far as it is known, and why an image is in the unsafe set."""
    selected = {image.image: image for image in unsafe.images}
    told = []
    for path in paths:
        folder, *rest = path.split("/")
        image = selected.get(path)
        label = (image.label if image else "") or (folder if rest and folder in classes else "")
        told.append(" · ".join(filter(None, [label, f"unsafe set: {image.why}" if image else ""])))
    return tuple(told)


def _gathered(
    clusters: RootCauseClusters,
    listing: ImageListing,
    nuisance_of: Callable[[Sequence[str]], Nuisance | None] | None,
    *,
    compute: bool,
    weights: StrPath | None,
    progress: Progress,
) -> OtherImages:
    """Images as points, and how many have none."""
    extractor = Extractor(clusters.extractor, clusters.extractor_identity, None)
    if compute:
        extractor = recall_extractor(extractor.name, extractor.identity, weights=weights or clusters.weights or None)
    stream = functools.partial(stream_features, compute=compute)
    paths: list[str] = []
    points = [np.zeros((0, clusters.points.shape[1]), np.float32)]
    missing = unreadable = 0
    for part in project(stream(listing, extractor, progress=progress), clusters.projection, nuisance_of):
        paths += part.paths
        points.append(part.points)
        lacking = sum(skip.reason == NOT_CACHED for skip in part.skipped)
        missing += lacking
        unreadable += len(part.skipped) - lacking
    return OtherImages(listing.root, tuple(paths), np.concatenate(points), ("",) * len(paths), missing, unreadable)
