import base64
import dataclasses
import json

import numpy as np
import pytest

from safe_dnn.rccs import image_map as maps
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.image_map import (
    BINS,
    MAP_FILE,
    MOST_FILTERS,
    SHADES,
    STEPS,
    UNKNOWN,
    load_map,
    map_filters,
    map_points,
    map_record,
    map_shades,
    plane_points,
    stored_map,
)
from safe_dnn.rccs.review.journal import Note
from tests.helpers.places import in_run


def many(clusters, n: int, dimension: int = 5):
    """Clusters of n points around three centres, with a tenth of noise, and no files behind them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, n)
    points = (10 * np.eye(3, dimension)[labels] + rng.normal(0, 1, (n, dimension))).astype(np.float32)
    labels[::10] = NOISE
    return dataclasses.replace(
        clusters, paths=tuple(f"images/{'long' * 45}_{i:05d}.png" for i in range(n)), labels=labels,
        is_core=labels != NOISE, points=points, reach=np.ones(3, np.float32),
    )  # fmt: skip


def unpacked(text: str, kind: str) -> list[int]:
    return np.frombuffer(base64.b64decode(text), kind).tolist()


@pytest.fixture
def without_umap(monkeypatch):
    monkeypatch.setattr(maps, "_umap", lambda points, start: start)


# --- Positions --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("positions", [plane_points, pytest.param(map_points, marks=pytest.mark.slow)])
def test_every_image_has_a_place_in_the_unit_square_and_rccs_lie_apart(clusters, positions):
    big = many(clusters, 120)
    xy = positions(big)
    assert xy.shape == (120, 2)
    assert xy.dtype == np.float32
    assert xy.min() >= 0
    assert xy.max() <= 1
    assert (xy.max(axis=0) - xy.min(axis=0)).max() == pytest.approx(1)
    centres = np.array([xy[big.labels == rcc].mean(axis=0) for rcc in range(3)])
    spread = max(xy[big.labels == rcc].std() for rcc in range(3))
    assert min(np.linalg.norm(centres[i] - centres[j]) for i, j in ((0, 1), (0, 2), (1, 2))) > spread
    assert positions(big).tolist() == xy.tolist()


def test_equal_images_and_points_of_one_component_have_a_map(clusters):
    flat = dataclasses.replace(clusters, points=np.zeros((26, 1), np.float32))
    assert map_points(flat).tolist() == [[0.5, 0.5]] * 26
    line = dataclasses.replace(clusters, points=np.arange(26, dtype=np.float32)[:, None])
    assert np.isfinite(map_points(line)).all()


def test_a_map_is_drawn_once_and_edits_leave_it_as_it_is(clusters, tmp_path, without_umap, monkeypatch):
    assert load_map(tmp_path, clusters) is None
    save_clusters(clusters, tmp_path)
    drawn = stored_map(tmp_path, clusters)
    monkeypatch.setattr(maps, "map_points", lambda *_, **__: pytest.fail("drawn again"))
    assert stored_map(tmp_path, clusters).tolist() == drawn.tolist()
    edited = dataclasses.replace(clusters, labels=np.zeros(26, int))
    assert load_map(tmp_path, edited).tolist() == drawn.tolist()


def test_a_map_of_other_images_or_damaged_is_drawn_anew(clusters, tmp_path, without_umap):
    save_clusters(clusters, tmp_path)
    stored_map(tmp_path, clusters)
    assert load_map(tmp_path, dataclasses.replace(clusters, points=clusters.points + 1)) is None
    renamed = dataclasses.replace(clusters, paths=("other.png", *clusters.paths[1:]))
    assert load_map(tmp_path, renamed) is None
    kept = in_run(tmp_path, MAP_FILE)
    kept.write_bytes(kept.read_bytes()[:-1])
    assert load_map(tmp_path, clusters) is None
    assert stored_map(tmp_path, clusters).tolist() == plane_points(clusters).tolist()
    assert load_map(tmp_path, clusters) is not None
    assert not kept.exists()


# --- For the page -----------------------------------------------------------------------------------------------


def test_the_record_says_of_every_image_where_it_lies_and_of_every_rcc_what_it_is_called(clusters):
    xy = np.tile(np.linspace(0, 1, 26, dtype=np.float32)[:, None], 2)
    record = map_record(clusters, xy, {1: Note(1, "<b>snow</b>", "", "safe")}, clusters)
    assert unpacked(record["x"], "<u2") == np.rint(np.linspace(0, 1, 26) * record["steps"]).astype(int).tolist()
    assert record["x"] == record["y"]
    assert unpacked(record["rcc"], "<i4") == clusters.labels.tolist()
    assert record["bulk"] == [0, 0, STEPS, STEPS]
    assert record["name"] == list(clusters.paths)
    assert [(rcc["rcc"], rcc["title"], rcc["name"], rcc["size"], rcc["verdict"]) for rcc in record["rccs"]] == [
        (0, "RCC 0", "", 10, ""), (1, "RCC 1 · <b>snow</b>", "<b>snow</b>", 8, "safe"), (2, "RCC 2", "", 6, ""),
        (NOISE, "No cluster", "", 2, ""),
    ]  # fmt: skip
    assert [rcc["colour"] for rcc in record["rccs"]] == [0, 1, 2, 3]
    assert all(clusters.labels[rcc["at"]] == rcc["rcc"] for rcc in record["rccs"])
    places, middle = unpacked(record["y"], "<u2"), record["rccs"][0]["at"]
    assert record["rccs"][0]["reach"] == [places[middle + 1], places[middle - 1]], "which lie beside it"
    json.dumps(record, allow_nan=False)


# --- Shades -----------------------------------------------------------------------------------------------------


def test_a_number_is_shaded_between_its_percentiles_and_an_outlier_does_not_flatten_the_rest():
    shades = map_shades("light", np.array([*np.linspace(0, 1, 98), 1e6, np.nan]))
    assert (shades["kind"], shades["name"]) == ("number", "light")
    bins = unpacked(shades["bins"], "u1")
    assert [bins[row] for row in (0, 48, 98, 99)] == [0, SHADES // 2 - 1, SHADES - 1, UNKNOWN]
    assert (shades["told"][98], shades["told"][99]) == ("1e+06", "")
    assert float(shades["low"]) == pytest.approx(0.02, abs=0.01)
    assert float(shades["high"]) == pytest.approx(1, abs=0.02)


# --- Filters ----------------------------------------------------------------------------------------------------


def only(column) -> dict:
    [found] = map_filters({"name": np.array(column)})
    json.dumps(found, allow_nan=False).encode("utf-8")
    return found


def test_a_category_has_a_bin_for_each_value_the_commonest_first():
    found = only(["snow", "sun", "sun", "", "\ud800"])
    assert (found["name"], found["kind"]) == ("name", "category")
    assert found["names"][0] == "sun"
    assert set(found["names"]) == {"sun", "snow", "\ufffd"}
    assert unpacked(found["bins"], "u1")[:4] == [found["names"].index("snow"), 0, 0, UNKNOWN]


def test_a_number_has_bins_of_equal_width_and_its_outliers_are_in_the_last_one():
    found = only([*np.linspace(0, 1, 998), 1e6, np.nan])
    assert found["kind"] == "number"
    assert len(found["low"]) == len(found["high"]) == BINS
    assert (found["low"][0], found["high"][-1]) == ("0", "1e+06")
    assert found["high"][:-1] == found["low"][1:]
    bins = unpacked(found["bins"], "u1")
    assert bins[-2:] == [BINS - 1, UNKNOWN]
    assert bins[:998] == sorted(bins[:998])
    counts = np.bincount(bins[:998], minlength=BINS)
    assert counts.min() > 50
    assert counts.max() < 80


def test_what_is_the_same_for_all_or_unknown_is_left_out_and_so_are_very_many_parameters():
    assert map_filters({}) == []
    assert map_filters({"a": np.array(["x", "x", ""]), "b": np.array([1.0, 1.0]), "c": np.array([np.nan])}) == []
    many = {f"{k}": np.arange(3.0) for k in range(MOST_FILTERS + 1)}
    assert [found["name"] for found in map_filters(many)] == [f"{k}" for k in range(MOST_FILTERS)]
