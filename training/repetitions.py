"""Step 6 of SAFE, on request several times: fine-tuning with one seed after the other, of which the median is kept.

In: how to train and test with given settings. Out: the fine-tuning whose test accuracy is the median, and the figures
of all. A single fine-tuning may be lucky or not; how much the accuracy depends on the seed is seen only by repeating it
(Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021). The best of several would be
chosen by the test set, and its accuracy be too high an estimate; the median is not.
"""

import contextlib
import gc
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dnn.predictions import Judgement
from support.errors import SAFEError
from support.files import DAMAGED
from support.progress import Progress
from support.text import count
from training.certainty import count_pairs
from training.checkpoint import load_state, save_state
from training.finetuning import ON_REQUEST, Epoch, FineTuning, OnEpoch
from training.settings import Settings


class Repetition(NamedTuple):
    """The figures of a repetition.

    Attributes
    ----------
    seed : int
    accuracy_after : float
        On the test set.
    improved, worsened : int
        Number of test images that are wrong before and correct after, and vice versa.
    """

    seed: int
    accuracy_after: float
    improved: int
    worsened: int


class Finished(NamedTuple):
    """A finished repetition.

    Attributes
    ----------
    figures : Repetition
    tuning : FineTuning
        Without its model.
    weights : list of ndarray
    after : Judgement or None
        None if an earlier process finished this repetition.
    """

    figures: Repetition
    tuning: FineTuning
    weights: list[np.ndarray]
    after: Judgement | None


class Steps(NamedTuple):
    """What a repetition does.

    Attributes
    ----------
    train : callable
        Given the settings and a progress callback: the fine-tuning.
    test : callable
        Given a model and a progress callback: its predictions for the test set.
    copy : callable
        Given weights: a copy of the original model with these.
    """

    train: Callable[[Settings, Progress], FineTuning]
    test: Callable[[Any, Progress], Judgement]
    copy: Callable[[list[np.ndarray]], Any]


class Resumption(NamedTuple):
    """Where finished repetitions are kept in case the process is killed.

    Attributes
    ----------
    file : Path
    key : str
        Identifies the request (see `training.checkpoint.run_key`).
    """

    file: Path
    key: str


class Repeated(NamedTuple):
    """The fine-tuning that is kept.

    Attributes
    ----------
    tuning : FineTuning
        Its times are those of all repetitions together.
    after : Judgement
        Its predictions for the test set.
    settings : Settings
        With its seed.
    repetitions : tuple of Repetition
        The finished ones in order of their seeds; empty if only one was requested or if the first one was stopped.
    """

    tuning: FineTuning
    after: Judgement
    settings: Settings
    repetitions: tuple[Repetition, ...]


# --- The median -------------------------------------------------------------------------------------------------


def median_of(accuracies: Sequence[float]) -> int:
    """Index of the median; of an even number, of the lower of the middle two. Of equal ones, the first comes first."""
    ranked = sorted(range(len(accuracies)), key=lambda i: (accuracies[i], i))
    return ranked[(len(accuracies) - 1) // 2]


# --- Repeating --------------------------------------------------------------------------------------------------


def repeat(
    steps: Steps,
    settings: Settings,
    n: int,
    before: Judgement,
    resumption: Resumption | None,
    *,
    progress: Progress,
    on_epoch: OnEpoch,
    should_stop: Callable[[], bool],
) -> Repeated:
    """Fine-tune n times, with the seeds seed, seed + 1, …, and keep the one whose test accuracy is the median.

    If it is stopped or fails after a finished repetition, those that are finished count, and `tuning.stopped` says so.
    If it is stopped in the first one, its best epoch is kept, as if only one had been requested.

    Parameters
    ----------
    before : Judgement
        Predictions of the original model for the test set.
    resumption : Resumption or None
        None if only one is requested.
    on_epoch, should_stop : callable
        As given to the fine-tuning. Here, the former is called only for repetitions that an earlier process finished.

    Raises
    ------
    SAFEError
        The first repetition failed.
    """
    done = load_repetitions(resumption) if resumption else []
    if done:
        on_epoch(done[-1].tuning.history, settings.passes)
    stopped = ""
    while len(done) < n:
        if done and should_stop():
            stopped = ON_REQUEST
            break
        mine = settings._replace(seed=settings.seed + len(done))
        report = _numbered(progress, len(done) + 1, n)
        tuning: FineTuning | None = None
        try:
            tuning = steps.train(mine, report)
            if done and tuning.stopped == ON_REQUEST:
                stopped = ON_REQUEST
                break
            after = steps.test(tuning.model, report)
            if n == 1 or tuning.stopped == ON_REQUEST:
                return Repeated(tuning, after, mine, ())
            done = [*done, _finished(mine.seed, tuning, before, after)]
        except _ends() as error:
            if not done:
                raise
            stopped = _reason(error)
            break
        finally:
            tuning = None
            gc.collect()  # a Keras model refers to itself: without this, several would fill the memory
        if resumption:
            with contextlib.suppress(SAFEError):  # a full disk is no reason to stop
                save_repetitions(resumption, done)
    return _kept(steps, settings, done, n, stopped, progress)


def _kept(steps: Steps, settings: Settings, done: list[Finished], n: int, stopped: str, progress: Progress) -> Repeated:
    kept = done[median_of([one.figures.accuracy_after for one in done])]
    model = steps.copy(kept.weights)
    after = kept.after or steps.test(model, progress)
    finished = f"{len(done)} of {count(n, 'repetition')}"
    if stopped == ON_REQUEST:
        stopped = f"{ON_REQUEST}, after {finished}"
    elif stopped:
        stopped = f"after {finished}, since the next one failed ({stopped})"
    tuning = kept.tuning._replace(
        model=model,
        stopped="; ".join(filter(None, (kept.tuning.stopped, stopped))),
        seconds=sum(one.tuning.seconds for one in done),
        waiting=sum(one.tuning.waiting for one in done),
    )
    return Repeated(tuning, after, settings._replace(seed=kept.figures.seed), tuple(one.figures for one in done))


def _finished(seed: int, tuning: FineTuning, before: Judgement, after: Judgement) -> Finished:
    if not np.array_equal(before.indices, after.indices):
        raise SAFEError(
            f"Expected the {len(before.indices)} test images that could be read before the training. Received "
            f"{len(after.indices)} after it. Check the test folder and retrain."
        )
    counts = count_pairs(before.right, after.right)
    figures = Repetition(seed, after.accuracy, counts.improved, counts.worsened)
    return Finished(figures, tuning._replace(model=None), tuning.model.get_weights(), after)


def _numbered(progress: Progress, number: int, n: int) -> Progress:
    if n == 1:
        return progress
    return lambda what, done, total: progress(f"Repetition {number} of {n}: {what}", done, total)


def _ends() -> tuple[type[Exception], ...]:
    """What ends a repetition without being a defect; the finished ones count."""
    from tensorflow.errors import ResourceExhaustedError

    return SAFEError, OSError, MemoryError, ResourceExhaustedError


def _reason(error: Exception) -> str:
    if isinstance(error, SAFEError):
        return str(error)
    if isinstance(error, OSError):
        return error.strerror or str(error)
    return "memory ran out"  # TensorFlow's message is a page long


# --- What is known of a run that was killed ---------------------------------------------------------------------


def save_repetitions(resumption: Resumption, done: list[Finished]) -> None:
    """Replace the file; raise a SAFEError if it cannot be written."""
    rows = [(one.figures, one.tuning) for one in done]
    save_state(*resumption, rows, {str(i): one.weights for i, one in enumerate(done)})


def load_repetitions(resumption: Resumption) -> list[Finished]:
    """The finished repetitions of the same request; empty if there are none or the file is damaged."""
    rows, arrays = load_state(*resumption)
    try:
        return [
            Finished(
                Repetition(*figures), FineTuning(None, tuple(Epoch(*one) for one in history), *rest), weights, None
            )
            for (figures, (_, history, *rest)), weights in zip(rows, arrays.values(), strict=True)
        ]
    except DAMAGED:
        return []


# --- In words ---------------------------------------------------------------------------------------------------


def repetitions_text(repetitions: Sequence[Repetition], kept: int) -> str:
    """How much the result depends on the seed, one line; empty without repetitions.

    For example `5 repetitions: accuracy 0.894 to 0.912, mean 0.905; kept: seed 3, the median; improved 12 to 19, mean
    15.4; worsened 1 to 4, mean 2.2`.

    Parameters
    ----------
    kept : int
        The seed of the repetition that is kept.
    """
    if not repetitions:
        return ""
    which = "" if len(repetitions) == 1 else ", the median" if len(repetitions) % 2 else ", the lower median"
    parts = (
        f"accuracy {_spread([one.accuracy_after for one in repetitions], '.3f', '.3f')}",
        f"kept: seed {kept}{which}",
        f"improved {_spread([one.improved for one in repetitions], ',', ',.1f')}",
        f"worsened {_spread([one.worsened for one in repetitions], ',', ',.1f')}",
    )
    return f"{count(len(repetitions), 'repetition')}: {'; '.join(parts)}"


def _spread(numbers: Sequence[float], form: str, mean_form: str) -> str:
    """Range and mean; a single number if all are alike."""
    low, high = format(min(numbers), form), format(max(numbers), form)
    return low if low == high else f"{low} to {high}, mean {statistics.fmean(numbers):{mean_form}}"
