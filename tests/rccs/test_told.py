"""What clusters tell: all of it where they are right and wrong, and nothing where they are drawn at random."""

import numpy as np
import pytest

from safe_dnn.rccs.told import Told, share_told, told_beyond_class

RNG = np.random.default_rng(0)
WRONG = RNG.random(4000) < 0.3


def test_cells_of_right_and_wrong_tell_nearly_all_and_random_ones_nothing():
    assert share_told(WRONG.astype(int), WRONG) > 0.98
    assert share_told(RNG.integers(0, 10, len(WRONG)), WRONG) == pytest.approx(0, abs=0.01)


def test_known_rates_tell_as_much_as_their_entropy_says():
    cells = np.repeat([0, 1], 20_000)
    wrong = np.random.default_rng(1).random(len(cells)) < np.where(cells, 0.9, 0.1)

    def entropy(rate: float) -> float:
        return float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))

    assert share_told(cells, wrong) == pytest.approx(1 - entropy(0.1) / entropy(0.5), abs=0.01)


def test_what_only_holds_for_some_groups_misleads_in_halves_of_other_groups():
    groups = np.repeat(np.arange(20), 200)
    fails = np.random.default_rng(2).random(20) < 0.5
    wrong = np.where(fails[groups], RNG.random(4000) < 0.9, RNG.random(4000) < 0.1)
    assert share_told(groups, wrong) > 0.4
    assert share_told(groups, wrong, groups) == pytest.approx(0, abs=0.01)


def test_cells_inside_classes_tell_no_less_than_the_classes():
    classes = RNG.integers(0, 2, len(WRONG))
    wrong = RNG.random(len(WRONG)) < np.where(classes, 0.8, 0.2)
    both = classes * 10 + RNG.integers(0, 10, len(WRONG))
    alone = share_told(classes, wrong)
    assert share_told(both, wrong, within=classes) == pytest.approx(alone, abs=0.02)


def test_what_regions_tell_beyond_the_class_is_what_the_class_does_not_tell():
    classes = np.where(RNG.random(len(WRONG)) < 0.5, "women", "men")
    wrong = RNG.random(len(WRONG)) < np.where(classes == "women", 0.6, 0.1)
    assert told_beyond_class((classes == "women").astype(int), classes, wrong) == pytest.approx(0, abs=0.01)
    assert told_beyond_class(RNG.integers(-1, 9, len(wrong)), classes, wrong) == pytest.approx(0, abs=0.02)
    assert told_beyond_class(wrong.astype(int), classes, wrong) > 0.5


@pytest.mark.parametrize(
    ("apart", "looks", "begins"),
    [
        (0.18, 0.004, "Grouped by what sets failing images apart from right ones: these RCCs tell 18 points"),
        (0.3, 0.23, "Grouped by looks, as in the paper: these RCCs tell 23 points"),
        (0.01, 0.12, "Grouped by looks, as in the paper: these RCCs tell 12 points"),
        (0.002, -0.03, "Looks tell nothing of right and wrong beyond the class"),
    ],
)  # fmt: skip
def test_looks_are_taken_unless_they_tell_much_less_and_one_sentence_says_so(apart, looks, begins):
    told = Told.chosen(apart, looks)
    assert told.text.startswith(begins)
    assert told.is_apart == (apart == 0.18)
