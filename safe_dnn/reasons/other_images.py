"""Beyond the paper: what looks like a failing image, among images that the DNN gets right and improvement images.

An engineer who sees a failing image beside those that look alike but are predicted correctly sees what is different.
Clusters and other images in, these as points out (`OtherImages`); then the nearest of them to a failing image.

Distances are Euclidean, between points of the clusters' projection: the space of PCA in which the distance of an
improvement image to an RCC is measured when the unsafe set is selected (`selection.py`), and in which images that are
right are compared with failing ones (`reasons/comparison.py`). The features are those that these two have cached;
of images that were replaced since, they are computed.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import stream_features
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.parameters import find_parameters
from safe_dnn.rccs.projected import Aside, project
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet
from safe_dnn.reasons.comparison import compared_images, points_of_tested
from safe_dnn.support.entries import StrPath, is_within
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import Progress
from safe_dnn.support.text import count

RIGHT, IMPROVEMENT = "right", "improvement"
MOST = 50_000  # improvement images, of which each takes 1 kB; of more, a random part, always the same


class OtherImages(NamedTuple):
    """Images that failing ones are compared with.

    Attributes
    ----------
    root : Path
    paths : tuple of str
        Relative to `root`, sorted; only those that can be read.
    points : ndarray of shape (n_images, n_components), float32
        In the space of PCA.
    told : tuple of str
        What is known of each image: class, prediction, whether it is in the unsafe set. May be empty.
    unreadable : int
    notes : tuple of str
        Sentences on what was left out.
    """

    root: Path
    paths: tuple[str, ...]
    points: np.ndarray
    told: tuple[str, ...]
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
    parameters: Path | None,
    weights: StrPath | None,
    progress: Progress,
) -> OtherImages:
    """The images that the DNN gets right, those with which failing ones are compared
    (`reasons.comparison.compared_images`).

    Parameters
    ----------
    parameters, weights
        As for `reasons.comparison.compare_with_right`.

    Raises
    ------
    SAFEError
        No failing image is among the tested ones, or features are to be computed and cannot be.
    """
    compared = compared_images(tested, clusters.image_root, clusters.paths)
    right = compared.rows[len(compared.failing) :]
    points, read = points_of_tested(clusters, tested, right, parameters=parameters, weights=weights, progress=progress)
    rows, n_right = right[read].tolist(), int(tested.right.sum())
    part = f"Only {len(right):,} of {count(n_right, 'right image')} are compared, drawn at random."
    paths, told = tuple(tested.paths[row] for row in rows), tuple(map(tested.answers.text, rows))
    notes = (part,) if len(right) < n_right else ()
    return OtherImages(tested.root, paths, points, told, len(right) - len(rows), notes)


def gather_improvement(
    clusters: RootCauseClusters, unsafe: UnsafeSet, *, within: Path | None, weights: StrPath | None, progress: Progress
) -> OtherImages:
    """The images in the folder that the unsafe set was selected from.

    Parameters
    ----------
    within : path, optional
        Images outside this folder, links followed, are left out; a table of parameters is only read inside it.
    weights
        As for `gather_right`.

    Raises
    ------
    SAFEError
        The folder is gone, or features are to be computed and cannot be.
    """
    listing = find_images(unsafe.improvement_root)
    paths = [path for path in listing.paths if is_within(listing.root / path, within)]
    notes: tuple[str, ...] = ()
    if (n_images := len(paths)) > MOST:
        paths = [paths[row] for row in np.sort(np.random.default_rng(0).permutation(n_images)[:MOST]).tolist()]
        notes = (f"Only {MOST:,} of {n_images:,} improvement images are compared, drawn at random.",)
    listing = listing._replace(paths=tuple(paths))
    parameters = find_parameters(listing.root, within=within)
    aside = Aside(clusters.set_aside, listing, parameters) if clusters.set_aside else None
    batches = stream_features(listing, clusters.recalled_extractor(weights), progress=progress)
    parts = list(project(batches, clusters.projection, aside.of if aside else None))
    points = np.concatenate([np.zeros((0, clusters.points.shape[1]), np.float32), *(part.points for part in parts)])
    read = tuple(path for part in parts for path in part.paths)
    selected = {image.image: image for image in unsafe.images}
    classes = set(clusters.answers.label.tolist()) if clusters.answers else set()
    told = tuple(_told(path, selected.get(path), classes) for path in read)
    return OtherImages(listing.root, read, points, told, len(paths) - len(read), notes)


def _told(path: str, selected: UnsafeImage | None, classes: set[str]) -> str:
    """Class, as far as it is known, and why an image is in the unsafe set."""
    folder = path.partition("/")[0]
    label = (selected.label if selected else "") or (folder if folder in classes and folder != path else "")
    return " · ".join(filter(None, (label, f"in the unsafe set for RCC {selected.rcc}" if selected else "")))
