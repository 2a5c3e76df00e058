"""Step 2 of SAFE: the images of each RCC for inspection. RCCs in, animated GIFs out.

The paper shows every RCC as an animated GIF of its images, and finds that five of its images suffice to recognize the
root cause.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from safe_dnn.rccs.clusters import RootCauseClusters, answer_texts
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing
from safe_dnn.support.images import UNREADABLE, thumbnail
from safe_dnn.support.progress import report_progress
from safe_dnn.support.run_folder import GIF_FOLDER
from safe_dnn.support.text import printable

FRAME_MILLISECONDS = 500
DRAWING_VERSION = 4  # increase it when frames look different, so that older GIFs are drawn again
CAPTION_HEIGHT = 26
CAPTION_GROUND = (22, 24, 29)
CAPTION_TEXT = (242, 243, 245)
FRAME_SIDE = 224  # pixels, without the caption; the page shows it 148 to 315 wide
MOST_FRAMES = 100  # of a GIF: 50 seconds
_SPREAD = np.sum([(np.arange(256) >> bit & 1) << 3 * bit for bit in range(8)], axis=0)  # a bit for every third place


def gif_path(folder: Path, rcc: int, n_rccs: int) -> Path:
    """Path of the GIF of an RCC (or of `NOISE`) in the output folder."""
    if rcc == NOISE:
        return folder / GIF_FOLDER / "noise.gif"
    digits = max(2, len(str(n_rccs - 1)))
    return folder / GIF_FOLDER / f"RCC_{rcc:0{digits}d}.gif"


def write_gifs(clusters: RootCauseClusters, folder: Path) -> list[Path]:
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
    drawings = {
        gif_path(folder, rcc, clusters.n_rccs): list(answer_texts(clusters, rcc).items()) for rcc in clusters.groups
    }
    _draw(folder, clusters.image_root, drawings, ("RCC_*.gif", "noise.gif"))
    return list(drawings)


def spot_gif_path(folder: Path, rank: int) -> Path:
    """Path of the GIF of a weak spot, by its rank from 1, in the output folder."""
    return folder / GIF_FOLDER / f"weak_spot_{rank:02d}.gif"


def write_spot_gifs(clusters: RootCauseClusters, folder: Path, spots: Sequence[np.ndarray]) -> None:
    """Write a GIF per weak spot, of the failing images in it, as `write_gifs` does for RCCs.

    Parameters
    ----------
    spots : sequence of ndarray of int
        The images of each weak spot, as rows of the clusters, by rank. One without images gets no GIF.
    """
    drawings = {
        spot_gif_path(folder, rank): [(clusters.paths[row], clusters.answer_text(row)) for row in rows.tolist()]
        for rank, rows in enumerate(spots, start=1)
        if len(rows)
    }
    _draw(folder, clusters.image_root, drawings, ("weak_spot_*.gif",))


def _draw(out: Path, root: Path, drawings: Mapping[Path, Sequence[tuple[str, str]]], names: Sequence[str]) -> None:
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
                first, *further = pool.map(partial(_frame, root, captions), _drawn(captions))
                with replacing(path) as temporary:
                    first.save(
                        temporary, save_all=True, append_images=further, loop=0, duration=FRAME_MILLISECONDS,
                        comment=stamp,
                    )  # fmt: skip
            done += len(_drawn(captions))
            report_progress("Drawing GIFs", done, total)
    drawn = {path.name for path in drawings}  # the folder may be given relative to where SAFE was started
    for old in (old for name in names for old in folder.glob(name)):
        if old.name not in drawn and not _is_foreign(old):
            old.unlink(missing_ok=True)


def _drawn(captions: Sequence[tuple[str, str]]) -> list[int]:
    """The places of those that have a frame, the first and the last one among them."""
    n = len(captions)
    return np.linspace(0, n - 1, min(n, MOST_FRAMES)).round().astype(int).tolist()


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
    lines = [path if not caption else f"{path}\t{caption}" for path, caption in captions]
    text = "\n".join([f"{DRAWING_VERSION} {os.fspath(root)}", *lines])
    return f"SAFE {hashlib.blake2b(text.encode('utf-8', 'surrogateescape'), digest_size=16).hexdigest()} ".encode()


def gif_shows(clusters: RootCauseClusters, folder: Path, rcc: int) -> bool:
    """Whether there is a GIF of an RCC that shows its current images; after a killed run, it may show others."""
    stamp = _stamp_of(gif_path(folder, rcc, clusters.n_rccs))
    return (stamp or b"").startswith(_stamp_of_images(clusters.image_root, list(answer_texts(clusters, rcc).items())))


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


def _frame(root: Path, captions: Sequence[tuple[str, str]], row: int) -> Image.Image:
    """An image with its path, what the DNN took it for, and its number, in a palette of its own."""
    path, taken_for = captions[row]
    picture, font = thumbnail(root / path, FRAME_SIDE), ImageFont.load_default(size=13)
    frame = Image.new("RGB", (FRAME_SIDE, FRAME_SIDE + CAPTION_HEIGHT), CAPTION_GROUND)
    frame.paste(picture, ((FRAME_SIDE - picture.width) // 2, (FRAME_SIDE - picture.height) // 2))
    draw = ImageDraw.Draw(frame)
    if taken_for:  # in the corner, as in Figure 2 of the paper
        text = printable(taken_for.replace("→", "->"))  # Pillow's font has no arrow
        while font.getlength(text) > FRAME_SIDE - 14:
            text = text.removesuffix("…")[:-1] + "…"
        draw.rectangle((0, 0, font.getlength(text) + 11, CAPTION_HEIGHT - 7), CAPTION_GROUND)
        draw.text((6, CAPTION_HEIGHT / 2 - 3), text, CAPTION_TEXT, font, anchor="lm")
    number, text, line = f"{row + 1}/{len(captions)}", printable(path), FRAME_SIDE + CAPTION_HEIGHT / 2
    while font.getlength(text) > FRAME_SIDE - font.getlength(number) - 24:  # the file name says more than its folders
        text = "…" + text.removeprefix("…")[1:]
    draw.text((8, line), text, CAPTION_TEXT, font, anchor="lm")
    draw.text((FRAME_SIDE - 8, line), number, CAPTION_TEXT, font, anchor="rm")
    return frame.quantize(palette=_palette(picture), dither=Image.Dither.NONE)


def _palette(picture: Image.Image) -> Image.Image:
    """240 colours of the image and 16 of the caption.

    Those of a small copy, along the Morton curve through them, taken at equal distances: a tenth of the time
    of median cut, and closer to the image (docs/decisions/022-size-of-gifs.md).
    """
    small = np.asarray(picture.resize((40, 40), Image.Resampling.NEAREST)).reshape(-1, 3)
    along = (_SPREAD[small] << [1, 2, 0]).sum(axis=1)
    _, first = np.unique(along >> 3, return_index=True)
    colours = small[first[np.linspace(0, len(first) - 1, 240).astype(int)]].ravel().tolist()
    palette = Image.new("P", (1, 1))
    palette.putpalette(colours + np.linspace(CAPTION_GROUND, CAPTION_TEXT, 16).round().astype(int).ravel().tolist())
    return palette
