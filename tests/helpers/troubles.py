"""A disk that gets full, and a process that is killed, in the middle of what it does, within this process.

`Disk` stands between SAFE and the functions of `os` and `shutil` that change something, and the commits of the
database. After the kill none of them does anything any more: what Python still runs in `finally` has no effect, as in a
process that is no longer there.
"""

import contextlib
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from safe_dnn.store import database

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
        monkeypatch.setattr(database, "_commit", self._watched_commit(database._commit))
        monkeypatch.setattr(database, "_connect", _without_syncing(database._connect))

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
            if changes and self._strikes() and name in NEEDS_SPACE:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if name == "fsync":
                return None  # the disk of a test need not outlive a power cut, and this is what takes time
            return real(*arguments, **named)

        return call

    def _watched_commit(self, commit: Callable) -> Callable:
        """A process may be killed before and after: nothing is kept then, or all."""

        def call(db: sqlite3.Connection) -> None:
            if self._strikes():
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorname = "SQLITE_FULL"
                raise error
            commit(db)
            self._strikes()

        return call

    def _strikes(self) -> bool:
        """Count an operation; whether the disk is full by now. Raises `Killed` if the process is to be gone."""
        if self._trouble is None or threading.get_ident() != self._thread:
            return False
        self._count += 1
        if self._count > self._trouble.at and self._trouble.kind == "killed":
            raise Killed
        return self._count > self._trouble.at


def _without_syncing(connect: Callable) -> Callable:
    """As with `fsync`."""

    def call(folder: Path) -> sqlite3.Connection:
        db = connect(folder)
        db.execute("PRAGMA synchronous = OFF")
        return db

    return call
