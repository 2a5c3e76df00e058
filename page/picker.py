"""A dialog that shows the folders of this machine and puts the chosen path into a field, instead of typing it.

There is one for the whole page; its script adds a button to each field of `FIELDS`. (Gradio's FileExplorer has one
root, and no number of images.)
"""

import html
import json
from pathlib import Path
from typing import NamedTuple

import gradio as gr

from dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from page.folders import folder_at, list_folder
from page.jobs import PageSettings
from support.text import printable

HERE = Path(__file__).parent


class Kind(NamedTuple):
    """What a field takes: a folder or not, and files with these suffixes."""

    folder: bool
    suffixes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """For example `a folder or a .txt file`."""
        *others, last = self.suffixes or ("",)
        either = f"{', '.join(others)} or " if others else ""
        return " or ".join([*(["a folder"] if self.folder else []), *([f"a {either}{last} file"] if last else [])])


FOLDER = Kind(True)
IMAGES = Kind(True, (".txt",))
TABLE = Kind(False, (".csv",))
DETECTIONS = Kind(True, (".json",))
KERAS_MODEL = Kind(False, KERAS_SUFFIXES)
MODEL = Kind(False, (*KERAS_SUFFIXES, ONNX_SUFFIX))
FIELDS = {
    "failures-model": MODEL,
    "failures-answers": TABLE,
    "failures-truth": DETECTIONS,
    "failures-results": DETECTIONS,
    "failures-test": FOLDER,
    "failures-train": FOLDER,
    "failures-targets": TABLE,
    "images": IMAGES,
    "predictions": TABLE,
    "tested": FOLDER,
    "improvement": IMAGES,
    "select-model": Kind(False, (*MODEL.suffixes, *TABLE.suffixes)),
    "select-test": FOLDER,
    "classes-folder": FOLDER,
    "labels-table": TABLE,
    "model": KERAS_MODEL,
    "train": FOLDER,
    "test": FOLDER,
}
"""Fields by the id of their widget."""


def lay_out_picker(settings: PageSettings) -> None:
    """Lay out the dialog, which takes no room until it is opened."""
    root = settings.root

    def listed_folder(sent: list) -> str:
        """Called by the script with a field and a path: what is there, as JSON.

        The JSON is in ASCII, in which names pass that are not UTF-8.
        """
        try:
            field, typed = (str(part) for part in sent)
            kind = FIELDS[field]
        except (KeyError, TypeError, ValueError):
            return json.dumps({"problem": "Not done: the page sent something other than a path. Reload it."})
        place, sentence = folder_at(typed, root)
        listing = list_folder(place, root, kind.suffixes)
        return json.dumps(
            {
                "place": listing.place._asdict(),
                "above": [folder._asdict() for folder in listing.above],
                "entries": [entry._asdict() for entry in listing.entries],
                "notes": printable(" ".join(filter(None, (sentence, listing.notes)))),
                "takesFolders": kind.folder,
                "wanted": kind.words,
            }
        )

    template = HERE.joinpath("picker.html").read_text(encoding="utf-8")
    gr.HTML(
        html_template=template.replace("$FIELDS", html.escape(" ".join(FIELDS))),
        js_on_load=HERE.joinpath("scripts", "picker.js").read_text(encoding="utf-8"),
        server_functions=[listed_folder],
        elem_id="picker",
    )
