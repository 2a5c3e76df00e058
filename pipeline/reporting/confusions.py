"""What a network took for what before and after a retraining, as tables of the report.

Of few classes, both confusion matrices; of many, the confusions with the most images, each with how often it happened
before and now. `matrices_of` gives the matrices of the page as well.
"""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from dnn.confusion import ConfusionMatrix, confusion_matrices
from pipeline.reporting.markup import escaped, filled
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


def confusions_html(result: Retraining) -> Markup:
    """The confusions before and after; empty for a regression."""
    if result.task != "classification":
        return Markup("")
    if not result.answers:
        return Markup("<p class='soft small'>{}</p>").format(OLD)
    if len({name for row in result.answers for name in row[1:]}) > MOST_IN_MATRIX:
        return _list(confused_before_and_now(result))
    before, now = matrices_of(result)
    return filled(
        "confusions.html",
        matrices=[(TAKEN_BEFORE, before), (TAKEN_NOW, now)],
        # Long names are broken where they have parts
        names=[Markup(re.sub("([_/-])", r"\1<wbr>", escaped(name))) for name in before.names],
        most=int(max(before.wrong.max(), now.wrong.max(), 1)),
    )


def _list(confused: list[Confused]) -> Markup:
    listed, rest = confused[:MOST_CONFUSIONS], confused[MOST_CONFUSIONS:]
    caption = TAKEN_BOTH
    if rest:
        sums = (sum(numbers) for numbers in zip(*(one[2:] for one in rest), strict=True))
        listed.append(Confused(count(len(rest), "other confusion"), "", *sums))
        caption += f": the {MOST_CONFUSIONS} confusions with the most images, before and now together"
    return filled("confusions.html", listed=listed, caption=caption)
