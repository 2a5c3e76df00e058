import csv
import dataclasses
import json
import os
import shutil
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dbscan.outcome import NOISE
from features.batches import FeatureBatch
from features.network import BATCH_SIZE
from rccs.clusters import fingerprint
from rccs.unsafe_set import COLUMNS, UnsafeImage, load_unsafe_set, save_unsafe_set
from selection import SelectionSettings, chosen_by_model, quotas, select_unsafe_set, unsafe_set_size
from support.errors import SAFEError
from support.images import ImageListing
from support.run_folder import FILENAMES_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from tests.helpers.places import names_in

# --- How many ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "n_failures", "test_size", "factor", "expected"),
    [
        (0.9, 7, 1000, 0.3, 270),  # 270.00000000000006 in floating point
        (0.5, 7, 10, 0.3, 2),  # ⌈1.5⌉
        (0.9, 100, None, 0.3, 270),  # 100 failures are a tenth of 1000
        (0.75, 10, None, 0.3, 9),  # 40 images · 0.3 · 0.75
        (0.93, 70, None, 0.3, 279),  # 1000 images · 0.3 · 0.93
        (1, 0, 100, 0.3, 30),
        (0.0001, 5, 10, 0.3, 1),  # never rounded down to nothing
        (0.5, 5, 10, 2, 10),
        ("0.9", 7, "1000", "0.3", 270),  # as typed
    ],
)
def test_the_size_is_factor_times_test_size_times_accuracy_rounded_up(
    accuracy, n_failures, test_size, factor, expected
):
    size, formula = unsafe_set_size(accuracy, n_failures, test_size=test_size, factor=factor)
    assert size == expected
    assert formula.startswith("N = ⌈factor ")
    assert f"= {expected}" in formula


def test_the_formula_says_where_a_derived_test_size_comes_from():
    assert unsafe_set_size(0.9, 100)[1] == (
        "N = ⌈factor 0.3 · test-set size 1000 · accuracy 0.9⌉ = 270, "
        "with test-set size = 100 failing images / (1 − accuracy)"
    )
    assert unsafe_set_size(0.9, 100, test_size=500)[1] == "N = ⌈factor 0.3 · test-set size 500 · accuracy 0.9⌉ = 135"


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"test_accuracy": 93}, r"between 0 and 1\. Received: 93; a percentage\?$"),
        ({"test_accuracy": "93"}, r"Received: 93; a percentage\?$"),
        ({"test_accuracy": -1}, r"between 0 and 1\. Received: -1$"),
        ({"test_accuracy": 1000}, r"Received: 1000$"),
        ({"test_accuracy": "abc"}, r"test_accuracy must be a number\. Received: 'abc'"),
        ({"test_accuracy": "93 %"}, r"test_accuracy must be a number\. Received: '93 %'"),
        ({"test_accuracy": float("nan")}, "test_accuracy must be a number"),
        ({"test_accuracy": "inf"}, "test_accuracy must be a number"),
        ({"test_accuracy": None}, "test_accuracy must be a number"),
        ({"test_accuracy": 1}, r"no failing images to derive .*Give test_size"),
        ({"test_accuracy": 0}, "at least one image"),
        ({"test_accuracy": 0, "test_size": 100}, r"at least one image.*0\.3 · 100 · 0⌉ = 0"),
        (
            {"test_accuracy": 0.9, "test_size": 0},
            r"test_size must be a whole number of images, 1 or more\. Received: 0",
        ),
        ({"test_accuracy": 0.9, "test_size": 2.5}, r"test_size must be a whole number.*Received: 2\.5"),
        ({"test_accuracy": 0.9, "test_size": "many"}, "test_size must be a number"),
        ({"test_accuracy": 0.9, "factor": 0}, "factor must be above 0"),
        ({"test_accuracy": 0.9, "factor": -0.3}, "factor must be above 0"),
        ({"test_accuracy": 0.9, "factor": "x"}, "factor must be a number"),
    ],
)
def test_a_number_out_of_range_is_an_error_that_repeats_it(numbers, message):
    with pytest.raises(SAFEError, match=message):
        unsafe_set_size(n_failures=10, **numbers)


# --- How many of each RCC ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("n", "sizes", "available", "expected"),
    [
        (9, [5, 5, 5], [9, 9, 9], [3, 3, 3]),
        (11, [2, 9, 5], [9, 9, 9], [3, 4, 4]),  # the remainder to the two largest
        (10, [5, 5, 5], [9, 9, 9], [4, 3, 3]),  # of equal ones to the first
        (2, [1, 2, 3], [9, 9, 9], [0, 1, 1]),  # fewer images than RCCs
        (12, [9, 5, 2], [1, 20, 20], [1, 6, 5]),  # 3 left over: 2 to the larger, 1 to the other
        (12, [9, 5, 2], [0, 2, 20], [0, 2, 10]),
        (16, [9, 5, 2], [9, 9, 4], [6, 6, 4]),  # the largest does not get a remainder twice
        (100, [9, 5, 2], [4, 0, 7], [4, 0, 7]),  # all there are
        (0, [9, 5], [4, 4], [0, 0]),
        (5, [3], [9], [5]),
        (5, [3, 2], [0, 0], [0, 0]),
    ],
)
def test_equal_quotas_are_even_and_what_one_rcc_cannot_fill_goes_to_the_others(n, sizes, available, expected):
    assert quotas(n, np.array(sizes), np.array(available), by="equal").tolist() == expected


@pytest.mark.parametrize(
    ("n", "sizes", "available", "expected"),
    [
        (8, [30, 10], [99, 99], [6, 2]),
        (8, [30, 10], [3, 99], [3, 5]),
        (9, [30, 10], [3, 4], [3, 4]),  # all there are
        (3, [5, 5, 5, 5], [9, 9, 9, 9], [1, 1, 1, 0]),  # of equal ones the first
        (1, [5, 9, 5], [9, 9, 9], [0, 1, 0]),
        (5, [100, 1], [99, 99], [4, 1]),  # none goes without, however small
        (1, [100, 1], [99, 99], [1, 0]),
        (6, [8, 0, 4], [9, 0, 9], [4, 0, 2]),  # the second was merged into another
        (0, [9, 5], [4, 4], [0, 0]),
    ],
)
def test_quotas_by_size_are_in_proportion_to_the_failing_images(n, sizes, available, expected):
    assert quotas(n, np.array(sizes), np.array(available), by="size").tolist() == expected


def test_quotas_by_size_give_every_rcc_its_share_but_for_one_and_none_goes_without():
    rng = np.random.default_rng(0)
    for _ in range(200):
        sizes = rng.integers(1, 60, rng.integers(1, 8))
        n = int(rng.integers(len(sizes), 200))
        taken = quotas(n, sizes, np.full(len(sizes), n), by="size")
        assert taken.sum() == n
        assert taken.min() >= 1
        for a in range(len(sizes)):  # no image would have been better given to another RCC
            others = np.delete(np.arange(len(sizes)), a)
            assert ((taken[others] - 1) * sizes[a] <= taken[a] * sizes[others]).all()


def test_equal_quotas_are_as_even_as_they_can_be_for_any_numbers():
    rng = np.random.default_rng(0)
    for _ in range(500):
        k = rng.integers(1, 12)
        sizes, available = rng.integers(1, 6, k), rng.integers(0, 15, k)
        n = int(rng.integers(0, 80))
        taken = quotas(n, sizes, available, by="equal")
        assert taken.sum() == min(n, available.sum())
        assert (taken >= 0).all()
        assert (taken <= available).all()
        still_open = np.flatnonzero(taken < available)
        if len(still_open):
            assert taken.max() <= taken[still_open].min() + 1
        for a in still_open:
            for b in still_open:
                assert sizes[a] <= sizes[b] or taken[a] >= taken[b]  # the largest get the remainder


# --- Which ones -------------------------------------------------------------------------------------------------


@pytest.fixture
def improvement(draw_folder, tmp_path) -> Path:
    """Thirty images of the three root causes and of a scene that is none."""
    return draw_folder(tmp_path / "improvement", {"night": 12, "snow": 9, "wood": 4, "sea": 5}, seed=7)


def by_hand(clusters, folder: Path, fake_network, n: int, quota: str) -> list[tuple[str, int, float]]:
    """The selection with loops in the place of arrays: (path, RCC, distance), by RCC, nearest first."""
    candidates = {rcc: [] for rcc in range(clusters.n_rccs)}
    for path in names_in(folder):
        pixels = np.asarray(Image.open(folder / path).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
        (point,) = clusters.projection.apply(fake_network(pixels[None])).astype(float)
        distance, rcc = min(
            (float(np.linalg.norm(point - core)), int(label))
            for core, label, is_core in zip(clusters.points, clusters.labels, clusters.is_core, strict=True)
            if is_core
        )
        candidates[rcc].append((distance, path))
    counts = dict.fromkeys(candidates, 0)
    order = sorted(candidates, key=lambda rcc: -len(clusters.members(rcc)))
    weight = {rcc: len(clusters.members(rcc)) if quota == "size" else 1 for rcc in candidates}
    for _ in range(min(n, sum(map(len, candidates.values())))):
        able = [rcc for rcc in order if counts[rcc] < len(candidates[rcc])]
        counts[min(able, key=lambda rcc: counts[rcc] / weight[rcc])] += 1
    return [
        (path, rcc, distance)
        for rcc in candidates
        for distance, path in sorted((round(distance, 5), path) for distance, path in candidates[rcc])[: counts[rcc]]
    ]


@pytest.mark.parametrize("quota", ["size", "equal"])
@pytest.mark.parametrize("n", [1, 2, 7, 16, 25, 30, 99])
def test_the_selection_is_the_one_that_plain_loops_find(clusters, improvement, fake_network, n, quota, monkeypatch):
    monkeypatch.setattr("features.batches.BATCH_SIZE", 7)
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=n, quota=quota))
    expected = by_hand(clusters, improvement, fake_network, n, quota)
    assert [(image.image, image.rcc) for image in unsafe.images] == [(path, rcc) for path, rcc, _ in expected]
    np.testing.assert_allclose(
        [image.distance for image in unsafe.images], [distance for _, _, distance in expected], atol=2e-5
    )
    assert unsafe.n_improvement == 30
    assert sum(unsafe.candidates) == 30


def test_the_set_is_a_part_of_the_improvement_set_without_repeats_and_nearest_first(clusters, improvement):
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(test_accuracy=0.5, test_size=140))
    paths = [image.image for image in unsafe.images]
    assert unsafe.wanted == len(paths) == 21
    assert len(set(paths)) == len(paths)
    assert set(paths) <= set(names_in(improvement))
    order = [(image.rcc, image.distance, image.image) for image in unsafe.images]
    assert order == sorted(order)
    assert unsafe.improvement_root == improvement
    assert unsafe.clusters == fingerprint(clusters)


def test_a_candidate_belongs_to_the_rcc_of_its_scene(clusters, improvement):
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=30))
    scenes = {image.image: image.rcc for image in unsafe.images}
    assert {scenes[f"night_{i:02d}.png"] for i in range(12)} == {0}
    assert {scenes[f"snow_{i:02d}.png"] for i in range(9)} == {1}
    assert {scenes[f"wood_{i:02d}.png"] for i in range(4)} == {2}


def test_half_of_each_rcc_are_the_nearest_and_half_those_that_the_dnn_is_likely_to_get_wrong(clusters, improvement):
    everything = select_unsafe_set(improvement, clusters, SelectionSettings(size=30)).images
    likelihood = {path: (i * 7 % 11) / 10 for i, path in enumerate(names_in(improvement))}
    asked = []

    def likely_wrong(root, paths):
        assert root == improvement
        asked.extend(paths)
        return np.array([likelihood[path] for path in paths])

    for n in (1, 4, 9, 30):
        asked.clear()
        unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=n), likely_wrong=likely_wrong)
        plain = select_unsafe_set(improvement, clusters, SelectionSettings(size=n))
        assert len(unsafe.images) == n
        competing = []
        for rcc in range(3):
            nearest = [image.image for image in everything if image.rcc == rcc]
            quota = sum(image.rcc == rcc for image in plain.images)
            half = quota - quota // 2
            rest = nearest[half : half + 4 * (quota - half)]
            competing += rest
            likeliest = sorted(rest, key=lambda path: -likelihood[path])[: quota - half]  # stable: the nearest first
            chosen = [image.image for image in unsafe.images if image.rcc == rcc]
            assert chosen == [path for path in nearest if path in (*nearest[:half], *likeliest)]
            shares = {image.image: image.likely_wrong for image in unsafe.images if image.rcc == rcc}
            assert shares == {path: likelihood[path] if path in likeliest else None for path in chosen}
        assert asked == competing


def test_the_set_tells_by_which_model_it_was_chosen(clusters, improvement, tmp_path):
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=5))
    assert chosen_by_model(unsafe) == ""
    unsafe = dataclasses.replace(unsafe, model="/models/gaze.keras")
    save_unsafe_set(unsafe, tmp_path)
    assert load_unsafe_set(tmp_path).model == "/models/gaze.keras"
    assert "gaze.keras is most likely to get wrong" in chosen_by_model(unsafe)


def test_the_set_tells_of_each_image_why_it_was_chosen(clusters, improvement, tmp_path):
    first, second, third, *others = select_unsafe_set(improvement, clusters, SelectionSettings(size=5)).images
    second, third = second._replace(likely_wrong=0.875), third._replace(reason="light < 0.2")
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=5))
    unsafe = dataclasses.replace(unsafe, images=(first, second, third, *others))
    save_unsafe_set(unsafe, tmp_path)
    assert load_unsafe_set(tmp_path) == unsafe
    assert [image.why for image in load_unsafe_set(tmp_path).images[:3]] == [
        f"among the nearest to RCC {first.rcc}",
        f"near RCC {second.rcc}, 88% of similar answers wrong",
        "weak spot: light < 0.2",
    ]
    table = tmp_path / UNSAFE_SET_FILE
    table.write_text(table.read_text().replace("0.875", "1.5"))
    with pytest.raises(SAFEError, match=r"damaged .*likely_wrong 1\.5"):
        load_unsafe_set(tmp_path)


def test_only_core_points_attract_candidates(clusters, tmp_path):
    folder = tmp_path / "improvement"
    folder.mkdir()
    shutil.copy(clusters.image_root / "snow_07.png", folder)  # in RCC 1, and no core point of it
    shutil.copy(clusters.image_root / "snow_00.png", folder)
    shutil.copy(clusters.image_root / "sea_00.png", folder)  # in no cluster
    distances = {
        image.image: image.distance for image in select_unsafe_set(folder, clusters, SelectionSettings(size=9)).images
    }
    assert distances["snow_00.png"] == 0
    assert distances["snow_07.png"] > 1e-4
    assert distances["sea_00.png"] > 1e-2


def test_an_image_exactly_at_the_reach_of_its_rcc_is_within_it(clusters, improvement):
    before = select_unsafe_set(improvement, clusters, SelectionSettings(size=30)).images
    reach = np.array([[image.distance for image in before if image.rcc == rcc][2] for rcc in range(3)])
    images = select_unsafe_set(
        improvement, dataclasses.replace(clusters, reach=reach), SelectionSettings(size=30)
    ).images
    for rcc in range(3):
        within = [image.within_eps for image in images if image.rcc == rcc]
        assert within == [True] * 3 + [False] * (len(within) - 3)


def test_equal_images_are_equally_near_and_ordered_by_their_paths(clusters, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "improvement", {"wood": 13, "snow": 5}, seed=5)
    for i in range(2 * BATCH_SIZE - 17):  # so that the last copy is a batch of its own
        shutil.copy(folder / "snow_03.png", folder / f"{'zz' if i % 2 else 'copy'}_{i:02d}.png")
    images = [
        image for image in select_unsafe_set(folder, clusters, SelectionSettings(size=99)).images if image.rcc == 1
    ]
    copies = [image for image in images if image.image.startswith(("zz", "copy", "snow_03"))]
    assert len(copies) == 2 * BATCH_SIZE - 16
    assert len({image.distance for image in copies}) == 1
    assert [image.image for image in copies] == sorted(image.image for image in copies)


def test_the_set_is_the_same_however_many_images_are_compared_at_a_time(clusters, improvement, monkeypatch):
    together = select_unsafe_set(improvement, clusters, SelectionSettings(size=20))
    monkeypatch.setattr("features.batches.BATCH_SIZE", 3)
    monkeypatch.setattr("selection.TOGETHER", 2)
    assert select_unsafe_set(improvement, clusters, SelectionSettings(size=20)) == together


def test_memory_grows_with_the_images_wanted_and_not_with_those_there_are(clusters, monkeypatch):
    listing = ImageListing(clusters.image_root, (), ())
    features = np.random.default_rng(0).random((200, clusters.projection.mean.size), np.float32)

    def peak_of(n_batches):
        def stream(*_, **__):
            for i in range(n_batches):
                yield FeatureBatch(tuple(f"{i:04d}/{j:03d}.png" for j in range(200)), features.copy(), ())

        monkeypatch.setattr("selection.find_images", lambda _: listing)
        monkeypatch.setattr("selection.stream_features", stream)
        monkeypatch.setattr("selection.TOGETHER", 2)
        tracemalloc.start()
        unsafe = select_unsafe_set("improvement", clusters, SelectionSettings(size=5))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert unsafe.n_improvement == 200 * n_batches
        return peak

    few = peak_of(20)
    assert peak_of(60) < few + features.nbytes  # 40 batches more


def test_only_the_best_are_kept_of_a_long_stream(clusters, draw_folder, tmp_path, fake_network):
    folder = draw_folder(tmp_path / "improvement", {"night": 1}, seed=3)
    names = [f"{i:04d}.png" for i in range(2500)]
    for name in names:
        os.link(folder / "night_00.png", folder / name)
    unsafe = select_unsafe_set(folder, clusters, SelectionSettings(size=2))
    assert [image.image for image in unsafe.images] == names[:2]
    assert unsafe.candidates == (2501, 0, 0)
    assert fake_network.images_seen <= 26 + BATCH_SIZE * 3  # equal files are computed once


def test_a_size_overrides_the_formula(clusters, improvement):
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(test_accuracy=0.9, size="4"))
    assert len(unsafe.images) == unsafe.wanted == 4
    assert unsafe.formula == "N = 4, as requested"


def test_fewer_improvement_images_than_wanted_are_all_taken(clusters, improvement):
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(test_accuracy=0.9, test_size=1000))
    assert unsafe.wanted == 270
    assert sorted(image.image for image in unsafe.images) == names_in(improvement)


def test_a_test_size_is_derived_from_the_failing_images(clusters, improvement):
    # 26 failing images are half of 52; 0.3 · 52 · 0.5 = 7.8
    assert select_unsafe_set(improvement, clusters, SelectionSettings(test_accuracy=0.5)).wanted == 8


def test_unreadable_improvement_images_are_skipped_and_named(clusters, improvement):
    (improvement / "bad.png").write_text("no image")
    (improvement / "line\nbreak.png").write_text("no image")
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=5))
    assert [skip.path for skip in unsafe.skipped] == ["bad.png", "line\nbreak.png"]
    assert unsafe.n_improvement == 30


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({}, r"Expected the test accuracy, or the size"),
        ({"size": 0}, "size must be a whole number of images, 1 or more"),
        ({"size": "-3"}, "size must be a whole number"),
        ({"size": 1.5}, r"size must be a whole number of images, 1 or more\. Received: 1\.5"),
        ({"size": "abc"}, "size must be a number"),
        ({"test_accuracy": 93}, r"a percentage\?"),
    ],
)
def test_bad_numbers_are_errors_before_any_image_is_read(clusters, improvement, fake_network, numbers, message):
    before = fake_network.images_seen
    with pytest.raises(SAFEError, match=message):
        select_unsafe_set(improvement, clusters, SelectionSettings(**numbers))
    assert fake_network.images_seen == before


def test_a_quota_that_is_none_is_an_error_before_any_image_is_read(clusters, improvement, fake_network):
    before = fake_network.images_seen
    with pytest.raises(SAFEError, match=r"quota must be one of equal, size\. Received: even"):
        select_unsafe_set(improvement, clusters, SelectionSettings(size=3, quota="even"))
    assert fake_network.images_seen == before


def test_without_rccs_there_is_nothing_to_select_for(clusters, improvement):
    noise = dataclasses.replace(clusters, labels=np.full_like(clusters.labels, NOISE))
    with pytest.raises(SAFEError, match="at least one root cause cluster"):
        select_unsafe_set(improvement, noise, SelectionSettings(size=3))


def test_rccs_that_are_left_out_get_no_images_and_the_others_share_theirs(clusters, improvement):
    all_three = select_unsafe_set(improvement, clusters, SelectionSettings(size=9))
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=9, leave_out=[1]))
    assert unsafe.left_out == (1,)
    assert {image.rcc for image in unsafe.images} == {0, 2}
    assert len(unsafe.images) == len(all_three.images) == 9
    # Their candidates stay theirs: no image near RCC 1 is selected for another.
    assert unsafe.candidates == all_three.candidates
    near_it = {
        image.image
        for image in select_unsafe_set(improvement, clusters, SelectionSettings(size=100)).images
        if image.rcc == 1
    }
    assert near_it
    assert near_it.isdisjoint(image.image for image in unsafe.images)


@pytest.mark.parametrize(
    ("leave_out", "message"),
    [
        ([0, 1, 2], "Received none: all are left out"),
        ([0, 7], "Expected RCCs to leave out. Received 7"),
        ([NOISE], "Expected RCCs to leave out. Received -1"),
    ],
)
def test_leaving_out_all_rccs_or_one_that_is_none_is_an_error(clusters, improvement, fake_network, leave_out, message):
    seen = fake_network.images_seen
    with pytest.raises(SAFEError, match=message):
        select_unsafe_set(improvement, clusters, SelectionSettings(size=9, leave_out=leave_out))
    assert fake_network.images_seen == seen


def test_images_that_are_all_near_rccs_left_out_are_an_error(clusters, draw_folder, tmp_path):
    nights = draw_folder(tmp_path / "nights", {"night": 4}, seed=3)
    with pytest.raises(SAFEError, match="all 4 are nearest to RCCs that are left out"):
        select_unsafe_set(nights, clusters, SelectionSettings(size=2, leave_out=[0]))


def test_an_rcc_that_was_merged_away_has_no_candidates(clusters, improvement):
    merged = dataclasses.replace(clusters, labels=np.where(clusters.labels == 0, 1, clusters.labels))
    unsafe = select_unsafe_set(improvement, merged, SelectionSettings(size=8))
    assert unsafe.candidates[0] == 0
    assert {image.rcc for image in unsafe.images} == {1, 2}
    with pytest.raises(SAFEError, match="Received 0, which does not exist"):
        select_unsafe_set(improvement, merged, SelectionSettings(size=8, leave_out=[0]))


def test_an_improvement_folder_without_a_readable_image_is_an_error(clusters, tmp_path):
    (tmp_path / "improvement").mkdir()
    (tmp_path / "improvement" / "a.png").write_text("no image")
    with pytest.raises(SAFEError, match=r"Received 1 file in .*, all of them unreadable; the first, a\.png"):
        select_unsafe_set(tmp_path / "improvement", clusters, SelectionSettings(size=3))


def test_without_the_weights_known_images_are_selected_and_new_ones_are_an_error(
    clusters, improvement, draw_folder, monkeypatch
):
    with_weights = select_unsafe_set(improvement, clusters, SelectionSettings(size=9))

    def gone():
        raise SAFEError("The weights are gone.")

    monkeypatch.setattr("features.weights._conv_extractor", gone)
    assert select_unsafe_set(improvement, clusters, SelectionSettings(size=9)) == with_weights
    draw_folder(improvement, {"sea": 1}, seed=11)
    with pytest.raises(SAFEError, match=r"weights are no longer found\. Set --weights"):
        select_unsafe_set(improvement, clusters, SelectionSettings(size=9))


def test_the_fingerprint_changes_with_the_clusters_and_only_with_them(clusters):
    other_labels = clusters.labels.copy()
    other_labels[0] = NOISE
    assert fingerprint(dataclasses.replace(clusters, eps=0.7)) == fingerprint(clusters)
    assert fingerprint(dataclasses.replace(clusters, labels=other_labels)) != fingerprint(clusters)
    assert fingerprint(dataclasses.replace(clusters, paths=("x", *clusters.paths[1:]))) != fingerprint(clusters)


# --- The files --------------------------------------------------------------------------------------------------


@pytest.fixture
def unsafe(clusters, improvement):
    """A set with names that need quoting, and a label."""
    (improvement / "bad.png").write_text("no image")
    found = select_unsafe_set(improvement, clusters, SelectionSettings(size=9))
    odd = [UnsafeImage(n, 2, 0.5, False, 'a, "b"') for n in ('a,"b".png', "größe.png", os.fsdecode(b"caf\xe9.png"))]
    return dataclasses.replace(found, images=(*found.images, *odd))


def test_a_set_that_was_saved_is_loaded_equal(unsafe, tmp_path):
    save_unsafe_set(unsafe, tmp_path)
    assert load_unsafe_set(tmp_path) == unsafe


def test_rccs_left_out_are_recorded_and_a_set_of_an_older_version_left_out_none(unsafe, tmp_path):
    save_unsafe_set(dataclasses.replace(unsafe, left_out=(1, 2)), tmp_path)
    assert load_unsafe_set(tmp_path).left_out == (1, 2)
    record = json.loads((tmp_path / SELECTION_FILE).read_text())
    del record["left_out"], record["quota"], record["model"]
    (tmp_path / SELECTION_FILE).write_text(json.dumps(record))
    assert load_unsafe_set(tmp_path).left_out == ()
    assert load_unsafe_set(tmp_path).quota == "equal"
    assert load_unsafe_set(tmp_path).model == ""


def test_the_list_holds_a_path_a_line_and_the_table_all_that_is_known(unsafe, tmp_path):
    save_unsafe_set(unsafe, tmp_path)
    lines = (tmp_path / FILENAMES_FILE).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    assert lines == [*(image.image for image in unsafe.images), ""]
    with (tmp_path / UNSAFE_SET_FILE).open(newline="", errors="surrogateescape") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert [row[0] for row in rows] == lines[:-1]
    assert rows[0][3] in ("true", "false")
    record = json.loads((tmp_path / SELECTION_FILE).read_text())
    assert record["selected"] == len(unsafe.images)
    assert record["formula"] == "N = 9, as requested"
    assert record["skipped"] == [{"path": "bad.png", "reason": unsafe.skipped[0].reason}]


def test_labels_that_were_filled_in_with_a_spreadsheet_are_read(unsafe, tmp_path):
    save_unsafe_set(unsafe, tmp_path)
    path = tmp_path / UNSAFE_SET_FILE
    text = path.read_bytes().replace(b"true,", b"TRUE,stop").replace(b"false,\n", b"FALSE,\n")
    path.write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n"))
    loaded = load_unsafe_set(tmp_path).images
    assert [image.within_eps for image in loaded] == [image.within_eps for image in unsafe.images]
    assert loaded[0].within_eps
    assert loaded[0].label == "stop"


def test_without_a_set_the_error_says_to_select_it_first(tmp_path):
    with pytest.raises(SAFEError, match="Select it first"):
        load_unsafe_set(tmp_path)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        (UNSAFE_SET_FILE, "image,rcc\na.png,1\n"),
        (UNSAFE_SET_FILE, "image,rcc,distance,within_eps,label\na.png,one,0.1,true,\n"),
        (UNSAFE_SET_FILE, "image,rcc,distance,within_eps,label\na.png\n"),
        (UNSAFE_SET_FILE, 'image,rcc,distance,within_eps,label\n"a.png,1,0.1,true,\n'),
        (SELECTION_FILE, ""),
        (SELECTION_FILE, '{"selected": 3'),
        (SELECTION_FILE, "{}"),
        (SELECTION_FILE, "[]"),
        (SELECTION_FILE, '{"improvement_root": null}'),
    ],
)
def test_a_damaged_file_is_an_error_that_says_to_select_again(unsafe, tmp_path, file, damage):
    save_unsafe_set(unsafe, tmp_path)
    (tmp_path / file).write_text(damage)
    with pytest.raises(SAFEError, match=r"is damaged \(.*Select it again"):
        load_unsafe_set(tmp_path)
