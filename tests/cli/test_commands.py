"""From tables of a network's answers to clusters, weak spots, the unsafe set and the report."""

import csv
import json
import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.rccs.clusters import run_record
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.support.images import digest_of
from tests.helpers.answered import SCENES, draw_case, redraw
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
    assert "Weak spots: conditions under which more images are wrong than expected without them " in printed
    assert (
        "(of the same classes, with the same other reasons), those with most failures in excess first\n  1. " in printed
    )
    assert {"rcc_rates.csv", "weak_spots.csv"} <= {path.name for path in case.out.iterdir()}
    assert safe("select", case.improvement, "--size", 6, "--out", case.out) == 0
    assert safe("report", "--out", case.out) == 0
    report = (case.out / "report.html").read_text()
    assert "night → wood (80%)" in report
    assert re.search("35% of all 74 test images are wrong, [0-9.]+% where (this reason|none of these)", report)
    assert "100% wrong <span class='soft small'>more than expected, 23%</span>" in report
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


def own_features(path: Path, *folders: Path) -> Path:
    """Three features of each image, by which scenes lie apart; named as beside the file."""
    files = [file for folder in folders for file in sorted(folder.rglob("*.png"))]
    rng = np.random.default_rng(0)
    centres = np.eye(len(NAMES)) * 10
    rows = [centres[NAMES.index(file.name.split("_")[0])] + rng.normal(size=len(NAMES)) for file in files]
    np.savez(path, paths=[file.relative_to(path.parent).as_posix() for file in files], features=rows)
    return path


def test_features_of_another_network_go_through_all_steps(case, tmp_path, capsys):
    """And VGG16's weights are not needed."""
    features = own_features(tmp_path / "test.npz", case.test)
    assert safe("failures", "--predictions", case.tested, case.test, "--out", case.out) == 0
    cluster = ("cluster", case.out / "failures", "--features", features, "--out", case.out)
    assert safe(*cluster, "--extractor", "vgg16-conv") == 2
    assert "Received both" in capsys.readouterr().err
    assert safe(*cluster) == 0
    assert f"features of test.npz (SHA-256 {digest_of(features)[:16]}…) · " in capsys.readouterr().out
    recorded = run_record(case.out)["extractor"]
    assert (recorded["name"], recorded["weights"]) == ("own", "../test.npz")
    assert digest_of(features)[:16] in recorded["identity"]

    select = ("select", case.improvement, "--size", 6, "--out", case.out)
    assert safe(*select) == 2
    assert "Received none for 24 of 24 images" in capsys.readouterr().err
    assert safe(*select, "--features", own_features(tmp_path / "new.npz", case.improvement)) == 0
    assert len(load_unsafe_set(case.out).images) == 6
    np.savez(tmp_path / "wide.npz", paths=["a"], features=[[1.0]])
    assert safe(*select, "--features", tmp_path / "wide.npz") == 2
    assert "as the clusters were found with: own, 3 of each image" in capsys.readouterr().err

    assert safe("report", "--out", case.out) == safe("evidence", "--out", case.out) == 0
    sums = (case.out / "SHA256SUMS").read_text()
    assert f"{digest_of(features)}  ../test.npz" in sums
    assert f"{digest_of(tmp_path / 'new.npz')}  ../new.npz" in sums
    assert safe("word", "dark", "--next", 3, "--out", case.out) == 0
    (tmp_path / "tags.csv").write_text("image,answer\nnight/night_00.png,yes\nwood/wood_00.png,no\n")
    likely = ("word", "dark", "--tags", tmp_path / "tags.csv", "--likely", case.improvement, "--out", case.out)
    capsys.readouterr()
    assert safe(*likely) == 2
    assert "Received none for 24 of 24 images" in capsys.readouterr().err
    assert safe(*likely, "--features", tmp_path / "new.npz") == 0
    assert "night_" in capsys.readouterr().out.splitlines()[1]

    fresh = draw_case(tmp_path / "fresh")
    redraw(fresh)
    confirm = ("confirm", "--predictions", fresh.table, "--tested", fresh.test, "--out", case.out)
    assert safe(*confirm) == 2
    assert safe(*confirm, "--features", own_features(tmp_path / "fresh.npz", fresh.test)) == 0
    assert "label = night: confirmed" in capsys.readouterr().out
    own_features(features, case.test, case.improvement)
    assert safe(*select) == 2
    assert "test.npz, which has changed since" in capsys.readouterr().err


def test_a_table_of_units_goes_through_all_steps(fake_network, case, tmp_path, capsys):
    """As of a segmentation: where the sky is not found, it is missed."""
    rows = ["image,unit,label,predicted"]
    for image, _, predicted, *_ in csv.reader(
        (case.out.parent / "dnn" / "predictions.csv").read_text().splitlines()[1:]
    ):
        rows += [f"{image},{unit},{unit},{unit}" for unit in ("road", "car")]
        rows.append(f"{image},sky,sky,{'sky' if predicted == image.split('/')[0] else 'missed'}")
    (tmp_path / "units.csv").write_text("\n".join(rows))
    assert safe("failures", "--predictions", tmp_path / "units.csv", case.test, "--out", case.out) == 0
    text = capsys.readouterr()
    assert "26 failing units of 222" in text.out
    assert "label = sky: 26 of 74 (of 74 full images) are wrong" in text.out
    assert "The units are of 74 full images" in text.err
    assert safe("cluster", case.out / "failures", "--out", case.out) == 0
    text = capsys.readouterr().out
    assert "RCC 0" in text
    assert safe("select", case.improvement, "--size", 6, "--out", case.out) == safe("report", "--out", case.out) == 0
