"""The same image, saved again: as JPEG, in another size, or with a changed bit.

In: image files; out: their features, and the pairs of two sets that are the same image. The features are a small grey
picture, of unit length and without its mean; two are the same image if their cosine is at least `LEAST_COSINE`. That
lies between different images and those that were saved again. Neighbouring frames of a film may be the same by it, too;
dark images and those of 32 pixels that were saved again are missed in part. VGG16's features tell them apart less well,
and take 60 times as long.
"""

import contextlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from safe_dnn.features.batches import Loaded, cached_rows, decode_for_network
from safe_dnn.features.cache import FeatureCache
from safe_dnn.support.progress import Progress, no_progress

SIDE = 16  # pixels
IDENTITY = "pictures-1"
"""Names the cache file. A change to the features, or to decoding, needs a new one."""
LEAST_COSINE = 0.999  # of different images it is at most .9984, of solar cells; else .9977, of drives on one road
FLATTEST = 1.0  # grey levels, standard deviation: a flatter image looks like any other flat one
BLOCK = 1024  # images at once


def pictures(files: Sequence[Path], *, progress: Progress = no_progress, what: str = "Reading images") -> np.ndarray:
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
    with contextlib.closing(FeatureCache(IDENTITY, SIDE**2)) as cache:
        rows = cached_rows(Path(), list(map(str, files)), cache, _picture, what=what, progress=progress)
    return np.nan_to_num(rows)


def same_images(first: np.ndarray, second: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of images that are the same, by row, the most similar first; features as of `pictures`."""
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
