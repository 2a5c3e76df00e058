"""What may say which images belong together: columns of tables, the names and folders of files, and near-duplicates."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from dnn.tested import KNOWN_COLUMNS
from rccs.parameters import read_texts
from support.errors import SAFEError
from support.near_duplicates import near_duplicates, thumbnails
from support.text import printable, some

PREFIX, FOLDER, ALIKE = "prefix", "folder", "near-duplicates"
"""Groups by the files' names up to a number at their end, by the folders below those of classes, and by looks."""
NUMBERED = re.compile(r"(.+?)[ _-]+\d+")
SUFFIX = re.compile(r"_(id|no|nr|number|name)$", re.IGNORECASE)


def group_columns(
    root: Path, paths: Sequence[str], tables: Iterable[Path | None], names: Sequence[str] = ()
) -> dict[str, list[str]]:
    """The columns as texts, empty where unknown; what people wrote down comes first.

    Parameters
    ----------
    root : Path
    paths : sequence of str
        The images, relative to `root`.
    tables : iterable of Path or None
        Of several that have a column, the first counts.
    names : sequence of str
        The columns that are asked for: near-duplicates are looked for only if they are among them.

    Raises
    ------
    SAFEError
        A table cannot be read.
    """
    columns: dict[str, list[str]] = {}
    for table in filter(None, tables):
        columns = read_texts(table, root, paths) | columns
    alike = {ALIKE: chains(root, paths)} if ALIKE in names and ALIKE not in columns else {}
    below = [path.rpartition("/")[0] if path.count("/") > 1 else "" for path in paths]  # folders of classes
    columns = {PREFIX: _prefixes(paths), FOLDER: below} | alike | columns
    return {name: texts for name, texts in columns.items() if name not in KNOWN_COLUMNS and any(texts)}


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
    return "-".join("sequence" if name in (PREFIX, FOLDER, ALIKE) else SUFFIX.sub("", name) for name in names)


def chains(root: Path, paths: Sequence[str]) -> list[str]:
    """The first image of the chain of near-duplicates, such as the frames of a drive, that each image is in."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = near_duplicates(thumbnails([root / path for path in paths]))
    first, second = np.array([pair[:2] for pair in pairs], int).reshape(-1, 2).T
    joined = coo_array((np.ones(len(pairs)), (first, second)), shape=(len(paths),) * 2)
    of = connected_components(joined, directed=False)[1]
    _, beginning, chain = np.unique(of, return_index=True, return_inverse=True)
    return [paths[row] for row in beginning[chain].tolist()]


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
