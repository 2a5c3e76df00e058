"""The analysis in the output folder as it is at the moment, for all windows."""

import threading
from pathlib import Path

from safe_dnn.pipeline.analysis import Analysis
from safe_dnn.rccs.review.review import CHANGED
from safe_dnn.rccs.unsafe_set import UnsafeSet, set_key
from safe_dnn.support.errors import SAFEError


class Results:
    """What the output folder holds, read once and kept as long as it stays the same.

    Parameters
    ----------
    out : Path
    """

    def __init__(self, out: Path):
        self._out = out
        self._lock = threading.Lock()
        self._latest: Analysis | None = None
        self._is_seen = False  # clusters were shown

    @property
    def latest(self) -> Analysis:
        """The analysis as it is now."""
        with self._lock:
            self._latest = self._latest.now() if self._latest else Analysis(self._out)
            return self._latest

    def state(self, run: str | None = None) -> Analysis:
        """The same, whose clusters can be read.

        Parameters
        ----------
        run : str, optional
            What the window shows; a SAFEError where the folder holds something else by now.
        """
        self.check_there(run)
        now = self.latest
        self._is_seen = bool(now.review)
        if run is not None and run != now.run:
            raise SAFEError(CHANGED)
        return now

    def unsafe_set(self, key: object) -> UnsafeSet:
        """The unsafe set that a window shows; a SAFEError if the folder holds another one by now."""
        unsafe = self.latest.unsafe
        if key != set_key(unsafe):
            raise SAFEError("Another unsafe set was selected in the meantime.")
        return unsafe

    def check_there(self, run: str | None = None) -> None:
        """Make sure that the folder still holds what was shown, here or in a window; a SAFEError if it was moved."""
        if (run or self._is_seen) and not self.latest.there:
            raise SAFEError(f"This analysis was moved away from {self._out}. Open it where it is now.")
