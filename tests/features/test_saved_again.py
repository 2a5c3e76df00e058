"""Images that were saved again are found, however they were changed, and nothing else is."""

import io

import numpy as np
import pytest
from PIL import Image

from safe_dnn.features.saved_again import pictures, same_images


def draw(seed: int) -> Image.Image:
    """A picture of its own: coarse shapes with noise."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize((90, 70), Image.Resampling.BICUBIC)
    pixels = np.asarray(coarse) + rng.normal(0, 8, (70, 90, 1))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def one_bit(image: Image.Image) -> Image.Image:
    pixels = np.array(image)
    pixels[35, 45, 0] ^= 1
    return Image.fromarray(pixels)


CHANGES = {
    "one bit": one_bit, "90": lambda image: jpeg(image, 90), "75": lambda image: jpeg(image, 75),
    "smaller": lambda image: image.resize((81, 63), Image.Resampling.BICUBIC),
    "half": lambda image: image.resize((45, 35), Image.Resampling.BICUBIC),
    "larger": lambda image: image.resize((180, 140), Image.Resampling.BICUBIC),
}  # fmt: skip


@pytest.fixture
def drawn(tmp_path):
    files = [tmp_path / f"drawn_{seed}.png" for seed in range(60)]
    for seed, file in enumerate(files):
        draw(seed).save(file)
    return files


@pytest.mark.parametrize("change", CHANGES)
def test_images_that_were_saved_again_are_found_and_no_other_pair(drawn, tmp_path, change):
    again = [tmp_path / f"again_{seed}.png" for seed in range(20)]
    for seed, file in enumerate(again):
        CHANGES[change](draw(seed)).save(file)
    pairs = same_images(pictures(drawn), pictures(again))
    assert sorted(pairs) == [(i, i) for i in range(20)]


def test_what_is_flat_or_cannot_be_read_is_the_same_as_no_other(drawn, tmp_path):
    flat = [tmp_path / f"flat_{level}.png" for level in (9, 10)]
    for level, file in zip((9, 10), flat, strict=True):
        Image.new("L", (40, 40), level).save(file)
    (tmp_path / "broken.png").write_bytes(b"no image")
    features = pictures([*flat, tmp_path / "broken.png", tmp_path / "none.png", drawn[0], drawn[0]])
    assert sorted(same_images(features, features)) == [(row, column) for row in (4, 5) for column in (4, 5)]
    assert same_images(features[:0], features) == []


def test_features_are_cached_by_content(drawn, monkeypatch):
    first = pictures(drawn)
    monkeypatch.setattr("safe_dnn.features.saved_again._picture", None)  # fails if it is called
    assert (pictures(drawn) == first).all()
