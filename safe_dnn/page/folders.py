"""What a folder on this machine holds, for whoever looks for a path: its folders, and its files of a kind.

With a root, nothing outside it is named or followed to. Reading is bounded, so that a folder of a million images, or of
thousands of folders, is listed in a moment.
"""

import itertools
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from safe_dnn.support.errors import SAFEError, is_within, path_of, quoted
from safe_dnn.support.images import SUFFIXES
from safe_dnn.support.text import count, printable

MOST_LISTED = 2_000  # folders and files
MOST_NAMES = 200_000  # that are read


class Entry(NamedTuple):
    """A folder or file that can be chosen.

    Attributes
    ----------
    path : str
        Absolute, as a field takes it: `support.errors.path_of` gives the same path.
    name : str
        As it is shown.
    folder : bool
    """

    path: str
    name: str
    folder: bool


class Listing(NamedTuple):
    """A folder and what is in it.

    Attributes
    ----------
    place : Entry
        The folder itself.
    above : tuple of Entry
        The folders that it lies in, from the root or the top of the file system down.
    entries : tuple of Entry
        First the folders, then the files, both by name.
    notes : str
        How many images are in it, and what is not listed, and why; empty if nothing.
    """

    place: Entry
    above: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    notes: str


def folder_at(typed: str, root: Path | None) -> tuple[Path, str]:
    """The folder that a path leads to, all links followed, and a sentence if nothing is there.

    It is the folder itself, that of a file, or the nearest one above that exists. If nothing was typed, or what lies
    outside the root, it is the root or, without one, the home folder.
    """
    top = root or next(place.resolve() for place in (Path.home(), Path.cwd()) if place.is_dir())
    if not typed.strip():
        return top, ""
    outside = f"Expected a path below {root}. Received: {quoted(typed.strip())}"  # whether or not there is one
    try:
        path = path_of(typed, "a folder")
    except SAFEError as error:
        return top, outside if root else str(error)
    if not is_within(path, root):
        return top, outside
    place = path.resolve()
    there = place.exists()
    while not place.is_dir() and place not in (root, place.parent):
        place = place.parent
    return place, "" if there else f"{quoted(typed.strip())} does not exist: this is the nearest folder above it."


def list_folder(place: Path, root: Path | None, suffixes: Collection[str] = ()) -> Listing:
    """List the folders in a folder, and its files of a kind.

    Hidden ones are left out, as `support.images.find_images` leaves them out, and so are links that lead out of the
    root.

    Parameters
    ----------
    place : Path
        Absolute, all links followed, and in the root.
    root : Path or None
        All links followed.
    suffixes : collection of str
        Of the files to list, in lower case, e.g. ".csv".
    """
    above = tuple(_entry(up) for up in reversed(place.parents) if root is None or up.is_relative_to(root))
    images, found = 0, list[tuple[bool, Path]]()  # whether it is a file, and which
    try:
        names = _names_in(place)
    except OSError as error:
        return Listing(_entry(place), above, (), f"This folder cannot be read ({error.strerror}).")
    for entry in names[:MOST_NAMES]:
        path, suffix = Path(entry.path), Path(entry.name).suffix.lower()
        if entry.name.startswith(".") or (entry.is_symlink() and not is_within(path, root)):
            continue
        if _is(entry.is_dir):
            found.append((False, path))
        elif (suffix in SUFFIXES or suffix in suffixes) and _is(entry.is_file):
            images += suffix in SUFFIXES
            found += [(True, path)] if suffix in suffixes else []
    # A name with a line break does not fit into a field.
    fit = sorted((is_file, path.name.casefold(), path) for is_file, path in found if not {"\n", "\r"} & set(path.name))
    listed = tuple(_entry(path, folder=not is_file) for is_file, _, path in fit[:MOST_LISTED])
    notes = {
        f"{count(images, 'image')} directly in this folder.": images,
        f"The first {len(listed):,} of {len(fit):,} are listed. Type the path of another.": len(fit) > len(listed),
        f"More than {MOST_NAMES:,} names are in this folder; these are of the first ones.": len(names) > MOST_NAMES,
    }
    return Listing(_entry(place), above, listed, " ".join(note for note, applies in notes.items() if applies))


def _names_in(place: Path) -> list[os.DirEntry[str]]:
    with os.scandir(place) as entries:
        return [*itertools.islice(entries, MOST_NAMES + 1)]


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that cannot be followed
        return False


def _entry(path: Path, *, folder: bool = True) -> Entry:
    text = os.fspath(path)
    # White space at the end of what is typed is not taken for a part of it.
    return Entry(f"{text}/" if text != text.rstrip() else text, printable(path.name or text), folder)
