"""A Keras model: loading it, and finding out its inputs and outputs from its layers.

In: a `.keras` or `.h5` file. Out: the model, and what its layers say about it.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dnn.facts import ModelFacts
from dnn.model_file import load_model, read_config, refuse_code
from support.errors import SAFEError

_SCALING_LAYERS = frozenset(
    {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add", "GetItem"}
)
# Layers that may precede a scaling layer and do not change the range of the pixels.
_NEUTRAL_LAYERS = frozenset({"InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "AveragePooling2D"})
_SHAPE_LAYERS = frozenset({"Dropout", "Flatten", "Reshape", "Identity", "Squeeze"})


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
    config, compiled = read_config(file)
    refuse_code(file, config, trust)
    model = load_model(file, trust)
    height, width, channels = _input_size(model)
    output = model.outputs[0].shape
    if len(model.outputs) != 1 or len(output) != 2 or not output[1]:
        raise SAFEError(
            f"Expected a model with one row of outputs for each image. Received: outputs of shape "
            f"{', '.join(str(tuple(one.shape)) for one in model.outputs)} in {file}."
        )
    if isinstance(model.compute_output_spec(model.inputs[0]), dict):
        raise SAFEError(
            f"Expected a model whose output is a row of numbers. Received: {file}, whose output is a dict. Rebuild it "
            "as keras.Model(model.inputs, model.outputs) and save that model."
        )
    last = _last_activation(model.outputs[0]._keras_history.operation)
    return ModelFacts(model, height, width, channels, *_find_scaling(model), last, int(output[1]), compiled)


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
        f"Received input of shape {', '.join(map(str, shapes))}."
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
    return "1/255", "assumed, since the model has no scaling layer; --rescale overrides this"


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
