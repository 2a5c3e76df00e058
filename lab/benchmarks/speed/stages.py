"""The measurements of `lab/benchmarks/speed/`.

    python -m lab.benchmarks.speed.stages NAME ARGUMENTS

calls the function NAME of `MEASURED` with the ARGUMENTS (a JSON list) and prints its result as a line of JSON, with the
peak resident memory of the process as `peak_mb`, including Python and its libraries. Each measurement runs in a
separate process, so that it has a peak of its own. Inputs are generated from seeds.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from lab.benchmarks.memory import peak_resident_mb
from lab.benchmarks.speed import detections, many, review, workers
from lab.benchmarks.speed import start as speed_start
from safe_dnn.clustering import Found, cluster_points
from safe_dnn.FE import extract_features, stream_features
from safe_dnn.features.cache import FeatureCache
from safe_dnn.features.extractor import DIMENSIONS, INPUT_SIZE
from safe_dnn.features.network import BATCH_SIZE, load_network
from safe_dnn.features.weights import choose_extractor, recall_extractor
from safe_dnn.rccs.clusters import RootCauseClusters, load_clusters, rcc_reach, save_clusters
from safe_dnn.rccs.dbscan.density import Density
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.projection import Projection, fit_projection
from safe_dnn.rccs.dbscan.relevance import relevant_directions
from safe_dnn.rccs.dbscan.tuning import MIN_SAMPLES_TRIED, balanced_silhouettes
from safe_dnn.rccs.gifs import write_gifs
from safe_dnn.selection import SelectionSettings, quotas, select_unsafe_set
from safe_dnn.support.contents import content_key
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images

CAUSES = 40
DIMENSION = 256
GENERATED = ("vgg16-conv", "vgg16-conv-4224-generated-float32")  # exists only in the cache


def generated_points(n: int) -> np.ndarray:
    """Points as after PCA: groups of various sizes and densities, decreasing variances; float32 (n, `DIMENSION`)."""
    return _generated(n)[0]


def _generated(n: int) -> tuple[np.ndarray, np.ndarray]:
    """The same, and the group of each."""
    rng = np.random.default_rng(0)
    cause = rng.choice(CAUSES, n, p=rng.dirichlet(np.ones(CAUSES)))
    fall = 0.95 ** np.arange(DIMENSION)
    centres, spread = rng.normal(size=(CAUSES, DIMENSION)) * fall, rng.uniform(0.2, 0.8, CAUSES)
    return (centres[cause] + rng.normal(size=(n, DIMENSION)) * fall * spread[cause, None]).astype(np.float32), cause


# --- Tuning -----------------------------------------------------------------------------------------------------


def grid(n: int, settings: int) -> list[tuple[float, int]]:
    """Settings (eps, min_samples) of DBSCAN, from almost all noise to almost no noise."""
    points = Points(generated_points(n))
    each = -(-settings // len(MIN_SAMPLES_TRIED))
    return [
        (float(eps), min_samples)
        for min_samples in MIN_SAMPLES_TRIED
        for eps in np.quantile(points.neighbours[1][:, min_samples - 2], np.linspace(0.05, 0.98, each)) * 1.000123
    ]


def try_settings(n: int, settings: list[tuple[float, int]], kept: str) -> dict:
    """All settings with SAFE's tree and shared distances; labels and silhouettes are written to a file."""
    return _timed(_labels_by_tree, n, settings, kept)


def _timed(label: Callable[..., tuple[list, list, list]], n: int, settings: list[tuple[float, int]], kept: str) -> dict:
    """Seconds for labelling with all settings; imports are done beforehand."""
    data = generated_points(n)
    label(data[:200], [(1.0, 3), (2.0, 3)])
    begin = time.perf_counter()
    labels, cores, silhouettes = label(data, settings)
    seconds = time.perf_counter() - begin
    np.savez(kept, labels=labels, cores=cores, silhouettes=silhouettes)
    return {"seconds": seconds}


def _labels_by_tree(data: np.ndarray, settings: list[tuple[float, int]]) -> tuple[list, list, list]:
    points = Points(data)
    trees = {min_samples: Density(points, min_samples) for min_samples in {k for _, k in settings}}
    found = [trees[min_samples].cluster(eps) for eps, min_samples in settings]
    labels = [labels for labels, _ in found]
    return labels, [cores for _, cores in found], balanced_silhouettes(points, labels)


def try_settings_with_scikit_learn(n: int, settings: list[tuple[float, int]], kept: str) -> dict:
    """The same with scikit-learn: DBSCAN and silhouettes for each setting, on all cores."""
    return _timed(_labels_by_scikit_learn, n, settings, kept)


def _labels_by_scikit_learn(data: np.ndarray, settings: list[tuple[float, int]]) -> tuple[list, list, list]:
    from sklearn.cluster import DBSCAN
    from sklearn.metrics import silhouette_samples

    all_labels, all_cores, silhouettes = [], [], []
    for eps, min_samples in settings:
        found = DBSCAN(eps=eps, min_samples=min_samples, n_jobs=-1).fit(data)
        labels, cores = found.labels_, np.zeros(len(data), dtype=bool)
        cores[found.core_sample_indices_] = True
        members, count = labels != NOISE, labels.max() + 1
        silhouette = 0.0
        if 2 <= count < members.sum():
            of_each = silhouette_samples(data[members], labels[members], n_jobs=-1)
            silhouette = float(np.mean(np.bincount(labels[members], of_each) / np.bincount(labels[members])))
        all_labels.append(labels)
        all_cores.append(cores)
        silhouettes.append(silhouette)
    return all_labels, all_cores, silhouettes


def compare_settings(ours: str, theirs: str) -> dict:
    """The number of settings for which two runs agree, and the largest difference of silhouettes among these."""
    from sklearn.metrics import adjusted_rand_score

    with np.load(ours) as a, np.load(theirs) as b:
        same_cores = (a["cores"] == b["cores"]).all(axis=1)
        same_noise = ((a["labels"] == NOISE) == (b["labels"] == NOISE)).all(axis=1)
        clusters = [
            adjusted_rand_score(x[c], y[c]) for x, y, c in zip(a["labels"], b["labels"], a["cores"], strict=True)
        ]
        border = [
            adjusted_rand_score(x[x != NOISE], y[x != NOISE]) == 1
            for x, y in zip(a["labels"], b["labels"], strict=True)
        ]
        equal = same_cores & same_noise & (np.array(clusters) == 1)
        apart = np.abs(a["silhouettes"] - b["silhouettes"])[equal & np.array(border)]
        return {
            "settings": len(equal),
            "equal": int(equal.sum()),
            "border_elsewhere": int((equal & ~np.array(border)).sum()),
            "silhouette_apart": float(apart.max(initial=0)),
            "rccs": [int(labels.max()) + 1 for labels in a["labels"]],
        }


def cluster_generated(n: int) -> dict:
    """The steps of a run after PCA: scaling of directions, neighbour averaging, tuning of DBSCAN, and the consensus."""
    from sklearn.metrics import adjusted_rand_score

    data, cause = _generated(n)
    _clustered(data[:40])
    begin, processor = time.perf_counter(), time.process_time()
    found = _clustered(data)
    return {
        "seconds": time.perf_counter() - begin,
        "processor": time.process_time() - processor,
        "rccs": int(found.labels.max()) + 1,
        "noise": float(np.mean(found.labels == NOISE)),
        "ari": float(adjusted_rand_score(cause, found.labels)),
        "steady": int(found.steadiness.is_steady.sum()) if found.steadiness else 0,
    }


def _clustered(data: np.ndarray) -> Found:
    coordinates = data.astype(np.float64)
    points = (coordinates @ relevant_directions(coordinates).T).astype(np.float32)
    return cluster_points(points, coordinates, [f"{i}.png" for i in range(len(data))])[1]


# --- Selection --------------------------------------------------------------------------------------------------


def make_improvement_set(folder: str, n: int, n_cores: int) -> dict:
    """Create files of an improvement set with features in the cache (`SAFE_CACHE`), and RCCs."""
    root = prepare_folder(Path(folder))
    name, identity = GENERATED
    cache = FeatureCache(identity, DIMENSIONS[name])
    rng = np.random.default_rng(0)
    centres = np.abs(rng.normal(size=(CAUSES, DIMENSIONS[name]))).astype(np.float32)
    for start in range(0, n, 1000):
        part = prepare_folder(root / "images" / f"{start // 1000:05d}")
        numbers = range(start, min(start + 1000, n))
        rows = np.abs(
            centres[rng.integers(CAUSES, size=len(numbers))] + rng.normal(0, 0.4, (len(numbers), DIMENSIONS[name]))
        )
        entries = []
        for number, row in zip(numbers, rows.astype(np.float32), strict=True):
            data = b"P6 2 2 255\n" + number.to_bytes(4, "big") * 3
            (part / f"{number:07d}.ppm").write_bytes(data)
            entries.append((content_key(data), row))
        cache.put(entries)
    cache.close()
    cause = np.sort(rng.integers(CAUSES, size=n_cores))
    features = np.abs(centres[cause] + rng.normal(0, 0.4, (n_cores, DIMENSIONS[name]))).astype(np.float32)
    save_clusters(_clusters(root, features, cause), root)
    return {}


def _clusters(root: Path, features: np.ndarray, labels: np.ndarray) -> RootCauseClusters:
    """RCCs in which every image is a core point."""
    projection, _ = fit_projection(features[:: max(1, len(features) // 1000)], GENERATED[0])
    points, is_core = projection.apply(features), np.ones(len(labels), dtype=bool)
    labels = np.unique(labels, return_inverse=True)[1]
    return RootCauseClusters(
        image_root=root,
        paths=tuple(f"{i:06d}.png" for i in range(len(labels))),
        labels=labels,
        is_core=is_core,
        points=points,
        reach=rcc_reach(points, labels, is_core),
        reducer="pca",
        eps=1.0,
        min_samples=3,
        projection=projection,
        extractor_identity=GENERATED[1],
        notice="",
        weights="",
        settings=(),
        k_distances=np.zeros(len(labels), np.float32),
        knee=None,
        skipped=(),
    )


def select_generated(folder: str, n: int) -> dict:
    """SAFE's selection of a tenth of the first n images."""
    clusters = load_clusters(Path(folder))
    listing = _first(Path(folder), n)
    begin = time.perf_counter()
    unsafe = select_unsafe_set(listing, clusters, SelectionSettings(size=max(1, n // 10)))
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "images": _kept(folder, "ours", [image.image for image in unsafe.images])}


def select_by_brute_force(folder: str, n: int) -> dict:
    """The same selection, with all features and all distances to core points in memory, and all distances sorted."""
    from scipy.spatial.distance import cdist

    clusters = load_clusters(Path(folder))
    listing = _first(Path(folder), n)
    begin = time.perf_counter()
    found = extract_features(listing, recall_extractor(clusters.extractor, clusters.extractor_identity))
    points = clusters.projection.apply(found.features).astype(np.float64)
    distances = cdist(points, clusters.points[clusters.is_core].astype(np.float64))
    nearest, rcc = distances.min(axis=1), clusters.labels[clusters.is_core][distances.argmin(axis=1)]
    available = np.bincount(rcc, minlength=clusters.n_rccs)
    chosen: list[str] = []
    for group, quota in enumerate(quotas(max(1, n // 10), clusters.sizes, available)):
        members = np.flatnonzero(rcc == group)
        best = sorted(members, key=lambda i: (round(nearest[i], 5), found.paths[i]))[:quota]
        chosen += [found.paths[i] for i in best]
    seconds = time.perf_counter() - begin
    return {"seconds": seconds, "images": _kept(folder, "theirs", chosen)}


def _first(folder: Path, n: int) -> Path:
    listing = folder / f"first-{n}.txt"
    files = sorted((folder / "images").rglob("*.ppm"))[:n]
    listing.write_text("".join(f"{file.relative_to(folder).as_posix()}\n" for file in files), encoding="utf-8")
    return listing


def _kept(folder: str, name: str, images: list[str]) -> str:
    path = Path(folder) / f"{name}.json"
    path.write_text(json.dumps(images), encoding="utf-8")
    return str(path)


# --- GIFs -------------------------------------------------------------------------------------------------------


def draw_gif(images: str, n: int, out: str) -> dict:
    """SAFE's GIF of an RCC of n images."""
    paths = _cycled(images, n)
    labels = np.zeros(n, dtype=int)
    clusters = RootCauseClusters(
        Path(images), paths, labels, labels == 0, np.zeros((n, 1), np.float32), np.zeros(1, np.float32), "pca", 0.0, 0,
        Projection("vgg16-conv", np.zeros(1), np.zeros((1, 1))), "", "", "", (), np.zeros(n), None, (),
    )  # fmt: skip
    begin = time.perf_counter()
    (gif,) = write_gifs(clusters, prepare_folder(Path(out)))
    return {"seconds": time.perf_counter() - begin, **_gif_facts(gif)}


def draw_gif_with_pillow(images: str, n: int, side: int, out: str) -> dict:
    """The straightforward way: each image is opened, scaled and passed to Pillow, one after another."""
    gif = prepare_folder(Path(out)) / "plain.gif"
    begin = time.perf_counter()
    frames = [Image.open(Path(images) / path).convert("RGB").resize((side, side)) for path in _cycled(images, n)]
    frames[0].save(gif, save_all=True, append_images=frames[1:], duration=500, loop=0)
    return {"seconds": time.perf_counter() - begin, **_gif_facts(gif)}


def _gif_facts(gif: Path) -> dict:
    with Image.open(gif) as image:
        return {"mb": gif.stat().st_size / 1e6, "side": image.width}


def _cycled(images: str, n: int) -> tuple[str, ...]:
    found = find_images(images).paths
    return tuple(found[i % len(found)] for i in range(n))


# --- Extraction -------------------------------------------------------------------------------------------------


def extract_images(images: str, n: int, extractor: str, precision: str, cache: str) -> dict:
    """SAFE's extraction of n images, nothing cached, and the bare network on the same pixels in memory.

    The network is built beforehand. The bare network runs before and after SAFE, and the mean of its times is taken, so
    that a changing load of the machine affects both.
    """
    listing = find_images(images)
    paths = listing.paths[:n]
    chosen = choose_extractor(extractor, precision=precision)
    network = load_network(chosen)
    pixels = np.stack([_pixels(listing.root / path) for path in paths])
    network(pixels[:BATCH_SIZE])

    def bare() -> float:
        begin = time.perf_counter()
        for start in range(0, len(paths), BATCH_SIZE):
            network(pixels[start : start + BATCH_SIZE])
        return time.perf_counter() - begin

    before = bare()
    with TemporaryDirectory(dir=prepare_folder(Path(cache))) as empty:
        os.environ["SAFE_CACHE"] = empty
        with patch("safe_dnn.FE.load_network", return_value=network):
            begin = time.perf_counter()
            rows = sum(len(batch.paths) for batch in stream_features(listing._replace(paths=paths), chosen))
            seconds = time.perf_counter() - begin
    return {"images": rows, "bare": (before + bare()) / 2, "seconds": seconds}


def extract_images_plainly(images: str, n: int, extractor: str) -> dict:
    """The straightforward way: `keras.utils.load_img` and one `predict` for each image."""
    import keras

    listing = find_images(images)
    paths = listing.paths[:n]
    network = _plain_network(extractor)
    network.predict(np.zeros((1, *INPUT_SIZE, 3), np.float32), verbose=0)
    begin = time.perf_counter()
    for path in paths:
        image = keras.utils.load_img(listing.root / path, target_size=INPUT_SIZE)
        pixels = keras.applications.vgg16.preprocess_input(keras.utils.img_to_array(image)[None])
        network.predict(pixels, verbose=0)
    return {"images": len(paths), "seconds": time.perf_counter() - begin, "gflop": _flop(network) / 1e9}


def _flop(network: Any) -> int:
    """Number of multiplications and additions for one image in convolutions and dense layers."""
    return sum(
        2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:-1]))
        for layer in network.layers
        if hasattr(layer, "kernel")
    )


def multiply_matrices() -> dict:
    """TensorFlow's rate for large float32 matrix products, the upper limit for the network in float32."""
    import tensorflow as tf

    side, times = 4096, 5
    left, right = tf.random.normal((side, side), seed=0), tf.random.normal((side, side), seed=1)
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)))
    multiply().numpy()
    begin = time.perf_counter()
    for _ in range(times):
        multiply().numpy()
    return {"gflops": times * 2 * side**3 / (time.perf_counter() - begin) / 1e9}


def extract_images_with_pytorch(images: str, n: int, extractor: str) -> dict:
    """PyTorch's VGG16 on the same files, in batches, with random weights, which do not affect its speed."""
    import torch
    import torchvision

    listing = find_images(images)
    paths = listing.paths[:n]
    full = torchvision.models.vgg16(weights=None).eval()
    network = full.features if extractor == "vgg16-conv" else full
    network = network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        network(torch.zeros(BATCH_SIZE, 3, *INPUT_SIZE).to(memory_format=torch.channels_last))
        begin = time.perf_counter()
        for start in range(0, n, BATCH_SIZE):
            pixels = np.stack([_pixels(listing.root / path) for path in paths[start : start + BATCH_SIZE]])
            network(torch.from_numpy(pixels).permute(0, 3, 1, 2).float())
    return {"images": len(paths), "seconds": time.perf_counter() - begin}


def _plain_network(extractor: str) -> Any:
    """VGG16 up to the layer used by the extractor; the weights do not affect its speed."""
    import keras

    full = keras.applications.VGG16(weights=None, include_top=extractor != "vgg16-conv", input_shape=(*INPUT_SIZE, 3))
    return keras.Model(full.input, full.get_layer("block5_conv3" if extractor == "vgg16-conv" else "fc2").output)


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(INPUT_SIZE))


MEASURED: dict[str, Callable[..., dict]] = (
    {
        function.__name__: function
        for function in (
            try_settings,
            try_settings_with_scikit_learn,
            cluster_generated,
            make_improvement_set,
            select_generated,
            select_by_brute_force,
            draw_gif,
            draw_gif_with_pillow,
            extract_images,
            extract_images_plainly,
            extract_images_with_pytorch,
            multiply_matrices,
        )
    }
    | speed_start.MEASURED
    | workers.MEASURED
    | detections.MEASURED
    | review.MEASURED
    | many.MEASURED
)


if __name__ == "__main__":
    found = MEASURED[sys.argv[1]](*json.loads(sys.argv[2]))
    print(json.dumps({**found, "peak_mb": peak_resident_mb()}))
