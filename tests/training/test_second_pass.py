"""A second pass, with images that nobody labelled."""

import numpy as np
import pytest

from safe_dnn.dnn.predictions import run_model
from safe_dnn.support.progress import reporting
from safe_dnn.training.finetuning import (
    UNLABELLED,
    TrainingData,
    Watch,
    answers_together,
    fine_tune,
    fine_tune_twice,
    is_of_second_pass,
    second_pass_text,
)
from tests.helpers.fine_tuned import QUICK, data_for
from tests.helpers.small_models import NAMES, Ready, draw_colour

SHARE = 0.3

TWICE = QUICK._replace(unlabelled=3.0, answers_share=SHARE)


def with_unlabelled(dnn, data: TrainingData, plain=NAMES) -> TrainingData:
    """Red in blue, and plain images of some colours, without labels."""
    rng = np.random.default_rng(1)
    more = [np.asarray(draw_colour("red", rng, "blue")) for _ in range(4)]
    more += [np.asarray(draw_colour(name, rng)) for name in plain for _ in range(4)]
    pixels = [data.pixels.one(i) for i in range(len(data.labels))]
    return TrainingData(
        Ready(dnn, np.stack([*pixels, *more])),
        np.concatenate([data.labels, np.zeros(len(more), data.labels.dtype)]),
        np.concatenate([data.groups, np.full(len(more), UNLABELLED)]),
    )


@pytest.fixture(scope="module")
def data(dnn):
    return with_unlabelled(dnn, data_for(dnn))


def unlabelled_in(data: TrainingData) -> np.ndarray:
    return np.flatnonzero(data.groups == UNLABELLED)


@pytest.mark.slow
def test_there_is_a_second_pass_whose_epochs_follow_those_of_the_first(dnn, data):
    seen, told = [], []
    watch = Watch(on_epoch=lambda history, passes: seen.append(([one.epoch for one in history], passes)))
    with reporting(lambda what, done, total: told.append(what)):
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
