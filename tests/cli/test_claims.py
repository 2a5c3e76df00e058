"""What a retraining may claim, through the command line: images that chose nothing prove it."""

import json
import shutil
from pathlib import Path

import pytest

import SAFE_Tool
from dnn.predictions import labelled_images
from pipeline.run_record import groups_of
from rccs.clusters import load_clusters
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.places import rows_in
from tests.helpers.small_models import colour_model, draw_set, saved
from training.result import load_retraining

TINTED = {"red": ("blue", 24), "green": ("red", 24)}
QUICK = ("--epochs", 5, "--learning-rate", 0.05, "--batch-size", 8, "--one-pass")


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("claims")
    saved(colour_model(), folder / "model.keras")
    draw_set(folder / "train", 10, seed=1)
    draw_set(folder / "improvement", 2, {"red": ("blue", 9), "green": ("red", 9)}, seed=2)
    draw_set(folder / "test" / "images", 12, TINTED, seed=3)
    draw_set(folder / "final", 8, {"red": ("blue", 16), "green": ("red", 16)}, seed=4)
    paths = labelled_images(folder / "test" / "images").paths
    rows = [f"{path},p{i % 12:02d}" for i, path in enumerate(paths)]
    (folder / "test" / "parameters.csv").write_text("\n".join(["image,person", *rows]))
    return folder


def command(*arguments):
    return SAFE_Tool.main([str(argument) for argument in arguments])


def steps_before_retraining(sets: Path, out: Path, *hold_out: object) -> None:
    assert command("failures", sets / "model.keras", sets / "test" / "images", *hold_out, "--out", out) == 0
    assert command("cluster", out / "failures", "--extractor", "vgg16-conv", "--out", out) == 0
    given = ("--model", sets / "model.keras", "--test", sets / "test" / "images", "--size", 12)
    assert command("select", sets / "improvement", *given, "--out", out) == 0


def retraining(sets: Path, out: Path, *more: object) -> int:
    folders = ("--train", sets / "train", "--test", sets / "test" / "images", "--improvement", sets / "improvement")
    return command("retrain", sets / "model.keras", *folders, *QUICK, *more, "--out", out)


@pytest.mark.slow
def test_images_that_are_held_out_prove_the_gain_and_take_part_in_nothing_else(
    sets, tmp_path, capsys, fake_network: FakeNetwork
):
    out = tmp_path / "out"
    steps_before_retraining(sets, out, "--hold-out", 0.34, "--group", "person")
    rows = rows_in(out / "predictions.csv")
    held = {row["image"] for row in rows if row["held_out"] == "true"}
    person = dict(line.split(",") for line in (sets / "test" / "parameters.csv").read_text().splitlines()[1:])
    assert len(rows) == len(person) == 84
    assert not {person[path] for path in held} & {person[path] for path in person.keys() - held}
    assert not any(row["predicted"] or row["right"] for row in rows if row["image"] in held)
    assert f"{len(held)} held out" in capsys.readouterr().out

    assert groups_of(out) == ("person",)  # what was held out in groups is not independent elsewhere either
    clusters = load_clusters(out)
    assert not held & set(clusters.paths)
    assert sum(row["image"] not in held for row in rows) == json.loads((out / "accuracy.json").read_text())["test_size"]
    assert retraining(sets, out) == 0
    printed = capsys.readouterr().out
    result = load_retraining(out)
    assert not held & {answer.image for answer in result.answers}
    assert result.final.counts.images == len(held)
    assert result.final.counts.improved > 0
    assert (result.final.sure.groups, result.final.sure.group) == (len({person[path] for path in held}), "person")
    headline = json.loads((out / "retraining.json").read_text())["headline"]
    assert headline in printed.splitlines()
    assert headline.endswith(f"on {len(held)} images that were held out and chose nothing")
    assert "McNemar by 4 persons p" in headline
    assert "  On the test images that also chose the RCCs and the unsafe set: +" in printed
    assert command("report", "--out", out) == 0
    assert "held out and chose nothing" in (out / "report.html").read_text()

    # Another time, or on a copy of the test set, the same images prove it; a test set of its own is better.
    copy = shutil.copytree(sets / "test" / "images", tmp_path / "copy")
    assert retraining(sets, out, "--test", copy) == 0
    assert f"on {len(held)} images that were held out" in capsys.readouterr().out
    assert retraining(sets, out) == 0
    assert "they were looked at after 1 earlier retraining as well: choose no model" in capsys.readouterr().out
    assert retraining(sets, out, "--final-test", sets / "final") == 0
    assert "on 56 images that are a test set of their own and chose nothing" in capsys.readouterr().out
    assert not held & {answer.image for answer in load_retraining(out).answers}
