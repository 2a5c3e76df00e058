"""Saved views: what the map and the cards show, under a name. They are entries, which stay with new runs.

A view is the part of the page's address behind `#`, which a browser reads as it reads a link (see views.js).
"""

import sqlite3
from pathlib import Path

from store.database import changing, reading
from store.entries import append, present
from support.entries import quoted
from support.errors import SAFEError
from support.text import printable

VIEW = "view"
"""The kind of an entry: its subject is the name, its value the view, or None: it was deleted."""
LONGEST_NAME = 60  # characters
LONGEST_VIEW = 8000
MOST_VIEWS = 200


def load_views(out: Path) -> dict[str, str]:
    """The views of an analysis by name, sorted (SAFEError if the database is damaged)."""
    with reading(out) as db:
        return _views_in(db)


def _views_in(db: sqlite3.Connection) -> dict[str, str]:
    return {name: view for name, view in sorted(present(db, VIEW).items()) if view is not None}


def save_view(out: Path, typed: str, view: str, *, seen: str = "") -> dict[str, str]:
    """Keep a view under a name; all views.

    Parameters
    ----------
    seen : str
        The view of that name that may be replaced, empty for none: another one, which another window has saved, stays.

    Raises
    ------
    SAFEError
        The name is empty or too long, the view is too long, there is another one of that name, or there are too many.
    """
    name = " ".join(printable(typed).split())
    if not 0 < len(name) <= LONGEST_NAME:
        raise SAFEError(f"Expected a name of 1 to {LONGEST_NAME} characters. Received: {quoted(typed[:LONGEST_NAME])}")
    if len(view) > LONGEST_VIEW:
        raise SAFEError(
            f"Expected a view of up to {LONGEST_VIEW:,} characters. Received {len(view):,}. Filter by less."
        )
    with changing(out) as db:
        views = _views_in(db)
        if views.get(name, "") != seen:
            raise SAFEError(f"There is a view {quoted(name)} already. Save again to replace it, or change the name.")
        if name not in views and len(views) >= MOST_VIEWS:
            raise SAFEError(f"Expected up to {MOST_VIEWS} views. Delete one first.")
        append(db, VIEW, name, view)
        return _views_in(db)


def delete_view(out: Path, name: str) -> dict[str, str]:
    """Forget a view, if it is there; the others (SAFEError if the database cannot be written)."""
    with changing(out) as db:
        if name in _views_in(db):
            append(db, VIEW, name, None)
        return _views_in(db)
