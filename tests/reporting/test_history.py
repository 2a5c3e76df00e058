import dataclasses
import os
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from clustering import find_root_cause_clusters
from dbscan.outcome import NOISE
from pipeline import generate_clusters, refresh_rccs, select_images
from rccs.clusters import fingerprint, load_clusters, save_clusters
from rccs.notes import RccNote
from rccs.review import load_review, merge_rccs, set_note
from reporting import history
from reporting.history import Overlap, archive_run, compare_clusters, compare_runs, list_runs, open_run, restore_run
from selection import SelectionSettings
from support.errors import SAFEError
from support.output_folder import save_text
from support.progress import no_progress
from support.run_folder import CLUSTERS_FILE, LABELS_FILE, NOTES_FILE, RUNS_FOLDER
from tests.helpers.places import names_in

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
    compared = compare_runs(out, name, "20240501-120500")
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

    monkeypatch.setattr("pipeline.find_root_cause_clusters", by_scene)

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
