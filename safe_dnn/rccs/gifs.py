"""Step 2 of SAFE: the images of each RCC for inspection. RCCs in, animated GIFs out.

The paper shows every RCC as an animated GIF of its images, and finds that five of its images suffice to recognize the
root cause.
"""

import bisect
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import cache, partial
from itertools import accumulate
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.GifImagePlugin import getdata, getheader

from safe_dnn.rccs.clusters import RootCauseClusters, told_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing
from safe_dnn.support.images import UNREADABLE, thumbnail
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import GIF_FOLDER
from safe_dnn.support.text import printable

FRAME_MILLISECONDS = 500
DRAWING_VERSION = 3  # increase it when frames look different, so that older GIFs are drawn again
CAPTION_HEIGHT = 26
CAPTION_GROUND = (22, 24, 29)
CAPTION_TEXT = (242, 243, 245)
_GROUND, _INK = 240, 255  # their places in the palette of a frame; the shades of letters are between them
_MARGIN = 3  # pixels beside a letter, which may be wider than its place in the line
_CAPTION_COLOURS = np.linspace(CAPTION_GROUND, CAPTION_TEXT, 16).round().astype(int).ravel().tolist()
FRAME_SIDE = 224  # pixels, without the caption; the page shows it 148 to 315 wide
MOST_FRAMES = 100  # of a GIF: 50 seconds
_SPREAD = np.sum([(np.arange(256) >> bit & 1) << 3 * bit for bit in range(8)], axis=0)  # a bit for every third place


def gif_path(folder: Path, rcc: int, n_rccs: int) -> Path:
    """Path of the GIF of an RCC (or of `NOISE`) in the output folder."""
    if rcc == NOISE:
        return folder / GIF_FOLDER / "noise.gif"
    digits = max(2, len(str(n_rccs - 1)))
    return folder / GIF_FOLDER / f"RCC_{rcc:0{digits}d}.gif"


def write_gifs(clusters: RootCauseClusters, folder: Path, *, progress: Progress = no_progress) -> list[Path]:
    """Write a GIF per RCC, and one for the images in no cluster; remove outdated ones.

    Each image has a frame; of more than `MOST_FRAMES` images, as many at equal distances, whose captions say which they
    are. A GIF that already shows the same files is not written again. A GIF that SAFE did not draw is never changed.

    Returns
    -------
    list of Path
        The GIFs, in the order of `RootCauseClusters.groups`.

    Raises
    ------
    SAFEError
        A GIF that SAFE did not draw would be replaced, or a GIF cannot be written.
    """
    drawings = {gif_path(folder, rcc, clusters.n_rccs): list(told_of(clusters, rcc).items()) for rcc in clusters.groups}
    _draw(folder, clusters.image_root, drawings, ("RCC_*.gif", "noise.gif"), progress)
    return list(drawings)


def spot_gif_path(folder: Path, rank: int) -> Path:
    """Path of the GIF of a weak spot, by its rank from 1, in the output folder."""
    return folder / GIF_FOLDER / f"weak_spot_{rank:02d}.gif"


def write_spot_gifs(
    clusters: RootCauseClusters, folder: Path, spots: Sequence[np.ndarray], *, progress: Progress = no_progress
) -> None:
    """Write a GIF per weak spot, of the failing images in it, as `write_gifs` does for RCCs.

    Parameters
    ----------
    spots : sequence of ndarray of int
        The images of each weak spot, as rows of the clusters, by rank. One without images gets no GIF.
    """
    drawings = {
        spot_gif_path(folder, rank): [(clusters.paths[row], clusters.told(row)) for row in rows.tolist()]
        for rank, rows in enumerate(spots, start=1)
        if len(rows)
    }
    _draw(folder, clusters.image_root, drawings, ("weak_spot_*.gif",), progress)


def _draw(
    out: Path, root: Path, drawings: Mapping[Path, Sequence[tuple[str, str]]], names: Sequence[str], progress: Progress
) -> None:
    """Write GIFs, given the captions of each; those that already show the same are left as they are.

    Others of these names that SAFE drew are outdated, and removed.
    """
    folder = prepare_folder(out / GIF_FOLDER)
    done = 0
    total = sum(len(_drawn(captions)) for captions in drawings.values())
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for path, captions in drawings.items():
            stamp = _stamp(root, captions)
            if _is_foreign(path):
                raise SAFEError(
                    f"Expected {path} to be missing or drawn by SAFE. Received another file, which is kept. Move it "
                    "away, or use another output folder."
                ).about("out")
            if _stamp_of(path) != stamp:
                with replacing(path) as temporary, temporary.open("wb") as file:
                    for number, part in enumerate(gif_frames(root, captions, stamp, pool), start=done + 1):
                        file.write(part)
                        progress("Drawing GIFs", min(number, total), total)
            done += len(_drawn(captions))
            progress("Drawing GIFs", done, total)
    drawn = {path.name for path in drawings}  # the folder may be given relative to where SAFE was started
    for old in (old for name in names for old in folder.glob(name)):
        if old.name not in drawn and not _is_foreign(old):
            old.unlink(missing_ok=True)


def gif_frames(root: Path, captions: Sequence[tuple[str, str]], comment: bytes, pool: Executor) -> Iterator[bytes]:
    """The bytes of a GIF, frame by frame; frames are drawn and packed in parallel, ahead of the writer.

    Pillow's own writer looks for what a frame shares with the one before, which two images seldom do, and in one thread
    (docs/decisions/022-size-of-gifs.md).

    Parameters
    ----------
    captions : sequence of (str, str)
        The images' paths relative to `root`, and what the DNN took each for, or an empty text.
    comment : bytes
        What the file's comment says.
    """
    yield from pool.map(partial(_packed, root, captions, comment), _drawn(captions))
    yield b";"


def _drawn(captions: Sequence[tuple[str, str]]) -> list[int]:
    """The places of those that have a frame, the first and the last one among them."""
    n = len(captions)
    return np.linspace(0, n - 1, min(n, MOST_FRAMES)).round().astype(int).tolist()


def _packed(root: Path, captions: Sequence[tuple[str, str]], comment: bytes, row: int) -> bytes:
    """A frame as it lies in the file; of the first image, with the head of the file before it."""
    path, told = captions[row]
    frame = _frame(root / path, (path, told, f"{row + 1}/{len(captions)}"))
    head = getheader(frame, info={"loop": 0, "comment": comment})[0] if row == 0 else []
    return b"".join(head + getdata(frame, duration=FRAME_MILLISECONDS, include_color_table=True))


def _stamp(root: Path, captions: Sequence[tuple[str, str]]) -> bytes:
    """Identifies the content of a GIF: the images, followed by the sizes and times of their files."""
    digest = hashlib.blake2b(digest_size=16)
    for path, _ in captions:
        try:
            status = (root / path).stat()
            digest.update(f"{status.st_size} {status.st_mtime_ns}\n".encode())
        except OSError:
            digest.update(b"gone\n")
    return _stamp_of_images(root, captions) + digest.hexdigest().encode()


def _stamp_of_images(root: Path, captions: Sequence[tuple[str, str]]) -> bytes:
    """The first part of the stamp: the names of the images, their captions, and the version of the drawing."""
    lines = [path if not told else f"{path}\t{told}" for path, told in captions]
    text = "\n".join([f"{DRAWING_VERSION} {os.fspath(root)}", *lines])
    return f"SAFE {hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()} ".encode()


def gif_shows(clusters: RootCauseClusters, folder: Path, rcc: int) -> bool:
    """Whether there is a GIF of an RCC that shows its current images; after a killed run, it may show others."""
    stamp = _stamp_of(gif_path(folder, rcc, clusters.n_rccs))
    return (stamp or b"").startswith(_stamp_of_images(clusters.image_root, list(told_of(clusters, rcc).items())))


def _stamp_of(path: Path) -> bytes | None:
    """The comment of a GIF, empty if it has none; None if the file cannot be read."""
    try:
        with Image.open(path, formats=("GIF",)) as image:
            return image.info.get("comment", b"")
    except UNREADABLE:
        return None


def _is_foreign(path: Path) -> bool:
    """Whether a file is a GIF that SAFE did not draw. An unreadable file is a damaged GIF of SAFE's, by its name."""
    stamp = _stamp_of(path)
    return stamp is not None and not stamp.startswith(b"SAFE ")


def _frame(file: Path, caption: tuple[str, str, str]) -> Image.Image:
    """An image with its path, what the DNN took it for, and its number, in a palette of its own."""
    path, told, number = caption
    picture = thumbnail(file, FRAME_SIDE)
    palette = _palette(picture)
    frame = palette.resize((FRAME_SIDE, FRAME_SIDE + CAPTION_HEIGHT))
    shown = picture.quantize(palette=palette, dither=Image.Dither.NONE)
    frame.paste(shown, ((FRAME_SIDE - picture.width) // 2, (FRAME_SIDE - picture.height) // 2))
    if told:  # in the corner, as in Figure 2 of the paper
        text = _shortened(told.replace("→", "->"), FRAME_SIDE - 14, keep="start")  # Pillow's font has no arrow
        frame.paste(_GROUND, (0, 0, _width(text) + 12, CAPTION_HEIGHT - 6))
        _write(frame, text, 6, -3)
    _write(frame, _shortened(path, FRAME_SIDE - _width(number) - 24), 8, FRAME_SIDE)
    _write(frame, number, FRAME_SIDE - 8 - _width(number), FRAME_SIDE)
    return frame


def _palette(picture: Image.Image) -> Image.Image:
    """240 colours of the image and 16 of the caption: a pixel in the colour of its ground.

    Those of a small copy, along the Morton curve through them, of which every so-manieth is taken: a tenth of the time
    of median cut, and closer to the image (docs/decisions/022-size-of-gifs.md).
    """
    small = np.asarray(picture.resize((40, 40), Image.Resampling.NEAREST)).reshape(-1, 3)
    along = (_SPREAD[small] << [1, 2, 0]).sum(axis=1)
    _, first = np.unique(along >> 3, return_index=True)
    colours = small[first[np.linspace(0, len(first) - 1, _GROUND).astype(int)]].ravel().tolist()
    palette = Image.new("P", (1, 1), _GROUND)
    palette.putpalette(colours + _CAPTION_COLOURS)
    return palette


def _write(frame: Image.Image, text: str, left: int, top: int) -> None:
    """Write a line, `CAPTION_HEIGHT` high: letter by letter, since to draw each anew takes five times as long."""
    for letter in text:
        mask, width = _letter(letter)
        frame.paste(_INK, (left - _MARGIN, top), mask)
        left += width


def _shortened(text: str, width: float, *, keep: str = "end") -> str:
    """As much of a text as fits. Of a path its end: the file name is more informative than its folders."""
    text = printable(text)
    widths = [_letter(letter)[1] for letter in text]
    if sum(widths) <= width:
        return text
    fit = bisect.bisect_right(list(accumulate(widths if keep == "start" else reversed(widths))), width - _width("…"))
    return f"{text[:fit]}…" if keep == "start" else f"…{text[len(text) - fit :]}"


def _width(text: str) -> int:
    return sum(_letter(letter)[1] for letter in text)


@cache
def _letter(letter: str) -> tuple[Image.Image, int]:
    """A mask of a letter in the middle of a line, `_MARGIN` pixels from its left, and the letter's width."""
    width = round(_font().getlength(letter))
    mask = Image.new("L", (width + 2 * _MARGIN, CAPTION_HEIGHT))
    ImageDraw.Draw(mask).text((_MARGIN, CAPTION_HEIGHT / 2), letter, 255, _font(), anchor="lm")
    return mask, width


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size=13)
