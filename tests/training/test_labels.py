from pathlib import Path

import pytest

from rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from support.errors import SAFEError
from support.run_folder import KEPT_LABELS_FILE, UNSAFE_SET_FILE
from training.labels import (
    check_labels,
    keep_labels,
    label_images,
    label_rcc,
    label_unsafe_set,
    read_labels,
    replace_unsafe_set,
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


def test_images_that_are_selected_again_have_their_labels(out, improvement):
    assert select(out, improvement, "a.png", "b.png", "sub/c.png") == {"a": "red", "b": "", "c": "blue"}
    assert load_unsafe_set(out).labels == "2 of 2 labels of the previous set belong to images in this one."


def test_labels_of_images_that_are_not_selected_come_back_when_they_are(out, improvement):
    assert select(out, improvement, "a.png", "b.png") == {"a": "red", "b": ""}
    assert "1 of 2 labels" in load_unsafe_set(out).labels
    assert KEPT_LABELS_FILE in load_unsafe_set(out).labels
    assert select(out, improvement, "b.png") == {"b": ""}
    assert select(out, improvement, "sub/c.png", "a.png") == {"c": "blue", "a": "red"}


def test_an_image_that_took_the_place_of_a_labelled_one_has_no_label_until_that_is_back(out, improvement):
    write(improvement / "a.png", "another")
    assert select(out, improvement, "a.png", "sub/c.png") == {"a": "", "c": "blue"}
    give(out, a="green")
    write(improvement / "a.png", "a.png")
    assert select(out, improvement, "a.png", "sub/c.png") == {"a": "red", "c": "blue"}
    write(improvement / "a.png", "another")
    assert select(out, improvement, "a.png") == {"a": "green"}


def test_a_label_that_was_not_brought_back_for_another_content_is_not_taken_for_one_taken_away(out, improvement):
    write(improvement / "a.png", "another")
    select(out, improvement, "a.png")
    write(improvement / "a.png", "a.png")
    assert select(out, improvement, "a.png") == {"a": "red"}


def test_the_place_of_an_image_may_be_named_from_another_folder_or_moved_as_a_whole(out, improvement, tmp_path):
    assert select(out, tmp_path, "improvement/a.png", "improvement/sub/c.png") == {"a": "red", "c": "blue"}
    assert select(out, improvement / "sub", "c.png") == {"c": "blue"}
    improvement.rename(tmp_path / "moved")
    assert select(out, tmp_path / "moved", "a.png", "sub/c.png") == {"a": "red", "c": "blue"}
    give(out, c="green")
    (tmp_path / "moved").rename(improvement)
    assert select(out, improvement / "sub", "c.png") == {"c": "green"}


def test_a_copy_elsewhere_is_another_image(out, improvement):
    write(improvement / "copies" / "a.png", "a.png")
    write(improvement / "b.png", "a.png")
    assert select(out, improvement, "copies/a.png") == {"a": ""}
    assert select(out, improvement, "b.png") == {"b": ""}


def test_a_label_that_was_taken_away_stays_away(out, improvement):
    give(out, a="")
    assert select(out, improvement, "a.png", "sub/c.png") == {"a": "", "c": "blue"}
    assert select(out, improvement, "b.png") == {"b": ""}
    assert select(out, improvement, "a.png") == {"a": ""}


def test_labels_that_were_typed_into_the_table_or_taken_away_there_are_kept_so(out, improvement):
    lines = {"a.png,0,0.1,true,red": "a.png,0,0.1,true,", "b.png,0,0.1,true,": "b.png,0,0.1,true,green"}
    typed = [lines.get(line, line) for line in (out / UNSAFE_SET_FILE).read_text().split("\n")]
    (out / UNSAFE_SET_FILE).write_text("\n".join(typed))
    assert of(out) == {"a": "", "b": "green", "c": "blue"}
    assert select(out, improvement, "sub/c.png") == {"c": "blue"}
    assert select(out, improvement, "a.png", "b.png") == {"a": "", "b": "green"}


def test_a_table_that_cannot_be_read_is_put_aside_and_its_labels_come_back(out, improvement):
    (out / UNSAFE_SET_FILE).write_text("image;label\na.png;red\n")
    assert select(out, improvement, "a.png") == {"a": "red"}
    assert (out / "unsafe_set-unreadable-1.csv").read_text() == "image;label\na.png;red\n"


def test_kept_labels_that_cannot_be_read_are_told_and_nothing_is_changed(out, improvement):
    (out / KEPT_LABELS_FILE).write_text("images\na.png\n")
    with pytest.raises(SAFEError, match=r"image_labels\.csv must be the complete table of labels written by SAFE"):
        select(out, improvement, "b.png")
    assert of(out) == {"a": "red", "b": "", "c": "blue"}


def test_a_label_kept_while_its_image_could_not_be_read_comes_back_with_the_image(out, improvement, tmp_path):
    improvement.rename(tmp_path / "unplugged")
    (out / UNSAFE_SET_FILE).write_text((out / UNSAFE_SET_FILE).read_text().replace("true,red", "true,green"))
    keep_labels(out)
    (tmp_path / "unplugged").rename(improvement)
    assert select(out, improvement, "a.png", "sub/c.png") == {"a": "green", "c": "blue"}


def test_a_table_of_labels_may_come_from_a_spreadsheet(tmp_path):
    (tmp_path / "labels.csv").write_bytes(
        "label;note;image\r\nred;x;.\\new\\a.png\r\nblue;;b.png\r\n".encode("utf-8-sig")
    )
    assert read_labels(tmp_path / "labels.csv") == {"new/a.png": "red", "b.png": "blue"}
    (tmp_path / "labels.csv").write_text("image;name\na.png;red\n")
    with pytest.raises(SAFEError, match="The column 'label' is missing"):
        read_labels(tmp_path / "labels.csv")
