"""From tables of a network's answers to clusters, weak spots, the unsafe set and the report."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

import SAFE_Tool
from rccs.unsafe_set import load_unsafe_set
from tests.helpers.answered import SCENES
from tests.helpers.scenes import draw_scene

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
def case(tmp_path) -> Case:
    """The network takes all nights and half of the snows for woods, as the odd improvement images of each."""
    rng = np.random.default_rng(0)
    test, improvement = tmp_path / "test", tmp_path / "improvement"
    header = ",".join(["image", *NAMES])
    tested, improved = [header], [header]
    improvement.mkdir()
    for scene, wrong, right in SCENES:
        (test / scene).mkdir(parents=True)
        for i in range(wrong + right):
            name = f"{scene}/{scene}_{i:02d}.png"
            draw_scene(scene, rng).save(test / name)
            tested.append(row(name, TAKEN_FOR[scene] if i < wrong else scene))
        for i in range(8):
            name = f"{scene}_{i:02d}.png"
            draw_scene(scene, rng).save(improvement / name)
            improved.append(row(f"/data/new/{name}", TAKEN_FOR[scene] if i % 2 else scene))
    tables = tmp_path / "test.csv", tmp_path / "improvement.csv"
    for table, lines in zip(tables, (tested, improved), strict=True):
        table.write_text("\n".join(lines) + "\n")
    return Case(test, improvement, *tables, tmp_path / "out")


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
    assert "26 failing images of 74 · test accuracy 0.6486" in printed
    assert "Answers: from test.csv, taken as they are." in printed
    assert json.loads((case.out / "accuracy.json").read_text())["model"] == str(case.tested)
    assert safe("cluster", case.out / "failures", "--out", case.out) == 0
    printed = capsys.readouterr().out
    assert "Failure rates, compared with the images that the network gets right (35.1% of all are wrong):" in printed
    assert "All are night taken for wood" in printed
    assert "Weak spots: conditions under which the network fails more often than elsewhere\n  1. " in printed
    assert {"rcc_rates.csv", "weak_spots.csv"} <= {path.name for path in case.out.iterdir()}
    assert safe("select", case.improvement, "--size", 6, "--out", case.out) == 0
    assert safe("report", "--out", case.out) == 0
    report = (case.out / "report.html").read_text()
    assert "night → wood (80%)" in report


def test_likely_failures_are_selected_by_tables_alone(clustered, capsys):
    command = ("select", clustered.improvement, "--improvement-predictions", clustered.improved, "--out", clustered.out)
    assert safe(*command) == 0
    printed = capsys.readouterr().out
    assert "test-set size 74 · accuracy 0.648649" in printed
    assert "that the network is most likely to get wrong, by its answers in improvement.csv." in printed
    by_tables = load_unsafe_set(clustered.out)
    assert safe(*command, "--predictions", clustered.tested, "--test", clustered.test, "--size", 8) == 0
    assert "8 of 24" in capsys.readouterr().out
    assert by_tables.model == str(clustered.improved)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ("--predictions", "{tested}"),
            "the test folder, or neither of them, to use what the clusters were found with",
        ),
        (("--model", "m.keras", "--test", "{test}"), "Expected a model or tables of its answers. Received both"),
    ],
)
def test_what_does_not_go_together_is_refused_in_a_line(clustered, capsys, more, message):
    more = [text.format(**clustered._asdict()) for text in more]
    command = ("select", clustered.improvement, "--improvement-predictions", clustered.improved, "--out", clustered.out)
    assert safe(*command, *more) == 2
    assert message in capsys.readouterr().err


def test_labels_alone_are_not_enough_to_predict_failures(fake_network, case, capsys):
    labels = [line.split(",")[0] for line in case.tested.read_text().splitlines()[1:]]
    rows = [
        f"{image},{TAKEN_FOR[image.split('/')[0]] if i % 2 else image.split('/')[0]}" for i, image in enumerate(labels)
    ]
    case.tested.write_text("\n".join(["image,predicted", *rows]) + "\n")
    assert safe("failures", case.test, "--predictions", case.tested, "--out", case.out) == 0
    assert safe("cluster", case.out / "failures", "--out", case.out) == 0
    capsys.readouterr()
    command = ("select", case.improvement, "--improvement-predictions", case.improved, "--out", case.out)
    assert safe(*command) == 2
    assert "Expected the probability of each class" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda text: text.replace("night,", "dark,"), "for each class of predictions.csv (night, snow, wood)"),
        (lambda text: text.replace("new/", "new/x_"), "whose first image is /data/new/x_night_00.png"),
        (
            lambda text: text.replace("0.8", "8"),
            "a probability from 0 to 1 (such as of a softmax) under night in row 2",
        ),
    ],
)
def test_a_bad_table_of_improvement_images_leaves_the_folder_as_it_was(clustered, capsys, edit, message):
    clustered.improved.write_text(edit(clustered.improved.read_text()))
    command = ("select", clustered.improvement, "--improvement-predictions", clustered.improved, "--out", clustered.out)
    assert safe(*command) == 2
    assert message in capsys.readouterr().err
    assert not (clustered.out / "unsafe_set.csv").exists()


def test_improvement_images_without_a_row_count_as_right_and_are_told(clustered, capsys):
    lines = clustered.improved.read_text().splitlines()
    clustered.improved.write_text("\n".join(lines[:-5]) + "\n")
    command = ("select", clustered.improvement, "--improvement-predictions", clustered.improved, "--out", clustered.out)
    assert safe(*command) == 0
    assert (
        "Without a row in improvement.csv: 5 of 24 improvement images. They count as right." in capsys.readouterr().out
    )


NEITHER_NOR_BOTH = "Expected MODEL and TEST, or --predictions CSV and TEST or, for a detector"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{test}",), NEITHER_NOR_BOTH),
        (("--predictions", "{tested}"), NEITHER_NOR_BOTH),
        (("m.keras", "{test}", "--predictions", "{tested}"), NEITHER_NOR_BOTH),
        (("{test}", "--predictions", "{tested}", "--rescale", "none"), "with a model only"),
    ],
)
def test_failures_takes_a_model_or_a_table(case, capsys, arguments, message):
    assert safe("failures", *(text.format(**case._asdict()) for text in arguments), "--out", case.out) == 2
    assert message in capsys.readouterr().err
