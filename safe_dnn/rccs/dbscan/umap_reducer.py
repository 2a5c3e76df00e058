"""UMAP before DBSCAN (the reducer `umap`), and its check: its RCCs are compared with those found with PCA. Step 1.

UMAP brings images of one cause together that PCA leaves apart, but also merges causes that PCA separates, and leaves
hardly any noise. Where both agree, they are seldom wrong. Labels have the shape (n_images,), int, start at 0, and are
`NOISE` for images in no RCC.

Sources: Attaoui et al., ACM TOSEM 33(5):130, 2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP);
Jaccard, Bull. Soc. Vaud. Sci. Nat. 37, 1901 (the index); Strehl & Ghosh, JMLR 3, 2002 (consensus of several
clusterings).
"""

import sys
import warnings
from collections.abc import Callable

import numpy as np

from safe_dnn.rccs.dbscan.density import SMALLEST_BRANCH
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress

UMAP_COMPONENTS = 10
UMAP_NEIGHBOURS = 15


def load_umap() -> type:
    """Import the class UMAP without its TensorFlow variant, which takes seconds and 300 MB to import.

    Raises
    ------
    ImportError
        umap-learn is not installed.
    """
    variant = "umap.parametric_umap"
    left_out = variant not in sys.modules
    if left_out:
        sys.modules[variant] = None  # type: ignore[assignment]  # documented: importing it raises ImportError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # umap warns that it is missing
            from umap import UMAP
    finally:
        if left_out:
            sys.modules.pop(variant, None)
    return UMAP


def reduced_by_umap(points: np.ndarray, progress: Progress) -> np.ndarray:
    """Reduce points to 10 dimensions with UMAP, deterministically.

    Points are returned unchanged if there are too few of them to fit UMAP.

    Raises
    ------
    SAFEError
        umap-learn is not installed.
    """
    if len(points) <= UMAP_NEIGHBOURS:
        return points
    try:
        UMAP = load_umap()
    except ImportError as error:
        raise SAFEError("The reducer umap needs the package umap-learn. Run: pip install umap-learn") from error
    progress("Fitting UMAP", 0, 0)
    umap = UMAP(UMAP_NEIGHBOURS, UMAP_COMPONENTS, min_dist=0.0, random_state=0, n_jobs=1)
    return umap.fit_transform(points).astype(np.float32)


def agreement(group: np.ndarray, sizes: np.ndarray) -> float:
    """How well a group of images matches one RCC of another clustering, from 0 to 1.

    The mean, over the images that are in an RCC of the other clustering, of the Jaccard index between the group and
    that RCC. It is small if the group spans several RCCs or is only part of one, and 1 if all its images are noise.

    Parameters
    ----------
    group : ndarray of shape (n_group,), int
        Label of each image of the group in the other clustering.
    sizes : ndarray of shape (n_rccs,), int
        Sizes of the RCCs of the other clustering.
    """
    shared = np.bincount(group[group != NOISE], minlength=len(sizes))
    n = shared.sum()
    return float(shared @ (shared / (sizes + n - shared)) / n) if n else 1.0


def divide(
    labels: np.ndarray, is_core: np.ndarray, other: np.ndarray, *, worth: Callable[[np.ndarray], float], images: Points
) -> tuple[np.ndarray, np.ndarray]:
    """Divide RCCs along those of another clustering, if the parts are worth more than the whole.

    A part is the intersection of an RCC with one of the other clustering, if it has at least `SMALLEST_BRANCH` images.
    The remaining images of the RCC join the part with the nearest image.

    Parameters
    ----------
    labels, is_core : ndarray of shape (n_images,)
        The clustering to divide.
    other : ndarray of shape (n_images,), int
        Labels of the other clustering.
    worth : callable
        Worth of a group of images, given by their indices.
    images : Points
        Used to find the nearest image.

    Returns
    -------
    labels, is_core : ndarray of shape (n_images,)
        The core points of a part are the images of the intersection.
    """
    labels, is_core = labels.copy(), is_core.copy()
    for rcc in range(labels.max(initial=NOISE) + 1):
        members = np.flatnonzero(labels == rcc)
        shared = [members[other[members] == there] for there in np.unique(other[members]) if there != NOISE]
        parts = [part for part in shared if len(part) >= SMALLEST_BRANCH]
        if len(parts) < 2 or sum(map(worth, parts)) <= worth(members):
            continue
        in_parts = np.sort(np.concatenate(parts))
        is_core[members] = np.isin(members, in_parts)
        for part in parts[1:]:  # the first keeps the RCC's number
            labels[part] = labels.max() + 1
        rest = np.setdiff1d(members, in_parts)
        labels[rest] = labels[in_parts[images.distances[np.ix_(rest, in_parts)].argmin(axis=1)]]
    return labels, is_core


def without_strays(labels: np.ndarray, is_core: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn images into noise if fewer than half of their nearest neighbours are in the same RCC.

    RCCs left with fewer than `SMALLEST_BRANCH` core points become noise as well.

    Parameters
    ----------
    labels, is_core : ndarray of shape (n_images,)
    neighbours : ndarray of shape (n_images, k), int
        The nearest neighbours of each image.

    Returns
    -------
    labels, is_core : ndarray of shape (n_images,)
        The remaining RCCs are renumbered in the same order.
    """
    settled = (labels != NOISE) & ((labels[neighbours] == labels[:, None]).mean(axis=1) >= 0.5)
    cores = np.bincount(labels[settled & is_core], minlength=labels.max(initial=NOISE) + 1)
    settled &= np.append(cores, 0)[labels] >= SMALLEST_BRANCH  # the appended 0 is for noise, -1
    remaining = np.full(len(labels), NOISE)
    remaining[settled] = np.unique(labels[settled], return_inverse=True)[1]
    return remaining, is_core & settled
