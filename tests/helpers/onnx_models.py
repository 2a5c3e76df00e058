"""ONNX models with the weights of the small Keras models, built node by node."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.small_models import SIDE

OPSET = [helper.make_opsetid("", 17)]
Dims = Sequence[int | str | None]


def dense_of(model: Any, *, channels_first: bool) -> tuple[np.ndarray, np.ndarray]:
    """Kernel and bias of a small Keras model's dense layer, for pixels in the order of the graph."""
    kernel, bias = model.layers[-1].get_weights()
    if channels_first:
        kernel = kernel.reshape(SIDE, SIDE, 3, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return kernel, bias


def onnx_of(
    model: Any,
    path: Path,
    *,
    channels_first: bool = True,
    last: str = "Softmax",
    scaling: bool = True,
    dims: Dims | None = None,
    kind: int = TensorProto.FLOAT,
    extra: Sequence[Any] = (),
) -> Path:
    """Save a small Keras model as ONNX.

    Parameters
    ----------
    channels_first : bool
        Whether the graph takes (n, channels, height, width), as PyTorch exports it.
    last : str
        The last node; empty for none.
    dims : sequence, optional
        The declared shape of the input; a text is any size.
    extra : sequence of NodeProto
        Nodes that are added to the graph; their outputs are not used.
    """
    kernel, bias = dense_of(model, channels_first=channels_first)
    shape = dims or (("n", 3, SIDE, SIDE) if channels_first else ("n", SIDE, SIDE, 3))
    nodes = [helper.make_node("Cast", ["pixels"], ["numbers"], to=TensorProto.FLOAT)]
    if scaling:
        nodes.append(helper.make_node("Mul", ["numbers", "factor"], ["scaled"], name="rescale"))
    nodes += [
        helper.make_node("Flatten", ["scaled" if scaling else "numbers"], ["flat"]),
        helper.make_node("Gemm", ["flat", "kernel", "bias"], ["row" if last else "outputs"]),
        *([helper.make_node(last, ["row"], ["outputs"])] if last else []), *extra,
    ]  # fmt: skip
    arrays = {"kernel": kernel, "bias": bias, "factor": np.float32(1 / 255)}
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("pixels", kind, shape)],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ("n", len(bias)))],
        [numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in arrays.items()],
    )
    return save(graph, path)


def save(graph: Any, path: Path, *, more_opsets: Sequence[Any] = (), functions: Sequence[Any] = ()) -> Path:
    """Save a graph as a model that older versions of onnxruntime read."""
    model = helper.make_model(graph, opset_imports=[*OPSET, *more_opsets], functions=functions)
    model.ir_version = 9
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path
