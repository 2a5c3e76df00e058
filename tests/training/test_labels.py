from pathlib import Path

import pytest

from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from support.errors import SAFEError
from training.labels import (
    check_labels,
    label_images,
    label_rcc,
    label_unsafe_set,
    read_labels,
    save_labels,
    unlabelled,
)

CLASSES = ("blue", "green", "red")


def unsafe_set(*images, root="/improvement"):
    """Images as (path, rcc, label)."""
    rows = tuple(UnsafeImage(path, rcc, 0.1, True, label) for path, rcc, label in images)
    return UnsafeSet(Path(root), rows, len(rows), "N = 3, as requested", 9, (5, 4), (), "0" * 16)


@pytest.fixture
def unsafe():
    return unsafe_set(("a.png", 0, ""), ("b.png", 0, "red"), ("c.png", 1, ""))


def labels_of(unsafe):
    return [image.label for image in unsafe.images]


def test_an_image_gets_a_label_and_loses_it_again(unsafe):
    labelled = label_images(unsafe, ["a.png"], "blue", CLASSES)
    assert labels_of(labelled) == ["blue", "red", ""]
    assert labels_of(label_images(labelled, ["a.png"], "", CLASSES)) == ["", "red", ""]
    assert labels_of(unsafe) == ["", "red", ""]


def test_a_whole_rcc_gets_a_label(unsafe):
    assert labels_of(label_rcc(unsafe, 0, "green", CLASSES)) == ["green", "green", ""]
    assert labels_of(label_rcc(unsafe, 0, "green", CLASSES, only_unlabelled=True)) == ["green", "red", ""]
    assert [image.image for image in unlabelled(unsafe)] == ["a.png", "c.png"]


def test_what_is_no_class_or_not_in_the_set_is_refused(unsafe):
    with pytest.raises(SAFEError, match=r"one of the classes blue, green, red\. Received: violet"):
        label_images(unsafe, ["a.png"], "violet", CLASSES)
    with pytest.raises(SAFEError, match=r"images of the unsafe set\. Received: x\.png"):
        label_images(unsafe, ["x.png"], "red", CLASSES)


def test_class_folders_label_what_has_no_label_yet():
    unsafe = unsafe_set(("red/a.png", 0, ""), ("red/b.png", 0, "blue"), ("other/c.png", 1, ""), ("green", 1, ""))
    assert labels_of(label_unsafe_set(unsafe, CLASSES)) == ["red", "blue", "", ""]


def test_a_table_comes_before_what_is_known_already(tmp_path, unsafe):
    table = tmp_path / "labels.csv"
    table.write_text("\ufeffimage,label,note\n./a.png,blue,x\nb.png,green,\nzzz.png,red,\nc.png, ,\n", encoding="utf-8")
    assert labels_of(label_unsafe_set(unsafe, CLASSES, labels=table)) == ["blue", "green", ""]


def test_a_moved_improvement_folder_is_taken_note_of(tmp_path, unsafe):
    assert label_unsafe_set(unsafe, CLASSES, improvement=tmp_path).improvement_root == tmp_path
    with pytest.raises(SAFEError, match="is not a folder"):
        label_unsafe_set(unsafe, CLASSES, improvement=tmp_path / "gone")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,class\na.png,red\n", "columns image and label"),
        ("image,label\na.png,red\na.png,blue\n", "one label for a.png"),
        ("image,label\nelsewhere.png,red\n", "Name the images relative"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, unsafe, text, words):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SAFEError, match=words):
        label_unsafe_set(unsafe, CLASSES, labels=tmp_path / "labels.csv")


def test_a_missing_table_is_refused(tmp_path):
    with pytest.raises(SAFEError, match="No such file"):
        read_labels(tmp_path / "none.csv")


def test_unlabelled_images_and_labels_that_are_no_class_are_told(unsafe):
    with pytest.raises(SAFEError, match=r"none for 2: a\.png, c\.png.*--only-labelled"):
        check_labels(unsafe, CLASSES)
    wrong = unsafe_set(("a.png", 0, "violet"), ("b.png", 0, "red"))
    with pytest.raises(SAFEError, match="Received: violet, for 1 image of"):
        check_labels(wrong, CLASSES)
    check_labels(unsafe_set(("a.png", 0, "red")), CLASSES)


def test_saving_labels_changes_only_the_table(tmp_path, unsafe):
    save_unsafe_set(unsafe, tmp_path)
    others = {name: (tmp_path / name).read_bytes() for name in ("IS_filenames.txt", "unsafe_set.json")}
    labelled = label_rcc(unsafe, 1, "green", CLASSES)
    save_labels(labelled, tmp_path)
    assert load_unsafe_set(tmp_path) == labelled
    assert {name: (tmp_path / name).read_bytes() for name in others} == others
