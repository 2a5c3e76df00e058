"""The frame of strata, and which images are drawn from it."""

import numpy as np
import pytest

from safe_dnn.reasons.words.rates import LEAST, NO, STRATA, UNSURE, UNTAGGED, YES, make_frame, next_drawn


@pytest.fixture
def frame():
    """400 images, of which 100 are wrong and ten were asked before."""
    rng = np.random.default_rng(1)
    return make_frame(rng.normal(size=400), np.arange(400) % 4 == 0, np.arange(400) < 10, seed=3)


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
