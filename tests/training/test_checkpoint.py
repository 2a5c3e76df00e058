"""A fine-tuning that is cut off goes on."""

from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.model import load_dnn
from safe_dnn.support.progress import reporting
from safe_dnn.training.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    load_checkpoint,
    restore_state,
    run_key,
    save_checkpoint,
    state_of,
)
from safe_dnn.training.finetuning import Watch, fine_tune
from tests.helpers.fine_tuned import QUICK, data_for
from tests.helpers.small_models import SIDE, saved

pytestmark = pytest.mark.slow


class CutOff(Exception):  # noqa: N818, it stands for a process that is killed
    pass


@pytest.fixture(scope="module")
def layered(tmp_path_factory):
    """A model with dropout and batch normalisation, which have a state of their own, compiled with Adam, which has."""
    import keras

    layers = keras.layers
    parts = [keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dropout(0.2)]
    model = keras.Sequential([*parts, layers.Dense(8), layers.BatchNormalization(), layers.Dense(3, "softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    return load_dnn(saved(model, tmp_path_factory.mktemp("models") / "m.keras"))


def cut_off_after(epoch: int):
    def on_epoch(history, passes) -> None:
        if len(history) > epoch:
            raise CutOff

    return on_epoch


def test_a_fine_tuning_that_is_cut_off_goes_on_and_comes_to_the_same(layered, tmp_path):
    data, file = data_for(layered), tmp_path / CHECKPOINT_FILE
    whole = fine_tune(layered, data, QUICK)
    with pytest.raises(CutOff):
        fine_tune(layered, data, QUICK, watch=Watch(on_epoch=cut_off_after(3)), checkpoint=file)
    trained = []
    with reporting(lambda *step: trained.append(step)):
        resumed = fine_tune(layered, data, QUICK, checkpoint=file)
    shares = [(done / total, what) for what, done, total in trained if "epoch" in what]
    assert shares == sorted(shares)
    assert shares[0] == (0.6, "Retraining, epoch 4 of 5")
    assert shares[-1] == (1, "Retraining, epoch 5 of 5")
    assert [row[:4] for row in resumed.history[1:]] == [row[:4] for row in whole.history[1:]]
    assert resumed.best == whole.best
    for mine, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        assert (mine == theirs).all()
    assert resumed.seconds >= sum(row.seconds for row in resumed.history[1:])


def test_the_state_of_another_fine_tuning_is_not_taken(layered, tmp_path):
    file = tmp_path / CHECKPOINT_FILE
    with pytest.raises(CutOff):
        fine_tune(layered, data_for(layered), QUICK, watch=Watch(on_epoch=cut_off_after(1)), checkpoint=file)
    images = [Path(f"{i}.png") for i in range(38)]
    (key,) = {run_key(layered, images, QUICK, data_for(layered).labels) for _ in range(2)}
    keys = {
        key, run_key(layered, images[:37], QUICK, data_for(layered).labels),
        run_key(layered, images, QUICK._replace(seed=1), data_for(layered).labels),
        run_key(layered, images, QUICK, data_for(layered, plain=9).labels),
        run_key(layered, [file], QUICK, data_for(layered).labels),
    }  # fmt: skip
    assert len(keys) == 5
    found = fine_tune(layered, data_for(layered, plain=9), QUICK._replace(epochs=1), checkpoint=file)
    assert len(found.history) == 2


def test_a_hostile_state_is_not_taken(layered, tmp_path):
    file = tmp_path / CHECKPOINT_FILE
    state = Checkpoint([[0, 0.5, 0.5, 0.5, 0.1]], 0, np.random.default_rng().bit_generator.state, [], [])
    save_checkpoint(file, "k", state)
    assert load_checkpoint(file, "k") is not None
    assert load_checkpoint(file, "other") is None
    for bad in ({"rng": {}}, {"rng": {"bit_generator": "MT19937"}}):
        save_checkpoint(file, "k", state._replace(**bad))
        assert load_checkpoint(file, "k") is None
    layered.model.compile("sgd", "mse")
    assert restore_state(
        layered.model, state._replace(weights=state_of(layered.model), best_weights=layered.model.get_weights())
    )
    for arrays in ([], [np.zeros(2)], [np.full(array.shape, "x") for array in state_of(layered.model)]):
        other_weights = state._replace(weights=arrays, best_weights=layered.model.get_weights())
        assert not restore_state(layered.model, other_weights)
        assert not restore_state(layered.model, state._replace(weights=state_of(layered.model), best_weights=arrays))
