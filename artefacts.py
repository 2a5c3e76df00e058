"""Writing the files of a run whole or not at all.

What each file contains is decided by the module that writes it; here is only how it gets to the disk.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from errors import SAFEError


def prepare_folder(folder: str | os.PathLike) -> Path:
    """Create a folder for results and make sure that files can be written there.

    Called before a long computation, so that its results are not lost to a full or read-only disk.

    Returns
    -------
    Path
        The folder, absolute.

    Raises
    ------
    SAFEError
        The folder cannot be created or written to.
    """
    path = Path(folder).expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise SAFEError(
            f"The output folder must be a folder that SAFE can write to. Received: {path} ({error.strerror}). "
            "Choose another one with --out."
        ) from error
    return path


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; afterwards rename it to `path`.

    Whoever opens `path` finds the old file or the new one, never a part of one, even if the process is killed.
    The temporary name ends like `path`, since some writers choose the format by the ending.

    Raises
    ------
    SAFEError
        The operating system refused to write: disk full, no permission.
    """
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes the file private to its owner; results are as readable as any new file.
            temporary.chmod(0o666 & ~_umask())
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise SAFEError(f"Could not write {path}: {error.strerror or error}. What was there is unchanged.") from error


def write_text(path: Path, text: str) -> None:
    """Replace a text file (UTF-8; file names that are not valid Unicode keep their bytes)."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
