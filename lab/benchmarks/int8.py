"""How far the features and RCCs of bfloat16 and int8 are from those of float32 (docs/decisions/018).

    python -m lab.benchmarks.int8 --images FOLDER ... [--parts N] [--limits [--every N]]

For each folder of failing images: how far features are apart, as a share of their norm (median, and what a tenth
exceeds), and the adjusted Rand index between the RCCs; of all images, and the mean of N random parts of nine tenths of
them. `noise` are the features of float32, each changed at random by .4, 1 and 2 %: what of it depends on chance.

With `--limits`, the folders are training images, and `safe_dnn.features.int8.LIMITS` are measured: where the outputs of
each layer are cut off, such that rounding and cutting off change them least, by the squared error.
"""

import argparse
import sys
from collections.abc import Mapping

import numpy as np
from sklearn.metrics import adjusted_rand_score

from safe_dnn.clustering import cluster_points
from safe_dnn.FE import extract_features
from safe_dnn.features.batches import decode_for_network, pixels_of
from safe_dnn.features.extractor import CONV_LAYERS
from safe_dnn.features.network import conv_shapes, read_weights
from safe_dnn.features.weights import choose_extractor
from safe_dnn.rccs.dbscan.projection import fit_projection
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images, read_bytes

NOISE = (0.004, 0.01, 0.02)
VALUES = 10_000  # of each layer and image, drawn at random


def print_agreement(folder: str, parts: int) -> None:
    """Print rows of a Markdown table."""
    images = {name: extract_features(folder, choose_extractor("vgg16-conv", precision=name)) for name in
              ("float32", "bfloat16", "int8")}  # fmt: skip
    exact, names = images["float32"].features, np.array(images["float32"].paths)
    rng = np.random.default_rng(0)
    others = {name: found.features for name, found in images.items()} | {
        f"noise {100 * share:g} %": (exact * (1 + share * rng.standard_normal(exact.shape))).astype(np.float32)
        for share in NOISE
    }
    every = [
        np.arange(len(names)),
        *(np.sort(rng.permutation(len(names))[: 9 * len(names) // 10]) for _ in range(parts)),
    ]
    expected = [_labels(exact[rows], names[rows]) for rows in every]
    for name, features in others.items():
        apart = np.linalg.norm(features - exact, axis=1) / np.linalg.norm(exact, axis=1)
        found = [_labels(features[rows], names[rows]) for rows in every]
        rand = [adjusted_rand_score(*labels) for labels in zip(expected, found, strict=True)]
        mean = f"{np.mean(rand[1:]):.3f} ({min(rand[1:]):.3f})" if parts else ""
        median, tenth = 100 * np.quantile(apart, (0.5, 0.9))
        print(f"| {folder} | {name} | {median:.1f} | {tenth:.1f} | {found[0].max() + 1} | {rand[0]:.3f} | {mean} |")


def _labels(features: np.ndarray, names: np.ndarray) -> np.ndarray:
    projection, coordinates = fit_projection(features, "vgg16-conv")
    return cluster_points(projection.apply(features), coordinates, names.tolist())[1].labels


def limit(values: np.ndarray) -> float:
    """Where values, of shape (n,), are cut off."""
    candidates = np.geomspace(np.quantile(values, 0.995), values.max(), 25)
    return min(
        candidates, key=lambda top: np.mean((np.round(values.clip(0, top) / top * 255) * top / 255 - values) ** 2)
    )


def layer_inputs(folder: str, every: int) -> Mapping[str, np.ndarray]:
    """Some inputs of each layer but the first, of every n-th image: arrays of shape (n,), float32."""
    import keras

    extractor = choose_extractor("vgg16-conv")
    assert extractor.weights
    weights = read_weights(extractor.weights, conv_shapes())
    network = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
    for name, arrays in weights.items():
        network.get_layer(name).set_weights(arrays)
    inputs = keras.Model(network.input, [network.get_layer(name).input for name in list(CONV_LAYERS)[1:]])
    listing, rng = find_images(folder), np.random.default_rng(0)
    found = []
    for path in listing.paths[::every]:
        pixels = pixels_of(decode_for_network(read_bytes(listing.root / path))[0])
        outputs = inputs(keras.applications.vgg16.preprocess_input(np.float32(pixels[None])))
        found.append([rng.choice(np.ravel(output), VALUES) for output in outputs])
    return dict(zip(list(CONV_LAYERS)[1:], np.hstack(found), strict=True))


def main(arguments: list[str] | None = None) -> int:
    """Print the table, or the limits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--images", nargs="+", required=True, metavar="FOLDER")
    parser.add_argument("--parts", type=int, default=0, metavar="N", help="random parts (default: none)")
    parser.add_argument("--limits", action="store_true", help="measure where outputs are cut off")
    parser.add_argument("--every", type=int, default=20, metavar="N", help="with --limits, every n-th image")
    options = parser.parse_args(arguments)
    try:
        if options.limits:
            inputs = [layer_inputs(folder, options.every) for folder in options.images]
            print(*(round(limit(np.concatenate([found[name] for found in inputs]))) for name in inputs[0]))
            return 0
        print("| images | features | apart, %: median | a tenth more than | RCCs | ARI | in parts (least) |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for folder in options.images:
            print_agreement(folder, options.parts)
    except SAFEError as fault:
        print(fault, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
