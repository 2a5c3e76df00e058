"""Texts as the page takes them: large values for its scripts, and sentences that name its fields, not options."""

import json
import re

FIELDS = {
    "group": "Groups", "hold-out": "Hold out a share", "labels": "Labels from a table", "partial": "Accept a part",
    "only-labelled": "Leave out images without a label", "predictions": "Predictions",
    "rescale": "Pixels given to the model", "set-aside": "Set aside", "targets": "Targets of a regression",
    "tested": "Test images", "threshold": "Threshold of a regression",
    "trust-model": "The model may run code of its own",
}  # fmt: skip
"""By the option of the command line."""
_NAMES = "|".join(FIELDS)
_ASIDE = re.compile(rf" \(--(?:{_NAMES}|aim|images|out|test)\b[^)]*\)")
_OPTION = re.compile(rf"--({_NAMES})\b")
_ANOTHER_FOLDER = re.compile(r"(?:Choose|Name) another(?: output)?(?: folder| one)? with --out\.")


def in_fields(text: str) -> str:
    """A sentence that may have been written for the command line too."""
    text = _ANOTHER_FOLDER.sub("Make another analysis.", _ASIDE.sub("", text))
    return _OPTION.sub(lambda found: f"“{FIELDS[found[1]]}”", text)


def as_text(value: object) -> str:
    """A value that a script parses itself.

    Gradio's page watches each item of a list or mapping that it holds, and copies all of them several times with every
    event that the widget takes part in: of 20,000 images that takes longer than anything else. A text is one item.
    """
    return json.dumps(value, separators=(",", ":"))


def as_news(run: str, at: int, entries: list) -> str:
    """Entries of a list, for a script that knows by when they were read which are newer (see `newest` in parts.js).

    Parameters
    ----------
    run, at
        Of the `Shown` that they are from.
    """
    return as_text({"run": run, "at": at, "entries": entries})
