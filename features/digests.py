"""Cached digests of large files, such as a network's weights.

As in git's index, an entry is valid while the file's size, inode and times are unchanged. This saves time when all
features come from the cache; code that loads the file computes the digest itself.
"""

import hashlib
import json
import time
from pathlib import Path
from typing import NamedTuple

from support.errors import SAFEError
from support.files import cache_folder, write_text

FILE = "digests.json"
SETTLED_SECONDS = 2  # a file that changed more recently may change again within the resolution of its times
MOST_REMEMBERED = 100


class Digests(NamedTuple):
    """Digests of one file, in hexadecimal digits."""

    sha256: str
    md5: str


def remembered_digests(path: Path) -> Digests:
    """The digests of a file, computed in one pass if they are not cached.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    name, stamp = str(path.absolute()), _stamp(path)
    known = _known()
    entry = known.pop(name, None)
    if isinstance(entry, dict) and entry.get("stamp") == stamp:
        found = Digests(str(entry.get("sha256")), str(entry.get("md5")))
        if len(found.sha256) == 64 and len(found.md5) == 32:
            return found
    found = _compute(path)
    last_changed = max(stamp[-2:]) / 1e9
    if time.time() - last_changed > SETTLED_SECONDS and _stamp(path) == stamp:
        latest = [*known.items(), (name, {"stamp": stamp, **found._asdict()})][-MOST_REMEMBERED:]
        _remember(dict(latest))
    return found


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, always computed from its content.

    Raises
    ------
    OSError
        The file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compute(path: Path) -> Digests:
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(2**20):
            sha256.update(chunk)
            md5.update(chunk)
    return Digests(sha256.hexdigest(), md5.hexdigest())


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns]


def _known() -> dict[str, object]:
    """The cached entries; empty if their file is missing or damaged."""
    try:
        known = json.loads(cache_folder().joinpath(FILE).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return known if isinstance(known, dict) else {}


def _remember(known: dict[str, object]) -> None:
    try:
        cache_folder().mkdir(parents=True, exist_ok=True)
        write_text(cache_folder() / FILE, json.dumps(known, indent=1))
    except (OSError, SAFEError):
        pass  # only costs time; the feature cache reports a folder that is not writable
