"""Step 1 of SAFE, second half: clustering. Features in, root cause clusters (RCCs) out.

0. On request, the effect of a nuisance variable is subtracted.
1. PCA to 256 components, which are then scaled by how much neighbours differ in them; or, if it is known which
   images the DNN gets right, the contrast with these, if the RCCs then explain more.
2. Neighbour averaging.
3. Self-tuning DBSCAN.
4. The same for many random samples of the images: the RCCs are the groups on which these clusterings agree.
5. The contrast with right images may divide a huge RCC again.
6. On request, UMAP, and steps 3 and 4 after it, checked against the RCCs without it.

`safe_dnn/rccs/dbscan/` contains these steps, and `safe_dnn/rccs/clusters.py` the record of the result and its files.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA and DBSCAN); Attaoui et al., ACM TOSEM 33(5):130,
2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP).
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.FE import ImageFeatures
from safe_dnn.rccs.clusters import REDUCERS, RootCauseClusters, rcc_reach
from safe_dnn.rccs.dbscan.consensus import Votes, agree, cluster_samples, in_places, placed, settled
from safe_dnn.rccs.dbscan.contrast import ExplainedUncertainty, RightImages, explained_beyond_class
from safe_dnn.rccs.dbscan.neighbours import Points, random_part
from safe_dnn.rccs.dbscan.outcome import NOISE, Steadiness, Tuning
from safe_dnn.rccs.dbscan.projection import Nuisance, Projection, average_neighbours, fit_contrast, fit_projection
from safe_dnn.rccs.dbscan.tuning import largest_first, reduced_by_umap, tune
from safe_dnn.rccs.spots.rates import Placed, among_failing, nearest_failing, regions
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.progress import report_progress

HUGE = 0.25  # share of the failing images: an RCC of as many is divided, if its parts explain as much
NEARLY_ALL = 0.75  # of failing images lie among failing ones, and of right ones do not, if all that fails is one group
MOST_OF_IT = 0.95  # of what RCCs explain before one is divided: smaller ones are counted less surely


def find_root_cause_clusters(
    images: ImageFeatures,
    *,
    reducer: str = "auto",
    weights: StrPath | None = None,
    nuisance: Nuisance | None = None,
    right: RightImages | None = None,
) -> RootCauseClusters:
    """Cluster images by their features.

    Parameters
    ----------
    reducer : {"auto", "pca", "umap"}
        PCA as in the paper, followed by neighbour averaging; or PCA followed by UMAP to 10 dimensions, which was the
        best pipeline in the authors' study of 2024. By default PCA, or the contrast with `right`.
    weights : path, optional
        The file with weights, or features, that the engineer specified: recorded, so that the selection finds it again.
    nuisance : Nuisance, optional
        The nuisance variable that is subtracted from these images' features, recorded so that later steps can do the
        same.
    right : RightImages, optional
        Images that the DNN gets right, not together with a nuisance. The contrast with them
        (`safe_dnn/rccs/dbscan/contrast.py`) replaces PCA, unless PCA's RCCs explain as much on held-out halves of the
        images.

    Raises
    ------
    SAFEError
        Unknown reducer, UMAP is not installed, or features are not finite.
    """
    if reducer not in REDUCERS:
        raise SAFEError(f"reducer must be one of {', '.join(REDUCERS)}. Received: {reducer}")
    for name in ("scipy.sparse.linalg", "scipy.cluster.hierarchy"):
        import_module(name)  # before two threads need it: in both at once, its own imports fail
    with ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "kneed")  # takes as long as PCA of a thousand images, after which it is needed
        right = right if reducer == "auto" else None
        grouped, explained = (None, None) if right is None else _by_contrast(images, right)
        grouped = grouped or _grouped(images, _appearance(images, nuisance), reducer=reducer)
        if right is not None and grouped.is_empty:
            grouped, explained = _one_group(grouped, right, explained)
    tuning, grouping = grouped.tuning, grouped.grouping
    chosen = None if tuning.chosen is None else tuning.settings[tuning.chosen]
    return RootCauseClusters(
        image_root=images.root, paths=images.paths, skipped=images.skipped, points=grouped.points,
        projection=grouped.projection, **grouping._asdict(),
        reach=rcc_reach(grouped.points, grouping.labels, grouping.is_core),
        reducer=reducer, eps=chosen.eps if chosen else 0.0, min_samples=chosen.min_samples if chosen else 0,
        settings=tuning.settings, k_distances=tuning.k_distances, knee=tuning.knee,
        extractor=replace(images.extractor, weights=Path(weights) if weights else None),
        set_aside=nuisance.aside if nuisance else None, beyond_class=explained, parts=grouped.parts,
    )  # fmt: skip


class _Space(NamedTuple):
    """A space in which images are compared: their points, and their coordinates as in `cluster_points`."""

    projection: Projection
    coordinates: np.ndarray
    points: np.ndarray


class _Grouped(NamedTuple):
    """Images, grouped in some space; `parts` as in `RootCauseClusters`."""

    projection: Projection
    points: np.ndarray
    tuning: Tuning
    grouping: "Grouping"
    parts: np.ndarray

    @property
    def is_empty(self) -> bool:
        """Whether there is no RCC."""
        return bool(self.grouping.labels.max(initial=NOISE) == NOISE)


def _appearance(images: ImageFeatures, nuisance: Nuisance | None = None) -> _Space:
    """The space of the paper: PCA, scaled."""
    projection, coordinates = fit_projection(images.features, images.extractor.name, nuisance=nuisance)
    return _Space(projection, coordinates, projection.apply(images.features, nuisance=nuisance))  # at most 256


def _contrast(images: ImageFeatures, right: RightImages) -> _Space | None:
    """The space of the contrast with right images; None if nothing separates failing images from them."""
    fitted, n = fit_contrast(images.features, right, images.extractor.name), len(images.paths)
    if fitted is None:
        return None
    projection, coordinates = fitted
    points = projection.apply(images.features, classes=right.classes[:n], names=right.names[:n])
    return _Space(projection, coordinates, points)


def _grouped(images: ImageFeatures, space: _Space, *, reducer: str = "pca") -> _Grouped:
    projection, coordinates, points = space
    tuning, grouping = cluster_points(points, coordinates, images.paths, reducer=reducer)
    return _Grouped(projection, points, tuning, grouping, np.zeros(0, int))


def _by_contrast(images: ImageFeatures, right: RightImages) -> tuple[_Grouped | None, ExplainedUncertainty | None]:
    """The RCCs by contrast with right images, or by appearance if these explain as much or there are no others; and the
    uncertainty that both explain.

    None if nothing separates failing images from right ones. To choose, images are clustered once, without the samples
    of the consensus, which takes a tenth of the time; if that does not decide, a huge RCC is divided.
    """
    report_progress("Comparing with images that are right", 0, 0)
    contrast, n = _contrast(images, right), len(images.paths)
    if contrast is None:
        return None, None
    appearance = _appearance(images)
    of_right = contrast.projection.apply(right.features, classes=right.classes[n:], names=right.names[n:])
    nearest = nearest_failing(contrast.points, of_right)
    by_appearance = nearest_failing(appearance.points, appearance.projection.apply(right.features))

    def explains(labels: np.ndarray, nearest: tuple[np.ndarray, np.ndarray] = nearest) -> float:
        of_failing, of_right = (regions(of, labels) for of in nearest)
        wrong = np.arange(n + len(of_right)) < n
        return explained_beyond_class(np.concatenate([of_failing, of_right]), right.classes, wrong, right.units)

    once, once_appearance = (cluster_once(space.points)[-1] for space in (contrast, appearance))
    explained = ExplainedUncertainty.chosen(explains(once.labels), explains(once_appearance.labels, by_appearance))
    if not explained.is_contrast:
        *_, divided = _divided(once, explains, images, right, lambda space, _: cluster_once(space.points)[-1])
        explained = ExplainedUncertainty.chosen(divided, explained.appearance)
    if not explained.is_contrast:
        return _grouped(images, appearance), explained
    grouped = _grouped(images, contrast)
    if grouped.is_empty:  # none of it is found again in parts of the images
        explained = ExplainedUncertainty(explains(grouped.grouping.labels), explained.appearance, False)
        return _grouped(images, appearance), explained

    def steady_grouping(space: _Space, names: Sequence[str]) -> Grouping | None:
        inside = cluster_points(space.points, space.coordinates, names)[1]
        return inside if inside.steadiness else None

    grouping, parts, contrast_explained = _divided(grouped.grouping, explains, images, right, steady_grouping)
    return grouped._replace(grouping=grouping, parts=parts), explained._replace(contrast=contrast_explained)


def _one_group(
    grouped: _Grouped, right: RightImages, explained: ExplainedUncertainty | None
) -> tuple[_Grouped, ExplainedUncertainty | None]:
    """One RCC of all failing images that lie among failing ones, if nearly all of them do and nearly no right ones.

    Samples divide such a group by chance, each in its own way, so that no part of it is steady.
    """
    n, classes = len(grouped.points), np.unique(right.classes, return_inverse=True)[1]
    points = np.concatenate([grouped.points, grouped.projection.apply(right.features)])
    every, wrong = Placed(points, classes, right.units), np.arange(len(points)) < n
    among = among_failing(every, every, wrong)
    if among[:n].mean() < NEARLY_ALL or among[n:].mean() > 1 - NEARLY_ALL:
        return grouped, explained
    share = explained_beyond_class(among.astype(int), classes, wrong, right.units)
    grouping = Grouping(np.where(among[:n], 0, NOISE), among[:n], None)
    explained = ExplainedUncertainty(explained.contrast if explained else 0.0, share, False)
    return grouped._replace(grouping=grouping, parts=np.full(1, NOISE)), explained


def _divided(
    grouping: "Grouping", explains: Callable[[np.ndarray], float], images: ImageFeatures, right: RightImages,
    cluster: Callable[[_Space, Sequence[str]], "Grouping | None"],
) -> tuple["Grouping", np.ndarray, float]:  # fmt: skip
    """Divide huge RCCs by the contrast of their own images, if the parts are steady and explain as much.

    Parameters
    ----------
    cluster : callable
        Clusters images in a space, with their names; None if the result is not steady.

    Returns
    -------
    grouping : Grouping
    parts : ndarray of shape (n_rccs,), int
        As of `RootCauseClusters`.
    explained : float
        By all RCCs.
    """
    explained, n = explains(grouping.labels), len(images.paths)
    sizes = np.bincount(grouping.labels[grouping.labels != NOISE])
    parts = np.full(len(sizes), NOISE)
    for rcc in np.flatnonzero(sizes >= HUGE * n).tolist():
        rows = np.flatnonzero(grouping.labels == rcc)
        some = replace(images, paths=tuple(images.paths[row] for row in rows), features=images.features[rows])
        space = _contrast(some, right.beside(rows, n))
        if space is None:
            continue
        inside = cluster(space, some.paths)
        if inside is None or inside.labels.max(initial=NOISE) < 1:
            continue
        divided = grouping.with_parts(rcc, inside)
        if (now := explains(divided.labels)) >= MOST_OF_IT * explained:
            grouping, explained = divided, now
            parts = np.append(parts, np.full(inside.labels.max(), rcc))
            parts[rcc] = rcc
    order = np.argsort(-np.bincount(grouping.labels[grouping.labels != NOISE]), kind="stable")
    return grouping.renumbered(order), parts[order], explained


class Grouping(NamedTuple):
    """RCCs: arrays of shape (n_images,), and how steady they are, if that is known."""

    labels: np.ndarray
    is_core: np.ndarray
    steadiness: Steadiness | None

    def with_parts(self, rcc: int, inside: "Grouping") -> "Grouping":
        """The same with an RCC divided as its images are inside: the first part has its number, others new ones."""
        rows, steadiness = np.flatnonzero(self.labels == rcc), self.steadiness
        last = int(self.labels.max())
        number = np.array([rcc, *range(last + 1, last + 1 + int(inside.labels.max())), NOISE])
        labels, is_core = self.labels.copy(), self.is_core.copy()
        labels[rows], is_core[rows] = number[inside.labels], inside.is_core
        if steadiness is not None and inside.steadiness is not None:
            of_rccs = np.append(steadiness.of_rccs, inside.steadiness.of_rccs[1:])
            of_rccs[rcc] = inside.steadiness.of_rccs[0]
            steadiness = steadiness._replace(of_rccs=of_rccs)
        return Grouping(labels, is_core, steadiness)

    def renumbered(self, order: np.ndarray) -> "Grouping":
        """The same with other numbers: `order` has the RCC that comes first, then the second, and so on."""
        number = np.append(np.argsort(order), NOISE)
        steadiness = self.steadiness
        if steadiness is not None:
            steadiness = steadiness._replace(of_rccs=steadiness.of_rccs[order])
        return Grouping(number[self.labels], self.is_core, steadiness)


def cluster_once(points: np.ndarray) -> tuple[np.ndarray, Points, np.ndarray, Tuning, Grouping]:
    """Cluster images once, without random samples: of more than `MOST_STORED`, a random part.

    Returns
    -------
    part : ndarray of int
        Rows of the images that were clustered.
    original : Points
        These images.
    averaged : ndarray of shape (n_part, n_components), float32
        After `average_neighbours`.
    tuning : Tuning
    grouping : Grouping
        For all images.
    """
    part = random_part(len(points))
    original = Points(points[part])
    averaged = average_neighbours(original)
    tuning = tune(averaged, original=original, averaged=averaged)
    return part, original, averaged, tuning, _for_all(tuning, original, points, part)


def cluster_points(
    points: np.ndarray, coordinates: np.ndarray, names: Sequence[str], *, reducer: str = "pca"
) -> tuple[Tuning, Grouping]:
    """Cluster images: once, by which the settings are shown, and in random parts, by which the RCCs are found.

    Time and memory grow with the number of images, not with its square.

    Parameters
    ----------
    points, coordinates : ndarray of shape (n_images, n_components)
        After PCA, scaled and as they are (see `safe_dnn.rccs.dbscan.projection.fit_projection`).
    names : sequence of str
        See `cluster_samples`.
    """
    part, original, averaged, tuning, grouping = cluster_once(points)
    enough = None if reducer == "umap" else settled  # after UMAP the same samples are clustered again
    votes = cluster_samples(coordinates, names, enough=enough)
    grouping = _consensus(grouping, votes)
    if reducer == "umap":
        reduced = reduced_by_umap(points)  # (n_images, 10)
        known = largest_first(grouping.labels[part])
        tuning = tune(reduced[part], original=original, averaged=averaged, known=known)
        umap_votes = cluster_samples(coordinates, names, reduced=reduced, known=grouping.labels)
        grouping = _consensus(_for_all(tuning, original, points, part), votes.joined(umap_votes))
    return tuning, grouping


def _for_all(tuning: Tuning, some: Points, points: np.ndarray, part: np.ndarray) -> Grouping:
    """The clusters of a part of the images, and all other images placed among these."""
    if len(part) == len(points):
        return Grouping(tuning.labels, tuning.is_core, None)
    places = placed(some, lambda rows: points[rows], len(points))
    return Grouping(*in_places(tuning.labels, tuning.is_core, places), None)


def _consensus(once: Grouping, votes: Votes) -> Grouping:
    """The RCCs on which clusterings of many random parts of the images agree, if at least one of them is steady.

    Without a steady one, all images are noise, rather than divided by chance. But if all images together were not
    divided either, they are one group and some outliers, and remain that.
    """
    if not votes.n_samples:
        return once
    labels, is_core, steadiness = votes.agreed or agree(votes)
    if steadiness.is_steady.any():
        return Grouping(labels, is_core, steadiness)
    if once.labels.max() < 1:
        return once
    nothing = np.full(len(labels), NOISE)
    return Grouping(nothing, nothing != NOISE, Steadiness(np.zeros(0, np.float32), votes.n_samples))
