"""The DNN's answers to images, which classes it confuses, and what the columns of a table of answers are called.

Answers are known if the test set is; without it, SAFE works on a folder of failing images alone, as in the paper. A
table may come from any framework.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import IMAGE, LARGEST, Table, read_table
from safe_dnn.support.text import percent, printable, some

CONFIDENCE, ERROR = "confidence", "error"
MISSED, FALSE_DETECTION = "missed", "false detection"
NO_CLASS = frozenset({MISSED, FALSE_DETECTION})
"""Answers that are no class, whatever the network: it does not see what is there, or sees what is not there."""
MANY = 0.2  # of an RCC's images, for a confusion to be worth a headline


class Answers(NamedTuple):
    """The DNN's answers to images; entry i belongs to image i.

    Attributes
    ----------
    label, predicted : ndarray of shape (n_images,), str
        The true class and the one that the DNN gave; for a regression, numbers separated by spaces. Empty if unknown.
    score : ndarray of shape (n_images,), float32
        NaN if unknown.
    kind : "confidence" or "error"
        What the score is: the probability of the predicted class or, for a regression, the error.
    target : str
        What the true value is called: `label`, or the name of a regression's only target.
    """

    label: np.ndarray
    predicted: np.ndarray
    score: np.ndarray
    kind: str
    target: str = "label"

    def taken(self, rows: np.ndarray | Sequence[int]) -> "Answers":
        """The answers to some of the images."""
        rows = np.asarray(rows, np.int64)
        return self._replace(label=self.label[rows], predicted=self.predicted[rows], score=self.score[rows])

    def text(self, row: int) -> str:
        """For example `speed 80 → speed 60 (93%)`; empty if nothing is known of the image."""
        label, predicted = printable(str(self.label[row])), printable(str(self.predicted[row]))
        if self.kind == ERROR:
            label, predicted = rounded(label), rounded(predicted)
        score = float(self.score[row])
        if not label and not predicted:
            return ""
        answer = f"{label or '?'} → {predicted}" if predicted else label
        if np.isnan(score):
            return answer
        return f"{answer} ({f'{percent(score)}%' if self.kind == CONFIDENCE else f'error {score:.3g}'})"

    @property
    def columns(self) -> dict[str, np.ndarray]:
        """What can be searched for and drawn on the map: target, `predicted` and the score, where they are known."""
        columns = {self.target: self.label, "predicted": self.predicted}
        if self.target != "label":
            columns = {name: np.array([float(text or "nan") for text in texts]) for name, texts in columns.items()}
        columns |= {self.kind: self.score.astype(np.float64)}
        return {name: column for name, column in columns.items() if known_in(column)}


def known_in(column: np.ndarray) -> bool:
    """Whether any value of a column is known."""
    return bool((column != "").any() if column.dtype.kind == "U" else np.isfinite(column).any())


def commonest_confusion(answers: Answers) -> str:
    """For example `62% are speed limit 80 taken for 60`; empty if no confusion is common or none is known.

    Where many classes are taken for one, or one for many, that is what images have in common: `all are taken for 60`.
    """
    if answers.kind == ERROR:
        return ""  # numbers, all different
    known = (answers.label != "") & (answers.predicted != "")
    pairs = [*zip(answers.label[known].tolist(), answers.predicted[known].tolist(), strict=True)]
    total = len(pairs)
    if total < 2:
        return ""
    times = Counter(pairs)
    order = sorted(pairs, key=lambda pair: (-times[pair], pair))
    first, share = order[0], times[order[0]] / total
    (label, n_label), (target, n_target) = (Counter(side).most_common(1)[0] for side in zip(*order, strict=True))
    if share >= MANY and share >= max(n_target, n_label) / total - MANY:
        return f"{_share(share)} {confused(*map(printable, first))}"
    if max(n_target, n_label) / total < MANY:
        return ""
    if n_target >= n_label:
        return f"{_share(n_target / total)} {target if target in NO_CLASS else f'taken for {printable(target)}'}"
    return f"{_share(n_label / total)} {printable(label)}, taken for others"


def confused(label: str, predicted: str) -> str:
    """Confused images in words: `80 taken for 60`, or `car: missed`."""
    return f"{label}: {predicted}" if predicted in NO_CLASS else f"{label} taken for {predicted}"


def rounded(numbers: str) -> str:
    """Numbers with three decimals; small ones with three digits."""
    return " ".join(f"{x:.3g}" if abs(x) < 1 else f"{round(x, 3):.12g}" for x in map(float, numbers.split()))


def _share(share: float) -> str:
    return "All are" if share == 1 else f"{percent(share)}% are"


# --- Tables of answers --------------------------------------------------------------------------------------------

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
