import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.dnn.predictions import labelled_images
from safe_dnn.rccs.clusters import load_clusters, save_clusters
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, save_unsafe_set
from safe_dnn.reasons.run_record import groups_of
from safe_dnn.report.exports import show_unsafe_set
from safe_dnn.training.result import load_retraining
from tests.helpers.fake_network import FakeNetwork
from tests.helpers.places import names_in, rows_in
from tests.helpers.small_models import clusters_of, colour_model, draw_set, lambda_model, saved, unsafe_set


@pytest.fixture
def out(sets, tmp_path):
    """An output folder after steps 1 to 4."""
    out = tmp_path / "out"
    failing = {path: int(path.startswith("green")) for path in labelled_images(sets / "test").paths if "/in_" in path}
    clusters = clusters_of(sets / "test", failing)
    out.mkdir()
    save_clusters(clusters, out)
    save_unsafe_set(unsafe_set(sets / "improvement", clusters), out)
    return out


def command(*arguments):
    return SAFE_Tool.main([str(argument) for argument in arguments])


def retraining(sets, out, *more):
    sources = ("--train", sets / "train", "--test", sets / "test")
    quick = ("--epochs", 5, "--learning-rate", 0.05, "--batch-size", 8)
    return command("retrain", sets / "model.keras", *sources, "--out", out, *quick, *more)


def test_retraining_is_told_with_the_rate_of_each_reason(sets, out, capsys):
    assert retraining(sets, out, "--improvement", sets / "improvement", "--one-pass") == 0
    printed = capsys.readouterr()
    assert len(load_retraining(out).history) == 6
    assert "test accuracy 69.23% → " in printed.out
    assert "RCC 0: 100% → 0% wrong of 4 images (95% interval 0–60%)" in printed.out
    assert "Retraining, epoch 1 of 5" in printed.err
    assert {"retrained.keras", "retraining.json"} <= set(names_in(out))
    assert {row["label"] for row in rows_in(out / UNSAFE_SET_FILE)} == {"red", "green"}


def typed(out, *changes):
    """Change the table of the unsafe set as somebody does in another program."""
    show_unsafe_set(out)
    text = (out / UNSAFE_SET_FILE).read_text()
    for image, label in changes:
        text = text.replace(f"{image},0,0.5,true,", f"{image},0,0.5,true,{label}")
    (out / UNSAFE_SET_FILE).write_text(text)


TAKEN = "safe: 2 labels typed into unsafe_set.csv in another program were taken over."
IMAGES = ("red/in_blue_00.png", "red/in_blue_01.png")


def test_labels_typed_into_the_table_are_taken_over_and_said_even_if_others_are_missing(sets, out, capsys):
    typed(out, (IMAGES[0], "red"), (IMAGES[1], "violet"))
    assert retraining(sets, out, "--only-labelled") == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == TAKEN
    assert "Received: violet, for 1 image" in lines[-1]
    assert retraining(sets, out, "--only-labelled") == 2
    assert "taken over" not in capsys.readouterr().err


@pytest.mark.parametrize("work", [("cluster",), ("select", "--size", 3)])
def test_labels_typed_into_the_table_are_taken_over_and_said_before_it_is_replaced(out, capsys, work):
    typed(out, (IMAGES[0], "red"), (IMAGES[1], "violet"))
    assert command(work[0], out / "gone", *work[1:], "--out", out) == 2
    assert capsys.readouterr().err.splitlines()[0] == TAKEN


def test_a_model_with_a_lambda_layer_needs_the_option(sets, tmp_path, capsys):
    path = saved(lambda_model(1 / 255), tmp_path / "lambda.keras")
    assert command("failures", path, sets / "test", "--out", tmp_path / "out") == 2
    assert "--trust-model" in capsys.readouterr().err
    assert command("failures", path, sets / "test", "--out", tmp_path / "out", "--trust-model") == 0


@pytest.mark.slow
def test_ctrl_c_keeps_the_best_epoch_so_far(sets, out):
    tool = Path(SAFE_Tool.__file__)
    words = ["retrain", sets / "model.keras", "--train", sets / "train", "--test", sets / "test", "--out", out]
    words += ["--improvement", sets / "improvement", "--epochs", "5000", "--learning-rate", "0.01"]
    process = subprocess.Popen(
        [sys.executable, tool, *words], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=tool.parent
    )
    for line in process.stderr:
        if "epoch 3 of" in line:
            process.send_signal(signal.SIGINT)
            break
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "stopped: on request" in printed
    assert json.loads((out / "retraining.json").read_text())["stopped"] == "on request"


# --- What a retraining may claim --------------------------------------------------------------------------------


TINTED = {"red": ("blue", 24), "green": ("red", 24)}
QUICK = ("--epochs", 5, "--learning-rate", 0.05, "--batch-size", 8, "--one-pass")


@pytest.fixture(scope="module")
def claims(tmp_path_factory):
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


def steps_before_retraining(claims: Path, out: Path, *hold_out: object) -> None:
    assert command("failures", claims / "model.keras", claims / "test" / "images", *hold_out, "--out", out) == 0
    assert command("cluster", out / "failures", "--extractor", "vgg16-conv", "--out", out) == 0
    given = ("--model", claims / "model.keras", "--test", claims / "test" / "images", "--size", 12)
    assert command("select", claims / "improvement", *given, "--out", out) == 0


def retraining_of(claims: Path, out: Path, *more: object) -> int:
    folders = ("--train", claims / "train", "--test", claims / "test" / "images")
    more = ("--improvement", claims / "improvement", *more)
    return command("retrain", claims / "model.keras", *folders, *QUICK, *more, "--out", out)


@pytest.mark.slow
def test_images_that_are_held_out_prove_the_gain_and_take_part_in_nothing_else(
    claims, tmp_path, capsys, fake_network: FakeNetwork
):
    out = tmp_path / "out"
    steps_before_retraining(claims, out, "--hold-out", 0.34, "--group", "person")
    rows = rows_in(out / "predictions.csv")
    held = {row["image"] for row in rows if row["held_out"] == "true"}
    person = dict(line.split(",") for line in (claims / "test" / "parameters.csv").read_text().splitlines()[1:])
    assert len(rows) == len(person) == 84
    assert not {person[path] for path in held} & {person[path] for path in person.keys() - held}
    assert not any(row["predicted"] or row["right"] for row in rows if row["image"] in held)
    assert f"{len(held)} held out" in capsys.readouterr().out

    assert groups_of(out) == ("person",)  # what was held out in groups is not independent elsewhere either
    clusters = load_clusters(out)
    assert not held & set(clusters.paths)
    assert sum(row["image"] not in held for row in rows) == json.loads((out / "accuracy.json").read_text())["test_size"]
    assert retraining_of(claims, out) == 0
    printed = capsys.readouterr().out
    result = load_retraining(out)
    assert not held & {answer.image for answer in result.answers}
    assert result.final.counts.images == len(held)
    assert result.final.counts.improved > 0
    assert (result.final.sure.groups, result.final.sure.group) == (len({person[path] for path in held}), "person")
    record = json.loads((out / "retraining.json").read_text())
    assert {answer["image"] for answer in record["final"]["answers"]} == held
    headline = record["headline"]
    assert headline in printed.splitlines()
    assert headline.endswith(f"on {len(held)} images that were held out and chose nothing")
    assert "McNemar by 4 persons p" in headline
    assert "  On the test images that also chose the RCCs and the unsafe set: +" in printed
    assert command("report", "--out", out) == 0
    assert "held out and chose nothing" in (out / "report.html").read_text()
    assert command("evidence", "--out", out) == 0
    assert "\nfinal-test: " in (out / "evidence.txt").read_text()
    sums = (out / "SHA256SUMS").read_text()
    assert all(f"/{image}\n" in sums for image in held)

    # Another time, or on a copy of the test set, the same images prove it; a test set of its own is better.
    copy = shutil.copytree(claims / "test" / "images", tmp_path / "copy")
    accuracy = (out / "accuracy.json").read_text()
    (out / "accuracy.json").write_text(accuracy.replace('"person"', ""))
    assert retraining_of(claims, out, "--test", copy) == 0
    assert f"on {len(held)} images that were held out" in capsys.readouterr().out
    assert any(line.startswith("Held out one by one, not by person") for line in load_retraining(out).assumptions)
    (out / "accuracy.json").write_text(accuracy)
    assert retraining_of(claims, out) == 0
    assert "they were looked at after 1 earlier retraining as well: choose no model" in capsys.readouterr().out
    assert retraining_of(claims, out, "--final-test", claims / "train") == 2
    assert "final test images found among the training images, by their content" in capsys.readouterr().err
    assert retraining_of(claims, out, "--final-test", claims / "final") == 0
    assert "on 56 images that are a test set of their own and chose nothing" in capsys.readouterr().out
    assert not held & {answer.image for answer in load_retraining(out).answers}
