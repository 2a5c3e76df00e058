"""Image folders that were moved: where they lie now is said once, looked at, and loses nothing."""

import dataclasses
import shutil

import pytest

from safe_dnn.api.generation import take_new_place
from safe_dnn.features.attributes import measured_images
from safe_dnn.options import SelectionSettings
from safe_dnn.rccs.clusters import fingerprint, load_clusters, save_clusters
from safe_dnn.rccs.review.journal import Note
from safe_dnn.rccs.review.review import load_review, set_note
from safe_dnn.rccs.unsafe_set import load_unsafe_set, save_unsafe_set
from safe_dnn.selection import select_unsafe_set
from safe_dnn.support.errors import SAFEError


@pytest.fixture
def out(clusters, tmp_path, draw_folder):
    """An analysis whose images lie elsewhere, with what an engineer said of it."""
    folder = tmp_path / "deep" / "analyses" / "out"
    folder.mkdir(parents=True)
    attributes = measured_images(clusters.image_root, clusters.paths)
    save_clusters(dataclasses.replace(clusters, attributes=attributes), folder)
    draw_folder(tmp_path / "improvement", {"night": 4, "snow": 4}, seed=1)
    unsafe = select_unsafe_set(tmp_path / "improvement", clusters, SelectionSettings(size=4))
    save_unsafe_set(dataclasses.replace(unsafe, run=fingerprint(clusters)), folder)
    set_note(folder, Note(0, name="darkness", verdict="unsafe"))
    return folder


def test_images_are_found_where_they_lie_now_and_all_that_was_said_stays(out, tmp_path):
    old, new = tmp_path / "failing", tmp_path / "disk" / "failing images"
    said = load_review(out).notes[0]
    new.parent.mkdir()
    shutil.move(old, new)
    shutil.move(tmp_path / "improvement", tmp_path / "disk" / "improvement")
    assert load_clusters(out).image_root == old
    assert take_new_place(out, old, new) == ["26 failing images found"]
    assert load_clusters(out).image_root == new
    assert (out / "rcc_profiles.csv").is_file()  # written again, with what could not be read meanwhile
    assert load_review(out).notes[0] == said
    set_note(out, Note(1, name="snow"))
    assert not load_unsafe_set(out).improvement_root.is_dir()
    take_new_place(out, tmp_path, tmp_path / "disk")  # by a folder above
    assert load_unsafe_set(out).improvement_root == tmp_path / "disk" / "improvement"
    shutil.move(new, old)  # and back
    assert load_clusters(out).image_root == old
    assert [note.name for note in load_review(out).notes.values()] == ["darkness", "snow"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda new: (new / "night_00.png").unlink(), "Received 1 image that are missing, such as night_00.png"),
        (lambda new: shutil.copyfile(new / "snow_00.png", new / "night_00.png"), "show something else"),
        (shutil.rmtree, "Received 26 images that are missing"),
    ],
    ids=["one gone", "another image", "no folder"],
)  # fmt: skip
def test_a_folder_with_other_images_is_refused(out, tmp_path, change, words):
    old, new = tmp_path / "failing", tmp_path / "elsewhere"
    shutil.move(old, new)
    change(new)
    with pytest.raises(SAFEError, match=words):
        take_new_place(out, old, new)
    assert load_clusters(out).image_root == old


def test_a_folder_that_is_not_missing_is_refused(out, tmp_path):
    with pytest.raises(SAFEError, match="none is missing"):
        take_new_place(out, tmp_path / "failing", tmp_path)
