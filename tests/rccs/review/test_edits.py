"""Edits of an analysis, by whom, and how they are taken back."""

import threading

import numpy as np
import pytest

from safe_dnn.rccs.clusters import LABELS_FILE, rccs_of
from safe_dnn.rccs.review.journal import Note, describe_edit, newest, standing, title
from safe_dnn.rccs.review.review import (
    all_edits,
    load_review,
    merge_rccs,
    move_images,
    new_rcc,
    redo_edit,
    set_note,
    undo_edit,
)
from safe_dnn.support.errors import SAFEError
from tests.helpers.reviewed import A, B, notes_in, said_in


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
    for _ in range(2):
        after = undo_edit(out)
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


def test_what_was_done_last_is_taken_back_first_whoever_did_it(out):
    move_images(out, ["sea_00.png"], 0, maker=A)
    merge_rccs(out, 0, 1, maker=B)
    set_note(out, Note(1, "dark"))
    for left in (2, 1, 0):
        undo_edit(out, maker=A._replace(last_entry=newest(out)))
        assert len(standing(all_edits(out, load_review(out)))[0]) == left
    with pytest.raises(SAFEError, match="nothing to undo"):
        undo_edit(out)
    for _ in range(2):
        redo_edit(out)
    assert notes_in(out) == {}
    move_images(out, ["sea_01.png"], 1)
    with pytest.raises(SAFEError, match="nothing to redo"):
        redo_edit(out)


@pytest.mark.parametrize(
    "change",
    [
        lambda out, maker: move_images(out, ["sea_00.png"], 1, maker=maker),
        lambda out, maker: merge_rccs(out, 0, 1, maker=maker), lambda out, maker: undo_edit(out, maker=maker),
        lambda out, maker: new_rcc(out, ["sea_00.png", "sea_01.png"], maker=maker),
        lambda out, maker: set_note(out, Note(0, "night"), maker=maker),
    ],
)  # fmt: skip
def test_a_change_by_somebody_who_looks_at_an_older_state_is_refused(out, change):
    set_note(out, Note(2, "wood"), maker=A)
    seen = newest(out)
    set_note(out, Note(2, "woods"), maker=A)
    before = said_in(out)
    for maker in (B, B._replace(by="")):
        with pytest.raises(SAFEError, match="Changed elsewhere: reload the page"):
            change(out, maker._replace(last_entry=seen))
    assert said_in(out) == before
    change(out, A._replace(last_entry=seen))  # what it has changed itself, it knows


@pytest.mark.parametrize(
    ("source", "target", "merged"),
    [
        (("sun", "H3", "unsafe"), ("light", "", "safe"),
         ("light", "H3\nRCC 2 was “sun”.\nRCC 1 was judged safe.", "unsafe")),
        (("", "", "safe"), ("", "", ""), ("", "RCC 2 was judged safe.", "")),
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
