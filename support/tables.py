"""Tables as CSV files: reading those of others, and escaping the cells of those that may be opened in a spreadsheet."""

import csv
import io
import math
import re
from collections.abc import Iterator
from typing import NamedTuple

_NUMBERS = re.compile(r"[-+]?[\d.][\d.eE+\- ]*")


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


def open_table(file: io.TextIOBase) -> tuple[list[str], Iterator[list[str]]]:
    """Header and rows; the separator may also be a semicolon or tab, as spreadsheets use with decimal commas.

    Returns
    -------
    header : list of str
        The names of the columns; empty if the file is empty or not text.
    rows : iterator of list of str
    """
    first = file.readline()
    file.seek(0)
    rows = csv.reader(file, delimiter=_separator(first))
    header = [name.strip() for name in next(rows, [])]
    return ([] if "\0" in first else header), rows


class Table(NamedTuple):
    """A table that was read from a file.

    Attributes
    ----------
    header : list of str
        The names of the columns; empty if the file is empty or not text.
    rows : list of list of str
        Without blank lines.
    decimal_comma : bool
        Whether numbers may have a decimal comma: where columns are not separated by commas.
    """

    header: list[str]
    rows: list[list[str]]
    decimal_comma: bool


def parse_table(data: bytes) -> Table:
    """A table from the bytes of a CSV file (see `open_table`): UTF-8, with or without a byte order mark.

    Raises
    ------
    csv.Error
        It cannot be divided into rows.
    """
    file = io.StringIO(data.decode("utf-8-sig", errors="surrogateescape"), newline="")
    separator = _separator(file.readline())
    file.seek(0)
    header, rows = open_table(file)
    return Table(header, [row for row in rows if row], separator != ",")


def number_in(text: str, *, decimal_comma: bool = False) -> float:
    """The number in a cell; NaN if there is none. `1.234,5` is none: it could be read in two ways."""
    if decimal_comma and text.count(",") == 1 and "." not in text:
        text = text.replace(",", ".")
    try:
        return float(text)
    except ValueError:
        return math.nan


def _separator(first_line: str) -> str:
    return max(",;\t", key=first_line.count)
