"""Folders as they are listed for a visitor: nothing outside the root, in bounds."""

import os
from pathlib import Path

from safe_dnn.page import paths
from safe_dnn.page.paths import folder_of, list_folder
from tests.helpers.powers import bound_by_permissions


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def names(folder: Path, root: Path | None = None, suffixes: tuple[str, ...] = ()) -> list[str]:
    return [path.removeprefix(f"{folder}/") for path in list_folder(folder, root, suffixes)]


def test_files_of_a_kind_are_listed_after_the_folders(tmp_path):
    touch(tmp_path, "z.csv", "b.KERAS", "a.onnx", "c.keras.bak", ".d.keras", "1.png", "line\nbreak.onnx")
    touch(tmp_path / ".hidden", "1.png")
    touch(tmp_path / "Y" / "deeper")
    (tmp_path / "e.keras").mkdir()
    os.mkfifo(tmp_path / "pipe.keras")
    assert names(tmp_path) == ["e.keras/", "Y/"]
    assert names(tmp_path, None, (".keras", ".onnx")) == ["e.keras/", "Y/", "a.onnx", "b.KERAS"]


def test_all_that_is_read_is_bounded(tmp_path, monkeypatch):
    for name in ("a", "b", "c"):
        touch(tmp_path / name)
    monkeypatch.setattr(paths, "MOST_LISTED", 2)
    assert names(tmp_path) == ["a/", "b/"]
    monkeypatch.setattr(paths, "MOST_NAMES", 1)
    assert len(names(tmp_path)) == 1


def test_nothing_outside_the_root_is_named_or_followed_to(tmp_path):
    root, secret = tmp_path / "root", touch(tmp_path / "secret", "1.png", "a.csv")
    touch(root / "in", "1.png")
    for name, target in {"out": secret, "hop": root / "out", "loop": root / "loop", "up": tmp_path, "in2": root / "in",
                         "a.csv": secret / "a.csv", "b.csv": root / "in" / "b.csv"}.items():  # fmt: skip
        (root / name).symlink_to(target)
    touch(root / "in", "b.csv")
    assert names(root, root, (".csv",)) == ["in/", "in2/", "b.csv"]
    assert {"out/", "hop/", "up/", "a.csv"} < {*names(root, None, (".csv",))}


def test_a_folder_that_cannot_be_read_is_empty(tmp_path):
    touch(tmp_path / "shut", "1.png").chmod(0)
    with bound_by_permissions():
        assert names(tmp_path / "shut") == []
    assert names(tmp_path / "gone") == []


def test_a_path_is_that_of_a_folder_up_to_its_last_slash(tmp_path):
    inner = touch(tmp_path / "in", "a.csv")
    for typed in (f"{inner}/", f"{inner}/a.csv", f"  {inner}/gone", f"{tmp_path}/./in/x"):
        assert folder_of(typed, None).resolve() == inner
    assert folder_of(str(inner), None) == tmp_path
    assert folder_of("", inner) == inner
    assert folder_of("", None) in (Path.home().resolve(), Path.cwd().resolve())
    assert folder_of(f"{tmp_path}/gone/", None) is None


def test_what_is_outside_the_root_is_answered_alike_whether_or_not_it_is_there(tmp_path):
    root = touch(tmp_path / "root")
    touch(tmp_path / "there", "a.csv")
    (root / "link").symlink_to(tmp_path / "there")
    for typed in (f"{tmp_path}/", f"{tmp_path}/there/", f"{tmp_path}/gone/", f"{root}/../there/", "/", "~/", "/\0/",
                  "/\ud800/", f"{root}/link/", f"{root}/link/a.csv", "~nobody-of-this-name/x", "a/" * 999):  # fmt: skip
        assert folder_of(typed, root) is None, typed
