"""How long jobs tell how far they are, and how that is put into words."""

import time
from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called as `progress(what, done, total)`. To stop a job, raise from it: what is cached stays."""


def no_progress(what: str, done: int, total: int) -> None:
    """The default: nobody is watching."""


class Pace:
    """Turns progress calls into words: what is being done, how far it is, how long it will take."""

    def __init__(self) -> None:
        self._task = ""
        self._began = 0.0
        self._first = 0

    def describe(self, what: str, done: int, total: int) -> str:
        """For example `Extracting features: 412 / 860, 0:58 left`.

        What comes before a comma in `what` is one task, whose pace is measured; after it stands which part is at hand.
        """
        task = what.partition(", ")[0]
        if task != self._task or done < self._first:
            # Work that goes on from where it was cut off begins in the middle.
            self._task, self._began, self._first = task, time.monotonic(), done
        elapsed = time.monotonic() - self._began
        text = f"{what}: {done:,} / {total:,}"
        # A rate measured over less than a second would only make the number jump.
        if self._first < done < total and elapsed > 1:
            seconds = round(elapsed / (done - self._first) * (total - done))
            text += f", {seconds // 60}:{seconds % 60:02d} left"
        return text
