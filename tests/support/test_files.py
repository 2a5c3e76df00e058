import os
import subprocess
import sys
from pathlib import Path

import pytest

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import LEFTOVER_SECONDS, put_back, replacing, replacing_folder
from tests.helpers.places import names_in

ROOT = Path(__file__).parents[2]


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["labels.txt"]
    (tmp_path / "plain.txt").write_text("")
    assert path.stat().st_mode == (tmp_path / "plain.txt").stat().st_mode


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("fault", "raised"), [(FULL, SAFEError), (RuntimeError(), RuntimeError), (KeyboardInterrupt(), KeyboardInterrupt)]
)
def test_the_old_file_stays_and_no_temporary_one_when_the_writer_raises(tmp_path, fault, raised):
    path = tmp_path / "labels.txt"
    path.write_text("old")

    def write() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise fault

    with pytest.raises(raised):
        write()
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["labels.txt"]


# --- Folders ----------------------------------------------------------------------------------------------------


def fill(path: Path, text: str) -> None:
    with replacing_folder(path) as folder:
        (folder / "file").write_text(text)


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "new" / "export"
    for text in ("old", "new"):
        fill(path, text)
        assert names_in(path) == ["file"]
        assert (path / "file").read_text() == text
        assert names_in(tmp_path / "new") == ["export"]
    (tmp_path / "plain").mkdir()
    assert path.stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_kill_between_the_two_steps_is_mended_at_the_next_look(tmp_path):
    fill(tmp_path / "export", "old")
    killed = f"""
import os, sys
sys.path.insert(0, {str(ROOT)!r})
from safe_dnn.support import files as artefacts
from pathlib import Path
rename = Path.rename
def one_rename(path, target):
    rename(path, target)
    os._exit(9)
Path.rename = one_rename
with artefacts.replacing_folder(Path({str(tmp_path / "export")!r})) as folder:
    (folder / "file").write_text("new")
"""
    assert subprocess.run([sys.executable, "-c", killed], check=False).returncode == 9
    assert not (tmp_path / "export").exists()
    put_back(tmp_path / "another")
    put_back(tmp_path / "export")
    assert (tmp_path / "export" / "file").read_text() == "old"
    assert not (tmp_path / "another").exists()


def test_what_a_killed_process_left_of_a_folder_is_removed_after_an_hour(tmp_path):
    left, fresh, active, other = (
        tmp_path / name
        for name in (
            ".export.safe-new-abcdefgh", ".export.safe-new-ijklmnop", ".export.safe-new-qrstuvwx",
            ".other.safe-new-abcdefgh",
        )
    )  # fmt: skip
    for folder in (left, fresh, active, other):
        (folder / "RCC_00").mkdir(parents=True)
    for folder in (left, left / "RCC_00", active, other, other / "RCC_00"):  # active: in a folder within
        os.utime(folder, (0, folder.stat().st_mtime - LEFTOVER_SECONDS - 60))
    fill(tmp_path / "export", "new")
    assert names_in(tmp_path) == sorted([fresh.name, active.name, other.name, "export"])
