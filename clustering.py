"""Step 1 of SAFE, second half: clustering. Features in, root cause clusters (RCCs) out.

PCA to 256 components, then DBSCAN. `tune` configures DBSCAN by itself: `eps` from the elbow of the k-distance curve,
`min_samples` and the final setting with the silhouette. Writes `labels.txt`, `clusters.npz` and `run.json`.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.2 (PCA and DBSCAN); Rahmah & Sitanggang, IOP Conf. Ser.:
Earth Environ. Sci. 31, 2016 (eps at the elbow of the k-distance curve); Rousseeuw, J. Comput. Appl. Math. 20, 1987
(the silhouette); Satopää et al., ICDCS workshops 2011 (the knee).
"""

import json
import os
import platform
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kneed import KneeLocator
from sklearn.cluster import DBSCAN
from sklearn.decomposition import PCA
from sklearn.metrics import pairwise_distances, silhouette_samples
from threadpoolctl import threadpool_limits

from artefacts import replacing, write_text
from errors import SAFEError
from FE import ImageFeatures, Progress, no_progress
from images import Skipped

LABELS_FILE = "labels.txt"
CLUSTERS_FILE = "clusters.npz"
RUN_FILE = "run.json"
FORMAT_VERSION = 1

NOISE = -1
N_COMPONENTS = 256
_RECORDED_PACKAGES = ("numpy", "scikit-learn", "kneed", "pillow", "tensorflow", "keras")
MIN_SAMPLES_TRIED = (3, 5, 8)
EPS_TRIED = 24


# --- The records ------------------------------------------------------------------------------------------------


class Projection(NamedTuple):
    """Features to the space that is clustered: square root, unit length, then PCA.

    The square root tames the long tail of VGG16's activations; unit length takes away how strong an image's
    activations are as a whole and keeps which ones they are.

    Attributes
    ----------
    mean : ndarray of shape (dimension,), float32
    components : ndarray of shape (n_components, dimension), float32
    """

    mean: np.ndarray
    components: np.ndarray

    def apply(self, features: np.ndarray) -> np.ndarray:
        """Project features of shape (n, dimension) to points of shape (n, n_components), float32."""
        return (_normalise(features) - self.mean) @ self.components.T


class Setting(NamedTuple):
    """A setting of DBSCAN that was tried, and what came of it."""

    eps: float
    min_samples: int
    n_rccs: int
    noise: float
    """Share of images in no cluster."""
    largest: float
    """Share of images in the largest RCC."""
    silhouette: float
    """Mean over RCCs of their images' mean silhouette; 0 with fewer than two RCCs."""
    score: float


class Tuning(NamedTuple):
    """The outcome of `tune`.

    Attributes
    ----------
    labels : ndarray of shape (n_points,), int
        RCC of each point, `NOISE` for none. RCCs are numbered by size, the largest 0.
    is_core : ndarray of shape (n_points,), bool
    settings : tuple of Setting
        Everything tried; empty where there were too few points to try anything.
    chosen : Setting or None
    k_distances : ndarray of shape (n_points,), float32
        Sorted distances to the k-th nearest point, k being the chosen `min_samples`, the point itself included.
    knee : int or None
        Index of the curve's knee.
    """

    labels: np.ndarray
    is_core: np.ndarray
    settings: tuple[Setting, ...]
    chosen: Setting | None
    k_distances: np.ndarray
    knee: int | None


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
        The images in the space that was clustered.
    eps : float
    min_samples : int
    projection : Projection
    extractor, extractor_identity, notice : str
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
    eps: float
    min_samples: int
    projection: Projection
    extractor: str
    extractor_identity: str
    notice: str
    weights: str
    settings: tuple[Setting, ...]
    k_distances: np.ndarray
    knee: int | None
    skipped: tuple[Skipped, ...]

    @property
    def n_rccs(self) -> int:
        """Number of RCCs; noise is none."""
        return int(self.labels.max(initial=NOISE)) + 1

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
    images: ImageFeatures, weights: str | os.PathLike | None = None, progress: Progress = no_progress
) -> RootCauseClusters:
    """Cluster the images of a run (the second half of step 1).

    Parameters
    ----------
    weights : path, optional
        The weights file as the engineer named it, kept so that the selection finds it again.
    """
    projection = fit_projection(images.features)
    points = projection.apply(images.features)
    tuning = tune(points, progress)
    chosen = tuning.chosen
    return RootCauseClusters(
        image_root=images.root,
        paths=images.paths,
        labels=tuning.labels,
        is_core=tuning.is_core,
        points=points,
        eps=chosen.eps if chosen else 0.0,
        min_samples=chosen.min_samples if chosen else MIN_SAMPLES_TRIED[0],
        projection=projection,
        extractor=images.extractor.name,
        extractor_identity=images.extractor.identity,
        notice=images.extractor.notice,
        weights=os.fspath(weights) if weights else "",
        settings=tuning.settings,
        k_distances=tuning.k_distances,
        knee=tuning.knee,
        skipped=images.skipped,
    )


def _normalise(features: np.ndarray) -> np.ndarray:
    rooted = np.sqrt(np.maximum(features, 0, dtype=np.float32))  # activations after ReLU: nothing is below 0
    return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def fit_projection(features: np.ndarray) -> Projection:
    """Fit PCA to min(256, n, d) components.

    Parameters
    ----------
    features : ndarray of shape (n_images, dimension), float32
    """
    normalised = _normalise(features)
    n_components = min(N_COMPONENTS, *normalised.shape)
    # One thread: the sums inside differ in their last digits with the number of threads, and so would the labels.
    with threadpool_limits(limits=1):
        pca = PCA(n_components, svd_solver="full").fit(normalised)
    return Projection(pca.mean_.astype(np.float32), pca.components_.astype(np.float32))


def tune(points: np.ndarray, progress: Progress = no_progress) -> Tuning:
    """Configure DBSCAN and run it.

    The textbook way (eps at the knee, the setting with the best silhouette) fails on failing images: the knee lies
    among the last outliers, so that nearly all images form one cluster, and a few crumbs far away from it make the
    silhouette excellent. Hence the knee is only the upper end of a sweep of eps, and the silhouette is weighed with
    G = covered share - sum of squared cluster shares, which is small both for one giant cluster and for mostly noise:
    score = G · √(mean silhouette of the RCCs).

    Parameters
    ----------
    points : ndarray of shape (n_points, n_components), float32
    """
    n = len(points)
    smallest = min(MIN_SAMPLES_TRIED)
    if n < smallest:
        return Tuning(np.full(n, NOISE), np.zeros(n, bool), (), None, np.zeros(n, np.float32), None)
    distances = pairwise_distances(points).astype(np.float32)
    ordered = np.sort(distances, axis=1)
    best: Tuning | None = None
    settings: list[Setting] = []
    tries = [
        (eps, k, k_distances, knee)
        for k in MIN_SAMPLES_TRIED
        if k <= n
        for k_distances in [np.sort(ordered[:, k - 1])]
        for knee in [_knee(k_distances)]
        for eps in _eps_to_try(k_distances, knee)
    ]
    for i, (eps, k, k_distances, knee) in enumerate(tries):
        progress("Tuning DBSCAN", i, len(tries))
        dbscan = DBSCAN(eps=eps, min_samples=k, metric="precomputed").fit(distances)
        setting = _judge(eps, k, dbscan.labels_, distances)
        settings.append(setting)
        if best is None or setting.score > best.chosen.score:
            is_core = np.zeros(n, bool)
            is_core[dbscan.core_sample_indices_] = True
            best = Tuning(dbscan.labels_, is_core, (), setting, k_distances, knee)
    progress("Tuning DBSCAN", len(tries), len(tries))
    return best._replace(labels=_largest_first(best.labels), settings=tuple(settings))


def _knee(k_distances: np.ndarray) -> int | None:
    """Index of the knee of a sorted k-distance curve; None where it has none (straight, constant, very short)."""
    if len(k_distances) < 4 or k_distances[0] == k_distances[-1]:
        return None
    knee = KneeLocator(range(len(k_distances)), k_distances, curve="convex", direction="increasing").knee
    return None if knee is None else int(knee)


def _eps_to_try(k_distances: np.ndarray, knee: int | None) -> list[float]:
    """Radii between the curve's lower third and its knee, each halfway between two neighbouring k-distances.

    Halfway, since DBSCAN's eps is inclusive: a radius equal to a distance would hang on the last digit of that
    distance.
    """
    end = len(k_distances) - 1 if knee is None else knee
    steps = np.unique(np.linspace(0.3 * end, end, EPS_TRIED).astype(int))
    following = np.minimum(steps + 1, len(k_distances) - 1)
    halfway = (k_distances[steps].astype(float) + k_distances[following]) / 2
    # Identical images lie at distance 0, and DBSCAN wants a radius above it.
    return sorted(set(np.maximum(halfway, 1e-6).tolist()))


def _judge(eps: float, min_samples: int, labels: np.ndarray, distances: np.ndarray) -> Setting:
    shares = np.bincount(labels[labels != NOISE]) / len(labels) if (labels != NOISE).any() else np.zeros(0)
    silhouette = 0.0
    if len(shares) > 1:
        members = labels != NOISE
        values = silhouette_samples(distances[np.ix_(members, members)], labels[members], metric="precomputed")
        sums = np.bincount(labels[members], weights=values)
        silhouette = float(np.mean(sums / np.bincount(labels[members])))
    guard = shares.sum() - (shares**2).sum()
    score = float(guard * np.sqrt(max(silhouette, 0.0)))
    return Setting(
        eps, min_samples, len(shares), float(1 - shares.sum()), float(shares.max(initial=0)), silhouette, score
    )


def _largest_first(labels: np.ndarray) -> np.ndarray:
    """Number the clusters by size; of equal ones the first to appear comes first."""
    found, first, counts = np.unique(labels[labels != NOISE], return_index=True, return_counts=True)
    order = np.lexsort((first, -counts))
    renamed = np.full(labels.shape, NOISE)
    for new, old in enumerate(found[order]):
        renamed[labels == old] = new
    return renamed


# --- The files --------------------------------------------------------------------------------------------------


def save_clusters(clusters: RootCauseClusters, folder: Path) -> None:
    """Write `labels.txt` and `run.json` for people, `clusters.npz` for the later steps."""
    lines = (f"{label}\t{path}\n" for label, path in zip(clusters.labels, clusters.paths, strict=True))
    write_text(folder / LABELS_FILE, "".join(lines))
    write_text(folder / RUN_FILE, json.dumps(_run_record(clusters), indent=2) + "\n")
    exact = {
        "format_version": np.array(FORMAT_VERSION),
        "labels": clusters.labels.astype(np.int64),
        "is_core": clusters.is_core,
        "points": clusters.points,
        "projection_mean": clusters.projection.mean,
        "projection_components": clusters.projection.components,
        "k_distances": clusters.k_distances,
        "paths": _as_bytes("\n".join(clusters.paths)),
        "settings": np.array(clusters.settings, dtype=np.float64).reshape(-1, len(Setting._fields)),
        "record": _as_bytes(
            json.dumps(
                {
                    "image_root": os.fspath(clusters.image_root),
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
    with replacing(folder / CLUSTERS_FILE) as temporary:
        np.savez(temporary, **exact)


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
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        version = int(arrays["format_version"])
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
            eps=float(record["eps"]),
            min_samples=int(record["min_samples"]),
            projection=Projection(arrays["projection_mean"], arrays["projection_components"]),
            extractor=record["extractor"],
            extractor_identity=record["extractor_identity"],
            notice=record["notice"],
            weights=record["weights"],
            settings=tuple(_setting(row) for row in arrays["settings"]),
            k_distances=arrays["k_distances"],
            knee=record["knee"],
            skipped=tuple(Skipped(*skip) for skip in record["skipped"]),
        )
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        if isinstance(error, SAFEError):
            raise
        raise SAFEError(f"{path} is damaged ({error}). {again}") from error
    n = len(clusters.paths)
    if not (len(clusters.labels) == len(clusters.is_core) == len(clusters.points) == n):
        raise SAFEError(f"{path} is damaged: its arrays differ in length. {again}")
    return clusters


def _setting(row: Sequence[float]) -> Setting:
    eps, min_samples, n_rccs, *rest = map(float, row)
    return Setting(eps, int(min_samples), int(n_rccs), *rest)


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
        "inspect_percent": round(100 * float(np.minimum(clusters.sizes, 5).sum()) / n, 2) if n else 0.0,
        "components": len(clusters.projection.components),
        "eps": clusters.eps,
        "min_samples": clusters.min_samples,
        "settings_tried": [setting._asdict() for setting in clusters.settings],
        "k_distance_knee": clusters.knee,
        "skipped": [skip._asdict() for skip in clusters.skipped],
        "versions": {
            "python": platform.python_version(),
            **{name: metadata.version(name) for name in _RECORDED_PACKAGES},
        },
    }
