"""The DNN under test: loading a model and finding out its inputs and outputs.

In: a `.keras` or `.h5` file of Keras, or a `.onnx` file. Out: the model and the assumptions about it, a sentence each.
No code in a model file is executed unless the engineer allows it.
"""

import dataclasses
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safe_dnn.dnn.formats import IMAGENET, WHOLE_NUMBERS, ModelFacts, read_config, read_keras, read_onnx
from safe_dnn.support.errors import SAFEError, path_of
from safe_dnn.support.images import size_of
from safe_dnn.support.text import count

KERAS_SUFFIXES, ONNX_SUFFIX = (".keras", ".h5", ".hdf5"), ".onnx"
# Factor and offset applied to pixels from 0 to 255; the last, of torchvision's models, is (x / 255 - mean) / deviation.
SCALINGS: dict[str, tuple[Any, Any]] = {
    "none": (1.0, 0.0),
    "1/255": (1 / 255, 0.0),
    "signed": (1 / 127.5, -1.0),
    IMAGENET: ((1 / 255 / 0.229, 1 / 255 / 0.224, 1 / 255 / 0.225), (-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225)),
}
REQUESTED = "as requested"  # why pixels are scaled as they are, if the engineer requested it
FLEXIBLE_SIDE = 224  # for a model of any input size, if the images differ in size

# Names of regression losses, or substrings of them.
_REGRESSION_LOSSES = ("mse", "mae", "squarederror", "absoluteerror", "percentageerror", "huber", "logcosh")


# --- The records ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Dnn(ModelFacts):
    """A model with its inputs and outputs: those of its file, with the scaling that is used.

    Attributes
    ----------
    path : Path
        The file, absolute; only read, never written.
    task : "classification" or "regression"
    activation : "softmax", "sigmoid" or "logits"; for a regression, the name of the last activation
    assumptions : tuple of str
        Assumptions about size, scaling, channels and outputs, a sentence each.
    """

    path: Path
    task: str
    assumptions: tuple[str, ...]

    @property
    def n_classes(self) -> int:
        """Number of classes; 2 for a single sigmoid or logit, 0 for a regression."""
        if self.task == "regression":
            return 0
        return 2 if self.n_outputs == 1 else self.n_outputs


# --- Loading ----------------------------------------------------------------------------------------------------


def load_dnn(
    path: str | os.PathLike, *, rescale: str | None = None, trust: bool = False, task: str | None = None
) -> Dnn:
    """Load a Keras model, `.keras` or `.h5`, or an ONNX model, `.onnx`.

    Parameters
    ----------
    rescale : key of SCALINGS, optional
        How the model expects pixels from 0 to 255 to be scaled. By default not at all if the model begins with a layer
        that scales them, or takes whole numbers; otherwise division by 255.
    trust : bool
        Load a model that contains code (a Lambda layer). Such code is executed with all rights of the user.
    task : "classification" or "regression", optional
        By default classification, unless the model was compiled with a regression loss.

    Raises
    ------
    SAFEError
        The file is missing, damaged, or contains code, custom objects or custom operators, or the model does not map
        one image to one row of outputs.
    """
    if rescale is not None and rescale not in SCALINGS:
        raise SAFEError(f"rescale must be one of {', '.join(SCALINGS)}. Received: {rescale}")
    file = _model_file(path)
    facts = read_onnx(file) if file.suffix.lower() == ONNX_SUFFIX else read_keras(file, trust)
    scaling, why = (rescale, REQUESTED) if rescale else (facts.scaling, facts.why)
    _check_scaling(scaling, facts, file)
    task, activation, outputs_text = _task(task, facts.activation, facts.compiled, facts.n_outputs)
    colours = "RGB" if facts.channels == 3 else "grey"
    loader = "torchvision's Resize" if file.suffix.lower() == ONNX_SUFFIX else "Keras' image_dataset_from_directory"
    size = f"{facts.width} × {facts.height} pixels, {colours}; others are scaled as by {loader}"
    assumptions = (
        f"Input: {f'any size, {colours}' if facts.height is None else size}.",
        f"Pixels: {SCALING_WORDS[scaling]} ({why}).",
        outputs_text,
    )
    precision = facts.precision if "16" in facts.precision else "float32"  # as which others are read
    used = vars(facts) | {"precision": precision, "scaling": scaling, "why": why, "activation": activation}
    return Dnn(**used, path=file, task=task, assumptions=assumptions)


def _model_file(path: str | os.PathLike) -> Path:
    """The file of a model; a SAFEError if it is missing, or neither of Keras nor of ONNX."""
    file = path_of(path, "a Keras or ONNX model")
    if file.suffix.lower() not in (*KERAS_SUFFIXES, ONNX_SUFFIX) or not file.is_file():
        raise SAFEError(
            f"Expected a Keras model, a .keras or .h5 file, or an ONNX model, a .onnx file. Received: {file}"
            f"{'' if file.is_file() else ', which is not a file'}. Save a Keras model with model.save('model.keras')."
        )
    return file


def _check_scaling(scaling: str, facts: ModelFacts, file: Path) -> None:
    if scaling == IMAGENET and facts.channels != 3:
        raise SAFEError(f"Pixels scaled as {IMAGENET} are RGB. Received: {file}, which takes grey ones.")
    if facts.scaling == "none" and scaling != "none" and facts.why == WHOLE_NUMBERS:
        raise SAFEError(f"Pixels scaled as {scaling} are fractions. Received: {file}, which takes whole numbers.")


SCALING_WORDS = {
    "none": "from 0 to 255",
    "1/255": "divided by 255, from 0 to 1",
    "signed": "from -1 to 1",
    IMAGENET: "with mean 0 and deviation 1 in each channel of ImageNet",
}


def loss_name(compiled: dict) -> str:
    """The loss of a compiled model in lower-case letters, as `sparsecategoricalcrossentropy`; empty if unknown."""
    loss = compiled.get("loss")
    if isinstance(loss, dict) and loss.get("class_name") == "function":
        loss = loss.get("config")
    if isinstance(loss, dict):
        loss = loss.get("class_name")
    return loss.replace("_", "").lower() if isinstance(loss, str) else ""


def _is_regression_loss(name: str) -> bool:
    return any(part in name for part in _REGRESSION_LOSSES)


def is_regression_file(path: str) -> bool:
    """Whether a Keras file, without being loaded, says that the model gives one number or has a regression's loss."""
    file = Path(path)
    if file.suffix.lower() not in KERAS_SUFFIXES or not file.is_file():
        return False
    config, compiled = read_config(file)
    last = (config.get("config", {}).get("layers") or [{}])[-1].get("config", {})
    return (last.get("units"), last.get("activation")) == (1, "linear") or _is_regression_loss(loss_name(compiled))


def _task(task: str | None, activation: str, compiled: dict, n_outputs: int) -> tuple[str, str, str]:
    """Task, activation, and a sentence about both."""
    loss = loss_name(compiled)
    if task is None:
        regression = activation not in ("softmax", "sigmoid") and _is_regression_loss(loss)
        task = "regression" if regression else "classification"
    if task == "regression":
        return task, activation, f"Outputs: {count(n_outputs, 'number')} (regression)."
    if activation not in ("softmax", "sigmoid"):
        if _is_regression_loss(loss):
            raise SAFEError(
                f"Expected a classifier. Received a regression: a model whose last activation is {activation}, trained "
                f"with the loss {loss}. Give the targets and a threshold on the error."
            ).about("targets", "threshold")
        activation = "logits"
    if activation == "softmax" and n_outputs == 1:
        raise SAFEError("Expected a softmax with at least two outputs. Received one output, which is always 1.")
    if n_outputs == 1:
        return task, activation, f"Outputs: one ({activation}) for two classes; above one half it is the second."
    return task, activation, f"Outputs: {n_outputs} classes ({activation}); the largest is the prediction."


def sized_for(dnn: Dnn, files: Sequence[Path]) -> Dnn:
    """Fix the input size of a model that takes any: the size of the images if all have the same, otherwise 224."""
    if dnn.height is not None and dnn.width is not None:
        return dnn
    with ThreadPoolExecutor() as pool:
        sizes = {size for size in pool.map(size_of, files) if size is not None}
    why = "the size of all images" if len(sizes) == 1 else "the images differ in size"
    if len(sizes) == 1 and not _takes(dnn, *next(iter(sizes))):
        sizes, why = set(), "the images are too small for the model"
    width, height = sizes.pop() if len(sizes) == 1 else (FLEXIBLE_SIDE, FLEXIBLE_SIDE)
    width, height = dnn.width or width, dnn.height or height
    size = f"Input: {width} × {height} pixels ({why}; the model takes any), {'RGB' if dnn.channels == 3 else 'grey'}."
    return dataclasses.replace(dnn, height=height, width=width, assumptions=(size, *dnn.assumptions[1:]))


def _takes(dnn: Dnn, width: int, height: int) -> bool:
    """Whether a model of any input size works at this size: each of its layers must have some pixels left."""
    shape = (1, dnn.height or height, dnn.width or width, dnn.channels)
    try:
        return all(dnn.model.compute_output_shape(shape[: len(dnn.model.inputs[0].shape)]))
    except ValueError:
        return False
