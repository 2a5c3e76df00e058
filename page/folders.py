"""What a folder on this machine holds, for whoever looks for a path: its folders, its files of a kind, its images.

With a root, nothing outside it is named, counted or followed to. Reading is bounded, so that a folder of a million
images, or of thousands of folders, is listed in a moment.
"""

import contextlib
import itertools
import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from support.entries import is_within, path_of, quoted
from support.errors import SAFEError
from support.images import SUFFIXES
from support.text import count, printable

ENOUGH = 1_000  # images: of more, only that there are more
MOST_LISTED = 2_000  # folders and files
MOST_NAMES = 200_000  # that are read of the folder itself
MOST_COUNTED = 50_000  # names that are read of the folders in it to count their images, of all together
MOST_EACH = 5_000  # and of each


class Entry(NamedTuple):
    """A folder or file that can be chosen.

    Attributes
    ----------
    path : str
        Absolute, as a field takes it: `support.entries.path_of` gives the same path.
    name : str
        As it is shown.
    folder : bool
    holds : str
        How many images a folder holds, in words; empty where they were not counted.
    """

    path: str
    name: str
    folder: bool
    holds: str


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
        What is not listed, and why; empty if nothing.
    """

    place: Entry
    above: tuple[Entry, ...]
    entries: tuple[Entry, ...]
    notes: str


class Holding(NamedTuple):
    """How many images are in a folder.

    Attributes
    ----------
    images : int
        Directly in it.
    below : int
        In the folders in it, such as those of classes.
    folders : int
        Folders in it.
    whole : bool
        Whether all were counted; otherwise the numbers are lower bounds.
    """

    images: int
    below: int
    folders: int
    whole: bool


class _Names(NamedTuple):
    """What was read of a folder: its images, folders and files, how many names, and whether these are all."""

    images: int
    folders: list[Path]
    files: list[Path]
    looked: int
    whole: bool


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
    with contextlib.suppress(SAFEError):  # of several, the folder that they are in
        path = as_named(path, root)
    place = path.resolve()
    there = place.exists()
    while not place.is_dir() and place not in (root, place.parent):
        place = place.parent
    return place, "" if there else f"{quoted(typed.strip())} does not exist: this is the nearest folder above it."


def as_named(path: Path, root: Path | None) -> Path:
    """The path to which this one leads as a browser shows it.

    A name that is not valid Unicode cannot be sent to a browser: it is shown as by `support.text.printable`, also in a
    field that is filled in again. A path to what exists, and one that leads to nothing, stay as they are.

    Parameters
    ----------
    path : Path
        Absolute.
    root : Path or None
        No folder outside it is read.

    Raises
    ------
    SAFEError
        Several names in a folder are shown like this.
    """
    place = Path(path.anchor)
    for part in path.parts[1:]:
        inner = place / part
        if "\ufffd" in part and not os.path.lexists(inner):
            alike = _shown_as(part, place, root)
            if len(alike) > 1:
                raise SAFEError(f"Several names in {printable(str(place))} are shown as {part}. Choose one by Browse.")
            inner = place / alike[0] if alike else inner
        place = inner
    return place


def _shown_as(part: str, folder: Path, root: Path | None) -> list[str]:
    """The names in a folder that are shown as this one; none if the folder cannot be read."""
    if not is_within(folder, root):
        return []
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in itertools.islice(entries, MOST_NAMES) if printable(entry.name) == part]
    except OSError:
        return []


def list_folder(place: Path, root: Path | None, suffixes: Collection[str] = ()) -> Listing:
    """List the folders in a folder, with the images that they hold, and its files of a kind.

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
    try:
        names = _read(place, root, MOST_NAMES, suffixes)
    except OSError as error:
        return Listing(_entry(place), above, (), f"This folder cannot be read ({error.strerror}).")
    folders = [path for path in sorted(names.folders, key=_by_name) if _fits(path)]
    files = [path for path in sorted(names.files, key=_by_name) if _fits(path)]
    unfit = len(names.folders) + len(names.files) - len(folders) - len(files)
    entries, unreadable, uncounted = _counted(folders[:MOST_LISTED], root)
    entries += [_entry(path, folder=False) for path in files[: MOST_LISTED - len(entries)]]
    total = len(folders) + len(files) - unreadable
    notes = {
        f"Left out: {count(unreadable, 'folder')} that cannot be read.": unreadable,
        f"Left out: {count(unfit, 'name')} with a line break, which does not fit into the field.": unfit,
        f"The first {len(entries):,} of {total:,} are listed. Type the path of another.": total > len(entries),
        f"More than {MOST_NAMES:,} names are in this folder; these are of the first ones.": not names.whole,
        "Not all images were counted: there are too many.": uncounted,
    }
    holds = _words(Holding(names.images, 0, len(names.folders), names.whole))
    told = " ".join(note for note, applies in notes.items() if applies)
    return Listing(_entry(place, holds), above, tuple(entries), told)


def images_below(folder: Path, root: Path | None, most: int) -> tuple[Holding, int]:
    """How many images are in a folder and in the folders in it, and how many names were read to know it.

    Links to folders are not followed, nor are links to images out of the root.

    Parameters
    ----------
    most : int
        Names to read: of a folder with more, or with more than `ENOUGH` images, the numbers are lower bounds.

    Raises
    ------
    OSError
        The folder cannot be read.
    """
    names = _read(folder, root, most, links=False)
    images, whole, looked = 0, names.whole, names.looked
    for inner in names.folders:
        if looked >= most or names.images + images >= ENOUGH:
            whole = False
            break
        try:
            found = _read(inner, root, most - looked, links=False)
        except OSError:
            continue
        images, whole, looked = images + found.images, whole and found.whole, looked + found.looked
    return Holding(names.images, images, len(names.folders), whole), looked


def _counted(folders: list[Path], root: Path | None) -> tuple[list[Entry], int, bool]:
    """The folders with the images that they hold, how many cannot be read, and whether some were not counted."""
    entries, unreadable, left = [], 0, MOST_COUNTED
    for folder in folders:
        try:
            holding, looked = images_below(folder, root, min(left, MOST_EACH)) if left else (None, 0)
        except OSError:
            unreadable += 1
            continue
        entries.append(_entry(folder, _words(holding) if holding else ""))
        left -= looked
    return entries, unreadable, not left


def _read(folder: Path, root: Path | None, most: int, suffixes: Collection[str] = (), *, links: bool = True) -> _Names:
    """Read the names in a folder, at most so many; to count (`links=False`), only until there are `ENOUGH` images."""
    images, looked = 0, 0
    folders: list[Path] = []
    files: list[Path] = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if looked == most or (images > ENOUGH and not links):
                return _Names(images, folders, files, looked, False)
            looked += 1
            suffix = Path(entry.name).suffix.lower()
            leads_out = entry.is_symlink() and not is_within(Path(entry.path), root)
            if entry.name.startswith(".") or leads_out:
                continue
            if _is_folder(entry, links):
                folders.append(Path(entry.path))
            elif (suffix in SUFFIXES or suffix in suffixes) and _is_file(entry):
                images += suffix in SUFFIXES
                files += [Path(entry.path)] if suffix in suffixes else []
    return _Names(images, folders, files, looked, True)


def _is_folder(entry: os.DirEntry[str], links: bool) -> bool:
    try:
        return entry.is_dir(follow_symlinks=links)
    except OSError:  # a link that cannot be followed
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:
        return False


def _entry(path: Path, holds: str = "", *, folder: bool = True) -> Entry:
    text = os.fspath(path)
    # White space at the end of what is typed is not taken for a part of it.
    return Entry(f"{text}/" if text != text.rstrip() else text, printable(path.name or text), folder, holds)


def _fits(path: Path) -> bool:
    """Whether a name fits into a field of one line."""
    return not {"\n", "\r"} & set(path.name)


def _by_name(path: Path) -> tuple[str, str]:
    return path.name.casefold(), path.name


def _words(holding: Holding) -> str:
    """For example `24 images`, `1,000+ images in 6 folders`."""
    folders = count(holding.folders, "folder")
    parts = [count(holding.images, "image")] if holding.images else []
    if holding.below:
        parts.append(f"{count(holding.below, 'image')} in {folders}")
    if not parts:
        return folders if holding.folders else "no images" if holding.whole else ""
    if not holding.whole:
        last = holding.below or holding.images
        parts[-1] = f"{min(last, ENOUGH):,}+ images" + (f" in {folders}" if holding.below else "")
    return ", ".join(parts)
