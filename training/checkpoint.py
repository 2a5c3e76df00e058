"""Fine-tuning that was cut off goes on after its last whole epoch: what it needs for that, in one file.

In: the state of a fine-tuning after an epoch. Out: the same state, for a fine-tuning of the same model with the same
images and settings, and for no other.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.model import Dnn
from support.errors import SAFEError
from support.files import DAMAGED, read_arrays, replacing
from training.settings import Settings

_WEIGHTS, _KEPT = "weights", "kept"


class Checkpoint(NamedTuple):
    """The state after an epoch.

    Attributes
    ----------
    history : ndarray of shape (n_epochs + 1, 5), float64
        The rows of `training.finetuning.Epoch`, that of epoch 0 included.
    best : int
        The best epoch.
    waiting : float
        Seconds spent waiting for images.
    rng : dict
        State of the generator that draws the images.
    weights : list of ndarray
        All that the model and its optimizer remember.
    kept : list of ndarray
        The model's weights in the best epoch.
    """

    history: np.ndarray
    best: int
    waiting: float
    rng: dict
    weights: list[np.ndarray]
    kept: list[np.ndarray]


def run_key(dnn: Dnn, files: Sequence[object], settings: Settings, *more: object) -> str:
    """Stands for all that a fine-tuning hangs on: 32 hexadecimal digits that differ where any of it does.

    Parameters
    ----------
    files : sequence of Path
        The images. Of each its size and time count, not its content.
    more : ndarray or anything whose text stands for it
    """
    import keras

    digest = hashlib.blake2b(digest_size=16)
    told = [keras.__version__, dnn.model.to_json(), dnn.scaling, dnn.task, dnn.height, dnn.width, dnn.compiled]
    for part in (*told, settings, *dnn.model.get_weights(), *more, *map(_described, files)):
        data = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def state_of(model: Any) -> list[np.ndarray]:
    """All that a compiled model and its optimizer remember, what dropout draws from included."""
    return [_plain(variable) for variable in _variables(model)]


def _described(file: object) -> tuple:
    try:
        found = file.stat() if isinstance(file, Path) else None
    except OSError:
        found = None
    return (os.fspath(file), found.st_size, found.st_mtime_ns) if found else (str(file),)


def restore_state(model: Any, saved: Checkpoint) -> bool:
    """Give a model the state that was saved; False, and nothing given, where it is that of another one."""
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
    """As NumPy knows it: floats of 16 bits that it does not know become float32, which holds each of them."""
    array = np.asarray(variable)
    return array.astype(np.float32) if array.dtype.kind == "V" else array


def save_checkpoint(path: Path, key: str, state: Checkpoint) -> None:
    """Replace the file (SAFEError where it cannot be written)."""
    arrays = {f"{_WEIGHTS} {i}": array for i, array in enumerate(state.weights)}
    arrays |= {f"{_KEPT} {i}": array for i, array in enumerate(state.kept)}
    said = {"key": key, "best": state.best, "waiting": state.waiting, "rng": state.rng}
    with replacing(path) as temporary:
        np.savez(temporary, said=np.array(json.dumps(said)), history=state.history, **arrays)


def load_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """The state that was saved under the same key; None where there is none, it is of another run, or damaged."""
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
        said = json.loads(str(arrays["said"]))
        if said["key"] != key:
            return None
        weights, kept = (
            [arrays[f"{kind} {i}"] for i in range(sum(name.startswith(f"{kind} ") for name in arrays))]
            for kind in (_WEIGHTS, _KEPT)
        )
        history, best = arrays["history"], int(said["best"])
        if history.ndim != 2 or history.shape[1] != 5 or not 0 <= best < len(history):
            return None
        np.random.default_rng().bit_generator.state = said["rng"]  # refuses what is none
        return Checkpoint(history.astype(float), best, float(said["waiting"]), said["rng"], weights, kept)
    except DAMAGED:
        return None


def remove_checkpoint(path: Path) -> None:
    """Remove the file, since the fine-tuning is finished (SAFEError where it cannot be removed)."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise SAFEError(f"Could not remove {path}: {error.strerror or error}.") from error
