"""Requirements on how often the network may be wrong: what a file may say, and what images show of it."""

import math

import numpy as np
import pytest

from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.reasons.requirements import BROKEN, HOLDS, OPEN, findings, read_requirements
from safe_dnn.support.errors import SAFEError


def required(tmp_path, *lines):
    file = tmp_path / "requirements.yaml"
    file.write_text("\n".join(lines), encoding="utf-8")
    return read_requirements(file)


def answers(n=600, wrong_in_the_dark=0.5, seed=0):
    rng = np.random.default_rng(seed)
    light = rng.uniform(size=n)
    columns = {"light": light, "yaw_deg": rng.uniform(0, 360, n), "label": rng.choice(["snow", "night and fog"], n)}
    return columns, rng.random(n) < np.where(light < 0.4, wrong_in_the_dark, 0.01)


def test_a_requirement_holds_is_broken_or_stays_open(tmp_path):
    columns, wrong = answers()
    found = findings(
        required(
            tmp_path,
            "# a comment",
            "light >= 0.4: at most 5 % wrong",
            "light < 0.4: at most 5% wrong at 99 %",
            "light >= 0.4 and yaw_deg from 350 to 10: at most 5 %",
            "all images: at most 50 % wrong at 95 %",
            "light >= 2: at most 5 %",
            "light >= 0.4 and label = night and fog and yaw_deg < 90: at most 5 %",
            "light < 0.05 or >= 0.9 and label = snow: at most 5 %",
        ),
        columns,
        wrong,
    )
    assert [one.verdict for one in found] == [HOLDS, BROKEN, OPEN, HOLDS, OPEN, OPEN, BROKEN]
    assert found[3].figures.tested == 600
    arc = (columns["light"] >= 0.4) & ((columns["yaw_deg"] >= 350) | (columns["yaw_deg"] < 10))
    assert found[2].figures.tested == arc.sum()
    assert found[2].text.startswith("light >= 0.4 and yaw_deg from 350 to 10: at most 5 % wrong at 95 %: open. ")
    foggy = (columns["light"] >= 0.4) & (columns["label"] == "night and fog") & (columns["yaw_deg"] < 90)
    assert found[5].figures.tested == foggy.sum()
    tails = (columns["light"] < 0.05) | (columns["light"] >= 0.9)
    assert found[6].figures.tested == (tails & (columns["label"] == "snow")).sum()
    assert found[6].requirement.where == "label = snow and light < 0.05 or >= 0.9"
    assert found[4].text == "light >= 2: at most 5 % wrong at 95 %: open. There are no such images."


def test_without_a_failure_the_limit_is_that_of_so_many_independent_images(tmp_path):
    columns = {"light": np.zeros(58)}
    (one,) = required(tmp_path, "light < 1: at most 5 % wrong at 95 %")
    (found,) = findings([one], columns, np.zeros(58, bool))
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 58))
    assert (found.verdict, found.needed) == (OPEN, 59)  # ln .05 / ln .95 = 58.4
    assert math.ceil(math.log(0.05) / math.log(0.95)) == 59
    (found,) = findings([one], {"light": np.zeros(59)}, np.zeros(59, bool))
    assert found.verdict == HOLDS


def test_of_groups_without_a_failure_each_counts_once(tmp_path):
    requirement = required(tmp_path, "all images: at most 5 % wrong at 95 %")
    groups = Groups("person", np.repeat(np.arange(18), 30))
    (found,) = findings(requirement, {}, np.zeros(540, bool), groups)
    assert found.high == pytest.approx(1 - 0.05 ** (1 / 18))
    assert found.verdict == OPEN
    assert "0 of 540 images (of 18 persons) are wrong" in found.text
    assert found.text.endswith(" About 59 persons with as many such images each and as few wrong would show it.")


@pytest.mark.parametrize("wrong", [[7], [7, 8], range(7, 27)])
def test_failures_of_one_group_show_no_more_than_none(tmp_path, wrong):
    requirement = required(tmp_path, "all images: at most 5 % wrong at 95 %")
    for persons in (1, 18):
        groups = Groups("person", np.repeat(np.arange(persons), 540 // persons))
        (found,) = findings(requirement, {}, np.isin(np.arange(540), wrong), groups)
        assert found.high > 1 - 0.05 ** (1 / persons)
        assert found.verdict == OPEN


@pytest.mark.parametrize(("persons", "images", "correlation"), [(18, 30, 0.4), (50, 200, 0.2), (50, 200, 0.4)])
def test_rare_failures_that_differ_much_by_group_seldom_exceed_the_limit(tmp_path, persons, images, correlation):
    requirement = required(tmp_path, "all images: at most 5 % wrong at 95 %")
    rng, of, held = np.random.default_rng(0), np.repeat(np.arange(persons), images), []
    for _ in range(100):
        rates = rng.beta(0.02 * (1 / correlation - 1), 0.98 * (1 / correlation - 1), persons)
        (found,) = findings(requirement, {}, rng.random(len(of)) < rates[of], Groups("person", of))
        held.append(found.high >= 0.02)
    assert sum(held) >= 90  # of 100 such limits at 95 %, fewer do once in 35 times


def test_as_many_groups_as_are_said_to_be_needed_show_it(tmp_path):
    requirement = required(tmp_path, "all images: at most 8 % wrong at 95 %")
    of = np.repeat(np.arange(8), 30)
    wrong = (np.arange(240) % 30 < 12) & (of == 0)  # of one person alone
    (found,) = findings(requirement, {}, wrong, Groups("person", of))
    assert found.needed > 2 * 8
    for persons, verdict in ((found.needed // 8 + 1, HOLDS), (found.needed // 16, OPEN)):
        more = np.concatenate([of + 8 * i for i in range(persons)])
        (of_more,) = findings(requirement, {}, np.tile(wrong, persons), Groups("person", more))
        assert of_more.verdict == verdict


@pytest.mark.parametrize("persons", [0, 40], ids=["independent images", "images of 40 persons"])
def test_a_requirement_that_is_not_met_is_seldom_said_to_hold_and_the_other_way_round(tmp_path, persons):
    """At 95 %: at the limit itself, each in one of 20 at most."""
    requirement = required(tmp_path, "all images: at most 20 % wrong at 95 %")
    verdicts = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        rates = rng.beta(0.2 * 9, 0.8 * 9, persons) if persons else np.full(1, 0.2)  # a correlation of .1
        of = np.repeat(np.arange(persons), 15) if persons else np.zeros(600, int)
        wrong = rng.random(len(of)) < rates[of]
        groups = Groups("person", of) if persons else None
        (found,) = findings(requirement, {}, wrong, groups)
        verdicts.append(found.verdict)
    assert verdicts.count(HOLDS) <= 400 * 0.08
    assert verdicts.count(BROKEN) <= 400 * 0.08


@pytest.mark.parametrize(
    ("lines", "received"),
    [
        (["light < 0.4: seldom"], r"light < 0\.4: seldom \(.*line 1\)"),
        (["", "light < 0.4: at most 5.5.5 %"], "share above 0 and below 100 %. Received: 5.5.5 %"),
        (["light < 0.4: at most 5 % at 49 %"], r"a confidence of at least 50 %.* Received: 49 % \(.*line 1\)"),
        (["light < dark: at most 5 %"], "a number after “<”"),
        (["light < 0.4: at most 5 %", "light  < .4: at most 7 %"], "Received twice: light"),
        (["light: [unclosed"], "Expected requirements as a YAML file"),
        (["!!python/object/apply:os.system ['true']: at most 5 %"], "with none"),
    ],
)
def test_a_line_that_is_no_requirement_is_refused_with_its_place(tmp_path, lines, received):
    with pytest.raises(SAFEError, match=received):
        required(tmp_path, *lines)


def test_what_is_not_known_of_the_images_is_refused(tmp_path):
    columns, wrong = answers()
    with pytest.raises(SAFEError, match=r"known of the images: label, light, yaw_deg\. Received: fog = yes"):
        findings(required(tmp_path, "fog = yes: at most 5 %"), columns, wrong)
    with pytest.raises(SAFEError, match="label is no number of these images"):
        findings(required(tmp_path, "label < 3: at most 5 %"), columns, wrong)
    with pytest.raises(SAFEError, match="No such file"):
        read_requirements(tmp_path / "gone.yaml")
