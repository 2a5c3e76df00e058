"""Thumbnails as files that the page serves."""

import os
from pathlib import Path

import pytest
from PIL import Image

from page import pictures
from page.pictures import picture_file
from page.runs_view import _export_folder


@pytest.fixture
def image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "served"))
    path = tmp_path / "root" / "red.png"
    path.parent.mkdir()
    Image.new("RGB", (200, 100), "red").save(path)
    return path


def centre(file: str) -> tuple[int, int, int]:
    with Image.open(file) as picture:
        return picture.convert("RGB").getpixel((picture.width // 2, picture.height // 2))


def test_a_picture_is_written_once_below_the_served_folder(image, tmp_path):
    first = picture_file(image, 64, None)
    written = Path(first).stat().st_ino
    assert Path(first).is_relative_to(tmp_path / "served")
    with Image.open(first) as picture:
        assert max(picture.size) == 64
    assert picture_file(image, 64, None) == first
    assert Path(first).stat().st_ino == written
    assert picture_file(image, 32, None) != first
    red, green, blue = centre(first)
    assert red > 200 > 50 > max(green, blue)


def test_an_image_that_has_changed_gets_another_picture(image):
    first = picture_file(image, 64, None)
    Image.new("RGB", (200, 101), "blue").save(image)
    second = picture_file(image, 64, None)
    assert second != first
    assert centre(second)[2] > 200


def test_of_an_image_outside_the_root_or_gone_the_tile_is_shown(image, tmp_path):
    tile = picture_file(image, 64, tmp_path / "elsewhere")
    assert tile == picture_file(tmp_path / "gone.png", 64, None)
    assert tile != picture_file(image, 64, image.parent)
    assert centre(tile)[0] < 250


@pytest.mark.slow
def test_no_more_pictures_are_kept_than_the_bound_and_those_shown_last_stay(image, monkeypatch):
    monkeypatch.setattr(pictures, "MOST_PICTURES", 20)
    Image.new("RGB", (2, 2), "red").save(image)
    first = Path(picture_file(image, 2, None))
    for time in range(10_000):
        os.utime(image, ns=(0, time))
        file = Path(picture_file(image, 2, None))
        os.utime(first)  # as if it were shown again
        if file.name.startswith("00"):
            break
    left = list(file.parent.iterdir())
    assert len(left) == min(time + 2, 20)
    assert {first, file} <= set(left)


def test_the_last_exports_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    made = []
    for time in range(25):
        made.append(_export_folder())
        os.utime(made[-1], (time, time))
    assert sorted(made[-20:]) == sorted((tmp_path / "exports").iterdir())
