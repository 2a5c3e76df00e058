"""DBSCAN that configures itself: points in, root cause clusters (RCCs) out. The part of step 1 that decides.

Pure functions on arrays; `tune` is the one to read first.

Sources: Ester et al., KDD 1996 (DBSCAN); Rahmah & Sitanggang, IOP Conf. Ser.: Earth Environ. Sci. 31, 2016 (eps at the
elbow of the k-distance curve); Satopää et al., ICDCS workshops 2011 (finding the elbow); Rousseeuw, J. Comput. Appl.
Math. 20, 1987 (the silhouette); Campello et al., PAKDD 2013 (clusters chosen from the branches of DBSCAN's tree).
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from dbscan.branches import SMALLEST_BRANCH, Branches
from dbscan.consensus import agreement, divide, without_strays
from dbscan.density import SAME_POINT, Density
from dbscan.neighbours import Points
from dbscan.outcome import NOISE, Setting, Tuning
from dbscan.silhouettes import balanced_silhouettes

MIN_SAMPLES_TRIED = (3, 5, 10)
UPPER_END = 2  # of eps, in knees of the k-distance curve
NEAREST = 10  # neighbours asked whether they are in the same RCC; an eighth of fewer than 80 images
KEPT_POWER = 4
GAP_POWER = 0.1
APART_WEIGHT, APART_POWER = 3, 7  # of large branches that stand apart
APART_BEFORE_UMAP_POWER = 3
AGREEMENT_POWER = 0.5  # of UMAP's branches with PCA's RCCs


def tune(
    points: np.ndarray,
    original: np.ndarray | None = None,
    averaged: np.ndarray | None = None,
    known: np.ndarray | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Tuning:
    """Configure DBSCAN and run it.

    The textbook way (eps at the knee, the setting with the best silhouette) finds nothing in failing images: the knee
    lies among the last outliers, so that nearly all images form one cluster, and a few crumbs far away from it make
    the silhouette excellent. What is done instead:

    1. For each min_samples, eps falls from twice the knee of the k-distance curve. DBSCAN's clusters split as it does:
       the branches of a tree. Each branch may be an RCC, with an eps of its own, since causes differ in how alike their
       images are: one eps for all joins the tight causes or drops the loose ones.
    2. A branch is worth (share − share²) · (1 + 3 · share · gap⁷) · kept⁴ · gap^.1. `kept` is the share of its images'
       ten nearest neighbours, before averaging, that are in it too: parts of one cause share neighbours, causes do not,
       and crumbs keep none. `gap` is how far below its end a branch takes up its images, relative to that end. The
       first bracket is small for one giant RCC; the second makes up for it where a large one stands far apart, since
       then many images do fail for one reason. (Where UMAP's images are clustered, that is asked of the averaged ones,
       and the second bracket is 1 + 3 · share · apart³; see `Branches.apart`.) The branches that are worth most
       together, none within another, are the RCCs, and the rest is noise.
    3. min_samples is that with the largest √silhouette · worth, the silhouette being the mean over RCCs of each RCC's
       own mean, so that a small RCC counts as much as a large one. It is that of the averaged images even where UMAP's
       are clustered: UMAP sets everything apart, pieces of one cause as well. Where no min_samples gives two RCCs that
       stand apart, the knee with min_samples 5 decides, as in the textbook: one group of images and what lies outside.

    Evidence (`vgg16-conv`; mixes of 3 to 9 of 19 disturbances of traffic signs, 600 images, smallest share 2 %; after
    `relevant_directions` and `average_neighbours`; medians of purity / coverage / ARI / noise / inspect %). The powers
    and the number of neighbours were chosen on 60 mixes, among some 200 combinations, of which the best dozen differ
    little; a weight against RCCs that need inspection gained nothing but fewer RCCs. Those that can be made again, the
    20 of `benchmarks.clusters --generate`, give .96 / .94 / .85 / .04 / 6.7, the worst ARI .61; without the second
    bracket .16, of a mix of which 85 % are one disturbance. (From 2 to 8 for its 3 and from 5 to 10 for its 7 make no
    difference.) 50 mixes on which nothing was chosen give .94 / .80 / .79 / .05 / 6.7, the worst ARI .34. On
    `injected`, .95 / .83 / .92 / .04 / 2.9. Of few images fewer neighbours are asked: in 20 mixes of 40 images and 30
    of 60, mean coverage rises from .17 and .35 to .22 and .39, purity from .71 and .82 to .73 and .84, and ARI hardly
    changes (.41 and .60 to .42 and .59). Failures of two eye classifiers with 7 and 5 known causes form 7 and 5 RCCs,
    one of each. Blur among motion blur, shadow among occlusion, images upside down and glare are least often RCCs of
    their own.

    On pairs of clusters, whether both are one cause shows in the gap between them and in the neighbours they share
    (area under the ROC curve .89 and .86), hardly in the silhouette (.65). Structureless clouds are still divided.

    More than that needs features that tell more: in the trees of 40 mixes, 85 % of the disturbances have a branch that
    is 90 % theirs and holds half of their images, and tuning finds 83 % of them.

    With UMAP, PCA's RCCs are found first (`known`) and UMAP's are checked against them (`consensus.py`): a branch's
    worth is multiplied by its agreement with them to the power .5; an RCC is divided along them where the parts are
    worth more; and an image of whose nearest neighbours most are elsewhere is noise. The 20 mixes then give .98 / 1.00
    / .87 / .01 / 6.7, the worst ARI .74; without any of it .96 / .82 / .88 / .00 / 6.7, the worst .65. Means tell more,
    since a median of so few shares jumps: coverage .84 instead of .77 (PCA alone: .84), ARI .88 instead of .86 (.82);
    with three other seeds of UMAP .85 instead of .78 and .88 instead of .86. On 30 fresh mixes nothing changes on
    average (coverage .79, ARI .84; PCA alone .76, .81). Real failures on traffic signs form 38 RCCs, the largest with
    8 % of the images; without it 28, the largest with 19 %. (The power may be from .25 to 1.)

    Tried instead: the share of pairs of images that PCA joins too, for Jaccard's index (much the same); UMAP itself
    told PCA's RCCs (the same on average; the largest RCC of the traffic signs keeps 14 %); all noise of PCA noise here
    too (coverage higher by .01, ARI lower by .04); PCA's own RCCs without their strays (no better). Without `apart` ARI
    is lower by .02 and the worst .50.

    No powers give UMAP's branches more coverage; min_samples up to 20 raises ARI by .01 and loses coverage by .03; 10
    or 30 neighbours for UMAP instead of 15, 20 dimensions instead of 10, averaged images for it, or its coordinates
    beside the averaged images gain nothing. With UMAP's own gaps in the second bracket the pieces of a disturbance of
    85 % came apart (ARI .40).

    Tried without gain: persistence alone as the worth (one giant RCC wins), DBCV's separation or the neighbours kept as
    the score of one eps for all, the share to another power than 2 (1.5: crumbs; 3: causes joined), running the same
    tuning within a large RCC (what it finds there says little of whether the RCC holds two causes: area .65).

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float32
        What is clustered.
    original : ndarray of shape (n_points, any), float32, optional
        The same images before `average_neighbours` or UMAP, for `kept`; `points` if not given.
    averaged : ndarray of shape (n_points, any), float32, optional
        The same images after `average_neighbours`, for the silhouette and, where these are not the `points`, for how
        far branches stand apart; `points` if not given.
    known : ndarray of shape (n_points,), int, optional
        RCCs found among the `averaged` images, against which those of the `points` are checked.
    progress : callable, optional
        Called as progress(what, done, total).
    """
    n = len(points)
    if n < min(MIN_SAMPLES_TRIED):
        return _without_settings(np.full(n, NOISE))
    cloud = Points(points)
    if _all_one_point(cloud):
        return _without_settings(np.zeros(n, dtype=int))
    images = _Images(
        neighbours=(cloud if original is None else Points(original)).nearest(_neighbours_asked(n))[0],
        averaged=cloud if averaged is None or averaged is points else Points(averaged),
        known=known,
    )
    found: list[_Clustering] = []
    tried = [k for k in MIN_SAMPLES_TRIED if k <= n]
    for i, min_samples in enumerate(tried):
        progress("Tuning DBSCAN", i, len(tried))
        found.append(_best_branches(Density(cloud, min_samples), images))
    settings = _settings(images.averaged, found)
    progress("Tuning DBSCAN", len(tried), len(tried))
    if all(setting.score == 0 for setting in settings):
        found.append(_textbook(Density(cloud, min(5, n))))
        settings += _settings(images.averaged, found[-1:])
    chosen = max(range(len(found)), key=lambda i: (settings[i].at_knee, round(settings[i].score, 9)))
    best = found[chosen]
    return Tuning(largest_first(best.labels), best.is_core, tuple(settings), chosen, best.k_distances, best.knee)


def _neighbours_asked(n: int) -> int:
    """Where there are few images, a cause has fewer than ten; but as many as the smallest branch can keep to itself."""
    return min(max(SMALLEST_BRANCH - 1, n // 8), NEAREST, n - 1)


def _all_one_point(points: Points) -> bool:
    everything = np.arange(len(points))
    if points.between(np.zeros_like(everything), everything).max() >= SAME_POINT:
        return False
    return max(points.per_block(everything, lambda _, distances: distances.max())) < SAME_POINT


def _without_settings(labels: np.ndarray) -> Tuning:
    return Tuning(labels, labels != NOISE, (), None, np.zeros(len(labels), np.float32), None)


class _Images(NamedTuple):
    """What is known of the images besides the points that are clustered."""

    neighbours: np.ndarray
    """Nearest of each before averaging, shape (n_images, k), int."""
    averaged: Points
    """The images after averaging; the very points that are clustered, where it is these."""
    known: np.ndarray | None
    """RCCs found among `averaged`, where others are clustered."""


class _Clustering(NamedTuple):
    """What one setting makes of the points, before its silhouette is known."""

    labels: np.ndarray
    is_core: np.ndarray
    eps: float
    min_samples: int
    at_knee: bool
    worth: float
    k_distances: np.ndarray
    knee: int | None


def _best_branches(density: Density, images: _Images) -> _Clustering:
    """The RCCs of one min_samples, each with its own radius."""
    curve = np.sort(density.core_distances)
    knee = find_knee(curve)
    upper = UPPER_END * _just_above(curve, len(curve) - 1 if knee is None else knee)
    branches = Branches(density, upper)
    worth = _worth(branches, images)
    chosen = branches.best(worth)
    labels, is_core = branches.cluster(chosen)
    if images.known is not None:
        labels, is_core = _reconciled(labels, is_core, images)
    eps = float(branches.radius[chosen].max(initial=0))
    return _Clustering(labels, is_core, eps, density.min_samples, False, float(worth[chosen].sum()), curve, knee)


def _worth(branches: Branches, images: _Images) -> np.ndarray:
    gap = np.maximum(branches.gap, 0)
    if images.averaged is branches.density.points:
        apart = gap**APART_POWER
    else:
        apart = branches.apart(Density(images.averaged, branches.density.min_samples)) ** APART_BEFORE_UMAP_POWER
    shares = branches.sizes / len(images.neighbours)
    large_and_apart = 1 + APART_WEIGHT * shares * apart
    worth = _explained(shares, branches.kept(images.neighbours)) * large_and_apart * gap**GAP_POWER
    if images.known is None:
        return worth
    sizes = np.bincount(images.known[images.known != NOISE])
    agreed = [agreement(images.known[branches.members(i)], sizes) for i in range(len(worth))]
    return worth * np.array(agreed) ** AGREEMENT_POWER


def _explained(share, kept):
    """What RCCs are worth by the share of the images and of their neighbours that they have; numbers or arrays."""
    return (share - share**2) * kept**KEPT_POWER


def _reconciled(labels: np.ndarray, is_core: np.ndarray, images: _Images) -> tuple[np.ndarray, np.ndarray]:
    """RCCs divided where those that are known are worth more, and without the images that belong elsewhere."""
    known, neighbours = images.known, images.neighbours
    sizes = np.bincount(known[known != NOISE])

    def worth(members: np.ndarray) -> float:
        kept = np.isin(neighbours[members], members).mean()
        return _explained(len(members) / len(labels), kept) * agreement(known[members], sizes)

    labels, is_core = divide(labels, is_core, known, worth, images.averaged)
    return without_strays(labels, is_core, images.averaged.neighbours[0][:, : neighbours.shape[1]])


def _textbook(density: Density) -> _Clustering:
    """DBSCAN at the knee: right where there is one group of images and what lies outside of it."""
    curve = np.sort(density.core_distances)
    knee = find_knee(curve)
    eps = _just_above(curve, len(curve) - 1 if knee is None else knee)
    return _Clustering(*density.cluster(eps), eps, density.min_samples, True, 0.0, curve, knee)


def _settings(points: Points, found: Sequence[_Clustering]) -> list[Setting]:
    silhouettes = balanced_silhouettes(points, [clustering.labels for clustering in found])
    return [_setting(clustering, silhouette) for clustering, silhouette in zip(found, silhouettes, strict=True)]


def _setting(clustering: _Clustering, silhouette: float) -> Setting:
    labels = clustering.labels
    shares = np.bincount(labels[labels != NOISE]) / len(labels)
    return Setting(
        eps=clustering.eps,
        min_samples=clustering.min_samples,
        at_knee=clustering.at_knee,
        n_rccs=len(shares),
        noise=float(np.mean(labels == NOISE)),
        largest=float(shares.max(initial=0)),
        silhouette=silhouette,
        score=float(np.sqrt(max(silhouette, 0)) * clustering.worth),
    )


def find_knee(curve: np.ndarray) -> int | None:
    """Index of the knee of a sorted k-distance curve; None where it has none (straight, constant, very short)."""
    if len(curve) < 4 or curve[0] == curve[-1]:
        return None
    # Imported here and not above: with it the page would start later.
    from kneed import KneeLocator

    knee = KneeLocator(range(len(curve)), curve, curve="convex", direction="increasing").knee
    return None if knee is None else int(knee)


def _just_above(curve: np.ndarray, position: int) -> float:
    """A radius halfway between the k-distance at a position and the next larger one.

    Halfway, since DBSCAN's eps is inclusive: a radius equal to a distance would hang on that distance's last digit.
    """
    larger = np.searchsorted(curve, curve[position], side="right")
    if larger == len(curve):
        return float(curve[position]) * 1.001 + SAME_POINT
    return (float(curve[position]) + float(curve[larger])) / 2


def largest_first(labels: np.ndarray) -> np.ndarray:
    """Number the clusters by size; of equal ones the first to appear comes first."""
    found, first, counts = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    renamed = np.full(labels.shape, NOISE)
    for new, old in enumerate(found[np.lexsort((first, -counts))]):
        renamed[labels == old] = new
    return renamed
