"""The terminal: results, progress on stderr, and Ctrl-C."""

import contextlib
import signal
import sys
import time
from collections.abc import Iterator

from safe_dnn.support.progress import Pace, reporting
from safe_dnn.support.text import printable


class stoppable:  # noqa: N801, used as a function
    """Let Ctrl-C stop the training and keep its best epoch, once the first epoch is over."""

    def __enter__(self) -> "stoppable":
        self._epochs, self._stop_requested = 0, False
        self._before = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def on_epoch(self, history: tuple[object, ...], passes: object) -> None:
        self._epochs = len(history) - 1

    def should_stop(self) -> bool:
        return self._stop_requested

    def _interrupt(self, *_: object) -> None:
        if self._stop_requested or not self._epochs:
            raise KeyboardInterrupt
        self._stop_requested = True

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)


@contextlib.contextmanager
def terminal_progress() -> Iterator[None]:
    """Show the progress of work in the block on stderr.

    On a terminal, it is one line that is rewritten, elsewhere a line for each 10 %.
    """
    pace, last, drawn = Pace(), ("", -1), 0.0

    def show(what: str, done: int, total: int) -> None:
        nonlocal last, drawn
        text = pace.describe(what, done, total) if total else f"{what} …"
        tenth = (what, 10 * done // max(total, 1))
        with contextlib.suppress(OSError):  # a closed stderr is no reason to stop
            if sys.stderr.isatty():
                if done == total or time.monotonic() - drawn > 0.1:
                    drawn = time.monotonic()
                    print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
            elif tenth != last:
                print(text, file=sys.stderr, flush=True)
        last = tenth

    with reporting(show):
        try:
            yield
        finally:
            _clear()


def _clear() -> None:
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def say(*lines: str) -> None:
    """Print lines of a result, but empty ones, in place of the progress."""
    for line in filter(None, lines):
        _clear()
        print(printable(line))


def warn(*sentences: str) -> None:
    """Print sentences on stderr, but empty ones, in place of the progress."""
    for sentence in filter(None, sentences):
        _clear()
        print(f"safe: {printable(sentence)}", file=sys.stderr)
