"""Cells of tables that may be opened in a spreadsheet."""

import re

_NUMBERS = re.compile(r"[-+]?[\d.][\d.eE+\- ]*")


def _is_formula(text: str) -> bool:
    return text[:1] in ("=", "+", "-", "@", "\t", "\r") and not _NUMBERS.fullmatch(text)


def cell(text: str) -> str:
    """Text for a cell of a table that may be opened in a spreadsheet: one that it would run begins with an apostrophe.

    Names of files, classes and parameters come from elsewhere; `=cmd|...` is a formula to a spreadsheet.
    """
    return f"'{text}" if _is_formula(text.lstrip("'")) else text


def from_cell(text: str) -> str:
    """The text that `cell` was given."""
    return text[1:] if text[:1] == "'" and _is_formula(text.lstrip("'")) else text
