"""The table of a DNN's answers to its whole test set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnn.tested import AnsweredImages, predictions_text, read_predictions
from rccs.answers import CONFIDENCE, ERROR, Answers
from support.errors import SAFEError

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
    assert found.notes == ("All figures are of 3 of 6 images: others have no row.",)


def test_a_regression_has_errors_and_says_what_is_right(read):
    found = read("image,label,predicted,error,right\nstop/0.png,1.5,1.4,0.1,true\nstop/1.png,1 2,3 4,2,false\n")
    assert found.answers.kind == ERROR
    assert found.answers.score.tolist() == pytest.approx([0.1, 2])
    assert found.right.tolist() == [True, False]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name,predicted\nstop/0.png,stop\n", "columns image and predicted"),
        ("image,label,predicted\n", "without a row"),
        ("image,label,predicted,held_out\nstop/0.png,stop,stop,true\n", "all of whose images are held out"),
        ("image,label,predicted\nelse/0.png,stop,stop\n", "whose first image is else/0.png"),
        ("image,predicted\nstop/0.png,stop\nstop/0.png,yield\n", "lines 2 and 3 with different values for predicted"),
        ("image,predicted,right\nstop/0.png,stop,false\n", "agrees with itself in line 2"),
        ("image,predicted,confidence\nstop/0.png,stop,1.2\n", "a confidence from 0 to 1, or none in line 2"),
        ("image,label,predicted\nstop/0.png,,stop\n", "true or false under right, or a label and a prediction"),
        ("image,label,predicted,error,right\nstop/0.png,1,2,-3,true\n", "a number for the error"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_a_sentence(read, table, expected):
    with pytest.raises(SAFEError, match="Expected") as caught:
        read(table)
    assert expected in str(caught.value)


# --- Rows and images ----------------------------------------------------------------------------------------------

SIX = [(f"{name}/{i}.png", name) for name in ("stop", "yield") for i in range(3)]


@pytest.mark.parametrize(
    ("rows", "received"),
    [
        (SIX[:5], "a row for 5 of 6 images (not for yield/2.png) and an image for 5 of 5 rows."),
        ([*SIX, ("stop/9.png", "stop")], "a row for 6 of 6 images and an image for 6 of 7 rows (not for stop/9.png)."),
        (SIX[:2], "(not for stop/2.png, yield/0.png, yield/1.png, … (4 in all))"),
    ],
)
def test_a_table_about_other_images_than_the_folder_is_refused_with_examples(tested, tmp_path, rows, received):
    (tmp_path / "answers.csv").write_text("\n".join(["image,predicted", *map(",".join, rows)]) + "\n")
    with pytest.raises(SAFEError, match=r"Expected a row in .* for nine of ten images") as caught:
        read_predictions(tmp_path / "answers.csv", tested)
    assert received in str(caught.value)
    assert "--partial" in str(caught.value)
    assert len(read_predictions(tmp_path / "answers.csv", tested, partial=True).paths) == min(len(rows), 6)
