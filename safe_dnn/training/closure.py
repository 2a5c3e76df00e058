"""A later model on what was found of an earlier one: which reasons for failing are closed. None is looked for anew.

In: claims on the earlier model (see `reasons/claims.py`), and what both models get right of images that chose
nothing. Out: for each claim the rates before and after, with McNemar's test of the difference, of groups where images
are not independent, corrected for the number of claims (Holm), and what may be claimed of new images.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.groups import Groups, given_class, grouping, in_words, share_for_limit
from safe_dnn.reasons.claims import Claim
from safe_dnn.support.intervals import clopper_pearson, upper_limit
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import count, printable, range_text, rate_text, some
from safe_dnn.training.before_after import ByGroup, count_by_group
from safe_dnn.training.certainty import BETTER, WORSE, Certainty, certainties, count_pairs, gain_text, interval_text

CLOSURE_FILE = "closure.csv"
CLOSED, REDUCED, UNCHANGED, WORSENED, NEW = "closed", "reduced", "unchanged", "worse", "new"
CONFIDENCE = 0.95
REST = "everything else"
COLUMNS = (
    "reason", "where", "state", "tested", "wrong_before", "wrong_after", "rate_after", "low", "high", "limit",
    "elsewhere_before", "gain", "gain_low", "gain_high", "p", "groups", "group",
)  # fmt: skip


class Closure(NamedTuple):
    """What a later model makes of a claim.

    Attributes
    ----------
    claim : Claim or None
        None: the images that no claim is about.
    state : str
        CLOSED: fewer are wrong, beyond chance, and the interval of the rate after lies below the rate that the earlier
        model had `elsewhere`: nothing stands out any more. REDUCED: fewer are wrong, beyond chance. WORSENED: more are,
        beyond chance; NEW, of images that no claim is about. UNCHANGED: a difference is not shown.
    wrong_before, wrong_after : int
    low, high : float
        95 % interval of the rate after.
    limit : float
        Which the rate after does not exceed at 95 %, one-sided: if none is wrong, 1 − .05^(1/n), of n groups if images
        are of groups (see `share_for_limit`).
    elsewhere : float
        The earlier model's rate on all other images; of what was found given the class, that which these classes
        alone would give, if it is lower.
    sure : Certainty
        Of the gain in accuracy; p is corrected.
    """

    claim: Claim | None
    state: str
    wrong_before: int
    wrong_after: int
    low: float
    high: float
    limit: float
    elsewhere: float
    sure: Certainty

    @property
    def tested(self) -> int:
        return self.sure.counts.images

    @property
    def text(self) -> str:
        """For example `weak spot 1, light < 0.1: closed. Of 52 images, 40 were wrong and 1 is (2%, 0–10%), …`."""
        named = ", ".join(filter(None, (self.claim.reason, self.claim.where))) if self.claim else REST
        if not self.tested:
            return f"{named}: not known. There are no such images."
        images = f"{count(self.tested, 'image')}{in_words(self.sure.groups, self.sure.group)}"
        after = f"{self.wrong_after:,} {'is' if self.wrong_after == 1 else 'are'}"
        return (
            f"{named}: {self.state}. Of {images}, {self.wrong_before:,} were wrong and {after} "
            f"({rate_text(self.wrong_after / self.tested)}, {range_text(self.low, self.high)}): {gain_text(self.sure)} "
            f"points ({interval_text(self.sure)}). Of new ones, at most {self.limit:.1%} at {CONFIDENCE:.0%}."
        )


def by_answers(claims: Iterable[Claim]) -> list[str]:
    """A sentence on the claims whose conditions name the answers given, which `closures` leaves out; or none.

    Where one model answers so, images are chosen by its own errors: another one that is as good fails less often there.
    """
    wheres = [claim.where for claim in claims if claim.is_by_answers]
    return [f"Not compared, since each model gives other answers: {printable(some(wheres))}."] if wheres else []


def closures(
    claims: Sequence[Claim], before: np.ndarray, after: np.ndarray, groups: Groups | None = None,
    classes: np.ndarray | None = None,
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
    """
    about = [claim for claim in claims if claim.holds is not None and not claim.is_by_answers]
    held = [holds for claim in about if (holds := claim.holds) is not None]
    held.append(~np.any(held, axis=0) if held else np.ones(len(before), bool))
    counts = [count_pairs(before[holds], after[holds]) for holds in held]
    names = [str(number) for number in range(len(held))]
    by_group = None
    if groups:  # an image may be of several claims
        of_claim, row = np.nonzero(held)
        by_group = ByGroup(groups.name, count_by_group(groups.of[row], of_claim, names, before[row], after[row]))
    of, correlation = grouping(groups, ~after)
    found = []
    for claim, holds, sure in zip((*about, None), held, certainties(counts, by_group, names), strict=True):
        tested, wrong_before, wrong = (int(one.sum()) for one in (holds, holds & ~before, holds & ~after))
        elsewhere = float(np.mean(~before[~holds])) if not holds.all() else 0.0
        if claim and claim.is_given_class and classes is not None and tested:
            elsewhere = min(elsewhere, given_class(classes, ~before, holds).expected or 0.0)
        state, low, high, limit = UNCHANGED, 0.0, 1.0, 1.0
        if tested:
            share = share_for_limit(of[holds], ~after[holds], correlation)
            low, high = map(float, clopper_pearson(np.array(share * wrong), np.array(share * tested)))
            limit = upper_limit(share * wrong, share * tested, CONFIDENCE)
        if sure.verdict == BETTER:
            state = CLOSED if claim and high <= elsewhere else REDUCED
        elif sure.verdict == WORSE:
            state = WORSENED if claim else NEW
        found.append(Closure(claim, state, wrong_before, wrong, low, high, limit, elsewhere, sure))
    return found


def closure_text(found: Iterable[Closure]) -> str:
    """`closure.csv`: a row for each claim, and the last for the images that none is about."""
    rows = []
    for one in found:
        named = (one.claim.reason, one.claim.where) if one.claim else (REST, "")
        rate = one.wrong_after / one.tested if one.tested else None
        figures = (one.tested, one.wrong_before, one.wrong_after, rate, one.low, one.high, one.limit, one.elsewhere)
        gained = (one.sure.gain, one.sure.low, one.sure.high, one.sure.p)
        rows.append((*named, one.state, *figures, *gained, one.sure.groups or "", one.sure.group))
    return table_text(COLUMNS, rows)
