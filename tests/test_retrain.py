import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from safe_dnn.dnn.failures import find_failures
from safe_dnn.dnn.model import load_dnn
from safe_dnn.dnn.predictions import labelled_images, predict
from safe_dnn.options import DnnOptions, ImageSets, Labelling, SelectionSettings, Wishes
from safe_dnn.rccs.clusters import load_clusters, save_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from safe_dnn.report.exports import show_present
from safe_dnn.report.summary_lines import retraining_summary
from safe_dnn.retrain import retrain
from safe_dnn.selection import select_unsafe_set
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.earlier import kept_copy, learned_files, take_over
from safe_dnn.training.finetuning import Watch
from safe_dnn.training.result import MODEL_FILE, load_retraining
from tests.helpers import small_models

TINTED = {"red": ("blue", 5), "green": ("red", 4)}
QUICK = {"learning_rate": 0.05, "epochs": 5, "batch_size": 8}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A finished retraining, to be looked at only."""
    return build(tmp_path_factory.mktemp("made"))


@pytest.fixture
def case(made, tmp_path):
    """A copy of that case, from before the retraining, to be done harm to."""
    folder = tmp_path / "case"
    shutil.copytree(made["before"], folder)
    return folder


def build(folder):
    model = small_models.saved(small_models.colour_model(), folder / "model.keras")
    small_models.draw_set(folder / "train", 10, seed=1)
    small_models.draw_set(folder / "improvement", 3, TINTED, seed=2)
    small_models.draw_set(folder / "test", 6, TINTED, seed=3)
    failures = find_failures(model, folder / "test", folder / "out")
    labels = {path: int(path.startswith("green/")) for path in failures.failing}
    labels["red/in_blue_04.png"] = NOISE
    clusters = small_models.clusters_of(folder / "out" / "failures", labels)
    save_clusters(clusters, folder / "out")
    save_unsafe_set(small_models.unsafe_set(folder / "improvement", clusters), folder / "out")
    given, before = model.read_bytes(), folder.with_name(f"{folder.name}-before")
    shutil.copytree(folder, before)
    result = run(folder)
    return {"folder": folder, "before": before, "result": result, "given": given}


def run(folder, **changes):
    """Retrain with the options of four records as keywords."""
    given = {**QUICK, **changes}
    options, labelling, wishes, watch = (
        record(**{name: given.pop(name) for name in record._fields if name in given})
        for record in (DnnOptions, Labelling, Wishes, Watch)
    )
    images = ImageSets(folder / "train", folder / "test", labelling=labelling, **given)
    return retrain(folder / "model.keras", images, folder / "out", options=options, wishes=wishes, watch=watch)


# --- What comes out ---------------------------------------------------------------------------------------------


def test_the_model_gets_better_where_it_failed(made):
    result = made["result"]
    assert result.accuracy_before == pytest.approx(18 / 27)
    assert result.accuracy_after > 0.95
    assert (result.test_size, result.train_size, result.unsafe_size) == (27, 30, 9)
    assert len(result.improved) - len(result.worsened) == round(27 * (result.accuracy_after - result.accuracy_before))
    assert all(change.label == change.after != change.before for change in result.improved)
    assert result.best > 0


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


def test_stopping_at_once_writes_the_given_model_again(case):
    result = run(case, should_stop=lambda: True)
    assert (result.best, result.stopped) == (0, "on request")
    assert result.accuracy_after == result.accuracy_before
    assert (result.improved, result.worsened) == ((), ())
    assert load_retraining(case / "out").stopped == "on request"


def test_copies_of_test_images_count_once(case):
    for file in list((case / "test").rglob("*.png")):
        shutil.copyfile(file, file.with_name(f"{file.stem}_again.png"))
    result = run(case, should_stop=lambda: True)
    assert (result.test_size, result.accuracy_before) == (27, pytest.approx(18 / 27))
    assert sum(share.images for share in result.per_rcc) == 9
    assert any("copies of others byte for byte: 27 of 54 images" in one for one in result.assumptions)


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
    save_unsafe_set(dataclasses.replace(unsafe, improvement_root=flat, images=rows), case / "out")
    return names


def test_an_unlabelled_image_is_refused_or_left_out(case):
    names = flat_improvement(case)
    with pytest.raises(SAFEError, match="none for 9"):
        run(case)
    (case / "labels.csv").write_text("image,label\n" + "".join(f"{name},{name.split('_')[0]}\n" for name in names[2:]))
    with pytest.raises(SAFEError, match=f"none for 2: {names[0]}, {names[1]}"):
        run(case, labels=case / "labels.csv")
    assert sum(bool(image.label) for image in load_unsafe_set(case / "out").images) == 7
    assert run(case, only_labelled=True, epochs=1, unlabelled=0).unsafe_size == 7


# --- What does not fit ------------------------------------------------------------------------------------------


def test_training_on_the_test_set_is_refused(case):
    with pytest.raises(SAFEError, match="neither inside the other"):
        retrain(case / "model.keras", ImageSets(case / "test", case / "test"), case / "out")
    shutil.rmtree(case / "out")
    (case / "out").mkdir()
    save_unsafe_set(small_models.unsafe_set(case / "test"), case / "out")
    with pytest.raises(SAFEError, match="no test images in the unsafe set"):
        run(case)


@pytest.mark.parametrize("lost", ["train", "train/green", "improvement"])
def test_images_of_which_none_can_be_read_are_not_trained_without(case, lost):
    for image in (case / lost).rglob("*.png"):
        image.write_bytes(b"x")
    selected = lost == "improvement"
    message = "as it was when it was selected" if selected else f"that can be read. Received too few: .*/{lost}"
    with pytest.raises(SAFEError, match=message):
        run(case, epochs=1)


def test_an_unsafe_set_of_other_clusters_is_refused(case):
    unsafe = load_unsafe_set(case / "out")
    save_unsafe_set(dataclasses.replace(unsafe, clusters="0" * 16), case / "out")  # edited since
    with pytest.raises(SAFEError, match="Select it again"):
        run(case)


def test_the_given_model_is_never_the_one_that_is_written(case):
    shutil.copy(case / "model.keras", case / "out" / "retrained.keras")
    before = (case / "out" / "retrained.keras").read_bytes()
    with pytest.raises(SAFEError, match="Copy it to another name"):
        retrain(case / "out" / "retrained.keras", ImageSets(case / "train", case / "test"), case / "out")
    assert (case / "out" / "retrained.keras").read_bytes() == before


@pytest.mark.slow
def test_the_next_round_learns_again_what_was_labelled_before_and_does_not_select_it(case):
    out, new, improvement = case / "out", case / "new", case / "improvement"
    whole = small_models.unsafe_set(improvement, load_clusters(out))
    save_unsafe_set(dataclasses.replace(whole, images=whole.images[:5]), out)
    assert run(case, epochs=3, unlabelled=0).unsafe_size == 5
    collected = find_failures(kept_copy(out / MODEL_FILE), case / "test", new)
    assert learned_files(new) == {}
    take_over(out, new)
    save_clusters(small_models.clusters_of(new / "failures", dict.fromkeys(collected.failing, 0)), new)
    save_clusters(small_models.clusters_of(out / "failures", dict.fromkeys(collected.failing, 0)), out)
    show_present(out)
    assert not (out / MODEL_FILE).exists(), "it is of the clusters before"
    assert collected.source.is_file(), "but not so the network whose failures these are"
    learned = learned_files(new)
    assert {*learned} == {*whole.files[:5]}
    (case / "list.txt").write_text("".join(f"{file}\n" for file in learned))
    with pytest.raises(SAFEError, match="not learned yet"):
        select_unsafe_set(case / "list.txt", load_clusters(new), SelectionSettings(size=2, learned=learned))
    rest = dataclasses.replace(small_models.unsafe_set(improvement, load_clusters(new)), images=whole.images[5:7])
    save_unsafe_set(rest, new)
    second = retrain(case / "model.keras", ImageSets(case / "train", case / "test"), new, wishes=Wishes(**QUICK))
    assert (second.train_size, second.unsafe_size) == (30, 2 + 5)
    assert "5 images of earlier rounds are learned again with the unsafe set." in second.assumptions
    take_over(new, out)  # in a circle
    assert {*learned_files(out)} == {*whole.files[5:7]}


# --- Regression -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_regression_is_retrained_from_a_table_of_targets(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["image,red,blue"]
    for part, plain, tinted in (("train", 20, 0), ("test", 10, 10), ("improvement", 0, 8)):
        (tmp_path / part).mkdir()
        for i in range(plain + tinted):
            image = small_models.draw_colour("red" if i % 2 else "blue", rng, "green" if i >= plain else None)
            image.save(tmp_path / part / f"{i}.png")
            # The targets are the colour of the left column, tinted or not.
            red, _, blue = np.asarray(image)[:, 0].mean(axis=0) / 255
            lines.append(f"{part}/{i}.png,{red},{blue}")
    (tmp_path / "targets.csv").write_text("\n".join(lines) + "\n")
    small_models.saved(small_models.brightness_model(), tmp_path / "model.keras")
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
