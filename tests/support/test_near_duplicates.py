"""Images that are nearly the same: copies are found however they were changed, and nothing else is."""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from safe_dnn.support.near_duplicates import near_duplicates, thumbnails


def draw(seed: int) -> Image.Image:
    """A landscape of its own: smooth at first sight, with edges."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize(
        (180, 140), Image.Resampling.BICUBIC
    )
    pixels = np.asarray(coarse).astype(int)
    for _ in range(5):
        top, left = rng.integers(0, 100), rng.integers(0, 140)
        pixels[top : top + 30, left : left + 25] += rng.integers(-90, 90)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def encoded_again(image):
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=75)
    return Image.open(stream)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    files = [folder / f"{i:03d}.png" for i in range(120)]
    for seed, file in enumerate(files):
        draw(seed).save(file)
    return thumbnails(files)


@pytest.mark.parametrize(
    "changed",
    [
        encoded_again,
        lambda image: image.resize((90, 70)),
        lambda image: ImageEnhance.Brightness(image).enhance(1.05),
        ImageOps.mirror,
        lambda image: image.crop((0, 0, 171, 133)),
        lambda image: image.crop((5, 7, 176, 140)),
    ],
    ids=["encoded again", "resized", "brighter", "mirrored", "cut right and below", "cut elsewhere"],
)
def test_a_copy_that_was_changed_is_found_and_nothing_else(drawn, tmp_path, changed):
    copies = [tmp_path / f"{seed}.png" for seed in range(40)]
    for seed, file in enumerate(copies):
        changed(draw(seed)).save(file)
    for one, other in ((drawn, thumbnails(copies)), (thumbnails(copies), drawn)):  # either may be the copy
        assert [pair[:2] for pair in near_duplicates(one, other)] == [(i, i) for i in range(40)]


def test_within_a_set_each_pair_is_named_once(drawn):
    twice = np.concatenate([drawn, drawn[5:7]])
    assert near_duplicates(twice) == [(5, 120, 0), (6, 121, 0)]
    assert near_duplicates(drawn) == []


def test_images_that_are_flat_or_cannot_be_read_are_like_no_other(tmp_path):
    for name, grey in (("a.png", 0), ("b.png", 0), ("c.png", 200)):
        Image.new("L", (50, 50), grey).save(tmp_path / name)
    (tmp_path / "damaged.png").write_bytes(b"\x89PNG\r\n")
    read: list[tuple] = []
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png", "damaged.png", "gone.png")]
    found = thumbnails(files, progress=lambda *step: read.append(step))
    assert read == [("Reading images", 5, 5)]  # though the last one cannot be read
    assert near_duplicates(found) == []
    assert near_duplicates(found[:0], found) == []


def test_two_images_alone_can_be_copies(tmp_path):
    draw(0).save(tmp_path / "a.png")
    draw(0).resize((360, 280)).save(tmp_path / "b.png")
    draw(1).save(tmp_path / "c.png")
    found = thumbnails([tmp_path / f"{name}.png" for name in "abc"])
    assert [pair[:2] for pair in near_duplicates(found)] == [(0, 1)]
