"""What may say which images belong together: columns of tables, and the names and folders of files."""

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from safe_dnn.dnn.tested import KNOWN_COLUMNS
from safe_dnn.rccs.parameters import ANY_NAME, read_texts
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import IMAGE
from safe_dnn.support.text import printable, some

PREFIX, FOLDER = "prefix", "folder"
"""Groups by the files' names up to a number at their end, and by the folders below those of classes."""
ATTRIBUTES = re.compile(r"\d+([ _-]\d+){2,}")  # such as age_sex_date.jpg: no frame of a sequence
NUMBERED = re.compile(r"(.+?)[ _-]+\d+")
LIKE_A_GROUP = re.compile(
    r"(?<![a-z])(person|subject|patient|driver|participant|identity|track|drive|scene|sequence|lesion|series|cell|video|"
    rf"clip|recording|session|trip|hand|full_image)(?![a-z])|^(?-i:{PREFIX}|{FOLDER})$",
    re.IGNORECASE,
)
UNKNOWN = {"", "?", "n/a", "nan", "null", "unknown"}  # what people write where they do not know the group
NO_NOUN = re.compile(r"[^s]s$")  # cls, drivers, bus: what more of them are called cannot be told
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
        The columns that are asked for. `IMAGE`: each image is independent. If there are none, those that are named like
        a group, and names of files unless they are numbers alone.

    Raises
    ------
    SAFEError
        A table cannot be read.
    """
    columns: dict[str, list[str]] = {}
    for table in filter(None, tables):
        columns = read_texts(table, root, paths, ANY_NAME if names else LIKE_A_GROUP) | columns
    below = [path.rpartition("/")[0] if path.count("/") > 1 else "" for path in paths]  # folders of classes
    columns = {PREFIX: _prefixes(paths, attributes=bool(names)), FOLDER: below} | columns
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
    """What a group is, such as `person` by the column `person_id`.

    Nouns of other languages have no plural in s: a column in capital letters is named as it is, `group by Fahrt`. So
    are abbreviations and plurals.
    """
    nouns = {PREFIX: "sequence", FOLDER: "sequence"}
    noun = "-".join(nouns.get(name, SUFFIX.sub("", name)) for name in names).replace("_", " ")
    is_noun = noun.islower() and (noun.endswith("series") or not NO_NOUN.search(noun))
    return noun if is_noun else f"group by {noun}"


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _prefixes(paths: Sequence[str], *, attributes: bool) -> list[str]:
    """`00003` of `stop/00003_00012.png`; nothing where all of a folder's images begin alike, or for names of several
    numbers, such as `25_0_1_20170116.jpg`, unless `attributes` may be groups. A number counts anew in each folder.
    """
    keys: list[tuple[str, str]] = []
    for path in paths:
        numbered = NUMBERED.fullmatch(_stem(path))
        begin = numbered[1] if numbered and (attributes or not ATTRIBUTES.fullmatch(_stem(path))) else ""
        keys.append((path.rpartition("/")[0], begin))
    several = len(set(keys)) > len({folder for folder, _ in keys})
    return [(f"{folder}/{begin}" if folder and begin.isdigit() else begin) if several else "" for folder, begin in keys]
