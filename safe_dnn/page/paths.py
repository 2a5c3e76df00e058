"""Fields for paths of this machine, in which a browser suggests what lies in the folder that is typed.

(Gradio's FileExplorer has one root, follows links out of it, and sends all names of a folder.)
"""

import json
from typing import NamedTuple

from safe_dnn.dnn.model import KERAS_SUFFIXES, ONNX_SUFFIX
from safe_dnn.page.assets import scripted
from safe_dnn.page.folders import folder_of, list_folder
from safe_dnn.page.settings import PageSettings


class Kind(NamedTuple):
    """What a field takes: a folder or not, and files with these suffixes."""

    folder: bool
    suffixes: tuple[str, ...] = ()


FOLDER = Kind(True)
IMAGES = Kind(True, (".txt",))
TABLE = Kind(False, (".csv",))
DETECTIONS = Kind(True, (".json",))
FEATURES = Kind(False, (".npz", ".parquet"))
KERAS_MODEL = Kind(False, KERAS_SUFFIXES)
MODEL = Kind(False, (*KERAS_SUFFIXES, ONNX_SUFFIX))
MODEL_OR_TABLE = Kind(False, (*MODEL.suffixes, *TABLE.suffixes))
_OF_KIND = {
    FOLDER: "failures-test failures-train failures-after tested select-test classes-folder train test final-test "
    "fresh-tested moved-to",
    IMAGES: "images improvement",
    TABLE: "failures-answers failures-targets predictions parameters labels-table fresh-predictions fresh-after",
    DETECTIONS: "failures-truth failures-results",
    FEATURES: "features select-features",
    KERAS_MODEL: "model",
    MODEL: "failures-model",
    MODEL_OR_TABLE: "select-model",
}
FIELDS = {field: kind for kind, fields in _OF_KIND.items() for field in fields.split()}
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
