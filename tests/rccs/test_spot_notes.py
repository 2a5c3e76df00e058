"""Notes on weak spots: about conditions, whatever run finds them."""

import csv
import dataclasses
import json
import os
import shutil

import numpy as np
import pytest

from rccs.clusters import save_clusters
from rccs.conditions import Literal
from rccs.spot_notes import (
    SpotNote,
    has_spot_notes,
    load_spot_notes,
    notes_of_run,
    set_spot_note,
)
from rccs.weak_spots import WeakSpot, spots_text
from reporting import history
from reporting.history import archive_run, list_runs, restore_run
from support.errors import SAFEError
from support.output_folder import save_files
from support.run_folder import CLUSTERS_FILE, RUN_FILE, RUNS_FOLDER, SPOT_NOTES_FILE, WEAK_SPOTS_FILE

DARK = (Literal("light", "<", 0.2),)
SHADES = (Literal("eyewear", "=", "sunglasses"), Literal("head_deg", "from", (350.0, 20.0)))
TEST, OTHER_TEST = "/data/test", "/data/other"


NOON = 1_714_564_800


def write(clusters, folder, minutes: int) -> None:
    save_clusters(clusters, folder)
    os.utime(folder / CLUSTERS_FILE, (NOON + 60 * minutes,) * 2)


def other(clusters, shift: int):
    return dataclasses.replace(clusters, labels=np.roll(clusters.labels, shift))


def spot(literals) -> WeakSpot:
    return WeakSpot(literals, 20, 12, 0.4, 0.8, 0.1)


def key(literals) -> str:
    return spot(literals).conditions


def find(folder, *conditions, tested: str = TEST) -> None:
    """What a run has found."""
    record = json.dumps({"predictions": {"tested": tested}})
    save_files(folder, {WEAK_SPOTS_FILE: spots_text([spot(each) for each in conditions]), RUN_FILE: record})


@pytest.fixture
def out(clusters, tmp_path):
    """A run that has found that darkness and sunglasses make the network fail."""
    folder = tmp_path / "out"
    folder.mkdir()
    write(clusters, folder, 0)
    find(folder, DARK, SHADES)
    return folder


def note(literals=DARK, *, tested: str = TEST, **fields) -> SpotNote:
    return SpotNote(key(literals), tested, **fields)


def replace(clusters, folder, minutes: int, *conditions, tested: str = TEST) -> str | None:
    """A new run, as `pipeline.generation.generate_clusters` replaces one."""
    name = archive_run(folder, successor=clusters)
    write(clusters, folder, minutes)
    find(folder, *conditions, tested=tested)
    return name


# --- What a note is about ---------------------------------------------------------------------------------------


def test_a_note_is_kept_with_its_conditions(out):
    kept = set_spot_note(out, note(name="night ", note="hazard H3", verdict="unsafe"))
    assert kept == (note(name="night", note="hazard H3", verdict="unsafe"), ())
    assert notes_of_run(out) == {key(DARK): kept.note}


def test_the_conditions_are_the_same_in_any_order_and_whole_or_not_whole_numbers():
    assert key(SHADES) == key(SHADES[::-1]) == '[["eyewear", "=", "sunglasses"], ["head_deg", "from", [350.0, 20.0]]]'
    assert key(DARK) != key((Literal("light", "<", 0.21),))
    assert key((Literal("größe", "=", "\udce9"),)).isascii()


def test_a_note_comes_back_whenever_the_condition_is_found_again_at_whatever_rank(clusters, out):
    set_spot_note(out, note(SHADES, name="shades"))
    replace(other(clusters, 1), out, 1, SHADES[::-1], DARK)
    assert notes_of_run(out) == {key(SHADES): note(SHADES, name="shades")}
    assert has_spot_notes(out)


def test_a_note_on_a_condition_that_is_not_found_any_more_is_kept_and_comes_back(clusters, out):
    set_spot_note(out, note(name="night"))
    replace(other(clusters, 1), out, 1, SHADES)
    assert not has_spot_notes(out)
    set_spot_note(out, note(SHADES, name="shades"))
    replace(other(clusters, 2), out, 2, DARK)
    assert notes_of_run(out)[key(DARK)].name == "night"
    assert notes_of_run(out)[key(SHADES)].name == "shades"


def test_the_same_words_about_another_test_set_are_another_condition(clusters, out):
    set_spot_note(out, note(name="night"))
    replace(other(clusters, 1), out, 1, DARK, tested=OTHER_TEST)
    assert notes_of_run(out) == {}
    set_spot_note(out, note(tested=OTHER_TEST, name="fog"))
    replace(other(clusters, 2), out, 2, DARK)
    assert notes_of_run(out)[key(DARK)].name == "night"


# --- Changes ----------------------------------------------------------------------------------------------------


def test_two_changes_are_combined_field_by_field_and_conflicts_told(out):
    seen = note()
    set_spot_note(out, note(name="night", verdict="unsafe"))
    kept = set_spot_note(out, note(name="dark", note="H3"), seen=seen)
    assert kept == (note(name="night", note="H3", verdict="unsafe"), ("name",))
    assert notes_of_run(out)[key(DARK)] == kept.note


def test_an_emptied_note_is_gone_but_its_row_stays(out):
    set_spot_note(out, note(name="night"))
    set_spot_note(out, note())
    assert notes_of_run(out) == {}
    assert not has_spot_notes(out)
    assert load_spot_notes(out) == {(key(DARK), TEST): note()}


def test_nothing_is_written_where_nothing_is_said(out):
    set_spot_note(out, note())
    assert not (out / SPOT_NOTES_FILE).exists()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (note(verdict="fatal"), "verdict must be"),
        (note(name="x" * 81), "A name may have 80"),
        (SpotNote("[]", TEST, "x"), "conditions must be"),
        (SpotNote("x", TEST, "x"), "conditions must be"),
        (SpotNote("[" * 100_000, TEST, "x"), "conditions must be"),
        (SpotNote('[["light", "<", 1' + "0" * 400 + "]]", TEST, "x"), "conditions must be"),
    ],
)
def test_what_is_no_note_is_refused(out, wrong, why):
    with pytest.raises(SAFEError, match=why):
        set_spot_note(out, wrong)
    assert not (out / SPOT_NOTES_FILE).exists()


# --- Earlier runs -----------------------------------------------------------------------------------------------


def test_notes_given_after_a_run_was_left_are_there_when_it_is_opened_again(clusters, out):
    set_spot_note(out, note(name="night", verdict="unclear"))
    set_spot_note(out, note(SHADES, name="shades"))
    first = replace(other(clusters, 1), out, 1, DARK)
    set_spot_note(out, note(name="night", verdict="unsafe"))
    set_spot_note(out, note(SHADES))
    restore_run(out, first)
    assert notes_of_run(out) == {key(DARK): note(name="night", verdict="unsafe")}


def test_notes_that_only_an_earlier_run_has_come_back_with_it(clusters, out):
    set_spot_note(out, note(name="night"))
    first = replace(other(clusters, 1), out, 1, DARK)
    (out / SPOT_NOTES_FILE).unlink()
    set_spot_note(out, note(SHADES, name="shades"))
    restore_run(out, first)
    assert {each.conditions: each.name for each in notes_of_run(out).values()} == {
        key(DARK): "night",
        key(SHADES): "shades",
    }


def test_a_run_with_notes_on_its_weak_spots_is_never_removed_to_make_room(clusters, out, monkeypatch):
    monkeypatch.setattr(history, "KEPT_RUNS", 1)
    set_spot_note(out, note(name="night"))
    found = [(SHADES,), (SHADES,), (DARK,), (SHADES,), (SHADES,)]
    names = [replace(other(clusters, i + 1), out, i + 1, *conditions) for i, conditions in enumerate(found)]
    there = {run.name for run in list_runs(out)}
    assert {names[0], names[3]} <= there, "darkness was found there"
    assert not {names[1], names[2]} & there


def test_a_run_with_notes_that_cannot_be_read_is_not_removed_either(out):
    (out / SPOT_NOTES_FILE).write_text("x")
    assert has_spot_notes(out)


# --- The file ---------------------------------------------------------------------------------------------------


def test_the_table_says_the_conditions_in_words_too_and_what_a_spreadsheet_would_run_is_escaped(out):
    evil = (Literal("=1+cmd", "=", "a"),)
    set_spot_note(out, note(evil, name="=HYPERLINK(1)", note="@x\n-y", verdict="safe"))
    with (out / SPOT_NOTES_FILE).open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row == {
        "conditions": '[["=1+cmd", "=", "a"]]', "where": "'=1+cmd = a", "name": "'=HYPERLINK(1)", "note": "'@x\n-y",
        "verdict": "safe", "tested": TEST,
    }  # fmt: skip
    assert notes_of_run(out) == {key(evil): note(evil, name="=HYPERLINK(1)", note="@x\n-y", verdict="safe")}


def test_a_table_that_a_spreadsheet_has_saved_is_read(out):
    set_spot_note(out, note(SHADES, name="Größe", verdict="safe"))
    with (out / SPOT_NOTES_FILE).open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    with (out / SPOT_NOTES_FILE).open("w", encoding="cp1252", newline="") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    assert notes_of_run(out) == {key(SHADES): note(SHADES, name="Größe", verdict="safe")}


DAMAGES = [
    ("conditions,", "condition,", "must begin with the column names conditions,where,name,note,verdict,tested"),
    ("0.2", "NaN", "line 2: conditions must be"),
    ("unsafe", "fatal", "line 2: verdict must be safe"),
]


@pytest.mark.parametrize(("old", "new", "why"), DAMAGES)
def test_a_damaged_table_is_an_error_in_a_sentence_and_left_as_it_is(clusters, out, old, new, why):
    set_spot_note(out, note(name="night", verdict="unsafe"))
    path = out / SPOT_NOTES_FILE
    path.write_text(path.read_text().replace(old, new))
    damaged = path.read_text()
    with pytest.raises(SAFEError, match=why):
        notes_of_run(out)
    with pytest.raises(SAFEError, match=why):
        set_spot_note(out, note(SHADES, name="shades"))
    first = replace(other(clusters, 1), out, 1, DARK)
    with pytest.raises(SAFEError, match=why):
        restore_run(out, first)
    assert path.read_text() == damaged
    assert (out / RUNS_FOLDER / first / SPOT_NOTES_FILE).read_text() == damaged


def test_two_rows_on_the_same_conditions_are_an_error(out):
    set_spot_note(out, note(name="night"))
    path = out / SPOT_NOTES_FILE
    path.write_text(path.read_text() + path.read_text().partition("\n")[2])
    with pytest.raises(SAFEError, match=r"line 3: the conditions light < 0\.2 have two rows"):
        notes_of_run(out)


def test_a_table_brought_from_another_folder_is_read_and_kept(clusters, out, tmp_path):
    set_spot_note(out, note(name="night"))
    folder = tmp_path / "new"
    folder.mkdir()
    save_clusters(clusters, folder)
    find(folder, SHADES)
    shutil.copyfile(out / SPOT_NOTES_FILE, folder / SPOT_NOTES_FILE)
    set_spot_note(folder, note(SHADES, name="shades"))
    assert {each.name for each in notes_of_run(folder).values()} == {"night", "shades"}
    assert {each.name for each in notes_of_run(out).values()} == {"night"}


def test_what_run_json_does_not_say_is_not_known(out):
    for record in ("{}", '{"predictions": 7}', "[]", "x"):
        (out / RUN_FILE).write_text(record)
        set_spot_note(out, note(tested="", name="night"))
        assert notes_of_run(out) == {key(DARK): note(tested="", name="night")}
