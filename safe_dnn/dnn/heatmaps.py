"""Where a DNN looks: for each image, how much each place of it speaks for the true class, or against it.

In: a model, and images with their true classes. Out: a heatmap for each image. Of a Keras model this is the gradient of
the log odds of the true class with respect to the last map of its convolutions, times that map, summed over channels
(HiResCAM; with the mean gradient of each channel in its place it would be Grad-CAM, which is the same where a mean of
each channel is what the last layer takes). Of an ONNX model, which gives no gradients, and of one without a map of
several pixels, parts of the image are covered one after the other. Of a regression, minus the squared error stands for
the log odds.

The predicted class would say what speaks for another answer in each image; what speaks for the true one can be compared
between images that are right and images that fail.

Sources: Selvaraju et al., "Grad-CAM", ICCV 2017; Draelos et al., "Use HiResCAM instead of Grad-CAM", arXiv 2011.08891;
Zeiler & Fergus, "Visualizing and understanding convolutional networks", ECCV 2014 (covering).
docs/decisions/055-heatmaps.md has figures.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.model import Dnn, sized_for
from safe_dnn.dnn.model_file import flat_operations
from safe_dnn.dnn.onnx_model import OnnxModel
from safe_dnn.dnn.predictions import Pixels, batches
from safe_dnn.support.progress import Progress, no_progress

GRID = 64  # sides of a heatmap, whatever the size of the image
COVERED = 8  # parts of each side that are covered one after the other
BATCH = 32
WHAT = "Looking where the model looks"
LEAST = 1e-37  # a probability is taken to be larger by this


class Heatmaps(NamedTuple):
    """Heatmaps of images.

    Attributes
    ----------
    how : str
        What they are of: the layer, or the number of runs.
    indices : ndarray of shape (n_images,), int64
        The readable images among those given, in their order.
    maps : ndarray of shape (n_images, GRID, GRID), float32
        Positive where something speaks for the true class, negative where against it, 0 where nothing is seen.
    """

    how: str
    indices: np.ndarray
    maps: np.ndarray


class _Cells(NamedTuple):
    """Where the cells of a map lie along a side of the image, in pixels: they fill what is seen of it."""

    begin: float
    end: float
    number: int

    def spread(self, side: int) -> np.ndarray:
        """Weights of the cells for each part of the grid, ndarray of shape (GRID, number); 0 where nothing is seen."""
        at = ((np.arange(GRID) + 0.5) * side / GRID - self.begin) / (self.end - self.begin)
        nearest = np.clip(at * self.number - 0.5, 0, self.number - 1)
        weights = np.maximum(1 - np.abs(nearest[:, None] - np.arange(self.number)), 0)
        return (weights * ((at >= 0) & (at <= 1))[:, None]).astype(np.float32)


def heatmaps(
    dnn: Dnn, root: Path, paths: Sequence[str], truth: Sequence[Any], *, progress: Progress = no_progress
) -> Heatmaps:
    """Compute where a DNN looks.

    Parameters
    ----------
    truth : sequence of int, or of sequences of float
        The true class of each image, as an index of the outputs; of a regression, what its outputs should be.
    """
    files, true = [root / path for path in paths], np.array(truth)
    dnn = sized_for(dnn, files)
    pixels = Pixels(dnn, files, cache_bytes=0)
    of_batch = _by_covering if isinstance(dnn.model, OnnxModel) else _by_gradient
    how, indices, maps = "", [np.empty(0, np.int64)], [np.empty((0, GRID, GRID), np.float32)]
    for inputs, kept in batches(dnn, pixels, np.arange(len(files)), BATCH):
        progress(WHAT, sum(map(len, indices)), len(files))
        if len(kept):
            indices.append(kept.numpy())
            how, cells, down, across = of_batch(dnn, inputs.numpy(), true[indices[-1]])
            maps.append(down.spread(inputs.shape[1]) @ cells @ across.spread(inputs.shape[2]).T)
    return Heatmaps(how, np.concatenate(indices), np.concatenate(maps))


# --- By the gradient --------------------------------------------------------------------------------------------


def _by_gradient(dnn: Dnn, inputs: np.ndarray, truth: np.ndarray) -> tuple[str, np.ndarray, _Cells, _Cells]:
    """How, the heatmaps of a batch, ndarray of shape (n, height, width), and where their cells lie, down and across."""
    import tensorflow as tf

    with tf.GradientTape() as tape, _traced(dnn.model, tape.watch) as calls:
        score = _score(dnn, dnn.model(tf.constant(inputs), training=False), truth)
    if not (found := _last_map(calls)):
        return _by_covering(dnn, inputs, truth)
    layer, last = found
    cells = tf.reduce_sum(last * tape.gradient(score, last), axis=-1).numpy()
    down, across = (_cells(calls, last, axis) for axis in (1, 2))
    return f"HiResCAM of the layer {layer.name} ({down.number} × {across.number})", cells, down, across


def _score(dnn: Dnn, outputs: Any, truth: np.ndarray) -> Any:
    """What speaks for the truth, for each image; outputs are a tensor.

    Log odds have a gradient even where the probability of the class is 1 but for rounding.
    """
    import tensorflow as tf

    if dnn.task == "regression":
        return -tf.reduce_sum((outputs - truth.astype(np.float32)) ** 2, axis=1)
    if dnn.activation == "logits":
        outputs = tf.sigmoid(outputs) if dnn.n_outputs == 1 else tf.nn.softmax(outputs)
    if dnn.n_outputs == 1:
        outputs = tf.reshape(tf.stack([1 - outputs, outputs], axis=1), (-1, 2))
    true = tf.one_hot(truth, outputs.shape[1], 1.0, 0.0)
    given = tf.reduce_sum(outputs * true, axis=1)
    others = 1 - given if dnn.activation == "sigmoid" else tf.reduce_sum(outputs * (1 - true), axis=1)
    return tf.math.log(given + LEAST) - tf.math.log(others + LEAST)


@contextlib.contextmanager
def _traced(model: Any, watch: Any) -> Iterator[list[tuple[Any, Any, Any]]]:
    """The calls of layers in the block: layer, input and output of each. Layers of nested models are called as well."""
    calls: list[tuple[Any, Any, Any]] = []

    def traced(layer: Any) -> Any:
        call = layer.call

        def calling(*inputs: Any, **more: Any) -> Any:
            outputs = call(*inputs, **more)
            if len(getattr(outputs, "shape", ())) == 4 and outputs is not inputs[0]:  # as of a Dropout
                watch(outputs)
                calls.append((layer, inputs[0], outputs))
            return outputs

        return calling

    layers = list({id(layer): layer for layer in flat_operations(model)}.values())
    for layer in layers:
        vars(layer)["call"] = traced(layer)
    try:
        yield calls
    finally:
        for layer in layers:
            del vars(layer)["call"]


def _last_map(calls: Sequence[tuple[Any, Any, Any]]) -> tuple[Any, Any] | None:
    """The last layer that gives a map of several pixels, at or after a convolution, and what it gives; None if none."""
    names = [type(layer).__name__ for layer, *_ in calls]
    first = next((at for at, name in enumerate(names) if "Conv" in name), len(calls))
    after = zip(names[first:], calls[first:], strict=True)
    found = [call for name, call in after if "Pooling" not in name and min(call[2].shape[1:3]) > 1]
    return (found[-1][0], found[-1][2]) if found else None


def _cells(calls: Sequence[tuple[Any, Any, Any]], last: Any, axis: int) -> _Cells:
    """Where the cells of a map lie in the image: in what the layers that led to it have left of it."""
    seen: dict[int, tuple[float, float]] = {}
    for layer, inputs, outputs in calls:
        inputs = inputs[0] if isinstance(inputs, list | tuple) else inputs
        given = inputs if len(inputs.shape) == 4 else outputs  # a list of numbers, reshaped
        begin, end = seen.get(id(inputs), (0.0, float(given.shape[axis])))
        if "Crop" in type(layer).__name__:
            before, after = int(given.shape[axis]), int(outputs.shape[axis])
            pixels = (end - begin) / before
            begin += pixels * (layer.cropping[axis - 1][0] if hasattr(layer, "cropping") else (before - after) // 2)
            end = begin + pixels * after
        seen[id(outputs)] = begin, end
    return _Cells(*seen[id(last)], int(last.shape[axis]))


# --- By covering ------------------------------------------------------------------------------------------------


def _by_covering(dnn: Dnn, inputs: np.ndarray, truth: np.ndarray) -> tuple[str, np.ndarray, _Cells, _Cells]:
    """The same, by how much the score falls when a part of the image is covered with the image's mean colour."""
    import tensorflow as tf

    def score(images: np.ndarray) -> np.ndarray:
        return _score(dnn, tf.constant(dnn.model.predict_on_batch(images), tf.float32), truth).numpy()

    edges = [np.linspace(0, side, COVERED + 1).round().astype(int) for side in inputs.shape[1:3]]
    cells, whole = np.empty((len(inputs), COVERED, COVERED), np.float32), score(inputs)
    for row, column in np.ndindex(COVERED, COVERED):
        covered = inputs.copy()
        part = slice(None), slice(*edges[0][row : row + 2]), slice(*edges[1][column : column + 2])
        covered[part] = inputs.mean(axis=(1, 2), keepdims=True)
        cells[:, row, column] = whole - score(covered)
    down, across = (_Cells(0, side, COVERED) for side in inputs.shape[1:3])
    return f"{COVERED} × {COVERED} covered parts, {COVERED**2 + 1} runs an image", cells, down, across
