"""What files hold, whatever their names: which images are the same, and digests of large files."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from safe_dnn.support.files import state_of_file
from safe_dnn.support.images import read_bytes


def content_key(data: bytes) -> bytes:
    """Digest of an image file's content, 16 bytes (BLAKE2b)."""
    return hashlib.blake2b(data, digest_size=16).digest()


def same_content(files: Sequence[Path], candidates: Sequence[Path]) -> list[list[int]]:
    """Which of the others have the content of each file, as indices.

    Only files of equal sizes are read; those that cannot be read have nothing in common.
    """
    sizes, of_candidates = ([_size_of(file) for file in each] for each in (files, candidates))
    both = set(sizes) & set(of_candidates) - {None}
    rows_of: dict[bytes | None, list[int]] = {}
    for row, (other, size) in enumerate(zip(candidates, of_candidates, strict=True)):
        if size in both:
            rows_of.setdefault(content_of(other), []).append(row)
    rows_of.pop(None, None)
    return [rows_of.get(content_of(file), []) if size in both else [] for file, size in zip(files, sizes, strict=True)]


def copies_in(root: Path, paths: Sequence[str]) -> dict[str, str]:
    """The images that are the same as another one byte for byte, each with the first of them by path.

    Only files of equal sizes are read.
    """
    alike = [sorted(paths)]
    for known_by in (_size_of, content_of):
        same: dict[tuple[int, object], list[str]] = {}
        for number, candidates in enumerate(alike):
            for path in candidates:
                same.setdefault((number, known_by(root / path)), []).append(path)
        alike = [several for (_, known), several in same.items() if known is not None and len(several) > 1]
    return {copy: first for first, *copies in alike for copy in copies}


def in_common(files: Sequence[Path], candidates: Sequence[Path]) -> np.ndarray:
    """Whether each file has the content of one of the others: ndarray of shape (n_files,), bool."""
    return np.array([bool(rows) for rows in same_content(files, candidates)], bool)


def _size_of(file: Path) -> int | None:
    state = state_of_file(file)
    return state[1] or None if state else None


def content_of(file: Path) -> bytes | None:
    """A digest of the content; None if it cannot be read."""
    try:
        return content_key(read_bytes(file))
    except OSError:
        return None


def digest_of(path: Path, kind: str = "sha256") -> str:
    """The SHA-256, or MD5, of a file, in hexadecimal digits, computed once in a process.

    As in git's index, one that is known is valid while the file's size, inode and times are unchanged.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    state = path.stat()
    return _computed(path.absolute(), kind, (state.st_size, state.st_ino, state.st_mtime_ns, state.st_ctime_ns))


@functools.lru_cache
def _computed(path: Path, kind: str, _: tuple[int, ...]) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
