"""A dialog that puts a path of this machine into a field, instead of typing it.

There is one for the whole page; its script adds a button to each field of `FIELDS`. (Gradio's FileExplorer has one
root, follows links out of it, and sends all names of a folder.)
"""

import json
from typing import NamedTuple

from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.page.assets import scripted
from safe_dnn.page.folders import folder_at, list_folder
from safe_dnn.page.settings import PageSettings
from safe_dnn.pipeline.reporting.markup import filled
from safe_dnn.support.text import printable


class Kind(NamedTuple):
    """What a field takes, in words: a folder or not, and files with these suffixes."""

    words: str
    folder: bool
    suffixes: tuple[str, ...] = ()


FOLDER = Kind("a folder", True)
IMAGES = Kind("a folder or a .txt file", True, (".txt",))
TABLE = Kind("a .csv file", False, (".csv",))
FEATURES = Kind("an .npz or .parquet file", False, (".npz", ".parquet"))
DETECTIONS = Kind("a folder or a .json file", True, (".json",))
KERAS_MODEL = Kind("a Keras model", False, KERAS_SUFFIXES)
MODEL = Kind("a Keras or ONNX model", False, (*KERAS_SUFFIXES, ONNX_SUFFIX))
MODEL_OR_TABLE = Kind("a model or a .csv file", False, (*MODEL.suffixes, *TABLE.suffixes))
_OF_KIND = {
    FOLDER: "failures-test failures-train failures-after tested select-test classes-folder train test final-test "
    "fresh-tested moved-to",
    IMAGES: "images improvement",
    TABLE: "failures-answers failures-targets predictions parameters labels-table fresh-predictions fresh-after",
    FEATURES: "features select-features",
    DETECTIONS: "failures-truth failures-results",
    KERAS_MODEL: "model",
    MODEL: "failures-model",
    MODEL_OR_TABLE: "select-model",
}
FIELDS = {field: kind for kind, fields in _OF_KIND.items() for field in fields.split()}
"""Fields by the id of their widget."""


def lay_out_picker(settings: PageSettings) -> None:
    """Lay out the dialog that shows folders, which takes no room until it is opened."""
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
        above, entries = ([one._asdict() for one in listed] for listed in (listing.above, listing.entries))
        notes = printable(" ".join(filter(None, (sentence, listing.notes))))
        place_shown = {"place": listing.place._asdict(), "above": above, "entries": entries, "notes": notes}
        return json.dumps({**place_shown, "takesFolders": kind.folder, "wanted": kind.words})

    template = filled("page/widgets/picker.html", fields=FIELDS)
    scripted("widgets/picker", "", html_template=template, serves={"listed_folder": listed_folder}, elem_id="picker")
