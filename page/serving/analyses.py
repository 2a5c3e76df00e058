"""Analyses: the folders in one folder, each with everything that belongs together.

An analysis is an output folder (see `support/run_folder.py`), and its name is that of the folder. Here they are named
and found; `page/serving/shelf.py` changes them. The folder that holds them can be an analysis, too, whose name here is
`TOP`.
"""

import contextlib
import os
import re
import unicodedata
from pathlib import Path
from urllib.parse import quote

from pipeline.migration import BEFORE_FOLDER, EARLIER_MARK_FILE
from pipeline.reporting.export import EXPORT_FOLDER
from rccs.gifs import GIF_FOLDER
from store.database import DATABASE_FILE, reading
from store.entries import last_entry
from store.runs import RUNS_FOLDER
from support.entries import quoted
from support.errors import SAFEError
from support.run_folder import FAILURES, FAILURES_FILE, OBJECTS, ROUNDS_FOLDER
from support.text import printable
from training.result import MODELS_FOLDER

BIN_FOLDER = ".safe-bin"
"""Beside analyses: those that were deleted on the page."""

TOP = ""
DELETION = "deletion"
"""The kind of an entry by which an analysis was moved to the bin; its value is the name."""
LONGEST_NAME = 80  # characters
LONGEST_FILE_NAME = 200  # bytes; file systems take 255, and a number may be added

_SIGNS = (DATABASE_FILE, FAILURES_FILE, EARLIER_MARK_FILE)
_RESERVED = {
    GIF_FOLDER, FAILURES, OBJECTS, RUNS_FOLDER, ROUNDS_FOLDER, MODELS_FOLDER, EXPORT_FOLDER, BEFORE_FOLDER,
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
    fault = ""
    if len(name) > LONGEST_NAME or len(name.encode()) > LONGEST_FILE_NAME:
        fault = f"is longer than {LONGEST_NAME} characters"
        fault += f" or {LONGEST_FILE_NAME} bytes" if len(name) <= LONGEST_NAME else ""
    elif "/" in name or "\\" in name:
        fault = "has a slash"
    elif "\ufffd" in name:
        fault = "has characters that cannot be shown"
    elif name.startswith("."):
        fault = "begins with a dot"
    elif name.casefold() in _RESERVED:
        fault = "is a folder of SAFE's own"
    if fault:
        raise SAFEError(f"The name of an analysis becomes that of a folder. Received: {quoted(name)}, which {fault}.")
    return name


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
        hidden = name.startswith(".") or name == BEFORE_FOLDER or "/" in name or "\0" in name or printable(name) != name
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
