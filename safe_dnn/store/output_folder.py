"""The files in an output folder itself: one writer at a time, and only files written by SAFE are replaced.

The page, the command line and several processes may share a folder. A change holds a lock for a moment (`writing`), and
a long job holds another one from start to end (`working`). Readers need neither, since every file is replaced
atomically (see `support/files.py`).

The database names the files that SAFE has written to the folder. A file that it does not name belongs to somebody else
and is never replaced or removed. What these files show is kept elsewhere, in the database and in the folders of runs:
if a process is killed between two of them, they are written again when the analysis is next opened.
"""

import contextlib
import datetime
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import filelock

from safe_dnn.store.database import DATABASE_FILE, changing, reading
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import encoded, free_name, not_writable, prepare_folder, regular, replacing_together
from safe_dnn.support.images import content_key

LOCK_FILE = ".safe.lock"
WORK_FILE = ".safe-work.lock"

PATIENCE = 30.0  # seconds that a change waits for another one; a change takes a fraction of a second


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Lock the folder for a change: reading, changing and writing within the block is atomic across processes.

    Re-entrant within a thread. Threads and processes wait for each other for up to `PATIENCE` seconds.

    Raises
    ------
    SAFEError
        The folder cannot be written to, or another process holds the lock for too long.
    """
    try:
        with _lock(folder, LOCK_FILE, PATIENCE):
            yield
    except filelock.Timeout as error:
        raise SAFEError(
            f"Another SAFE process has been writing to {folder} for more than {PATIENCE:.0f} seconds. Nothing was "
            "changed. Try again, or stop the other process."
        ) from error


@contextlib.contextmanager
def working(folder: Path, what: str) -> Iterator[None]:
    """Lock the folder for a long job. A second job is refused at once.

    Parameters
    ----------
    what : str
        The job, as the error message of a refused job names it, e.g. "clustering".

    Raises
    ------
    SAFEError
        Another job is running in the folder, or the folder cannot be written to.
    """
    try:
        with _lock(folder, WORK_FILE, 0):
            since = datetime.datetime.now().strftime("%H:%M:%S")
            note = folder / WORK_FILE
            with contextlib.suppress(OSError):
                note.write_text(f"{what} since {since}, process {os.getpid()}", encoding="utf-8")
            try:
                yield
            finally:
                with contextlib.suppress(OSError):
                    note.write_text("", encoding="utf-8")
    except filelock.Timeout as error:
        raise SAFEError(
            f"Another SAFE job is running in {folder}{_holder(folder)}. Wait for it, or use another output folder."
        ).about("out") from error


@contextlib.contextmanager
def _lock(folder: Path, name: str, patience: float) -> Iterator[None]:
    prepare_folder(folder)
    # A singleton, so that nested blocks of one thread share it. The operating system releases it when the process ends.
    lock = filelock.FileLock(folder.resolve() / name, is_singleton=True)
    try:
        held = lock.acquire(timeout=patience)
    except filelock.Timeout:
        raise
    except OSError as error:
        raise not_writable(folder, error) from error
    with held:
        yield


def _holder(folder: Path) -> str:
    try:
        text = (folder / WORK_FILE).read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return ""
    return f" ({text})" if text else ""


# --- Ownership of files -----------------------------------------------------------------------------------------


def check_own(folder: Path, *names: str) -> None:
    """Check that each of these files is missing or was written by SAFE. Call it before a long job.

    Raises
    ------
    SAFEError
        One of them belongs to somebody else.
    """
    if foreign := foreign_files(folder, names):
        free = free_name(folder / "safe", first=1)
        raise SAFEError(
            f"Expected {foreign[0]} in {folder} to be missing or written by SAFE. Received a file that SAFE did not "
            f"write; it is left unchanged. Move it away, or use another output folder, for example {free}."
        ).about("out")


def foreign_files(folder: Path, names: Collection[str]) -> list[str]:
    """Those of some names that there are in a folder and belong to somebody else."""
    listed = _listed(folder)
    return [name for name in names if name not in listed and os.path.lexists(folder / name)]


Writer = str | Callable[[Path], object]
"""Content of a file: a text, or a function that writes it to a given path."""


def fill(path: Path, content: Writer) -> None:
    """Write a new file, to the disk; to be given its name afterwards."""
    if isinstance(content, str):
        path.write_bytes(encoded(content))
    else:
        content(path)


def save_files(folder: Path, files: Mapping[str, Writer], *, remove: Collection[str] = ()) -> None:
    """Replace files of the output folder: none of them before all are on the disk, and only those written by SAFE.

    Parameters
    ----------
    files : mapping of str to Writer
        Name to content.
    remove : collection of str
        Files to remove in the same step, as far as SAFE wrote them.

    Raises
    ------
    SAFEError
        One of the files belongs to somebody else, or the operating system refused to write. Nothing is changed.
    """
    with writing(folder):
        check_own(folder, *files)
        gone = [name for name in own_files(folder, remove) if name not in files]
        with replacing_together(*(folder / name for name in files)) as temporaries:
            for temporary, content in zip(temporaries, files.values(), strict=True):
                fill(temporary, content)
            # Before the files are renamed, so that a killed process does not leave files that are not listed.
            claim(folder, files)
        for name in gone:
            (folder / name).unlink(missing_ok=True)


def is_outdated(folder: Path, files: Mapping[str, Writer], *, remove: Collection[str] = ()) -> bool:
    """Whether `save_files` would change anything; what is not a text always counts as a change."""
    return bool({*own_files(folder, remove)} - {*files}) or not all(
        isinstance(content, str) and _digest_of(folder / name) == _digest(content) for name, content in files.items()
    )


@contextlib.contextmanager
def showing(folder: Path) -> Iterator[None]:
    """For files that show what is in the database or a run already: if one cannot be written, that is kept."""
    try:
        yield
    except SAFEError as error:
        consequence = f"The results are kept: their files are written when SAFE next opens {folder}."
        raise SAFEError(f"{error} {consequence}") from error


def own_files(folder: Path, names: Collection[str]) -> list[str]:
    """Those of some names that there are in a folder as files of SAFE's own."""
    listed = _listed(folder)
    return [name for name in names if name in listed and (folder / name).is_file()]


def claim(folder: Path, files: Mapping[str, Writer]) -> None:
    """Say that SAFE writes these files, and of texts what they say."""
    rows = [
        (name, _digest(content), _digest_of(folder / name)) if isinstance(content, str) else (name, "", "")
        for name, content in files.items()
    ]
    with changing(folder) as db:
        # The file may still be the one before the last, if the last could not be written: it is not an edited one.
        db.executemany(
            "INSERT INTO own_file VALUES (?1, ?2, '') ON CONFLICT (name) DO UPDATE SET digest = ?2, "
            "earlier = CASE WHEN ?3 IN (own_file.digest, own_file.earlier) THEN ?3 ELSE own_file.digest END",
            rows,
        )


def is_edited(folder: Path, name: str) -> bool:
    """Whether a text file of SAFE's own is not as SAFE wrote it: somebody has changed it in another program."""
    now = _digest_of(folder / name)
    with reading(folder) as db:
        row = db.execute("SELECT digest, earlier FROM own_file WHERE name = ?", (name,)).fetchone()
    # A process may have been killed between the digest and the file.
    return bool(now) and row is not None and now not in row


def _digest(text: str) -> str:
    return content_key(encoded(text)).hex()


def _digest_of(file: Path) -> str:
    """The digest of a file; empty if it cannot be read."""
    try:
        return content_key(regular(file).read_bytes()).hex()
    except OSError:
        return ""


def _listed(folder: Path) -> set[str]:
    """Names of the files that SAFE has written to a folder."""
    with reading(folder) as db:
        return {DATABASE_FILE, *(name for (name,) in db.execute("SELECT name FROM own_file"))}
