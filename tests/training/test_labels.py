from pathlib import Path

import pytest

from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.labels import (
    label_images,
    label_unsafe_set,
    save_labels,
    take_typed_labels,
    typed_labels,
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


def test_what_is_no_class_or_not_in_the_set_is_refused(unsafe):
    with pytest.raises(SAFEError, match=r"one of the classes blue, green, red\. Received: violet"):
        label_images(unsafe, ["a.png"], "violet", CLASSES)
    with pytest.raises(SAFEError, match=r"images of the unsafe set\. Received: x\.png"):
        label_images(unsafe, ["x.png"], "red", CLASSES)


def test_class_folders_label_what_has_no_label_yet():
    unsafe = unsafe_set(("red/a.png", 0, ""), ("red/b.png", 0, "blue"), ("other/c.png", 1, ""), ("green", 1, ""))
    assert labels_of(label_unsafe_set(unsafe, CLASSES)) == ["red", "blue", "", ""]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("image,class\na.png,red\n", "columns image and label"),
        ("image,label\na.png,red\na.png,blue\n", "one row for a.png .* lines 2 and 3 with different values for label"),
        ("image,label\nelsewhere.png,red\n", "Name the images relative"),
    ],
)  # fmt: skip
def test_tables_that_do_not_fit_are_refused(tmp_path, unsafe, text, words):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SAFEError, match=words):
        label_unsafe_set(unsafe, CLASSES, labels=tmp_path / "labels.csv")


# --- From one unsafe set to the next ----------------------------------------------------------------------------


@pytest.fixture
def out(tmp_path):
    """An output folder whose set has three images; two of them have a label."""
    images = [(name, 0, "") for name in ("a.png", "b.png", "sub/c.png")]
    (tmp_path / "improvement" / "sub").mkdir(parents=True)
    for name, *_ in images:
        (tmp_path / "improvement" / name).write_text(f"the image {name}")
    unsafe = save_unsafe_set(unsafe_set(*images, root=tmp_path / "improvement"), tmp_path / "out")
    for name, label in (("a.png", "red"), ("sub/c.png", "blue")):
        unsafe = label_images(unsafe, [name], label, CLASSES)
    save_labels(unsafe, tmp_path / "out")
    return tmp_path / "out"


def test_a_label_belongs_to_the_content_of_an_image_wherever_it_is_selected_from(out, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "new.png").write_text("the image a.png")
    (other / "a.png").write_text("another image of that name")
    unsafe = save_unsafe_set(unsafe_set(("a.png", 0, ""), ("new.png", 0, ""), root=other), out)
    assert labels_of(unsafe) == ["", "red"]
    save_labels(label_images(unsafe, ["new.png"], "", CLASSES), out)
    first = unsafe_set(("a.png", 0, ""), ("sub/c.png", 0, ""), root=tmp_path / "improvement")
    assert labels_of(save_unsafe_set(first, out)) == ["", "blue"]


def test_an_image_that_was_replaced_since_it_was_selected_gets_no_label(out, tmp_path):
    (tmp_path / "improvement" / "b.png").write_text("another image")
    labelled = label_images(load_unsafe_set(out), ["a.png", "b.png"], "green", CLASSES)
    with pytest.raises(SAFEError, match=r"b\.png as it was when it was selected.*Select the unsafe set again"):
        save_labels(labelled, out)
    assert labels_of(load_unsafe_set(out)) == ["red", "", "blue"]


def test_copies_of_an_image_have_one_label_and_none_from_the_folders_of_several_classes(tmp_path):
    paths = ("red/a.png", "red/b.png", "blue/c.png", "blue/d.png")
    for path, text in zip(paths, ("one", "two", "one", "three"), strict=True):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
    out = tmp_path / "out"
    unsafe = save_unsafe_set(unsafe_set(*((path, 0, "") for path in paths), root=tmp_path), out)
    save_labels(label_unsafe_set(unsafe, CLASSES), out)
    assert labels_of(load_unsafe_set(out)) == ["", "red", "", "blue"]
    save_labels(label_images(load_unsafe_set(out), ["blue/c.png"], "green", CLASSES), out)
    assert labels_of(load_unsafe_set(out)) == ["green", "red", "green", "blue"]
    (tmp_path / "labels.csv").write_text("image,label\nred/a.png,red\nblue/c.png,blue\n")
    with pytest.raises(SAFEError, match=r"the same byte for byte\. Received red and blue, the latter for blue/c\.png"):
        save_labels(label_unsafe_set(load_unsafe_set(out), CLASSES, labels=tmp_path / "labels.csv"), out)


# --- What was typed into unsafe_set.csv -------------------------------------------------------------------------


def test_a_label_given_on_the_page_takes_what_was_typed_for_other_images_along(out):
    table = out / UNSAFE_SET_FILE
    table.write_text(table.read_text().replace("true,red", "true,green").replace("true,blue", "true,red"))
    assert typed_labels(out) == {"a.png": "green", "sub/c.png": "red"}
    save_labels(label_images(load_unsafe_set(out), ["sub/c.png"], "", CLASSES), out)
    assert labels_of(load_unsafe_set(out)) == ["green", "", ""]
    assert typed_labels(out) == {}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("b.png,0,0.1,true,", '"b.png,0,0.1,true,'), "line 3: a quotation mark"),
        (("b.png,0,0.1,true,", "b.png,0,0.1,true,green,red"), "line 3: 6 cells under 5"),
        (("image,rcc,distance,within_eps,label", "image,rcc,distance,within_eps,class"), "column 'label' is missing"),
        (("b.png,0,0.1,true,", f"b.png,0,0.1,true,{'x' * 256}"), "labels of up to 255 characters"),
    ],
)  # fmt: skip
def test_a_damaged_table_is_refused_and_kept_as_it_is_and_labels_are_given_all_the_same(out, change, message):
    table = out / UNSAFE_SET_FILE
    damaged = table.read_text().replace(*change)
    table.write_text(damaged)
    for read in (typed_labels, take_typed_labels):
        with pytest.raises(SAFEError, match=message):
            read(out)
    save_labels(label_images(load_unsafe_set(out), ["sub/c.png"], "green", CLASSES), out)
    assert labels_of(load_unsafe_set(out)) == ["red", "", "green"]
    assert table.read_text() == damaged


# --- Tables of labels -------------------------------------------------------------------------------------------
