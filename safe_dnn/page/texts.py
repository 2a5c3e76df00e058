"""Texts as the page takes them: large values for its scripts, and errors that name the fields of its forms."""

import json

from safe_dnn.support.errors import SAFEError

FORM_LABELS = {
    "after": "The analysis before", "extractor": "Features", "features": "Own features",
    "hold_out": "Hold out a share", "labels": "Labels from a table",
    "only_labelled": "Leave out images without a label", "out": "Name of a new analysis", "partial": "Accept a part",
    "rescale": "Pixels given to the model", "targets": "Targets of a regression",
    "threshold": "Threshold of a regression", "trust_model": "The model may run code of its own",
}  # fmt: skip
"""By the field of an error."""


def worded(error: SAFEError | str) -> str:
    return error if isinstance(error, str) else error.named({field: f"“{FORM_LABELS[field]}”" for field in FORM_LABELS})


def as_text(value: object) -> str:
    """A value that a script parses itself.

    Gradio's page watches each item of a list or mapping that it holds, and copies all of them several times with every
    event that the widget takes part in: of 20,000 images that takes longer than anything else. A text is one item.
    """
    return json.dumps(value, separators=(",", ":"))
