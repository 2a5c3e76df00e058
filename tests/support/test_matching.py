"""Which rows of a table are about which images."""

import unicodedata
from pathlib import Path

import pytest

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.matching import rows_by_image, rows_in
from safe_dnn.support.tables import read_table

TABLES, TEST = Path("/tables"), Path("/tables/test")
IMAGES = ("a/0.png", "a/1.png", "b/2.png")


def matched(*keys: str, images: tuple[str, ...] = IMAGES, root: Path = TEST, by_name: bool = False) -> dict:
    return rows_by_image(keys, TABLES, root, images, by_name=by_name)


@pytest.mark.parametrize(
    "key",
    ["a/0.png", "./a/0.png", "test/a/0.png", "/tables/test/a/0.png", "/data/val/a/0.png", "C:\\val\\a\\0.png",
     "val/a/0.png", "../val/a/0.png", "0.png", " a\\0.png "],
)  # fmt: skip
def test_each_row_is_matched_by_itself(key):
    assert matched(key) == {"a/0.png": [0]}
    assert matched("b/2.png", key, "x.png", "") == {"a/0.png": [1], "b/2.png": [0]} or key.startswith(("val", "../val"))


def test_letters_that_macos_takes_apart_are_the_same():
    whole = "ä/ü.png"
    apart = unicodedata.normalize("NFD", whole)
    assert matched(apart, images=(whole,)) == {whole: [0]}
    assert matched(whole, images=(apart,)) == {apart: [0]}
    assert matched(apart, whole, images=(whole, apart)) == {whole: [1], apart: [0]}


def test_a_name_alone_is_enough_for_copies_if_nothing_else_matches():
    assert matched("other/0.png", "x/1.png", by_name=True) == {"a/0.png": [0], "a/1.png": [1]}
    assert matched("other/0.png", "a/1.png", by_name=True) == {"a/1.png": [1]}
    assert matched("x/0.png", "y/0.png", by_name=True) == {}
    assert matched("0.png", images=("a/0.png", "b/0.png"), by_name=True) == {}


def test_rows_from_a_place_are_of_another_set_if_as_many_images_are_found_in_this_one():
    assert matched("test/a/0.png", "test/a/1.png", "train/b/2.png") == {"a/0.png": [0], "a/1.png": [1]}
    assert matched("a/0.png", "val/a/1.png", "val/b/2.png") == {"a/0.png": [0], "a/1.png": [1], "b/2.png": [2]}
    assert matched("train/a/0.png", "val/a/0.png", "val/a/1.png") == {"a/1.png": [2]}


def test_rows_from_a_place_on_this_machine_are_of_the_images_there(tmp_path):
    (tmp_path / "train").mkdir()
    keys = ("test/a/0.png", "train/a/1.png", "train/b/2.png")
    assert rows_by_image(keys, tmp_path, tmp_path / "test", IMAGES) == {"a/0.png": [0]}
    (tmp_path / "train").rmdir()
    assert len(rows_by_image(keys, tmp_path, tmp_path / "test", IMAGES)) == 3


def test_a_table_or_a_folder_may_be_reached_by_a_link(tmp_path):
    image = tmp_path / "data" / "test" / "a" / "0.png"
    image.parent.mkdir(parents=True)
    image.touch()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    for folder, root in ("link", "data"), ("data", "link"):
        found = rows_by_image(["test/a/0.png"], tmp_path / folder, tmp_path / root / "test", ["a/0.png"])
        assert found == {"a/0.png": [0]}


def test_of_two_rows_the_surer_comes_first_and_that_of_another_file_is_none(tmp_path):
    keys = ("a/0.png", "test/a/0.png")
    assert rows_by_image(keys, tmp_path, tmp_path / "test", IMAGES) == {"a/0.png": [1, 0]}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "0.png").touch()
    assert rows_by_image(keys, tmp_path, tmp_path / "test", IMAGES) == {"a/0.png": [1]}


def test_bytes_that_are_no_utf_8_are_of_a_file_with_this_name(tmp_path):
    assert matched("caf\udce9.png", images=("caf\udce9.png",)) == {"caf\udce9.png": [0]}
    assert matched("café.png", images=("caf\udce9.png",)) == {}
    (tmp_path / "answers.csv").write_bytes(b"image\na/0.png\ncaf\xe9.png\n")
    table = read_table(tmp_path / "answers.csv", "answers")
    assert rows_in(table, tmp_path, ("a/0.png", "caf\udce9.png")) == {"a/0.png": [0], "caf\udce9.png": [1]}
    with pytest.raises(SAFEError, match="Expected a name in UTF-8 in line 3 of"):
        rows_in(table, tmp_path, ("a/0.png", "café.png"))


def test_rows_of_an_image_that_contradict_each_other_are_refused_with_their_lines(tmp_path):
    (tmp_path / "labels.csv").write_text("image,label,x\na/0.png,stop,1\n./a/0.png,stop,2\n")
    table = read_table(tmp_path / "labels.csv", "labels")
    assert rows_in(table, tmp_path, IMAGES, ("label",)) == {"a/0.png": [0, 1]}
    with pytest.raises(SAFEError, match="Received lines 2 and 3 with different values for x: 1 and 2"):
        rows_in(table, tmp_path, IMAGES, ("label", "x"))
