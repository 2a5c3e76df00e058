import warnings

import numpy as np
import pytest

from safe_dnn.dnn.model import load_dnn, loss_name, sized_for
from safe_dnn.support.errors import SAFEError
from tests.helpers.small_models import SIDE, brightness_model, colour_model, draw_colour, saved


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("models")


def save_legacy(model, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras thinks .h5 outdated; engineers have such files
        return saved(model, path)


# --- What is read from a model ----------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_both_file_formats_give_the_same_dnn(folder, suffix):
    model = colour_model()
    save = saved if suffix == ".keras" else save_legacy
    dnn = load_dnn(save(model, folder / f"same{suffix}"))
    assert (dnn.height, dnn.width, dnn.channels, dnn.n_outputs, dnn.n_classes) == (SIDE, SIDE, 3, 3, 3)
    assert (dnn.task, dnn.activation, dnn.scaling) == ("classification", "softmax", "none")
    assert loss_name(dnn.compiled) == "sparsecategoricalcrossentropy"
    assert dnn.compiled["optimizer"]["class_name"] == "Adam"
    image = np.full((1, SIDE, SIDE, 3), 99, np.float32)
    np.testing.assert_allclose(dnn.model.predict_on_batch(image), model.predict_on_batch(image), rtol=1e-5)


def test_a_loss_of_regression_on_plain_outputs_makes_a_regression(folder):
    dnn = load_dnn(saved(brightness_model(), folder / "mse.keras"))
    assert (dnn.task, dnn.n_classes) == ("regression", 0)
    with pytest.raises(SAFEError, match="Give the targets and a threshold"):
        load_dnn(folder / "mse.keras", task="classification")


@pytest.mark.parametrize(
    ("scaling", "rescale", "expected"),
    [(True, None, "none"), (False, None, "1/255"), (False, "signed", "signed"), (True, "1/255", "1/255")],
)
def test_the_scaling_is_the_models_own_or_one_that_is_said(folder, scaling, rescale, expected):
    dnn = load_dnn(saved(colour_model(scaling=scaling), folder / "scaling.keras"), rescale=rescale)
    assert dnn.scaling == expected
    pixels_text = dnn.assumptions[1]
    assert ("as requested" if rescale else "assumed" if expected == "1/255" else "itself") in pixels_text


def test_a_model_of_any_size_takes_the_images_own_size_if_they_are_alike(folder, tmp_path):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((None, None, 1)), layers.Conv2D(2, 3), layers.GlobalMaxPooling2D(), layers.Softmax()]
    )
    dnn = load_dnn(saved(model, folder / "flexible.keras"))
    assert dnn.height is None
    assert dnn.channels == 1
    rng = np.random.default_rng(0)
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for file in files:
        draw_colour("red", rng).save(file)
    assert (sized_for(dnn, files).width, sized_for(dnn, files).height) == (SIDE, SIDE)
    draw_colour("red", rng).resize((30, 20)).save(files[1])
    resized = sized_for(dnn, files)
    assert (resized.width, resized.height) == (224, 224)
    assert "differ in size" in resized.assumptions[0]
    assert "grey" in resized.assumptions[0]


# --- What is refused --------------------------------------------------------------------------------------------


def test_custom_layers_are_refused_with_what_to_do(folder):
    import keras

    class Doubling(keras.layers.Layer):
        def call(self, inputs):
            return inputs * 2

    model = keras.Sequential([keras.Input((SIDE, SIDE, 3)), Doubling(), *colour_model().layers])
    path = saved(model, folder / "custom.keras")
    for trust in (False, True):
        with pytest.raises(SAFEError, match=r"custom objects \(Doubling\).*Rebuild"):
            load_dnn(path, trust=trust)


def test_models_that_are_not_one_image_to_one_row_are_refused(folder):
    import keras

    layers = keras.layers
    for name, model, words in (
        ("vector", keras.Sequential([keras.Input((9,)), layers.Dense(3)]), "one image"),
        ("four", keras.Sequential([keras.Input((8, 8, 4)), layers.Flatten(), layers.Dense(3)]), "one image"),
        ("map", keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)]), "one row of outputs"),
        ("always", keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1, "softmax")]), "two"),
    ):  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras itself warns of the last one
            path = saved(model, folder / f"{name}.keras")
            with pytest.raises(SAFEError, match=words):
                load_dnn(path)


@pytest.mark.parametrize(
    ("last", "head", "expected"),
    [
        ("softmax", "dense", "softmax"), ("softmax", "layer", "softmax"), ("sigmoid", "dense", "sigmoid"),
        ("sigmoid", "layer", "sigmoid"), ("linear", "dense", "logits"),
    ],
)  # fmt: skip
def test_the_last_activation_is_found(folder, last, head, expected):
    dnn = load_dnn(saved(colour_model(last, None, head=head), folder / f"{last}-{head}.keras"))
    assert dnn.activation == expected
    assert dnn.compiled == {}
