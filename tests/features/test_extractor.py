"""How features are scaled before they are compared."""

import numpy as np
import pytest

from safe_dnn.features.extractor import comparable


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
