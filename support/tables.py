"""Escaping cells of CSV tables that may be opened in a spreadsheet."""

import re

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
