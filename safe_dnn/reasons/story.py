"""What an analysis has found, in a sentence or two, made of its first reasons by fixed rules.

Reasons in, in the order of `reasons.listed`; text out. Each rate in it is that of new images, as `weak_spots.csv` and
`rcc_rates.csv` have it.
"""

from collections.abc import Sequence

from safe_dnn.reasons.listed import CAUSES, CLASSES, Reason
from safe_dnn.support.text import count, printable, rate_text

MOST_CLASSES, MOST_CAUSES = 2, 3  # in the sentence
LEAST_EXCESS = 0.2  # of that of the first one, to be in the sentence


def sentence(listed: Sequence[Reason], base: float) -> str:
    """The first reasons, for example `It fails most often where light is below 0.4 (88%, elsewhere 23%).`

    Causes, and classes and answers, by which of them explains more failures. Empty if nothing was compared with images
    that the DNN gets right.

    Parameters
    ----------
    listed : sequence of Reason
        As of `reasons.listed.reasons_of`.
    base : float
        The share of all tested images that are wrong.
    """
    if not base:
        return ""
    first = [_first(listed, kind, most) for kind, most in ((CAUSES, MOST_CAUSES), (CLASSES, MOST_CLASSES))]
    clauses = [f"where {_some(some)}" for some in sorted(filter(None, first), key=lambda some: -some[0].excess)]
    if not clauses:
        return "No condition on what is known of the images stands out beyond chance."
    return f"It fails most often {', and '.join(clauses)}."


def _first(listed: Sequence[Reason], kind: str, most: int) -> list[Reason]:
    first = [reason for reason in listed if reason.kind == kind and reason.figures][:most]
    return [reason for reason in first if reason.excess >= LEAST_EXCESS * first[0].excess]


def _some(reasons: Sequence[Reason]) -> str:
    texts: list[str] = []
    for reason in reasons:
        where = reason.spot.words if reason.spot else f"an image looks like those of {reason.name}"
        elsewhere = f", elsewhere {rate_text(reason.spot.elsewhere)}" if reason.spot and not texts else ""
        texts.append(f"{printable(where)} ({rate_text(reason.figures[2])}{elsewhere})")
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}"


def figures(listed: Sequence[Reason], base: float, n_failing: int) -> str:
    """How many images fail, and how many of these the reasons hold."""
    asked = [reason for reason in listed if reason.to_judge]
    held = len({image for reason in asked for image in reason.images})
    hold = f"{count(len(asked), 'reason')} {'holds' if len(asked) == 1 else 'hold'}"
    return f"{rate_text(base)} of all test images are wrong · {hold} {held:,} of {count(n_failing, 'failure')}"
