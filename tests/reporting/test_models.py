"""The models of an analysis: which there are, by which names, and what each of them says."""

import dataclasses
from pathlib import Path

import pytest

from reporting.models import BEFORE, answers_of, known_model, models_of
from support.errors import SAFEError
from support.run_folder import ACCURACY_FILE
from tests.helpers.small_models import FakeModel, retraining_for
from tests.helpers.two_analyses import WRONG_A, collect, draw_test
from training.comparison import Answered
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
        accuracy_after=float(right), improved=(Answered(*answer),) if right else (), answers=(answer,),
    )  # fmt: skip
    save_retraining(result, FakeModel(weights), out)


def test_the_model_under_test_has_the_name_of_its_file_and_its_answers(out):
    [model] = models_of(out)
    assert model.key == ACCURACY_FILE
    assert model.name.startswith("a.csv, tested 20")
    assert wrong_of(model) == WRONG_A


def test_each_retraining_is_there_once_the_latest_first_and_so_is_the_model_that_it_began_with(out, test_set):
    retrain(out, weights=b"first", test=test_set)
    retrain(out, weights=b"second", test=test_set, now="red")
    tested, latest, given, first = models_of(out)
    assert tested.key == ACCURACY_FILE
    assert latest.key.startswith("runs/")
    assert given.key == latest.key + BEFORE
    assert given.name.startswith("given.keras, before it was retrained 20")
    assert first.name.startswith("given.keras, retrained 20")
    answers = [wrong_of(model) for model in (latest, given, first)]
    assert answers == [{"blue/plain_00.png": "red"}, {"blue/plain_00.png": "green"}, {}]


def test_an_unknown_model_is_refused_with_those_that_there_are(out):
    with pytest.raises(SAFEError, match=r"one of the models in .*accuracy\.json \(a\.csv, tested .*Received: \.\./x"):
        known_model(out, "../x")
    only = known_model(out)
    with pytest.raises(SAFEError, match=r"Expected another model .*Received: no other one"):
        known_model(out, other_than=only)
    with pytest.raises(SAFEError, match="whose answers to its test set are kept"):
        known_model(out.parent / "nothing")


def test_images_outside_the_root_are_refused(out):
    [model] = models_of(out)
    answers_of(model, within=out.parent.resolve())
    with pytest.raises(SAFEError, match=r"below .*out \(--root\)\. Received: a\.csv"):
        answers_of(model, within=out.resolve())
