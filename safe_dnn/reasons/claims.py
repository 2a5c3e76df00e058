"""Reasons on a fresh test set: each is confirmed, weakened or refuted, without searching again.

Weak spots and RCCs were chosen because the DNN fails there. Images that took no part in this choice show whether the
DNN fails more often where the condition holds, or in the region of the RCC, than these images would fail without it
(see `rccs/spots/expected.py`), and as often as was found. Nothing is searched for, so that rates and intervals need no
correction; the tests are corrected for their number (Holm, Scand. J. Stat. 6(2), 1979).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.answers import LABEL, PREDICTED
from safe_dnn.rccs.review.review import Review
from safe_dnn.rccs.spots.conditions import Conditions
from safe_dnn.rccs.spots.expected import Expected, baselines_of, expected_rates
from safe_dnn.rccs.spots.figures import COMPARED, Figures, Groups, assess, corrected
from safe_dnn.rccs.spots.rates import LEVEL
from safe_dnn.reasons.listed import CHANCE, LISTED, Reason
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.tables import read_table, table_text
from safe_dnn.support.text import range_text, rate_text

CONFIRMATION_FILE = "confirmation.csv"
CONFIRMED, WEAKENED, REFUTED, OPEN = "confirmed", "weakened", "refuted", "open"
_VERDICTS = {(True, False): CONFIRMED, (True, True): WEAKENED, (False, True): REFUTED, (False, False): OPEN}
"""Whether the DNN fails more often, beyond chance, and whether less often than was foreseen."""
# Of `confirmation.csv`, with what they hold of an `Answer`
_COLUMNS = {"reason": "claim.reason", "where": "claim.where", "verdict": "verdict"}
_COLUMNS |= {name: f"figures.{name}" for name in ("tested", "wrong", "rate", "low", "high", *COMPARED, "p")}
_COLUMNS |= {"new_rate": "claim.new_rate", "new_low": "claim.low", "new_high": "claim.high"}
_COLUMNS |= {"groups": "figures.n_groups", "group": "figures.group"}


class Claim(NamedTuple):
    """What was found: the rate to expect of new images, with its interval.

    Attributes
    ----------
    reason : str
        For example `weak spot 1` or `RCC 0`.
    conditions : tuple of Literal
        Empty of an RCC.
    holds : ndarray of shape (n_fresh,), bool, or None
        The fresh images that it is about; None if that is not known of them.
    new_rate, low, high : float
        Of as many images of each class as the fresh ones. By default nothing is foreseen.
    takes : bool
        Whether other reasons are compared given it.
    title : str
        What it is called where people read it; by default `reason`.
    """

    reason: str
    conditions: Conditions
    holds: np.ndarray | None
    new_rate: float = math.nan
    low: float = 0.0
    high: float = 1.0
    takes: bool = False
    title: str = ""

    @property
    def where(self) -> str:
        """The condition in words; empty of an RCC."""
        return " and ".join(map(str, self.conditions))

    @property
    def name(self) -> str:
        """The reason's identifier, with its condition."""
        return ", ".join(dict.fromkeys(filter(None, (self.reason, self.where))))

    @property
    def called(self) -> str:
        """What it is called where people read it, with its condition."""
        return ", ".join(dict.fromkeys(filter(None, (self.title or self.reason, self.where))))

    @property
    def is_by_answers(self) -> bool:
        """Whether its images depend on what the network answers."""
        return any(one.column == PREDICTED for one in self.conditions)


class Answer(NamedTuple):
    """What the fresh images say of a claim.

    Attributes
    ----------
    verdict : str
        CONFIRMED: the DNN fails more often than is expected without it, beyond chance, and not less often than was
        foreseen. WEAKENED: more often, but less often than was foreseen. REFUTED: not beyond chance, and less often
        than was foreseen. OPEN: the fresh images do not decide.
    figures : Figures
        With the corrected p.
    """

    claim: Claim
    verdict: str
    figures: Figures

    @property
    def text(self) -> str:
        """For example `weak spot 1, light < 0.1: confirmed. 40 of 52 are wrong (77%, 63–87%), …`."""
        claim, figures = self.claim, self.figures
        named = f"{claim.called}: {self.verdict}."
        if claim.holds is None:
            return f"{named} What it is about is not known of the fresh images."
        if not figures.tested:
            return f"{named} There are no such fresh images."
        return (
            f"{named} {figures.wrong:,} of {figures.images('fresh image')} are wrong ({rate_text(figures.rate)}, "
            f"{figures.interval}){figures.compared}; {rate_text(claim.new_rate)} ({range_text(claim.low, claim.high)}) "
            "of new images were foreseen."
        )


def claims_of(
    listed: Iterable[Reason], columns: Mapping[str, np.ndarray], regions: np.ndarray, *,
    of_classes: np.ndarray | None = None,
) -> list[Claim]:  # fmt: skip
    """The weak spots, and the other RCCs that fail more often, as claims on fresh images.

    Parameters
    ----------
    listed : iterable of Reason
        As of `reasons.listed.reasons_of`.
    columns : mapping of str to ndarray of shape (n_fresh,)
        What is known of the fresh images.
    regions : ndarray of shape (n_fresh,), int
        The RCC in whose region each fresh image lies.
    of_classes : ndarray of shape (n_fresh,), float64, optional
        How often the network fails on the class of each in the test set that reasons were found with; NaN if unknown.
    """
    claims = list[Claim]()
    for reason in sorted(listed, key=lambda one: not one.literals):
        of = reason.figures
        if not of or reason.kind not in (LISTED, CHANCE):
            continue
        holds, new_rate = reason.holds(columns, regions), of.rate if reason.new_rate is None else reason.new_rate
        foreseen = np.array([new_rate, of.low, of.high])
        if of_classes is not None and holds is not None and np.isfinite(of_classes[holds]).any():
            foreseen = _of_these_classes(foreseen, reason.class_rate, float(np.nanmean(of_classes[holds])))
        rate, low, high = foreseen.tolist()
        takes = holds is not None and reason.takes
        claims.append(Claim(reason.name, reason.literals, holds, rate, low, high, takes, reason.title))
    return claims


def _of_these_classes(rates: np.ndarray, before: float | None, now: float) -> np.ndarray:
    """Rates where other shares of the images are of each class: the odds are as many times those that classes give."""
    if before is None or not 0 < before < 1 or now == 1:
        return rates
    times = now * (1 - before) / (before * (1 - now))
    return rates * times / (1 - rates + rates * times)


def expected_of(
    claims: Sequence[Claim], wrong: np.ndarray, groups: Groups | None, classes: np.ndarray | None
) -> list[Expected]:
    """How often the images of each claim would be wrong without it, as images of the same class with the same others.

    Parameters
    ----------
    wrong, groups, classes
        As for `answers_to`.
    """
    conditions = [claim.conditions for claim in claims]
    stay = {row for row, claim in enumerate(claims) if claim.takes}
    baselines = baselines_of(conditions, LABEL, stay, groups=groups.column if groups else "")
    holds = np.array([held_by(claim, len(wrong)) for claim in claims], bool).reshape(len(claims), len(wrong))
    return expected_rates(holds, wrong, baselines, classes, groups.of if groups else None)


def held_by(claim: Claim, n_images: int) -> np.ndarray:
    """The images that a claim is about, none if that is not known: bool of shape (n_images,)."""
    return np.zeros(n_images, bool) if claim.holds is None else claim.holds


def answers_to(
    claims: Sequence[Claim], wrong: np.ndarray, groups: Groups | None = None, classes: np.ndarray | None = None
) -> list[Answer]:
    """What fresh images say of each claim.

    Parameters
    ----------
    wrong : ndarray of shape (n_fresh,), bool
    groups : Groups, optional
        Of fresh images that are not independent.
    classes : ndarray of shape (n_fresh,), int, optional
        As of `reasons.known.known_classes`.
    """
    without, held = expected_of(claims, wrong, groups, classes), [held_by(claim, len(wrong)) for claim in claims]
    every, answers = assess(held, wrong, groups, expected=without, for_new=False), []
    chances = corrected(np.array([one.p for one in every])).tolist()
    for claim, figures, p in zip(claims, every, chances, strict=True):
        less = bool(figures.tested) and figures.high < claim.low
        answers.append(Answer(claim, _VERDICTS[p < LEVEL, less], figures._replace(p=p)))
    return answers


def confirmation_text(answers: Iterable[Answer]) -> str:
    """`confirmation.csv`: a row for each claim; what is not known is empty."""
    return table_text(_COLUMNS, map(attrgetter(*_COLUMNS.values()), answers))


def fresh_verdicts(run: Run | None, review: Review) -> dict[str, str]:
    """The verdict of a confirmation on each reason, by its condition or, of an RCC, its name.

    Empty without a confirmation, or if RCCs were edited since. A rank is no name: `weak spot 1` may be another one once
    reasons were searched for again.
    """
    if run is None or CONFIRMATION_FILE not in run.files or run.facts["edits"] != review.last_number:
        return {}
    with reading_file(run, CONFIRMATION_FILE) as path:
        table = read_table(path, "what a fresh test set says", own=True)
    names = (where or reason for where, reason in zip(table.texts("where"), table.texts("reason"), strict=True))
    return dict(zip(names, table.texts("verdict"), strict=True))
