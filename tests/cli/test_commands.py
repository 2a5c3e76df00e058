"""From tables of a network's answers to clusters, weak spots, the unsafe set and the report."""

import csv
import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from tests.helpers.answered import SCENES, draw_case
from tests.helpers.places import names_in

NAMES = [scene for scene, *_ in SCENES]
TAKEN_FOR = {"night": "wood", "snow": "wood", "wood": "snow"}


class Case(NamedTuple):
    """A test set and improvement images with tables of the network's probabilities for both, and an output folder."""

    test: Path
    improvement: Path
    tested: Path
    improved: Path
    out: Path


def row(image: str, predicted: str) -> str:
    return ",".join([image, *("0.8" if name == predicted else "0.1" for name in NAMES)])


@pytest.fixture
def case(draw_folder, tmp_path) -> Case:
    """The network takes all nights and half of the snows for woods, as the odd improvement images of each."""
    drawn, improvement = draw_case(tmp_path), draw_folder(tmp_path / "improvement", dict.fromkeys(NAMES, 8), seed=1)
    tested, improved = ([",".join(["image", *NAMES])] for _ in range(2))
    for image, _, predicted, *_ in csv.reader(drawn.table.read_text().splitlines()[1:]):
        tested.append(row(image, predicted))
    for name in names_in(improvement):
        scene, number = name.split("_")
        improved.append(row(f"/data/new/{name}", TAKEN_FOR[scene] if int(number[:2]) % 2 else scene))
    tables = tmp_path / "test.csv", tmp_path / "improvement.csv"
    for table, lines in zip(tables, (tested, improved), strict=True):
        table.write_text("\n".join(lines) + "\n")
    return Case(drawn.test, improvement, *tables, drawn.out)


def safe(*arguments: object) -> int:
    return SAFE_Tool.main([str(argument) for argument in arguments])


@pytest.fixture
def clustered(fake_network, case, capsys) -> Case:
    assert safe("failures", "--predictions", case.tested, case.test, "--out", case.out) == 0
    assert safe("cluster", case.out / "failures", "--out", case.out) == 0
    capsys.readouterr()
    return case


def test_everything_after_failures_works_from_a_table(fake_network, case, capsys):
    assert safe("failures", case.test, "--predictions", case.tested, "--out", case.out) == 0
    printed = capsys.readouterr().out
    assert "26 failing images of 74 · test accuracy 64.86%" in printed
    assert "Answers: from test.csv, taken as they are." in printed
    assert json.loads((case.out / "accuracy.json").read_text())["model"] == "../test.csv"
    assert safe("cluster", case.out / "failures", "--out", case.out) == 0
    printed = capsys.readouterr().out
    assert "35% of all 74 test images are wrong, " in printed
    assert "all are night taken for wood" in printed
    assert "Weak spots: conditions under which the network fails more often than on comparable images\n  1. " in printed
    assert {"rcc_rates.csv", "weak_spots.csv"} <= {path.name for path in case.out.iterdir()}
    assert safe("select", case.improvement, "--size", 6, "--out", case.out) == 0
    assert safe("report", "--out", case.out) == 0
    report = (case.out / "report.html").read_text()
    assert "night → wood (80%)" in report
    assert re.search("35% of all 74 test images are wrong, [0-9.]+% where (this reason|none of these)", report)
    assert "100% wrong <span class='soft small'>more than comparable images, 23%</span>" in report
    assert "more often</span>" not in report


def test_the_unsafe_set_is_selected_by_tables_alone_unless_they_cannot_be_used(clustered, capsys):
    command = ("select", clustered.improvement, "--improvement-predictions", clustered.improved, "--out", clustered.out)
    text = clustered.improved.read_text()
    model = ("--model", "m.keras", "--test", clustered.test)
    for edited, more, message in (
        (text.replace("night,", "dark,"), (), "for each class of predictions.csv (night, snow, wood)"),
        (text.replace("new/", "new/x_"), (), "whose first image is /data/new/x_night_00.png"),
        (text.replace("0.8", "8"), (), "a probability from 0 to 1 (for example after a softmax) under night in line 2"),
        ("\n".join(text.splitlines()[:-5]) + "\n", (), "Received a row for 19 of 24 images (not for wood_03.png, "),
        (text, ("--predictions", clustered.tested), "the test folder, or neither of them"),
        (text, model, "Expected a model or tables of its answers. Received both"),
    ):  # fmt: skip
        clustered.improved.write_text(edited)
        assert safe(*command, *more) == 2
        assert message in capsys.readouterr().err
        assert not (clustered.out / "unsafe_set.csv").exists()
    assert safe(*command) == 0
    printed = capsys.readouterr().out
    assert "test-set size 74 · accuracy 0.648649" in printed
    assert "that the network is most likely to get wrong, by its answers in improvement.csv." in printed
    assert load_unsafe_set(clustered.out).model == clustered.improved
    clustered.improved.write_text("\n".join(text.splitlines()[:-5]) + "\n")
    assert safe(*command, "--partial") == 0
    assert "Without a row in improvement.csv: 5 of 24 improvement images. They count as right." in (
        capsys.readouterr().out
    )


NEITHER_NOR_BOTH = "Expected either a model and its test images, or predictions and theirs or, of a detector"


def test_failures_takes_a_model_or_a_table(case, capsys):
    for arguments, message in (
        ((case.test,), NEITHER_NOR_BOTH), (("--predictions", case.tested), NEITHER_NOR_BOTH),
        (("m.keras", case.test, "--predictions", case.tested), NEITHER_NOR_BOTH),
        ((case.test, "--predictions", case.tested, "--rescale", "none"), "with a model only"),
    ):  # fmt: skip
        assert safe("failures", *arguments, "--out", case.out) == 2
        assert message in capsys.readouterr().err
