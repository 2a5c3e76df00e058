import dataclasses
import gc
import os
import weakref

import numpy as np
import pytest
from PIL import Image

from dnn.model import load_dnn
from dnn.predictions import (
    LabelledImages,
    Pixels,
    as_probabilities,
    check_classes,
    errors_of,
    judge,
    labelled_images,
    predict,
    run_model,
)
from support.errors import SAFEError
from support.text import printable
from tests.helpers.small_models import NAMES, SIDE, colour_model, draw_colour, draw_set, red_model, saved


@pytest.fixture(scope="module")
def dnn(tmp_path_factory):
    return load_dnn(saved(colour_model(), tmp_path_factory.mktemp("models") / "colours.keras"))


# --- Class folders ----------------------------------------------------------------------------------------------


def test_class_folders_in_sorted_order_are_the_outputs(tmp_path, dnn):
    images = labelled_images(draw_set(tmp_path, 2))
    assert images.classes == NAMES
    assert images.paths[0] == "blue/plain_00.png"
    assert images.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert "output 0 is blue, output 1 is green, output 2 is red" in check_classes(dnn, images)


def test_many_classes_are_told_by_the_first_and_the_last(tmp_path, dnn):
    many = LabelledImages(tmp_path, (), tuple(f"{i:02d}" for i in range(43)), np.empty(0, int))
    assumption = check_classes(dataclasses.replace(dnn, n_outputs=43), many)
    assert assumption.endswith("output 2 is 02, …, output 42 is 42.")
    with pytest.raises(SAFEError, match="each of the model's 3 classes"):
        check_classes(dnn, many)


def test_class_names_are_matched_by_name_with_those_of_training(tmp_path):
    draw_set(tmp_path, 1)
    (tmp_path / "green" / "plain_00.png").unlink()
    (tmp_path / "green").rmdir()
    images = labelled_images(tmp_path, classes=NAMES)
    assert images.labels.tolist() == [0, 2]
    assert images.empty == ("green",)


@pytest.mark.parametrize("name", [b"caf\xe9", b" blue", b"blue ", "blue\u3000".encode(), b"bl\x1bue", b"bl\nue"])
def test_a_class_folder_whose_name_would_not_come_back_as_a_label_is_to_be_renamed(tmp_path, name):
    draw_set(tmp_path, 1)
    (tmp_path / "red").rename(tmp_path / os.fsdecode(name))
    with pytest.raises(SAFEError, match=r"Expected class folders whose names are text .* Rename it") as caught:
        labelled_images(tmp_path)
    assert printable(str(caught.value)) == str(caught.value)


def test_an_empty_class_folder_counts_as_an_output(tmp_path, dnn):
    draw_set(tmp_path, 1)
    (tmp_path / "blue" / "plain_00.png").unlink()
    images = labelled_images(tmp_path)
    assert images.labels.tolist() == [1, 2]
    assert images.empty == ("blue",)
    check_classes(dnn, images)


def test_a_class_that_training_does_not_know_is_refused(tmp_path):
    with pytest.raises(SAFEError, match=r"as in training \(blue, green\)\. Received red"):
        labelled_images(draw_set(tmp_path, 1), classes=("blue", "green"))


def test_images_in_no_class_folder_are_named(tmp_path):
    draw_set(tmp_path, 1)
    draw_colour("red", np.random.default_rng(0)).save(tmp_path / "loose.png")
    images = labelled_images(tmp_path)
    assert [skip.path for skip in images.skipped] == ["loose.png"]
    assert len(images.paths) == 3


def test_a_folder_without_class_folders_is_refused(tmp_path):
    draw_colour("red", np.random.default_rng(0)).save(tmp_path / "loose.png")
    with pytest.raises(SAFEError, match="a folder for each class"):
        labelled_images(tmp_path)


def test_the_number_of_classes_must_be_that_of_the_outputs(tmp_path, dnn):
    draw_set(tmp_path, 1)
    (tmp_path / "yellow").mkdir()
    with pytest.raises(SAFEError, match=r"3 classes\. Received 4 \(blue, green, red, yellow\)"):
        check_classes(dnn, labelled_images(tmp_path))


# --- Running the model ------------------------------------------------------------------------------------------


def test_predictions_come_in_order_and_unreadable_images_are_named(tmp_path, dnn):
    images = labelled_images(draw_set(tmp_path, 50))
    (tmp_path / "green" / "plain_03.png").write_bytes(b"no image")
    seen = []
    found = predict(dnn, images.root, images.paths, progress=lambda what, done, total: seen.append((done, total)))
    assert found.outputs.shape == (149, 3)
    assert found.outputs.dtype == np.float32
    assert [skip.path for skip in found.skipped] == ["green/plain_03.png"]
    assert [path.split("/")[0] for path in found.paths] == [NAMES[i] for i in found.outputs.argmax(axis=1)]
    assert seen == [(0, 150), (128, 150), (150, 150)]


def test_no_readable_image_is_refused(tmp_path, dnn):
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(SAFEError, match=r"The first, bad\.png"):
        predict(dnn, tmp_path, ["bad.png"])


def test_outputs_that_are_no_numbers_are_refused(tmp_path):
    model = colour_model()
    model.set_weights([np.full_like(weights, np.nan) for weights in model.get_weights()])
    broken = load_dnn(saved(model, tmp_path / "nan.keras"))
    draw_colour("red", np.random.default_rng(0)).save(tmp_path / "red.png")
    with pytest.raises(SAFEError, match="must be finite"):
        predict(broken, tmp_path, ["red.png"])


def test_pixels_kept_in_memory_are_those_read_anew(tmp_path, dnn):
    files = labelled_images(draw_set(tmp_path, 3)).files
    kept, streamed = Pixels(dnn, files), Pixels(dnn, files, cache_bytes=0)
    order = np.array([5, 0, 5, 2])
    for _ in range(2):
        np.testing.assert_array_equal(kept.take(order)[0], streamed.take(order)[0])
    for file in files:
        file.unlink()
    assert len(kept.take(order)[1]) == 4
    assert len(streamed.take(order)[1]) == 0
    assert set(streamed.unreadable) == {0, 2, 5}


def test_images_from_memory_run_like_those_from_files(tmp_path, dnn):
    files = labelled_images(draw_set(tmp_path, 2)).files
    array = np.stack([np.asarray(Image.open(file)) for file in files])
    order = np.arange(6)
    from_files = run_model(dnn, dnn.model, Pixels(dnn, files), order)[1]
    np.testing.assert_array_equal(run_model(dnn, dnn.model, Pixels.of_array(dnn, array), order)[1], from_files)


def test_larger_images_are_brought_to_the_models_size(tmp_path, dnn):
    Image.new("RGB", (40, 30), (200, 40, 40)).save(tmp_path / "large.png")
    pixels, _ = Pixels(dnn, [tmp_path / "large.png"]).take(np.array([0]))
    assert pixels.shape == (1, SIDE, SIDE, 3)
    assert (pixels == (200, 40, 40)).all()


def test_logits_and_single_outputs_become_probabilities():
    np.testing.assert_allclose(
        as_probabilities(np.log(np.array([[1.0, 2.0, 5.0]])), "classification", "logits"), [[0.125, 0.25, 0.625]]
    )
    huge = as_probabilities(np.array([[1000.0, 0.0]]), "classification", "logits")
    np.testing.assert_allclose(huge, [[1, 0]])
    np.testing.assert_allclose(as_probabilities(np.array([[0.7]]), "classification", "sigmoid"), [[0.3, 0.7]])
    np.testing.assert_allclose(
        as_probabilities(np.array([[0.0], [-1000.0]]), "classification", "logits"), [[0.5, 0.5], [1, 0]]
    )
    several = np.array([[0.9, 0.8]])
    assert as_probabilities(several, "classification", "sigmoid") is several


@pytest.mark.parametrize(("last", "loss"), [("sigmoid", "binary_crossentropy"), ("linear", None)])
def test_a_single_output_tells_two_classes_apart(tmp_path, last, loss):
    binary = load_dnn(saved(red_model(last, loss), tmp_path / "binary.keras"))
    rng = np.random.default_rng(0)
    for name in ("blue", "red"):
        (tmp_path / "set" / name).mkdir(parents=True)
        draw_colour(name, rng).save(tmp_path / "set" / name / "a.png")
    images = labelled_images(tmp_path / "set")
    check_classes(binary, images)
    judged = judge(binary, images, *run_model(binary, binary.model, Pixels(binary, images.files), np.arange(2)))
    assert judged.predicted.tolist() == [0, 1]
    assert judged.accuracy == 1
    assert (judged.score > 0.9).all()


def test_the_error_of_a_regression_is_the_root_mean_square_over_its_targets():
    errors = errors_of(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 0.0], [0.0, 0.0]]))
    np.testing.assert_allclose(errors, [0, np.sqrt(12.5)])


def test_images_are_not_kept_when_the_model_has_been_run_on_them(dnn, caplog):
    pixels = Pixels.of_array(dnn, np.zeros((3, SIDE, SIDE, 3), np.uint8))
    run_model(dnn, dnn.model, pixels, np.arange(3))
    gone = weakref.ref(pixels)
    del pixels
    gc.collect()
    assert gone() is None
    assert caplog.messages == []  # AutoGraph, in vain
