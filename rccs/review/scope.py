"""The scope: what the engineer says of the analysis as a whole, whatever run is present. Step 2."""

import sqlite3
from pathlib import Path

from rccs.review.notes import Kept, Scope, keep_note
from store.database import changing, reading
from store.entries import Entry, present_entries


def load_scope(folder: Path) -> tuple[Scope, Entry | None]:
    """What is said, and the entry that said the last of it (SAFEError if the database is damaged)."""
    with reading(folder) as db:
        return read_scope(db), present_entries(db, "scope").get("")


def set_scope(folder: Path, scope: Scope, *, seen: Scope | None = None, by: str = "", run: str = "") -> Kept[Scope]:
    """Write the changed fields; `seen` and `by` as for `rccs.review.notes.keep_note`, `run` as for a weak spot."""
    with changing(folder) as db:
        return keep_note(db, "scope", "", scope, read_scope(db), seen=seen, by=by, run=run)


def read_scope(db: sqlite3.Connection) -> Scope:
    """As `load_scope`, within a transaction."""
    said = present_entries(db, "scope").get("")
    return Scope(*said.value["after"]) if said else Scope()
