"""Both networks together: a second pass that learns from their mean answers, and a model that answers with it.

Of an improvement set, only the unsafe set is labelled. What the other images should give is known well enough after a
first pass: the mean of what the original network answers and what the retrained one does, in which the original one
counts more where it is likely right. The second pass begins with the original network again, and learns these answers
beside the labels. Thus one network gets about as many right as the retrained one, and fewer wrong that were right
(docs/decisions/048-second-pass.md).

What a retrained network gets wrong that was right are mostly images of which it is less sure than the original one was.
A model that holds both and answers with a weighted mean of their probabilities keeps the surer answer of the two, and
so most of what was right, for little accuracy. It takes twice the time (docs/decisions/047-both-networks-together.md).

Sources: Hinton et al., "Distilling the knowledge in a neural network", 2015; Xie et al., "Self-training with noisy
student improves ImageNet classification", CVPR 2020 (a new network learns a finished one's answers for unlabelled
images); Yan et al., "Positive-congruent training", CVPR 2021 (that ensembles get fewer images wrong that were right).
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.model import Dnn
from safe_dnn.dnn.predictions import run_model
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import count
from safe_dnn.training.finetuning import (
    UNLABELLED,
    UNWATCHED,
    Epoch,
    FineTuning,
    TrainingData,
    Watch,
    copy_with,
    fine_tune,
    original_outputs,
)
from safe_dnn.training.settings import Settings

LikelyWrong = Callable[[np.ndarray], np.ndarray]
"""How likely the original network is wrong, shape (n,), where it answers with probabilities of shape (n, n_classes)."""


def draw_unlabelled(n_images: int, n_training: int) -> np.ndarray:
    """Which of the images without labels take part: all or, of many, as many as there are training images.

    Returns
    -------
    ndarray of shape (min(n_images, n_training),), int
        Sorted; the same for the same numbers.
    """
    return np.sort(np.random.default_rng(0).permutation(n_images)[:n_training])


def fine_tune_twice(
    dnn: Dnn, data: TrainingData, settings: Settings, *, threshold: float | None = None, watch: Watch = UNWATCHED,
    checkpoints: tuple[Path, Path] | None = None, likely_wrong: LikelyWrong | None = None,
) -> FineTuning:  # fmt: skip
    """Fine-tune as `training.finetuning.fine_tune` does, and once more with the images that have no label.

    There is one pass only if `settings.unlabelled` is 0, no image is without a label, or no epoch of the first pass is
    better than the original model. If it is stopped in the second pass, the result is that of the first.

    Parameters
    ----------
    data : TrainingData
        Without `answers`.
    watch : Watch
        In the history, the epochs of the second pass follow those of the first.
    checkpoints : (Path, Path), optional
        Files for the state after each epoch (see `training/checkpoint.py`), of the first and of the second pass. If
        they were written by the same fine-tuning, it resumes from there.
    likely_wrong : callable, optional
        As for `answers_together`.

    Raises
    ------
    SAFEError
        There are no training images or no unsafe images.
    """
    original = original_outputs(dnn, data, progress=watch.progress)
    tune = partial(fine_tune, dnn, threshold=threshold, original=original)
    first_file, second_file = checkpoints or (None, None)
    rest = np.flatnonzero(data.groups == UNLABELLED)
    if not settings.unlabelled or not len(rest):
        return tune(data, settings, watch=watch, checkpoint=first_file)

    first = tune(data, settings, watch=_of_pass(1, watch, settings.passes), checkpoint=first_file)
    if first.stopped or not first.best:
        return first
    again = _of_pass(2, watch, settings.passes, after=first.history)
    answers = answers_together(
        dnn, first.model, data, rest, settings, likely_wrong=likely_wrong, progress=again.progress
    )
    second = tune(data._replace(answers=answers), settings, watch=again, checkpoint=second_file)
    seconds, best = first.seconds + second.seconds, second.best + len(first.history) - 1
    result = second._replace(history=_joined(first.history, second.history), best=best, seconds=seconds)
    # An unfinished pass has not come to rest: its learning rate is still high.
    return result._replace(model=first.model, best=first.best) if second.stopped or not second.best else result


def answers_together(
    dnn: Dnn, retrained: Any, data: TrainingData, rest: np.ndarray, settings: Settings, *,
    likely_wrong: LikelyWrong | None = None, progress: Progress = no_progress,
) -> np.ndarray:  # fmt: skip
    """What the images without a label are to give: the mean of both networks' probabilities.

    Parameters
    ----------
    rest : ndarray of shape (n,), int
        The images, as indices into `data`.
    settings : Settings
        `answers_share` is the original network's share. If `likely_wrong` is given, it is, for each image, the mean of
        this and how likely the original network is right, weighted 1 - `by_right` and `by_right`.
    likely_wrong : callable, optional

    Returns
    -------
    ndarray of shape (n_images, n_classes), float32
        Only the rows of readable images of `rest` are filled in.
    """
    answers = np.zeros((len(data.labels), dnn.n_classes), np.float32)
    before, after = (
        run_model(dnn, model, data.pixels, rest, progress=progress, what="Asking both networks")
        for model in (dnn.model, retrained)
    )
    shares = np.zeros((len(data.labels), 1), np.float32)  # of the original network
    shares[before.indices] = settings.answers_share
    if likely_wrong and settings.by_right and len(before.indices):
        right = 1 - likely_wrong(before.outputs)[:, None]
        shares[before.indices] += settings.by_right * (right - settings.answers_share)
    answers[before.indices] = shares[before.indices] * before.outputs
    answers[after.indices] += (1 - shares[after.indices]) * after.outputs
    return answers


def is_of_second_pass(tuning: FineTuning, settings: Settings) -> bool:
    """Whether the model is that of the second pass."""
    return bool(settings.unlabelled) and tuning.best > settings.epochs


def second_pass_text(tuning: FineTuning, settings: Settings, n_unlabelled: int) -> str:
    """A sentence on the second pass; empty if there was none."""
    if is_of_second_pass(tuning, settings):
        return (
            f"Trained in two passes; in the second one also with {count(n_unlabelled, 'improvement image')} without a "
            "label, for which the answers of both networks stand in."
        )
    if settings.unlabelled and len(tuning.history) > settings.epochs + 1:
        return "Trained in two passes; the model is that of the first one, since the second one was stopped or in vain."
    return ""


def how_trained(tuning: FineTuning, settings: Settings, n_unlabelled: int) -> tuple[str, ...]:
    """Sentences on a model that holds both networks, and on the second pass, as far as there is something to say."""
    sentences = together_text(settings.original_share), second_pass_text(tuning, settings, n_unlabelled)
    return tuple(filter(None, sentences))


def _of_pass(number: int, watch: Watch, passes: tuple[int, ...], after: tuple[Epoch, ...] = ()) -> Watch:
    return watch._replace(
        progress=lambda what, done, total: watch.progress(f"Pass {number} of 2: {what}", done, total),
        on_epoch=lambda history, _: watch.on_epoch(_joined(after, history), passes),
    )


def _joined(first: tuple[Epoch, ...], second: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    """The history of two passes; if there was none before, that of one."""
    rest = (one._replace(epoch=one.epoch + len(first) - 1) for one in second[1:])
    return (*first, *rest) if first else second


# --- One model that holds both ----------------------------------------------------------------------------------------


SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
LEAST = 1e-7  # of a probability; its logarithm must be finite


class TradeOff(NamedTuple):
    """The test images that both networks together get right, if the original one has a share in the answer.

    Attributes
    ----------
    share : float
        0 is the retrained network alone.
    right : int
        Test images predicted correctly.
    worsened : int
        Those wrong that the original network gets right.
    """

    share: float
    right: int
    worsened: int


def answer_together(dnn: Dnn, retrained: Any, share: float) -> Any:
    """A model that holds copies of both networks.

    Parameters
    ----------
    dnn : Dnn
        The original network, a classifier.
    retrained : keras.Model
        Of the same layers.
    share : float
        Of the original network in the mean, from 0 to 1.

    Returns
    -------
    keras.Model
        Not compiled. Its outputs are of the same kind as the original ones: probabilities or logits.
    """
    import keras
    from keras import ops

    pixels = keras.Input(dnn.model.inputs[0].shape[1:], dtype=dnn.model.inputs[0].dtype)
    probabilities = []
    for name, weights in (("original", dnn.model.get_weights()), ("retrained", retrained.get_weights())):
        network = copy_with(dnn, weights)
        network.name = name
        outputs = network(pixels)
        if dnn.activation == "logits":
            outputs = ops.sigmoid(outputs) if dnn.n_outputs == 1 else ops.softmax(outputs)
        probabilities.append(outputs)
    mean = ops.clip(share * probabilities[0] + (1 - share) * probabilities[1], LEAST, 1 - LEAST)
    outputs = ops.log(mean)
    if dnn.n_outputs == 1 or dnn.activation == "sigmoid":
        outputs -= ops.log(1 - mean)
    # The last layer tells what the outputs are, and these functions of logarithms give the mean again.
    if dnn.activation in ("sigmoid", "softmax"):
        outputs = keras.layers.Activation(dnn.activation)(outputs)
    return keras.Model(pixels, outputs, name=dnn.model.name)


def trade_off(before: np.ndarray, after: np.ndarray, labels: np.ndarray) -> tuple[TradeOff, ...]:
    """What both networks together would get right with each share of the original one.

    Parameters
    ----------
    before, after : ndarray of shape (n_images, n_classes), float
        Probabilities of the original and of the retrained network.
    labels : ndarray of shape (n_images,), int
    """
    was_right = before.argmax(axis=1) == labels
    found = []
    for share in SHARES:
        right = (share * before + (1 - share) * after).argmax(axis=1) == labels
        found.append(TradeOff(share, int(right.sum()), int((was_right & ~right).sum())))
    return tuple(found)


def together_text(share: float) -> str:
    """A sentence on a model that holds both networks; empty for the retrained one alone."""
    if not share:
        return ""
    return (
        f"Both networks answer together, the retrained one with a weight of {1 - share:.0%} and the original one with "
        f"{share:.0%}: the model holds both, and takes twice as long."
    )


def trade_off_text(found: Sequence[TradeOff], n_images: int, *, now: float, offered: float) -> str:
    """What the original network would keep if it had a share in the answers; empty where it has, or nothing is known.

    For example `With the original network answering along (30%, to keep what is right): accuracy 89.30%, 6 images
    worsened`.

    Parameters
    ----------
    n_images : int
        In the test set.
    now, offered : float
        The share that it has, and the one that is offered.
    """
    one = next((one for one in found if one.share == offered), None)
    if now or one is None:
        return ""
    return (
        f"With the original network answering along ({offered:.0%}, to keep what is right): "
        f"accuracy {one.right / n_images:.2%}, {count(one.worsened, 'image')} worsened"
    )
