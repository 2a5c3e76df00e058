"""Entries: added, and read as they were written or not at all."""

import random
import shutil
from pathlib import Path

import pytest

from safe_dnn.store.database import DATABASE_FILE, append, changing, entries_of, present, reading, speaking
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


@pytest.mark.parametrize("n", [200, pytest.param(5_000, marks=pytest.mark.slow)])
def test_a_damaged_database_is_read_or_it_is_an_error_in_a_sentence(out, tmp_path, n):
    with changing(out) as db:
        for i in range(100):
            note = {"name": f"cause {i}", "note": "hazard H3 " * (i % 30)}
            append(db, KINDS[i % 2], f"{i} images", note, author=f"window {i}", run="one")
    data = (out / DATABASE_FILE).read_bytes()
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
            all_of(damaged)
        except SAFEError:
            found += 1
    assert 0 < found < n
