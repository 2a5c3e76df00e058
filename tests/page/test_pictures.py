"""Thumbnails as files that the page serves."""

import os
from pathlib import Path

import pytest
from PIL import Image

from safe_dnn.page.pictures import picture_file


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


def test_an_image_that_has_changed_gets_another_picture(image):
    first = picture_file(image, 64)
    Image.new("RGB", (200, 101), "blue").save(image)
    second = picture_file(image, 64)
    assert second != first
    assert centre(second)[2] > 200


def test_no_more_pictures_are_kept_than_the_bound(image, monkeypatch):
    monkeypatch.setattr("safe_dnn.page.pictures.MOST_PICTURES", 5)
    Image.new("RGB", (2, 2), "red").save(image)
    for time in range(10_000):
        os.utime(image, ns=(0, time))
        file = Path(picture_file(image, 2))
        if file.name.startswith("00"):  # one of 256
            break
    left = list(file.parent.iterdir())
    assert len(left) == min(time + 1, 5)
    assert file in left
