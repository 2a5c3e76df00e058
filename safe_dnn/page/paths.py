"""Fields for paths of this machine, in which a browser suggests what lies in the folder that is typed.

(Gradio's FileExplorer has one root, follows links out of it, and sends all names of a folder.)
"""

import contextlib
import itertools
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import NamedTuple

from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.page.assets import FORMS, scripted
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.errors import SAFEError, is_within, path_of


class Kind(NamedTuple):
    """What a field takes: a folder or not, and files with these suffixes."""

    folder: bool
    suffixes: tuple[str, ...] = ()


_TABLES, _MODELS = (".csv",), (*KERAS_SUFFIXES, ONNX_SUFFIX)
KINDS = {
    "folder": Kind(True), "images": Kind(True, (".txt",)), "table": Kind(False, _TABLES),
    "detections": Kind(True, (".json",)), "features": Kind(False, (".npz", ".parquet")),
    "keras model": Kind(False, KERAS_SUFFIXES), "model": Kind(False, _MODELS),
    "model or table": Kind(False, (*_MODELS, *_TABLES)),
}  # fmt: skip
"""By what `fields.toml` says that a field takes."""
FIELDS = {
    field["elem_id"]: KINDS[field["takes"]] for form in FORMS.values() for field in form.values() if "takes" in field
}
"""Fields by the id of their widget."""


def lay_out_paths(settings: PageSettings) -> None:
    """Lay out the list of suggestions, which a browser shows."""
    root = settings.root

    def paths_beside(sent: object) -> str:
        """Called by the script with a field and what is typed there: paths, as JSON.

        The JSON is in ASCII, in which names pass that are not UTF-8.
        """
        field, typed = map(str, sent) if isinstance(sent, list) and len(sent) == 2 else ("", "")
        place = folder_of(typed, root) if field in FIELDS else None
        return json.dumps(list_folder(place, root, FIELDS[field].suffixes) if place else [])

    fields = ", ".join(f"#{field}" for field in FIELDS)
    template = "<datalist id='suggested-paths'></datalist>"
    scripted(
        "widgets/paths", "", html_template=template, serves={"paths_beside": paths_beside}, fields=fields,
        elem_id="paths",
    )  # fmt: skip


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
