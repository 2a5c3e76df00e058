"""A table of a DNN's answers, whatever framework ran it: its cells, its images, and its columns of probabilities.

In: a CSV file (UTF-8) whose column `image` names images. Its other columns are described in
`dnn.tested.read_predictions`.
"""

import csv
import hashlib
import math
import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rccs.answers import CONFIDENCE, ERROR
from rccs.parameters import rows_by_image
from support.errors import SAFEError
from support.files import regular
from support.tables import from_cell, number_in, parse_table
from support.text import count, printable, some

IMAGE, LABEL, PREDICTED, RIGHT = "image", "label", "predicted", "right"
KNOWN_COLUMNS = frozenset({IMAGE, LABEL, PREDICTED, RIGHT, CONFIDENCE, ERROR})
_OF_CLASS = re.compile(r"p\((.*)\)", re.DOTALL)


@dataclass(frozen=True)
class AnswerTable:
    """The cells of a table by column and row, numbered from 0; errors name the line.

    Attributes
    ----------
    source : Path
    header : tuple of str
    rows : list of list of str
    decimal_comma : bool
    digest : str
        Of the file's content, to know it again.
    """

    source: Path
    header: tuple[str, ...]
    rows: list[list[str]]
    decimal_comma: bool
    digest: str

    def text(self, name: str, row: int) -> str:
        """A cell; empty if there is no such column."""
        place = self.header.index(name) if name in self.header else -1
        cells = self.rows[row]
        return from_cell(cells[place].strip()) if 0 <= place < len(cells) else ""

    def number(self, name: str, row: int) -> float:
        """A cell as a number; NaN if there is none."""
        return number_in(self.text(name, row), decimal_comma=self.decimal_comma)

    def numbers(self, names: Sequence[str], rows: Sequence[int], what: str, *, most: float = math.inf) -> np.ndarray:
        """Columns as numbers: ndarray of shape (n_rows, n_names), float32.

        Parameters
        ----------
        what : str
            What is expected, for the error message.
        most : float
            Numbers must be finite; if this is given, also at least 0 and at most this.

        Raises
        ------
        SAFEError
            A number is missing or out of range.
        """
        values = np.array([[self.number(name, row) for name in names] for row in rows], np.float64)
        fine = np.isfinite(values) & ((most == math.inf) | ((values >= 0) & (values <= most)))
        if not fine.all():
            at, column = np.argwhere(~fine)[0].tolist()
            received = self.text(names[column], rows[at]) or "nothing"
            raise self.fault(rows[at], f"{what} under {names[column]}", received)
        return values.astype(np.float32).reshape(len(rows), len(names))

    def fault(self, row: int, expected: str, received: str) -> SAFEError:
        """The error about a row."""
        return SAFEError(
            f"Expected {printable(expected)} in row {row + 2} of {self.source}. Received: {printable(received)}. "
            "Correct the row."
        )

    def images_in(
        self, root: Path, images: Sequence[str], agreeing: Collection[str]
    ) -> tuple[list[tuple[str, int]], list[str]]:
        """The images of a folder that have a row, sorted, each with its row; and sentences on rows without an image.

        Images are named relative to the folder or to the table's, or by a path in another place that ends in the same
        folders and name. A name without folders stands for the only image of that name.

        Parameters
        ----------
        images : sequence of str
            Relative to `root`.
        agreeing : collection of str
            Columns in which several rows of an image must agree.

        Raises
        ------
        SAFEError
            Two rows of an image contradict each other.
        """
        names = [self.text(IMAGE, row) for row in range(len(self.rows))]
        keys = ["" if "\0" in name else name for name in names]
        found = {}
        for image, rows in rows_by_image(keys, self.source.parent, root, images).items():
            if rows := [row for row in rows if self._is_of(keys[row], root, image)]:
                self._check_agreement(rows, agreeing)
                found[image] = rows
        used = {row for rows in found.values() for row in rows}
        absent = [name for row, name in enumerate(names) if row not in used]
        notes = []
        if absent and found:
            notes.append(
                f"Left out, since their images are not in {root}: {count(len(absent), 'row')} of {self.source.name}, "
                f"the first {printable(absent[0])}."
            )
        if repeated := len(used) - len(found):
            notes.append(f"Repeated in {self.source.name}: {count(repeated, 'row')}.")
        return sorted((image, rows[0]) for image, rows in found.items()), notes

    def _is_of(self, key: str, root: Path, image: str) -> bool:
        """Whether a name is that of an image; the same file name in other folders is not enough."""
        name = os.path.normpath(key.replace("\\", "/"))
        in_place = os.path.normpath(self.source.parent / name) == os.path.normpath(root / image)
        return in_place or "/" not in name or f"/{name}".endswith(f"/{image}")

    def _check_agreement(self, rows: Sequence[int], columns: Collection[str]) -> None:
        first = rows[0]
        for row in rows[1:]:
            for column in columns:
                values = self.text(column, first), self.text(column, row)
                if values[0] != values[1]:
                    raise SAFEError(
                        f"Expected one row for {printable(self.text(IMAGE, row))} in {self.source}. Received rows "
                        f"{first + 2} and {row + 2} with different values for {column}: "
                        f"{printable(' and '.join(values))}. Remove the wrong one."
                    )


def read_answer_table(source: Path) -> AnswerTable:
    """Read a table with the column `image`.

    Raises
    ------
    SAFEError
        The file cannot be read or is not such a table.
    """
    try:
        data = regular(source).read_bytes()
        table = parse_table(data)
    except OSError as error:
        raise SAFEError(f"Could not read the predictions in {source}: {error.strerror or error}.") from error
    except (ValueError, csv.Error) as error:
        raise SAFEError(f"Expected predictions as a CSV file (UTF-8). Received: {source} ({error}).") from error
    header = tuple(map(from_cell, table.header))
    if IMAGE not in header:
        raise missing_columns(source, header)
    twice = sorted({name for name in header if name and header.count(name) > 1})
    if twice:
        raise SAFEError(f"Expected each column once in {source}. Received several named {printable(some(twice))}.")
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    return AnswerTable(source, header, table.rows, table.decimal_comma, digest)


def missing_columns(source: Path, header: Iterable[str]) -> SAFEError:
    """The error about a table without the columns that it needs."""
    return SAFEError(
        "Expected predictions as a CSV file with the columns image and predicted, or image and a column of "
        f"probabilities for each class. Received {source} with the columns "
        f"{printable(', '.join(header)) or 'of no table'}."
    )


def class_columns(table: AnswerTable, classes: Collection[str]) -> dict[str, str]:
    """The columns of probabilities by class, in their order; empty if there are none.

    They are named `p(class)` or, if none is, after the class. A class without a column is not among them.
    """
    marked = {match[1]: name for name in table.header if (match := _OF_CLASS.fullmatch(name))}
    return marked or {name: name for name in table.header if name in classes and name not in KNOWN_COLUMNS}


def class_column(name: str) -> str:
    """The column of a class's probabilities as SAFE writes it, which is never taken for another one."""
    return f"p({name})"
