"""What sets failing images apart from right ones: directions beyond chance, and an axis learnt from others."""

import numpy as np
import pytest

from safe_dnn.rccs.dbscan.contrast import (
    RIDGE,
    ExplainedUncertainty,
    RightImages,
    explained_beyond_class,
    find_contrast,
    learnt,
    uncertainty_coefficient,
)
from safe_dnn.rccs.dbscan.projection import fit_contrast
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
    found = find_contrast(failing, right, beside(failing, right))
    return np.zeros((0, failing.shape[1])) if found is None else found.directions


def test_what_only_failing_images_vary_in_is_found_and_what_all_do_is_not():
    found = directions(images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1))
    assert found.shape == (2, 20)
    np.testing.assert_allclose(found @ found.T, np.eye(2), atol=1e-5)
    assert (found[:, 3:5] ** 2).sum() == pytest.approx(2, abs=0.05)


@pytest.mark.parametrize("seed", range(5))
def test_chance_gives_none(seed):
    assert not len(directions(images(150, reasons=4, seed=2 * seed), images(450, reasons=4, seed=2 * seed + 1)))


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
    axis = find_contrast(failing, right, of).axis
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


def test_an_image_is_placed_as_if_its_unit_had_not_been_there():
    """Beside the same regression without each unit, which takes as many fits as there are units."""
    rng = np.random.default_rng(0)
    n, p, n_classes = 120, 15, 3
    x, y, number, units = rng.normal(size=(n, p)), rng.normal(size=n), rng.integers(0, 3, n), rng.integers(0, 40, n)
    directions, left_out = learnt(x, y, number, n_classes, units)
    inputs = np.concatenate([x, *(x * (number == one)[:, None] for one in range(n_classes))], axis=1)
    ridge = RIDGE * (x**2).sum() / p * np.eye(inputs.shape[1])

    def fitted(rows: np.ndarray) -> np.ndarray:
        return np.linalg.solve(inputs[rows].T @ inputs[rows] + ridge, inputs[rows].T @ y[rows])

    np.testing.assert_allclose(np.einsum("ij,ij->i", x, directions[number]), inputs @ fitted(np.arange(n)), atol=1e-10)
    for unit in np.unique(units):
        rows = units == unit
        np.testing.assert_allclose(inputs[rows] @ fitted(np.flatnonzero(~rows)), left_out[rows], atol=1e-10)


def test_images_that_are_not_known_are_placed_by_what_all_have_taught():
    failing, right = images(300, reasons=4, seed=0), images(900, reasons=0.5, seed=1)
    of = beside(failing, right)
    axis = find_contrast(failing, right, of).axis
    as_new = axis.places(failing, of.classes[:300], ["new.png"] * 300)
    np.testing.assert_allclose(as_new, failing @ axis.directions[1] - axis.offsets[1], rtol=1e-4, atol=1e-6)
    assert not np.allclose(as_new, axis.places(failing, of.classes[:300], of.names[:300]), rtol=1e-3)


@pytest.mark.parametrize("extractor", ["vgg16-conv", "vgg16"])
def test_a_projection_to_them_is_one_for_every_extractor(extractor):
    """Groups 0 and 1 are looks that right images have as well; those of groups 2 and 3 fail only."""
    features = features_of((60, 60, 20, 20), extractor)
    failing, right = features.features[40:], features.features[:120]
    of = beside(failing, right)
    projection, coordinates = fit_contrast(failing, of, extractor)
    assert coordinates.shape == (120, len(projection.components))
    points = projection.apply(failing, classes=of.classes[:120], names=of.names[:120])
    turned = np.linalg.lstsq(coordinates, points)[0]
    np.testing.assert_allclose(coordinates @ turned, points, atol=1e-3 * points.std())
    places = points @ np.linalg.pinv(turned)[:, -1]
    np.testing.assert_allclose(places, coordinates[:, -1], atol=1e-3 * places.std())
    assert places[80:].mean() > places[:80].mean() + places[:80].std()
    centres = [points[rows].mean(axis=0) for rows in (slice(0, 80), slice(80, 100), slice(100, 120))]
    spread = points[80:100].std(axis=0)
    assert np.abs(centres[1] - centres[2]).max() > 3 * spread.max()


RNG = np.random.default_rng(0)
WRONG = RNG.random(4000) < 0.3


def test_known_rates_tell_as_much_as_their_entropy_says():
    cells = np.repeat([0, 1], 20_000)
    wrong = np.random.default_rng(1).random(len(cells)) < np.where(cells, 0.9, 0.1)

    def entropy(rate: float) -> float:
        return float(-rate * np.log(rate) - (1 - rate) * np.log(1 - rate))

    assert uncertainty_coefficient(cells, wrong) == pytest.approx(1 - entropy(0.1) / entropy(0.5), abs=0.01)


def test_what_only_holds_for_some_groups_misleads_in_halves_of_other_groups():
    groups = np.repeat(np.arange(20), 200)
    fails = np.random.default_rng(2).random(20) < 0.5
    wrong = np.where(fails[groups], RNG.random(4000) < 0.9, RNG.random(4000) < 0.1)
    assert uncertainty_coefficient(groups, wrong) > 0.4
    assert uncertainty_coefficient(groups, wrong, groups) == pytest.approx(0, abs=0.01)


def test_what_regions_tell_beyond_the_class_is_what_the_class_does_not_tell():
    classes = np.where(RNG.random(len(WRONG)) < 0.5, "women", "men")
    wrong = RNG.random(len(WRONG)) < np.where(classes == "women", 0.6, 0.1)
    assert explained_beyond_class((classes == "women").astype(int), classes, wrong) == pytest.approx(0, abs=0.01)
    assert explained_beyond_class(RNG.integers(-1, 9, len(wrong)), classes, wrong) == pytest.approx(0, abs=0.02)
    assert explained_beyond_class(wrong.astype(int), classes, wrong) > 0.5


@pytest.mark.parametrize(
    ("apart", "looks", "begins"),
    [
        (0.18, 0.004, "Grouped by contrast with correctly classified images: these clusters explain 18 %"),
        (0.3, 0.23, "Grouped by appearance, as in the paper: these clusters explain 23 %"),
        (0.01, 0.12, "Grouped by appearance, as in the paper: these clusters explain 12 %"),
        (0.002, -0.03, "Clusters by appearance explain nothing about which images fail, beyond the class"),
    ],
)  # fmt: skip
def test_looks_are_taken_unless_they_explain_much_less_and_one_sentence_says_so(apart, looks, begins):
    explained = ExplainedUncertainty.chosen(apart, looks)
    assert explained.text.startswith(begins)
    assert explained.is_contrast == (apart == 0.18)
