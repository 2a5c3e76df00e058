"""Heatmaps: what speaks for the true class is found where it is, whatever the model is built of."""

import numpy as np
import pytest
from PIL import Image

from safe_dnn.dnn.heatmaps import GRID
from safe_dnn.dnn.model import DnnOptions
from safe_dnn.dnn.model_process import heatmaps_apart, load_apart
from tests.helpers.onnx_models import onnx_of
from tests.helpers.small_models import colour_model, saved

SIDE = 32
SPOT = (20, 9)  # row and column of the centre of a bright square, in pixels
KERNEL = np.array([[4.0, -4.0]])  # what is bright speaks for the first class


@pytest.fixture
def image(tmp_path):
    pixels = np.zeros((SIDE, SIDE), np.uint8)
    pixels[SPOT[0] - 2 : SPOT[0] + 2, SPOT[1] - 2 : SPOT[1] + 2] = 255
    Image.fromarray(pixels).save(tmp_path / "spot.png")
    return tmp_path


def passing(size, **options):
    from keras import layers

    return layers.Conv2D(1, size, **options)


def pass_on(model):
    """Let convolutions pass on what is in the middle of their kernels."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            pass_on(layer)
        elif type(layer).__name__ == "Conv2D":
            kernel = np.zeros(layer.kernel.shape)
            kernel[kernel.shape[0] // 2, kernel.shape[1] // 2] = 1
            layer.set_weights([kernel, np.zeros(1)])
    return model


def model_of(*parts, last="softmax", kernel=KERNEL):
    import keras

    dense = keras.layers.Dense(kernel.shape[1], activation=last)
    model = keras.Sequential([keras.Input((SIDE, SIDE, 1)), *parts, keras.layers.GlobalAveragePooling2D(), dense])
    dense.set_weights([kernel, np.zeros(kernel.shape[1])])
    return pass_on(model)


def heatmap_of(model, image, truth=0):
    dnn = load_apart(saved(model, image / "m.keras"), DnnOptions("1/255"))
    found = heatmaps_apart(dnn, image, ["spot.png"], [truth])
    assert found.indices.tolist() == [0]
    return found.maps[0], found.how


def centre(heatmap):
    """The mean place of what is above 0, in pixels of the image."""
    places = (np.arange(GRID) + 0.5) * SIDE / GRID
    weights = np.maximum(heatmap, 0)
    return weights.sum(axis=1) @ places / weights.sum(), weights.sum(axis=0) @ places / weights.sum()


@pytest.mark.parametrize("last", ["softmax", "sigmoid", "linear"])
def test_what_speaks_for_one_class_speaks_against_the_other(image, last):
    heatmap, how = heatmap_of(model_of(passing(3, padding="same", name="eye"), last=last), image)
    assert centre(heatmap) == pytest.approx(SPOT, abs=1)
    assert how == "HiResCAM of the layer eye (32 × 32)"
    other, _ = heatmap_of(model_of(passing(3, padding="same"), last=last), image, truth=1)
    assert centre(-other) == pytest.approx(SPOT, abs=1)
    assert other.max() <= 0


def test_a_single_output_is_for_the_second_class(image):
    model = model_of(passing(3), last="sigmoid", kernel=np.array([[4.0]]))
    assert heatmap_of(model, image, truth=1)[0].max() > 0
    assert heatmap_of(model, image, truth=0)[0].min() < 0


def test_places_are_those_of_the_image_whatever_the_layers_do(image):
    from keras import layers

    for parts in (
        [layers.Cropping2D(((8, 4), (2, 6))), passing(3, padding="same")],
        [layers.CenterCrop(28, 28), passing(5)],
        [passing(5, strides=2, padding="same"), layers.MaxPooling2D(2), passing(3, padding="same")],
        [layers.ZeroPadding2D(1), passing(3), layers.AveragePooling2D(2), passing(1)],
        [layers.Resizing(16, 64), passing(3, padding="same"), layers.UpSampling2D(2), passing(3, padding="same")],
        [passing(3, dilation_rate=2), layers.BatchNormalization(), layers.ReLU(), layers.Dropout(0.5)],
    ):
        assert centre(heatmap_of(model_of(*parts), image)[0]) == pytest.approx(SPOT, abs=2)


def test_a_backbone_may_be_a_layer_and_branches_may_join(image):
    import keras

    inner = keras.Sequential([keras.Input((16, 16, 1)), passing(3, padding="same", name="last")])
    pixels = keras.Input((SIDE, SIDE, 1))
    half = keras.layers.AveragePooling2D(2)(pixels)
    joined = keras.layers.Add()([inner(half), half])
    pooled = keras.layers.GlobalAveragePooling2D()(inner(joined))
    model = keras.Model(pixels, keras.layers.Softmax()(keras.layers.Dense(2)(pooled)))
    model.layers[-2].set_weights([KERNEL, np.zeros(2)])
    heatmap, how = heatmap_of(pass_on(model), image)
    assert centre(heatmap) == pytest.approx(SPOT, abs=1)
    assert how == "HiResCAM of the layer last (16 × 16)"


def test_a_regression_is_asked_what_raises_its_error(image):
    model = model_of(passing(3), last=None, kernel=np.array([[1.0]]))
    model.compile("sgd", "mse")
    assert centre(-heatmap_of(model, image, truth=[0.0])[0]) == pytest.approx(SPOT, abs=1)
    assert centre(heatmap_of(model, image, truth=[2.0])[0]) == pytest.approx(SPOT, abs=1)


def test_parts_of_an_image_are_covered_for_a_model_without_gradients_or_maps(image):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[4, 2] = (0, 0, 255)  # one of the parts
    Image.fromarray(pixels).save(image / "spot.png")
    for file in (onnx_of(colour_model(), image / "m.onnx"), saved(colour_model(), image / "flat.keras")):
        found = heatmaps_apart(load_apart(file, DnnOptions()), image, ["spot.png"], [0])
        assert centre(found.maps[0]) == pytest.approx((18, 10), abs=0.1)
        assert found.how == "8 × 8 covered parts, 65 runs an image"
    _, how = heatmap_of(model_of(passing(32)), image)  # its map has one pixel
    assert how == found.how


def test_images_that_cannot_be_read_are_left_out(image):
    (image / "a.png").write_bytes(b"no image")
    dnn = load_apart(saved(model_of(passing(3)), image / "m.keras"), DnnOptions("1/255"))
    found = heatmaps_apart(dnn, image, ["a.png", "spot.png"], [0, 1])
    assert found.indices.tolist() == [1]
