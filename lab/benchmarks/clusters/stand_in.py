"""A stand-in for VGG16's ImageNet weights, for machines that cannot download them.

    python -m lab.benchmarks.clusters.stand_in FILE.h5

The convolutional layers are the true ones, from the package that `vgg16-conv` uses; the dense layers are random (He et
al., ICCV 2015), and preserve the geometry of the last pooling layer. Results with it say how the features are joined
and how robust that is, not how good the true fc2 is. The file has the form of `keras.applications`, 553 MB, and is the
same to the last byte on each run.
"""

import argparse
import sys
from pathlib import Path

import h5py
import numpy as np

from safe_dnn.features.extractor import DENSE_LAYERS
from safe_dnn.features.network import LayerWeights, conv_shapes, read_weights
from safe_dnn.features.weights import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import replacing

SEED = 0
N_CLASSES = 1000  # of ImageNet


def stand_in(*, seed: int = SEED) -> dict[str, LayerWeights]:
    """The weights of each layer.

    Raises
    ------
    SAFEError
        The convolutional weights are not installed.
    """
    package = choose_extractor("vgg16-conv").weights
    if package is None:  # choose_extractor raises if there are none
        raise SAFEError("Expected the weights of vgg16-conv. Run: make weights")
    layers = read_weights(package, conv_shapes())
    rng = np.random.default_rng(seed)
    for name, (n_in, n_out) in {**DENSE_LAYERS, "predictions": (DENSE_LAYERS["fc2"][1], N_CLASSES)}.items():
        kernel = rng.standard_normal((n_in, n_out), np.float32) * np.float32(np.sqrt(2 / n_in))
        layers[name] = LayerWeights(kernel, np.zeros(n_out, np.float32))
    return layers


def write_as_applications(path: Path, layers: dict[str, LayerWeights]) -> None:
    """Write weights in the form of `keras.applications`: a group per layer, with the names that Keras 1 gave arrays.

    Raises
    ------
    SAFEError
        The file cannot be written.
    """
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["layer_names"] = [name.encode() for name in layers]
        for name, layer in layers.items():
            group = file.create_group(name)
            names = [f"{name}_W_1:0", f"{name}_b_1:0"]
            group.attrs["weight_names"] = [array.encode() for array in names]
            for array, values in zip(names, layer, strict=True):
                group.create_dataset(array, data=values)


def main(arguments: list[str] | None = None) -> int:
    """Write the file; see the module's docstring."""
    parser = argparse.ArgumentParser(
        prog="python -m lab.benchmarks.clusters.stand_in", description=__doc__.split("\n")[0]
    )
    parser.add_argument("file", metavar="FILE.h5", type=Path)
    options = parser.parse_args(arguments)
    try:
        write_as_applications(options.file, stand_in())
    except SAFEError as error:
        print(f"stand_in: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
