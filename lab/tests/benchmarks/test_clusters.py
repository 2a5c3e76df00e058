"""The benchmark of clusters: its measures, and the mixes of disturbances it generates."""

import numpy as np
import pytest
from PIL import Image

from lab.benchmarks.clusters.__main__ import RIVALS, main, measure_quality, oracle, run_methods
from lab.benchmarks.clusters.scenarios import SCENARIOS, SMALLEST_SHARE, disturb, draw_shares, make_mix
from tests.helpers.features import features_of
from tests.helpers.point_groups import groups

NOISE = -1


def test_measures_by_hand():
    scenarios = np.array(["fog"] * 10 + ["blur"] * 9 + ["dark"] * 6)
    labels = np.array([0] * 10 + [0] + [1] * 8 + [NOISE] * 3 + [2] * 3)
    found = measure_quality(labels, scenarios, np.random.default_rng(0).normal(size=(25, 2)), 1.5)
    assert found.rccs == 3
    assert found.noise == pytest.approx(3 / 25)
    assert found.purity == pytest.approx((10 / 11 + 1 + 1) / 3)
    assert found.coverage == 1  # 10 of 11 are 90 % or more
    assert found.inspect_percent == pytest.approx(100 * (5 + 5 + 3) / 25)
    assert found.largest == pytest.approx(11 / 25)


def test_a_scenario_that_is_mixed_with_another_is_not_covered():
    scenarios = np.array(["fog"] * 8 + ["blur"] * 2 + ["dark"] * 5)
    found = measure_quality(np.array([0] * 10 + [1] * 5), scenarios, np.random.default_rng(0).normal(size=(15, 2)), 0)
    assert found.coverage == pytest.approx(1 / 3)


def test_nothing_clustered_is_measured_too():
    found = measure_quality(np.full(6, NOISE), np.array(["fog", "blur"] * 3), np.zeros((6, 2)), 0)
    assert (found.rccs, found.noise, found.purity, found.coverage) == (0, 1, 0, 0)


@pytest.mark.parametrize("rival", [name for name in RIVALS if "UMAP" not in name])
def test_rivals_tell_far_groups_apart(rival):
    points, owner = groups((60, 60), spread=0.1)
    labels = RIVALS[rival](points)
    assert measure_quality(labels, owner.astype(str), points, 0).coverage == 1


def test_the_oracle_is_at_least_as_good_as_any_setting():
    points, owner = groups((60, 30, 20), spread=0.3)
    assert measure_quality(oracle(points, owner), owner.astype(str), points, 0).ari > 0.9


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_disturbance_changes_the_image_and_always_in_the_same_way(scenario):
    image = np.random.default_rng(0).integers(0, 255, (40, 30, 3), dtype=np.uint8)
    before = image.copy()
    once, again = (disturb(image, "a.png", scenario) for _ in range(2))
    assert np.array_equal(once, again)
    assert (once.shape, once.dtype) == (image.shape, image.dtype)
    assert not np.array_equal(once, image)
    assert np.array_equal(image, before)


def test_shares_are_unequal_and_none_is_tiny():
    drawn = [list(draw_shares(np.random.default_rng(seed)).values()) for seed in range(30)]
    assert all(3 <= len(shares) <= 9 for shares in drawn)
    assert all(min(shares) >= SMALLEST_SHARE for shares in drawn)
    assert np.median([max(shares) / min(shares) for shares in drawn]) > 4


def test_a_mix_is_the_same_for_the_same_seed(tmp_path):
    (tmp_path / "base").mkdir()
    rng = np.random.default_rng(0)
    for i in range(24):
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "base" / f"{i}.png")
    shares = {"fog": 0.7, "blur": 0.2, "dark": 0.1}
    one, two, other = (
        make_mix(tmp_path / "base", tmp_path / name, n_images=20, shares=shares, seed=seed)
        for name, seed in (("1", 5), ("2", 5), ("3", 6))
    )
    assert one == two != other
    assert sorted(scenario for _, scenario in one) == ["blur"] * 4 + ["dark"] * 2 + ["fog"] * 14
    for name, _ in one:
        assert (tmp_path / "1/images" / name).read_bytes() == (tmp_path / "2/images" / name).read_bytes()


@pytest.mark.slow
def test_groups_that_lie_far_apart_are_found_again_in_every_subset():
    images = features_of((40, 30))
    groups = np.array([path.split("/")[0] for path in images.paths])
    methods = ["SAFE (PCA)", "K-means"]
    for row in run_methods(images, groups, methods, n_subsets=3).values():
        assert 0.9 < row.least <= row.again <= 1
        assert row.truth > 0.9
    shuffled = run_methods(images, np.random.default_rng(0).permutation(groups), methods[:1], n_subsets=1)
    assert abs(shuffled["SAFE (PCA)"].truth) < 0.2
    assert shuffled["SAFE (PCA)"].again > 0.9


def test_without_scenarios_only_what_needs_none_is_measured():
    rows = run_methods(features_of((40, 30)), None, ["SAFE (PCA)", "Ward", "oracle"], n_subsets=1)
    assert list(rows) == ["SAFE (PCA)", "Ward"]
    assert np.isnan([rows["Ward"].purity, rows["Ward"].coverage, rows["Ward"].ari, rows["Ward"].truth]).all()
    assert rows["Ward"].again > 0.9


def test_a_folder_that_does_not_exist_is_one_line(tmp_path, capsys):
    assert main(["--images", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.startswith("clusters: ")
