"""The benchmark of words: a case is loaded, an oracle answers, and the section is written."""

import json

import numpy as np
import pytest

from lab.benchmarks import words
from lab.benchmarks.words import TAGS, load_words_case, main, measure_word, tagged
from safe_dnn.reasons.words.rates import CHOSEN, UNTAGGED
from safe_dnn.support.errors import SAFEError
from tests.helpers.scenes import draw_scenes


@pytest.fixture
def ages(fake_network, tmp_path):
    """Nights are babies, all of whom are wrong; with a table of answers and of ages."""
    for place in ("test", "improvement"):
        draw_scenes(tmp_path / place / "face", {"night": 30, "snow": 90, "wood": 100}, seed=len(place))
        images = [f"face/{file.name}" for file in sorted((tmp_path / place / "face").glob("*.png"))]
        rows = [f"{image},{i % 3 if 'night' in image else 40}" for i, image in enumerate(images)]
        (tmp_path / place / "parameters.csv").write_text("\n".join(["image,age", *rows]))
        if place == "test":
            told = [f"{image},face,{'other' if 'night' in image or '_00' in image else 'face'}" for image in images]
    (tmp_path / "predictions.csv").write_text("\n".join(["image,label,predicted", *told]))
    (tmp_path / "accuracy.json").write_text(json.dumps({"test_root": "test"}))
    return tmp_path


def test_an_oracle_answers_and_the_section_is_printed(ages, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(words, "RUNS_CHOSEN", 2)
    case = load_words_case("ages", ages, tmp_path)
    assert (len(case.wrong), [*case.words], len(case.others)) == (220, ["baby"], 220)
    found = measure_word(case, case.words["baby"], runs=3)
    assert found["held"] == [1.0, 1.0, 1.0]
    assert found["half-width"][2] < found["half-width"][0]
    (tmp_path / "work").mkdir()
    assert main(["--data", f"ages={ages}", "--work", str(tmp_path / "work"), "--runs", "2"]) == 0
    printed = capsys.readouterr().out
    assert "| ages | baby | 14% |" in printed
    assert "| ages | baby | 14% | 60% | 4.4 × |" in printed, "30 of 50 chosen"
    assert "by chance" in printed


def test_answers_are_chosen_first_and_then_drawn(ages, tmp_path):
    case = load_words_case("ages", ages, tmp_path)
    for number, frame, known in tagged(case, case.wrong, case.words["baby"], np.random.default_rng(0)):
        assert (known != UNTAGGED).sum() == number
        assert (frame.stratum == CHOSEN).sum() == 20
    assert number == TAGS[-1]


def test_a_folder_without_failures_or_words_is_refused(ages, tmp_path):
    (tmp_path / "none").mkdir()
    with pytest.raises(SAFEError, match="failures of a network"):
        load_words_case("ages", tmp_path / "none", tmp_path)
    (ages / "test" / "parameters.csv").unlink()
    with pytest.raises(SAFEError, match="parameters such as an age"):
        load_words_case("ages", ages, tmp_path)
