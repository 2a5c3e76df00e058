"""What may say which images belong together: columns of tables, and the names and folders of files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dnn.tested import HELD_OUT, LABEL, PREDICTED
from rccs.parameters import KEY, read_texts
from support.errors import SAFEError
from support.text import printable, some

PREFIX, FOLDER = "prefix", "folder"
"""Groups by the files' names up to a number at their end, and by the folders below those of classes."""
NUMBERED = re.compile(r"(.+?)[ _-]+\d+")
SUFFIX = re.compile(r"_(id|no|nr|number|name)$", re.IGNORECASE)
NO_GROUPS = (KEY, LABEL, PREDICTED, HELD_OUT)


def group_columns(root: Path, paths: Sequence[str], tables: Iterable[Path | None]) -> dict[str, list[str]]:
    """The columns as texts, empty where unknown; what people wrote down comes first.

    Parameters
    ----------
    root : Path
    paths : sequence of str
        The images, relative to `root`.
    tables : iterable of Path or None
        Of several that have a column, the first counts.

    Raises
    ------
    SAFEError
        A table cannot be read.
    """
    columns: dict[str, list[str]] = {}
    for table in filter(None, tables):
        columns = read_texts(table, root, paths) | columns
    columns = {PREFIX: _prefixes(paths), FOLDER: _folders(paths)} | columns
    return {name: texts for name, texts in columns.items() if name not in NO_GROUPS and any(texts)}


def chosen_columns(names: Sequence[str], columns: Mapping[str, list[str]]) -> list[list[str]]:
    """The columns by which the engineer groups the images; a SAFEError if there is no such."""
    for name in names:
        if name not in columns:
            raise SAFEError(
                f"Expected a column that says which images are of one group. Received: {printable(name)}. Known are "
                f"{printable(some(sorted(columns), limit=30)) or 'none'}."
            )
    return [columns[name] for name in names]


def noun_of(names: Sequence[str]) -> str:
    """What a group is, such as `person` by the column `person_id`."""
    return "-".join("sequence" if name in (PREFIX, FOLDER) else SUFFIX.sub("", name) for name in names)


def _prefixes(paths: Sequence[str]) -> list[str]:
    """`00003` of `stop/00003_00012.png`; nothing where all of a folder's images begin alike.

    A number counts anew in each folder.
    """
    keys: list[tuple[str, str]] = []
    for path in paths:
        folder, _, file = path.rpartition("/")
        numbered = NUMBERED.fullmatch(file.rpartition(".")[0])
        keys.append((folder, numbered[1] if numbered else ""))
    several = len(set(keys)) > len({folder for folder, _ in keys})
    return [(f"{folder}/{begin}" if begin.isdigit() else begin) if several else "" for folder, begin in keys]


def _folders(paths: Sequence[str]) -> list[str]:
    """Folders below those of classes."""
    return [path.rpartition("/")[0] if path.count("/") > 1 else "" for path in paths]
