"""Self-tuning DBSCAN: points in, root cause clusters (RCCs) out. Step 1.

Pure functions on arrays; read `tune` first.

UMAP before DBSCAN (the reducer `umap`) is checked: its RCCs are compared with those found with PCA.
UMAP brings images of one cause together that PCA leaves apart, but also merges causes that PCA separates, and leaves
hardly any noise. Where both agree, they are seldom wrong. Labels have the shape (n_images,), int, start at 0, and are
`NOISE` for images in no RCC.

Sources: Ester et al., KDD 1996 (DBSCAN); Rahmah & Sitanggang, IOP Conf. Ser.: Earth Environ. Sci. 31, 2016 (eps at the
elbow of the k-distance curve); Satopää et al., ICDCS workshops 2011 (finding the elbow); Rousseeuw, J. Comput. Appl.
Math. 20, 1987 (the silhouette); Campello et al., PAKDD 2013 (clusters chosen from the branches of DBSCAN's tree);
Attaoui et al., ACM TOSEM 33(5):130, 2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP);
Jaccard, Bull. Soc. Vaud. Sci. Nat. 37, 1901 (the index); Strehl & Ghosh, JMLR 3, 2002 (consensus of several
clusterings).
"""

import sys
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeVar

import numpy as np

from safe_dnn.rccs.dbscan.density import SAME_POINT, SMALLEST_BRANCH, Branches, Density
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE, Setting, Tuning
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import report_progress

UMAP_COMPONENTS = 10
UMAP_NEIGHBOURS = 15
MIN_SAMPLES_TRIED = (3, 5, 10)
UPPER_END = 2  # largest eps, as a multiple of that at the knee of the k-distance curve
NEAREST = 10  # nearest neighbours used for `kept`; an eighth of the images if there are fewer than 80
KEPT_POWER = 4
GAP_POWER = 0.1
SEPARATION_WEIGHT, LARGE_POWER, SEPARATION_POWER = 24, 4, 7  # of large, well separated branches
SEPARATION_BEFORE_UMAP_POWER = 3
AGREEMENT_POWER = 0.5  # of UMAP's branches with PCA's RCCs

_Number = TypeVar("_Number", float, np.ndarray)


def load_umap() -> type:
    """Import the class UMAP without its TensorFlow variant, which takes seconds and 300 MB to import.

    Raises
    ------
    ImportError
        umap-learn is not installed.
    """
    variant = "umap.parametric_umap"
    left_out = variant not in sys.modules
    if left_out:
        sys.modules[variant] = None  # type: ignore[assignment]  # documented: importing it raises ImportError
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # umap warns that it is missing
            from umap import UMAP
    finally:
        if left_out:
            sys.modules.pop(variant, None)
    return UMAP


def reduced_by_umap(points: np.ndarray) -> np.ndarray:
    """Reduce points to 10 dimensions with UMAP, deterministically.

    Points are returned unchanged if there are too few of them to fit UMAP.

    Raises
    ------
    SAFEError
        umap-learn is not installed.
    """
    if len(points) <= UMAP_NEIGHBOURS:
        return points
    try:
        UMAP = load_umap()
    except ImportError as error:
        raise SAFEError("The reducer umap needs the package umap-learn. Run: pip install umap-learn") from error
    report_progress("Fitting UMAP", 0, 0)
    umap = UMAP(UMAP_NEIGHBOURS, UMAP_COMPONENTS, min_dist=0.0, random_state=0, n_jobs=1)
    return umap.fit_transform(points).astype(np.float32)


def agreement(group: np.ndarray, sizes: np.ndarray) -> float:
    """How well a group of images matches one RCC of another clustering, from 0 to 1.

    The mean, over the images that are in an RCC of the other clustering, of the Jaccard index between the group and
    that RCC. It is small if the group spans several RCCs or is only part of one, and 1 if all its images are noise.

    Parameters
    ----------
    group : ndarray of shape (n_group,), int
        Label of each image of the group in the other clustering.
    sizes : ndarray of shape (n_rccs,), int
        Sizes of the RCCs of the other clustering.
    """
    shared = np.bincount(group[group != NOISE], minlength=len(sizes))
    n = shared.sum()
    return float(shared @ (shared / (sizes + n - shared)) / n) if n else 1.0


def divide(
    labels: np.ndarray, is_core: np.ndarray, other: np.ndarray, *, worth: Callable[[np.ndarray], float], images: Points
) -> tuple[np.ndarray, np.ndarray]:
    """Divide RCCs along those of another clustering, if the parts are worth more than the whole.

    A part is the intersection of an RCC with one of the other clustering, if it has at least `SMALLEST_BRANCH` images.
    The remaining images of the RCC join the part with the nearest image.

    Parameters
    ----------
    labels, is_core : ndarray of shape (n_images,)
        The clustering to divide.
    other : ndarray of shape (n_images,), int
        Labels of the other clustering.
    worth : callable
        Worth of a group of images, given by their indices.
    images : Points
        Used to find the nearest image.

    Returns
    -------
    labels, is_core : ndarray of shape (n_images,)
        The core points of a part are the images of the intersection.
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
        labels[rest] = labels[in_parts[images.distances[np.ix_(rest, in_parts)].argmin(axis=1)]]
    return labels, is_core


def without_strays(labels: np.ndarray, is_core: np.ndarray, neighbours: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn images into noise if fewer than half of their nearest neighbours are in the same RCC.

    RCCs left with fewer than `SMALLEST_BRANCH` core points become noise as well.

    Parameters
    ----------
    labels, is_core : ndarray of shape (n_images,)
    neighbours : ndarray of shape (n_images, k), int
        The nearest neighbours of each image.

    Returns
    -------
    labels, is_core : ndarray of shape (n_images,)
        The remaining RCCs are renumbered in the same order.
    """
    settled = (labels != NOISE) & ((labels[neighbours] == labels[:, None]).mean(axis=1) >= 0.5)
    cores = np.bincount(labels[settled & is_core], minlength=labels.max(initial=NOISE) + 1)
    settled &= np.append(cores, 0)[labels] >= SMALLEST_BRANCH  # the appended 0 is for noise, -1
    remaining = np.full(len(labels), NOISE)
    remaining[settled] = np.unique(labels[settled], return_inverse=True)[1]
    return remaining, is_core & settled


class Clustering(NamedTuple):
    """A clustering with one min_samples.

    Attributes
    ----------
    labels : ndarray of shape (n_points,), int
        In any numbering.
    is_core : ndarray of shape (n_points,), bool
    setting : Setting
        Its silhouette is 0, and its score is the worth, before `_scored`.
    k_distances, knee
        As of `Tuning`.
    """

    labels: np.ndarray
    is_core: np.ndarray
    setting: Setting
    k_distances: np.ndarray
    knee: int | None


def tune(
    points: np.ndarray,
    *,
    original: np.ndarray | Points | None = None,
    averaged: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> Tuning:
    """Choose DBSCAN's parameters and run it.

    The textbook method (eps at the knee, the setting with the best silhouette) finds one giant cluster among failing
    images, see docs/decisions/005-branches-instead-of-one-eps.md. Instead:

    1. For each min_samples, eps decreases from twice the knee of the k-distance curve, and DBSCAN's clusters split:
       they are the branches of a tree. Each branch may become an RCC with its own eps, since causes differ in how
       similar their images are.
    2. A branch is worth

           (share − share²) · (1 + 24 · share⁴ · gap⁷) · kept⁴ · gap^0.1

       where `share` is the share of the images that are in it, `kept` the share of its images' ten nearest neighbours
       (before averaging) that are in it as well, and `gap` how much denser it is than its surroundings (see
       `Branches`). The first factor is small for both crumbs and one giant RCC. The second one makes up for that if a
       large branch is well separated. Parts of one cause share neighbours, whereas causes do not, so the third one
       keeps causes whole. The disjoint branches with the largest total worth become the RCCs; all other images are
       noise. See docs/decisions/006-worth-of-a-branch.md.
    3. The min_samples with the largest √silhouette · worth is chosen, where the silhouette is the mean over RCCs of
       their mean silhouettes, so that a small RCC counts as much as a large one. If no min_samples yields two RCCs,
       DBSCAN runs at the knee with min_samples 5, which is right for one group of images and some outliers.
       See docs/decisions/005-branches-instead-of-one-eps.md.

    After UMAP, the `points` are UMAP's, and the second factor is 1 + 24 · share⁴ · separation³, where `separation` (see
    `Branches.separation`) and the silhouette refer to the `averaged` images, since UMAP separates even parts of one
    cause. UMAP's branches and RCCs are also compared with those `known` from PCA: the worth is multiplied by
    √agreement, RCCs may be divided, and images among neighbours of other RCCs become noise (see `rccs.dbscan.tuning`
    and docs/decisions/008-umap-checked-against-pca.md).

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float32
        The points to cluster.
    original : ndarray of shape (n_points, any), float32, or Points, optional
        The same images before `average_neighbours` or UMAP, used for `kept`. By default `points`.
    averaged : ndarray of shape (n_points, any), float32, optional
        The same images after `average_neighbours`, used for the silhouette and for `separation`. By default `points`.
    known : ndarray of shape (n_points,), int, optional
        RCCs found among the `averaged` images, with which those of the `points` are compared.
    """
    n = len(points)
    if n < min(MIN_SAMPLES_TRIED):
        return _without_settings(np.full(n, NOISE))
    cloud, images = _prepared(points, original=original, averaged=averaged, known=known)
    if cloud.distances.max() < SAME_POINT:
        return _without_settings(np.zeros(n, dtype=int))
    clusterings: list[Clustering] = []
    tried = [k for k in MIN_SAMPLES_TRIED if k <= n]
    for i, min_samples in enumerate(tried):
        report_progress("Tuning DBSCAN", i, len(tried))
        clusterings.append(_best_branches(Density(cloud, min_samples), images))
    clusterings = _scored(images.averaged, clusterings)
    report_progress("Tuning DBSCAN", len(tried), len(tried))
    if all(one.setting.score == 0 for one in clusterings):
        clusterings += _scored(images.averaged, [_textbook(Density(cloud, min(5, n)))])
    settings = tuple(one.setting for one in clusterings)
    chosen = max(range(len(clusterings)), key=lambda i: (settings[i].at_knee, round(settings[i].score, 9)))
    best = clusterings[chosen]
    return Tuning(largest_first(best.labels), best.is_core, settings, chosen, best.k_distances, best.knee)


def cluster_with_each(
    points: np.ndarray,
    *,
    original: np.ndarray | Points | None = None,
    averaged: np.ndarray | None = None,
    known: np.ndarray | None = None,
) -> list[Clustering]:
    """The clusterings between which `tune` chooses, one for each min_samples.

    Those with fewer than two RCCs, which `tune` never chooses, separate nothing and are all noise.
    """
    cloud, images = _prepared(points, original=original, averaged=averaged, known=known)
    clusterings = [_best_branches(Density(cloud, min_samples), images) for min_samples in MIN_SAMPLES_TRIED]
    nothing = np.full(len(points), NOISE)
    return [
        one
        if one.setting.n_rccs > 1
        else one._replace(labels=nothing, is_core=nothing != NOISE, setting=one.setting._replace(score=0.0))
        for one in _scored(images.averaged, clusterings)
    ]


def _prepared(
    points: np.ndarray, *, original: np.ndarray | Points | None, averaged: np.ndarray | None, known: np.ndarray | None
) -> tuple[Points, "_Images"]:
    cloud, n = Points(points), len(points)
    before = cloud if original is None else original if isinstance(original, Points) else Points(original)
    images = _Images(
        # Fewer than ten if there are few images, since causes then have fewer images; at least as many as the points of
        # the smallest branch can share.
        neighbours=before.nearest(min(max(SMALLEST_BRANCH - 1, n // 8), NEAREST, n - 1))[0],
        averaged=cloud if averaged is None or averaged is points else Points(averaged),
        known=known,
    )
    return cloud, images


def _without_settings(labels: np.ndarray) -> Tuning:
    return Tuning(labels, labels != NOISE, (), None, np.zeros(len(labels), np.float32), None)


class _Images(NamedTuple):
    """The images in other spaces than that of the points that are clustered.

    Attributes
    ----------
    neighbours : ndarray of shape (n_images, k), int
        Nearest neighbours before averaging.
    averaged : Points
        The images after averaging; the same object as the clustered points, if these are averaged images.
    known : ndarray of shape (n_images,), int, or None
        RCCs found among `averaged`, if other points are clustered.
    """

    neighbours: np.ndarray
    averaged: Points
    known: np.ndarray | None


def _best_branches(density: Density, images: _Images) -> Clustering:
    """The RCCs for one min_samples, each with its own eps."""
    curve, knee, at_knee = _at_knee(density)
    branches = Branches(density, upper=UPPER_END * at_knee)
    worth = _worth(branches, images)
    chosen = branches.best(worth)
    labels, is_core = branches.cluster(chosen)
    if images.known is not None:
        labels, is_core = _reconciled(labels, is_core, images.known, images)
    eps = float(branches.radius[chosen].max(initial=0))
    setting = _setting(labels, eps, density.min_samples, worth=float(worth[chosen].sum()))
    return Clustering(labels, is_core, setting, curve, knee)


def _worth(branches: Branches, images: _Images) -> np.ndarray:
    """Worth of each branch, shape (n_branches,); see `tune`."""
    gap = np.maximum(branches.gap, 0)
    if images.averaged is branches.density.points:
        separation = gap**SEPARATION_POWER
    else:
        separation = (
            branches.separation(Density(images.averaged, branches.density.min_samples)) ** SEPARATION_BEFORE_UMAP_POWER
        )
    shares = branches.sizes / len(images.neighbours)
    large_and_separate = 1 + SEPARATION_WEIGHT * shares**LARGE_POWER * separation
    worth = _explained(shares, branches.shares_inside(images.neighbours)) * large_and_separate * gap**GAP_POWER
    if images.known is None:
        return worth
    sizes = np.bincount(images.known[images.known != NOISE])
    agreed = [agreement(images.known[branches.members(i)], sizes) for i in range(len(worth))]
    return worth * np.array(agreed) ** AGREEMENT_POWER


def _explained(share: _Number, inside: _Number) -> _Number:
    """The factors of the worth that depend on which images are in an RCC, but not on distances."""
    return (share - share**2) * inside**KEPT_POWER


def _reconciled(
    labels: np.ndarray, is_core: np.ndarray, known: np.ndarray, images: _Images
) -> tuple[np.ndarray, np.ndarray]:
    """Divide RCCs along the known ones if the parts are worth more, and remove images that belong elsewhere."""
    sizes = np.bincount(known[known != NOISE])

    def worth(members: np.ndarray) -> float:
        kept_neighbours = float(np.isin(images.neighbours[members], members).mean())
        return _explained(len(members) / len(labels), kept_neighbours) * agreement(known[members], sizes)

    labels, is_core = divide(labels, is_core, known, worth=worth, images=images.averaged)
    return without_strays(labels, is_core, images.averaged.neighbours[0][:, : images.neighbours.shape[1]])


def _textbook(density: Density) -> Clustering:
    """DBSCAN at the knee, which is right for one group of images and some outliers."""
    curve, knee, eps = _at_knee(density)
    labels, is_core = density.cluster(eps)
    return Clustering(labels, is_core, _setting(labels, eps, density.min_samples, at_knee=True), curve, knee)


def _setting(labels: np.ndarray, eps: float, min_samples: int, *, at_knee: bool = False, worth: float = 0.0) -> Setting:
    shares = np.bincount(labels[labels != NOISE]) / len(labels)
    noise, largest = float(np.mean(labels == NOISE)), float(shares.max(initial=0))
    return Setting(eps, min_samples, at_knee, len(shares), noise, largest, 0.0, worth)


def _scored(points: Points, clusterings: Sequence[Clustering]) -> list[Clustering]:
    """The clusterings with their silhouettes, and √silhouette · worth as their scores."""
    silhouettes = balanced_silhouettes(points, [clustering.labels for clustering in clusterings])
    return [
        one._replace(setting=one.setting._replace(silhouette=of, score=float(np.sqrt(max(of, 0)) * one.setting.score)))
        for one, of in zip(clusterings, silhouettes, strict=True)
    ]


def find_knee(curve: np.ndarray) -> int | None:
    """Index of the knee of a sorted k-distance curve; None if it has no knee (straight, constant or very short)."""
    if len(curve) < 4 or curve[0] == curve[-1]:
        return None
    # Imported here so that the page starts faster.
    from kneed import KneeLocator

    knee = KneeLocator(range(len(curve)), curve, curve="convex", direction="increasing").knee
    return None if knee is None else int(knee)


def _at_knee(density: Density) -> tuple[np.ndarray, int | None, float]:
    """The k-distance curve, its knee, and an eps halfway between the k-distance there and the next larger one.

    DBSCAN's eps is inclusive, so the result for an eps equal to a distance would depend on that distance's rounding.
    """
    curve = np.sort(density.core_distances)
    knee = find_knee(curve)
    there = curve[-1 if knee is None else knee]
    larger = np.searchsorted(curve, there, side="right")
    eps = float(there) * 1.001 + SAME_POINT if larger == len(curve) else (float(there) + float(curve[larger])) / 2
    return curve, knee, eps


def largest_first(labels: np.ndarray) -> np.ndarray:
    """Renumber clusters by decreasing size. Ties are broken by the first point."""
    distinct, first, counts = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    renamed = np.full(labels.shape, NOISE)
    for new, old in enumerate(distinct[np.lexsort((first, -counts))]):
        renamed[labels == old] = new
    return renamed


def balanced_silhouettes(points: Points, labellings: Sequence[np.ndarray]) -> list[float]:
    """Mean over clusters of the mean silhouette of their points, for each labelling.

    Noise is ignored. The result is 0 if there are fewer than two clusters. It is exact and takes O(n²) time; each
    distance is computed once for all labellings.

    Parameters
    ----------
    points : Points
    labellings : sequence of ndarray of shape (n_points,), int
        Consecutive labels from 0, and `NOISE`.
    """
    # Imported here so that the page starts faster.
    from scipy.sparse import csr_array

    n = len(points)
    clusters = []  # for each labelling, a matrix of shape (n_clusters, n_points): 1 if a point is in a cluster
    for labels in labellings:
        members = np.flatnonzero(labels != NOISE)
        shape = (int(labels.max(initial=NOISE)) + 1, n)
        clusters.append(csr_array((np.ones(len(members)), (labels[members], members)), shape=shape))

    def silhouettes(rows: np.ndarray, distances: np.ndarray) -> list[np.ndarray]:
        to_points = np.ascontiguousarray(distances.T, dtype=np.float64)  # once, not for each labelling
        return [
            _silhouettes(belongs @ to_points, labels[rows], belongs.sum(axis=1))
            for belongs, labels in zip(clusters, labellings, strict=True)
        ]

    of_blocks = points.per_block(np.arange(n), silhouettes)
    scores = []
    for labels, *of_each in zip(labellings, *of_blocks, strict=True):
        members = labels != NOISE
        sizes = np.bincount(labels[members])
        sums = np.bincount(labels[members], np.concatenate(of_each)[members])
        scores.append(float((sums / sizes).mean()) if len(sizes) > 1 else 0.0)
    return scores


def _silhouettes(sums: np.ndarray, own: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Silhouettes of points; 0 for noise and for points that are alone in their cluster.

    Parameters
    ----------
    sums : ndarray of shape (n_clusters, n_points), float64
        Sum of the distances from each point to the points of each cluster. Overwritten.
    own : ndarray of shape (n_points,), int
        Cluster of each point, or `NOISE`.
    sizes : ndarray of shape (n_clusters,)
        Number of points in each cluster.
    """
    silhouettes = np.zeros(len(own))
    members = np.flatnonzero(own != NOISE)
    if len(sizes) < 2 or not len(members):
        return silhouettes
    own = own[members]
    within = sums[own, members] / np.maximum(sizes[own] - 1, 1)
    sums /= sizes[:, None]
    sums[own, members] = np.inf
    nearest_other = sums.min(axis=0)[members]
    larger = np.maximum(np.maximum(within, nearest_other), np.finfo(np.float32).tiny)
    silhouettes[members] = np.where(sizes[own] > 1, (nearest_other - within) / larger, 0)
    return silhouettes
