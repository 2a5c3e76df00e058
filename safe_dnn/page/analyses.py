"""Analyses: the folders in one folder, each with everything that belongs together.

An analysis is an output folder (see `support/run_folder.py`), and its name is that of the folder. Here they are named,
found and made; the file manager renames, copies and deletes them. The folder that holds them, whose name here is `TOP`,
can be an analysis, too, and may hold anything else as well.
"""

import itertools
import os
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from safe_dnn.report.exports import EXPORT_FOLDER
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER
from safe_dnn.store.output_folder import claim, writing
from safe_dnn.support.errors import SAFEError, quoted
from safe_dnn.support.files import prepare_folder, state_of_file
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE, GIF_FOLDER, OBJECTS, UPLOADS_FOLDER
from safe_dnn.support.text import printable

TOP = ""
MOST_ANALYSES = 1_000
LONGEST_NAME = 200  # bytes; file systems take 255

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
    match = _ADDRESS.fullmatch(path)
    return (match[1], match[2] or "") if match else (TOP, path)


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
    faults = {
        f"is longer than {LONGEST_NAME} bytes": len(name.encode()) > LONGEST_NAME,
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


# --- Finding them -----------------------------------------------------------------------------------------------


def is_analysis(folder: Path) -> bool:
    """Whether a folder holds anything that SAFE wrote, or was made to."""
    return any((folder / sign).is_file() for sign in _SIGNS)


def latest_in(home: Path, *, other_than: Path | None = None) -> str:
    """The analysis in a folder that is shown first: that in which something was last done, unless the folder is one.

    `other_than` is as for `names_in`.
    """
    names = [] if is_analysis(home) else names_in(home, other_than=other_than)

    def changed(name: str) -> int:
        return max((found[0] for sign in _SIGNS if (found := state_of_file(home / name / sign))), default=0)

    return max(names, key=changed, default=TOP)


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


def make(home: Path, typed: str, most: int = MOST_ANALYSES) -> str:
    """Make an empty analysis, if there are fewer than `most`; its name. Where none was typed, it gets one.

    Raises
    ------
    SAFEError
        The name is taken or no name for an analysis (see `checked_name`), the folder cannot be written to, or there
        are too many.
    """
    with writing(home):
        if len(names_in(home)) >= most:
            raise SAFEError(f"Expected up to {most:,} analyses. Received one more. Go on in one of these.")
        if typed.strip():
            name = checked_name(typed)
        else:
            names = itertools.chain(["Analysis"], (f"Analysis {number}" for number in itertools.count(2)))
            name = next(name for name in names if not os.path.lexists(home / name))
        if os.path.lexists(home / name):
            raise SAFEError(f"There is a folder {quoted(name)} already. Choose another name.")
        claim(prepare_folder(home / name), {})  # a database: an empty analysis
    return name
