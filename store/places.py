"""Paths as an analysis records them, so that it can be moved and copied: never as an absolute path to itself.

An analysis may lie among other things, in the folder in which SAFE was started, and get a folder of its own there
later: then what stayed is recorded as it was before.
"""

import os
from pathlib import Path

MOVED_IN_FILE = ".safe-moved-in"
"""In an analysis that lay in the folder around it before, beside things that stayed there (see `store/places.py`)."""


def relative(path: str | os.PathLike, folder: Path) -> str:
    """A path relative to the folder of an analysis, if it lies in or beside it; otherwise the absolute one.

    Links are not followed. An empty text stays empty.
    """
    if not os.fspath(path):
        return ""
    absolute_path, home = (os.path.abspath(one) for one in (path, folder))  # noqa: PTH100, links are not followed
    if absolute_path != home and not absolute_path.startswith(f"{home}/"):
        home = _home_before(home)
    if absolute_path == home or absolute_path.startswith((f"{home}/", f"{os.path.dirname(home)}/")):  # noqa: PTH120
        return os.path.relpath(absolute_path, home)
    return absolute_path


def absolute(recorded_path: str, folder: Path) -> str:
    """The path that `relative` has recorded, where the analysis lies now."""
    if not recorded_path:
        return ""
    home = os.path.abspath(folder)  # noqa: PTH100
    here, before = (os.path.abspath(Path(one, recorded_path)) for one in (home, _home_before(home)))  # noqa: PTH100
    return before if os.path.lexists(before) and not os.path.lexists(here) else here


def _home_before(home: str) -> str:
    return os.path.dirname(home) if os.path.lexists(f"{home}/{MOVED_IN_FILE}") else home  # noqa: PTH120


def recorded(path: str | os.PathLike, folder: Path) -> str:
    """As `relative`, with undecodable bytes of file names escaped: the text names a place, and is not opened."""
    return relative(path, folder).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
