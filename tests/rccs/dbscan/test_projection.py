"""PCA, against scikit-learn's, and the mapping from features to points."""

import tracemalloc

import numpy as np
import pytest

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.features.extractor import DIMENSIONS, FC2_WEIGHT, comparable
from safe_dnn.rccs.clusters import load_clusters, save_clusters
from safe_dnn.rccs.dbscan.projection import _Centred, _principal_components, fit_projection
from tests.helpers.features import features_of


def test_equal_images_get_equal_points_in_any_batch():
    images = features_of((30, 30))
    projection, _ = fit_projection(images.features, "vgg16-conv")
    together = projection.apply(images.features)
    assert np.array_equal(projection.apply(images.features[7:8])[0], together[7])


def principal_components(features, n_components, monkeypatch):
    monkeypatch.setattr("safe_dnn.rccs.dbscan.projection.comparable", lambda features, extractor: features)
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


@pytest.mark.slow
def test_pca_holds_no_copy_of_the_features():
    features = np.random.default_rng(0).random((2000, DIMENSIONS["vgg16-conv"]), dtype=np.float32)
    fit_projection(features[:9], "vgg16-conv")  # imports what it needs
    tracemalloc.start()
    try:
        fit_projection(features, "vgg16-conv")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # Products and distances of all pairs, and a few blocks; with copies it was 5 times the features.
    assert peak < 2.5 * features.nbytes + 8 * len(features) ** 2


# --- Blocks -----------------------------------------------------------------------------------------------------


def test_blocks_are_joined_as_written_down(monkeypatch):
    monkeypatch.setattr("safe_dnn.rccs.dbscan.projection.relevant_directions", lambda points: np.eye(points.shape[1]))
    features = features_of((20, 15), "vgg16").features
    points = fit_projection(features, "vgg16")[0].apply(features)
    scaled = comparable(features, "vgg16").astype(np.float64)
    joined = np.concatenate(
        [weight * scaled[:, columns] / np.sqrt(scaled[:, columns].var(axis=0).sum()) for columns, weight in
         ((slice(0, 4096), FC2_WEIGHT), (slice(4096, 8320), 1))], axis=1,
    )  # fmt: skip
    assert joined.var(axis=0).sum() == pytest.approx(1 + FC2_WEIGHT**2)
    apart = joined[:, None] - joined
    # All 35 components: distances are those of the joined features.
    np.testing.assert_allclose(
        np.linalg.norm(points[:, None] - points, axis=2), np.linalg.norm(apart, axis=2), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("extractor", DIMENSIONS)
def test_a_saved_run_places_later_images_as_before(extractor, tmp_path):
    images = features_of((20, 12), extractor)
    found = find_root_cause_clusters(images)
    save_clusters(found, tmp_path)
    loaded = load_clusters(tmp_path)
    assert loaded.extractor == extractor
    later = features_of((3, 2), extractor, seed=1).features
    assert np.array_equal(loaded.projection.apply(later), found.projection.apply(later))
