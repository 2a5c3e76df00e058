"""Images that were not clustered, as points beside those that were. Their features in, points of the projection out.

What was set aside from the failing images is set aside from these as well, as far as it is known of them.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from safe_dnn.features.batches import FeatureBatch
from safe_dnn.rccs.dbscan.projection import Projection
from safe_dnn.rccs.dbscan.set_aside import Nuisance, SetAside, combined
from safe_dnn.rccs.parameters import read_texts
from safe_dnn.support.entries import StrPath
from safe_dnn.support.images import ImageListing, Skipped
from safe_dnn.support.text import count, printable

TOGETHER = 64  # batches that are projected at a time, about 25 MB: a single one is too little work for one call


class Projected(NamedTuple):
    """Some of the images.

    Attributes
    ----------
    points : ndarray of shape (n_paths, n_components), float32
    skipped : list of Skipped
        Images without features.
    """

    paths: list[str]
    points: np.ndarray
    skipped: list[Skipped]


def project(
    batches: Iterator[FeatureBatch], projection: Projection, nuisance_of: Callable[[Sequence[str]], Nuisance] | None
) -> Iterator[Projected]:
    """Images as points, part by part: all of their features at once would take 30 times the memory."""
    while group := list(islice(batches, TOGETHER)):
        paths = [path for batch in group for path in batch.paths]
        features = np.concatenate([batch.features for batch in group])
        # One thread: several would spend more time waiting for each other than computing.
        with threadpool_limits(limits=1):
            points = projection.apply(features, nuisance=nuisance_of(paths) if nuisance_of and paths else None)
        yield Projected(paths, points, [skip for batch in group for skip in batch.skipped])


class Aside:
    """What was set aside from the failing images, to be set aside from others as far as it is recorded of them.

    Parameters
    ----------
    listing : ImageListing
        All of the others: how names in the table are matched depends on which images there are.
    parameters : path, optional
        The table of their recorded parameters.

    Raises
    ------
    SAFEError
        The table cannot be read.
    """

    def __init__(self, aside: SetAside, listing: ImageListing, parameters: StrPath | None) -> None:
        texts = read_texts(parameters, listing.root, listing.paths) if parameters else {}
        column = combined([texts.get(name) or [""] * len(listing.paths) for name in aside.names])
        self._aside, self._of, self._unknown = aside, dict(zip(listing.paths, column.tolist(), strict=True)), 0

    def of(self, paths: Sequence[str]) -> Nuisance:
        """The same for some of the images."""
        column = np.array([self._of[path] for path in paths], str)
        self._unknown += self._aside.unknown(column)
        return Nuisance(self._aside, column)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence if it is not known of some of the images so far."""
        name = printable(" and ".join(self._aside.names))
        told = f"{name} was not set aside in {count(self._unknown, 'image')}, of which it is not known"
        return (told,) if self._unknown else ()
