"""How often the network is wrong where something holds: one count, whatever it is asked for.

Sets of images and what a model gets wrong in; `Figures` out. What is found on fresh images, requirements, and what a
later model makes of reasons are these figures, and a small table of verdicts.
"""

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.spots.groups import Groups, chance_given_class, grouping, in_words, share_for_limit, share_of
from safe_dnn.rccs.spots.like import expected_rate
from safe_dnn.support.intervals import clopper_pearson, lower_limit, upper_limit
from safe_dnn.support.text import count


class Alike(NamedTuple):
    """What images are compared with, like with like.

    Attributes
    ----------
    inside, outside : ndarray of shape (n_images,), bool
        Those that are compared, of which no other reason holds.
    classes : ndarray of shape (n_images,), int, or None
        Within which they are compared.
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
    worth : float
        The share of independent images that the tested ones are worth (see `rccs.spots.groups`).
    groups : int or None
        Of the tested images; None if groups are not known.
    group : str
    like : float
        The rate that it is compared with, that of images like these; NaN without.
    p : float
        How likely as many are wrong if what holds does not matter; 1 if it is not compared.
    """

    tested: int
    wrong: int
    worth: float = 1.0
    groups: int | None = None
    group: str = ""
    like: float = math.nan
    p: float = 1.0

    @property
    def rate(self) -> float | None:
        """None if there are no such images."""
        return self.wrong / self.tested if self.tested else None

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the rate."""
        low, high = clopper_pearson(np.array(self.worth * self.wrong), np.array(self.worth * self.tested))
        return float(low), float(high)

    @property
    def low(self) -> float:
        """The lower end of the interval."""
        return self.interval[0]

    @property
    def high(self) -> float:
        """The upper end of the interval."""
        return self.interval[1]

    def limits(self, confidence: float) -> tuple[float, float]:
        """Above the first and below the second of which the rate lies with this confidence, each on its own."""
        effective = self.worth * self.wrong, self.worth * self.tested
        return lower_limit(*effective, confidence), upper_limit(*effective, confidence)

    def images(self, noun: str = "image") -> str:
        """For example `540 images (of 18 persons)`."""
        return f"{count(self.tested, noun)}{in_words(self.groups or 0, self.group)}"


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
    share, name, found = share_for_limit if for_new else share_of, groups.name if groups else "", list[Figures]()
    for at, holds in enumerate(held):
        worth = share(of[holds], wrong[holds], correlation) if holds.any() else 1.0
        counts = int(holds.sum()), int((holds & wrong).sum())
        found.append(Figures(*counts, worth, len(np.unique(of[holds])) if groups else None, name))
        if at < len(like):
            inside, outside, classes, independent = like[at]
            rows, strata = inside | outside, np.zeros(len(wrong), int) if classes is None else classes
            drawn = strata[rows], wrong[rows], inside[None, rows]
            units = (None,) if independent or not groups else (None, of[rows])
            p = max(float(chance_given_class(*drawn, each)[0]) for each in units) if rows.any() else 1.0
            found[-1] = found[-1]._replace(like=expected_rate(wrong, inside, outside, classes), p=p)
    return found
