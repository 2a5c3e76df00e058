"""The report's section on steps 5 and 6: what retraining changed.

What was taken for what before and after is shown by both confusion matrices or, of many classes, by the confusions with
the most images. `matrices_of` gives the matrices of the page as well.
"""

import re
from collections import Counter
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from safe_dnn.dnn.confusion import ConfusionMatrix, confusion_matrices
from safe_dnn.pipeline.reporting.markup import escaped, filled, warning
from safe_dnn.pipeline.reporting.material import Material
from safe_dnn.training import certainty
from safe_dnn.training.result import Retraining, certainty_of, certainty_of_classes, claim_text
from safe_dnn.training.settings import aim_of

AIM_TEXTS = {
    "balance": "balance of accuracy and of keeping what was right",
    "accuracy": "accuracy before keeping what was right",
    "keep": "keeping what was right before accuracy",
}
MOST_LISTED = 20  # images that retraining has changed


def retraining_section(known: Material) -> Markup:
    """What retraining changed, how sure that is, and the images concerned; or why there is nothing."""
    result = known.retraining
    if result is None:
        return warning(known.missing["retraining"])
    sure = certainty_of_classes(result)
    changed = [
        (share, one)
        for share, one in zip(result.per_class, sure, strict=bool(sure))
        if one.counts.improved + one.counts.worsened
    ]
    settings = result.settings._asdict() if result.settings else {}
    return filled(
        "retraining.html", result=result, claim=claim_text(result), sure=certainty_of(result), changed=changed,
        certainty=certainty, aim=AIM_TEXTS.get(aim_of(result.settings), "") if result.settings else "",
        confusions=confusions_html(result),
        settings=", ".join(f"{name} {value:g}" for name, value in settings.items()), most_listed=MOST_LISTED,
        per_rcc=certainty.with_intervals(result.per_rcc),
        per_class=certainty.with_intervals(result.per_class, result.by_group),
    )  # fmt: skip


MOST_IN_MATRIX = 10  # classes; a larger matrix does not fit on a printed page
MOST_CONFUSIONS = 20  # listed where there are more classes
TAKEN_BEFORE, TAKEN_NOW = "What was taken for what before", "And what is now"


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
    if result.task != "classification" or not result.answers:
        return Markup("")
    if len({name for row in result.answers for name in row[1:]}) > MOST_IN_MATRIX:
        return filled("confusions.html", listed=confused_before_and_now(result), most=MOST_CONFUSIONS)
    before, now = matrices_of(result)
    return filled(
        "confusions.html",
        matrices=[(TAKEN_BEFORE, before), (TAKEN_NOW, now)],
        # Long names are broken where they have parts
        names=[Markup(re.sub("([_/-])", r"\1<wbr>", escaped(name))) for name in before.names],
        most=int(max(before.wrong.max(), now.wrong.max(), 1)),
    )
