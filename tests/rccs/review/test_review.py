import dataclasses
import threading

import numpy as np
import pytest

from safe_dnn.rccs.clusters import LABELS_FILE, rccs_of, save_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.edits import Maker, judge_rccs, merge_rccs, move_images, new_rcc, redo_edit, undo_edit
from safe_dnn.rccs.review.journal import Edit, describe_edit, reviewed, standing
from safe_dnn.rccs.review.notes import Note, title
from safe_dnn.rccs.review.review import all_edits, load_review, load_spot_notes, rcc_by_now, set_note
from safe_dnn.support.errors import SAFEError


def merge(rcc: int, into: int) -> Edit:
    return Edit(0, "2024-05-01T12:00:00+00:00", "merge", (), (rcc,), into)


def move(path: str, source: int, to: int) -> Edit:
    return Edit(0, "2024-05-01T12:00:00+00:00", "move", (path,), (source,), to)


def undo(number: int) -> Edit:
    return Edit(0, "2024-05-01T12:00:00+00:00", "undo", of=number)


def redo(number: int) -> Edit:
    return Edit(0, "2024-05-01T12:00:00+00:00", "redo", of=number)


def journal(*edits: Edit) -> tuple[Edit, ...]:
    """The edits, numbered from 1."""
    return tuple(edit._replace(number=number) for number, edit in enumerate(edits, start=1))


def notes_in(folder) -> dict[int, Note]:
    return load_review(folder).notes


def nth(folder, place: int) -> int:
    """The number of what was done in this place, counted from 1."""
    return all_edits(folder, load_review(folder))[place - 1].number


def said_in(folder, by: str | None = None) -> list[str]:
    """The list of all that was done and said; perhaps by one author alone."""
    edits = all_edits(folder, load_review(folder))
    return [describe_edit(edit, edits) for edit in edits if by in (None, edit.by)]


# --- RCCs with edits applied ------------------------------------------------------------------------------------


def test_a_merged_rcc_disappears_and_no_other_id_changes(clusters):
    merged = reviewed(clusters, journal(merge(0, 1)))
    assert merged.groups == [1, 2, NOISE]
    assert rccs_of(merged) == [1, 2]
    assert merged.members(1) == sorted([*clusters.members(0), *clusters.members(1)])
    assert merged.members(2) == clusters.members(2)
    assert merged.is_core.tolist() == clusters.is_core.tolist()
    assert merged.sizes.tolist() == [0, 18, 6]
    assert clusters.groups == [0, 1, 2, NOISE]  # the input is as it was


def test_a_merged_rcc_reaches_to_its_farthest_image_and_the_others_as_far_as_before(clusters):
    merged = reviewed(clusters, journal(merge(2, 1)))
    rows = np.flatnonzero(np.isin(clusters.labels, (1, 2)))
    cores = rows[clusters.is_core[rows]]
    nearest = [
        min(np.linalg.norm(clusters.points[row].astype(float) - clusters.points[core]) for core in cores if core != row)
        for row in rows
    ]
    assert len(merged.reach) == merged.n_rccs == 2
    assert merged.reach[1] == pytest.approx(max(nearest), abs=1e-4)
    assert merged.reach[0] == clusters.reach[0]


def test_an_image_moved_to_an_rcc_is_a_core_point_that_does_not_widen_its_reach(clusters):
    plain = reviewed(clusters, journal(move("wood_00.png", 2, NOISE), move("wood_00.png", NOISE, 2)))
    moved = reviewed(clusters, journal(move("sea_00.png", NOISE, 2), move("snow_07.png", 1, 2)))
    for path in ("sea_00.png", "snow_07.png"):
        row = moved.paths.index(path)
        assert moved.labels[row] == 2
        assert moved.is_core[row]
    assert moved.reach[2] == plain.reach[2]


def test_an_edit_that_is_undone_has_no_effect_until_it_is_redone(clusters):
    edits = [merge(1, 0), move("sea_00.png", NOISE, 2), undo(2), undo(1), redo(1)]
    labels = [reviewed(clusters, journal(*edits[:n])).labels.tolist() for n in range(6)]
    assert labels[3] == labels[5] == labels[1] != labels[2]
    assert labels[4] == labels[0]
    assert reviewed(clusters, journal(*edits, redo(2))).labels.tolist() == labels[2]
    for wrong in ([*edits, merge(2, 0), redo(2)], [*edits, redo(1)]):  # an edit since then; redone already
        with pytest.raises(SAFEError, match="no undone edit to redo"):
            reviewed(clusters, journal(*wrong))
    for wrong in ([undo(1)], [merge(1, 0), undo(1), undo(1)]):
        with pytest.raises(SAFEError, match="no edit to undo"):
            reviewed(clusters, journal(*wrong))


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([merge(1, 1)], "two RCCs to merge. Received RCC 1 twice"),
        ([merge(NOISE, 1)], "Received the images in no cluster; move them instead"),
        ([merge(1, 7)], "There is no RCC 7"),
        ([merge(1, 0), move("sea_00.png", NOISE, 1)], "There is no RCC 1; it may have been merged"),
        ([move("fire.png", NOISE, 1)], "images of this clustering. Received: fire.png"),
        ([move("night_00.png", 0, 0)], "night_00.png is already in RCC 0"),
        ([Edit(1, "", "move", (), (), 1)], "Expected images to move. Received none"),
    ],
)
def test_an_edit_that_cannot_be_is_an_error_that_says_why(clusters, edits, message):
    with pytest.raises(SAFEError, match=message):
        reviewed(clusters, journal(*edits))


# --- What the engineer does -------------------------------------------------------------------------------------


def test_images_of_several_rccs_become_a_new_one_that_attracts_others_and_can_be_taken_back(out, clusters):
    n = clusters.n_rccs
    images = [clusters.members(0)[0], *clusters.members(1)[:2]]
    review, rcc = new_rcc(out, images)
    assert rcc == n
    assert sorted(review.clusters.members(rcc)) == sorted(images)
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    rows = [row_of[path] for path in images]
    assert review.clusters.is_core[rows].all()
    distances = np.linalg.norm(clusters.points[rows][:, None] - clusters.points[rows], axis=2)
    nearest = np.where(np.eye(3, dtype=bool), np.inf, distances).min(axis=1).max()
    assert review.clusters.reach[rcc] == pytest.approx(nearest, rel=1e-4)
    assert (out / LABELS_FILE).read_text().count(f"{n}\t") == 3
    assert describe_edit(review.edits[-1]) == f"Made RCC {n} of 3 images from RCC 0, RCC 1"
    set_note(out, Note(rcc, "odd ones"))
    after = undo_edit(out, number=nth(out, 1))
    assert (after.clusters.labels == clusters.labels).all()
    assert (after.clusters.reach == clusters.reach).all()
    other, another = new_rcc(out, clusters.members(0)[:2])
    assert another == n + 1  # the note on the one that was taken back is not shown with it
    assert title(another, other.notes) == f"RCC {another}"
    assert sorted(rccs_of(other.clusters)) == [*range(n), another]


def test_two_tabs_that_click_at_once_lose_nothing(out):
    moves = [threading.Thread(target=move_images, args=(out, [f"night_0{i}.png"], 2)) for i in range(4)]
    notes = [threading.Thread(target=set_note, args=(out, Note(i, f"cause {i}"))) for i in range(3)]
    for thread in (*moves, *notes):
        thread.start()
    for thread in (*moves, *notes):
        thread.join()
    review = load_review(out)
    assert len(review.edits) == 4
    assert review.clusters.sizes.tolist() == [6, 8, 10]
    assert [note.name for note in review.notes.values()] == ["cause 0", "cause 1", "cause 2"]


# --- Notes ------------------------------------------------------------------------------------------------------


def test_notes_come_back_as_they_were_given(out):
    note = Note(1, '  "sunglasses", <b>at</b>\nnight ', "hazard H3;\r\nsee §4, ümläut 夜", "Unsafe")
    tidy = Note(1, '"sunglasses", <b>at</b> night', "hazard H3;\nsee §4, ümläut 夜", "unsafe")
    assert set_note(out, note) == (tidy, ())
    assert notes_in(out) == {1: tidy}
    set_note(out, Note(NOISE, note="odd ones"))
    assert list(notes_in(out)) == [NOISE, 1]
    assert set_note(out, Note(1)) == (Note(1), ())
    assert notes_in(out) == {NOISE: Note(NOISE, note="odd ones")}  # an empty one says nothing


# --- Several visitors -------------------------------------------------------------------------------------------

A, B = Maker("a"), Maker("b")


def test_several_rccs_are_judged_or_merged_at_once_and_that_is_undone_and_redone_at_once(out, clusters):
    mine = Maker("ann")
    set_note(out, Note(1, "snow", "", "safe"), by="ann")
    judge_rccs(out, {0: "", 1: "safe", 2: ""}, "unsafe", maker=mine)
    assert {rcc: note.verdict for rcc, note in notes_in(out).items()} == dict.fromkeys(range(3), "unsafe")
    assert said_in(out)[-2:] == ["Judged RCC 1 unsafe (was safe)", "Judged RCC 2 unsafe"]
    judged = notes_in(out)
    assert rccs_of(merge_rccs(out, 1, 0, 2, maker=mine).clusters) == [0]
    undo_edit(out, maker=mine)
    assert load_review(out).clusters.labels.tolist() == clusters.labels.tolist()
    assert notes_in(out) == judged
    undo_edit(out, maker=mine)
    assert notes_in(out) == {1: Note(1, "snow", "", "safe")}
    redo_edit(out, maker=mine)
    assert notes_in(out) == judged
    assert rccs_of(redo_edit(out, maker=mine).clusters) == [0]
    undo_edit(out, number=standing(all_edits(out, load_review(out)))[0][-1])  # chosen in the list: all the same
    assert rccs_of(load_review(out).clusters) == [0, 1, 2]
    before = said_in(out)
    refused = (({0: "unsafe", 7: ""}, "safe", "no RCC 7"), ({0: "unsafe"}, "perhaps", "verdict must be"))
    # The verdict that another window has given meanwhile is not overwritten in silence.
    refused += (({1: "unsafe", 2: ""}, "safe", "RCC 2: it is unsafe by now, and was not judged when"),)
    for seen, verdict, why in refused:
        with pytest.raises(SAFEError, match=why):
            judge_rccs(out, seen, verdict)
    with pytest.raises(SAFEError):
        merge_rccs(out, 1, 0, 7)
    assert said_in(out) == before  # all of it, or nothing


@pytest.mark.parametrize(
    "later",
    [
        lambda out: move_images(out, ["sea_00.png"], 1, maker=B),
        lambda out: merge_rccs(out, 0, 1, maker=B),
        lambda out: merge_rccs(out, 2, 0, maker=B),
    ],
)
def test_an_edit_that_a_later_one_builds_upon_is_not_taken_back(out, later):
    move_images(out, ["sea_00.png"], 0, maker=A)
    later(out)
    before = said_in(out)
    with pytest.raises(SAFEError, match=r"A later edit is about the same images or RCCs: (Moved|Merged).*first"):
        undo_edit(out, maker=A)
    assert said_in(out) == before
    undo_edit(out, maker=B)
    undo_edit(out, maker=A)


# --- Merging what was judged ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "target", "merged"),
    [
        (("sun", "H3", "unsafe"), ("light", "", "safe"),
         ("light", "H3\nRCC 2 was “sun”.\nRCC 1 was judged safe.", "unsafe")),
        (("", "", "safe"), ("", "", ""), ("", "RCC 2 was judged safe.", "")),
        (("", "", ""), ("", "", "safe"), ("", "RCC 1 was judged safe.", "")),
        (("sun", "", "unclear"), ("", "", ""), ("sun", "", "unclear")),
        (("sun", "same", "safe"), ("sun", "same", "safe"), ("sun", "same", "safe")),
        (("", "", ""), ("sun", "H1", "unsafe"), ("sun", "H1", "unsafe")),
    ],
)  # fmt: skip
def test_a_merge_keeps_the_graver_verdict_and_both_notes_and_names(out, source, target, merged):
    for rcc, said in ((2, source), (1, target)):
        set_note(out, Note(rcc, *said))
    before = notes_in(out)
    merge_rccs(out, 2, 1)
    assert notes_in(out).get(1, Note(1)) == Note(1, *merged)
    undo_edit(out)
    assert notes_in(out) == before
    redo_edit(out)
    assert notes_in(out).get(1, Note(1)) == Note(1, *merged)


# --- What was said is taken back --------------------------------------------------------------------------------


def test_letters_that_are_typed_one_after_the_other_are_one_edit(out):
    for name in ("d", "da", "dar", "dark"):
        set_note(out, Note(0, name), by="a")
    set_note(out, Note(1, "x"), by="a")
    for name in ("dark", "dark b", "dark blue"):
        set_note(out, Note(0, name), by="a")
    for note in ("h", "hazard"):
        set_note(out, Note(0, "dark blue", note), by="a")
    set_note(out, Note(0, "dark blue", "hazard H3"), by="b")
    assert said_in(out) == [
        "Named RCC 0 “dark”",
        "Named RCC 1 “x”",
        "Named RCC 0 “dark blue” (was “dark”)",
        "Wrote the note on RCC 0",
        "Changed the note on RCC 0",
    ]
    undo_edit(out, maker=B)
    for note in (Note(0, "dark blue"), Note(0, "dark")):
        assert undo_edit(out, maker=A).notes[0] == note


def test_what_was_said_of_a_weak_spot_is_taken_back_too(out):
    run = load_review(out).run
    dark = Note(('[["light", "<", 0.2]]', "/data/test"))
    for change in ({"name": "night"}, {"verdict": "unsafe"}):
        before = load_spot_notes(out).get(dark.about, dark)
        set_note(out, before._replace(**change), seen=before, by="a", run=run)
    assert said_in(out) == ["Named light < 0.2 “night”", "Judged light < 0.2 unsafe"]
    undo_edit(out, maker=A)
    assert load_spot_notes(out)[dark.about] == dark._replace(name="night")
    undo_edit(out, maker=A)
    assert load_spot_notes(out)[dark.about] == dark
    redo_edit(out, maker=A)
    set_note(out, dark._replace(name="dusk"), by="b", run=run)
    with pytest.raises(SAFEError, match=r"A later edit is about .*Named light < 0\.2 “dusk”"):
        undo_edit(out, maker=A)


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
    set_note(out, Note(1, "snow"))
    assert undo_edit(out, number=nth(out, 1)).notes == {1: Note(1, "snow")}


# --- Which RCC has the images of an earlier one by now ----------------------------------------------------------


def test_it_is_the_target_of_a_merge_and_where_most_images_are_after_that_is_undone(out):
    last = merge_rccs(out, 2, 1).last_number
    assert rcc_by_now(load_review(out), 2, seen=0) == 1
    assert rcc_by_now(load_review(out), 1, seen=0) == 1
    assert rcc_by_now(load_review(out), 0, seen=0) == 0
    assert rcc_by_now(load_review(out), 2, seen=last) is None
    undo_edit(out)
    assert rcc_by_now(load_review(out), 1, seen=last) == 1  # eight of fourteen
    assert rcc_by_now(load_review(out), 2, seen=0) == 2


def test_it_follows_most_of_the_images_and_stays_where_half_of_them_are(out, clusters):
    move_images(out, clusters.members(2)[:3], NOISE)
    assert rcc_by_now(load_review(out), 2, seen=0) == 2
    move_images(out, clusters.members(2)[3:4], NOISE)
    assert rcc_by_now(load_review(out), 2, seen=0) == NOISE
    review, made = new_rcc(out, clusters.members(0)[:2])
    undo_edit(out)
    assert rcc_by_now(load_review(out), made, seen=review.last_number) == 0
