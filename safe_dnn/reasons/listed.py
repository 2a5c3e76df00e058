"""The reasons of an analysis as one list: weak spots and RCCs; two that are about the same images are one.

In: a review, and what the comparison has found. Out: a reason for each weak spot, with the RCC that is about the same
failing images (see `comparison.Reasons.same_as`), and one for each other RCC; notes on either half apply to both.
The next reason is always the one with most failing images that are in no reason above it.

A sentence or two on the analysis are made of its first reasons by fixed rules, with the rates of the list.

*On a fresh test set* a reason is confirmed, weakened or refuted, without searching again. Weak spots and RCCs were
chosen because the DNN fails there. Images that took no part in this choice show whether the DNN fails more often where
the condition holds, or in the region of the RCC, than on fresh images of the same classes for which no other reason
holds, and as often as expected. Nothing is searched for, so that rates and intervals need no correction; the tests are
corrected for their number (Holm, Scand. J. Stat. 6(2), 1979).
"""

import itertools
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import LABEL, PREDICTED
from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.gifs import gif_path, spot_gif_path
from safe_dnn.rccs.profiles import Profile
from safe_dnn.rccs.review.notes import FIELDS, Note, title
from safe_dnn.rccs.review.review import Review, both
from safe_dnn.rccs.spots.conditions import Conditions, are_known, hold
from safe_dnn.rccs.spots.figures import Alike, Figures, Groups, assess
from safe_dnn.rccs.spots.like import alike, by_gain, distinct_reasons, is_other
from safe_dnn.rccs.spots.rates import LEVEL, corrected
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import Reasons, takes
from safe_dnn.store.runs import Run, reading_file
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.tables import read_table, table_text
from safe_dnn.support.text import count, in_series, printable, range_text, rate_text, some

LISTED, CHANCE, INSIDE, UNDECIDED = KINDS = ("listed", "chance", "inside", "undecided")
"""What reasons are, in the order of the list: reasons for failing; conditions under which new images may be wrong no
more often than images like these; RCCs that lie in a condition and do not fail more often than the rest of it; and RCCs
on whose images the DNN does not clearly fail more often."""
MOST_OPEN = 10  # reasons that are shown one by one; the others are folded
CONFIRMATION_FILE = "confirmation.csv"
CONFIRMED, WEAKENED, REFUTED, OPEN = "confirmed", "weakened", "refuted", "open"
_VERDICTS = {(True, False): CONFIRMED, (True, True): WEAKENED, (False, True): REFUTED, (False, False): OPEN}
"""Whether the DNN fails more often, beyond chance, and whether less often than was expected."""
# Of `confirmation.csv`, with what they hold of an `Answer`
_COLUMNS = {"reason": "claim.reason", "where": "claim.where", "verdict": "verdict"}
_COLUMNS |= {name: f"figures.{name}" for name in ("tested", "wrong", "rate", "low", "high", "like", "p")}
_COLUMNS |= {"expected": "claim.expected", "expected_low": "claim.low", "expected_high": "claim.high"}
_COLUMNS |= {"groups": "figures.n_groups", "group": "figures.group"}
MOST_NAMED = 3  # in the sentence


class Reason(NamedTuple):
    """A weak spot, an RCC, or both.

    Attributes
    ----------
    name : str
        As the two are numbered, for example `weak spot 1`, `RCC 0` or `weak spot 1 (RCC 0)`.
    subject : str
        What it is, by content: its conditions or, of an RCC alone, its images (see `rccs.clusters.subjects_of`).
    kind : one of KINDS
    spot : WeakSpot or None
    rcc : int or None
    file : str
        The name that its files have, such as `RCC_00`.
    stated : collection of str
        Columns that its condition or card names.
    figures : Figures or None
        How often the DNN fails there, with the interval for new images; None if its answers to its test set are not
        known.
    gain : int
        Failing images that no other reason above it holds.
    inside : str
        Of an RCC that lies in a condition, the name of that one.
    images : sequence of str
        Its failing images.
    picture : str
        One of them that stands for it: one that no other reason holds, if there is any.
    note : Note
        The note on the weak spot or, without one, on the RCC.
    twin : str
        Of a weak spot that is an RCC as well, what identifies the latter's images.
    other : Note or None
        The note on that RCC.
    """

    name: str
    subject: str
    kind: str = LISTED
    spot: WeakSpot | None = None
    rcc: int | None = None
    file: str = ""
    stated: Collection[str] = ()
    figures: Figures | None = None
    gain: int = 0
    inside: str = ""
    images: Sequence[str] = ()
    picture: str = ""
    note: Note = Note(None)
    twin: str = ""
    other: Note | None = None

    @property
    def facts(self) -> str:
        """For example `102 of 115 wrong · 95 not explained above`; how many images it has, if that is not known."""
        of = self.figures
        if not of or not of.tested:
            return count(len(self.images), "image")
        text = f"{'about ' if of.answers else ''}{of.wrong:,} of {of.tested:,} wrong"
        text += f" · {count(of.answers, 'answer')}" if of.answers else ""
        gain = self.kind == LISTED and self.gain < len(self.images)
        return f"{text} · {self.gain:,} not explained above" if gain else text

    @property
    def where(self) -> str:
        """The condition in words; empty of an RCC alone."""
        return self.spot.where if self.spot else ""

    @property
    def words(self) -> str:
        """What it is called in a sentence: the condition as a clause or, of an RCC, the name that somebody gave it."""
        return self.spot.words if self.spot else self.note.name

    @property
    def rate(self) -> float:
        """NaN if it is not known."""
        return self.figures.rate if self.figures else np.nan

    @property
    def fails_more(self) -> bool:
        """Whether the DNN fails more often there than on comparable images."""
        return self.figures is not None and self.kind == LISTED

    @property
    def title(self) -> str:
        """What it is called where people read it: the name that somebody gave it, or its condition, or `RCC 5`."""
        return self.note.name or self.where or self.name

    @property
    def to_judge(self) -> bool:
        """Whether it is, beyond chance, a reason for failing; all RCCs are as long as nothing was compared."""
        return self.kind == LISTED

    @property
    def names(self) -> list[str]:
        """What it is called, and each half of it."""
        return [self.name, *self.name.removesuffix(")").split(" (")]

    @property
    def differing(self) -> dict[str, str]:
        """The fields in which the note on the RCC differs from that on the weak spot."""
        said = ((field, getattr(self.other, field), getattr(self.note, field)) for field in FIELDS if self.other)
        return {field: text for field, text, own in said if text and text != own}


def reasons_of(review: Review, reasons: Reasons, folder: Path, *, profiles: Sequence[Profile] = ()) -> list[Reason]:
    """All reasons in the order of `KINDS`, each kind by its gain (see `spots.like.by_gain`).

    Parameters
    ----------
    reasons : Reasons
        On the clusters of the review.
    folder : Path
        Of the analysis.
    profiles : sequence of Profile, optional
        What they say is stated of the RCCs.
    """
    clusters, same, inside = review.clusters, reasons.same_as, reasons.inside
    rcc_of, words = {spot: rcc for rcc, spot in same.items()}, {one.rcc: one.mentioned for one in profiles}
    listed = []
    for index, (spot, rows) in enumerate(zip(reasons.spots, reasons.images, strict=True)):
        rcc, images = rcc_of.get(index), [clusters.paths[row] for row in rows.tolist()]
        twin, reason = "" if rcc is None else review.subjects[rcc], reason_of(spot, index + 1, rcc)
        file = re.sub(r"\W+", "_", reason.name) if spot.figures.answers else spot_gif_path(folder, index + 1).stem
        listed.append(reason._replace(file=file, images=images, twin=twin))
    for rcc in rccs_of(clusters):
        if rcc in same:
            continue
        rate = reasons.rates.get(rcc)
        more = rate is not None and rate.verdict == "more"
        kind = LISTED if more or not (reasons.rates or rcc in inside) else INSIDE if rcc in inside else UNDECIDED
        listed.append(Reason(
            title(rcc), review.subjects[rcc], kind, None, rcc, gif_path(folder, rcc, clusters.n_rccs).stem,
            {one.parameter for one in words.get(rcc, ())}, rate and rate.figures,
            inside=listed[inside[rcc]].name if rcc in inside else "", images=clusters.members(rcc),
        ))  # fmt: skip
    return _ordered(listed)


def ungrouped(spots: Sequence[WeakSpot], images: Sequence[Sequence[str]]) -> list[Reason]:
    """Weak spots as reasons, in the same order, before failing images are grouped.

    Parameters
    ----------
    images : sequence of sequences of str
        The failing images of each.
    """
    pairs = enumerate(zip(spots, images, strict=True), 1)
    return _ordered([reason_of(spot, rank)._replace(images=of) for rank, (spot, of) in pairs])


def _ordered(reasons: list[Reason]) -> list[Reason]:
    """By kind, and by gain: an RCC and the condition that it lies in are no other reasons than each other."""
    row_of = {image: row for row, image in enumerate(sorted({*itertools.chain(*(one.images for one in reasons))}))}
    failing = np.zeros((len(reasons), len(row_of)), bool)
    for row, one in enumerate(reasons):
        failing[row, [row_of[image] for image in one.images]] = True
    others = np.array([[_is_other(each, than) for each in reasons] for than in reasons], bool)
    last = np.array([one.kind != LISTED for one in reasons], bool)
    order, gains = by_gain(failing, others.reshape(len(reasons), len(reasons)), last)
    of_one = np.count_nonzero(failing[~last], axis=0) <= 1
    for row, gain in zip(order, gains, strict=True):
        one = reasons[row]
        alone = (image for image in one.images if of_one[row_of[image]])
        reasons[row] = one._replace(gain=gain, picture=next(alone, next(iter(one.images), "")))
    return sorted((reasons[row] for row in order), key=lambda one: KINDS.index(one.kind))


def _is_other(reason: Reason, than: Reason) -> bool:
    if reason.spot and than.spot:
        return is_other(reason.spot.literals, than.spot.literals, LABEL)
    return reason is not than and reason.name != than.inside and than.name != reason.inside


def folded(listed: Sequence[Reason]) -> dict[str, str]:
    """By the name of each reason that is not shown one by one, what it is folded under: the same text for all of it."""
    noun = {CHANCE: "that may be chance", INSIDE: "inside these reasons", UNDECIDED: "not known to fail more often"}
    more = [one for one in listed if one.kind == LISTED][MOST_OPEN:]
    texts = {one.name: f"{len(more)} more" for one in more}
    for kind, what in noun.items():
        of_kind = [one for one in listed if one.kind == kind]
        texts |= {one.name: f"{len(of_kind)} {what}" for one in of_kind}
    return texts


def with_notes(
    listed: Iterable[Reason], notes: Mapping[int, Note], spot_notes: Mapping[str, Note], tested: str
) -> list[Reason]:
    """Reasons with their notes.

    Parameters
    ----------
    notes : mapping of int to Note
        On RCCs.
    spot_notes : mapping of str to Note
        As of `rccs.review.review.notes_of_run`.
    tested : str
        The folder of the test images (see `rccs.review.review.folder_tested`), for notes that are yet to be written.
    """
    noted = []
    for reason in listed:
        on_rcc = None if reason.rcc is None else notes.get(reason.rcc, Note(reason.rcc))
        if reason.spot:
            on_spot = spot_notes.get(reason.subject, Note((reason.subject, tested)))
            reason = reason._replace(note=on_spot if on_rcc is None else both(on_spot, on_rcc), other=on_rcc)
        elif on_rcc:
            reason = reason._replace(note=on_rcc)
        noted.append(reason)
    return noted


def reason_of(spot: WeakSpot, rank: int, rcc: int | None = None) -> Reason:
    """A weak spot as a reason, without its images, by a word or its rank; `rcc` is about the same ones."""
    *within, word = spot.literals
    by_word = ", ".join([f"word {word.column}", *(str(one.value) for one in within)])
    name = (by_word if spot.figures.answers else f"weak spot {rank}") + ("" if rcc is None else f" (RCC {rcc})")
    return Reason(
        name, spot.conditions, CHANCE if spot.may_be_chance else LISTED, spot, rcc,
        stated={one.column for one in spot.literals}, figures=spot.figures,
    )  # fmt: skip


def chosen(listed: Sequence[Reason], names: Collection[str]) -> list[Reason]:
    """Those with these names, spelled as `RCC 3` or, as their files are, `RCC_03`.

    Raises
    ------
    SAFEError
        There is no such reason.
    """
    wanted = {_spelled(name): name for name in names}
    if missing := {*wanted} - {spelled for reason in listed for spelled in _spellings(reason)}:
        received = some(sorted(wanted[name] for name in missing))
        raise SAFEError(
            f"Expected reasons such as `weak spot 1` or `RCC 0`. Received: {received}; there are "
            f"{some([reason.name for reason in listed])}."
        )
    return [reason for reason in listed if not wanted.keys().isdisjoint(_spellings(reason))]


def _spellings(reason: Reason) -> Iterator[str]:
    return map(_spelled, reason.names)


def _spelled(name: str) -> str:
    return re.sub(r" 0+(?=\d)", " ", name.replace("_", " ").lower())


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
    expected, low, high : float
        Of as many images of each class as the fresh ones. By default nothing is expected.
    takes : bool
        Whether other reasons are compared without its images.
    within : ndarray of shape (n_fresh,), bool, or None
        The images of the claim in which an RCC lies: it is compared within them.
    """

    reason: str
    conditions: Conditions
    holds: np.ndarray | None
    expected: float = math.nan
    low: float = 0.0
    high: float = 1.0
    takes: bool = False
    within: np.ndarray | None = None

    @property
    def where(self) -> str:
        """The condition in words; empty of an RCC."""
        return " and ".join(map(str, self.conditions))

    @property
    def name(self) -> str:
        """The reason with its condition."""
        return ", ".join(dict.fromkeys(filter(None, (self.reason, self.where))))

    @property
    def is_by_answers(self) -> bool:
        """Whether its images depend on what the network answers."""
        return any(one.column == PREDICTED for one in self.conditions)


class Answer(NamedTuple):
    """What the fresh images say of a claim.

    Attributes
    ----------
    verdict : str
        CONFIRMED: the DNN fails more often than on images like these, beyond chance, and not less often than was
        expected. WEAKENED: more often, but less often than was expected. REFUTED: not beyond chance, and less often
        than was expected. OPEN: the fresh images do not decide.
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
        named = f"{claim.name}: {self.verdict}."
        if claim.holds is None:
            return f"{named} What it is about is not known of the fresh images."
        if not figures.tested:
            return f"{named} There are no such fresh images."
        return (
            f"{named} {figures.wrong:,} of {figures.images('fresh image')} are wrong ({rate_text(figures.rate)}, "
            f"{figures.interval}){figures.compared}; of new images, {rate_text(claim.expected)} "
            f"({range_text(claim.low, claim.high)}) were expected."
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
    claims = dict[str, Claim]()
    for reason in sorted(listed, key=lambda one: one.spot is None):
        spot, of = reason.spot, reason.figures
        if spot and of:
            holds = hold(spot.literals, columns, len(regions)) if are_known(spot.literals, columns) else None
            expected = np.array([of.rate if spot.new_rate is None else spot.new_rate, of.low, of.high])
            if of_classes is not None and holds is not None and np.isfinite(of_classes[holds]).any():
                expected = _of_these_classes(expected, spot.expected, float(np.nanmean(of_classes[holds])))
            rate, low, high = expected.tolist()
            takes_images = holds is not None and takes(spot)
            claims[reason.name] = Claim(reason.name, spot.literals, holds, rate, low, high, takes_images)
        elif of and reason.fails_more:
            within = claims[reason.inside].holds if reason.inside else None
            holds = regions == reason.rcc
            claims[reason.name] = Claim(reason.name, (), holds, of.rate, of.low, of.high, within=within)
    return [*claims.values()]


def _of_these_classes(rates: np.ndarray, before: float | None, now: float) -> np.ndarray:
    """Rates where other shares of the images are of each class: the odds are as many times those that classes give."""
    if before is None or not 0 < before < 1 or now == 1:
        return rates
    times = now * (1 - before) / (before * (1 - now))
    return rates * times / (1 - rates + rates * times)


def compared_with(
    claims: Sequence[Claim], n_images: int, groups: Groups | None, classes: np.ndarray | None
) -> list[Alike]:
    """The comparable images of each claim: those of the same classes for which no other claim holds (see `like.py`)."""
    conditions, held = [claim.conditions for claim in claims], [held_by(claim, n_images) for claim in claims]
    distinct = distinct_reasons(conditions, LABEL) & np.array([claim.takes for claim in claims], bool)
    holds, within = np.array(held, bool).reshape(len(claims), n_images), dict[int, np.ndarray]()
    for row, claim in enumerate(claims):
        if not claim.conditions:
            distinct[row] = [one.takes and one.holds is not claim.within for one in claims]
            within |= {} if claim.within is None else {row: claim.within}
    column = groups.column if groups else ""
    return alike(conditions, holds, LABEL, classes, groups=column, distinct=distinct, within=within)


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
    like, held = compared_with(claims, len(wrong), groups, classes), [held_by(claim, len(wrong)) for claim in claims]
    every, answers = assess(held, wrong, groups, like=like, for_new=False), []
    chances = corrected(np.array([one.p for one in every])).tolist()
    for claim, figures, p in zip(claims, every, chances, strict=True):
        less = bool(figures.tested) and figures.high < claim.low
        answers.append(Answer(claim, _VERDICTS[p < LEVEL, less], figures._replace(p=p)))
    return answers


def confirmation_text(answers: Iterable[Answer]) -> str:
    """`confirmation.csv`: a row for each claim; what is not known is empty."""
    return table_text(_COLUMNS, map(attrgetter(*_COLUMNS.values()), answers))


def fresh_verdicts(
    run: Run | None, review: Review, file: str = CONFIRMATION_FILE, column: str = "verdict"
) -> dict[str, str]:
    """The verdict of a confirmation on each reason, by its name; empty without one, or if RCCs were edited since."""
    if run is None or file not in run.files or run.facts["edits"] != review.last_number:
        return {}
    with reading_file(run, file) as path:
        table = read_table(path, "what a fresh test set says", own=True)
    return dict(zip(table.texts("reason"), table.texts(column), strict=True))


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
        Wrong and all images for which no reason holds, as in `Reasons.where_none_holds`; zeros if that is not known.
    """
    # Of which right images a word holds is not known.
    n = sum(reason.kind == LISTED and not (reason.figures and reason.figures.answers) for reason in listed)
    every = f"{rate_text(base)} of all {count(tested, 'test image')} are wrong"
    if not n or not rest[1]:
        return every
    which = "this reason does not hold" if n == 1 else f"none of these {n} reasons holds"
    return f"{every}, {rate_text(rest[0] / rest[1])} where {which}"
