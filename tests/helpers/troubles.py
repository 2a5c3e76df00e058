"""A disk that gets full, and a process that is killed, in the middle of what it does, within this process.

`Disk` stands between SAFE and the functions of `os` and `shutil` that change something. After the kill none of them
does anything any more: what Python still runs in `finally` has no effect, as in a process that is no longer there.
"""

import contextlib
import errno
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import NamedTuple

import pytest

CHANGES = ("replace", "rename", "unlink", "remove", "mkdir", "rmdir", "fsync")
NEEDS_SPACE = ("mkdir", "fsync", "open", "copyfile")


class Killed(BaseException):
    """Nobody may catch it: the process is gone."""


class Trouble(NamedTuple):
    """What happens at the operation with this number, counted from 0, and from then on: "killed" or "full"."""

    kind: str
    at: int


class Disk:
    """Counts the operations of the thread that it was made in; `trouble` lets them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self._thread = threading.get_ident()
        self._trouble: Trouble | None = None
        self._count = 0
        for name in CHANGES:
            monkeypatch.setattr(os, name, self._watched(name, getattr(os, name)))
        monkeypatch.setattr(os, "open", self._watched("open", os.open))
        monkeypatch.setattr(shutil, "copyfile", self._watched("copyfile", shutil.copyfile))

    @contextlib.contextmanager
    def trouble(self, trouble: Trouble | None) -> Iterator[None]:
        """Meet this trouble in a block; within another block, what is done there does not count for the outer one."""
        before = self._trouble, self._count
        self._trouble, self._count = trouble, 0
        try:
            yield
        finally:
            self._trouble, self._count = before

    def _watched(self, name: str, real: Callable) -> Callable:
        def call(*arguments, **named):
            changes = name != "open" or arguments[1] & os.O_CREAT
            if self._trouble and changes and threading.get_ident() == self._thread:
                self._count += 1
                if self._count > self._trouble.at:
                    if self._trouble.kind == "killed":
                        raise Killed
                    if name in NEEDS_SPACE:
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if name == "fsync":
                return None  # the disk of a test need not outlive a power cut, and this is what takes time
            return real(*arguments, **named)

        return call
