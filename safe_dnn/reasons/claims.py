"""What was found, on a fresh test set: confirmed, weakened or refuted, without searching again.

Weak spots and RCCs were chosen because the DNN fails there, in the images that they are told of. Here each is asked of
images that have chosen nothing: whether the DNN fails more often where the condition holds, or in the region of the
RCC, than on all other fresh images, and as often as was expected. A weak spot that was found given the class is
compared with fresh images of the same classes (see `rccs/spots/groups.py`). Nothing is searched for, so that rates and
intervals need no correction; the tests are corrected for their number (Holm, Scand. J. Stat. 6(2), 1979).

Reasons and fresh answers in, `confirmation.csv` out.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import PREDICTED
from safe_dnn.rccs.review.review import Review
from safe_dnn.rccs.spots.conditions import Literal
from safe_dnn.rccs.spots.groups import GivenClass, Groups, chance_given_class, counted, given_class, grouping, in_words
from safe_dnn.rccs.spots.rates import LEVEL, Rate, corrected
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import name_of
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.tables import read_table, table_text
from safe_dnn.support.text import count, range_text, rate_text

CONFIRMATION_FILE = "confirmation.csv"
CONFIRMED, WEAKENED, REFUTED, OPEN = "confirmed", "weakened", "refuted", "open"
# Of `confirmation.csv`, with what they hold of an `Answer`
_COLUMNS = {"reason": "claim.reason", "where": "claim.where"}
_COLUMNS |= {name: name for name in ("verdict", "tested", "wrong", "rate", "low", "high", "elsewhere", "p")}
_COLUMNS |= {"expected": "claim.expected", "expected_low": "claim.low", "expected_high": "claim.high"}
_COLUMNS |= {"groups": "groups", "group": "group", "of_classes": "given.expected", "odds": "given.odds"}


class Claim(NamedTuple):
    """What was found: the rate to expect of new images, with its interval.

    Attributes
    ----------
    reason : str
        For example `weak spot 1` or `RCC 0`.
    where : str
        The condition; empty of an RCC.
    expected, low, high : float
        Of what was found given the class, of as many images of each class as the fresh ones.
    holds : ndarray of shape (n_fresh,), bool, or None
        The fresh images that it is about; None if that is not known of them.
    spot : WeakSpot or None
        None of an RCC.
    conditions : tuple of Literal
        Of `where`; empty of an RCC.
    """

    reason: str
    where: str
    expected: float
    low: float
    high: float
    holds: np.ndarray | None
    spot: WeakSpot | None = None
    conditions: tuple[Literal, ...] = ()

    @property
    def is_given_class(self) -> bool:
        """Whether it was found in comparison with images of the same classes."""
        return self.spot is not None and not self.spot.of_classes

    @property
    def is_by_answers(self) -> bool:
        """Whether its images depend on what the network answers."""
        return any(one.column == PREDICTED for one in self.conditions)

    def is_group(self, groups: Groups | None) -> bool:
        """Whether it is about all images of one group: among themselves, they count as independent."""
        return groups is not None and [(one.column, one.sign) for one in self.conditions] == [(groups.column, "=")]


class Answer(NamedTuple):
    """What the fresh images say of a claim.

    Attributes
    ----------
    verdict : str
        CONFIRMED: the DNN fails more often than elsewhere or, if found given the class, than on other images of the
        same classes, beyond chance, and not less often than was expected.
        WEAKENED: more often, but less often than was expected. REFUTED: not beyond chance, and less often than was
        expected. OPEN: the fresh images do not tell.
    tested, wrong : int
    low, high : float
        95 % interval of the rate.
    elsewhere : float
        Of all other fresh images; 0 if there are none.
    p : float
        Corrected.
    groups : int or None
        Of the tested images; None if groups are not known.
    group : str
    given : GivenClass
        Among the fresh images.
    """

    claim: Claim
    verdict: str
    tested: int
    wrong: int
    low: float
    high: float
    elsewhere: float
    p: float
    groups: int | None = None
    group: str = ""
    given: GivenClass = GivenClass()

    @property
    def rate(self) -> float | None:
        """None if there are no such images."""
        return self.wrong / self.tested if self.tested else None

    @property
    def text(self) -> str:
        """For example `weak spot 1, light < 0.1: confirmed. 40 of 52 are wrong (77%, 63–87%), elsewhere 12%`."""
        named = ", ".join(filter(None, (self.claim.reason, self.claim.where)))
        if self.claim.holds is None:
            return f"{named}: {self.verdict}. What it is about is not known of the fresh images."
        if self.rate is None:
            return f"{named}: {self.verdict}. There are no such fresh images."
        rate = f"{rate_text(self.rate)}, {range_text(self.low, self.high)}"
        expected = f"{rate_text(self.claim.expected)} ({range_text(self.claim.low, self.claim.high)})"
        new = "new images of these classes" if self.claim.is_given_class else "new images"
        return (
            f"{named}: {self.verdict}. {self.wrong:,} of {count(self.tested, 'fresh image')}"
            f"{in_words(self.groups or 0, self.group)} are wrong ({rate}), "
            f"elsewhere {rate_text(self.elsewhere)}{self.given.text}; of {new}, {expected} were expected."
        )


def claims_of(
    spots: Sequence[WeakSpot], columns: Mapping[str, np.ndarray], rates: Mapping[int, Rate], regions: np.ndarray, *,
    same: Mapping[int, int] | None = None, of_classes: np.ndarray | None = None,
) -> list[Claim]:  # fmt: skip
    """The weak spots, and the other RCCs that fail more often, as claims on fresh images.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_fresh,)
        What is known of the fresh images.
    rates : mapping of int to Rate
    regions : ndarray of shape (n_fresh,), int
        The RCC in whose region each fresh image lies.
    same : mapping of int to int, optional
        RCCs that are about the same images as a weak spot (see `reasons.comparison.Reasons.same_as`).
    of_classes : ndarray of shape (n_fresh,), float64, optional
        How often the network fails on the class of each in the test set that reasons were found with; NaN if unknown.
    """
    claims, rcc_of = [], {spot: rcc for rcc, spot in (same or {}).items()}
    for rank, spot in enumerate(spots, 1):
        known = all(one.column in columns and one.is_about(columns[one.column]) for one in spot.literals)
        holds = spot.holds(columns) if known else None
        expected = np.array([spot.rate if spot.new_rate is None else spot.new_rate, *spot.interval])
        if of_classes is not None and holds is not None and np.isfinite(of_classes[holds]).any():
            expected = _of_these_classes(expected, spot.expected, float(np.nanmean(of_classes[holds])))
        rate, low, high = expected.tolist()
        name = name_of(spot, rank, rcc_of.get(rank - 1))
        claims.append(Claim(name, spot.where, rate, low, high, holds, spot, spot.literals))
    for rcc, rate in sorted(rates.items()):
        if rate.verdict == "more" and rcc not in rcc_of.values():
            claims.append(Claim(f"RCC {rcc}", "", rate.rate, rate.low, rate.high, regions == rcc))
    return claims


def _of_these_classes(rates: np.ndarray, before: float | None, now: float) -> np.ndarray:
    """Rates where other shares of the images are of each class: the odds are as many times those that classes give."""
    if before is None or not 0 < before < 1 or now == 1:
        return rates
    times = now * (1 - before) / (before * (1 - now))
    return rates * times / (1 - rates + rates * times)


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
        As of `reasons.comparison.known_classes`.
    """
    of, correlation = grouping(groups, wrong)
    answers = []
    for claim in claims:
        holds = np.zeros(len(wrong), bool) if claim.holds is None else claim.holds
        tested, failing, low, high, elsewhere, n_groups = counted(holds, wrong, of, correlation)
        named = (n_groups or None, groups.name) if groups else (None, "")
        given = GivenClass()
        if tested and classes is not None and not (claim.spot and claim.spot.of_classes):
            given = given_class(classes, wrong, holds)
        p = _chance(claim, holds, wrong, of if groups and not claim.is_group(groups) else None, classes)
        answers.append(Answer(claim, "", tested, failing, low, high, elsewhere, p, *named, given))
    chances = corrected(np.array([answer.p for answer in answers])).tolist()
    return [_judged(answer._replace(p=p)) for answer, p in zip(answers, chances, strict=True)]


def _chance(
    claim: Claim, holds: np.ndarray, wrong: np.ndarray, of: np.ndarray | None, classes: np.ndarray | None
) -> float:
    """How likely as many images are wrong if what is claimed does not matter, in the comparison that has found it."""
    if claim.is_given_class and classes is not None:
        return float(chance_given_class(classes, wrong, holds[None], of)[0])
    all_of_one = np.zeros(len(wrong), int)
    return max(float(chance_given_class(all_of_one, wrong, holds[None], groups)[0]) for groups in (None, of))


def _judged(answer: Answer) -> Answer:
    less = answer.high < answer.claim.low
    more = answer.p < LEVEL
    verdict = (WEAKENED if less else CONFIRMED) if more else REFUTED if less and answer.tested else OPEN
    return answer._replace(verdict=verdict)


def confirmation_text(answers: Iterable[Answer]) -> str:
    """`confirmation.csv`: a row for each claim; what is not known is empty."""
    return table_text(_COLUMNS, map(attrgetter(*_COLUMNS.values()), answers))


def asked(run: Run | None, review: Review, file: str = CONFIRMATION_FILE, column: str = "verdict") -> dict[str, str]:
    """What a confirmation says of each reason, by its name; empty if there is none, or RCCs were edited since."""
    if run is None or file not in run.files or run.facts["edits"] != review.last_number:
        return {}
    with reading_file(run, file) as path:
        table = read_table(path, "what a fresh test set says", own=True)
    return dict(zip(table.texts("reason"), table.texts(column), strict=True))
