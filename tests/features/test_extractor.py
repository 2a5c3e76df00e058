"""How features are scaled before they are compared."""

import numpy as np
import pytest

from features.extractor import DIMENSIONS, FC2_WEIGHT, blocks_of, comparable


def test_features_of_fc2_become_square_roots_of_unit_length():
    features = np.zeros((2, 4096), np.float32)
    features[0, :2] = [9, 16]
    scaled = comparable(features, "vgg16-fc2")
    np.testing.assert_allclose(scaled[0, :3], [0.6, 0.8, 0])
    assert not scaled[1].any(), "an image without any activation stays 0"
    assert scaled.dtype == np.float32


def test_features_of_the_layers_become_logarithms_that_count_less_in_wider_layers():
    features = np.full((1, 4224), np.e - 1, np.float32)
    scaled = comparable(features, "vgg16-conv")
    assert scaled[0, 0] == pytest.approx(64**-0.25)
    assert scaled[0, -1] == pytest.approx(512**-0.25)
    assert scaled.dtype == np.float32


def test_features_of_both_are_scaled_each_in_its_own_way():
    features = np.random.default_rng(0).exponential(size=(3, 8320)).astype(np.float32)
    scaled = comparable(features, "vgg16")
    assert scaled.dtype == np.float32
    fc2, conv = blocks_of("vgg16")
    assert [(fc2.columns, fc2.weight), (conv.columns, conv.weight)] == [
        (slice(0, 4096), FC2_WEIGHT),
        (slice(4096, 8320), 1),
    ]
    np.testing.assert_array_equal(scaled[:, fc2.columns], comparable(features[:, :4096], "vgg16-fc2"))
    np.testing.assert_array_equal(scaled[:, conv.columns], comparable(features[:, 4096:], "vgg16-conv"))


@pytest.mark.parametrize("extractor", DIMENSIONS)
def test_scaling_leaves_the_features_themselves_alone(extractor):
    features = np.ones((2, DIMENSIONS[extractor]), np.float32)
    comparable(features, extractor)
    assert (features == 1).all()
