"""Tables as CSV files: reading those of people and other programs, and escaping cells for spreadsheets."""

import codecs
import csv
import functools
import hashlib
import io
import itertools
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import regular
from safe_dnn.support.text import printable

if TYPE_CHECKING:
    from pandas import DataFrame

_NUMBERS = re.compile(r"[-+]?[\d.][\d.eE+\- ]*")
_DECIMAL_COMMA = re.compile(r" *[-+]?(\d+,\d*|,\d+)([eE][-+]?\d+)? *")
_SEPARATORS = ",;\t"
_DECLARED = re.compile(r'"?sep=([,;\t])"?\n', re.IGNORECASE)  # the first line, as Excel reads and writes it
_QUOTED = r'"[^"]*(?:""[^"]*)*"'
_NO_UTF8 = re.compile("[\udc80-\udcff]")  # bytes, as Python keeps them in names of files
LONGEST_CELL = 100_000  # characters
LARGEST = 1e38  # a number in single precision, in which scores are kept
IMAGE = "image"
"""The column that names the image: the one in which names of files that are no UTF-8 are read as they are."""
UNIT = "unit"
"""What of an image a row is about, in a table that has several for it (see `dnn/detection/converter.py`)."""


def _is_formula(text: str) -> bool:
    return text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBERS.fullmatch(text)


def cell(text: str) -> str:
    """Escape text for a cell: an apostrophe is prepended to what a spreadsheet would execute as a formula.

    Names of files, classes and parameters are not under SAFE's control, and `=cmd|...` is a formula to a spreadsheet.
    """
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def from_cell(text: str) -> str:
    """The inverse of `cell`."""
    return text[1:] if text[:1] == "'" and _is_formula(text.lstrip("'")) else text


def table_text(header: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file as SAFE writes it: texts are escaped as in `cell`; None and NaN are empty cells."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(map(cell, header))
    for row in rows:
        writer.writerow([cell(one) if isinstance(one, str) else None if one != one else one for one in row])
    return table.getvalue()


@dataclass(frozen=True)
class Table:
    """A table that was read from a file. Rows are numbered from 0; errors name the line.

    Attributes
    ----------
    source : Path
    rows : DataFrame of str
        Without blank rows and columns without a name; its index is the line on which each row begins, from 1.
    decimal_comma : bool
        Whether numbers may have a decimal comma: where columns are not separated by commas.
    digest : str
        Of the file's content, to know it again.
    """

    source: Path
    rows: "DataFrame"
    decimal_comma: bool
    digest: str

    @property
    def header(self) -> tuple[str, ...]:
        """The names of the columns; empty if the file is."""
        return tuple(self.rows.columns)

    @property
    def lines(self) -> list[int]:
        """The line on which each row begins."""
        return self.rows.index.tolist()

    def taken(self, rows: Sequence[int]) -> "Table":
        """Some of the rows."""
        return replace(self, rows=self.rows.iloc[rows])

    def text(self, name: str, row: int) -> str:
        """A cell; empty if there is no such column."""
        return self.rows[name].iloc[row] if name in self.header else ""

    def texts(self, name: str) -> list[str]:
        """A column; empty cells if there is no such column."""
        return self.rows[name].tolist() if name in self.header else [""] * len(self.rows)

    def column(self, name: str) -> np.ndarray:
        """A column as numbers, NaN where there is none: ndarray of shape (n_rows,), float64."""
        texts = self.texts(name)
        known = {text: number_in(text, decimal_comma=self.decimal_comma) for text in set(texts)}
        return np.array([known[text] for text in texts], np.float64)

    def numbers(self, names: Sequence[str], what: str, *, most: float = math.inf) -> np.ndarray:
        """Columns as numbers: ndarray of shape (n_rows, n_names), float64.

        Parameters
        ----------
        what : str
            What is expected, for the error message.
        most : float
            Numbers must be smaller than `LARGEST`; if this is given, also at least 0 and at most this.

        Raises
        ------
        SAFEError
            A number is missing or out of range.
        """
        columns = [self.column(name) for name in names]
        for name, values in zip(names, columns, strict=True):
            fine = (np.abs(values) < LARGEST) & ((most == math.inf) | ((values >= 0) & (values <= most)))
            self.check(fine, f"{what} under {name}", functools.partial(self.text, name))
        return np.column_stack(columns) if columns else np.empty((len(self.rows), 0))

    def check(self, fine: np.ndarray, expected: str, received: Callable[[int], str]) -> None:
        """Raise `fault` about the first row that is not fine, if there is one."""
        for row in np.flatnonzero(~fine)[:1].tolist():
            raise self.fault(row, expected, received(row) or "nothing")

    def fault(self, row: int, expected: str, received: str) -> SAFEError:
        """The error about a row."""
        return SAFEError(
            f"Expected {printable(expected)} in line {self.lines[row]} of {self.source}. Received: "
            f"{printable(received)}. Correct the line."
        )


def read_table(source: Path, what: str, *, own: bool = False) -> Table:
    """Read a CSV file that people or other programs may have written; whatever could be read in two ways is refused.

    Columns are separated by commas, semicolons or tabs: by what a first line `sep=;` says, or by the commonest in the
    header. The text is UTF-8 or, with a byte order mark, UTF-16. The same content is parsed once.

    Parameters
    ----------
    what : str
        What the table is of, for error messages.
    own : bool
        Whether SAFE wrote it, and people may have edited it: texts may have several lines and begin or end with
        blanks, and spreadsheets leave out empty cells at the end of a row.

    Raises
    ------
    SAFEError
        The file cannot be read, is not text, has a quotation mark that is not closed or stands inside a cell, or two
        columns of the same name, or a row has more or fewer cells than the header.
    """
    try:
        data = regular(source).read_bytes()
    except (OSError, ValueError) as error:
        raise SAFEError(f"Could not read the {what} in {source}: {getattr(error, 'strerror', 0) or error}.") from error
    try:
        rows, separator = _parsed(data, own)
    except ValueError as error:
        raise SAFEError(f"Expected {what} as a CSV file. Received: {source}, {error}.") from error
    return Table(source, rows, separator != ",", hashlib.blake2b(data, digest_size=16).hexdigest())


def read_own(source: Path) -> list[list[str]]:
    """The rows of a CSV file that SAFE wrote, its header first; one of `DAMAGED` if it cannot be read."""
    with regular(source).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        return [[from_cell(text) for text in row] for row in csv.reader(file, strict=True) if row]


@functools.lru_cache(maxsize=4)  # several steps need the same table, and there may be a million rows
def _parsed(data: bytes, own: bool) -> tuple["DataFrame", str]:
    """The rows, and what separates columns; a ValueError says what is wrong with which line."""
    import pandas

    is_wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    text = data.decode("utf-16") if is_wide else data.decode("utf-8-sig", "surrogateescape")
    if "\0" in text:
        raise ValueError("not text; save it as CSV in UTF-8")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    declared = _DECLARED.match(text)
    text = text[declared.end() :] if declared else text
    first = next((line for line in text.split("\n") if line.strip()), "")
    separator = declared[1] if declared else max(_SEPARATORS, key=re.sub(_QUOTED, "", first).count)
    lines, sizes, rows = _lines(text, separator, 2 if declared else 1, own)
    if not rows:
        return pandas.DataFrame(dtype=object), separator
    cells = pandas.read_csv(
        io.StringIO(text), sep=separator, header=None, names=range(max(sizes)), index_col=False, dtype=object,
        na_filter=False, skip_blank_lines=False, skipinitialspace=not own, encoding_errors="surrogateescape",
    ).iloc[rows]  # fmt: skip
    columns = [_tidy(cells[number].tolist(), lines, own) for number in cells]
    header = [column[0].strip() for column in columns]
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise _fault(lines[0], f"several columns named {printable(twice[0])}")
    # Where the header ends in separators, so may rows; what they end in has no name.
    named = max(i for i, name in enumerate(header, start=1) if name)
    rest = map(any, zip(*columns[named:], strict=True)) if columns[named:] else itertools.repeat(False)
    for line, size, further_cells in zip(lines, sizes, rest, strict=False):
        if further_cells or not (own or named <= size <= sizes[0]):
            raise _fault(line, f"{size} cells under {named} column names")
    by_name = {name: column[1:] for name, column in zip(header, columns, strict=True) if name}
    for name, column in zip(header, columns, strict=True) if _NO_UTF8.search(text) and not own else ():
        for line, value in zip(lines, column, strict=True):
            if _NO_UTF8.search(value) and name != IMAGE:
                raise _fault(line, "text that is not UTF-8; save the table as CSV in UTF-8")
    return pandas.DataFrame(by_name, index=lines[1:], dtype=object), separator


def _tidy(column: list[str], lines: list[int], own: bool) -> list[str]:
    """The texts of cells; of people's tables without blanks around them."""
    read = {text: from_cell(text if own else text.strip()) for text in set(column)}  # a million rows may share a few
    if max(map(len, read)) > LONGEST_CELL:
        raise _fault(
            next(line for line, text in zip(lines, column, strict=True) if len(text) > LONGEST_CELL),
            "a cell that is too long",
        )
    return [read[text] for text in column]


def _lines(text: str, separator: str, first: int, own: bool) -> tuple[list[int], list[int], list[int]]:
    """Of the rows that are not blank: the line on which each begins, how many cells it has, and which row it is."""

    def without_text(quoted: re.Match[str]) -> str:
        if not own and separator in quoted[0] and "\n" in quoted[0]:
            line = first + text.count("\n", 0, quoted.start())
            raise _fault(line, "a cell with the lines after it, by a quotation mark too many")
        return ("x" if quoted[0].strip('" \n') else "") + "\0" * quoted[0].count("\n")

    cell_end = f"[{separator}\n]"
    quoted_cell = rf"(?:(?<={cell_end})|\A){'' if own else ' *'}{_QUOTED}(?={cell_end}|\Z)"
    rest = re.sub(quoted_cell, without_text, text) if '"' in text else text
    if (at := rest.find('"')) >= 0:
        line = first + rest.count("\n", 0, at) + rest.count("\0", 0, at)
        raise _fault(line, "a quotation mark that is not closed, or not doubled inside a cell")
    lines, sizes, rows, line = [], [], [], first
    for row, bare in enumerate(rest.split("\n")):
        if bare.replace(separator, "").replace("\0", "").strip():
            lines.append(line)
            sizes.append(bare.count(separator) + 1)
            rows.append(row)
        line += 1 + bare.count("\0")
    return lines, sizes, rows


def _fault(line: int, reason: str) -> ValueError:
    return ValueError(f"line {line}: {reason}. Correct the line, or remove it")


def with_point(text: str) -> str:
    """A number with a decimal comma as one with a point; any other text as it is."""
    return text.replace(",", ".") if _DECIMAL_COMMA.fullmatch(text) else text


def number_in(text: str, *, decimal_comma: bool = False) -> float:
    """The number in a cell; NaN if there is none. `1.234,5` is none: it could be read in two ways."""
    try:
        return float(with_point(text) if decimal_comma else text)
    except ValueError:
        return math.nan
