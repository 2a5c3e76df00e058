"""PCA, against scikit-learn's, and the mapping from features to points."""

import tracemalloc

import numpy as np
import pytest

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.features.extractor import DIMENSIONS, FC2_WEIGHT, comparable
from safe_dnn.rccs.clusters import load_clusters, save_clusters
from safe_dnn.rccs.dbscan.projection import (
    Nuisance,
    SetAside,
    _Centred,
    _principal_components,
    average_neighbours,
    combined,
    fit_projection,
    fit_set_aside,
    relevant_directions,
)
from tests.helpers.features import features_of
from tests.helpers.point_groups import groups


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
    assert loaded.extractor == images.extractor
    later = features_of((3, 2), extractor, seed=1).features
    assert np.array_equal(loaded.projection.apply(later), found.projection.apply(later))


NAME = "vgg16-conv"
DIMENSION = DIMENSIONS[NAME]


def features_with(scaled: np.ndarray) -> np.ndarray:
    """Features that `comparable` scales to these values, which are not negative; the rest of them are 0."""
    wide = np.zeros((len(scaled), DIMENSION), np.float32)
    wide[:, : scaled.shape[1]] = scaled
    unit = comparable(np.full((1, DIMENSION), np.e - 1, np.float32), NAME)
    return np.expm1(wide / unit).astype(np.float32)


def applied(aside: SetAside, scaled: np.ndarray, column: np.ndarray) -> np.ndarray:
    wide = np.zeros((len(scaled), DIMENSION))
    wide[:, : scaled.shape[1]] = scaled
    return Nuisance(aside, column).without(wide, slice(None))[:, : scaled.shape[1]]


def people(n_people: int = 6, each: int = 40, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scaled features in which the person matters most, the person, and whether it is night: the real structure."""
    rng = np.random.default_rng(seed)
    person = np.repeat([f"p{i}" for i in range(n_people)], each)
    night = rng.random(len(person)) < 0.5
    looks = rng.uniform(0, 2, (n_people, 8))
    scaled = np.repeat(looks, each, axis=0) + 0.5 * night[:, None] + rng.uniform(0, 0.1, (len(person), 8))
    return scaled, person, night


def explained(points: np.ndarray, groups: np.ndarray) -> float:
    """Share of the variance that lies between groups."""
    means = np.stack([points[groups == group].mean(axis=0) for group in groups])
    return float(((means - points.mean(axis=0)) ** 2).sum() / ((points - points.mean(axis=0)) ** 2).sum())


def test_a_planted_nuisance_is_removed_and_a_real_structure_stays():
    scaled, person, night = people()
    aside = fit_set_aside(features_with(scaled), NAME, ("person",), person)
    left = applied(aside, scaled, person)
    assert explained(scaled, person) > 0.8
    assert explained(left, person) < 0.02
    assert explained(left, night) > 0.9
    assert left.mean(axis=0) == pytest.approx(scaled.mean(axis=0), abs=1e-4)


def test_points_of_the_projection_are_those_of_features_without_the_nuisance():
    scaled, person, night = people()
    features = features_with(scaled)
    nuisance = Nuisance(fit_set_aside(features, NAME, ("person",), person), person)
    projection, _ = fit_projection(features, NAME, nuisance=nuisance)
    points = projection.apply(features, nuisance=nuisance)
    assert explained(points[:, :1], night) > 0.9
    some = np.array([200, 3, 150])
    assert projection.apply(features[some], nuisance=nuisance._replace(column=person[some])) == pytest.approx(
        points[some], abs=1e-5
    )


def test_the_mean_of_few_images_is_shrunk():
    rng = np.random.default_rng(0)
    person = np.append(np.repeat([f"p{i}" for i in range(40)], 40), ["twice", "twice"])
    looks = np.concatenate([np.repeat(rng.normal(2, 0.2, (40, 50)), 40, axis=0), np.full((2, 50), 3.0)])
    scaled = looks + rng.normal(0, 0.2, looks.shape)  # images of a person differ as much as persons
    aside = fit_set_aside(features_with(scaled), NAME, ("person",), person)
    removed = scaled - applied(aside, scaled, person)
    assert removed[-1].mean() == pytest.approx(2 / (2 + 1), abs=0.05)
    often = person == "p7"
    share = (removed[often][0] @ (looks[often][0] - 2)) / ((looks[often][0] - 2) ** 2).sum()
    assert share == pytest.approx(40 / (40 + 1), abs=0.05)


def test_of_several_parameters_each_combination_of_values_counts():
    scaled, person, night = people()
    camera = np.where(np.arange(len(person)) % 3, "left", "right")
    scaled = scaled + np.where((person == "p1") & (camera == "left"), 1.5, 0)[:, None]
    column = combined([person.tolist(), camera.tolist()])
    left = applied(fit_set_aside(features_with(scaled), NAME, ("person", "camera"), column), scaled, column)
    assert max(explained(left, person), explained(left, camera)) < 0.05
    assert explained(left, night) > 0.8
    assert combined([["p1", "p1", ""], ["left", "", "left"]]).tolist() == ["p1\tleft", "", ""]


def test_unknown_values_are_left_as_they_are():
    scaled, person, _ = people()
    person = person.copy()
    person[::7] = ""
    aside = fit_set_aside(features_with(scaled), NAME, ("person",), person)
    left = applied(aside, scaled, person)
    assert left[::7].tolist() == scaled[::7].tolist()
    assert explained(left[person != ""], person[person != ""]) < 0.02
    never_met = np.full(len(person), "someone else")
    assert applied(aside, scaled, never_met).tolist() == scaled.tolist()
    assert aside.unknown(never_met) == len(person)


def test_what_neighbours_differ_in_counts_less():
    rng = np.random.default_rng(0)
    points = np.column_stack([np.repeat([0.0, 1.0], 60) + rng.normal(0, 0.02, 120), rng.normal(0, 0.3, 120)])
    scaled = points @ relevant_directions(points).T

    def apart_over_spread(points):
        one, other = points[:60], points[60:]
        return np.linalg.norm(one.mean(axis=0) - other.mean(axis=0)) / np.linalg.norm(one.std(axis=0))

    assert apart_over_spread(scaled) > 1.5 * apart_over_spread(points)


def test_averaging_draws_groups_together_and_leaves_a_far_one_alone():
    points, owner = groups((100, 100, 6), spread=0.5)
    points[owner == 2] += 20
    moved = average_neighbours(points)
    assert moved.dtype == np.float32
    for group in range(3):
        assert moved[owner == group].std(axis=0).sum() < 0.8 * points[owner == group].std(axis=0).sum()
    assert np.abs(moved[owner == 2].mean(axis=0) - points[owner == 2].mean(axis=0)).max() < 1e-5
