"""What sets failing images apart from right ones: directions beyond chance, and an axis learnt from others."""

import numpy as np
import pytest

from safe_dnn.rccs.dbscan.contrast import FOLDS, RightImages, set_apart
from safe_dnn.rccs.dbscan.projection import fit_apart
from tests.helpers.features import features_of


def images(n: int, *, reasons: float, seed: int) -> np.ndarray:
    """Looks in the first three of 20 dimensions, and reasons in the next two."""
    spread = np.array([9.0, 7, 5, reasons, reasons, *[0.5] * 15])
    return np.random.default_rng(seed).normal(size=(n, 20)) * spread


def beside(failing: np.ndarray, right: np.ndarray, *, classes: int = 1) -> RightImages:
    n = len(failing) + len(right)
    of = np.array([f"class {i % classes}" for i in range(n)])
    return RightImages(right, of, tuple(f"{i}.png" for i in range(n)), np.arange(n))


def directions(failing: np.ndarray, right: np.ndarray) -> np.ndarray:
    found = set_apart(failing, right, beside(failing, right))
    return np.zeros((0, failing.shape[1])) if found is None else found.directions


def test_what_only_failing_images_vary_in_is_found_and_what_all_do_is_not():
    found = directions(images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1))
    assert found.shape == (2, 20)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-5)
    assert (found[:, 3:5] ** 2).sum() == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_chance_gives_none(seed):
    assert not len(directions(images(150, reasons=4, seed=2 * seed), images(450, reasons=4, seed=2 * seed + 1)))


def test_equal_images_give_none():
    assert not len(directions(np.ones((9, 20)), np.ones((9, 20))))


def test_a_single_direction_is_none():
    failing = images(300, reasons=0.5, seed=0)
    failing[:, 3] *= 10
    assert not len(directions(failing, images(900, reasons=0.5, seed=1)))


def test_the_same_images_give_the_same_directions_also_if_only_some_are_taken(monkeypatch):
    failing, right = images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1)
    assert np.array_equal(directions(failing, right), directions(failing, right))
    monkeypatch.setattr("safe_dnn.rccs.dbscan.neighbours.MOST_STORED", 100)
    assert (directions(failing, right)[:, 3:5] ** 2).sum() == pytest.approx(2, abs=0.1)


def told_apart(failing: np.ndarray, right: np.ndarray, of: RightImages) -> float:
    """How often a failing image lies farther along the axis than a right one."""
    both = np.concatenate([failing, right])
    axis = set_apart(failing, right, of).axis
    places = axis.places(both, of.classes, of.names)
    return float((places[: len(failing), None] > places[len(failing) :]).mean())


def test_failing_images_of_a_class_lie_farther_along_the_axis_also_if_each_class_fails_in_its_own_direction():
    failing, right = images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1)
    failing[::2, 7] += 2
    failing[1::2, 7] -= 2
    assert told_apart(failing, right, beside(failing, right, classes=2)) > 0.9
    assert told_apart(failing, right, beside(failing, right)) < 0.6


def test_no_image_is_placed_by_an_axis_that_was_learnt_from_it():
    """Else failing by chance in 20 dimensions would look like a direction."""
    shares = []
    for seed in range(10):
        failing, right = images(150, reasons=4, seed=2 * seed), images(150, reasons=0.5, seed=2 * seed + 1)
        shares.append(told_apart(failing, right, beside(failing, right)))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)


def test_images_of_one_unit_are_in_one_fold_and_others_are_placed_by_the_mean_of_all():
    failing, right = images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1)
    of = beside(failing, right)._replace(units=np.arange(1200) // 10)
    axis = set_apart(failing, right, of).axis
    order = np.argsort(axis.seen)
    assert order.tolist() == list(range(1200))
    single = {of.names[i]: axis.places(failing[:1], of.classes[:1], [of.names[i]])[0] for i in range(1200)}
    for unit in range(0, 1200, 10):
        assert len({single[of.names[i]] for i in range(unit, unit + 10)}) == 1
    assert len(set(single.values())) == FOLDS
    new = axis.places(failing[:1], of.classes[:1], ["new.png"])[0]
    assert new == pytest.approx(np.mean(list(set(single.values()))))


@pytest.mark.parametrize("extractor", ["vgg16-conv", "vgg16"])
def test_a_projection_to_them_is_one_for_every_extractor(extractor):
    """Groups 0 and 1 are looks that right images have as well; those of groups 2 and 3 fail only."""
    features = features_of((60, 60, 20, 20), extractor)
    failing, right = features.features[40:], features.features[:120]
    of = beside(failing, right)
    projection, coordinates = fit_apart(failing, of, extractor)
    assert coordinates.shape == (120, len(projection.components))
    points = projection.apply(failing, classes=of.classes[:120], names=of.names[:120])
    places = points @ projection.axis.along
    np.testing.assert_allclose((places - places.mean()), coordinates[:, -1] / coordinates[:, -1].std() * places.std(),
                               atol=1e-3 * places.std())  # fmt: skip
    assert places[80:].mean() > places[:80].mean() + places[:80].std()
    centres = [points[rows].mean(axis=0) for rows in (slice(0, 80), slice(80, 100), slice(100, 120))]
    spread = points[80:100].std(axis=0)
    assert np.abs(centres[1] - centres[2]).max() > 3 * spread.max()
