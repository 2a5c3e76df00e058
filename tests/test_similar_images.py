"""Images that look like a failing one, among those that the DNN gets right and among improvement images."""

import numpy as np
import pytest

from FE import stream_features
from pipeline.comparison import explain_failures, other_images
from pipeline.generation import ClusteringSettings, generate_clusters
from pipeline.improvement import select_images
from rccs.clusters import load_clusters
from rccs.unsafe_set import load_unsafe_set
from selection import SelectionSettings
from similar_images import IMPROVEMENT, RIGHT, gather_improvement, nearest_others
from support.errors import SAFEError
from support.images import find_images
from tests.helpers.answered import AnsweredCase, draw_case, draw_people

SETTINGS = ClusteringSettings(extractor="vgg16-conv")


@pytest.fixture
def case(fake_network, tmp_path) -> AnsweredCase:
    found = draw_case(tmp_path)
    generate_clusters(found.failing, found.out, SETTINGS)
    return found


@pytest.fixture
def improvement(case, draw_folder, tmp_path):
    """Improvement images in class folders, from which an unsafe set was selected."""
    for name, seed in (("snow", 7), ("wood", 8)):
        draw_folder(tmp_path / "new" / name, {name: 6}, seed=seed)
    select_images(tmp_path / "new", case.out, SelectionSettings(size=4))
    return tmp_path / "new"


def test_right_images_have_their_distances_in_the_space_of_pca_the_nearest_first(case, fake_network):
    explain_failures(case.out)
    seen = fake_network.images_seen
    others = other_images(case.out, RIGHT)
    assert fake_network.images_seen == seen  # all features were computed for the failure rates
    assert (others.missing, others.unreadable, others.notes) == (0, 0, ())
    clusters = load_clusters(case.out)
    row = clusters.paths.index("snow/snow_00.png")
    found = nearest_others(others, clusters.points[row], 5)
    by_hand = {}
    for batch in stream_features(find_images(case.test), fake_network.extractor):
        points = clusters.projection.apply(batch.features)
        by_hand |= dict(zip(batch.paths, np.linalg.norm(points - clusters.points[row], axis=1).tolist(), strict=True))
    right = [f"snow/snow_{i:02d}.png" for i in range(8, 16)] + [f"wood/wood_{i:02d}.png" for i in range(6, 46)]
    assert sorted(others.paths) == right
    nearest = sorted(right, key=by_hand.__getitem__)[:5]
    assert [others.paths[other] for other, _ in found] == nearest
    assert [distance for _, distance in found] == pytest.approx([by_hand[path] for path in nearest], abs=1e-3)
    assert all(path.startswith("snow/") for path in nearest)
    assert others.told[found[0][0]] == "snow → snow (90%)"


def test_features_that_are_not_computed_yet_are_counted_and_computed_only_on_request(case, fake_network):
    seen = fake_network.images_seen
    others = other_images(case.out, RIGHT)
    assert (len(others.paths), others.missing) == (0, 48)
    assert nearest_others(others, load_clusters(case.out).points[0], 5) == []
    assert fake_network.images_seen == seen
    told = []
    others = other_images(case.out, RIGHT, compute=True, progress=lambda *report: told.append(report))
    assert (len(others.paths), others.missing) == (48, 0)
    assert fake_network.images_seen == seen + 48
    assert ("Extracting features", 48, 48) in told
    assert len(other_images(case.out, RIGHT).paths) == 48


def test_an_unreadable_image_is_counted_as_such(case):
    explain_failures(case.out)
    (case.test / "wood" / "wood_07.png").write_bytes(b"")
    others = other_images(case.out, RIGHT, compute=True)
    assert (len(others.paths), others.missing, others.unreadable) == (47, 0, 1)


def test_improvement_images_lie_where_the_selection_has_them(case, improvement, fake_network):
    seen = fake_network.images_seen
    others = other_images(case.out, IMPROVEMENT)
    assert fake_network.images_seen == seen
    assert others.root == improvement
    clusters, unsafe = load_clusters(case.out), load_unsafe_set(case.out)
    cores = clusters.points[clusters.is_core].astype(float)
    for image in unsafe.images:
        place = others.paths.index(image.image)
        assert np.linalg.norm(cores - others.points[place], axis=1).min() == pytest.approx(image.distance, abs=1e-4)
        scene = image.image.split("/")[0]
        assert others.told[place] == f"{scene} · unsafe set: among the nearest to RCC {image.rcc}"
    rest = set(others.paths) - {image.image for image in unsafe.images}
    assert {others.told[others.paths.index(path)] for path in rest} <= {"snow", "wood"}


def test_of_very_many_improvement_images_a_part_is_compared_which_is_said(case, improvement):
    clusters, unsafe = load_clusters(case.out), load_unsafe_set(case.out)
    others = gather_improvement(clusters, unsafe, most=5)
    assert len(others.paths) == 5
    assert others.notes == ("Only 5 of 12 improvement images are compared, drawn at random.",)
    assert others.paths == gather_improvement(clusters, unsafe, most=5).paths


@pytest.mark.slow
def test_what_is_set_aside_is_set_aside_from_other_images_as_well(fake_network, tmp_path):
    people = draw_people(tmp_path)
    aside = SETTINGS._replace(set_aside=("person",), parameters=people.parameters)
    clusters = generate_clusters(people.failing, people.out, aside)
    explain_failures(people.out)
    select_images(people.improvement, people.out, SelectionSettings(size=6))
    others = other_images(people.out, IMPROVEMENT)
    cores = clusters.points[clusters.is_core].astype(float)
    for image in load_unsafe_set(people.out).images:
        place = others.paths.index(image.image)
        assert np.linalg.norm(cores - others.points[place], axis=1).min() == pytest.approx(image.distance, abs=1e-4)
    right = other_images(people.out, RIGHT)
    # Without the persons, only the brightness is left: the nearest right images are of all persons.
    dark = clusters.paths.index("face/p0_00.png")
    near = {right.paths[other].split("_")[0] for other, _ in nearest_others(right, clusters.points[dark], 20)}
    assert len(near) == 4


def test_what_is_not_known_is_said(case, tmp_path):
    with pytest.raises(SAFEError, match="no unsafe set has been selected for them"):
        other_images(case.out, IMPROVEMENT)
    with pytest.raises(SAFEError, match="answers to its whole test set are not known"):
        other_images(case.out, RIGHT, within=tmp_path / "elsewhere")
    select_images(case.test, case.out, SelectionSettings(size=4))
    with pytest.raises(SAFEError, match=r"below .*elsewhere"):
        other_images(case.out, IMPROVEMENT, within=tmp_path / "elsewhere")
