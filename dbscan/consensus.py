"""Root cause clusters (RCCs) that are found again: what the clusterings of many random samples agree on. Step 1.

Each clustering in which two images take part votes on whether they belong together, and counts the more the better its
score is beside the others of the same sample. The RCCs are the groups that agree with the votes best. How often the
images of an RCC are together, whatever the scores, is the confidence in it.

Pure functions on arrays; read `agree` first. Votes are whole numbers, which sums in any order leave exact, so the
result does not depend on the number of threads.

Sources: Fred & Jain, IEEE TPAMI 27(6), 2005 (evidence accumulation: how often two points are together, and average
linkage); Bansal, Blum, Chawla, Machine Learning 56, 2004 (correlation clustering: the groups that agree best with
pairwise votes).
"""

from typing import NamedTuple

import numpy as np

from dbscan.branches import SMALLEST_BRANCH
from dbscan.outcome import NOISE, Steadiness
from dbscan.resamples import LEFT_OUT, Votes
from dbscan.tuning import largest_first

TOGETHER = 42  # per cent of the votes from which two images rather belong together
ROUNDS = 50  # of improvements; a few are enough


def agree(votes: Votes) -> tuple[np.ndarray, np.ndarray, Steadiness]:
    """The RCCs that agree with the votes best.

    A group of images is worth the sum, over its pairs, of (votes for together) − .42 · (all votes), and the RCCs are
    disjoint groups with the largest total worth that can be found: average linkage, cut where groups are together in
    .42 of the votes, is improved by moving single images and joining groups, as long as that raises the worth. Groups
    of fewer than `SMALLEST_BRANCH` images are noise. See docs/decisions/016-consensus.md.

    Returns
    -------
    labels : ndarray of shape (n_images,), int
        Numbered by decreasing size.
    is_core : ndarray of shape (n_images,), bool
        The images of an RCC that are core points in at least half of the clusterings in which they take part; in any
        case the one of it that is so most often.
    steadiness : Steadiness
    """
    counts = count_votes(votes)
    # Sums of as many numbers would not be exact in float32.
    worth = 100.0 * counts.weighted_together.astype(np.float64) - TOGETHER * counts.weighted_both
    groups = _improved(_linked(counts.weighted_together, counts.weighted_both), worth)
    sizes = np.bincount(groups)
    labels = largest_first(np.where(sizes[groups] >= SMALLEST_BRANCH, groups, NOISE))
    steadiness = measure_steadiness(labels, counts.together, counts.both, n_samples=votes.n_samples)
    return labels, _cores(votes, labels), steadiness


class Counts(NamedTuple):
    """For each pair of images, votes of clusterings in which they are together, and in which both take part.

    Whole numbers in arrays of shape (n_images, n_images), float32; 0 on the diagonals of the first and the third.

    Attributes
    ----------
    weighted_together, weighted_both : ndarray
        Each clustering counts with its weight.
    together, both : ndarray
        Each counts once.
    """

    weighted_together: np.ndarray
    weighted_both: np.ndarray
    together: np.ndarray
    both: np.ndarray


def count_votes(votes: Votes) -> Counts:
    """Count them."""
    n = votes.labels.shape[1]
    weighted, equal = np.zeros((n, n), np.float32), np.zeros((n, n), np.float32)
    for one, weight in zip(votes.labels, votes.weights.tolist(), strict=True):
        inside = np.flatnonzero(one > NOISE)
        belongs = np.zeros((n, int(one.max(initial=NOISE)) + 1), np.float32)
        belongs[inside, one[inside]] = 1
        pairs = belongs @ belongs.T
        equal += pairs
        weighted += weight * pairs
    for together in (weighted, equal):
        np.fill_diagonal(together, 0)
    takes_part = (votes.labels != LEFT_OUT).astype(np.float32)
    weights = votes.weights.astype(np.float32)[:, None]
    return Counts(weighted, (weights * takes_part).T @ takes_part, equal, takes_part.T @ takes_part)


def _linked(together: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Groups by average linkage, numbered from 0; shape (n_images,), int."""
    # Imported here so that the page starts faster.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    apart = 1 - together / np.maximum(both, 1, dtype=np.float64)
    np.fill_diagonal(apart, 0)
    tree = linkage(squareform(apart, checks=False), "average")
    return np.asarray(fcluster(tree, 1 - TOGETHER / 100, "distance"), dtype=int) - 1


def _improved(groups: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Raise the total worth by moving images to other groups, or out of all, and by joining groups.

    Parameters
    ----------
    groups : ndarray of shape (n_images,), int
        Groups from 0, which may be of one image.
    worth : ndarray of shape (n_images, n_images), float64
        Of each pair, whole numbers. The diagonal is overwritten with 0.
    """
    n = len(groups)
    np.fill_diagonal(worth, 0)
    groups = groups.copy()
    for _ in range(ROUNDS):
        # The last column is for an image that leaves all groups; the next round gives it a number.
        n_groups = int(groups.max()) + 1
        belongs = np.zeros((n, n_groups + 1))
        belongs[np.arange(n), groups] = 1
        gain = worth @ belongs  # of each image in each group
        changed = False
        for image in range(n):
            best, own = int(gain[image].argmax()), groups[image]
            if best != own and gain[image, best] > max(gain[image, own], 0):
                gain[:, own] -= worth[:, image]
                gain[:, best] += worth[:, image]
                groups[image], changed = best, True
        groups = np.unique(groups, return_inverse=True)[1]
        belongs = (groups[:, None] == np.arange(groups.max() + 1)).astype(np.float64)
        joined = belongs.T @ (worth @ belongs)
        np.fill_diagonal(joined, 0)
        one, other = np.unravel_index(joined.argmax(), joined.shape)
        if joined[one, other] > 0:
            groups[groups == other] = one
            changed = True
        if not changed:
            break
        groups = np.unique(groups, return_inverse=True)[1]
    return groups


def _cores(votes: Votes, labels: np.ndarray) -> np.ndarray:
    takes_part = (votes.labels != LEFT_OUT).sum(axis=0)
    often = votes.is_core.sum(axis=0) / np.maximum(takes_part, 1)
    is_core = (labels != NOISE) & (often >= 0.5)
    for rcc in range(labels.max(initial=NOISE) + 1):
        members = np.flatnonzero(labels == rcc)
        is_core[members[often[members].argmax()]] = True
    return is_core


def measure_steadiness(labels: np.ndarray, together: np.ndarray, both: np.ndarray, *, n_samples: int) -> Steadiness:
    """How often the images of RCCs are together.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int
    together, both : ndarray of shape (n_images, n_images), float32
        Of `Counts`.
    """
    n, n_rccs = len(labels), int(labels.max(initial=NOISE)) + 1
    inside = np.flatnonzero(labels != NOISE)
    belongs = np.zeros((n, n_rccs), np.float32)
    belongs[inside, labels[inside]] = 1
    np.fill_diagonal(both, 0)  # an image does not vote with itself
    share = (together @ belongs) / np.maximum(both @ belongs, 1)  # of each image with each RCC
    of_images = np.zeros(n, np.float32)
    of_images[inside] = share[inside, labels[inside]]
    share[inside, labels[inside]] = 0
    beside, of_beside = np.full(n, NOISE), np.zeros(n, np.float32)
    if n_rccs:
        nearest = share.argmax(axis=1)
        of_beside = share[np.arange(n), nearest]
        beside = np.where(of_beside > 0, nearest, NOISE)
    sizes = np.bincount(labels[inside], minlength=n_rccs)
    of_rccs = np.bincount(labels[inside], of_images[inside], minlength=n_rccs) / np.maximum(sizes, 1)
    return Steadiness(of_rccs.astype(np.float32), of_images, beside, of_beside.astype(np.float32), n_samples)
