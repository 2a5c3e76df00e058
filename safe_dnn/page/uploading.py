"""What the browser brings: a button at each field takes images or a ZIP file, and fills in where they lie by now.

They lie in the analysis, so that they are taken home and deleted with it.
"""

import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import gradio as gr

from safe_dnn.page.assets import scripted
from safe_dnn.page.events import VIEW
from safe_dnn.page.messages import as_text, worded
from safe_dnn.page.paths import FIELDS
from safe_dnn.page.settings import PageSettings
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import PREDICTIONS_FILE, UPLOADS_FOLDER
from safe_dnn.support.uploads import Limits, put_in_place

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
