"""`retrain` is killed at any point: the old model or the new one is there, whole, and the same command goes on."""

import json
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import pytest

from safe_dnn.dnn.predictions import labelled_images
from safe_dnn.rccs.clusters import save_clusters
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, load_unsafe_set, save_unsafe_set
from safe_dnn.report.exports import mend, show_present
from safe_dnn.training.checkpoint import CHECKPOINT_FILE, SECOND_CHECKPOINT_FILE
from safe_dnn.training.result import MODEL_FILE, RETRAINING_FILE
from tests.helpers.killing import Zygote
from tests.helpers.places import OWN
from tests.helpers.small_models import clusters_of, colour_model, draw_set, saved, unsafe_set

pytestmark = pytest.mark.slow

TINTED = {"red": ("blue", 4), "green": ("red", 4)}
EPOCHS = 3  # in each of the two passes


class Case(NamedTuple):
    """An output folder before a retraining (`old`, with another one's result) and after it, undisturbed (`new`)."""

    folder: Path
    old: Path
    new: Path
    operations: int
    zygote: Zygote

    def retrain(self, out: Path, epochs: int = EPOCHS, model: str = "model.keras", **more) -> dict:
        sets = ["--train", self.folder / "train", "--test", self.folder / "test"]
        labels = ["--improvement", self.folder / "improvement", "--epochs", epochs]
        how = ["--learning-rate", 0.05, "--batch-size", 8, "--out", out]
        arguments = ["retrain", self.folder / model, *sets, *labels, *how]
        return self.zygote.run(arguments, self.folder / "cache", network=True, **more)


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    folder = tmp_path_factory.mktemp("killed")
    saved(colour_model(), folder / "model.keras")
    draw_set(folder / "train", 10, seed=1)
    draw_set(folder / "improvement", 2, TINTED, seed=2)
    draw_set(folder / "test", 6, TINTED, seed=3)
    failing = {path: int(path[0] == "g") for path in labelled_images(folder / "test").paths if "/in_" in path}
    clusters = clusters_of(folder / "test", failing)
    old, new = folder / "old", folder / "new"
    old.mkdir()
    save_clusters(clusters, old)
    save_unsafe_set(unsafe_set(folder / "improvement", clusters), old)  # others: second pass
    show_present(old)
    with Zygote(folder) as zygote:
        case = Case(folder, old, new, 0, zygote)
        assert case.retrain(old, epochs=1)["status"] == 0, zygote.log
        shutil.copytree(old, new)
        done = case.retrain(new)
        assert done["status"] == 0, zygote.log
        yield case._replace(operations=done["operations"])


def large_model() -> Any:
    """A model of which a file takes half a megabyte, more than the database."""
    import keras

    small = colour_model()
    parts = [*small.layers[:-1], keras.layers.Dense(600), keras.layers.Dense(3, activation="softmax")]
    model = keras.Sequential([keras.Input(small.input_shape[1:]), *parts])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    return model


def weights_in(folder: Path) -> dict[str, list]:
    """The weights of the retrained model; all of the file is read."""
    found = {}
    with zipfile.ZipFile(folder / MODEL_FILE) as archive:
        assert archive.testzip() is None
        with archive.open("model.weights.h5") as file, h5py.File(file) as stored:
            stored.visititems(
                lambda name, item: found.update({name: item[()].tolist()} if hasattr(item, "dtype") else {})
            )
    return found


def result_in(folder: Path) -> dict:
    """What the retraining brought, without the times that it took."""
    record = json.loads((folder / RETRAINING_FILE).read_text())
    for row in (record, *record["history"]):
        row.pop("seconds")
    return record


def found_in(folder: Path) -> tuple[dict, dict, set[str]]:
    """The model, what it brought, and the labels of the unsafe set."""
    return weights_in(folder), result_in(folder), {image.label for image in load_unsafe_set(folder).images}


@pytest.fixture
def out(case) -> Iterator[Path]:
    """Where to copy an output folder to: beside the images, as before."""
    out = case.folder / "out"
    yield out
    out.chmod(0o755)
    shutil.rmtree(out)


def one_kill(case: Case, out: Path, **kill) -> bool:
    """Kill a retraining, look at what it left, and run it again; whether it was killed at all."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(case.old, out)
    first = case.retrain(out, **kill)
    mend(out)
    assert found_in(out) in (found_in(case.old), found_in(case.new))
    finished = result_in(out) == result_in(case.new) and not (out / CHECKPOINT_FILE).exists()
    second = case.retrain(out)
    assert second["status"] == 0, case.zygote.log
    # At most one epoch was begun and not kept.
    assert first["epochs"] + second["epochs"] <= 2 * EPOCHS + 1 or finished
    assert found_in(out) == found_in(case.new)
    assert (out / UNSAFE_SET_FILE).read_bytes() == (case.new / UNSAFE_SET_FILE).read_bytes()
    assert not (out / CHECKPOINT_FILE).exists()
    assert not (out / SECOND_CHECKPOINT_FILE).exists()
    return first["killed"]


def test_killed_before_any_operation_on_files_the_old_or_the_new_is_there_and_a_rerun_completes(case, out):
    last = case.operations
    assert last > 20
    # All epochs have the same operations, each of which is met in some epoch; what comes last is unlike all else.
    for point in sorted({*range(0, last, 3), *range(last - 12, last)}):
        assert one_kill(case, out, kill_at=point), point


@pytest.mark.parametrize(
    ("largest", "full"), [(9000, r"^safe: Could not use .*analysis\.db"), (200_000, r"epoch.*\nsafe: Could not ")]
)
def test_a_full_disk_is_an_error_in_a_sentence_and_leaves_the_old_model(case, out, largest, full):
    shutil.copytree(case.old, out)
    saved(large_model(), case.folder / "large.keras")
    found = case.retrain(out, epochs=2, model="large.keras", largest=largest)
    assert found["status"] == 2, case.zygote.log
    told = case.zygote.log
    assert re.search(full, told, re.DOTALL), told
    # Keras before 3.15 leaves its archive open, of which Python complains
    assert "Traceback" not in told.partition("Exception ignored in")[0]
    assert "this is a defect" not in told
    mend(out)
    assert found_in(out) == found_in(case.old)
    assert {path.name for path in out.rglob(".*")} <= OWN
