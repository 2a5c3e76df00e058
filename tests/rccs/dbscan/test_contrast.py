"""Directions in which failing images vary more than right ones, beyond chance."""

import numpy as np
import pytest

from safe_dnn.rccs.dbscan.contrast import contrasting_directions
from safe_dnn.rccs.dbscan.projection import directions_of_failing, fit_projection
from tests.helpers.features import features_of


def images(n: int, *, reasons: float, seed: int) -> np.ndarray:
    """Looks in the first three of 20 dimensions, and reasons in the next two."""
    spread = np.array([9.0, 7, 5, reasons, reasons, *[0.5] * 15])
    return np.random.default_rng(seed).normal(size=(n, 20)) * spread


def test_what_only_failing_images_vary_in_is_found_and_what_all_do_is_not():
    found = contrasting_directions(images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1))
    assert found.shape == (2, 20)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-5)
    assert (found[:, 3:5] ** 2).sum() == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_chance_gives_none(seed):
    assert contrasting_directions(
        images(150, reasons=4, seed=2 * seed), images(450, reasons=4, seed=2 * seed + 1)
    ).shape == (0, 20)


def test_equal_images_give_none():
    assert len(contrasting_directions(np.ones((9, 20)), np.ones((9, 20)))) == 0


def test_a_single_direction_is_none():
    failing = images(300, reasons=0.5, seed=0)
    failing[:, 3] *= 10
    assert len(contrasting_directions(failing, images(900, reasons=0.5, seed=1))) == 0


def test_the_same_images_give_the_same_directions_also_if_only_some_are_taken(monkeypatch):
    failing, right = images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1)
    assert np.array_equal(contrasting_directions(failing, right), contrasting_directions(failing, right))
    monkeypatch.setattr("safe_dnn.rccs.dbscan.neighbours.MOST_STORED", 100)
    assert (contrasting_directions(failing, right)[:, 3:5] ** 2).sum() == pytest.approx(2, abs=0.1)


@pytest.mark.parametrize("extractor", ["vgg16-conv", "vgg16"])
def test_a_projection_to_them_is_one_matrix_for_every_extractor(extractor):
    """Groups 0 and 1 are looks that right images have as well; those of groups 2 and 3 fail only."""
    features = features_of((60, 60, 20, 20), extractor)
    failing, right = features.features[40:], features.features[:120]
    among = directions_of_failing(failing, right, extractor)
    projection, coordinates = fit_projection(failing, extractor, among=among)
    assert projection.components.shape == among.shape
    assert coordinates.shape == (120, len(among))
    points = projection.apply(failing)
    centres = [points[rows].mean(axis=0) for rows in (slice(0, 80), slice(80, 100), slice(100, 120))]
    spread = points[80:100].std(axis=0)
    assert np.abs(centres[0] - centres[1]).max() > 3 * spread.max()
    assert np.abs(centres[1] - centres[2]).max() > 3 * spread.max()
