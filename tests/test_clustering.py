"""From features to RCCs, and the files that keep them."""

import dataclasses
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from dbscan.projection import _Centred, _principal_components, fit_projection
from FE import ImageFeatures
from features.extractor import DIMENSIONS, Extractor
from pipeline import cluster_summary
from rccs.clusters import load_clusters, rcc_reach, save_clusters
from support.errors import SAFEError
from support.images import Skipped
from support.run_folder import CLUSTERS_FILE, LABELS_FILE, RUN_FILE
from support.version import VERSION


def features_of(sizes, extractor="vgg16-conv", seed=0):
    """Features as the network could give them: 0 or above, one pattern of active channels per group."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    patterns = rng.exponential(1, (len(sizes), DIMENSIONS[extractor]))
    features = patterns[owner] * rng.lognormal(0, 0.3, (len(owner), DIMENSIONS[extractor]))
    paths = tuple(f"group {group}/{i:04d}.png" for i, group in enumerate(owner))
    return ImageFeatures(
        Path("/images"),
        paths,
        features.astype(np.float32),
        Extractor(extractor, f"{extractor}-test", None, "a notice"),
        (Skipped("broken.png", "the file is empty"),),
    )


@pytest.mark.parametrize("extractor", ["vgg16-conv", "vgg16-fc2"])
def test_groups_of_features_become_clusters_largest_first(extractor):
    found = find_root_cause_clusters(features_of((40, 25, 60), extractor))
    assert found.n_rccs == 3
    assert found.noise_share < 0.02
    for rcc, group in enumerate((2, 0, 1)):
        assert all(path.startswith(f"group {group}/") for path in found.members(rcc))


def test_umap_finds_the_groups_too_and_always_the_same():
    images = features_of((40, 25, 60))
    found = find_root_cause_clusters(images, reducer="umap")
    assert found.sizes.tolist() == [60, 40, 25]
    assert " · vgg16-conv + UMAP · " in cluster_summary(found)
    assert find_root_cause_clusters(images, reducer="umap").labels.tolist() == found.labels.tolist()


def test_umap_of_very_few_images_is_no_error():
    assert find_root_cause_clusters(features_of((3, 3)), reducer="umap").points.shape == (6, 6)


def test_an_unknown_reducer_is_refused():
    with pytest.raises(SAFEError, match="reducer must be one of pca, umap"):
        find_root_cause_clusters(features_of((3,)), reducer="tsne")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    images = features_of((5, 5))
    images.features[3, 7] = bad
    with pytest.raises(SAFEError, match="must be finite"):
        find_root_cause_clusters(images)


def test_components_are_at_most_256_and_at_most_the_images():
    assert len(fit_projection(features_of((5, 4)).features, "vgg16-conv").components) == 9
    assert len(fit_projection(features_of((150, 150)).features, "vgg16-conv").components) == 256


def test_equal_images_get_equal_points_in_any_batch():
    images = features_of((30, 30))
    projection = fit_projection(images.features, "vgg16-conv")
    together = projection.apply(images.features)
    assert np.array_equal(projection.apply(images.features[7:8])[0], together[7])


def test_labels_do_not_hang_on_the_number_of_threads():
    images = features_of((50, 30, 20))
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(find_root_cause_clusters(images).labels.tobytes())
    assert found[0] == found[1]


def test_an_rcc_reaches_as_far_as_its_farthest_image_from_a_core_point():
    points = np.array([[0], [1], [3], [10], [10.5]], np.float32)
    labels = np.array([0, 0, 0, 1, 1])
    is_core = np.array([True, True, False, True, False])
    assert rcc_reach(points, labels, is_core).tolist() == [2.0, 0.5]


def test_saved_clusters_load_equal(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)), weights="weights.h5")
    save_clusters(found, tmp_path)
    loaded = load_clusters(tmp_path)
    for field in dataclasses.fields(found):
        before, after = getattr(found, field.name), getattr(loaded, field.name)
        if isinstance(before, np.ndarray):
            assert np.array_equal(before, after), field.name
            assert before.dtype == after.dtype, field.name
        elif field.name == "projection":
            assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True))
        else:
            assert before == after, field.name


def test_labels_txt_has_a_line_per_image_in_the_order_of_paths(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)))
    save_clusters(found, tmp_path)
    lines = (tmp_path / LABELS_FILE).read_text().splitlines()
    assert lines == [f"{label}\t{path}" for label, path in zip(found.labels, found.paths, strict=True)]
    assert lines == sorted(lines, key=lambda line: line.split("\t")[1])


def test_the_same_images_give_the_same_bytes(tmp_path):
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_clusters(find_root_cause_clusters(features_of((20, 12, 9))), tmp_path / folder)
    assert (tmp_path / "one" / LABELS_FILE).read_bytes() == (tmp_path / "two" / LABELS_FILE).read_bytes()


def test_run_json_says_how_the_clusters_came_about(tmp_path):
    found = find_root_cause_clusters(features_of((20, 12)))
    save_clusters(found, tmp_path)
    record = json.loads((tmp_path / RUN_FILE).read_text())
    assert record["counts"] == {"images": 32, "rccs": 2, "noise": 0, "skipped": 1}
    assert record["rcc_sizes"] == [20, 12]
    assert record["inspect_percent"] == 31.25
    assert record["skipped"] == [{"path": "broken.png", "reason": "the file is empty"}]
    assert record["extractor"]["notice"] == "a notice"
    assert len(record["settings_tried"]) == len(found.settings)
    assert record["versions"]["numpy"] == np.__version__
    assert record["versions"]["safe"] == VERSION


def test_paths_that_are_no_unicode_survive(tmp_path):
    found = find_root_cause_clusters(features_of((3, 3)))
    odd = dataclasses.replace(found, paths=("caf\udce9.png", *found.paths[1:]))
    save_clusters(odd, tmp_path)
    assert load_clusters(tmp_path).paths[0] == "caf\udce9.png"
    assert b"caf\xe9.png" in (tmp_path / LABELS_FILE).read_bytes()


def test_missing_clusters_are_asked_for(tmp_path):
    with pytest.raises(SAFEError, match="Generate them first"):
        load_clusters(tmp_path)


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "another archive", "later version"])
def test_damaged_clusters_are_refused_in_a_sentence(damage, tmp_path, monkeypatch):
    found = find_root_cause_clusters(features_of((6, 5)))
    if damage == "later version":
        monkeypatch.setattr("rccs.clusters.FORMAT_VERSION", 99)
    save_clusters(found, tmp_path)
    monkeypatch.undo()
    path = tmp_path / CLUSTERS_FILE
    whole = path.read_bytes()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "text":
        path.write_text("labels")
    elif damage == "another archive":
        np.savez(path, other=np.zeros(3))
    with pytest.raises(SAFEError, match="Generate the clusters again"):
        load_clusters(tmp_path)


def test_all_noise_has_no_rccs():
    found = find_root_cause_clusters(features_of((2,)))
    assert found.n_rccs == 0
    assert found.noise_share == 1
    assert found.sizes.tolist() == []
    assert len(found.members(NOISE)) == 2


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
