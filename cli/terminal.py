"""The terminal: progress on stderr, and what Ctrl-C does."""

import contextlib
import signal
import sys
import time
from collections.abc import Callable


class stoppable:  # noqa: N801, used as a function
    """Ctrl-C once an epoch of the training is over: training stops, and the best epoch so far is kept."""

    def __enter__(self) -> "stoppable":
        self._epochs, self._asked = 0, False
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def on_epoch(self, history: tuple) -> None:
        self._epochs = len(history) - 1

    def should_stop(self) -> bool:
        return self._asked

    def _interrupt(self, *_) -> None:
        if self._asked or not self._epochs:
            raise KeyboardInterrupt
        self._asked = True

    def __exit__(self, *_) -> None:
        signal.signal(signal.SIGINT, self._before)


class terminal:  # noqa: N801, used as a function
    """Progress on stderr: one line that is rewritten on a terminal, a line for each tenth elsewhere."""

    def __enter__(self) -> Callable[[str, int, int], None]:
        from support.progress import Pace

        self._pace = Pace()
        self._last = ("", -1)
        self._shown = 0.0
        return self._show

    def _show(self, what: str, done: int, total: int) -> None:
        text = self._pace.describe(what, done, total)
        tenth = (what, 10 * done // max(total, 1))
        with contextlib.suppress(OSError):  # that nobody reads the progress is no reason to stop
            if sys.stderr.isatty():
                if done == total or time.monotonic() - self._shown > 0.1:
                    self._shown = time.monotonic()
                    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            elif tenth != self._last:
                print(text, file=sys.stderr, flush=True)
        self._last = tenth

    def __exit__(self, *_) -> None:
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
