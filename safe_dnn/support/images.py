"""Finding and decoding images, which every later step starts from.

In: a folder, or a text file that lists paths. Out: the images in a fixed order, and their pixels in one format (RGB,
8 bits), whatever camera, simulator or tool wrote them. An unusable image is reported as `Skipped`; it is neither fatal
nor dropped silently. Images are the same by content, whatever their names; large files have digests.
"""

import functools
import hashlib
import io
import os
import re
import stat
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import ExifTags, Image, ImageDraw, ImageFont, ImageOps

from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.files import put_back, regular, state_of_file
from safe_dnn.support.run_folder import FAILURES, FAILURES_MARK, GIF_FOLDER, OBJECTS

SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm"}
)  # no .gif, or SAFE would read its own GIFs
OTHER_SUFFIXES = frozenset({".gif", ".jfif", ".jpe", ".jp2", ".heic", ".heif", ".avif", ".tga"})
FORMATS = ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM")

MAX_PIXELS = 89_478_485
"""Pillow's default limit, above which it suspects a decompression bomb (256 MiB as RGB)."""
MAX_BYTES = 256 * 2**20
MOST_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4  # bytes that one step may take
BOX_KEY = "safe-box"
"""A text in a PNG file: the box that is drawn in thumbnails, but not in the pixels from which features are computed."""
BOX_LINES = ((242, 243, 245), (22, 24, 29))  # inside, outside: one of them stands out from any ground
SIDEWAYS = (5, 6, 7, 8)  # values of EXIF's orientation that swap width and height

# What Pillow's decoders are known to raise on damaged files. KeyboardInterrupt, MemoryError and the like are not
# included.
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, EOFError, RuntimeError,
    struct.error, zlib.error, Image.DecompressionBombError, Image.DecompressionBombWarning,
)  # fmt: skip


class Skipped(NamedTuple):
    """An image that could not be used, and the reason."""

    path: str
    reason: str


class ImageListing(NamedTuple):
    """Images in a fixed order, which all arrays of a run follow.

    Attributes
    ----------
    root : Path
        Absolute path of the image folder or, for a list of images, of the folder that contains the list.
    paths : tuple of str
        Sorted; relative to `root`, with `/` as the separator. A listed image outside `root` keeps its absolute path;
        `root / path` is the file in either case.
    skipped : tuple of Skipped
        Files that are not regular files or whose names do not fit on a line of `labels.txt`, and folders of copies made
        by SAFE.
    listed : bool
        Whether a list names the images.
    """

    root: Path
    paths: tuple[str, ...]
    skipped: tuple[Skipped, ...]
    listed: bool = False


def find_images(source: StrPath) -> ImageListing:
    """List the images in a folder and its subfolders, or those listed in a text file, one path per line.

    Hidden files and folders are left out, and links to folders are not followed. Folders of copies made by SAFE
    (exports, the failures of a DNN, crops) are skipped, unless `source` itself is such a folder.

    Raises
    ------
    SAFEError
        `source` is neither a folder nor a `.txt` file, cannot be read, or contains no images.
    """
    path = path_of(source, "an image folder")
    if is_image_folder(path):
        listing = _walk(path)
    elif path.suffix.lower() == ".txt":
        listing = _read_list(path)
    else:
        raise SAFEError(f"Expected an image folder or a .txt file that lists images. Received the file: {path}")
    if not listing.paths:
        raise SAFEError(
            f"Expected images ({', '.join(sorted(s[1:] for s in SUFFIXES))}). Received no images: {path}"
            + (f" ({len(listing.skipped)} skipped, the first: {listing.skipped[0].reason})" if listing.skipped else "")
        )
    return listing


def is_image_folder(path: Path) -> bool:
    """Whether there is a folder, and no file; a SAFEError if there is nothing."""
    try:
        put_back(path)
        return stat.S_ISDIR(path.stat().st_mode)
    except OSError as error:
        raise SAFEError(f"Expected an image folder. Received: {path} ({error.strerror}).") from error


def _walk(root: Path) -> ImageListing:
    listed: list[str] = []
    skipped: list[Skipped] = []

    def cannot_enter(error: OSError) -> None:
        skipped.append(Skipped(_relative(Path(error.filename), root), f"folder not readable: {error.strerror}"))

    for folder, subfolders, names in os.walk(root, onerror=cannot_enter):
        place = Path(folder)
        if place != root and place.name in (FAILURES, OBJECTS) and FAILURES_MARK in names:  # made by SAFE
            skipped.append(Skipped(_relative(place, root), "copies made by SAFE"))
            subfolders.clear()
            continue
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in names:
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES:
                listed.append(_relative(Path(folder, name), root))
            elif Path(name).suffix.lower() in OTHER_SUFFIXES and not name.startswith(".") and place.name != GIF_FOLDER:
                reason = f"{Path(name).suffix.lower()[1:]} is not read; convert it to PNG"
                skipped.append(Skipped(_relative(Path(folder, name), root), reason))
    return _only_usable(root, listed, skipped)


def _read_list(path: Path) -> ImageListing:
    try:
        text = regular(path).read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise SAFEError(f"Could not read the list {path}: {error.strerror}") from error
    lines = (line.strip() for line in text.split("\n"))
    named = [_relative(path.parent / line, path.parent) for line in lines if line]
    return _only_usable(path.parent, list(dict.fromkeys(named)), [])._replace(listed=True)


def _relative(path: Path, root: Path) -> str:
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def _only_usable(root: Path, paths: list[str], skipped: list[Skipped]) -> ImageListing:
    usable = []
    for path in sorted(paths):
        if "\n" in path or "\r" in path:
            skipped.append(Skipped(path, "a line break in its name, which does not fit on a line of labels.txt"))
            continue
        try:
            mode = (root / path).stat().st_mode
        except (OSError, ValueError) as error:
            skipped.append(Skipped(path, f"not readable: {getattr(error, 'strerror', None) or error}"))
            continue
        # Reading a pipe or a device could block forever.
        if stat.S_ISREG(mode):
            usable.append(path)
        else:
            skipped.append(Skipped(path, "not a regular file"))
    return ImageListing(root, tuple(usable), tuple(sorted(skipped)))


def size_of(path: Path) -> tuple[int, int] | None:
    """Width and height of an image as it is shown, which is not decoded; None if it cannot be read."""
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            return (height, width) if image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS else (width, height)
    except UNREADABLE:
        return None


def read_bytes(path: Path) -> bytes:
    """The bytes of an image file; OSError if it is empty or larger than `MAX_BYTES`."""
    size = path.stat().st_size
    if size == 0:
        raise OSError("the file is empty")
    if size > MAX_BYTES:
        raise OSError(f"{size / 2**20:.0f} MiB; the limit is {MAX_BYTES // 2**20} MiB")
    return path.read_bytes()


def decode(data: bytes, *, at_least: tuple[int, int] | None = None) -> Image.Image:
    """Decode the bytes of an image file to 8-bit RGB: `decode_with_size` without the size."""
    return decode_with_size(data, at_least=at_least)[0]


def decode_with_size(data: bytes, *, at_least: tuple[int, int] | None = None) -> tuple[Image.Image, tuple[int, int]]:
    """Decode the bytes of an image file to 8-bit RGB.

    EXIF orientation is applied, and transparent images are composited on white. 16-bit and 32-bit grey levels are
    scaled to 8 bits by the range of their type rather than that of the image, so that dark images stay dark. Of an
    animation, the first frame is taken.

    The size returned, (width, height), is that of the whole image as it is shown, even if it is decoded at a reduced
    size.

    Parameters
    ----------
    at_least : (width, height), optional
        The size that is needed: a larger JPEG is decoded at 1/2, 1/4 or 1/8 of its size, but not below this size.

    Raises
    ------
    any of UNREADABLE
        Unknown format, damaged, or more than `MAX_PIXELS`.
    """
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS:
            raise OSError(f"{width} × {height} pixels; the limit is {MAX_PIXELS / 1e6:.0f} megapixels")
        reduced = image.draft(None, at_least) if at_least is not None else None
        image.load()
        sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
        turned = ImageOps.exif_transpose(image)
        if reduced is None:  # Pillow itself turns some formats while it loads them
            return _to_rgb(turned), turned.size
        return _to_rgb(turned), (height, width) if sideways else (width, height)


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8)).convert("RGB")
    if image.mode == "I":
        values = np.asarray(image)
        # Pillow opens a 16-bit PGM as 32-bit integers.
        shift = 8 if values.max(initial=0) < 2**16 else 24
        return Image.fromarray((values.clip(0) >> shift).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        values = np.nan_to_num(np.asarray(image))
        scale = 255 if _is_from_0_to_1(values) else 1
        return Image.fromarray((values.clip(0, 255 / scale) * scale).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, "white")
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _is_from_0_to_1(values: np.ndarray) -> bool:
    """Whether the pixels of a float image range from 0 to 1 rather than from 0 to 255.

    They do if none is above 1. Sharpening, resampling and hot pixels exceed that, so 1 % of the pixels may have any
    value and the others may be up to 2; in an image from 0 to 255, that would be black. A dark 8-bit image converted to
    float is recognized by its integer values.
    """
    if values.max(initial=0) <= 1:
        return True
    return bool(np.mean(values <= 2) >= 0.99 and not (values == np.rint(values)).all())


def reason_for(error: Exception) -> str:
    """Why an image is unreadable, as one short line."""
    if isinstance(error, Image.DecompressionBombError):
        return f"more than {MAX_PIXELS / 1e6:.0f} megapixels; a decompression bomb?"
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image, or not in a format that SAFE reads"
    text = (getattr(error, "strerror", None) or str(error)).split("\n")[0].strip()
    if not re.search(r"[a-zA-Z]{2}", text):  # only an error code, or nothing
        return f"damaged ({text or type(error).__name__})"
    return text


def thumbnail(path: Path, side: int) -> Image.Image:
    """An image scaled to fit a square, RGB; a grey tile with the text "file not found" if it cannot be read.

    In the crop of an object, its box is drawn.
    """
    try:
        image = decode(read_bytes(path), at_least=(side, side))
    except UNREADABLE:
        tile = Image.new("RGB", (side, side), "#3a3f4a")
        font = ImageFont.load_default(size=max(10, side // 16))
        ImageDraw.Draw(tile).text((side / 2, side / 2), "file not found", font=font, fill="#f2f3f5", anchor="mm")
        return tile
    scale = side / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    resized = image.resize(size, Image.Resampling.BICUBIC)
    _draw_box(resized, image.info.get(BOX_KEY), scale)
    return resized


def box_text(box: tuple[float, float, float, float]) -> str:
    """What a PNG file has under `BOX_KEY`: left, top, right and bottom of a box in pixels."""
    return " ".join(f"{side:.1f}" for side in box)


def _draw_box(image: Image.Image, text: object, scale: float) -> None:
    """Draw a thin box around the object of a crop; nothing if there is none."""
    if not isinstance(text, str) or not re.fullmatch(r"\d{1,5}\.\d( \d{1,5}\.\d){3}", text):
        return
    left, top, right, bottom = (round(float(side) * scale) for side in text.split(" "))
    if left < right and top < bottom:
        for around, line in enumerate(BOX_LINES):
            corners = (left - around, top - around, right - 1 + around, bottom - 1 + around)
            ImageDraw.Draw(image).rectangle(corners, outline=line)


# --- Content ------------------------------------------------------------------------------------------------------


def content_key(data: bytes) -> bytes:
    """Digest of an image file's content, 16 bytes (BLAKE2b)."""
    return hashlib.blake2b(data, digest_size=16).digest()


def same_content(files: Sequence[Path], candidates: Sequence[Path]) -> list[list[int]]:
    """Which of the others have the content of each file, as indices.

    Only files of equal sizes are read; those that cannot be read have nothing in common.
    """
    sizes, of_candidates = ([_size_of(file) for file in each] for each in (files, candidates))
    both = set(sizes) & set(of_candidates) - {None}
    rows_of: dict[bytes | None, list[int]] = {}
    for row, (other, size) in enumerate(zip(candidates, of_candidates, strict=True)):
        if size in both:
            rows_of.setdefault(content_of(other), []).append(row)
    rows_of.pop(None, None)
    return [rows_of.get(content_of(file), []) if size in both else [] for file, size in zip(files, sizes, strict=True)]


def copies_in(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The images that are the same as another one byte for byte, each with the first of them by path.

    Only files of equal sizes are read.
    """
    alike = [sorted(paths)]
    for known_by in (_size_of, content_of):
        same: dict[tuple[int, object], list[str]] = {}
        for number, candidates in enumerate(alike):
            for path in candidates:
                same.setdefault((number, known_by(root / path)), []).append(path)
        alike = [several for (_, known), several in same.items() if known is not None and len(several) > 1]
    return {copy: first for first, *copies in alike for copy in copies}


def in_common(files: Sequence[Path], candidates: Sequence[Path]) -> np.ndarray:
    """Whether each file has the content of one of the others: ndarray of shape (n_files,), bool."""
    return np.array([bool(rows) for rows in same_content(files, candidates)], bool)


def _size_of(file: Path) -> int | None:
    state = state_of_file(file)
    return state[1] or None if state else None


def content_of(file: Path) -> bytes | None:
    """A digest of the content; None if it cannot be read."""
    try:
        return content_key(read_bytes(file))
    except OSError:
        return None


def digest_of(path: Path, kind: str = "sha256") -> str:
    """The SHA-256, or MD5, of a file, in hexadecimal digits, computed once in a process.

    As in git's index, one that is known is valid while the file's size, inode and times are unchanged.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    state = path.stat()
    return _computed(path.absolute(), kind, (state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns))


@functools.lru_cache
def _computed(path: Path, kind: str, _: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
