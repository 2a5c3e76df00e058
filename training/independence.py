"""Whether what proves a retraining is independent of what the network learns from.

In: the images that are learned from, and those that prove what was learned, as sets with names. Out: how many of the
latter are nearly the same as one of the former (see `support/near_duplicates.py`), with examples: they prove less than
they seem to. Images that are the same prove nothing, and are refused.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from support.contents import in_common
from support.errors import SAFEError
from support.near_duplicates import near_duplicates, thumbnails
from support.progress import Progress, no_progress
from support.text import count, printable, some

EXAMPLES = 12  # pairs that are kept, to be looked at


class Overlap(NamedTuple):
    """What two sets of images have in common.

    Attributes
    ----------
    learned, proving : str
        The sets, e.g. `training` and `test`.
    images : int
        Of the proving set.
    alike : int
        Those that are nearly the same as a learned one.
    examples : tuple of (str, str)
        The files of both, the nearest first.
    """

    learned: str
    proving: str
    images: int
    alike: int
    examples: tuple[tuple[str, str], ...] = ()

    @property
    def text(self) -> str:
        """For example `12 of 1,349 test images are nearly the same as training images`."""
        verb = "is" if self.alike == 1 else "are"
        return (
            f"{self.alike:,} of {count(self.images, f'{self.proving} image')} {verb} nearly the same as {self.learned} "
            "images"
        )


def overlaps(
    learned: Mapping[str, Sequence[Path]], proving: Mapping[str, Sequence[Path]], *, progress: Progress = no_progress
) -> tuple[Overlap, ...]:
    """What each learned set has in common with each proving one; only those that have anything.

    Raises
    ------
    SAFEError
        A proving set has images of a learned one.
    """
    same = {(of, by): in_common(tests, files) for of, tests in proving.items() for by, files in learned.items()}
    for (of, by), rows in same.items():
        if rows.any():
            examples = printable(some([str(proving[of][row]) for row in np.flatnonzero(rows).tolist()], limit=2))
            raise SAFEError(
                f"Expected {of} images that the network does not learn, since they would prove nothing. Received "
                f"{count(int(rows.sum()), f'{of} image')} that are {by} images as well, by their content: {examples}. "
                "Remove them from one of the two."
            )
    pictures = {
        name: thumbnails(files, progress=progress, what=f"Reading {name} images")
        for name, files in {**learned, **proving}.items()
    }
    found = []
    for of, tests in proving.items():
        for by, files in learned.items():
            pairs = near_duplicates(pictures[by], pictures[of], progress=progress)
            alike = {pair.second for pair in pairs}
            nearest = sorted(pairs, key=lambda pair: pair.difference)[:EXAMPLES]
            shown = tuple((str(files[pair.first]), str(tests[pair.second])) for pair in nearest)
            found.append(Overlap(by, of, len(tests), len(alike), shown))
    return tuple(one for one in found if one.alike)
