"""The output folder: one writer at a time, and only files that SAFE wrote are replaced.

Page, command line and several processes may work in one folder. Whoever changes something there holds a lock for the
moments that it takes (`writing`), and long work holds another one from beginning to end (`working`). Readers need
neither: every file is replaced whole (see `files.py`).

`.safe.json` lists the names that SAFE has written in the folder. A file of such a name that is not listed is somebody
else's, and is never replaced.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import filelock

from support.errors import SAFEError
from support.files import DAMAGED, fill_text, prepare_folder, regular, replacing_together, write_text
from support.run_folder import LOCK_FILE, MARK_FILE, WORK_FILE

PATIENCE = 30.0  # seconds that a change waits for another one, which takes a fraction of one

# What engineers may bring into a folder that is SAFE's; it is read before it is replaced, and kept.
_SHARED = ("rcc_notes.csv", "rcc_edits.json")
# What older versions of SAFE left in each folder that they wrote to, without a list of names.
_SIGNS = ("clusters.npz", "accuracy.json")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Hold the folder for a change: what is read, changed and written in this block is one step for all processes.

    It may be nested within a thread. Threads and processes wait for each other, up to `PATIENCE` seconds.

    Raises
    ------
    SAFEError
        The folder cannot be written to, or another process holds it for too long.
    """
    try:
        with _lock(folder, LOCK_FILE, PATIENCE):
            yield
    except filelock.Timeout as error:
        raise SAFEError(
            f"Another SAFE has been writing in {folder} for more than {PATIENCE:.0f} seconds. Nothing was changed. "
            "Try again, or end the other one."
        ) from error


@contextlib.contextmanager
def working(folder: Path, what: str) -> Iterator[None]:
    """Hold the folder for long work; who comes second is refused at once.

    Parameters
    ----------
    what : str
        The work, as whoever is refused reads of it: for example "clustering".

    Raises
    ------
    SAFEError
        Another process, or another part of this one, is at work there; or the folder cannot be written to.
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
            f"Another SAFE is at work in {folder}{_holder(folder)}. Wait until it has finished, or use another output "
            "folder (--out)."
        ) from error


@contextlib.contextmanager
def _lock(folder: Path, name: str, patience: float) -> Iterator[None]:
    prepare_folder(folder)
    # A singleton: nested blocks of one thread share it. The system releases it when its process ends, however it does.
    lock = filelock.FileLock(folder.resolve() / name, is_singleton=True)
    try:
        lock.acquire(timeout=patience)
    except OSError as error:
        if isinstance(error, filelock.Timeout):
            raise
        raise SAFEError(
            f"The output folder must be a folder that SAFE can write to. Received: {folder} "
            f"({error.strerror or error}). Choose another one with --out."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _holder(folder: Path) -> str:
    try:
        text = (folder / WORK_FILE).read_text(encoding="utf-8", errors="replace")[:200]
    except OSError:
        return ""
    return f" ({text})" if text else ""


# --- Whose files these are --------------------------------------------------------------------------------------


def check_own(folder: Path, *names: str) -> None:
    """Make sure that files of these names are missing or SAFE's own: call it before long work.

    Raises
    ------
    SAFEError
        One is somebody else's.
    """
    listed = _listed(folder)
    foreign = [name for name in names if name not in listed and os.path.lexists(folder / name)]
    if foreign:
        free = next(path for i in range(1, 1000) if not (path := folder / f"safe-{i}").exists())
        raise SAFEError(
            f"Expected {foreign[0]} in {folder} to be missing or written by SAFE. Received a file that SAFE did not "
            f"write, which is left as it is. Use another output folder, for example --out {free}."
        )


Writer = str | Callable[[Path], object]
"""What a file is to hold: a text, or a function that writes it to the path that it is given."""


def save_files(folder: Path, files: Mapping[str, Writer]) -> None:
    """Replace files of the output folder that belong together, by name: all or none, and only SAFE's own.

    They get their names in the order given, at once after each other, when all are on the disk.

    Raises
    ------
    SAFEError
        One of the files is somebody else's, or the operating system refuses to write: what was there is unchanged.
    """
    with writing(folder):
        check_own(folder, *files)
        with replacing_together(*(folder / name for name in files)) as temporaries:
            for temporary, content in zip(temporaries, files.values(), strict=True):
                if isinstance(content, str):
                    fill_text(temporary, content)
                else:
                    content(temporary)
            # Before the files get their names: a process that is killed must not leave files that are not listed.
            _claim(folder, files)


def save_text(folder: Path, name: str, text: str) -> None:
    """Replace a text file of the output folder (UTF-8), as `save_files` does."""
    save_files(folder, {name: text})


def _claim(folder: Path, names: Collection[str]) -> None:
    listed = _listed(folder)
    if not set(names) <= listed or not (folder / MARK_FILE).is_file():
        record = {"about": "Files of this folder that SAFE wrote, and may replace.", "files": sorted(listed | {*names})}
        write_text(folder / MARK_FILE, json.dumps(record, indent=1) + "\n")


def _listed(folder: Path) -> set[str]:
    """The names that SAFE has written in a folder; of an older version's folder, all that are there."""
    try:
        record = json.loads(regular(folder / MARK_FILE).read_text(encoding="utf-8"))
        return {*map(str, record["files"]), *_SHARED}
    except FileNotFoundError:
        pass
    except DAMAGED:
        pass  # as in a folder of an older version
    if not any(_is_safes(folder / sign) for sign in _SIGNS):
        return set()
    return set(os.listdir(folder))  # noqa: PTH208, names


def _is_safes(path: Path) -> bool:
    """Whether a file is one of those by which a folder of an older version is known."""
    try:
        with regular(path).open("rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    if path.suffix == ".npz":
        return start.startswith(b"PK") and b"format_version.npy" in start
    return b'"test_accuracy"' in start
