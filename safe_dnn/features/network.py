"""VGG16 with its weights as one compiled graph: pixels in, features out. Step 1.

TensorFlow is imported only inside the functions that need it. Keras itself is not asked to read the weights: it reads a
file only into a model of exactly the same make, and a model file may contain code. Here, only arrays are read: of the
`.h5` files of `keras.applications`, also *notop*, or of a whole model, in groups listed in `layer_names` (Keras 1 and
2); and of the `.onnx` file in the package of `vgg16-conv`.

Sources: Simonyan & Zisserman, ICLR 2015 (VGG16); `keras.applications` (architecture and preprocessing);
`keras/src/legacy/saving/legacy_h5_format.py` (the form of the file).
"""

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.features.extractor import BLOCK_ENDS, CONV_LAYERS, DENSE_LAYERS, INPUT_SIZE, Extractor
from safe_dnn.features.weights import ON_GPU, choose_precision, extractor_from, has_gpu
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED
from safe_dnn.support.quiet import quiet_stderr
from safe_dnn.support.text import some

BATCH_SIZE = 16  # docs/decisions/010-batches-and-tiles.md
PIXEL_MEANS = np.array([123.68, 116.779, 103.939], np.float32)  # of ImageNet, RGB
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
    choose_precision(extractor.precision)  # this machine may not be the one that chose it
    on_gpu = ON_GPU in extractor.identity
    if on_gpu and not has_gpu():
        raise SAFEError(
            f"These features were computed on a GPU ({extractor.identity}). Received a machine without one. "
            "Go on where there is one, or generate the clusters again."
        )
    if extractor.weights is None:
        raise SAFEError(
            f"These clusters were made with {extractor.identity}, whose weights are no longer found. "
            "Name a copy of them, or generate the clusters again."
        ).about("weights")
    _check_weights(extractor.weights, extractor)
    with_means, with_fc2 = extractor.kind.means, extractor.kind.fc2
    weights = read_weights(extractor.weights, conv_shapes() | (DENSE_LAYERS if with_fc2 else {}))
    with quiet_stderr():
        import tensorflow as tf

    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it is in use already
            tf.config.experimental.set_memory_growth(gpu, True)  # its memory is not SAFE's alone
    tf.config.experimental.enable_tensor_float_32_execution(False)  # or a GPU multiplies with 10 binary digits
    number, device = tf.as_dtype(extractor.precision), None if on_gpu else "/CPU:0"
    with tf.device(device):
        rounded = {name: [tf.cast(array, number) for array in layer] for name, layer in weights.items()}

    @tf.function(input_signature=[tf.TensorSpec((None, *INPUT_SIZE, 3), tf.uint8)])
    def graph(pixels: Any) -> Any:
        values = tf.cast(tf.cast(pixels, tf.float32)[..., ::-1] - PIXEL_MEANS[::-1], number)
        means = []
        for name in CONV_LAYERS:
            kernel, bias = rounded[name]
            values = tf.nn.relu(tf.nn.bias_add(tf.nn.conv2d(values, kernel, 1, "SAME"), bias))
            if with_means:
                means.append(_mean(values))
            if name in BLOCK_ENDS:
                values = tf.nn.max_pool2d(values, 2, 2, "VALID")
        if not with_fc2:
            return tf.concat(means, axis=1)  # type: ignore[call-arg]
        # How the sums of a dense layer are rounded depends on the number of rows, so always pass a full batch.
        rows = tf.shape(values)[0]
        padding = [[0, tf.maximum(BATCH_SIZE - rows, 0)], [0, 0]]
        outputs = tf.pad(tf.reshape(values, (rows, -1)), padding)  # type: ignore[call-arg]
        for name in DENSE_LAYERS:
            kernel, bias = rounded[name]
            outputs = tf.nn.relu(tf.nn.bias_add(tf.matmul(outputs, kernel), bias))
        return tf.concat([tf.cast(outputs[:rows], tf.float32), *means], axis=1)  # type: ignore[call-arg]

    def compute(pixels: np.ndarray) -> np.ndarray:
        n = len(pixels)
        if on_gpu:  # which may compute batches of other sizes in another way
            pixels = np.concatenate([pixels, np.zeros((BATCH_SIZE - n, *pixels.shape[1:]), np.uint8)])
        with tf.device(device):
            return np.asarray(graph(tf.constant(pixels)))[:n]

    return compute


def _mean(values: Any) -> Any:
    """The mean of each channel, float32."""
    import tensorflow as tf

    if values.dtype == tf.bfloat16 and values.shape[1] > 2 * TILE:
        # Converting whole outputs would take a tenth of the time. The pooling sums in float32 and rounds only the means
        # of its tiles, and these errors average out.
        values = tf.nn.avg_pool2d(values, TILE, TILE, "VALID")
    # In float32, since a sum over many pixels would be rounded at each addition.
    return tf.reduce_mean(tf.cast(values, tf.float32), axis=[1, 2])


def _check_weights(weights: Path, extractor: Extractor) -> None:
    """Check that the file still has the digest in the identity: it may have changed since."""
    found = extractor_from(extractor.name, weights).identity.removesuffix("-float32")
    if not extractor.identity.startswith(found):
        raise SAFEError(
            f"{weights} must contain the weights of {extractor.identity}. Received those of {found}: it has changed. "
            "Run the command again."
        )


Shapes = Mapping[str, tuple[int, ...]]


def conv_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the kernels of the 13 convolutional layers, (height, width, channels in, channels out)."""
    inputs = [3, *CONV_LAYERS.values()]
    return {name: (3, 3, n_in, n_out) for (name, n_out), n_in in zip(CONV_LAYERS.items(), inputs, strict=False)}


def read_weights(path: Path, shapes: Shapes) -> dict[str, list[np.ndarray]]:
    """Read the weights of layers of VGG16.

    Parameters
    ----------
    path : Path
        See the module's docstring for the forms.
    shapes : mapping of str to tuple of int
        Shapes of the kernels to read: those of `conv_shapes`, or these and `features.extractor.DENSE_LAYERS`.

    Raises
    ------
    SAFEError
        The file cannot be read, is of no known form, or contains another network's weights.
    """
    try:
        return _read_onnx(path, shapes) if path.suffix.lower() == ".onnx" else _read_hdf5(path, shapes)
    except SAFEError:
        raise
    except DAMAGED as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise SAFEError(
            f"{path} must contain VGG16's weights. Received a file that cannot be read ({reason}). Is it complete? "
            "Expected the .h5 file of keras.applications; download it again, or name another one."
        ) from error


def _read_hdf5(path: Path, shapes: Shapes) -> dict[str, list[np.ndarray]]:
    import h5py

    with h5py.File(path, "r") as file:
        stored = file.get("model_weights", file)
        if "layer_names" not in stored.attrs:
            received = f"a file with {some(sorted(file)) or 'nothing in it'}"
            raise _other_network(path, "the layers of a Keras model", received)
        layers = {
            name: [stored[name][array] for array in _texts(stored[name].attrs["weight_names"])]
            for name in _texts(stored.attrs["layer_names"])
        }
        _check_layers(path, layers, shapes)
        return {name: [_floats(array, file) for array in layers[name]] for name in shapes}


def _check_layers(path: Path, layers: Mapping[str, list[Any]], shapes: Shapes) -> None:
    """Check that they are those of VGG16: the right ones, no others but dense ones at the end, of the right shapes."""
    expected = {name for name, shape in shapes.items() if len(shape) == 4}
    # Of normalization, for example, without which the others mean something else
    others = {name for name, arrays in layers.items() if arrays and arrays[0].ndim != 2} - expected
    if others:
        raise _other_network(path, f"{len(expected)} convolutional layers", f"others, {some(sorted(others))}")
    for name, shape in shapes.items():
        received = [tuple(array.shape) for array in layers.get(name, ())]
        if received != [shape, shape[-1:]]:
            hint = "" if len(shape) == 4 else " Without fc1 and fc2, it is sufficient for the extractor vgg16-conv."
            raise _other_network(
                path,
                f"a kernel of shape {shape} and a bias of shape {shape[-1:]} in the layer {name}",
                " and ".join(map(str, received)) or "none",
                hint,
            )


def _other_network(path: Path, expected: str, received: str, hint: str = "") -> SAFEError:
    advice = hint or " Is it another network, or written by another framework? Name VGG16's weights for TensorFlow."
    return SAFEError(f"{path} must contain VGG16's weights: {expected}. Received: {received}.{advice}")


def _floats(array: Any, file: Any) -> np.ndarray:
    if array.file != file or array.external or array.is_virtual:
        raise ValueError(f"{array.name} is stored in another file")
    values = array[()]
    if values.dtype.kind != "f":
        raise ValueError(f"{array.name} does not contain floating-point numbers, but {values.dtype}")
    return values.astype(np.float32, copy=False)


def _texts(names: Any) -> list[str]:
    texts = np.asarray(names).ravel().tolist()
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in texts]


def _read_onnx(path: Path, shapes: Shapes) -> dict[str, list[np.ndarray]]:
    import onnx
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    found = {}
    for name in shapes:
        stem = f"functional_1/{name}_1"
        kernel = arrays[f"{stem}/convolution/ReadVariableOp:0"]  # (out, in, height, width)
        found[name] = [kernel.transpose(2, 3, 1, 0), arrays[f"{stem}/Squeeze:0"].reshape(-1)]
    return found
