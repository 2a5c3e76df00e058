"""What images show, measured."""

import colorsys
import io
import math

import numpy as np
import pytest
from PIL import Image

from safe_dnn.features.attributes import ATTRIBUTES, measure, measured_images, pictures, same_images
from safe_dnn.support.progress import reporting
from tests.helpers.places import names_in
from tests.reliability.test_bad_images import unreadable_images, valid_images, write

SHARES = ("brightness", "contrast", "sharpness", "noise", "saturation", "highlights", "shadows")


def of(image: Image.Image) -> dict[str, float]:
    return dict(zip(ATTRIBUTES, measure(image, image.size).tolist(), strict=True))


def grey(levels) -> Image.Image:
    return Image.fromarray(np.asarray(levels).round().clip(0, 255).astype(np.uint8)).convert("RGB")


def ramp(height: int, width: int, low: float = 60, high: float = 190) -> np.ndarray:
    return np.tile(np.linspace(low, high, width), (height, 1))


def photo(seed: int = 0, side: int = 256) -> Image.Image:
    """Clouds of colour with the falling spectrum of photos, and the same at every size."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(64) * 64, np.fft.fftfreq(64) * 64))
    frequency[0, 0] = np.inf
    channels = []
    for base in (150, 110, 70):
        small = np.fft.fft2(rng.normal(size=(64, 64))) / frequency**1.5
        clouds = np.real(np.fft.ifft2(small))
        channels.append(base + 30 * clouds / clouds.std())
    image = Image.fromarray(np.stack(channels, axis=-1).clip(0, 255).astype(np.uint8))
    return image.resize((side, side * 3 // 4), Image.Resampling.BICUBIC)


def assert_close(found: dict[str, float], expected: dict[str, float], names=ATTRIBUTES, atol=1e-6) -> None:
    for name in names:
        np.testing.assert_allclose(found[name], expected[name], atol=atol, err_msg=name)


# --- Values -----------------------------------------------------------------------------------------------------


def test_black_and_white_halves_have_the_values_computed_by_hand():
    half = np.zeros((10, 20))
    half[:, 10:] = 255
    expected = {
        "brightness": 0.5, "contrast": 0.5, "noise": 0, "saturation": 0, "hue_deg": math.nan, "highlights": 0.5,
        "shadows": 0.5, "width_px": 20, "height_px": 10, "aspect": 2,
    }  # fmt: skip
    # The Laplacian is 255 and -255 in 2 of 18 columns, and 0 elsewhere.
    expected["sharpness"] = math.sqrt(255**2 * 2 / 18) / 127.5 / 8
    found = of(grey(half))
    assert found.keys() == expected.keys()
    assert_close(found, expected)


def test_sharpness_does_not_depend_on_brightness_and_contrast():
    levels = np.asarray(photo(side=64).convert("L")).astype(float)
    expected = of(grey(levels))
    for low_contrast in (levels / 2 + 20, levels / 2 + 110):
        found = of(grey(low_contrast))
        assert found["contrast"] == pytest.approx(expected["contrast"] / 2, rel=0.02)
        assert found["sharpness"] == pytest.approx(expected["sharpness"], rel=0.1)


@pytest.mark.parametrize("side", [24, 64, 128, 224])
@pytest.mark.parametrize("sigma", [2, 5, 12, 25])
def test_noise_is_the_standard_deviation_that_was_added(side, sigma):
    rng = np.random.default_rng(side)
    shape = ramp(side, side)
    shape[side // 3 : side // 2] = 128  # with edges
    found = [of(grey(shape + rng.normal(0, sigma, shape.shape)))["noise"] * 255 for _ in range(5)]
    assert np.mean(found) == pytest.approx(sigma, rel=0.15)


@pytest.mark.parametrize("degrees", [0, 17, 60, 120, 200, 240, 300, 345])
def test_the_hue_of_one_colour_is_its_angle(degrees):
    colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(degrees / 360, 0.8, 0.7))
    found = of(Image.new("RGB", (6, 6), colour))
    turn = (found["hue_deg"] - degrees + 180) % 360 - 180
    assert abs(turn) < 2
    assert 0 <= found["hue_deg"] < 360
    assert found["saturation"] == pytest.approx(0.8, abs=0.01)


def test_grey_nearly_grey_and_motley_images_have_no_hue():
    rng = np.random.default_rng(0)
    assert math.isnan(of(grey(ramp(20, 20)))["hue_deg"])
    assert math.isnan(of(Image.new("RGB", (20, 20), (120, 120, 127)))["hue_deg"])
    assert math.isnan(of(Image.fromarray(rng.integers(0, 256, (99, 99, 3), dtype=np.uint8)))["hue_deg"])
    spot = Image.new("RGB", (100, 100), "grey")
    spot.paste("red", (0, 0, 9, 11))
    assert math.isnan(of(spot)["hue_deg"])
    spot.paste("red", (0, 0, 10, 10))
    assert of(spot)["hue_deg"] == 0


# --- Sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [225, 400, 1000, 3000])
def test_a_larger_image_has_the_values_of_a_small_one(side):
    expected, found = of(photo(side=224)), of(photo(side=side))
    assert_close(found, expected, SHARES, atol=0.01)
    assert found["hue_deg"] == pytest.approx(expected["hue_deg"], abs=3)
    assert found["width_px"] == side


# --- Many images ------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_whatever_can_be_read_has_values_and_what_cannot_has_none(tmp_path):
    write(tmp_path, valid_images())
    paths = names_in(tmp_path)
    rows = dict(zip(paths, measured_images(tmp_path, paths), strict=True))
    assert len(rows) >= 40
    for path, row in rows.items():
        found = dict(zip(ATTRIBUTES, row.tolist(), strict=True))
        hue = found.pop("hue_deg")
        assert math.isnan(hue) or 0 <= hue < 360, path
        assert all(math.isfinite(value) for value in found.values()), path
        assert all(0 <= found[name] <= 1 for name in SHARES), path
        assert found["aspect"] == pytest.approx(found["width_px"] / found["height_px"]), path
    bad = tmp_path / "bad"
    write(bad, unreadable_images())
    assert np.isnan(measured_images(bad, names_in(bad))).all()


def test_rows_follow_the_paths_and_missing_images_are_rows_of_nan(draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"night": 20, "snow": 20})
    paths = [*reversed(names_in(folder)), "gone.png", "\0", str(folder / "snow_03.png"), "snow_03.png"]
    steps = []
    with reporting(lambda what, done, total: steps.append((done, total))):
        rows = measured_images(folder, paths)
    assert rows.dtype == np.float32
    assert rows.shape == (44, len(ATTRIBUTES))
    for path, row in zip(paths[:40], rows[:40], strict=True):
        image = Image.open(folder / path)
        np.testing.assert_array_equal(row, measure(image, image.size), err_msg=path)
    assert np.isnan(rows[40:42]).all()
    np.testing.assert_array_equal(rows[42:], rows[paths.index("snow_03.png")][None].repeat(2, axis=0))
    assert steps == [(0, 44), (16, 44), (32, 44), (44, 44)]
    assert measured_images(folder, []).shape == (0, len(ATTRIBUTES))


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
    monkeypatch.setattr("safe_dnn.features.attributes._picture", None)  # fails if it is called
    assert (pictures(drawn) == first).all()
