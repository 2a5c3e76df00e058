import os

import numpy as np
import pytest
from PIL import Image

from safe_dnn.dnn.model import load_dnn
from safe_dnn.dnn.predictions import as_probabilities, interpolated, labelled_images, predict
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import reporting
from safe_dnn.support.text import printable
from tests.helpers.small_models import NAMES, colour_model, draw_set, saved


@pytest.fixture(scope="module")
def dnn(tmp_path_factory):
    return load_dnn(saved(colour_model(), tmp_path_factory.mktemp("models") / "colours.keras"))


# --- Class folders ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"caf\xe9", b" blue", b"blue ", "blue\u3000".encode(), b"bl\x1bue", b"bl\nue"])
def test_a_class_folder_whose_name_would_not_come_back_as_a_label_is_to_be_renamed(tmp_path, name):
    draw_set(tmp_path, 1)
    (tmp_path / "red").rename(tmp_path / os.fsdecode(name))
    with pytest.raises(SAFEError, match=r"Expected class folders whose names are text .* Rename it") as caught:
        labelled_images(tmp_path)
    assert printable(str(caught.value)) == str(caught.value)


# --- Running the model ------------------------------------------------------------------------------------------


def test_predictions_come_in_order_and_unreadable_images_are_named(tmp_path, dnn):
    images = labelled_images(draw_set(tmp_path, 50))
    (tmp_path / "green" / "plain_03.png").write_bytes(b"no image")
    seen = []
    with reporting(lambda what, done, total: seen.append((done, total))):
        found = predict(dnn, images.root, images.paths)
    assert found.outputs.shape == (149, 3)
    assert found.outputs.dtype == np.float32
    assert [skip.path for skip in found.skipped] == ["green/plain_03.png"]
    assert [images.paths[i].split("/")[0] for i in found.indices] == [NAMES[i] for i in found.outputs.argmax(axis=1)]
    assert seen == [(0, 150), (128, 150), (150, 150)]


def test_images_of_another_size_are_those_that_keras_would_load(tmp_path):
    import keras

    rng = np.random.default_rng(0)
    for height, width in (64, 64), (37, 90), (16, 24):
        pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "0.png")
        loaded = keras.utils.image_dataset_from_directory(tmp_path, image_size=(32, 40), labels=None, verbose=False)
        np.testing.assert_allclose(interpolated(pixels, 32, 40), next(iter(loaded))[0], atol=0.51)


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
