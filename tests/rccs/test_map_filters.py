import base64
import json

import numpy as np

from rccs.image_map import BINS, MOST_FILTERS, UNKNOWN, map_filters


def only(column) -> dict:
    [found] = map_filters({"name": np.array(column)})
    json.dumps(found, allow_nan=False).encode("utf-8")
    return found


def bins_of(found: dict) -> list[int]:
    return np.frombuffer(base64.b64decode(found["bins"]), np.uint8).tolist()


def test_a_category_has_a_bin_for_each_value_the_commonest_first():
    found = only(["snow", "sun", "sun", "", "\ud800"])
    assert (found["name"], found["kind"]) == ("name", "category")
    assert found["names"][0] == "sun"
    assert set(found["names"]) == {"sun", "snow", "\ufffd"}
    assert bins_of(found)[:4] == [found["names"].index("snow"), 0, 0, UNKNOWN]


def test_a_number_has_bins_of_equal_width_and_its_outliers_are_in_the_last_one():
    found = only([*np.linspace(0, 1, 998), 1e6, np.nan])
    assert found["kind"] == "number"
    assert len(found["low"]) == len(found["high"]) == BINS
    assert (found["low"][0], found["high"][-1]) == ("0", "1e+06")
    assert found["high"][:-1] == found["low"][1:]
    bins = bins_of(found)
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
