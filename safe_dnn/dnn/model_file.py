"""Keras models: reading untrusted files, and finding out their inputs and outputs from their layers.

In: a `.keras` or `.h5` file. Out: the configuration in it, the model as loaded by Keras, and what its layers say about
it; a SAFEError if it is damaged, contains code, or would unpack to far more than its own size. No code in the file runs
unless the engineer allows it. TensorFlow is imported only inside functions.
"""

import builtins
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED
from safe_dnn.support.quiet import quiet_stderr
from safe_dnn.support.text import printable, reason_of

# Layers that contain or fetch code or another framework's model, and layers that read a file named by the model.
_CODE = frozenset(
    {"Lambda", "__lambda__", "TorchModuleWrapper", "TFSMLayer", "JaxLayer", "FlaxLayer", "StringLookup",
     "IntegerLookup", "TextVectorization"}
)  # fmt: skip
# Parts of Keras with side effects; a model consists of layers and mathematical functions.
_DOING = frozenset({"callbacks", "config", "datasets", "export", "saving", "utils"})
# A file may unpack to this many times its size, plus a constant; one that unpacks to more is a decompression bomb.
_MOST_UNPACKED, _UNPACKED_AT_LEAST = 20, 2**26
# Raised by Keras, h5py and zipfile for files that are damaged or need something that is missing.
_LOAD_FAULTS: tuple[type[Exception], ...] = (*DAMAGED, ImportError)
_SCALING_LAYERS = frozenset(
    {"Rescaling", "Normalization", "TrueDivide", "Divide", "Multiply", "Subtract", "Add", "GetItem"}
)
# Layers that may precede a scaling layer and do not change the range of the pixels.
_NEUTRAL_LAYERS = frozenset({"InputLayer", "Resizing", "CenterCrop", "ZeroPadding2D", "Cropping2D", "AveragePooling2D"})
_SHAPE_LAYERS = frozenset({"Dropout", "Flatten", "Reshape", "Identity", "Squeeze"})


@dataclass(frozen=True)
class ModelFacts:
    """What was found out about a model from its file, whatever its format.

    Attributes
    ----------
    model : keras.Model or OnnxModel
        Only the first can be trained as well.
    height, width : int or None
        Size of the input; None if the model takes any (see `dnn.model.sized_for`).
    channels : 1 or 3
        Grey or RGB.
    scaling : key of `dnn.model.SCALINGS`
        How pixels from 0 to 255 are to be scaled, as far as the file says.
    why : str
        Why it is that scaling.
    activation : str
        Of the last layer, "linear" if it has none.
    n_outputs : int
    precision : str
        The number format of the outputs, such as `float32`.
    compiled : dict
        `optimizer` and `loss` that a Keras model was compiled with, as Keras serialises them; empty if not compiled.
    """

    model: Any
    height: int | None
    width: int | None
    channels: int
    scaling: str
    why: str
    activation: str
    n_outputs: int
    precision: str
    compiled: dict


def read_config(file: Path) -> tuple[dict, dict]:
    """Read the architecture and the compile state in a model file as text, without executing anything."""
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                _check_archive(archive, file.stat().st_size)
                whole = json.loads(archive.read("config.json"))
            compiled, optimizer = whole.get("compile_config") or {}, "optimizer"
        else:
            import h5py

            with h5py.File(file, "r") as stored:
                _check_weights(stored, file.stat().st_size)
                whole = json.loads(stored.attrs["model_config"])
                compiled, optimizer = json.loads(stored.attrs.get("training_config") or "{}"), "optimizer_config"
        return whole, {"optimizer": compiled.get(optimizer), "loss": compiled.get("loss")} if compiled else {}
    except _LOAD_FAULTS as error:
        raise _damaged(file, error) from error


def _check_archive(archive: zipfile.ZipFile, length: int) -> None:
    """Raise a ValueError for a decompression bomb, for files outside the archive's folder, and for external weights.

    Keras unpacks part of an archive to a temporary folder before checking it.
    """
    import h5py

    parts = archive.infolist()
    if sum(part.file_size for part in parts) > _MOST_UNPACKED * length + _UNPACKED_AT_LEAST:
        raise ValueError("it unpacks to far more than its own size")
    names = [part.filename for part in parts]
    odd = [name for name in names if name.startswith(("/", "\\")) or ".." in name or ":" in name or "\\" in name]
    if odd or len(set(names)) < len(names) or any(part.external_attr >> 16 & 0o170000 == 0o120000 for part in parts):
        raise ValueError("it contains files with names that no model has")
    for name in names:
        if name.endswith(".h5"):
            with archive.open(name) as stored, h5py.File(stored) as weights:
                _check_weights(weights, length)


def _check_weights(weights: Any, length: int) -> None:
    """Raise a ValueError for weights that are stored in other files or are far larger than the file."""
    import h5py

    total, groups = 0, [weights]
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise ValueError("its weights are stored elsewhere")
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif item.external or item.is_virtual:
                raise ValueError("its weights are stored elsewhere")
            else:
                total += (item.size or 0) * item.dtype.itemsize
            if len(groups) > 1e6 or total > _MOST_UNPACKED * length + _UNPACKED_AT_LEAST:
                raise ValueError("its weights are far larger than the file")


def _damaged(file: Path, error: Exception) -> SAFEError:
    return SAFEError(
        f"Expected a complete Keras model. Received: {file}, which cannot be read ({reason_of(error)}). "
        "Is it damaged, or written by another version of Keras? Save it again with model.save('model.keras')."
    )


def refuse_code(file: Path, config: dict, trust: bool) -> None:
    """Raise a SAFEError for a model that names functions of Python, needs custom objects, or has code and no trust."""
    custom: set[str] = set()
    code: set[str] = set()
    for part in _dicts({key: value for key, value in config.items() if key != "compile_config"}):
        name = part.get("class_name")
        if not isinstance(name, str):
            continue
        module, called = part.get("module"), part.get("config") if name == "function" else name
        if module == "builtins" and isinstance(called, str) and hasattr(builtins, called):
            raise SAFEError(
                f"Expected a model made of Keras's own layers. Received: {file}, which names {printable(called)}, a "
                "function of Python that can do harm. Do not use the file unless you know its author."
            )
        if name in _CODE:
            code.add(name.strip("_"))
        elif _is_foreign(module) or ">" in str(part.get("registered_name") or ""):
            custom.add(name)
    if custom:
        raise _needs_custom(file, ", ".join(sorted(custom)))
    if code and not trust:
        raise SAFEError(
            f"{file} contains code that runs, or reads files, when the model is loaded ({', '.join(sorted(code))}). "
            "Replace it with Keras's own layers or, if you trust the author of the file, let it run."
        ).about("trust_model")


def _is_foreign(module: object) -> bool:
    if not isinstance(module, str):
        return False
    first, *rest = module.split(".")
    return first not in ("keras", "builtins") or bool(_DOING & set(rest))


def _needs_custom(file: Path, names: str) -> SAFEError:
    return SAFEError(
        f"Expected a model made of Keras's own layers. Received: {file}, which needs custom objects ({names}). "
        "Rebuild it with Keras's own layers, copy the weights with set_weights, and save it again."
    )


def _dicts(value: object) -> Iterator[dict]:
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _dicts(inner)


def load_model(file: Path, trust: bool) -> Any:
    """Load the model without compiling it; raise a SAFEError if Keras cannot load it."""
    with quiet_stderr():
        import keras

    try:
        # Not compiled: a custom loss would prevent loading, and retraining compiles the model again.
        model = keras.saving.load_model(file, compile=False, safe_mode=not trust)
    except _LOAD_FAULTS as error:
        text = str(error)
        if "Could not locate" in text or "Unknown layer" in text or "Unknown object" in text:
            raise _needs_custom(file, text.split("'")[1] if "'" in text else "unnamed") from error
        raise _damaged(file, error) from error
    if not isinstance(model, keras.Model) or not getattr(model, "outputs", None):
        raise SAFEError(f"Expected a Keras model with a known input. Received: {file}. Build the model, then save it.")
    return model


# --- What its layers say ----------------------------------------------------------------------------------------


def read_keras(file: Path, trust: bool) -> ModelFacts:
    """Load a Keras model, and find out what it takes and gives.

    Parameters
    ----------
    trust : bool
        Load a model that contains code, which is executed.

    Raises
    ------
    SAFEError
        The file is damaged, or contains code or custom objects, or the model does not map one image to one row of
        outputs.
    """
    config, compiled = read_config(file)
    refuse_code(file, config, trust)
    model = load_model(file, trust)
    height, width, channels = _input_size(model)
    output = model.outputs[0].shape
    if len(model.outputs) != 1 or len(output) != 2 or not output[1]:
        raise SAFEError(
            f"Expected a model with one row of outputs for each image. Received: outputs of shape "
            f"{', '.join(str(tuple(one.shape)) for one in model.outputs)} in {file}."
        )
    if isinstance(model.compute_output_spec(model.inputs[0]), dict):
        raise SAFEError(
            f"Expected a model whose output is a row of numbers. Received: {file}, whose output is a dict. Rebuild it "
            "as keras.Model(model.inputs, model.outputs) and save that model."
        )
    last, precision = _last_activation(model.outputs[0]._keras_history.operation), str(model.outputs[0].dtype)
    return ModelFacts(model, height, width, channels, *_find_scaling(model), last, int(output[1]), precision, compiled)


def _input_size(model: Any) -> tuple[int | None, int | None, int]:
    shapes = [tuple(one.shape) for one in model.inputs]
    if len(shapes) == 1:
        _, *shape = shapes[0]
        if len(shape) == 2:
            return shape[0], shape[1], 1
        if len(shape) == 3 and shape[2] in (1, 3):
            return shape[0], shape[1], shape[2]
    raise SAFEError(
        "Expected a model with one image as input, grey or RGB, channels last: (height, width, 1 or 3). "
        f"Received input of shape {', '.join(map(str, shapes))}. Give a table of its answers or, if "
        "the image has another layout, export it to ONNX."
    )


def flat_operations(model: Any) -> Iterator[Any]:
    for operation in getattr(model, "operations", None) or model.layers:
        if hasattr(operation, "layers"):
            yield from flat_operations(operation)
        else:
            yield operation


def _find_scaling(model: Any) -> tuple[str, str]:
    for layer in flat_operations(model):
        kind = type(layer).__name__
        if kind == "Normalization" and layer.mean is not None and float(np.abs(np.asarray(layer.mean)).max()) <= 1.5:
            return "1/255", "assumed, since the model's Normalization layer was adapted to such values"
        if kind in _SCALING_LAYERS:
            return "none", f"the model scales them itself, in its layer {layer.name}"
        if kind not in _NEUTRAL_LAYERS and not kind.startswith("Random"):
            break
    return "1/255", "assumed, since the model has no scaling layer; choose others if it was trained with them"


def _last_activation(operation: Any) -> str:
    kind = type(operation).__name__
    if hasattr(operation, "layers"):
        return _last_activation(operation.outputs[0]._keras_history.operation)
    if kind in ("Softmax", "Sigmoid"):
        return kind.lower()
    name: str | None = getattr(getattr(operation, "activation", None), "__name__", None)
    if name is not None and (name != "linear" or kind != "Activation"):
        return name
    if kind == "Activation" or kind in _SHAPE_LAYERS:
        return _last_activation(operation.input._keras_history.operation)
    return "linear"
