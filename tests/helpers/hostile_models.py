"""ONNX models that are made to harm whoever runs them."""

from pathlib import Path
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from tests.helpers.onnx_models import save
from tests.helpers.small_models import SIDE


def model_of(
    path: Path, nodes: list[Any], arrays: dict[str, np.ndarray], functions: Any = (), opsets: Any = ()
) -> Path:
    """A model of RGB images whose `flat` pixels the nodes turn into `row`, and which answers with two classes."""
    before = helper.make_node("ReduceMean", ["pixels"], ["flat"], axes=[2, 3], keepdims=0)
    after = [
        helper.make_node("MatMul", ["row", "kernel"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["outputs"]),
    ]
    arrays = {"kernel": np.eye(3, 2, dtype=np.float32), **arrays}
    graph = helper.make_graph(
        [before, *nodes, *after],
        "hostile",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ("n", 3, SIDE, SIDE))],
        [helper.make_tensor_value_info("outputs", TensorProto.FLOAT, ("n", 2))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return save(graph, path, functions=functions, more_opsets=opsets)


def endless(path: Path, steps: int = 2**62) -> Path:
    """A loop of so many steps."""
    info = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["on"], ["again"]), helper.make_node("Mul", ["x", "x"], ["y"])],
        "body",
        [info("i", TensorProto.INT64, []), info("on", TensorProto.BOOL, []), info("x", TensorProto.FLOAT, None)],
        [info("again", TensorProto.BOOL, []), info("y", TensorProto.FLOAT, None)],
    )
    loop = helper.make_node("Loop", ["steps", "go", "flat"], ["row"], body=body)
    return model_of(path, [loop], {"steps": np.array(steps, np.int64), "go": np.array(True)})


def vast(path: Path, side: int) -> Path:
    """A sum over a square of so many numbers a side, which is made when the model runs."""
    nodes = [
        helper.make_node("Expand", ["one", "shape"], ["square"]),
        helper.make_node("CumSum", ["square", "axis"], ["sums"]),
        helper.make_node("ReduceMax", ["sums"], ["most"], keepdims=0),
        helper.make_node("Mul", ["flat", "most"], ["row"]),
    ]  # fmt: skip
    arrays = {"one": np.ones((1, 1), np.float32), "shape": np.array([side, side]), "axis": np.array(0, np.int64)}
    return model_of(path, nodes, arrays)


def function(name: str, calls: list[str]) -> Any:
    """A function of a model that calls others, one after the other."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
    names = ["x", *(f"x{i}" for i in range(1, len(calls))), "y"]
    nodes = [
        helper.make_node(called, [names[i]], [names[i + 1]], domain="" if called == "Relu" else "local")
        for i, called in enumerate(calls)
    ]
    return helper.make_function("local", name, ["x"], ["y"], nodes, opsets)


def calling(path: Path, functions: list[Any], first: str) -> Path:
    """A model that calls a function of its own."""
    node = helper.make_node(first, ["flat"], ["row"], domain="local")
    return model_of(path, [node], {}, functions, [helper.make_opsetid("local", 1)])


def calls_itself(path: Path) -> Path:
    return calling(path, [function("f", ["f"])], "f")


def bomb(path: Path, depth: int = 40) -> Path:
    """Functions that each call the one before twice: 2 to the power of the depth operators, in 2 kB."""
    functions = [function("f0", ["Relu"]), *(function(f"f{i}", [f"f{i - 1}"] * 2) for i in range(1, depth))]
    return calling(path, functions, f"f{depth - 1}")


def endless_rnn(path: Path, steps: int = 2**20) -> Path:
    """A Keras classifier of three colours that loops over so many steps."""
    return _of_many_steps(path, steps, lambda layers: layers.GRU(3))


def vast_rows(path: Path, steps: int = 2**28) -> Path:
    """The same that needs all of them at once."""
    return _of_many_steps(path, steps, lambda layers: layers.GlobalMaxPooling1D())


def _of_many_steps(path: Path, steps: int, reducing: Any) -> Path:
    import keras

    layers = keras.layers
    before = [keras.Input((SIDE, SIDE, 3)), layers.GlobalAveragePooling2D(), layers.RepeatVector(steps)]
    keras.Sequential([*before, reducing(layers), layers.Dense(3, activation="softmax")]).save(path)
    return path
