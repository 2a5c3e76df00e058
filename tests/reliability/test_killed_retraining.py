"""`retrain` is killed at any point: the old model or the new one is there, whole, and the same command goes on."""

import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np
import pytest

from dnn.predictions import labelled_images
from rccs.clusters import fingerprint, save_clusters
from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from support.run_folder import (
    CHECKPOINT_FILE,
    LOCK_FILE,
    MARK_FILE,
    MODEL_FILE,
    RETRAINING_FILE,
    SECOND_CHECKPOINT_FILE,
    UNSAFE_SET_FILE,
    WORK_FILE,
)
from tests.helpers.killing import Zygote
from tests.helpers.small_models import clusters_of, colour_model, draw_set, saved

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

    def retrain(self, out: Path, epochs: int = EPOCHS, **more) -> dict:
        sets = ["--train", self.folder / "train", "--test", self.folder / "test"]
        labels = ["--improvement", self.folder / "improvement", "--epochs", epochs]
        how = ["--learning-rate", 0.05, "--batch-size", 8, "--out", out]
        arguments = ["retrain", self.folder / "model.keras", *sets, *labels, *how]
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
    paths = [path for path in labelled_images(folder / "improvement").paths if "/in_" in path]  # others: second pass
    images = tuple(UnsafeImage(path, int(path[0] == "g"), 0.5, True) for path in paths)
    unsafe = UnsafeSet(folder / "improvement", images, 8, "N = 8", 8, (4, 4), (), fingerprint(clusters))
    old, new = folder / "old", folder / "new"
    old.mkdir()
    save_clusters(clusters, old)
    save_unsafe_set(unsafe, old)
    with Zygote(folder) as zygote:
        case = Case(folder, old, new, 0, zygote)
        assert case.retrain(old, epochs=1)["status"] == 0, zygote.log
        shutil.copytree(old, new)
        done = case.retrain(new)
        assert done["status"] == 0, zygote.log
        yield case._replace(operations=done["operations"])


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
        row.pop("waiting", None)
    del record["digest"]  # a .keras file holds the time at which it was written
    return record


def one_kill(case: Case, out: Path, **kill) -> bool:
    """Kill a retraining, look at what it left, and run it again; whether it was killed at all."""
    shutil.rmtree(out, ignore_errors=True)
    shutil.copytree(case.old, out)
    first = case.retrain(out, **kill)
    assert weights_in(out) in (weights_in(case.old), weights_in(case.new))
    assert result_in(out) in (result_in(case.old), result_in(case.new))
    finished = result_in(out) == result_in(case.new) and not (out / CHECKPOINT_FILE).exists()
    assert {image.label for image in load_unsafe_set(out).images} == {"red", "green"}
    second = case.retrain(out)
    assert second["status"] == 0, case.zygote.log
    # At most one epoch was begun and not kept.
    assert first["epochs"] + second["epochs"] <= 2 * EPOCHS + 1 or finished
    assert weights_in(out) == weights_in(case.new)
    assert result_in(out) == result_in(case.new)
    assert (out / UNSAFE_SET_FILE).read_bytes() == (case.new / UNSAFE_SET_FILE).read_bytes()
    assert not (out / CHECKPOINT_FILE).exists()
    assert not (out / SECOND_CHECKPOINT_FILE).exists()
    return first["killed"]


def test_killed_before_any_operation_on_files_the_old_or_the_new_is_there_and_a_rerun_completes(case, tmp_path):
    last = case.operations
    assert last > 20
    for point in range(last):
        assert one_kill(case, tmp_path / "out", kill_at=point), point


def test_killed_at_random_moments_the_old_or_the_new_is_there_and_a_rerun_completes(case, tmp_path):
    rng = np.random.default_rng(0)
    killed = sum(one_kill(case, tmp_path / "out", after=float(rng.uniform(0.02, 1.5)), delay=0.1) for _ in range(30))
    print(f"{killed} of 30 killed")
    assert killed > 15


@pytest.mark.parametrize("largest", [9000, 20_000])
def test_a_full_disk_is_an_error_in_a_sentence_and_leaves_the_old_model(case, tmp_path, largest):
    out = tmp_path / "out"
    shutil.copytree(case.old, out)
    found = case.retrain(out, epochs=2, largest=largest)
    assert found["status"] == 2, case.zygote.log
    told = case.zygote.log
    assert "\nsafe: Could not write" in told
    # Keras before 3.15 leaves its archive open, of which Python complains
    assert "Traceback" not in told.partition("Exception ignored in")[0]
    assert "this is a defect" not in told
    assert weights_in(out) == weights_in(case.old)
    assert result_in(out) == result_in(case.old)
    assert {path.name for path in out.rglob(".*")} <= {LOCK_FILE, WORK_FILE, MARK_FILE}


def test_an_output_folder_that_is_read_only_is_refused_before_the_work(case, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(case.old, out)
    out.chmod(0o555)
    found = case.retrain(out, bound=True)
    assert (found["status"], found["epochs"]) == (2, 0), case.zygote.log
    assert case.zygote.log.startswith("safe: The output folder must be a folder that SAFE can write to.")
    assert weights_in(out) == weights_in(case.old)
