"""A second pass of fine-tuning, which also learns what both networks answer for images that nobody labelled.

Of an improvement set, only the unsafe set is labelled. What the other images should give is known well enough after a
first pass: the mean of what the original network answers and what the retrained one does, in which the original one
counts more where it is likely right. The second pass begins with the original network again, and learns these answers
beside the labels. Thus one network gets about as many right as the retrained one, and fewer wrong that were right
(docs/decisions/048-second-pass.md).

Sources: Hinton et al., "Distilling the knowledge in a neural network", 2015; Xie et al., "Self-training with noisy
student improves ImageNet classification", CVPR 2020 (a new network learns a finished one's answers for unlabelled
images); Yan et al., "Positive-congruent training", CVPR 2021 (that ensembles get fewer images wrong that were right).
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from safe_dnn.dnn.model import Dnn
from safe_dnn.dnn.predictions import run_model
from safe_dnn.support.progress import as_part
from safe_dnn.support.text import count
from safe_dnn.training.finetuning import (
    UNLABELLED,
    UNWATCHED,
    Epoch,
    FineTuning,
    TrainingData,
    Watch,
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
    original = original_outputs(dnn, data)
    tune = partial(fine_tune, dnn, threshold=threshold, original=original)
    first_file, second_file = checkpoints or (None, None)
    rest = np.flatnonzero(data.groups == UNLABELLED)
    if not settings.unlabelled or not len(rest):
        return tune(data, settings, watch=watch, checkpoint=first_file)

    with as_part(partial(_of_pass, 1)):
        first = tune(data, settings, watch=_with_passes(watch, settings.passes), checkpoint=first_file)
    if first.stopped or not first.best:
        return first
    again = _with_passes(watch, settings.passes, after=first.history)
    with as_part(partial(_of_pass, 2)):
        answers = answers_together(dnn, first.model, data, rest, settings, likely_wrong=likely_wrong)
        second = tune(data._replace(answers=answers), settings, watch=again, checkpoint=second_file)
    seconds, best = first.seconds + second.seconds, second.best + len(first.history) - 1
    result = second._replace(history=_joined(first.history, second.history), best=best, seconds=seconds)
    # An unfinished pass has not come to rest: its learning rate is still high.
    return result._replace(model=first.model, best=first.best) if second.stopped or not second.best else result


def answers_together(
    dnn: Dnn, retrained: Any, data: TrainingData, rest: np.ndarray, settings: Settings, *,
    likely_wrong: LikelyWrong | None = None,
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
        run_model(dnn, model, data.pixels, rest, what="Asking both networks") for model in (dnn.model, retrained)
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


def _of_pass(number: int, what: str, done: int, total: int) -> tuple[str, int, int]:
    return f"Pass {number} of 2: {what}", done, total


def _with_passes(watch: Watch, passes: tuple[int, ...], after: tuple[Epoch, ...] = ()) -> Watch:
    return watch._replace(on_epoch=lambda history, _: watch.on_epoch(_joined(after, history), passes))


def _joined(first: tuple[Epoch, ...], second: tuple[Epoch, ...]) -> tuple[Epoch, ...]:
    """The history of two passes; if there was none before, that of one."""
    rest = (one._replace(epoch=one.epoch + len(first) - 1) for one in second[1:])
    return (*first, *rest) if first else second
