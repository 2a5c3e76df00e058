"""Paths as an analysis records them, so that it can be moved and copied: never as an absolute path to itself."""

import json
import os
from pathlib import Path
from typing import Any

from safe_dnn.store.database import DATABASE_FILE, append, changing, present, reading

NEW_PLACE = "new place of a folder"
"""The kind of an entry: what lay in a folder lies in another one by now."""


def relative(path: str | os.PathLike, folder: Path) -> str:
    """A path relative to the folder of an analysis, if it lies in or beside it; otherwise the absolute one.

    Links are not followed. An empty text stays empty.
    """
    if not os.fspath(path):
        return ""
    absolute_path, home = (os.path.abspath(one) for one in (path, folder))  # noqa: PTH100, links are not followed
    if absolute_path == home or absolute_path.startswith((f"{home}/", f"{os.path.dirname(home)}/")):  # noqa: PTH120
        return os.path.relpath(absolute_path, home)
    return absolute_path


def plain(value: Any, folder: Path) -> Any:
    """What JSON has of a field of a record: of a path the relative one, of a record in it an object."""
    if isinstance(value, Path):
        return relative(value, folder)
    if hasattr(value, "_asdict"):
        return value._asdict()
    return [plain(one, folder) for one in value] if isinstance(value, tuple) else value


def absolute(recorded_path: str, folder: Path) -> str:
    """The path that `relative` has recorded, where the analysis lies now."""
    if not recorded_path:
        return ""
    home = os.path.abspath(folder)  # noqa: PTH100
    found = os.path.abspath(Path(home, recorded_path))  # noqa: PTH100
    if os.path.lexists(found):
        return found
    there = (_replaced(found, old, new) for old, new in _new_places(home))
    return next((one for one in there if one and os.path.lexists(one)), found)


def point(folder: Path, old: Path, new: Path) -> None:
    """Record that what lay in a folder lies in another one by now."""
    with changing(folder) as db:
        append(db, NEW_PLACE, json.dumps(relative(old, folder)), relative(new, folder))


def _new_places(home: str) -> list[tuple[str, str]]:
    """The folders that lie elsewhere by now, the last said first: where each lay, and where it lies."""
    if not os.path.lexists(f"{home}/{DATABASE_FILE}"):
        return []
    with reading(Path(home)) as db:
        said = present(db, NEW_PLACE)
    places = [(json.loads(old), said[old]) for old in reversed(said)]
    return [(os.path.abspath(Path(home, old)), os.path.abspath(Path(home, new))) for old, new in places]  # noqa: PTH100


def _replaced(path: str, first: str, second: str) -> str | None:
    """A path in the first folder as one in the second; None if it is not in it."""
    return second + path[len(first) :] if f"{path}/".startswith(f"{first}/") else None


def recorded(path: str | os.PathLike, folder: Path) -> str:
    """What identifies a place: as `relative`, where it was first, with undecodable bytes of file names escaped."""
    at, home = (os.path.abspath(one) for one in (path, folder))  # noqa: PTH100
    first = next(filter(None, (_replaced(at, new, old) for old, new in _new_places(home))), at)
    return relative(first, folder).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
