"""Images that are nearly the same: copies that were encoded again, resized, brightened, mirrored or cut by 5 %.

In: image files. Out: pairs. Each image is described by its cosine transform, one bit for each of 255 coefficients:
whether it is above the median of all images (a perceptual hash; Zauner, "Implementation and Benchmarking of Perceptual
Image Hash Functions", 2010, takes the median of the image's own coefficients, by which signs, or faces in one pose, all
look alike). An image is compared with the other as a whole, mirrored, and with the windows of it that a cut may have
left. Coefficients of a window are those of cosines that span it, and those of a mirrored image differ only in signs.
"""

import contextlib
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from safe_dnn.support.images import UNREADABLE, decode, read_bytes
from safe_dnn.support.progress import Progress, no_progress

SIDE = 64  # pixels of the thumbnail
CUT = 3  # of them that a window lacks in each direction
OFFSETS = (0, 2, 3)  # at which windows begin: no cut is further than a pixel from one of them
ORDER = 16  # coefficients in each direction
N_BITS = ORDER**2 - 1
MOST_DIFFERENT = 44  # of 255 bits (docs/decisions/053-near-duplicates.md)
FEWEST = 32  # images from which a median is taken; of fewer, it is 0, as of images in general
FLATTEST = 1.0  # grey levels, standard deviation: what is flatter looks like any other flat image
BLOCK = 1024  # images at once


class Pair(NamedTuple):
    """Two images that are nearly the same: their rows, and how many of 255 bits differ."""

    first: int
    second: int
    difference: int


def thumbnails(files: Sequence[Path], *, progress: Progress = no_progress, what: str = "Reading images") -> np.ndarray:
    """Small grey pictures of images: ndarray of shape (n_files, 64, 64), uint8; black where one cannot be read."""
    found = np.zeros((len(files), SIDE, SIDE), np.uint8)
    for row, file in enumerate(files):
        with contextlib.suppress(*UNREADABLE):
            image = decode(read_bytes(file), at_least=(2 * SIDE, 2 * SIDE)).convert("L")
            smooth = Image.Resampling.BOX if min(image.size) >= SIDE else Image.Resampling.BILINEAR
            found[row] = np.asarray(image.resize((SIDE, SIDE), smooth))
        if row % 64 == 63 or row + 1 == len(files):
            progress(what, row + 1, len(files))
    return found


def near_duplicates(
    first: np.ndarray, second: np.ndarray | None = None, *, progress: Progress = no_progress
) -> list[Pair]:
    """The pairs of images that are nearly the same, of two sets or within one, by row.

    Time grows with the product of the sets' sizes, and memory with their sum: 2.8 kB for each image.

    Parameters
    ----------
    first, second : ndarray of shape (n_images, 64, 64), uint8
        As of `thumbnails`. Images that cannot be read, and those without any contrast, are like no other.
    """
    sets = [first] if second is None else [first, second]
    median = _median(np.concatenate(sets))
    described = [[*_described(images, median)] for images in sets]
    pairs = []
    for number, a in enumerate(described[0]):
        for b in described[-1] if second is not None else described[0][number:]:
            pairs += [pair for pair in _alike(a, b) if second is not None or pair.first < pair.second]
        progress("Comparing images", number + 1, len(described[0]))
    return sorted(pairs)


class _Block(NamedTuple):
    """Some images, each bit of whose hashes is 1 or -1.

    Attributes
    ----------
    rows : ndarray of shape (n_images,), int
    whole, mirrored : ndarray of shape (n_images, 255), int8
    windows : list of ndarray of shape (n_images, 255), int8
        What cuts may have left.
    """

    rows: np.ndarray
    whole: np.ndarray
    mirrored: np.ndarray
    windows: list[np.ndarray]


def _described(images: np.ndarray, median: np.ndarray) -> Iterator[_Block]:
    for block, rows in _blocks(images):
        whole, side = _transformed(block, 0, 0, SIDE), SIDE - CUT
        windows = [_transformed(block, top, left, side) for top, left in product(OFFSETS, OFFSETS)]
        yield _Block(
            rows, _signs(whole, median), _signs(_mirrored(whole), median), [_signs(one, median) for one in windows]
        )


def _blocks(images: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Comparable images, some at once, with their rows."""
    for start in range(0, len(images), BLOCK):
        block = images[start : start + BLOCK].astype(np.float32)
        (rows,) = np.nonzero(block.std(axis=(1, 2)) >= FLATTEST)
        yield block[rows], start + rows


def _alike(a: _Block, b: _Block) -> Iterator[Pair]:
    """Pairs of images that are nearly the same. Either may be the one that was cut."""
    whole_a, whole_b = a.whole.astype(np.float32), b.whole.astype(np.float32)
    # The product of two rows is the number of bits that agree less that of those that differ.
    nearest = whole_a @ whole_b.T
    for view in (b.mirrored, *b.windows):
        np.maximum(nearest, whole_a @ view.astype(np.float32).T, out=nearest)
    for view in a.windows:
        np.maximum(nearest, view.astype(np.float32) @ whole_b.T, out=nearest)
    for i, j in np.argwhere(nearest >= N_BITS - 2 * MOST_DIFFERENT).tolist():
        yield Pair(int(a.rows[i]), int(b.rows[j]), round((N_BITS - float(nearest[i, j])) / 2))


def _signs(coefficients: np.ndarray, median: np.ndarray) -> np.ndarray:
    return np.where(coefficients > median, np.int8(1), np.int8(-1))


def _median(images: np.ndarray) -> np.ndarray:
    """By coefficient, of images and of what they are in a mirror."""
    known = [_transformed(block, 0, 0, SIDE) for block, _ in _blocks(images)]
    if sum(map(len, known)) < FEWEST:
        return np.zeros(N_BITS, np.float32)
    return np.median(np.concatenate([*known, *map(_mirrored, known)]), axis=0).astype(np.float32)


def _transformed(images: np.ndarray, top: int, left: int, side: int) -> np.ndarray:
    """Coefficients of a square window, of unit length and without the mean: shape (n_images, 255), float32."""
    window = images[:, top : top + side, left : left + side]
    cosines = np.cos(np.pi / side * np.outer(np.arange(ORDER), np.arange(side) + 0.5)).astype(np.float32)
    cosines[0] /= np.sqrt(np.float32(2))
    coefficients = (cosines @ window @ cosines.T).reshape(len(images), ORDER**2)[:, 1:]
    return coefficients / np.maximum(np.linalg.norm(coefficients, axis=1, keepdims=True), np.float32(1e-6))


def _mirrored(coefficients: np.ndarray) -> np.ndarray:
    """Those of the mirrored images: cosines of odd order across change their sign."""
    odd = np.arange(ORDER**2)[1:] % ORDER % 2 == 1
    return np.where(odd, -coefficients, coefficients)
