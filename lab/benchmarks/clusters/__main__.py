"""Do the clusters match root causes? SAFE and its rivals on images with known root causes.

    python -m lab.benchmarks.clusters --images DIR --scenarios CSV
    python -m lab.benchmarks.clusters --generate DIR --mixes 20

Features are extracted once and cached; all methods use the same ones. Definitions: noise and inspect % are shares of
all images; purity is the mean over RCCs of the share of their largest scenario; coverage is the share of scenarios that
make up 90 % or more of some RCC; ARI counts noise as one label; silhouette is over the clustered images, in PCA space.

With `--subsets N`, each method also clusters N random subsets of 90 % of the images: `again` and `least` are the median
and the least ARI of these clusters with those of all images, `truth` is the mean ARI with the scenarios, which depends
less on chance than that of one run. With `--write TITLE`, the table becomes a section of lab/results/clusters.md.
"""

import argparse
import csv
import math
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from kneed import KneeLocator
from sklearn.cluster import DBSCAN, HDBSCAN, AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score, pairwise_distances, silhouette_score

from lab.benchmarks.clusters.scenarios import SCENARIOS_FILE, make_mix
from lab.benchmarks.results import table, write_section
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures, extract_features
from safe_dnn.features.extractor import EXTRACTORS, PRECISIONS, Extractor
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError

SAFE_METHODS = ("SAFE (PCA)", "SAFE (PCA + UMAP)")
ORACLE = "oracle"
SUBSET_SHARE = 0.9


HEAD = """## Clusters

Each table was written by `python -m lab.benchmarks.clusters … --write TITLE`; see there for the definitions of the
columns. SAFE and its rivals cluster the same points, those of SAFE's PCA. `again` and `least` are the median and the
least ARI between the clusters of random 90 % of the images and those of all; `truth` is the mean ARI with the known
scenarios."""


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
    again: float = math.nan
    least: float = math.nan
    truth: float = math.nan


def measure_quality(labels: np.ndarray, scenarios: np.ndarray | None, points: np.ndarray, seconds: float) -> Quality:
    """Quality of a clustering with respect to known scenarios; without them, purity, coverage and ARI are NaN.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int
        Clusters, or `NOISE`.
    scenarios : ndarray of shape (n_images,), str, or None
    points : ndarray of shape (n_images, n_components)
        For the silhouette.
    seconds : float
        Time of the clustering, for the table.
    """
    rccs = [labels == rcc for rcc in np.unique(labels[labels != NOISE])]
    sizes = np.array([members.sum() for members in rccs], dtype=int)
    purities, covered = [], set()
    for members in rccs:
        if scenarios is None:
            break
        names, counts = np.unique(scenarios[members], return_counts=True)
        purities.append(counts.max() / members.sum())
        if purities[-1] >= 0.9:
            covered.add(names[counts.argmax()])
    clustered = labels != NOISE
    several = len(rccs) > 1 and clustered.sum() > len(rccs)
    return Quality(
        rccs=len(rccs),
        noise=float(1 - clustered.mean()),
        purity=math.nan if scenarios is None else float(np.mean(purities or [0])),
        coverage=math.nan if scenarios is None else len(covered) / len(np.unique(scenarios)),
        ari=math.nan if scenarios is None else float(adjusted_rand_score(scenarios, labels)),
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


def cluster_by(
    methods: list[str], images: ImageFeatures, scenarios: np.ndarray | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray, float]]:
    """The method, its labels, the points and the seconds, for each method; SAFE (PCA) must be the first."""
    points = np.empty(0)
    for method in methods:
        began = time.perf_counter()
        if method in SAFE_METHODS:
            reducer = "pca" if method == SAFE_METHODS[0] else "umap"
            clusters = find_root_cause_clusters(images, reducer=reducer)
            labels, points = clusters.labels, clusters.points
        elif method == ORACLE and scenarios is not None:
            labels = oracle(points, scenarios)
        elif method != ORACLE:
            labels = RIVALS[method](points)
        else:
            continue
        yield method, labels, points, time.perf_counter() - began


def run_methods(
    images: ImageFeatures, scenarios: np.ndarray | None, methods: list[str], *, n_subsets: int = 0, seed: int = 0
) -> dict[str, Quality]:
    """The quality of each method on the same features; SAFE (PCA) must be among them, as the first.

    Parameters
    ----------
    scenarios : ndarray of shape (n_images,), str, or None
        Without them, there is no oracle either.
    n_subsets : int
        Random subsets of 90 % of the images that are clustered as well.
    """
    rows, whole = {}, {}
    for method, labels, points, seconds in cluster_by(methods, images, scenarios):
        rows[method], whole[method] = measure_quality(labels, scenarios, points, seconds), labels
    rng, n = np.random.default_rng(seed), len(images.paths)
    again: dict[str, list[float]] = {method: [] for method in rows}
    truth: dict[str, list[float]] = {method: [] for method in rows}
    for _ in range(n_subsets):
        kept = np.sort(rng.choice(n, round(SUBSET_SHARE * n), replace=False))
        part = replace(images, paths=tuple(images.paths[i] for i in kept), features=images.features[kept])
        known = None if scenarios is None else scenarios[kept]
        for method, labels, _, _ in cluster_by(methods, part, known):
            again[method].append(adjusted_rand_score(whole[method][kept], labels))
            truth[method].append(math.nan if known is None else adjusted_rand_score(known, labels))
    if not n_subsets:
        return rows
    return {
        method: row._replace(
            again=float(np.median(again[method])), least=min(again[method]), truth=float(np.mean(truth[method]))
        )
        for method, row in rows.items()
    }


# --- The program ------------------------------------------------------------------------------------------------


@terminal_progress()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    options = _parser().parse_args(arguments)
    methods = [SAFE_METHODS[0]] if options.only_safe else [SAFE_METHODS[0], *RIVALS, ORACLE]
    if options.umap:
        methods.insert(1, SAFE_METHODS[1])
    try:
        extractor = choose_extractor(options.extractor, precision=options.precision)
        print(f"features: {extractor.identity}")
        if options.generate:
            rows = _generated(options, extractor, methods)
        else:
            images = extract_features(options.images, extractor)
            names = _column(options.scenarios, "scenario") if options.scenarios else None
            scenarios = np.array([names[path] for path in images.paths]) if names else None
            rows = run_methods(images, scenarios, methods, n_subsets=options.subsets)
            _print_table(options.images, rows)
        if options.write:
            _write(options, extractor, rows)
    except SAFEError as error:
        print(f"clusters: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.clusters", description=__doc__.split("\n")[0])
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--images", metavar="DIR", help="images with known scenarios or without")
    source.add_argument("--generate", metavar="DIR", help="inject scenarios into the images of this folder")
    parser.add_argument("--scenarios", metavar="CSV", help="table with the columns image and scenario")
    parser.add_argument("--mixes", type=int, default=20, metavar="N", help="number of generated sets (default: 20)")
    parser.add_argument("--size", type=int, default=600, metavar="N", help="images in a generated set (default: 600)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the first generated set (default: 0)")
    parser.add_argument("--extractor", default="vgg16-conv", choices=EXTRACTORS, help="default: vgg16-conv")
    parser.add_argument("--precision", default="float32", choices=PRECISIONS, help="default: float32")
    parser.add_argument("--subsets", type=int, default=0, metavar="N", help="also cluster N subsets (default: none)")
    parser.add_argument("--write", metavar="TITLE", help="write the table to lab/results/clusters.md under this title")
    parser.add_argument("--umap", action="store_true", help="also run SAFE with PCA + UMAP")
    parser.add_argument("--only-safe", action="store_true", help="leave out the rivals and the oracle")
    return parser


def _generated(options: argparse.Namespace, extractor: Extractor, methods: list[str]) -> dict[str, Quality]:
    """Print a table for each mix, and return the medians."""
    per_mix = []
    for mix in range(options.mixes):
        with tempfile.TemporaryDirectory() as folder:
            rows = make_mix(options.generate, folder, n_images=options.size, seed=options.seed + mix)
            images = extract_features(Path(folder, "images"), extractor)
            names = dict(rows)
            scenarios = np.array([names[path] for path in images.paths])
            per_mix.append(run_methods(images, scenarios, methods, n_subsets=options.subsets))
        _print_table(f"mix {mix}: {len(set(names.values()))} scenarios in {SCENARIOS_FILE}", per_mix[-1])
    choices: tuple[tuple[str, Callable[[Iterable[float]], float]], ...] = (
        ("worst ARI, fewest RCCs", min),
        ("median", statistics.median),
    )
    for what, choose in choices:
        summary = {}
        for method in methods:
            columns = zip(*(row[method] for row in per_mix), strict=True)
            rccs, *others = (choose(column) for column in columns)
            summary[method] = Quality(rccs, *others)
        _print_table(f"{what} of {options.mixes} mixes", summary)
    return summary


def _write(options: argparse.Namespace, extractor: Extractor, rows: dict[str, Quality]) -> None:
    """Write the table to its page, in a section named after its title."""
    write_section("clusters", HEAD)
    of = f"Medians of {options.mixes} mixes. " if options.generate else ""
    steady = f"`again` and `least` are of {options.subsets} subsets. " if options.subsets else ""
    lines = table(("", *COLUMNS), [(method, *_cells(row)) for method, row in rows.items()])
    text = f"### {options.write}\n\n{of}{steady}Features: `{extractor.identity}`.\n\n{lines}"
    write_section("clusters-" + re.sub(r"[^a-z0-9]+", "-", options.write.lower()).strip("-"), text)


def _column(path: str, name: str) -> dict[str, str]:
    with Path(path).open(newline="") as file:
        return {row["image"]: row[name] for row in csv.DictReader(file)}


COLUMNS = ("K", "noise", "purity", "cover", "ARI", "insp%", "large", "silh", "s", "again", "least", "truth")
DIGITS = (0, 2, 3, 2, 3, 1, 2, 2, 1, 3, 3, 3)


def _cells(row: Quality) -> list[str]:
    return ["–" if math.isnan(x) else f"{x:.{digits}f}" for x, digits in zip(row, DIGITS, strict=True)]


def _print_table(title: str, rows: dict[str, Quality]) -> None:
    print(f"\n{title}")
    print(f"{'':20s} " + " ".join(f"{column:>6s}" for column in COLUMNS))
    for method, row in rows.items():
        print(f"{method:20s} " + " ".join(f"{cell:>6s}" for cell in _cells(row)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
