"""Reading VGG16's weights from every form of file that Keras ships or writes.

The network is VGG16 with as many layers and fewer channels, so that its files are small.
"""

import json
import zipfile

import h5py
import numpy as np
import pytest

from features.extractor import CONV_LAYERS
from features.weights_file import conv_shapes, dense_shapes, read_weights
from support.errors import SAFEError

BLOCKS = ((2, 2), (3, 2), (4, 3), (5, 3), (5, 3))  # (channels, layers) of each block
WIDTHS = [channels for channels, n_layers in BLOCKS for _ in range(n_layers)]
CONV = {
    name: (3, 3, n_in, n_out) for name, n_in, n_out in zip(CONV_LAYERS, [3, *WIDTHS[:-1]], WIDTHS, strict=True)
}  # fmt: skip
ALL = {**CONV, "fc1": (5, 6), "fc2": (6, 6)}  # of images of 32 x 32
HOW_TO = r"Is it another network, or written by another framework\? Name VGG16's weights"


def make_network(*, prefix="", include_top=True, lambda_layer=False, seed=0):
    """VGG16 with few channels and random weights."""
    import keras

    keras.utils.set_random_seed(seed)
    values = inputs = keras.Input((32, 32, 3))
    if lambda_layer:
        values = keras.layers.Lambda(lambda x: x / 255)(values)
    for block, (channels, n_layers) in enumerate(BLOCKS, start=1):
        for i in range(1, n_layers + 1):
            layer = keras.layers.Conv2D(
                channels, 3, padding="same", bias_initializer="uniform", name=f"{prefix}block{block}_conv{i}"
            )
            values = layer(values)
        values = keras.layers.MaxPooling2D()(values)
    if include_top:
        values = keras.layers.Flatten()(values)
        for name, units in (("fc1", 6), ("fc2", 6), ("predictions", 10)):
            values = keras.layers.Dense(units, bias_initializer="uniform", name=prefix + name)(values)
    return keras.Model(inputs, values)


@pytest.fixture(scope="module")
def network():
    return make_network()


def weights_of(network, prefix=""):
    return {name: network.get_layer(prefix + name).get_weights() for name in ALL}


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


def save_as_keras_2(network, path):
    """As Keras 2 writes `save_weights("file.h5")`: names as text, a group in the group of each layer."""
    with h5py.File(path, "w") as file:
        names = [layer.name for layer in network.layers]
        file.attrs["layer_names"] = names
        for name in names:
            group, arrays = file.create_group(name), network.get_layer(name).get_weights()
            stored = [f"{name}/kernel:0", f"{name}/bias:0"][: len(arrays)]
            group.attrs["weight_names"] = stored
            for text, values in zip(stored, arrays, strict=True):
                group[text] = values


def save_without_names(network, path, container="layers"):
    """As Keras before 3.3 writes `.weights.h5`: layers are numbered, and their names are not recorded."""
    with h5py.File(path, "w") as file:
        counts = {}
        for layer in network.layers:
            kind = {"Conv2D": "conv2d", "Dense": "dense"}.get(type(layer).__name__, "other")
            counts[kind] = counts.get(kind, -1) + 1
            group = file.create_group(f"{container}/{kind}_{counts[kind]}".removesuffix("_0") + "/vars")
            for i, values in enumerate(layer.get_weights()):
                group[str(i)] = values


SAVED = {
    "applications.h5": save_as_applications,
    "keras-2.h5": save_as_keras_2,
    "whole.h5": lambda network, path: network.save(path),
    "keras-3.weights.h5": lambda network, path: network.save_weights(path),
    "keras-3.keras": lambda network, path: network.save(path),
    "numbered.weights.h5": save_without_names,
    "keras-2.12.weights.h5": lambda network, path: save_without_names(network, path, "_layer_checkpoint_dependencies"),
}


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", SAVED)
def test_every_form_gives_the_weights_of_the_network(network, tmp_path, name):
    SAVED[name](network, tmp_path / name)
    found = read_weights(tmp_path / name, ALL)
    assert list(found) == list(ALL)
    for layer, (kernel, bias) in weights_of(network).items():
        np.testing.assert_array_equal(found[layer].kernel, kernel)
        np.testing.assert_array_equal(found[layer].bias, bias)
        assert found[layer].kernel.dtype == found[layer].bias.dtype == np.float32


def test_the_files_of_keras_have_the_form_that_the_tests_copy(network, tmp_path):
    network.save_weights(tmp_path / "new.weights.h5")
    save_without_names(network, tmp_path / "old.weights.h5")
    with h5py.File(tmp_path / "new.weights.h5") as new, h5py.File(tmp_path / "old.weights.h5") as old:
        written = {name for name in new["layers"] if name.startswith(("conv2d", "dense"))}
        assert len(written) == 16
        assert written <= set(old["layers"])
        assert all(set(old["layers"][name]["vars"]) == set(new["layers"][name]["vars"]) for name in written)


def test_layers_are_found_by_their_names_in_any_order(network, tmp_path):
    backwards = [layer.name for layer in network.layers][::-1]
    save_as_applications(network, tmp_path / "backwards.h5", backwards)
    found = read_weights(tmp_path / "backwards.h5", ALL)
    for layer, (kernel, _) in weights_of(network).items():
        np.testing.assert_array_equal(found[layer].kernel, kernel)


def test_layers_with_other_names_are_found_by_their_order(tmp_path):
    renamed = make_network(prefix="mine_")
    renamed.save(tmp_path / "renamed.keras")
    found = read_weights(tmp_path / "renamed.keras", ALL)
    for layer, (kernel, _) in weights_of(renamed, "mine_").items():
        np.testing.assert_array_equal(found[layer].kernel, kernel)


def test_a_file_without_the_dense_layers_is_sufficient_for_the_convolutional_ones(tmp_path):
    save_as_applications(make_network(include_top=False), tmp_path / "notop.h5")
    assert list(read_weights(tmp_path / "notop.h5", CONV)) == list(CONV)
    with pytest.raises(SAFEError, match=r"2 dense layers\. Received: 0\. .* sufficient for --extractor vgg16-conv"):
        read_weights(tmp_path / "notop.h5", ALL)


def test_code_in_a_model_is_not_run(tmp_path):
    path = tmp_path / "lambda.keras"
    make_network(lambda_layer=True).save(path)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    assert b'"Lambda"' in parts["config.json"]
    parts["config.json"] = json.dumps({"class_name": "Lambda", "config": "no code"}).encode()  # Keras could not load it
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert list(read_weights(path, ALL)) == list(ALL)


def test_a_compressed_archive_is_read_too(network, tmp_path):
    network.save(tmp_path / "stored.keras")
    with (
        zipfile.ZipFile(tmp_path / "stored.keras") as stored,
        zipfile.ZipFile(tmp_path / "deflated.keras", "w", zipfile.ZIP_DEFLATED) as deflated,
    ):
        for name in stored.namelist():
            deflated.writestr(name, stored.read(name))
    assert list(read_weights(tmp_path / "deflated.keras", ALL)) == list(ALL)


def test_half_precision_is_read_as_float32(network, tmp_path):
    path = tmp_path / "half.h5"
    save_as_applications(network, path)
    with h5py.File(path, "r+") as file:
        kernel = file["fc2/fc2_W_1:0"][()]
        del file["fc2/fc2_W_1:0"]
        file["fc2/fc2_W_1:0"] = kernel.astype(np.float16)
    found = read_weights(path, ALL)["fc2"].kernel
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, kernel.astype(np.float16))


# --- Files that do not fit --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["applications.h5", "keras-3.weights.h5", "keras-3.keras"])
@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.95])
def test_a_truncated_file_is_an_error_that_names_it(network, tmp_path, name, share):
    path = tmp_path / name
    SAVED[name](network, path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(SAFEError, match=rf"{name} must contain VGG16's weights\. .*cannot be read .*download it again"):
        read_weights(path, ALL)


def test_an_archive_without_weights_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "empty.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(SAFEError, match=r"empty\.keras must contain VGG16's weights.*model\.weights\.h5"):
        read_weights(tmp_path / "empty.keras", ALL)


def test_hdf5_of_something_else_is_an_error(tmp_path):
    with h5py.File(tmp_path / "table.h5", "w") as file:
        file["table"] = [1.0]
    with pytest.raises(SAFEError, match=rf"layers of a Keras model\. Received: a file with table\. {HOW_TO}"):
        read_weights(tmp_path / "table.h5", ALL)


def test_a_deeper_network_with_layers_of_the_same_names_is_an_error(network, tmp_path):
    path = tmp_path / "vgg19.h5"
    save_as_applications(network, path)
    with h5py.File(path, "r+") as file:
        group = file.create_group("block3_conv4")
        group["k"], group["b"] = np.zeros((3, 3, 4, 4), np.float32), np.zeros(4, np.float32)
        group.attrs["weight_names"] = [b"k", b"b"]
        file.attrs["layer_names"] = [*(layer.name.encode() for layer in network.layers), b"block3_conv4"]
    with pytest.raises(SAFEError, match=rf"13 convolutional layers\. Received: 14\. {HOW_TO}"):
        read_weights(path, ALL)


def test_normalization_between_the_layers_is_an_error(network, tmp_path):
    path = tmp_path / "vgg16_bn.weights.h5"
    network.save_weights(path)
    with h5py.File(path, "r+") as file:
        for i in range(4):
            file[f"layers/batch_normalization/vars/{i}"] = np.ones(5, np.float32)
    with pytest.raises(SAFEError, match=r"another layer with weights"):
        read_weights(path, ALL)


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


def test_another_width_of_a_dense_layer_is_an_error_that_names_the_layer(network, tmp_path):
    save_as_applications(network, tmp_path / "wide.h5")
    with pytest.raises(SAFEError, match=r"\(7, 6\) .*in the layer fc1\. Received: \(5, 6\) and \(6,\)"):
        read_weights(tmp_path / "wide.h5", {**ALL, "fc1": (7, 6)})


def test_integers_in_the_place_of_weights_are_an_error(network, tmp_path):
    path = tmp_path / "int8.h5"
    save_as_applications(network, path)
    with h5py.File(path, "r+") as file:
        del file["fc1/fc1_W_1:0"]
        file["fc1/fc1_W_1:0"] = np.ones((5, 6), np.int8)
    with pytest.raises(SAFEError, match=r"fc1_W_1:0 does not contain floating-point numbers, but int8"):
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


def test_a_group_in_the_place_of_weights_is_an_error(network, tmp_path):
    path = tmp_path / "group.h5"
    save_as_applications(network, path)
    with h5py.File(path, "r+") as file:
        del file["fc1/fc1_W_1:0"]
        file.create_group("fc1/fc1_W_1:0")
    with pytest.raises(SAFEError, match="must contain VGG16's weights"):
        read_weights(path, ALL)


def test_the_shapes_are_those_of_vgg16():
    import keras

    trunk = keras.applications.VGG16(include_top=False, weights=None, input_shape=(224, 224, 3))
    assert conv_shapes() == {
        layer.name: tuple(layer.kernel.shape) for layer in trunk.layers if isinstance(layer, keras.layers.Conv2D)
    }
    assert dense_shapes()["fc1"][0] == np.prod(trunk.output.shape[1:])
    assert dense_shapes() == {"fc1": (25088, 4096), "fc2": (4096, 4096)}
