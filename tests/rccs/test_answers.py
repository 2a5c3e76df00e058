import numpy as np
import pytest

from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers, commonest_confusion


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


def test_an_answer_that_is_no_class_is_not_taken_for_one():
    assert answers(("car", "missed")).text(0) == "car → missed"
    assert answers(("car", "false detection"), score=0.93).text(0) == "car → false detection (93%)"
    assert commonest_confusion(answers(*[("car", "missed")] * 3)) == "All are car: missed"
    assert commonest_confusion(answers(*((name, "missed") for name in "abcdefgh"))) == "All are missed"


def test_columns_are_those_of_which_anything_is_known():
    known = answers(("a", "b"), ("", "b"))
    assert set(known.columns) == {"label", "predicted"}
    assert set(answers(("", "b"), ("", "c"), score=0.5).columns) == {"predicted", "confidence"}
    assert answers(("", ""), score=np.nan).columns == {}


def test_the_target_of_a_regression_has_its_own_name_and_is_a_number():
    angles = answers(("0.25", "-1"), ("", "2"))._replace(kind=ERROR, target="steering")
    assert list(angles.columns) == ["steering", "predicted"]
    np.testing.assert_array_equal(angles.columns["steering"], [0.25, np.nan])
