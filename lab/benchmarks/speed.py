"""Speed of SAFE compared with rivals in the same run, and growth of its cost.

    python -m lab.benchmarks.speed [--only STAGE ...] [--images DIR]

Stages: `growth` (time and memory of clustering by the number of failing images), `extraction` (compared with one
`predict` per image, the bare network, and the machine's rate of matrix multiplication) and `workers` (a Dask cluster
with one worker and with two; needs requirements/scale.txt).

Each measurement runs in a separate process, so that it has a peak of memory of its own; SAFE and its rival take turns,
and ratios are between medians. The section of each stage is written to lab/results/speed.md.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np

from lab.benchmarks.memory import peak_resident_mb
from lab.benchmarks.results import RESULTS, table, write_section
from safe_dnn.clustering import Grouping, cluster_points
from safe_dnn.FE import stream_features
from safe_dnn.features.extractor import INPUT_SIZE
from safe_dnn.features.on_cluster import on_cluster
from safe_dnn.features.vgg16 import BATCH_SIZE, choose_extractor, load_network
from safe_dnn.rccs.dbscan.projection import relevant_directions
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import decode, find_images, read_bytes

ROOT = Path(__file__).parents[2]
CAUSES, DIMENSION = 40, 256  # of generated points
GROWTH = (1_000, 5_000, 20_000, 50_000, 100_000)  # points
EXTRACTOR = "vgg16-conv"
HEAD = (
    "## Speed\n\n"
    "This section and those of the stages below were written by `python -m lab.benchmarks.speed`. Each measurement ran "
    f"in a separate process, SAFE and its rivals in turn, on {os.cpu_count()} cores, possibly shared with other work: "
    "the ratios are more reliable than the seconds. Figures are medians over the given number of runs. Memory is the "
    "peak of the whole process, including Python and its libraries.\n"
)


def run_apart(name: str, *arguments: object) -> dict:
    """Run a function of `MEASURED` in a separate process; return its result with `peak_mb`."""
    ran = subprocess.run(
        [sys.executable, "-m", "lab.benchmarks.speed", "--measure", name, json.dumps(arguments)],
        cwd=ROOT, env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    result: dict = json.loads(ran.stdout.splitlines()[-1])
    print(name, {key: value for key, value in result.items() if isinstance(value, float)}, file=sys.stderr, flush=True)
    return result


def middle(runs: list[dict]) -> dict:
    """The medians of all numbers over the runs of a measurement."""
    return {key: median(run[key] for run in runs) for key, value in runs[0].items() if isinstance(value, int | float)}


def generated_points(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Points as after PCA: groups of various sizes and densities, decreasing variances; and the group of each.

    Returns
    -------
    points : ndarray of shape (n, `DIMENSION`), float32
    causes : ndarray of shape (n,), int
    """
    rng = np.random.default_rng(0)
    cause = rng.choice(CAUSES, n, p=rng.dirichlet(np.ones(CAUSES)))
    fall = 0.95 ** np.arange(DIMENSION)
    centres, spread = rng.normal(size=(CAUSES, DIMENSION)) * fall, rng.uniform(0.2, 0.8, CAUSES)
    return (centres[cause] + rng.normal(size=(n, DIMENSION)) * fall * spread[cause, None]).astype(np.float32), cause


# --- Growth -----------------------------------------------------------------------------------------------------


def growth(options: argparse.Namespace) -> str:
    """Time and memory of clustering by number of points."""
    sizes = sorted(options.growth)
    runs = [middle([run_apart("cluster_generated", size) for _ in range(options.repeats)]) for size in sizes]
    rows = [
        (f"{size:,}", options.repeats, *(f"{run[key]:.1f}" for key in ("seconds", "processor")),
         f"{run['peak_mb']:,.0f}", f"{run['rccs']:.0f}", f"{run['steady']:.0f}", f"{run['ari']:.3f}")
        for size, run in zip(sizes, runs, strict=True)
    ]  # fmt: skip
    header = ("points", "runs", "seconds", "processor, s", "peak, MB", "RCCs", "steady", "ARI with the causes")
    text = (
        f"### Growth of clustering\n\nAll steps after PCA, with the consensus, of generated points of {CAUSES} causes "
        f"in {DIMENSION} dimensions. The processor's seconds do not depend on other work on the machine.\n\n"
        f"{table(header, rows)}\n"
    )
    if len(runs) > 1:
        seconds, peaks = ([run[key] for run in runs] for key in ("seconds", "peak_mb"))
        draw_growth(sizes, (seconds, peaks), options.results / "plots" / "speed.png")
        text += (
            f"\nTime grows with the power {exponent(sizes, seconds):.2f} of the number of points "
            f"(between the two largest sizes: {exponent(sizes[-2:], seconds[-2:]):.2f}), memory with the "
            f"power {exponent(sizes, peaks):.2f}.\n\n![Time and memory by number of points](plots/speed.png)\n"
        )
    return text


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of the size with which a value grows: the slope of a line fitted to the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def cluster_generated(n: int) -> dict:
    """The steps of a run after PCA: scaling of directions, neighbour averaging, tuning of DBSCAN, and the consensus."""
    from sklearn.metrics import adjusted_rand_score

    data, cause = generated_points(n)
    _clustered(data[:40])
    begin, processor = time.perf_counter(), time.process_time()
    clusters = _clustered(data)
    return {
        "seconds": time.perf_counter() - begin,
        "processor": time.process_time() - processor,
        "rccs": int(clusters.labels.max()) + 1,
        "ari": float(adjusted_rand_score(cause, clusters.labels)),
        "steady": int(clusters.steadiness.is_steady.sum()) if clusters.steadiness else 0,
    }


def _clustered(data: np.ndarray) -> Grouping:
    coordinates = data.astype(np.float64)
    points = (coordinates @ relevant_directions(coordinates).T).astype(np.float32)
    return cluster_points(points, coordinates, [f"{i}.png" for i in range(len(data))])[1]


def draw_growth(sizes: Sequence[int], figures: Sequence[Sequence[float]], path: Path) -> None:
    """Draw seconds and peak memory by number of points."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        for axis, values, label in zip(axes, figures, ("seconds", "peak memory, MB"), strict=True):
            axis.plot(sizes, values, color="#0060a8", marker="o")
            axis.set(xscale="log", yscale="log", xlabel="images", ylabel=label)
        figure.savefig(prepare_folder(path.parent) / path.name, dpi=110, metadata={"Software": None})
        plt.close(figure)


# --- Extraction -------------------------------------------------------------------------------------------------


def extraction(options: argparse.Namespace) -> str:
    """Extraction compared with one `predict` per image, the bare network, and matrix multiplication."""
    given = _images_of(options), options.extracted
    measured = {
        "float32": ("extract_images", *given, "float32"),
        "bfloat16": ("extract_images", *given, "bfloat16"),
        "predict": ("extract_images_plainly", *given),
        "gemm": ("multiply_matrices",),
    }
    runs: dict[str, list[dict]] = {name: [] for name in measured}
    for _ in range(options.repeats):
        for name, call in measured.items():
            runs[name].append(run_apart(*call))
    result = {name: middle(each) for name, each in runs.items()}
    ours, half, theirs = (result[name] for name in ("float32", "bfloat16", "predict"))
    images, rival = ours["images"], theirs["images"] / theirs["seconds"]
    seconds = {
        "SAFE, float32": ours["seconds"],
        "SAFE, bfloat16 (`--precision bfloat16`)": half["seconds"],
        "bare network, float32, batches in memory": ours["bare"],
        "bare network, bfloat16, batches in memory": half["bare"],
        "`load_img` and one `predict` per image": theirs["seconds"],
    }
    rows = [(name, f"{images / each:.2f}", f"{images / each / rival:.2f}") for name, each in seconds.items()]
    of_bare = median(run["bare"] / run["seconds"] for run in runs["float32"])
    used, peak = images / ours["seconds"] * theirs["gflop"], result["gemm"]["gflops"]
    return (
        f"### Extraction\n\n{images:.0f} images, {EXTRACTOR}, nothing cached, the network built beforehand; medians of "
        f"{options.repeats} runs.\n\n"
        f"{table(('', 'images per second', 'relative to one `predict` per image'), rows)}\n\n"
        f"SAFE reaches {of_bare:.2f} of the bare network's speed. An image takes {theirs['gflop']:.1f} GFLOP: in "
        f"float32 SAFE computes {used:,.0f} GFLOP/s, {used / peak:.2f} of the {peak:,.0f} GFLOP/s at which TensorFlow "
        f"multiplies large matrices. Peak memory: {ours['peak_mb']:,.0f} MB."
        + (" SAFE cannot be faster than its own network: other work disturbed this measurement." * (of_bare > 1))
        + "\n"
    )


def _images_of(options: argparse.Namespace) -> str:
    if not options.images:
        raise SAFEError("Expected a folder of images for `extraction` and `workers`. Give --images, or use --only.")
    return str(Path(options.images).absolute())


def extract_images(images: str, n: int, precision: str) -> dict:
    """SAFE's extraction of n images, nothing cached, and the bare network on the same pixels in memory.

    The network is built beforehand. The bare network runs before and after SAFE, and the mean of its times is taken, so
    that a changing load of the machine affects both.
    """
    listing = find_images(images)
    listing = listing._replace(paths=listing.paths[:n])
    extractor = choose_extractor(EXTRACTOR, precision=precision)
    network = load_network(extractor)
    pixels = np.stack(
        [np.asarray(decode(read_bytes(listing.root / path)).resize(INPUT_SIZE)) for path in listing.paths]
    )
    network(pixels[:BATCH_SIZE])

    def bare() -> float:
        begin = time.perf_counter()
        for start in range(0, len(pixels), BATCH_SIZE):
            network(pixels[start : start + BATCH_SIZE])
        return time.perf_counter() - begin

    before = bare()
    with (
        TemporaryDirectory() as empty,
        patch.dict(os.environ, SAFE_CACHE=empty),
        patch("safe_dnn.FE.load_network", return_value=network),
    ):
        begin = time.perf_counter()
        rows = sum(len(batch.paths) for batch in stream_features(listing, extractor))
        seconds = time.perf_counter() - begin
    return {"images": rows, "bare": (before + bare()) / 2, "seconds": seconds}


def extract_images_plainly(images: str, n: int) -> dict:
    """The straightforward way: `keras.utils.load_img` and one `predict` for each image; the weights do not matter."""
    import keras

    listing = find_images(images)
    vgg16 = keras.applications.vgg16
    full = vgg16.VGG16(weights=None, include_top=False, input_shape=(*INPUT_SIZE, 3))
    network = keras.Model(full.input, full.get_layer("block5_conv3").output)
    network.predict(np.zeros((1, *INPUT_SIZE, 3), np.float32), verbose=0)
    begin = time.perf_counter()
    for path in listing.paths[:n]:
        image = keras.utils.load_img(listing.root / path, target_size=INPUT_SIZE)
        network.predict(vgg16.preprocess_input(keras.utils.img_to_array(image)[None]), verbose=0)
    seconds = time.perf_counter() - begin
    return {"images": len(listing.paths[:n]), "seconds": seconds, "gflop": flop(network) / 1e9}


def flop(network: Any) -> int:
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


# --- Workers ----------------------------------------------------------------------------------------------------


def workers(options: argparse.Namespace) -> str:
    """Extraction on a Dask cluster with one worker and with two."""
    given = _images_of(options), options.extracted
    if not importlib.util.find_spec("distributed"):
        raise SAFEError("`workers` needs dask.distributed. Run: pip install -r requirements/scale.txt")
    runs: dict[int, list[dict]] = {1: [], 2: []}
    for _ in range(options.repeats):
        for count, each in runs.items():
            each.append(run_apart("extract_on_workers", *given, count))
    digests = {run["digest"] for each in runs.values() for run in each}
    same = digests == {run_apart("digest_here", *given)["digest"]}
    one, two = middle(runs[1]), middle(runs[2])
    rows = [(count, f"{run['images'] / run['seconds']:.2f}") for count, run in ((1, one), (2, two))]
    return (
        "### Several workers\n\nExtraction on a Dask cluster on this machine, one core for each worker, nothing "
        f"cached, the networks loaded; medians of {options.repeats} runs of {one['images']:.0f} images.\n\n"
        f"{table(('workers', 'images per second'), rows)}\n\n"
        f"Two workers are {one['seconds'] / two['seconds']:.2f} times as fast as one. The rows are "
        + ("the same as without Dask, byte for byte.\n" if same else "**not the same** as without Dask.\n")
    )


def extract_on_workers(images: str, n: int, count: int) -> dict:
    """Extraction of n images by a number of workers, nothing cached, networks loaded; with a hash of the rows."""
    from distributed import Client, LocalCluster

    listing = find_images(images)
    listing, extractor = listing._replace(paths=listing.paths[:n]), choose_extractor(EXTRACTOR)
    with (
        TemporaryDirectory() as empty,
        LocalCluster(n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=50) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        for core, worker in enumerate(client.nthreads()):
            client.run(os.sched_setaffinity, 0, {core % (os.cpu_count() or 1)}, workers=[worker])
        stream = on_cluster(cluster.scheduler_address)
        with patch.dict(os.environ, SAFE_CACHE=f"{empty}/warm"):
            for _ in stream(listing._replace(paths=listing.paths[: 2 * count * BATCH_SIZE]), extractor):
                pass
        with patch.dict(os.environ, SAFE_CACHE=f"{empty}/cold"):
            begin = time.perf_counter()
            batches = list(stream(listing, extractor))
            seconds = time.perf_counter() - begin
    return {"images": sum(len(batch.paths) for batch in batches), "seconds": seconds, "digest": _digest(batches)}


def digest_here(images: str, n: int) -> dict:
    """The hash of the rows computed without a cluster."""
    listing = find_images(images)
    listing, extractor = listing._replace(paths=listing.paths[:n]), choose_extractor(EXTRACTOR)
    with TemporaryDirectory() as empty, patch.dict(os.environ, SAFE_CACHE=empty):
        return {"digest": _digest(stream_features(listing, extractor))}


def _digest(batches: Any) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for batch in batches:
        digest.update("\n".join(batch.paths).encode("utf-8", "surrogateescape"))
        digest.update(batch.features.tobytes())
    return digest.hexdigest()


# --- The program ------------------------------------------------------------------------------------------------

STAGES = {stage.__name__: stage for stage in (growth, extraction, workers)}
MEASURED: dict[str, Callable[..., dict]] = {
    function.__name__: function
    for function in (
        *(cluster_generated, extract_images, extract_images_plainly, multiply_matrices),
        *(extract_on_workers, digest_here),
    )
}


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.speed", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--only", nargs="+", choices=STAGES, default=[*STAGES], metavar="STAGE", help="default: all")
    parser.add_argument("--images", metavar="DIR", help="images for `extraction` and `workers`")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="runs of each measurement (default: 3)")
    parser.add_argument("--growth", type=int, nargs="+", default=GROWTH, metavar="N", help="numbers of points")
    parser.add_argument("--extracted", type=int, default=200, metavar="N", help="images (default: 200)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: lab/results")
    options = parser.parse_args(arguments)
    try:
        sections = {stage: STAGES[stage](options) for stage in options.only}
        for name, text in {"speed": HEAD, **{f"speed-{stage}": text for stage, text in sections.items()}}.items():
            print(f"Written: {name} in {write_section(name, text, folder=options.results)}")
    except SAFEError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps({**MEASURED[sys.argv[2]](*json.loads(sys.argv[3])), "peak_mb": peak_resident_mb()}))
    else:
        sys.exit(main())
