"""Step 1 of SAFE, second half: clustering. Features in, root cause clusters (RCCs) out.

PCA to 256 components, scaled by what neighbours differ in; neighbour averaging (or UMAP); then DBSCAN, which tunes
itself. `dbscan/` has all of these, `rccs/clusters.py` the record of what comes out, and its files.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA and DBSCAN); Attaoui et al., ACM TOSEM 33(5):130,
2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP).
"""

import os

from dbscan.projection import fit_projection
from dbscan.relevance import average_neighbours
from dbscan.tuning import tune
from dbscan.umap_reducer import reduced_by_umap
from FE import ImageFeatures
from rccs.clusters import REDUCERS, RootCauseClusters, rcc_reach
from support.errors import SAFEError
from support.progress import Progress, no_progress


def find_root_cause_clusters(
    images: ImageFeatures,
    reducer: str = "pca",
    weights: str | os.PathLike | None = None,
    progress: Progress = no_progress,
) -> RootCauseClusters:
    """Cluster the images of a run (the second half of step 1).

    Parameters
    ----------
    reducer : "pca" or "umap"
        PCA as in the paper, with neighbour averaging after it; or PCA, then UMAP to 10 dimensions, which the authors'
        study of 2024 found best.
    weights : path, optional
        The weights file as the engineer named it, kept so that the selection finds it again.

    Raises
    ------
    SAFEError
        No such reducer, UMAP is not installed, or the features are not finite.
    """
    if reducer not in REDUCERS:
        raise SAFEError(f"reducer must be one of {', '.join(REDUCERS)}. Received: {reducer}")
    projection = fit_projection(images.features, images.extractor.name)
    points = projection.apply(images.features)
    averaged = average_neighbours(points)
    tuning = tune(averaged, points, averaged, progress=progress)
    if reducer == "umap":
        tuning = tune(reduced_by_umap(points, progress), points, averaged, tuning.labels, progress)
    chosen = None if tuning.chosen is None else tuning.settings[tuning.chosen]
    return RootCauseClusters(
        image_root=images.root,
        paths=images.paths,
        labels=tuning.labels,
        is_core=tuning.is_core,
        points=points,
        reach=rcc_reach(points, tuning.labels, tuning.is_core),
        reducer=reducer,
        eps=chosen.eps if chosen else 0.0,
        min_samples=chosen.min_samples if chosen else 0,
        projection=projection,
        extractor_identity=images.extractor.identity,
        notice=images.extractor.notice,
        weights=os.fspath(weights) if weights else "",
        settings=tuning.settings,
        k_distances=tuning.k_distances,
        knee=tuning.knee,
        skipped=images.skipped,
    )
