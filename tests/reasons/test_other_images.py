"""Images that look like a failing one, among those that the DNN gets right and among improvement images."""

import numpy as np
import pytest

from safe_dnn.FE import stream_features
from safe_dnn.pipeline.explaining import explain_failures, other_images
from safe_dnn.pipeline.generation import ClusteringSettings
from safe_dnn.pipeline.improvement import select_images
from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.reasons.other_images import IMPROVEMENT, RIGHT, nearest_others
from safe_dnn.selection import SelectionSettings
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import no_progress

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def improvement(generated, draw_folder, tmp_path):
    """Improvement images in class folders, from which an unsafe set was selected."""
    for name, seed in (("snow", 7), ("wood", 8)):
        draw_folder(tmp_path / "new" / name, {name: 6}, seed=seed)
    select_images(tmp_path / "new", generated.out, SelectionSettings(size=4))
    return tmp_path / "new"


def test_right_images_have_their_distances_in_the_space_of_pca_the_nearest_first(generated, fake_network):
    explain_failures(generated.out)
    seen = fake_network.images_seen
    others = other_images(generated.out, RIGHT, within=None, weights=None, progress=no_progress)
    assert fake_network.images_seen == seen  # all features were computed for the failure rates
    assert (others.unreadable, others.notes) == (0, ())
    clusters = load_clusters(generated.out)
    row = clusters.paths.index("snow/snow_00.png")
    found = nearest_others(others, clusters.points[row], 5)
    by_hand = {}
    for batch in stream_features(find_images(generated.test), fake_network.extractor):
        points = clusters.projection.apply(batch.features)
        by_hand |= dict(zip(batch.paths, np.linalg.norm(points - clusters.points[row], axis=1).tolist(), strict=True))
    right = [f"snow/snow_{i:02d}.png" for i in range(8, 16)] + [f"wood/wood_{i:02d}.png" for i in range(6, 46)]
    assert sorted(others.paths) == right
    nearest = sorted(right, key=by_hand.__getitem__)[:5]
    assert [others.paths[other] for other, _ in found] == nearest
    assert [distance for _, distance in found] == pytest.approx([by_hand[path] for path in nearest], abs=1e-3)
    assert all(path.startswith("snow/") for path in nearest)
    assert others.told[found[0][0]] == "snow → snow (90%)"


def test_improvement_images_lie_where_the_selection_has_them(generated, improvement, fake_network):
    seen = fake_network.images_seen
    others = other_images(generated.out, IMPROVEMENT, within=None, weights=None, progress=no_progress)
    assert fake_network.images_seen == seen
    assert others.root == improvement
    clusters, unsafe = load_clusters(generated.out), load_unsafe_set(generated.out)
    cores = clusters.points[clusters.is_core].astype(float)
    for image in unsafe.images:
        place = others.paths.index(image.image)
        assert np.linalg.norm(cores - others.points[place], axis=1).min() == pytest.approx(image.distance, abs=1e-4)
        scene = image.image.split("/")[0]
        assert others.told[place] == f"{scene} · in the unsafe set for RCC {image.rcc}"
    rest = set(others.paths) - {image.image for image in unsafe.images}
    assert {others.told[others.paths.index(path)] for path in rest} <= {"snow", "wood"}
