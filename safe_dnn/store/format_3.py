"""The format of `analysis.db` before the present one: notes were lists, whose places said which field a text is of.

In: a database of format 3, within a transaction or a copy of it. Out: the same in format 4, with each note by the names
of its fields, and a column for the version of SAFE that wrote an entry. What is written here never changes.
"""

import json
import sqlite3

BEFORE = 3

_ON_REASON = (
    "name", "note", "verdict", "hazard", "trigger", "insufficiency", "severity", "exposure", "criterion", "measure",
    "ticket", "owner", "status", "residual", "hypothesis", "refutation", "belief",
)  # fmt: skip
_ON_ANALYSIS = (
    "system", "use", "domain", "training", "tested", "improvement", "fresh", "hazards", "responsible", "reviewer",
)  # fmt: skip


def rewrite(db: sqlite3.Connection) -> None:
    """Give all entries the present form; sqlite3.DatabaseError if one is damaged."""
    db.execute("ALTER TABLE entry ADD COLUMN version TEXT NOT NULL DEFAULT ''")
    notes = db.execute("SELECT number, kind, value FROM entry WHERE kind IN ('rcc', 'spot', 'scope')").fetchall()
    for number, kind, text in notes:
        try:
            value = {when: _named(kind, row) for when, row in json.loads(text).items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise sqlite3.DatabaseError(f"entry {number} cannot be read") from error
        db.execute("UPDATE entry SET value = ? WHERE number = ?", (json.dumps(value), number))


def _named(kind: str, row: list) -> dict[str, object]:
    """A note by the names of its fields, without empty ones."""
    if kind == "scope":
        return _filled(_ON_ANALYSIS, row)
    about, texts = (row[0], row[1:]) if kind == "rcc" else (row[:2], row[2:])
    return {"about": about, **_filled(_ON_REASON, texts)}


def _filled(names: tuple[str, ...], texts: list) -> dict[str, object]:
    return {name: text for name, text in zip(names, texts, strict=True) if text}
