"""A cache of extracted features, keyed by the content of the image.

Only new images cost time after a rerun, a moved folder or an added image, and a killed extraction resumes where it
stopped, since rows are committed batch by batch. There is one SQLite file per extractor identity, so that features of
different networks, weights or precisions cannot be mixed and can be deleted separately.

Each row ends with a checksum, and damaged rows are computed again (see docs/decisions/011-cached-features.md).
"""

import contextlib
import hashlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import cache_folder, log_ahead, private_cache

CHECKSUM_BYTES = 8
PATIENCE = 30.0  # seconds that a process waits for another one's batch


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
