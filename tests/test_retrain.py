import dataclasses
import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest

from dbscan.outcome import NOISE
from dnn.failures import find_failures
from dnn.model import DnnOptions, load_dnn
from dnn.predictions import labelled_images, predict
from pipeline.summaries import retraining_details, retraining_summary
from rccs.clusters import fingerprint, save_clusters
from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from retrain import retrain, weighed
from support.errors import SAFEError
from support.run_folder import MODELS_FOLDER
from tests.helpers.places import names_in
from tests.helpers.small_models import brightness_model, clusters_of, colour_model, draw_colour, draw_set, saved
from training.comparison import find_in_test_set
from training.labels import Labelling
from training.result import load_retraining
from training.second_pass import fine_tune_twice
from training.settings import Wishes

TINTED = {"red": ("blue", 5), "green": ("red", 4)}
QUICK = {"learning_rate": 0.05, "epochs": 5, "batch_size": 8}


def unsafe_set(root: Path, clusters=None, label=False):
    """All tinted improvement images: RCC 0 is red in blue, RCC 1 green in red."""
    images = [path for path in labelled_images(root).paths if "/in_" in path]
    rows = tuple(
        UnsafeImage(path, int(path.startswith("green")), 0.5, True, path.split("/")[0] if label else "")
        for path in sorted(images, key=lambda path: path.startswith("green"))
    )
    belongs = fingerprint(clusters) if clusters is not None else "0" * 16
    return UnsafeSet(root, rows, len(rows), "N = 9, as requested", 20, (5, 4), (), belongs)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished retraining, to be looked at only."""
    return build(tmp_path_factory.mktemp("made"))


@pytest.fixture
def case(made, tmp_path):
    """A copy of that case, from before the retraining, to be done harm to."""
    folder = tmp_path / "case"
    shutil.copytree(made["folder"], folder)
    for name in ("retrained.keras", "retraining.json"):
        (folder / "out" / name).unlink()
    clusters = clusters_of(folder / "out" / "failures", made["labels"])
    save_clusters(clusters, folder / "out")
    save_unsafe_set(unsafe_set(folder / "improvement", clusters), folder / "out")
    return folder


def build(folder):
    model = saved(colour_model(), folder / "model.keras")
    draw_set(folder / "train", 10, seed=1)
    draw_set(folder / "improvement", 3, TINTED, seed=2)
    draw_set(folder / "test", 6, TINTED, seed=3)
    failures = find_failures(model, folder / "test", folder / "out")
    labels = {failure.source: int(failure.label == "green") for failure in failures.failing}
    labels["red/in_blue_04.png"] = NOISE
    clusters = clusters_of(folder / "out" / "failures", labels)
    save_clusters(clusters, folder / "out")
    save_unsafe_set(unsafe_set(folder / "improvement", clusters), folder / "out")
    given = model.read_bytes()
    result = run(folder)
    return {"folder": folder, "result": result, "given": given, "labels": labels}


def run(folder, **changes):
    """Retrain with the options of three records, or with callbacks, as keywords."""
    given = {**QUICK, **changes}
    options, labelling, wishes = (
        record(**{name: given.pop(name) for name in record._fields if name in given})
        for record in (DnnOptions, Labelling, Wishes)
    )
    return retrain(
        folder / "model.keras", folder / "train", folder / "test", folder / "out",
        options=options, labelling=labelling, wishes=wishes, **given,
    )  # fmt: skip


# --- What comes out ---------------------------------------------------------------------------------------------


def test_the_model_gets_better_where_it_failed(made):
    result = made["result"]
    assert result.accuracy_before == pytest.approx(18 / 27)
    assert result.accuracy_after > 0.95
    assert (result.test_size, result.train_size, result.unsafe_size) == (27, 30, 9)
    assert len(result.improved) - len(result.worsened) == round(27 * (result.accuracy_after - result.accuracy_before))
    assert all(change.label == change.after != change.before for change in result.improved)
    assert result.best > 0


def test_the_share_of_each_rcc_that_is_right_now_is_told(made):
    shares = {share.name: share for share in made["result"].per_rcc}
    assert {name: share.images for name, share in shares.items()} == {"0": 4, "1": 4, "-1": 1}
    assert all(share.before == 0 for share in shares.values())
    assert sum(share.after for share in shares.values()) == len(made["result"].improved)
    classes = {share.name: (share.images, share.before) for share in made["result"].per_class}
    assert classes == {"blue": (6, 6), "green": (10, 6), "red": (11, 6)}


def test_the_given_model_is_untouched_and_the_new_one_is_whole(made):
    folder = made["folder"]
    assert (folder / "model.keras").read_bytes() == made["given"]
    new = load_dnn(folder / "out" / "retrained.keras")
    test = labelled_images(folder / "test")
    predicted = predict(new, test.root, test.paths).outputs.argmax(axis=1)
    assert np.mean(predicted == test.labels) == pytest.approx(made["result"].accuracy_after)
    assert new.compiled["loss"]


def test_improvement_images_outside_the_unsafe_set_take_part_in_a_second_pass(made):
    result = made["result"]
    # 9 of the 18 improvement images are the unsafe set.
    assert (result.unlabelled_size, len(result.history)) == (9, 1 + 2 * QUICK["epochs"])
    assert "in the second one also with 9 improvement images without a label" in " ".join(result.assumptions)
    assert load_retraining(made["folder"] / "out").unlabelled_size == 9
    assert f"epoch {result.best} of 10 kept" in retraining_summary(result)


def test_on_request_there_is_one_pass(case):
    result = run(case, unlabelled=0)
    assert (result.unlabelled_size, len(result.history)) == (0, 1 + QUICK["epochs"])
    assert "pass" not in " ".join(result.assumptions)


def test_the_second_pass_is_told_how_likely_the_given_model_is_wrong(case, monkeypatch):
    given = []

    def tune(*arguments, likely_wrong, **others):
        given.append(likely_wrong)
        return fine_tune_twice(*arguments, likely_wrong=likely_wrong, **others)

    monkeypatch.setattr("retrain.fine_tune_twice", tune)
    result = run(case, **SHORT)
    # Of so few test images all are neighbours; what is no number is as unlike them as anything.
    wrong = given[0](np.array([[1, 0, 0], [np.nan] * 3], np.float32))
    assert wrong == pytest.approx(1 - result.accuracy_before)


@pytest.mark.slow
def test_images_that_are_not_known_to_be_improvement_images_take_no_part(case):
    (case / "improvement" / "red" / "linked.png").symlink_to(next((case / "test" / "red").iterdir()))
    (case / "improvement" / "red" / "again.png").symlink_to(next((case / "train" / "red").iterdir()))
    (case / "improvement" / "blue" / "damaged.png").write_bytes(b"no image")
    result = run(case)
    assert result.unlabelled_size == 9
    assert [Path(skipped.path).name for skipped in result.skipped] == ["damaged.png"]
    # Of a list, the folder around it may hold images of any kind.
    unsafe = load_unsafe_set(case / "out")
    save_unsafe_set(dataclasses.replace(unsafe, listed=True), case / "out")
    assert run(case).unlabelled_size == 0


@pytest.mark.slow
def test_with_the_aim_to_keep_the_original_network_answers_along(case):
    alone = run(case, aim="accuracy")
    together = run(case, aim="keep")
    expected = {one.share: (one.right, one.worsened) for one in together.trade_off}[0.3]
    assert (round(together.accuracy_after * 27), len(together.worsened)) == expected
    assert len(together.worsened) <= len(alone.worsened)
    assert any(
        text.startswith("Both networks answer together, the retrained one with a weight of 70%")
        for text in together.assumptions
    )
    assert "Both networks" not in alone.assumptions[-1]
    new = load_dnn(case / "out" / "retrained.keras")
    assert len(new.model.get_weights()) == 2 * len(load_dnn(case / "model.keras").model.get_weights())
    test = labelled_images(case / "test")
    predicted = predict(new, test.root, test.paths).outputs.argmax(axis=1)
    assert np.mean(predicted == test.labels) == pytest.approx(together.accuracy_after)


def test_what_both_networks_together_would_keep_is_told(made):
    found = made["result"].trade_off
    assert [one.share for one in found] == [0, 0.1, 0.2, 0.3, 0.4, 0.5]
    assert found[0].right == round(27 * made["result"].accuracy_after)
    assert [one.worsened for one in found] == sorted((one.worsened for one in found), reverse=True)
    assert any("--aim keep" in line for line in retraining_details(made["result"]))


def test_what_is_saved_is_what_is_loaded(made):
    loaded, result = load_retraining(made["folder"] / "out"), made["result"]
    assert np.isnan(loaded.history[0].loss)
    assert loaded.history[1:] == result.history[1:]
    for name in result.__dataclass_fields__:
        assert name == "history" or getattr(loaded, name) == getattr(result, name), name
    record = json.loads((made["folder"] / "out" / "retraining.json").read_text())
    assert record["accuracy_before"] == result.accuracy_before
    assert record["settings"]["epochs"] == 5
    assert any("output 0 is blue" in line for line in record["assumptions"])


def test_the_labels_that_the_class_folders_gave_are_kept(made):
    unsafe = load_unsafe_set(made["folder"] / "out")
    assert [image.label for image in unsafe.images] == ["red"] * 5 + ["green"] * 4


def test_failing_images_are_found_again_by_their_content(tmp_path):
    test = labelled_images(draw_set(tmp_path / "test", 2))
    copies = tmp_path / "copies"
    copies.mkdir()
    shutil.copy(tmp_path / "test" / "red" / "plain_01.png", copies / "renamed.png")
    draw_colour("red", np.random.default_rng(99)).save(copies / "foreign.png")
    found = find_in_test_set(clusters_of(copies, {"renamed.png": 0, "foreign.png": 0, "gone.png": 0}), test)
    assert {path: test.paths[i] for path, i in found.items()} == {"renamed.png": "red/plain_01.png"}


def test_of_equal_images_the_one_with_the_same_path_is_meant(tmp_path):
    draw_set(tmp_path / "test", 1)
    shutil.copy(tmp_path / "test" / "red" / "plain_00.png", tmp_path / "test" / "blue" / "plain_00.png")
    test = labelled_images(tmp_path / "test")
    found = find_in_test_set(clusters_of(tmp_path / "test", {"red/plain_00.png": 0}), test)
    assert test.paths[found["red/plain_00.png"]] == "red/plain_00.png"


def test_stopping_at_once_writes_the_given_model_again(case):
    result = run(case, should_stop=lambda: True)
    assert (result.best, result.stopped) == (0, "on request")
    assert result.accuracy_after == result.accuracy_before
    assert (result.improved, result.worsened) == ((), ())
    assert load_retraining(case / "out").stopped == "on request"


def test_rccs_weigh_the_same_in_training_only_where_they_got_the_same_number_of_images(tmp_path):
    draw_set(tmp_path, 1, TINTED)
    images = unsafe_set(tmp_path)
    assert weighed(dataclasses.replace(images, quota="equal")).tolist() == [image.rcc for image in images.images]
    assert set(weighed(dataclasses.replace(images, quota="size")).tolist()) == {0}


@pytest.mark.slow
def test_without_clusters_there_is_no_table_of_rccs(case):
    (case / "out" / "clusters.npz").unlink()
    assert run(case, epochs=1).per_rcc == ()


# --- Several seeds ----------------------------------------------------------------------------------------------


class CutOff(Exception):  # noqa: N818, it stands for a process that is killed
    pass


SHORT = {"epochs": 1, "seed": 2}  # so short that the accuracy depends on the seed


def in_repetition(number, act):
    """An `on_epoch` that acts before the first epoch of a repetition."""
    begun = []

    def on_epoch(history, passes):
        if len(history) == 1:
            begun.append(True)
            if len(begun) == number:
                act()

    return on_epoch


def raising(error):
    def act():
        raise error

    return act


def accuracy_of_the_file(folder):
    new, test = load_dnn(folder / "out" / "retrained.keras"), labelled_images(folder / "test")
    return np.mean(predict(new, test.root, test.paths).outputs.argmax(axis=1) == test.labels)


def weights_in_the_file(folder):
    return load_dnn(folder / "out" / "retrained.keras").model.get_weights()


@pytest.mark.slow
def test_of_several_seeds_the_model_with_the_median_accuracy_is_kept(case):
    steps = []
    result = run(case, **SHORT, seeds="5", progress=lambda what, done, total: steps.append(what))
    assert [one.seed for one in result.repetitions] == [2, 3, 4, 5, 6]
    accuracies = [one.accuracy_after for one in result.repetitions]
    assert min(accuracies) < max(accuracies)
    assert result.accuracy_after == sorted(accuracies)[2] == pytest.approx(accuracy_of_the_file(case))
    kept = next(one for one in result.repetitions if one.seed == result.settings.seed)
    changes = (result.accuracy_after, len(result.improved), len(result.worsened))
    assert changes == (kept.accuracy_after, kept.improved, kept.worsened)
    assert "Repetition 2 of 5: Pass 2 of 2: Retraining, epoch 1 of 1" in steps
    assert result.stopped == ""
    assert load_retraining(case / "out").repetitions == result.repetitions
    assert [name for name in names_in(case / "out") if name.endswith(".npz")] == ["clusters.npz"]
    kept_weights = weights_in_the_file(case)
    alone = run(case, epochs=1, seed=kept.seed)
    assert (alone.repetitions, alone.accuracy_after) == ((), result.accuracy_after)
    assert "repetitions" not in json.loads((case / "out" / "retraining.json").read_text())
    for mine, theirs in zip(weights_in_the_file(case), kept_weights, strict=True):
        assert (mine == theirs).all()


@pytest.mark.slow
def test_stopped_in_the_fourth_repetition_three_count(case):
    asked = []
    stop = in_repetition(4, lambda: asked.append(True))
    result = run(case, **SHORT, seeds=5, on_epoch=stop, should_stop=lambda: bool(asked))
    assert result.stopped == "on request, after 3 of 5 repetitions"
    assert len(result.repetitions) == 3
    assert result.accuracy_after == sorted(one.accuracy_after for one in result.repetitions)[1]
    assert result.accuracy_after == pytest.approx(accuracy_of_the_file(case))


def test_stopped_in_the_first_repetition_its_best_epoch_is_kept(case):
    result = run(case, seeds=5, should_stop=lambda: True)
    assert (result.best, result.stopped, result.repetitions) == (0, "on request", ())


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        pytest.param(SAFEError("Could not write it."), "Could not write it.", marks=pytest.mark.slow),
        pytest.param(OSError(28, "No space left on device"), "No space left on device", marks=pytest.mark.slow),
        pytest.param(MemoryError(), "memory ran out", marks=pytest.mark.slow),
    ],
)
def test_after_an_error_in_the_fourth_repetition_three_count(case, error, reason):
    result = run(case, **SHORT, seeds=5, on_epoch=in_repetition(4, raising(error)))
    assert result.stopped == f"after 3 of 5 repetitions, since the next one failed ({reason})"
    assert result.accuracy_after == sorted(one.accuracy_after for one in result.repetitions)[1]
    assert result.accuracy_after == pytest.approx(accuracy_of_the_file(case))
    assert "retraining_seeds.npz" not in names_in(case / "out")


def test_an_error_in_the_first_repetition_is_told(case):
    with pytest.raises(MemoryError):
        run(case, seeds=5, on_epoch=in_repetition(1, raising(MemoryError())))
    assert "retrained.keras" not in names_in(case / "out")


@pytest.mark.slow
def test_a_killed_run_does_not_repeat_what_it_has_finished(case):
    whole = run(case, **SHORT, seeds=4)
    (case / "out" / "retrained.keras").unlink()
    with pytest.raises(CutOff):
        run(case, **SHORT, seeds=4, on_epoch=in_repetition(3, raising(CutOff())))
    steps = []
    resumed = run(case, **SHORT, seeds=4, progress=lambda what, done, total: steps.append(what))
    assert {what[:17] for what in steps if "Repetition" in what} == {"Repetition 3 of 4", "Repetition 4 of 4"}
    assert resumed.repetitions == whole.repetitions
    assert (resumed.settings, resumed.improved) == (whole.settings, whole.improved)
    assert resumed.accuracy_after == pytest.approx(accuracy_of_the_file(case))


@pytest.mark.parametrize("seeds", ["0", "-2", "some", "100"])
def test_a_bad_number_of_seeds_is_refused_before_any_work(case, seeds):
    with pytest.raises(SAFEError, match="whole number from 1 to 99"):
        run(case, seeds=seeds, progress=raising(AssertionError))
    with pytest.raises(SAFEError, match="seed must be a whole number"):
        run(case, seeds=2, seed=2**31 - 1)


# --- Labels -----------------------------------------------------------------------------------------------------


def flat_improvement(case):
    """Improvement images in no class folders, as a camera gives them."""
    unsafe = load_unsafe_set(case / "out")
    flat = case / "flat"
    flat.mkdir()
    names = [image.image.replace("/", "_") for image in unsafe.images]
    for image, name in zip(unsafe.images, names, strict=True):
        shutil.copy(unsafe.improvement_root / image.image, flat / name)
    rows = tuple(image._replace(image=name, label="") for image, name in zip(unsafe.images, names, strict=True))
    save_unsafe_set(UnsafeSet(flat, rows, 9, "N = 9", 9, (5, 4), (), unsafe.clusters), case / "out")
    return names


def test_an_unlabelled_image_is_refused_or_left_out(case):
    names = flat_improvement(case)
    with pytest.raises(SAFEError, match="none for 9"):
        run(case)
    (case / "labels.csv").write_text("image,label\n" + "".join(f"{name},{name.split('_')[0]}\n" for name in names[2:]))
    with pytest.raises(SAFEError, match=f"none for 2: {names[0]}, {names[1]}"):
        run(case, labels=case / "labels.csv")
    assert sum(bool(image.label) for image in load_unsafe_set(case / "out").images) == 7
    assert run(case, only_labelled=True, epochs=1).unsafe_size == 7


def test_a_label_that_is_no_class_is_refused(case):
    names = flat_improvement(case)
    (case / "labels.csv").write_text("image,label\n" + "".join(f"{name},violet\n" for name in names))
    with pytest.raises(SAFEError, match="Received: violet, for 9 images"):
        run(case, labels=case / "labels.csv")


# --- What does not fit ------------------------------------------------------------------------------------------


def test_a_class_without_training_images_is_refused(case):
    for file in (case / "train" / "blue").iterdir():
        file.unlink()
    with pytest.raises(SAFEError, match="Received none of blue"):
        run(case)


def test_a_model_of_other_classes_is_refused(case):
    (case / "train" / "yellow").mkdir()
    draw_colour("red", np.random.default_rng(0)).save(case / "train" / "yellow" / "a.png")
    with pytest.raises(SAFEError, match=r"each of the model's 3 classes\. Received 4"):
        run(case)
    assert "retrained.keras" not in names_in(case / "out")


def test_a_test_class_that_training_lacks_is_refused(case):
    (case / "test" / "red").rename(case / "test" / "rot")
    with pytest.raises(SAFEError, match="Received rot"):
        run(case)


def test_an_empty_class_of_the_test_set_is_said(case):
    shutil.rmtree(case / "test" / "blue")
    result = run(case, epochs=1)
    assert any("No image of blue" in line for line in result.assumptions)
    assert [share.images for share in result.per_class] == [0, 10, 11]


def test_training_on_the_test_set_is_refused(case):
    with pytest.raises(SAFEError, match="neither inside the other"):
        retrain(case / "model.keras", case / "test", case / "test", case / "out")
    save_unsafe_set(unsafe_set(case / "test"), case / "out")
    (case / "out" / "clusters.npz").unlink()
    with pytest.raises(SAFEError, match="no test images in the unsafe set"):
        run(case)


def test_an_unsafe_set_of_other_clusters_is_refused(case):
    save_unsafe_set(unsafe_set(case / "improvement"), case / "out")
    with pytest.raises(SAFEError, match="Select it again"):
        run(case)


def test_without_an_unsafe_set_there_is_nothing_to_retrain_with(case):
    (case / "out" / "unsafe_set.csv").unlink()
    with pytest.raises(SAFEError, match="Expected an unsafe set"):
        run(case)


def test_the_given_model_is_never_the_one_that_is_written(case):
    shutil.copy(case / "model.keras", case / "out" / "retrained.keras")
    before = (case / "out" / "retrained.keras").read_bytes()
    with pytest.raises(SAFEError, match="Copy it to another name"):
        retrain(case / "out" / "retrained.keras", case / "train", case / "test", case / "out")
    assert (case / "out" / "retrained.keras").read_bytes() == before


def test_unreadable_images_are_named_and_the_rest_is_used(case):
    for path in ("train/red/plain_00.png", "test/blue/plain_00.png", "improvement/red/in_blue_00.png"):
        (case / path).write_bytes(b"no image")
    result = run(case, epochs=1)
    assert (result.train_size, result.unsafe_size, result.test_size) == (29, 8, 26)
    assert len(result.skipped) == 3


# Keras before 3.15 leaves its archive open
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_while_saving_leaves_everything_as_it_was(case):
    (case / "out" / "retrained.keras").write_bytes(b"the model of before")
    given = (case / "model.keras").read_bytes()
    before = names_in(case / "out")
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def leave_no_room(history, passes):
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))

    try:
        with pytest.raises(SAFEError, match=r"Could not write .*retrained\.keras"):
            run(case, epochs=1, on_epoch=leave_no_room)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (case / "out" / "retrained.keras").read_bytes() == b"the model of before"
    assert (case / "model.keras").read_bytes() == given
    assert {*names_in(case / "out")} - {*before} <= {MODELS_FOLDER, ".safe.lock", ".safe-work.lock", ".safe.json"}


def test_missing_and_damaged_results_are_told_apart(tmp_path):
    with pytest.raises(SAFEError, match="Received none"):
        load_retraining(tmp_path)
    (tmp_path / "retraining.json").write_text("{}")
    with pytest.raises(SAFEError, match="damaged"):
        load_retraining(tmp_path)


# --- Regression -------------------------------------------------------------------------------------------------


def test_a_regression_is_retrained_from_a_table_of_targets(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["image,red,blue"]
    for part, plain, tinted in (("train", 20, 0), ("test", 10, 10), ("improvement", 0, 8)):
        (tmp_path / part).mkdir()
        for i in range(plain + tinted):
            image = draw_colour("red" if i % 2 else "blue", rng, "green" if i >= plain else None)
            image.save(tmp_path / part / f"{i}.png")
            # The targets are the colour of the left column, tinted or not.
            red, _, blue = np.asarray(image)[:, 0].mean(axis=0) / 255
            lines.append(f"{part}/{i}.png,{red},{blue}")
    (tmp_path / "targets.csv").write_text("\n".join(lines) + "\n")
    saved(brightness_model(), tmp_path / "model.keras")
    rows = tuple(UnsafeImage(f"{i}.png", i % 2, 0.5, True) for i in range(8))
    out = tmp_path / "out"
    out.mkdir()
    save_unsafe_set(UnsafeSet(tmp_path / "improvement", rows, 8, "N = 8", 8, (4, 4), (), "0" * 16), out)
    result = run(tmp_path, targets=tmp_path / "targets.csv", threshold=0.15, learning_rate=0.005, epochs=12)
    assert result.accuracy_before == pytest.approx(0.5)
    assert result.accuracy_after >= 0.7
    assert result.per_class == ()
    assert load_retraining(out).threshold == 0.15
    bare = {line.split(",")[0]: line for line in (line.rpartition("/")[2] for line in lines)}
    (tmp_path / "targets.csv").write_text("\n".join(bare.values()) + "\n")
    with pytest.raises(SAFEError, match="matches images of two folders"):
        run(tmp_path, targets=tmp_path / "targets.csv", threshold=0.15)
    (tmp_path / "targets.csv").write_text("\n".join(line for line in lines if line[:13] != "improvement/3") + "\n")
    with pytest.raises(SAFEError, match=r"none for 1: 3\.png"):
        run(tmp_path, targets=tmp_path / "targets.csv", threshold=0.15)
