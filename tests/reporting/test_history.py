import dataclasses
import hashlib
import os
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from pipeline.descriptions import show_present
from pipeline.generation import generate_clusters
from rccs.clusters import CLUSTERS_FILE, fingerprint, load_clusters, save_clusters
from rccs.gifs import gif_shows, write_gifs
from rccs.review.edits import merge_rccs
from rccs.review.notes import RccNote
from rccs.review.review import Review, load_review, set_note
from rccs.unsafe_set import FILENAMES_FILE, UNSAFE_SET_FILE, load_unsafe_set
from reporting import history
from reporting.history import find_run, list_runs, prune_runs, restore_run
from store.database import DATABASE_FILE
from store.runs import CLUSTERS, RUNS_FOLDER, present_runs
from support.errors import SAFEError
from support.progress import no_progress
from tests.helpers.places import digests_of, in_run, names_in, runs_as_they_are, shown_in
from tests.helpers.small_models import FakeModel, retraining_for
from tests.helpers.worked_on import known_of, retrain, select, work_on
from training.result import MODEL_FILE, MODELS_FOLDER, RETRAINING_FILE, retraining_of, save_retraining

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def clock(monkeypatch):
    """A clock that goes on by a minute with each run, from noon; `step` is what it goes on by."""

    class Clock:
        now, step = NOON, timedelta(minutes=1)

    monkeypatch.setattr("store.entries._now", lambda: Clock.now.isoformat())
    return Clock


@pytest.fixture
def out(clusters, tmp_path):
    """An output folder whose clusters were found at noon."""
    folder = tmp_path / "out"
    folder.mkdir()
    save_clusters(clusters, folder)
    return folder


def other(clusters, shift: int = 1):
    return dataclasses.replace(clusters, labels=np.roll(clusters.labels, shift))


@pytest.fixture
def replace(clock):
    """A new run takes the place of the one in the folder, whose name is returned."""

    def follow(clusters, folder) -> str:
        name = present_name(folder)
        clock.now += clock.step
        save_clusters(clusters, folder)
        prune_runs(folder)
        return name

    return follow


def present_name(folder) -> str:
    return str(present_runs(folder)[CLUSTERS].number)


def review_of(folder, name: str) -> Review:
    """What was said and done of a run."""
    return load_review(folder, original=load_clusters(folder, find_run(folder, name)))


def test_the_same_clusters_found_again_in_the_same_way_are_one_run(clusters, out, replace, tmp_path):
    set_note(out, RccNote(0, "night"))
    replace(clusters, out)
    assert [(run.name, run.current, run.named) for run in list_runs(out)] == [("3", True, 1)]
    assert names_in(out / RUNS_FOLDER) == ["3"]
    replace(dataclasses.replace(clusters, eps=clusters.eps + 1), out)  # in another way
    assert [run.name for run in list_runs(out)] == ["4", "3"]
    assert list_runs(tmp_path / "nothing") == ()


def test_runs_are_listed_newest_first_with_what_they_found(clusters, out, replace):
    set_note(out, RccNote(0, "night"))
    merge_rccs(out, 2, 1)
    name = replace(other(clusters), out)
    current, earlier = list_runs(out)
    assert (current.name, current.current, current.rccs, current.named) == (present_name(out), True, 3, 0)
    assert (earlier.name, earlier.current, earlier.rccs, earlier.named) == (name, False, 2, 1)
    assert (earlier.time, current.time) == (NOON, NOON + timedelta(minutes=1))
    assert (earlier.images, earlier.noise, earlier.reducer) == (26, 2, "pca")
    assert earlier.image_root == os.fspath(clusters.image_root)
    assert review_of(out, earlier.name).notes[0].name == "night"
    assert review_of(out, earlier.name).clusters.groups == [1, 0, NOISE]


def test_an_earlier_run_that_is_opened_is_as_it_was_and_the_other_one_is_kept(clusters, out, replace, tmp_path):
    work_on(clusters, out, tmp_path / "improvement")
    shown, known, first = shown_in(out), known_of(out), present_name(out)
    replace(other(clusters), out)
    show_present(out)
    assert not {UNSAFE_SET_FILE, FILENAMES_FILE, RETRAINING_FILE, MODEL_FILE} & {*names_in(out)}
    select(out, tmp_path / "others", "green")
    second, computed = present_name(out), runs_as_they_are(out)
    assert restore_run(out, first).labels.tolist() == known["labels"]
    show_present(out)
    assert shown_in(out) == shown
    assert known_of(out) == known
    assert [(run.name, run.current) for run in list_runs(out)] == [(second, False), (first, True)]
    # There and back again, with a note changed meanwhile: no run appears twice, and the note is kept.
    set_note(out, RccNote(0, "darkness"))
    restore_run(out, second)
    show_present(out)
    assert (out / FILENAMES_FILE).read_text() == "0.png\n"
    assert [image.label for image in load_unsafe_set(out).images] == ["green"]
    assert len(list_runs(out)) == 2
    assert review_of(out, first).notes[0].name == "darkness"
    assert restore_run(out, second).groups == [0, 1, 2, NOISE]  # the present one: nothing happens
    assert runs_as_they_are(out) == computed


def test_only_the_last_runs_are_kept_and_never_is_the_present_one_removed(clusters, out, replace, monkeypatch):
    monkeypatch.setattr(history, "KEPT_RUNS", 3)
    names = [replace(other(clusters, i), out) for i in range(1, 6)]
    assert [run.name for run in list_runs(out)] == [present_name(out), *reversed(names[2:])]
    assert names_in(out / RUNS_FOLDER) == [*names[2:], present_name(out)]
    oldest = load_clusters(out, find_run(out, names[2])).labels.tolist()
    assert restore_run(out, names[2]).labels.tolist() == oldest
    prune_runs(out)
    assert load_clusters(out).labels.tolist() == oldest


def test_a_damaged_run_is_listed_as_damaged_and_cannot_take_the_place_of_a_good_one(clusters, out, replace):
    file = in_run(out, CLUSTERS_FILE)
    damaged, empty = replace(other(clusters), out), replace(other(clusters, 2), out)
    file.write_bytes(file.read_bytes()[:1000])
    (out / RUNS_FOLDER / empty / CLUSTERS_FILE).unlink()
    before = digests_of(out / RUNS_FOLDER)
    good, *bad = list_runs(out)
    assert good.damaged == ""
    assert [run.name for run in bad] == [empty, damaged]
    assert "Received none" in bad[0].damaged
    assert "not as SAFE wrote it" in bad[1].damaged
    for run in bad:
        with pytest.raises(SAFEError):
            restore_run(out, run.name)
    assert present_name(out) == good.name
    assert digests_of(out / RUNS_FOLDER) == before


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


def test_notes_that_cannot_be_read_are_told_before_a_new_run_and_not_overwritten(generate, fake_network):
    out = generate({"night": 9, "snow": 9})
    set_note(out, RccNote(0, "deadly"))
    damaged = (out / DATABASE_FILE).read_bytes().replace(b"deadly", b"dead!y")
    (out / DATABASE_FILE).write_bytes(damaged)
    seen = fake_network.images_seen
    with pytest.raises(SAFEError, match=r"damaged \(entry 2 is not as it was written\)"):
        generate({"night": 9, "snow": 9, "wood": 9})
    assert fake_network.images_seen == seen
    assert (out / DATABASE_FILE).read_bytes() == damaged


# --- A run is kept whole ----------------------------------------------------------------------------------------


def test_an_earlier_run_has_the_model_that_its_figures_are_of(clusters, out, replace):
    for weights in (b"first", b"second"):
        retrain(out, weights)
    earlier = replace(other(clusters), out)
    with pytest.raises(SAFEError, match="for other root cause clusters"):
        retraining_of(out, load_review(out))
    retrain(out, b"third")
    for name, weights in ((earlier, b"second"), (present_name(out), b"third")):
        restore_run(out, name)
        show_present(out)
        assert (out / MODEL_FILE).read_bytes() == weights
        assert retraining_of(out, load_review(out)).digest == hashlib.sha256(weights).hexdigest()
    kept = {path.read_bytes() for path in (out / MODELS_FOLDER).glob("*.keras")}
    assert kept == {b"first", b"second", b"third"}


def test_files_of_somebody_elses_are_neither_replaced_nor_removed(clusters, out, replace):
    for name in (MODEL_FILE, UNSAFE_SET_FILE):
        (out / name).write_bytes(b"mine")
    with pytest.raises(SAFEError, match="did not write"):
        save_retraining(retraining_for(fingerprint(clusters)), FakeModel(b"weights"), out)
    earlier = replace(other(clusters), out)
    with pytest.raises(SAFEError, match="did not write"):
        restore_run(out, earlier)
    assert fingerprint(load_clusters(out)) == fingerprint(other(clusters))
    assert [(out / name).read_bytes() for name in (MODEL_FILE, UNSAFE_SET_FILE)] == [b"mine", b"mine"]


@pytest.mark.parametrize("minutes", [1, -60], ids=["clock goes on", "clock set back"])
def test_runs_that_somebody_has_worked_on_are_never_removed_to_make_room(
    clusters, out, replace, clock, monkeypatch, tmp_path, minutes
):
    monkeypatch.setattr(history, "KEPT_RUNS", 2)
    clock.step = timedelta(minutes=minutes)
    work = (
        lambda: set_note(out, RccNote(0, "night")),
        lambda: merge_rccs(out, 2, 1),
        lambda: select(out, tmp_path / "improvement", "red"),
        lambda: retrain(out, b"weights"),
        lambda: None,
        lambda: None,
        lambda: None,
    )
    names = []
    for i, done in enumerate(work):
        done()
        names.append(replace(other(clusters, i + 1), out))
    assert [run.name for run in list_runs(out)] == [present_name(out), *reversed([*names[:4], *names[5:]])]
    # The oldest, opened again and worked on, is kept under its old name when the next takes its place.
    restore_run(out, names[0])
    set_note(out, RccNote(1, "daylight"))
    assert replace(other(clusters, 9), out) == names[0]
    assert review_of(out, names[0]).notes[1].name == "daylight"


def test_what_was_said_of_the_same_images_since_a_run_was_left_counts_when_it_is_opened_again(clusters, out, replace):
    """Whatever the RCC is called in the newer run."""
    set_note(out, RccNote(0, "its own"))
    set_note(out, RccNote(1, "its own"))
    swapped = np.array([2, 1, 0, NOISE])[clusters.labels]
    swapped[clusters.paths.index("sea_00.png")] = 2  # RCC 0, called 2, has one more image
    name = replace(dataclasses.replace(clusters, labels=swapped), out)
    for rcc in (0, 1, 2):
        set_note(out, RccNote(rcc, f"since {rcc}", "a hazard", "unsafe"))
    restore_run(out, name)
    assert load_review(out).notes == {
        0: RccNote(0, "its own"),
        1: RccNote(1, "since 1", "a hazard", "unsafe"),
        2: RccNote(2, "since 0", "a hazard", "unsafe"),
    }
    assert [run.named for run in list_runs(out)] == [3, 3]


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
    earlier = list_runs(out)[1]
    assert review_of(out, earlier.name).clusters.groups == [1, 0]
