"""The benchmark of what is found where only the group matters."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from lab.benchmarks import calibration
from lab.benchmarks.calibration import (
    dealt_out,
    draw_rates,
    load_case,
    section,
    shuffle_section,
    shuffled_spots_in_run,
    simple_conditions,
    spots_in_run,
    within_groups,
)
from safe_dnn.rccs.spots.groups import Groups, tally
from safe_dnn.support.errors import SAFEError


@pytest.fixture
def data(tmp_path):
    rows = ["image,person,light"]
    for i in range(60):
        name = f"{'ab'[i % 2]}/{i:02d}.png"
        (tmp_path / "test" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (i, 4 * i, 99)).save(tmp_path / "test" / name)
        rows.append(f"{name},p{i // 10},{i % 10}")
    (tmp_path / "parameters.csv").write_text("\n".join(rows))
    return tmp_path


def test_rates_have_the_mean_and_the_correlation_that_are_asked_for():
    groups = Groups("person", np.repeat(np.arange(4000), 5))
    rng = np.random.default_rng(0)
    assert set(draw_rates(groups, 0.0, rng)) == {0.2}
    rates = draw_rates(groups, 0.2, rng)
    wrong = rng.random(len(rates)) < rates
    assert wrong.mean() == pytest.approx(0.2, abs=0.01)
    assert tally(groups.of, wrong).correlation == pytest.approx(0.2, abs=0.02)


def test_a_case_needs_no_network(data):
    case = load_case(data, "person")
    assert (case.groups.name, len(np.unique(case.groups.of))) == ("person", 6)
    name, holds = within_groups(case, np.random.default_rng(0))
    assert (name, holds.sum()) == ("light", 18)
    assert spots_in_run(case, 0.1, 0) == {
        "false": False,
        "independent": False,
        "found": spots_in_run(case, 0.1, 0)["found"],
    }
    with pytest.raises(SAFEError, match="Received: nobody"):
        load_case(data, "nobody")


def test_the_command_prints_a_row_for_each_correlation(data, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(calibration, "CORRELATIONS", (0.0, 0.1))
    given = ["--data", f"drawn={data}:person", "--work", str(tmp_path / "work"), "--runs", "2"]
    assert calibration.main(given) == 0
    printed = capsys.readouterr().out
    assert "| drawn (60 images, 6 groups by person) | 0.0 | 0 of 2 (0) | " in printed
    assert "|  | 0.1 | " in printed
    assert calibration.main(["--data", f"drawn={tmp_path}", "--work", str(tmp_path / "work")]) == 2
    assert section({}).startswith("## Images that are not independent")


def test_answers_are_dealt_out_by_group_and_on_request_within_the_class():
    groups, classes = np.repeat(np.arange(50), 8), np.repeat(np.arange(10), 40)
    drawn = dealt_out(groups, None, np.random.default_rng(0))
    giver = groups[drawn].reshape(50, 8)
    assert (giver == giver[:, :1]).all()
    assert len(np.unique(giver)) > 20
    assert (classes[dealt_out(groups, classes, np.random.default_rng(0))] == classes).all()


def test_a_shuffle_says_what_was_found_and_how_many_intervals_hold(data):
    case = load_case(data, "person")
    right = np.arange(60) % 5 > 0
    run = shuffled_spots_in_run(case._replace(tested=dataclasses.replace(case.tested, right=right)), 0)
    assert (run["false"], run["within"]) == (False, False)
    assert run["held"][0] == run["held"][1] > 0  # of each person 2 of 10 are wrong: persons do not differ
    told = shuffle_section({"drawn (60 images)": [run]})
    assert told.endswith(f"| drawn (60 images) | 0 of 1 | 0 of 1 | – | 100.0 % of {run['held'][1]} |")
    assert simple_conditions(np.full(60, np.nan)) == []
