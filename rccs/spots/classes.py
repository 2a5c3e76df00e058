"""Failing given the class: what makes it likelier than the classes of the images alone would let expect.

Where classes are wrong at different rates, whatever goes with a class goes with failing: pale lesions are wrong because
most of them are of a class that is. In comparison with images of the *same* class this is left out, and a condition
that matters inside one class stands out although the class as a whole is wrong at another rate.

The rate that is *expected* under a condition is that of its images if each class failed there as often as everywhere
(indirect standardisation). The odds of failing are compared within classes (Mantel & Haenszel, J. Natl. Cancer Inst.
22(4), 1959), and the chance of so many failures is that of drawing as many images from each class (see
`groups.chance_within`).
"""

import math
from typing import NamedTuple

import numpy as np

from rccs.spots.groups import chance_within, design_effect, tally


class GivenClass(NamedTuple):
    """Failing under a condition, in comparison with images of the same classes.

    Attributes
    ----------
    expected : float
        The rate that the classes alone would give.
    odds : float
        The odds of failing where the condition holds, over those of images of the same class elsewhere; infinite if
        all are wrong there, None if no class has images of both kinds.
    """

    expected: float
    odds: float | None


def given_class(classes: np.ndarray, wrong: np.ndarray, holds: np.ndarray) -> GivenClass:
    """Compare the images for which a condition holds with others of their classes.

    Parameters
    ----------
    classes : ndarray of shape (n_images,), int
        From 0.
    wrong, holds : ndarray of shape (n_images,), bool
        `holds` of at least one image.
    """
    sizes, failing = np.bincount(classes), np.bincount(classes, wrong)
    there = np.bincount(classes[holds], minlength=len(sizes))
    wrong_there = np.bincount(classes[holds & wrong], minlength=len(sizes))
    with np.errstate(divide="ignore", invalid="ignore"):
        expected = np.nansum(there * failing / sizes) / there.sum()
        right_elsewhere = sizes - failing - (there - wrong_there)
        for_it = np.nansum(wrong_there * right_elsewhere / sizes)
        against = np.nansum((there - wrong_there) * (failing - wrong_there) / sizes)
        odds = float(for_it / against)
    return GivenClass(float(expected), None if math.isnan(odds) else odds)


def chance_given_class(
    classes: np.ndarray, wrong: np.ndarray, holds: np.ndarray, groups: np.ndarray | None = None
) -> float:
    """How likely as many images are wrong where a condition holds, if within each class it does not matter.

    Parameters
    ----------
    classes, wrong, holds
        As for `given_class`.
    groups : ndarray of shape (n_images,), int, optional
        Of images that are not independent. As in `groups.chance_of_more`, the better counts of two comparisons at half
        the error rate: one within groups, and one of so many images as the difference is worth.
    """
    seen = np.array([np.count_nonzero(wrong & holds)])
    if groups is None:
        return _chance(classes, wrong, holds, seen)
    told = tally(groups, wrong)
    there = _counted(groups, holds)
    effect = float(design_effect(there, told, told.correlation)[0])
    cells = classes * (int(groups.max()) + 1) + groups
    return min(2 * min(_chance(classes, wrong, holds, seen, effect), _chance(cells, wrong, holds, seen)), 1.0)


def _chance(of: np.ndarray, wrong: np.ndarray, holds: np.ndarray, seen: np.ndarray, effect: float = 1.0) -> float:
    return float(chance_within(_counted(of, holds), seen, tally(of, wrong), effect)[0])


def _counted(of: np.ndarray, holds: np.ndarray) -> np.ndarray:
    """Images where a condition holds of each group, or class, that has any images: shape (1, n_groups)."""
    return np.bincount(of, holds)[None, np.bincount(of) > 0]
