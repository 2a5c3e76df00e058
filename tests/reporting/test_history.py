import dataclasses
import hashlib
import os
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from pipeline.descriptions import refresh_rccs
from pipeline.generation import generate_clusters
from pipeline.improvement import select_images
from rccs.clusters import fingerprint, load_clusters, save_clusters
from rccs.edits import merge_rccs
from rccs.gifs import gif_shows, write_gifs
from rccs.notes import RccNote
from rccs.review import load_review, set_note
from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from reporting import history
from reporting.history import Overlap, archive_run, compare_clusters, list_runs, open_run, restore_run
from selection import SelectionSettings
from support.errors import SAFEError
from support.output_folder import save_text
from support.progress import no_progress
from support.run_folder import (
    CLUSTERS_FILE,
    FORMS_FILE,
    LABELS_FILE,
    MODEL_FILE,
    MODELS_FOLDER,
    NOTES_FILE,
    RETRAINING_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
)
from tests.helpers.places import names_in
from tests.helpers.small_models import FakeModel, retraining_for
from training.labels import save_labels
from training.result import retraining_of, save_retraining

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def out(clusters, tmp_path):
    """An output folder whose clusters were written at noon."""
    folder = tmp_path / "out"
    folder.mkdir()
    write(clusters, folder, 0)
    return folder


def write(clusters, folder, minutes: int) -> None:
    save_clusters(clusters, folder)
    time = NOON.timestamp() + 60 * minutes
    os.utime(folder / CLUSTERS_FILE, (time, time))


def other(clusters, shift: int = 1):
    return dataclasses.replace(clusters, labels=np.roll(clusters.labels, shift))


def replace(clusters, folder, minutes: int) -> str | None:
    """A new run takes the place of the one in the folder."""
    name = archive_run(folder, successor=clusters)
    write(clusters, folder, minutes)
    return name


def test_a_run_is_kept_when_another_takes_its_place(clusters, out):
    save_text(out, "unsafe_set.csv", "kept\n")
    (out / "gifs").mkdir()
    before = (out / LABELS_FILE).read_bytes()
    assert replace(other(clusters), out, 5) == "20240501-120000"
    kept = out / RUNS_FOLDER / "20240501-120000"
    assert names_in(kept) == ["clusters.npz", "labels.txt", "run.json", "unsafe_set.csv"]
    assert (kept / LABELS_FILE).read_bytes() == before
    assert names_in(out / RUNS_FOLDER) == ["20240501-120000"]


def test_the_same_clusters_again_and_an_empty_folder_leave_nothing_to_keep(clusters, out, tmp_path):
    assert archive_run(out, successor=clusters) is None
    assert archive_run(tmp_path / "nothing") is None
    (out / CLUSTERS_FILE).write_bytes(b"damaged")
    assert archive_run(out) is None
    assert not (out / RUNS_FOLDER).exists()


def test_notes_on_clusters_that_are_damaged_are_kept_with_them(clusters, out):
    set_note(out, RccNote(0, "night"))
    (out / CLUSTERS_FILE).write_bytes(b"damaged")
    name = replace(other(clusters), out, 5)
    assert "night" in (out / RUNS_FOLDER / name / NOTES_FILE).read_text()
    assert [bool(run.damaged) for run in list_runs(out)] == [True, False]  # the damaged one is of today


def test_runs_are_listed_newest_first_with_what_they_found(clusters, out):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    replace(other(clusters), out, 5)
    current, earlier = list_runs(out)
    assert (current.name, current.current, current.rccs, current.named) == ("20240501-120500", True, 3, 0)
    assert (earlier.name, earlier.current, earlier.rccs, earlier.named) == ("20240501-120000", False, 2, 1)
    assert earlier.time == NOON
    assert (earlier.images, earlier.noise, earlier.reducer) == (26, 2, "pca")
    assert earlier.image_root == os.fspath(clusters.image_root)
    assert list_runs(out / "nothing") == ()
    assert open_run(out, earlier.name).notes[0].name == "night"
    assert open_run(out, earlier.name).clusters.groups == [1, 0, NOISE]


def test_two_runs_of_one_second_are_both_kept(clusters, out):
    assert replace(other(clusters), out, 0) == "20240501-120000"
    assert replace(other(clusters, 2), out, 1) == "20240501-120000-2"
    assert [run.name for run in list_runs(out)] == ["20240501-120100", "20240501-120000-2", "20240501-120000"]


def test_a_run_that_is_brought_back_is_as_it_was_and_the_other_one_is_kept(clusters, out):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    was = {path.name: path.read_bytes() for path in out.iterdir() if path.name[0] != "."}
    save_text(out, "unsafe_set.csv", "of the first")
    name = replace(other(clusters), out, 5)
    save_text(out, "IS_filenames.txt", "of the second")
    restored = restore_run(out, name)
    assert restored.groups == [1, 0, NOISE]
    assert {file: (out / file).read_bytes() for file in was} == was
    assert (out / "unsafe_set.csv").read_text() == "of the first"
    assert not (out / "IS_filenames.txt").exists()
    assert [(run.name, run.current) for run in list_runs(out)] == [
        ("20240501-120500", False),
        ("20240501-120000", True),
    ]
    # There and back again, with a note changed meanwhile: no run appears twice, and the note is kept.
    set_note(out, RccNote(0, "darkness"))
    restore_run(out, "20240501-120500")
    assert (out / "IS_filenames.txt").read_text() == "of the second"
    assert len(list_runs(out)) == 2
    assert open_run(out, name).notes[0].name == "darkness"
    assert restore_run(out, "20240501-120500").groups == [0, 1, 2, NOISE]  # the current one: nothing happens


def test_only_the_last_runs_are_kept_and_never_is_the_current_one_removed(clusters, out, monkeypatch):
    monkeypatch.setattr(history, "KEPT_RUNS", 3)
    for i in range(1, 6):
        replace(other(clusters, i), out, i)
    names = ["20240501-120500", "20240501-120400", "20240501-120300", "20240501-120200"]
    assert [run.name for run in list_runs(out)] == names
    oldest = load_clusters(out / RUNS_FOLDER / names[-1]).labels.tolist()
    assert restore_run(out, names[-1]).labels.tolist() == oldest  # not removed to make room for the one it replaces


def test_a_damaged_run_is_listed_as_damaged_and_cannot_take_the_place_of_a_good_one(clusters, out):
    name = replace(other(clusters), out, 5)
    current = (out / CLUSTERS_FILE).read_bytes()
    (out / RUNS_FOLDER / name / CLUSTERS_FILE).write_bytes(current[:1000])
    (out / RUNS_FOLDER / "20240230-000000").mkdir()  # no such day, and empty
    (out / RUNS_FOLDER / "mine").mkdir()
    (out / RUNS_FOLDER / "20240101-000000").write_text("a file")
    good, *damaged = list_runs(out)
    assert good.damaged == ""
    assert [run.name for run in damaged] == [name, "20240230-000000"]
    assert "a complete file written by SAFE" in damaged[0].damaged
    assert "Received none" in damaged[1].damaged
    for run in damaged:
        with pytest.raises(SAFEError):
            restore_run(out, run.name)
    assert (out / CLUSTERS_FILE).read_bytes() == current


@pytest.mark.parametrize("name", ["", "..", "../out", "20300101-000000", "/etc", "mine"])
def test_only_a_run_that_is_listed_can_be_opened(clusters, out, name):
    replace(other(clusters), out, 5)
    (out / RUNS_FOLDER / "mine").mkdir()
    for action in (open_run, restore_run):
        with pytest.raises(SAFEError, match=r"Expected a run of .*Choose one of the list"):
            action(out, name)


def test_runs_are_compared_on_their_common_images(clusters, out):
    labels = np.where(clusters.labels == 2, 0, clusters.labels)
    merged = dataclasses.replace(clusters, labels=labels, reach=clusters.reach[:2])
    name = replace(merged, out, 5)
    compared = compare_clusters(*(open_run(out, run).clusters for run in (name, "20240501-120500")))
    assert (compared.common, compared.only_a, compared.only_b, compared.same_folder) == (26, 0, 0, True)
    assert 0 < compared.ari < 1
    assert compared.overlaps == (
        Overlap(0, 0, 10, 1.0, 10 / 16),
        Overlap(1, 1, 8, 1.0, 1.0),
        Overlap(2, 0, 6, 1.0, 6 / 16),
        Overlap(NOISE, NOISE, 2, 1.0, 1.0),
    )


def test_equal_runs_agree_fully_whatever_their_ids_and_strangers_have_nothing_in_common(clusters):
    swapped = dataclasses.replace(clusters, labels=np.where(clusters.labels == NOISE, NOISE, 2 - clusters.labels))
    assert compare_clusters(clusters, swapped).ari == 1
    fewer = dataclasses.replace(swapped, paths=clusters.paths[:20], labels=swapped.labels[:20])
    compared = compare_clusters(clusters, fewer)
    assert (compared.common, compared.only_a, compared.only_b, compared.ari) == (20, 6, 0, 1)
    strangers = dataclasses.replace(clusters, paths=tuple(f"x/{path}" for path in clusters.paths))
    assert compare_clusters(clusters, strangers)[:5] == (0, 26, 26, None, ())


def test_a_folder_that_cannot_be_written_to_is_an_error(clusters, out, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(shutil, "copy2", full)
    with pytest.raises(SAFEError, match=r"Could not keep the earlier run in .*No space left"):
        archive_run(out)
    assert names_in(out / RUNS_FOLDER) == []
    assert load_review(out).clusters.labels.tolist() == clusters.labels.tolist()


# --- Run after run ----------------------------------------------------------------------------------------------


@pytest.fixture
def generate(fake_network, draw_folder, tmp_path, monkeypatch):
    """`generate({"night": 8, …})`: draw these failing images and cluster them, by scene, to `tmp_path / "results"`."""

    def by_scene(*arguments, **options):
        found = find_root_cause_clusters(*arguments, **options)
        scenes = [path.split("_")[0] for path in found.paths]
        largest_first = sorted(set(scenes), key=lambda scene: (-scenes.count(scene), scene))
        labels = np.array([largest_first.index(scene) for scene in scenes])
        every = np.ones(len(labels), bool)
        return dataclasses.replace(
            found, labels=labels, is_core=every, reach=np.full(len(largest_first), 0.2, np.float32)
        )

    monkeypatch.setattr("pipeline.generation.find_root_cause_clusters", by_scene)

    def run(counts):
        shutil.rmtree(tmp_path / "images", ignore_errors=True)
        draw_folder(tmp_path / "images", counts)
        generate_clusters(tmp_path / "images", tmp_path / "results", progress=no_progress)
        return tmp_path / "results"

    return run


def test_a_new_run_keeps_the_earlier_one_and_only_the_notes_that_still_fit(generate):
    out = generate({"night": 9, "snow": 9, "wood": 9})
    for rcc, scene in enumerate(("night", "snow", "wood")):
        set_note(out, RccNote(rcc, scene))
    generate({"night": 9, "snow": 9, "wood": 12})
    current, earlier = list_runs(out)
    assert (current.images, earlier.images) == (30, 27)
    assert (current.named, earlier.named) == (2, 3)
    assert load_review(out).notes == {1: RccNote(1, "night"), 2: RccNote(2, "snow")}  # now the wood is the largest
    restore_run(out, earlier.name)
    assert len(load_review(out).notes) == 3


def test_the_same_run_again_keeps_notes_and_edits_in_files_and_gifs(generate):
    counts = {"night": 9, "snow": 9, "wood": 9}
    out = generate(counts)
    set_note(out, RccNote(0, "first"))
    merge_rccs(out, 2, 1)
    refresh_rccs(out, progress=no_progress)
    gifs = names_in(out / "gifs")
    labels = (out / LABELS_FILE).read_text()
    assert "RCC_02.gif" not in gifs
    generate(counts)
    assert [run.current for run in list_runs(out)] == [True]
    assert load_review(out).clusters.groups == [1, 0]
    assert load_review(out).notes[0].name == "first"
    assert names_in(out / "gifs") == gifs
    assert (out / LABELS_FILE).read_text() == labels


def test_notes_that_cannot_be_read_are_told_before_a_new_run_and_not_overwritten(generate, fake_network):
    out = generate({"night": 9, "snow": 9})
    (out / NOTES_FILE).write_text("rcc,verdict\n0,deadly\n")
    seen = fake_network.images_seen
    with pytest.raises(SAFEError, match="line 2: verdict must be"):
        generate({"night": 9, "snow": 9, "wood": 9})
    assert fake_network.images_seen == seen
    assert "deadly" in (out / NOTES_FILE).read_text()


def test_the_selection_honours_edits_and_verdicts(generate, draw_folder, tmp_path):
    out = generate({"night": 9, "snow": 9, "wood": 9})
    improvement = draw_folder(tmp_path / "improvement", {"night": 5, "snow": 5, "wood": 5}, seed=5)
    merge_rccs(out, 2, 1)
    set_note(out, RccNote(0, verdict="safe"))
    unsafe = select_images(improvement, out, SelectionSettings(size=8), progress=no_progress)
    assert (unsafe.candidates, unsafe.left_out) == ((5, 10), ())
    unsafe = select_images(improvement, out, SelectionSettings(size=8), progress=no_progress, leave_out_safe=True)
    assert unsafe.left_out == (0,)
    assert {image.rcc for image in unsafe.images} == {1}
    assert unsafe.clusters == fingerprint(load_review(out).clusters)


# --- A run is kept whole ----------------------------------------------------------------------------------------


def save_unsafe(clusters, folder, *labels) -> None:
    """An unsafe set of the clusters in the folder, with these labels."""
    (folder / "improvement").mkdir(exist_ok=True)
    for i in range(len(labels)):
        (folder / "improvement" / f"{i}.png").write_bytes(b"image %d" % i)
    images = tuple(UnsafeImage(f"{i}.png", 0, 0.5, True, label) for i, label in enumerate(labels))
    run = fingerprint(clusters)
    unsafe = UnsafeSet(folder / "improvement", images, len(images), "", len(images), (3, 3, 3), (), run, run=run)
    save_unsafe_set(unsafe, folder)


def test_an_earlier_run_has_the_model_that_its_figures_are_of(clusters, out):
    run = fingerprint(clusters)
    for weights in (b"first", b"second"):
        save_retraining(retraining_for(run), FakeModel(weights), out)
    earlier = replace(other(clusters), out, 5)
    with pytest.raises(SAFEError, match="for other root cause clusters"):
        retraining_of(out, load_review(out))
    save_retraining(retraining_for(fingerprint(other(clusters))), FakeModel(b"third"), out)
    for name, weights in ((earlier, b"second"), ("20240501-120500", b"third")):
        restore_run(out, name)
        assert (out / MODEL_FILE).read_bytes() == weights
        assert retraining_of(out, load_review(out)).digest == hashlib.sha256(weights).hexdigest()
    kept = {path.read_bytes() for path in (out / MODELS_FOLDER).glob("*.keras")}
    assert kept == {b"first", b"second", b"third"}


def test_a_model_of_an_older_version_is_kept_when_an_earlier_run_without_one_is_opened(clusters, out):
    earlier = replace(other(clusters), out, 5)
    save_text(out, MODEL_FILE, "of an older version")
    restore_run(out, earlier)
    assert not (out / MODEL_FILE).exists()
    assert [path.read_text() for path in (out / MODELS_FOLDER).glob("*.keras")] == ["of an older version"]


def test_a_model_of_somebody_elses_is_neither_replaced_nor_removed(clusters, out):
    earlier = replace(other(clusters), out, 5)
    (out / MODEL_FILE).write_bytes(b"mine")
    with pytest.raises(SAFEError, match="did not write"):
        save_retraining(retraining_for(fingerprint(clusters)), FakeModel(b"weights"), out)
    restore_run(out, earlier)
    assert (out / MODEL_FILE).read_bytes() == b"mine"


def test_files_of_somebody_elses_are_neither_kept_with_a_run_nor_removed_with_it(clusters, out):
    for name in (FORMS_FILE, UNSAFE_SET_FILE):
        (out / name).write_text("mine")
    earlier = replace(other(clusters), out, 5)
    assert not {FORMS_FILE, UNSAFE_SET_FILE} & {*names_in(out / RUNS_FOLDER / earlier)}
    restore_run(out, earlier)
    assert [(out / name).read_text() for name in (FORMS_FILE, UNSAFE_SET_FILE)] == ["mine", "mine"]


def test_an_unsafe_set_and_a_retraining_of_another_run_are_not_kept_with_this_one(clusters, out):
    save_unsafe(clusters, out, "red")
    save_retraining(retraining_for(fingerprint(clusters)), FakeModel(b"weights"), out)
    first = replace(other(clusters), out, 5)
    second = replace(other(clusters, 2), out, 10)
    files = {UNSAFE_SET_FILE, SELECTION_FILE, RETRAINING_FILE}
    assert files <= {*names_in(out / RUNS_FOLDER / first)}
    assert not files & {*names_in(out / RUNS_FOLDER / second)}
    restore_run(out, second)
    assert not files & {*names_in(out)}
    restore_run(out, first)
    assert files <= {*names_in(out)}


def test_the_forms_come_back_with_their_run(clusters, out):
    save_text(out, FORMS_FILE, "of the first")
    first = replace(other(clusters), out, 5)
    save_text(out, FORMS_FILE, "of the second")
    restore_run(out, first)
    assert (out / FORMS_FILE).read_text() == "of the first"
    restore_run(out, "20240501-120500")
    assert (out / FORMS_FILE).read_text() == "of the second"


def test_labels_given_after_a_run_was_left_are_there_when_it_is_opened_again(clusters, out):
    save_unsafe(clusters, out, "red", "red", "")
    first = replace(other(clusters), out, 5)
    late = load_unsafe_set(out)  # in a window that was opened before
    images = [image._replace(label=label) for image, label in zip(late.images, ("blue", "", "blue"), strict=True)]
    save_labels(dataclasses.replace(late, images=tuple(images)), out)
    (out / "improvement" / "2.png").write_bytes(b"another image")
    restore_run(out, first)
    assert [image.label for image in load_unsafe_set(out).images] == ["blue", "", ""]


@pytest.mark.parametrize("minutes", [1, -60], ids=["clock goes on", "clock set back"])
def test_runs_that_somebody_has_worked_on_are_never_removed_to_make_room(clusters, out, monkeypatch, minutes):
    monkeypatch.setattr(history, "KEPT_RUNS", 2)
    work = (
        lambda now: set_note(out, RccNote(0, "night")),
        lambda now: merge_rccs(out, 2, 1),
        lambda now: save_unsafe(now, out, "red"),
        lambda now: save_retraining(retraining_for(fingerprint(now)), FakeModel(b"weights"), out),
        lambda now: None,
        lambda now: None,
        lambda now: None,
    )
    names = []
    for i, done in enumerate(work):
        done(other(clusters, i))
        names.append(replace(other(clusters, i + 1), out, minutes * (i + 1)))
    there = {run.name for run in list_runs(out)}
    assert {*names[:4]} <= there
    assert len({*names[4:]} & there) == 2
    # The oldest, opened again and worked on, is kept under its old name when the next takes its place.
    restore_run(out, names[0])
    set_note(out, RccNote(1, "daylight"))
    assert replace(other(clusters, 9), out, 100 * minutes) == names[0]
    assert open_run(out, names[0]).notes[1].name == "daylight"


def test_a_run_whose_clusters_are_gone_keeps_what_was_said_of_it(clusters, out):
    set_note(out, RccNote(0, "night"))
    (out / CLUSTERS_FILE).unlink()
    name = replace(other(clusters), out, 5)
    assert "night" in (out / RUNS_FOLDER / name / NOTES_FILE).read_text()


def test_what_is_said_and_changed_while_gifs_are_drawn_is_kept(generate, monkeypatch):
    counts = {"night": 9, "snow": 9, "wood": 9}
    out = generate(counts)

    def meanwhile(what):
        def drawing(*arguments, **named):
            monkeypatch.setattr("pipeline.generation.write_gifs", write_gifs)
            what()
            return write_gifs(*arguments, **named)

        monkeypatch.setattr("pipeline.generation.write_gifs", drawing)

    def say_and_merge():
        set_note(out, RccNote(0, "darkness", verdict="unsafe"))
        merge_rccs(out, 2, 1)

    meanwhile(say_and_merge)
    generate(counts)
    review = load_review(out)
    assert review.notes == {0: RccNote(0, "darkness", verdict="unsafe")}
    assert review.clusters.groups == [1, 0]
    assert gif_shows(review.clusters, out, 1)  # drawn as merged meanwhile
    meanwhile(lambda: set_note(out, RccNote(0, "night", verdict="unsafe")))
    generate({**counts, "snow": 12})
    assert load_review(out).notes == {1: RccNote(1, "night", verdict="unsafe")}  # now the snow is the largest
    assert history.earlier_reviews(out)[0].clusters.groups == [1, 0]


def test_what_was_said_of_the_same_images_since_a_run_was_left_is_there_when_it_is_opened_again(clusters, out):
    """Whatever the RCC is called in the newer run; the run's own notes stay."""
    set_note(out, RccNote(1, "its own"))
    swapped = np.array([2, 1, 0, NOISE])[clusters.labels]
    swapped[clusters.paths.index("sea_00.png")] = 2  # RCC 0, called 2, has one more image
    name = replace(dataclasses.replace(clusters, labels=swapped), out, 5)
    for rcc in (0, 1, 2):
        set_note(out, RccNote(rcc, f"since {rcc}", "a hazard", "unsafe"))
    restore_run(out, name)
    assert load_review(out).notes == {1: RccNote(1, "its own"), 2: RccNote(2, "since 0", "a hazard", "unsafe")}
