"""The columns of a table of answers, whatever framework ran the DNN: what they are called, and classes in them."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np

from safe_dnn.rccs.answers import CONFIDENCE, ERROR
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import IMAGE, LARGEST, Table, read_table
from safe_dnn.support.text import printable, some

LABEL, PREDICTED, RIGHT = "label", "predicted", "right"
HELD_OUT = "held_out"
"""`true` for a test image that is only looked at once a model was retrained: its row has no answers."""
KNOWN_COLUMNS = frozenset({IMAGE, LABEL, PREDICTED, RIGHT, CONFIDENCE, ERROR, HELD_OUT})
_OF_CLASS = re.compile(r"p\((.*)\)", re.DOTALL)
ONE = 1.0001  # a probability of 1, as the rounding of another program may leave it
SUM_OFF = 0.01  # by which the probabilities of a row may miss 1, rounded as they are


def read_answer_table(source: Path) -> Table:
    """Read a table with the column `image`.

    Raises
    ------
    SAFEError
        The file cannot be read or is not such a table.
    """
    table = read_table(source, "predictions")
    odd = {name.lower() for name in table.header if name != name.lower()} & {IMAGE, LABEL, PREDICTED}
    if IMAGE not in table.header or odd:
        raise missing_columns(table)
    return table


def number_columns(table: Table, *known: str) -> tuple[str, ...]:
    """The columns whose first value is a number, without those of `KNOWN_COLUMNS` but for some."""
    first = table.taken([0]) if len(table.rows) else table
    names = [name for name in table.header if name not in KNOWN_COLUMNS - {*known}]
    return tuple(name for name in names if (np.abs(first.column(name)) < LARGEST).any())


def missing_columns(table: Table) -> SAFEError:
    """The error about a table without the columns that it needs."""
    return SAFEError(
        "Expected predictions as a CSV file with the columns image and predicted, or image and a column of "
        f"probabilities for each class. Received {table.source} with the columns "
        f"{printable(', '.join(table.header)) or 'of no table'}. Name them so, in lower case."
    )


def class_columns(table: Table, classes: Collection[str]) -> dict[str, str]:
    """The columns of probabilities by class, in their order; empty if there are none.

    They are named `p(class)` or, if none is, after the class. A class without a column is not among them.
    """
    marked = {match[1]: name for name in table.header if (match := _OF_CLASS.fullmatch(name))}
    return marked or {name: name for name in table.header if name in classes and name not in KNOWN_COLUMNS}


def probabilities_in(rows: Table, columns: Mapping[str, str]) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """The probabilities of classes, also of those that no image has: a column without `p()` that makes all sums 1.

    Parameters
    ----------
    columns : mapping of str to str
        As of `class_columns`.

    Returns
    -------
    classes : tuple of str
        In the order of the columns.
    probabilities : ndarray of shape (n_rows, n_classes), float32
    notes : list of str
        A sentence if they do not sum to 1.

    Raises
    ------
    SAFEError
        One is missing or not from 0 to 1, or a further column may be a class or not.
    """
    read = rows.numbers([*columns.values()], "a probability from 0 to 1 (for example after a softmax)", most=ONE)
    found = dict(zip(columns, read.T, strict=True))
    if not _is_whole(found) and [*columns] == [*columns.values()]:
        numbers = {name: rows.column(name) for name in rows.header if name not in {*KNOWN_COLUMNS, *found}}
        shares = {name: column for name, column in numbers.items() if ((column >= 0) & (column <= ONE)).all()}
        with_more = (found | more for more in (shares, *({name: shares[name]} for name in shares)))
        found = next(filter(_is_whole, with_more), found)
        if shares and not _is_whole(found) and read.sum(axis=1).max() <= 1 + SUM_OFF:
            raise SAFEError(
                f"Expected probabilities of all classes, which sum to 1 in each row. Received those of "
                f"{printable(some(columns))} in {rows.source}, and {printable(some(shares))}, which may be others. "
                f"Name the columns of classes p(class), such as {printable(class_column(next(iter(columns))))}."
            )
        found = {name: found[name] for name in rows.header if name in found}
    off = f"The probabilities in a row of {rows.source.name} do not sum to 1: is a class missing, or are they sigmoids?"
    probabilities = np.minimum(np.column_stack([*found.values()]), 1).astype(np.float32)
    return tuple(found), probabilities, [] if _is_whole(found) else [off]


def _is_whole(probabilities: Mapping[str, np.ndarray]) -> bool:
    return bool((np.abs(sum(probabilities.values()) - 1) <= SUM_OFF).all())


def class_column(name: str) -> str:
    """The column of a class's probabilities as SAFE writes it, which is never taken for another one."""
    return f"p({name})"
