"""Clustering random parts of the images, over and over. Step 1, for `consensus.py`.

A clustering of all images stands on knife edges: which of two neighbouring branches is worth more, and which
min_samples is best, may depend on a few images. What is found in most of many random parts of the images does not. See
docs/decisions/016-consensus.md.

Sources: Ben-Hur, Elisseeff, Guyon, Pac. Symp. Biocomput. 2002 (the stability of clusters in random parts of the data);
Strehl & Ghosh, JMLR 3, 2002 (consensus of several clusterings).
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event
from typing import Any, NamedTuple, TypeVar

import numpy as np

from safe_dnn.rccs.dbscan.neighbours import MOST_STORED, THREADS, Points
from safe_dnn.rccs.dbscan.one_thread import one_thread
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.relevance import average_neighbours, neighbourhood, relevant_scale
from safe_dnn.rccs.dbscan.tuning import MIN_SAMPLES_TRIED, Scored, cluster_with_each, largest_first
from safe_dnn.support.progress import Progress, no_progress

SMALLEST_SHARE, LARGEST_SHARE = 0.5, 0.8  # of the images in a sample
FEWEST_IMAGES = 30  # in samples of fewer, small causes have too few images to be found
MOST_IMAGES = MOST_STORED  # of more, samples are as large as of that many
ROWS = 10_000  # images that are placed among those of a sample at a time
MOST_SAMPLES, FEWEST_SAMPLES = 100, 20
LOOKS = (20, 40, 60, 80)  # samples after which further ones may be left out
SAMPLED_IMAGES = 100_000  # in all samples together, roughly; decides their number between these two
LEFT_OUT = NOISE - 1
FULL_VOTE = 20  # of the clustering of a sample with the best score; votes are whole numbers
VOTE_POWER = 8  # of the others' scores, as shares of the best one

POLL_SECONDS = 0.3
PROGRESS_TEXT = "Clustering random parts of the images"

_Found = TypeVar("_Found")


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
    further : int
        Samples that were left out, since they would have changed little.
    agreed : object
        The answer for which they were left out (see `cluster_samples`).
    """

    labels: np.ndarray
    is_core: np.ndarray
    weights: np.ndarray
    n_samples: int
    further: int = 0
    agreed: Any = None

    def taken(self, first: int, stop: int) -> "Votes":
        """Those of some of the samples."""
        rows = slice(*(place * len(self.labels) // self.n_samples for place in (first, stop)))
        return Votes(self.labels[rows], self.is_core[rows], self.weights[rows], stop - first)

    def joined(self, others: "Votes") -> "Votes":
        """These votes and those of other clusterings of the same samples."""
        labels, is_core, weights = map(np.concatenate, zip(self[:3], others[:3], strict=True))
        return self._replace(labels=labels, is_core=is_core, weights=weights)


def n_samples(n_images: int) -> int:
    """Number of samples: 100 up to 1,000 images, then fewer, since each takes longer; 0 if there would be no use."""
    if n_images < FEWEST_IMAGES:
        return 0
    return min(max(SAMPLED_IMAGES // n_images, FEWEST_SAMPLES), MOST_SAMPLES)


def cluster_samples(
    coordinates: np.ndarray,
    names: Sequence[str],
    *,
    reduced: np.ndarray | None = None,
    known: np.ndarray | None = None,
    enough: Callable[[Votes], Any] | None = None,
    progress: Progress = no_progress,
) -> Votes:
    """Cluster random samples of the images: scaling, neighbour averaging and DBSCAN anew for each.

    The samples hold from 50 to 80 % of the images, drawn without replacement; of more than `MOST_IMAGES`, as many as of
    these. The images that such a sample leaves out are placed in it (see `placed`), since two of so many images would
    hardly ever be in one sample. The number of samples depends on that of the images (see `n_samples`), and may be 0.
    Which of them an image is in depends on its name, so that images which are left out or added hardly change it for
    the others.

    Parameters
    ----------
    coordinates : ndarray of shape (n_images, n_components), float64
        Of PCA (see `rccs.dbscan.projection.fit_projection`).
    names : sequence of str, of length n_images
        All different; for example paths.
    reduced : ndarray of shape (n_images, any), float32, optional
        The images after UMAP. They are then clustered instead, and compared with what is `known`.
    known : ndarray of shape (n_images,), int, optional
        RCCs found without UMAP.
    enough : callable, optional
        Given the votes after some samples, what it answers with, if not None, makes do without further ones.
    """
    n, wanted = len(coordinates), n_samples(len(coordinates))
    labels = np.full((wanted, len(MIN_SAMPLES_TRIED), n), LEFT_OUT, np.int16)
    is_core = np.zeros(labels.shape, dtype=bool)
    weights = np.zeros(labels.shape[:2], int)
    votes = Votes(labels.reshape(-1, n), is_core.reshape(-1, n), weights.reshape(-1), wanted)  # filled below
    samples = draw_samples(names, wanted)
    everything = Points(coordinates)

    def cluster(sample: np.ndarray, go_on: Callable[[], None]) -> tuple[list[Scored], np.ndarray | None]:
        scale = relevant_scale(everything.among(sample))
        go_on()
        points = Points(scale(coordinates[sample]))
        averaged = average_neighbours(points)
        go_on()
        if reduced is None or known is None:
            found = cluster_with_each(averaged, original=points, averaged=averaged)
        else:
            # Numbered anew, without gaps: a sample may contain none of the images of some RCC.
            of_sample = largest_first(known[sample])
            found = cluster_with_each(reduced[sample], original=points, averaged=averaged, known=of_sample)
        if n <= MOST_IMAGES:
            return found, None

        def others(rows: slice) -> np.ndarray:
            go_on()
            return scale(coordinates[rows])

        return found, placed(points, others, n)

    for i, (found, places) in enumerate(_in_threads(cluster, samples, progress)):
        weights[i] = vote_weights([one.score for one in found])
        tells_apart = [one.labels.max(initial=NOISE) > 0 for one in found]
        for k, one in enumerate(found):
            if tells_apart[k] or not any(tells_apart):
                if places is not None:
                    labels[i, k], is_core[i, k] = in_places(one.labels, one.is_core, places)
                labels[i, k, samples[i]], is_core[i, k, samples[i]] = one.labels, one.is_core
        if enough and i + 1 in LOOKS:
            so_far = votes.taken(0, i + 1)._replace(further=wanted - i - 1)
            if agreed := enough(so_far):
                votes = so_far._replace(agreed=agreed)
                break
    progress(PROGRESS_TEXT, wanted, wanted)
    return votes


def placed(points: Points, others: Callable[[slice], np.ndarray], n: int) -> np.ndarray:
    """The nearest of some points to each of n others; −1 for those that stand apart.

    They do if they are farther from it than any of the points is from the last one of its `neighbourhood`.

    Parameters
    ----------
    points : Points
    others : callable
        The other points of a slice of the n, an ndarray of shape (any, n_components).
    n : int

    Returns
    -------
    ndarray of shape (n,), int
    """
    reach = points.nearest(neighbourhood(len(points)))[1].max()
    places = np.empty(n, dtype=int)
    for start in range(0, n, ROWS):
        rows = slice(start, min(start + ROWS, n))
        nearest, distances = points.nearest_to(others(rows))
        places[rows] = np.where(distances <= reach, nearest, -1)
    return places


def in_places(labels: np.ndarray, is_core: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core points of images by those of the images in whose places they are (see `placed`)."""
    return np.append(labels, NOISE)[places], np.append(is_core, False)[places]


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
    most = min(len(names), MOST_IMAGES)
    return [np.sort(order[: round(share * most), i]) for i, share in enumerate(shares.tolist())]


def _in_threads(
    work: Callable[[np.ndarray, Callable[[], None]], _Found], samples: list[np.ndarray], progress: Progress
) -> Iterator[_Found]:
    """The results in order. `progress`, by which the job may be stopped, is called several times a second.

    `work` is given a sample and what it calls now and then, which ends it if the job was stopped.
    """
    stopped = Event()

    def go_on() -> None:
        if stopped.is_set():
            raise InterruptedError

    with one_thread(), ThreadPoolExecutor(THREADS) as pool:
        waiting = [pool.submit(work, sample, go_on) for sample in samples]
        try:
            for done, future in enumerate(waiting):
                progress(PROGRESS_TEXT, done, len(samples))
                while not wait([future], timeout=POLL_SECONDS).done:
                    progress(PROGRESS_TEXT, done, len(samples))
                yield future.result()
        finally:
            stopped.set()
            pool.shutdown(cancel_futures=True)
