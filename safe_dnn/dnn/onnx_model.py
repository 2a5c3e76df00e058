"""An ONNX model: reading it without executing anything but its graph, and running it with onnxruntime.

In: a `.onnx` file, self-contained and made of standard operators. Out: the model with a Keras model's face, and what
its graph says about its inputs and outputs. ONNX says neither how pixels are to be scaled nor what the model is for.

onnx and onnxruntime are imported only inside the functions that need them (`requirements/onnx.txt`).

Source: ONNX 1.17, `docs/IR.md` (graphs, functions, external data).
"""

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from safe_dnn.dnn.model_file import ModelFacts
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import regular
from safe_dnn.support.text import printable, reason_of, some
from safe_dnn.support.version import install

IMAGENET = "imagenet"  # a scaling, see `dnn.model.SCALINGS`
WHOLE_NUMBERS = "the model takes whole numbers"
TRIAL_SIDE = 224  # of the image by which a model of any size is tried
MOST_OPERATORS = 100_000
_STANDARD = ("", "ai.onnx", "ai.onnx.ml")
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


class OnnxModel:
    """A model that onnxruntime runs, with the face of a Keras model: images have their channels last.

    `inputs` is a list of one, with a `shape`: (None, height, width, channels) or, of grey images, without channels. It
    is None where the model takes any.

    Parameters
    ----------
    session : onnxruntime.InferenceSession
    name, dtype
        Of the input.
    channels_first : bool
        Whether the graph takes (n, channels, height, width).
    shape : tuple
        (None, height, width, channels) or (None, height, width), None where it takes any.
    batch : int or None
        The only size of a batch that the graph takes; None if it takes any.
    """

    def __init__(self, session: Any, name: str, dtype: type, *, channels_first: bool, shape: tuple, batch: int | None):
        self.inputs = [SimpleNamespace(shape=shape)]
        self._session, self._channels_first, self._batch = session, channels_first, batch
        self._name, self._dtype = name, dtype

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """The outputs for a batch of inputs, of whatever size the graph takes.

        Raises
        ------
        SAFEError
            The graph cannot be run on them.
        """
        try:
            return self._run(np.asarray(x))
        except _faults() as error:
            raise SAFEError(
                f"The ONNX model could not be run on images of shape {tuple(x.shape)[1:]} ({reason_of(error)})."
            ) from error

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        """The shape of the outputs for a batch of a shape; a ValueError if the graph does not take it."""
        # Not zeros, which a graph that standardizes each image would divide by zero.
        pixels = np.random.default_rng(0).random(input_shape, np.float32) * (255 if self._dtype == np.uint8 else 1)
        try:
            outputs = self._run(pixels)
        except _faults() as error:
            raise ValueError(reason_of(error)) from error
        if not np.isfinite(outputs).all():  # as of an average over no pixels
            raise ValueError("outputs that are no numbers")
        return outputs.shape

    def _run(self, images: np.ndarray) -> np.ndarray:
        if self._channels_first:
            images = images.transpose(0, 3, 1, 2)
        images = np.ascontiguousarray(images, self._dtype)
        size = self._batch or len(images)
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            missing = size - len(part)
            padded = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            (outputs,) = self._session.run(None, {self._name: padded})
            parts.append(np.atleast_1d(outputs)[: len(part)])
        return np.concatenate(parts)


def read_onnx(file: Path) -> ModelFacts:
    """Load an ONNX model, and find out what it takes and gives.

    Raises
    ------
    SAFEError
        onnxruntime is not installed, the file is damaged, has parts in other files or operators that are not ONNX's
        own, or the model does not map one image to one row of outputs.
    """
    try:
        import onnx
        import onnx.inliner
        import onnxruntime
    except ImportError as error:
        raise SAFEError(
            f"Expected onnxruntime to be installed, to run {file}. Received an environment without it ({error}). "
            f"Install it: {install('onnx')}"
        ) from error
    model = _checked(_read(file, onnx), file, onnx)
    graph = model.graph
    weights = {tensor.name for tensor in (*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer))}
    channels_first, shape, batch = _input_of(file, [one for one in graph.input if one.name not in weights])
    if len(graph.output) != 1:
        raise _other_model(file, f"one row of outputs for each image, not {len(graph.output)} outputs")
    session, name, kind = _session(file, model, onnxruntime)
    if kind not in _NUMBERS:
        raise _other_model(file, f"an image of numbers, not {kind}")
    runnable = OnnxModel(session, name, _NUMBERS[kind], channels_first=channels_first, shape=shape, batch=batch)
    height, width = shape[1:3]
    try:
        n_outputs = _n_outputs(runnable, shape)
    except ValueError as error:
        raise _other_model(file, f"one row of outputs for each image ({error})") from error
    scaling, why = _find_scaling(graph, name, weights, channels_first)
    if kind == "tensor(uint8)":
        scaling, why = "none", WHOLE_NUMBERS
    channels, last = shape[3] if len(shape) == 4 else 1, _last_activation(graph)
    # A graph that was converted to half precision may still give float32 in the end.
    is_half = graph.node[-1].op_type == "Cast" and 10 in {one.data_type for one in graph.initializer}  # FLOAT16
    precision = "float16" if is_half or "float16" in session.get_outputs()[0].type else "float32"
    return ModelFacts(runnable, height, width, channels, scaling, why, last, n_outputs, precision, {})


def _session(file: Path, model: Any, onnxruntime: Any) -> tuple[Any, str, str]:
    """A session that runs the model, and the name and type of its input."""
    faults: tuple[type[Exception], ...] = (ValueError, *_faults())
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 4  # what is not fatal is raised, and told once
    try:
        # What was checked, rather than the file: no path from which others could be looked for.
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), settings, providers=["CPUExecutionProvider"], enable_fallback=0
        )
        return session, session.get_inputs()[0].name, session.get_inputs()[0].type
    except faults as error:
        raise _damaged(file, error) from error


# --- What may be in the file ------------------------------------------------------------------------------------


def _read(file: Path, onnx: Any) -> Any:
    """The model in a file, with its own functions put in place; a SAFEError if it is damaged."""
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(regular(file).read_bytes())
        if model.functions:
            if _n_operators(model, onnx) > MOST_OPERATORS:
                raise ValueError(f"its functions call each other until there are over {MOST_OPERATORS:,} operators")
            model = onnx.inliner.inline_local_functions(model)
    except (OSError, ValueError, RuntimeError, DecodeError) as error:
        raise _damaged(file, error) from error
    if not model.graph.node:
        raise _damaged(file, ValueError("it has no graph"))
    return model


def _n_operators(model: Any, onnx: Any) -> int:
    """How many operators there are when functions have taken the place of their calls."""

    def called(part: Any) -> list[tuple[str, str]]:
        return [(one.domain, one.op_type) for one in _messages(part) if isinstance(one, onnx.NodeProto)]

    calls = {(function.domain, function.name): called(function) for function in model.functions}
    size = functools.cache(lambda key: 1 + sum(map(size, calls.get(key, ()))))
    return sum(map(size, called(model.graph)))


def _checked(model: Any, file: Path, onnx: Any) -> Any:
    """The model; a SAFEError if it needs anything but its file."""
    parts = list(_messages(model.graph))
    tensors = (part for part in parts if isinstance(part, onnx.TensorProto))
    elsewhere = [_text(tensor.name) for tensor in tensors if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if elsewhere:
        raise SAFEError(
            f"Expected an ONNX model in one file. Received: {file}, whose weights are in other files "
            f"({some(elsewhere, limit=2)}). Load it with onnx.load, and save it again with onnx.save."
        )
    nodes = (part for part in parts if isinstance(part, onnx.NodeProto))
    foreign = sorted({_text(node.op_type) for node in nodes if node.domain not in _STANDARD})
    if foreign:
        raise SAFEError(
            f"Expected an ONNX model made of ONNX's own operators. Received: {file}, which needs custom operators "
            f"({some(foreign)}). Export it again without them, or use a table of its answers."
        ).about("predictions")
    return model


def _messages(message: Any) -> Iterator[Any]:
    """A message of protobuf and all inside of it: nodes and tensors stand in graphs inside of nodes, too."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if isinstance(value, Sequence) else [value]:
                yield from _messages(inner)


def _faults() -> tuple[type[Exception], ...]:
    """What onnxruntime raises if a graph cannot be built or run."""
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    return tuple(one for one in vars(state).values() if isinstance(one, type) and issubclass(one, Exception))


def _damaged(file: Path, error: Exception) -> SAFEError:
    return SAFEError(
        f"Expected a complete ONNX model. Received: {file}, which cannot be read ({reason_of(error)}). Is it damaged, "
        "or written for a newer onnxruntime?"
    )


def _other_model(file: Path, expected: str) -> SAFEError:
    return SAFEError(f"Expected an ONNX model of an image classifier or regression: {expected}. Received: {file}.")


def _text(name: str | bytes) -> str:
    """A name in a graph, which protobuf gives as bytes if it is not valid UTF-8, as text that is safe to display."""
    return printable(name if isinstance(name, str) else name.decode("utf-8", "replace"))


# --- What the graph says ----------------------------------------------------------------------------------------


def _input_of(file: Path, inputs: list[Any]) -> tuple[bool, tuple, int | None]:
    """Whether channels come first, the shape of the input with channels last, and the size of a batch, None if any."""
    if len(inputs) != 1:
        raise _other_model(file, f"one image as input, not {len(inputs)} inputs")
    dims = [dim.dim_value or None for dim in inputs[0].type.tensor_type.shape.dim]
    received = f"({', '.join(str(dim or 'any') for dim in dims)})"
    batch = dims[0] if dims else None
    if len(dims) == 3 and batch in (None, 1):
        return False, (None, *dims[1:]), batch
    first, last = (len(dims) == 4 and dims[axis] in (1, 3) for axis in (1, 3))
    if first == last:  # neither, or a picture one or three pixels wide
        layouts = "(images, channels, height, width), or the channels last, with 1 or 3 channels"
        raise _other_model(file, f"an input {layouts}, not {received}")
    return (True, (None, dims[2], dims[3], dims[1]), batch) if first else (False, (None, *dims[1:]), batch)


def _n_outputs(model: OnnxModel, shape: tuple) -> int:
    """The number of outputs for each image, by a trial; a ValueError if they are no row of numbers."""
    sides = [side or TRIAL_SIDE for side in shape[1:3]]
    found = model.compute_output_shape((2, *sides, *shape[3:]))
    if len(found) != 2 or found[0] != 2:
        raise ValueError(f"outputs of shape {found} for two images")
    return int(found[1])


def _find_scaling(graph: Any, name: str, weights: set[str], channels_first: bool) -> tuple[str, str]:
    """How pixels are to be scaled, by the nodes that follow the input, and why."""
    constants = weights | {output for node in graph.node if node.op_type == "Constant" for output in node.output}
    # A node that asks for the size, as layers that resize do, is beside the way of the pixels.
    while len(following := [node for node in graph.node if name in node.input and node.op_type != "Shape"]) == 1:
        (node,) = following
        if node.op_type in _SCALING_NODES and any(other in constants for other in node.input):
            return "none", f"the model scales them itself, in its node {_text(node.name or node.op_type)}"
        if node.op_type not in _NEUTRAL_NODES:
            break
        name = node.output[0]
    hint = f"; models of torchvision and timm expect {IMAGENET}" if channels_first else ""
    return "1/255", f"assumed, since the model has no scaling node; choose others if it was trained with them{hint}"


def _last_activation(graph: Any) -> str:
    """The last activation: softmax, sigmoid, or linear for any other."""
    source = {output: node for node in graph.node for output in node.output}
    node = source.get(graph.output[0].name)
    while node is not None and node.op_type in _SHAPE_NODES:
        node = source.get(node.input[0])
    kind = node.op_type.lower() if node is not None else ""
    return kind if kind in ("softmax", "sigmoid") else "linear"
