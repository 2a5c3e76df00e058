"""Folders of images that SAFE writes: `failures/`, and `objects/` with an image for each unit.

Each has a hidden file with the names of all that SAFE wrote, so that nothing of others is ever replaced.
"""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import put_back, replacing_folder
from safe_dnn.support.run_folder import FAILURES_MARK
from safe_dnn.support.text import some


def names_in(folder: Path) -> frozenset[str]:
    """The images in a folder as SAFE wrote it; none if it did not, or the folder is gone."""
    try:
        text = (folder / FAILURES_MARK).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return frozenset()
    return frozenset(text.split("\n")) - {""}


@contextlib.contextmanager
def replacing_images(target: Path, then: Callable[[], object] = lambda: None) -> Iterator[Path]:
    """Yield a folder to fill with images, which then replaces `target`, with a hidden list of them.

    Parameters
    ----------
    target : Path
    then : callable, optional
        Called when the new folder is on the disk, right before it takes the place of `target`.

    Raises
    ------
    SAFEError
        `target` has files that SAFE did not write, or cannot be written.
    """
    check_replaceable(target)
    try:
        with replacing_folder(target) as new:
            yield new
            # The files written by SAFE, a path per line
            names = sorted(path.relative_to(new).as_posix() for path in new.rglob("*") if not path.is_dir())
            text = "".join(f"{name}\n" for name in names)
            (new / FAILURES_MARK).write_text(text, "utf-8", errors="surrogateescape")
            then()
    except OSError as error:
        raise SAFEError(f"Could not write {target}: {error.strerror or error}. Its content is unchanged.") from error


def check_replaceable(target: Path) -> None:
    """Refuse to replace a folder of images with files that SAFE did not write."""
    put_back(target)
    if not target.exists():
        return
    present = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()} - {FAILURES_MARK}
    foreign = sorted(present - names_in(target))
    if foreign or not target.is_dir():
        raise SAFEError(
            f"Expected {target} to be missing or written by SAFE. Received one with other files"
            f"{f' ({some(foreign, limit=2)})' if foreign else ''}. "
            "Choose another output folder."
        ).about("out")
