"""DBSCAN that configures itself, on points whose groups are known."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from safe_dnn.rccs.dbscan import neighbours, tuning
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.projection import average_neighbours
from safe_dnn.rccs.dbscan.tuning import balanced_silhouettes, tune
from tests.helpers.point_groups import groups


@pytest.mark.parametrize("sizes", [(300, 200, 100), (400, 40, 20), (25,) * 10, (60, 60)])
def test_known_groups_are_found_whatever_their_number_and_sizes(sizes):
    points, owner = groups(sizes)
    found = tune(points)
    clustered = found.labels != NOISE
    assert clustered.mean() > 0.95
    assert adjusted_rand_score(owner[clustered], found.labels[clustered]) == 1


def test_one_tight_group_with_far_outliers_is_one_cluster_and_noise():
    points, _ = groups((60,))
    far = (np.eye(10)[:4] * 50 + np.arange(4)[:, None] * 30).astype(np.float32)
    found = tune(np.concatenate([points, far]))
    assert (found.labels[60:] == NOISE).all()
    assert (found.labels[:60] == 0).mean() > 0.9
    assert found.labels.max() == 0


def test_the_chosen_setting_is_the_best_of_those_listed():
    points, _ = groups((100, 60, 30), spread=0.4)
    found = tune(points)
    chosen = found.settings[found.chosen]
    assert chosen.score == max(setting.score for setting in found.settings)
    assert chosen.n_rccs == found.labels.max() + 1
    assert chosen.noise == pytest.approx(np.mean(found.labels == NOISE))
    assert {setting.min_samples for setting in found.settings} == set(tuning.MIN_SAMPLES_TRIED)


def test_one_group_is_clustered_at_the_knee_as_in_the_textbook():
    points, _ = groups((60,), spread=0.4, dimension=30)
    found = tune(points)
    chosen = found.settings[found.chosen]
    assert (chosen.at_knee, chosen.min_samples, chosen.n_rccs) == (True, 5, 1)
    assert found.k_distances[found.knee] <= chosen.eps


def test_causes_of_different_density_are_found_together():
    tight, _ = groups((60, 60), spread=0.02, dimension=5)
    tight = np.where(np.eye(5)[0] > 0, tight / 5, 0) + np.where(np.eye(5)[0] > 0, 0, tight / 5)
    loose = np.random.default_rng(1).normal(0, 0.5, (60, 5)) + 4
    owner = np.repeat([0, 1, 2], 60)
    found = tune(np.concatenate([tight, loose]).astype(np.float32))
    clustered = found.labels != NOISE
    assert clustered.mean() > 0.85
    assert adjusted_rand_score(owner[clustered], found.labels[clustered]) == 1


@pytest.mark.parametrize("spread", [0.7, 0.9, 1.2])
def test_one_cause_of_nearly_all_images_is_not_divided_if_it_stands_apart(spread):
    rng = np.random.default_rng(4)
    common, _ = groups((85,) * 6, spread)  # six that are hardly any
    rare = [(corner + rng.normal(0, 0.2, (n, 10))).astype(np.float32) for corner, n in ((5, 50), (-5, 40))]
    points = np.concatenate([common, *rare])
    assert np.bincount(tune(average_neighbours(points), original=points).labels).tolist() == [510, 50, 40]


def test_the_result_does_not_depend_on_the_order_of_the_points():
    points, _ = groups((80, 50, 30), spread=0.4)
    order = np.random.default_rng(3).permutation(len(points))
    assert adjusted_rand_score(tune(points).labels[order], tune(points[order]).labels) == 1


@pytest.mark.parametrize("block", [10**6, 150])
def test_balanced_silhouettes_are_the_means_of_the_clusters_means(monkeypatch, block):
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(neighbours, "LEAST_ROWS", 1)
    points, owner = groups((40, 10, 5, 1), spread=0.5)
    some = np.where(np.arange(len(owner)) % 7 == 0, NOISE, owner)
    found = balanced_silhouettes(Points(points), [owner, np.zeros_like(owner), some, np.full_like(owner, NOISE)])
    for labels, silhouette in ((owner, found[0]), (some, found[2])):
        members = labels != NOISE
        values = silhouette_samples(points[members].astype(float), labels[members])
        expected = np.mean([values[labels[members] == group].mean() for group in range(4)])
        assert silhouette == pytest.approx(expected, abs=1e-7)
    assert found[1::2] == [0, 0]


def test_what_another_clustering_tells_apart_is_not_joined():
    apart, owner = groups((60, 60, 60), spread=0.05)
    joined = apart.copy()
    joined[:120] = np.random.default_rng(2).normal(0, 0.05, (120, 10))  # as UMAP may draw two causes
    images = {"original": apart, "averaged": apart}
    alone = tune(joined, **images)
    assert sorted(np.bincount(alone.labels)) == [60, 120]
    checked = tune(joined, **images, known=owner)
    assert adjusted_rand_score(owner, checked.labels) == 1
    assert checked.is_core.all()
