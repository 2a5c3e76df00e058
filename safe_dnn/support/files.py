"""Atomic writing of files and folders, and reading of files that may be damaged or hostile.

The content of each file is up to the module that writes it; this module only gets it to the disk.
"""

import contextlib
import csv
import datetime
import errno
import glob
import hashlib
import itertools
import json
import os
import shutil
import sqlite3
import stat
import struct
import tempfile
import time
import zipfile
import zlib
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs

from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.progress import holding

LEFTOVER_SECONDS = 3600
PARSING_ATTEMPTS = 5
LAST_DATE = 253_402_000_000  # seconds since 1970, in the last days of the year 9999

# What the readers of JSON, CSV and ZIP files raise on damaged or hostile input.
DAMAGED = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, MemoryError,
    RuntimeError,  # nested too deeply, encrypted, or an unknown compression method
    csv.Error, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def prepare_folder(folder: StrPath) -> Path:
    """Create a folder for results and check that it is writable.

    Call it before a long computation, so that its results are not lost to a read-only disk.

    Returns
    -------
    Path
        The absolute path of the folder.

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
        raise not_writable(path, error) from error
    return path


def not_writable(folder: Path, error: OSError) -> SAFEError:
    """The error about an output folder."""
    return SAFEError(
        f"The output folder must be a folder that SAFE can write to. Received: {folder} ({error.strerror or error}). "
        "Choose another one."
    ).about("out")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Replace a file atomically: yield a temporary path to write to, and rename it to `path` at the end.

    Readers of `path` see the old file or the new one, never a partial one, even if the process is killed. The temporary
    path has the suffix of `path`, since some writers choose the format by the suffix.

    Raises
    ------
    SAFEError
        The operating system refused to write, e.g. because the disk is full or permission is missing.
    """
    with replacing_together(path) as (temporary,):
        yield temporary


@contextlib.contextmanager
def replacing_together(*paths: Path) -> Iterator[tuple[Path, ...]]:
    """Replace files that belong together: none is renamed before all of them are on the disk.

    If the disk is full, all old files stay. Only a process killed between two of the renames, which immediately follow
    each other, leaves a mixture of old and new files.

    Raises
    ------
    SAFEError
        As for `replacing`.
    """
    temporaries: list[Path] = []
    try:
        try:
            for path in paths:
                remove_leftovers(path.parent, f".{glob.escape(path.stem)}-????????{glob.escape(path.suffix)}")
                handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
                os.close(handle)
                temporaries.append(Path(name))
            yield tuple(temporaries)
            for temporary in temporaries:
                # mkstemp creates files that only the owner can read; give results the usual permissions.
                temporary.chmod(0o666 & ~umask())
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
            for temporary, path in zip(temporaries, paths, strict=True):
                temporary.replace(path)
        finally:
            for temporary in temporaries:
                temporary.unlink(missing_ok=True)
    except OSError as error:
        names = ", ".join(map(str, paths))
        raise SAFEError(f"Could not write {names}: {error.strerror or error}. Existing files are unchanged.") from error


def remove_leftovers(folder: Path, pattern: str, seconds: float = LEFTOVER_SECONDS) -> None:
    """Remove what killed processes have left; what was changed recently may be of one that is still writing."""
    for old in folder.glob(pattern):
        with contextlib.suppress(OSError):
            changed = max(path.stat().st_mtime for path in (old, *old.rglob("*")))
            if time.time() - changed > seconds:
                _remove_folder(old)


@contextlib.contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Replace a folder atomically: yield a hidden folder to fill, which takes the place of `path` at the end.

    `path` need not exist. The old folder is moved aside for a moment; if the process is killed just then, `put_back`
    restores it.

    Raises
    ------
    OSError
        The operating system refused to write, e.g. because the disk is full or permission is missing. The old folder is
        unchanged.
    """
    put_back(path)
    with new_folder(path) as building:
        yield building
        aside = _aside(path)
        _remove_folder(aside)  # obsolete, since `path` was put back
        if path.exists():
            path.rename(aside)
        try:
            building.rename(path)
        finally:
            put_back(path)
        _remove_folder(aside)


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """A hidden folder beside a path, to fill and then to rename; what is left there is removed.

    Raises
    ------
    OSError
        The operating system refused to write.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, f"{glob.escape(_hidden(path, 'new'))}????????")
    building = Path(tempfile.mkdtemp(dir=path.parent, prefix=_hidden(path, "new")))
    building.chmod(0o777 & ~umask())  # mkdtemp creates folders that only the owner can read
    try:
        yield building
    finally:
        _remove_folder(building)


def put_back(path: Path) -> None:
    """Restore a folder that was moved aside by a process that was killed before it could put the new one in place."""
    aside = _aside(path)
    if not os.path.lexists(path) and aside.is_dir():
        with contextlib.suppress(OSError):  # another process was faster
            aside.rename(path)


def _hidden(path: Path, what: str) -> str:
    """Prefix of the hidden names that belong to a folder; truncated, since a file name is limited to 255 bytes."""
    return f".{path.name[:40]}.safe-{what}-"


def _aside(path: Path) -> Path:
    """The path a folder is moved aside to, the same in every process."""
    return path.with_name(_hidden(path, "old") + hashlib.blake2b(os.fsencode(path.name), digest_size=4).hexdigest())


def _remove_folder(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Replace a text file atomically (UTF-8; undecodable bytes of file names are preserved)."""
    with replacing(path) as temporary:
        temporary.write_bytes(encoded(text))


def read_text(path: Path) -> str:
    """A text file that somebody else wrote (UTF-8).

    Raises
    ------
    SAFEError
        It cannot be read, or is no such file.
    """
    try:
        return regular(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise SAFEError(f"Could not read {path}: {getattr(error, 'strerror', None) or error}.") from error


def encoded(text: str) -> bytes:
    """A text as files hold it."""
    return text.encode("utf-8", "surrogateescape")


def read_json(path: Path) -> Any:
    """What a JSON file holds; one of `DAMAGED` if it cannot be read. Undecodable bytes of file names are preserved."""
    return json.loads(regular(path).read_text(encoding="utf-8", errors="surrogateescape"))


@contextlib.contextmanager
def intact(path: Path, again: str) -> Iterator[None]:
    """Say in a SAFEError that a file is damaged, and what to do, where what is read in the block is (`DAMAGED`)."""
    try:
        yield
    except SAFEError:
        raise
    except DAMAGED as error:
        raise SAFEError(f"{path} is damaged ({error}). {again}") from error


def read_record(path: Path) -> dict:
    """Read a JSON object that its reader can do without, since it is written for people or can be made again.

    Returns
    -------
    dict
        Empty if the file is missing, damaged or not an object.
    """
    try:
        record = read_json(path)
    except DAMAGED:
        return {}
    return record if isinstance(record, dict) else {}


def free_name(path: Path, *, first: int = 2) -> Path:
    """The first name that is not taken: of `export` `export-2`, `export-3`, … in the same folder."""
    names = (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in itertools.count(first))
    return next(name for name in names if not os.path.lexists(name))


def regular(path: Path) -> Path:
    """Return the path, or raise OSError if it is not a regular file: reading a pipe or device could block forever."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file")
    return path


def state_of_file(path: Path) -> tuple[int, int] | None:
    """When a file was last changed (ns), and its size; None if it is missing."""
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size


def date_of(changed: float) -> datetime.datetime:
    """When a file was changed, from seconds since 1970, in UTC; the nearest date that there is, as a file has any."""
    return datetime.datetime.fromtimestamp(min(max(changed, 0), LAST_DATE), datetime.UTC)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a file written by `np.savez`. Nothing is unpickled, and memory use is bounded by the file's size.

    Raises
    ------
    any of DAMAGED
        Not such a file.
    """
    # NumPy parses headers as Python. Up to Python 3.12, that fails now and then while another thread parses, as
    # TensorFlow does when it runs a model: all threads share one count of the depth (CPython's issue 106905).
    for _ in range(PARSING_ATTEMPTS - 1):
        with contextlib.suppress(SystemError):
            return _read_arrays(path)
    return _read_arrays(path)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    with regular(path).open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            parts = archive.infolist()
            length = os.fstat(file.fileno()).st_size
            # np.savez does not compress, so an archive that expands is a decompression bomb.
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise ValueError("its arrays are compressed")
            if sum(part.file_size for part in parts) > length:
                raise ValueError("its arrays overlap")
        file.seek(0)
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}


def umask() -> int:
    """The permissions that new files of this process do not have."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cache_folder() -> Path:
    """The folder of the feature cache: `SAFE_CACHE` if that is set, otherwise the user's cache folder.

    Raises
    ------
    SAFEError
        `SAFE_CACHE` is not a usable path, or it is not set and the user has no home folder.
    """
    named = os.environ.get("SAFE_CACHE")
    if not named:
        try:
            named = platformdirs.user_cache_dir("safe-dnn")
        except RuntimeError:  # no home folder; older versions of platformdirs return a path that starts with ~
            named = "~"
    return path_of(named, "a folder for SAFE's cache (set the environment variable SAFE_CACHE)")


_OF_ONE_USER: ContextVar[Path | None] = ContextVar("safe-cache", default=None)


def caching_in(folder: Path | None) -> contextlib.AbstractContextManager[None]:
    """What is computed of images in the block is cached in a folder that nobody else uses; `cache_folder` where None.

    Otherwise, the response time would reveal whether somebody else has the same image.
    """
    return holding(_OF_ONE_USER, folder)


def private_cache() -> Path | None:
    """The folder of `caching_in`."""
    return _OF_ONE_USER.get()


def log_ahead(db: sqlite3.Connection, patience: float) -> None:
    """Switch a database to WAL mode, which stays with the file; where that is not possible, SQLite takes another one.

    For this alone SQLite does not wait for a process that is making the same database; up to `patience` seconds.
    """
    until = time.monotonic() + patience
    while True:
        try:
            db.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                raise
            time.sleep(0.01)
