import dataclasses
import datetime

import numpy as np
import pytest

from safe_dnn.pipeline.generation import generate_clusters
from safe_dnn.pipeline.reporting import history
from safe_dnn.pipeline.reporting.history import find_run, list_runs, prune_runs, restore_run
from safe_dnn.rccs.clusters import CLUSTERS_FILE, load_clusters, save_clusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.review.edits import merge_rccs
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import Review, load_review, set_note
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER
from safe_dnn.store.runs import CLUSTERS, present_runs
from safe_dnn.support.errors import SAFEError
from tests.helpers.places import digests_of, in_run, names_in


def other(clusters, shift: int = 1):
    return dataclasses.replace(clusters, labels=np.roll(clusters.labels, shift))


def replace(clusters, folder) -> str:
    """A new run takes the place of the one in the folder, whose name is returned."""
    name = present_name(folder)
    save_clusters(clusters, folder)
    prune_runs(folder)
    return name


def present_name(folder) -> str:
    return str(present_runs(folder)[CLUSTERS].number)


def review_of(folder, name: str) -> Review:
    """What was said and done of a run."""
    return load_review(folder, original=load_clusters(folder, find_run(folder, name)))


def test_the_same_clusters_found_again_in_the_same_way_are_one_run(clusters, out, tmp_path):
    set_note(out, Note(0, "night"))
    replace(clusters, out)
    assert [(run.name, run.current, "1 named" in run.text) for run in list_runs(out)] == [("3", True, True)]
    assert names_in(out / RUNS_FOLDER) == ["3"]
    replace(dataclasses.replace(clusters, eps=clusters.eps + 1), out)  # in another way
    assert [run.name for run in list_runs(out)] == ["4", "3"]
    assert list_runs(tmp_path / "nothing") == ()


def test_runs_are_listed_newest_first_with_what_they_found(clusters, out, monkeypatch):
    set_note(out, Note(0, "night"))
    merge_rccs(out, 2, 1)
    noon = datetime.datetime(2024, 5, 1, 12, tzinfo=datetime.UTC)
    monkeypatch.setattr("safe_dnn.store.chain._now", noon.isoformat)
    name = replace(other(clusters), out)
    current, earlier = list_runs(out)
    assert (current.name, current.current, earlier.name, earlier.current) == (present_name(out), True, name, False)
    assert current.time == noon != earlier.time
    assert current.text.startswith("3 RCCs of 26 images")
    assert " · 0 named or judged · " in current.text
    held = "2 RCCs of 26 images, 2 in no cluster, by PCA"
    assert earlier.text == f"{held} · 1 named or judged · {clusters.image_root}"
    assert review_of(out, earlier.name).notes[0].name == "night"
    assert review_of(out, earlier.name).clusters.groups == [1, 0, NOISE]


def test_only_the_last_runs_are_kept_and_never_is_the_present_one_removed(clusters, out, monkeypatch):
    monkeypatch.setattr(history, "KEPT_RUNS", 3)
    names = [replace(other(clusters, i), out) for i in range(1, 6)]
    assert [run.name for run in list_runs(out)] == [present_name(out), *reversed(names[2:])]
    assert names_in(out / RUNS_FOLDER) == [*names[2:], present_name(out)]
    oldest = load_clusters(out, find_run(out, names[2])).labels.tolist()
    assert restore_run(out, names[2]).labels.tolist() == oldest
    prune_runs(out)
    assert load_clusters(out).labels.tolist() == oldest


def test_a_damaged_run_is_listed_as_damaged_and_cannot_take_the_place_of_a_good_one(clusters, out):
    file = in_run(out, CLUSTERS_FILE)
    damaged, empty = replace(other(clusters), out), replace(other(clusters, 2), out)
    file.write_bytes(file.read_bytes()[:1000])
    (out / RUNS_FOLDER / empty / CLUSTERS_FILE).unlink()
    before = digests_of(out / RUNS_FOLDER)
    good, *bad = list_runs(out)
    assert not good.text.startswith("damaged")
    assert [run.name for run in bad] == [empty, damaged]
    assert "damaged: " in bad[0].text
    assert "Received none" in bad[0].text
    assert "not as SAFE wrote it" in bad[1].text
    for run in bad:
        with pytest.raises(SAFEError):
            restore_run(out, run.name)
    assert present_name(out) == good.name
    assert digests_of(out / RUNS_FOLDER) == before


def test_notes_that_cannot_be_read_are_told_before_a_new_run_and_not_overwritten(clusters, out, fake_network):
    set_note(out, Note(0, "deadly"))
    damaged = (out / DATABASE_FILE).read_bytes().replace(b"deadly", b"dead!y")
    (out / DATABASE_FILE).write_bytes(damaged)
    (clusters.image_root / "night_00.png").write_bytes(b"another image")
    with pytest.raises(SAFEError, match=r"damaged \(entry 2 is not as it was written\)"):
        generate_clusters(clusters.image_root, out)
    assert fake_network.images_seen == 0
    assert (out / DATABASE_FILE).read_bytes() == damaged
