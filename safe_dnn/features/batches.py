"""Batches of images on their way through the network: loaded ahead of it, computed, put in order, and cached. Step 1.

The cache is keyed by the content of the image. Only new images cost time after a rerun, a moved folder or an added
image, and a killed extraction resumes where it stopped, since rows are committed batch by batch. There is one SQLite
file per extractor identity, so that features of different networks, weights or precisions cannot be mixed and can be
deleted separately. Each row ends with a checksum, and damaged rows are computed again (see
docs/decisions/011-cached-features.md).
"""

import contextlib
import functools
import hashlib
import os
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from safe_dnn.features.extractor import INPUT_SIZE, Extractor
from safe_dnn.features.vgg16 import BATCH_SIZE, Network
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder, log_ahead, private_cache
from safe_dnn.support.images import (
    UNREADABLE,
    ImageListing,
    Skipped,
    content_key,
    decode_with_size,
    read_bytes,
    reason_for,
)
from safe_dnn.support.progress import holding, report_progress

CHECKSUM_BYTES = 8
PATIENCE = 30.0  # seconds that a process waits for another one's batch
EXTRACTING = "Extracting features"
LOADING_THREADS = min(os.cpu_count() or 1, 16)  # each may hold an image with `support.images.MAX_PIXELS`
Item = TypeVar("Item")
Result = TypeVar("Result")


def _checksum(key: bytes, row: bytes) -> bytes:
    """Checksum of a row and of the key that it belongs to (BLAKE2b)."""
    return hashlib.blake2b(row, key=key, digest_size=CHECKSUM_BYTES).digest()


class FeatureCache:
    """Rows of features by content key. Thread-safe.

    A damaged file is renamed to `*.damaged`, and an empty one takes its place.

    Parameters
    ----------
    identity : str
        The extractor's identity, which names the file.
    dimension : int
        Length of a row.

    Raises
    ------
    SAFEError
        The cache folder cannot be used.
    """

    def __init__(self, identity: str, dimension: int) -> None:
        self.dimension = dimension
        self._lock = threading.Lock()
        self._path = (private_cache() or cache_folder()) / f"{identity}.sqlite"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = self._connect()
        except (OSError, sqlite3.OperationalError) as error:
            raise SAFEError(
                f"The feature cache must be a folder that SAFE can write to. Received: {self._path.parent} ({error}). "
                "Set the environment variable SAFE_CACHE to another one."
            ) from error

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._open()
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            self._path.replace(self._path.with_suffix(".damaged"))
            return self._open()

    def _open(self) -> sqlite3.Connection:
        # check_same_thread=False is safe because every use holds the lock.
        connection = sqlite3.connect(self._path, timeout=PATIENCE, check_same_thread=False)
        try:
            # A write-ahead log survives a killed process without waiting for the disk after each batch.
            log_ahead(connection, PATIENCE)
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("CREATE TABLE IF NOT EXISTS features (content BLOB PRIMARY KEY, row BLOB NOT NULL)")
            connection.commit()
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def get(self, key: bytes) -> np.ndarray | None:
        """The row, float32 of shape (dimension,), or None if there is none or it is damaged."""
        with self._lock, self._explained():
            found = self._connection.execute("SELECT row FROM features WHERE content = ?", (key,)).fetchone()
        length = 4 * self.dimension
        if found is None or len(found[0]) != length + CHECKSUM_BYTES:
            return None
        row = memoryview(found[0])
        if row[length:] != _checksum(key, row[:length]):
            return None
        return np.frombuffer(row[:length], dtype="<f4")

    def put(self, rows: Iterable[tuple[bytes, np.ndarray]]) -> None:
        """Store (key, row) pairs in one transaction."""
        data = ((key, np.ascontiguousarray(row, dtype="<f4").tobytes()) for key, row in rows)
        values = [(key, row + _checksum(key, row)) for key, row in data]
        with self._lock, self._explained(), self._connection:
            self._connection.executemany("INSERT OR REPLACE INTO features VALUES (?, ?)", values)

    def close(self) -> None:
        """Close the file; the cache cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise SAFEError(
                f"The feature cache could not be used: {error}. Free some disk space, or delete the file: {self._path}"
            ) from error


class FeatureBatch(NamedTuple):
    """One batch of an extraction; `features` has the shape (len(paths), dimension), float32."""

    paths: tuple[str, ...]
    features: np.ndarray
    skipped: tuple[Skipped, ...]


Stream = Callable[[ImageListing, Extractor], Iterator[FeatureBatch]]
"""Extracts features as `FE.stream_features` does: in the order of the listing, each batch cached at once."""
_stream: ContextVar[Stream | None] = ContextVar("stream", default=None)


def streaming(stream: Stream | None) -> contextlib.AbstractContextManager[None]:
    """Have features extracted in another way in the block, in this thread; None: by this machine."""
    return holding(_stream, stream)


def present_stream() -> Stream | None:
    """As of `streaming`."""
    return _stream.get()


class Loaded(NamedTuple):
    """A file that was read: a cached row, or pixels for the network and attributes, or the reason why it is skipped."""

    path: str
    key: bytes = b""
    row: np.ndarray | None = None
    pixels: np.ndarray | None = None
    attributes: np.ndarray | None = None
    reason: str = ""


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


def load_image(path: str, *, root: Path, cache: FeatureCache, decode: Callable[[str, bytes, bytes], Loaded]) -> Loaded:
    """Read an image: its cached row or, if there is none, what `decode` makes of its path, key and content."""
    try:
        data = read_bytes(root / path)
        key = content_key(data)
        row = cache.get(key)
        return decode(path, key, data) if row is None else Loaded(path, key, row=row)
    except SAFEError:
        raise
    except UNREADABLE as error:
        return Loaded(path, reason=reason_for(error))


def load_ahead(
    items: Sequence[Item], load: Callable[[Item], Result], batch_size: int = 0
) -> Generator[list[Result], None, None]:
    """Load batches, by default of `BATCH_SIZE`, in threads; while one is in use, the next is being loaded.

    To be closed (`contextlib.closing`) if it is not used up.
    """
    pool, size = ThreadPoolExecutor(LOADING_THREADS), batch_size or BATCH_SIZE
    pending: deque[list[Future]] = deque()
    try:
        for start in range(0, len(items), size):
            pending.append([pool.submit(load, item) for item in items[start : start + size]])
            if len(pending) > 1:
                yield [future.result() for future in pending.popleft()]
        while pending:
            yield [future.result() for future in pending.popleft()]
    finally:
        pool.shutdown(cancel_futures=True)


def cached_rows(
    root: Path, paths: Sequence[str], cache: FeatureCache, decode: Callable[[str, bytes, bytes], Loaded], *, what: str,
) -> np.ndarray:  # fmt: skip
    """The attributes of images, those that are not cached computed in threads. Each batch is cached at once.

    Parameters
    ----------
    paths : sequence of str
        Relative to `root`, or absolute.
    cache, decode
        As for `load_image`; `decode` sets `attributes`.

    Returns
    -------
    ndarray of shape (len(paths), cache.dimension), float32
        In the order of `paths`. A row of NaN where the image cannot be read.
    """
    rows = np.full((len(paths), cache.dimension), np.nan, np.float32)
    done = 0
    report_progress(what, 0, len(paths))
    load = functools.partial(load_image, root=root, cache=cache, decode=decode)
    with contextlib.closing(load_ahead(paths, load)) as batches:
        for loaded in batches:
            cache.put({item.key: item.attributes for item in loaded if item.attributes is not None}.items())
            for place, item in enumerate(loaded, start=done):
                row = item.row if item.row is not None else item.attributes
                if row is not None:
                    rows[place] = row
            done += len(loaded)
            report_progress(what, done, len(paths))
    return rows
