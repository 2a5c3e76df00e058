"""Images that were not clustered, as points beside those that were. Their features in, points of the projection out."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from features.batches import FeatureBatch
from rccs.dbscan.projection import Projection
from rccs.dbscan.set_aside import Nuisance, SetAside
from rccs.parameters import find_parameters
from rccs.spots.known_values import nuisance_columns, recorded_texts
from support.images import ImageListing, Skipped
from support.text import count, printable

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
    batches: Iterator[FeatureBatch],
    projection: Projection,
    nuisance_of: Callable[[Sequence[str]], Nuisance | None] | None = None,
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
    """What was set aside from the failing images, to be set aside from improvement images as far as it is known."""

    def __init__(self, what: SetAside, listing: ImageListing, within: Path | None) -> None:
        self._what, self._root = what, listing.root
        self._row = {path: row for row, path in enumerate(listing.paths)}
        source = find_parameters(listing.root, within=within)
        self._recorded = recorded_texts(what, listing.root, listing.paths, parameters=source)
        self._unknown = dict.fromkeys(what.names, 0)

    def of(self, paths: Sequence[str]) -> Nuisance:
        """The same for some of the images."""
        rows = [self._row[path] for path in paths]
        recorded = {name: [texts[row] for row in rows] for name, texts in self._recorded.items()}
        columns = nuisance_columns(self._what, self._root, paths, recorded)
        for factor in self._what.factors:
            self._unknown[factor.name] += int((~factor.known(columns[factor.name])).sum())
        return Nuisance(self._what, columns)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each nuisance that is not known of some of the images so far."""
        return tuple(
            f"{printable(name)} was not set aside in {count(n, 'image')}, of which it is not known"
            for name, n in self._unknown.items()
            if n
        )
