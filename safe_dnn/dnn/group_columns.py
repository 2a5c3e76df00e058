"""Which images belong together, and which are held out.

Columns of tables, or the names and folders of files, define the groups.

A part of a test set is held out from the start, to prove what a retraining gains.
In: the test images, a share, and perhaps the columns by which they are of one person or drive. Out: which images are
held out. They take no part in anything that chooses: failures, RCCs, weak spots, the unsafe set, learning.
`predictions.csv` names them, without answers.

The draw must not depend on what the network answers, so the images or groups of each class are taken in the order of
digests of their names. The same folder gives the same images, also in the next round.
"""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import collected_answers
from safe_dnn.rccs.answers import KNOWN_COLUMNS
from safe_dnn.rccs.parameters import ANY_NAME, find_parameters, read_texts
from safe_dnn.rccs.spots.figures import grouped
from safe_dnn.support.errors import SAFEError, number_of
from safe_dnn.support.files import read_record
from safe_dnn.support.images import in_common
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.tables import IMAGE
from safe_dnn.support.text import count, printable, some

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
NO_NOUN = re.compile(r"[^s]s$")  # cls, drivers, bus: their plural is unknown
SUFFIX = re.compile(r"_(id|no|nr|number|name)$", re.IGNORECASE)
MOST = 0.9
LEAST = 2  # groups, or images, that are held out and left: nothing follows from one for others
HOLD_OUT = "hold_out"  # in `accuracy.json`: how many images, and by which columns


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
        The requested columns. `IMAGE`: each image is independent. Without any, the columns that are named like a group,
        and names of files unless they are numbers alone.

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


def noun_of(names: Sequence[str]) -> str:
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


class HoldOut(NamedTuple):
    """What the engineer wants to hold out.

    Attributes
    ----------
    share : float or str
        Of the test images, above 0 and below `MOST`.
    group : tuple of str
        Columns by which images are of one group, which is held out as a whole (see `dnn.group_columns`).
    """

    share: float | str
    group: tuple[str, ...] = ()


def hold_out_of(share: str | None, group: Sequence[str]) -> HoldOut | None:
    """What was entered; None if nothing is held out, and a SAFEError if that has groups."""
    if share is None and group:
        raise SAFEError(f"Expected a share to hold out. Received groups alone: {some(group)}.").about("hold_out")
    return None if share is None else HoldOut(share, tuple(group))


def draw(
    root: Path, paths: Sequence[str], labels: np.ndarray, hold_out: HoldOut, *, tables: Sequence[Path | None] = (),
    unit: str = "image",
) -> tuple[np.ndarray, tuple[str]]:  # fmt: skip
    """Draw the images that are held out.

    Parameters
    ----------
    labels : ndarray of shape (n_images,), or (n_images, n_targets) of a regression
        Their classes; the same share of each is held out.
    tables : sequence of path or None
        Tables that may have the columns of the groups; by default that of the parameters.
    unit : str
        What is tested, as of `AnsweredImages.noun`.

    Returns
    -------
    held : ndarray of shape (n_images,), bool
    sentences : tuple of str
        One on what is held out.

    Raises
    ------
    SAFEError
        The share is no such number, a column does not exist, or too little would be held out or left.
    """
    share = number_of(hold_out.share, HOLD_OUT)
    if not 0 < share < MOST:
        raise SAFEError(f"hold_out must be above 0 and below {MOST}, a share of the test images. Received: {share:g}")
    names = list(paths)
    of, noun = np.arange(len(names)), unit
    if hold_out.group:
        columns = group_columns(root, names, tables or (find_parameters(root),), hold_out.group)
        values = chosen_columns(hold_out.group, columns)
        noun = noun_of(hold_out.group)
        of = grouped(noun, values)[0].of
        names = ["\t".join(row) if all(row) else path for path, *row in zip(names, *values, strict=True)]
    classes, numbers = np.unique(labels if labels.ndim == 1 else np.zeros(len(of)), return_inverse=True)
    by_class = np.zeros((of.max() + 1, len(classes)), int)
    np.add.at(by_class, (of, numbers), 1)
    sizes, commonest = by_class.sum(axis=1), by_class.argmax(axis=1)
    named = zip(of.tolist(), names, strict=True)
    digests = {group: hashlib.sha256(os.fsencode(name)).digest() for group, name in named}
    order = sorted(digests, key=lambda group: (commonest[group], digests[group]))
    held, missing = np.zeros(len(sizes), bool), 0.0
    for _, of_class in groupby(order, key=lambda group: commonest[group]):
        members = list(of_class)
        missing += share * sizes[members].sum()
        for group in members:
            if sizes[group] <= 2 * missing:  # with it, what is held out is nearer to the share
                held[group] = True
                missing -= sizes[group]
    if min(held.sum(), (~held).sum()) < LEAST:
        raise SAFEError(
            f"Expected a share that holds out {count(LEAST, noun)} or more, and leaves as many. Received: {share:g} of "
            f"{count(len(held), noun)}, the largest with {sizes.max():,} of {count(len(of), unit)}. Hold out "
            f"another share{', or name another column' if hold_out.group else ''}."
        )
    groups = f" ({held.sum():,} of {count(len(held), noun)})" if hold_out.group else ""
    part = f"{held[of].sum():,} of {count(len(of), unit)}{groups}"
    return held[of], (f"Held out, to prove a retraining: {part}. Nothing is chosen by them.",)


def held_out_among(image_root: Path, root: Path, paths: Sequence[str]) -> np.ndarray:
    """Which of some images were held out when the failures in a folder were collected.

    In another folder than that which they were held out in, images are known by their content.

    Returns
    -------
    ndarray of shape (n_images,), bool

    Raises
    ------
    SAFEError
        The table beside the folder, which names the images, is gone or damaged.
    """
    tested = collected_answers(image_root) if hold_out_record(image_root) else None
    if tested is None:
        return np.zeros(len(paths), bool)
    if root.resolve() == tested.root.resolve():
        return np.isin(np.array(paths, str), np.array(tested.held_out, str))
    return in_common([root / path for path in paths], [tested.root / path for path in tested.held_out])


def hold_out_record(image_root: Path) -> dict:
    """What `accuracy.json` beside a folder of failures records about the held-out images; empty if there are none."""
    record = read_record(image_root.parent / ACCURACY_FILE).get(HOLD_OUT)
    return record if isinstance(record, dict) else {}
