"""Keras models: loading them in safe mode, and finding out their inputs and outputs from their layers.

In: a `.keras` or `.h5` file. Out: the model, and what its layers say about it; a SAFEError if Keras refuses the file.
Keras's safe mode runs no code in a file, reads no other files, and unpacks to no more than the file may hold.
TensorFlow is imported only inside functions.
"""

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED
from safe_dnn.support.quiet import quiet_stderr
from safe_dnn.support.text import printable, reason_of

MOST_CONFIG = 2**26  # bytes of an architecture as text
_MEMBERS = frozenset({"metadata.json", "config.json", "model.weights.h5"})
# Raised by Keras, h5py and zipfile for files that are damaged or need something that is missing.
_LOAD_FAULTS: tuple[type[Exception], ...] = (*DAMAGED, ImportError)
_SCALING_LAYERS = frozenset(
    {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add", "GetItem"}
)
# Layers that may precede a scaling layer and do not change the range of the pixels.
_NEUTRAL_LAYERS = frozenset({"InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "AveragePooling2D"})
_SHAPE_LAYERS = frozenset({"Dropout", "Flatten", "Reshape", "Identity", "Squeeze"})


@dataclass(frozen=True)
class ModelFacts:
    """What was found out about a model from its file, whatever its format.

    Attributes
    ----------
    model : keras.Model or OnnxModel
        Only the first can be trained as well.
    height, width : int or None
        Size of the input; None if the model takes any (see `dnn.model.sized_for`).
    channels : 1 or 3
        Grey or RGB.
    scaling : key of `dnn.model.SCALINGS`
        How pixels from 0 to 255 are to be scaled, as far as the file says.
    why : str
        Why it is that scaling.
    activation : str
        Of the last layer, "linear" if it has none.
    n_outputs : int
    precision : str
        The number format of the outputs, such as `float32`.
    compiled : dict
        `optimizer` and `loss` that a Keras model was compiled with, as Keras serialises them; empty if not compiled.
    """

    model: Any
    height: int | None
    width: int | None
    channels: int
    scaling: str
    why: str
    activation: str
    n_outputs: int
    precision: str
    compiled: dict


def read_config(file: Path) -> tuple[dict, dict]:
    """Read the architecture and the compile state in a model file as text, without executing anything."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                names = [name for name in archive.namelist() if not name.startswith("assets/")]
                if not _MEMBERS.issuperset(names) or len(names) > len(_MEMBERS):
                    raise ValueError("it contains files that no model has")
                if archive.getinfo("config.json").file_size > MOST_CONFIG:
                    raise ValueError("it unpacks to far more than its own size")
                whole = json.loads(archive.read("config.json"))
            compiled, optimizer = whole.get("compile_config") or {}, "optimizer"
        else:
            import h5py

            with h5py.File(file, "r") as stored:
                whole = json.loads(stored.attrs["model_config"])
                compiled, optimizer = json.loads(stored.attrs.get("training_config") or "{}"), "optimizer_config"
        return whole, {"optimizer": compiled.get(optimizer), "loss": compiled.get("loss")} if compiled else {}
    except _LOAD_FAULTS as error:
        raise _refusal(file, error) from error


def _refusal(file: Path, error: Exception) -> SAFEError:
    """What Keras says of a file that it does not load, and what to do."""
    reason = str(error).rpartition("Exception encountered: ")[2] or type(error).__name__
    if "safe_mode" in reason:
        return SAFEError(
            f"{file} contains code that runs, or reads files, when the model is loaded ({reason_of(ValueError(reason))}"
            "). Replace it with Keras's own layers or, if you trust the author of the file, let it run."
        ).about("trust_model")
    if missing := re.search(r"(?:Could not locate|Unknown) \w+:? '([^']+)'", reason):
        return SAFEError(
            f"Expected a model made of Keras's own layers. Received: {file}, which needs custom objects "
            f"({printable(missing[1])}). Rebuild it with Keras's own layers, copy the weights with set_weights, and "
            "save it again."
        )
    return SAFEError(
        f"Expected a complete Keras model. Received: {file}, which cannot be read ({reason_of(ValueError(reason))}). "
        "Is it damaged, or written by another version of Keras? Save it again with model.save('model.keras')."
    )


def read_keras(file: Path, trust: bool) -> ModelFacts:
    """Load a Keras model, and find out what it takes and gives.

    Parameters
    ----------
    trust : bool
        Load a model that contains code, which is executed.

    Raises
    ------
    SAFEError
        The file is damaged, or contains code or custom objects, or the model does not map one image to one row of
        outputs.
    """
    with quiet_stderr():
        import keras

    _, compiled = read_config(file)
    try:
        # Not compiled: a custom loss would prevent loading, and retraining compiles the model again.
        model = keras.saving.load_model(file, compile=False, safe_mode=not trust)
    except _LOAD_FAULTS as error:
        raise _refusal(file, error) from error
    is_model = isinstance(model, keras.Model)
    if not is_model or not getattr(model, "outputs", None):
        raise SAFEError(f"Expected a Keras model with a known input. Received: {file}. Build the model, then save it.")
    height, width, channels = _input_size(model)
    output = model.outputs[0].shape
    if len(model.outputs) != 1 or len(output) != 2 or not output[1]:
        raise SAFEError(
            f"Expected a model with one row of outputs for each image. Received: outputs of shape "
            f"{', '.join(str(tuple(one.shape)) for one in model.outputs)} in {file}."
        )
    last, precision = _last_activation(model.outputs[0]._keras_history.operation), str(model.outputs[0].dtype)
    return ModelFacts(model, height, width, channels, *_find_scaling(model), last, int(output[1]), precision, compiled)


def _input_size(model: Any) -> tuple[int | None, int | None, int]:
    shapes = [tuple(one.shape) for one in model.inputs]
    if len(shapes) == 1:
        _, *shape = shapes[0]
        if len(shape) == 2:
            return shape[0], shape[1], 1
        if len(shape) == 3 and shape[2] in (1, 3):
            return shape[0], shape[1], shape[2]
    raise SAFEError(
        "Expected a model with one image as input, grey or RGB, channels last: (height, width, 1 or 3). "
        f"Received input of shape {', '.join(map(str, shapes))}. Give a table of its answers or, if "
        "the image has another layout, export it to ONNX."
    )


def _flat_operations(model: Any) -> Iterator[Any]:
    for operation in getattr(model, "operations", None) or model.layers:
        if hasattr(operation, "layers"):
            yield from _flat_operations(operation)
        else:
            yield operation


def _find_scaling(model: Any) -> tuple[str, str]:
    for layer in _flat_operations(model):
        kind = type(layer).__name__
        if kind == "Normalization" and layer.mean is not None and float(np.abs(np.asarray(layer.mean)).max()) <= 1.5:
            return "1/255", "assumed, since the model's Normalization layer was adapted to such values"
        if kind in _SCALING_LAYERS:
            return "none", f"the model scales them itself, in its layer {layer.name}"
        if kind not in _NEUTRAL_LAYERS and not kind.startswith("Random"):
            break
    return "1/255", "assumed, since the model has no scaling layer; choose others if it was trained with them"


def _last_activation(operation: Any) -> str:
    kind = type(operation).__name__
    if hasattr(operation, "layers"):
        return _last_activation(operation.outputs[0]._keras_history.operation)
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    name: str | None = getattr(getattr(operation, "activation", None), "__name__", None)
    if name is not None and (name != "linear" or kind != "Activation"):
        return name
    if kind == "Activation" or kind in _SHAPE_LAYERS:
        return _last_activation(operation.input._keras_history.operation)
    return "linear"
