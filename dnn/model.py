"""The DNN under test: loading a Keras model and finding out what it takes and gives.

In: a `.keras` or `.h5` file. Out: the model, with what was assumed about it in words. Nothing that a model file brings
along is executed unless the engineer says so.

TensorFlow is imported only inside the functions that need it.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dnn.model_file import load_model, read_config, refuse_code
from support.entries import path_of
from support.errors import SAFEError
from support.images import FORMATS, UNREADABLE

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
# Factor and offset on pixels from 0 to 255.
SCALINGS = {"none": (1.0, 0.0), "1/255": (1 / 255, 0.0), "signed": (1 / 127.5, -1.0)}
FLEXIBLE_SIDE = 224  # for a model of any input size, where the images differ in size

_SCALING_LAYERS = frozenset(
    {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add", "GetItem"}
)
# What may come before a scaling layer and leaves the range of pixels as it is.
_NEUTRAL_LAYERS = frozenset({"InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "AveragePooling2D"})
_SHAPE_LAYERS = frozenset({"Dropout", "Flatten", "Reshape", "Identity", "Squeeze"})
_REGRESSION_LOSSES = ("mse", "mae", "squarederror", "absoluteerror", "percentageerror", "huber", "logcosh")  # or parts


# --- The records ------------------------------------------------------------------------------------------------


class DnnOptions(NamedTuple):
    """What the engineer says of a DNN that its file does not.

    Attributes
    ----------
    rescale : key of SCALINGS, optional
        As for `load_dnn`.
    trust : bool
        As for `load_dnn`.
    targets : path, optional
        Of a regression: a table (CSV) of the columns `image` and one for each output (see `targets.read_targets`).
    threshold : float or text, optional
        Of a regression: a larger error (see `predictions.errors_of`) is a failure.
    """

    rescale: str | None = None
    trust: bool = False
    targets: str | os.PathLike | None = None
    threshold: float | str | None = None

    @property
    def task(self) -> str | None:
        """The task that the engineer says it has; None where it is to be seen from the model."""
        return "regression" if self.targets else None


AS_IN_THE_FILE = DnnOptions()


@dataclass(frozen=True)
class Dnn:
    """A Keras model and what it takes and gives.

    Attributes
    ----------
    model : keras.Model
    path : Path
        The file, absolute; only read, never written.
    height, width : int or None
        Of the input; None where the model takes any (see `sized_for`).
    channels : 1 or 3
        Grey or RGB.
    scaling : key of SCALINGS
        What is done to pixels from 0 to 255 before the model gets them.
    task : "classification" or "regression"
    activation : "softmax", "sigmoid" or "logits"; of a regression, the name of the last activation
    n_outputs : int
    compiled : dict
        `optimizer` and `loss` as the model was compiled with, in Keras's own form; empty where it was not.
    assumptions : tuple of str
        What was assumed on size, scaling, channels and outputs, in plain words.
    """

    model: Any
    path: Path
    height: int | None
    width: int | None
    channels: int
    scaling: str
    task: str
    activation: str
    n_outputs: int
    compiled: dict
    assumptions: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Classes that the outputs tell apart: a single sigmoid or logit tells two. 0 for a regression."""
        if self.task == "regression":
            return 0
        return 2 if self.n_outputs == 1 else self.n_outputs


# --- Loading ----------------------------------------------------------------------------------------------------


def load_dnn(
    path: str | os.PathLike, *, rescale: str | None = None, trust: bool = False, task: str | None = None
) -> Dnn:
    """Load a Keras model, `.keras` or `.h5`.

    Parameters
    ----------
    rescale : key of SCALINGS, optional
        What the model expects of pixels from 0 to 255. Without it: nothing, where the model begins with a layer that
        scales them; otherwise division by 255.
    trust : bool
        Load a model that holds code (a Lambda layer). Such code is executed with all rights of the user.
    task : "classification" or "regression", optional
        Without it, classification, unless the model was compiled with a loss for regression.

    Raises
    ------
    SAFEError
        No such file, a damaged one, one that holds code or custom objects, or a model that does not go from one image
        to one row of outputs.
    """
    if rescale is not None and rescale not in SCALINGS:
        raise SAFEError(f"rescale must be one of {', '.join(SCALINGS)}. Received: {rescale}")
    file = path_of(path, "a Keras model")
    if file.suffix.lower() not in MODEL_SUFFIXES:
        raise SAFEError(
            f"Expected a Keras model, a file .keras or .h5. Received: {file}. Save it with model.save('model.keras')."
        )
    if not file.is_file():
        raise SAFEError(f"Expected a Keras model. Received: {file}, which is no file.")
    config, compiled = read_config(file)
    refuse_code(file, config, trust)
    model = load_model(file, trust)
    height, width, channels = _input_size(model)
    output = model.outputs[0].shape
    if len(model.outputs) != 1 or len(output) != 2 or not output[1]:
        raise SAFEError(
            f"Expected a model with one row of outputs for an image. Received: outputs of shape "
            f"{', '.join(str(tuple(one.shape)) for one in model.outputs)} in {file}."
        )
    if isinstance(model.compute_output_spec(model.inputs[0]), dict):
        raise SAFEError(
            f"Expected a model whose output is a row of numbers. Received: {file}, whose output is a dict. Rebuild it "
            "as keras.Model(model.inputs, model.outputs) and save that."
        )
    scaling, why = (rescale, "as asked for") if rescale else _find_scaling(model)
    activation = _last_activation(model.outputs[0]._keras_history.operation)
    task, activation, said = _task(task, activation, compiled, int(output[1]))
    assumptions = (
        f"Input: {'any size' if height is None else f'{width} × {height} pixels'}, "
        f"{'RGB' if channels == 3 else 'grey'}.",
        f"Pixels: {_SCALING_WORDS[scaling]} ({why}).",
        said,
    )
    return Dnn(model, file, height, width, channels, scaling, task, activation, int(output[1]), compiled, assumptions)


_SCALING_WORDS = {"none": "from 0 to 255", "1/255": "divided by 255, from 0 to 1", "signed": "from -1 to 1"}


def _input_size(model: Any) -> tuple[int | None, int | None, int]:
    shapes = [tuple(one.shape) for one in model.inputs]
    if len(shapes) == 1:
        _, *shape = shapes[0]
        if len(shape) == 2:
            return shape[0], shape[1], 1
        if len(shape) == 3 and shape[2] in (1, 3):
            return shape[0], shape[1], shape[2]
    raise SAFEError(
        "Expected a model of one image, grey or RGB, its channels last: (height, width, 1 or 3). "
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
            return "1/255", "assumed, since the model's Normalization layer is adapted to such values"
        if kind in _SCALING_LAYERS:
            return "none", f"the model scales them itself, its layer {layer.name}"
        if kind not in _NEUTRAL_LAYERS and not kind.startswith("Random"):
            break
    return "1/255", "assumed, since the model has no scaling layer; --rescale says otherwise"


def _last_activation(operation: Any) -> str:
    kind = type(operation).__name__
    if hasattr(operation, "layers"):
        return _last_activation(operation.outputs[0]._keras_history.operation)
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    name = getattr(getattr(operation, "activation", None), "__name__", None)
    if name == "linear" and kind != "Activation":
        return name
    if name not in (None, "linear"):
        return name
    if kind == "Activation" or kind in _SHAPE_LAYERS:
        return _last_activation(operation.input._keras_history.operation)
    return "linear"


def loss_name(compiled: dict) -> str:
    """The loss that a model was compiled with, as lower-case letters: `sparsecategoricalcrossentropy`, or ``."""
    loss = compiled.get("loss")
    if isinstance(loss, dict) and loss.get("class_name") == "function":
        loss = loss.get("config")
    if isinstance(loss, dict):
        loss = loss.get("class_name")
    return loss.replace("_", "").lower() if isinstance(loss, str) else ""


def _is_regression_loss(name: str) -> bool:
    return any(part in name for part in _REGRESSION_LOSSES)


def _task(asked: str | None, activation: str, compiled: dict, n_outputs: int) -> tuple[str, str, str]:
    """Task, activation, and both in words."""
    loss = loss_name(compiled)
    if asked is None:
        regression = activation not in ("softmax", "sigmoid") and _is_regression_loss(loss)
        asked = "regression" if regression else "classification"
    if asked == "regression":
        return asked, activation, f"Outputs: {n_outputs} numbers (regression)."
    if activation not in ("softmax", "sigmoid"):
        if _is_regression_loss(loss):
            raise SAFEError(
                f"Expected a classifier. Received a model whose last activation is {activation} and that was trained "
                f"with the loss {loss}, a regression. Give the targets (--targets) and a threshold on the error."
            )
        activation = "logits"
    if activation == "softmax" and n_outputs == 1:
        raise SAFEError("Expected at least two outputs of a softmax. Received one, which is always 1.")
    if n_outputs == 1:
        return (
            asked,
            activation,
            f"Outputs: one ({activation}) that tells two classes apart, the second above one half.",
        )
    return asked, activation, f"Outputs: {n_outputs} classes ({activation}); the largest is the prediction."


def sized_for(dnn: Dnn, files: Sequence[Path]) -> Dnn:
    """Settle the input size of a model that takes any: the images' own where they are all alike, otherwise 224."""
    if dnn.height is not None and dnn.width is not None:
        return dnn
    with ThreadPoolExecutor() as pool:
        sizes = set(pool.map(_size_of, files)) - {None}
    why = "the size of all images" if len(sizes) == 1 else "the images differ in size"
    if len(sizes) == 1 and not _takes(dnn, *next(iter(sizes))):
        sizes, why = set(), "the images' own size is too small for it"
    width, height = sizes.pop() if len(sizes) == 1 else (FLEXIBLE_SIDE, FLEXIBLE_SIDE)
    width, height = dnn.width or width, dnn.height or height
    said = f"Input: {width} × {height} pixels ({why}; the model takes any), {'RGB' if dnn.channels == 3 else 'grey'}."
    return dataclasses.replace(dnn, height=height, width=width, assumptions=(said, *dnn.assumptions[1:]))


def _takes(dnn: Dnn, width: int, height: int) -> bool:
    """Whether a model of any input size can work at this one: each of its layers needs some pixels to be left."""
    shape = (1, dnn.height or height, dnn.width or width, dnn.channels)
    try:
        return all(dnn.model.compute_output_shape(shape[: len(dnn.model.inputs[0].shape)]))
    except ValueError:
        return False


def _size_of(file: Path) -> tuple[int, int] | None:
    try:
        with Image.open(file, formats=FORMATS) as image:
            return image.size
    except UNREADABLE:
        return None
