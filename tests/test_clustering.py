"""From features to RCCs."""

import dataclasses

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from safe_dnn import clustering
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import DIMENSIONS
from safe_dnn.rccs.confidence import confidence_text
from safe_dnn.rccs.dbscan.contrast import RightImages
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.report.summary_lines import algorithm_summary, cluster_summary
from safe_dnn.support.errors import SAFEError
from tests.helpers.features import features_of


@pytest.mark.parametrize("extractor", DIMENSIONS)
def test_groups_of_features_become_clusters_largest_first(extractor):
    found = find_root_cause_clusters(features_of((40, 25, 60), extractor))
    assert found.n_rccs == 3
    assert found.noise_share < 0.02
    for rcc, group in enumerate((2, 0, 1)):
        assert all(path.startswith(f"group {group}/") for path in found.members(rcc))


@pytest.mark.slow
def test_umap_finds_the_groups_too_and_always_the_same():
    images = features_of((40, 25, 60))
    found = find_root_cause_clusters(images, reducer="umap")
    assert found.sizes.tolist() == [60, 40, 25]
    assert cluster_summary(found) == "3 root cause clusters hold 100% of 125 failures · 1 skipped"
    assert algorithm_summary(found).startswith("vgg16-conv · PCA, then UMAP · DBSCAN with eps ")
    assert find_root_cause_clusters(images, reducer="umap").labels.tolist() == found.labels.tolist()


def test_an_unknown_reducer_is_refused():
    with pytest.raises(SAFEError, match="reducer must be one of auto, pca, umap"):
        find_root_cause_clusters(features_of((3,)), reducer="tsne")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    images = features_of((5, 5))
    images.features[3, 7] = bad
    with pytest.raises(SAFEError, match="must be finite"):
        find_root_cause_clusters(images)


def test_labels_do_not_depend_on_the_number_of_threads():
    images = features_of((50, 30, 20))
    found = []
    for threads in (1, 2):
        with threadpool_limits(limits=threads):
            found.append(find_root_cause_clusters(images).labels.tobytes())
    assert found[0] == found[1]


def persons_and_reasons(reasons: int, *, n: int = 24) -> tuple[ImageFeatures, RightImages]:
    """Six persons look different and fail alike, for some reasons that look alike; right images show persons alone."""
    rng = np.random.default_rng(0)
    patterns = rng.exponential(1, (6 + reasons, DIMENSIONS["vgg16-conv"]))
    person, reason = np.divmod(np.arange(6 * n), n)
    reason %= reasons
    noise = rng.lognormal(0, 0.3, (12 * n, DIMENSIONS["vgg16-conv"]))
    failing = ((2 * patterns[person] + patterns[6 + reason]) * noise[: 6 * n]).astype(np.float32)
    right = (2 * patterns[person] * noise[6 * n :]).astype(np.float32)
    paths = tuple(f"reason {one}/{i:03d}.png" for i, one in enumerate(reason))
    order = np.argsort(paths)
    images = features_of((3,))
    images = dataclasses.replace(images, paths=tuple(sorted(paths)), features=failing[order])
    names = (*images.paths, *(f"right/{i:03d}.png" for i in range(6 * n)))
    return images, RightImages(right, np.full(12 * n, "sign"), names, np.arange(12 * n))


def reasons_in(images: ImageFeatures, labels: np.ndarray) -> list[set[str]]:
    paths = np.array([path.partition("/")[0] for path in images.paths])
    return [set(paths[labels == rcc].tolist()) for rcc in range(labels.max() + 1)]


def test_beside_right_images_rccs_are_reasons_where_by_looks_they_are_persons():
    images, right = persons_and_reasons(3)
    by_looks = find_root_cause_clusters(images, right=right, reducer="pca")
    assert by_looks.labels.tolist() == find_root_cause_clusters(images).labels.tolist()
    assert all(len(of) == 3 for of in reasons_in(images, by_looks.labels))
    found = find_root_cause_clusters(images, right=right)
    assert found.beyond_class.is_contrast
    assert all(len(of) == 1 for of in reasons_in(images, found.labels))
    assert found.points.shape[1] == len(found.projection.components) < 10
    again = find_root_cause_clusters(images, right=right)
    assert (again.labels.tobytes(), again.points.tobytes()) == (found.labels.tobytes(), found.points.tobytes())
    n = len(images.paths)
    places = found.projection.apply(images.features, classes=right.classes[:n], names=right.names[:n])
    np.testing.assert_array_equal(places, found.points)


@pytest.mark.slow
def test_where_no_rcc_by_what_sets_images_apart_is_steady_those_by_looks_are_kept(monkeypatch):
    images, right = persons_and_reasons(3)
    by_looks = find_root_cause_clusters(images, right=right, reducer="pca")
    clustered = clustering.cluster_points

    def unsteady_apart(points, *arguments, **more):
        tuning, found = clustered(points, *arguments, **more)
        is_contrast = points.shape[1] < by_looks.points.shape[1]
        return tuning, found._replace(labels=np.full(len(points), NOISE)) if is_contrast else found

    monkeypatch.setattr(clustering, "cluster_points", unsteady_apart)
    found = find_root_cause_clusters(images, right=right)
    assert not found.beyond_class.is_contrast
    assert found.labels.tobytes() == by_looks.labels.tobytes()


@pytest.mark.parametrize("mixed", [False, True])
def test_where_nothing_is_found_again_all_that_fails_is_one_rcc_only_if_right_images_are_elsewhere(mixed, monkeypatch):
    rng, n = np.random.default_rng(0), 60
    patterns = rng.exponential(1, (2, DIMENSIONS["vgg16-conv"]))
    fails = np.arange(4 * n) < n
    shows = rng.permutation(fails) if mixed else fails
    looks = np.where(shows[:, None], patterns[0], patterns[1]) * rng.lognormal(0, 0.2, (4 * n, patterns.shape[1]))
    looks = looks.astype(np.float32)
    names = tuple(f"{i:03d}.png" for i in range(4 * n))
    images = dataclasses.replace(features_of((3,)), paths=names[:n], features=looks[:n])
    right = RightImages(looks[n:], np.full(4 * n, "sign"), names, np.arange(4 * n))
    clustered = clustering.cluster_points

    def divided_by_chance(points, *arguments, **more):
        tuning, found = clustered(points, *arguments, **more)
        return tuning, found._replace(labels=np.full(len(points), NOISE))

    monkeypatch.setattr(clustering, "cluster_points", divided_by_chance)
    found = find_root_cause_clusters(images, right=right)
    assert found.n_rccs == (not mixed)
    if not mixed:
        assert np.count_nonzero(found.labels == 0) > 0.8 * n
        assert found.beyond_class.appearance > 0.6


@pytest.mark.slow
def test_a_huge_rcc_is_divided_where_that_tells_as_much_and_keeps_its_number_of_images(monkeypatch):
    images, right = persons_and_reasons(6, n=30)
    together = np.array([0 if path < "reason 3" else 1 for path in images.paths])
    clustered = clustering.cluster_points

    def coarse(points, coordinates, names, **more):
        tuning, found = clustered(points, coordinates, names, **more)
        if len(points) < len(together):
            return tuning, found
        steadiness = found.steadiness._replace(of_rccs=np.ones(2, np.float32))
        return tuning, found._replace(labels=together, is_core=np.ones(len(together), bool), steadiness=steadiness)

    monkeypatch.setattr(clustering, "cluster_points", coarse)
    found = find_root_cause_clusters(images, right=right)
    assert all(len(of) == 1 for of in reasons_in(images, found.labels))
    assert len(set(found.parts.tolist())) == 2
    assert NOISE not in found.parts
    assert len(found.parts) == len(found.steadiness.of_rccs) == found.n_rccs
    sizes = found.sizes.tolist()
    assert sizes == sorted(sizes, reverse=True)
    assert "of a huge RCC" in confidence_text(found, 0)
