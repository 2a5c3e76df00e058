"""Confusion matrices and failure rates by class, by hand."""

import numpy as np
import pytest

from safe_dnn.dnn.confusion import class_rates, confusion_matrix
from safe_dnn.rccs.spots.figures import Groups

LABEL = np.array(["cat", "cat", "cat", "dog", "dog", "eel"])
PREDICTED = np.array(["dog", "dog", "cat", "dog", "fox", "eel"])


def test_classes_are_in_the_order_of_their_names_whatever_is_confused():
    matrix = confusion_matrix(LABEL, PREDICTED)
    assert matrix.classes == ("cat", "dog", "eel", "fox")
    assert matrix.rest == 0
    assert matrix.counts.tolist() == [[1, 2, 0, 0], [0, 1, 0, 1], [0, 0, 1, 0], [0, 0, 0, 0]]
    assert (matrix.wrong == matrix.counts - np.diag(np.diag(matrix.counts))).all()
    assert matrix.images_in(0, 1).tolist() == [0, 1]
    assert matrix.images_in(3, 3).tolist() == []
    # Confusions: dog takes part in 3, cat in 2, fox in 1, eel in none.
    assert confusion_matrix(LABEL, PREDICTED, most=2).classes == ("cat", "dog")


def test_further_classes_are_summed_in_a_last_row_and_column_without_those_that_are_right():
    label = np.array(["a", "a", "c", "d", "d", "e"])
    predicted = np.array(["b", "b", "d", "d", "a", "e"])
    matrix = confusion_matrix(label, predicted, most=2)
    assert (matrix.classes, matrix.rest) == (("a", "b"), 3)  # a: 3; b and d: 2, by name
    assert matrix.counts.tolist() == matrix.wrong.tolist() == [[0, 2, 0], [0, 0, 0], [1, 0, 1]]
    assert matrix.images_in(2, 2).tolist() == [2]  # c taken for d; d and e are right


def test_rates_by_class_begin_with_the_class_that_surely_fails_most():
    rates = class_rates(LABEL, PREDICTED)
    assert [(rate.name, rate.tested, rate.wrong, rate.taken_for, rate.taken) for rate in rates] == [
        ("cat", 3, 2, "dog", 2), ("dog", 2, 1, "fox", 1), ("eel", 1, 0, "", 0),
    ]  # fmt: skip
    assert rates[0].rate == pytest.approx(2 / 3)
    # Clopper and Pearson: 2 of 3, and 0 of 1
    assert (rates[0].low, rates[0].high) == pytest.approx((0.0943, 0.9916), abs=1e-4)
    assert (rates[2].low, rates[2].high) == pytest.approx((0, 0.975))


def test_intervals_of_classes_are_wider_where_images_of_a_person_fail_together():
    label, person = np.repeat(["cat", "dog"], 40), np.arange(80) // 10
    predicted = np.where(person % 2, label, "eel")
    alone, grouped = class_rates(label, predicted), class_rates(label, predicted, Groups("person", person))
    assert [rate[:3] for rate in grouped] == [rate[:3] for rate in alone]
    # 4 persons whose images fail together are worth 4 images, and fewer by Student's t
    assert all(g.low < 0.1 < a.low < a.high < 0.9 < g.high for a, g in zip(alone, grouped, strict=True))
