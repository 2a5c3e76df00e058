"""Checkpoints: an interrupted fine-tuning resumes after its last complete epoch.

In: the state of a fine-tuning after an epoch. Out: the same state, but only for a fine-tuning of the same model with
the same images and settings.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.model import Dnn
from support.errors import SAFEError
from support.files import DAMAGED, read_arrays, replacing
from training.settings import Settings

# Names of the arrays in the file; "said" is kept so that files of earlier versions can be read.
_RECORD, _WEIGHTS, _KEPT = "said", "weights", "kept"


class Checkpoint(NamedTuple):
    """The state after an epoch.

    Attributes
    ----------
    history : ndarray of shape (n_epochs + 1, 5), float64
        The rows of `training.finetuning.Epoch`, including epoch 0.
    best : int
        The best epoch.
    waiting : float
        Seconds spent waiting for images.
    rng : mapping
        State of the generator that draws the images.
    weights : list of ndarray
        The complete state of the model and its optimizer.
    kept : list of ndarray
        The model's weights in the best epoch.
    """

    history: np.ndarray
    best: int
    waiting: float
    rng: Mapping[str, Any]
    weights: list[np.ndarray]
    kept: list[np.ndarray]


def run_key(dnn: Dnn, files: Sequence[Path], settings: Settings, *more: object) -> str:
    """A hash of everything that a fine-tuning depends on, 32 hexadecimal digits.

    Parameters
    ----------
    files : sequence of Path
        The images, identified by path, size and modification time, not by content.
    more : ndarray, or an object identified by its `repr`
        Further inputs.
    """
    import keras

    digest = hashlib.blake2b(digest_size=16)
    model = [keras.__version__, dnn.model.to_json(), dnn.scaling, dnn.task, dnn.height, dnn.width, dnn.compiled]
    for part in (*model, settings, *dnn.model.get_weights(), *more, *map(_file_state, files)):
        data = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def state_of(model: Any) -> list[np.ndarray]:
    """The complete state of a compiled model and its optimizer, including the seeds of dropout."""
    return [_plain(variable) for variable in _variables(model)]


def _file_state(file: Path) -> tuple:
    try:
        state = file.stat()
    except OSError:
        return (str(file),)
    return os.fspath(file), state.st_size, state.st_mtime_ns


def restore_state(model: Any, saved: Checkpoint) -> bool:
    """Restore a saved state; return False, without changing the model, if it belongs to another model."""
    variables = _variables(model)
    for arrays, expected in ((saved.weights, variables), (saved.kept, model.get_weights())):
        if [array.shape for array in arrays] != [tuple(one.shape) for one in expected]:
            return False
        if any(array.dtype.kind not in "biuf" for array in arrays):
            return False
    for variable, array in zip(variables, saved.weights, strict=True):
        variable.assign(array)
    return True


def _variables(model: Any) -> list:
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*model.variables, *model.optimizer.variables]


def _plain(variable: Any) -> np.ndarray:
    """As a NumPy array; 16-bit floats that NumPy lacks become float32, which represents them exactly."""
    array = np.asarray(variable)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def save_checkpoint(path: Path, key: str, state: Checkpoint) -> None:
    """Replace the file; raise a SAFEError if it cannot be written."""
    record = {"key": key, "best": state.best, "waiting": state.waiting, "rng": state.rng}
    arrays: dict[str, Any] = {_RECORD: np.array(json.dumps(record)), "history": state.history}
    arrays |= {f"{_WEIGHTS} {i}": array for i, array in enumerate(state.weights)}
    arrays |= {f"{_KEPT} {i}": array for i, array in enumerate(state.kept)}
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def load_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """The state saved under this key; None if it is missing, damaged or from another run."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
        record = json.loads(str(arrays[_RECORD]))
        if record["key"] != key:
            return None
        weights, kept = (
            [arrays[f"{kind} {i}"] for i in range(sum(name.startswith(f"{kind} ") for name in arrays))]
            for kind in (_WEIGHTS, _KEPT)
        )
        history, best = arrays["history"], int(record["best"])
        if history.ndim != 2 or history.shape[1] != 5 or not 0 <= best < len(history):
            return None
        np.random.default_rng().bit_generator.state = record["rng"]  # raises an error for an invalid state
        return Checkpoint(history.astype(float), best, float(record["waiting"]), record["rng"], weights, kept)
    except DAMAGED:
        return None


def remove_checkpoint(path: Path) -> None:
    """Remove the file after a finished fine-tuning; raise a SAFEError if it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SAFEError(f"Could not remove {path}: {error.strerror or error}.") from error
