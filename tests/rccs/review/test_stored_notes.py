"""What people say is stored by the names of its fields: a new field moves nothing, and older files are read."""

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Annotated, NamedTuple, get_type_hints

import pytest

from safe_dnn.rccs.review import journal
from safe_dnn.rccs.review.journal import Field, Note, Scope
from safe_dnn.rccs.review.review import load_review, load_scope, load_spot_notes, set_note, undo_edit
from safe_dnn.store.database import DATABASE_FILE, FORMAT, reading
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.version import VERSION

TIME, CONDITIONS = "2026-11-30T10:00:00+00:00", '[["light", "<", 0.4]]'
SPOT = json.dumps([CONDITIONS, "../test"])
# As version 3 of the format had them: the places of a list say which field a text is of
EMPTY = [""] * 17
OF_SPOT = [CONDITIONS, "../test", "tunnel", "lamps\nare off", "unsafe", "H3", *[""] * 7, "J. Doe", "open", *[""] * 4]
OF_SCOPE = ["driver monitoring", *[""] * 7, "J. Doe", "A. Roe"]
# As version 4 has them
NAMED = {
    "about": [CONDITIONS, "../test"], "name": "tunnel", "note": "lamps\nare off", "verdict": "unsafe", "hazard": "H3",
    "owner": "J. Doe", "status": "open",
}  # fmt: skip
SYSTEM = {"system": "driver monitoring", "responsible": "J. Doe", "reviewer": "A. Roe"}

NOTE = Note((CONDITIONS, "../test"), "tunnel", "lamps\nare off", "unsafe", "H3", owner="J. Doe", status="open")
SCOPE = Scope("driver monitoring", responsible="J. Doe", reviewer="A. Roe")


def written(folder: Path, version: int, values: dict[str, tuple[str, dict]], *, wrote: str = "") -> Path:
    """A database of a format, with literal values by kind."""
    columns = ", version TEXT NOT NULL" if version > 3 else ""
    with contextlib.closing(sqlite3.connect(folder / DATABASE_FILE, isolation_level=None)) as db:
        db.executescript(
            "CREATE TABLE entry (number INTEGER PRIMARY KEY, time TEXT NOT NULL, window TEXT NOT NULL, "
            "engineer TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, run TEXT NOT NULL, "
            "value TEXT NOT NULL, "
            f"part_of INTEGER REFERENCES entry (number){columns});"
            "CREATE TABLE own_file (name TEXT PRIMARY KEY, digest TEXT NOT NULL, earlier TEXT NOT NULL);"
            f"PRAGMA application_id = {0x53414645}; PRAGMA user_version = {version};"
        )
        for number, (kind, (subject, value)) in enumerate(values.items(), 1):
            row = [number, TIME, "", "Ann", kind, subject, "", json.dumps(value), None, *[wrote] * (version > 3)]
            db.execute(f"INSERT INTO entry VALUES ({', '.join('?' * len(row))})", row)
    return folder


def format_of(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / DATABASE_FILE)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


def three(folder: Path) -> Path:
    spot = {"before": [CONDITIONS, "../test", *EMPTY], "after": OF_SPOT}
    scope = {"before": [""] * 10, "after": OF_SCOPE}
    return written(folder, 3, {"spot": (SPOT, spot), "scope": ("", scope), "tag": ("dark", {"image": "a.png"})})


def four(folder: Path) -> Path:
    spot = {"before": {"about": [CONDITIONS, "../test"]}, "after": NAMED}
    return written(folder, 4, {"spot": (SPOT, spot), "scope": ("", {"before": {}, "after": SYSTEM})}, wrote="2.11.0")


@pytest.mark.parametrize("write", [three, four])
def test_a_database_of_each_format_says_what_was_said(tmp_path, write):
    write(tmp_path)
    assert [*load_spot_notes(tmp_path).values()] == [NOTE]
    assert load_scope(tmp_path)[0] == SCOPE


def test_reading_leaves_an_older_file_as_it_is_and_the_first_change_rewrites_it(tmp_path):
    three(tmp_path)
    before = (tmp_path / DATABASE_FILE).read_bytes()
    assert load_scope(tmp_path)[0] == SCOPE
    assert (tmp_path / DATABASE_FILE).read_bytes() == before
    set_note(tmp_path, SCOPE._replace(use="by day"))
    assert format_of(tmp_path) == FORMAT == 4
    assert load_scope(tmp_path)[0] == SCOPE._replace(use="by day")
    assert [*load_spot_notes(tmp_path).values()] == [NOTE]
    with reading(tmp_path) as db:
        rows = db.execute("SELECT kind, value, version FROM entry ORDER BY number").fetchall()
    assert [(kind, version) for kind, _, version in rows] == [
        ("spot", ""),
        ("scope", ""),
        ("tag", ""),
        ("scope", VERSION),
    ]
    assert json.loads(rows[0][1])["after"] == NAMED
    assert json.loads(rows[2][1]) == {"image": "a.png"}, "which had names"
    assert json.loads(rows[3][1]) == {"before": SYSTEM, "after": {**SYSTEM, "use": "by day"}}


def test_an_older_file_that_cannot_be_written_is_read(tmp_path):
    three(tmp_path)
    (tmp_path / DATABASE_FILE).chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert [*load_spot_notes(tmp_path).values()] == [NOTE]
    finally:
        tmp_path.chmod(0o755)


def test_a_damaged_note_of_an_older_file_is_told_and_nothing_is_changed(tmp_path):
    written(tmp_path, 3, {"scope": ("", {"before": [""] * 10, "after": ["one", "two"]})})
    before = (tmp_path / DATABASE_FILE).read_bytes()
    for use in (load_scope, lambda folder: set_note(folder, SCOPE)):
        with pytest.raises(SAFEError, match="entry 1 cannot be read"):
            use(tmp_path)
    assert (tmp_path / DATABASE_FILE).read_bytes() == before


def test_a_field_of_a_later_version_is_refused_by_its_name_and_who_wrote_it(tmp_path):
    value = {"before": {}, "after": {**SYSTEM, "due": "May"}}
    written(tmp_path, 4, {"scope": ("", value)}, wrote="3.1.0")
    with pytest.raises(SAFEError, match=r"Received: due, written by version 3\.1\.0 of SAFE"):
        load_scope(tmp_path)


class Longer(NamedTuple):
    """A note with a new field in the middle."""

    about: object
    name: Annotated[str, Field("A name", longest=80)] = ""
    due: Annotated[str, Field("Due", "May")] = ""
    note: Annotated[str, Field("A note", lines=True)] = ""
    verdict: str = ""
    hazard: str = ""
    owner: str = ""
    status: str = ""


@pytest.mark.parametrize("write", [three, four])
def test_a_new_field_in_the_middle_moves_nothing(tmp_path, write, monkeypatch):
    assert "due" in get_type_hints(Longer)
    monkeypatch.setattr(journal, "Note", Longer)
    with reading(write(tmp_path)) as db:
        (entry,) = journal.entries(db, "kind = 'spot'")
    note = journal.note_of(entry)
    assert (note.name, note.due, note.note, note.owner, note.status) == (
        "tunnel",
        "",
        "lamps\nare off",
        "J. Doe",
        "open",
    )


def test_notes_on_rccs_and_what_is_undone_are_stored_by_name_as_well(explained):
    out = explained.out
    set_note(out, Note(1, "snow", owner="J. Doe"))
    set_note(out, Note(1, "snow", owner="A. Roe"))
    with reading(out) as db:
        *_, (value,) = db.execute("SELECT value FROM entry WHERE kind = 'rcc' ORDER BY number").fetchall()
    assert json.loads(value) == {
        "before": {"about": 1, "name": "snow", "owner": "J. Doe"},
        "after": {"about": 1, "name": "snow", "owner": "A. Roe"},
    }  # fmt: skip
    undo_edit(out)
    assert load_review(out).notes[1] == Note(1, "snow", owner="J. Doe")
