"""The benchmark of what is expected of new images."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lab.benchmarks import new_images
from lab.benchmarks.new_images import Pool, parts, rcc_section, rccs_in_run, section, spots_in_run
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.extractor import Extractor
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers
from safe_dnn.rccs.spots.groups import Groups
from safe_dnn.reasons.comparison import Known
from safe_dnn.reasons.known_groups import KnownGroups

IMAGES = 800


@pytest.fixture
def pool():
    rng = np.random.default_rng(0)
    label = rng.choice(["open", "closed"], IMAGES)
    dark = rng.random(IMAGES) < 0.2
    right = rng.random(IMAGES) > np.where(dark, 0.8, 0.05)
    predicted = np.where(right, label, np.where(label == "open", "closed", "open"))
    answers = Answers(label, predicted, np.ones(IMAGES, np.float32), CONFIDENCE)
    paths = tuple(f"{i:03d}.png" for i in range(IMAGES))
    known = Known({"label": label, "predicted": predicted, "light": np.where(dark, "dark", "day")}, frozenset())
    return Pool(AnsweredImages(Path("p.csv"), Path(), paths, answers, right), known, 300, None, False)


def test_images_that_are_searched_are_not_counted_and_parts_do_not_overlap(pool):
    first, second = parts(pool, 0), parts(pool, 1)
    assert len(first[0]) == 300
    assert sorted([*first[0], *first[1]]) == list(range(IMAGES))
    assert not set(first[0]) & set(second[0])


def test_a_group_is_searched_or_counted_as_a_whole(pool):
    of = np.arange(IMAGES) // 40
    grouped = pool._replace(groups=KnownGroups(Groups("person", of), True, ()), apart=True)
    searched, counted = parts(grouped, 0)
    assert not set(of[searched]) & set(of[counted])


def test_weak_spots_are_counted_in_the_other_images_and_reported(pool):
    searched, counted = parts(pool, 0)
    (dark,) = [spot for spot in spots_in_run(pool, 0) if spot["where"] == "light = dark"]
    holds, wrong = pool.known.columns["light"] == "dark", ~pool.tested.right
    assert dark["seen"] == wrong[searched][holds[searched]].mean()
    assert (dark["new"], dark["of"]) == ((holds & wrong)[counted].sum(), holds[counted].sum())
    held = [dark | {"low": 0.0, "high": 1.0}, dark | {"of": new_images.LEAST_NEW - 1}]
    line = section({"drawn": {"searched": 300, "counted": 500, "runs": [held, []]}}).splitlines()[-1]
    assert line.startswith("| drawn | 300 | 500 | 2 | 1 | ")
    assert "| 100.0 % |" in line
    assert section({"drawn": {"searched": 300, "counted": 500, "runs": [[]]}}).endswith("| drawn | 300 | 500 | 1 | 0 |")


@pytest.mark.parametrize("target", ["label", "angle"])
def test_of_a_regression_weak_spots_about_its_target_count_although_halves_have_no_target_in_common(pool, target):
    angle = np.random.default_rng(1).permutation(IMAGES) / IMAGES
    right = (angle < 0.7) | (np.arange(IMAGES) % 10 == 0)
    columns = {target: angle, "predicted": np.where(right, angle, 0.0)}
    texts = [np.array([f"{number:g}" for number in column]) for column in columns.values()]
    answers = Answers(*texts, np.where(right, np.float32(0), np.float32(1)), ERROR, target=target)
    tested = replace(pool.tested, answers=answers, right=right)
    regression = pool._replace(tested=tested, known=Known(columns, frozenset()), apart=True)
    (spot,) = spots_in_run(regression, 0)
    assert spot["where"].startswith((f"{target} >= 0.69", f"{target} >= 0.7"))


def test_rccs_are_counted_in_the_region_that_others_say_and_reported(pool):
    rng, scene = np.random.default_rng(0), np.arange(IMAGES) % 4
    features = 9 * rng.normal(size=(4, 40))[scene] + rng.normal(size=(IMAGES, 40))
    rccs = rccs_in_run(pool, features.astype(np.float32), Extractor("vgg16-fc2", "drawn", None), 0)
    _, counted = parts(pool, 0)
    of_scenes = [counted[scene[counted] == one] for one in range(4)]
    expected = sorted((len(rows), int((~pool.tested.right)[rows].sum())) for rows in of_scenes)
    assert sorted((rcc["of"], rcc["new"]) for rcc in rccs) == expected
    assert all(rcc["both_low"] < rcc["low"] < rcc["seen"] < rcc["high"] < rcc["both_high"] for rcc in rccs)
    held = rccs[0] | {"low": 0.0, "high": 1.0}
    runs = [[held], [held | {"high": 0.0}], [held | {"of": new_images.LEAST_NEW - 1}]]
    line = rcc_section({"drawn": {"runs": runs}}).splitlines()[-1]
    assert line.startswith(f"| drawn | 3 | others | 2 | {held['tested']} | {held['of']} | {100 * held['seen']:.1f} %")
    assert "| 50.0 ± 35.4 % |" in line
