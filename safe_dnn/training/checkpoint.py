"""Checkpoints: an interrupted fine-tuning resumes after its last complete epoch.

In: the state of a fine-tuning after an epoch. Out: the same state, but only for a fine-tuning of the same model with
the same images and settings.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.model import Dnn
from safe_dnn.support.files import DAMAGED, read_arrays, replacing, state_of_file
from safe_dnn.training.settings import Settings

CHECKPOINT_FILE = "retraining.npz"
SECOND_CHECKPOINT_FILE = "retraining_second.npz"

_RECORD = "record"  # the name of what is no array in the file


class Checkpoint(NamedTuple):
    """The state after an epoch.

    Attributes
    ----------
    history : sequence of mapping
        Each `training.finetuning.Epoch` by the names of its fields, including epoch 0.
    best : int
        The best epoch.
    rng : mapping
        State of the generator that draws the images.
    weights : list of ndarray
        The complete state of the model and its optimizer.
    best_weights : list of ndarray
        The model's weights in the best epoch.
    """

    history: Sequence[Mapping[str, Any]]
    best: int
    rng: Mapping[str, Any]
    weights: list[np.ndarray]
    best_weights: list[np.ndarray]


def run_key(dnn: Dnn, files: Sequence[Path], settings: Settings, *inputs: object) -> str:
    """A hash of everything that a fine-tuning depends on, 32 hexadecimal digits.

    Parameters
    ----------
    files : sequence of Path
        The images, identified by path, size and modification time, not by content.
    inputs : ndarray, or an object identified by its `repr`
        Further inputs.
    """
    import keras

    digest = hashlib.blake2b(digest_size=16)
    model = [keras.__version__, dnn.model.to_json(), dnn.scaling, dnn.task, dnn.height, dnn.width, dnn.compiled]
    states = [(os.fspath(file), *reversed(state_of_file(file) or ())) for file in files]
    for part in (*model, settings, *dnn.model.get_weights(), *inputs, *states):
        data = np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def state_of(model: Any) -> list[np.ndarray]:
    """The complete state of a compiled model and its optimizer, including the seeds of dropout."""
    return [_plain(variable) for variable in _variables(model)]


def restore_state(model: Any, saved: Checkpoint) -> bool:
    """Restore a saved state; return False, without changing the model, if it belongs to another model."""
    variables = _variables(model)
    for arrays, expected in ((saved.weights, variables), (saved.best_weights, model.get_weights())):
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
    *record, weights, best_weights = state
    stored = {_RECORD: np.array(json.dumps({"key": key, "value": record}))}
    for name, arrays in (("weights", weights), ("kept", best_weights)):
        stored |= {f"{name} {i}": array for i, array in enumerate(arrays)}
    with replacing(path) as temporary:
        np.savez(temporary, **stored)  # type: ignore[arg-type]


def load_checkpoint(path: Path, key: str) -> Checkpoint | None:
    """The state saved under this key; None if it is missing, damaged or from another run."""
    try:
        stored = read_arrays(path)
        record = json.loads(str(stored.pop(_RECORD)))
        weights, best_weights = (
            [stored[name] for name in stored if name.startswith(of)] for of in ("weights ", "kept ")
        )
        history, best, rng = record["value"]
        saved = Checkpoint(history, best, rng, weights, best_weights)
        np.random.default_rng().bit_generator.state = saved.rng  # raises an error for an invalid state
    except DAMAGED:
        return None
    return saved if record["key"] == key else None


def remove_checkpoints(*files: Path) -> None:
    """Remove those of a training that is over."""
    for path in files:
        with contextlib.suppress(OSError):  # it would only be of the same training
            path.unlink(missing_ok=True)
