"""Step 1 of SAFE, second half: clustering. Features in, root cause clusters (RCCs) out.

0. On request, what a known nuisance explains is set aside.
1. PCA to 256 components, which are then scaled by how much neighbours differ in them; on request, only the directions
   in which failing images vary more than those that the DNN gets right.
2. Neighbour averaging.
3. Self-tuning DBSCAN.
4. The same again for many random parts of the images: the RCCs are what these clusterings agree on.
5. On request, UMAP, and steps 3 and 4 after it, checked against what was found without it.

`safe_dnn/rccs/dbscan/` contains these steps, and `safe_dnn/rccs/clusters.py` the record of the result and its files.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA and DBSCAN); Attaoui et al., ACM TOSEM 33(5):130,
2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP).
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import NamedTuple

import numpy as np

from safe_dnn.FE import ImageFeatures
from safe_dnn.rccs.clusters import REDUCERS, RootCauseClusters, rcc_reach
from safe_dnn.rccs.dbscan.consensus import agree, settled
from safe_dnn.rccs.dbscan.neighbours import Points, random_part
from safe_dnn.rccs.dbscan.outcome import NOISE, Steadiness, Tuning
from safe_dnn.rccs.dbscan.projection import directions_of_failing, fit_projection
from safe_dnn.rccs.dbscan.relevance import average_neighbours
from safe_dnn.rccs.dbscan.resamples import Votes, cluster_samples, in_places, placed
from safe_dnn.rccs.dbscan.set_aside import Nuisance
from safe_dnn.rccs.dbscan.tuning import largest_first, tune
from safe_dnn.rccs.dbscan.umap_reducer import reduced_by_umap
from safe_dnn.support.entries import StrPath
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress, no_progress


def find_root_cause_clusters(
    images: ImageFeatures,
    *,
    reducer: str = "pca",
    weights: StrPath | None = None,
    nuisance: Nuisance | None = None,
    right: np.ndarray | None = None,
    progress: Progress = no_progress,
) -> RootCauseClusters:
    """Cluster images by their features.

    Parameters
    ----------
    reducer : {"pca", "umap"}
        PCA as in the paper, followed by neighbour averaging; or PCA followed by UMAP to 10 dimensions, which was the
        best pipeline in the authors' study of 2024.
    weights : path, optional
        The weights file that the engineer specified, recorded so that the selection finds it again.
    nuisance : Nuisance, optional
        What is set aside from these images' features, recorded so that later steps can do the same.
    right : ndarray of shape (n_right, dimension), float32, optional
        Features of images that the DNN gets right, not together with a nuisance. The looks that these have as well are
        set aside, if anything sets the failing images apart from them (`safe_dnn/rccs/dbscan/contrast.py`).

    Raises
    ------
    SAFEError
        Unknown reducer, UMAP is not installed, or features are not finite.
    """
    if reducer not in REDUCERS:
        raise SAFEError(f"reducer must be one of {', '.join(REDUCERS)}. Received: {reducer}")
    among = None if right is None else directions_of_failing(images.features, right, images.extractor.name)
    import_module("scipy.sparse.linalg")  # before two threads need it
    with ThreadPoolExecutor(1) as pool:
        pool.submit(import_module, "kneed")  # takes as long as PCA of a thousand images, after which it is needed
        projection, coordinates = fit_projection(images.features, images.extractor.name, nuisance=nuisance, among=among)
        points = projection.apply(images.features, nuisance=nuisance)  # (n_images, at most 256)
    tuning, found = cluster_points(points, coordinates, images.paths, reducer=reducer, progress=progress)
    chosen = None if tuning.chosen is None else tuning.settings[tuning.chosen]
    return RootCauseClusters(
        image_root=images.root, paths=images.paths, skipped=images.skipped, points=points, projection=projection,
        **found._asdict(), reach=rcc_reach(points, found.labels, found.is_core),
        reducer=reducer, eps=chosen.eps if chosen else 0.0, min_samples=chosen.min_samples if chosen else 0,
        settings=tuning.settings, k_distances=tuning.k_distances, knee=tuning.knee,
        extractor_identity=images.extractor.identity, notice=images.extractor.notice,
        weights=os.fspath(weights) if weights else "",
        set_aside=nuisance.what if nuisance else None, contrast=0 if among is None else len(among),
    )  # fmt: skip


class Found(NamedTuple):
    """RCCs: arrays of shape (n_images,), and how steady they are, if that is known."""

    labels: np.ndarray
    is_core: np.ndarray
    steadiness: Steadiness | None


def cluster_points(
    points: np.ndarray,
    coordinates: np.ndarray,
    names: Sequence[str],
    *,
    reducer: str = "pca",
    progress: Progress = no_progress,
) -> tuple[Tuning, Found]:
    """Cluster images: once, by which the settings are shown, and in random parts, by which the RCCs are found.

    Of more than `MOST_IMAGES`, a random part is clustered once. Time and memory then grow with their number, not with
    its square.

    Parameters
    ----------
    points, coordinates : ndarray of shape (n_images, n_components)
        After PCA, scaled and as they are (see `safe_dnn.rccs.dbscan.projection.fit_projection`).
    names : sequence of str
        See `cluster_samples`.
    """
    part = random_part(len(points))
    original = Points(points[part])
    averaged = average_neighbours(original)
    tuning = tune(averaged, original=original, averaged=averaged, progress=progress)
    enough = settled if reducer == "pca" else None  # after UMAP the same samples are clustered again
    votes = cluster_samples(coordinates, names, enough=enough, progress=progress)
    found = _found_again(_for_all(tuning, original, points, part), votes)
    if reducer == "umap":
        reduced = reduced_by_umap(points, progress)  # (n_images, 10)
        known = largest_first(found.labels[part])
        tuning = tune(reduced[part], original=original, averaged=averaged, known=known, progress=progress)
        more = cluster_samples(coordinates, names, reduced=reduced, known=found.labels, progress=progress)
        found = _found_again(_for_all(tuning, original, points, part), votes.joined(more))
    return tuning, found


def _for_all(tuning: Tuning, some: Points, points: np.ndarray, part: np.ndarray) -> Found:
    """The clusters of a part of the images, and all other images placed among these."""
    if len(part) == len(points):
        return Found(tuning.labels, tuning.is_core, None)
    places = placed(some, lambda rows: points[rows], len(points))
    return Found(*in_places(tuning.labels, tuning.is_core, places), None)


def _found_again(once: Found, votes: Votes) -> Found:
    """The RCCs on which clusterings of many random parts of the images agree, if at least one of them is steady.

    Without a steady one, all images are noise, rather than divided by chance. But if all images together were not
    divided either, they are one group and some outliers, and remain that.
    """
    if not votes.n_samples:
        return once
    labels, is_core, steadiness = votes.agreed or agree(votes)
    if steadiness.is_steady.any():
        return Found(labels, is_core, steadiness)
    if once.labels.max() < 1:
        return once
    nothing = np.full(len(labels), NOISE)
    return Found(nothing, nothing != NOISE, Steadiness.of_nothing(len(labels), votes.n_samples))
