"""The reasons of an analysis as one list: weak spots and RCCs; two that are about the same images are one.

Whoever lists, draws, reports or checks reasons asks a `Reason`, and need not know which of these it is.

In: a review, and what the comparison has found. Out: a reason for each weak spot, with the RCC that is about the same
failing images (see `comparison.Reasons.same_as`), and one for each other RCC; notes on either half apply to both.
First comes the one with most failures in excess (see `rccs/spots/expected.py`).

A sentence or two on the analysis are made of its first reasons by fixed rules, with the rates of the list.

`FailureReasons` is why a network fails on its test set, by its answers alone, as runs keep it.
"""

import contextlib
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.gifs import gif_path, spot_gif_path
from safe_dnn.rccs.profiles import Profile
from safe_dnn.rccs.review.journal import FIELDS, Note, title
from safe_dnn.rccs.review.review import Review, both, folder_tested, notes_of_run
from safe_dnn.rccs.spots.conditions import Conditions, are_known, hold
from safe_dnn.rccs.spots.curves import Bin, load_curves
from safe_dnn.rccs.spots.figures import Figures
from safe_dnn.rccs.spots.weak_spots import WeakSpot, load_spots
from safe_dnn.reasons.comparison import NEARLY_ALL, Reasons, takes
from safe_dnn.store.runs import REASONS, Run, reading_file, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import read_arrays
from safe_dnn.support.images import content_of
from safe_dnn.support.run_folder import PREDICTIONS_FILE
from safe_dnn.support.text import count, in_series, printable, rate_text, some

LISTED, CHANCE, INSIDE, UNDECIDED = KINDS = ("listed", "chance", "inside", "undecided")
"""What reasons are, in the order of the list: reasons for failing; conditions under which new images may be wrong no
more often than images like these; RCCs that lie in a condition and do not fail more often than the rest of it; and RCCs
on whose images the DNN does not clearly fail more often."""
MOST_OPEN = 10  # reasons that are shown one by one; the others are folded
ADDS = 0.1  # to the failures in excess of a reason, below which one that lies within it is folded
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
    inside: str = ""
    images: Sequence[str] = ()
    picture: str = ""
    note: Note = Note(None)
    twin: str = ""
    other: Note | None = None

    @property
    def facts(self) -> str:
        """For example `102 of 115 wrong, 6% expected without it: about 95 failures more`; how many images it has, if
        that is not known."""
        of = self.figures
        if not of or not of.tested:
            return count(len(self.images), "image")
        text = f"{'about ' if of.answers else ''}{of.wrong:,} of {of.tested:,} wrong{of.compared}{of.more}"
        return f"{text} · {count(of.answers, 'answer')}" if of.answers else text

    @property
    def excess(self) -> float:
        """Failures in excess; 0 if that is not known."""
        return 0.0 if self.figures is None or np.isnan(self.figures.excess) else self.figures.excess

    @property
    def key(self) -> int | str:
        """By which the page and the results of retraining know it: its conditions or, of an RCC alone, the number."""
        return self.subject if self.spot or self.rcc is None else self.rcc

    @property
    def identity(self) -> str:
        """What it is about, the same as long as that is: the condition on its test set or, of an RCC, the images."""
        return self.note.subject if self.spot else self.subject

    @property
    def twin_rcc(self) -> int | None:
        """Of a condition, the RCC that is about the same images."""
        return self.rcc if self.twin else None

    @property
    def literals(self) -> Conditions:
        """The condition; empty of an RCC alone."""
        return self.spot.literals if self.spot else ()

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
    def new_rate(self) -> float | None:
        """The rate that is expected of new images, if it is another than that of the tested ones."""
        return self.spot.new_rate if self.spot else None

    @property
    def class_rate(self) -> float | None:
        """How often images of the classes of its condition are wrong, in their shares; None if it is not known."""
        return self.spot.class_rate if self.spot else None

    @property
    def doubted(self) -> bool:
        """Whether it may be the network's answer under another name."""
        return self.spot is not None and self.spot.doubted

    @property
    def of_values(self) -> str:
        """The rate of each value of a category of which it leaves out one (see `WeakSpot.of_values`)."""
        return self.spot.of_values if self.spot else ""

    @property
    def takes(self) -> bool:
        """Whether other reasons are compared given it."""
        return self.spot is not None and takes(self.spot)

    def holds(self, columns: Mapping[str, np.ndarray], regions: np.ndarray) -> np.ndarray | None:
        """Of which images it holds: bool of shape (n_images,); None if its condition is not known of them.

        Parameters
        ----------
        columns : mapping of str to ndarray of shape (n_images,)
            What is known of the images.
        regions : ndarray of shape (n_images,), int
            The RCC in whose region each image lies.
        """
        if not self.spot:
            return regions == self.rcc
        return hold(self.literals, columns, len(regions)) if are_known(self.literals, columns) else None

    @property
    def fails_more(self) -> bool:
        """Whether the DNN fails more often there than expected, beyond chance."""
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
    """All reasons in the order of `KINDS`, each kind by failures in excess.

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
    """By kind, and by failures in excess; as long as these are not known, by failing images."""
    held = Counter(itertools.chain(*(set(one.images) for one in reasons if one.kind == LISTED)))
    pictured = []
    for one in reasons:
        alone = (image for image in one.images if held[image] <= 1)
        pictured.append(one._replace(picture=next(alone, next(iter(one.images), ""))))
    return sorted(pictured, key=lambda one: (KINDS.index(one.kind), -one.excess, -len(one.images)))


def folded(listed: Sequence[Reason]) -> dict[str, str]:
    """By the name of each reason that is not shown one by one, what it is folded under: the same text for all of it."""
    noun = {CHANCE: "that may be chance", INSIDE: "inside these reasons", UNDECIDED: "not known to fail more often"}
    reasons = [one for one in listed if one.kind == LISTED]
    within = _within(reasons)
    inner = Counter(within.values())
    titles = {one.name: one.title for one in reasons}
    texts = {name: f"{inner[outer]} within {titles[outer]}" for name, outer in within.items()}
    more = [one for one in reasons if one.name not in within][MOST_OPEN:]
    texts |= {one.name: f"{len(more)} more" for one in more}
    for kind, what in noun.items():
        of_kind = [one for one in listed if one.kind == kind]
        texts |= {one.name: f"{len(of_kind)} {what}" for one in of_kind}
    return texts


def _within(reasons: Sequence[Reason]) -> dict[str, str]:
    """By the name of each reason that adds little to another one, the name of that: most of its images lie in it.

    Parameters
    ----------
    reasons : sequence of Reason
        In the order of the list.
    """
    images, found = {one.name: {*one.images} for one in reasons}, dict[str, str]()
    for place, one in enumerate(reasons):
        for other in reasons[:place]:
            lies = len(images[one.name] & images[other.name]) >= NEARLY_ALL * len(images[one.name]) > 0
            if lies and other.name not in found and one.excess < ADDS * other.excess:
                found[one.name] = other.name
                break
    return found


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


def baseline(listed: Sequence[Reason], base: float, tested: int, rest: tuple[int, int], noun: str = "image") -> str:
    """How many images are wrong, and how many where none of the reasons holds.

    Parameters
    ----------
    tested : int
        All tested images.
    rest : tuple of int
        Wrong and all images for which no reason holds, as in `Reasons.where_none_holds`; zeros if that is not known.
    noun : str
        As of `dnn.tested.AnsweredImages.noun`.
    """
    # Of which right images a word holds is not known.
    n = sum(reason.kind == LISTED and not (reason.figures and reason.figures.answers) for reason in listed)
    every = f"{rate_text(base)} of all {count(tested, f'test {noun}')} are wrong"
    if not n or not rest[1]:
        return every
    which = "this reason does not hold" if n == 1 else f"none of these {n} reasons holds"
    return f"{every}, {rate_text(rest[0] / rest[1])} where {which}"


# --- Of a test set alone ------------------------------------------------------------------------------------------

HOLDS_FILE = "holds.npz"  # of a run: for which tested images each weak spot holds


class FailureReasons(NamedTuple):
    """Why a network fails on its test set, as far as this is known without grouping its failures.

    Attributes
    ----------
    spots : tuple of WeakSpot or None
        None if all answers are right or wrong, or they could not be searched.
    notes : tuple of str
        Sentences on what could not be used.
    curves : tuple of Bin
        As in `reasons.comparison.Reasons`.
    images : mapping of str to tuple of str
        By the conditions of a weak spot, the tested images for which it holds; empty if that is not known.
    listed : tuple of Reason
        The same as a list of reasons, in its order and with notes, if `ungrouped_reasons` has given them.
    """

    spots: tuple[WeakSpot, ...] | None
    notes: tuple[str, ...]
    curves: tuple[Bin, ...] = ()
    images: Mapping[str, tuple[str, ...]] = MappingProxyType({})
    listed: tuple[Reason, ...] = ()


def found_before(out: Path, fact: str, value: str) -> FailureReasons | None:
    """Those of the last run of which a fact has this value; None if there is none, or it is damaged."""
    for run in runs_with(out, fact, value):
        with contextlib.suppress(SAFEError):
            spots = load_spots(run)
            found = FailureReasons(spots, tuple(run.facts["notes"]))
            with contextlib.suppress(SAFEError), reading_file(run, HOLDS_FILE) as path:
                arrays = read_arrays(path)
                held = (tuple(arrays["paths"][of].tolist()) for of in arrays["holds"])
                images = dict(zip((spot.conditions for spot in spots), held, strict=True))
                found = found._replace(curves=load_curves(run), images=images)
            return found
    return None


def runs_with(out: Path, fact: str, value: str) -> list[Run]:
    """The runs with reasons in which a fact has this value, the newest first."""
    return [run for run in reversed(runs_of(out, REASONS)) if value and run.facts.get(fact) == value]


def collected(out: Path) -> str:
    """The digest of the answers to which failures were collected in a folder; empty if there are none."""
    return (content_of(out / PREDICTIONS_FILE) or b"").hex()


def failure_reasons(out: Path) -> FailureReasons | None:
    """The reasons for the failures collected in a folder; None if there are none."""
    return found_before(out, "predictions", collected(out))


def since_earlier(out: Path, predictions: str | None = None) -> dict[str, Any]:
    """What the answers with a digest are in comparison with those of the analysis before; empty without one.

    By default the answers to which failures were collected in the folder.
    """
    runs = runs_with(out, "predictions", collected(out) if predictions is None else predictions)
    return runs[0].facts.get("earlier", {}) if runs else {}


def ungrouped_reasons(answered: AnsweredImages, out: Path) -> FailureReasons | None:
    """As `failure_reasons`, with the list of reasons."""
    found = failure_reasons(out)
    if found is None:
        return None
    wrong = {path for path, right in zip(answered.paths, answered.right.tolist(), strict=True) if not right}
    spots = found.spots or ()
    failing = [[image for image in found.images.get(spot.conditions, ()) if image in wrong] for spot in spots]
    listed = with_notes(ungrouped(spots, failing), {}, notes_of_run(out, spots), folder_tested(out))
    return found._replace(listed=tuple(listed))
