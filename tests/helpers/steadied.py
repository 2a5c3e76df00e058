"""RCCs of which it is known how steady they are: for tests of what is said of it."""

import dataclasses

import numpy as np

from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.dbscan.outcome import NOISE, Steadiness


def steadied(clusters: RootCauseClusters, of_rccs: tuple[float, ...] = (0.94, 0.52, 0.8)) -> RootCauseClusters:
    """RCC 0 is steady and RCC 1 loose; the last image of RCC 1 is between both, the first in no RCC is near RCC 2."""
    labels = clusters.labels
    of_images = np.where(labels == NOISE, 0, np.array([*of_rccs, 0])[labels]).astype(np.float32)
    beside, of_beside = np.where(labels == 0, 1, 0), np.full(len(labels), 0.1, np.float32)
    between = np.flatnonzero(labels == 1)[-1]
    of_images[between], of_beside[between] = 0.55, 0.385
    noise = np.flatnonzero(labels == NOISE)
    beside[noise], of_beside[noise[:1]] = 2, 0.3
    measured = Steadiness(np.array(of_rccs, np.float32), of_images, beside, of_beside, 100)
    return dataclasses.replace(clusters, steadiness=measured)
