"""Writing the files of a run whole or not at all, and reading what may be damaged or not from SAFE at all.

What each file contains is decided by the module that writes it; here is only how it gets to the disk.
"""

import contextlib
import csv
import ctypes
import errno
import glob
import hashlib
import math
import os
import shutil
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import platformdirs

from support.entries import path_of
from support.errors import SAFEError

LEFT_OVER_SECONDS = 3600

# What the readers of JSON, CSV and ZIP raise on files that are damaged or hostile.
DAMAGED = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RuntimeError,  # too deep, encrypted, or of an unknown compression
    MemoryError,
    csv.Error,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)


def prepare_folder(folder: str | os.PathLike) -> Path:
    """Create a folder for results and make sure that files can be written there.

    Called before a long computation, so that its results are not lost to a full or read-only disk.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    SAFEError
        The folder cannot be created or written to.
    """
    path = path_of(folder, "an output folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise SAFEError(
            f"The output folder must be a folder that SAFE can write to. Received: {path} ({error.strerror}). "
            "Choose another one with --out."
        ) from error
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; afterwards rename it to `path`.

    Whoever opens `path` finds the old file or the new one, never a part of one, even if the process is killed.
    The temporary name ends like `path`, since some writers choose the format by the ending.

    Raises
    ------
    SAFEError
        The operating system refused to write: disk full, no permission.
    """
    with replacing_together(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def replacing_together(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """The same for files that belong together: none is renamed before all are on the disk.

    So a full disk leaves all old ones. Only a process that is killed between two renames, which follow each other at
    once, would leave old beside new.

    Raises
    ------
    SAFEError
        As `replacing`.
    """
    temporaries: list[Path] = []
    try:
        try:
            for path in paths:
                _remove_left_over(path)
                handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
                os.close(handle)
                temporaries.append(Path(name))
            yield tuple(temporaries)
            for temporary in temporaries:
                # mkstemp makes the file private to its owner; results are as readable as any new file.
                temporary.chmod(0o666 & ~_umask())
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            for temporary, path in zip(temporaries, paths, strict=True):
                temporary.replace(path)
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        names = ", ".join(map(str, paths))
        raise SAFEError(f"Could not write {names}: {error.strerror or error}. What was there is unchanged.") from error


def _remove_left_over(path: Path) -> None:
    """Remove what a killed process left of this file; one that is at work now was begun within the hour."""
    for old in path.parent.glob(f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > LEFT_OVER_SECONDS:
                old.unlink()


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Give a hidden folder to fill; afterwards it takes the place of the folder `path`, which need not exist.

    Whoever opens `path` finds the old folder or the new one, even if the process is killed. Only where the operating
    system cannot exchange two folders at once is there a moment without either; `put_back` mends a kill just then.

    Raises
    ------
    OSError
        The operating system refused to write: disk full, no permission. The old folder is unchanged.
    """
    put_back(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_left_over_folders(path)
    building = Path(tempfile.mkdtemp(dir=path.parent, prefix=_hidden(path, "new")))
    try:
        yield building
        building.chmod(0o777 & ~_umask())  # mkdtemp makes it private to its owner
        if not path.exists():
            building.rename(path)
        elif not _exchange(building, path):
            _replace_in_two_steps(building, path)
    finally:
        _remove_folder(building)  # half of the new one or, exchanged, the old one


def put_back(path: Path) -> None:
    """Put back a folder that was moved aside to be replaced, by a process that was killed before it did so."""
    aside = _aside(path)
    if not os.path.lexists(path) and aside.is_dir():
        with contextlib.suppress(OSError):  # another process was faster
            aside.rename(path)


def _exchange(first: Path, second: Path) -> bool:
    """Let two folders change places at once; False where that is impossible: only Linux has such a call."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    return renameat2(here, os.fsencode(first), here, os.fsencode(second), exchange) == 0


def _replace_in_two_steps(building: Path, path: Path) -> None:
    aside = _aside(path)
    _remove_folder(aside)  # since `path` is there, it is of no use any more
    path.rename(aside)
    try:
        building.rename(path)
    finally:
        put_back(path)
    _remove_folder(aside)


def _hidden(path: Path, what: str) -> str:
    """The beginning of the hidden names that belong to a folder; cut, since a name has 255 bytes at most."""
    return f".{path.name[:40]}.safe-{what}-"


def _aside(path: Path) -> Path:
    """Where a folder is moved aside, the same in every process."""
    return path.with_name(_hidden(path, "old") + hashlib.blake2b(os.fsencode(path.name), digest_size=4).hexdigest())


def _remove_left_over_folders(path: Path) -> None:
    """Remove what a killed process left beside a folder; where one is at work, a folder has changed within the hour."""
    for old in path.parent.glob(f"{glob.escape(_hidden(path, 'new'))}????????"):
        with contextlib.suppress(OSError):
            changed = max(Path(folder).stat().st_mtime for folder, _, _ in os.walk(old))
            if time.time() - changed > LEFT_OVER_SECONDS:
                _remove_folder(old)


def _remove_folder(path: Path) -> None:
    if path.is_symlink():
        path.unlink()
    else:
        shutil.rmtree(path, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file (UTF-8; file names that are not valid Unicode keep their bytes)."""
    with replacing(path) as temporary:
        fill_text(temporary, text)


def fill_text(path: Path, text: str) -> None:
    """Write a text file in the way of `write_text`, to a name that `replacing_together` gave."""
    path.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def regular(path: Path) -> Path:
    """The path itself; an OSError where it is no regular file: a pipe or device would hold its reader for ever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return path


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file that `np.savez` wrote; no pickle is read, and no more memory taken than the file is long.

    Raises
    ------
    any of DAMAGED
        It is none.
    """
    with regular(path).open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            length = os.fstat(file.fileno()).st_size
            # np.savez does not compress: what unpacks to more than it is long is a bomb.
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise ValueError("its arrays are compressed")
            if sum(part.file_size for part in parts) > length:
                raise ValueError("its arrays overlap")
            for part in parts:
                with archive.open(part) as stored:
                    _check_length(stored, part.file_size)
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def _check_length(stored: IO[bytes], length: int) -> None:
    """Whether an array is as long as its header says; numpy would take the memory before it finds out."""
    version = np.lib.format.read_magic(stored)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stored)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize > length:
        raise ValueError("an array is not as long as it says")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_folder() -> Path:
    """Where features are kept: `SAFE_CACHE`, or the user's cache folder.

    Raises
    ------
    SAFEError
        The variable names no path, or it is not set and the user has no home folder.
    """
    named = os.environ.get("SAFE_CACHE")
    if not named:
        try:
            named = platformdirs.user_cache_dir("safe-dnn")
        except RuntimeError:  # of newer versions, where the user has no home folder; older ones keep the ~
            named = "~"
    return path_of(named, "a folder for SAFE's cache (name it in the environment variable SAFE_CACHE)")
