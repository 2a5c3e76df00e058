"""Fields for paths: the browser suggests what lies in the folder that is typed, or brings images itself.

(Gradio's FileExplorer has one root, follows links out of it, and sends all names of a folder.) A button at each field
takes images or a ZIP file, and fills in where they lie by now: in the analysis, so that they are taken home and deleted
with it.
"""

import contextlib
import itertools
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.page.assets import FORMS, VIEW, scripted
from safe_dnn.page.messages import as_text, worded
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.errors import SAFEError, is_within, path_of
from safe_dnn.support.run_folder import PREDICTIONS_FILE, UPLOADS_FOLDER
from safe_dnn.support.uploads import Limits, put_in_place


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


# --- What the browser brings --------------------------------------------------------------------------------------

LEAST_FREE = 2 * 2**30  # bytes of the disk that uploads leave to all that is written otherwise
IN_AN_HOUR = 3  # times what may be kept: Gradio holds what is brought for up to an hour


def lay_out_upload(settings: PageSettings, limits: Limits) -> None:
    """Lay out the button that the script presses, once for all fields."""
    taken = {
        field: [*((".zip",) if kind.folder else ()), *(one for one in kind.suffixes if one in limits.suffixes)]
        for field, kind in FIELDS.items()
    }
    shown = scripted(
        "widgets/upload", "", fields={field: ",".join(kinds) for field, kinds in taken.items() if kinds},
        images={field: kind.folder for field, kind in FIELDS.items()}, brought="", elem_id="upload",
        hosted=settings.hosted,
    )  # fmt: skip
    button = gr.UploadButton("Upload", file_count="multiple", visible="hidden", elem_id="upload-files")

    def on_upload(files: Sequence[str]) -> gr.HTML:
        return gr.HTML(brought=as_text(_put(settings, [Path(file) for file in files])))

    button.upload(on_upload, button, shown, **VIEW)


def _put(settings: PageSettings, files: Sequence[Path]) -> dict[str, str]:
    """Put files that Gradio has received into the analysis; where they lie by now, or why not."""
    try:
        uploaded = put_in_place(files, settings.out / UPLOADS_FOLDER, room(settings))
    except SAFEError as error:
        return {"problem": worded(error)}
    finally:
        for file in files:
            file.unlink(missing_ok=True)
    beside = (place / PREDICTIONS_FILE for place in (uploaded.path, uploaded.path.parent))
    top = settings.out / UPLOADS_FOLDER
    answers = next((place for place in beside if place.parent != top and place.is_file()), "")
    return {"path": os.fspath(uploaded.path), "notes": uploaded.notes, "answers": os.fspath(answers)}


def room(settings: PageSettings) -> Limits:
    """What may be brought: less where the workspace, or the disk, is nearly full."""
    limits, home = settings.uploads, settings.home or settings.out
    assert limits
    free = shutil.disk_usage(home).free - LEAST_FREE
    if free <= 0:
        raise SAFEError("The disk of this machine is nearly full, and takes no more images. Try again later.")
    taken = _bytes_in(home) + _bytes_in(settings.cache) if settings.cache else 0
    if taken >= limits.bytes:
        raise SAFEError(
            f"Expected up to {limits.bytes / 2**30:.3g} GiB in all analyses. Received more. Take home what is needed, "
            "then delete everything, in the list of analyses."
        )
    return limits._replace(bytes=min(limits.bytes - taken, free))


def _bytes_in(folder: Path) -> int:
    total = 0
    for inner, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(inner, name)).st_size  # noqa: PTH118, of tens of thousands
            except OSError:  # gone meanwhile
                continue
    return total


class Brought:
    """How much each visitor has sent in this hour, before a byte is received."""

    def __init__(self) -> None:
        self._hour, self._bytes = 0, Counter[Path]()

    def take_in(self, settings: PageSettings, number: int) -> None:
        """Count bytes that are about to come; a SAFEError where there is no room for them."""
        if (hour := int(time.time() // 3600)) != self._hour:
            self._hour, self._bytes = hour, Counter()
        limits, home = room(settings), settings.home or settings.out
        if number > limits.bytes or self._bytes[home] + number > IN_AN_HOUR * limits.bytes:
            raise SAFEError("There is no room for so much. Choose fewer files, or try again in an hour.")
        self._bytes[home] += number
