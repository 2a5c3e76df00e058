"""Rivals of what sets failing images apart, and the comparison's table."""

import numpy as np
import pytest

from lab.benchmarks.reasons import unknown
from lab.benchmarks.reasons.contrasts import (
    contrastive,
    covariance,
    joined,
    whitened,
    without_centres,
    without_directions,
    without_nearest,
)
from lab.benchmarks.reasons.unknown import SET_APART, Case, best_reductions, cluster_points, measured, table
from lab.tests.benchmarks.test_reasons import looks_and_reasons
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.features.extractor import comparable
from tests.helpers.features import features_of


def both(*, n: int = 300) -> tuple[np.ndarray, np.ndarray]:
    """Looks in the first dimension, a reason in the second, nothing in the other two."""
    rng = np.random.default_rng(0)
    failing, right = rng.normal(size=(n, 4)) * (9, 4, 1, 1), rng.normal(size=(n, 4)) * (9, 1, 1, 1)
    return failing, right


def test_contrastive_pca_keeps_what_failing_images_vary_more_in():
    failing, right = contrastive(*both(), alpha=2)
    assert failing.shape == right.shape == (300, 1)
    assert abs(np.corrcoef(failing[:, 0], both()[0][:, 1])[0, 1]) > 0.99
    assert contrastive(*both(), alpha=0.5, most=2)[0].shape == (300, 2)


def test_right_images_vary_equally_in_all_directions_once_whitened():
    _, right = whitened(*both(), shrinkage=1e-9)
    np.testing.assert_allclose(covariance(right), np.eye(4), atol=1e-6)
    failing, right = whitened(*both(), shrinkage=1)  # of a sphere, so that only the scale changes
    expected = covariance(both()[0]).trace() * 4 / covariance(both()[1]).trace()
    assert covariance(failing).trace() == pytest.approx(expected)
    assert covariance(right).trace() == pytest.approx(4)


def test_the_first_directions_of_right_images_are_removed():
    failing, right = without_directions(*both(), n=1)
    assert right.var(axis=0)[0] < 0.1
    assert failing.var(axis=0)[1] > 10


def test_the_mean_of_the_nearest_right_images_is_subtracted_but_not_the_image_itself():
    right = np.array([[0.0], [1], [10]])
    failing, others = without_nearest(np.array([[2.0]]), right, n=2)
    assert failing.tolist() == [[1.5]]
    assert others.tolist() == [[-5.5], [-4], [9.5]]


def test_the_centre_of_the_nearest_group_of_right_images_is_subtracted():
    right = np.array([[0.0], [1], [10], [11]])
    failing, others = without_centres(np.array([[3.0], [9]]), right, n=2)
    assert failing.tolist() == [[2.5], [-1.5]]
    assert others.tolist() == [[-0.5], [0.5], [-0.5], [0.5]]


def test_joined_blocks_have_their_shares_of_the_variance_and_what_does_not_vary_is_left_out():
    points, hidden = both(), (5 * both()[0][:, :2], 5 * both()[1][:, :2])
    failing, right = joined(points, hidden, weight=0.5)
    assert failing.shape == right.shape == (300, 6)
    assert failing[:, :4].var(axis=0).sum() == pytest.approx(1)
    assert failing[:, 4:].var(axis=0).sum() == pytest.approx(0.25)
    assert joined(points, (np.ones((300, 3)), np.ones((300, 3))), weight=1)[0].shape == (300, 4)


def test_an_rcc_is_described_by_its_best_parameter():
    labels = np.array([0, 0, 1, 1, -1])
    columns = {"light": np.array([1.0, 1, 0, 2, 2]), "angle_deg": np.array([0.0, 180, 90, 90, 0])}
    assert best_reductions(labels, 2, columns) == pytest.approx([1, 1])
    assert best_reductions(labels, 2, {}) == []


@pytest.fixture
def case(tmp_path) -> Case:
    return Case(looks_and_reasons(tmp_path), tmp_path / "none.keras", "person")


def test_the_default_is_what_the_tool_finds():
    images = features_of((12, 10, 8))

    class Drawn:
        extractor, wrong = images.extractor, np.ones(30, bool)

        class tested:  # noqa: N801
            root, paths = images.root, images.paths

    points = comparable(images.features, "vgg16-conv")
    clusters, _ = cluster_points(Drawn, (points, points[:3]))
    assert clusters.labels.tolist() == find_root_cause_clusters(images).labels.tolist()


@pytest.mark.slow
def test_each_way_has_a_row_and_is_measured_once(case, tmp_path, monkeypatch):
    chosen = ["default", SET_APART, "known", "α = 2"]
    results = measured(case, tmp_path, chosen=chosen)
    assert list(results) == ["default", SET_APART, "person known and set aside", "contrastive PCA, α = 2"]
    monkeypatch.setattr(unknown, "measure_way", pytest.fail)  # nothing is measured again
    assert measured(case, tmp_path, chosen=chosen) == results
    assert results["default"]["of one"] >= 3
    assert results["default"]["causes of any"] == ["dark"]
    lines = table(results, "person").split("\n")
    assert [line.split(" | ")[0] for line in lines[2:]] == [f"| {way}" for way in results]
    assert len({line.count("|") for line in lines}) == 1


def test_a_case_without_folder_is_one_line(tmp_path, capsys):
    assert unknown.main(["--data", "gd", "--work", str(tmp_path)]) == 2
    assert "--data must be NAME=DIR" in capsys.readouterr().err
