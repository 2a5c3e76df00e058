import json

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from lab.benchmarks.paper import cost
from lab.benchmarks.rivals.hudd import (
    Hudd,
    cluster_layer,
    cluster_layers,
    euclidean_distances,
    heatmap_distances,
    run_hudd,
    spread_curve,
)
from lab.benchmarks.rivals.lrp import prepare_lrp
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


def winning_logits(keras, model, pixels):
    """The largest output of a model that ends in a linear dense layer."""
    return np.asarray(model(pixels, training=False)).max(axis=1)


def heatmaps(model, pixels):
    lrp = prepare_lrp(model)
    return dict(zip(lrp.layers, (one.numpy() for one in lrp.heatmaps(pixels)), strict=True))


def images(n, *shape, seed=0):
    return np.random.default_rng(seed).random((n, *shape), dtype=np.float32)


def dense_network(keras, *weights, activation="relu"):
    """Dense layers of given kernels, without biases, on an image of one row; the last is linear."""
    layers = [keras.Input((1, weights[0].shape[0], 1)), keras.layers.Flatten()]
    for number, kernel in enumerate(weights):
        last = number == len(weights) - 1
        layers.append(keras.layers.Dense(kernel.shape[1], None if last else activation, use_bias=False))
    model = keras.Sequential(layers)
    model.set_weights(list(weights))
    return model


# --- LRP ----------------------------------------------------------------------------------------------------------


def test_relevance_is_shared_by_positive_contributions_as_computed_by_hand(keras):
    # Hidden: h0 = 1·2 + 2·1 = 4, h1 = relu(1·1 − 2·3) = 0; logits: 4·3 = 12 and 4·1.
    hidden = np.array([[2.0, 1.0], [1.0, -3.0]], np.float32)
    logits = np.array([[3.0, 1.0], [5.0, 1.0]], np.float32)
    model = dense_network(keras, hidden, logits)
    found = heatmaps(model, np.array([1, 2], np.float32).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(found["pixels"].ravel(), [12 * 2 / 4, 12 * 2 / 4], rtol=1e-6)
    np.testing.assert_allclose(found[model.layers[1].name].ravel(), [12, 0], rtol=1e-6)


def test_only_the_winning_logit_is_propagated(keras):
    # Class 1 wins with 1·1 + 1·3 = 4; what speaks for class 0 has no part in it.
    model = dense_network(keras, np.array([[2.0, 1.0], [0.0, 3.0]], np.float32))
    found = heatmaps(model, np.ones((1, 1, 2, 1), np.float32))
    np.testing.assert_allclose(found["pixels"].ravel(), [1, 3], rtol=1e-6)


def test_a_negative_input_contributes_through_negative_weights(keras):
    # z = (−2)(−3) + 1·1 = 7; the weight 5 of the negative input at class 1 contributes nothing.
    model = dense_network(keras, np.array([[-3.0, 5.0], [1.0, 1.0]], np.float32))
    found = heatmaps(model, np.array([-2, 1], np.float32).reshape(1, 1, 2, 1))
    np.testing.assert_allclose(found["pixels"].ravel(), [6, 1], rtol=1e-6)


def test_a_convolution_by_hand(keras):
    model = keras.Sequential(
        [
            keras.Input((1, 3, 1)),
            keras.layers.Conv2D(1, (1, 2), use_bias=False),
            keras.layers.Flatten(),
            keras.layers.Dense(2, use_bias=False),
        ]
    )
    model.set_weights(
        [np.array([1.0, 3.0], np.float32).reshape(1, 2, 1, 1), np.array([[1.0, 0.0], [1.0, 0.0]], np.float32)]
    )
    # Convolved: 1·1 + 3·1 = 4 and 1·1 + 3·2 = 7, which is their relevance too.
    found = heatmaps(model, np.array([1, 1, 2], np.float32).reshape(1, 1, 3, 1))
    np.testing.assert_allclose(found["pixels"].ravel(), [1, 3 + 1, 6], rtol=1e-6)


def test_maximum_pooling_gives_all_relevance_to_the_largest_input(keras):
    model = keras.Sequential(
        [
            keras.Input((2, 2, 1)),
            keras.layers.MaxPooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(2, use_bias=False),
        ]
    )
    model.set_weights([np.array([[2.0, 1.0]], np.float32)])
    found = heatmaps(model, np.array([1, 4, 2, 3], np.float32).reshape(1, 2, 2, 1))
    np.testing.assert_allclose(found["pixels"].ravel(), [0, 8, 0, 0], rtol=1e-6)


def test_average_pooling_shares_relevance_by_size(keras):
    model = keras.Sequential(
        [keras.Input((2, 2, 1)), keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, use_bias=False)]
    )
    model.set_weights([np.array([[2.0, 1.0]], np.float32)])
    found = heatmaps(model, np.array([1, 4, 2, 3], np.float32).reshape(1, 2, 2, 1))
    np.testing.assert_allclose(found["pixels"].ravel(), [0.5, 2, 1, 1.5], rtol=1e-6)


def cnn(keras, bias="zeros"):
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            layers.Cropping2D(2),
            layers.Rescaling(1 / 64, -2),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu", bias_initializer=bias),
            layers.MaxPooling2D(2),
            layers.ZeroPadding2D(1),
            layers.DepthwiseConv2D(3, padding="same", activation="relu", bias_initializer=bias),
            layers.AveragePooling2D(2),
            layers.Flatten(),
            layers.Dropout(0.5),
            layers.Dense(16, activation="relu", bias_initializer=bias),
            layers.Dense(3, bias_initializer=bias),
        ]
    )


def residual(keras):
    layers = keras.layers
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(6, 3, padding="same", use_bias=False)(inputs)
    x = layers.BatchNormalization()(x)
    x = one = layers.ReLU()(x)
    x = layers.Conv2D(6, 3, padding="same", activation="relu", use_bias=False)(x)
    x = layers.Add()([x, one])
    inner = keras.Sequential([keras.Input((8, 8, 6)), layers.GlobalAveragePooling2D(), layers.Dense(3, use_bias=False)])
    return keras.Model(inputs, inner(x))


@pytest.mark.parametrize("build", [cnn, residual])
def test_every_layer_holds_the_relevance_of_the_winning_logit(keras, build):
    keras.utils.set_random_seed(3)
    model = build(keras)
    pixels = images(20, *model.input_shape[1:]) * (255 if build is cnn else 1)
    found = heatmaps(model, pixels)
    expected = np.abs(winning_logits(keras, model, pixels))
    sums = {layer: relevance.reshape(20, -1).sum(axis=1) for layer, relevance in found.items()}
    if build is residual:  # the second convolution is on one of two ways
        beside = sums.pop([layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)][1])
        assert (beside < expected).all()
    assert len(sums) >= 4
    for layer, of_layer in sums.items():
        assert found[layer].min() >= 0
        np.testing.assert_allclose(of_layer, expected, rtol=1e-4, err_msg=layer)


def test_a_softmax_at_the_end_changes_nothing(keras):
    kernel = np.array([[2.0, 1.0], [0.0, 3.0]], np.float32)
    model = dense_network(keras, kernel)
    softmax = keras.Sequential([keras.Input((1, 2, 1)), *model.layers, keras.layers.Softmax()])
    pixels = images(4, 1, 2, 1)
    np.testing.assert_array_equal(heatmaps(model, pixels)["pixels"], heatmaps(softmax, pixels)["pixels"])


def test_one_sigmoid_is_as_two_classes(keras):
    kernel = np.array([[2.0], [-3.0]], np.float32)
    model = keras.Sequential(
        [keras.Input((1, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(1, "sigmoid", use_bias=False)]
    )
    model.set_weights([kernel])
    # Logit 2 − 3 = −1: the first class wins, for which only the second input speaks.
    found = heatmaps(model, np.ones((1, 1, 2, 1), np.float32))
    np.testing.assert_allclose(found["pixels"].ravel(), [0, 1], rtol=1e-6)


def test_batch_normalisation_is_folded_into_the_layer_before_it(keras):
    layers = keras.layers
    kernel = np.array([[1.0, 2.0], [-3.0, 1.0]], np.float32)
    gamma, variance = np.array([-2.0, 0.5], np.float32), np.array([4.0, 1.0], np.float32)
    with_norm = keras.Sequential(
        [
            keras.Input((1, 2, 1)),
            layers.Flatten(),
            layers.Dense(2, use_bias=False),
            layers.BatchNormalization(epsilon=0.0),
            layers.ReLU(),
            layers.Dense(2, use_bias=False),
        ]
    )
    logits = np.array([[1.0, 0.5], [1.0, 0.2]], np.float32)
    with_norm.set_weights([kernel, gamma, np.zeros(2, np.float32), np.zeros(2, np.float32), variance, logits])
    folded = dense_network(keras, kernel * gamma / np.sqrt(variance), logits)
    pixels = images(8, 1, 2, 1)
    np.testing.assert_allclose(heatmaps(with_norm, pixels)["pixels"], heatmaps(folded, pixels)["pixels"], rtol=1e-5)


def test_relevance_passes_a_batch_normalisation_that_follows_an_activation(keras):
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((1, 2, 1)),
            layers.Flatten(),
            layers.Dense(2, "relu", use_bias=False),
            layers.BatchNormalization(epsilon=0.0),
            layers.Dense(2, use_bias=False),
        ]
    )
    pixels = images(5, 1, 2, 1) + 0.1
    model.layers[1].set_weights([np.array([[1.0, 2.0], [3.0, 1.0]], np.float32)])
    model.layers[3].set_weights([np.array([[1.0, 0.0], [2.0, 0.0]], np.float32)])
    found = heatmaps(model, pixels)
    logits = winning_logits(keras, model, pixels)
    np.testing.assert_allclose(found["pixels"].reshape(5, -1).sum(axis=1), logits, rtol=1e-5)


def test_relevance_that_only_a_bias_explains_is_lost(keras):
    model = keras.Sequential([keras.Input((1, 2, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
    model.set_weights([-np.ones((2, 2), np.float32), np.array([9.0, 0.0], np.float32)])
    assert heatmaps(model, np.ones((1, 1, 2, 1), np.float32))["pixels"].sum() == 0


def test_a_layer_that_is_not_understood_is_refused_by_name(keras):
    model = keras.Sequential(
        [
            keras.Input((4, 4, 3)),
            keras.layers.Reshape((16, 3)),
            keras.layers.LSTM(2, name="memory"),
            keras.layers.Dense(2),
        ]
    )
    with pytest.raises(SAFEError, match="memory of the kind LSTM"):
        prepare_lrp(model)


# --- Distances ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block_bytes", [1, 200, 10**6])
def test_distances_do_not_depend_on_the_blocks_and_are_as_scipy_has_them(block_bytes):
    rows = images(23, 10) * 0.01 + 100  # differences that are small beside their mean
    found = euclidean_distances(rows, block_bytes=block_bytes)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, cdist(rows, rows), atol=2e-6)
    np.testing.assert_array_equal(found, found.T)
    assert not np.diag(found).any()


def test_heatmaps_on_disk_give_the_same_distances_as_in_memory(keras):
    keras.utils.set_random_seed(0)
    lrp = prepare_lrp(cnn(keras))
    pixels = images(7, 16, 16, 3) * 255
    batches = [pixels[:3], pixels[3:6], pixels[6:]]
    kept = {store: heatmap_distances(lrp, iter(batches), 7, store=store) for store in ("memory", "disk")}
    assert list(kept["memory"]) == list(lrp.layers)
    for layer in lrp.layers:
        np.testing.assert_array_equal(kept["memory"][layer], kept["disk"][layer])
        assert kept["memory"][layer].max() > 0


def test_heatmaps_are_kept_in_memory_or_on_disk(keras):
    with pytest.raises(SAFEError, match="memory, disk"):
        heatmap_distances(prepare_lrp(cnn(keras)), iter([]), 0, store="tape")


# --- Clusters -----------------------------------------------------------------------------------------------------


def blobs(n_blobs=5, size=12, seed=0, spread=0.05):
    rng = np.random.default_rng(seed)
    centres = rng.random((n_blobs, 6)) * 10
    rows = np.concatenate([centre + spread * rng.standard_normal((size, 6)) for centre in centres])
    return euclidean_distances(rows.astype(np.float32)), np.repeat(np.arange(n_blobs), size)


def test_the_spread_is_the_weighted_mean_distance_within_clusters_divided_by_their_number():
    # Images at 0, 2, 10 and 13: Ward joins 0 with 2, then 10 with 13, then all.
    at = np.array([0, 2, 10, 13], np.float64)
    distances = np.abs(at[:, None] - at)
    merges = np.array([[0, 1, 2, 2], [2, 3, 3, 2], [4, 5, 20, 4]], np.float64)
    of_all = (2 + 10 + 13 + 8 + 11 + 3) / 6
    expected = [of_all, (2 / 4 * 2 + 2 / 4 * 3) / 2, (2 / 4 * 2) / 3]
    np.testing.assert_allclose(spread_curve(distances, merges, 3), expected)


def test_clusters_that_are_plain_to_see_are_found():
    distances, truth = blobs()
    found = cluster_layer("some", distances)
    assert found.n_clusters == 5
    assert len(set(zip(found.labels.tolist(), truth.tolist(), strict=True))) == 5


def test_an_image_that_is_alone_is_dropped():
    distances, _ = blobs(4)
    n = len(distances)
    alone = np.full((n + 1, n + 1), 60, np.float32)
    alone[:n, :n], alone[n, n] = distances, 0
    found = cluster_layer("some", alone)
    assert found.labels[n] == NOISE
    assert np.bincount(found.labels[:n]).tolist() == [12] * 4


def test_the_layer_with_the_tightest_clusters_is_chosen():
    tight, _ = blobs(spread=0.02)
    loose, _ = blobs(spread=2.0)
    assert cluster_layers({"loose": loose, "tight": tight}).chosen == 1
    assert cluster_layers({"tight": tight, "loose": loose}).chosen == 0


def test_a_layer_in_which_nothing_varies_is_not_chosen():
    distances, _ = blobs()
    assert cluster_layers({"dead": np.zeros_like(distances), "some": distances}).chosen == 1


@pytest.mark.parametrize("n", [1, 2, 3])
def test_few_images_or_equal_ones_are_one_cluster(n):
    found = cluster_layer("some", np.zeros((n, n), np.float32))
    assert found.labels.tolist() == ([NOISE] if n == 1 else [0] * n)


# --- All of it ----------------------------------------------------------------------------------------------------


@pytest.fixture
def case(keras, tmp_path):
    from PIL import Image

    keras.utils.set_random_seed(1)
    model = cnn(keras)
    model.save(tmp_path / "model.keras")
    (tmp_path / "failures").mkdir()
    rng = np.random.default_rng(0)
    for number in range(24):
        colour = np.eye(3)[number % 3] * 200
        pixels = np.clip(colour + rng.normal(20, 5, (16, 16, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / "failures" / f"{number:02d}.png")
    return tmp_path


def test_hudd_groups_images_of_files_by_what_the_network_looks_at(case):
    paths = sorted(path.name for path in (case / "failures").iterdir())
    hudd, distances, lrp = run_hudd(case / "model.keras", case / "failures", paths)
    assert isinstance(hudd, Hudd)
    assert [layer.layer for layer in hudd.layers] == list(lrp.layers) == list(distances)
    for rcc in set(hudd.labels.tolist()) - {NOISE}:
        assert len({i % 3 for i in np.flatnonzero(hudd.labels == rcc).tolist()}) == 1


def test_a_run_writes_what_it_cost(case, tmp_path):
    out = tmp_path / "cost.json"
    assert cost.main(["hudd", str(case / "model.keras"), str(case / "failures"), str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["process_mb"] > 50
    assert record["cpu_seconds"] > 0
    assert {"Heatmaps", "Distances"} <= set(record["parts"])
