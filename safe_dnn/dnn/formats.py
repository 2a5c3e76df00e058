"""Models of both formats: loading them without running code of theirs, and finding out their inputs and outputs.

Keras, in: a `.keras` or `.h5` file. Out: the model, and what its layers say about it; a SAFEError if Keras refuses the
file. Keras's safe mode runs no code in a file, reads no other files, and unpacks to no more than the file may hold.

ONNX, in: a `.onnx` file, self-contained and made of operators that onnxruntime has. Out: the model with a Keras model's
face, and what its graph says about its inputs and outputs; nothing but the graph is executed. ONNX says neither how
pixels are to be scaled nor what the model is for. What costs too much time or memory ends with the worker process (see
`model_process.py`).

TensorFlow, onnx and onnxruntime are imported only inside functions (`requirements/onnx.txt`).

Source: ONNX 1.17, `docs/IR.md` (graphs, functions, external data).
"""

import json
import re
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED, regular
from safe_dnn.support.quiet import quiet_stderr
from safe_dnn.support.text import printable, reason_of, some
from safe_dnn.support.version import install

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
IMAGENET = "imagenet"  # a scaling, see `dnn.model.SCALINGS`
WHOLE_NUMBERS = "the model takes whole numbers"
TRIAL_SIDE = 224  # of the image by which a model of any size is tried
_NUMBERS = {
    "tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64, "tensor(uint8)": np.uint8,
}  # fmt: skip
_SCALING_NODES = frozenset({"Mul", "Div", "Sub", "Add"})
# Nodes that do not change the range of the pixels, before the one that scales them.
_NEUTRAL_NODES = frozenset(
    {"Identity", "Cast", "Transpose", "Resize", "Upsample", "Pad", "AveragePool", "Reshape", "Squeeze", "Unsqueeze",
     "Slice"}
)  # fmt: skip
# Nodes that do not change the values of the outputs, after the last activation.
_SHAPE_NODES = frozenset({"Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze", "Dropout"})


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
    """The error for a file that Keras does not load: the reason, and what to do."""
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


class OnnxModel:
    """A model that onnxruntime runs, with the face of a Keras model: images have their channels last.

    `inputs` is a list of one, with a `shape`: (None, height, width, channels) or, of grey images, without channels. It
    is None where the model takes any.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
        Of a graph that takes one image.

    Raises
    ------
    ValueError
        It does not take images; the message says what is expected.
    """

    def __init__(self, session: Any):
        (taken,) = session.get_inputs()
        if taken.type not in _NUMBERS:
            raise ValueError(f"an image of numbers, not {taken.type}")
        sizes = [size if isinstance(size, int) and size else None for size in taken.shape]
        # The only size of a batch that the graph takes; None if it takes any.
        self._batch = sizes[0] if sizes else None
        first, last = (len(sizes) == 4 and sizes[axis] in (1, 3) for axis in (1, 3))
        if first == last and (len(sizes) != 3 or self._batch not in (None, 1)):
            layouts = "(images, channels, height, width), or the channels last, with 1 or 3 channels"
            received = ", ".join(str(size or "any") for size in sizes)
            raise ValueError(f"an input {layouts}, not ({received})")
        self.channels_first = first
        self.inputs = [SimpleNamespace(shape=(None, *(sizes[2:] + sizes[1:2] if first else sizes[1:])))]
        self._session, self._name, self.dtype = session, taken.name, _NUMBERS[taken.type]

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs for a batch of inputs, of whatever size the graph takes."""
        images = np.asarray(x)
        images = np.ascontiguousarray(images.transpose(0, 3, 1, 2) if self.channels_first else images, self.dtype)
        size, parts = self._batch or len(images), []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            missing = size - len(part)
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            (outputs,) = self._session.run(None, {self._name: padded})
            parts.append(np.atleast_1d(outputs)[: len(part)])
        return np.concatenate(parts)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the outputs for a batch of a shape; a ValueError if the graph does not take it."""
        # Not zeros, which a graph that standardizes each image would divide by zero.
        pixels = np.random.default_rng(0).random(input_shape, np.float32) * (255 if self.dtype == np.uint8 else 1)
        try:
            outputs = self.predict_on_batch(pixels)
        except Exception as error:
            raise ValueError(reason_of(error)) from error
        if not np.isfinite(outputs).all():  # such as an average over no pixels
            raise ValueError("outputs that are no numbers")
        return outputs.shape


def read_onnx(file: Path) -> ModelFacts:
    """Load an ONNX model, and find out what it takes and gives.

    Raises
    ------
    SAFEError
        onnxruntime is not installed or does not load the file, it has parts in other files, or the model does not map
        one image to one row of outputs.
    """
    try:
        import onnx.inliner
        import onnxruntime
    except ImportError as error:
        raise SAFEError(
            f"Expected onnxruntime to be installed, to run {file}. Received an environment without it ({error}). "
            f"Install it: {install('onnx')}"
        ) from error
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # warnings are raised, and shown once
    try:
        model = onnx.load_model_from_string(regular(file).read_bytes())
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        _check_whole(model.graph, file, onnx.TensorProto)
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except SAFEError:
        raise
    except Exception as error:  # onnxruntime's have no class of their own
        raise SAFEError(
            f"Expected a complete ONNX model of ONNX's own operators. Received: {file}, which cannot be read "
            f"({reason_of(error)}). Is it damaged, or written for a newer onnxruntime? A table of its answers will do."
        ).about("predictions") from error
    try:
        for noun, ends in (("one image as input", session.get_inputs()), ("one output", session.get_outputs())):
            if len(ends) != 1:
                raise ValueError(f"{noun}, not {len(ends)}")
        runnable = OnnxModel(session)
        _, *shape = runnable.inputs[0].shape
        outputs = runnable.compute_output_shape((2, *(side or TRIAL_SIDE for side in shape)))
        if len(outputs) != 2 or outputs[0] != 2:
            raise ValueError(f"one row of outputs for each image, not outputs of shape {outputs} for two images")
    except ValueError as error:
        expected = f"Expected an ONNX model of an image classifier or regression: {error}."
        raise SAFEError(f"{expected} Received: {file}.") from error
    graph, (height, width, channels) = model.graph, (*shape, 1)[:3]
    scaling, why = _onnx_scaling(graph, session.get_inputs()[0].name, runnable.channels_first)
    if runnable.dtype == np.uint8:
        scaling, why = "none", WHOLE_NUMBERS
    # A graph that was converted to half precision may still give float32 in the end.
    is_half = graph.node[-1].op_type == "Cast" and 10 in {one.data_type for one in graph.initializer}  # FLOAT16
    precision = "float16" if is_half or "float16" in session.get_outputs()[0].type else "float32"
    last = _onnx_activation(graph)
    return ModelFacts(runnable, height, width, channels, scaling, why, last, int(outputs[1]), precision, {})


def _check_whole(graph: Any, file: Path, tensor: Any) -> None:
    """Raise a SAFEError for weights in other files: onnxruntime would read any file below the current folder."""
    tensors = (one for one in _messages(graph) if isinstance(one, tensor))
    elsewhere = [printable(one.name) for one in tensors if one.data_location == tensor.EXTERNAL]
    if elsewhere:
        raise SAFEError(
            f"Expected an ONNX model in one file. Received: {file}, whose weights are in other files "
            f"({some(elsewhere, limit=2)}). Load it with onnx.load, and save it again with onnx.save."
        )


def _messages(message: Any) -> Iterator[Any]:
    """A message of protobuf and all inside of it: tensors stand in graphs inside of nodes, too."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if isinstance(value, Sequence) else [value]:
                yield from _messages(inner)


def _onnx_scaling(graph: Any, name: str, channels_first: bool) -> tuple[str, str]:
    """How pixels are to be scaled, by the nodes that follow the input, and why."""
    constants = {one.name for one in graph.initializer}
    constants |= {output for node in graph.node if node.op_type == "Constant" for output in node.output}
    # A node that asks for the size, as layers that resize do, is beside the way of the pixels.
    while len(following := [node for node in graph.node if name in node.input and node.op_type != "Shape"]) == 1:
        (node,) = following
        if node.op_type in _SCALING_NODES and any(other in constants for other in node.input):
            return "none", f"the model scales them itself, in its node {printable(node.name or node.op_type)}"
        if node.op_type not in _NEUTRAL_NODES:
            break
        name = node.output[0]
    hint = f"; models of torchvision and timm expect {IMAGENET}" if channels_first else ""
    return "1/255", f"assumed, since the model has no scaling node; choose others if it was trained with them{hint}"


def _onnx_activation(graph: Any) -> str:
    """The last activation: softmax, sigmoid, or linear for any other."""
    source = {output: node for node in graph.node for output in node.output}
    node = source.get(graph.output[0].name)
    while node is not None and node.op_type in _SHAPE_NODES:
        node = source.get(node.input[0])
    kind = node.op_type.lower() if node is not None else ""
    return kind if kind in ("softmax", "sigmoid") else "linear"
