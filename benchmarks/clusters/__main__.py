"""Do the clusters match root causes? SAFE and its rivals on images with known root causes.

    python -m benchmarks.clusters --images DIR --scenarios CSV
    python -m benchmarks.clusters --generate DIR --mixes 20
    python -m benchmarks.clusters --images LIST.txt --parameters CSV

Features are extracted once and cached; all methods use the same ones. Definitions: noise and inspect % are shares of
all images; purity is the mean over RCCs of the share of their largest scenario; coverage is the share of scenarios that
make up 90 % or more of some RCC; ARI counts noise as one label; silhouette is over the clustered images, in PCA space.

With `--subsets N`, SAFE (PCA) also clusters N random subsets of 90 % of the images. Their ARI with the scenarios
depends less on chance than that of all images; their ARI with the clusters of all images says how steady these are.
"""

import argparse
import csv
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kneed import KneeLocator
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances, silhouette_score

from benchmarks.clusters.scenarios import SCENARIOS_FILE, make_mix
from casestudies.build import print_progress
from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from FE import ImageFeatures, extract_features
from features.extractor import EXTRACTORS, PRECISIONS, Extractor
from features.weights import choose_extractor
from rccs.clusters import RootCauseClusters
from rccs.parameters import Parameters, read_parameters
from rccs.profiles import profile_clusters
from support.errors import SAFEError

SAFE_METHODS = ("SAFE (PCA)", "SAFE (PCA + UMAP)")
SUBSET_SHARE = 0.9


class Quality(NamedTuple):
    """One row of the table."""

    rccs: float  # a median may be halfway between two numbers
    noise: float
    purity: float
    coverage: float
    ari: float
    inspect_percent: float
    largest: float
    silhouette: float
    seconds: float


def measure_quality(labels: np.ndarray, scenarios: np.ndarray, points: np.ndarray, seconds: float) -> Quality:
    """Quality of a clustering with respect to known scenarios.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int
        Clusters, or `NOISE`.
    scenarios : ndarray of shape (n_images,), str
    points : ndarray of shape (n_images, n_components)
        For the silhouette.
    seconds : float
        Time of the clustering, for the table.
    """
    rccs = [labels == rcc for rcc in np.unique(labels[labels != NOISE])]
    sizes = np.array([members.sum() for members in rccs], dtype=int)
    purities, covered = [], set()
    for members in rccs:
        names, counts = np.unique(scenarios[members], return_counts=True)
        purities.append(counts.max() / members.sum())
        if purities[-1] >= 0.9:
            covered.add(names[counts.argmax()])
    clustered = labels != NOISE
    several = len(rccs) > 1 and clustered.sum() > len(rccs)
    return Quality(
        rccs=len(rccs),
        noise=float(1 - clustered.mean()),
        purity=float(np.mean(purities)) if purities else 0.0,
        coverage=len(covered) / len(np.unique(scenarios)),
        ari=float(adjusted_rand_score(scenarios, labels)),
        inspect_percent=100 * float(np.minimum(5, sizes).sum()) / len(labels),
        largest=float(sizes.max(initial=0) / len(labels)),
        silhouette=float(silhouette_score(points[clustered], labels[clustered])) if several else float("nan"),
        seconds=seconds,
    )


# --- The rivals: points of shape (n_images, n_components) to labels ---------------------------------------------


def textbook_dbscan(points: np.ndarray) -> np.ndarray:
    """The usual reading of the method: eps at the knee of the whole k-distance curve, min_samples by silhouette."""
    distances = pairwise_distances(points)
    ordered = np.sort(distances, axis=1)
    best, best_score = np.zeros(len(points), int), -2.0
    for min_samples in (3, 5, 10, 20):
        curve = np.sort(ordered[:, min_samples - 1])
        knee = KneeLocator(range(len(curve)), curve, curve="convex", direction="increasing").knee
        if knee is None or curve[knee] <= 0:
            continue
        labels = DBSCAN(eps=curve[knee], min_samples=min_samples, metric="precomputed").fit_predict(distances)
        if 2 <= len(np.unique(labels)) < len(labels):
            score = silhouette_score(distances, labels, metric="precomputed")
            if score > best_score:
                best, best_score = labels, score
    return best


def _k_by_silhouette(points: np.ndarray, cluster: Callable[[int], np.ndarray]) -> np.ndarray:
    distances = pairwise_distances(points)
    tried = [cluster(k) for k in (*range(2, 21), 25, 30, 40, 50) if k < len(points)]
    return max(tried, key=lambda labels: silhouette_score(distances, labels, metric="precomputed"))


def kmeans(points: np.ndarray) -> np.ndarray:
    """K-means, k from 2 to 50 by silhouette."""
    return _k_by_silhouette(points, lambda k: KMeans(k, n_init=3, random_state=0).fit_predict(points))


def ward(points: np.ndarray) -> np.ndarray:
    """Agglomerative clustering with Ward's linkage, k from 2 to 50 by silhouette."""
    return _k_by_silhouette(points, lambda k: AgglomerativeClustering(k).fit_predict(points))


def hdbscan(points: np.ndarray) -> np.ndarray:
    """HDBSCAN with its usual minimum of five images per cluster."""
    return HDBSCAN(min_cluster_size=5, copy=True).fit_predict(points)


def umap_hdbscan(points: np.ndarray) -> np.ndarray:
    """UMAP to 10 dimensions, then HDBSCAN."""
    from umap import UMAP

    return hdbscan(UMAP(n_components=10, min_dist=0.0, random_state=0, n_jobs=1).fit_transform(points))


RIVALS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "knee + silhouette": textbook_dbscan,
    "K-means": kmeans,
    "Ward": ward,
    "HDBSCAN": hdbscan,
    "UMAP + HDBSCAN": umap_hdbscan,
}


def oracle(points: np.ndarray, scenarios: np.ndarray) -> np.ndarray:
    """The labels with the best ARI over many settings of DBSCAN: an upper bound for tuning without known scenarios."""
    distances = pairwise_distances(points)
    ordered = np.sort(distances, axis=1)
    tried = [
        DBSCAN(eps=max(eps, 1e-6), min_samples=min_samples, metric="precomputed").fit_predict(distances)
        for min_samples in (3, 5, 10, 20)
        for eps in np.quantile(ordered[:, min(min_samples, len(points)) - 1], np.linspace(0.02, 0.99, 40))
    ]
    return max(tried, key=lambda labels: adjusted_rand_score(scenarios, labels))


def run_methods(images: ImageFeatures, scenarios: np.ndarray, methods: list[str]) -> dict[str, Quality]:
    """The quality of each method on the same features; SAFE (PCA) must be among them, and is run first."""
    rows = {}
    points = np.empty(0)
    for method in methods:
        began = time.perf_counter()
        if method in SAFE_METHODS:
            reducer = "pca" if method == SAFE_METHODS[0] else "umap"
            clusters = find_root_cause_clusters(images, reducer=reducer)
            labels, points = clusters.labels, clusters.points
        elif method == "oracle":
            labels = oracle(points, scenarios)
        else:
            labels = RIVALS[method](points)
        rows[method] = measure_quality(labels, scenarios, points, time.perf_counter() - began)
    return rows


# --- Subsets ----------------------------------------------------------------------------------------------------


class Steadiness(NamedTuple):
    """ARI of the clusters of subsets: with the scenarios, and with the clusters of all images."""

    scenarios: tuple[float, ...]
    again: tuple[float, ...]


def measure_steadiness(images: ImageFeatures, scenarios: np.ndarray, n_subsets: int, *, seed: int = 0) -> Steadiness:
    """Cluster random subsets of 90 % of the images with SAFE (PCA).

    Parameters
    ----------
    scenarios : ndarray of shape (n_images,), str
    """
    rng = np.random.default_rng(seed)
    n = len(images.paths)
    whole = find_root_cause_clusters(images).labels
    found = []
    for _ in range(n_subsets):
        kept = np.sort(rng.choice(n, round(SUBSET_SHARE * n), replace=False))
        paths = tuple(images.paths[i] for i in kept)
        part = replace(images, paths=paths, features=images.features[kept])
        labels = find_root_cause_clusters(part).labels
        found.append((adjusted_rand_score(scenarios[kept], labels), adjusted_rand_score(whole[kept], labels)))
    truth, again = zip(*found, strict=True)
    return Steadiness(truth, again)


def _print_steadiness(steadiness: Steadiness) -> None:
    truth, again = (np.array(values) for values in steadiness)
    print(
        f"{len(truth)} subsets of {SUBSET_SHARE:.0%}: ARI {truth.mean():.3f} (standard deviation {truth.std():.3f}); "
        f"with the RCCs of all images, median {np.median(again):.3f}, least {again.min():.3f}",
        flush=True,
    )


# --- Parameters: root causes given by values instead of names ---------------------------------------------------


def parameter_report(clusters: RootCauseClusters, parameters: Parameters) -> str:
    """A sentence on the variance of the best number or angle in the RCCs of five or more images."""
    reductions = np.array(
        [
            max(finding.reduction for finding in profile.findings if finding.kind != "category")
            for profile in profile_clusters(clusters, parameters.columns)
            if clusters.sizes[profile.rcc] >= 5
        ]
    )
    if not len(reductions):
        return "no RCC of five or more images"
    return (
        f"{len(reductions)} RCCs of five or more images; best parameter's variance reduced by 50 % or more in "
        f"{np.mean(reductions >= 0.5):.0%}, by 90 % or more in {np.mean(reductions >= 0.9):.0%}"
    )


# --- The program ------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    options = _parser().parse_args(arguments)
    methods = [SAFE_METHODS[0]] if options.only_safe else [SAFE_METHODS[0], *RIVALS, "oracle"]
    if options.umap:
        methods.insert(1, SAFE_METHODS[1])
    try:
        extractor = choose_extractor(options.extractor, weights=options.weights, precision=options.precision)
        print(f"features: {extractor.identity}")
        if options.generate:
            _generated(options, extractor, methods)
        else:
            images = extract_features(options.images, extractor, progress=print_progress)
            if options.scenarios:
                names = _column(options.scenarios, "scenario")
                scenarios = np.array([names[path] for path in images.paths])
                _print_table(options.images, run_methods(images, scenarios, methods))
                if options.subsets:
                    _print_steadiness(measure_steadiness(images, scenarios, options.subsets))
            else:
                _parameters(options, images, methods)
    except SAFEError as error:
        print(f"clusters: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.clusters", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", metavar="DIR", help="images with known scenarios or parameters")
    source.add_argument("--generate", metavar="DIR", help="inject scenarios into the images of this folder")
    parser.add_argument("--scenarios", metavar="CSV", help="table with the columns image and scenario")
    parser.add_argument("--parameters", metavar="CSV", help="table with the parameters of the images, a column each")
    parser.add_argument("--mixes", type=int, default=20, metavar="N", help="number of generated sets (default: 20)")
    parser.add_argument("--size", type=int, default=600, metavar="N", help="images in a generated set (default: 600)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the first generated set (default: 0)")
    parser.add_argument("--extractor", default="vgg16-conv", choices=EXTRACTORS, help="default: vgg16-conv")
    parser.add_argument("--weights", metavar="FILE", help="VGG16's weights, e.g. those of benchmarks.clusters.stand_in")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    parser.add_argument("--subsets", type=int, default=0, metavar="N", help="also cluster N subsets (default: none)")
    parser.add_argument("--umap", action="store_true", help="also run SAFE with PCA + UMAP")
    parser.add_argument("--only-safe", action="store_true", help="leave out the rivals and the oracle")
    return parser


def _generated(options: argparse.Namespace, extractor: Extractor, methods: list[str]) -> None:
    per_mix = []
    for mix in range(options.mixes):
        with tempfile.TemporaryDirectory() as folder:
            rows = make_mix(options.generate, folder, n_images=options.size, seed=options.seed + mix)
            images = extract_features(Path(folder, "images"), extractor, progress=print_progress)
            names = dict(rows)
            scenarios = np.array([names[path] for path in images.paths])
            per_mix.append(run_methods(images, scenarios, methods))
        _print_table(f"mix {mix}: {len(set(names.values()))} scenarios in {SCENARIOS_FILE}", per_mix[-1])
        if options.subsets:
            _print_steadiness(measure_steadiness(images, scenarios, options.subsets))
    choices: tuple[tuple[str, Callable[[Iterable[float]], float]], ...] = (
        ("median", statistics.median),
        ("worst ARI, fewest RCCs", min),
    )
    for what, choose in choices:
        summary = {}
        for method in methods:
            columns = zip(*(row[method] for row in per_mix), strict=True)
            rccs, *others = (choose(column) for column in columns)
            summary[method] = Quality(rccs, *others)
        _print_table(f"{what} of {options.mixes} mixes", summary)


def _parameters(options: argparse.Namespace, images: ImageFeatures, methods: list[str]) -> None:
    parameters = read_parameters(options.parameters, images.root, images.paths)
    for note in parameters.notes:
        print(note)
    for method in [method for method in methods if method in SAFE_METHODS]:
        clusters = find_root_cause_clusters(images, reducer="pca" if method == SAFE_METHODS[0] else "umap")
        inspect = 100 * np.minimum(clusters.sizes, 5).sum() / len(images.paths)
        print(
            f"{method}: {clusters.n_rccs} RCCs, noise {clusters.noise_share:.2f}, inspect {inspect:.1f} %, "
            f"largest {clusters.sizes.max(initial=0) / len(images.paths):.0%}; "
            + parameter_report(clusters, parameters)
        )


def _column(path: str, name: str) -> dict[str, str]:
    with Path(path).open(newline="") as file:
        return {row["image"]: row[name] for row in csv.DictReader(file)}


def _print_table(title: str, rows: dict[str, Quality]) -> None:
    print(f"\n{title}")
    print(f"{'':20s} {'K':>4s} {'noise':>6s} {'purity':>7s} {'cover':>6s} {'ARI':>6s} {'insp%':>6s} {'large':>6s} "
          f"{'silh':>6s} {'s':>6s}")  # fmt: skip
    for method, q in rows.items():
        print(
            f"{method:20s} {q.rccs:4.0f} {q.noise:6.2f} {q.purity:7.3f} {q.coverage:6.2f} {q.ari:6.3f} "
            f"{q.inspect_percent:6.1f} {q.largest:6.2f} {q.silhouette:6.2f} {q.seconds:6.1f}",
            flush=True,
        )


if __name__ == "__main__":
    sys.exit(main())
