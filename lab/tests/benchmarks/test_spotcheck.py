import csv
import json

import numpy as np
import pytest

from lab.benchmarks.rivals.slices import (
    AnsweredSet,
    by_difference,
    by_failures,
    domino,
    k_means,
    plane_spot,
    spotlights,
)
from lab.benchmarks.spotcheck.case import Answered
from lab.benchmarks.spotcheck.methods import held
from lab.benchmarks.spotcheck.scenes import COLOURS, SIZES, draw_scenes
from lab.benchmarks.spotcheck.scores import Score, score
from lab.benchmarks.spotcheck.settings import N_CLAUSES, SQUARE, UPPER, Setting, draw_setting, presence_of
from lab.benchmarks.spotcheck.tables import main
from safe_dnn.rccs.answers import LABEL
from safe_dnn.rccs.dbscan.contrast import uncertainty_coefficient
from safe_dnn.rccs.spots.weak_spots import find_weak_spots


def test_blind_spots_contradict_each_other_and_have_attributes_only_of_what_is_there():
    for seed in range(30):
        setting = draw_setting(np.random.default_rng(seed))
        for number, spot in enumerate(setting.blind):
            assert len(spot) - 1 in N_CLAUSES
            assert spot[SQUARE]
            assert all(spot[thing] for name in spot if (thing := presence_of(name)))
            for other in setting.blind[:number]:
                assert sum(spot[name] != other[name] for name in spot.keys() & other.keys()) >= 2


def test_scenes_show_what_their_columns_say():
    columns = (SQUARE, "circle_presence", "circle_colour", "circle_size", "square_number", "background_texture", UPPER)
    setting = Setting(columns, ({SQUARE: True, "circle_presence": True, "circle_colour": True, UPPER: False},))
    scenes = draw_scenes(setting, 100, 30, np.random.default_rng(0))
    is_blue, is_orange = ((scenes.pixels == colour).all(axis=-1).sum(axis=(1, 2)) for colour in COLOURS)
    known = {name: column == "yes" for name, column in scenes.columns.items()}
    areas = np.array([size[0] * size[1] for size in SIZES["square"]])
    circle, orange = known["circle_presence"], known["circle_colour"]
    np.testing.assert_array_equal(is_orange > 0, circle & orange)
    np.testing.assert_array_equal(scenes.columns["circle_colour"] == "", ~circle)
    alone = scenes.square & ~(circle & ~orange)
    np.testing.assert_array_equal(is_blue[alone], areas[0] * (1 + known["square_number"][alone]))
    assert is_orange[circle & orange & known["circle_size"]].max() <= areas[1]
    assert ((scenes.pixels[known["background_texture"]] == 100).all(axis=-1).mean(axis=(1, 2)) > 0.03).all()
    for pixels, upper in zip(scenes.pixels[alone], known[UPPER][alone], strict=True):
        top = np.flatnonzero((pixels == COLOURS[0]).all(axis=-1).any(axis=1))[0]
        assert upper == (top + SIZES["square"][0][1] / 2 < 32)


def test_labels_are_wrong_in_the_blind_spot_only_and_it_has_enough_scenes():
    setting = Setting((SQUARE, "text_presence", UPPER), ({SQUARE: True, "text_presence": True, UPPER: True},))
    scenes = draw_scenes(setting, 40, 25, np.random.default_rng(1))
    inside = np.logical_and.reduce([scenes.columns[name] == "yes" for name in setting.varied])
    np.testing.assert_array_equal(scenes.blind[0], inside)
    assert inside.sum() >= 25
    np.testing.assert_array_equal(scenes.taught, scenes.square & ~inside)


def test_a_blind_spot_is_discovered_by_hypotheses_that_lie_in_it_and_hold_most_of_it_together():
    images = np.arange(30)
    blind = np.array([images < 10, (images >= 10) & (images < 20)])
    half, rest = images < 5, (images >= 5) & (images < 9)
    mixed, part = (images >= 5) & (images < 15), (images >= 10) & (images < 17)
    empty = np.zeros(30, bool)
    assert score([half, mixed, empty, rest, part], blind) == Score(2, 1, 4, 1, needed=3, wasted=1)
    assert score([mixed], blind) == Score(2, 0, 1, 1, needed=1, wasted=1)
    assert score([], blind) == Score(2, 0, 0, 0, needed=0, wasted=0)


@pytest.fixture(scope="module")
def planted():
    """Two kinds of images of class 1 that look alike and that the network takes for class 0."""
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(400, 4)), rng.integers(0, 2, 400)
    kinds = np.full(400, -1)
    kinds[:30], kinds[30:70] = 0, 1
    features[kinds == 0, 0] += 12
    features[kinds == 1, 1] -= 12
    labels[kinds >= 0] = 1
    of_one = np.where(kinds >= 0, 0.04, np.where(labels == 1, 0.95, 0.05)) + rng.uniform(-0.03, 0.03, 400)
    probabilities = np.column_stack([1 - of_one, of_one])
    return kinds, AnsweredSet(features, labels, probabilities, probabilities.argmax(axis=1) != labels)


@pytest.mark.parametrize("rival", ["K-means", "Domino", "Spotlight"])
def test_a_rival_finds_planted_slices(rival, planted):
    kinds, tested = planted
    if rival == "K-means":
        slices = by_failures(k_means(tested, 8), tested)
    elif rival == "Domino":
        slices = by_difference(domino(tested).of_answered, tested)
    else:
        slices = spotlights(tested)
    assert score(held(slices, len(kinds)), np.array([kinds == 0, kinds == 1])).discovered == 2


@pytest.mark.slow
def test_planespot_finds_what_was_planted(planted):
    kinds, tested = planted
    slices = by_failures(plane_spot(tested).of_answered, tested)
    assert score(held(slices, len(kinds)), np.array([kinds >= 0])).discovered == 1


@pytest.mark.parametrize("rival", [pytest.param(plane_spot, marks=pytest.mark.slow), domino])
def test_where_failures_are_random_slices_tell_nothing_of_images_that_they_were_not_fitted_to(rival):
    rng = np.random.default_rng(0)
    labels, wrong, fitted = rng.integers(0, 2, 400), rng.random(400) < 0.3, np.arange(400) < 200
    probabilities = np.eye(2)[np.where(wrong, 1 - labels, labels)]
    slices = rival(AnsweredSet(rng.normal(size=(400, 10)), labels, probabilities, wrong), fitted)
    assert uncertainty_coefficient(slices.of_answered, wrong) > 0.3
    assert uncertainty_coefficient(slices.of_unanswered[~fitted], wrong[~fitted]) < 0.05


def test_blind_spots_of_drawn_scenes_are_discovered(tmp_path, capsys):
    rng = np.random.default_rng(0)
    things = [[str(value) for value in row] for row in rng.choice(["yes", "no"], (2000, 6))]
    blind = [row[:4] == ["yes", "yes", "no", "yes"] for row in things]
    wrong = rng.random(2000) < np.where(blind, 0.95, 0.02)
    tables = {
        "meta": [["image", *"abcdef"], *([f"{i}.png", *row] for i, row in enumerate(things))],
        "answers": [
            ["image", "label", "predicted"],
            *([f"{i}.png", "scene", "other" if failed else "scene"] for i, failed in enumerate(wrong)),
        ],
    }
    for name, rows in tables.items():
        with (tmp_path / f"1-{name}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(rows)
    (tmp_path / "1-truth.json").write_text(json.dumps([[0] if inside else [] for inside in blind]), encoding="utf-8")
    assert main(["--data", str(tmp_path), "--shuffles", "1"]) == 0
    text = capsys.readouterr().out
    assert "| all | 1 | 1 | 0 | 1 |" in text
    assert "something is named in 0 of 1 runs" in text


def test_a_folder_without_settings_is_refused(tmp_path, capsys):
    assert main(["--data", str(tmp_path)]) == 2
    assert "Expected settings of SpotCheck" in capsys.readouterr().err


def test_blind_spots_of_which_scenes_were_added_are_discovered():
    setting = draw_setting(np.random.default_rng([0, 19]))
    scenes = draw_scenes(setting, 2000, 50, np.random.default_rng(0))
    answered = Answered(scenes, np.where(scenes.taught, 0.9, 0.1))  # wrong in blind spots, and nowhere else
    known = answered.answers | answered.metadata
    spots = find_weak_spots(known, answered.wrong, label=LABEL)
    assert score([spot.holds(known) for spot in spots], scenes.blind)[:4] == (3, 3, 3, 0)
