"""One fine-tuning: which images, when it ends, and which epoch is kept."""

import dataclasses

import numpy as np
import pytest

from safe_dnn.dnn.model import load_dnn
from safe_dnn.training.finetuning import Epoch, Watch, draw_balanced, fine_tune, hold_out, is_better
from tests.helpers.fine_tuned import QUICK, data_for
from tests.helpers.small_models import brightness_model, colour_model, saved

# --- Which images -----------------------------------------------------------------------------------------------


def test_every_rcc_is_drawn_equally_often():
    rccs = np.array([0] * 50 + [1] * 3 + [5])
    drawn = draw_balanced(rccs, 31, np.random.default_rng(0))
    counts = {rcc: int((rccs[drawn] == rcc).sum()) for rcc in (0, 1, 5)}
    assert sorted(counts.values()) == [10, 10, 11]
    assert len(set(drawn[rccs[drawn] == 0])) == counts[0]
    # 10 or 11 draws of 3 images: each three or four times
    assert set(np.bincount(drawn[rccs[drawn] == 1])[50:53]) <= {3, 4}


def test_the_same_share_of_each_class_is_held_out():
    labels = np.array([0] * 20 + [1] * 4 + [2] + [3] * 2)
    held = hold_out(labels, 0.25, np.random.default_rng(0))
    assert [int(held[labels == label].sum()) for label in range(4)] == [5, 1, 0, 1]
    numbers = np.random.default_rng(0).normal(size=(40, 2))
    assert hold_out(numbers, 0.25, np.random.default_rng(0)).sum() == 10


# --- Training ---------------------------------------------------------------------------------------------------


def test_fine_tuning_learns_the_unsafe_images_and_keeps_the_others(dnn):
    given = [weights.copy() for weights in dnn.model.get_weights()]
    seen = []
    watch = Watch(on_epoch=lambda history, passes: seen.append((len(history), passes)))
    result = fine_tune(dnn, data_for(dnn), QUICK, watch=watch)
    assert (result.history[0].unsafe, result.history[0].validation) == (0, 1)
    assert result.history[result.best].unsafe == 1
    assert result.history[result.best].validation == 1
    assert seen == [(epoch, (5,)) for epoch in range(1, 7)]
    assert result.stopped == ""
    for before, after in zip(given, dnn.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.slow
@pytest.mark.parametrize(("last", "loss"), [("sigmoid", "binary_crossentropy"), ("linear", None)])
def test_outputs_and_losses_of_every_kind_train(folder, last, loss):
    dnn = load_dnn(saved(colour_model(last, loss), folder / "kind.keras"))
    result = fine_tune(dnn, data_for(dnn), QUICK)
    assert result.history[result.best].unsafe > 0.7


def test_no_epoch_that_forgets_much_is_kept():
    def epoch(number, validation, unsafe):
        return Epoch(number, 0.1, validation, unsafe, 1.0)

    given = epoch(0, 0.96, 0.5)
    assert is_better(epoch(1, 0.93, 0.9), given, given)
    assert not is_better(epoch(1, 0.90, 0.9), given, given)
    assert is_better(epoch(2, 0.94, 0.89), epoch(1, 0.93, 0.9), given)
    assert not is_better(epoch(2, 0.94, 0.88), epoch(1, 0.93, 0.9), given)
    assert not is_better(epoch(1, 0.95, 0.5), given, given)


def test_a_loss_that_is_no_number_stops_and_keeps_good_weights(folder):
    import keras

    optimizer = keras.optimizers.SGD(1.0)
    unbounded = load_dnn(saved(brightness_model(), folder / "unbounded.keras"))
    compiled = {**unbounded.compiled, "optimizer": keras.optimizers.serialize(optimizer)}
    unbounded = dataclasses.replace(unbounded, compiled=compiled)
    data = data_for(unbounded)
    targets = np.full((len(data.labels), 2), 1e18, np.float32)
    result = fine_tune(unbounded, data._replace(labels=targets), QUICK._replace(learning_rate=1.0), threshold=1.0)
    assert "infinite or NaN" in result.stopped
    assert all(np.isfinite(weights).all() for weights in result.model.get_weights())
