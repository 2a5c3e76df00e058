"""Layer-wise relevance propagation (LRP) through a Keras CNN by the z+ rule: the heatmaps clustered by HUDD.

A neuron's relevance for the winning class is distributed to the neurons below in proportion to their contributions to
its activation, counting only positive contributions: a·w⁺ for a positive input a, a·w⁻ for a negative one. Biases take
part in the forward pass but get no relevance, so the sum over a layer remains the winning logit, except for neurons
without any positive contribution. Every step is computed in batches as gradient times input.

Sources: Bach et al., PLOS ONE 10(7), 2015; Montavon et al., Pattern Recognition 65, 2017 (z+ rule).
TensorFlow is imported only inside the functions that need it.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.support.errors import SAFEError

_FRONT = frozenset({"Rescaling", "Normalization", "Resizing", "CenterCrop"})  # preparation, if at the front
_WEIGHTED = frozenset({"Conv2D", "DepthwiseConv2D", "Dense"})
_MAX = frozenset({"MaxPooling2D", "GlobalMaxPooling2D"})
_AVERAGE = frozenset({"AveragePooling2D", "GlobalAveragePooling2D"})
_MOVED = frozenset({"Flatten", "Reshape", "Cropping2D", "ZeroPadding2D", "Permute"})  # an output is an input, or 0
_PASSED = frozenset(
    {"Dropout", "SpatialDropout2D", "GaussianNoise", "Activation", "ReLU", "LeakyReLU", "ELU", "Softmax", "Identity"}
)
_TINY = 1e-12


class Step(NamedTuple):
    """One layer of the network, as a node of a graph in the order of computation.

    Attributes
    ----------
    layer : keras.Layer or None
        None for the input.
    kind : str
        Its class.
    sources : tuple of int
        The steps whose outputs it takes.
    """

    layer: Any
    kind: str
    sources: tuple[int, ...]


class Lrp(NamedTuple):
    """Computes heatmaps.

    Attributes
    ----------
    layers : tuple of str
        The layers with a heatmap: `pixels`, the input of the first weighted layer, then every convolution, pooling,
        dense layer and addition except the logits. Layers between them only pass on relevance.
    shapes : tuple of tuple of int
        Shape of one image's heatmap for each layer.
    heatmaps : callable
        Maps inputs of the model, of shape (n, height, width, channels), to a list of tensors of shape (n, *shape),
        float32, one for each layer.
    """

    layers: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    heatmaps: Callable[[Any], list]


def prepare_lrp(model: Any) -> Lrp:
    """Prepare LRP for a Keras classifier of convolutions, pooling, dense layers, batch normalisation and additions.

    Parameters
    ----------
    model : keras.Model
        Sequential or functional, also of nested models; one image in, one row of logits, softmax or sigmoid out.

    Raises
    ------
    SAFEError
        It has a layer of another kind, or does not end in a dense layer or global pooling.
    """
    import tensorflow as tf

    steps = _steps(model)
    last = _logits_step(steps)
    front = _front(steps)
    weights = {i: _positive_form(steps, i, i == last) for i, step in enumerate(steps) if step.kind in _WEIGHTED}
    mapped = [i for i in range(front, last) if _has_heatmap(steps, i, front)]

    @tf.function(reduce_retracing=True)
    def heatmaps(pixels: Any) -> list:
        outputs = _forward(steps, last, weights, pixels)
        winner = tf.one_hot(tf.argmax(outputs[last], axis=1), outputs[last].shape[1], on_value=1.0, off_value=0.0)
        relevance = {last: tf.abs(outputs[last]) * winner}
        for i in range(last, front, -1):
            if i not in relevance:
                continue
            parts = _down(steps[i], weights.get(i), [outputs[s] for s in steps[i].sources], relevance[i])
            for source, part in zip(steps[i].sources, parts, strict=True):
                relevance[source] = relevance[source] + part if source in relevance else part
        return [relevance[i] for i in mapped]

    size = [side or 224 for side in model.inputs[0].shape[1:]]
    traced = heatmaps(tf.zeros((1, *size), tf.float32))
    names = tuple("pixels" if i == front else steps[i].layer.name for i in mapped)
    return Lrp(names, tuple(tuple(one.shape[1:]) for one in traced), heatmaps)


# --- The network as a list of steps -----------------------------------------------------------------------------


def _steps(model: Any) -> list[Step]:
    """The layers in the order of computation, including those of nested models."""
    steps = [Step(None, "InputLayer", ())]

    def trace(tensor: Any, known: dict[int, int]) -> int:
        if id(tensor) in known:
            return known[id(tensor)]
        history = tensor._keras_history
        operation = history.operation
        taken = operation._inbound_nodes[history.node_index].input_tensors
        sources = tuple(trace(one, known) for one in taken)
        if hasattr(operation, "layers"):
            if len(operation.outputs) != 1:
                raise _unsupported(operation)
            inner = {id(one): source for one, source in zip(operation.inputs, sources, strict=True)}
            known[id(tensor)] = trace(operation.outputs[0], inner)
            return known[id(tensor)]
        kind = type(operation).__name__
        if kind not in _FRONT | _WEIGHTED | _MAX | _AVERAGE | _MOVED | _PASSED | {"BatchNormalization", "Add"}:
            raise _unsupported(operation)
        steps.append(Step(operation, kind, sources))
        known[id(tensor)] = len(steps) - 1
        return known[id(tensor)]

    trace(model.outputs[0], {id(model.inputs[0]): 0})
    return steps


def _unsupported(layer: Any) -> SAFEError:
    return SAFEError(
        "Expected a CNN of convolutions, pooling, dense layers, batch normalisation and additions. "
        f"Received: a layer {layer.name} of the kind {type(layer).__name__}, through which relevance is not propagated."
    )


def _logits_step(steps: list[Step]) -> int:
    """The layer whose outputs, before its activation, are the logits."""
    for i in range(len(steps) - 1, 0, -1):
        if steps[i].kind not in _PASSED:
            if steps[i].kind not in {"Dense", *_MAX, *_AVERAGE, "Flatten"}:
                raise _unsupported(steps[i].layer)
            return i
    raise SAFEError("Expected a CNN. Received a model without layers.")


def _front(steps: list[Step]) -> int:
    """The last of the steps that only prepare the pixels, where the propagation ends."""
    front = 0
    while front + 1 < len(steps) and steps[front + 1].kind in _FRONT | {"Cropping2D", "ZeroPadding2D"}:
        if steps[front + 1].sources != (front,):
            break
        front += 1
    return front


def _has_heatmap(steps: list[Step], i: int, front: int) -> bool:
    return i == front or steps[i].kind in _WEIGHTED | _MAX | _AVERAGE | {"Add"}


class _Weights(NamedTuple):
    """The weights of a layer: `kernel`; its `positive` and `negative` parts with batch normalisation folded in."""

    kernel: Any
    bias: Any
    positive: Any
    negative: Any


def _positive_form(steps: list[Step], i: int, is_last: bool) -> _Weights:
    import tensorflow as tf

    layer = steps[i].layer
    kernel = np.asarray(layer.kernel, np.float32)
    bias = np.asarray(layer.bias, np.float32) if layer.use_bias else np.zeros(kernel.shape[-1], np.float32)
    if is_last and kernel.shape[-1] == 1:  # one logit for two classes: either it wins or its negative
        kernel, bias = np.concatenate([-kernel, kernel], axis=-1), np.concatenate([-bias, bias])
    scale = _folded_scale(steps, i)
    if steps[i].kind == "DepthwiseConv2D":
        scale = scale.reshape(kernel.shape[2:]) if scale.size > 1 else scale
    folded = kernel * scale
    return _Weights(*(tf.constant(one) for one in (kernel, bias, np.maximum(folded, 0), np.minimum(folded, 0))))


def _folded_scale(steps: list[Step], i: int) -> np.ndarray:
    """The factor of each channel in a batch normalisation directly after the layer; 1 if there is none.

    A layer with an activation is not linear up to the normalisation, which then only passes on relevance.
    """
    after = [step for step in steps if i in step.sources]
    linear = getattr(getattr(steps[i].layer, "activation", None), "__name__", "linear") == "linear"
    if len(after) != 1 or after[0].kind != "BatchNormalization" or not linear:
        return np.ones(1, np.float32)
    norm = after[0].layer
    deviation = np.sqrt(np.asarray(norm.moving_variance, np.float32) + norm.epsilon)
    return (np.asarray(norm.gamma, np.float32) if norm.scale else np.float32(1)) / deviation


# --- Forward and back -------------------------------------------------------------------------------------------


def _forward(steps: list[Step], last: int, weights: dict[int, _Weights], pixels: Any) -> list:
    outputs = [pixels]
    for i, step in enumerate(steps[1 : last + 1], start=1):
        taken = [outputs[source] for source in step.sources]
        if i == last and step.kind == "Dense":  # its logits, before the softmax
            outputs.append(taken[0] @ weights[i].kernel + weights[i].bias)
        elif step.kind in _PASSED and "Dropout" in step.kind:
            outputs.append(taken[0])
        else:
            given = taken if step.kind == "Add" else taken[0]
            outputs.append(step.layer(given, training=False) if _knows_training(step) else step.layer(given))
    return outputs


def _knows_training(step: Step) -> bool:
    return step.kind in {"BatchNormalization", "GaussianNoise"}


def _down(step: Step, weights: _Weights | None, inputs: list, relevance: Any) -> Iterator[Any]:
    """The relevance of each input, given that of the output."""
    import tensorflow as tf

    if weights is not None:
        positive, negative = weights.positive, weights.negative
        above, below = tf.nn.relu(inputs[0]), -tf.nn.relu(-inputs[0])
        yield _shared(
            lambda a, b: _linear(step, a, positive) + _linear(step, b, negative),
            (above, below),
            relevance,
        )
    elif step.kind in _AVERAGE:
        yield _shared(lambda a: step.layer(a), (tf.nn.relu(inputs[0]),), relevance)
    elif step.kind == "Add":
        summands = [tf.nn.relu(one) for one in inputs]
        share = _ratio(relevance, tf.add_n(summands))
        yield from (one * share for one in summands)
    elif step.kind in _MAX | _MOVED:  # all relevance goes to the input that equals the output
        yield _pulled_back(lambda a: step.layer(a), inputs[0], relevance)
    else:  # one input per output: activations, dropout, batch normalisation
        yield relevance


def _linear(step: Step, inputs: Any, kernel: Any) -> Any:
    import tensorflow as tf

    if step.kind == "Dense":
        return tf.tensordot(inputs, kernel, [[-1], [0]])
    layer = step.layer
    how = {"padding": layer.padding.upper(), "dilations": layer.dilation_rate}
    if step.kind == "Conv2D":
        return tf.nn.conv2d(inputs, kernel, layer.strides, **how)
    return tf.nn.depthwise_conv2d(inputs, kernel, (1, *layer.strides, 1), **how)


def _shared(contributions: Callable, inputs: tuple, relevance: Any) -> Any:
    """The z+ rule: inputs times the gradient of the sum of positive contributions, weighted by relevance / sum."""
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        total = contributions(*inputs)
    slopes = tape.gradient(total, inputs, _ratio(relevance, total))
    return tf.add_n([one * slope for one, slope in zip(inputs, slopes, strict=True)])


def _pulled_back(moved: Callable, inputs: Any, relevance: Any) -> Any:
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(inputs)
        output = moved(inputs)
    return tape.gradient(output, inputs, relevance)


def _ratio(relevance: Any, total: Any) -> Any:
    import tensorflow as tf

    return tf.where(total > _TINY, relevance / tf.maximum(total, _TINY), 0.0)
