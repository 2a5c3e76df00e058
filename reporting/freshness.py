"""What a report was made from, and whether it has changed since.

The report says in two `meta` elements when it was begun and which files it was made from, as digests. They are read
from the beginning of the file, or of the `report.html` in an export.
"""

import csv
import datetime
import hashlib
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from reporting.export import LABELS_TABLE
from support.errors import SAFEError
from support.files import DAMAGED, regular
from support.run_folder import (
    CLUSTERS_FILE,
    COMPARISON_FILE,
    EDITS_FILE,
    NOTES_FILE,
    REPORT_FILE,
    RETRAINING_FILE,
    SELECTION_FILE,
    SPOT_NOTES_FILE,
    UNSAFE_SET_FILE,
    WEAK_SPOTS_FILE,
)

PARTS = {
    "clusters": ("the root cause clusters", (CLUSTERS_FILE,)),
    "judgements": ("names, judgements and edits", (EDITS_FILE, NOTES_FILE, SPOT_NOTES_FILE)),
    "comparison": ("the failure rates and weak spots", (COMPARISON_FILE, WEAK_SPOTS_FILE)),
    "unsafe-set": ("the unsafe set and its labels", (SELECTION_FILE, UNSAFE_SET_FILE)),
    "model": ("the retrained model", (RETRAINING_FILE,)),
}
"""What a report is made from: the name of each part, in words and as files."""
_BEGINNING = 4096  # bytes, within which the elements stand


class Made(NamedTuple):
    """A report or an export that was written.

    Attributes
    ----------
    time : datetime
        When it was begun; in the local time zone.
    size : int
        Bytes.
    changed : tuple of str or None
        What has changed since, in words. None if it does not say what it was made from, as those of older versions.
    missing : int
        Images that an export lacks, since they could not be read.
    """

    time: datetime.datetime
    size: int
    changed: tuple[str, ...] | None
    missing: int = 0


def made_from(folder: Path) -> dict[str, str]:
    """Digests of what a report on the run in a folder is made from, by part."""
    return {part: digest_of(folder, part) for part in PARTS}


def digest_of(folder: Path, part: str) -> str:
    """A digest of the files of a part, those that are missing included."""
    digest = hashlib.blake2b(digest_size=8)
    for name in PARTS[part][1]:
        try:
            with regular(folder / name).open("rb") as data:
                digest.update(hashlib.file_digest(data, "sha256").digest())
        except OSError:
            digest.update(b"missing")
    return digest.hexdigest()


def made_elements(digests: dict[str, str], now: datetime.datetime) -> str:
    """The `meta` elements for these digests."""
    listed = " ".join(f"{part}={digest}" for part, digest in digests.items())
    time = now.isoformat(timespec="seconds")
    return f"<meta name='safe-made' content='{time}'><meta name='safe-from' content='{listed}'>"


def when_made(file: Path, digests: Callable[[], Mapping[str, str]]) -> Made | None:
    """Read when a report, or an export with one (`.zip`), was made, and what has changed in the folder since.

    Parameters
    ----------
    digests : callable
        Gives those that `made_from` gives of the folder now. It is called only if they are needed.

    Returns
    -------
    Made or None
        None if there is no such file.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    try:
        state = regular(file).stat()
    except OSError:
        return None
    missing = 0
    try:
        if file.suffix == ".zip":
            with zipfile.ZipFile(file) as archive, archive.open(REPORT_FILE) as report:
                beginning = report.read(_BEGINNING)
                missing = _missing(archive)
        else:
            with file.open("rb") as report:
                beginning = report.read(_BEGINNING)
    except (*DAMAGED, zipfile.BadZipFile) as error:
        raise SAFEError(f"{file} is damaged ({error}). Make it again.") from error
    text = beginning.decode("utf-8", "replace")
    then, listed = (_content(text, name) for name in ("safe-made", "safe-from"))
    known = dict(pair.split("=", 1) for pair in listed.split() if "=" in pair)
    if known.keys() != PARTS.keys() or not then:
        return Made(datetime.datetime.fromtimestamp(state.st_mtime).astimezone(), state.st_size, None, missing)
    now = digests()
    changed = tuple(words for part, (words, _) in PARTS.items() if known[part] != now[part])
    return Made(_time(then, state.st_mtime), state.st_size, changed, missing)


def _missing(archive: zipfile.ZipFile) -> int:
    with archive.open(LABELS_TABLE) as table:
        return sum(not row["file"] for row in csv.DictReader(io.TextIOWrapper(table, "utf-8-sig", newline="")))


def is_current(report: Path, digests: Callable[[], Mapping[str, str]]) -> bool:
    """Whether there is a report, and nothing that it is made from has changed since (`digests` as for `when_made`)."""
    try:
        made = when_made(report, digests)
    except SAFEError:
        return False
    return made is not None and made.changed == ()


def _time(text: str, otherwise: float) -> datetime.datetime:
    try:
        return datetime.datetime.fromisoformat(text).astimezone()
    except ValueError:
        return datetime.datetime.fromtimestamp(otherwise).astimezone()


def _content(text: str, name: str) -> str:
    found = re.search(rf"<meta name='{name}' content='([^'<>]*)'>", text)
    return found[1] if found else ""
