"""What RCCs tell of right and wrong that the class does not tell.

It is measured on unseen halves of the test set: rates of the RCCs' regions and of classes are counted in one half, and
what they tell of right and wrong in the other one, as a share of the entropy there. Rates of few images are drawn to
that of their class, or of all. Below zero, what is seen in one half misleads in the other.
"""

from typing import NamedTuple

import numpy as np

HALVINGS = 10  # in both directions
ENOUGH = 0.75  # of what the others tell: RCCs by looks that tell as much are taken, since anybody sees what they are
NOTHING_TOLD = 0.01  # of the entropy: less is chance
DRAWN = 4  # images of the rate that a cell's rate is drawn to


class Told(NamedTuple):
    """What RCCs tell of right and wrong beyond the class, as a share of the entropy.

    Attributes
    ----------
    apart : float
        Those by what sets failing images apart from right ones.
    looks : float
        Those by looks alone, as in the paper.
    is_apart : bool
        Whether images are grouped by what sets them apart, rather than by looks.
    """

    apart: float
    looks: float
    is_apart: bool

    @classmethod
    def chosen(cls, apart: float, looks: float) -> "Told":
        """What is taken: looks, unless they tell much less."""
        return cls(apart, looks, looks < ENOUGH * apart and apart >= NOTHING_TOLD)

    @property
    def is_nothing(self) -> bool:
        """Whether neither tells anything."""
        return max(self.apart, self.looks) < NOTHING_TOLD

    @property
    def text(self) -> str:
        """A sentence on what was taken, and what it tells."""
        if self.is_nothing:
            return (
                "Looks tell nothing of right and wrong beyond the class: these RCCs are what failing images look like, "
                "hardly why they fail."
            )
        both = (self.apart, self.looks) if self.is_apart else (self.looks, self.apart)
        taken, other = (f"{max(100 * share, 0):.0f}" for share in both)
        points = "1 point" if taken == "1" else f"{taken} points"
        if self.is_apart:
            return (
                f"Grouped by what sets failing images apart from right ones: these RCCs tell {points} of right and "
                f"wrong beyond the class (by looks alone: {other})."
            )
        return (
            f"Grouped by looks, as in the paper: these RCCs tell {points} of right and wrong beyond the class (by what "
            f"sets failing images apart from right ones: {other})."
        )


def told_beyond_class(
    of_region: np.ndarray, classes: np.ndarray, wrong: np.ndarray, units: np.ndarray | None = None
) -> float:
    """The share of the entropy of right and wrong that RCCs tell beyond the class.

    Parameters
    ----------
    of_region : ndarray of shape (n_images,), int
        In whose region each tested image lies (see `rccs.spots.rates.regions`).
    classes : ndarray of shape (n_images,)
    wrong : ndarray of shape (n_images,), bool
    units : ndarray of shape (n_images,), int, optional
        As of `share_told`.
    """
    of_class = np.unique(classes, return_inverse=True)[1]
    both = np.unique(np.column_stack([of_region, of_class]), axis=0, return_inverse=True)[1].ravel()
    return share_told(both, wrong, units, of_class) - share_told(of_class, wrong, units)


def share_told(
    cells: np.ndarray, wrong: np.ndarray, units: np.ndarray | None = None, within: np.ndarray | None = None
) -> float:
    """The share of the entropy of right and wrong in one half that rates of cells in the other half tell.

    Parameters
    ----------
    cells : ndarray of shape (n_images,), int
        From 0.
    wrong : ndarray of shape (n_images,), bool
    units : ndarray of shape (n_images,), int, optional
        From 0; no unit is in both halves.
    within : ndarray of shape (n_images,), int, optional
        From 0: coarser cells, to whose rate that of each cell is drawn.
    """
    units = np.arange(len(wrong)) if units is None else units
    rng, shares = np.random.default_rng(0), list[float]()
    for _ in range(HALVINGS):
        first = (rng.permutation(int(units.max(initial=0)) + 1) % 2 == 0)[units]
        for here, there in ((first, ~first), (~first, first)):
            if not (wrong[here].any() and not wrong[here].all() and there.any()):
                continue
            base = np.full(len(wrong), wrong[here].mean())
            drawn_to = base if within is None else _rates(within, wrong, here, base)
            shares.append(1 - _loss(_rates(cells, wrong, here, drawn_to), wrong, there) / _loss(base, wrong, there))
    return float(np.mean(shares)) if shares else 0.0


def _rates(cells: np.ndarray, wrong: np.ndarray, here: np.ndarray, drawn_to: np.ndarray) -> np.ndarray:
    """The rate of each image's cell, counted in a part of the images."""
    n = int(cells.max()) + 1
    tested, failing = (np.bincount(cells[rows], minlength=n)[cells] for rows in (here, here & wrong))
    return (failing + DRAWN * drawn_to) / (tested + DRAWN)


def _loss(rates: np.ndarray, wrong: np.ndarray, there: np.ndarray) -> float:
    """The mean surprise, in nats, at what is right and wrong in a part of the images."""
    return float(-np.log(np.where(wrong, rates, 1 - rates)[there]).mean())
