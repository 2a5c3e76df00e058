"""The output folder: one writer at a time, and only files written by SAFE are replaced.

The page, the command line and several processes may share a folder. A change holds a lock for a moment (`writing`), and
a long job holds another one from start to end (`working`). Readers need neither, since every file is replaced
atomically (see `files.py`).

`.safe.json` lists the files that SAFE has written to the folder. A file that is not listed belongs to somebody else and
is never replaced or removed.

Files that belong together change together, even if the process is killed in between: `.safe-plan.json` says what is to
be renamed and removed before the first of it is done, and the next writer does the rest.
"""

import contextlib
import datetime
import json
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

import filelock

from support.errors import SAFEError
from support.files import (
    DAMAGED,
    fill_text,
    free_name,
    prepare_folder,
    regular,
    rename_all,
    replacing_together,
    write_text,
)
from support.run_folder import LOCK_FILE, MARK_FILE, PLAN_FILE, WORK_FILE

PATIENCE = 30.0  # seconds that a change waits for another one; a change takes a fraction of a second

# Files that engineers may copy into SAFE's folder; their content is read and carried over before they are replaced.
_SHARED = ("rcc_notes.csv", "rcc_edits.json", "weak_spot_notes.csv")
# Files by which a folder of an older version, which has no list of names, is recognized.
_SIGNS = ("clusters.npz", "accuracy.json")


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
            _finish(folder)
            yield
    except filelock.Timeout as error:
        raise SAFEError(
            f"Another SAFE process has been writing to {folder} for more than {PATIENCE:.0f} seconds. Nothing was "
            "changed. Try again, or stop the other process."
        ) from error


def settle(folder: Path) -> None:
    """Complete what a killed process has begun to replace, before files that belong together are read.

    If the folder cannot be written to, they are read as they are.
    """
    if (folder / PLAN_FILE).is_file():
        with contextlib.suppress(SAFEError, OSError), writing(folder):
            pass


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
            f"Another SAFE job is running in {folder}{_holder(folder)}. Wait until it has finished, or use another "
            "output folder (--out)."
        ) from error


@contextlib.contextmanager
def _lock(folder: Path, name: str, patience: float) -> Iterator[None]:
    prepare_folder(folder)
    # A singleton, so that nested blocks of one thread share it. The operating system releases it when the process ends.
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


# --- Ownership of files -----------------------------------------------------------------------------------------


def check_own(folder: Path, *names: str) -> None:
    """Check that each of these files is missing or was written by SAFE. Call it before a long job.

    Raises
    ------
    SAFEError
        One of them belongs to somebody else.
    """
    listed = _listed(folder)
    foreign = [name for name in names if name not in listed and os.path.lexists(folder / name)]
    if foreign:
        free = free_name(folder / "safe", first=1)
        raise SAFEError(
            f"Expected {foreign[0]} in {folder} to be missing or written by SAFE. Received a file that SAFE did not "
            f"write; it is left unchanged. Use another output folder, for example --out {free}."
        )


Writer = str | Callable[[Path], object]
"""Content of a file: a text, or a function that writes it to a given path."""


def save_files(folder: Path, files: Mapping[str, Writer], *, remove: Collection[str] = ()) -> None:
    """Replace files of the output folder that belong together: all or none, and only those written by SAFE.

    When all of them are on the disk, they are renamed one after another, in the given order.

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

        def rename(pairs: list[tuple[Path, Path]]) -> None:
            plan = folder / PLAN_FILE
            if len(pairs) + len(gone) > 1:
                record = {"rename": {old.name: new.name for old, new in pairs}, "remove": gone}
                write_text(plan, json.dumps(record) + "\n")
            rename_all(pairs)
            for name in gone:
                (folder / name).unlink(missing_ok=True)
            plan.unlink(missing_ok=True)

        with replacing_together(*(folder / name for name in files), rename=rename) as temporaries:
            for temporary, content in zip(temporaries, files.values(), strict=True):
                if isinstance(content, str):
                    fill_text(temporary, content)
                else:
                    content(temporary)
            # Before the files are renamed, so that a killed process does not leave files that are not listed.
            _claim(folder, files)


def _finish(folder: Path) -> None:
    """Do the rest of what a process that was killed had begun to rename and remove."""
    plan = folder / PLAN_FILE
    if not plan.exists():
        return
    try:
        record = json.loads(regular(plan).read_text(encoding="utf-8"))
        names = {str(old): str(new) for old, new in record["rename"].items()}
        gone = [str(name) for name in record["remove"]]
        if any(Path(name).name != name for name in (*names, *names.values(), *gone)):
            raise ValueError("names that lead elsewhere")
    except DAMAGED:
        names, gone = {}, []  # it is written whole: this is not one of SAFE's
    try:
        rename_all((folder / old, folder / new) for old, new in names.items() if (folder / old).is_file())
        for name in own_files(folder, gone):
            (folder / name).unlink(missing_ok=True)
        plan.unlink(missing_ok=True)
    except OSError as error:
        raise SAFEError(
            f"Could not finish what another SAFE had begun to write in {folder}: {error.strerror or error}. Nothing "
            "else was changed."
        ) from error


def save_text(folder: Path, name: str, text: str) -> None:
    """Replace a text file of the output folder (UTF-8), as `save_files` does."""
    save_files(folder, {name: text})


def own_files(folder: Path, names: Collection[str]) -> list[str]:
    """Those of some names that there are in a folder as files of SAFE's own."""
    listed = _listed(folder)
    return [name for name in names if name in listed and (folder / name).is_file()]


def _claim(folder: Path, names: Collection[str]) -> None:
    listed = _listed(folder)
    if not set(names) <= listed or not (folder / MARK_FILE).is_file():
        record = {"about": "Files of this folder that SAFE wrote, and may replace.", "files": sorted(listed | {*names})}
        write_text(folder / MARK_FILE, json.dumps(record, indent=1) + "\n")


def _listed(folder: Path) -> set[str]:
    """Names of the files that SAFE has written to a folder; all files if an older version wrote the folder."""
    try:
        record = json.loads(regular(folder / MARK_FILE).read_text(encoding="utf-8"))
        return {*map(str, record["files"]), *_SHARED}
    except FileNotFoundError:
        pass
    except DAMAGED:
        pass  # treated like a folder of an older version
    if not any(_is_safes(folder / sign) for sign in _SIGNS):
        return set()
    return set(os.listdir(folder))  # noqa: PTH208, names


def _is_safes(path: Path) -> bool:
    """Whether a file is one by which a folder of an older version is recognized."""
    try:
        with regular(path).open("rb") as file:
            start = file.read(4096)
    except OSError:
        return False
    if path.suffix == ".npz":
        return start.startswith(b"PK") and b"format_version.npy" in start
    return b'"test_accuracy"' in start
