"""What DBSCAN and its tuning find: the records that later steps read."""

from typing import NamedTuple

import numpy as np

NOISE = -1


class Setting(NamedTuple):
    """A setting of DBSCAN that was tried, and what came of it."""

    eps: float
    """The largest radius of an RCC."""
    min_samples: int
    at_knee: bool
    """Whether all RCCs have the knee of the k-distance curve for a radius, rather than each its own below it."""
    n_rccs: int
    noise: float
    """Share of images in no cluster."""
    largest: float
    """Share of images in the largest RCC."""
    silhouette: float
    """Mean over RCCs of their images' mean silhouette; 0 with fewer than two RCCs."""
    score: float


class Tuning(NamedTuple):
    """The outcome of `tune`.

    Attributes
    ----------
    labels : ndarray of shape (n_points,), int
        RCC of each point, `NOISE` for none. RCCs are numbered by size, the largest 0; of equal ones the first point's.
    is_core : ndarray of shape (n_points,), bool
    settings : tuple of Setting
        Everything tried; empty where there was nothing to try.
    chosen : int or None
        Index into `settings`.
    k_distances : ndarray of shape (n_points,), float32
        Sorted distances to the k-th nearest point, k being the chosen `min_samples`, the point itself counted.
    knee : int or None
        Index of the knee of that curve.
    """

    labels: np.ndarray
    is_core: np.ndarray
    settings: tuple[Setting, ...]
    chosen: int | None
    k_distances: np.ndarray
    knee: int | None
