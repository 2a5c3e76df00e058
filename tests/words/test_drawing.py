"""The frame of strata, and which images are drawn from it."""

import numpy as np
import pytest

from safe_dnn.words.drawing import CHOSEN, GROWTH, LEAST, NO, STRATA, UNSURE, UNTAGGED, YES, make_frame, next_drawn


@pytest.fixture
def frame():
    """400 images, of which 100 are wrong and ten were asked before."""
    rng = np.random.default_rng(1)
    return make_frame(rng.normal(size=400), np.arange(400) % 4 == 0, np.arange(400) < 10, seed=3)


def test_strata_are_of_wrong_or_right_images_and_grow(frame):
    assert (frame.stratum[:10] == CHOSEN).all()
    assert frame.sizes.sum() == 390
    assert len(frame.sizes) == 2 * STRATA
    for which in (True, False):
        rows = (frame.stratum != CHOSEN) & (frame.wrong == which)
        sizes = np.bincount(frame.stratum[rows])[-STRATA:]
        assert (sizes[1:] > (GROWTH - 2) * sizes[:-1]).all()
        assert (frame.of_wrong[np.unique(frame.stratum[rows])] == which).all()


def test_higher_scores_are_in_earlier_strata_and_each_stratum_has_an_order(frame):
    scores = np.random.default_rng(1).normal(size=400)
    for stratum in range(STRATA - 1):
        assert scores[frame.stratum == stratum].min() >= scores[frame.stratum == stratum + 1].max()
    for stratum, size in enumerate(frame.sizes.tolist()):
        assert sorted(frame.place[frame.stratum == stratum].tolist()) == list(range(size))


def test_the_order_is_random_whatever_the_scores_are():
    first = [
        int(np.flatnonzero((frame.stratum == 0) & (frame.place == 0))[0])
        for frame in (
            make_frame(-np.arange(800.0), np.ones(800, bool), np.zeros(800, bool), seed) for seed in range(200)
        )
    ]
    assert len({*first}) == 9 == make_frame(-np.arange(800.0), np.ones(800, bool), np.zeros(800, bool), 0).sizes[0]


def test_each_stratum_is_asked_before_more_is_asked_of_any(frame):
    tags = np.full(400, UNTAGGED)
    tags[:10] = YES
    drawn = next_drawn(frame, tags, 32)
    assert len({*drawn.tolist()}) == 32
    counts = np.bincount(frame.stratum[drawn], minlength=2 * STRATA)
    assert (counts >= np.minimum(LEAST, frame.sizes)).all()


def test_more_is_asked_where_answers_differ(frame):
    tags = np.full(400, UNTAGGED)
    tags[:10] = YES
    for _ in range(6):
        rows = next_drawn(frame, tags, 20)
        tags[rows] = np.where((frame.stratum[rows] == 6) & (frame.place[rows] % 2 == 0), YES, NO)
    drawn = frame.drawn(frame.counts(tags))
    assert drawn[6] / frame.sizes[6] > 2 * drawn[7] / frame.sizes[7]


def test_an_answer_behind_a_gap_does_not_count_until_the_gap_is_filled(frame):
    tags = np.full(400, UNTAGGED)
    first, second, third = (int(np.flatnonzero((frame.stratum == 7) & (frame.place == place))[0]) for place in range(3))
    tags[[first, third]] = YES
    assert frame.counts(tags).nonzero()[0].tolist() == [first]
    assert next_drawn(frame, tags, 5)[0] == second
    tags[second] = UNSURE
    assert sorted(frame.counts(tags).nonzero()[0].tolist()) == sorted([first, second, third])


def test_all_images_are_drawn_in_the_end(frame):
    tags = np.full(400, UNTAGGED)
    tags[:10] = NO
    while len(rows := next_drawn(frame, tags, 50)):
        tags[rows] = NO
    assert (tags == NO).all()
