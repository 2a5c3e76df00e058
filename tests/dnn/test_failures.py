import contextlib
import json
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.failures import find_failures, load_failures
from safe_dnn.dnn.model import load_dnn
from safe_dnn.dnn.predictions import LabelledImages, Predictions, check_precision, labelled_images, undecided
from safe_dnn.options import DnnOptions
from safe_dnn.support import files
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import find_images
from tests.helpers.answered import facts_of
from tests.helpers.places import names_in, rows_in
from tests.helpers.small_models import SIDE, brightness_model, colour_model, draw_colour, draw_set, saved


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved(colour_model(), tmp_path_factory.mktemp("models") / "colours.keras")


@pytest.fixture
def test_set(tmp_path):
    return draw_set(tmp_path / "test", 4, {"red": ("blue", 2), "green": ("red", 1)})


def test_failing_images_are_copied_with_their_class_folders_and_tables_say_what_was_found(model, test_set, tmp_path):
    found = find_failures(model, test_set, tmp_path / "out")
    assert len(found.paths) == 15
    assert found.accuracy == pytest.approx(12 / 15)
    sources = ["green/in_red_00.png", "red/in_blue_00.png", "red/in_blue_01.png"]
    assert [*found.failing] == sources
    for source in sources:
        assert (tmp_path / "out" / "failures" / source).read_bytes() == (test_set / source).read_bytes()
    assert list(labelled_images(tmp_path / "out" / "failures").paths) == sources
    table = rows_in(tmp_path / "out" / "failures.csv")
    assert [row["image"] for row in table] == [f"failures/{source}" for source in sources]
    assert [(row["label"], row["predicted"]) for row in table] == [("green", "red"), *[("red", "blue")] * 2]
    assert all(0.5 < float(row["confidence"]) <= 1 for row in table)
    record = json.loads((tmp_path / "out" / "accuracy.json").read_text())
    assert record["test_accuracy"] == pytest.approx(0.8)
    assert (record["test_size"], record["failures"]) == (15, 3)
    assert record["classes"] == ["blue", "green", "red"]
    assert any("output 0 is blue" in line for line in record["assumptions"])


def test_a_folder_with_foreign_files_is_never_replaced(model, test_set, tmp_path):
    find_failures(model, test_set, tmp_path / "out")
    note = tmp_path / "out" / "failures" / "red" / "note.txt"
    note.write_text("mine")
    with pytest.raises(SAFEError, match=r"other files \(red/note\.txt\)"):
        find_failures(model, test_set, tmp_path / "out")
    assert note.read_text() == "mine"
    (tmp_path / "other" / "failures").mkdir(parents=True)
    (tmp_path / "other" / "failures" / "thesis.txt").write_text("mine")
    with pytest.raises(SAFEError, match="Choose another output folder"):
        find_failures(model, test_set, tmp_path / "other")


def test_failures_that_a_killed_process_had_moved_aside_are_put_back_when_they_are_looked_for(
    model, test_set, tmp_path
):
    find_failures(model, test_set, tmp_path / "out")
    target = tmp_path / "out" / "failures"
    for look in (lambda: find_images(target), lambda: find_failures(model, test_set, tmp_path / "out")):
        target.rename(files._aside(target))
        look()
        assert len(find_images(target).paths) == 3
    assert names_in(tmp_path / "out") == ["accuracy.json", "failures", "failures.csv", "predictions.csv"]


def model_of(last, path):
    """A model whose last layers are these."""
    import keras

    layers = keras.layers
    parts = [keras.Input((SIDE, SIDE, 3)), layers.Rescaling(1 / 255), layers.Flatten(), *last(layers)]
    return saved(keras.Sequential(parts), path)


def test_a_model_that_cannot_decide_is_refused_and_single_images_are_told(test_set, tmp_path):
    same = model_of(lambda layers: [layers.Dense(3, "softmax", kernel_initializer="zeros")], tmp_path / "same.keras")
    with pytest.raises(SAFEError, match="several classes have the largest output for 15 of 15 images"):
        find_failures(same, test_set, tmp_path / "out")
    dnn = load_dnn(same)
    outputs = np.eye(3, dtype=np.float32)[[0] * 20]
    outputs[0, 1] = 1
    told = undecided(dnn, Predictions(np.arange(20), outputs))
    assert told == ("Undecided: several classes have the largest output for 1 of 20 images; the first counts.",)
    assert undecided(dnn, Predictions(np.arange(19), outputs[1:])) == ()


def test_a_model_whose_answers_depend_on_the_batch_is_refused(test_set, tmp_path):
    model = model_of(lambda layers: [layers.Dense(3), layers.Softmax(axis=0)], tmp_path / "batch.keras")
    with pytest.raises(SAFEError, match="answers otherwise to an image alone than in a batch"):
        find_failures(model, test_set, tmp_path / "out")


# --- Regression -------------------------------------------------------------------------------------------------


@pytest.fixture
def regression(tmp_path):
    """Ten images with their mean red and blue, the last two with targets that are off by 0.5."""
    rng = np.random.default_rng(0)
    (tmp_path / "test").mkdir()
    lines = ["image,red,blue"]
    for i in range(10):
        image = draw_colour("red" if i % 2 else "blue", rng)
        image.save(tmp_path / "test" / f"{i}.png")
        red, _, blue = np.asarray(image).mean(axis=(0, 1)) / 255
        lines.append(f"test/{i}.png,{red + 0.5 * (i > 7)},{blue}")
    (tmp_path / "targets.csv").write_text("\n".join(lines) + "\n")
    saved(brightness_model(), tmp_path / "regression.keras")
    return tmp_path


def regress(folder, targets="targets.csv", threshold=0.1):
    return find_failures(
        folder / "regression.keras",
        folder / "test",
        folder / "out",
        options=DnnOptions(targets=folder / targets, threshold=threshold),
    )


def test_of_a_regression_an_error_above_the_threshold_is_a_failure(regression):
    found = regress(regression)
    assert [*found.failing] == ["8.png", "9.png"]
    assert found.accuracy == pytest.approx(0.8)
    assert found.answers.score[~found.right][0] == pytest.approx(np.sqrt(0.125), abs=1e-3)
    assert list(rows_in(regression / "out" / "failures.csv")[0])[-1] == "error"
    assert facts_of(load_failures(regression / "out")) == facts_of(found)
    assert regress(regression, threshold=0.4).failing == ()


@pytest.mark.parametrize(
    ("precision", "far", "threshold", "words"),
    [
        ("float32", 5412345, 0.1, r"steps of float32, .* Received targets up to 54\d+\.?\d*, where they are 0\.5\."),
        ("float32", 1.7e9, 1, "where they are 128"), ("float32", 5412345, 5, ""),
        ("float16", 350, 1, "steps of float16, .* where they are 0.25"), ("float16", 350, 5, ""),
        ("float64", 9e15, 5, "steps of float64, .* where they are 1"),
    ],
)  # fmt: skip
def test_targets_that_the_number_format_of_a_model_does_not_resolve_are_refused(precision, far, threshold, words):
    images = LabelledImages(Path(), ("0.png",), ("x",), np.array([[-1.0 * far]]))
    with pytest.raises(SAFEError, match=words) if words else contextlib.nullcontext():
        check_precision(precision, images, threshold)


def test_a_regression_far_from_zero_is_refused_before_the_model_runs(regression):
    lines = (regression / "targets.csv").read_text().splitlines()
    far = [lines[0], *(f"{line.split(',')[0]},5412345.1,5412345.2" for line in lines[1:])]
    (regression / "targets.csv").write_text("\n".join(far) + "\n")
    with pytest.raises(SAFEError, match="Subtract a constant from the targets"):
        regress(regression)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image\na.png\n", "at least one target"), ("file,x\na.png,1\n", "columns image"),
        ("image,x,y\ntest/0.png,1,nan\n", "line 2"),
        ("image,x\n" + "".join(f"test/{i}.png,1\n" for i in range(10)), "as the model has outputs, 2. Received 1"),
        ("image,x,y\nother.png,1,2\n", "whose first image is other.png"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused(regression, text, words):
    (regression / "targets.csv").write_text(text)
    with pytest.raises(SAFEError, match=words):
        regress(regression)


def test_results_inside_the_test_folder_are_refused(model, test_set):
    for out in (test_set, test_set / "red", test_set / "results", test_set / "red" / "a" / "b"):
        with pytest.raises(SAFEError, match="outside the test folder"):
            find_failures(model, test_set, out)
    assert names_in(test_set) == ["blue", "green", "red"]
    assert labelled_images(test_set).classes == ("blue", "green", "red")
    assert not (test_set / "red" / "a").exists()
