"""Step 1 of SAFE, second half: clustering. Features in, root cause clusters (RCCs) out.

PCA to 256 components, scaled by what neighbours differ in; neighbour averaging (or UMAP), `relevance.py` has both; then
DBSCAN, which configures itself: `tuning.py` has that part.
Writes `labels.txt`, `clusters.npz` and `run.json`.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA and DBSCAN); Attaoui et al., ACM TOSEM 33(5):130,
2024 (UMAP before DBSCAN); McInnes et al., arXiv 1802.03426 (UMAP).
"""

import json
import os
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from artefacts import DAMAGED, read_arrays
from errors import SAFEError
from FE import DIMENSIONS, Extractor, ImageFeatures, Progress, comparable, no_progress
from images import Skipped
from neighbours import Points
from output_folder import Writer, save_files
from relevance import average_neighbours, relevant_directions
from tuning import NOISE, Setting, tune

LABELS_FILE = "labels.txt"
CLUSTERS_FILE = "clusters.npz"
RUN_FILE = "run.json"
FORMAT_VERSION = 1

N_COMPONENTS = 256
BLOCK_ROWS = 128  # of features that are scaled and centred at a time: 4 MB
REDUCERS = ("pca", "umap")
UMAP_COMPONENTS = 10
UMAP_NEIGHBOURS = 15
INSPECTED_PER_RCC = 5  # images that an engineer looks at in each (the paper)
_RECORDED_PACKAGES = ("numpy", "scikit-learn", "kneed", "umap-learn", "pillow", "tensorflow", "keras")


# --- The records ------------------------------------------------------------------------------------------------


class Projection(NamedTuple):
    """Features to points: scaled so that they can be compared, then PCA and the scaling of its directions.

    Attributes
    ----------
    extractor : str
        Whose features these are; decides the scaling (see `FE.comparable`).
    mean : ndarray of shape (dimension,), float32
    components : ndarray of shape (n_components, dimension), float32
        Those of PCA, turned and scaled by `relevant_directions`; the points vary most along the first.
    """

    extractor: str
    mean: np.ndarray
    components: np.ndarray

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Project features of shape (n, dimension) to points of shape (n, n_components), float32."""
        # In float64: equal images then get equal points, in whatever batch they come.
        turned = self.components.T.astype(np.float64)
        points = np.empty((len(features), len(self.components)), np.float32)
        for rows, centred in _Centred(features, self.extractor, self.mean).blocks():
            points[rows] = centred @ turned
        return points


@dataclass(frozen=True)
class RootCauseClusters:
    """The RCCs of a set of failing images.

    Attributes
    ----------
    image_root : Path
    paths : tuple of str
        Relative to `image_root`, sorted; entry i belongs to row i of every array.
    labels : ndarray of shape (n_images,), int
    is_core : ndarray of shape (n_images,), bool
    points : ndarray of shape (n_images, n_components), float32
        The images in the space of PCA, scaled by `relevant_directions`.
    reach : ndarray of shape (n_rccs,), float32
        How far an RCC reaches among these points (see `rcc_reach`).
    reducer : "pca" or "umap"
    eps : float
        The largest radius of an RCC, a distance between points after neighbour averaging or UMAP; 0 where nothing was
        to be tuned.
    min_samples : int
    projection : Projection
    extractor_identity, notice : str
        Which features these are (see `FE.Extractor`).
    weights : str
        The weights file as it was named for this run; empty where it was found by itself.
    settings : tuple of Setting
    k_distances : ndarray, float32
    knee : int or None
    skipped : tuple of Skipped
    """

    image_root: Path
    paths: tuple[str, ...]
    labels: np.ndarray
    is_core: np.ndarray
    points: np.ndarray
    reach: np.ndarray
    reducer: str
    eps: float
    min_samples: int
    projection: Projection
    extractor_identity: str
    notice: str
    weights: str
    settings: tuple[Setting, ...]
    k_distances: np.ndarray
    knee: int | None
    skipped: tuple[Skipped, ...]

    @property
    def extractor(self) -> str:
        """Name of the extractor."""
        return self.projection.extractor

    @property
    def precision(self) -> str:
        """What the features were computed in (see `FE.Extractor.precision`)."""
        return Extractor(self.extractor, self.extractor_identity, None).precision

    @property
    def n_rccs(self) -> int:
        """Number of RCCs; noise is none."""
        return int(self.labels.max(initial=NOISE)) + 1

    @property
    def groups(self) -> list[int]:
        """RCCs in the order in which they are shown, the largest first; `NOISE` last, where there is any.

        An RCC without images, which an engineer has merged or emptied, is left out.
        """
        sizes = self.sizes
        largest_first = np.argsort(-sizes, kind="stable").tolist()
        return [*(rcc for rcc in largest_first if sizes[rcc]), *([NOISE] if NOISE in self.labels else [])]

    @property
    def sizes(self) -> np.ndarray:
        """Images in each RCC, shape (n_rccs,), int."""
        return np.bincount(self.labels[self.labels != NOISE], minlength=self.n_rccs)

    @property
    def noise_share(self) -> float:
        """Images in no cluster / all images."""
        return float(np.mean(self.labels == NOISE))

    def members(self, rcc: int) -> list[str]:
        """Paths of the images of an RCC (of `NOISE`: of those in no cluster), sorted."""
        return [self.paths[i] for i in np.flatnonzero(self.labels == rcc)]


# --- The method -------------------------------------------------------------------------------------------------


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
        tuning = tune(_umap(points, progress), points, averaged, tuning.labels, progress)
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


def fit_projection(features: np.ndarray, extractor: str) -> Projection:
    """Fit PCA to min(256, n, d) components, then scale its directions by what neighbours differ in.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
    extractor : str
        Whose features these are.

    Raises
    ------
    SAFEError
        Features are NaN or infinite.
    """
    if not np.isfinite(features).all():
        raise SAFEError("Features must be finite. Received NaN or infinity; are the network's weights damaged?")
    dimension = features.shape[1]
    scaled = _Centred(features, extractor, np.zeros(dimension))
    mean = sum(block.sum(axis=0) for _, block in scaled.blocks()) / len(features)
    if len(features) < 2:  # nothing varies
        return Projection(extractor, mean.astype(np.float32), np.zeros((1, dimension), np.float32))
    centred = _Centred(features, extractor, mean)
    components = _principal_components(centred, min(N_COMPONENTS, *features.shape))
    points = np.concatenate([block @ components.T for _, block in centred.blocks()])
    components = relevant_directions(points) @ components
    return Projection(extractor, mean.astype(np.float32), components.astype(np.float32))


class _Centred:
    """Features, scaled and centred, as blocks of rows in float64: all at once they would be three times the features.

    Attributes
    ----------
    shape : tuple of int
        Of all blocks together.
    """

    def __init__(self, features: np.ndarray, extractor: str, mean: np.ndarray) -> None:
        self.shape = features.shape
        self._features, self._extractor, self._mean = features, extractor, mean.astype(np.float64)

    def blocks(self, before: int | None = None) -> Iterator[tuple[slice, np.ndarray]]:
        """Which rows, and the block; only those up to the row `before`, where one begins, if it is given."""
        stop = len(self._features) if before is None else before
        for start in range(0, stop, BLOCK_ROWS):
            rows = slice(start, min(start + BLOCK_ROWS, stop))
            yield rows, comparable(self._features[rows], self._extractor) - self._mean


def _principal_components(centred: _Centred, n_components: int) -> np.ndarray:
    """PCA by the eigenvectors of the smaller of X Xᵀ and Xᵀ X.

    Scikit-learn's exact solvers factor X itself, or always Xᵀ X: they take several times as long for a thousand images
    with four thousand features, and X whole.

    Returns
    -------
    ndarray of shape (n_components, dimension), float64
        The largest first; orthonormal, but 0 where fewer directions vary.
    """
    # Imported here and not above: with it the page would start later.
    from scipy.linalg import eigh
    from scipy.linalg.blas import dsyrk

    n, dimension = centred.shape
    size = min(n, dimension)
    products = np.zeros((size, size), order="F")  # eigh then works in place; it reads the lower triangle
    # One thread: the sums inside differ in their last digits with the number of threads, and so might the labels.
    with threadpool_limits(limits=1):
        for rows, block in centred.blocks():
            if n >= dimension:
                products = dsyrk(1, block.T, beta=1, c=products, lower=True, overwrite_c=True)
                continue
            products[rows, rows] = block @ block.T
            for columns, other in centred.blocks(before=rows.start):
                products[rows, columns] = block @ other.T
        wanted = (size - n_components, size - 1)
        variances, vectors = eigh(products, subset_by_index=wanted, overwrite_a=True, check_finite=False)
        del products
        variances, components = variances[::-1], vectors.T[::-1]
        if n < dimension:
            turned, components = components, np.zeros((n_components, dimension))
            for rows, block in centred.blocks():
                components += turned[:, rows] @ block
        lengths = np.linalg.norm(components, axis=1)
        # Beside the largest, eigenvalues as small as this are rounding, and so would be their directions.
        varies = (variances > variances[0] * 1e-12) & (lengths > 0)
        components /= np.where(varies, lengths, np.inf)[:, None]
    return components


def load_umap() -> type:
    """The class UMAP, without the variant for TensorFlow that its package imports as well: seconds, and 300 MB.

    Raises
    ------
    ImportError
        umap-learn is not installed.
    """
    variant = "umap.parametric_umap"
    left_out = variant not in sys.modules
    if left_out:
        sys.modules[variant] = None  # what Python takes for a module that cannot be imported
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ImportWarning)  # of umap, that it is missing
            from umap import UMAP
    finally:
        if left_out:
            sys.modules.pop(variant, None)
    return UMAP


def _umap(points: np.ndarray, progress: Progress) -> np.ndarray:
    """UMAP to 10 dimensions, the same for the same points; so few images that it cannot be fitted stay as they are."""
    if len(points) <= UMAP_NEIGHBOURS:
        return points
    try:
        UMAP = load_umap()
    except ImportError as error:
        raise SAFEError("The reducer umap expects the package umap-learn. Run: pip install umap-learn") from error
    progress("Fitting UMAP", 0, 0)
    umap = UMAP(UMAP_NEIGHBOURS, UMAP_COMPONENTS, min_dist=0.0, random_state=0, n_jobs=1)
    return umap.fit_transform(points).astype(np.float32)


def rcc_reach(points: np.ndarray, labels: np.ndarray, is_core: np.ndarray) -> np.ndarray:
    """How far each RCC reaches among its points: the largest distance from an image of it to the next core point.

    It takes the place of eps where images that were not clustered are compared with RCCs: eps is a distance after
    neighbour averaging or UMAP, neither of which says where a new image would lie.

    Returns
    -------
    ndarray of shape (n_rccs,), float32
    """
    reach = np.zeros(int(labels.max(initial=NOISE)) + 1, np.float32)
    for rcc in range(len(reach)):
        members = np.flatnonzero(labels == rcc)
        to_cores = Points(points[members]).per_block(np.arange(len(members)), partial(_nearest, is_core[members]))
        nearest = np.concatenate([np.zeros(0), *to_cores])
        reach[rcc] = nearest[np.isfinite(nearest)].max(initial=0)
    return reach


def _nearest(among: np.ndarray, rows: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Distance of each of some points to the nearest other one among those marked; infinite where there is none."""
    distances[np.arange(len(rows)), rows] = np.inf
    return distances[:, among].min(axis=1, initial=np.inf)


# --- The files --------------------------------------------------------------------------------------------------


def save_clusters(clusters: RootCauseClusters, folder: Path) -> None:
    """Write the files of `cluster_files` (SAFEError where they cannot be written, or one is somebody else's)."""
    save_files(folder, cluster_files(clusters))


def cluster_files(clusters: RootCauseClusters, more: Mapping[str, object] | None = None) -> dict[str, Writer]:
    """`labels.txt` and `run.json` for people, `clusters.npz` for the later steps, for `output_folder.save_files`.

    Parameters
    ----------
    more : mapping, optional
        What else `run.json` says of the run.
    """
    record = {**_run_record(clusters), **(more or {})}
    exact = {
        "format_version": np.array(FORMAT_VERSION),
        "labels": clusters.labels.astype(np.int64),
        "is_core": clusters.is_core,
        "points": clusters.points,
        "reach": clusters.reach,
        "projection_mean": clusters.projection.mean,
        "projection_components": clusters.projection.components,
        "k_distances": clusters.k_distances,
        "paths": _as_bytes("\n".join(clusters.paths)),
        "settings": np.array(clusters.settings, dtype=np.float64).reshape(-1, len(Setting._fields)),
        "record": _as_bytes(
            json.dumps(
                {
                    "image_root": os.fspath(clusters.image_root),
                    "reducer": clusters.reducer,
                    "eps": clusters.eps,
                    "min_samples": clusters.min_samples,
                    "extractor": clusters.extractor,
                    "extractor_identity": clusters.extractor_identity,
                    "notice": clusters.notice,
                    "weights": clusters.weights,
                    "knee": clusters.knee,
                    "skipped": clusters.skipped,
                }
            )
        ),
    }
    return {
        LABELS_FILE: labels_text(clusters),
        RUN_FILE: json.dumps(record, indent=2) + "\n",
        CLUSTERS_FILE: lambda path: np.savez(path, **exact),
    }


def labels_text(clusters: RootCauseClusters) -> str:
    """What `labels.txt` holds: a line per image, the cluster's id, a tab, and the path."""
    return "".join(f"{label}\t{path}\n" for label, path in zip(clusters.labels, clusters.paths, strict=True))


def load_clusters(folder: Path) -> RootCauseClusters:
    """Read `clusters.npz`, as `save_clusters` wrote it.

    Raises
    ------
    SAFEError
        There is none, or it is damaged or of another version.
    """
    path = folder / CLUSTERS_FILE
    if not path.is_file():
        raise SAFEError(f"Expected root cause clusters. Received none in {folder}. Generate them first.")
    again = "Generate the clusters again."
    try:
        arrays = read_arrays(path)
        version = int(arrays["format_version"].item())
        if version != FORMAT_VERSION:
            raise SAFEError(f"{path} must have format version {FORMAT_VERSION}. Received: {version}. {again}")
        record = json.loads(_as_text(arrays["record"]))
        paths = _as_text(arrays["paths"])
        clusters = RootCauseClusters(
            image_root=Path(record["image_root"]),
            paths=tuple(paths.split("\n")) if paths else (),
            labels=arrays["labels"],
            is_core=arrays["is_core"],
            points=arrays["points"],
            reach=arrays["reach"],
            reducer=record["reducer"],
            eps=float(record["eps"]),
            min_samples=int(record["min_samples"]),
            projection=Projection(record["extractor"], arrays["projection_mean"], arrays["projection_components"]),
            extractor_identity=record["extractor_identity"],
            notice=record["notice"],
            weights=record["weights"],
            settings=tuple(_setting(row) for row in arrays["settings"]),
            k_distances=arrays["k_distances"],
            knee=record["knee"],
            skipped=tuple(Skipped(*skip) for skip in record["skipped"]),
        )
        fault = _fault_of(clusters)
    except DAMAGED as error:
        if isinstance(error, SAFEError):
            raise
        raise SAFEError(f"{path} must be a file that SAFE wrote, and whole. {again}") from error
    if fault:
        raise SAFEError(f"{path} is damaged: {fault}. {again}")
    return clusters


def _fault_of(clusters: RootCauseClusters) -> str:
    """What is wrong with clusters that were read from a file; empty where nothing is."""
    n, labels, points, projection = len(clusters.paths), clusters.labels, clusters.points, clusters.projection
    if not (labels.shape == clusters.is_core.shape == points.shape[:1] == (n,)) or points.ndim != 2:
        return "its arrays differ in length"
    if labels.dtype.kind != "i" or (n and not -1 <= labels.min() <= labels.max() < n):
        return "its labels are none"
    if clusters.is_core.dtype != bool:
        return "its core points are none"
    if clusters.reach.shape != (clusters.n_rccs,) or clusters.k_distances.ndim != 1:
        return "its arrays differ in length"
    if projection.components.shape[1:] != projection.mean.shape or len(projection.components) != points.shape[1]:
        return "its projection does not fit"
    if projection.extractor not in DIMENSIONS or clusters.reducer not in REDUCERS:
        return "its features are of another kind"
    exact = (points, clusters.reach, clusters.k_distances, projection.mean, projection.components)
    if not all(array.dtype.kind == "f" and np.isfinite(array).all() for array in exact):
        return "its numbers are none"
    if not np.isfinite(clusters.eps) or not (clusters.knee is None or isinstance(clusters.knee, int)):
        return "its numbers are none"
    told = (
        clusters.extractor_identity,
        clusters.notice,
        clusters.weights,
        *(part for s in clusters.skipped for part in s),
    )
    if not all(isinstance(text, str) for text in told):
        return "its texts are none"
    if len(set(clusters.paths)) < n or any(not path or "\0" in path for path in clusters.paths):
        return "its paths are none"
    return ""


def _setting(row: np.ndarray) -> Setting:
    if row.dtype.kind != "f":
        raise ValueError("settings that are none")
    eps, min_samples, at_knee, n_rccs, *rest = map(float, row)
    return Setting(eps, int(min_samples), bool(at_knee), int(n_rccs), *rest)


def _as_bytes(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-8", "surrogateescape"), dtype=np.uint8)


def _as_text(array: np.ndarray) -> str:
    return array.tobytes().decode("utf-8", "surrogateescape")


def _run_record(clusters: RootCauseClusters) -> dict:
    """What `run.json` says: how the clusters came about, in a form that people and programs read."""
    n = len(clusters.paths)
    return {
        "image_root": os.fspath(clusters.image_root),
        "extractor": {
            "name": clusters.extractor,
            "identity": clusters.extractor_identity,
            "notice": clusters.notice,
        },
        "counts": {
            "images": n,
            "rccs": clusters.n_rccs,
            "noise": int((clusters.labels == NOISE).sum()),
            "skipped": len(clusters.skipped),
        },
        "rcc_sizes": clusters.sizes.tolist(),
        "inspect_percent": round(100 * float(np.minimum(clusters.sizes, INSPECTED_PER_RCC).sum()) / n, 2) if n else 0.0,
        "components": len(clusters.projection.components),
        "reducer": clusters.reducer,
        "eps": clusters.eps,
        "min_samples": clusters.min_samples,
        "settings_tried": [setting._asdict() for setting in clusters.settings],
        "k_distance_knee": clusters.knee,
        "skipped": [skip._asdict() for skip in clusters.skipped],
        "versions": {
            "python": platform.python_version(),
            **{name: _version(name) for name in _RECORDED_PACKAGES},
        },
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
