"""What an analysis has found, in a sentence or two, made of its first reasons by fixed rules.

Reasons in, in the order of `reasons.listed`; text out. Each rate in it is that of the list.
"""

from collections.abc import Sequence

from safe_dnn.reasons.listed import LISTED, Reason
from safe_dnn.support.text import count, in_series, printable, rate_text

MOST_NAMED = 3  # in the sentence


def sentence(listed: Sequence[Reason], base: float) -> str:
    """The first reasons of the list, in its order, for example `Most failures: light is below 0.4 (89% wrong) and
    eyewear is sunglasses (87%); and 2 groups of images that look alike.`

    An RCC that nobody has named is one of the groups. Empty if nothing was compared with right images.

    Parameters
    ----------
    listed : sequence of Reason
        As of `reasons.listed.reasons_of`.
    base : float
        The share of all tested images that are wrong.
    """
    if not base:
        return ""
    reasons = [reason for reason in listed if reason.kind == LISTED and reason.figures]
    named = [(reason.words, reason.figures.rate) for reason in reasons if reason.figures and reason.words]
    groups = len(reasons) - len(named)
    alike = f"{count(groups, 'group')} of images that look alike"
    if not reasons:
        return "No condition on what is known of the images stands out beyond chance."
    if not named:
        return f"Most failures: {alike}."
    texts = [
        f"{printable(words)} ({rate_text(rate)}{'' if place else ' wrong'})"
        for place, (words, rate) in enumerate(named[:MOST_NAMED])
    ]
    return f"Most failures: {in_series(texts)}{f'; and {alike}' if groups else ''}."


def baseline(listed: Sequence[Reason], base: float, tested: int, rest: tuple[int, int]) -> str:
    """How many images are wrong, and how many where none of the reasons holds.

    Parameters
    ----------
    tested : int
        All tested images.
    rest : tuple of int
        Wrong and all images of which no reason holds, as of `Reasons.where_none_holds`; zeros if that is not known.
    """
    # Of which right images a word holds is not known.
    n = sum(reason.kind == LISTED and not (reason.figures and reason.figures.answers) for reason in listed)
    every = f"{rate_text(base)} of all {count(tested, 'test image')} are wrong"
    if not n or not rest[1]:
        return every
    which = "this reason does not hold" if n == 1 else f"none of these {n} reasons holds"
    return f"{every}, {rate_text(rest[0] / rest[1])} where {which}"
