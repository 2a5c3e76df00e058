"""What the list of analyses does with them: each is made, renamed, copied, put into a bin and taken out of it.

Everything is done by renaming folders, at one go, so that a process that is killed leaves an analysis here or there; a
copy is renamed once it is whole. The folder that holds the analyses may be one itself, which stays where it is: it may
hold anything else as well. The bin is a hidden folder beside the analyses.
"""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from page.serving.analyses import (
    BIN_FOLDER,
    DELETION,
    LONGEST_FILE_NAME,
    TOP,
    checked_name,
    deletion_of,
    folder_of,
    names_in,
    title_of,
)
from store.database import changing
from store.entries import append
from store.output_folder import LOCK_FILE, WORK_FILE, claim, working, writing
from support.entries import quoted
from support.errors import SAFEError
from support.files import new_folder, prepare_folder
from support.text import printable

_LOCKS = (LOCK_FILE, WORK_FILE)
MOST_ANALYSES = 1_000  # with those in the bin


def make(home: Path, typed: str) -> str:
    """Make an empty analysis; its name. Where none was typed, it gets one.

    Raises
    ------
    SAFEError
        The name is taken or no name for an analysis (see `checked_name`), the folder cannot be written to, or there
        are `MOST_ANALYSES`.
    """
    with _changing(home):
        _check_room(home)
        folder = _untaken(home, checked_name(typed)) if typed.strip() else _free(home, "Analysis")
        folder.mkdir(exist_ok=True)
        claim(folder, {})  # a database: an empty analysis
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
        with working(folder, "renaming"), writing(folder):
            _take_place(folder, target)
    return new


def duplicate(home: Path, name: str) -> str:
    """Copy an analysis with all that it holds; the name of the copy.

    Raises
    ------
    SAFEError
        As for `rename`; there are `MOST_ANALYSES`.
    """
    folder = _found(home, name)
    _check_room(home)
    with new_folder(prepare_folder(home / BIN_FOLDER) / "copy") as building:
        with _explained("copy", folder), working(folder, "duplicating"), writing(folder):
            with changing(folder):  # nobody writes to the database while it is copied
                shutil.copytree(
                    folder, building, symlinks=True, ignore=shutil.ignore_patterns(*_LOCKS), dirs_exist_ok=True
                )
            building.chmod(folder.stat().st_mode & 0o777)
        with _changing(home):
            target = _free(home, f"{name} copy")
            _take_place(building, target)
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
        target = _free(prepare_folder(home / BIN_FOLDER), name)
        with working(folder, "deleting"), writing(folder):
            with changing(folder) as db:
                append(db, DELETION, "", name)
            _take_place(folder, target)
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
        target = _free(home, deletion_of(folder)[1] or name)
        with working(folder, "restoring"):
            _take_place(folder, target)
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


def _check_room(home: Path) -> None:
    there = len(names_in(home)) + len(names_in(home / BIN_FOLDER))
    if there >= MOST_ANALYSES:
        raise SAFEError(
            f"Expected up to {MOST_ANALYSES:,} analyses, with those in the bin. Received one more. Remove folders that "
            f"are not needed from the output folder, or from {BIN_FOLDER} in it."
        )


def _found(home: Path, name: str) -> Path:
    folder = folder_of(home, name) if name != TOP else None
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
        return folder.name == folder.parent.name  # which may be an analysis, too
    return folder.is_symlink() or not folder.is_dir() or not {entry.name for entry in os.scandir(folder)} <= {*_LOCKS}


def _take_place(folder: Path, target: Path) -> None:
    """Rename a folder to one that is not taken."""
    for name in _LOCKS:
        (target / name).unlink(missing_ok=True)
    folder.rename(target)  # an empty folder gives way
