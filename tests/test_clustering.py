"""From features to RCCs."""

import numpy as np
import pytest
from threadpoolctl import threadpool_limits

from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.features.extractor import DIMENSIONS
from safe_dnn.pipeline.summary_lines import cluster_summary, how_found
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
    assert how_found(found).startswith("vgg16-conv · PCA, then UMAP · DBSCAN with eps ")
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
