"""The core of step 6 of SAFE: fine-tuning the DNN with the unsafe set.

In: the DNN, training images and labelled unsafe images, in groups; in a second pass, images without labels too. Out:
the weights of the best epoch. In each epoch the model sees every training image once, and newly drawn unsafe images,
the same number from each group. The best epoch is chosen by held-out training images and the unsafe images; the test
set is not used.

A second pass also learns what both networks answer for images that nobody labelled. Of an improvement set, only the
unsafe set is labelled. What the other images should give is known well enough after a first pass: the mean of what the
original network answers and what the retrained one does, in which the original one counts more where it is likely
right. The second pass begins with the original network again, and learns these answers beside the labels. Thus one
network gets about as many right as the retrained one, and fewer wrong that were right
(docs/decisions/048-second-pass.md).

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.5; Fahmy et al., IEEE Transactions on Reliability 70(4),
2021 (HUDD: training set and balanced unsafe set together, from the given weights). Hinton et al., "Distilling the
knowledge in a neural network", 2015; Xie et al., "Self-training with noisy student improves ImageNet classification",
CVPR 2020 (a new network learns a finished one's answers for unlabelled images); Yan et al., "Positive-congruent
training", CVPR 2021 (that ensembles get fewer images wrong that were right).
"""

import contextlib
import math
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.model import Dnn
from safe_dnn.dnn.predictions import Judgement, LabelledImages, Pixels, Predictions, batches, judge, run_model
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import as_part, report_progress
from safe_dnn.support.text import count
from safe_dnn.training.checkpoint import Checkpoint, load_checkpoint, restore_state, run_key, save_checkpoint, state_of
from safe_dnn.training.settings import SetSizes, Settings, choose_loss, make_optimizer, unsafe_draws

TRAINING = -2
"""In place of a group: an image of the training set."""

UNLABELLED = -3
"""In place of a group: an image without a label."""

ON_REQUEST = "on request"
"""Why a fine-tuning stopped, if it was asked to."""

LikelyWrong = Callable[[np.ndarray], np.ndarray]
"""How likely the original network is wrong, shape (n,), where it answers with probabilities of shape (n, n_classes)."""

MOST_LOST = 0.05
_RUNNING = "Running the model on the training images"


class TrainingData(NamedTuple):
    """The images for fine-tuning; entry i of each field belongs to the same image.

    Attributes
    ----------
    pixels : Pixels
    labels : ndarray of shape (n_images,), int, or (n_images, n_targets), float64
    groups : ndarray of shape (n_images,), int
        Group of an unsafe image, where all groups have the same total weight; `TRAINING` for a training image,
        `UNLABELLED` for one whose label is not known.
    answers : ndarray of shape (n_images, n_classes), float32, optional
        What the images without a label are to give, in probabilities; only their rows count. Without answers, these
        images are left out.
    """

    pixels: Pixels
    labels: np.ndarray
    groups: np.ndarray
    answers: np.ndarray | None = None


class Epoch(NamedTuple):
    """The figures of an epoch; epoch 0 is the original model.

    Attributes
    ----------
    epoch : int
    loss : float or None
        Mean over the images of the epoch; None for epoch 0.
    validation : float
        Accuracy on the held-out training images.
    unsafe : float
        Accuracy on the unsafe images, each group with the same weight.
    seconds : float
    """

    epoch: int
    loss: float | None
    validation: float
    unsafe: float
    seconds: float


class FineTuning(NamedTuple):
    """The result of fine-tuning.

    Attributes
    ----------
    model : keras.Model
        With the weights of the best epoch; the DNN's own model is unchanged.
    history : tuple of Epoch
    best : int
        The best epoch, whose weights are kept.
    stopped : str
        The reason if it stopped before the last epoch, otherwise empty.
    seconds : float
        Total time.
    """

    model: Any
    history: tuple[Epoch, ...]
    best: int
    stopped: str
    seconds: float


class Watch(NamedTuple):
    """What a training reports to besides its progress, and asks.

    Attributes
    ----------
    on_epoch : callable
        Called after each epoch, including epoch 0, with the history and the number of epochs of each pass.
    should_stop : callable
        Called before each batch; if it returns True, training stops and the weights of the best epoch are kept.
    """

    on_epoch: Callable[[tuple[Epoch, ...], tuple[int, ...]], None] = lambda history, passes: None
    should_stop: Callable[[], bool] = lambda: False


UNWATCHED = Watch()


# --- Which images -----------------------------------------------------------------------------------------------


def hold_out(labels: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Choose the same share of each class; no image of a class with fewer than two.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int, or (n_images, n_targets), float64
        A regression has no classes: the share is of all images.

    Returns
    -------
    ndarray of shape (n_images,), bool
    """
    held = np.zeros(len(labels), bool)
    classes = labels if labels.ndim == 1 else np.zeros(len(labels), int)
    for label in np.unique(classes):
        members = np.flatnonzero(classes == label)
        if len(members) > 1:
            n = min(max(1, round(share * len(members))), len(members) - 1)
            held[rng.permutation(members)[:n]] = True
    return held


def draw_balanced(groups: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
    """Draw n images, the same number from each group up to a difference of one.

    Within a group, no image is drawn again before all the others have been drawn.

    Parameters
    ----------
    groups : ndarray of shape (n_images,), int

    Returns
    -------
    ndarray of shape (n,), int
        Indices into `groups`.
    """
    present = rng.permutation(np.unique(groups))
    drawn = []
    for i, group in enumerate(present):
        quota = n // len(present) + (i < n % len(present))
        members = np.flatnonzero(groups == group)
        rounds = [rng.permutation(members) for _ in range(-(-quota // len(members)))]
        drawn.append(np.concatenate([*rounds, np.empty(0, int)])[:quota].astype(int))
    return np.concatenate(drawn) if drawn else np.empty(0, int)


# --- Training ---------------------------------------------------------------------------------------------------


def fine_tune(
    dnn: Dnn, data: TrainingData, settings: Settings, *, threshold: float | None = None, watch: Watch = UNWATCHED,
    checkpoint: Path | None = None, original: Predictions | None = None,
) -> FineTuning:  # fmt: skip
    """Fine-tune a copy of the DNN; the same data and settings give the same images in the same order.

    Parameters
    ----------
    threshold : float, optional
        For a regression: an error above it is a failure.
    checkpoint : Path, optional
        A file for the state after each epoch. Fine-tuning resumes from it if it was written by the same fine-tuning.
    original : Predictions, optional
        Those of `original_outputs`, if they are known.

    Raises
    ------
    SAFEError
        There are no training images or no unsafe images, or those of a class, or all unsafe ones, cannot be read.
    """
    rng = np.random.default_rng(settings.seed)
    training = np.flatnonzero(data.groups == TRAINING)
    unsafe = np.flatnonzero(data.groups >= 0)
    unlabelled = np.flatnonzero(data.groups == UNLABELLED) if data.answers is not None else np.empty(0, int)
    if not len(training) or not len(unsafe):
        raise SAFEError(
            f"Expected training images and unsafe images. Received {len(training)} training images and {len(unsafe)} "
            "unsafe images."
        )
    held = hold_out(data.labels[training], settings.validation_share, rng)
    training, validation = training[~held], training[held]
    n_unsafe = unsafe_draws(settings, SetSizes(len(training), len(unsafe)))
    always = np.concatenate([training, unlabelled])
    # With a last batch of another size, TensorFlow would build the training graph a second time.
    n_unsafe += -(len(always) + n_unsafe) % settings.batch_size
    steps = settings.epochs * ((len(always) + n_unsafe) // settings.batch_size)
    images = LabelledImages(Path(), (), (), data.labels)
    started = time.monotonic()
    original = original or original_outputs(dnn, data)
    _check_readable(data, original.indices)
    goals = _targets(dnn, data, settings, original, judge(dnn, images, original, threshold=threshold).right)
    model = _compiled_copy(dnn, settings, steps)

    def check(epoch: int, loss: float | None, began: float) -> Epoch:
        on_validation = judge(dnn, images, run_model(dnn, model, data.pixels, validation), threshold=threshold)
        on_unsafe = judge(dnn, images, run_model(dnn, model, data.pixels, unsafe), threshold=threshold)
        share = balanced_share(on_unsafe, data.groups)
        return Epoch(epoch, loss, on_validation.accuracy, share, round(time.monotonic() - began, 2))

    history = [check(0, None, started)]
    best, weights, stopped = 0, model.get_weights(), ""
    key = run_key(dnn, data.pixels.files, settings, data.labels, data.groups, threshold) if checkpoint else ""
    if (saved := load_checkpoint(checkpoint, key) if checkpoint else None) and restore_state(model, saved):
        history = [Epoch(**epoch) for epoch in saved.history]
        best, weights, rng.bit_generator.state = saved.best, saved.best_weights, saved.rng
        started -= sum(epoch.seconds for epoch in history[1:])
    watch.on_epoch(tuple(history), (settings.epochs,))
    for epoch in range(len(history), settings.epochs + 1):
        began = time.monotonic()
        order = rng.permutation(np.concatenate([always, unsafe[draw_balanced(data.groups[unsafe], n_unsafe, rng)]]))
        # As that over all epochs, so that the time left is that of all of them.
        with as_part(partial(_over_all, epoch, settings.epochs)):
            loss, stopped = _train_epoch(dnn, model, data.pixels, goals, order, settings.batch_size, watch)
        if stopped:
            break
        history.append(check(epoch, loss, began))
        if is_better(history[-1], history[best], history[0]):
            best, weights = epoch, model.get_weights()
        if checkpoint:
            state = Checkpoint(
                [epoch._asdict() for epoch in history], best, rng.bit_generator.state, state_of(model), weights
            )
            with contextlib.suppress(SAFEError):  # a full disk is no reason to stop
                save_checkpoint(checkpoint, key, state)
        watch.on_epoch(tuple(history), (settings.epochs,))
    model.set_weights(weights)
    return FineTuning(model, tuple(history), best, stopped, time.monotonic() - started)


def original_outputs(dnn: Dnn, data: TrainingData) -> Predictions:
    """The outputs of the original model for the images with a label, from which `soft_targets` follow."""
    labelled = np.flatnonzero(data.groups != UNLABELLED)
    return run_model(dnn, dnn.model, data.pixels, labelled, what=_RUNNING)


def _targets(
    dnn: Dnn, data: TrainingData, settings: Settings, original: Predictions, right: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What each image is to give, and its weight: `soft_targets`, or the answers for images without a label."""
    keep = np.where(data.groups == TRAINING, settings.keep, settings.keep_unsafe)
    targets, weights = soft_targets(dnn, data.labels, *original[:2], right, keep=keep)
    if data.answers is not None:
        rest = data.groups == UNLABELLED
        targets[rest] = data.answers[rest][:, -targets.shape[1] :]
        weights[rest] = settings.unlabelled
    return targets, weights


def balanced_share(judgement: Judgement, groups: np.ndarray) -> float:
    """Share of correct predictions, each group with the same weight."""
    judged = groups[judgement.indices]
    shares = [judgement.right[judged == group].mean() for group in np.unique(judged)]
    return float(np.mean(shares)) if shares else 0.0


def is_better(epoch: Epoch, best: Epoch, original: Epoch) -> bool:
    """Whether an epoch replaces an earlier best one; it does if both are equal.

    The criterion is the sum of the accuracies on the held-out training images and on the unsafe images. The former
    alone would nearly always favour the original model, which was trained on these very images, unlike the later
    epochs. But an epoch that loses more than `MOST_LOST` of that accuracy has forgotten too much to be kept.
    """
    lost = original.validation - epoch.validation
    return lost <= MOST_LOST and epoch.validation + epoch.unsafe >= best.validation + best.unsafe


def soft_targets(
    dnn: Dnn, labels: np.ndarray, indices: np.ndarray, outputs: np.ndarray, right: np.ndarray, *, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Labels mixed with the outputs of the original model, for the images that it predicts correctly.

    For cross-entropy and for squared errors, training on (label + keep · output) / (1 + keep), weighted by 1 + keep, is
    equivalent to adding `keep` times the distance to the original model's outputs to the loss. It preserves correct
    predictions (knowledge distillation; Yan et al., "Positive-congruent training", CVPR 2021).
    docs/decisions/044-fine-tuning.md has figures.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), int, or (n_images, n_targets), float64
    indices, outputs, right
        The readable images: their indices, the original model's outputs, and whether these are correct.
    keep : ndarray of shape (n_images,), float
        Weight of the original model's outputs relative to the label.

    Returns
    -------
    targets : ndarray of shape (n_images, n_outputs), float32
    weights : ndarray of shape (n_images,), float32
    """
    if dnn.task == "regression":
        targets = labels.astype(np.float32)
    elif dnn.n_outputs == 1:
        targets, outputs = labels.astype(np.float32)[:, None], outputs[:, 1:]
    else:
        targets = np.eye(dnn.n_outputs, dtype=np.float32)[labels]
    weights = np.ones(len(labels), np.float32)
    rows = indices[right]
    share = keep[rows, None].astype(np.float32)
    targets[rows] = (targets[rows] + share * outputs[right]) / (1 + share)
    weights[rows] += keep[rows]
    return targets, weights


def _check_readable(data: TrainingData, indices: np.ndarray) -> None:
    """Refuse to train without the training images of a class, which would be unlearned, or without unsafe images."""
    readable = np.isin(np.arange(len(data.groups)), indices)
    training, unsafe = data.groups == TRAINING, data.groups >= 0
    classes = data.labels if data.labels.ndim == 1 else np.zeros(len(data.labels), int)
    if {*classes[training]} != {*classes[training & readable]} or not (unsafe & readable).any():
        first = data.pixels.files[int(np.flatnonzero(~readable)[0])]
        raise SAFEError(
            f"Expected training images of every class, and unsafe images, that can be read. Received too few: {first} "
            "cannot be read, for example."
        )


def _over_all(epoch: int, epochs: int, _: str, done: int, total: int) -> tuple[str, int, int]:
    return f"Retraining, epoch {epoch} of {epochs}", (epoch - 1) * total + done, epochs * total


def _train_epoch(
    dnn: Dnn, model: Any, pixels: Pixels, goals: tuple[np.ndarray, np.ndarray], order: np.ndarray, batch_size: int,
    watch: Watch,
) -> tuple[float, str]:  # fmt: skip
    """Train one epoch on `_targets`; return the mean loss, and why it stopped early, if so."""
    (targets, weights), done, total = goals, 0, 0.0
    report_progress("", 0, len(order))
    for inputs, rows in batches(dnn, pixels, order, batch_size):
        if watch.should_stop():
            return math.nan, ON_REQUEST
        if len(rows):
            model.reset_metrics()  # the loss of this batch alone
            loss = float(model.train_on_batch(inputs, targets[rows], weights[rows], return_dict=True)["loss"])
            if not math.isfinite(loss):
                return loss, "the loss became infinite or NaN; a smaller learning rate may help"
            total += loss * min(batch_size, len(order) - done)
        done = min(done + batch_size, len(order))
        report_progress("", done, len(order))
    return total / max(done, 1), ""


def _compiled_copy(dnn: Dnn, settings: Settings, steps: int) -> Any:
    """A compiled copy of the model; its learning rate decays to 0 along a cosine."""
    import keras

    # A Lambda layer of a trusted model is shared, since Keras would refuse to rebuild it from its configuration.
    def clone(layer: Any) -> Any:
        return layer if type(layer).__name__ == "Lambda" else type(layer).from_config(layer.get_config())

    model = keras.models.clone_model(dnn.model, clone_function=clone, recursive=True)
    model.set_weights(dnn.model.get_weights())
    # The seeds of dropout and similar layers, so that a run is reproducible; different for each layer.
    states = [variable for variable in model.variables if "seed_generator_state" in variable.path]
    for i, state in enumerate(states):
        state.assign(np.array([settings.seed, i << 20], state.dtype))
    rate = keras.optimizers.schedules.CosineDecay(settings.learning_rate, steps)
    model.compile(optimizer=make_optimizer(dnn, learning_rate=rate), loss=choose_loss(dnn, dense=True)[0])
    return model


# --- A second pass ----------------------------------------------------------------------------------------------


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
    """Fine-tune as `fine_tune` does, and once more with the images that have no label.

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
