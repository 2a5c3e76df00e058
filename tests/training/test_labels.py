from pathlib import Path

import pytest

from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE, UnsafeImage, UnsafeSet, load_unsafe_set
from safe_dnn.support.errors import SAFEError
from safe_dnn.training.labels import (
    label_images,
    label_unsafe_set,
    replace_unsafe_set,
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
    unsafe = replace_unsafe_set(unsafe_set(*images, root=tmp_path / "improvement"), tmp_path / "out")
    for name, label in (("a.png", "red"), ("sub/c.png", "blue")):
        unsafe = label_images(unsafe, [name], label, CLASSES)
    save_labels(unsafe, tmp_path / "out")
    return tmp_path / "out"


# --- What was typed into unsafe_set.csv -------------------------------------------------------------------------


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


def test_of_a_table_of_labels_each_row_is_matched_by_itself_and_none_is_swallowed(out, tmp_path):
    unsafe = load_unsafe_set(out)
    rows = [(image.image, "red") for image in unsafe.images]
    table = tmp_path / "labels.csv"
    names = [str(tmp_path / "improvement" / rows[0][0]), f"C:\\new\\{rows[1][0]}", *(name for name, _ in rows[2:])]
    table.write_text("sep=;\nimage;label\n" + "".join(f"{name};red\n" for name in names), "utf-16")
    assert {image.label for image in label_unsafe_set(unsafe, (), labels=table).images} == {"red"}
    for line, message in (('"a.png,red', "line 2: a quotation mark"), ("a.png,red,blue", "line 2: 3 cells under 2")):
        table.write_text(f"image,label\n{line}\n" + "".join(f"{name},blue\n" for name, _ in rows))
        with pytest.raises(SAFEError, match=message):
            label_unsafe_set(unsafe, (), labels=table)
    table.write_text(f"image,label\n{rows[0][0]},blue\n{tmp_path}/improvement/{rows[0][0]},red\n")
    with pytest.raises(SAFEError, match=r"Expected one row for .* label: (blue and red|red and blue)\."):
        label_unsafe_set(unsafe, (), labels=table)
