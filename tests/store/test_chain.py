"""Entries: added, never changed, and found out if they were."""

import contextlib
import random
import shutil
import sqlite3
from pathlib import Path

import pytest

from safe_dnn.store.chain import append, check_entries, entries_of, present, speaking
from safe_dnn.store.database import DATABASE_FILE, changing, reading
from safe_dnn.support.errors import SAFEError

KINDS = ("rcc", "merge")


@pytest.fixture
def out(tmp_path):
    """Six entries: on two runs, of two kinds, one of them part of another."""
    with changing(tmp_path) as db:
        append(db, "rcc", "a", {"name": "night"}, author="ann", run="one")
        append(db, "rcc", "b", {"name": "snow, é \udce9"}, author="bob", run="one")
        merge = append(db, "merge", "", {"of": [1, 2]}, author="ann", run="one")
        append(db, "rcc", "a", {"name": "dark"}, author="ann", run="one", part_of=merge)
        append(db, "rcc", "a", {"name": "dusk"}, run="two")
        append(db, "merge", "", [1, None, "x"], run="two")
    return tmp_path


def all_of(folder: Path) -> list:
    with reading(folder) as db:
        return [*entries_of(db, "one", KINDS), *entries_of(db, "two", KINDS), present(db, "rcc"), present(db, "merge")]


def test_what_is_said_has_the_name_of_whoever_speaks(tmp_path):
    with changing(tmp_path) as db, speaking(" Ann\n Lee"):
        append(db, "rcc", "a", {}, author="window", run="one")
        with speaking(""):
            append(db, "rcc", "a", {}, run="one")
    with reading(tmp_path) as db:
        spoken = [(entry.window, entry.engineer) for entry in entries_of(db, "one", ("rcc",))]
    assert spoken == [("window", "Ann Lee"), ("", "")]


CHANGES = {
    "UPDATE entry SET value = '{\"name\": \"day\"}' WHERE number = 2": 2,
    "UPDATE entry SET author = 'bob' WHERE number = 1": 1,
    "UPDATE entry SET part_of = NULL WHERE number = 4": 4,
    "UPDATE entry SET digest = 'x' WHERE number = 6": 6,
    "UPDATE entry SET subject = X'61' WHERE number = 1": 1,  # as bytes
    "DELETE FROM entry WHERE number = 2": 2,
    "UPDATE entry SET number = 7 WHERE number = 6": 6,
    "INSERT INTO entry SELECT 7, time, author, kind, subject, run, value, NULL, digest FROM entry WHERE number = 6": 7,
    "INSERT INTO entry SELECT 0, time, author, kind, subject, run, value, NULL, digest FROM entry WHERE number = 6": 0,
    # Exchanged, and one put in between.
    "UPDATE entry SET number = -2 WHERE number = 1; UPDATE entry SET number = 1 WHERE number = 2; "
    "UPDATE entry SET number = 2 WHERE number = -2": 1,
    "UPDATE entry SET number = -number WHERE number > 4; UPDATE entry SET number = 1 - number WHERE number < 0; "
    "INSERT INTO entry SELECT 5, time, author, kind, subject, run, value, NULL, digest FROM entry WHERE number = 4": 5,
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_an_entry_that_was_changed_removed_added_in_between_or_exchanged_is_named(out, change):
    check_entries(out)
    with contextlib.closing(sqlite3.connect(out / DATABASE_FILE)) as db:
        db.executescript("DROP TRIGGER entry_is_never_changed; DROP TRIGGER entry_is_never_removed;" + change)
        db.commit()
    with pytest.raises(
        SAFEError, match=rf"analysis\.db: it is damaged \(entry {CHANGES[change]} is not as it was written\)"
    ):
        check_entries(out)


@pytest.mark.parametrize("n", [200, pytest.param(5_000, marks=pytest.mark.slow)])
def test_of_a_damaged_database_what_was_said_is_read_as_it_was_or_it_is_an_error(out, tmp_path, n):
    with changing(out) as db:
        for i in range(100):
            note = {"name": f"cause {i}", "note": "hazard H3 " * (i % 30)}
            append(db, KINDS[i % 2], f"{i} images", note, author=f"window {i}", run="one")
    before, data = all_of(out), (out / DATABASE_FILE).read_bytes()
    draw = random.Random(n)
    damaged = tmp_path / "damaged"
    found = 0
    for _ in range(n):
        # Half of them where the schema and the first entries are.
        place = draw.randrange(len(data) if draw.random() < 0.5 else 12_288)
        flipped = bytearray(data)
        flipped[place] ^= draw.randrange(1, 256)
        shutil.rmtree(damaged, ignore_errors=True)
        damaged.mkdir()
        (damaged / DATABASE_FILE).write_bytes(flipped)
        try:
            now = all_of(damaged)
            check_entries(damaged)
        except SAFEError:
            found += 1
        else:
            assert now == before, f"byte {place} is {flipped[place]}"
    assert 0.2 * n < found < n
