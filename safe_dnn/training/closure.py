"""A later model on what was found of an earlier one: which reasons for failing are closed. None is looked for anew.

In: claims on the earlier model (see `reasons/listed.py`), and what both models get right of images that chose
nothing. Out: for each claim the rates before and after, with McNemar's test of the difference, of groups where images
are not independent, corrected for the number of claims (Holm), and what may be claimed of new images.
"""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.figures import Figures, Groups, assess
from safe_dnn.reasons.listed import Claim, compared_with
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import printable, rate_text, some
from safe_dnn.training.before_after import ByGroup, count_by_group
from safe_dnn.training.certainty import BETTER, WORSE, Certainty, certainties, count_pairs, gain_text, interval_text

CLOSURE_FILE = "closure.csv"
CLOSED, REDUCED, UNCHANGED, WORSENED, NEW = "closed", "reduced", "unchanged", "worse", "new"
CONFIDENCE = 0.95
REST = "everything else"
# Of `closure.csv`, with what they hold of a `Closure`
_COLUMNS = {"reason": "claim.reason", "where": "claim.where", "state": "state", "tested": "after.tested"}
_COLUMNS |= {"wrong_before": "before.wrong", "wrong_after": "after.wrong", "rate_after": "after.rate"}
_COLUMNS |= {"low": "after.low", "high": "after.high", "limit": "limit", "like_before": "before.like"}
_COLUMNS |= {"gain": "sure.gain", "gain_low": "sure.low", "gain_high": "sure.high", "p": "sure.p"}
_COLUMNS |= {"groups": "after.n_groups", "group": "after.group"}


class Closure(NamedTuple):
    """What a later model makes of a claim.

    Attributes
    ----------
    claim : Claim
        Last, `REST`: the images that no claim is about.
    state : str
        CLOSED: fewer are wrong, beyond chance, and the interval of the rate after lies below the rate that the earlier
        model had on images like these: nothing stands out any more. REDUCED: fewer are wrong, beyond chance. WORSENED:
        more are, beyond chance; NEW, of images that no claim is about. UNCHANGED: a difference is not shown.
    before, after : Figures
    sure : Certainty
        Of the gain in accuracy; p is corrected.
    """

    claim: Claim
    state: str
    before: Figures
    after: Figures
    sure: Certainty

    @property
    def limit(self) -> float:
        """Which the rate after does not exceed at 95 %, one-sided: if none is wrong, 1 − .05^(1/n), of n groups if
        images are of groups (see `share_for_limit`)."""
        return self.after.limits(CONFIDENCE)[1]

    @property
    def text(self) -> str:
        """For example `weak spot 1, light < 0.1: closed. Of 52 images, 40 were wrong and 1 is (2%, 0–10%), …`."""
        wrong = self.after.wrong
        if not self.after.tested:
            return f"{self.claim.name}: not known. There are no such images."
        return (
            f"{self.claim.name}: {self.state}. Of {self.after.images()}, {self.before.wrong:,} were wrong and "
            f"{wrong:,} {'is' if wrong == 1 else 'are'} ({rate_text(self.after.rate)}, "
            f"{self.after.interval}): {gain_text(self.sure)} points ({interval_text(self.sure)}). Of new "
            f"ones, at most {self.limit:.1%} at {CONFIDENCE:.0%}."
        )


def by_answers(claims: Iterable[Claim]) -> list[str]:
    """A sentence on the claims whose conditions name the answers given, which `closures` leaves out; or none.

    Where one model answers so, images are chosen by its own errors: another one that is as good fails less often there.
    """
    wheres = [claim.where for claim in claims if claim.is_by_answers]
    return [f"Not compared, since each model gives other answers: {printable(some(wheres))}."] if wheres else []


def closures(
    claims: Sequence[Claim], before: np.ndarray, after: np.ndarray, groups: Groups | None = None,
    classes: np.ndarray | None = None, *, beside: Sequence[Claim] = (),
) -> list[Closure]:  # fmt: skip
    """What a later model makes of each claim and, last, of the images that none is about.

    Parameters
    ----------
    claims : sequence of Claim
        Those are left out whose images are not known, or depend on the answers given (see `by_answers`).
    before, after : ndarray of shape (n_images,), bool
        Whether each model gets the image right.
    groups : Groups, optional
        Of images that are not independent.
    classes : ndarray of shape (n_images,), int, optional
        As of `reasons.comparison.known_classes`.
    beside : sequence of Claim, optional
        Further ones, whose images may be of no claim all the same.
    """
    about, held, rest = list[Claim](), list[np.ndarray](), np.ones(len(before), bool)
    for at, claim in enumerate((*claims, *beside)):
        if claim.holds is not None and not claim.is_by_answers:
            about, held = [*about, claim], [*held, claim.holds]
            rest &= ~claim.holds | (at >= len(claims))
    about, held = [*about, Claim(REST, (), rest)], [*held, rest]
    names, by_group = [str(number) for number in range(len(held))], None
    if groups:  # an image may be of several claims
        row_of, row = np.nonzero(held)
        by_group = ByGroup(groups.name, count_by_group(groups.of[row], row_of, names, before[row], after[row]))
    sure = certainties([count_pairs(before[holds], after[holds]) for holds in held], by_group, names)
    like = compared_with(about, len(before), groups, classes)
    first, later = assess(held, ~before, groups, like=like), assess(held, ~after, groups)
    changes = []
    for claim, then, now, one in zip(about, first, later, sure, strict=True):
        better, worse = (REDUCED, NEW) if claim.reason == REST else (CLOSED, WORSENED)
        states = {BETTER: better if now.high <= then.like else REDUCED, WORSE: worse}
        changes.append(Closure(claim, states.get(one.verdict, UNCHANGED), then, now, one))
    return changes


def closure_text(found: Iterable[Closure]) -> str:
    """`closure.csv`: a row for each claim, and the last for the images that none is about."""
    return table_text(_COLUMNS, map(attrgetter(*_COLUMNS.values()), found))
