"""Step 2 of SAFE: the two parts into which an RCC falls first, for the engineer who finds it loose.

The paper leaves open what to do with an RCC that shows two reasons. The parts are those of DBSCAN's tree (see
`rccs.dbscan.density.Density`) of the RCC's images alone: the last merge of two clusters that both have enough images.
"""

import math

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.dbscan.density import Density
from safe_dnn.rccs.dbscan.neighbours import LISTED, MOST_STORED, Points

LEAST_IMAGES, LEAST_SHARE = 5, 0.1  # of the RCC's images, in each part


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
