import dataclasses

from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.journal import Note, describe_edit
from safe_dnn.rccs.review.review import (
    load_review,
    load_spot_notes,
    merge_rccs,
    move_images,
    redo_edit,
    set_note,
    undo_edit,
)
from tests.helpers.reviewed import A, B, notes_in, said_in

# --- Notes ------------------------------------------------------------------------------------------------------


def test_notes_come_back_as_they_were_given(out):
    note = Note(1, '  "sunglasses", <b>at</b>\nnight ', "hazard H3;\r\nsee §4, ümläut 夜", "Unsafe")
    tidy = Note(1, '"sunglasses", <b>at</b> night', "hazard H3;\nsee §4, ümläut 夜", "unsafe")
    assert set_note(out, note) == tidy
    assert notes_in(out) == {1: tidy}
    set_note(out, Note(NOISE, note="odd ones"))
    assert list(notes_in(out)) == [NOISE, 1]
    assert set_note(out, Note(1)) == Note(1)
    assert notes_in(out) == {NOISE: Note(NOISE, note="odd ones")}  # an empty one says nothing


# --- What was said is taken back --------------------------------------------------------------------------------


def test_letters_that_are_typed_one_after_the_other_are_one_edit(out):
    for name in ("d", "da", "dar", "dark"):
        set_note(out, Note(0, name), maker=A)
    set_note(out, Note(1, "x"), maker=A)
    for name in ("dark", "dark b", "dark blue"):
        set_note(out, Note(0, name), maker=A)
    for note in ("h", "hazard"):
        set_note(out, Note(0, "dark blue", note), maker=A)
    set_note(out, Note(0, "dark blue", "hazard H3"), maker=B)
    assert said_in(out) == [
        "Named RCC 0 “dark”", "Named RCC 1 “x”", "Named RCC 0 “dark blue” (was “dark”)", "Wrote the note on RCC 0",
        "Changed the note on RCC 0",
    ]  # fmt: skip
    for note in (Note(0, "dark blue", "hazard"), Note(0, "dark blue"), Note(0, "dark")):
        assert undo_edit(out).notes[0] == note


def test_what_was_said_of_a_weak_spot_is_taken_back_too(out):
    run = load_review(out).run
    dark = Note(('[["light", "<", 0.2]]', "/data/test"))
    for change in ({"name": "night"}, {"verdict": "unsafe"}):
        before = load_spot_notes(out).get(dark.about, dark)
        set_note(out, before._replace(**change), maker=A, run=run)
    assert said_in(out) == ["Named light < 0.2 “night”", "Judged light < 0.2 unsafe"]
    undo_edit(out, maker=A)
    assert load_spot_notes(out)[dark.about] == dark._replace(name="night")
    undo_edit(out, maker=A)
    assert load_spot_notes(out)[dark.about] == dark
    redo_edit(out, maker=A)
    assert load_spot_notes(out)[dark.about].name == "night"


# --- From one clustering to the next ----------------------------------------------------------------------------


def test_images_of_the_same_names_in_another_folder_are_other_images(clusters, out, tmp_path):
    set_note(out, Note(0, "night"))
    merge_rccs(out, 2, 1)
    save_clusters(dataclasses.replace(clusters, image_root=tmp_path / "elsewhere"), out)
    elsewhere = load_review(out)
    assert (elsewhere.notes, elsewhere.edits) == ({}, ())
    assert elsewhere.clusters.labels.tolist() == clusters.labels.tolist()


def test_file_names_that_are_not_valid_unicode_survive_an_edit(clusters, out):
    odd = "sea_\udcff.png"
    changed = dataclasses.replace(clusters, paths=tuple(odd if p == "sea_00.png" else p for p in clusters.paths))
    save_clusters(changed, out)
    review = move_images(out, [odd], 1)
    assert odd in review.clusters.members(1)
    assert review.edits[0].images == (odd,)
    describe_edit(review.edits[0]).encode("utf-8")
    assert undo_edit(out).clusters.labels.tolist() == clusters.labels.tolist()
