"""Analyses: the folders in one folder, each with everything that belongs together.

An analysis is an output folder (see `support/run_folder.py`), and its name is that of the folder. Here they are named
and found, made, renamed, copied, put into a bin and taken out of it. The folder that holds them, whose name here is
`TOP`, can be an analysis, too. It stays where it is: it may hold anything else as well.

Everything is done by renaming folders, at one go, so that a process that is killed leaves an analysis here or there; a
copy is renamed once it is whole. The bin is a hidden folder beside the analyses.
"""

import contextlib
import itertools
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from safe_dnn.pipeline.exports import EXPORT_FOLDER
from safe_dnn.pipeline.reporting.markup import escaped
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER, append, changing, last_entry, reading
from safe_dnn.store.output_folder import LOCK_FILE, WORK_FILE, claim, working, writing
from safe_dnn.support.entries import quoted
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import new_folder, prepare_folder
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE, GIF_FOLDER, OBJECTS, UPLOADS_FOLDER
from safe_dnn.support.text import printable

BIN_FOLDER = ".safe-bin"
"""Beside analyses: those that were deleted on the page."""

TOP = ""
DELETION = "deletion"
"""The kind of an entry by which an analysis was moved to the bin; its value is the name."""
MOST_ANALYSES = 1_000  # with those in the bin
LONGEST_NAME = 80  # characters
LONGEST_FILE_NAME = 200  # bytes; file systems take 255, and a number may be added

_LOCKS = (LOCK_FILE, WORK_FILE)
_SIGNS = (DATABASE_FILE, FAILURES_FILE)
_RESERVED = {
    GIF_FOLDER, FAILURES, OBJECTS, RUNS_FOLDER, EXPORT_FOLDER, UPLOADS_FOLDER,
}  # fmt: skip
_ADDRESS = re.compile("/a/([^/]+)(/.*)?", re.DOTALL)


# --- Names and addresses ----------------------------------------------------------------------------------------


def address_of(name: str) -> str:
    """Where the page shows an analysis."""
    return f"/a/{quote(name, safe='')}/" if name else "/"


def split_address(path: str) -> tuple[str, str]:
    """The analysis that a path of the page belongs to, and the path within the analysis's page; empty without slash."""
    found = _ADDRESS.fullmatch(path)
    return (found[1], found[2] or "") if found else (TOP, path)


def title_of(home: Path, name: str) -> str:
    """The name of an analysis as the page shows it."""
    return printable(name or home.name or os.fspath(home))


def checked_name(typed: str) -> str:
    """A name for an analysis, which is that of a folder. White space at its ends is dropped.

    Raises
    ------
    SAFEError
        It is empty, too long, reserved or hidden, has a slash, or characters that cannot be seen.
    """
    name = " ".join(unicodedata.normalize("NFC", printable(typed)).split())
    if not name:
        raise SAFEError("An analysis must have a name. Received: nothing.")
    too_long = f"is longer than {LONGEST_NAME} characters"
    faults = {
        too_long: len(name) > LONGEST_NAME,
        f"{too_long} or {LONGEST_FILE_NAME} bytes": len(name.encode()) > LONGEST_FILE_NAME,
        "has a slash": "/" in name or "\\" in name,
        "has characters that cannot be shown": "\ufffd" in name,
        "begins with a dot": name.startswith("."),
        "is a folder of SAFE's own": name.casefold() in _RESERVED,
    }
    if fault := next((fault for fault, is_there in faults.items() if is_there), ""):
        raise SAFEError(f"The name of an analysis becomes that of a folder. Received: {quoted(name)}, which {fault}.")
    return name


class Where(NamedTuple):
    """The page of an analysis: the way up to that of its home, for a link; its address below that; and its title."""

    up: str = "."
    address: str = "/"
    title: str = ""

    def link(self, other: "Where") -> str:
        """From this page to another, as HTML."""
        return f"<a href='{self.up}{escaped(other.address)}'>{escaped(other.title)}</a>"


NOWHERE = Where()


# --- Finding them -----------------------------------------------------------------------------------------------


def is_analysis(folder: Path) -> bool:
    """Whether a folder holds anything that SAFE wrote, or was made to."""
    return any((folder / sign).is_file() for sign in _SIGNS)


def folder_of(home: Path, name: str) -> Path | None:
    """The folder of an analysis; None where there is none of that name. Links lead nowhere."""
    if name == TOP:
        return home if is_analysis(home) else None
    try:
        folder = home / name
        hidden = name.startswith(".") or "/" in name or "\0" in name or printable(name) != name
        there = not hidden and not folder.is_symlink() and folder.is_dir() and is_analysis(folder)
    except (OSError, ValueError):
        return None
    return folder if there else None


def names_in(home: Path, *, other_than: Path | None = None) -> list[str]:
    """The analyses in a folder, without the one that the folder itself may be.

    Parameters
    ----------
    other_than : Path, optional
        A folder that is left out, as that of the example.
    """
    try:
        names = [entry.name for entry in os.scandir(home) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    # Looked at by their paths first: there may be tens of thousands of other folders.
    signed = (name for name in names if any(os.path.isfile(f"{home}/{name}/{sign}") for sign in _SIGNS))  # noqa: PTH113
    return sorted(name for name in signed if home / name != other_than and folder_of(home, name))


def deleted_in(home: Path) -> list[tuple[str, str]]:
    """What is in the bin: names, and when they were deleted (ISO 8601, empty if unknown); the latest first."""
    bin_folder = home / BIN_FOLDER
    found = [(name, deletion_of(bin_folder / name)[0]) for name in names_in(bin_folder)]
    return sorted(found, key=lambda entry: entry[1], reverse=True)


def deletion_of(folder: Path) -> tuple[str, str]:
    """When an analysis was deleted last, and its name before; empty if that is not known."""
    with contextlib.suppress(SAFEError), reading(folder) as db:
        if found := last_entry(db, DELETION):
            return found.time, found.value
    return "", ""


# --- What the list does with them -----------------------------------------------------------------------------------


def make(home: Path, typed: str, most: int = MOST_ANALYSES) -> str:
    """Make an empty analysis, if there are fewer than `most`; its name. Where none was typed, it gets one.

    Raises
    ------
    SAFEError
        The name is taken or no name for an analysis (see `checked_name`), the folder cannot be written to, or there
        are too many.
    """
    with _changing(home):
        _check_room(home, most)
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


def duplicate(home: Path, name: str, most: int = MOST_ANALYSES) -> str:
    """Copy an analysis with all that it holds; the name of the copy.

    Raises
    ------
    SAFEError
        As for `rename`; there are too many (see `make`).
    """
    folder = _found(home, name)
    _check_room(home, most)
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
    with _changing(home):
        folder = _in_bin(home, name)
        target = _free(home, deletion_of(folder)[1] or name)
        with working(folder, "restoring"):
            _take_place(folder, target)
    return target.name


def remove(home: Path, name: str) -> str:
    """Delete what is in the bin, for good; its name there.

    Raises
    ------
    SAFEError
        As for `restore`.
    """
    with _changing(home):
        folder = _in_bin(home, name)
        # Hidden at one go: what a process leaves that is killed here does not look whole, and goes the next time.
        folder.rename(folder.with_name(f".{secrets.token_hex(8)}"))
        for gone in folder.parent.glob("." + 16 * "[0-9a-f]"):
            shutil.rmtree(gone)
    return name


def _in_bin(home: Path, name: str) -> Path:
    folder = folder_of(home / BIN_FOLDER, name) if name else None
    if folder is None:
        raise SAFEError(f"There is no analysis {quoted(printable(name))} in the bin any more.")
    return folder


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


def _check_room(home: Path, most: int) -> None:
    there = len(names_in(home)) + len(names_in(home / BIN_FOLDER))
    if there >= most:
        raise SAFEError(
            f"Expected up to {most:,} analyses, with those in the bin. Received one more. Delete what is not needed, "
            "for good."
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
    name = (name.replace("/", " ").strip(" .") or "Analysis").encode()[:LONGEST_FILE_NAME].decode(errors="ignore")
    names = itertools.chain([name], (f"{name} {number}" for number in itertools.count(2)))
    return next(home / one for one in names if not _is_taken(home / one))


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
