"""PCA, against scikit-learn's, and the mapping from features to points."""

import tracemalloc

import numpy as np
import pytest

from dbscan.projection import _Centred, _principal_components, fit_projection
from features.extractor import DIMENSIONS
from tests.helpers.features import features_of


def test_components_are_at_most_256_and_at_most_the_images():
    assert len(fit_projection(features_of((5, 4)).features, "vgg16-conv").components) == 9
    assert len(fit_projection(features_of((150, 150)).features, "vgg16-conv").components) == 256


def test_equal_images_get_equal_points_in_any_batch():
    images = features_of((30, 30))
    projection = fit_projection(images.features, "vgg16-conv")
    together = projection.apply(images.features)
    assert np.array_equal(projection.apply(images.features[7:8])[0], together[7])


def principal_components(features, n_components, monkeypatch):
    monkeypatch.setattr("dbscan.projection.comparable", lambda features, extractor: features)
    return _principal_components(
        _Centred(features, "as they are", features.mean(axis=0, dtype=np.float64)), n_components
    )


@pytest.mark.parametrize(("n", "dimension"), [(30, 60), (600, 900), (5000, 60)])
def test_components_are_those_of_scikit_learn(n, dimension, monkeypatch):
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(0)
    features = (rng.normal(size=(n, 60)) @ rng.normal(size=(60, dimension))).astype(np.float32)
    found = principal_components(features, 20, monkeypatch)
    expected = PCA(20, svd_solver="full").fit(features.astype(np.float64)).components_
    np.testing.assert_allclose(np.abs(np.sum(found * expected, axis=1)), 1, atol=1e-6)


def test_pca_holds_no_copy_of_the_features():
    features = np.random.default_rng(0).random((2000, DIMENSIONS["vgg16-conv"]), dtype=np.float32)
    fit_projection(features[:9], "vgg16-conv")  # imports what it needs
    tracemalloc.start()
    try:
        fit_projection(features, "vgg16-conv")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * features.nbytes  # products of all pairs and a few blocks; with copies it was 5 times


def test_directions_in_which_nothing_varies_are_left_out(monkeypatch):
    features = np.random.default_rng(0).normal(size=(20, 3)) @ np.random.default_rng(1).normal(size=(3, 50))
    found = principal_components(features, 10, monkeypatch)
    assert np.linalg.norm(found, axis=1).round(6).tolist() == [1, 1, 1, 0, 0, 0, 0, 0, 0, 0]
