"""Attributes measured in each image: brightness, contrast, sharpness, noise, colours and size; and near-duplicates.

They describe RCCs of images about which nothing else is known. A decoded image in, a row of numbers out. The rows are
cached beside the features, by the content of the image: extraction and the DNN under test measure each image that they
decode, and `measured_images` the others.

Size and aspect ratio are those of the original. All else is measured on a grid that depends on the size as little as
possible: the image is scaled down to fit in 224 x 224 pixels, the size that the network sees, with its aspect ratio
kept, and never scaled up. Sharpness and noise are therefore those that are left at that size. Sums are sums of
integers, so that a row is the same to the last bit on any machine and with any number of threads.

The reasons, and what was tried: docs/decisions/014-image-attributes.md.

The same image, saved again (as JPEG, in another size, or with a changed bit) is found by a small grey picture of each,
of unit length and without its mean: two are the same image if their cosine is at least `LEAST_COSINE`. That lies
between different images and those that were saved again. Neighbouring frames of a film may be the same by it, too; dark
images and those of 32 pixels that were saved again are missed in part. VGG16's features distinguish them less well, and
take 60 times as long.
"""

import contextlib
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops

from safe_dnn.features.batches import FeatureCache, Loaded, cached_rows, decode_for_network, pixels_of
from safe_dnn.features.extractor import INPUT_SIZE

MEASURING = "Measuring images"
ATTRIBUTES = (
    "brightness", "contrast", "sharpness", "noise", "saturation", "hue_deg", "highlights", "shadows", "width_px",
    "height_px", "aspect",
)  # fmt: skip
IDENTITY = "attributes-1"
"""Names the cache file. A change to what is measured, or to decoding, needs a new one."""

DARKEST, LIGHTEST = 5, 250  # luma up to the one, or from the other, is cut off: within 2 % of black or white
LEAST_CHROMA = 8  # of 255; less is grey: compression of grey images leaves about as much
LEAST_COLOURED = 0.01  # share of the pixels, for an image to have a hue
HUES = 255  # Pillow's steps in a circle
HUE_REACH = 10  # steps to either side: a hue is 30 degrees wide, a twelfth of the circle
LEAST_DOMINANT = 0.25  # share of the colour, for a hue to be the dominant one; three times that of an even spread
QUARTILE = 0.31864  # of the absolute value of a standard normal variable
SIDE = 16  # pixels
PICTURES = "pictures-1"
"""Names the cache file. A change to the features, or to decoding, needs a new one."""
LEAST_COSINE = 0.999  # of different images it is at most .9984, of solar cells; else .9977, of drives on one road
FLATTEST = 1.0  # grey levels, standard deviation: a flatter image looks like any other flat one
BLOCK = 1024  # images at once


def attribute_cache() -> FeatureCache:
    """Open the cache of measured rows.

    Raises
    ------
    SAFEError
        The cache folder cannot be used.
    """
    return FeatureCache(IDENTITY, len(ATTRIBUTES))


def measured_images(root: Path, paths: Sequence[str]) -> np.ndarray:
    """Measure images, those that are not cached in threads. Each batch is cached as soon as it is measured.

    Parameters
    ----------
    paths : sequence of str
        Relative to `root`, or absolute.

    Returns
    -------
    ndarray of shape (len(paths), len(ATTRIBUTES)), float32
        In the order of `paths`. A row of NaN where the image cannot be read.

    Raises
    ------
    SAFEError
        The cache cannot be used.
    """
    with contextlib.closing(attribute_cache()) as cache:
        return cached_rows(root, paths, cache, measured, what=MEASURING)


def decoded(path: str, key: bytes, data: bytes) -> Loaded:
    """The pixels of an image for the network, and its attributes; any of UNREADABLE, as in `decode_for_network`."""
    image, size = decode_for_network(data)
    return Loaded(path, key, pixels=pixels_of(image), attributes=measure(image, size))


def measured(path: str, key: bytes, data: bytes) -> Loaded:
    """What an image shows alone; any of UNREADABLE as of `decode_for_network`."""
    return Loaded(path, key, attributes=measure(*decode_for_network(data)))


def measure(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Measure an image.

    | attribute | is | source |
    |---|---|---|
    | brightness | mean luma, 0 to 1 | ITU-R BT.601 (luma) |
    | contrast | standard deviation of luma, 0 to 0.5 | Peli 1990, RMS contrast |
    | sharpness | see `_sharpness`, 0 to 1 | Pech-Pacheco et al. 2000 |
    | noise | standard deviation of the noise, see `_noise`, 0 to 1 | Immerkaer 1996 |
    | saturation | mean HSV saturation, weighted by value, 0 to 1 | Smith 1978 |
    | hue_deg | dominant HSV hue, see `_dominant_hue`, 0 to 360, red is 0 | Smith 1978 |
    | highlights | share of the pixels within 2 % of white, 0 to 1 | the clipping indicators of raw developers |
    | shadows | share of the pixels within 2 % of black, 0 to 1 | as above |
    | width_px, height_px | of the original, in pixels | |
    | aspect | width by height | |

    Luma is gamma-encoded and rounded to 8 bits, like the image. The mean of HSV saturation is weighted by the value
    because the saturation of nearly black pixels is mostly noise.

    Parameters
    ----------
    image : Image
        RGB, as decoded; may be smaller than the original.
    size : (width, height)
        Of the original, turned as `image` is.

    Returns
    -------
    ndarray of shape (len(ATTRIBUTES),), float32
        Finite, but for the hue of an image that has none, which is NaN.

    References
    ----------
    ITU-R BT.601-7, Studio encoding parameters of digital television.
    Peli, Contrast in complex images, JOSA A 7(10), 1990, doi 10.1364/JOSAA.7.002032.
    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000, doi 10.1109/ICPR.2000.903548.
    Immerkaer, Fast noise variance estimation, CVIU 64(2), 1996, doi 10.1006/cviu.1996.0060.
    Smith, Color gamut transform pairs, SIGGRAPH 1978, doi 10.1145/800248.807361.
    """
    grid = _on_grid(image)
    grey = grid.convert("L")  # luma by BT.601, in integers
    levels = np.asarray(grey.histogram())
    mean, variance = _moments(levels)
    luma = _with_neighbours(np.asarray(grey))
    chroma, value = _chroma_and_value(grid)
    pixels = int(levels.sum())
    width, height = size
    shares = int(levels[LIGHTEST:].sum()) / pixels, int(levels[: DARKEST + 1].sum()) / pixels
    coloured = _saturation(chroma, value), _dominant_hue(grid, chroma)
    texture = mean / 255, math.sqrt(variance) / 255, _sharpness(luma, variance), _noise(luma) / 255
    return np.array([*texture, *coloured, *shares, width, height, width / height], np.float32)


def _on_grid(image: Image.Image) -> Image.Image:
    """Scale an image down to fit in `INPUT_SIZE`. Smaller ones stay as they are."""
    scale = max(image.width / INPUT_SIZE[0], image.height / INPUT_SIZE[1])
    if scale <= 1:
        return image
    size = (max(1, round(image.width / scale)), max(1, round(image.height / scale)))
    # With antialiasing. A large image is first averaged in squares, which takes a fraction of the time.
    return image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)


def _moments(levels: np.ndarray) -> tuple[float, float]:
    """Mean and variance of pixels, given how many have each level."""
    n, at = int(levels.sum()), np.arange(len(levels))
    total, squares = int(levels @ at), int(levels @ at**2)
    return total / n, (squares * n - total**2) / n**2


def _with_neighbours(luma: np.ndarray) -> np.ndarray:
    """Luma as int16; an image that is less than 3 pixels wide or high is continued by its border."""
    pads = [(1, 1) if side < 3 else (0, 0) for side in luma.shape]
    return np.pad(luma.astype(np.int16), pads, mode="edge") if any(map(any, pads)) else luma.astype(np.int16)


def _sharpness(luma: np.ndarray, variance: float) -> float:
    """Sharpness, 0 to 1: the standard deviation of the Laplacian by that of luma, and by 8, its largest gain.

    Pech-Pacheco et al. use the variance of the Laplacian alone, for images of one scene. Of different images, it is
    mostly a measure of contrast. 0 if all pixels are equal.
    """
    if variance == 0:
        return 0.0
    edges = luma[1:-1, :-2] + luma[1:-1, 2:]
    edges += luma[:-2, 1:-1]
    edges += luma[2:, 1:-1]
    edges -= 4 * luma[1:-1, 1:-1]
    flat = edges.ravel().astype(np.int32)
    n, total, squares = flat.size, int(flat.sum(dtype=np.int64)), int((flat * flat).sum(dtype=np.int64))
    return min(1.0, math.sqrt((squares * n - total**2) / n**2 / variance) / 8)


def _noise(luma: np.ndarray) -> float:
    """Standard deviation of the noise, in levels of luma.

    Immerkaer's mask, the difference of two Laplacians, answers to noise but hardly to structures. He takes the mean of
    its absolute values; the lower quartile, scaled to be right for normal noise, answers even less to edges and
    texture. Pixels where shadows or highlights are cut off do not count, since the noise is cut off as well. 0 if there
    are no others.
    """
    inner = luma[1:-1, 1:-1]
    rows = luma[:, :-2] + luma[:, 2:]
    rows -= 2 * luma[:, 1:-1]
    mask = rows[:-2] + rows[2:]
    mask -= 2 * rows[1:-1]
    answers = np.abs(mask)[(inner > DARKEST) & (inner < LIGHTEST)]
    if not answers.size:
        return 0.0
    below = np.cumsum(np.bincount(answers))
    quarter = answers.size / 4
    at = int(np.searchsorted(below, quarter))
    if at == 0:
        return 0.0
    # Within one level, the quantile is interpolated, or weak noise would only come in steps.
    quartile = at - 0.5 + (quarter - int(below[at - 1])) / int(below[at] - below[at - 1])
    return quartile / QUARTILE / 6  # 6 is the mask's gain of white noise


def _chroma_and_value(grid: Image.Image) -> tuple[np.ndarray, np.ndarray]:
    """Chroma (the largest minus the smallest of a pixel's channels) and value (the largest), both uint8."""
    red, green, blue = grid.split()
    value = ImageChops.lighter(ImageChops.lighter(red, green), blue)
    least = ImageChops.darker(ImageChops.darker(red, green), blue)
    return np.asarray(ImageChops.subtract(value, least)), np.asarray(value)


def _saturation(chroma: np.ndarray, value: np.ndarray) -> float:
    brightest = int(np.sum(value, dtype=np.int64))
    return int(np.sum(chroma, dtype=np.int64)) / brightest if brightest else 0.0


def _dominant_hue(grid: Image.Image, chroma: np.ndarray) -> float:
    """The mean of the 30 degrees of hue that hold most of the chroma, in degrees from 0 up to, but not including, 360.

    NaN if less than 1 % of the pixels have a colour, or if these 30 degrees hold less than a quarter of the chroma.
    """
    coloured = chroma >= LEAST_CHROMA
    weights = chroma[coloured]
    if weights.size == 0 or weights.size < LEAST_COLOURED * chroma.size:
        return math.nan
    hues = np.asarray(grid.convert("HSV").getchannel("H"))[coloured]
    shares = np.bincount(hues, weights, minlength=HUES)[:HUES]  # sums of integers, exact as floats
    circle = np.concatenate([shares[-HUE_REACH:], shares, shares[:HUE_REACH]])
    windows = np.convolve(circle, np.ones(2 * HUE_REACH + 1), mode="valid")
    middle = int(np.argmax(windows))
    if windows[middle] < LEAST_DOMINANT * shares.sum():
        return math.nan
    steps = np.arange(-HUE_REACH, HUE_REACH + 1)
    window = circle[middle : middle + len(steps)]
    degrees = float((middle + (window @ steps) / window.sum()) * 360 / HUES % 360)
    return degrees if np.float32(degrees) < 360 else 0.0


def pictures(files: Sequence[Path], *, what: str = "Reading images") -> np.ndarray:
    """The features of images, cached by content.

    Returns
    -------
    ndarray of shape (n_files, 256), float32
        A row of zeros for an image that cannot be read, or hardly has any contrast: it is the same as no other.

    Raises
    ------
    SAFEError
        The cache cannot be used.
    """
    with contextlib.closing(FeatureCache(PICTURES, SIDE**2)) as cache:
        rows = cached_rows(Path(), list(map(str, files)), cache, _picture, what=what)
    return np.nan_to_num(rows)


def same_images(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of images that are the same, by row, the most similar first; features as in `pictures`."""
    pairs: list[tuple[float, int, int]] = []
    for start in range(0, len(first), BLOCK):
        cosines = first[start : start + BLOCK] @ second.T
        rows, columns = np.nonzero(cosines >= LEAST_COSINE)
        pairs += zip((-cosines[rows, columns]).tolist(), (start + rows).tolist(), columns.tolist(), strict=True)
    return [(row, column) for _, row, column in sorted(pairs)]


def _picture(path: str, key: bytes, data: bytes) -> Loaded:
    image, _ = decode_for_network(data)
    small = image.convert("L").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    values = np.asarray(small, np.float32).ravel()
    values = values - values.mean()
    scale = np.linalg.norm(values) if values.std() >= FLATTEST else np.inf
    return Loaded(path, key, attributes=values / np.float32(scale))
