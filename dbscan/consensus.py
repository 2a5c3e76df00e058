"""UMAP's root cause clusters (RCCs) checked against PCA's. Step 1, for `tuning.py`; only with `--reducer umap`.

UMAP draws images of one cause together that PCA leaves apart, and with them images of other causes: it leaves hardly
any image out, and joins causes that PCA tells apart. Where both say the same, they are seldom wrong.

Pure functions on arrays. Labels are of shape (n_images,), int, from 0, `NOISE` for images in no RCC.

Sources: Jaccard, Bull. Soc. Vaud. Sci. Nat. 37, 1901 (the index); Strehl & Ghosh, JMLR 3, 2002 (consensus of several
clusterings).
"""

from collections.abc import Callable

import numpy as np

from dbscan.branches import SMALLEST_BRANCH
from dbscan.neighbours import Points
from dbscan.outcome import NOISE


def agreement(group: np.ndarray, sizes: np.ndarray) -> float:
    """How well some images are one RCC of another clustering, from 0 to 1.

    The mean, over those that are in an RCC there, of the Jaccard index between the images and that RCC: small where the
    images are of several RCCs, and where they are only part of one. 1 where none of them is in an RCC there.

    Parameters
    ----------
    group : ndarray of shape (n_group,), int
        RCC of each of the images in the other clustering, or `NOISE`.
    sizes : ndarray of shape (n_rccs,), int
        Of the other clustering's RCCs.
    """
    shared = np.bincount(group[group != NOISE], minlength=len(sizes))
    n = shared.sum()
    return float(shared @ (shared / (sizes + n - shared)) / n) if n else 1.0


def divide(
    labels: np.ndarray,
    is_core: np.ndarray,
    other: np.ndarray,
    worth: Callable[[np.ndarray], float],
    images: Points,
) -> tuple[np.ndarray, np.ndarray]:
    """Divide each RCC along another clustering's, where the parts are worth more than the whole.

    A part is what an RCC shares with one of the other clustering, `SMALLEST_BRANCH` images or more. Its other images
    join the part that has the nearest of them.

    Parameters
    ----------
    labels, is_core : ndarray of shape (n_images,)
        The clustering that is divided.
    other : ndarray of shape (n_images,), int
        The other clustering.
    worth : callable
        Takes the indices of some images.
    images : Points
        To find the nearest.

    Returns
    -------
    labels, is_core : ndarray of shape (n_images,)
        The core points of a part are those shared.
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
        labels[rest] = labels[_nearest(images, rest, in_parts)]
    return labels, is_core


def _nearest(images: Points, rows: np.ndarray, among: np.ndarray) -> np.ndarray:
    """Of some images, the nearest to each of others, shape (n_rows,), int."""
    found = images.per_block(rows, lambda block, distances: among[distances[:, among].argmin(axis=1)])
    return np.concatenate([np.empty(0, dtype=int), *found])


def without_strays(labels: np.ndarray, is_core: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Make noise of images of whose nearest neighbours fewer than half are in their RCC.

    So is an RCC of which that leaves fewer than `SMALLEST_BRANCH` core points.

    Parameters
    ----------
    labels, is_core : ndarray of shape (n_images,)
    neighbours : ndarray of shape (n_images, k), int
        Of each image.

    Returns
    -------
    labels, is_core : ndarray of shape (n_images,)
        Numbered anew, in the same order.
    """
    settled = (labels != NOISE) & ((labels[neighbours] == labels[:, None]).mean(axis=1) >= 0.5)
    cores = np.bincount(labels[settled & is_core], minlength=labels.max(initial=NOISE) + 1)
    settled &= np.append(cores, 0)[labels] >= SMALLEST_BRANCH  # the last for noise, -1
    remaining = np.full(len(labels), NOISE)
    remaining[settled] = np.unique(labels[settled], return_inverse=True)[1]
    return remaining, is_core & settled
