"""The result of tuning DBSCAN, as the later steps read it."""

from typing import NamedTuple

import numpy as np

NOISE = -1
STEADY = 0.75  # least confidence in an RCC that is not called loose; see docs/decisions/016-consensus.md


class Setting(NamedTuple):
    """A setting of DBSCAN that was tried, and its result.

    Attributes
    ----------
    eps : float
        The largest eps of an RCC.
    min_samples : int
    at_knee : bool
        Whether all RCCs share the eps at the knee of the k-distance curve, rather than having their own.
    n_rccs : int
    noise : float
        Share of the images that are in no RCC.
    largest : float
        Share of the images in the largest RCC.
    silhouette : float
        Mean over RCCs of the mean silhouette of their images; 0 if there are fewer than two RCCs.
    score : float
        √silhouette · worth (see `rccs.dbscan.tuning.tune`).
    """

    eps: float
    min_samples: int
    at_knee: bool
    n_rccs: int
    noise: float
    largest: float
    silhouette: float
    score: float


class Tuning(NamedTuple):
    """The result of `tune`.

    Attributes
    ----------
    labels : ndarray of shape (n_points,), int
        RCC of each point, or `NOISE`. RCCs are numbered by decreasing size from 0; ties are broken by the first point.
    is_core : ndarray of shape (n_points,), bool
    settings : tuple of Setting
        All settings tried; empty if there are too few points or all are equal.
    chosen : int or None
        Index into `settings`; None if that is empty.
    k_distances : ndarray of shape (n_points,), float32
        Sorted distances to the k-th nearest point, where k is the chosen `min_samples`. The point itself is counted.
    knee : int or None
        Index of the knee of that curve, if it has one.
    """

    labels: np.ndarray
    is_core: np.ndarray
    settings: tuple[Setting, ...]
    chosen: int | None
    k_distances: np.ndarray
    knee: int | None


class Steadiness(NamedTuple):
    """How often images are together again when some of them are left out (see `rccs.dbscan.consensus`).

    Attributes
    ----------
    of_rccs : ndarray of shape (n_rccs,), float32
        Mean over the images of an RCC, from 0 to 1: how often an image is together with the other images of the RCC, as
        a share of the clusterings in which both take part.
    n_samples : int
        Random samples of the images that were clustered.
    may_change : float
        Share of the images that further samples might have moved to another RCC; 0 if all were clustered.
    """

    of_rccs: np.ndarray
    n_samples: int
    may_change: float = 0.0

    @property
    def is_steady(self) -> np.ndarray:
        """Which RCCs are found again often enough, shape (n_rccs,), bool; the others are loose."""
        return self.of_rccs >= STEADY
