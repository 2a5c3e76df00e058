"""Distances between RCCs, and from images to the core of their RCC, in the space of PCA; the parts of an RCC. Step 2.

The paper leaves open what to do with an RCC that shows two reasons. The two parts into which it falls first are those
of DBSCAN's tree (see `rccs.dbscan.density.Density`) of its images alone: the last merge of two clusters that both have
enough images.
"""

import math

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.dbscan.density import Density
from safe_dnn.rccs.dbscan.neighbours import LISTED, MOST_STORED, Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError

LEAST_IMAGES, LEAST_SHARE = 5, 0.1  # of the RCC's images, in each part


def nearest_rccs(clusters: RootCauseClusters, rcc: int, *, n: int = 3) -> list[tuple[int, float]]:
    """The `n` RCCs nearest to an RCC (or to `NOISE`), with the distance of their centres, nearest first.

    Raises
    ------
    SAFEError
        The RCC does not exist.
    """
    _rows(clusters, rcc)  # raises if it does not exist
    centres = clusters.centres
    others = [other for other in centres if other not in (rcc, NOISE)]
    distances = [(float(np.linalg.norm(centres[other] - centres[rcc])), other) for other in others]
    return [(other, distance) for distance, other in sorted(distances)[:n]]


def by_closeness(clusters: RootCauseClusters, rcc: int) -> list[tuple[str, float]]:
    """The images of an RCC with their distance from the middle of its core, nearest first; ties by path.

    The middle is the core point nearest to the mean of the RCC's core points; it comes first with distance 0. (The
    distance to the nearest core point would be 0 for every core point, and most images are core points.) Images in no
    cluster are ordered by their distance to the nearest core point of any RCC: those that almost belong to one come
    first.

    Raises
    ------
    SAFEError
        The RCC does not exist.
    """
    rows = _rows(clusters, rcc)
    points = clusters.points[rows].astype(np.float64)
    cores = np.flatnonzero(clusters.is_core)
    if rcc == NOISE and len(cores):
        _, distances = Points(clusters.points[cores]).nearest_to(points)
    else:
        candidates = np.flatnonzero(clusters.is_core[rows]) if clusters.is_core[rows].any() else np.arange(len(rows))
        middle = candidates[np.linalg.norm(points[candidates] - clusters.centres[rcc], axis=1).argmin()]
        distances = np.linalg.norm(points - points[middle], axis=1)
    order = np.argsort(distances.round(6), kind="stable")  # paths are sorted already
    return [(clusters.paths[rows[i]], float(distances[i])) for i in order]


def most_similar(clusters: RootCauseClusters, row: int, n: int) -> list[int]:
    """The failing images that look most like one of them, as rows: itself, then up to `n` − 1 others, nearest first.

    Ties are in the order of the rows.
    """
    points = clusters.points.astype(np.float64)
    distances = np.linalg.norm(points - points[row], axis=1)
    distances[row] = -1  # before its copies
    return np.argsort(distances, kind="stable")[:n].tolist()


def _rows(clusters: RootCauseClusters, rcc: int) -> np.ndarray:
    rows = np.flatnonzero(clusters.labels == rcc)
    if not len(rows):
        raise SAFEError(f"There is no RCC {rcc}; it may have been merged or emptied. Choose one that is displayed.")
    return rows


def representative(clusters: RootCauseClusters, rcc: int) -> str:
    """Path of the image nearest to the mean of an RCC's images, which represents it in an overview."""
    rows = np.flatnonzero(clusters.labels == rcc)
    points = clusters.points[rows]
    return clusters.paths[rows[np.linalg.norm(points - points.mean(axis=0), axis=1).argmin()]]


def parts_of(clusters: RootCauseClusters, rcc: int) -> list[tuple[str, ...]]:
    """The paths of the images of both parts, the larger first; empty if there are none."""
    # Imported here so that the page starts faster.
    from scipy.cluster.hierarchy import to_tree

    rows = np.flatnonzero(clusters.labels == rcc)
    least = max(LEAST_IMAGES, math.ceil(LEAST_SHARE * len(rows)))
    if not 2 * least <= len(rows) <= MOST_STORED:  # the tree takes memory by their square
        return []
    points = Points(clusters.points[rows])
    merges = Density(points, max(1, min(clusters.min_samples, LISTED + 1, least))).merges
    clusters_of_tree = to_tree(merges, rd=True)[1][len(rows) :]
    sides = ((one.left, one.right) for one in reversed(clusters_of_tree))
    last = next((both for both in sides if min(both[0].count, both[1].count) >= least), None)
    if not last:
        return []
    first, second = (side.pre_order() for side in last)
    part = np.zeros(len(rows), bool)
    part[second] = True
    known = np.sort([*first, *second])
    others = np.setdiff1d(np.arange(len(rows)), known)  # they joined later: with what is nearest
    part[others] = part[known[points.distances[np.ix_(others, known)].argmin(axis=1)]]
    found = [tuple(clusters.paths[row] for row in rows[which]) for which in (~part, part)]
    return sorted(found, key=len, reverse=True)
