"""The real networks, against Keras."""

import numpy as np
import pytest
from PIL import Image

from FE import extract_features
from features.network import load_network
from features.weights import _conv_extractor, choose_extractor
from support.errors import SAFEError


@pytest.fixture(scope="module")
def conv_network():
    return load_network(_conv_extractor())


@pytest.mark.slow
def test_vgg16_conv_on_real_images_is_what_keras_computes_with_the_same_weights(conv_network, draw_folder, tmp_path):
    import keras
    import onnx
    from onnx import numpy_helper

    # 1. SAFE's own way, from files to features
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 2})
    Image.effect_noise((300, 200), 80).save(folder / "grey.jpg")
    result = extract_features(folder, choose_extractor("vgg16-conv"))
    assert result.features.shape == (4, 4224)
    assert result.features.dtype == np.float32
    assert np.isfinite(result.features).all()
    assert result.features.min() >= 0

    # 2. The same by hand: the file's arrays are 13 kernels and 13 biases of these shapes, in the order of the network
    arrays = {t.name: numpy_helper.to_array(t) for t in onnx.load(_conv_extractor().weights).graph.initializer}
    kernels = {n.split("/")[1]: a for n, a in arrays.items() if a.ndim == 4}
    biases = {n.split("/")[1]: a for n, a in arrays.items() if "Squeeze" in n and n.split("/")[1] in kernels}
    assert len(kernels) == len(biases) == 13
    assert kernels["block1_conv1_1"][0, 0, 0, 0] == pytest.approx(0.42947057)
    assert biases["block1_conv1_1"][0] == pytest.approx(0.73429835)
    values = keras.ops.convert_to_tensor(
        np.stack(
            [
                np.asarray(Image.open(folder / p).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
                for p in result.paths
            ]
        )[..., ::-1].astype(np.float32)
        - np.array([103.939, 116.779, 123.68], np.float32)
    )
    means = []
    for block, convolutions in enumerate((2, 2, 3, 3, 3), start=1):
        for i in range(1, convolutions + 1):
            name = f"block{block}_conv{i}_1"
            values = keras.ops.conv(values, kernels[name].transpose(2, 3, 1, 0), padding="same")
            values = keras.ops.relu(values + biases[name].reshape(-1))
            means.append(keras.ops.convert_to_numpy(values).astype(np.float64).mean(axis=(1, 2)))
        values = keras.ops.max_pool(values, 2, 2)
    by_hand = np.concatenate(means, axis=1)
    # The JPEG is decoded at full size by both, since half of it would be too small.
    np.testing.assert_allclose(result.features, by_hand, rtol=1e-3, atol=1e-2)


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
def test_vgg16_fc2_from_a_local_file_is_the_model_of_keras_cut_at_fc2(seeded_vgg16, draw_folder, tmp_path, monkeypatch):
    import keras

    model, path = seeded_vgg16
    monkeypatch.setenv("SAFE_VGG16_WEIGHTS", str(path))
    extractor = choose_extractor("vgg16-fc2")
    assert (extractor.name, extractor.weights, extractor.notice) == ("vgg16-fc2", path, "")
    folder = draw_folder(tmp_path / "in", {"night": 1, "snow": 1})
    result = extract_features(folder, extractor)
    assert result.features.shape == (2, 4096)
    pixels = np.stack(
        [np.asarray(Image.open(folder / p).resize((224, 224), Image.Resampling.BILINEAR)) for p in result.paths]
    )
    cut = keras.Model(model.input, model.get_layer("fc2").output)
    expected = cut.predict(keras.applications.vgg16.preprocess_input(pixels.astype(np.float32)), verbose=0)
    assert expected.max() > 0
    np.testing.assert_allclose(result.features, expected, rtol=1e-3, atol=1e-4 * float(expected.max()))


@pytest.fixture(scope="module")
def joined_network(seeded_vgg16):
    return load_network(choose_extractor("vgg16", weights=seeded_vgg16[1]))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)


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


@pytest.mark.slow
def test_vgg16_gives_the_features_of_both_others_from_one_pass(seeded_vgg16, joined_network, pixels):
    joined = joined_network(pixels)
    assert (joined.shape, joined.dtype) == ((3, 8320), np.float32)
    for name, part in (("vgg16-fc2", joined[:, :4096]), ("vgg16-conv", joined[:, 4096:])):
        alone = load_network(choose_extractor(name, weights=seeded_vgg16[1]))(pixels)
        np.testing.assert_allclose(part, alone, rtol=1e-5, atol=1e-6 * float(alone.max()))
        assert part.max() > 0
