import csv
import dataclasses
import json
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from safe_dnn.features.batches import FeatureBatch
from safe_dnn.options import SelectionSettings
from safe_dnn.rccs.unsafe_set import (
    COLUMNS,
    FILENAMES_FILE,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
    UnsafeImage,
    save_unsafe_set,
)
from safe_dnn.selection import quotas, select_unsafe_set, unsafe_set_size
from safe_dnn.store.runs import SELECTION, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import ImageListing
from tests.helpers.places import names_in

# --- How many ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("accuracy", "n_failures", "test_size", "factor", "expected"),
    [
        (0.9, 7, 1000, 0.3, 270),  # 270.00000000000006 in floating point
        (0.5, 7, 10, 0.3, 2),  # ⌈1.5⌉
        (0.9, 100, None, 0.3, 270),  # 100 failures are a tenth of 1000
        (0.0001, 5, 10, 0.3, 1),  # never rounded down to nothing
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


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"test_accuracy": 93}, r"between 0 and 1\. Received: 93; a percentage\?$"),
        ({"test_accuracy": float("nan")}, "The test accuracy must be a number"),
        ({"test_accuracy": 1}, r"no failing images to derive .*Give that size"),
        ({"test_accuracy": 0, "test_size": 100}, r"must give from 1 to .*0\.3 · 100 · 0⌉"),
        (
            {"test_accuracy": 0.9, "test_size": 0},
            r"The test-set size must be a whole number of images, from 1 to .*Received: 0",
        ),
        ({"test_accuracy": 0.9, "factor": 0}, "The factor must be above 0"),
        ({"test_accuracy": 0.9, "factor": "x"}, "The factor must be a number"),
    ],
)
def test_a_number_out_of_range_is_an_error_that_repeats_it(numbers, message):
    with pytest.raises(SAFEError, match=message):
        unsafe_set_size(n_failures=10, **numbers)


# --- How many of each RCC ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("by", "n", "sizes", "available", "expected"),
    [
        ("equal", 11, [2, 9, 5], [9, 9, 9], [3, 4, 4]),  # the remainder to the two largest
        ("equal", 2, [1, 2, 3], [9, 9, 9], [0, 1, 1]),  # fewer images than RCCs
        ("equal", 12, [9, 5, 2], [1, 20, 20], [1, 6, 5]),  # 3 left over: 2 to the larger, 1 to the other
        ("equal", 16, [9, 5, 2], [9, 9, 4], [6, 6, 4]),  # the largest does not get a remainder twice
        ("size", 8, [30, 10], [99, 99], [6, 2]),
        ("size", 3, [5, 5, 5, 5], [9, 9, 9, 9], [1, 1, 1, 0]),  # of equal ones the first
        ("size", 5, [100, 1], [99, 99], [4, 1]),  # none goes without, however small
        ("size", 6, [8, 0, 4], [9, 0, 9], [4, 0, 2]),  # the second was merged into another
        ("size", 0, [9, 5], [4, 4], [0, 0]),
    ],
)
def test_quotas_are_even_or_in_proportion_and_what_one_rcc_cannot_fill_goes_to_the_others(
    by, n, sizes, available, expected
):
    assert quotas(n, np.array(sizes), np.array(available), by=by).tolist() == expected


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
@pytest.mark.parametrize("n", [1, 16, 99])
def test_the_selection_is_the_one_that_plain_loops_find(clusters, improvement, fake_network, n, quota, monkeypatch):
    monkeypatch.setattr("safe_dnn.features.batches.BATCH_SIZE", 7)
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=n, quota=quota))
    expected = by_hand(clusters, improvement, fake_network, n, quota)
    assert [(image.image, image.rcc) for image in unsafe.images] == [(path, rcc) for path, rcc, _ in expected]
    np.testing.assert_allclose(
        [image.distance for image in unsafe.images], [distance for _, _, distance in expected], atol=2e-5
    )
    assert unsafe.n_improvement == 30
    assert sum(unsafe.candidates) == 30


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


@pytest.mark.slow
def test_memory_grows_with_the_images_wanted_and_not_with_those_there_are(clusters, monkeypatch):
    listing = ImageListing(clusters.image_root, (), ())
    features = np.random.default_rng(0).random((200, clusters.projection.mean.size), np.float32)

    def peak_of(n_batches):
        def stream(*_, **__):
            for i in range(n_batches):
                yield FeatureBatch(tuple(f"{i:04d}/{j:03d}.png" for j in range(200)), features.copy(), ())

        monkeypatch.setattr("safe_dnn.selection.find_images", lambda _: listing)
        monkeypatch.setattr("safe_dnn.selection.stream_features", stream)
        monkeypatch.setattr("safe_dnn.selection.TOGETHER", 2)
        tracemalloc.start()
        unsafe = select_unsafe_set("improvement", clusters, SelectionSettings(size=5))
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert unsafe.n_improvement == 200 * n_batches
        return peak

    few = peak_of(20)
    assert peak_of(60) < few + features.nbytes  # 40 batches more


def test_an_rcc_without_improvement_images_like_its_own_is_told(clusters, draw_folder, tmp_path):
    without_snow = draw_folder(tmp_path / "improvement", {"night": 8, "wood": 8}, seed=7)
    unsafe = select_unsafe_set(without_snow, clusters, SelectionSettings(size=9))
    snow = next(rcc for rcc in range(3) if clusters.members(rcc)[0].startswith("snow"))
    n = len(clusters.members(snow))
    assert unsafe.notes == (
        f"no improvement image is like those of RCC {snow} ({n} failing images): record images like these",
    )
    assert select_unsafe_set(without_snow, clusters, SelectionSettings(size=9, leave_out=[snow])).notes == ()


def test_rccs_that_are_left_out_get_no_images_and_the_others_share_theirs(clusters, improvement):
    all_three = select_unsafe_set(improvement, clusters, SelectionSettings(size=9))
    unsafe = select_unsafe_set(improvement, clusters, SelectionSettings(size=9, leave_out=[1]))
    assert unsafe.excluded == (1,)
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


def test_without_the_weights_known_images_are_selected_and_new_ones_are_an_error(
    clusters, improvement, draw_folder, monkeypatch
):
    with_weights = select_unsafe_set(improvement, clusters, SelectionSettings(size=9))

    def gone():
        raise SAFEError("The weights are gone.")

    monkeypatch.setattr("safe_dnn.features.vgg16._conv_extractor", gone)
    assert select_unsafe_set(improvement, clusters, SelectionSettings(size=9)) == with_weights
    draw_folder(improvement, {"sea": 1}, seed=11)
    with pytest.raises(SAFEError, match=r"weights are no longer found\. Name a copy"):
        select_unsafe_set(improvement, clusters, SelectionSettings(size=9))


# --- The files --------------------------------------------------------------------------------------------------


@pytest.fixture
def unsafe(clusters, improvement):
    """A set with names that need quoting, and a label."""
    (improvement / "bad.png").write_text("no image")
    found = select_unsafe_set(improvement, clusters, SelectionSettings(size=9))
    odd = [UnsafeImage(n, 2, 0.5, False, 'a, "b"') for n in ('a,"b".png', "größe.png", os.fsdecode(b"caf\xe9.png"))]
    return dataclasses.replace(found, images=(*found.images, *odd))


def test_the_list_holds_a_path_a_line_and_the_table_all_that_is_known(unsafe, tmp_path):
    save_unsafe_set(unsafe, tmp_path)
    run = runs_of(tmp_path, SELECTION)[0].folder
    lines = (run / FILENAMES_FILE).read_bytes().decode("utf-8", "surrogateescape").split("\n")
    assert lines == [*(image.image for image in unsafe.images), ""]
    with (run / UNSAFE_SET_FILE).open(newline="", errors="surrogateescape") as file:
        header, *rows = csv.reader(file)
    assert tuple(header) == COLUMNS
    assert [row[0] for row in rows] == lines[:-1]
    assert rows[0][3] in ("true", "false")
    record = json.loads((run / SELECTION_FILE).read_text())
    assert len(record["images"]) == len(unsafe.images)
    assert record["formula"] == "N = 9, as requested"
    assert record["skipped"] == [{"path": "bad.png", "reason": unsafe.skipped[0].reason}]
