"""Large values for the scripts of the page, each as one text (JSON)."""

import json


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
