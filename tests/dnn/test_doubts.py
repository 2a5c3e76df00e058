"""A dead or blind network is told first, and one that tells something is not doubted."""

import numpy as np
import pytest

from safe_dnn.dnn.doubts import doubts_about
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers

N = 400


def answers(label, predicted, kind=CONFIDENCE) -> Answers:
    return Answers(np.array(label, str), np.array(predicted, str), np.full(len(label), np.nan, np.float32), kind)


def numbers(target, answer) -> Answers:
    return answers([f"{number:.6g}" for number in target], [f"{number:.6g}" for number in answer], ERROR)


def test_of_classes_one_answer_to_all_no_better_than_the_commonest_or_a_class_never_answered():
    label = np.array(["car"] * 300 + ["dog"] * 90 + ["owl"] * 10)
    right = np.random.default_rng(0).random(N) < 0.8
    blind = np.where(right, "car", "dog")
    (constant,) = doubts_about(answers(label, ["car"] * N))
    assert constant == "Doubtful: the answer is car for all of 400 images."
    doubts = doubts_about(answers(label, blind))
    assert doubts[0].startswith("Doubtful: 59.5% of the answers are right, which is no better, beyond chance, than to ")
    assert "answer car to all images (75.0%). Are its classes in another order" in doubts[0]
    assert doubts[1:] == ("Doubtful: no answer is owl (10 images).",)
    assert doubts_about(answers(label, np.where(right, label, "car"))) == ()


def test_one_answer_in_three_quarters_of_all_cases_is_told_unless_most_images_are_of_that_class():
    label = np.array(["car", "dog"] * 100)
    nearly = np.where(np.arange(200) % 8 == 1, "dog", "car")
    assert doubts_about(answers(label, nearly))[0] == (
        "Doubtful: the network answers car for 88% of 200 images, but only 50% of the images are in this class."
    )
    balanced = np.where(np.arange(200) % 4 < 2, label, "car")
    assert "the network answers car for 75%" in " ".join(doubts_about(answers(label, balanced)))
    mostly_cars = np.where(np.arange(200) % 4 == 1, "dog", "car")
    assert doubts_about(answers(mostly_cars, mostly_cars)) == ()


def test_a_network_that_may_give_no_class_is_not_compared_with_one_that_gives_the_same_to_all():
    outcomes = ["tree"] * 200 + ["missed"] * 150 + ["false detection"] * 50
    assert doubts_about(answers(["tree"] * N, outcomes)) == ()
    (dead,) = doubts_about(answers(["tree"] * N, ["missed"] * N))
    assert dead == "Doubtful: the answer is missed for all of 400 images."


def test_of_numbers_one_answer_to_all_or_no_nearer_than_the_mean():
    rng = np.random.default_rng(0)
    target = rng.normal(5, 2, N)
    (constant,) = doubts_about(numbers(target, np.full(N, -0.0171) + rng.normal(0, 1e-5, N)))
    assert constant.startswith("Doubtful: the answer is -0.017")
    (noise,) = doubts_about(numbers(target, rng.permutation(target)))
    assert noise.startswith("Doubtful: the answers are no nearer to the targets, beyond chance, than the mean of the ")
    assert doubts_about(numbers(target, target + rng.normal(0, 1.5, N))) == ()


def test_networks_that_guess_are_doubted_in_19_of_20_test_sets():
    rng = np.random.default_rng(1)
    label = np.array(["a", "b"])[rng.integers(0, 2, (200, 100))]
    doubted = [bool(doubts_about(answers(row, rng.permutation(row)))) for row in label]
    assert np.mean(doubted) >= 0.9


def test_labels_or_targets_that_are_all_the_same_are_told():
    (constant,) = doubts_about(answers(["1"] * N, ["1", "2"] * (N // 2), ERROR)._replace(target="steering"))
    assert constant == "Doubtful: steering is 1 for all of 400 images."
    (one_class,) = doubts_about(answers(["cat"] * N, ["cat", "dog"] * (N // 2)))
    assert one_class == "Doubtful: all of 400 images are of one class, cat."


@pytest.mark.parametrize("right", [True, False])
def test_a_threshold_beyond_all_errors_is_told_with_their_range(right):
    target = np.arange(N)
    given = numbers(target, target + 1.0)._replace(score=np.linspace(0.5, 0.75, N, dtype=np.float32))
    (text,) = doubts_about(given, np.full(N, right))
    which = "no error is" if right else "all errors are"
    assert text == f"Doubtful: {which} above the threshold; they are from 0.5 to 0.75."
    assert doubts_about(given, np.arange(N) < 5) == ()


@pytest.mark.parametrize("kind", [CONFIDENCE, ERROR])
def test_nothing_is_said_where_labels_are_unknown(kind):
    assert doubts_about(answers([""] * N, ["1", "2"] * (N // 2), kind)) == ()
