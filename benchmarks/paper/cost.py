"""Time and memory of SAFE and of HUDD from cold, each in a process of its own.

    python -m benchmarks.paper.cost METHOD MODEL IMAGES OUT.json [--trace]

METHOD is `safe`, `safe-bfloat16`, `hudd` (heatmaps in memory, as published), `hudd-disk` or `hudd-one-by-one` (as
published: heatmaps in memory, one image and one pair of them at a time). OUT gets the seconds from the start of the
process, the largest resident size of the process, and with --trace the peak of the memory that Python allocated
(tracemalloc, which slows the run down: its seconds are not to be used).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path
from typing import NamedTuple

from benchmarks.rivals.hudd import run_hudd
from clustering import find_root_cause_clusters
from FE import extract_features
from features.weights import choose_extractor
from support.images import find_images

METHODS = ("safe", "safe-bfloat16", "hudd", "hudd-disk", "hudd-one-by-one")
ROOT = Path(__file__).parents[2]
FIRST_STEPS = ("Extracting features", "Heatmaps")  # the network is loaded before them
ALEXNET_SIDE = 227


class Cost(NamedTuple):
    """What one run cost.

    Attributes
    ----------
    seconds : float
        From starting the process to its end.
    cpu_seconds : float
        Of all its threads: other programs of the machine lengthen them far less.
    process_mb : float
        Largest resident size, in 10⁶ bytes.
    python_mb : float
        Peak of what Python and NumPy hold once the libraries and the network (VGG16, or the DNN under test) are
        loaded, in 10⁶ bytes; 0 where it was not measured.
    parts : dict of str to float
        Seconds of the steps.
    """

    seconds: float
    cpu_seconds: float
    process_mb: float
    python_mb: float
    parts: dict[str, float]


def measure_cost(method: str, model: Path, images: Path, runs: int = 1, trace: bool = True) -> list[Cost]:
    """Run a method from cold: once with tracemalloc for the memory, `runs` times without for the time.

    SAFE's feature cache is empty each time. Without any run for the time, it is that of the run with tracemalloc.

    Parameters
    ----------
    images : Path
        A folder, or a .txt file that lists images.
    trace : bool
        Without it Python's memory is not measured.
    """
    traced = _run(method, model, images, trace=True) if trace else {"python_mb": 0.0}
    costs = []
    for plain in [_run(method, model, images, trace=False) for _ in range(runs)] or [traced]:
        costs.append(
            Cost(plain["seconds"], plain["cpu_seconds"], plain["process_mb"], traced["python_mb"], plain["parts"])
        )
    return costs


def _run(method: str, model: Path, images: Path, trace: bool) -> dict:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "cost.json")
        command = [sys.executable, "-m", "benchmarks.paper.cost", method, model, images, out]
        began = time.perf_counter()
        environment = {**os.environ, "SAFE_CACHE": folder, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([*command, *(["--trace"] if trace else [])], cwd=ROOT, env=environment, check=True)
        return {**json.loads(out.read_text()), "seconds": time.perf_counter() - began}


def peak_resident_mb() -> float:
    """Largest resident size of this process so far, in 10⁶ bytes.

    Not `getrusage`: its figure begins with the size of the process that started this one.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024 / 1e6
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS: bytes


def save_alexnet(path: Path, n_classes: int) -> None:
    """AlexNet, which the paper's case studies use, with random weights: HUDD's cost does not depend on their values."""
    import keras

    from support.files import replacing

    keras.utils.set_random_seed(0)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((ALEXNET_SIDE, ALEXNET_SIDE, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(96, 11, strides=4, activation="relu"),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(256, 5, padding="same", activation="relu"),
            layers.MaxPooling2D(3, 2),
            layers.Conv2D(384, 3, padding="same", activation="relu"),
            layers.Conv2D(384, 3, padding="same", activation="relu"),
            layers.Conv2D(256, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(3, 2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(4096, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(4096, activation="relu"),
            layers.Dense(n_classes, activation="softmax"),
        ]
    )
    with replacing(path) as temporary:
        model.save(temporary)


def save_vgg16(path: Path, n_classes: int) -> None:
    """VGG16, with random weights, as the DNN under test: one of the size of the network by which SAFE sees."""
    import keras

    from support.files import replacing

    keras.utils.set_random_seed(0)
    with replacing(path) as temporary:
        keras.applications.VGG16(weights=None, classes=n_classes).save(temporary)


def main(arguments: list[str] | None = None) -> int:
    """Run one method; see the module's text."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper.cost", description=__doc__.split("\n")[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("model", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trace", action="store_true", help="measure what Python allocates")
    options = parser.parse_args(arguments)
    if options.trace:
        _import_what_is_imported_late()
        tracemalloc.start()
    steps: dict[str, float] = {}
    last = [time.perf_counter(), "Loading"]
    loaded = False

    def progress(what: str, done: int, total: int) -> None:
        nonlocal loaded
        now = time.perf_counter()
        steps[last[1]] = steps.get(last[1], 0.0) + now - last[0]
        last[:] = [now, what]
        if what in FIRST_STEPS and done and not loaded:
            loaded = True  # what the first batch took is taken again by the next
            if options.trace:
                tracemalloc.reset_peak()

    if options.method.startswith("safe"):
        extractor = choose_extractor("auto", precision="bfloat16" if "bfloat16" in options.method else "float32")
        images = extract_features(options.images, extractor, progress=progress)
        progress("Clustering", 0, 0)
        find_root_cause_clusters(images)
    else:
        listing = find_images(options.images)
        store = "disk" if options.method == "hudd-disk" else "memory"
        run_hudd(options.model, listing.root, listing.paths, store, progress, options.method == "hudd-one-by-one")
    progress("", 0, 0)
    peak = tracemalloc.get_traced_memory()[1] / 1e6 if options.trace else 0.0
    record = {"cpu_seconds": time.process_time(), "process_mb": peak_resident_mb(), "python_mb": peak, "parts": steps}
    options.out.write_text(json.dumps(record))
    return 0


def _import_what_is_imported_late() -> None:
    """What the libraries themselves take is the same for all methods, and left out."""
    import keras  # noqa: F401
    import kneed  # noqa: F401
    import onnx.numpy_helper  # noqa: F401
    import scipy.cluster.hierarchy
    import scipy.linalg
    import scipy.sparse  # noqa: F401
    import sklearn.cluster  # noqa: F401
    import tensorflow  # noqa: F401


if __name__ == "__main__":
    sys.exit(main())
