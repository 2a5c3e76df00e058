"""What images show, measured."""

import colorsys
import math
import shutil
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import ndimage

from FE import extract_features
from features import attributes as measuring
from features.attributes import ATTRIBUTES, attribute_cache, measure, measured_images
from features.batches import decode_for_network
from features.cache import FeatureCache, content_key
from tests.helpers.encoding import encoded
from tests.helpers.places import names_in
from tests.helpers.scenes import draw_scene
from tests.reliability.test_bad_images import unreadable_images, valid_images, write

SHARES = ("brightness", "contrast", "sharpness", "noise", "saturation", "highlights", "shadows")


def of(image: Image.Image) -> dict[str, float]:
    return dict(zip(ATTRIBUTES, measure(image, image.size).tolist(), strict=True))


def of_file(data: bytes) -> dict[str, float]:
    return dict(zip(ATTRIBUTES, measure(*decode_for_network(data)).tolist(), strict=True))


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


def test_brightness_is_luma_in_which_green_counts_most():
    for colour, weight in (("#f00", 0.299), ("#0f0", 0.587), ("#00f", 0.114)):
        assert of(Image.new("RGB", (4, 4), colour))["brightness"] == pytest.approx(weight, abs=0.002)


@pytest.mark.parametrize(
    ("level", "highlights", "shadows"), [(0, 0, 1), (5, 0, 1), (6, 0, 0), (249, 0, 0), (250, 1, 0), (255, 1, 0)]
)
def test_within_two_percent_of_black_or_white_is_cut_off(level, highlights, shadows):
    found = of(grey(np.full((5, 5), level)))
    assert (found["highlights"], found["shadows"]) == (highlights, shadows)


def test_a_checkerboard_is_as_sharp_as_can_be_and_a_ramp_or_a_flat_image_is_not_sharp_at_all():
    board = np.indices((30, 40)).sum(axis=0) % 2
    assert of(grey(100 + 3 * board))["sharpness"] == pytest.approx(1, abs=1e-3)
    assert of(grey(255 * board))["sharpness"] == pytest.approx(1, abs=1e-3)
    assert of(grey(np.tile(np.arange(50, 90), (40, 1))))["sharpness"] == 0
    assert of(grey(np.full((40, 40), 77)))["sharpness"] == 0


def test_sharpness_and_noise_are_those_of_the_masks_in_the_papers():
    rng = np.random.default_rng(0)
    levels = rng.integers(20, 230, (31, 47))
    found = of(grey(levels))
    laplacian = ndimage.convolve(levels, np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]))[1:-1, 1:-1]
    assert found["sharpness"] == pytest.approx(laplacian.std() / levels.std() / 8, rel=1e-6)
    answers = np.abs(ndimage.convolve(levels, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]]))[1:-1, 1:-1])
    quartile = np.percentile(answers, 25)
    assert found["noise"] * 255 == pytest.approx(quartile / 0.31864 / 6, abs=0.6 / 0.31864 / 6)


def test_blur_lowers_sharpness_step_by_step():
    image = photo(side=64)
    found = [of(image.filter(ImageFilter.GaussianBlur(radius)))["sharpness"] for radius in (0, 0.7, 1.2, 2)]
    assert all(later < 0.8 * earlier for earlier, later in pairwise(found)), found


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


def test_noise_is_that_of_the_parts_where_it_is_not_cut_off():
    rng = np.random.default_rng(0)
    noisy = ramp(100, 100) + rng.normal(0, 10, (100, 100))
    framed = np.pad(noisy, ((60, 60), (0, 0)))
    assert of(grey(framed))["noise"] == pytest.approx(of(grey(noisy))["noise"], rel=0.1)
    assert of(grey(np.where(framed == 0, 255, framed)))["noise"] == pytest.approx(of(grey(noisy))["noise"], rel=0.1)


@pytest.mark.parametrize("degrees", [0, 17, 60, 120, 200, 240, 300, 345])
def test_the_hue_of_one_colour_is_its_angle(degrees):
    colour = tuple(round(255 * part) for part in colorsys.hsv_to_rgb(degrees / 360, 0.8, 0.7))
    found = of(Image.new("RGB", (6, 6), colour))
    turn = (found["hue_deg"] - degrees + 180) % 360 - 180
    assert abs(turn) < 2
    assert 0 <= found["hue_deg"] < 360
    assert found["saturation"] == pytest.approx(0.8, abs=0.01)


def test_the_dominant_hue_is_that_of_the_most_colour_and_not_a_mean():
    image = Image.new("RGB", (20, 20), (0, 0, 255))
    image.paste((255, 255, 0), (0, 0, 20, 9))
    assert of(image)["hue_deg"] == pytest.approx(240, abs=2)
    image.paste((255, 255, 0), (0, 0, 20, 11))
    assert of(image)["hue_deg"] == pytest.approx(60, abs=2)


def test_reds_on_both_sides_of_zero_are_one_hue():
    image = Image.new("RGB", (20, 20), (255, 0, 40))
    image.paste((255, 40, 0), (0, 0, 20, 10))
    assert min(of(image)["hue_deg"], 360 - of(image)["hue_deg"]) < 2


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


def test_black_does_not_change_saturation():
    image = Image.new("RGB", (20, 20), (200, 100, 100))
    assert of(image)["saturation"] == 0.5
    image.paste("black", (0, 0, 20, 15))
    assert of(image)["saturation"] == 0.5
    assert of(Image.new("RGB", (5, 5)))["saturation"] == 0


# --- Sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [225, 400, 1000, 3000])
def test_a_larger_image_has_the_values_of_a_small_one(side):
    expected, found = of(photo(side=224)), of(photo(side=side))
    assert_close(found, expected, SHARES, atol=0.01)
    assert found["hue_deg"] == pytest.approx(expected["hue_deg"], abs=3)
    assert found["width_px"] == side


def test_an_image_that_fits_is_measured_as_it_is():
    noisy = grey(np.random.default_rng(0).normal(128, 20, (224, 224)))
    assert of(noisy)["noise"] * 255 == pytest.approx(20, rel=0.05)
    assert of(noisy.resize((448, 448), Image.Resampling.NEAREST))["noise"] > 0


def test_a_large_jpeg_has_its_original_size_and_the_values_of_the_whole_image():
    image = photo(side=4000)
    data = encoded(image, "JPEG", quality=90)
    assert max(decode_for_network(data)[0].size) < 1000
    found, expected = of_file(data), of(image)
    assert (found["width_px"], found["height_px"]) == (4000, 3000)
    assert_close(found, expected, (*SHARES, "aspect"), atol=0.01)


@pytest.mark.parametrize("size", [(1, 1), (1, 2), (2, 2), (1, 300), (300, 1), (2, 9), (3, 3), (10_000, 1), (4000, 3)])
def test_tiny_and_narrow_images_have_values(size):
    for colour in ("black", "white", "red"):
        found = of(Image.new("RGB", size, colour))
        assert (found["width_px"], found["height_px"]) == size
        assert found["aspect"] == pytest.approx(size[0] / size[1])
        assert (found["contrast"], found["sharpness"], found["noise"]) == (0, 0, 0)
        assert found["brightness"] == pytest.approx({"black": 0, "white": 1, "red": 0.299}[colour], abs=0.002)
        assert math.isnan(found["hue_deg"]) == (colour != "red")


def test_a_line_of_pixels_is_measured_along_itself():
    line = np.arange(60) % 2 * 100 + 50
    assert of(grey(line[None]))["sharpness"] == of(grey(line[:, None]))["sharpness"] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("side", [60, pytest.param(2400, marks=pytest.mark.slow)])
def test_an_image_that_exif_turns_is_measured_as_it_is_shown(kind, side):
    image = photo(side=side)
    for orientation, turned in ((1, False), (3, False), (6, True), (8, True)):
        exif = Image.Exif()
        exif[274] = orientation
        found = of_file(encoded(image, kind, exif=exif))
        assert (found["width_px"], found["height_px"]) == (image.size[::-1] if turned else image.size)
        assert found["aspect"] == pytest.approx(3 / 4 if turned else 4 / 3)
        assert_close(found, of(image), SHARES, atol=0.03)  # lossy


# --- Modes ------------------------------------------------------------------------------------------------------


def test_the_same_image_in_other_modes_has_the_same_values():
    image = photo(side=64).convert("L")
    expected = of(image.convert("RGB"))
    deep = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    alpha = image.convert("RGBA")
    for same in (image, image.convert("P"), deep, alpha, image.convert("LA")):
        assert_close(of_file(encoded(same, "PNG")), expected)
    real = Image.fromarray(np.asarray(image).astype(np.float32))
    assert_close(of_file(encoded(real, "TIFF")), expected)


def test_transparent_parts_are_white():
    image = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
    found = of_file(encoded(image, "PNG"))
    assert (found["brightness"], found["highlights"]) == (1, 1)


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
    rows = measured_images(folder, paths, progress=lambda what, done, total: steps.append((done, total)))
    assert rows.dtype == np.float32
    assert rows.shape == (44, len(ATTRIBUTES))
    for path, row in zip(paths[:40], rows[:40], strict=True):
        image = Image.open(folder / path)
        np.testing.assert_array_equal(row, measure(image, image.size), err_msg=path)
    assert np.isnan(rows[40:42]).all()
    np.testing.assert_array_equal(rows[42:], rows[paths.index("snow_03.png")][None].repeat(2, axis=0))
    assert steps == [(0, 44), (16, 44), (32, 44), (44, 44)]
    assert measured_images(folder, []).shape == (0, len(ATTRIBUTES))


def test_an_image_is_measured_once_and_a_copy_not_at_all(draw_folder, tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "in", {"wood": 5})
    rows = measured_images(folder, names_in(folder))
    shutil.copytree(folder, tmp_path / "copy")

    def again(*ignored):
        raise AssertionError("measured again")

    monkeypatch.setattr(measuring, "measure", again)
    np.testing.assert_array_equal(measured_images(tmp_path / "copy", names_in(folder)), rows)
    draw_scene("sea", np.random.default_rng(9)).save(folder / "new.png")
    with pytest.raises(AssertionError, match="measured again"):
        measured_images(folder, ["new.png"])


def test_extraction_measures_what_it_decodes(fake_network, draw_folder, tmp_path, monkeypatch):
    folder = draw_folder(tmp_path / "in", {"wood": 20, "sea": 5})
    photo(side=2000).save(folder / "large.jpg")
    expected = np.stack([measure(*decode_for_network((folder / name).read_bytes())) for name in names_in(folder)])
    extract_features(folder, fake_network.extractor)
    monkeypatch.setattr(measuring, "measure", None)  # calling it would be a TypeError
    monkeypatch.setattr(measuring, "decode_for_network", None)
    np.testing.assert_array_equal(measured_images(folder, names_in(folder)), expected)


def test_no_image_has_features_but_no_attributes_when_extraction_is_killed(
    fake_network, draw_folder, tmp_path, monkeypatch
):
    folder = draw_folder(tmp_path / "in", {"wood": 3})
    put = FeatureCache.put

    def put_and_die(cache, rows):
        put(cache, rows)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(FeatureCache, "put", put_and_die)
        with pytest.raises(KeyboardInterrupt):
            extract_features(folder, fake_network.extractor)
    assert fake_network.images_seen == 0
    monkeypatch.setattr(measuring, "decode_for_network", None)  # calling it would be a TypeError
    assert np.isfinite(measured_images(folder, names_in(folder))[:, 0]).all()


def test_features_that_are_cached_leave_the_measuring_for_later(fake_network, draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"wood": 3})
    extract_features(folder, fake_network.extractor)
    cache = attribute_cache()
    cache._connection.execute("DELETE FROM features")
    cache._connection.commit()
    extract_features(folder, fake_network.extractor)
    assert cache.get(content_key((folder / "wood_00.png").read_bytes())) is None
    cache.close()
    assert np.isfinite(measured_images(folder, names_in(folder))).any(axis=1).all()


def test_measuring_that_is_stopped_keeps_its_batches(draw_folder, tmp_path):
    folder = draw_folder(tmp_path / "in", {"wood": 40})

    def stop(what, done, total):
        if done == 32:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured_images(folder, names_in(folder), progress=stop)
    cache = attribute_cache()
    kept = [cache.get(content_key((folder / name).read_bytes())) is not None for name in names_in(folder)]
    cache.close()
    assert kept == [True] * 32 + [False] * 8


def test_values_are_the_same_to_the_last_bit_with_any_number_of_threads(tmp_path, monkeypatch):
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(20):
        photo(i, side=100 + 40 * i).save(folder / f"{i:02d}.jpg")
    found = []
    for threads in (1, 2, 16):
        monkeypatch.setenv("SAFE_CACHE", str(tmp_path / f"cache {threads}"))
        monkeypatch.setattr(measuring, "LOADING_THREADS", threads)
        found.append(measured_images(folder, names_in(folder)).tobytes())
    assert found[0] == found[1] == found[2]


def test_only_angles_end_as_angles_do():
    assert [name for name in ATTRIBUTES if name.endswith("_deg")] == ["hue_deg"]
    assert len(set(ATTRIBUTES)) == len(ATTRIBUTES)
