"""The probe: which images are likely to have a word."""

import numpy as np

from safe_dnn.reasons.words.rates import BATCH, MOST_CHOSEN, chosen_to_teach, is_taught, probe_points, scores


def looks(n=200, seed=0):
    """Points of which the first tenth lies apart."""
    points = np.random.default_rng(seed).normal(size=(n, 8))
    points[: n // 10, 0] += 6
    return probe_points(points.astype(np.float32)), np.arange(n) < n // 10


def test_images_with_the_word_get_the_highest_scores():
    points, has_it = looks()
    rows = np.arange(0, 200, 7)
    found = scores(points, rows, has_it[rows])
    assert found[has_it].min() > found[~has_it].max()


def test_answers_that_are_all_alike_tell_nothing():
    points, _ = looks()
    for answer in (True, False):
        assert not scores(points, np.arange(5), np.full(5, answer)).any()
        assert not is_taught(np.full(BATCH, answer))
        assert is_taught(np.full(MOST_CHOSEN, answer))


def test_the_first_images_are_those_that_were_seen_and_then_those_that_are_likely():
    points, has_it = looks()
    wrong, seen, rng = np.arange(200) < 50, np.arange(15), np.random.default_rng(0)
    first = chosen_to_teach(points, wrong, np.zeros(0, int), np.zeros(0, bool), seen, rng)
    assert len({*first.tolist()}) == BATCH
    assert {*first[: BATCH // 2].tolist()} <= {*seen.tolist()}
    second = chosen_to_teach(points, wrong, first, has_it[first], seen, rng)
    assert not {*first.tolist()} & {*second.tolist()}
    assert has_it[np.concatenate([first, second])].all() == has_it[first].all() or has_it[second].sum() > 4
    alone = chosen_to_teach(points, wrong, np.zeros(0, int), np.zeros(0, bool), np.zeros(0, int), rng)
    assert wrong[alone[: BATCH // 2]].all(), "somebody says a word of failing images"
    rest = chosen_to_teach(points, wrong, np.arange(197), has_it[:197], seen, rng)
    assert sorted(rest.tolist()) == [197, 198, 199]
