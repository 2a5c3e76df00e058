"""Nuisances that are set aside from features."""

import numpy as np
import pytest

from safe_dnn.features.extractor import DIMENSIONS, comparable
from safe_dnn.rccs.dbscan.projection import fit_projection
from safe_dnn.rccs.dbscan.set_aside import Nuisance, SetAside, fit_set_aside

NAME = "vgg16-conv"
DIMENSION = DIMENSIONS[NAME]


def features_of(scaled: np.ndarray) -> np.ndarray:
    """Features that `comparable` scales to these values, which are not negative; the rest of them are 0."""
    wide = np.zeros((len(scaled), DIMENSION), np.float32)
    wide[:, : scaled.shape[1]] = scaled
    unit = comparable(np.full((1, DIMENSION), np.e - 1, np.float32), NAME)
    return np.expm1(wide / unit).astype(np.float32)


def applied(what: SetAside, scaled: np.ndarray, columns: dict[str, np.ndarray]) -> np.ndarray:
    wide = np.zeros((len(scaled), DIMENSION))
    wide[:, : scaled.shape[1]] = scaled
    return what.apply(wide, columns)[:, : scaled.shape[1]]


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
    what = fit_set_aside(features_of(scaled), NAME, {"person": person})
    left = applied(what, scaled, {"person": person})
    assert explained(scaled, person) > 0.8
    assert explained(left, person) < 0.02
    assert explained(left, night) > 0.9
    assert left.mean(axis=0) == pytest.approx(scaled.mean(axis=0), abs=1e-4)


def test_points_of_the_projection_are_those_of_features_without_the_nuisance():
    scaled, person, night = people()
    features = features_of(scaled)
    nuisance = Nuisance(fit_set_aside(features, NAME, {"person": person}), {"person": person})
    projection, _ = fit_projection(features, NAME, nuisance=nuisance)
    points = projection.apply(features, nuisance=nuisance)
    assert explained(points[:, :1], night) > 0.9
    some = np.array([200, 3, 150])
    assert projection.apply(
        features[some], nuisance=nuisance._replace(columns={name: of[some] for name, of in nuisance.columns.items()})
    ) == pytest.approx(points[some], abs=1e-5)


def test_the_mean_of_few_images_is_shrunk():
    rng = np.random.default_rng(0)
    person = np.append(np.repeat([f"p{i}" for i in range(40)], 40), ["twice", "twice"])
    looks = np.concatenate([np.repeat(rng.normal(2, 0.2, (40, 50)), 40, axis=0), np.full((2, 50), 3.0)])
    scaled = looks + rng.normal(0, 0.2, looks.shape)  # images of a person differ as much as persons
    what = fit_set_aside(features_of(scaled), NAME, {"person": person})
    removed = scaled - applied(what, scaled, {"person": person})
    assert removed[-1].mean() == pytest.approx(2 / (2 + 1), abs=0.05)
    often = person == "p7"
    share = (removed[often][0] @ (looks[often][0] - 2)) / ((looks[often][0] - 2) ** 2).sum()
    assert share == pytest.approx(40 / (40 + 1), abs=0.05)


def test_of_what_few_images_within_a_value_have_in_common_little_is_removed():
    scaled, person, _ = people()
    drive = np.char.add(person, np.where(np.arange(len(person)) % 40 < 2, " seldom", ""))
    columns = {"person": person, "drive": drive}
    scaled[np.char.endswith(drive, "seldom")] += 0.5  # these two images of each person are nights, too
    left = applied(fit_set_aside(features_of(scaled), NAME, columns), scaled, columns)
    assert explained(left, person) < 0.05
    seldom = left[np.char.endswith(drive, "seldom")].mean() - left[~np.char.endswith(drive, "seldom")].mean()
    assert seldom > 0.5 * 0.75


def test_angles_wrap_around():
    rng = np.random.default_rng(0)
    angle = rng.uniform(0, 360, 600)
    scaled = 1 + 0.5 * np.cos(np.deg2rad(angle - 10))[:, None] + rng.uniform(0, 0.05, (600, 2))
    what = fit_set_aside(features_of(scaled), NAME, {"light_deg": angle})
    left = applied(what, scaled, {"light_deg": angle})
    assert left.var() < 0.01 * scaled.var()
    at = np.array([-1.0, 359.0, 719.0, 0.5, 360.5])
    terms = what.terms({"light_deg": at})
    assert terms[0] == pytest.approx(terms[1])
    assert terms[1] == pytest.approx(terms[2])
    assert terms[3] == pytest.approx(terms[4])
    assert terms[1] == pytest.approx(terms[3], abs=0.1)  # 359 and 0.5 degrees are neighbours


def test_a_number_is_fitted_smoothly_and_values_beyond_those_fitted_do_not_run_away():
    rng = np.random.default_rng(0)
    number = rng.exponential(size=500)
    scaled = (1 + np.tanh(number))[:, None] + rng.uniform(0, 0.05, (500, 2))
    what = fit_set_aside(features_of(scaled), NAME, {"distance": number})
    assert what.factors[0].n_terms == 4
    left = applied(what, scaled, {"distance": number})
    assert left.var() < 0.05 * scaled.var()
    ends = what.terms({"distance": np.array([number.max(), 1e9, -1e9, number.min()])})
    assert ends[0].tolist() == ends[1].tolist()
    assert ends[2].tolist() == ends[3].tolist()


def test_unknown_values_are_left_as_they_are():
    scaled, person, _ = people()
    person = person.copy()
    person[::7] = ""
    what = fit_set_aside(features_of(scaled), NAME, {"person": person})
    left = applied(what, scaled, {"person": person})
    assert left[::7].tolist() == scaled[::7].tolist()
    assert explained(left[person != ""], person[person != ""]) < 0.02
    never_met = np.full(len(person), "someone else")
    assert applied(what, scaled, {"person": never_met}).tolist() == scaled.tolist()
    assert not what.known({"person": never_met}).any()
    number = np.where(np.arange(len(person)) % 7 == 0, np.nan, scaled[:, 0])
    what = fit_set_aside(features_of(scaled), NAME, {"size": number})
    assert applied(what, scaled, {"size": number})[::7].tolist() == scaled[::7].tolist()
