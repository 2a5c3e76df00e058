"""Which images are asked so that a rate follows: a stratified random sample, drawn in rounds.

Once the probe has been taught, all images that were not asked yet are put into strata, by its score and by whether the
network is right, and each stratum into a random order. That is the frame, which stays as it is. What is drawn of a
stratum is the beginning of its order, so that any image of it is drawn with the same chance, which is known, whatever
the probe is worth. Only how many are drawn of each depends on the answers: more where they differ and where it matters
for the rate (Neyman's allocation, with what is known so far).

Strata grow by `GROWTH` from the highest scores on: few images have a word, and those that hardly do are many.

Source: Särndal, Swensson & Wretman, "Model Assisted Survey Sampling", 1992, chapters 3 and 12.
"""

from typing import NamedTuple

import numpy as np

STRATA = 4  # by score, of wrong images and of right ones each
GROWTH = 4
LEAST = 4  # images drawn of each stratum before more are drawn of any
DRAWN_TO_ALL = 8  # answers that the rate of a stratum is drawn to that of all with, for the allocation
FLOOR = 0.05  # added to the standard deviation of a stratum: none is known to be all alike
CHOSEN = -1  # the stratum of images that were asked before the frame was made
NO, YES, UNSURE, UNTAGGED = 0, 1, 2, -1
"""What is known of an image."""


class Frame(NamedTuple):
    """The images of a test set that may be asked.

    Attributes
    ----------
    wrong : ndarray of shape (n_images,), bool
        Whether the network gets them wrong.
    stratum : ndarray of shape (n_images,), int
        From 0; `CHOSEN` if the image was asked before.
    place : ndarray of shape (n_images,), int
        From 0, in the random order of the stratum; 0 if chosen.
    """

    wrong: np.ndarray
    stratum: np.ndarray
    place: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Images in each stratum."""
        return np.bincount(self.stratum[self.stratum != CHOSEN])

    @property
    def of_wrong(self) -> np.ndarray:
        """Whether each stratum is one of wrong images."""
        return np.bincount(self.stratum[(self.stratum != CHOSEN) & self.wrong], minlength=len(self.sizes)) > 0

    def counts(self, tags: np.ndarray) -> np.ndarray:
        """The answers that count: of chosen images, and of each stratum's beginning without a gap; bool."""
        gap = np.append(self.sizes, 0)  # the last is that of `CHOSEN`
        open_rows = (tags == UNTAGGED) & (self.stratum != CHOSEN)
        np.minimum.at(gap, self.stratum[open_rows], self.place[open_rows])
        return (tags != UNTAGGED) & ((self.stratum == CHOSEN) | (self.place < gap[self.stratum]))

    def drawn(self, counts: np.ndarray) -> np.ndarray:
        """How many of some images each stratum has: those that were drawn, or those of them that have the word."""
        return np.bincount(self.stratum[counts & (self.stratum != CHOSEN)], minlength=len(self.sizes))


def make_frame(scores: np.ndarray, wrong: np.ndarray, known: np.ndarray, seed: int) -> Frame:
    """Put images into strata, in random order.

    Parameters
    ----------
    scores : ndarray of shape (n_images,), float
    wrong, known : ndarray of shape (n_images,), bool
        `known`: whether they were asked already.
    seed : int
    """
    rng, n = np.random.default_rng(seed), len(scores)
    stratum, place, number = np.full(n, CHOSEN), np.zeros(n, int), 0
    shares = np.cumsum(float(GROWTH) ** np.arange(STRATA))
    for which in (True, False):
        rows = rng.permutation(np.flatnonzero(~known & (wrong == which)))  # ties at random
        rows = rows[np.argsort(-scores[rows], kind="stable")]
        ends = np.round(shares / shares[-1] * len(rows)).astype(int)
        for part in np.split(rows, ends[:-1]):
            if len(part):
                stratum[part], place[rng.permutation(part)] = number, np.arange(len(part))
                number += 1
    return Frame(wrong, stratum, place)


def next_drawn(frame: Frame, tags: np.ndarray, number: int) -> np.ndarray:
    """The next images to ask, as rows: gaps first, then by the allocation; fewer if there are no more.

    Parameters
    ----------
    tags : ndarray of shape (n_images,), int
        `NO`, `YES`, `UNSURE` or `UNTAGGED`; unsure counts as half.
    """
    sizes, counts = frame.sizes, frame.counts(tags)
    n, yes = frame.drawn(counts), frame.drawn(counts & (tags == YES)) + frame.drawn(counts & (tags == UNSURE)) / 2
    pooled = (yes.sum() + 0.5) / (n.sum() + 1) if n.sum() else 0.3
    share = (yes + DRAWN_TO_ALL * pooled) / (n + DRAWN_TO_ALL)
    chosen = (frame.stratum == CHOSEN) & (tags == YES)
    totals = [share[which] @ sizes[which] for which in (frame.of_wrong, ~frame.of_wrong)]
    totals = [total + (chosen & (frame.wrong == w)).sum() for total, w in zip(totals, (True, False), strict=True)]
    rate = np.clip(totals[0] / max(sum(totals), 1e-9), 0.1, 0.9)
    # The variance of the rate, wrong / (wrong + right), by those of both
    spread = sizes * (np.sqrt(share * (1 - share)) + FLOOR) * np.where(frame.of_wrong, 1 - rate, rate)
    wanted = n.copy()
    for _ in range(min(number, int((sizes - n).sum()))):
        gain = np.where(wanted < np.minimum(LEAST, sizes), np.inf, spread**2 / np.maximum(wanted * (wanted + 1), 1))
        gain[wanted >= sizes] = -1
        wanted[np.argmax(gain + spread / (1 + spread.sum()))] += 1
    drawn = (tags == UNTAGGED) & (frame.stratum != CHOSEN) & (frame.place < wanted[frame.stratum])
    later = np.zeros(len(sizes), int)  # tagged behind a gap, which is asked first
    tagged = (tags != UNTAGGED) & (frame.stratum != CHOSEN)
    np.maximum.at(later, frame.stratum[tagged], frame.place[tagged])
    gaps = (tags == UNTAGGED) & (frame.stratum != CHOSEN) & (frame.place < later[frame.stratum])
    rows = np.flatnonzero(drawn | gaps)
    return rows[np.lexsort((frame.stratum[rows], frame.place[rows], ~gaps[rows]))][:number]
