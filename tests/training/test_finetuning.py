import dataclasses
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.model import load_dnn, loss_name
from safe_dnn.dnn.predictions import run_model
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.checkpoint import (
    CHECKPOINT_FILE,
    Checkpoint,
    load_checkpoint,
    restore_state,
    run_key,
    save_checkpoint,
    state_of,
)
from safe_dnn.training.finetuning import (
    TRAINING,
    UNLABELLED,
    Epoch,
    TrainingData,
    Watch,
    copy_with,
    draw_balanced,
    fine_tune,
    hold_out,
    is_better,
)
from safe_dnn.training.second_pass import (
    answer_together,
    answers_together,
    fine_tune_twice,
    is_of_second_pass,
    second_pass_text,
)
from safe_dnn.training.settings import (
    AIMS,
    SetSizes,
    Settings,
    Wishes,
    aim_of,
    choose_loss,
    choose_settings,
    compile_as_given,
)
from tests.helpers.small_models import NAMES, SIDE, Ready, brightness_model, colour_model, draw_colour, red_model, saved

QUICK = Settings(learning_rate=0.05, epochs=5, batch_size=8)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def dnn(folder):
    return load_dnn(saved(colour_model(), folder / "colours.keras"))


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
    return TrainingData(Ready(dnn, np.stack(images)), np.array(labels), np.array(rccs))


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
    watch = Watch(on_epoch=lambda history, passes: seen.append((len(history), passes)))
    result = fine_tune(dnn, data_for(dnn), QUICK, watch=watch)
    assert (result.history[0].unsafe, result.history[0].validation) == (0, 1)
    assert result.history[result.best].unsafe == 1
    assert result.history[result.best].validation == 1
    assert seen == [(epoch, (5,)) for epoch in range(1, 7)]
    assert result.stopped == ""
    for before, after in zip(given, dnn.model.get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(("last", "loss"), [("sigmoid", "binary_crossentropy"), ("linear", None)])
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
        watch=Watch(
            on_epoch=lambda epochs, _: history.append(epochs),
            should_stop=lambda: bool(history) and len(history[-1]) == 5,
        ),
    )
    assert len(result.history) == 5
    assert result.stopped == "on request"
    assert result.best > 0
    best = result.history[result.best]
    assert all(is_better(best, epoch, result.history[0]) for epoch in result.history[: result.best])
    at_once = fine_tune(dnn, data_for(dnn), QUICK, watch=Watch(should_stop=lambda: True))
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


# --- A second pass, with images that nobody labelled ------------------------------------------------------------


SHARE = 0.3
TWICE = QUICK._replace(unlabelled=3.0, answers_share=SHARE)


def with_unlabelled(dnn, data: TrainingData, plain=NAMES) -> TrainingData:
    """Red in blue, and plain images of some colours, without labels."""
    rng = np.random.default_rng(1)
    more = [np.asarray(draw_colour("red", rng, "blue")) for _ in range(4)]
    more += [np.asarray(draw_colour(name, rng)) for name in plain for _ in range(4)]
    pixels, _ = data.pixels.take(np.arange(len(data.labels)))
    return TrainingData(
        Ready(dnn, np.concatenate([pixels, np.stack(more)])),
        np.concatenate([data.labels, np.zeros(len(more), data.labels.dtype)]),
        np.concatenate([data.groups, np.full(len(more), UNLABELLED)]),
    )


@pytest.fixture(scope="module")
def data(dnn):
    return with_unlabelled(dnn, data_for(dnn))


def unlabelled_in(data: TrainingData) -> np.ndarray:
    return np.flatnonzero(data.groups == UNLABELLED)


def test_there_is_a_second_pass_whose_epochs_follow_those_of_the_first(dnn, data):
    seen, told = [], []
    watch = Watch(
        progress=lambda what, done, total: told.append(what),
        on_epoch=lambda history, passes: seen.append(([one.epoch for one in history], passes)),
    )
    result = fine_tune_twice(dnn, data, TWICE, watch=watch)
    assert [one.epoch for one in result.history] == list(range(11))
    assert seen == [(list(range(n + 1)), (5, 5)) for n in (*range(6), *range(5, 11))]
    assert result.best > 5
    assert is_of_second_pass(result, TWICE)
    assert result.history[result.best].unsafe == 1
    assert {"Pass 1 of 2: Retraining, epoch 5 of 5", "Pass 2 of 2: Retraining, epoch 1 of 5"} <= set(told)
    assert second_pass_text(result, TWICE, 16).startswith(
        "Trained in two passes; in the second one also with 16 improv"
    )


def test_the_original_network_counts_more_where_it_is_likely_right(dnn, data):
    rest = unlabelled_in(data)
    first = fine_tune(dnn, data, TWICE)
    before, after = (run_model(dnn, model, data.pixels, rest).outputs for model in (dnn.model, first.model))
    wrong = np.linspace(0, 1, len(rest))
    asked = []
    settings = TWICE._replace(by_right=0.25)
    answers = answers_together(
        dnn, first.model, data, rest, settings, likely_wrong=lambda outputs: asked.append(outputs) or wrong
    )
    np.testing.assert_array_equal(asked, [before])
    shares = (0.75 * SHARE + 0.25 * (1 - wrong))[:, None]
    np.testing.assert_allclose(answers[rest], shares * before + (1 - shares) * after, atol=1e-6)


def test_there_is_a_second_pass_by_default_for_classifiers_with_images_left(dnn, folder):
    sizes = SetSizes(1000, 50, 20)
    assert choose_settings(dnn, sizes=sizes)[-3:] == (3, 0.3, 0.5)
    assert choose_settings(dnn, Wishes(aim="accuracy"), sizes)[-3:] == (1, 0.2, 0)
    assert choose_settings(dnn, sizes=sizes).passes == 2 * (choose_settings(dnn, sizes=sizes).epochs,)
    assert choose_settings(dnn, Wishes(unlabelled=0), sizes)[-3:] == (0, 0, 0)
    assert choose_settings(dnn, sizes=SetSizes(1000, 50)).unlabelled == 0
    regression = load_dnn(saved(brightness_model(), folder / "regression.keras"))
    assert choose_settings(regression, sizes=sizes).unlabelled == 0


# --- Both networks answer together ------------------------------------------------------------------------------


def images():
    rng = np.random.default_rng(0)
    return np.stack([np.asarray(draw_colour(name, rng, tint)) for tint in (None, "red") for name in NAMES])


def outputs(dnn, model):
    pixels = Ready(dnn, images())
    return run_model(dnn, model, pixels, np.arange(len(pixels)))[1]


@pytest.mark.parametrize(
    "model",
    [
        lambda: colour_model(head="layer"),
        pytest.param(lambda: colour_model("linear"), marks=pytest.mark.slow),
        lambda: red_model(),
    ],
    ids=["softmax", "logits", "one output"],
)
def test_the_answer_is_the_mean_of_both_also_once_it_is_saved_and_when_it_is_retrained_again(model, tmp_path):
    dnn = load_dnn(saved(model(), tmp_path / "given.keras"))
    rng = np.random.default_rng(1)
    retrained = copy_with(dnn, [weights + rng.normal(0, 0.5, weights.shape) for weights in dnn.model.get_weights()])
    original, other = outputs(dnn, dnn.model), outputs(dnn, retrained)
    assert np.abs(original - other).max() > 0.05
    together = answer_together(dnn, retrained, 0.3)
    compile_as_given(dnn, together)
    again = load_dnn(saved(together, tmp_path / "together.keras"))
    assert (again.activation, again.task, again.n_outputs) == (dnn.activation, dnn.task, dnn.n_outputs)
    assert (again.height, again.width, again.channels) == (dnn.height, dnn.width, dnn.channels)
    assert loss_name(again.compiled) == loss_name(dnn.compiled)
    mean = 0.3 * original + 0.7 * other
    for whole in (again.model, copy_with(again, again.model.get_weights()), answer_together(again, again.model, 0.5)):
        assert outputs(again, whole) == pytest.approx(mean, abs=1e-5)
    assert outputs(dnn, dnn.model) == pytest.approx(original)  # neither network was changed


# --- A fine-tuning that is cut off goes on ----------------------------------------------------------------------


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


@pytest.mark.slow
def test_a_fine_tuning_that_is_cut_off_goes_on_and_comes_to_the_same(layered, tmp_path):
    data, file = data_for(layered), tmp_path / CHECKPOINT_FILE
    whole = fine_tune(layered, data, QUICK)
    with pytest.raises(CutOff):
        fine_tune(layered, data, QUICK, watch=Watch(on_epoch=cut_off_after(3)), checkpoint=file)
    trained = []
    resumed = fine_tune(layered, data, QUICK, watch=Watch(lambda *step: trained.append(step)), checkpoint=file)
    shares = [(done / total, what) for what, done, total in trained if "epoch" in what]
    assert shares == sorted(shares)
    assert shares[0] == (0.6, "Retraining, epoch 4 of 5")
    assert shares[-1] == (1, "Retraining, epoch 5 of 5")
    assert [row[:4] for row in resumed.history[1:]] == [row[:4] for row in whole.history[1:]]
    assert resumed.best == whole.best
    for mine, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        assert (mine == theirs).all()
    assert resumed.seconds >= sum(row.seconds for row in resumed.history[1:])


@pytest.mark.slow
def test_the_state_of_another_fine_tuning_is_not_taken(layered, tmp_path):
    file = tmp_path / CHECKPOINT_FILE
    with pytest.raises(CutOff):
        fine_tune(layered, data_for(layered), QUICK, watch=Watch(on_epoch=cut_off_after(1)), checkpoint=file)
    images = [Path(f"{i}.png") for i in range(38)]
    (key,) = {run_key(layered, images, QUICK, data_for(layered).labels) for _ in range(2)}
    keys = {
        key,
        run_key(layered, images[:37], QUICK, data_for(layered).labels),
        run_key(layered, images, QUICK._replace(seed=1), data_for(layered).labels),
        run_key(layered, images, QUICK, data_for(layered, plain=9).labels),
        run_key(layered, [file], QUICK, data_for(layered).labels),
    }
    assert len(keys) == 5
    found = fine_tune(layered, data_for(layered, plain=9), QUICK._replace(epochs=1), checkpoint=file)
    assert len(found.history) == 2


def test_a_damaged_or_hostile_state_is_not_taken(layered, tmp_path):
    file = tmp_path / CHECKPOINT_FILE
    with pytest.raises(CutOff):
        fine_tune(layered, data_for(layered), QUICK, watch=Watch(on_epoch=cut_off_after(1)), checkpoint=file)
    whole = file.read_bytes()
    for place in np.linspace(0, len(whole) - 1, 25).astype(int):
        file.write_bytes(whole[:place])
        assert load_checkpoint(file, "any") is None
    state = Checkpoint([[0, 0.5, 0.5, 0.5, 0.1]], 0, np.random.default_rng().bit_generator.state, [], [])
    save_checkpoint(file, "k", state)
    assert load_checkpoint(file, "k") is not None
    assert load_checkpoint(file, "other") is None
    for bad in ({"rng": {}}, {"rng": {"bit_generator": "MT19937"}}):
        save_checkpoint(file, "k", state._replace(**bad))
        assert load_checkpoint(file, "k") is None
    layered.model.compile("sgd", "mse")
    assert restore_state(
        layered.model, state._replace(weights=state_of(layered.model), kept=layered.model.get_weights())
    )
    for arrays in ([], [np.zeros(2)], [np.full(array.shape, "x") for array in state_of(layered.model)]):
        assert not restore_state(layered.model, state._replace(weights=arrays, kept=layered.model.get_weights()))
        assert not restore_state(layered.model, state._replace(weights=state_of(layered.model), kept=arrays))
