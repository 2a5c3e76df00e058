"""Saved views: what the map and the cards show, under a name. A small file in the analysis, which stays with new runs.

A view is the part of the page's address behind `#`, which a browser reads as it reads a link (see scripts/views.js).
"""

import json
from collections.abc import Mapping
from pathlib import Path

from support.entries import quoted
from support.errors import SAFEError
from support.files import read_record
from support.output_folder import save_text, writing
from support.run_folder import VIEWS_FILE
from support.text import printable

LONGEST_NAME = 60  # characters
LONGEST_VIEW = 8000
MOST_VIEWS = 200


def load_views(out: Path) -> dict[str, str]:
    """The views of an analysis by name, sorted; none if the file is missing or damaged."""
    views = read_record(out / VIEWS_FILE).get("views")
    views = views if isinstance(views, dict) else {}
    return {name: view for name, view in sorted(views.items()) if isinstance(view, str)}


def save_view(out: Path, typed: str, view: str, *, seen: str = "") -> dict[str, str]:
    """Keep a view under a name; all views.

    Parameters
    ----------
    seen : str
        The view of that name that may be replaced, empty for none: another one, which another window has saved, stays.

    Raises
    ------
    SAFEError
        The name is empty or too long, the view is too long, there is another one of that name, there are too many, or
        the file cannot be written.
    """
    name = " ".join(printable(typed).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise SAFEError(f"Expected a name of 1 to {LONGEST_NAME} characters. Received: {quoted(typed[:LONGEST_NAME])}")
    if len(view) > LONGEST_VIEW:
        raise SAFEError(
            f"Expected a view of up to {LONGEST_VIEW:,} characters. Received {len(view):,}. Filter by less."
        )
    with writing(out):
        views = load_views(out)
        if views.get(name, "") != seen:
            raise SAFEError(f"There is a view {quoted(name)} already. Save again to replace it, or change the name.")
        if name not in views and len(views) >= MOST_VIEWS:
            raise SAFEError(f"Expected up to {MOST_VIEWS} views. Delete one first.")
        return _written(out, {**views, name: view})


def delete_view(out: Path, name: str) -> dict[str, str]:
    """Forget a view, if it is there; the others.

    Raises
    ------
    SAFEError
        The file cannot be written.
    """
    with writing(out):
        views = load_views(out)
        return (
            _written(out, {other: view for other, view in views.items() if other != name}) if name in views else views
        )


def _written(out: Path, views: Mapping[str, str]) -> dict[str, str]:
    save_text(out, VIEWS_FILE, json.dumps({"views": dict(sorted(views.items()))}, indent=1, ensure_ascii=False) + "\n")
    return load_views(out)
