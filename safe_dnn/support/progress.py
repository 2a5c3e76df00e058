"""Progress of long jobs, how it is worded, and other values that hold in a block without a parameter.

Work calls `report_progress`. Whoever starts it may listen by `reporting`, and stop it by raising an exception; cached
results are kept.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import TypeVar

_Value = TypeVar("_Value")


@contextlib.contextmanager
def holding(variable: ContextVar[_Value], value: _Value) -> Iterator[None]:
    """Let a variable have a value in the block, in this thread and the tasks that begin there."""
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


Progress = Callable[[str, int, int], None]
_listening: ContextVar[Progress] = ContextVar("progress", default=lambda what, done, total: None)


def report_progress(what: str, done: int = 0, total: int = 0) -> None:
    """Tell whoever listens what is being done and how far it is; a `total` of 0 means that this is not known."""
    _listening.get()(what, done, total)


def reporting(listen: Progress) -> contextlib.AbstractContextManager[None]:
    """Have the progress of work in the block, in this thread, passed to a function, which may raise an exception."""
    return holding(_listening, listen)


@contextlib.contextmanager
def as_part(change: Callable[[str, int, int], tuple[str, int, int]]) -> Iterator[None]:
    """Have progress in the block reported as that of a larger task, in other words or numbers."""
    whole = _listening.get()
    with reporting(lambda what, done, total: whole(*change(what, done, total))):
        yield


class Pace:
    """Turns progress calls into text: the task, how much of it is done, and the time left."""

    def __init__(self) -> None:
        self._task = ""
        self._began = 0.0
        self._first = 0

    def describe(self, what: str, done: int, total: int) -> str:
        """For example `Extracting features: 412 / 860, 0:58 left`.

        The text before the first comma in `what` identifies the task whose rate is measured; the rest names the current
        part of it.
        """
        task = what.partition(", ")[0]
        if task != self._task or done < self._first:
            # A resumed job does not start at 0.
            self._task, self._began, self._first = task, time.monotonic(), done
        elapsed = time.monotonic() - self._began
        text = f"{what}: {done:,} / {total:,}"
        # A rate measured over less than a second would make the estimate jump.
        if self._first < done < total and elapsed > 1:
            seconds = round(elapsed / (done - self._first) * (total - done))
            text += f", {seconds // 60}:{seconds % 60:02d} left"
        return text
