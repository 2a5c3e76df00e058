"""The table of a DNN's answers to its whole test set."""

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.tested import AnsweredImages, predictions_text, read_predictions
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers
from safe_dnn.support.errors import SAFEError

Read = Callable[..., AnsweredImages]


@pytest.fixture
def tested(tmp_path: Path) -> Path:
    """Six test images in two class folders; their content does not matter here."""
    for name in ("stop/0.png", "stop/1.png", "stop/2.png", "yield/0.png", "yield/1.png", "yield/2.png"):
        (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "test" / name).touch()
    return tmp_path / "test"


@pytest.fixture
def read(tested: Path, tmp_path: Path) -> Read:
    def read(table: str, encoding: str = "utf-8") -> AnsweredImages:
        path = tmp_path / "predictions.csv"
        path.write_text(table, encoding=encoding)
        return read_predictions(path, tested, partial=True)

    return read


def test_what_is_written_is_read_again(tested, tmp_path):
    paths = ("stop/0.png", "stop/1.png", "yield/0.png")
    answers = Answers(
        np.array(["stop", "stop", "=yield"]),
        np.array(["stop", "=yield", "=yield"]),
        np.array([0.5, np.nan, 1.0], np.float32),
        CONFIDENCE,
    )
    right = np.array([True, False, True])
    table = tmp_path / "predictions.csv"
    table.write_text(predictions_text(AnsweredImages(table, tested, paths, answers, right)))
    assert table.read_text().startswith("image,label,predicted,confidence,right\nstop/0.png,stop,stop,0.5,true\n")
    found = read_predictions(table, tested, partial=True)
    assert found.paths == paths
    assert found.answers.label.tolist() == answers.label.tolist()
    assert found.answers.predicted.tolist() == answers.predicted.tolist()
    np.testing.assert_array_equal(found.answers.score, answers.score)
    assert found.right.tolist() == right.tolist()
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.notes == ("All figures are of 3 of 6 images: 3 have no row.",)


def test_a_regression_has_errors_and_says_what_is_right(read):
    found = read("image,label,predicted,error,right\nstop/0.png,1.5,1.4,0.1,true\nstop/1.png,1 2,3 4,2,false\n")
    assert found.answers.kind == ERROR
    assert found.answers.score.tolist() == pytest.approx([0.1, 2])
    assert found.right.tolist() == [True, False]


def test_a_copy_of_a_regressions_target_is_known_also_if_one_target_is_no_number(read):
    rows = ("stop/0.png,1.5,1.4,0.1,true", "stop/1.png,2.5,2.4,0.1,true", "stop/2.png,1 2,3 4,2,false")
    found = read("image,label,predicted,error,right\n" + "\n".join(rows) + "\n")
    with warnings.catch_warnings(action="error"):
        assert found.same_as_target({"copy": np.array([1.5, 2.5, 7]), "other": np.array([1.5, 2.6, 7])}) == ["copy"]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name,predicted\nstop/0.png,stop\n", "columns image and predicted"),
        ("image,Predicted,p(stop),p(yield)\nstop/0.png,stop,.1,.9\n", "Name them so, in lower case"),
        ("image,label,predicted\n", "without a row"),
        ("image,label,predicted,held_out\nstop/0.png,stop,stop,true\n", "all of whose images are held out"),
        ("image,label,predicted\nelse/0.png,stop,stop\n", "whose first image is else/0.png"),
        ("image,predicted\nstop/0.png,stop\nstop/0.png,yield\n", "lines 2 and 3 with different values for predicted"),
        ("image,predicted,right\nstop/0.png,stop,false\n", "agrees with itself in line 2"),
        ("image,predicted,confidence\nstop/0.png,stop,1.2\n", "a confidence from 0 to 1, or none in line 2"),
        ("image,label,predicted\nstop/0.png,,stop\n", "true or false under right, or a label and a prediction"),
        ("image,label,predicted,error,right\nstop/0.png,1,2,-3,true\n", "a number for the error"),
        ("image,predicted,p(stop),p(yield)\nstop/0.png,stop,.1,.9\n", "Received: stop with 0.1, and yield with 0.9"),
        ("image,predicted,p(stop),p(yield)\nstop/0.png,go,.1,.9\n", "Received: go with 0, and yield with 0.9"),
        ("image,label,predicted\nstop/0.png,yield,stop\nyield/0.png,stop,stop\n", "class folder, stop, under label"),
        *(
            (
                f"image,predicted,{columns}\nstop/0.png,stop,.9,.1\nstop/0.png,stop,.6,.4\n",
                "lines 2 and 3 with different",
            )
            for columns in ("p(stop),p(yield)", "stop,yield")
        ),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_a_sentence(read, table, expected):
    with pytest.raises(SAFEError, match="Expected") as caught:
        read(table)
    assert expected in str(caught.value)


def test_labels_that_contradict_some_class_folders_are_told(read):
    found = read("image,label,predicted\nstop/0.png,yield,stop\nyield/0.png,yield,stop\n")
    assert found.notes[0] == "label in predictions.csv is not the class folder of 1 of 2 images; it counts."


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ("st\u00adop", r"'stop' and 'st\xadop'"), ("Stop", "Stop and stop"), ("s-top", "s-top and stop"),
    ],
)  # fmt: skip
def test_a_class_in_two_spellings_is_refused_wherever_they_stand(read, other, words):
    for table in (
        f"image,predicted\nstop/0.png,stop\nstop/1.png,{other}\n",
        f"image,label,predicted\nstop/0.png,stop,stop\nstop/1.png,{other},stop\n",
        f"image,{other},yield\nstop/0.png,.9,.1\nyield/1.png,.9,.1\n",
        f"image,p({other}),p(yield)\nstop/0.png,.9,.1\nyield/1.png,.9,.1\n",
    ):  # fmt: skip
        with pytest.raises(SAFEError, match="Expected one spelling of each class") as caught:
            read(table)
        assert words in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("café", "cafe\u0301"),
        ("7", "07"),
        ("stop sign", "stop\xa0sign"),
        ("class_07", "class 7"),
    ],
)
def test_labels_in_two_spellings_are_refused_unless_the_network_tells_them_apart(read, one, other):
    rows = f"stop/0.png,{one},{one}\nstop/1.png,{other},"
    with pytest.raises(SAFEError, match="Expected one spelling of each class"):
        read(f"image,label,predicted\n{rows}{one}\n")
    if ascii(one) == f"'{one}'" and ascii(other) == f"'{other}'":
        assert read(f"image,label,predicted\n{rows}{other}\n").accuracy == 1


@pytest.mark.parametrize(
    "names", [("1", "-1", "+"), ("1234567", "1234568", "10"), ("9007199254740993", "9007199254740992", "100"),
              ("5 C", "-5 C", "C5"), ("C", "C++", "C#"), ("1.0", "10", "1.5")],
)  # fmt: skip
def test_names_that_differ_otherwise_are_of_different_classes(read, names):
    rows = "".join(f"stop/{i}.png,{name},{names[0]}\n" for i, name in enumerate(names))
    assert read(f"image,label,predicted\n{rows}").accuracy == pytest.approx(1 / 3)


# --- Probabilities ------------------------------------------------------------------------------------------------

SHARES = [("stop/0.png", 0.3, 0.1, 0.6), ("stop/1.png", 0.9, 0.1, 0), ("yield/0.png", 0.1, 0.4, 0.5)]


@pytest.mark.parametrize(
    ("columns", "more"),
    [
        ("p(stop),p(yield),p(go)", ""), ("stop,yield,go", ""), ("stop,yield,go,night", ",.5"),
        ("stop,yield,go,x", ",day"),
    ],
)  # fmt: skip
def test_a_class_without_images_counts_if_its_column_completes_the_sum_of_1(read, columns, more):
    rows = "".join(f"{image},{a},{b},{c}{more}\n" for image, a, b, c in SHARES)
    found = read(f"image,{columns}\n{rows}")
    assert found.answers.predicted.tolist() == ["go", "stop", "go"]
    assert found.classes == ("stop", "yield", "go")
    assert found.right.tolist() == [False, True, False]


def test_columns_that_may_be_classes_or_not_are_refused_and_sums_other_than_1_are_told(read):
    rows = "".join(f"{image},{a},{b},{c / 2},{c / 2},.5\n" for image, a, b, c in SHARES)
    with pytest.raises(SAFEError, match=r"those of stop, yield in .*, and go, left, night, which may be others"):
        read(f"image,stop,yield,go,left,night\n{rows}")
    rows = "".join(f"{image},{a},{b}\n" for image, a, b, c in SHARES)
    for columns in ("stop,yield", "p(stop),p(yield)"):
        assert "do not sum to 1: is a class missing" in read(f"image,{columns}\n{rows}").notes[0]
    assert read("image,stop,yield,night\nstop/0.png,.9,.8,.1\n").classes == ("stop", "yield")  # sigmoids


# --- Rows and images ----------------------------------------------------------------------------------------------

SIX = [(f"{name}/{i}.png", name) for name in ("stop", "yield") for i in range(3)]


@pytest.mark.parametrize(
    ("rows", "received"),
    [
        (SIX[:5], "a row for 5 of 6 images (not for yield/2.png) and an image for 5 of 5 rows."),
        ([*SIX, ("stop/9.png", "stop")], "a row for 6 of 6 images and an image for 6 of 7 rows (not for stop/9.png)."),
        (SIX[:2], "(not for stop/2.png, yield/0.png, yield/1.png, … (4 in all))"),
    ],
)  # fmt: skip
def test_a_table_about_other_images_than_the_folder_is_refused_with_examples(tested, tmp_path, rows, received):
    (tmp_path / "answers.csv").write_text("\n".join(["image,predicted", *map(",".join, rows)]) + "\n")
    with pytest.raises(SAFEError, match=r"Expected a row in .* for nine of ten images") as caught:
        read_predictions(tmp_path / "answers.csv", tested)
    assert received in str(caught.value)
    assert caught.value.fields == ("partial",)
    assert len(read_predictions(tmp_path / "answers.csv", tested, partial=True).paths) == min(len(rows), 6)
