"""HUDD, the white-box predecessor of SAFE, as a baseline: failing images clustered by heatmaps of the DNN under test.

For each layer: LRP heatmaps of all failing images, their Euclidean distances, Ward's linkage, and the number of
clusters at the knee of the weighted intra-cluster distance. The layer with the smallest such distance is chosen;
clusters of one image are dropped.

As published, the heatmaps of all layers are kept in memory (`store="memory"`). `store="disk"` writes them to a
temporary folder and reads them block by block, with the same result. Heatmaps are computed in batches and distances as
matrix products; the published tool takes a single image and a single pair of heatmaps at a time.

Sources: Fahmy et al., IEEE Trans. Reliability 70(4), 2021 (HUDD), and its tool, SNTSVV/HUDD-Toolset, HeatmapModule.py;
Satopää et al., ICDCSW 2011 (kneed).
"""

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kneed import KneeLocator
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from lab.benchmarks.rivals.lrp import Lrp, prepare_lrp
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import report_progress

MOST_CLUSTERS = 100  # largest number that is tried, as in the published tool
BATCH = 32
BLOCK_BYTES = 32 * 2**20  # of heatmaps read at a time
STORES = ("memory", "disk")


class LayerClusters(NamedTuple):
    """The clusters of one layer's heatmaps.

    Attributes
    ----------
    layer : str
    labels : ndarray of shape (n_images,), int
        The largest cluster is 0; `NOISE` for an image that is alone in its cluster.
    n_clusters : int
        Number at the knee, including clusters of one image.
    spread : float
        Weighted intra-cluster distance at the knee, the published criterion for choosing a layer. Relevance that is
        spread over more neurons makes distances smaller, so it favours wide layers. Infinite if nothing varies.
    curve : ndarray, float64
        Weighted intra-cluster distance for 1, 2, … clusters.
    """

    layer: str
    labels: np.ndarray
    n_clusters: int
    spread: float
    curve: np.ndarray


class Hudd(NamedTuple):
    """HUDD's result: `layers[chosen].labels` are the root cause clusters."""

    layers: tuple[LayerClusters, ...]
    chosen: int

    @property
    def labels(self) -> np.ndarray:
        """Cluster per image, shape (n_images,), int."""
        return self.layers[self.chosen].labels


# --- Heatmaps and distances -------------------------------------------------------------------------------------


def heatmap_distances(
    lrp: Lrp, batches: Iterator[np.ndarray], n_images: int, *, store: str = "memory"
) -> dict[str, np.ndarray]:
    """Euclidean distances between the heatmaps of each layer.

    Parameters
    ----------
    batches : iterator of ndarray of shape (n, height, width, channels)
        Inputs of the model, `n_images` in all.
    store : "memory" or "disk"
        Where the heatmaps of all layers are stored, 4 bytes for each value of an image.

    Returns
    -------
    dict of str to ndarray of shape (n_images, n_images), float32
        Symmetric, zeros on the diagonal.
    """
    if store not in STORES:
        raise SAFEError(f"store must be one of {', '.join(STORES)}. Received: {store}")
    with tempfile.TemporaryDirectory() as folder:
        kept = []
        for number, shape in enumerate(lrp.shapes):
            size = (n_images, int(np.prod(shape)))
            if store == "memory":
                kept.append(np.empty(size, np.float32))
            else:
                kept.append(np.memmap(Path(folder, str(number)), np.float32, "w+", shape=size))
        done = 0
        for batch in batches:
            for rows, heatmap in zip(kept, lrp.heatmaps(batch), strict=True):
                rows[done : done + len(batch)] = heatmap.numpy().reshape(len(batch), -1)
            done += len(batch)
            report_progress("Heatmaps", done, n_images)
        distances = {}
        for number, layer in enumerate(lrp.layers):
            distances[layer] = euclidean_distances(kept[number])
            report_progress("Distances", number + 1, len(lrp.layers))
        del kept
    return distances


def euclidean_distances(rows: np.ndarray, *, block_bytes: int = BLOCK_BYTES) -> np.ndarray:
    """Distances between all rows, in float32, reading two blocks of rows at a time.

    Rows are centred first, so that |a|² + |b|² − 2ab does not lose digits to a large mean.

    Parameters
    ----------
    rows : ndarray of shape (n, dimension), float32
        In memory or mapped from a file.

    Returns
    -------
    ndarray of shape (n, n), float32
    """
    n, dimension = rows.shape
    step = max(1, block_bytes // max(4 * dimension, 1))
    mean = np.zeros(dimension)
    for start in range(0, n, step):
        mean += rows[start : start + step].sum(axis=0, dtype=np.float64)
    mean = (mean / max(n, 1)).astype(np.float32)
    distances = np.zeros((n, n), np.float32)
    for i in range(0, n, step):
        left = rows[i : i + step] - mean
        left_squares = np.einsum("ij,ij->i", left, left)
        for j in range(i, n, step):
            right = left if i == j else rows[j : j + step] - mean
            squares = left_squares if i == j else np.einsum("ij,ij->i", right, right)
            block = np.sqrt(np.maximum(left_squares[:, None] + squares - 2 * (left @ right.T), 0))
            distances[i : i + step, j : j + step] = block
            distances[j : j + step, i : i + step] = block.T
    np.fill_diagonal(distances, 0)
    return (distances + distances.T) / 2


# --- Clusters ---------------------------------------------------------------------------------------------------


def cluster_layers(distances: dict[str, np.ndarray], *, most_clusters: int = MOST_CLUSTERS) -> Hudd:
    """Cluster each layer's heatmaps and choose the layer.

    Parameters
    ----------
    distances : dict of str to ndarray of shape (n_images, n_images)
    """
    layers = tuple(cluster_layer(layer, matrix, most_clusters=most_clusters) for layer, matrix in distances.items())
    return Hudd(layers, min(range(len(layers)), key=lambda i: layers[i].spread))


def cluster_layer(layer: str, distances: np.ndarray, *, most_clusters: int = MOST_CLUSTERS) -> LayerClusters:
    """Ward's linkage, cut at the knee of the weighted intra-cluster distance over the number of clusters."""
    n = len(distances)
    if n < 3 or not distances.any():
        labels = np.zeros(n, int) if n > 1 else np.full(n, NOISE)
        return LayerClusters(layer, labels, min(n, 1), math.inf, np.zeros(min(n, 1)))
    merges = linkage(squareform(distances.astype(np.float64), checks=False), "ward")
    curve = spread_curve(distances, merges, min(most_clusters, n - 1))
    counts = np.arange(1, len(curve) + 1)
    knee = KneeLocator(counts, curve, curve="convex", direction="decreasing").knee if len(curve) > 3 else None
    n_clusters = int(knee) if knee is not None else min(2, len(curve))
    found = fcluster(merges, n_clusters, "maxclust") - 1
    return LayerClusters(layer, _without_singletons(found), n_clusters, float(curve[n_clusters - 1]), curve)


def spread_curve(distances: np.ndarray, merges: np.ndarray, most_clusters: int) -> np.ndarray:
    """HUDD's weighted intra-cluster distance for 1, 2, …, `most_clusters` clusters of a linkage.

    As published: for each cluster, the mean distance between its images (0 for a single image) is weighted by its share
    of all images; the sum over the clusters is divided by their number.

    Parameters
    ----------
    distances : ndarray of shape (n, n)
    merges : ndarray of shape (n − 1, 4)
        As returned by scipy's `linkage`.

    Returns
    -------
    ndarray of shape (most_clusters,), float64
    """
    n = len(distances)
    members: dict[int, np.ndarray] = {i: np.array([i]) for i in range(n)}
    sums = dict.fromkeys(range(n), 0.0)  # of the distances between the images of a cluster
    weighted = 0.0  # sum over clusters of share · mean distance
    curve = np.zeros(most_clusters)

    def part(cluster: int) -> float:
        size = len(members[cluster])
        return size / n * sums[cluster] / (size * (size - 1) / 2) if size > 1 else 0.0

    for made, (one, other) in enumerate(merges[:, :2].astype(int).tolist(), start=n):
        weighted -= part(one) + part(other)
        cross = float(distances[np.ix_(members[one], members[other])].sum(dtype=np.float64))
        sums[made] = sums.pop(one) + sums.pop(other) + cross
        members[made] = np.concatenate([members.pop(one), members.pop(other)])
        weighted += part(made)
        if len(members) <= most_clusters:
            curve[len(members) - 1] = weighted / len(members)
    return curve


def _without_singletons(labels: np.ndarray) -> np.ndarray:
    """Renumber clusters by size, the largest as 0; clusters of one image become noise."""
    sizes = np.bincount(labels)
    order = np.argsort(-sizes, kind="stable")
    new = np.full(len(sizes), NOISE)
    new[order] = np.arange(len(sizes))
    new[sizes < 2] = NOISE
    return new[labels]


# --- The method as a whole --------------------------------------------------------------------------------------


def run_hudd(
    model_path: str | os.PathLike, root: Path, paths: Sequence[str], *, store: str = "memory"
) -> tuple[Hudd, dict[str, np.ndarray], Lrp]:
    """Run HUDD on image files.

    Parameters
    ----------
    model_path : path
        The DNN under test, a Keras model file.
    root, paths
        The images, relative to `root`.

    Returns
    -------
    Hudd, distances per layer, Lrp

    Raises
    ------
    SAFEError
        Relevance cannot be propagated through the model, or an image cannot be read.
    """
    from safe_dnn.dnn.model import load_dnn, sized_for
    from safe_dnn.dnn.predictions import Pixels, batches

    files = [root / path for path in paths]
    dnn = sized_for(load_dnn(model_path), files)
    lrp = prepare_lrp(dnn.model)
    pixels = Pixels(dnn, files, cache_bytes=0)
    read = (inputs for inputs, _ in batches(dnn, pixels, np.arange(len(files)), BATCH))
    distances = heatmap_distances(lrp, read, len(files), store=store)
    if pixels.unreadable:
        first = min(pixels.unreadable)
        raise SAFEError(f"Expected readable images. Received: {files[first]} ({pixels.unreadable[first]}). Remove it.")
    return cluster_layers(distances), distances, lrp
