"""What a network took for what before and after a retraining, as tables of the report.

Of few classes, both confusion matrices; of many, the confusions with the most images, each with how often it happened
before and now. `matrices_of` gives the matrices of the page as well.
"""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np

from dnn.confusion import ConfusionMatrix, confusion_matrices
from reporting.markup import escaped, html_table
from support.text import count
from training.result import Retraining

MOST_IN_MATRIX = 10  # classes; a larger matrix does not fit on a printed page
MOST_CONFUSIONS = 20  # listed where there are more classes
TAKEN_BEFORE, TAKEN_NOW = "What was taken for what before", "And what is now"
TAKEN_BOTH = "What was taken for what before, and what is now"
OLD = "The retraining is of an earlier version, which did not keep all answers: the confusions cannot be shown."


class Confused(NamedTuple):
    """How many images of a class were taken for another one before, and are now."""

    label: str
    predicted: str
    before: int
    now: int


def matrices_of(result: Retraining) -> tuple[ConfusionMatrix, ConfusionMatrix]:
    """The confusion matrices before and after, with the same classes in the same order; there must be answers."""
    _, label, before, after = (np.array(column) for column in zip(*result.answers, strict=True))
    return confusion_matrices(label, before, after)


def confused_before_and_now(result: Retraining) -> list[Confused]:
    """Every confusion, those with the most images before and now together first, ties by name."""
    before = Counter((row.label, row.before) for row in result.answers if row.label != row.before)
    now = Counter((row.label, row.after) for row in result.answers if row.label != row.after)
    found = [Confused(*pair, before[pair], now[pair]) for pair in before.keys() | now.keys()]
    return sorted(found, key=lambda one: (-one.before - one.now, one.label, one.predicted))


def confusions_html(result: Retraining) -> str:
    """The confusions before and after; empty for a regression."""
    if result.task != "classification":
        return ""
    if not result.answers:
        return f"<p class='soft small'>{OLD}</p>"
    if len({name for row in result.answers for name in row[1:]}) > MOST_IN_MATRIX:
        return _list(confused_before_and_now(result))
    before, now = matrices_of(result)
    most = int(max(before.wrong.max(), now.wrong.max(), 1))
    reading = (
        "<p class='soft small'>Rows: the true class. Columns: what the network said. Right answers are on the "
        "diagonal; the more images are confused, the darker the cell.</p>"
    )
    return f"{_matrix(before, TAKEN_BEFORE, most)}{_matrix(now, TAKEN_NOW, most)}{reading}"


def _matrix(matrix: ConfusionMatrix, caption: str, most: int) -> str:
    """A matrix as a table whose rows and columns have headings.

    Parameters
    ----------
    most : int
        Wrong images in the darkest cell.
    """
    # Long names may break where their parts end.
    names = [re.sub("([_/-])", r"\1<wbr>", escaped(name)) for name in matrix.names]
    columns = "".join(f"<th scope='col' class='n'>{name}</th>" for name in names)
    rows = ""
    for row, name in enumerate(names):
        cells = "".join(_cell(matrix, row, column, most) for column in range(len(names)))
        rows += f"<tr><th scope='row'>{name}</th>{cells}</tr>"
    return (
        f"<div class='scroll'><table class='matrix'><caption>{escaped(caption)}</caption>"
        f"<thead><tr><td></td>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _cell(matrix: ConfusionMatrix, row: int, column: int, most: int) -> str:
    images, wrong = int(matrix.counts[row, column]), int(matrix.wrong[row, column])
    kind = "wrong" if wrong else "right" if row == column else "none"
    shade = f" style='--shade:{round(10 + 35 * wrong / most)}%'" if kind == "wrong" else ""
    return f"<td class='n {kind}'{shade}>{images:,}</td>"


def _list(confused: list[Confused]) -> str:
    if not confused:
        return ""
    listed, rest = confused[:MOST_CONFUSIONS], confused[MOST_CONFUSIONS:]
    rows = [
        [escaped(one.label), escaped(one.predicted), f"{one.before:,}", f"{one.now:,}", _change(one.before, one.now)]
        for one in listed
    ]
    caption = TAKEN_BOTH
    if rest:
        before, now = sum(one.before for one in rest), sum(one.now for one in rest)
        rows.append([count(len(rest), "other confusion"), "", f"{before:,}", f"{now:,}", _change(before, now)])
        caption += f": the {MOST_CONFUSIONS} confusions with the most images, before and now together"
    return html_table(["Class", "Taken for", "Before", "Now", "Change"], rows, caption=caption, numbers=(2, 3, 4))


def _change(before: int, now: int) -> str:
    return f"{now - before:+,}" if now != before else "0"
