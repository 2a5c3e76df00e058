"""Step 2 of SAFE, searching for images: a query typed by the engineer in, the images that match it out.

A word of the query is part of a path (`night_`) or a condition on a parameter: `eyewear=sunglasses`, `light<0.1`,
`blur_px >= 2`. Names and values with spaces are quoted: `"my folder"`, `weather="light rain"`.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from safe_dnn.support.errors import SAFEError

_NAME = r"""(?:"[^"]+"|'[^']+'|[^\s<>="'!]+)"""
_VALUE = r"""(?:"[^"]*"|'[^']*'|[^\s<>=]*)"""
# A condition ends before a space that no sign follows: in `eyewear= light<1`, eyewear has no value.
_CONDITION = rf"(?P<name>{_NAME})\s*(?P<sign><=|>=|!=|=|<|>)\s*(?P<value>{_VALUE})(?=\s|$)(?!\s*!?[<>=])"
_WORD = re.compile(rf"""{_CONDITION}|(?:"[^"]+"|'[^']+')(?=\s|$)|\S+""")
_COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
MOST_NAMED = 12  # parameters in an error message


def matching_images(text: str, paths: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The images that match every word of a query, ignoring case.

    Parameters
    ----------
    text : str
        Words, separated by spaces. `=` matches a part of a category (`eyewear=sun`) or a number; without a value, it
        matches every image whose value is known (`eyewear=`). `!=` matches the other known ones.
    paths : sequence of str
    columns : mapping of str to ndarray of shape (n_images,)
        Of `rccs.parameters.Parameters`. Unknown values match no condition.

    Returns
    -------
    ndarray of int
        Indices of `paths`, ascending.

    Raises
    ------
    SAFEError
        There is no word, a parameter does not exist, or a condition does not suit its kind.
    """
    words = list(_words(text))
    if not words:
        raise SAFEError("Expected part of a file name, or a condition such as light<0.1. Received: nothing.")
    fits = np.ones(len(paths), bool)
    lower = [path.lower() for path in paths]
    for word, condition in words:
        # Without parameters, a sign can only be part of a name.
        if condition and (columns or not any(word in path for path in lower)):
            fits &= _fits(columns, *condition)
        else:
            fits &= np.array([word in path for path in lower], bool)
    return np.flatnonzero(fits)


def example_for(columns: Mapping[str, np.ndarray]) -> str:
    """A query on the first parameter, as a hint to the engineer: `eyewear=sunglasses`; empty if there is none."""
    for name, values in columns.items():
        if values.dtype.kind == "U" and (known := sorted({*values.tolist()} - {""})):
            return f"{_quoted(name)}={_quoted(known[0])}"
        if values.dtype.kind != "U" and np.isfinite(values).any():
            return f"{_quoted(name)}>={np.nanmin(values):.3g}"
    return ""


def _quoted(text: str) -> str:
    quote = "'" if '"' in text else '"'
    return f"{quote}{text}{quote}" if re.search(r"""[\s<>="']""", text) else text


def _words(text: str) -> Iterator[tuple[str, tuple[str, str, str] | None]]:
    """The words of a query in lower case, each with its name, sign and value if it is a condition."""
    for found in _WORD.finditer(text):
        parts = (_unquoted(found["name"]), found["sign"], _unquoted(found["value"])) if found["name"] else None
        yield _unquoted(found.group()).lower(), parts


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _fits(columns: Mapping[str, np.ndarray], name: str, sign: str, value: str) -> np.ndarray:
    """Which images match a condition."""
    known = {column.lower(): column for column in columns}
    if name.lower() not in known:
        named = ", ".join(list(columns)[:MOST_NAMED]) + (", …" if len(columns) > MOST_NAMED else "")
        raise SAFEError(f"Expected a parameter of these images ({named or 'none are known'}). Received: {name}")
    column = columns[known[name.lower()]]
    if column.dtype.kind == "U":
        if sign not in ("=", "!="):
            raise SAFEError(f"{name} is not a number; expected {name}=… Received: {name}{sign}{value}")
        has = np.array([value.lower() in text.lower() for text in column.tolist()], bool)
        return (has == (sign == "=")) & (column != "")
    try:
        number = float(value)
    except ValueError as error:
        raise SAFEError(f"{name} is a number. Received: {name}{sign}{value}") from error
    if sign in ("=", "!="):
        return (np.isclose(column, number) == (sign == "=")) & np.isfinite(column)
    return _COMPARE[sign](column, number)  # False for NaN, unknown values
