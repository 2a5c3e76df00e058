"""VGG16 with its weights as one compiled graph: pixels in, features out. Step 1.

TensorFlow is imported only inside the functions that need it.

Sources: Simonyan & Zisserman, ICLR 2015 (VGG16); `keras.applications` (architecture and preprocessing).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from features.extractor import CONV_LAYERS, DENSE_LAYERS, INPUT_SIZE, Extractor
from features.weights_file import conv_shapes, read_weights
from support.contents import digest_of
from support.errors import SAFEError
from support.quiet import quiet_stderr

BATCH_SIZE = 16  # docs/decisions/010-batches-and-tiles.md
TILE = 7  # pixels; divides the side of every layer's output
Network = Callable[[np.ndarray], np.ndarray]


def load_network(extractor: Extractor) -> Network:
    """Build the network with its weights as one compiled graph.

    Returns
    -------
    callable
        Maps images, uint8 of shape (n, 224, 224, 3), RGB, to features, float32 of shape (n, dimension).

    Raises
    ------
    SAFEError
        There are no weights, they have changed since they were chosen, or they do not fit the network.
    """
    if extractor.weights is None:
        raise SAFEError(
            f"These clusters were made with {extractor.identity}, whose weights are no longer found. "
            "Set --weights to a copy of them, or generate the clusters again."
        )
    _check_weights(extractor.weights, extractor.identity)
    with quiet_stderr():
        import keras
        import tensorflow as tf

    with_means, with_fc2 = extractor.name != "vgg16-fc2", extractor.name != "vgg16-conv"
    weights = read_weights(extractor.weights, conv_shapes() | (DENSE_LAYERS if with_fc2 else {}))

    # 1. The network, cut where the features are read
    applications = keras.applications.vgg16
    policy = keras.config.dtype_policy()
    try:
        # Layers keep the policy under which they are created. Weights stay float32 and are rounded when they are used.
        keras.config.set_dtype_policy("mixed_bfloat16" if extractor.precision == "bfloat16" else "float32")
        trunk = applications.VGG16(include_top=False, weights=None, input_shape=(*INPUT_SIZE, 3))
        for name in CONV_LAYERS:
            trunk.get_layer(name).set_weights(weights.pop(name))
        dense = []
        for name, (n_in, n_out) in DENSE_LAYERS.items() if with_fc2 else ():
            dense.append(keras.layers.Dense(n_out, activation="relu", kernel_initializer="zeros", name=name))
            dense[-1].build((None, n_in))
            dense[-1].set_weights(weights.pop(name))
        flat = keras.layers.Flatten()(trunk.output)
    finally:
        keras.config.set_dtype_policy(policy)
    means_of = tuple(CONV_LAYERS) if with_means else ()
    network = keras.Model(trunk.input, {"flat": flat, **{name: trunk.get_layer(name).output for name in means_of}})

    # 2. Preprocessing and network as one graph, compiled once for any number of images
    @tf.function(input_signature=[tf.TensorSpec((None, *INPUT_SIZE, 3), tf.uint8)])
    def graph(pixels: Any) -> Any:
        found = network(applications.preprocess_input(tf.cast(pixels, tf.float32)), training=False)
        outputs, activations = found["flat"], [found[name] for name in means_of]
        features = []
        if with_fc2:
            # How the sums of a dense layer are rounded depends on the number of rows, so always pass a full batch.
            rows = tf.shape(outputs)[0]
            outputs = tf.pad(outputs, [[0, tf.maximum(BATCH_SIZE - rows, 0)], [0, 0]])  # type: ignore[call-arg]
            for layer in dense:
                outputs = layer(outputs)
            features.append(tf.cast(outputs[:rows], tf.float32))
        if extractor.precision == "bfloat16":
            # Converting whole outputs would take a tenth of the time. The pooling sums in float32 and rounds only the
            # means of its tiles, and these errors average out.
            activations = [tf.nn.avg_pool2d(layer, TILE, TILE, "VALID") if layer.shape[1] > 2 * TILE else layer
                           for layer in activations]  # fmt: skip
        # In float32, since a sum over many pixels would be rounded at each addition.
        features += [tf.reduce_mean(tf.cast(layer, tf.float32), axis=[1, 2]) for layer in activations]
        return tf.concat(features, axis=1)  # type: ignore[call-arg]

    return lambda pixels: graph(tf.constant(pixels)).numpy()


def _check_weights(weights: Path, identity: str) -> None:
    """Check that the file still has the digest in the identity: it may have changed since."""
    try:
        sha256 = digest_of(weights)
    except OSError as error:
        raise SAFEError(f"Could not read VGG16's weights {weights}: {error.strerror}") from error
    if sha256[:16] not in identity.split("-"):
        raise SAFEError(
            f"{weights} must contain the weights of {identity}. Received a file with the SHA-256 {sha256}: it has "
            "changed. Run the command again."
        )
