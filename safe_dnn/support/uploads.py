"""Files that a browser sends: received in parts, checked, and put in place as a whole or not at all.

In: a list of names and sizes, then the contents one after the other, or one ZIP file. Out: a new folder with the
images, tables and models among them. Names, sizes and bytes are a stranger's: nothing is written outside that folder,
and number, bytes and time are bounded. What was acknowledged stays when the process is killed: whoever chooses the same
files again goes on from there. No message names a place on this machine.
"""

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import struct
import time
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from safe_dnn.support.errors import SAFEError, quoted
from safe_dnn.support.files import DAMAGED, free_name, intact, new_folder, read_json, remove_left_over
from safe_dnn.support.images import SUFFIXES
from safe_dnn.support.progress import Progress
from safe_dnn.support.text import count

INCOMING_FOLDER = ".safe-incoming"
MANIFEST, RECEIVED = "manifest.json", "received"
TABLES = frozenset({".csv", ".txt", ".json"})
ZIP = frozenset({".zip"})
MODELS = frozenset({".keras", ".h5", ".onnx"})
LONGEST_PART, DEEPEST = 200, 16  # of a name: bytes between two slashes, and parts
ENTRIES_PER_FILE = 4  # macOS packs a hidden file with each, and folders count as well
LARGEST_DIRECTORY = 8 * 2**20  # bytes of the list of names in a ZIP file: 400 for each of 20,000 files
LONGEST_GAP = 24  # bytes between members of a ZIP file: there, their sizes may be repeated
CHUNK = 2**20  # bytes
AGAIN = "Pack the files again, and choose the new ZIP file."
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]|\A[A-Za-z]:|(\A|/)\.{0,2}(/|\Z)")
_HIDDEN = re.compile(r"(\A|/)(\.|(__MACOSX|Thumbs\.db|desktop\.ini)(/|\Z))", re.IGNORECASE)
# Of a ZIP file's members: flags, what they are, and how they are packed
_ENCRYPTED, _PLAIN, _PACKED = 0x2041, (0, stat.S_IFREG, stat.S_IFDIR), (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)

GONE = "Expected an upload that has begun. Received: one that is not there any more. Choose the files again."
FEWER = "Choose fewer files."

Contents = Iterator[tuple[str, Iterator[bytes]]]
"""The names of files, each with its content in parts."""


class Limits(NamedTuple):
    """What an upload may be.

    Attributes
    ----------
    entries : int
        Files that are kept.
    bytes : int
        In all, as they are sent and unpacked.
    seconds : float
        For unpacking.
    suffixes : frozenset of str
        What is kept, in lower case.
    """

    entries: int = 20_000
    bytes: int = 2 * 2**30
    seconds: float = 600
    suffixes: frozenset[str] = SUFFIXES | TABLES


class Uploaded(NamedTuple):
    """Files that were received, and are in place.

    Attributes
    ----------
    path : Path
        What the field of a form names: a file, or the folder of images, in which or beside which tables lie.
    files, left_out : int
        Those that were kept, and those of other kinds; what systems hide counts as neither.
    notes : str
        A sentence on both.
    """

    path: Path
    files: int
    left_out: int
    notes: str


class Incoming(NamedTuple):
    """An upload that is on its way, in a hidden folder.

    Attributes
    ----------
    folder : Path
    name : str
        Of the folder that it becomes.
    files : list of [str, int]
        Names and sizes in bytes, in the order in which the contents are sent.
    limits : Limits
    """

    folder: Path
    name: str
    files: list[list[Any]]
    limits: Limits

    @classmethod
    def begin(cls, home: Path, name: str, files: Any, limits: Limits) -> "Incoming":
        """Begin an upload, or go on with the same one, before any byte is taken.

        Parameters
        ----------
        home : Path
            The hidden folder lies in it.
        files : list of [str, int]
            As of the class; it comes from a stranger, so it may be anything.

        Raises
        ------
        SAFEError
            The names or sizes are invalid, there are too many, none would be kept, or the disk is full.
        """
        if not isinstance(files, list) or not all(map(_is_file_and_size, files)):
            raise _refusal("a list of names and sizes", "something else", "Choose the files again.")
        _check_name(name, "[^/.][^/]*")
        _kept([path for path, _ in files], limits._replace(suffixes=ZIP) if _is_zip(files) else limits)
        _check_bytes(sum(size for _, size in files), limits)
        text = json.dumps([name, files, *limits[:3], sorted(limits.suffixes)])
        folder = home / INCOMING_FOLDER / cls.id_of(name, files)
        with _stored():
            if not folder.is_dir():
                with new_folder(folder) as building:
                    (building / MANIFEST).write_text(text)
                    (building / RECEIVED).touch()
                    building.rename(folder)
        return cls.of(home, folder.name)

    @staticmethod
    def id_of(name: object, files: object) -> str:
        """64 hexadecimal digits by which the same files are the same upload, chosen again; of whatever a page sends."""
        return hashlib.sha256(json.dumps([name, files]).encode()).hexdigest()

    @classmethod
    def of(cls, home: Path, digest: str) -> "Incoming":
        """The upload that has this id; a SAFEError if there is none."""
        try:
            (known,) = re.findall(r"\A[0-9a-f]{64}\Z", digest)
            name, files, entries, size, seconds, suffixes = read_json(home / INCOMING_FOLDER / known / MANIFEST)
        except DAMAGED as error:
            raise SAFEError(GONE) from error
        return cls(home / INCOMING_FOLDER / known, name, files, Limits(entries, size, seconds, frozenset(suffixes)))

    @property
    def id(self) -> str:
        """As of `id_of`."""
        return self.folder.name

    @property
    def total(self) -> int:
        """Bytes that are expected in all."""
        return sum(size for _, size in self.files)

    @property
    def received(self) -> int:
        """Bytes that are there; a SAFEError if the upload is gone."""
        with _stored():
            return (self.folder / RECEIVED).stat().st_size

    @contextlib.contextmanager
    def _locked(self) -> Iterator["_BoundedFile"]:
        """The received bytes, which no other request changes meanwhile; an OSError in the block is as of `_stored`."""
        with _stored(), _BoundedFile(self.folder / RECEIVED, "rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not os.fstat(file.fileno()).st_nlink:
                raise FileNotFoundError
            yield file

    def append(self, at: int, data: bytes) -> int:
        """Take the bytes from position `at` on if exactly those before it are there; otherwise change nothing.

        A part that is sent twice does no harm.

        Returns
        -------
        int
            `received`, from where to go on

        Raises
        ------
        SAFEError
            There are more bytes than the files have, the disk is full, or the upload is gone. What was there stays.
        """
        with self._locked() as file:
            received = file.seek(0, os.SEEK_END)
            if at != received:
                return received
            if at + len(data) > self.total:
                raise _refusal(f"{self.total:,} bytes in all", f"{at + len(data):,}", "Choose the files again.")
            return at + file.write(data)  # not all of them if the disk becomes full, and none once it is

    def finish(self, folder: Path, progress: Progress) -> Uploaded:
        """Put the files in place, below a new folder in `folder`; a ZIP file that was sent alone is unpacked.

        If `progress` or a full disk stops it, the bytes that were received stay. If they are refused, they are removed.

        Raises
        ------
        SAFEError
            Bytes are missing, the ZIP file is damaged or exceeds the limits, the disk is full, or the upload is gone.
        """
        with self._locked() as file:
            if (received := file.seek(0, os.SEEK_END)) != self.total:
                raise _refusal(f"{self.total:,} bytes", f"{received:,}", "Send the rest first.")
            place = folder / self.name
            try:
                with new_folder(place) as building:
                    kept, left_out, contents = (_unpacked if _is_zip(self.files) else _split)(file, self)
                    self._write(building, contents, len(kept), progress)
                    place = free_name(place) if os.path.lexists(place) else place
                    building.rename(place)
            except SAFEError:
                self.discard()  # the same bytes would be refused again
                raise
            self.discard()
        return Uploaded(_field(place), len(kept), left_out, _notes(kept, left_out))

    def _write(self, building: Path, contents: Contents, total: int, progress: Progress) -> None:
        """Write files below a folder that nobody else knows."""
        written, until = 0, time.monotonic() + self.limits.seconds
        for done, (name, parts) in enumerate(contents):
            progress("Unpacking", done, total)
            (building / name).parent.mkdir(parents=True, exist_ok=True)
            with (building / name).open("xb") as file:  # follows no link
                for part in parts:
                    written += len(part)
                    _check_bytes(written, self.limits)  # whatever the headers say
                    if time.monotonic() > until:
                        raise _refusal(f"at most {self.limits.seconds:,} seconds of unpacking", "more", FEWER)
                    file.write(part)
        progress("Unpacking", total, total)

    def discard(self) -> None:
        """Remove all that was received."""
        shutil.rmtree(self.folder, ignore_errors=True)


def remove_stale(home: Path, older_than_seconds: float) -> None:
    """Remove the uploads to which nothing was added for so long."""
    remove_left_over(home / INCOMING_FOLDER, "*", older_than_seconds)


# --- What is refused ----------------------------------------------------------------------------------------------


def _refusal(expected: str, received: str, what_to_do: str) -> SAFEError:
    return SAFEError(f"Expected {expected}. Received: {received}. {what_to_do}")


@contextlib.contextmanager
def _stored() -> Iterator[None]:
    """Turn an OSError in the block into a SAFEError, without the path."""
    try:
        yield
    except FileNotFoundError as error:
        raise SAFEError(GONE) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "The disk is full" if full else f"The files cannot be stored ({error.strerror})"
        raise SAFEError(f"{reason}. What was received before is kept. Try again later.") from error


def _is_file_and_size(entry: Any) -> bool:
    if not isinstance(entry, list) or [*map(type, entry)] != [str, int]:
        return False
    return not entry[0].endswith("/") and 0 <= entry[1] < 2**63


def _is_zip(files: Sequence[Sequence[Any]]) -> bool:
    return len(files) == 1 and _suffix(files[0][0]) in ZIP


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _check_bytes(total: int, limits: Limits) -> None:
    if total > limits.bytes:
        raise _refusal(f"at most {limits.bytes // 2**20:,} MiB", f"{-(-total // 2**20):,} MiB", FEWER)


def _check_name(name: str, form: str = f"[^/]+(/[^/]+){{0,{DEEPEST - 1}}}") -> None:
    """Make sure that a name is of something below a folder, on any system."""
    longest = max(map(len, name.encode("utf-8", "replace").split(b"/")))
    if longest > LONGEST_PART or _NOT_IN_NAMES.search(name) or not re.fullmatch(form, name):
        plain = f"without backslash, control character and .., of {LONGEST_PART} bytes or less, {DEEPEST} deep or less"
        raise _refusal(f"names below the folder that was chosen, {plain}", quoted(repr(name)), "Rename it.")


def _kept(names: Sequence[str], limits: Limits) -> tuple[set[str], int]:
    """The names of the files that are kept, and the number of those of other kinds; those of folders end in a slash.

    Raises
    ------
    SAFEError
        A name is invalid, two are the same but for case and Unicode form, or there are too many, or none to keep.
    """
    for name in names:
        _check_name(name.removesuffix("/"))
    visible = [name for name in names if not _HIDDEN.search(name) and not name.endswith("/")]
    kept = [name for name in visible if _suffix(name) in limits.suffixes]
    if not kept:
        raise _refusal(f"files with the suffixes {', '.join(sorted(limits.suffixes))}", "none", "Choose others.")
    if len(kept) > limits.entries or len(names) > ENTRIES_PER_FILE * limits.entries:
        raise _refusal(f"at most {count(limits.entries, 'file')}", f"{len(names):,}", FEWER)
    places = [*kept, *{str(folder) for name in kept for folder in PurePosixPath(name).parents}]
    alike = Counter(unicodedata.normalize("NFC", unicodedata.normalize("NFC", place).casefold()) for place in places)
    if len(alike) < len(places):
        several = quoted(repr(alike.most_common(1)[0][0]))
        raise _refusal("names that differ in more than case", f"{several} more than once", "Rename all but one.")
    return set(kept), len(visible) - len(kept)


# --- What is put in place -----------------------------------------------------------------------------------------


class _BoundedFile(io.FileIO):
    """A file that does not read very much at once.

    `zipfile` reads as many bytes as the end of a ZIP file says that its directory has, and makes an object of each of
    its entries.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory has more than {LARGEST_DIRECTORY // 2**20} MiB")
        return super().read(size)


def _split(file: io.FileIO, incoming: Incoming) -> tuple[set[str], int, Contents]:
    """What is kept of files whose contents lie one after the other: names, the number of others, and contents."""
    kept, left_out = _kept([name for name, _ in incoming.files], incoming.limits)

    def contents() -> Contents:
        at = 0
        for name, size in incoming.files:
            file.seek(at)
            at += size
            if name in kept:
                yield name, (file.read(min(CHUNK, size - done)) for done in range(0, size, CHUNK))

    return kept, left_out, contents()


def _unpacked(file: io.FileIO, incoming: Incoming) -> tuple[set[str], int, Contents]:
    """The same of a ZIP file.

    Raises
    ------
    SAFEError
        It is damaged, members overlap or are not plain files, or they are too many or too large.
    """
    packed, end, gaps = Path(incoming.files[0][0]), 0, []
    with intact(packed, AGAIN):
        archive = zipfile.ZipFile(file)
        members = sorted(archive.infolist(), key=lambda member: member.header_offset)
        # Not `filename`, which lacks what is behind a NUL
        kept, left_out = _kept([member.orig_filename for member in members], incoming.limits)
        for member in members:
            mode = stat.S_IFMT(member.external_attr >> 16)
            if member.flag_bits & _ENCRYPTED or mode not in _PLAIN or member.compress_type not in _PACKED:
                unusual = f"{quoted(repr(member.filename))}, a link, encrypted, or packed in another way"
                raise _refusal("a ZIP file of plain files, stored or deflated", unusual, AGAIN)
            file.seek(member.header_offset + 26)
            gaps.append(member.header_offset - end)
            end = member.header_offset + 30 + sum(struct.unpack("<HH", file.read(4))) + member.compress_size
        if not all(0 <= gap <= LONGEST_GAP for gap in [*gaps, archive.start_dir - end]):
            raise zipfile.BadZipFile("its members overlap, or its directory lacks some")
        for member in members:  # from Python 3.13 on it would only warn of an overlap
            archive.open(member).close()  # compares the names
        members = [member for member in members if member.orig_filename in kept]
        _check_bytes(sum(member.file_size for member in members), incoming.limits)

    def content(member: zipfile.ZipInfo) -> Iterator[bytes]:
        with intact(packed, AGAIN), archive.open(member) as unpacked:
            yield from iter(lambda: unpacked.read(CHUNK), b"")

    return kept, left_out, ((member.orig_filename, content(member)) for member in members)


def _field(top: Path) -> Path:
    """What the field of a form names: the only file, unless it is an image, or the folder of images.

    That is the only folder, if at most tables lie beside it, where SAFE looks for `parameters.csv` and
    `predictions.csv`; both may lie in another one, which was chosen or packed. Several folders are classes: they stay
    together, with the tables among them.
    """
    place, found = top, list(top.iterdir())
    if len(found) == 1 and found[0].is_file() and found[0].suffix.lower() not in SUFFIXES:
        return found[0]
    while len(folders := [path for path in found if path.is_dir()]) == 1:
        suffixes = {path.suffix.lower() for path in found if path not in folders}
        if not suffixes <= TABLES or (place != top and not suffixes):
            break
        place, found = folders[0], list(folders[0].iterdir())
    return place


def _notes(names: set[str], left_out: int) -> str:
    kinds = Counter("image" if _suffix(name) in SUFFIXES else "table" if _suffix(name) in TABLES else "model"
                    for name in names)  # fmt: skip
    text = "Received " + " and ".join(count(n, kind) for kind, n in sorted(kinds.items()))
    return f"{text}; left out {count(left_out, 'file')} of another kind." if left_out else f"{text}."
