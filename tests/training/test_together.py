"""Both networks answer together."""

import numpy as np
import pytest

from safe_dnn.dnn.model import load_dnn, loss_name
from safe_dnn.dnn.predictions import run_model
from safe_dnn.training.finetuning import copy_with
from safe_dnn.training.second_pass import answer_together
from safe_dnn.training.settings import compile_as_given
from tests.helpers.small_models import NAMES, Ready, colour_model, draw_colour, red_model, saved


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
