"""Settings of retraining, chosen from model, sets and wishes."""

import dataclasses

import pytest

from safe_dnn.dnn.model import load_dnn
from safe_dnn.options import Wishes
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.settings import AIMS, SetSizes, Settings, aim_of, choose_loss, choose_settings
from tests.helpers.small_models import brightness_model, colour_model, saved


def test_the_learning_rate_comes_from_the_model(folder):
    import keras

    optimizers = keras.optimizers
    for optimizer, expected in (
        (optimizers.SGD(0.004), 0.0028), (optimizers.Adam(optimizers.schedules.CosineDecay(2e-3, 100)), 1.4e-3),
        (optimizers.Adam(1e-9), 1e-4), (optimizers.SGD(0.5), 1e-2),
    ):  # fmt: skip
        compiled = load_dnn(saved(colour_model(optimizer=optimizer), folder / "rate.keras"))
        assert choose_settings(compiled).learning_rate == pytest.approx(expected)
    assert choose_settings(load_dnn(saved(colour_model(loss=None), folder / "plain.keras"))).learning_rate == 7e-4


@pytest.mark.parametrize(
    ("name", "value"),
    [("learning_rate", "fast"), ("learning_rate", float("nan")), ("epochs", 0), ("epochs", 2.5), ("seed", -1)],
)
def test_settings_out_of_range_are_refused(dnn, name, value):
    with pytest.raises(SAFEError, match=f"{name.replace('_', ' ')} must be a"):
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


def test_an_aim_decides_how_much_of_what_was_right_counts(dnn):
    sizes = SetSizes(1000, 50, 200)
    chosen = [choose_settings(dnn, Wishes(aim=aim), sizes) for aim in ("accuracy", "balance", "keep")]
    assert chosen[0].keep_unsafe < chosen[1].keep_unsafe == chosen[2].keep_unsafe
    assert chosen[0].by_right < chosen[1].by_right < chosen[2].by_right
    assert choose_settings(dnn, sizes=sizes) == chosen[1]
    regression = choose_settings(dataclasses.replace(dnn, task="regression"), Wishes(aim="keep"))
    assert (regression.unlabelled, aim_of(regression)) == (0, "balance")
    assert [*map(aim_of, chosen)] == list(AIMS)
    assert aim_of(Settings(0.1, keep_unsafe=2.5)) == ""
    with pytest.raises(SAFEError, match="aim must be one of accuracy, balance, keep"):
        choose_settings(dnn, Wishes(aim="speed"))


@pytest.mark.parametrize(
    ("last", "loss", "expected", "from_logits"),
    [
        ("softmax", "sparse_categorical_crossentropy", "CategoricalCrossentropy", False),
        ("softmax", "categorical_crossentropy", "CategoricalCrossentropy", False),
        ("softmax", "mse", "MeanSquaredError", None), ("linear", None, "CategoricalCrossentropy", True),
        ("sigmoid", "binary_crossentropy", "BinaryCrossentropy", False),
    ],
)  # fmt: skip
def test_the_loss_is_that_of_the_model_for_targets_like_its_outputs(folder, last, loss, expected, from_logits):
    chosen, summary = choose_loss(load_dnn(saved(colour_model(last, loss), folder / "loss.keras")), dense=True)
    assert type(chosen).__name__ == expected
    assert chosen.get_config().get("from_logits") is from_logits
    assert ("that the model was compiled with" in summary) == (loss is not None)


def test_there_is_a_second_pass_by_default_for_classifiers_with_images_left(dnn, folder):
    sizes = SetSizes(1000, 50, 20)
    assert choose_settings(dnn, sizes=sizes)[-3:] == (3, 0.3, 0.5)
    assert choose_settings(dnn, Wishes(aim="accuracy"), sizes)[-3:] == (1, 0.2, 0)
    assert choose_settings(dnn, sizes=sizes).passes == 2 * (choose_settings(dnn, sizes=sizes).epochs,)
    assert choose_settings(dnn, Wishes(unlabelled=0), sizes)[-3:] == (0, 0, 0)
    assert choose_settings(dnn, sizes=SetSizes(1000, 50)).unlabelled == 0
    regression = load_dnn(saved(brightness_model(), folder / "regression.keras"))
    assert choose_settings(regression, sizes=sizes).unlabelled == 0
