"""What the list of analyses does with them: each is made, renamed, copied, put into a bin and taken out of it.

Everything is done by renaming folders, at one go, so that a process that is killed leaves an analysis here or there; a
copy is renamed once it is whole. Only of the folder that holds the others, the files are renamed one after the other.
The bin is a hidden folder beside the analyses.
"""

import contextlib
import datetime
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from page.analyses import LONGEST_FILE_NAME, checked_name, folder_of, title_of
from page.moved import at_home, settle_in
from support.entries import quoted
from support.errors import SAFEError
from support.files import LEFT_OVER_SECONDS, prepare_folder, read_record
from support.output_folder import own_files, save_text, working, writing
from support.run_folder import (
    ACCURACY_FILE,
    ANALYSIS_FILE,
    BIN_FOLDER,
    CHECKPOINT_FILE,
    CLUSTERS_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    EXPORT_FOLDER,
    EXPORT_MARK,
    EXPORT_ZIP,
    FAILURES,
    FAILURES_FILE,
    FAILURES_MARK,
    FILENAMES_FILE,
    FORMS_FILE,
    GIF_FOLDER,
    KEPT_LABELS_FILE,
    LABELS_FILE,
    LOCK_FILE,
    MAP_FILE,
    MARK_FILE,
    MODEL_FILE,
    MODELS_FOLDER,
    NOTES_FILE,
    OBJECTS,
    OBJECTS_FILE,
    PREDICTIONS_FILE,
    PROFILES_FILE,
    RATES_FILE,
    REPETITIONS_FILE,
    REPORT_FILE,
    RETRAINING_FILE,
    ROUNDS_FOLDER,
    RUN_FILE,
    RUNS_FOLDER,
    SECOND_CHECKPOINT_FILE,
    SELECTION_FILE,
    SPOT_NOTES_FILE,
    UNSAFE_IMAGES_FILE,
    UNSAFE_SET_FILE,
    VIEWS_FILE,
    WEAK_SPOTS_FILE,
    WORK_FILE,
)
from support.text import printable

_LOCKS = (LOCK_FILE, WORK_FILE)
# What SAFE writes to an output folder. The last one says which files are SAFE's, and is moved last.
_FILES = (
    ANALYSIS_FILE, LABELS_FILE, CLUSTERS_FILE, RUN_FILE, MAP_FILE, NOTES_FILE, EDITS_FILE, OBJECTS_FILE, PROFILES_FILE,
    RATES_FILE, WEAK_SPOTS_FILE, SPOT_NOTES_FILE, COMPARISON_FILE, FILENAMES_FILE, UNSAFE_SET_FILE, UNSAFE_IMAGES_FILE,
    SELECTION_FILE, MODEL_FILE, RETRAINING_FILE, CHECKPOINT_FILE, SECOND_CHECKPOINT_FILE, REPETITIONS_FILE,
    FAILURES_FILE, ACCURACY_FILE, PREDICTIONS_FILE, KEPT_LABELS_FILE, REPORT_FILE, EXPORT_ZIP, FORMS_FILE, VIEWS_FILE,
    MARK_FILE,
)  # fmt: skip
_FOLDERS = {
    f"{GIF_FOLDER}/RCC_*.gif": "",
    f"{GIF_FOLDER}/noise.gif": "",
    f"{GIF_FOLDER}/weak_spot_*.gif": "",
    FAILURES: FAILURES_MARK,
    OBJECTS: FAILURES_MARK,
    RUNS_FOLDER: "",
    MODELS_FOLDER: "",
    f"{ROUNDS_FOLDER}/*": f"{FAILURES}/{FAILURES_MARK}",
    EXPORT_FOLDER: EXPORT_MARK,
}
"""Patterns, and the hidden file by which such a folder is known to be SAFE's."""
_COPY = ".copy-"


def make(home: Path, typed: str) -> str:
    """Make an empty analysis; its name. Where none was typed, it gets one.

    Raises
    ------
    SAFEError
        The name is taken or no name for an analysis (see `checked_name`), or the folder cannot be written to.
    """
    with _changing(home):
        folder = _untaken(home, checked_name(typed)) if typed.strip() else _free(home, "Analysis")
        folder.mkdir(exist_ok=True)
        save_text(folder, ANALYSIS_FILE, at_home(folder))
    return folder.name


def rename(home: Path, name: str, typed: str) -> str:
    """Give an analysis another name; the one that it has then.

    Raises
    ------
    SAFEError
        As for `make`; there is no such analysis any more, or a job runs in it. Nothing is changed.
    """
    new = checked_name(typed)
    if new == name:
        return name
    with _changing(home):
        folder, target = _found(home, name), _untaken(home, new)
        _move(home, folder, target, "renaming")
    settle_in(target)
    return new


def duplicate(home: Path, name: str) -> str:
    """Copy an analysis with all that it holds; the name of the copy.

    Raises
    ------
    SAFEError
        As for `rename`.
    """
    folder = _found(home, name)
    bin_folder = prepare_folder(home / BIN_FOLDER)
    _forget_left_over(bin_folder)
    building = Path(tempfile.mkdtemp(dir=bin_folder, prefix=_COPY))
    try:
        with _explained("copy", folder), working(folder, "duplicating"), writing(folder):
            settle_in(folder)
            _copy(home, folder, building)
            (building / ANALYSIS_FILE).write_text(at_home(folder), encoding="utf-8")
            building.chmod(folder.stat().st_mode & 0o777)
        with _changing(home):
            target = _free(home, f"{title_of(home, name)} copy")
            _take_place(building, target)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    settle_in(target)
    return target.name


def delete(home: Path, name: str) -> str:
    """Move an analysis to the bin; its name there.

    Raises
    ------
    SAFEError
        As for `rename`.
    """
    with _changing(home):
        folder = _found(home, name)
        target = _free(prepare_folder(home / BIN_FOLDER), title_of(home, name))
        now = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        _move(home, folder, target, "deleting", deleted=now)
    return target.name


def restore(home: Path, name: str) -> str:
    """Move an analysis back from the bin; its name, which is another one where its own is taken by now.

    Raises
    ------
    SAFEError
        It is not in the bin any more, or the folder cannot be written to.
    """
    bin_folder = home / BIN_FOLDER
    with _changing(home):
        folder = folder_of(bin_folder, name) if name else None
        if folder is None:
            raise SAFEError(f"There is no analysis {quoted(printable(name))} in the bin any more.")
        before = PurePosixPath(str(read_record(folder / ANALYSIS_FILE).get("home", ""))).name
        target = _free(home, before if before and printable(before) == before else name)
        with working(folder, "restoring"):
            _take_place(folder, target)
    settle_in(target)
    return target.name


@contextlib.contextmanager
def _changing(home: Path) -> Iterator[None]:
    """One change of the analyses in a folder at a time, whichever window or process asks for it."""
    with _explained("change", home), writing(home):
        yield


@contextlib.contextmanager
def _explained(what: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or "some of it cannot be read, or the disk is full"
        raise SAFEError(f"Could not {what} {folder}: {reason}. Nothing was lost.") from error


def _found(home: Path, name: str) -> Path:
    folder = folder_of(home, name)
    if folder is None:
        raise SAFEError(f"There is no analysis {quoted(title_of(home, name))} any more. It was renamed or deleted.")
    return folder


def _untaken(home: Path, name: str) -> Path:
    if _is_taken(home / name):
        raise SAFEError(f"There is a folder {quoted(name)} already. Choose another name.")
    return home / name


def _free(home: Path, name: str) -> Path:
    """A folder of that name, or with a number behind it where that is taken; never a hidden one."""
    name = name.replace("/", " ").strip(" .") or "Analysis"
    while len(name.encode()) > LONGEST_FILE_NAME:
        name = name[:-1]
    folder, number = home / name, 1
    while _is_taken(folder):
        number += 1
        folder = home / f"{name} {number}"
    return folder


def _is_taken(folder: Path) -> bool:
    """Whether there is anything of that name, but for the locks that a window left which was open at a renaming."""
    if not os.path.lexists(folder):
        return False
    return folder.is_symlink() or not folder.is_dir() or not {entry.name for entry in os.scandir(folder)} <= {*_LOCKS}


def _take_place(folder: Path, target: Path) -> None:
    """Rename a folder to one that is not taken."""
    for name in _LOCKS:
        (target / name).unlink(missing_ok=True)
    folder.rename(target)  # an empty folder gives way


def _move(home: Path, folder: Path, target: Path, what: str, *, deleted: str = "") -> None:
    """Move an analysis in which no job runs; of one that lies where the others lie, only what SAFE wrote."""
    with working(folder, what), writing(folder):
        settle_in(folder)
        save_text(folder, ANALYSIS_FILE, at_home(folder, deleted=deleted))
        if folder != home:
            _take_place(folder, target)
            return
        target.mkdir(exist_ok=True)
        for entry in _own_entries(folder):
            (target / entry).parent.mkdir(exist_ok=True)
            (folder / entry).rename(target / entry)


def _copy(home: Path, folder: Path, target: Path) -> None:
    if folder != home:
        shutil.copytree(folder, target, symlinks=True, ignore=shutil.ignore_patterns(*_LOCKS), dirs_exist_ok=True)
        return
    for entry in _own_entries(folder):
        (target / entry).parent.mkdir(exist_ok=True)
        if (folder / entry).is_dir():
            shutil.copytree(folder / entry, target / entry, symlinks=True)
        else:
            shutil.copy2(folder / entry, target / entry)


def _own_entries(folder: Path) -> list[str]:
    """What SAFE wrote to a folder that may hold anything else, as the folder in which it was started."""
    folders = [
        os.fspath(path.relative_to(folder))
        for pattern, mark in _FOLDERS.items()
        for path in sorted(folder.glob(pattern))
        if not path.is_symlink() and (not mark or (path / mark).is_file())
    ]
    *files, last = _FILES
    return [*own_files(folder, files), *folders, *([last] if (folder / last).is_file() else [])]


def _forget_left_over(bin_folder: Path) -> None:
    """Remove what a process that was killed had begun to copy."""
    for old in bin_folder.glob(f"{_COPY}*"):
        with contextlib.suppress(OSError):
            if time.time() - old.stat().st_mtime > LEFT_OVER_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
