"""What may say which images belong together: columns of tables, the names and folders of files, and near-duplicates."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from safe_dnn.dnn.tested import IMAGE, KNOWN_COLUMNS
from safe_dnn.rccs.parameters import ANY_NAME, read_texts
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.near_duplicates import near_duplicates, thumbnails
from safe_dnn.support.text import printable, some

PREFIX, FOLDER, ALIKE = "prefix", "folder", "near-duplicates"
"""Groups by the files' names up to a number at their end, by the folders below those of classes, and by looks."""
TIMED = re.compile(r"[\d _-]+\d{10}")  # numbers alone, at their end a time
NUMBERED = re.compile(r"(.+?)(_object|_detection)?[ _-]+\d+")  # the middle of crops: those of an image are a group
LIKE_A_GROUP = re.compile(
    r"(?<![a-z])(person|subject|patient|driver|participant|identity|track|drive|scene|sequence|lesion|series|cell|video|"
    rf"clip|recording|session|trip|hand)(?![a-z])|^(?-i:{PREFIX}|{FOLDER}|{ALIKE})$",
    re.IGNORECASE,
)
UNKNOWN = {"", "?", "n/a", "nan", "null", "unknown"}  # what people write where they do not know the group
NO_NOUN = re.compile(r"[^s]s$")  # cls, drivers, bus: what more of them are called cannot be told
SUFFIX = re.compile(r"_(id|no|nr|number|name)$", re.IGNORECASE)
FRAMES_BETWEEN = 3  # by name, at most, of near-duplicates that follow each other
MOSTLY_FOLLOW = 0.25  # least share of near-duplicates that do, of frames: .57 and .87, of photographs .02
MOSTLY_ALIKE = 0.5  # least share in one group, of frames whatever their names: .63 to .88; of photographs .24 to .43


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
        The columns that are asked for: near-duplicates are looked for only if they are among them. `IMAGE`: each image
        is independent. If there are none, those that are named like a group.

    Raises
    ------
    SAFEError
        A table cannot be read.
    """
    columns: dict[str, list[str]] = {}
    for table in filter(None, tables):
        columns = read_texts(table, root, paths, ANY_NAME if names else LIKE_A_GROUP) | columns
    alike = {ALIKE: chains(root, paths)} if ALIKE in names and ALIKE not in columns else {}
    below = [path.rpartition("/")[0] if path.count("/") > 1 else "" for path in paths]  # folders of classes
    columns = {PREFIX: _prefixes(paths), FOLDER: below} | alike | columns
    known = {name: ["" if text.lower() in UNKNOWN else text for text in texts] for name, texts in columns.items()}
    found = {name: texts for name, texts in known.items() if name not in KNOWN_COLUMNS and any(texts)}
    return found | ({IMAGE: [*paths]} if IMAGE in names else {})


def chosen_columns(names: Sequence[str], columns: Mapping[str, list[str]]) -> list[list[str]]:
    """The columns by which the engineer groups the images; a SAFEError if there is no such, or one is given twice."""
    for name in names:
        if names.count(name) > 1:
            raise SAFEError(f"Expected different columns to group images by. Received twice: {printable(name)}")
        if name not in columns:
            raise SAFEError(
                f"Expected a column that says which images are of one group. Received: {printable(name)}. Known are "
                f"{printable(some(sorted(columns), limit=30)) or 'none'}."
            )
    return [columns[name] for name in names]


def noun_of(names: Sequence[str], paths: Sequence[str]) -> str:
    """What a group is, such as `person` by the column `person_id`; of a detector's crops, what they are cut from.

    Nouns of other languages have no plural in s: a column in capital letters is named as it is, `group by Fahrt`. So
    are abbreviations and plurals.
    """
    crops = PREFIX in names and any(found[2] for found in map(_numbered, paths) if found)
    nouns = {PREFIX: "full image" if crops else "sequence", FOLDER: "sequence", ALIKE: "sequence"}
    noun = "-".join(nouns.get(name, SUFFIX.sub("", name)) for name in names)
    is_noun = noun.islower() and (noun.endswith("series") or not NO_NOUN.search(noun))
    return noun if is_noun else f"group by {noun}"


def chains(root: Path, paths: Sequence[str], *, sure: bool = False) -> list[str]:
    """The first image of the near-duplicates, such as the frames of a drive, that each image belongs to.

    If `sure`, empty where near-duplicates mostly neither follow each other nor are all alike: such images, as dark
    ones, look and fail alike, also where each was taken for itself.

    Frames that follow each other also do so by name, and each is like the next. Near-duplicates that do not, such as
    photographs of one kind of shoe, belong together only where all are like each other: a chain of them would go on
    from look to look.
    """
    pairs = near_duplicates(thumbnails([root / path for path in paths]))
    first, second = np.array([pair[:2] for pair in pairs], int).reshape(-1, 2).T
    place = np.argsort(np.argsort(paths))
    follow = np.abs(place[first] - place[second]) <= FRAMES_BETWEEN
    frames = follow.sum() >= MOSTLY_FOLLOW * len(follow)
    of = np.array((_linked if frames else _all_alike)(first, second, len(paths)), int)
    if sure and np.count_nonzero(of[first] == of[second]) < MOSTLY_ALIKE * len(first):
        return []
    return [paths[row] for row in of]


def _linked(first: np.ndarray, second: np.ndarray, n: int) -> list[int]:
    """Of each row, the first one that it is linked with, directly or by others."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    of = connected_components(coo_array((np.ones(len(first)), (first, second)), shape=(n, n)), directed=False)[1]
    _, beginning, chain = np.unique(of, return_index=True, return_inverse=True)
    return list(map(int, beginning[chain]))


def _all_alike(first: np.ndarray, second: np.ndarray, n: int) -> list[int]:
    """Of each row, the first one of those that are all linked with each other."""
    earlier: list[set[int]] = [set() for _ in range(n)]
    for one, other in zip(first.tolist(), second.tolist(), strict=True):
        earlier[other].add(one)
    of, together = [*range(n)], [{row} for row in range(n)]
    for row in range(n):
        begun = (one for one in sorted(earlier[row]) if of[one] == one)
        of[row] = next((one for one in begun if together[one] <= earlier[row]), row)
        together[of[row]].add(row)
    return of


def _numbered(path: str) -> re.Match[str] | None:
    return NUMBERED.fullmatch(_stem(path))


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _prefixes(paths: Sequence[str]) -> list[str]:
    """`00003` of `stop/00003_00012.png`; nothing where all of a folder's images begin alike, or names are numbers that
    end in a time (`25_0_1_20170116174525125.jpg`) in whose order those that begin alike do not follow each other.

    A number counts anew in each folder, but that of the image of which a crop is a part.
    """
    keys: list[tuple[str, str]] = []
    for path in paths:
        folder, numbered = path.rpartition("/")[0], _numbered(path)
        if numbered and numbered[2]:
            folder = folder.partition("/")[2]  # without the class
        keys.append((folder, numbered[1] if numbered else ""))
    stems = [(_stem(path), begin) for path, (_, begin) in zip(paths, keys, strict=True)]
    timed = sorted((int(re.split(r"\D", stem)[-1]), begin) for stem, begin in stems if TIMED.fullmatch(stem))
    follow = sum(begin == other for (_, begin), (_, other) in itertools.pairwise(timed))
    several = len(set(keys)) > len({folder for folder, _ in keys}) and follow >= MOSTLY_FOLLOW * len(timed)
    return [(f"{folder}/{begin}" if folder and begin.isdigit() else begin) if several else "" for folder, begin in keys]
