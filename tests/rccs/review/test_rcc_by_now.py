"""Which RCC has the images of an earlier one by now."""

from rccs.dbscan.outcome import NOISE
from rccs.review.edits import merge_rccs, move_images, new_rcc, undo_edit
from rccs.review.review import load_review, rcc_by_now


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
