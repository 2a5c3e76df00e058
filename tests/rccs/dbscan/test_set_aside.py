"""Nuisances that are set aside from features."""

import numpy as np
import pytest

from safe_dnn.features.extractor import DIMENSIONS, comparable
from safe_dnn.rccs.dbscan.projection import fit_projection
from safe_dnn.rccs.dbscan.set_aside import Nuisance, SetAside, combined, fit_set_aside

NAME = "vgg16-conv"
DIMENSION = DIMENSIONS[NAME]


def features_of(scaled: np.ndarray) -> np.ndarray:
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
    aside = fit_set_aside(features_of(scaled), NAME, ("person",), person)
    left = applied(aside, scaled, person)
    assert explained(scaled, person) > 0.8
    assert explained(left, person) < 0.02
    assert explained(left, night) > 0.9
    assert left.mean(axis=0) == pytest.approx(scaled.mean(axis=0), abs=1e-4)


def test_points_of_the_projection_are_those_of_features_without_the_nuisance():
    scaled, person, night = people()
    features = features_of(scaled)
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
    aside = fit_set_aside(features_of(scaled), NAME, ("person",), person)
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
    left = applied(fit_set_aside(features_of(scaled), NAME, ("person", "camera"), column), scaled, column)
    assert max(explained(left, person), explained(left, camera)) < 0.05
    assert explained(left, night) > 0.8
    assert combined([["p1", "p1", ""], ["left", "", "left"]]).tolist() == ["p1\tleft", "", ""]


def test_unknown_values_are_left_as_they_are():
    scaled, person, _ = people()
    person = person.copy()
    person[::7] = ""
    aside = fit_set_aside(features_of(scaled), NAME, ("person",), person)
    left = applied(aside, scaled, person)
    assert left[::7].tolist() == scaled[::7].tolist()
    assert explained(left[person != ""], person[person != ""]) < 0.02
    never_met = np.full(len(person), "someone else")
    assert applied(aside, scaled, never_met).tolist() == scaled.tolist()
    assert aside.unknown(never_met) == len(person)
