"""Discovery rate and false discovery rate as in SpotCheck (Plumb et al., TMLR 2023).

A hypothesis is a set of test images. It belongs to a blind spot if at least 80 % of it lies in it (precision), and a
blind spot is discovered if the hypotheses that belong to it have at least 80 % of its images together (recall). A
hypothesis that belongs to none is false. The first ten count.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

FIRST = 10
LEAST = 0.8  # precision and recall


class Score(NamedTuple):
    """Of one setting: blind spots, those discovered, hypotheses that count, false ones; and in how many of them.

    `needed` are the hypotheses that it takes, in their order, to discover as many; all if none is discovered. `wasted`
    are the false ones among these.
    """

    blind: int
    discovered: int
    named: int
    false: int
    needed: int
    wasted: int


def score(hypotheses: Sequence[np.ndarray], blind: np.ndarray) -> Score:
    """The score of hypotheses.

    Parameters
    ----------
    hypotheses : sequence of ndarray of shape (n_images,), bool
        The most important first; empty ones do not count.
    blind : ndarray of shape (n_blind, n_images), bool
    """
    first = [held for held in hypotheses if held.any()][:FIRST]
    held = np.array(first, bool).reshape(-1, blind.shape[1])
    belongs = held.astype(float) @ blind.T / np.maximum(held.sum(axis=1, keepdims=True), 1) >= LEAST
    false = ~belongs.any(axis=1)
    discovered = [_discovered(held[:n], belongs[:n], blind) for n in range(len(held) + 1)]
    needed = discovered.index(discovered[-1]) if discovered[-1] else len(held)
    return Score(len(blind), discovered[-1], len(held), int(false.sum()), needed, int(false[:needed].sum()))


def _discovered(held: np.ndarray, belongs: np.ndarray, blind: np.ndarray) -> int:
    shares = (held[own].any(axis=0)[spot].mean() for own, spot in zip(belongs.T, blind, strict=True))
    return sum(bool(share >= LEAST) for share in shares)
