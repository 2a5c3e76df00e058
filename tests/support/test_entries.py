import os
from pathlib import Path

import pytest

from safe_dnn.support.errors import LONGEST_QUOTED, SAFEError, number_of, path_of


def test_a_path_is_taken_without_white_space_around_it_and_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert path_of(" images\n", "an image folder") == tmp_path / "images"
    assert path_of(' "two words"', "an image folder") == tmp_path / "two words"
    assert path_of("~/images", "an image folder") == tmp_path / "home" / "images"
    assert path_of(tmp_path / "two words ", "an image folder") == tmp_path / "two words "
    assert path_of(os.fsdecode(b"caf\xe9"), "an image folder") == tmp_path / os.fsdecode(b"caf\xe9")


def bad_paths(folder: Path) -> dict[str, str]:
    """Paths that can lead nowhere, by what is wrong with them; links for it are made in the folder."""
    (folder / "loop").symlink_to(folder / "circle")
    (folder / "circle").symlink_to(folder / "loop")
    return {
        "nothing": " ", "unknown user": "~nosuchuser/x", "NUL": f"{folder}/a\0b", "long name": f"{folder}/{'x' * 300}",
        "long path": f"{folder}/" + "x/" * 3000, "loop": f"{folder}/loop", "below a loop": f"{folder}/loop/x.csv",
        "behind a loop": f"{folder}/gone/../loop", "no Unicode": f"{folder}/\ud800",
    }  # fmt: skip


def test_without_a_home_or_a_current_folder_there_is_a_sentence(tmp_path, monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("pwd.getpwuid", lambda uid: {}[uid])
    with pytest.raises(SAFEError, match=r"Received: ~/x \(Could not determine home directory\)"):
        path_of("~/x", "an image folder")
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(SAFEError, match=r"Expected an output folder\. Received: \. \("):
        path_of(".", "an output folder")


@pytest.mark.parametrize(
    ("typed", "number"), [("0,93", 0.93), (" ,5 ", 0.5), ("0,001", 0.001), ("12,5", 12.5), ("1e-3", 0.001)]
)
def test_a_number_may_have_a_decimal_comma(typed, number):
    assert number_of(typed, "factor") == number


@pytest.mark.parametrize(
    "typed", ["", "x", "1,000", "1,2,3", "1.2,3", "1e309", "-inf", "nan", None, [], 10**400, "9" * 5000]
)
def test_what_is_no_finite_number_is_an_error(typed):
    with pytest.raises(SAFEError, match=r"^factor must be a number\. Received: ") as caught:
        number_of(typed, "factor")
    assert len(str(caught.value)) < LONGEST_QUOTED + 50
