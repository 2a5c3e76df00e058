"""Reading VGG16's weights from the files that Keras ships.

The network is VGG16 with as many layers and fewer channels, so that its files are small.
"""

import h5py
import numpy as np
import pytest

from safe_dnn.features.extractor import CONV_LAYERS
from safe_dnn.features.vgg16 import read_weights
from safe_dnn.support.errors import SAFEError

BLOCKS = ((2, 2), (3, 2), (4, 3), (5, 3), (5, 3))  # (channels, layers) of each block
WIDTHS = [channels for channels, n_layers in BLOCKS for _ in range(n_layers)]
CONV = {
    name: (3, 3, n_in, n_out) for name, n_in, n_out in zip(CONV_LAYERS, [3, *WIDTHS[:-1]], WIDTHS, strict=True)
}  # fmt: skip
ALL = {**CONV, "fc1": (5, 6), "fc2": (6, 6)}  # of images of 32 x 32
HOW_TO = r"Is it another network, or written by another framework\? Name VGG16's weights"


def make_network(*, include_top=True, seed=0):
    """VGG16 with few channels and random weights."""
    import keras

    keras.utils.set_random_seed(seed)
    values = inputs = keras.Input((32, 32, 3))
    for block, (channels, n_layers) in enumerate(BLOCKS, start=1):
        for i in range(1, n_layers + 1):
            layer = keras.layers.Conv2D(
                channels, 3, padding="same", bias_initializer="uniform", name=f"block{block}_conv{i}"
            )
            values = layer(values)
        values = keras.layers.MaxPooling2D()(values)
    if include_top:
        values = keras.layers.Flatten()(values)
        for name, units in (("fc1", 6), ("fc2", 6), ("predictions", 10)):
            values = keras.layers.Dense(units, bias_initializer="uniform", name=name)(values)
    return keras.Model(inputs, values)


@pytest.fixture(scope="module")
def network():
    return make_network()


def weights_of(network):
    return {name: network.get_layer(name).get_weights() for name in ALL}


def save_as_applications(network, path, order=None):
    """As `keras.applications` ships them: written by Keras 1, layers without weights included."""
    with h5py.File(path, "w") as file:
        names = order or [layer.name for layer in network.layers]
        file.attrs["layer_names"] = [name.encode() for name in names]
        for name in names:
            group, arrays = file.create_group(name), network.get_layer(name).get_weights()
            stored = [f"{name}_W_1:0", f"{name}_b_1:0"][: len(arrays)]
            group.attrs["weight_names"] = [text.encode() for text in stored]
            for text, values in zip(stored, arrays, strict=True):
                group[text] = values


SAVED = {"applications.h5": save_as_applications, "whole.h5": lambda network, path: network.save(path)}


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", SAVED)
def test_every_form_gives_the_weights_of_the_network(network, tmp_path, name):
    SAVED[name](network, tmp_path / name)
    found = read_weights(tmp_path / name, ALL)
    assert list(found) == list(ALL)
    for layer, (kernel, bias) in weights_of(network).items():
        for array, expected in zip(found[layer], (kernel, bias), strict=True):
            np.testing.assert_array_equal(array, expected)
            assert array.dtype == np.float32


def test_a_file_without_the_dense_layers_is_sufficient_for_the_convolutional_ones(tmp_path):
    save_as_applications(make_network(include_top=False), tmp_path / "notop.h5")
    assert list(read_weights(tmp_path / "notop.h5", CONV)) == list(CONV)
    with pytest.raises(SAFEError, match=r"layer fc1\. Received: none\. .* sufficient for the extractor vgg16-conv"):
        read_weights(tmp_path / "notop.h5", ALL)


# --- Files that do not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SAVED)
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_is_an_error_that_names_it(network, tmp_path, name, share):
    path = tmp_path / name
    SAVED[name](network, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SAFEError, match=rf"{name} must contain VGG16's weights\. .*cannot be read .*download it again"):
        read_weights(path, ALL)


@pytest.mark.parametrize(("more", "shape"), [("block3_conv4", (3, 3, 4, 4)), ("batch_normalization", (4,))])
def test_a_network_with_more_layers_is_an_error(network, tmp_path, more, shape):
    path = tmp_path / "other.h5"
    save_as_applications(network, path)
    with h5py.File(path, "r+") as file:
        group = file.create_group(more)
        group["k"], group["b"] = np.zeros(shape, np.float32), np.zeros(4, np.float32)
        group.attrs["weight_names"] = [b"k", b"b"]
        file.attrs["layer_names"] = [*(layer.name.encode() for layer in network.layers), more.encode()]
    with pytest.raises(SAFEError, match=rf"13 convolutional layers\. Received: others, {more}\. {HOW_TO}"):
        read_weights(path, ALL)


@pytest.mark.parametrize("name", ["keras-3.weights.h5", "keras-3.keras"])
def test_another_form_of_keras_is_an_error_that_says_which_is_expected(network, tmp_path, name):
    (network.save if name.endswith(".keras") else network.save_weights)(tmp_path / name)
    with pytest.raises(SAFEError, match=r"layers of a Keras model\. Received: a file with|the \.h5 file of keras"):
        read_weights(tmp_path / name, ALL)


def test_kernels_in_the_order_of_another_framework_are_an_error(network, tmp_path):
    path = tmp_path / "th.h5"
    save_as_applications(network, path)
    with h5py.File(path, "r+") as file:
        for name in CONV:
            kernel = file[f"{name}/{name}_W_1:0"][()]
            del file[f"{name}/{name}_W_1:0"]
            file[f"{name}/{name}_W_1:0"] = kernel.transpose(3, 2, 0, 1)
    expected = r"a kernel of shape \(3, 3, 3, 2\) and a bias of shape \(2,\) in the layer block1_conv1"
    with pytest.raises(SAFEError, match=rf"{expected}\. Received: \(2, 3, 3, 3\) and \(2,\)\. {HOW_TO}"):
        read_weights(path, ALL)


@pytest.mark.parametrize("how", ["link", "dataset"])
def test_weights_in_another_file_are_not_read(network, tmp_path, how):
    path = tmp_path / "linked.h5"
    save_as_applications(network, path)
    save_as_applications(network, tmp_path / "other.h5")
    (tmp_path / "raw").write_bytes(bytes(4 * 5 * 6))
    with h5py.File(path, "r+") as file:
        del file["fc1/fc1_W_1:0"]
        if how == "link":
            file["fc1/fc1_W_1:0"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "/fc1/fc1_W_1:0")
        else:
            file["fc1"].create_dataset(
                "fc1_W_1:0", (5, 6), np.float32, external=[(str(tmp_path / "raw"), 0, h5py.h5f.UNLIMITED)]
            )
    with pytest.raises(SAFEError, match=r"fc1_W_1:0 is stored in another file"):
        read_weights(path, ALL)
