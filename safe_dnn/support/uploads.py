"""Files that a browser has brought: checked, and put in place as a whole or not at all.

In: files of any name, or one ZIP file. Out: a new folder with the images, tables and models among them. Names, sizes
and bytes are a stranger's: nothing is written outside that folder, and number, bytes and time are bounded. No message
names a place on this machine.
"""

import contextlib
import errno
import io
import os
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple

from safe_dnn.support.errors import SAFEError, quoted
from safe_dnn.support.files import DAMAGED, free_name, new_folder
from safe_dnn.support.images import SUFFIXES
from safe_dnn.support.text import count, in_series

TABLES = frozenset({".csv", ".txt", ".json"})
FEATURES = frozenset({".npz", ".parquet"})
TRUSTED = FEATURES | {".keras", ".h5", ".onnx"}  # features and networks, of no stranger
_KINDS = {
    **dict.fromkeys(SUFFIXES, "image"),
    **dict.fromkeys(TABLES, "table"),
    **dict.fromkeys(FEATURES, "feature file"),
}
ENTRIES_PER_FILE = 4  # macOS packs a hidden file with each, and folders count as well
LARGEST_DIRECTORY = 8 * 2**20  # bytes of the list of names in a ZIP file: 400 for each of 20,000 files
CHUNK = 2**20  # bytes
AGAIN = "Pack the files again, and choose the new ZIP file."
FEWER = "Choose fewer files."
# Control characters, backslashes, and what leads out of the folder
_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\\]|\A[A-Za-z]:|(\A|/)\.{0,2}(/|\Z)")
_HIDDEN = re.compile(r"(\A|/)(\.|(__MACOSX|Thumbs\.db|desktop\.ini)(/|\Z))", re.IGNORECASE)


class Limits(NamedTuple):
    """What an upload may be.

    Attributes
    ----------
    entries : int
        Files that are kept.
    bytes : int
        In all, unpacked.
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
    """Files that were brought, and are in place.

    Attributes
    ----------
    path : Path
        What the field of a form names: a file, or the folder of images, in which or beside which tables lie.
    notes : str
        A sentence on how many files were kept, and how many of other kinds were not; what systems hide does not count.
    """

    path: Path
    notes: str


class _BoundedFile(io.FileIO):
    """A file that does not read very much at once.

    `zipfile` reads as many bytes as the end of a ZIP file says that its directory has, and makes an object of each of
    its entries.
    """

    def read(self, size: int | None = -1, /) -> bytes:
        if size is not None and size > LARGEST_DIRECTORY:
            raise zipfile.BadZipFile(f"its directory has more than {LARGEST_DIRECTORY // 2**20} MiB")
        return super().read(size)


def put_in_place(files: Sequence[Path], folder: Path, limits: Limits) -> Uploaded:
    """Put files into a new folder below another one, which has the name of the first; a ZIP file alone is unpacked.

    Raises
    ------
    SAFEError
        A name leads elsewhere, the ZIP file is damaged or encrypted, there are too many files or bytes, none to keep,
        or the disk is full. Nothing is left then.
    """
    first = files[0]
    packed = len(files) == 1 and first.suffix.lower() == ".zip"
    place = folder / (re.sub(r"[^\w .()-]+", "_", first.stem).strip(". ")[:100] or "files")
    with contextlib.ExitStack() as stack, _stored(Path(first.name)):
        sources: list[tuple[str, Callable[[], Any]]] = [(file.name, partial(file.open, "rb")) for file in files]
        if packed:
            archive = stack.enter_context(zipfile.ZipFile(stack.enter_context(_BoundedFile(first))))
            # Not `filename`, which lacks what is behind a NUL
            sources = [(one.orig_filename, partial(archive.open, one)) for one in archive.infolist()]
            starts = {archive.start_dir, *(one.header_offset for one in archive.infolist())}
        accepted, left_out = _accepted([name for name, _ in sources], limits)
        if packed and len(starts) <= len(sources):  # from Python 3.13 on, `zipfile` only warns of this
            raise zipfile.BadZipFile("its members overlap")
        building = stack.enter_context(new_folder(place))
        until, room = time.monotonic() + limits.seconds, limits.bytes
        for name, opened in sources:
            if name in accepted:
                with opened() as file:
                    room = _copy(file, building / name, room, until)
        place = free_name(place) if os.path.lexists(place) else place
        building.rename(place)
    return Uploaded(_field(place), _notes(accepted, left_out))


def _copy(source: IO[bytes], to: Path, bytes_left: int, until: float) -> int:
    """Copy a file below a folder that nobody else knows; how many bytes are left after it, whatever headers say."""
    to.parent.mkdir(parents=True, exist_ok=True)
    with to.open("xb") as target:  # follows no link
        for part in iter(lambda: source.read(CHUNK), b""):
            bytes_left -= len(part)
            if bytes_left < 0:
                raise _refusal("files that leave room in all that may be kept", "larger ones", FEWER)
            if time.monotonic() > until:
                raise _refusal("files that are unpacked in time", "larger ones", FEWER)
            target.write(part)
    return bytes_left


def _refusal(expected: str, received: str, what_to_do: str) -> SAFEError:
    return SAFEError(f"Expected {expected}. Received: {received}. {what_to_do}")


@contextlib.contextmanager
def _stored(packed: Path) -> Iterator[None]:
    """Turn what goes wrong in the block into a SAFEError, without a path of this machine."""
    try:
        yield
    except SAFEError:
        raise
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refusal("names that differ", "one more than once", AGAIN) from error
    except (RuntimeError, NotImplementedError) as error:
        raise _refusal("a ZIP file without a password, stored or deflated", "another", AGAIN) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "The disk is full" if full else f"The files cannot be stored ({error.strerror})"
        raise SAFEError(f"{reason}. Nothing was kept. Try again later.") from error
    except DAMAGED as error:
        raise SAFEError(f"{packed} is damaged ({error}). {AGAIN}") from error


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _accepted(names: Sequence[str], limits: Limits) -> tuple[set[str], int]:
    """The names of the files that are kept, and the number of those of other kinds; those of folders end in a slash.

    Raises
    ------
    SAFEError
        A name leads elsewhere, or there are too many, or none to keep.
    """
    for name in names:
        if _NOT_IN_NAMES.search(name.removesuffix("/")):
            raise _refusal("names below the folder that was chosen", quoted(repr(name)), "Rename it.")
    visible = [name for name in names if not _HIDDEN.search(name) and not name.endswith("/")]
    accepted = [name for name in visible if _suffix(name) in limits.suffixes]
    if not accepted:
        raise _refusal(f"files with the suffixes {', '.join(sorted(limits.suffixes))}", "none", "Choose others.")
    if len(accepted) > limits.entries or len(names) > ENTRIES_PER_FILE * limits.entries:
        raise _refusal(f"at most {count(limits.entries, 'file')}", f"{len(names):,}", FEWER)
    return set(accepted), len(visible) - len(accepted)


def _field(top: Path) -> Path:
    """What the field of a form names: the only file, unless it is an image, or the folder of images.

    That is the only folder, if at most tables lie beside it, where SAFE looks for `parameters.csv` and
    `predictions.csv`; both may lie in another one, which was chosen or packed. Several folders are classes: they stay
    together, with the tables among them.
    """
    place, content = top, list(top.iterdir())
    if len(content) == 1 and content[0].is_file() and content[0].suffix.lower() not in SUFFIXES:
        return content[0]
    while len(folders := [path for path in content if path.is_dir()]) == 1:
        suffixes = {path.suffix.lower() for path in content if path not in folders}
        if not suffixes <= TABLES or (place != top and not suffixes):
            break
        place, content = folders[0], list(folders[0].iterdir())
    return place


def _notes(names: set[str], n_ignored: int) -> str:
    kinds = Counter(_KINDS.get(_suffix(name), "model") for name in names)
    text = "Received " + in_series([count(n, kind) for kind, n in sorted(kinds.items())])
    return f"{text}; left out {count(n_ignored, 'file')} of another kind." if n_ignored else f"{text}."
