"""Step 2 of SAFE, looking for images: words that an engineer types in, the images that all of them fit out.

A word is part of a path (`night_`), or a condition on a parameter: `eyewear=sunglasses`, `light<0.1`, `blur_px>=2`.
"""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from errors import SAFEError

_CONDITION = re.compile(r"(?P<name>[^<>=]+)(?P<sign><=|>=|=|<|>)(?P<value>[^<>=]*)$")
_COMPARE = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
MOST_NAMED = 12  # parameters in an error


def find_images(text: str, paths: Sequence[str], columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """The images that every word of a text fits; upper and lower case are the same.

    Parameters
    ----------
    text : str
        Words, separated by spaces. `=` with a category fits a part of it (`eyewear=sun`), with a number the number.
    paths : sequence of str
    columns : mapping of str to ndarray of shape (n_images,)
        As of `parameters.Parameters`. What is unknown fits no condition.

    Returns
    -------
    ndarray of int
        Indices of `paths`, ascending.

    Raises
    ------
    SAFEError
        There is no word, no such parameter, or a condition that does not go with it.
    """
    words = text.split()
    if not words:
        raise SAFEError("Expected part of a file name, or a condition such as light<0.1. Received: nothing.")
    fits = np.ones(len(paths), bool)
    lower = [path.lower() for path in paths]
    for word in words:
        condition = _CONDITION.fullmatch(word)
        if condition and (columns or not any(word.lower() in path for path in lower)):
            fits &= _fits(columns, *condition.group("name", "sign", "value"))
        else:
            fits &= np.array([word.lower() in path for path in lower], bool)
    return np.flatnonzero(fits)


def _fits(columns: Mapping[str, np.ndarray], name: str, sign: str, value: str) -> np.ndarray:
    """Which images a condition fits."""
    known = {column.lower(): column for column in columns}
    if name.lower() not in known:
        named = ", ".join(list(columns)[:MOST_NAMED]) + (", …" if len(columns) > MOST_NAMED else "")
        raise SAFEError(f"Expected a parameter of these images ({named or 'none is known'}). Received: {name}")
    column = columns[known[name.lower()]]
    if column.dtype.kind == "U":
        if sign != "=":
            raise SAFEError(f"{name} is no number: expected {name}=… Received: {name}{sign}{value}")
        return np.array([bool(text) and value.lower() in text.lower() for text in column.tolist()], bool)
    try:
        number = float(value)
    except ValueError as error:
        raise SAFEError(f"{name} is a number. Received: {name}{sign}{value}") from error
    if sign == "=":
        return np.isclose(column, number)
    return _COMPARE[sign](column, number)  # NaN, unknown, is in no order
