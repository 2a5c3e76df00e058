import json
import warnings
import zipfile

import numpy as np
import pytest

from dnn.model import load_dnn, loss_name, sized_for
from support.errors import SAFEError
from tests.helpers.small_models import NAMES, SIDE, brightness_model, colour_model, draw_colour, red_model, saved


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


@pytest.mark.parametrize(
    ("last", "head", "expected"),
    [
        ("softmax", "dense", "softmax"),
        ("softmax", "layer", "softmax"),
        ("sigmoid", "dense", "sigmoid"),
        ("sigmoid", "layer", "sigmoid"),
        ("linear", "dense", "logits"),
    ],
)
def test_the_last_activation_is_found(folder, last, head, expected):
    dnn = load_dnn(saved(colour_model(last, None, head=head), folder / f"{last}-{head}.keras"))
    assert dnn.activation == expected
    assert dnn.compiled == {}


def test_the_last_activation_is_found_inside_nested_models(folder):
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    outputs = keras.layers.Reshape((3,))(
        colour_model(loss=None, scaling=False)(keras.layers.Rescaling(1 / 255)(inputs))
    )
    dnn = load_dnn(saved(keras.Model(inputs, outputs), folder / "nested.keras"))
    assert (dnn.activation, dnn.scaling) == ("softmax", "none")


def test_one_output_stands_for_two_classes(folder):
    dnn = load_dnn(saved(red_model(), folder / "binary.keras"))
    assert (dnn.n_outputs, dnn.n_classes, dnn.activation) == (1, 2, "sigmoid")
    assert "two classes" in dnn.assumptions[2]


def test_a_loss_of_regression_on_plain_outputs_makes_a_regression(folder):
    dnn = load_dnn(saved(brightness_model(), folder / "mse.keras"))
    assert (dnn.task, dnn.n_classes) == ("regression", 0)
    with pytest.raises(SAFEError, match="--targets"):
        load_dnn(folder / "mse.keras", task="classification")


def test_a_softmax_trained_with_squared_errors_is_a_classifier(folder):
    assert load_dnn(saved(colour_model(loss="mse"), folder / "brier.keras")).task == "classification"


@pytest.mark.parametrize(
    ("scaling", "rescale", "expected"),
    [(True, None, "none"), (False, None, "1/255"), (False, "signed", "signed"), (True, "1/255", "1/255")],
)
def test_the_scaling_is_the_models_own_or_one_that_is_said(folder, scaling, rescale, expected):
    dnn = load_dnn(saved(colour_model(scaling=scaling), folder / "scaling.keras"), rescale=rescale)
    assert dnn.scaling == expected
    pixels_text = dnn.assumptions[1]
    assert ("as requested" if rescale else "assumed" if expected == "1/255" else "itself") in pixels_text


def test_scaling_by_a_division_inside_the_model_is_seen(folder):
    import keras

    inputs = keras.Input((SIDE, SIDE, 3))
    dnn = load_dnn(
        saved(keras.Model(inputs, colour_model(loss=None, scaling=False)(inputs / 255.0)), folder / "divides.keras")
    )
    assert dnn.scaling == "none"


def test_a_normalization_layer_tells_by_its_mean_what_it_was_adapted_to(folder):
    import keras

    for mean, expected in ((120.0, "none"), (0.4, "1/255")):
        model = keras.Sequential(
            [keras.Input((SIDE, SIDE, 3)), keras.layers.Normalization(mean=mean, variance=1.0), *colour_model().layers]
        )
        assert load_dnn(saved(model, folder / "normalization.keras")).scaling == expected


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


def test_images_too_small_for_a_model_of_any_size_are_enlarged(folder, tmp_path):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.Conv2D(2, 20), layers.GlobalMaxPooling2D(), layers.Softmax()]
    )
    dnn = load_dnn(saved(model, folder / "wide.keras"))
    draw_colour("red", np.random.default_rng(0)).save(tmp_path / "a.png")
    enlarged = sized_for(dnn, [tmp_path / "a.png"])
    assert (enlarged.width, enlarged.height) == (224, 224)
    assert "too small" in enlarged.assumptions[0]


# --- What is refused --------------------------------------------------------------------------------------------


def lambda_model(scale=2.0):
    import keras

    layers = keras.layers
    flat = layers.Lambda(lambda x: x * scale)
    return keras.Sequential([keras.Input((SIDE, SIDE, 3)), flat, layers.Flatten(), layers.Dense(3, "softmax")])


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
def test_a_lambda_layer_is_refused_unless_the_model_is_trusted(folder, suffix):
    save = saved if suffix == ".keras" else save_legacy
    path = save(lambda_model(), folder / f"lambda{suffix}")
    with pytest.raises(SAFEError, match=r"contains code .*Lambda.*--trust-model"):
        load_dnn(path)


def test_a_trusted_model_with_a_lambda_layer_loads(folder):
    import keras

    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((SIDE, SIDE, 3)),
            layers.Lambda(lambda x: x * 2.0, output_shape=(SIDE, SIDE, 3)),
            layers.Flatten(),
            layers.Dense(3, "softmax"),
        ]
    )
    assert load_dnn(saved(model, folder / "trusted.keras"), trust=True).n_outputs == 3


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


def test_a_custom_loss_does_not_keep_a_model_from_loading(folder):
    def my_loss(y, p):
        return (y - p) ** 2

    dnn = load_dnn(saved(colour_model(loss=my_loss), folder / "loss.keras"))
    assert loss_name(dnn.compiled) == "myloss"


def test_missing_foreign_and_damaged_files_are_refused(folder, tmp_path):
    with pytest.raises(SAFEError, match=r"gone\.keras, which is not a file"):
        load_dnn(tmp_path / "gone.keras")
    with pytest.raises(SAFEError, match=r"a \.keras or \.h5 file"):
        load_dnn(tmp_path)
    whole = saved(colour_model(), folder / "whole.keras").read_bytes()
    old = save_legacy(colour_model(), folder / "whole.h5").read_bytes()
    for name, content in {
        "cut.keras": whole[: len(whole) // 2],
        "empty.keras": b"",
        "text.keras": b"not a model",
        "cut.h5": old[: len(old) // 2],
        "text.h5": b"not a model",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(SAFEError, match="which cannot be read"):
            load_dnn(tmp_path / name)


def test_a_zip_that_is_no_model_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "other.keras", "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Dense", "module": "keras.layers", "config": {}}))
    with pytest.raises(SAFEError, match="Expected a"):
        load_dnn(tmp_path / "other.keras")


def test_models_that_are_not_one_image_to_one_row_are_refused(folder):
    import keras

    layers = keras.layers
    for name, model, words in (
        ("vector", keras.Sequential([keras.Input((9,)), layers.Dense(3)]), "one image"),
        ("four", keras.Sequential([keras.Input((8, 8, 4)), layers.Flatten(), layers.Dense(3)]), "one image"),
        ("map", keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(2, 3)]), "one row of outputs"),
        ("always", keras.Sequential([keras.Input((8, 8, 3)), layers.Flatten(), layers.Dense(1, "softmax")]), "two"),
    ):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Keras itself warns of the last one
            path = saved(model, folder / f"{name}.keras")
            with pytest.raises(SAFEError, match=words):
                load_dnn(path)


def test_a_model_whose_output_is_a_dict_is_refused_in_a_sentence(folder):
    import keras

    pixels = keras.Input((8, 8, 3))
    row = keras.layers.Dense(3, "softmax")(keras.layers.Flatten()(pixels))
    named = keras.Model(pixels, {"class": row})
    for number, model in enumerate((named, keras.Sequential([keras.Input((8, 8, 3)), named]))):
        with pytest.raises(SAFEError, match=r"whose output is a dict\. Rebuild it as keras\.Model"):
            load_dnn(saved(model, folder / f"dict {number}.keras"))
    assert load_dnn(saved(keras.Model(named.inputs, named.outputs), folder / "row.keras")).n_outputs == 3


def test_an_unknown_scaling_is_refused(folder):
    with pytest.raises(SAFEError, match="rescale must be one of none, 1/255, signed"):
        load_dnn(folder / "any.keras", rescale="2/255")


def test_loading_leaves_the_file_as_it_was(folder):
    path = saved(colour_model(), folder / "untouched.keras")
    before = path.read_bytes()
    load_dnn(path)
    assert path.read_bytes() == before
    assert tuple(sorted(NAMES)) == NAMES
