"""An analysis as one ZIP file, with all that it holds: unpacked anywhere, `ui` opens it there."""

import contextlib
import io
import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import LOCK_FILE, WORK_FILE
from safe_dnn.store.runs import copy_database
from safe_dnn.support.uploads import INCOMING_FOLDER

ANALYSIS_ZIP = "analysis.zip"
BLOCK = 2**20  # bytes
_LEFT_OUT = (LOCK_FILE, WORK_FILE, f"{DATABASE_FILE}-wal", f"{DATABASE_FILE}-shm")


class _Sent(io.RawIOBase):
    """A file that cannot be sought in; what was written is taken out of it."""

    def __init__(self) -> None:
        self._written = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        view = memoryview(data).cast("B")  # type: ignore[arg-type]
        self._written += view
        return len(view)

    def taken(self) -> bytes:
        data = bytes(self._written)
        self._written.clear()
        return data


def zipped(folder: Path) -> Iterator[bytes]:
    """The parts of a ZIP file of a folder, which are made as they are asked for; images are packed already.

    A file that goes away meanwhile is left out. The database is a copy of one moment; a link is followed nowhere.
    """
    sent = _Sent()
    with zipfile.ZipFile(sent, "w", zipfile.ZIP_STORED) as target, tempfile.TemporaryDirectory() as copies:
        for path in _files(folder):
            source = path
            if path == folder / DATABASE_FILE:
                source = Path(copies, DATABASE_FILE)
                copy_database(folder, source)
            with contextlib.suppress(FileNotFoundError), source.open("rb") as file:
                member = zipfile.ZipInfo.from_file(source, f"{folder.name}/{path.relative_to(folder)}")
                with target.open(member, "w", force_zip64=True) as packed:
                    while block := file.read(BLOCK):
                        packed.write(block)
                        yield sent.taken()
    yield sent.taken()


def _files(folder: Path) -> Iterator[Path]:
    for inner, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - {INCOMING_FOLDER})  # uploads on their way are nothing yet
        paths = (Path(inner, name) for name in sorted(names) if name not in _LEFT_OUT)
        yield from (path for path in paths if path.is_file() and not path.is_symlink())
