import numpy as np
import pytest

from safe_dnn.rccs.answers import CONFIDENCE, ERROR, NOTHING, Answers, commonest_confusion


def answers(*pairs: tuple[str, str], score: float = np.nan, kind: str = CONFIDENCE) -> Answers:
    labels, predicted = zip(*pairs, strict=True)
    return Answers(np.array(labels), np.array(predicted), np.full(len(pairs), score, np.float32), kind)


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([("80", "60")] * 5 + [("50", "30"), ("stop", "yield"), ("20", "70")], "62% are 80 taken for 60"),
        ([("80", "60")] * 3, "All are 80 taken for 60"),
        ([(str(i), "60") for i in range(9)] + [("a", "b")], "90% are taken for 60"),
        ([("80", str(i)) for i in range(8)], "All are 80, taken for others"),
        ([(str(i), f"not {i}") for i in range(10)], ""), ([("80", "60")], ""),
        ([("a", "b"), ("c", "d"), ("a", "b"), ("", "b"), ("a", "")], "67% are a taken for b"),
    ],
)  # fmt: skip
def test_the_commonest_confusion_or_what_it_has_in_common_with_others(pairs, told):
    assert commonest_confusion(answers(*pairs)) == told


@pytest.mark.parametrize(
    ("label", "predicted", "score", "told"),
    [
        ("car", NOTHING, np.nan, "car, missed"), (NOTHING, "car", 0.93, "false detection of car (93%)"),
        ("car", "car", 0.93, "car, found (93%)"), ("car", "truck", 0.93, "car → truck (93%)"),
    ],
)  # fmt: skip
def test_what_a_detector_misses_or_sees_is_told_as_such(label, predicted, score, told):
    crops = answers((label, predicted), score=score)._replace(detector=True)
    assert crops.text(0) == told
    assert NOTHING not in crops.taken([0]).text(0)


def test_a_class_called_nothing_is_a_class_of_a_classifier():
    assert answers(("up", NOTHING)).text(0) == "up → nothing"
    assert commonest_confusion(answers(*[("up", NOTHING)] * 3)) == "All are up taken for nothing"


def test_columns_are_those_of_which_anything_is_known():
    known = answers(("a", "b"), ("", "b"))
    assert set(known.columns) == {"label", "predicted"}
    assert set(answers(("", "b"), ("", "c"), score=0.5).columns) == {"predicted", "confidence"}
    assert answers(("", ""), score=np.nan).columns == {}


def test_the_target_of_a_regression_has_its_own_name_and_is_a_number():
    angles = answers(("0.25", "-1"), ("", "2"))._replace(kind=ERROR, target="steering")
    assert list(angles.columns) == ["steering", "predicted"]
    np.testing.assert_array_equal(angles.columns["steering"], [0.25, np.nan])
