"""Reading VGG16's weights from a file, in every form in which Keras has shipped or written them. Step 1.

A file in, the kernel and the bias of each layer out. Keras itself is not asked: it reads each form only into a model of
exactly the same make, and a model file may contain code. Here, only arrays are read.

| file | written by | layers are found in |
|---|---|---|
| `.h5` of `keras.applications`, also *notop* | Keras 1 and 2, `save_weights` | groups listed in `layer_names` |
| `.h5`, a whole model | `model.save` | the same in the group `model_weights` |
| `.weights.h5` | Keras 2.12 to 3, `save_weights` | `layers/conv2d_1/vars/0` |
| `.keras`, a whole model | Keras 2.12 to 3, `model.save` | the same in `model.weights.h5`, in a zip archive |
| `.onnx` | the package of `vgg16-conv` | the names of its arrays |

Sources: `keras/src/legacy/saving/legacy_h5_format.py` and `keras/src/saving/saving_lib.py` (the forms).
"""

import contextlib
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from features.extractor import CONV_LAYERS, DENSE_LAYERS
from support.errors import SAFEError

Shapes = Mapping[str, tuple[int, ...]]
WEIGHTS_IN_ARCHIVE = "model.weights.h5"
# Where Keras 3, Keras 2.13 to 2.15, and Keras 2.12 put the layers of a model.
_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")
# Raised by h5py and zipfile for files that are damaged, or of another form.
_READ_FAULTS: tuple[type[Exception], ...] = (
    OSError, ValueError, TypeError, LookupError, AttributeError, EOFError, RuntimeError, zlib.error,
    zipfile.BadZipFile,
)  # fmt: skip


class LayerWeights(NamedTuple):
    """Weights of one layer: `kernel` and `bias`, float32."""

    kernel: np.ndarray
    bias: np.ndarray


class _Stored(NamedTuple):
    """A layer in a file: its name (empty if it is not recorded), and its datasets, not yet read."""

    name: str
    arrays: tuple[Any, ...]


def conv_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the kernels of the 13 convolutional layers, (height, width, channels in, channels out)."""
    inputs = [3, *CONV_LAYERS.values()]
    return {name: (3, 3, n_in, n_out) for (name, n_out), n_in in zip(CONV_LAYERS.items(), inputs, strict=False)}


def dense_shapes() -> dict[str, tuple[int, ...]]:
    """Shapes of the kernels of the layers `fc1` and `fc2`, (features in, features out)."""
    return dict(DENSE_LAYERS)


def read_weights(path: Path, shapes: Shapes) -> dict[str, LayerWeights]:
    """Read the weights of layers of VGG16.

    Layers are found by their names. Where a file does not record them, or records others, as in a model whose layers
    were renamed, they are found by their order.

    Parameters
    ----------
    path : Path
        See the module's docstring for the forms.
    shapes : mapping of str to tuple of int
        Shapes of the kernels to read: those of `conv_shapes`, or these and those of `dense_shapes`.

    Raises
    ------
    SAFEError
        The file cannot be read, is of no known form, or contains another network's weights.
    """
    try:
        if path.suffix.lower() == ".onnx":
            return _read_onnx(path, shapes)
        with _opened(path) as file:
            chosen = _choose(path, _stored_layers(path, file), shapes)
            return {name: LayerWeights(*(_floats(array, file) for array in chosen[name].arrays)) for name in shapes}
    except SAFEError:
        raise
    except _READ_FAULTS as error:
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise SAFEError(
            f"{path} must contain VGG16's weights. Received a file that cannot be read ({reason}). Is it complete? "
            "Expected a .h5, .weights.h5 or .keras file of Keras; download it again, or name another one."
        ) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open the HDF5 file, or the one in a `.keras` archive."""
    import h5py

    if not zipfile.is_zipfile(path):
        with h5py.File(path, "r") as file:
            yield file
        return
    # Keras stores the parts of an archive uncompressed, so that seeking in them costs nothing.
    with zipfile.ZipFile(path) as archive, archive.open(WEIGHTS_IN_ARCHIVE) as part, h5py.File(part, "r") as file:
        yield file


def _stored_layers(path: Path, file: Any) -> list[_Stored]:
    """The layers with weights in a file, in the order of the network."""
    legacy = file.get("model_weights", file)
    if "layer_names" in legacy.attrs:
        found = []
        for name in _texts(legacy.attrs["layer_names"]):
            group = legacy[name]
            found.append(_Stored(name, tuple(group[array] for array in _texts(group.attrs["weight_names"]))))
    else:
        container = next((file[name] for name in _CONTAINERS if name in file), None)
        if container is None:
            raise _other_network(path, "the layers of a Keras model", f"a file with {_listed(file)}")
        # Keras numbers the layers of a class: conv2d, conv2d_1, …, conv2d_10. HDF5 sorts them as text.
        found = []
        for key in sorted(container, key=_number_last):
            variables = container[key].get("vars", {})
            arrays = tuple(variables[name] for name in sorted(variables, key=_number_last))
            found.append(_Stored(_text(variables.attrs.get("name", "")) if arrays else "", arrays))
    return [layer for layer in found if layer.arrays]


def _choose(path: Path, stored: list[_Stored], shapes: Shapes) -> dict[str, _Stored]:
    """Find the layers, and check that they are those of VGG16: the right ones, no others, and of the right shapes."""
    odd = next((layer for layer in stored if layer.arrays[0].ndim not in (2, 4)), None)
    if odd:  # normalization, for example, without which the others mean something else
        raise _other_network(path, "convolutional and dense layers", f"another layer with weights, {odd.name or '?'}")
    chosen: dict[str, _Stored] = {}
    for n_axes, what in ((4, "convolutional"), (2, "dense")):
        wanted = [name for name, shape in shapes.items() if len(shape) == n_axes]
        layers = [layer for layer in stored if layer.arrays[0].ndim == n_axes]
        # After fc2, a classifier of any number of classes may follow.
        if wanted and (len(layers) < len(wanted) or (len(layers) > len(wanted) and n_axes == 4)):
            hint = " A file without fc1 and fc2 is sufficient for --extractor vgg16-conv." if n_axes == 2 else ""
            raise _other_network(path, f"{len(wanted)} {what} layers", f"{len(layers)}", hint)
        by_name = {layer.name: layer for layer in layers}
        in_order = dict(zip(wanted, layers, strict=False))
        chosen |= {name: by_name[name] for name in wanted} if set(wanted) <= set(by_name) else in_order
    for name, shape in shapes.items():
        received = [tuple(array.shape) for array in chosen[name].arrays]
        if received != [shape, shape[-1:]]:
            raise _other_network(
                path,
                f"a kernel of shape {shape} and a bias of shape {shape[-1:]} in the layer {name}",
                " and ".join(map(str, received)),
            )
    return chosen


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
    return [_text(name) for name in np.asarray(names).ravel().tolist()]


def _text(name: Any) -> str:
    return name.decode("utf-8") if isinstance(name, bytes) else str(name)


def _number_last(name: str) -> tuple[str, int]:
    """Sorting key that puts `conv2d_2` before `conv2d_10`, and both after `conv2d`."""
    stem, number = re.fullmatch(r"(.*?)(?:_?(\d+))?", name, re.DOTALL).groups()  # type: ignore[union-attr]
    return stem, int(number or 0)


def _listed(file: Any) -> str:
    names = sorted(file)
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "") if names else "nothing in it"


def _read_onnx(path: Path, shapes: Shapes) -> dict[str, LayerWeights]:
    import onnx
    from onnx import numpy_helper

    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in onnx.load(path).graph.initializer}
    found = {}
    for name in shapes:
        stem = f"functional_1/{name}_1"
        kernel = arrays[f"{stem}/convolution/ReadVariableOp:0"]  # (out, in, height, width)
        found[name] = LayerWeights(kernel.transpose(2, 3, 1, 0), arrays[f"{stem}/Squeeze:0"].reshape(-1))
    return found
