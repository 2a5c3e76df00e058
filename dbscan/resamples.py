"""Clustering random parts of the images, over and over. Step 1, for `consensus.py`.

A clustering of all images stands on knife edges: which of two neighbouring branches is worth more, and which
min_samples is best, may depend on a few images. What is found in most of many random parts of the images does not. See
docs/decisions/016-consensus.md.

Sources: Ben-Hur, Elisseeff, Guyon, Pac. Symp. Biocomput. 2002 (the stability of clusters in random parts of the data);
Strehl & Ghosh, JMLR 3, 2002 (consensus of several clusterings).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from dbscan.neighbours import THREADS, Points
from dbscan.one_thread import one_thread
from dbscan.outcome import NOISE
from dbscan.projection import scaled_anew
from dbscan.relevance import average_neighbours
from dbscan.tuning import MIN_SAMPLES_TRIED, Scored, cluster_with_each, largest_first
from support.progress import Progress, no_progress

SMALLEST_SHARE, LARGEST_SHARE = 0.5, 0.8  # of the images in a sample
FEWEST_IMAGES = 30  # in samples of fewer, small causes have too few images to be found
MOST_IMAGES = 5000  # of more, samples would take minutes
MOST_SAMPLES, FEWEST_SAMPLES = 100, 20
SAMPLED_IMAGES = 100_000  # in all samples together, roughly; decides their number between these two
LEFT_OUT = NOISE - 1
FULL_VOTE = 20  # of the clustering of a sample with the best score; votes are whole numbers
VOTE_POWER = 8  # of the others' scores, as shares of the best one

PROGRESS_TEXT = "Clustering random parts of the images"


class Votes(NamedTuple):
    """What each clustering of a random sample says about each image.

    Attributes
    ----------
    labels : ndarray of shape (n_clusterings, n_images), int16
        The cluster of each image in any numbering, `NOISE`, or `LEFT_OUT` if the sample does not contain it.
    is_core : ndarray of shape (n_clusterings, n_images), bool
    weights : ndarray of shape (n_clusterings,), int
        Of each clustering's vote, from 0 to `FULL_VOTE`.
    n_samples : int
        Each sample is clustered with every min_samples.
    """

    labels: np.ndarray
    is_core: np.ndarray
    weights: np.ndarray
    n_samples: int

    def joined(self, others: "Votes") -> "Votes":
        """These votes and those of other clusterings of the same samples."""
        return Votes(
            np.concatenate([self.labels, others.labels]),
            np.concatenate([self.is_core, others.is_core]),
            np.concatenate([self.weights, others.weights]),
            self.n_samples,
        )


def n_samples(n_images: int) -> int:
    """Number of samples: 100 up to 1,000 images, then fewer, since each takes longer; 0 if there would be no use."""
    if not FEWEST_IMAGES <= n_images <= MOST_IMAGES:
        return 0
    return min(max(SAMPLED_IMAGES // n_images, FEWEST_SAMPLES), MOST_SAMPLES)


def cluster_samples(
    coordinates: np.ndarray,
    names: Sequence[str],
    *,
    reduced: np.ndarray | None = None,
    known: np.ndarray | None = None,
    progress: Progress = no_progress,
) -> Votes:
    """Cluster random samples of the images: scaling, neighbour averaging and DBSCAN anew for each.

    The samples hold from 50 to 80 % of the images, drawn without replacement. Their number depends on that of the
    images (see `n_samples`), and may be 0. Which of them an image is in depends on its name, so that images which are
    left out or added hardly change it for the others.

    Parameters
    ----------
    coordinates : ndarray of shape (n_images, n_components), float64
        Of PCA (see `dbscan.projection.fit_projection`).
    names : sequence of str, of length n_images
        All different; for example paths.
    reduced : ndarray of shape (n_images, any), float32, optional
        The images after UMAP. They are then clustered instead, and compared with what is `known`.
    known : ndarray of shape (n_images,), int, optional
        RCCs found without UMAP.
    """
    n, wanted = len(coordinates), n_samples(len(coordinates))
    labels = np.full((wanted, len(MIN_SAMPLES_TRIED), n), LEFT_OUT, np.int16)
    is_core = np.zeros(labels.shape, dtype=bool)
    weights = np.zeros(labels.shape[:2], int)
    samples = draw_samples(names, wanted)

    def cluster(sample: np.ndarray) -> list[Scored]:
        points = Points(scaled_anew(coordinates[sample]))
        averaged = average_neighbours(points)
        if reduced is None or known is None:
            return cluster_with_each(averaged, original=points, averaged=averaged)
        # Numbered anew, without gaps: a sample may contain none of the images of some RCC.
        of_sample = largest_first(known[sample])
        return cluster_with_each(reduced[sample], original=points, averaged=averaged, known=of_sample)

    for i, found in enumerate(_in_threads(cluster, samples)):
        weights[i] = vote_weights([one.score for one in found])
        tells_apart = [one.labels.max(initial=NOISE) > 0 for one in found]
        for k, one in enumerate(found):
            if tells_apart[k] or not any(tells_apart):
                labels[i, k, samples[i]], is_core[i, k, samples[i]] = one.labels, one.is_core
        progress(PROGRESS_TEXT, i + 1, wanted)
    return Votes(labels.reshape(-1, n), is_core.reshape(-1, n), weights.reshape(-1), wanted)


def vote_weights(scores: Sequence[float]) -> np.ndarray:
    """How much the clusterings of one sample count: int of shape (n_clusterings,), 0 to `FULL_VOTE`.

    The one that would be chosen has a full vote, one that is nearly as good nearly a full one. One that tells nothing
    apart has none, unless none of them tells anything apart.
    """
    best = max(scores)
    if best <= 0:
        return np.full(len(scores), FULL_VOTE)
    return np.rint(FULL_VOTE * (np.maximum(scores, 0) / best) ** VOTE_POWER).astype(int)


def draw_samples(names: Sequence[str], n_samples: int) -> list[np.ndarray]:
    """Sorted indices of the images in each sample: those with the lowest of random numbers that their names decide."""
    lots = np.empty((len(names), n_samples))
    for i, name in enumerate(names):
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).digest()
        lots[i] = np.random.default_rng(int.from_bytes(digest, "little")).random(n_samples)
    shares = np.random.default_rng(0).uniform(SMALLEST_SHARE, LARGEST_SHARE, n_samples)
    order = np.argsort(lots, axis=0, kind="stable")
    return [np.sort(order[: round(share * len(names)), i]) for i, share in enumerate(shares.tolist())]


def _in_threads(cluster: Callable[[np.ndarray], list[Scored]], samples: list[np.ndarray]) -> Iterator[list[Scored]]:
    with one_thread(), ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(cluster, sample) for sample in samples]
        try:
            for future in waiting:
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
