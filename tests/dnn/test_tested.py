"""The table of a DNN's answers to its whole test set."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from dnn.tested import AnsweredImages, find_predictions, load_predictions, predictions_text, read_predictions
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
        return read_predictions(path, tested)

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
    table.write_text(predictions_text(paths, answers, right))
    assert table.read_text().startswith("image,label,predicted,confidence,right\nstop/0.png,stop,stop,0.5,true\n")
    found = read_predictions(table, tested)
    assert found.paths == paths
    assert found.answers.label.tolist() == answers.label.tolist()
    assert found.answers.predicted.tolist() == answers.predicted.tolist()
    np.testing.assert_array_equal(found.answers.score, answers.score)
    assert found.right.tolist() == right.tolist()
    assert found.failure_rate == pytest.approx(1 / 3)
    assert found.notes == ()


def test_labels_are_those_of_the_folders_where_there_is_no_column_and_right_is_compared(read):
    found = read("image;predicted\nstop/1.png;yield\nstop/0.png;stop\n", "utf-8-sig")
    assert found.paths == ("stop/0.png", "stop/1.png")
    assert found.answers.label.tolist() == ["stop", "stop"]
    assert found.right.tolist() == [True, False]
    assert np.isnan(found.answers.score).all()


def test_names_may_be_relative_to_the_table(read):
    assert read("image,predicted\ntest/stop/0.png,stop\ntest/stop/1.png,yield\n").paths == ("stop/0.png", "stop/1.png")


def test_a_regression_has_errors_and_says_what_is_right(read):
    found = read("image,label,predicted,error,right\nstop/0.png,1.5,1.4,0.1,true\nstop/1.png,1 2,3 4,2,false\n")
    assert found.answers.kind == ERROR
    assert found.answers.score.tolist() == pytest.approx([0.1, 2])
    assert found.right.tolist() == [True, False]


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("name,predicted\nstop/0.png,stop\n", "columns image and predicted"),
        ("image,label\nstop/0.png,stop\n", "columns image and predicted"),
        ("", "columns image and predicted"),
        ("image,label,predicted\n", "whose first image is missing"),
        ("image,label,predicted\nelse/0.png,stop,stop\n", "whose first image is else/0.png"),
        ("image,predicted\nstop/0.png,stop\nstop/0.png,yield\n", "rows 2 and 3 with different values for predicted"),
        ("image,predicted,right\nstop/0.png,stop,false\n", "agrees with itself in row 2"),
        ("image,predicted,right\nstop/0.png,stop,perhaps\n", "Received: perhaps"),
        ("image,predicted,confidence\nstop/0.png,stop,1.2\n", "a confidence from 0 to 1, or none in row 2"),
        ("image,predicted,confidence\nstop/0.png,stop,high\n", "a confidence from 0 to 1, or none in row 2"),
        ("image,label,predicted\nstop/0.png,,stop\n", "true or false under right, or a label and a prediction"),
        ("image,label,predicted,error\nstop/0.png,1,2,3\n", "true or false under right"),
        ("image,label,predicted,error,right\nstop/0.png,1,2,-3,true\n", "a number for the error"),
    ],
)
def test_a_table_that_is_wrong_is_refused_in_a_sentence(read, table, expected):
    with pytest.raises(SAFEError, match="Expected") as caught:
        read(table)
    assert expected in str(caught.value)


def test_images_that_are_not_there_and_rows_that_repeat_are_told(read):
    found = read(
        "image,predicted\nstop/0.png,stop\nstop/0.png,stop\nstop/9.png,stop\n../secret.png,stop\nyield/0.png,stop\n"
    )
    assert found.paths == ("stop/0.png", "yield/0.png")
    assert "2 rows of predictions.csv, the first stop/9.png" in found.notes[0]
    assert found.notes[1] == "Repeated in predictions.csv: 1 row."


@pytest.mark.parametrize(("predicted", "told"), [("stop", "gets wrong"), ("yield", "gets right")])
def test_without_wrong_or_right_images_there_is_nothing_to_compare(read, predicted, told):
    found = read(f"image,predicted\nstop/0.png,{predicted}\nstop/1.png,{predicted}\n")
    assert told in found.one_sided
    assert read("image,predicted\nstop/0.png,stop\nyield/1.png,stop\n").one_sided == ""


def test_a_class_that_no_image_has_may_be_predicted(read):
    assert read("image,predicted\nstop/0.png,speed 60\nyield/0.png,yield\n").right.tolist() == [False, True]


def test_a_folder_that_is_gone_is_told(tmp_path):
    (tmp_path / "predictions.csv").write_text("image,predicted\nstop/0.png,stop\n")
    with pytest.raises(SAFEError, match="which is no folder"):
        read_predictions(tmp_path / "predictions.csv", tmp_path / "gone")
    with pytest.raises(SAFEError, match="Could not read"):
        read_predictions(tmp_path / "none.csv", tmp_path)


def test_copies_in_another_folder_are_found_by_their_names(read, tmp_path):
    found = read("image,predicted\nstop/0.png,yield\nyield/2.png,stop\nyield/1.png,yield\n")
    rows = found.rows_of(tmp_path / "failures", ["stop/0.png", "yield/2.png", "other/7.png"])
    assert rows.tolist() == [0, 2, -1]
    assert found.answers_to(rows).predicted.tolist() == ["yield", "stop", ""]
    assert found.answers_to(rows).text(2) == ""


def test_predictions_beside_the_images_are_found_with_their_test_folder(tmp_path):
    assert find_predictions(tmp_path / "failures") is None
    (tmp_path / "predictions.csv").write_text("image,predicted\n")
    assert find_predictions(tmp_path / "failures") is None
    (tmp_path / "accuracy.json").write_text('{"test_root": "/data/test"}')
    assert find_predictions(tmp_path / "failures") == (tmp_path / "predictions.csv", Path("/data/test"))


def test_what_failures_writes_is_read_again_without_the_test_images(tmp_path):
    answers = Answers(np.array(["=a", "b"]), np.array(["b", "b"]), np.array([0.25, np.nan], np.float32), "confidence")
    right = np.array([False, True])
    (tmp_path / "predictions.csv").write_text(predictions_text(["=a/ 1.png", "b/2.png"], answers, right))
    paths, read, read_right = load_predictions(tmp_path)
    assert paths == ("=a/ 1.png", "b/2.png")
    assert (read.label.tolist(), read.predicted.tolist(), read.kind) == (["=a", "b"], ["b", "b"], "confidence")
    assert read.score[0] == 0.25
    assert np.isnan(read.score[1])
    assert read_right.tolist() == [False, True]
