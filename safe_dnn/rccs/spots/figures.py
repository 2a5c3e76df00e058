"""How often the network is wrong where something holds: one count, whatever it is asked for.

Sets of images and what a model gets wrong in; `Figures` out. Conditions, RCCs, what is found on fresh images,
requirements, and what a later model makes of reasons are these figures, and a small table of verdicts.

What images are compared with decides what is called chance (see `like.py`): here it is given, and the rate of images
like these is *expected* from it: that of each class, weighted as the classes are inside (indirect standardisation).
Each class's rate is drawn to the mean of all by two images, since few images say little.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.groups import Groups, chance_given_class, grouping, in_words, share_for_limit, share_of
from safe_dnn.support.intervals import clopper_pearson, lower_limit, upper_limit
from safe_dnn.support.tables import from_cell
from safe_dnn.support.text import count, range_text, rate_text

DRAWN = 2.0  # images of the mean rate that are added to each class


class Alike(NamedTuple):
    """What images are compared with, like with like.

    Attributes
    ----------
    inside, outside : ndarray of shape (n_images,), bool
        Those that are compared, of which no other reason holds. Where there are none, all are compared.
    classes : ndarray of shape (n_images,), int, or None
        From 0; images are compared within them.
    independent : bool
        Whether they are independent whatever groups there are: all images of one group.
    """

    inside: np.ndarray
    outside: np.ndarray
    classes: np.ndarray | None = None
    independent: bool = False


class Figures(NamedTuple):
    """Images of which something holds, and how often the network is wrong there.

    Attributes
    ----------
    tested, wrong : int
    low, high : float
        95 % interval of the rate.
    groups : int
        Of the tested images; 0 if groups are not known.
    group : str
        What a group is, such as `person`.
    alone, alone_wrong : int
        Images of which no other reason holds, and those of them that are wrong.
    like : float
        The rate that it is compared with, that of images like these; NaN without.
    p : float
        How likely as many are wrong if what holds does not matter; 1 if it is not compared.
    worth : float
        The share of independent images that the tested ones are worth (see `rccs.spots.groups`).
    answers : int
        Of a person, from which all figures are estimated (see `words.rates`); 0 if they were counted.
    estimate : float
        The rate by answers.
    """

    tested: int
    wrong: int
    low: float = 0.0
    high: float = 1.0
    groups: int = 0
    group: str = ""
    alone: int = 0
    alone_wrong: int = 0
    like: float = math.nan
    p: float = 1.0
    worth: float = 1.0
    answers: int = 0
    estimate: float = math.nan

    @property
    def rate(self) -> float:
        """Share of the tested images that are wrong; NaN if there are none. By answers, it is estimated."""
        if self.answers:
            return self.estimate
        return self.wrong / self.tested if self.tested else math.nan

    @property
    def n_groups(self) -> int | None:
        """None if groups are not known."""
        return self.groups or None

    def limits(self, confidence: float) -> tuple[float, float]:
        """Above the first and below the second of which the rate lies with this confidence, each on its own."""
        effective = self.worth * self.wrong, self.worth * self.tested
        return lower_limit(*effective, confidence), upper_limit(*effective, confidence)

    @property
    def cells(self) -> dict[str, object]:
        """For tables, by the name of the column; None where nothing is known."""
        known = {**self._asdict(), "rate": self.rate, "groups": self.n_groups}
        return known | (dict.fromkeys(("alone", "alone_wrong")) if math.isnan(self.like) else {})

    @property
    def interval(self) -> str:
        """For example `79–93%`."""
        return range_text(self.low, self.high)

    def images(self, noun: str = "image") -> str:
        """For example `540 images (of 18 persons)`."""
        return f"{count(self.tested, noun)}{self.of_groups}"

    @property
    def of_groups(self) -> str:
        """See `groups.in_words`."""
        return in_words(self.groups, self.group)

    @property
    def wrong_of_tested(self) -> str:
        """For example `98 of 120`, and what the two numbers are from."""
        about, by = ("about ", f" (by {count(self.answers, 'answer')})") if self.answers else ("", "")
        return f"{about}{self.wrong:,} of {self.tested:,}{self.of_groups}{by}"

    @property
    def compared(self) -> str:
        """For example `, 1% of comparable images`; empty without."""
        images = "other" if self.answers else "comparable"
        return "" if math.isnan(self.like) else f", {rate_text(self.like)} of {images} images"


def row_of(figures: Figures | None) -> tuple[float | None, ...]:
    """Tested and wrong images, and the rate with its interval; None where nothing is known."""
    return (*figures[:2], figures.rate, *figures[2:4]) if figures else (None,) * 5


def figures_in(row: Mapping[str, str]) -> Figures:
    """Figures from the cells of a table; ValueError if they are damaged."""
    tested, wrong, groups, alone, alone_wrong = (
        int(row.get(name) or 0) for name in ("tested", "wrong", "groups", "alone", "alone_wrong")
    )
    low, high, like = (float(cell) if (cell := row.get(name)) else math.nan for name in ("low", "high", "like"))
    return Figures(tested, wrong, low, high, groups, from_cell(row.get("group") or ""), alone, alone_wrong, like)


def assess(
    held: Iterable[np.ndarray], wrong: np.ndarray, groups: Groups | None = None, *, like: Sequence[Alike] = (),
    for_new: bool = True,
) -> list[Figures]:  # fmt: skip
    """Count sets of images.

    Parameters
    ----------
    held : iterable of ndarray of shape (n_images,), bool
        The images of each set.
    wrong : ndarray of shape (n_images,), bool
    groups : Groups, optional
        Of images that are not independent.
    like : sequence of Alike, optional
        What each is compared with.
    for_new : bool
        Whether limits are claimed of new images, of which few wrong ones say little (see `share_for_limit`).
    """
    of, correlation = grouping(groups, wrong)
    share, name, figures = share_for_limit if for_new else share_of, groups.name if groups else "", list[Figures]()
    for at, holds in enumerate(held):
        worth = share(of[holds], wrong[holds], correlation) if holds.any() else 1.0
        tested, failing = int(holds.sum()), int((holds & wrong).sum())
        low, high = map(float, clopper_pearson(np.array(worth * failing), np.array(worth * tested)))
        n_groups = len(np.unique(of[holds])) if groups else 0
        figures.append(Figures(tested, failing, low, high, n_groups, name, worth=worth))
        if at < len(like):
            inside, outside, classes, independent = like[at]
            here, there = inside if inside.any() else holds, outside if outside.any() else ~holds
            figures[-1] = figures[-1]._replace(
                alone=int(inside.sum()), alone_wrong=int((inside & wrong).sum()),
                like=expected_rate(wrong, here, there, classes),
                p=chance_of(wrong, here, here | there, classes, None if independent or not groups else of),
            )  # fmt: skip
    return figures


def chance_of(
    wrong: np.ndarray, here: np.ndarray, among: np.ndarray, classes: np.ndarray | None, groups: np.ndarray | None
) -> float:
    """How likely as many images are wrong here, among some, if within classes and groups the place does not matter."""
    if not (here & among).any() or not (wrong & among).any():
        return 1.0
    strata = np.zeros(len(wrong), int) if classes is None else classes
    some = strata[among], wrong[among], here[None, among]
    units = (None,) if groups is None else (None, groups[among])
    return max(float(chance_given_class(*some, each)[0]) for each in units)


def expected_rate(
    wrong: np.ndarray, inside: np.ndarray, outside: np.ndarray, classes: np.ndarray | None = None
) -> float:
    """How often images like those inside are wrong outside: of each class, weighted as inside; NaN if none is outside.

    Parameters
    ----------
    wrong, inside, outside : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int, optional
        From 0.
    """
    if not outside.any():
        return math.nan
    mean = float(wrong[outside].mean())
    if classes is None or not inside.any():
        return mean
    n = int(classes.max()) + 1
    sizes, failing = (np.bincount(classes[rows], minlength=n) for rows in (outside, outside & wrong))
    rates = (failing + DRAWN * mean) / (sizes + DRAWN)
    return float(rates[classes[inside]].mean())
