import dataclasses
import json
import threading

import numpy as np
import pytest

from dbscan.outcome import NOISE
from rccs.carried import carry_over, save_run
from rccs.clusters import fingerprint, rccs_of, save_clusters
from rccs.edited import reviewed
from rccs.edits import Maker, merge_rccs, move_images, new_rcc, redo_edit, undo_edit
from rccs.journal import Edit, describe_edit
from rccs.notes import RccNote, differ, merged_note, title
from rccs.review import (
    active_clusters,
    load_edits,
    load_notes,
    load_review,
    mend_labels,
    rccs_marked_safe,
    save_notes,
    set_note,
)
from support.errors import SAFEError
from support.run_folder import CLUSTERS_FILE, EDITS_FILE, LABELS_FILE, NOTES_FILE


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
        ([merge(1, 0), merge(1, 2)], "There is no RCC 1; it may have been merged"),
        ([merge(1, 0), move("sea_00.png", NOISE, 1)], "There is no RCC 1; it may have been merged"),
        ([move("sea_00.png", NOISE, -2)], "There is no RCC -2"),
        ([move("fire.png", NOISE, 1)], "images of this clustering. Received: fire.png"),
        ([move("night_00.png", 0, 0)], "night_00.png is already in RCC 0"),
        ([move("sea_00.png", NOISE, NOISE)], "sea_00.png is already in No cluster"),
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
    assert (review.last_edit(), review.last_undone()) == (1, None)
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
    assert (review.last_edit(), review.last_undone()) == (None, 0)
    assert (out / LABELS_FILE).read_text() == before
    review = redo_edit(out)
    assert (review.last_edit(), review.last_undone()) == (0, None)
    assert (out / LABELS_FILE).read_text() == after != before
    assert [edit.kind for edit in review.edits] == ["move", "undo", "redo"]


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
    set_note(out, RccNote(rcc, "odd ones"))
    after = undo_edit(out)
    assert (after.clusters.labels == clusters.labels).all()
    assert (after.clusters.reach == clusters.reach).all()
    other, another = new_rcc(out, clusters.members(0)[:2])
    assert another == n + 1  # the note on the one that was taken back is not shown with it
    assert title(another, other.notes) == f"RCC {another}"
    assert sorted(rccs_of(other.clusters)) == [*range(n), another]


def test_a_new_rcc_is_merged_and_moved_from_as_any_other(out, clusters):
    _, rcc = new_rcc(out, clusters.members(0)[:3])
    merge_rccs(out, rcc, 1)
    with pytest.raises(SAFEError, match="Undo that edit first"):
        undo_edit(out, number=0)
    undo_edit(out)
    first = clusters.members(0)[0]
    move_images(out, [first], NOISE)
    with pytest.raises(SAFEError, match="Undo that edit first"):
        undo_edit(out, number=0)
    assert len(active_clusters(out).members(rcc)) == 2


def test_a_whole_rcc_or_nothing_is_no_new_one(out, clusters):
    with pytest.raises(SAFEError, match="These are all images of RCC 0: it is an RCC of its own already"):
        new_rcc(out, clusters.members(0))
    with pytest.raises(SAFEError, match="Expected images to move"):
        new_rcc(out, [])
    assert load_edits(out) == ()


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
    notes, _ = set_note(out, note)
    assert notes == {1: RccNote(1, '"sunglasses", <b>at</b> night', "hazard H3;\nsee §4, ümläut 夜", "unsafe")}
    assert load_notes(out) == notes
    set_note(out, RccNote(NOISE, note="odd ones"))
    assert list(load_notes(out)) == [NOISE, 1]
    assert set_note(out, RccNote(1)).notes == {NOISE: RccNote(NOISE, note="odd ones")}  # an empty one is removed


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
        ("0,a,,\n", "must begin with the column names rcc,name,note,verdict"),
        ("", "must begin with the column names rcc,name,note,verdict"),
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
        with pytest.raises(
            SAFEError, match=r"rcc_edits\.json must be the complete journal written by SAFE.*move it away"
        ):
            load_review(out)


# --- Several visitors -------------------------------------------------------------------------------------------

A, B = Maker("a"), Maker("b")


def test_a_window_writes_only_the_field_that_was_changed_in_it(out):
    """Two windows: one that was opened before names nothing, and takes nothing away."""
    before = RccNote(0)
    set_note(out, RccNote(0, "sunglasses", "hazard H3"), seen=before)
    assert set_note(out, before, seen=before).notes[0] == RccNote(
        0, "sunglasses", "hazard H3"
    )  # clicked in and out again
    kept = set_note(out, before._replace(verdict="unsafe"), seen=before)
    assert kept == ({0: RccNote(0, "sunglasses", "hazard H3", "unsafe")}, ())


def test_a_field_that_somebody_else_has_changed_meanwhile_is_a_conflict_and_the_others_are_kept(out):
    before = RccNote(0, "dark")
    set_note(out, before)
    set_note(out, RccNote(0, "night"), seen=before)
    kept = set_note(out, RccNote(0, "dusk", "hazard H3"), seen=before)
    assert kept == ({0: RccNote(0, "night", "hazard H3")}, ("name",))
    assert set_note(out, RccNote(0, "dusk"), seen=RccNote(0, "night")).notes[0].name == "dusk"  # once it was seen
    assert set_note(out, RccNote(0, "dusk"), seen=before).conflicts == ()  # both want the same


def test_a_note_on_clusters_that_are_others_by_now_is_refused(clusters, out):
    with pytest.raises(SAFEError, match="generated again in another window"):
        set_note(out, RccNote(0, "night"), run="0" * 16)
    assert load_notes(out) == {}
    set_note(out, RccNote(0, "night"), run=fingerprint(clusters))


def test_undo_takes_back_ones_own_last_edit_and_not_that_of_another_visitor(out):
    move_images(out, ["sea_00.png"], 0, maker=A)
    move_images(out, ["sea_01.png"], 1, maker=B)
    review = undo_edit(out, maker=A)
    assert "sea_00.png" in review.clusters.members(NOISE)
    assert "sea_01.png" in review.clusters.members(1)
    with pytest.raises(SAFEError, match=r"no edit to undo of yours; edits by others are listed under Edits"):
        undo_edit(out, maker=A)
    assert "sea_00.png" in redo_edit(out, maker=A).clusters.members(0)
    undo_edit(out, number=1, maker=A)  # that of another, named
    assert "sea_01.png" in active_clusters(out).members(NOISE)


def test_what_another_visitor_does_takes_no_redo_away(out):
    move_images(out, ["sea_00.png"], 0, maker=A)
    undo_edit(out, maker=A)
    move_images(out, ["sea_01.png"], 1, maker=B)
    assert "sea_00.png" in redo_edit(out, maker=A).clusters.members(0)
    undo_edit(out, maker=A)
    move_images(out, ["night_00.png"], 1, maker=A)
    with pytest.raises(SAFEError, match="no undone edit to redo"):
        redo_edit(out, maker=A)


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
    before = (out / EDITS_FILE).read_bytes()
    with pytest.raises(SAFEError, match=r"A later edit is about the same images or RCCs: (Moved|Merged).*first"):
        undo_edit(out, maker=A)
    assert (out / EDITS_FILE).read_bytes() == before
    undo_edit(out, maker=B)
    undo_edit(out, maker=A)


def test_an_edit_of_rccs_that_somebody_else_has_changed_since_is_refused(out):
    seen = len(load_edits(out))
    move_images(out, ["wood_00.png"], 0, maker=A)
    with pytest.raises(SAFEError, match=r"Someone else has changed these RCCs in the meantime: Moved wood_00\.png"):
        merge_rccs(out, 2, 1, maker=Maker("b", seen=seen))
    move_images(out, ["sea_01.png"], 1, maker=Maker("b", seen=seen))  # about other images
    merge_rccs(out, 2, 0, maker=Maker("a", seen=seen))  # one's own edits are known
    with pytest.raises(SAFEError, match="generated again in another window"):
        merge_rccs(out, 1, 0, maker=Maker("a", run="0" * 16))


def test_journals_of_older_versions_take_back_the_last_edit(out, clusters):
    edits = [merge(1, 0), move("sea_00.png", NOISE, 2), UNDO]
    entries = [
        {"time": e.time, "kind": e.kind, "images": e.images, "from": e.source, "to": e.target}
        if e.target is not None
        else {"time": e.time, "kind": e.kind}
        for e in edits
    ]
    (out / EDITS_FILE).write_text(json.dumps({"clusters": fingerprint(clusters), "edits": entries}))
    assert load_review(out).clusters.labels.tolist() == reviewed(clusters, edits[:1]).labels.tolist()
    assert redo_edit(out).clusters.labels.tolist() == reviewed(clusters, edits[:2]).labels.tolist()


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
        set_note(out, RccNote(rcc, *said))
    before = load_notes(out)
    assert differ(RccNote(2, *source), RccNote(1, *target)) == (merged != target)
    merge_rccs(out, 2, 1)
    assert load_notes(out).get(1, RccNote(1)) == RccNote(1, *merged)
    undo_edit(out)
    assert load_notes(out) == before
    redo_edit(out)
    assert load_notes(out).get(1, RccNote(1)) == RccNote(1, *merged)


def test_what_was_said_after_a_merge_survives_its_undo(out):
    set_note(out, RccNote(2, "sun", "H3", "unsafe"))
    merge_rccs(out, 2, 1, note=RccNote(1, "sun and light", "H3", "unsafe"))
    set_note(out, RccNote(1, "glare", "H3", "unsafe"))
    undo_edit(out)
    assert load_notes(out) == {1: RccNote(1, "glare"), 2: RccNote(2, "sun", "H3", "unsafe")}


# --- When the disk is full, or the process killed ---------------------------------------------------------------


def test_an_edit_on_a_full_disk_leaves_journal_labels_and_notes_as_they_were(out, monkeypatch):
    set_note(out, RccNote(2, "sun", "H3", "unsafe"))
    files = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    monkeypatch.setattr(
        "support.files.os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device"))
    )
    for edit in (lambda: merge_rccs(out, 2, 1), lambda: move_images(out, ["sea_00.png"], 1)):
        with pytest.raises(SAFEError, match=r"No space left.*unchanged"):
            edit()
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == files


def test_labels_that_a_killed_process_left_behind_are_mended_on_the_next_look(out):
    merge_rccs(out, 2, 1)
    right = (out / LABELS_FILE).read_bytes()
    assert not mend_labels(out)
    for left in (b"0\tnight_00.png\n", None):
        (out / LABELS_FILE).unlink()
        if left:
            (out / LABELS_FILE).write_bytes(left)
        assert mend_labels(out)
        assert (out / LABELS_FILE).read_bytes() == right


# --- What was said meanwhile ------------------------------------------------------------------------------------


def test_a_merge_that_is_done_again_keeps_what_was_said_since_it_was_taken_back(out):
    set_note(out, RccNote(2, "wood", verdict="safe"))
    set_note(out, RccNote(1, "snow", verdict="safe"))
    merge_rccs(out, 2, 1)
    assert redone(out).notes[1] == RccNote(1, "snow", "RCC 2 was “wood”.", "safe")  # nothing was said meanwhile
    undo_edit(out)
    set_note(out, RccNote(2, "wood", "hazard H3", "unsafe"))
    assert redo_edit(out).notes[1] == RccNote(
        1, "snow", "RCC 2 was “wood”.\nhazard H3\nRCC 1 was judged safe.", "unsafe"
    )
    undo_edit(out)
    set_note(out, RccNote(1, "ice", "hazard H4", "unclear"))
    again = redo_edit(out).notes[1]
    assert (again.name, again.verdict) == ("ice", "unsafe")
    assert "hazard H4" in again.note
    assert "hazard H3" in again.note


def redone(out):
    undo_edit(out)
    return redo_edit(out)


def test_what_the_engineer_chose_for_a_merge_stays_when_it_is_done_again(out):
    set_note(out, RccNote(2, "wood", verdict="unsafe"))
    chosen = RccNote(1, "trees", "", "safe")
    merge_rccs(out, 2, 1, note=chosen)
    assert redone(out).notes[1] == chosen


def test_an_answer_to_a_question_that_is_out_of_date_is_refused(out):
    set_note(out, RccNote(2, verdict="safe"))
    asked = merged_note(RccNote(2, verdict="safe"), RccNote(1))
    set_note(out, RccNote(2, "wood", verdict="unsafe"))  # somebody else, before the answer
    with pytest.raises(SAFEError, match="changed in another window since you were asked"):
        merge_rccs(out, 2, 1, note=asked._replace(verdict="safe"), asked=asked)
    assert load_edits(out) == ()
    asked = merged_note(*(load_notes(out).get(rcc, RccNote(rcc)) for rcc in (2, 1)))
    assert merge_rccs(out, 2, 1, note=asked._replace(name="trees"), asked=asked).notes[1] == RccNote(
        1, "trees", "", "unsafe"
    )


def test_a_journal_of_an_older_version_does_not_say_what_the_merged_rcc_was(out):
    set_note(out, RccNote(2, "wood"))
    merge_rccs(out, 2, 1)
    record = json.loads((out / EDITS_FILE).read_text())
    record["edits"][0]["notes"].pop()
    (out / EDITS_FILE).write_text(json.dumps(record))
    assert redone(out).notes[1].name == "wood"
    record["edits"][0]["notes"].pop()
    (out / EDITS_FILE).write_text(json.dumps(record))
    with pytest.raises(SAFEError, match="notes do not fit"):
        load_review(out)


# --- From one clustering to the next ----------------------------------------------------------------------------


def test_the_same_clusters_keep_notes_and_edits(clusters, out):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    previous = load_review(out)
    carried = carry_over([previous], clusters)
    assert carried.left == ()
    save_run(clusters, carried, out)
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
    notes, edits, left = carry_over([previous], dataclasses.replace(clusters, labels=labels))
    assert left == (RccNote(1, "daylight"),)
    assert notes == {2: RccNote(2, "night"), NOISE: RccNote(NOISE, "odd")}  # RCC 1 was the merged one
    assert edits == ()
    labels[labels == 1] = 0
    assert carry_over([previous], dataclasses.replace(clusters, labels=labels)).notes[0].name == "daylight"
    assert carry_over([], clusters) == ({}, (), ())


def test_images_of_the_same_names_in_another_folder_are_other_images(clusters, out, tmp_path):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    elsewhere = dataclasses.replace(clusters, image_root=tmp_path / "elsewhere")
    carried = carry_over([load_review(out)], elsewhere)
    assert (carried.notes, carried.edits) == ({}, ())
    assert carried.left == (RccNote(0, "night"),)


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


def test_what_was_put_aside_twice_is_kept_twice(clusters, out):
    other = dataclasses.replace(clusters, labels=np.roll(clusters.labels, 3))
    for name in ("night", "snow"):
        save_clusters(clusters, out)
        set_note(out, RccNote(0, name))
        save_clusters(other, out)
        set_note(out, RccNote(1, "other"))
    kept = "".join(file.read_text() for file in out.glob(f"rcc_notes-{fingerprint(clusters)}*.csv"))
    assert "night" in kept
    assert "snow" in kept


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
    monkeypatch.setattr("rccs.edited.rcc_reach", lambda *_: pytest.fail("found out again"))
    assert active_clusters(out).reach.tolist() == merged.reach.tolist()
