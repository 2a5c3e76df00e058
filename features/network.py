"""VGG16 with its weights, as one compiled graph: pixels in, features out. Step 1.

TensorFlow is imported only inside the functions that need it. Sources: Simonyan & Zisserman, ICLR 2015 (VGG16);
`keras.applications` (weights and preprocessing).
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from features.digests import sha256_of
from features.extractor import CONV_LAYERS, INPUT_SIZE, Extractor
from support.errors import SAFEError
from support.quiet import quiet_stderr

# Measured from 1 to 64 on 2 cores with AVX-512: the rate is the same from 4 upwards in float32, within 3 % from 8 in
# bfloat16. A process that takes 8 at a time has 1.1 GB, 16 take 1.5 and 32 take 1.9. GPUs and dense layers like many.
BATCH_SIZE = 16
TILE = 7  # pixels; divides the sides of what all layers give
Network = Callable[[np.ndarray], np.ndarray]


def load_network(extractor: Extractor) -> Network:
    """Build the network, with its weights, as one compiled graph.

    Returns
    -------
    callable
        From images, uint8 of shape (n, 224, 224, 3), RGB, to features, float32 of shape (n, dimension).

    Raises
    ------
    SAFEError
        There are no weights, they have changed since they were chosen, or the file does not fit the network.
    """
    if extractor.weights is None:
        raise SAFEError(
            f"These clusters were made with {extractor.identity}, whose weights are no longer found. "
            "Name them with --weights, or generate the clusters again."
        )
    _check_weights(extractor)
    with quiet_stderr():
        import keras
        import tensorflow as tf

    # 1. The network, cut where the features are read
    applications = keras.applications.vgg16
    policy = keras.config.dtype_policy()
    try:
        # Layers keep the policy that they are made under: weights stay float32 and are rounded as they are used.
        keras.config.set_dtype_policy("mixed_bfloat16" if extractor.precision == "bfloat16" else "float32")
        if extractor.name == "vgg16-fc2":
            full = applications.VGG16(weights=str(extractor.weights))
            network = keras.Model(full.input, full.get_layer("flatten").output)
            dense = full.get_layer("fc1"), full.get_layer("fc2")
        else:
            trunk = applications.VGG16(include_top=False, weights=None, input_shape=(*INPUT_SIZE, 3))
            _set_conv_weights(trunk, extractor.weights)
            network = keras.Model(trunk.input, [trunk.get_layer(layer).output for layer in CONV_LAYERS])
    except (OSError, ValueError, KeyError) as error:
        first_line = str(error).strip().split("\n")[0]
        raise SAFEError(f"{extractor.weights} must hold VGG16's weights. Received: {first_line}") from error
    finally:
        keras.config.set_dtype_policy(policy)

    # 2. Preprocessing and network as one graph, compiled once for any number of images
    @tf.function(input_signature=[tf.TensorSpec((None, *INPUT_SIZE, 3), tf.uint8)])
    def graph(pixels):
        outputs = network(applications.preprocess_input(tf.cast(pixels, tf.float32)), training=False)
        if extractor.name == "vgg16-fc2":
            # The sums of a dense layer are rounded by how many rows there are: let it always see a full batch.
            rows = tf.shape(outputs)[0]
            outputs = tf.pad(outputs, [[0, tf.maximum(BATCH_SIZE - rows, 0)], [0, 0]])
            for layer in dense:
                outputs = layer(outputs)
            return tf.cast(outputs[:rows], tf.float32)
        if extractor.precision == "bfloat16":
            # To convert all that the layers give would take a tenth of the time. The pooling adds up in float32 and
            # rounds only its means, and their errors average out.
            outputs = [tf.nn.avg_pool2d(output, TILE, TILE, "VALID") if output.shape[1] > 2 * TILE else output
                       for output in outputs]  # fmt: skip
        # In float32, or a mean over many pixels would be rounded as it is added up.
        return tf.concat([tf.reduce_mean(tf.cast(output, tf.float32), axis=[1, 2]) for output in outputs], axis=1)

    return lambda pixels: graph(tf.constant(pixels)).numpy()


def _check_weights(extractor: Extractor) -> None:
    """Features bear the name of these weights, which may have been remembered rather than read."""
    try:
        sha256 = sha256_of(extractor.weights)
    except OSError as error:
        raise SAFEError(f"Could not read VGG16's weights {extractor.weights}: {error.strerror}") from error
    if sha256[:16] not in extractor.identity.split("-"):
        raise SAFEError(
            f"{extractor.weights} must hold the weights of {extractor.identity}. Received a file with the SHA-256 "
            f"{sha256}: it has changed. Run the command again."
        )


def _set_conv_weights(trunk, path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for layer in trunk.layers:
        if layer.weights:
            stem = f"functional_1/{layer.name}_1"
            kernel = arrays[f"{stem}/convolution/ReadVariableOp:0"]  # (out, in, height, width)
            layer.set_weights([kernel.transpose(2, 3, 1, 0), arrays[f"{stem}/Squeeze:0"]])
