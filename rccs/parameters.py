"""Parameters of the failing images, such as weather or brightness: a CSV file with a row per image, read as columns.

Simulators record such parameters, and annotators provide them. SAFE describes RCCs with them (see `profiles.py`), but
does not need them. Images and a CSV file in; a column per parameter out, in the order of the images.
"""

import csv
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from support.entries import is_within, path_of
from support.errors import SAFEError
from support.files import regular
from support.tables import from_cell, open_table

PARAMETERS_FILE = "parameters.csv"
KEY = "image"
ANGLE_SUFFIX = "_deg"
NUMERIC_FROM = 0.9  # least share of a column's values that are numbers
MOST_CATEGORIES = 50  # a text column with more different values contains names or remarks


@dataclass(frozen=True)
class Parameters:
    """Known parameters of the failing images.

    Attributes
    ----------
    source : Path
        The CSV file.
    columns : mapping of str to ndarray of shape (n_images,)
        float64 for a number or an angle, NaN if unknown; str for a category, empty if unknown.
    notes : tuple of str
        Sentences on what could not be used in the file.
    """

    source: Path
    columns: dict[str, np.ndarray]
    notes: tuple[str, ...]


def find_parameters(image_root: Path, *, within: Path | None = None) -> Path | None:
    """`parameters.csv` in the image folder or, if it is not there, beside it; otherwise None.

    Parameters
    ----------
    within : path, optional
        A file that lies outside this folder, links followed, is not taken.
    """
    for folder in (image_root, image_root.parent):
        found = folder / PARAMETERS_FILE
        if found.is_file():
            return found if is_within(found, within) else None
    return None


def read_parameters(path: str | os.PathLike, image_root: Path, images: Sequence[str]) -> Parameters:
    """Read the parameters of images from a CSV file.

    The column `image` (or, if there is none, the first) names the image. The names of a file are all interpreted in
    the same way, the first of these that matches an image: relative to the CSV's folder, or absolute; relative to the
    image folder; the end of the path; the file name alone, if no two images have the same.

    A column whose name ends in `_deg` contains angles in degrees. A column contains numbers if at least 90 % of its
    values are numbers, unless these are only two different ones, such as 0 and 1. Other columns contain categories.

    Parameters
    ----------
    image_root : Path
    images : sequence of str
        Relative to `image_root`.

    Raises
    ------
    SAFEError
        The file cannot be read or is not a table.
    """
    table, notes = _table(path, image_root, images)
    columns = {}
    for name, texts in table.texts.items():
        column, note = _typed(name, texts)
        notes += [note] if note else []
        if column is not None:
            columns[name] = column
    if not columns:
        notes.append("No column has different values for the failing images.")
    return Parameters(table.source, columns, tuple(notes))


def read_texts(path: str | os.PathLike, image_root: Path, images: Sequence[str]) -> dict[str, list[str]]:
    """Read all columns as texts, empty where unknown, of images that `read_parameters` would match.

    Raises
    ------
    SAFEError
        As for `read_parameters`.
    """
    return _table(path, image_root, images)[0].texts


class _Table(NamedTuple):
    """A file of parameters: the value of each image in each column, empty if unknown."""

    source: Path
    texts: dict[str, list[str]]


def _table(path: str | os.PathLike, image_root: Path, images: Sequence[str]) -> tuple[_Table, list[str]]:
    """Read the rows about images, and notes on what could not be used (errors as of `read_parameters`)."""
    path = path_of(path, "parameters as a CSV file")
    try:
        with regular(path).open(encoding="utf-8-sig", newline="") as file:
            header, rows = open_table(file)
            header = list(map(from_cell, header))
            if len(header) < 2:
                raise SAFEError(
                    f"Expected parameters as a CSV file with a header: {KEY}, then a column per parameter. Received: "
                    f"{path}"
                )
            key = header.index(KEY) if KEY in header else 0
            names = {PurePosixPath(image).name for image in images}
            others, kept, notes = 0, [], []
            for row in rows:
                if len(row) > key and PurePosixPath(from_cell(row[key].strip()).replace("\\", "/")).name in names:
                    kept.append(row)
                else:
                    others += bool(row)
    except OSError as error:
        raise SAFEError(f"Could not read the parameters in {path}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise SAFEError(f"Expected parameters as a CSV file (UTF-8). Received: {path} ({error}).") from error
    if KEY not in header:
        notes.append(f"There is no column {KEY}; the first column, {header[0]}, is used instead.")
    described = rows_by_image([from_cell(row[key].strip()) for row in kept], path.parent, image_root, images)
    used = sum(map(len, described.values()))
    notes += _notes_on_rows(images, described, others + len(kept) - used)
    texts = {
        name: [
            from_cell(kept[at[0]][place].strip()) if (at := described.get(image)) and place < len(kept[at[0]]) else ""
            for image in images
        ]
        for place, name in enumerate(header)
        if place != key and name
    }
    return _Table(path, texts), notes


def rows_by_image(keys: list[str], folder: Path, image_root: Path, images: Sequence[str]) -> dict[str, list[int]]:
    """The rows of each image, by the first interpretation of the names that matches an image.

    Parameters
    ----------
    keys : list of str
        The name in each row.
    folder : Path
        What the names may be relative to.
    image_root, images
        As for `read_parameters`.
    """
    keys = [os.path.normpath(key.strip().replace("\\", "/")) for key in keys]
    in_folder: dict[str, list[int]] = {os.path.normpath(folder / key): [] for key in keys}
    for row, key in enumerate(keys):
        in_folder[os.path.normpath(folder / key)].append(row)
    exact: dict[str, list[int]] = {}
    endings: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        exact.setdefault(key, []).append(row)
        parts = PurePosixPath(key).parts
        for start in range(1, len(parts) - 1):
            endings.setdefault("/".join(parts[start:]), []).append(row)
    names: dict[str, list[int]] = {}
    for row, key in enumerate(keys):
        names.setdefault(PurePosixPath(key).name, []).append(row)
    image_names = Counter(PurePosixPath(image).name for image in images)

    def unambiguous(rows: list[int]) -> list[int]:
        return rows if len({keys[row] for row in rows}) == 1 else []

    readings = (
        lambda image: in_folder.get(os.path.normpath(image_root / image), []),
        lambda image: exact.get(image, []),
        lambda image: unambiguous(endings.get(image, [])),
        lambda image: (
            unambiguous(names.get(PurePosixPath(image).name, [])) if image_names[PurePosixPath(image).name] == 1 else []
        ),
    )
    for reading in readings:
        found = {image: rows for image in images if (rows := reading(image))}
        if found:
            return found
    return {}


def _notes_on_rows(images: Sequence[str], described: dict[str, list[int]], others: int) -> Iterator[str]:
    missing = [image for image in images if image not in described]
    if missing:
        yield f"{len(missing):,} of {len(images):,} images have no row, the first {missing[0]}."
    repeated = [image for image, rows in described.items() if len(rows) > 1]
    if repeated:
        yield f"{len(repeated):,} images have several rows, the first {repeated[0]}; the first row is used."
    if others and missing:  # otherwise it is a table of the whole test set, which contains these images
        yield f"{others:,} rows are about other images."


def _typed(name: str, texts: list[str]) -> tuple[np.ndarray | None, str]:
    """The column as numbers or categories, None if all values are the same; and a note on it, or an empty string."""
    known = [text for text in texts if text]
    if len(set(known)) < 2:
        return None, ""
    numbers = column_of(name, texts)
    if numbers.dtype.kind == "U":
        if len(set(known)) > MOST_CATEGORIES:
            return None, f"The column {name} is left out: text with {len(set(known)):,} different values."
        return numbers, ""
    wrong = [text for text, number in zip(texts, numbers, strict=True) if text and math.isnan(number)]
    note = f"The column {name} has {len(wrong):,} values that are not numbers, the first {wrong[0]!r}." if wrong else ""
    return numbers, note


def column_of(name: str, texts: Sequence[str]) -> np.ndarray:
    """A column of texts as numbers or categories (see `read_parameters`), of however many different values."""
    known = [text for text in texts if text]
    numbers = numbers_of(texts)
    wrong = len(known) - np.count_nonzero(np.isfinite(numbers))
    if wrong > (1 - NUMERIC_FROM) * len(known) or (_is_flag(known) and not name.endswith(ANGLE_SUFFIX)):
        return np.array(texts, str)
    return numbers


def numbers_of(texts: Sequence[str]) -> np.ndarray:
    """Texts as numbers; NaN where a text is none."""
    return np.array([_number(text) for text in texts], np.float64)


def typed_column(name: str, texts: list[str]) -> np.ndarray | None:
    """A column of texts as numbers or categories (see `read_parameters`); None if it says nothing about images."""
    return _typed(name, texts)[0]


def _is_flag(known: list[str]) -> bool:
    return len(set(known)) == 2 and len(known) > 5


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        return math.nan
    return number if math.isfinite(number) else math.nan
