"""Root cause clusters (RCCs) on which clusterings of many random parts of the images agree. Step 1.

A clustering of all images stands on knife edges: which of two neighbouring branches is worth more, and which
min_samples is best, may depend on a few images. What is found in most of many random parts does not. So random samples
are clustered (`cluster_samples`), and each clustering in which two images take part votes on whether they belong
together, and counts the more the better its score is beside the others of the same sample. The RCCs are the groups that
agree with the votes best (`agree`). How often the images of an RCC are together, whatever the scores, is the confidence
in it. See docs/decisions/016-consensus.md.

Votes are whole numbers, which sums in any order leave exact, so the result does not depend on the number of threads.
Votes are kept by image and cluster; pairs of images are counted for at most `MOST_STORED` images, and the others join
the groups of these.

Sources: Ben-Hur, Elisseeff, Guyon, Pac. Symp. Biocomput. 2002 (the stability of clusters in random parts of the data);
Strehl & Ghosh, JMLR 3, 2002 (consensus of several clusterings); Fred & Jain, IEEE TPAMI 27(6), 2005 (evidence
accumulation: how often two points are together, and average linkage); Bansal, Blum, Chawla, Machine Learning 56, 2004
(correlation clustering: the groups that agree best with pairwise votes).
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.rccs.dbscan.density import SMALLEST_BRANCH
from safe_dnn.rccs.dbscan.neighbours import MOST_STORED, THREADS, Points, one_thread, random_part
from safe_dnn.rccs.dbscan.outcome import NOISE, Steadiness
from safe_dnn.rccs.dbscan.projection import average_neighbours, neighbourhood, relevant_scale
from safe_dnn.rccs.dbscan.tuning import MIN_SAMPLES_TRIED, Clustering, cluster_with_each, largest_first
from safe_dnn.support.progress import report_progress

SMALLEST_SHARE, LARGEST_SHARE = 0.5, 0.8  # of the images in a sample
FEWEST_IMAGES = 30  # in samples of fewer, small causes have too few images to be found
MOST_IMAGES = MOST_STORED  # with more, samples are as large as for so many
ROWS = 10_000  # images that are placed among those of a sample at a time
MOST_SAMPLES, FEWEST_SAMPLES = 100, 20
LOOKS = (20, 40, 60, 80)  # samples after which further ones may be left out
SAMPLED_IMAGES = 100_000  # in all samples together, roughly; decides their number between these two
LEFT_OUT = NOISE - 1
FULL_VOTE = 20  # of the clustering of a sample with the best score; votes are whole numbers
VOTE_POWER = 8  # of the others' scores, as shares of the best one

PROGRESS_TEXT = "Clustering random parts of the images"

TOGETHER = 42  # per cent of the votes from which two images rather belong together
ROUNDS = 50  # of improvements; a few are enough
BATCH = 5  # samples whose votes are compared with those of as many others
DEVIATIONS = 2  # from what further samples are expected to say
SETTLED = 0.04  # share of the images that further samples may move, if these are left out
COLUMNS = 4096  # clusters whose votes are counted at a time


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

    def joined(self, votes: "Votes") -> "Votes":
        """These votes and those of other clusterings of the same samples."""
        labels, is_core, weights = map(np.concatenate, zip(self[:3], votes[:3], strict=True))
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
) -> Votes:
    """Cluster random samples of the images: scaling, neighbour averaging and DBSCAN anew for each.

    The samples hold from 50 to 80 % of the images, drawn without replacement; with more than `MOST_IMAGES`, as many as
    for these. The images that such a sample leaves out are placed in it (see `placed`), since two of so many images
    would hardly ever be in one sample. The number of samples depends on that of the images (see `n_samples`), and may
    be 0. Which of them an image is in depends on its name, so that images which are left out or added hardly change it
    for the others.

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

    def cluster(sample: np.ndarray) -> tuple[list[Clustering], np.ndarray | None]:
        scale = relevant_scale(everything.among(sample))
        points = Points(scale(coordinates[sample]))
        averaged = average_neighbours(points)
        if reduced is None or known is None:
            clusterings = cluster_with_each(averaged, original=points, averaged=averaged)
        else:
            # Numbered anew, without gaps: a sample may contain none of the images of some RCC.
            of_sample = largest_first(known[sample])
            clusterings = cluster_with_each(reduced[sample], original=points, averaged=averaged, known=of_sample)
        return clusterings, None if n <= MOST_IMAGES else placed(points, lambda rows: scale(coordinates[rows]), n)

    report_progress(PROGRESS_TEXT, 0, wanted)
    with one_thread(), ThreadPoolExecutor(THREADS) as pool:
        try:
            for i, (clusterings, places) in enumerate(pool.map(cluster, samples)):
                weights[i] = vote_weights([one.setting.score for one in clusterings])
                tells_apart = [one.labels.max(initial=NOISE) > 0 for one in clusterings]
                for k, one in enumerate(clusterings):
                    if tells_apart[k] or not any(tells_apart):
                        if places is not None:
                            labels[i, k], is_core[i, k] = in_places(one.labels, one.is_core, places)
                        labels[i, k, samples[i]], is_core[i, k, samples[i]] = one.labels, one.is_core
                report_progress(PROGRESS_TEXT, i + 1, wanted)
                if enough and i + 1 in LOOKS:
                    so_far = votes.taken(0, i + 1)._replace(further=wanted - i - 1)
                    if agreed := enough(so_far):
                        return so_far._replace(agreed=agreed)
        finally:
            pool.shutdown(cancel_futures=True)  # a job that is stopped does not cluster the rest
    return votes


def placed(points: Points, queries: Callable[[slice], np.ndarray], n: int) -> np.ndarray:
    """The nearest of some points to each of n others; −1 for those that stand apart.

    They do if they are farther from it than any of the points is from the last one of its `neighbourhood`.

    Parameters
    ----------
    points : Points
    queries : callable
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
        nearest, distances = points.nearest_to(queries(rows))
        places[rows] = np.where(distances <= reach, nearest, -1)
    return places


def in_places(labels: np.ndarray, is_core: np.ndarray, places: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Labels and core points of images by those of the images in whose places they are (see `placed`)."""
    return np.append(labels, NOISE)[places], np.append(is_core, False)[places]


def vote_weights(scores: Sequence[float]) -> np.ndarray:
    """How much the clusterings of one sample count: int of shape (n_clusterings,), 0 to `FULL_VOTE`.

    The one that would be chosen has a full vote, one that is nearly as good nearly a full one. One with fewer than two
    RCCs has no vote, unless all have fewer.
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
    counted = Counted.of(votes)
    part = random_part(votes.labels.shape[1])
    with one_thread():
        together, both = counted.of_pairs(part)
        worth = 100.0 * together - TOGETHER * both  # in float64, since in float32 sums of them would not be exact
        groups = _of_some_size(_improved(_linked(together, both), worth))
        labels = np.full(votes.labels.shape[1], NOISE)
        labels[part] = largest_first(groups)
        if len(part) < len(labels):
            labels = _of_some_size(_joined(labels, counted))
        labels = largest_first(labels)
        steadiness = measure_steadiness(labels, counted, n_samples=votes.n_samples)
        steadiness = steadiness._replace(may_change=may_change(votes, labels))
    return labels, _cores(votes, labels), steadiness


def settled(votes: Votes) -> tuple[np.ndarray, np.ndarray, Steadiness] | None:
    """What `agree` returns, if there are RCCs and further samples would move few images (see `may_change`)."""
    agreed = labels, _, steadiness = agree(votes)
    return agreed if labels.max(initial=NOISE) > NOISE and steadiness.may_change <= SETTLED else None


def may_change(votes: Votes, labels: np.ndarray) -> float:
    """A bound on the share of the images that the further samples would move to another RCC, or out of theirs.

    What an image's own RCC is worth to it, less the best other one, varies between batches of `BATCH` samples. An image
    may move if that lead is lost when the further samples deviate from those seen by `DEVIATIONS`. See
    docs/decisions/016-consensus.md.
    """
    if not votes.further or labels.max(initial=NOISE) == NOISE:
        return 0.0
    n_batches, n_further = votes.n_samples // BATCH, votes.further / BATCH
    leads = np.array([_lead(votes.taken(i * BATCH, (i + 1) * BATCH), labels) for i in range(n_batches)])
    deviation = leads.std(axis=0, ddof=1) * np.sqrt(n_further + n_further**2 / n_batches)
    least = (n_batches + n_further) * leads.mean(axis=0) - DEVIATIONS * deviation
    return float(np.mean(least < 0))


def _lead(votes: Votes, labels: np.ndarray) -> np.ndarray:
    """What the RCC of each image, or to be in none, is worth to it, less the best other one; shape (n_images,)."""
    together, both = Counted.of(votes).with_groups(labels, weighted=True)
    gain = np.column_stack([100 * together - TOGETHER * both, np.zeros(len(labels))])  # the last column is `NOISE`
    rows = np.arange(len(labels))
    own = gain[rows, labels]
    gain[rows, labels] = -np.inf
    return own - gain.max(axis=1)


def _of_some_size(groups: np.ndarray) -> np.ndarray:
    """Groups without those of fewer than `SMALLEST_BRANCH` images, which are noise."""
    sizes = np.append(np.bincount(groups[groups != NOISE]), 0)
    return np.where(sizes[groups] >= SMALLEST_BRANCH, groups, NOISE)


class Counted(NamedTuple):
    """The votes, by image: in which clusters it is, and in which clusterings it takes part.

    Attributes
    ----------
    inside : sparse array of shape (n_images, n_clusters), float32
        1 if an image is in a cluster; the clusters of all clusterings.
    takes_part : ndarray of shape (n_images, n_clusterings), float32
    weights_inside, weights : ndarray of shape (n_clusters,) and (n_clusterings,), float32
        Of the clusterings.
    """

    inside: Any
    takes_part: np.ndarray
    weights_inside: np.ndarray
    weights: np.ndarray

    @classmethod
    def of(cls, votes: Votes) -> "Counted":
        """Those of some clusterings."""
        # Imported here so that the page starts faster.
        from scipy.sparse import csr_array

        n_clusters = votes.labels.max(axis=1, initial=NOISE).astype(int) + 1
        image, clustering = np.nonzero(votes.labels.T > NOISE)
        cluster = (np.cumsum(n_clusters) - n_clusters)[clustering] + votes.labels[clustering, image]
        shape = (votes.labels.shape[1], int(n_clusters.sum()))
        inside = csr_array((np.ones(len(image), np.float32), (image, cluster)), shape=shape)
        takes_part = (votes.labels.T != LEFT_OUT).astype(np.float32)
        weights = votes.weights.astype(np.float32)
        return cls(inside, takes_part, np.repeat(weights, n_clusters), weights)

    def of_pairs(self, part: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For each pair of some images, votes of clusterings in which they are together, and in which both take part.

        Whole numbers, two arrays of shape (n_part, n_part), float32; 0 on the diagonal of the first.
        """
        inside, takes_part = self.inside[part].tocsc(), self.takes_part[part]
        together = np.zeros((len(part), len(part)), np.float32)
        for start in range(0, inside.shape[1], COLUMNS):
            columns = slice(start, start + COLUMNS)
            members = inside[:, columns].toarray()
            together += (members * self.weights_inside[columns]) @ members.T
        np.fill_diagonal(together, 0)
        return together, (takes_part * self.weights) @ takes_part.T

    def with_groups(self, labels: np.ndarray, *, weighted: bool) -> tuple[np.ndarray, np.ndarray]:
        """For each image and group of images, the sums of these votes over the others of the group.

        Two arrays of shape (n_images, n_groups), float64.

        Parameters
        ----------
        labels : ndarray of shape (n_images,), int
            Groups, and `NOISE`.
        weighted : bool
            Whether votes count by their weights, or each once.
        """
        rows = np.flatnonzero(labels != NOISE)
        belongs = (labels[:, None] == np.arange(labels.max(initial=NOISE) + 1)).astype(np.float64)
        sums = []
        for votes, weights in ((self.inside, self.weights_inside), (self.takes_part, self.weights)):
            of_groups = votes.T @ belongs
            of_itself = votes[rows] @ (weights if weighted else np.ones_like(weights))  # 1² = 1
            if weighted:
                of_groups *= weights[:, None]
            sums.append(votes @ of_groups)
            sums[-1][rows, labels[rows]] -= of_itself
        return sums[0], sums[1]


def _joined(labels: np.ndarray, counted: Counted) -> np.ndarray:
    """Groups with all further images that are worth something in one; others stay `NOISE`."""
    together, both = counted.with_groups(labels, weighted=True)
    gain = 100 * together - TOGETHER * both
    if not gain.shape[1]:
        return labels
    return np.where((labels == NOISE) & (gain.max(axis=1) > 0), gain.argmax(axis=1), labels)


def _linked(together: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Groups by average linkage, numbered from 0; shape (n_images,), int."""
    # Imported here so that the page starts faster.
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    separation = 1 - together / np.maximum(both, 1, dtype=np.float64)
    np.fill_diagonal(separation, 0)
    tree = linkage(squareform(separation, checks=False), "average")
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
    np.fill_diagonal(worth, 0)
    groups = groups.copy()
    for _ in range(ROUNDS):
        # The last column is for an image that leaves all groups; the next round gives it a number.
        belongs = (groups[:, None] == np.arange(groups.max() + 2)).astype(np.float64)
        gain = worth @ belongs  # of each image in each group
        changed = False
        for image in range(len(groups)):
            best, own = int(gain[image].argmax()), groups[image]
            if best != own and gain[image, best] > max(gain[image, own], 0):
                gain[:, own] -= worth[:, image]
                gain[:, best] += worth[:, image]
                groups[image], changed = best, True
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


def measure_steadiness(labels: np.ndarray, counted: Counted, *, n_samples: int) -> Steadiness:
    """How often the images of RCCs are together.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int
    counted : Counted
    """
    n_rccs, inside = int(labels.max(initial=NOISE)) + 1, np.flatnonzero(labels != NOISE)
    together, both = counted.with_groups(labels, weighted=False)
    own = (together / np.maximum(both, 1))[inside, labels[inside]].astype(np.float32)
    sizes = np.bincount(labels[inside], minlength=n_rccs)
    of_rccs = np.bincount(labels[inside], own, minlength=n_rccs) / np.maximum(sizes, 1)
    return Steadiness(of_rccs.astype(np.float32), n_samples)
