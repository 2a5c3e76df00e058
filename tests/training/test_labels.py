from pathlib import Path

import pytest

from rccs.unsafe_set import (
    UNSAFE_SET_FILE,
    UnsafeImage,
    UnsafeSet,
    load_unsafe_set,
)
from support.errors import SAFEError
from training.labels import (
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
        ("image,label\na.png,red\na.png,blue\n", "one label for a.png"),
        ("image,label\nelsewhere.png,red\n", "Name the images relative"),
    ],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, unsafe, text, words):
    (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(SAFEError, match=words):
        label_unsafe_set(unsafe, CLASSES, labels=tmp_path / "labels.csv")


# --- From one unsafe set to the next ----------------------------------------------------------------------------


@pytest.fixture
def improvement(tmp_path):
    """An improvement folder with three images."""
    for name in ("a.png", "b.png", "sub/c.png"):
        write(tmp_path / "improvement" / name, name)
    return tmp_path / "improvement"


def write(file, content):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"the image {content}")


def select(out, root, *names):
    """Select images, as `select_images` does at the end; their labels."""
    replace_unsafe_set(unsafe_set(*((name, 0, "") for name in names), root=root), out)
    return of(out)


def give(out, **labels):
    """Label images in the set, as the page does."""
    unsafe = load_unsafe_set(out)
    for name, label in labels.items():
        images = [image.image for image in unsafe.images if Path(image.image).stem == name]
        unsafe = label_images(unsafe, images, label, CLASSES)
    save_labels(unsafe, out)


def of(out):
    return {Path(image.image).stem: image.label for image in load_unsafe_set(out).images}


@pytest.fixture
def out(improvement, tmp_path):
    """An output folder whose set has all three images; two of them have a label."""
    folder = tmp_path / "out"
    select(folder, improvement, "a.png", "b.png", "sub/c.png")
    give(folder, a="red", c="blue")
    return folder


# --- What was typed into unsafe_set.csv -------------------------------------------------------------------------


def typing(out, *changes):
    """Change the table as somebody does in another program."""
    text = (out / UNSAFE_SET_FILE).read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    (out / UNSAFE_SET_FILE).write_text(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("b.png,0,0.1,true,", '"b.png,0,0.1,true,'), "line 3: a quotation mark"),
        (("b.png,0,0.1,true,", "b.png,0,0.1,true,green,red"), "line 3: 6 cells under 5"),
        (("image,rcc,distance,within_eps,label", "image,rcc,distance,within_eps,class"), "column 'label' is missing"),
        (("b.png,0,0.1,true,", f"b.png,0,0.1,true,{'x' * 256}"), "labels of up to 255 characters"),
    ],
)
def test_a_damaged_table_is_refused_and_kept_as_it_is_and_labels_are_given_all_the_same(out, change, message):
    typing(out, change)
    damaged = (out / UNSAFE_SET_FILE).read_bytes()
    for read in (typed_labels, take_typed_labels):
        with pytest.raises(SAFEError, match=message):
            read(out)
    give(out, c="green")
    assert of(out) == {"a": "red", "b": "", "c": "green"}
    assert (out / UNSAFE_SET_FILE).read_bytes() == damaged


# --- Tables of labels -------------------------------------------------------------------------------------------


def test_of_a_table_of_labels_each_row_is_matched_by_itself_and_none_is_swallowed(out, improvement, tmp_path):
    unsafe = load_unsafe_set(out)
    rows = [(image.image, "red") for image in unsafe.images]
    table = tmp_path / "labels.csv"
    names = [str(improvement / rows[0][0]), f"C:\\new\\{rows[1][0]}", *(name for name, _ in rows[2:])]
    table.write_text("sep=;\nimage;label\n" + "".join(f"{name};red\n" for name in names), "utf-16")
    assert {image.label for image in label_unsafe_set(unsafe, (), labels=table).images} == {"red"}
    for line, message in (('"a.png,red', "line 2: a quotation mark"), ("a.png,red,blue", "line 2: 3 cells under 2")):
        table.write_text(f"image,label\n{line}\n" + "".join(f"{name},blue\n" for name, _ in rows))
        with pytest.raises(SAFEError, match=message):
            label_unsafe_set(unsafe, (), labels=table)
    table.write_text(f"image,label\n{rows[0][0]},blue\n{improvement / rows[0][0]},red\n")
    with pytest.raises(SAFEError, match=r"Expected one label for .* Received: (blue and red|red and blue)\."):
        label_unsafe_set(unsafe, (), labels=table)
