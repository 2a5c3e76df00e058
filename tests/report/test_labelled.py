"""The labelled unsafe set in class folders and a table, for training with another framework."""

import csv
from pathlib import Path

import pytest

from safe_dnn import SAFE_Tool
from safe_dnn.dnn.predictions import labelled_images
from safe_dnn.rccs.unsafe_set import UnsafeImage, UnsafeSet, load_unsafe_set, save_unsafe_set
from tests.helpers.small_models import draw_set


@pytest.fixture
def out(tmp_path) -> Path:
    """An unsafe set of six images, three of which are labelled; two have the same name."""
    folder = draw_set(tmp_path / "improvement", 2)
    labels = {"blue/plain_00.png": "blue", "green/plain_00.png": "blue", "red/plain_01.png": "red"}
    rows = tuple(UnsafeImage(path, 0, 0.5, True, labels.get(path, "")) for path in labelled_images(folder).paths)
    (tmp_path / "out").mkdir()
    save_unsafe_set(UnsafeSet(folder, rows, 6, "N = 6", 6, (6,), (), "clusters"), tmp_path / "out")
    return tmp_path / "out"


def export(out: Path, *more: object) -> int:
    return SAFE_Tool.main(
        [str(part) for part in ("export", "--out", out, "--labelled", out.parent / "labelled", *more)]
    )


def rows(folder: Path) -> list[list[str]]:
    with (folder / "labels.csv").open(newline="") as file:
        return list(csv.reader(file))


def test_labelled_images_are_copied_to_class_folders_with_a_table(out, tmp_path, capsys):
    assert export(out) == 0
    printed = capsys.readouterr()
    assert "3 images exported" in printed.out
    assert "safe: left out, since they have no label: 3 images" in printed.err
    assert rows(tmp_path / "labelled") == [
        ["image", "label", "rcc", "file"], ["blue/plain_00.png", "blue", "0", "blue/plain_00.png"],
        ["green/plain_00.png", "blue", "0", "blue/plain_00_2.png"],
        ["red/plain_01.png", "red", "0", "red/plain_01.png"],
    ]  # fmt: skip
    copies = labelled_images(tmp_path / "labelled")
    assert copies.classes == ("blue", "red")
    source = tmp_path / "improvement" / "green" / "plain_00.png"
    assert (tmp_path / "labelled" / "blue" / "plain_00_2.png").read_bytes() == source.read_bytes()
    assert export(out) == 2
    assert "which exists. Choose another name." in capsys.readouterr().err


@pytest.mark.parametrize("label", ["../up", "a/b", ".hidden", "what?"])
def test_a_label_that_is_no_name_of_a_folder_is_refused(out, tmp_path, capsys, label):
    (tmp_path / "labels.csv").write_text(f"image,label\ngreen/plain_01.png,{label}\n")
    assert export(out, "--labels", tmp_path / "labels.csv") == 2
    assert "valid names of folders" in capsys.readouterr().err
    assert not (tmp_path / "labelled").exists()
    assert "" in {image.label for image in load_unsafe_set(out).images if image.image == "green/plain_01.png"}


def test_a_set_without_labels_is_refused(out, capsys):
    unsafe = load_unsafe_set(out)
    bare = tuple(image._replace(label="") for image in unsafe.images)
    save_unsafe_set(UnsafeSet(unsafe.improvement_root, bare, 6, "N = 6", 6, (6,), (), "clusters"), out)
    assert export(out) == 2
    assert "Expected labelled images in the unsafe set" in capsys.readouterr().err
