"""What holds of all further cases, and of the program that builds them."""

import pytest

from lab.casestudies import build
from lab.casestudies.cases import CASES, PEOPLE_CASES
from lab.casestudies.heads.cases import HEAD_CASES
from safe_dnn.casestudies import build as build_of_eyes
from safe_dnn.casestudies.cases import CASES as EYE_CASES
from tests.helpers.cases import (
    FakeModel,
    has_each_situation_by_itself,
    has_sets_that_differ_and_repeat,
    lacks_its_causes_in_training,
)

FURTHER = [name for name in CASES if name not in EYE_CASES]


@pytest.mark.parametrize("name", FURTHER)
def test_the_training_set_lacks_the_known_root_causes_and_the_test_set_holds_them(name):
    lacks_its_causes_in_training(CASES[name], least=0.025 if name in PEOPLE_CASES else 0.04)


@pytest.mark.parametrize("name", [*PEOPLE_CASES, *HEAD_CASES])
def test_situations_occur_with_their_shares_and_one_at_a_time(name):
    has_each_situation_by_itself(CASES[name], "eyewear" if name in PEOPLE_CASES else "cover")


@pytest.mark.parametrize("name", FURTHER)
def test_the_sets_of_a_case_differ_and_a_seed_repeats_them(name):
    has_sets_that_differ_and_repeat(CASES[name])


def test_the_cases_of_an_eye_are_built_here_as_there(tmp_path, monkeypatch):
    monkeypatch.setattr(build_of_eyes, "train_model", lambda *_, **__: FakeModel())
    build_of_eyes.build_case("gd", tmp_path / "there", scale=0.002)
    build.build_case("gd", tmp_path / "here", scale=0.002)
    there, here = (
        {path.name: path.read_bytes() for path in (tmp_path / at).rglob("*.csv")} for at in ("there", "here")
    )
    assert here == there


def test_the_command_line_knows_all_cases(tmp_path, capsys):
    (tmp_path / "kept.txt").write_text("kept")
    for name in CASES:
        assert build.main([name, "--out", str(tmp_path)]) == 2
        assert "does not exist or is empty" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        build_of_eyes.main(["hpd", "--out", str(tmp_path / "hpd")])
