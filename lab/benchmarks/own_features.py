"""How much do RCCs explain with the features of other networks, in place of VGG16's?

    python -m lab.benchmarks.own_features --data NAME=DIR ... [--model NAME=FILE ...] [--onnx FILE:TENSOR]
        --work DIR [--write]

A case is as of `lab.benchmarks.reasons`; the figures are those of `lab.benchmarks.explained_uncertainty`. Compared are
the features of

- vgg16-conv;
- the DNN itself: what its last layer receives (Keras models that scale their pixels themselves);
- with --onnx, a network for other images: the mean over all places of a tensor. Images have `SIDE` pixels on each side
  and values from 0 to 1.

The latter two are brought in an `.npz` file, as an engineer brings them. With --write,
lab/results/explained_uncertainty.md is written. Files and rows are kept in the work folder.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from lab.benchmarks.explained_uncertainty import HEADER, SOURCES, Compared, rows_of_way
from lab.benchmarks.kept import kept, key_of, named_paths
from lab.benchmarks.paper.cases import trained_cnn
from lab.benchmarks.reasons.cases import failing_images, images_beside, load_reasons_case
from lab.benchmarks.results import table, tell
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.features.extractor import Extractor
from safe_dnn.features.own import own_extractor
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import report_progress

BATCH = 64
SIDE = 320
VGG16 = "vgg16-conv"
Read = Callable[[np.ndarray], np.ndarray]
"""Features of shape (n, dimension), by pixels of shape (n, height, width, 3), from 0 to 255."""


def last_layer(model: Path) -> tuple[tuple[int, int], Read]:
    """The size of a Keras model's images, and what its last layer receives."""
    import keras

    whole = keras.models.load_model(model, compile=False)
    below = keras.Model(whole.inputs, whole.layers[-1].input)
    return whole.input_shape[1:3], partial(below.predict, verbose=0)


def mean_of_tensor(onnx_file: Path, tensor: str) -> tuple[tuple[int, int], Read]:
    """The same of an ONNX model and the means over all places of one of its tensors."""
    import onnx
    import onnxruntime

    model = onnx.load(onnx_file)
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(tensor))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def read(pixels: np.ndarray) -> np.ndarray:
        (maps,) = session.run([tensor], {name: (pixels / 255).transpose(0, 3, 1, 2).astype(np.float32)})
        return np.asarray(maps).mean(axis=(2, 3))

    return (SIDE, SIDE), read


def features_file(images: Path, file: Path, size: tuple[int, int], read: Read) -> Path:
    """Write the features of all images in a folder, unless they are there."""
    if file.is_file():
        return file
    paths, rows = find_images(images).paths, []
    for first in range(0, len(paths), BATCH):
        report_progress(f"Writing {file.name}", first, len(paths))
        some = (Image.open(images / path).convert("RGB") for path in paths[first : first + BATCH])
        rows.append(read(np.stack([np.asarray(one.resize(size[::-1]), np.float32) for one in some])))
    np.savez(file, paths=np.array(paths, str), features=np.concatenate(rows))
    return file


def rows_of(name: str, extractors: dict[str, Extractor], data: Path, work: Path, model: Path) -> list[list[str]]:
    """A row for each extractor and way of clustering."""
    rows = []
    for features, extractor in extractors.items():
        case = load_reasons_case(name, data, work, extractor, model=model)
        compared = Compared(name, case, failing_images(case), images_beside(case), None)
        key = key_of(extractor.identity, case.tested.digest, *SOURCES)
        found = kept(work / f"own_features-{features}.json", key, partial(rows_of_way, compared))
        rows += [[name, features, *row[1:]] for row in found]
    return rows


@terminal_progress()
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="own_features", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of the cases")
    parser.add_argument("--model", nargs="+", metavar="NAME=FILE", default=[], help="DNNs; default: model.keras in DIR")
    parser.add_argument("--onnx", metavar="FILE:TENSOR", help="a network for other images, and the tensor to average")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for features and answers")
    parser.add_argument("--write", action="store_true", help="write the results instead of printing them")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        models, rows = named_paths("--model", options.model), []
        for name, data in named_paths("--data", options.data).items():
            work = prepare_folder(Path(options.work) / name)
            model = models.get(name, data / MODEL_FILE)
            model = model if model.is_file() else trained_cnn(data / "train", work)
            networks = {"the DNN itself": last_layer(model)}
            if options.onnx:
                file, _, tensor = options.onnx.rpartition(":")
                networks[Path(file).stem] = mean_of_tensor(Path(file), tensor)
            extractors = {VGG16: choose_extractor(VGG16)}
            for features, network in networks.items():
                extractors[features] = own_extractor(features_file(data / "test", work / f"{features}.npz", *network))
            rows += rows_of(name, extractors, data, work, model)
    except SAFEError as error:
        print(f"own_features: {error}", file=sys.stderr)
        return 2
    tell("explained_uncertainty-own", section_of(rows), write=options.write)
    return 0


def section_of(rows: list[list[str]]) -> str:
    """The section as Markdown."""
    header = ("case", "features", *HEADER[1:])
    text = "Written by `python -m lab.benchmarks.own_features`, which has the definitions."
    return f"## Features of other networks\n\n{text}\n\n{table(header, rows, texts=4)}\n"


if __name__ == "__main__":
    sys.exit(main())
