import dataclasses
import json
import threading

import numpy as np
import pytest

from clustering import CLUSTERS_FILE, LABELS_FILE, NOISE, save_clusters
from errors import SAFEError
from review import (
    EDITS_FILE,
    NOTES_FILE,
    Edit,
    RccNote,
    active_clusters,
    carry_over,
    describe_edit,
    fingerprint,
    load_edits,
    load_notes,
    load_review,
    merge_rccs,
    move_images,
    rccs_marked_safe,
    rccs_of,
    redo_edit,
    reviewed,
    save_notes,
    save_review,
    set_note,
    title,
    undo_edit,
)


@pytest.fixture
def out(clusters, tmp_path):
    """An output folder with the clusters of the fixture in it."""
    folder = tmp_path / "out"
    folder.mkdir()
    save_clusters(clusters, folder)
    return folder


def merge(rcc: int, into: int) -> Edit:
    return Edit("2024-05-01T12:00:00+00:00", "merge", (), (rcc,), into)


def move(path: str, source: int, to: int) -> Edit:
    return Edit("2024-05-01T12:00:00+00:00", "move", (path,), (source,), to)


UNDO = Edit("2024-05-01T12:00:00+00:00", "undo")
REDO = Edit("2024-05-01T12:00:00+00:00", "redo")


# --- RCCs with edits applied ------------------------------------------------------------------------------------


def test_without_edits_the_clusters_are_the_same(clusters):
    assert reviewed(clusters, ()) is clusters
    assert reviewed(clusters, (merge(1, 0), UNDO)) is clusters


def test_a_merged_rcc_disappears_and_no_other_id_changes(clusters):
    merged = reviewed(clusters, (merge(0, 1),))
    assert merged.groups == [1, 2, NOISE]
    assert rccs_of(merged) == [1, 2]
    assert merged.members(1) == sorted([*clusters.members(0), *clusters.members(1)])
    assert merged.members(2) == clusters.members(2)
    assert merged.is_core.tolist() == clusters.is_core.tolist()
    assert merged.sizes.tolist() == [0, 18, 6]
    assert clusters.groups == [0, 1, 2, NOISE]  # the input is as it was


def test_a_merged_rcc_reaches_to_its_farthest_image_and_the_others_as_far_as_before(clusters):
    merged = reviewed(clusters, (merge(2, 1),))
    rows = np.flatnonzero(np.isin(clusters.labels, (1, 2)))
    cores = rows[clusters.is_core[rows]]
    nearest = [
        min(np.linalg.norm(clusters.points[row].astype(float) - clusters.points[core]) for core in cores if core != row)
        for row in rows
    ]
    assert len(merged.reach) == merged.n_rccs == 2
    assert merged.reach[1] == pytest.approx(max(nearest), abs=1e-4)
    assert merged.reach[0] == clusters.reach[0]


def test_an_image_moved_to_noise_is_no_core_point(clusters):
    moved = reviewed(clusters, (move("night_03.png", 0, NOISE),))
    row = moved.paths.index("night_03.png")
    assert moved.labels[row] == NOISE
    assert not moved.is_core[row]
    assert "night_03.png" not in moved.members(0)


def test_an_image_moved_to_an_rcc_is_a_core_point_that_does_not_widen_its_reach(clusters):
    plain = reviewed(clusters, (move("wood_00.png", 2, NOISE), move("wood_00.png", NOISE, 2)))
    moved = reviewed(clusters, (move("sea_00.png", NOISE, 2), move("snow_07.png", 1, 2)))
    for path in ("sea_00.png", "snow_07.png"):
        row = moved.paths.index(path)
        assert moved.labels[row] == 2
        assert moved.is_core[row]
    assert moved.reach[2] == plain.reach[2]


def test_an_image_moved_there_and_back_is_as_it_was_found(clusters):
    back = reviewed(clusters, (move("snow_07.png", 1, 0), move("snow_07.png", 0, 1)))
    assert back.labels.tolist() == clusters.labels.tolist()
    assert back.is_core.tolist() == clusters.is_core.tolist()
    # Its RCC was merged with the one that it was moved to: it has come home.
    merged = reviewed(clusters, (move("snow_07.png", 1, 0), merge(1, 0)))
    assert merged.is_core.tolist() == clusters.is_core.tolist()


def test_an_rcc_whose_images_are_all_moved_away_disappears(clusters):
    emptied = reviewed(clusters, [move(path, 2, 0) for path in clusters.members(2)])
    assert emptied.groups == [0, 1, NOISE]
    assert len(emptied.reach) == emptied.n_rccs == 2


def test_undo_takes_back_the_last_edit_that_holds_and_redo_brings_it_back(clusters):
    edits = [merge(1, 0), move("sea_00.png", NOISE, 2), UNDO, UNDO, REDO]
    assert reviewed(clusters, edits).labels.tolist() == reviewed(clusters, edits[:1]).labels.tolist()
    assert reviewed(clusters, [*edits, REDO]).labels.tolist() == reviewed(clusters, edits[:2]).labels.tolist()
    with pytest.raises(SAFEError, match="no undone edit to redo"):
        reviewed(clusters, [*edits, merge(2, 0), REDO])  # an edit since then
    with pytest.raises(SAFEError, match="no edit to undo"):
        reviewed(clusters, [UNDO])


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        ([merge(1, 1)], "two RCCs to merge. Received RCC 1 twice"),
        ([merge(NOISE, 1)], "Received the images in no cluster; move them instead"),
        ([merge(1, 7)], "There is no RCC 7"),
        ([merge(1, 0), merge(1, 2)], "There is no RCC 1: it was merged"),
        ([merge(1, 0), move("sea_00.png", NOISE, 1)], "There is no RCC 1: it was merged"),
        ([move("sea_00.png", NOISE, -2)], "There is no RCC -2"),
        ([move("fire.png", NOISE, 1)], "images of this clustering. Received: fire.png"),
        ([move("night_00.png", 0, 0)], "night_00.png is in RCC 0 already"),
        ([move("sea_00.png", NOISE, NOISE)], "sea_00.png is in No cluster already"),
        ([Edit("", "move", (), (), 1)], "Expected images to move. Received none"),
    ],
)
def test_an_edit_that_cannot_be_is_an_error_that_says_why(clusters, edits, message):
    with pytest.raises(SAFEError, match=message):
        reviewed(clusters, edits)


# --- What the engineer does -------------------------------------------------------------------------------------


def test_an_edit_is_kept_recorded_and_written_to_labels_txt(clusters, out):
    exact = (out / CLUSTERS_FILE).read_bytes()
    merge_rccs(out, 2, 0)
    review = move_images(out, ["sea_00.png", "snow_07.png"], 0)
    assert review.can_undo
    assert not review.can_redo
    assert review.clusters.labels.tolist() == active_clusters(out).labels.tolist()
    lines = [line.split("\t") for line in (out / LABELS_FILE).read_text().splitlines()]
    assert [(int(label), path) for label, path in lines] == list(
        zip(review.clusters.labels.tolist(), clusters.paths, strict=True)
    )
    assert (out / CLUSTERS_FILE).read_bytes() == exact
    assert [describe_edit(edit) for edit in load_edits(out)] == [
        "Merged RCC 2 into RCC 0",
        "Moved 2 images from No cluster, RCC 1 to RCC 0",
    ]
    assert all(edit.time.startswith("20") and edit.time.endswith("+00:00") for edit in review.edits)


def test_undo_and_redo_are_recorded_too_and_labels_txt_follows(out):
    before = (out / LABELS_FILE).read_text()
    move_images(out, ["sea_01.png"], 1)
    after = (out / LABELS_FILE).read_text()
    review = undo_edit(out)
    assert (review.can_undo, review.can_redo) == (False, True)
    assert (out / LABELS_FILE).read_text() == before
    review = redo_edit(out)
    assert (review.can_undo, review.can_redo) == (True, False)
    assert (out / LABELS_FILE).read_text() == after != before
    assert [edit.kind for edit in review.edits] == ["move", "undo", "redo"]


def test_an_edit_that_cannot_be_changes_nothing(out):
    merge_rccs(out, 1, 0)
    files = {path.name: path.read_bytes() for path in out.iterdir()}
    for wrong in (
        lambda: merge_rccs(out, 1, 0),
        lambda: move_images(out, ["sea_00.png", "fire.png"], 0),
        lambda: redo_edit(out),
        lambda: set_note(out, RccNote(1, "merged away")),
        lambda: set_note(out, RccNote(0, verdict="dangerous")),
        lambda: set_note(out, RccNote(0, name="n" * 81)),
    ):
        with pytest.raises(SAFEError):
            wrong()
    assert {path.name: path.read_bytes() for path in out.iterdir()} == files


def test_two_tabs_that_click_at_once_lose_nothing(out):
    moves = [threading.Thread(target=move_images, args=(out, [f"night_0{i}.png"], 2)) for i in range(4)]
    notes = [threading.Thread(target=set_note, args=(out, RccNote(i, f"cause {i}"))) for i in range(3)]
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
    note = RccNote(1, '  "sunglasses", <b>at</b>\nnight ', "hazard H3;\r\nsee §4, ümläut 夜", "Unsafe")
    notes = set_note(out, note)
    assert notes == {1: RccNote(1, '"sunglasses", <b>at</b> night', "hazard H3;\nsee §4, ümläut 夜", "unsafe")}
    assert load_notes(out) == notes
    set_note(out, RccNote(NOISE, note="odd ones"))
    assert list(load_notes(out)) == [NOISE, 1]
    assert set_note(out, RccNote(1)) == {NOISE: RccNote(NOISE, note="odd ones")}  # an empty one is removed


def test_a_note_on_a_merged_rcc_comes_back_with_it(out):
    set_note(out, RccNote(2, "forest", verdict="safe"))
    assert rccs_marked_safe(out) == (2,)
    merge_rccs(out, 2, 1)
    assert rccs_marked_safe(out) == ()
    undo_edit(out)
    assert rccs_marked_safe(out) == (2,)


@pytest.mark.parametrize(
    "data",
    [
        "rcc,name,note,verdict\n0,night,,unsafe\n2,,ok,\n",
        "\ufeffrcc,name,note,verdict\r\n0,night,,UNSAFE\r\n2,,ok,\r\n",
        "RCC;Name;Note;Verdict\n\nRCC 0;night;;unsafe \n2.0;;ok;\n",  # a German spreadsheet
        "verdict\tname\trcc\tnote\tmore\nunsafe\tnight\t0\t\tx\n\t\t2\tok\n",
    ],
)
def test_a_file_filled_in_by_hand_is_read(out, data):
    (out / NOTES_FILE).write_text(data, newline="")
    assert load_notes(out) == {0: RccNote(0, "night", "", "unsafe"), 2: RccNote(2, "", "ok", "")}


def test_a_file_from_a_spreadsheet_with_the_code_page_of_windows_is_read(out):
    (out / NOTES_FILE).write_bytes("rcc,name\n0,Dämmerung\n".encode("cp1252"))
    assert load_notes(out)[0].name == "Dämmerung"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("rcc,name,note,verdict\n0,a,,\nx,b,,\n", r"rcc_notes.csv, line 3: rcc must be a whole number.*'x'"),
        ("rcc,verdict\n0,deadly\n", "line 2: verdict must be safe, unsafe, unclear or empty. Received: 'deadly'"),
        ("rcc,name\n0,a\n0,b\n", "line 3: RCC 0 has two rows. Correct the line"),
        ("rcc,name\n-2,a\n", "line 2: rcc must be"),
        ("0,a,,\n", "must begin with a line of column names"),
        ("", "must begin with a line of column names"),
        ('rcc,name\n0,"a\n', "line 2: .*"),
        (f"rcc,name\n0,{'n' * 81}\n", "line 2: A name may have 80 characters. Received: 81"),
    ],
)
def test_a_bad_row_is_an_error_that_names_its_line(out, data, message):
    (out / NOTES_FILE).write_text(data)
    with pytest.raises(SAFEError, match=message):
        load_notes(out)


def test_a_damaged_journal_is_an_error_that_says_what_to_do(out):
    merge_rccs(out, 1, 0)
    good = json.loads((out / EDITS_FILE).read_text())
    for bad in (
        "{",
        "[]",
        "{}",
        json.dumps({**good, "clusters": "../../x"}),
        json.dumps({**good, "edits": [{"time": "", "kind": "undo"}]}),
        json.dumps({**good, "edits": [{"time": "", "kind": "delete"}]}),
        json.dumps({**good, "edits": [{"time": "", "kind": "move", "images": ["a"], "from": [], "to": 1}]}),
        json.dumps({**good, "edits": [{"time": "", "kind": "merge", "from": [1], "to": "x"}]}),
    ):
        (out / EDITS_FILE).write_text(bad)
        with pytest.raises(SAFEError, match=r"rcc_edits\.json must be the journal that SAFE wrote.*move it away"):
            load_review(out)


# --- From one clustering to the next ----------------------------------------------------------------------------


def test_the_same_clusters_keep_notes_and_edits(clusters, out):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    previous = load_review(out)
    notes, edits = carry_over(previous, clusters)
    save_clusters(clusters, out)
    save_review(out, clusters, notes, edits)
    assert load_review(out).notes == previous.notes
    assert load_review(out).edits == previous.edits
    assert (out / LABELS_FILE).read_text().count("\n1\t") == 14


def test_a_new_clustering_keeps_the_notes_of_rccs_with_the_same_images_and_no_other(clusters, out):
    merge_rccs(out, 2, 1)
    for note in (RccNote(0, "night"), RccNote(1, "daylight"), RccNote(NOISE, "odd")):
        set_note(out, note)
    previous = load_review(out)
    labels = clusters.labels.copy()
    for old, new in ((0, 2), (1, 1), (2, 0)):
        labels[clusters.labels == old] = new
    notes, edits = carry_over(previous, dataclasses.replace(clusters, labels=labels))
    assert notes == {2: RccNote(2, "night"), NOISE: RccNote(NOISE, "odd")}  # RCC 1 was the merged one
    assert edits == ()
    labels[labels == 1] = 0
    assert carry_over(previous, dataclasses.replace(clusters, labels=labels))[0][0].name == "daylight"
    assert carry_over(None, clusters) == ({}, ())


def test_notes_and_edits_of_other_clusters_are_not_attached_but_put_aside(clusters, out):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    other = dataclasses.replace(clusters, labels=np.roll(clusters.labels, 3))
    save_clusters(other, out)  # by something that knows nothing of reviews
    assert load_notes(out) == {}
    assert load_edits(out) == ()
    assert active_clusters(out).labels.tolist() == other.labels.tolist()
    save_notes(out, {1: RccNote(1, "new")})
    assert load_notes(out) == {1: RccNote(1, "new")}
    mine = fingerprint(clusters)
    assert "night" in (out / f"rcc_notes-{mine}.csv").read_text()
    assert "merge" in (out / f"rcc_edits-{mine}.json").read_text()


def test_file_names_that_are_not_valid_unicode_survive_an_edit(clusters, out):
    odd = "sea_\udcff.png"
    changed = dataclasses.replace(clusters, paths=tuple(odd if p == "sea_00.png" else p for p in clusters.paths))
    save_clusters(changed, out)
    review = move_images(out, [odd], 1)
    assert odd in review.clusters.members(1)
    assert load_edits(out)[0].images == (odd,)
    describe_edit(load_edits(out)[0]).encode("utf-8")


def test_an_rcc_is_called_by_its_number_and_name():
    notes = {3: RccNote(3, "sunglasses at night"), 4: RccNote(4, "", "a note")}
    assert title(3, notes) == "RCC 3 · sunglasses at night"
    assert title(4, notes) == "RCC 4"
    assert title(NOISE) == "No cluster"


def test_how_far_rccs_reach_is_kept_with_the_edits_and_found_out_again_where_it_is_not(clusters, out, monkeypatch):
    merged = reviewed(clusters, (merge(2, 1),))
    assert merge_rccs(out, 2, 1).clusters.reach.tolist() == merged.reach.tolist()
    undo_edit(out)
    assert active_clusters(out).reach.tolist() == clusters.reach.tolist()
    redo_edit(out)
    record = json.loads((out / EDITS_FILE).read_text())
    (out / EDITS_FILE).write_text(json.dumps({**record, "reach": {}}))
    assert active_clusters(out).reach.tolist() == merged.reach.tolist()
    (out / EDITS_FILE).write_text(json.dumps(record))
    monkeypatch.setattr("review.rcc_reach", lambda *_: pytest.fail("found out again"))
    assert active_clusters(out).reach.tolist() == merged.reach.tolist()
