"""What a folder on this machine holds, for whoever types a path: its folders, and its files of a kind.

With a root, nothing outside it is named or followed to. Reading is bounded, so that a folder of a million images, or of
thousands of folders, is listed in a moment.
"""

import contextlib
import itertools
import os
from collections.abc import Callable, Collection
from pathlib import Path

from safe_dnn.support.errors import SAFEError, is_within, path_of

MOST_LISTED = 500  # folders and files
MOST_NAMES = 200_000  # that are read


def folder_of(typed: str, root: Path | None) -> Path | None:
    """The folder whose path is typed, up to the last slash; None if there is none, or it lies outside the root.

    If nothing is typed, it is the root or, without one, the home folder.
    """
    above = typed.lstrip().rpartition("/")
    if not above[1]:
        return root or next(place.resolve() for place in (Path.home(), Path.cwd()) if place.is_dir())
    with contextlib.suppress(SAFEError, OSError, ValueError, RuntimeError):  # it can be no path
        path = path_of("".join(above[:2]), "a folder")
        return path if is_within(path, root) and path.is_dir() else None
    return None


def list_folder(place: Path, root: Path | None, suffixes: Collection[str] = ()) -> list[str]:
    """The paths in a folder: of folders, which end in a slash, then of files of a kind, both by name.

    Hidden ones are left out, as `support.images.find_images` leaves them out, and so are links that lead out of the
    root.

    Parameters
    ----------
    place : Path
        Absolute, and in the root.
    root : Path or None
        All links followed.
    suffixes : collection of str
        Of the files to list, in lower case, e.g. ".csv".
    """
    listed = list[tuple[bool, str, str]]()  # whether it is a file, by what it is sorted, and its path
    with contextlib.suppress(OSError), os.scandir(place) as entries:
        for entry in itertools.islice(entries, MOST_NAMES):
            is_file, name = Path(entry.name).suffix.lower() in suffixes and _is(entry.is_file), entry.name.casefold()
            # A name with a line break does not fit into a field.
            if name.startswith(".") or {"\n", "\r"} & set(name) or not (is_file or _is(entry.is_dir)):
                continue
            if not entry.is_symlink() or is_within(Path(entry.path), root):
                listed.append((is_file, name, entry.path if is_file else f"{entry.path}/"))
    return [path for *_, path in sorted(listed)[:MOST_LISTED]]


def _is(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that cannot be followed
        return False
