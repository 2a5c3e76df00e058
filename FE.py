"""Step 1 of SAFE, first half: feature extraction. Images in, one row of VGG16 features per image out.

Two extractors:

- `vgg16-fc2`, the paper's: VGG16 trained on ImageNet, cut at layer `fc2`; 4096 features. Keras downloads the weights
  (553 MB) once.
- `vgg16-conv`, for machines without internet: the same network without its dense layers; the mean over space of each
  channel of each of its 13 convolutional layers; 4224 features. The early layers see what spoils an image (blur, noise,
  darkness), the late ones what it shows. The weights come with a package from the Python package index.

`features/` holds what it is made of. TensorFlow is imported only when an image is new to the feature cache.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.1 (the extractor); Simonyan & Zisserman, ICLR 2015 (VGG16);
`keras.applications` (weights and preprocessing).
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from features.batches import (
    EXTRACTING,
    LOADING_THREADS,
    FeatureBatch,
    Loaded,
    Stream,
    ahead,
    as_batch,
    compute,
    in_batches,
    pixels_of,
)
from features.cache import FeatureCache, content_key
from features.extractor import Extractor
from features.network import load_network
from support.errors import SAFEError
from support.images import UNREADABLE, ImageListing, Skipped, find_images, read_bytes, reason_for
from support.progress import Progress, no_progress


@dataclass(frozen=True)
class ImageFeatures:
    """Features of the images of a folder.

    Attributes
    ----------
    root : Path
        The image folder, absolute.
    paths : tuple of str
        Relative to `root`, sorted.
    features : ndarray of shape (n_images, dimension), float32
        Row i belongs to `paths[i]`.
    extractor : Extractor
    skipped : tuple of Skipped
    """

    root: Path
    paths: tuple[str, ...]
    features: np.ndarray
    extractor: Extractor
    skipped: tuple[Skipped, ...]


def extract_features(
    source: str | os.PathLike, extractor: Extractor, progress: Progress = no_progress, stream: Stream | None = None
) -> ImageFeatures:
    """Features of all images of a folder (or of a `.txt` list of images).

    Parameters
    ----------
    stream : callable, optional
        What extracts them batch by batch; `stream_features`, on this machine, if not given.

    Raises
    ------
    SAFEError
        No folder, no readable image, no weights, or features that are not finite.
    """
    listing = find_images(source)
    features = np.empty((len(listing.paths), extractor.dimension), np.float32)  # filled as they come: no second copy
    paths: list[str] = []
    skipped = list(listing.skipped)
    for batch in (stream or stream_features)(listing, extractor, progress):
        features[len(paths) : len(paths) + len(batch.paths)] = batch.features
        paths += batch.paths
        skipped += batch.skipped
    if not paths:
        raise SAFEError(
            f"Expected images. Received {len(skipped)} files of which none is readable, in {listing.root}; "
            f"the first, {skipped[0].path}: {skipped[0].reason}"
        )
    return ImageFeatures(listing.root, tuple(paths), features[: len(paths)], extractor, tuple(sorted(skipped)))


def stream_features(
    listing: ImageListing, extractor: Extractor, progress: Progress = no_progress
) -> Iterator[FeatureBatch]:
    """Extract features batch by batch, in the order of the listing; memory does not grow with it.

    While the network works on one batch, threads read, hash and decode the next. Features are cached as they come.

    Raises
    ------
    SAFEError
        As `extract_features`.
    """
    total = len(listing.paths)
    network = None
    done = 0
    progress(EXTRACTING, 0, total)
    cache = FeatureCache(extractor.identity, extractor.dimension)
    pool = ThreadPoolExecutor(LOADING_THREADS)
    try:
        for loaded in ahead(pool, in_batches(listing.paths), lambda path: _load(listing.root, path, cache)):
            new = {item.key: item.pixels for item in loaded if item.pixels is not None}
            computed: dict[bytes, np.ndarray] = {}
            if new:
                network = network or load_network(extractor)
                computed = dict(zip(new, compute(network, list(new.values()), extractor), strict=True))
                cache.put(computed.items())
            done += len(loaded)
            progress(EXTRACTING, done, total)
            yield as_batch(loaded, computed, extractor)
    finally:
        pool.shutdown(cancel_futures=True)
        cache.close()


def _load(root: Path, path: str, cache: FeatureCache) -> Loaded:
    try:
        data = read_bytes(root / path)
        key = content_key(data)
        row = cache.get(key)
        return Loaded(path, key, row=row) if row is not None else Loaded(path, key, pixels=pixels_of(data))
    except SAFEError:
        raise
    except UNREADABLE as error:
        return Loaded(path, reason=reason_for(error))
