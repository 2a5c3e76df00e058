"""Time and memory of SAFE and of HUDD from a cold start, each in a separate process.

    python -m lab.benchmarks.paper.cost METHOD MODEL IMAGES OUT.json [--trace]

METHOD is `safe`, `safe-bfloat16` or `hudd` (heatmaps in memory, as published). Written to OUT: the seconds of each
step, the peak resident memory of the process and, with --trace, the peak of the memory allocated by Python (measured
with tracemalloc, which slows the run down, so its times should not be used).
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
from typing import Any

from lab.benchmarks.memory import peak_resident_mb
from lab.benchmarks.rivals.hudd import run_hudd
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import extract_features
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import reporting

METHODS = ("safe", "safe-bfloat16", "hudd")
ROOT = Path(__file__).parents[3]
FIRST_STEPS = ("Extracting features", "Heatmaps")  # the first steps after loading the network
ALEXNET_SIDE = 227


def measure_cost(method: str, model: Path, images: Path, *, runs: int = 1) -> list[dict[str, Any]]:
    """Run a method from a cold start: once with tracemalloc for the memory, `runs` times without it for the time.

    SAFE's feature cache is always empty at the start.

    Parameters
    ----------
    images : Path
        A folder.
    runs : int
        1 or more.

    Returns
    -------
    list of dict
        For each run `seconds` from the start of the process to its end, `cpu_seconds` of all threads (much less
        affected by other programs), `process_mb` (peak resident memory, in 10⁶ bytes), `python_mb` (peak memory of
        Python and NumPy after the libraries and the network are loaded) and `parts` (seconds of each step).
    """
    python_mb = _run(method, model, images, trace=True)["python_mb"]
    return [{**_run(method, model, images, trace=False), "python_mb": python_mb} for _ in range(runs)]


def _run(method: str, model: Path, images: Path, *, trace: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "cost.json")
        command = [sys.executable, "-m", "lab.benchmarks.paper.cost", method, str(model), str(images), str(out)]
        began = time.perf_counter()
        environment = {**os.environ, "SAFE_CACHE": folder, "TF_CPP_MIN_LOG_LEVEL": "3"}
        subprocess.run([*command, *(["--trace"] if trace else [])], cwd=ROOT, env=environment, check=True)
        return {**json.loads(out.read_text()), "seconds": time.perf_counter() - began}


def save_alexnet(path: Path, n_classes: int) -> None:
    """Save AlexNet, used in the paper's case studies, with random weights, which do not affect HUDD's cost."""
    import keras

    from safe_dnn.support.files import replacing

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


def main(arguments: list[str] | None = None) -> int:
    """Run one method; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.paper.cost", description=__doc__.split("\n")[0])
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("model", type=Path, help="the DNN under test, a Keras model")
    parser.add_argument("images", type=Path, help="folder of failing images")
    parser.add_argument("out", type=Path, help="output file, JSON")
    parser.add_argument("--trace", action="store_true", help="measure the memory allocated by Python")
    options = parser.parse_args(arguments)
    if options.trace:
        _import_libraries()
        tracemalloc.start()
    steps: dict[str, float] = {}
    began, step = time.perf_counter(), "Loading"
    loaded = False

    def time_step(what: str, done: int, total: int) -> None:
        nonlocal began, step, loaded
        now = time.perf_counter()
        steps[step] = steps.get(step, 0.0) + now - began
        began, step = now, what
        if what in FIRST_STEPS and done and not loaded:
            loaded = True  # the peak is reset after the first batch; the next one needs the same memory again
            if options.trace:
                tracemalloc.reset_peak()

    if options.method.startswith("safe"):
        extractor = choose_extractor("auto", precision="bfloat16" if "bfloat16" in options.method else "float32")
        with reporting(time_step):
            images = extract_features(options.images, extractor)
        time_step("Clustering", 0, 0)
        find_root_cause_clusters(images)
    else:
        listing = find_images(options.images)
        with reporting(time_step):
            run_hudd(options.model, listing.root, listing.paths)
    time_step("", 0, 0)
    peak = tracemalloc.get_traced_memory()[1] / 1e6 if options.trace else 0.0
    record = {"cpu_seconds": time.process_time(), "process_mb": peak_resident_mb(), "python_mb": peak, "parts": steps}
    options.out.write_text(json.dumps(record))
    return 0


def _import_libraries() -> None:
    """Import the libraries beforehand: their memory is the same for all methods and is not counted."""
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
