import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import (
    BOX_KEY,
    BOX_LINES,
    Skipped,
    box_text,
    decode,
    decode_with_size,
    find_images,
    read_bytes,
    thumbnail,
)
from tests.helpers.encoding import encoded

GREY = Image.new("RGB", (8, 6), (90, 90, 90))


def put(folder: Path, *names: str | bytes) -> None:
    """Save a small image under each of the names, below the folder."""
    for name in names:
        path = folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(GREY, "PNG"))


def decoded(image: Image.Image, kind: str, **options) -> np.ndarray:
    """The image after saving and decoding: (height, width, 3), uint8."""
    result = decode(encoded(image, kind, **options))
    assert result.mode == "RGB"
    return np.asarray(result)


# --- Finding ----------------------------------------------------------------------------------------------------


def test_images_are_found_in_all_folders_in_the_order_of_their_paths(tmp_path):
    put(tmp_path, "b.png", "a/z.png", "a/b/c.png", "B.PNG", "a.png", "a0/x.png")
    listing = find_images(tmp_path)
    assert listing.paths == ("B.PNG", "a.png", "a/b/c.png", "a/z.png", "a0/x.png", "b.png")
    assert listing.root == tmp_path
    assert listing.skipped == ()


def test_hidden_files_hidden_folders_gifs_and_other_files_are_left_out(tmp_path):
    put(tmp_path, "shown.png", ".hidden.png", ".thumbnails/a.png", "gifs/RCC_00.gif", "labels.txt", "png", "a.png.bak")
    assert find_images(tmp_path).paths == ("shown.png",)
    assert find_images(tmp_path).skipped == ()


def test_images_of_formats_that_are_not_read_are_named_but_not_the_gifs_of_safe(tmp_path):
    for name in ("red/a.png", "red/b.GIF", "red/c.heic", "gifs/RCC_00.gif", "notes.txt", ".d.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    skipped = {skip.path: skip.reason for skip in find_images(tmp_path).skipped}
    assert skipped == {
        f"red/{name}": f"{name[2:].lower()} is not read; convert it to PNG" for name in ("b.GIF", "c.heic")
    }


def test_copies_that_safe_made_are_skipped_below_the_folder_given_and_used_where_they_are_that_folder(tmp_path):
    put(tmp_path, "a.png", "results/failures/red/a.png", "failures/mine.png", "safe/b.png")
    (tmp_path / "results" / "failures" / ".safe").touch()
    (tmp_path / "safe" / ".safe").touch()  # another program's
    listing = find_images(tmp_path)
    assert listing.paths == ("a.png", "failures/mine.png", "safe/b.png")
    assert listing.skipped == (Skipped("results/failures", "copies made by SAFE"),)
    assert find_images(tmp_path / "results" / "failures").paths == ("red/a.png",)


def test_links_to_images_are_followed_and_links_to_folders_are_not(tmp_path):
    put(tmp_path, "in/a.png", "elsewhere/b.png")
    (tmp_path / "in" / "link.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (tmp_path / "in" / "loop").symlink_to(tmp_path / "in")
    assert find_images(tmp_path / "in").paths == ("a.png", "link.png")


def test_a_list_names_images_relative_to_it_or_absolute(tmp_path):
    put(tmp_path, "lists/a.png", "lists/sub/b.png", "elsewhere/c.png")
    absolute = tmp_path / "elsewhere" / "c.png"
    (tmp_path / "lists" / "all.txt").write_text(f"sub/b.png\n{absolute}\na.png\n{tmp_path}/lists/a.png\n")
    listing = find_images(tmp_path / "lists" / "all.txt")
    assert listing.root == tmp_path / "lists"
    assert listing.paths == (str(absolute), "a.png", "sub/b.png")
    assert all((listing.root / path).is_file() for path in listing.paths)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("", "Received: nothing"),
        ("{tmp}/gone", r"Expected an image folder\. Received: .*/gone \(No such file or directory\)"),
        ("{tmp}/file.png", r"Received the file: .*/file\.png"),
        ("{tmp}/empty", r"Expected images \(bmp, jpeg, .*\)\. Received no images: .*/empty"),
        ("{tmp}/empty.txt", r"Received no images: .*/empty\.txt"),
    ],
)  # fmt: skip
def test_what_is_no_folder_of_images_is_an_error_that_says_what_it_is(tmp_path, source, message):
    put(tmp_path, "file.png")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty.txt").touch()
    with pytest.raises(SAFEError, match=f"(?i){message}"):
        find_images(source.replace("{tmp}", str(tmp_path)))


# --- Decoding ---------------------------------------------------------------------------------------------------


def test_exif_orientation_is_honoured():
    upright = Image.new("RGB", (16, 8), "black")
    upright.paste("white", (0, 0, 8, 8))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter: left becomes top
    pixels = decoded(upright, "PNG", exif=exif)
    assert pixels.shape == (16, 8, 3)
    assert pixels[:8].min() == 255
    assert pixels[8:].max() == 0


@pytest.mark.parametrize("kind", ["PNG", "PPM", "TIFF"])
def test_16_bit_grey_levels_are_scaled_by_their_full_range(kind):
    levels = np.array([[0, 255, 256, 0x1234, 65535]], np.uint16)
    pixels = decoded(Image.fromarray(levels), kind)
    assert pixels[0, :, 0].tolist() == [0, 0, 1, 0x12, 255]
    np.testing.assert_array_equal(pixels, pixels[:, :, :1].repeat(3, axis=2))


def test_transparency_is_shown_on_white():
    rgba = Image.new("RGBA", (3, 1))
    rgba.putpixel((0, 0), (255, 0, 0, 255))
    rgba.putpixel((1, 0), (255, 0, 0, 0))
    rgba.putpixel((2, 0), (0, 0, 0, 51))
    assert decoded(rgba, "PNG")[0].tolist() == [[255, 0, 0], [255, 255, 255], [204, 204, 204]]


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([0, 0.5, 1], [0, 127, 255]),  # 0 to 1
        ([0, 100, 255], [0, 100, 255]),  # 0 to 255
        ([-5, float("nan"), 300], [0, 0, 255]),
        ([0, 0.5, 1] * 50 + [1.02], [0, 127, 255] * 50 + [255]),  # a pixel above 1
        ([0, 0.5, 1.1, 1.5] * 50 + [40], [0, 127, 255, 255] * 50 + [255]),  # overshoot, and a hot pixel
        ([0, 1, 1, 0] * 50 + [200], [0, 1, 1, 0] * 50 + [200]),  # a lamp at night, from 8 bits
        ([0.5, 1.5, 2.5, 6.4], [0, 1, 2, 6]),  # dark
        ([0, 1], [0, 255]),  # a mask
    ],
)
def test_a_float_image_is_read_as_0_to_1_or_as_0_to_255(levels, expected):
    pixels = decoded(Image.fromarray(np.array([levels], np.float32)), "TIFF")
    assert pixels[0, :, 0].tolist() == expected


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("at_least", [None, (20, 20)])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_size_is_that_of_the_whole_image_as_it_is_shown(kind, at_least, orientation):
    turned = Image.Exif()
    turned[274] = orientation
    data = encoded(Image.new("RGB", (201, 199), "red"), kind, exif=turned)
    image, size = decode_with_size(data, at_least=at_least)
    assert size == ((199, 201) if orientation >= 5 else (201, 199))
    reduced = kind == "JPEG" and at_least is not None
    assert image.size == ((26 - (orientation >= 5), 25 + (orientation >= 5)) if reduced else size)


# --- Unreadable -------------------------------------------------------------------------------------------------


def test_an_empty_file_and_a_huge_one_are_not_read(tmp_path):
    (tmp_path / "empty.png").touch()
    with pytest.raises(OSError, match="the file is empty"):
        read_bytes(tmp_path / "empty.png")
    with (tmp_path / "huge.png").open("wb") as file:
        file.truncate(300 * 2**20)  # holds no blocks on the disk
    with pytest.raises(OSError, match="300 MiB; the limit is 256 MiB"):
        read_bytes(tmp_path / "huge.png")


# --- Boxes in crops -----------------------------------------------------------------------------------------------


def with_box(path: Path, text: str) -> Path:
    note = PngInfo()
    note.add_text(BOX_KEY, text)
    Image.new("RGB", (40, 40), "green").save(path, pnginfo=note)
    return path


def test_the_box_of_a_crop_is_drawn_in_its_thumbnail_and_not_in_its_pixels(tmp_path):
    crop = with_box(tmp_path / "crop.png", box_text((10, 10, 30.04, 30)))
    assert np.unique(np.asarray(decode(read_bytes(crop))).reshape(-1, 3), axis=0).tolist() == [[0, 128, 0]]
    drawn = np.asarray(thumbnail(crop, 80))
    inside, outside = BOX_LINES
    assert drawn[40, 20].tolist() == list(inside)
    assert drawn[40, 19].tolist() == list(outside)
    assert drawn[40, 59].tolist() == list(inside)
    assert drawn[40, 60].tolist() == list(outside)
    assert drawn[20, 40].tolist() == list(inside)
    assert drawn[40, 21].tolist() == drawn[40, 40].tolist() == [0, 128, 0]
