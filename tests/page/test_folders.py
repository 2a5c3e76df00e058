"""Folders as they are listed for a visitor: nothing outside the root, in bounds."""

import os
from pathlib import Path

from safe_dnn.page import folders
from safe_dnn.page.folders import Listing, folder_at, list_folder
from tests.helpers.powers import bound_by_permissions


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(listing: Listing) -> list[str]:
    return [entry.name for entry in listing.entries]


def test_folders_are_listed_and_the_images_in_the_one_at_hand_counted(tmp_path):
    touch(tmp_path, "1.png", "2.JPG", "3.gif", ".4.png", "5.txt")
    (tmp_path / "6.png").mkdir()
    touch(tmp_path / "B", "1.png")
    touch(tmp_path / "a" / "deeper")
    touch(tmp_path / ".hidden", "1.png")
    listing = list_folder(tmp_path, None)
    assert names(listing) == ["6.png", "a", "B"]
    assert listing.notes == "2 images directly in this folder."
    assert list_folder(tmp_path / "a", None).notes == ""


def test_files_of_a_kind_are_listed_after_the_folders(tmp_path):
    touch(tmp_path, "z.csv", "b.KERAS", "a.onnx", "c.keras.bak", ".d.keras")
    touch(tmp_path / "y")
    (tmp_path / "e.keras").mkdir()
    os.mkfifo(tmp_path / "pipe.keras")
    entries = list_folder(tmp_path, None, (".keras", ".onnx")).entries
    assert [(entry.name, entry.folder) for entry in entries] == [
        ("e.keras", True), ("y", True), ("a.onnx", False), ("b.KERAS", False)
    ]  # fmt: skip


def test_all_that_is_read_is_bounded(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        touch(tmp_path / name)
    monkeypatch.setattr(folders, "MOST_LISTED", 2)
    listing = list_folder(tmp_path, None)
    assert names(listing) == ["a", "b"]
    assert listing.notes == "The first 2 of 3 are listed. Type the path of another."
    monkeypatch.setattr(folders, "MOST_NAMES", 1)
    assert "More than 1 names" in list_folder(tmp_path, None).notes


def test_nothing_outside_the_root_is_named_or_followed_to(tmp_path):
    root, secret = tmp_path / "root", touch(tmp_path / "secret", "1.png", "a.csv")
    touch(root / "in", "1.png")
    for name, target in {"out": secret, "hop": root / "out", "loop": root / "loop", "up": tmp_path, "in2": root / "in",
                         "a.csv": secret / "a.csv", "b.csv": root / "in" / "b.csv"}.items():  # fmt: skip
        (root / name).symlink_to(target)
    (root / "in" / "2.png").symlink_to(secret / "1.png")
    (root / "in" / "3.png").symlink_to(root / "in" / "1.png")
    (root / "in" / "classes").symlink_to(secret)
    touch(root / "in", "b.csv")
    listing = list_folder(root, root, (".csv",))
    assert names(listing) == ["in", "in2", "b.csv"]
    assert list_folder(root / "in", root).notes == "2 images directly in this folder."
    assert listing.above == ()
    assert [entry.name for entry in list_folder(root / "in", root).above] == ["root"]
    free = list_folder(root, None, (".csv",))
    assert {"out", "hop", "up", "a.csv"} < {entry.name for entry in free.entries}
    assert free.above[0].path == "/"


def test_a_folder_that_cannot_be_read_is_told_of_in_a_sentence(tmp_path):
    touch(tmp_path / "shut", "1.png").chmod(0)
    with bound_by_permissions():
        inner = list_folder(tmp_path / "shut", None)
    assert (inner.entries, inner.notes) == ((), "This folder cannot be read (Permission denied).")
    assert "cannot be read" in list_folder(tmp_path / "gone", None).notes


def test_what_is_outside_the_root_is_answered_alike_whether_or_not_it_is_there(tmp_path):
    root = touch(tmp_path / "root")
    touch(tmp_path / "there", "a.csv")
    (root / "link").symlink_to(tmp_path / "there")
    for typed in (str(tmp_path), f"{tmp_path}/there", f"{tmp_path}/gone", f"{root}/../there", "/", "~", "\0", "\ud800",
                  f"{root}/link", f"{root}/link/a.csv", "~nobody-of-this-name/x", "a/" * 3000):  # fmt: skip
        place, sentence = folder_at(typed, root)
        assert place == root
        assert sentence.startswith(f"Expected a path below {root}. Received: {typed[:20]}")
