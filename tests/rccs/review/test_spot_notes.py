"""Notes on weak spots: about conditions, whatever run finds them."""

import dataclasses
import os

import numpy as np
import pytest

from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_spot_notes, notes_elsewhere, notes_of_run, set_note
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import Reasons, save_reasons
from safe_dnn.store.database import last_number, reading
from safe_dnn.support.errors import SAFEError
from tests.helpers.spots import weak_spot

DARK = (Literal("light", "<", 0.2),)
SHADES = (Literal("eyewear", "=", "sunglasses"), Literal("head_deg", "from", (350.0, 20.0)))
TEST, OTHER_TEST = "/data/test", "/data/other"


def other(clusters, shift: int):
    return dataclasses.replace(clusters, labels=np.roll(clusters.labels, shift))


def spot(literals) -> WeakSpot:
    return weak_spot(literals, 20, 12, 0.4, 0.8, 0.1)


def key(literals) -> str:
    return spot(literals).conditions


def find(clusters, folder, *conditions, tested: str = TEST) -> None:
    """Clusters, and the weak spots that were found with them."""
    run = save_clusters(clusters, folder, extra={"predictions": {"tested": tested}})
    spots = tuple(spot(each) for each in conditions)
    save_reasons(Reasons(spots, tuple(np.arange(2) for _ in spots), None, 0.3), clusters, folder, run)


@pytest.fixture
def out(clusters, tmp_path):
    """A run that has found that darkness and sunglasses make the network fail."""
    folder = tmp_path / "out"
    folder.mkdir()
    find(clusters, folder, DARK, SHADES)
    return folder


def note(literals=DARK, *, tested: str = TEST, **fields) -> Note:
    return Note((key(literals), tested), **fields)


# --- What a note is about ---------------------------------------------------------------------------------------


def test_the_conditions_are_the_same_in_any_order_and_whole_or_not_whole_numbers():
    assert key(SHADES) == key(SHADES[::-1]) == '[["eyewear", "=", "sunglasses"], ["head_deg", "from", [350.0, 20.0]]]'
    assert key(DARK) != key((Literal("light", "<", 0.21),))
    assert key((Literal("größe", "=", "\udce9"),)).isascii()


def test_a_note_on_a_condition_that_is_not_found_any_more_is_kept_and_comes_back_at_whatever_rank(clusters, out):
    set_note(out, note(name="night"))
    find(other(clusters, 1), out, SHADES)
    assert notes_elsewhere(notes_of_run(out), [key(SHADES)]) == 1
    set_note(out, note(SHADES, name="shades"))
    find(other(clusters, 2), out, SHADES[::-1], DARK)
    assert notes_of_run(out)[key(DARK)].name == "night"
    assert notes_of_run(out)[key(SHADES)].name == "shades"


def test_the_same_words_about_another_test_set_are_another_condition(clusters, out):
    set_note(out, note(name="night"))
    find(other(clusters, 1), out, DARK, tested=OTHER_TEST)
    assert notes_of_run(out) == {}
    set_note(out, note(tested=OTHER_TEST, name="fog"))
    find(other(clusters, 2), out, DARK)
    assert notes_of_run(out)[key(DARK)].name == "night"


# --- Changes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (note(verdict="fatal"), "verdict must be"), (note(name="x" * 81), "A name may have 80"),
        (Note(("[]", TEST), "x"), "conditions must be"), (Note(("[" * 100_000, TEST), "x"), "conditions must be"),
        (Note(('[["light", "<", 1' + "0" * 400 + "]]", TEST), "x"), "conditions must be"),
    ],
)  # fmt: skip
def test_what_is_no_note_is_refused(out, wrong, why):
    with pytest.raises(SAFEError, match=why):
        set_note(out, wrong)
    with reading(out) as db:
        assert last_number(db, "spot") == 0


def test_conditions_and_notes_may_hold_anything(out):
    evil = (Literal('=1+cmd, "größe"', "=", "a\0\udce9"),)
    said = note(evil, tested="/data/caf\udce9", name="=HYPERLINK(1)", note="@x\n-y 夜", verdict="safe")
    set_note(out, said)
    assert load_spot_notes(out) == {(key(evil), "/data/caf\udce9"): said}


def test_a_test_set_beside_the_analysis_is_the_same_where_both_were_moved_to(clusters, out, tmp_path):
    find(clusters, out, DARK, tested=os.fspath(tmp_path / "test"))
    set_note(out, note(tested="../test", name="night"))
    moved = tmp_path / "moved"
    moved.mkdir()
    out.rename(moved / "out")
    assert notes_of_run(moved / "out") == {key(DARK): note(tested="../test", name="night")}
