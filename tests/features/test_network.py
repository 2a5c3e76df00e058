"""The real networks, against Keras."""

import numpy as np
import pytest
from PIL import Image

from safe_dnn.FE import extract_features
from safe_dnn.features.vgg16 import _conv_extractor, choose_extractor, conv_shapes, load_network, read_weights
from safe_dnn.support.errors import SAFEError


@pytest.mark.slow
def test_vgg16_conv_on_real_images_is_what_keras_computes_with_the_same_weights(draw_folder, tmp_path):
    import keras

    # 1. SAFE's own way, from files to features
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 2})
    Image.effect_noise((300, 200), 80).save(folder / "grey.jpg")
    result = extract_features(folder, choose_extractor("vgg16-conv"))
    assert result.features.shape == (4, 4224)
    assert result.features.dtype == np.float32
    assert np.isfinite(result.features).all()
    assert result.features.min() >= 0

    # 2. The same by Keras's network. The JPEG is decoded at full size by both, since half of it would be too small.
    weights = read_weights(_conv_extractor().weights, conv_shapes())
    kernel, bias = weights["block1_conv1"]
    assert kernel[0, 0, 0, 0] == pytest.approx(0.42947057)
    assert bias[0] == pytest.approx(0.73429835)
    model = keras.applications.VGG16(weights=None, include_top=False, input_shape=(224, 224, 3))
    for name, arrays in weights.items():
        model.get_layer(name).set_weights(arrays)
    images = [np.asarray(Image.open(folder / path).convert("RGB").resize((224, 224), 2)) for path in result.paths]
    pixels = keras.applications.vgg16.preprocess_input(np.stack(images).astype(np.float32))
    outputs = keras.Model(model.input, [model.get_layer(name).output for name in weights]).predict(pixels, verbose=0)
    means = np.concatenate([layer.astype(np.float64).mean(axis=(1, 2)) for layer in outputs], axis=1)
    np.testing.assert_allclose(result.features, means, rtol=1e-3, atol=1e-2)


@pytest.mark.slow
def test_where_a_gpu_is_said_to_be_batches_are_full_and_rows_agree_with_the_processors(monkeypatch):
    # No GPU is needed: TensorFlow takes the processor in its place.
    pixels = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), np.uint8)
    here = load_network(choose_extractor("vgg16-conv"))(pixels)
    monkeypatch.setattr("safe_dnn.features.vgg16.has_gpu", lambda: True)
    there = load_network(choose_extractor("vgg16-conv"))(pixels)
    assert there.shape == here.shape
    np.testing.assert_allclose(there, here, rtol=1e-3, atol=1e-3)


@pytest.fixture(scope="module")
def seeded_vgg16(tmp_path_factory):
    """VGG16 with seeded random weights, and the file that holds them (half a gigabyte, deleted afterwards)."""
    import keras

    keras.utils.set_random_seed(0)
    model = keras.applications.VGG16(weights=None)
    path = tmp_path_factory.mktemp("weights") / "seeded.h5"  # in the form of the file that Keras offers
    model.save(path)
    yield model, path
    path.unlink()


@pytest.mark.slow
def test_features_from_a_local_file_are_those_of_keras_cut_at_fc2(seeded_vgg16, draw_folder, tmp_path, monkeypatch):
    import keras

    model, path = seeded_vgg16
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(path))
    extractor = choose_extractor("vgg16-fc2")
    assert (extractor.name, extractor.weights, extractor.notice) == ("vgg16-fc2", path, "")
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 1})
    result = extract_features(folder, extractor)
    assert result.features.shape == (2, 4096)
    pixels = np.stack([np.asarray(Image.open(folder / image).resize((224, 224), 2)) for image in result.paths])
    cut = keras.Model(model.input, model.get_layer("fc2").output)
    expected = cut.predict(keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)), verbose=0)
    assert expected.max() > 0
    np.testing.assert_allclose(result.features, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))

    # And vgg16 gives them and those of vgg16-conv from one pass
    joined = load_network(choose_extractor("vgg16"))(pixels)
    assert (joined.shape, joined.dtype) == ((2, 8320), np.float32)
    for name, part in (("vgg16-fc2", joined[:, :4096]), ("vgg16-conv", joined[:, 4096:])):
        alone = load_network(choose_extractor(name, weights=path))(pixels)
        np.testing.assert_allclose(part, alone, rtol=1e-5, atol=1e-6 * float(alone.max()))
        assert part.max() > 0


@pytest.mark.filterwarnings("ignore:Skipping nested container:UserWarning")
def test_weights_of_another_network_are_an_error_that_names_the_file(tmp_path):
    import keras

    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    path = tmp_path / "other.weights.h5"
    other.save_weights(path)
    with pytest.raises(SAFEError, match=r"other\.weights\.h5 must contain VGG16's weights"):
        load_network(choose_extractor("vgg16-fc2", weights=path))


def test_weights_that_changed_since_they_were_chosen_are_not_loaded(weights_file):
    extractor = choose_extractor("vgg16-fc2", weights=weights_file)
    weights_file.write_bytes(b"others")
    with pytest.raises(SAFEError, match=r"must contain the weights of vgg16-fc2-4096-.* it has changed"):
        load_network(extractor)
    weights_file.unlink()
    with pytest.raises(SAFEError, match="Could not read VGG16's weights"):
        load_network(extractor)
