"""Progress of long jobs, and how it is worded."""

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`. Raise an exception from it to stop the job; cached results are kept."""


def no_progress(what: str, done: int, total: int) -> None:
    """The default: progress is ignored."""


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
