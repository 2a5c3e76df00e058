"""Pictures of images: small, decoded here, and never the files themselves."""

import base64
import contextlib
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

from gradio.utils import get_upload_folder
from PIL import Image

from safe_dnn.support.errors import may_open
from safe_dnn.support.files import private_cache, replacing, state_of_file
from safe_dnn.support.images import thumbnail
from safe_dnn.support.text import printable

PICTURE_FOLDER = "pictures"
MOST_PICTURES = 10_000  # of a few kilobytes each
WEBP = {"quality": 82, "method": 2}  # twice as fast as the usual method, 4, for 1% more bytes


def served_folder() -> Path:
    """Where pictures lie, which the page serves: Gradio's folder or, of a service's visitor, his own."""
    return private_cache() or Path(get_upload_folder())


def thumbnails(
    root: Path, paths: list[str], side: int, captions: Mapping[str, str] | None = None
) -> list[tuple[str, str]]:
    """Images for a gallery (see `picture_file`), each with its file name, which is what is cut off.

    Parameters
    ----------
    captions : mapping of str to str, optional
        By path, what stands instead of the name.
    """
    texts = [(captions or {}).get(path) or printable(Path(path).name) for path in paths]
    return [(picture_file(root / path, side), caption) for path, caption in zip(paths, texts, strict=True)]


def picture_file(path: Path, side: int) -> str:
    """A thumbnail as a file that the page serves; it never serves the images themselves.

    Written once and whole: a picture handed to Gradio is written again with every answer, also while it is being sent.
    """
    state = state_of_file(path) if may_open(path) else None
    shows = (os.fspath(path), *state, side) if state else (side,)
    file = Path(served_folder(), PICTURE_FOLDER, hashlib.sha256(repr(shows).encode()).hexdigest() + ".webp")
    if file.is_file():
        with contextlib.suppress(OSError):
            os.utime(file)  # so that it is not taken for one of the oldest
        return str(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    with replacing(file) as temporary:
        picture(path, side).save(temporary, "WEBP", **WEBP)
    if file.name.startswith("00"):  # of every 256 pictures or so, one looks at how many there are
        for old in oldest(file.parent, but=MOST_PICTURES):
            old.unlink(missing_ok=True)
    return str(file)


def oldest(folder: Path, *, but: int) -> list[Path]:
    """What lies in a folder, without the latest files or folders."""
    dated = []
    for path in folder.iterdir():
        with contextlib.suppress(OSError):  # another window removes it too
            dated.append((path.stat().st_mtime_ns, path))
    return [path for _, path in sorted(dated)[: max(0, len(dated) - but)]]


def data_uri(path: Path, side: int) -> str:
    """A thumbnail as a data URI (see `thumbnails`)."""
    data = io.BytesIO()
    picture(path, side).save(data, "WEBP", **WEBP)
    return "data:image/webp;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def picture(path: Path, side: int) -> Image.Image:
    """A thumbnail; of a file outside the page's root, the tile that stands for one that cannot be read."""
    return thumbnail(path if may_open(path) else Path(os.devnull), side)
