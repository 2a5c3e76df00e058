"""The models of an analysis: which there are, by which names, and what each of them says."""

import dataclasses
import json
from pathlib import Path

import pytest

from dnn.given_answers import read_answers
from reporting.models import BEFORE, answers_of, known_model, models_of
from support.errors import SAFEError
from support.run_folder import ACCURACY_FILE, PREDICTIONS_FILE, RETRAINING_FILE, ROUNDS_FOLDER, RUN_FILE
from tests.helpers.small_models import FakeModel, retraining_for
from tests.helpers.two_analyses import WRONG_A, WRONG_B, cluster, collect, draw_test
from training.compared import compare_answers
from training.comparison import Answered, Changed
from training.result import save_retraining


@pytest.fixture
def test_set(tmp_path):
    return draw_test(tmp_path / "test")


@pytest.fixture
def out(tmp_path, test_set):
    return collect(tmp_path / "out", test_set, WRONG_A, name="a")


def keys(folder: Path) -> list[str]:
    return [model.key for model in models_of(folder)]


def wrong_of(model) -> dict[str, str]:
    """What a model says of the images that it gets wrong."""
    given = answers_of(model).given
    images, (indices, predicted, _, right) = given.images, given.judgement
    return {images.paths[i]: images.classes[predicted[i]] for i in indices.tolist() if not right[i]}


def retrain(out: Path, *, weights: bytes, test: Path, model: str = "given.keras", now: str = "blue") -> None:
    """A retraining after which the only image, which was wrong before, is taken for `now`."""
    answer = Answered("blue/plain_00.png", "blue", "green", now)
    right = now == "blue"
    result = dataclasses.replace(
        retraining_for(""), model=Path(model), test_root=test, test_size=1, accuracy_before=0.0,
        accuracy_after=float(right), improved=(Changed(*answer),) if right else (), answers=(answer,),
    )  # fmt: skip
    save_retraining(result, FakeModel(weights), out)


def test_the_model_under_test_has_the_name_of_its_file_and_its_answers(out):
    [model] = models_of(out)
    assert model.key == ACCURACY_FILE
    assert model.name.startswith("a.csv, tested 20")
    assert wrong_of(model) == WRONG_A


def test_an_earlier_round_stays_a_model_of_its_own(out, test_set):
    cluster(out, dict.fromkeys(WRONG_A, 0))
    collect(out, test_set, WRONG_B, name="b")
    now, earlier = models_of(out)
    assert earlier.key.startswith(f"{ROUNDS_FOLDER}/20")
    assert (now.name[:5], earlier.name[:5]) == ("b.csv", "a.csv")
    assert (wrong_of(now), wrong_of(earlier)) == (WRONG_B, WRONG_A)


def test_each_retraining_is_there_once_the_latest_first_and_so_is_the_model_that_it_began_with(out, test_set):
    retrain(out, weights=b"first", test=test_set)
    retrain(out, weights=b"second", test=test_set, now="red")
    tested, latest, given, first = models_of(out)
    assert tested.key == ACCURACY_FILE
    assert latest.key.startswith("retrained_models/")
    assert given.key == latest.key + BEFORE
    assert given.name.startswith("given.keras, before it was retrained 20")
    assert first.name.startswith("given.keras, retrained 20")
    answers = [wrong_of(model) for model in (latest, given, first)]
    assert answers == [{"blue/plain_00.png": "red"}, {"blue/plain_00.png": "green"}, {}]


def test_the_model_that_a_retraining_began_with_is_not_there_twice(out, test_set):
    record = json.loads((out / ACCURACY_FILE).read_text())
    retrain(out, weights=b"first", test=Path(record["test_root"]), model=record["model"])
    assert len(models_of(out)) == 2


def test_networks_that_were_compared_by_tables_are_both_there(out, test_set):
    collect(out.parent / "elsewhere", test_set, WRONG_B, name="b")
    compare_answers(out.parent / "a.csv", out.parent / "b.csv", test_set, out)
    tested, after = models_of(out)
    assert after.key == RETRAINING_FILE
    assert after.name.startswith("b.csv, compared 20")
    assert (wrong_of(tested), wrong_of(after)) == (WRONG_A, WRONG_B)


def test_predictions_that_clusters_were_found_with_are_a_model(out, test_set):
    other = out.parent / "other"
    other.mkdir()
    record = {"predictions": {"source": str(out.parent / "a.csv"), "tested": str(test_set), "digest": "x"}}
    (other / RUN_FILE).write_text(json.dumps(record))
    [model] = models_of(other)
    assert model.name.endswith("/a.csv, predictions of the clusters")
    assert wrong_of(model) == WRONG_A == wrong_of(models_of(out)[0])
    record["predictions"]["source"] = str(other / PREDICTIONS_FILE)
    (other / RUN_FILE).write_text(json.dumps(record))
    assert models_of(other) == []  # it is that of the failures there


def test_answers_are_judged_as_those_of_the_table(out, test_set):
    kept, table = answers_of(models_of(out)[0]).given, read_answers(out.parent / "a.csv", test_set)
    assert kept.images.paths == table.images.paths
    assert kept.images.classes == table.images.classes
    assert kept.images.labels.tolist() == table.images.labels.tolist()
    assert kept.judgement.right.tolist() == table.judgement.right.tolist()


def test_an_unknown_model_is_refused_with_those_that_there_are(out):
    with pytest.raises(SAFEError, match=r"one of the models in .*accuracy\.json \(a\.csv, tested .*Received: \.\./x"):
        known_model(out, "../x")
    only = known_model(out)
    with pytest.raises(SAFEError, match=r"Expected another model .*Received: no other one"):
        known_model(out, other_than=only)
    with pytest.raises(SAFEError, match="whose answers to its test set are kept"):
        known_model(out.parent / "nothing")


def test_retrainings_without_all_answers_and_damaged_records_are_a_sentence(out, test_set):
    retrain(out, weights=b"first", test=test_set)
    model = models_of(out)[1]
    path = out / model.key
    record = json.loads(path.read_text())
    path.write_text(json.dumps({name: value for name, value in record.items() if name != "answers"}))
    with pytest.raises(SAFEError, match="a retraining by an earlier version, of which only the changed ones are kept"):
        answers_of(model)
    path.write_text("{}")
    assert keys(out) == [ACCURACY_FILE, RETRAINING_FILE, RETRAINING_FILE + BEFORE]
    (out / PREDICTIONS_FILE).write_text("damaged")
    with pytest.raises(SAFEError, match="missing or damaged"):
        answers_of(models_of(out)[0])


def test_images_outside_the_root_are_refused(out):
    [model] = models_of(out)
    answers_of(model, within=out.parent.resolve())
    with pytest.raises(SAFEError, match=r"below .*out \(--root\)\. Received: a\.csv"):
        answers_of(model, within=out.resolve())
