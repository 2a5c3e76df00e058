"""What measuring the images' attributes costs, and what the attributes tell apart (docs/decisions/014).

    python -m lab.benchmarks.attributes --images FOLDER ... [--scenarios CSV]

Costs: on each folder of images, and on JPEGs of 12 megapixels that are generated, the median processor time that it
takes to measure an image, by that of the network for an image; both by turns in one run. It is processor time of all
threads, since the threads that load images measure them while the network computes.

With a CSV file (image, disturbance) for the first folder: for each disturbance, the area under the ROC curve of each
attribute, by which the images with it are told from the others: 1 is always higher, 0 always lower, .5 neither.
"""

import argparse
import csv
import io
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.metrics import roc_auc_score

from safe_dnn.features.attributes import ATTRIBUTES, measure, measured_images
from safe_dnn.features.batches import compute_rows, decode_for_network, pixels_of
from safe_dnn.features.network import BATCH_SIZE, load_network
from safe_dnn.features.weights import choose_extractor
from safe_dnn.support.images import find_images

ROUNDS = 7
LARGE = (4000, 3000)


def large_jpegs(n: int) -> list[bytes]:
    """JPEGs of 12 megapixels: coarse clouds of colour, with fine noise."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(n):
        clouds = Image.fromarray(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)).resize(
            LARGE, Image.Resampling.BICUBIC
        )
        grain = Image.fromarray(rng.normal(128, 12, (LARGE[1], LARGE[0])).clip(0, 255).astype(np.uint8)).convert("RGB")
        data = io.BytesIO()
        Image.blend(clouds, grain, 0.3).save(data, "JPEG", quality=90)
        found.append(data.getvalue())
    return found


def milliseconds(work: Callable[[], object]) -> float:
    """Processor time of all threads."""
    begin = time.process_time()
    work()
    return 1000 * (time.process_time() - begin)


def print_costs(sets: dict[str, list[bytes]]) -> None:
    extractors = [choose_extractor("vgg16-conv", precision=precision) for precision in ("float32", "bfloat16")]
    networks = [partial(compute_rows, load_network(extractor), extractor=extractor) for extractor in extractors]
    print("| images | decoding, ms | measuring, ms | float32 network, ms | share | bfloat16 network, ms | share |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, files in sets.items():
        images = [decode_for_network(data) for data in files]
        pixels = [pixels_of(image) for image, _ in images]
        for network in networks:
            network(pixels)  # traced at the first call
        decoding: list[float] = []
        measuring: list[float] = []
        passes: list[list[float]] = [[] for _ in networks]
        for _ in range(ROUNDS):
            decoding += [milliseconds(partial(decode_for_network, data)) for data in files]
            measuring += [milliseconds(partial(measure, *image)) for image in images]
            for times, network in zip(passes, networks, strict=True):
                times.append(milliseconds(partial(network, pixels)) / len(pixels))
        cost = np.median(measuring)
        shares = "".join(f" {np.median(times):.0f} | {cost / np.median(times):.2%} |" for times in passes)
        print(f"| {name} | {np.median(decoding):.2f} | {cost:.2f} |{shares}")


def print_told_apart(folder: Path, scenarios: Path) -> None:
    with scenarios.open(encoding="utf-8", newline="") as file:
        named = {Path(row[0]).name: row[1] for row in list(csv.reader(file))[1:]}
    paths = [path for path in find_images(folder).paths if Path(path).name in named]
    truth = np.array([named[Path(path).name] for path in paths])
    rows = measured_images(folder, paths)
    names = sorted(set(truth))
    print("\n| attribute | " + " | ".join(names) + " |\n|---|" + "---:|" * len(names))
    for name, column in zip(ATTRIBUTES, rows.T, strict=True):
        known = np.isfinite(column)
        if len(set(column[known])) > 1:
            areas = [roc_auc_score(truth[known] == value, column[known]) for value in names]
            print(f"| {name} | " + " | ".join(f"{area:.2f}" for area in areas) + " |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--scenarios", type=Path, metavar="CSV")
    given = parser.parse_args()
    sets = {}
    for folder in given.images:
        listing = find_images(folder)
        chosen = listing.paths[:: max(1, len(listing.paths) // BATCH_SIZE)][:BATCH_SIZE]
        sets[folder.as_posix()] = [(listing.root / path).read_bytes() for path in chosen]
    print_costs(sets | {"JPEGs of 12 megapixels": large_jpegs(BATCH_SIZE)})
    if given.scenarios:
        print_told_apart(given.images[0], given.scenarios)


if __name__ == "__main__":
    main()
