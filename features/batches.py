"""Batches of images on their way to the network: loaded ahead, computed, and put in order. Step 1."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
from PIL import Image

from features.extractor import INPUT_SIZE, Extractor
from features.network import BATCH_SIZE, Network
from support.errors import SAFEError
from support.images import ImageListing, Skipped, decode
from support.progress import Progress

EXTRACTING = "Extracting features"
LOADING_THREADS = min(os.cpu_count() or 1, 16)  # each may hold an image of `support.images.MAX_PIXELS`


class FeatureBatch(NamedTuple):
    """A part of an extraction: `features` of shape (len(paths), dimension), float32."""

    paths: tuple[str, ...]
    features: np.ndarray
    skipped: tuple[Skipped, ...]


Stream = Callable[[ImageListing, Extractor, Progress], Iterator[FeatureBatch]]
"""Extracts features as `stream_features` does: in the order of the listing, and cached as they come."""


class Loaded(NamedTuple):
    """What is known of a file: a cached row, or pixels for the network, or a reason to skip it."""

    path: str
    key: bytes = b""
    row: np.ndarray | None = None
    pixels: np.ndarray | None = None
    reason: str = ""


def in_batches(paths: tuple[str, ...]) -> list[tuple[str, ...]]:
    """The paths in parts of `BATCH_SIZE`."""
    return [paths[i : i + BATCH_SIZE] for i in range(0, len(paths), BATCH_SIZE)]


def pixels_of(data: bytes) -> np.ndarray:
    """What the network takes of an image file: uint8 of shape (224, 224, 3), RGB; any of UNREADABLE where it is none.

    A large JPEG is decoded at a reduced size, which its features hang on: that is part of what an extractor's identity
    stands for, as the resizing is.
    """
    # Bilinear with antialiasing: taking the nearest pixel instead would turn fine texture into noise.
    image = decode(data, at_least=INPUT_SIZE).resize(INPUT_SIZE, Image.Resampling.BILINEAR)
    return np.asarray(image)


def compute(network: Network, pixels: list[np.ndarray], extractor: Extractor) -> np.ndarray:
    """Rows of features, float32; a SAFEError where they are not finite.

    On one machine a row is the same to the last bit whatever else is in the batch, and however many threads there are.
    """
    rows = network(np.stack(pixels))
    if not np.isfinite(rows).all():
        raise SAFEError(
            f"The network's features must be finite. Received NaN or infinity; are these weights damaged? "
            f"{extractor.weights}"
        )
    return rows


def as_batch(loaded: list[Loaded], computed: dict[bytes, np.ndarray], extractor: Extractor) -> FeatureBatch:
    """A batch of files with their rows, cached or computed."""
    readable = [item for item in loaded if not item.reason]
    rows = [item.row if item.row is not None else computed[item.key] for item in readable]
    return FeatureBatch(
        tuple(item.path for item in readable),
        np.stack(rows) if rows else np.empty((0, extractor.dimension), np.float32),
        tuple(Skipped(item.path, item.reason) for item in loaded if item.reason),
    )


def ahead(
    pool: ThreadPoolExecutor, batches: list[tuple[str, ...]], load: Callable[[str], Loaded]
) -> Iterator[list[Loaded]]:
    """The loaded batches in order, always one more under way than is asked for."""
    pending: deque[list[Future]] = deque()
    for batch in batches:
        pending.append([pool.submit(load, path) for path in batch])
        if len(pending) > 1:
            yield [future.result() for future in pending.popleft()]
    while pending:
        yield [future.result() for future in pending.popleft()]
