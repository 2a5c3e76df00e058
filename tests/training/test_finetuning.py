import dataclasses

import numpy as np
import pytest

from dnn.model import load_dnn
from dnn.predictions import Pixels
from support.errors import SAFEError
from tests.helpers.small_models import NAMES, brightness_model, colour_model, draw_colour, saved
from training.finetuning import (
    TRAINING,
    Epoch,
    TrainingData,
    draw_balanced,
    fine_tune,
    hold_out,
    is_better,
)
from training.settings import (
    AIMS,
    SetSizes,
    Settings,
    Wishes,
    aim_of,
    choose_loss,
    choose_settings,
)

QUICK = Settings(learning_rate=0.05, epochs=5, batch_size=8)


def data_for(dnn, plain=10, unsafe=(("red", "blue", 0), ("green", "red", 1)), each=4):
    """Plain training images, and tinted ones of two RCCs that the colour models get wrong."""
    rng = np.random.default_rng(0)
    images, labels, rccs = [], [], []
    for label, name in enumerate(NAMES):
        for _ in range(plain):
            images.append(np.asarray(draw_colour(name, rng)))
            labels.append(label)
            rccs.append(TRAINING)
    for name, tint, rcc in unsafe:
        for _ in range(each):
            images.append(np.asarray(draw_colour(name, rng, tint)))
            labels.append(NAMES.index(name))
            rccs.append(rcc)
    return TrainingData(Pixels.of_array(dnn, np.stack(images)), np.array(labels), np.array(rccs))


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


# --- Settings ---------------------------------------------------------------------------------------------------


def test_the_learning_rate_comes_from_the_model(folder):
    import keras

    optimizers = keras.optimizers
    for optimizer, expected in (
        (optimizers.SGD(0.004), 0.0028),
        (optimizers.Adam(optimizers.schedules.CosineDecay(2e-3, 100)), 1.4e-3),
        (optimizers.Adam(1e-9), 1e-4),
        (optimizers.SGD(0.5), 1e-2),
    ):
        compiled = load_dnn(saved(colour_model(optimizer=optimizer), folder / "rate.keras"))
        assert choose_settings(compiled).learning_rate == pytest.approx(expected)
    assert choose_settings(load_dnn(saved(colour_model(loss=None), folder / "plain.keras"))).learning_rate == 7e-4


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("learning_rate", "fast"),
        ("learning_rate", float("nan")),
        ("epochs", 0),
        ("epochs", 2.5),
        ("seed", -1),
    ],
)
def test_settings_out_of_range_are_refused(dnn, name, value):
    with pytest.raises(SAFEError, match=f"{name} must be a"):
        choose_settings(dnn, Wishes(**{name: value}))


@pytest.mark.parametrize(
    ("sizes", "epochs"),
    [
        (SetSizes(4000, 400), 8),  # 138 steps in an epoch, if those of 720 unsafe images are drawn
        (SetSizes(1000, 300), 27),
        (SetSizes(40, 10), 40),
    ],
)
def test_few_images_are_trained_on_in_more_epochs_unless_their_number_is_given(dnn, sizes, epochs):
    assert choose_settings(dnn, sizes=sizes).epochs == epochs
    assert choose_settings(dnn, Wishes(epochs=8), sizes).epochs == 8


def test_an_aim_decides_how_much_an_unsafe_image_that_was_right_counts(dnn):
    chosen = [choose_settings(dnn, Wishes(aim=aim)) for aim in ("accuracy", "balance", "keep")]
    assert chosen[0].keep_unsafe < chosen[1].keep_unsafe <= chosen[2].keep_unsafe
    assert [settings.original_share for settings in chosen] == [0, 0, 0.3]
    assert choose_settings(dnn) == chosen[1]
    regression = choose_settings(dataclasses.replace(dnn, task="regression"), Wishes(aim="keep"))
    assert (regression.keep_unsafe, regression.original_share, aim_of(regression)) == (12, 0, "keep")
    assert [aim_of(choose_settings(dnn, Wishes(aim=aim))) for aim in AIMS] == list(AIMS)
    assert aim_of(Settings(0.1, keep_unsafe=2.5)) == ""
    with pytest.raises(SAFEError, match="aim must be one of accuracy, balance, keep"):
        choose_settings(dnn, Wishes(aim="speed"))


@pytest.mark.parametrize(
    ("last", "loss", "expected", "from_logits"),
    [
        ("softmax", "sparse_categorical_crossentropy", "CategoricalCrossentropy", False),
        ("softmax", "categorical_crossentropy", "CategoricalCrossentropy", False),
        ("softmax", "mse", "MeanSquaredError", None),
        ("linear", None, "CategoricalCrossentropy", True),
        ("sigmoid", "binary_crossentropy", "BinaryCrossentropy", False),
    ],
)
def test_the_loss_is_that_of_the_model_for_targets_like_its_outputs(folder, last, loss, expected, from_logits):
    chosen, summary = choose_loss(load_dnn(saved(colour_model(last, loss), folder / "loss.keras")), dense=True)
    assert type(chosen).__name__ == expected
    assert chosen.get_config().get("from_logits") is from_logits
    assert ("that the model was compiled with" in summary) == (loss is not None)


# --- Training ---------------------------------------------------------------------------------------------------


def test_fine_tuning_learns_the_unsafe_images_and_keeps_the_others(dnn):
    given = [weights.copy() for weights in dnn.model.get_weights()]
    seen = []
    result = fine_tune(dnn, data_for(dnn), QUICK, on_epoch=lambda history, passes: seen.append((len(history), passes)))
    assert (result.history[0].unsafe, result.history[0].validation) == (0, 1)
    assert result.history[result.best].unsafe == 1
    assert result.history[result.best].validation == 1
    assert seen == [(epoch, (5,)) for epoch in range(1, 7)]
    assert result.stopped == ""
    for before, after in zip(given, dnn.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    ("last", "loss"),
    [("sigmoid", "binary_crossentropy"), ("linear", None)],
)
def test_outputs_and_losses_of_every_kind_train(folder, last, loss):
    dnn = load_dnn(saved(colour_model(last, loss), folder / "kind.keras"))
    result = fine_tune(dnn, data_for(dnn), QUICK)
    assert result.history[result.best].unsafe > 0.7


def test_stopping_keeps_the_best_epoch_so_far(dnn):
    history = []
    slow = QUICK._replace(learning_rate=0.02, epochs=30)
    result = fine_tune(
        dnn,
        data_for(dnn),
        slow,
        on_epoch=lambda epochs, _: history.append(epochs),
        should_stop=lambda: bool(history) and len(history[-1]) == 5,
    )
    assert len(result.history) == 5
    assert result.stopped == "on request"
    assert result.best > 0
    best = result.history[result.best]
    assert all(is_better(best, epoch, result.history[0]) for epoch in result.history[: result.best])
    at_once = fine_tune(dnn, data_for(dnn), QUICK, should_stop=lambda: True)
    assert at_once.best == 0
    for before, after in zip(dnn.model.get_weights(), at_once.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


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
