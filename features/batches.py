"""Batches of images on their way through the network: loaded ahead of it, computed, and put in order. Step 1."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, Protocol

import numpy as np
from PIL import Image

from features.extractor import INPUT_SIZE, Extractor
from features.network import BATCH_SIZE, Network
from support.errors import SAFEError
from support.images import ImageListing, Skipped, decode_with_size
from support.progress import Progress, no_progress

EXTRACTING = "Extracting features"
LOADING_THREADS = min(os.cpu_count() or 1, 16)  # each may hold an image with `support.images.MAX_PIXELS`


class FeatureBatch(NamedTuple):
    """One batch of an extraction; `features` has the shape (len(paths), dimension), float32."""

    paths: tuple[str, ...]
    features: np.ndarray
    skipped: tuple[Skipped, ...]


class Stream(Protocol):
    """Extracts features as `FE.stream_features` does: in the order of the listing, each batch cached at once."""

    def __call__(
        self, listing: ImageListing, extractor: Extractor, *, progress: Progress = no_progress
    ) -> Iterator[FeatureBatch]: ...


class Loaded(NamedTuple):
    """A file that was read: a cached row, or pixels for the network and attributes, or the reason why it is skipped."""

    path: str
    key: bytes = b""
    row: np.ndarray | None = None
    pixels: np.ndarray | None = None
    attributes: np.ndarray | None = None
    reason: str = ""


def in_batches(paths: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Split paths into batches of `BATCH_SIZE`."""
    return [paths[i : i + BATCH_SIZE] for i in range(0, len(paths), BATCH_SIZE)]


def decode_for_network(data: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """Decode an image file: RGB, and (width, height) of the original.

    Large JPEGs are decoded at a reduced size. The features depend on that, so a change here needs a new identity of the
    extractors and of the attributes.

    Raises
    ------
    any of UNREADABLE
        Not a readable image.
    """
    return decode_with_size(data, at_least=INPUT_SIZE)


def pixels_of(image: Image.Image) -> np.ndarray:
    """Resize a decoded image for the network: uint8 of shape (224, 224, 3), RGB.

    The features depend on that, so a change here needs a new identity of the extractors.
    """
    # Bilinear with antialiasing; nearest-neighbour sampling would turn fine texture into noise.
    return np.asarray(image.resize(INPUT_SIZE, Image.Resampling.BILINEAR))


def compute_rows(network: Network, pixels: list[np.ndarray], extractor: Extractor) -> np.ndarray:
    """Compute features of shape (len(pixels), dimension), float32.

    On a given machine a row is the same to the last bit, whatever else is in the batch and however many threads run.

    Raises
    ------
    SAFEError
        Features are not finite.
    """
    rows = network(np.stack(pixels))
    if not np.isfinite(rows).all():
        raise SAFEError(
            "The network's features must be finite. Received NaN or infinity. The weights may be damaged: "
            f"{extractor.weights}"
        )
    return rows


def as_batch(loaded: list[Loaded], computed: dict[bytes, np.ndarray], extractor: Extractor) -> FeatureBatch:
    """Combine files with their rows of features, cached or computed."""
    readable = [item for item in loaded if not item.reason]
    rows = [item.row if item.row is not None else computed[item.key] for item in readable]
    return FeatureBatch(
        tuple(item.path for item in readable),
        np.stack(rows) if rows else np.empty((0, extractor.dimension), np.float32),
        tuple(Skipped(item.path, item.reason) for item in loaded if item.reason),
    )


def load_ahead(
    pool: ThreadPoolExecutor, batches: list[tuple[str, ...]], load: Callable[[str], Loaded]
) -> Iterator[list[Loaded]]:
    """Load batches in the pool and yield them in order; while one is in use, the next is being loaded."""
    pending: deque[list[Future]] = deque()
    for batch in batches:
        pending.append([pool.submit(load, path) for path in batch])
        if len(pending) > 1:
            yield [future.result() for future in pending.popleft()]
    while pending:
        yield [future.result() for future in pending.popleft()]
