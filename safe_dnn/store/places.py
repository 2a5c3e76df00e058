"""Paths as an analysis records them, so that it can be moved and copied, and the folders of images that SAFE writes.

No path leads from an analysis to itself as an absolute one. Of the folders `failures/`, and `objects/` with an image
for each unit, each has a hidden file with the names of all that SAFE wrote, so that nothing of others is ever replaced.
"""

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import numpy as np

from safe_dnn.store.database import DATABASE_FILE, append, changing, present, reading
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import encoded, put_back, read_arrays, read_record, replacing_folder
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, FAILURES_MARK
from safe_dnn.support.text import some

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


def plain(value: Any, folder: Path, arrays: dict[str, np.ndarray] | None = None) -> Any:
    """What JSON has of a value: of a path the relative one, of a record an object, of an array its name in `arrays`."""
    if isinstance(value, Path):
        return relative(value, folder)
    if isinstance(value, np.ndarray) and arrays is not None:
        arrays[name := f"array_{len(arrays)}"] = value
        return name
    if is_dataclass(value) or hasattr(value, "_asdict"):
        names = [field.name for field in fields(value)] if is_dataclass(value) else value._fields
        return {name: plain(getattr(value, name), folder, arrays) for name in names}
    return [plain(one, folder, arrays) for one in value] if isinstance(value, tuple) else value


def restored(kind: Any, value: Any, folder: Path, arrays: Mapping[str, np.ndarray] | None = None) -> Any:
    """What `plain` has been given, a value of this type: the reverse, where the analysis lies now."""
    if isinstance(kind, UnionType):  # with None
        return None if value is None else restored(kind.__args__[0], value, folder, arrays)
    if kind is Path:
        return Path(absolute(value, folder))
    if kind is np.ndarray:
        return (arrays or {})[value]
    if get_origin(kind) is tuple:
        return tuple(restored(get_args(kind)[0], one, folder, arrays) for one in value)
    if is_dataclass(kind) or hasattr(kind, "_fields"):
        of = _types_in(kind)
        return kind(**{name: restored(of[name], one, folder, arrays) for name, one in value.items()})
    return value


_types_in = functools.cache(get_type_hints)


def packed(value: Any, folder: Path) -> Callable[[Path], None]:
    """A function that writes a record to a file of arrays; one array has the rest as JSON."""
    arrays = dict[str, Any]()
    arrays["record"] = np.frombuffer(encoded(json.dumps(plain(value, folder, arrays))), np.uint8)
    return lambda path: np.savez(path, **arrays)


def unpacked(kind: Any, path: Path, folder: Path) -> Any:
    """What `packed` has written, a record of this type. Errors are those of `DAMAGED`."""
    arrays = read_arrays(path)
    return restored(kind, json.loads(arrays["record"].tobytes()), folder, arrays)


def absolute(recorded_path: str, folder: Path) -> str:
    """The path that `relative` has recorded, where the analysis lies now."""
    if not recorded_path:
        return ""
    home = os.path.abspath(folder)  # noqa: PTH100
    place = os.path.abspath(Path(home, recorded_path))  # noqa: PTH100
    if os.path.lexists(place):
        return place
    there = (_replaced(place, old, new) for old, new in _new_places(home))
    return next((one for one in there if one and os.path.lexists(one)), place)


def source_folder_of(image_root: Path) -> Path | None:
    """The test folder, in which the copies in a folder of failures have the same paths; None if SAFE made none."""
    made = image_root.name == FAILURES and (image_root.parent / FAILURES_FILE).is_file()
    return tested_by(image_root.parent) if made else None


def tested_by(folder: Path) -> Path | None:
    """The test folder that `accuracy.json` in a folder of failures names; None if there is none."""
    return _named_place(folder, "test_root")


def parameters_given(folder: Path) -> Path | None:
    """The table of parameters that was given when the failures in a folder were collected; None if none was."""
    return _named_place(folder, "parameters")


def test_set_of(folder: Path) -> Path | None:
    """What the failures in a folder are of: the test folder or, without images, the table of answers; None if none."""
    return tested_by(folder) or _named_place(folder, "model")


def _named_place(folder: Path, field: str) -> Path | None:
    path = read_record(folder / ACCURACY_FILE).get(field)
    return Path(absolute(path, folder)) if path and isinstance(path, str) else None


def point(folder: Path, old: Path, new: Path) -> None:
    """Record that what lay in a folder lies in another one by now."""
    with changing(folder) as db:
        append(db, NEW_PLACE, json.dumps(relative(old, folder)), relative(new, folder))


def _new_places(home: str) -> list[tuple[str, str]]:
    """The folders that have moved, the latest entry first: the old place and the new one."""
    if not os.path.lexists(f"{home}/{DATABASE_FILE}"):
        return []
    with reading(Path(home)) as db:
        moves = present(db, NEW_PLACE)
    places = [(json.loads(old), moves[old]) for old in reversed(moves)]
    return [(os.path.abspath(Path(home, old)), os.path.abspath(Path(home, new))) for old, new in places]  # noqa: PTH100


def _replaced(path: str, first: str, second: str) -> str | None:
    """A path in the first folder as one in the second; None if it is not in it."""
    return second + path[len(first) :] if f"{path}/".startswith(f"{first}/") else None


def recorded(path: str | os.PathLike, folder: Path) -> str:
    """What identifies a place: as `relative`, where it was first, with undecodable bytes of file names escaped."""
    at, home = (os.path.abspath(one) for one in (path, folder))  # noqa: PTH100
    first = next(filter(None, (_replaced(at, new, old) for old, new in _new_places(home))), at)
    return relative(first, folder).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


# --- Folders of images that SAFE writes ---------------------------------------------------------------------------


def names_in(folder: Path) -> frozenset[str]:
    """The images in a folder as SAFE wrote it; none if it did not, or the folder is gone."""
    try:
        text = (folder / FAILURES_MARK).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return frozenset()
    return frozenset(text.split("\n")) - {""}


@contextlib.contextmanager
def replacing_images(target: Path, then: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield a folder to fill with images, which then replaces `target`, with a hidden list of them.

    Parameters
    ----------
    target : Path
    then : callable, optional
        Called when the new folder is on the disk, right before it takes the place of `target`.

    Raises
    ------
    SAFEError
        `target` has files that SAFE did not write, or cannot be written.
    """
    check_replaceable(target)
    try:
        with replacing_folder(target) as new:
            yield new
            # The files written by SAFE, a path per line
            names = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if not path.is_dir())
            text = "".join(f"{name}\n" for name in names)
            (new / FAILURES_MARK).write_text(text, "utf-8", errors="surrogateescape")
            then()
    except OSError as error:
        raise SAFEError(f"Could not write {target}: {error.strerror or error}. Its content is unchanged.") from error


def check_replaceable(target: Path) -> None:
    """Refuse to replace a folder of images with files that SAFE did not write."""
    put_back(target)
    if not target.exists():
        return
    present = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()} - {FAILURES_MARK}
    foreign = sorted(present - names_in(target))
    if foreign or not target.is_dir():
        raise SAFEError(
            f"Expected {target} to be missing or written by SAFE. Received one with other files"
            f"{f' ({some(foreign, limit=2)})' if foreign else ''}. "
            "Choose another output folder."
        ).about("out")
