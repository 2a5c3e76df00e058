"""Tables as CSV files: reading those of others, and escaping the cells of those that may be opened in a spreadsheet."""

import csv
import io
import re
from collections.abc import Iterator

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
    rows = csv.reader(file, delimiter=max(",;\t", key=first.count))
    header = [name.strip() for name in next(rows, [])]
    return ([] if "\0" in first else header), rows
