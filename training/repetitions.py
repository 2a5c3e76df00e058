"""Step 6 of SAFE, on request several times: fine-tuning with one seed after the other, of which the median is kept.

In: how to train and test with given settings. Out: the fine-tuning whose test accuracy is the median, and the figures
of all. A single fine-tuning may be lucky or not; how much the accuracy depends on the seed is seen only by repeating it
(Bouthillier et al., "Accounting for variance in machine learning benchmarks", MLSys 2021). The best of several would be
chosen by the test set, and its accuracy be too high an estimate; the median is not.
"""

import gc
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dnn.predictions import Judgement
from support.errors import SAFEError
from support.progress import Progress
from support.text import count
from training.certainty import count_pairs
from training.finetuning import ON_REQUEST, FineTuning
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
    after : Judgement
    """

    figures: Repetition
    tuning: FineTuning
    weights: list[np.ndarray]
    after: Judgement


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
    steps: Steps, settings: Settings, n: int, before: Judgement, *, progress: Progress, should_stop: Callable[[], bool]
) -> Repeated:
    """Fine-tune n times, with the seeds seed, seed + 1, …, and keep the one whose test accuracy is the median.

    If it is stopped or fails after a finished repetition, those that are finished count, and `tuning.stopped` says so.
    If it is stopped in the first one, its best epoch is kept, as if only one had been requested.

    Parameters
    ----------
    before : Judgement
        Predictions of the original model for the test set.
    should_stop : callable
        As given to the fine-tuning.

    Raises
    ------
    SAFEError
        The first repetition failed.
    """
    done: list[Finished] = []
    stopped = ""
    while len(done) < n and not stopped:
        mine = settings._replace(seed=settings.seed + len(done))
        report = _numbered(progress, len(done) + 1, n)
        tuning: FineTuning | None = None
        try:
            tuning = None if done and should_stop() else steps.train(mine, report)
            if tuning is None or (done and tuning.stopped == ON_REQUEST):
                stopped = ON_REQUEST
                break
            after = steps.test(tuning.model, report)
            if n == 1 or tuning.stopped == ON_REQUEST:
                return Repeated(tuning, after, mine, ())
            done.append(_finished(mine.seed, tuning, before, after))
        except _ends() as error:
            if not done:
                raise
            stopped = _reason(error)
        finally:
            tuning = None
            gc.collect()  # a Keras model refers to itself: without this, several would fill the memory
    return _kept(steps, settings, done, n, stopped)


def _kept(steps: Steps, settings: Settings, done: list[Finished], n: int, stopped: str) -> Repeated:
    kept = done[median_of([one.figures.accuracy_after for one in done])]
    finished = f"{len(done)} of {count(n, 'repetition')}"
    if stopped == ON_REQUEST:
        stopped = f"{ON_REQUEST}, after {finished}"
    elif stopped:
        stopped = f"after {finished}, since the next one failed ({stopped})"
    tuning = kept.tuning._replace(
        model=steps.copy(kept.weights),
        stopped="; ".join(filter(None, (kept.tuning.stopped, stopped))),
        seconds=sum(one.tuning.seconds for one in done),
        waiting=sum(one.tuning.waiting for one in done),
    )
    return Repeated(tuning, kept.after, settings._replace(seed=kept.figures.seed), tuple(one.figures for one in done))


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
