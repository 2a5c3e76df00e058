"""Images that were not clustered, as points beside those that were. Their features in, points of the projection out.

What was set aside from the failing images, a recorded parameter or a measured attribute, is set aside from these as
well, as far as it is known of them: in a column of the kind that it had when the clusters were found.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from safe_dnn.features.attributes import ATTRIBUTES, measured_images
from safe_dnn.features.batches import FeatureBatch
from safe_dnn.rccs.dbscan.projection import Projection
from safe_dnn.rccs.dbscan.set_aside import CATEGORY, Nuisance, SetAside
from safe_dnn.rccs.parameters import numbers_of, read_texts
from safe_dnn.support.entries import StrPath
from safe_dnn.support.images import ImageListing, Skipped
from safe_dnn.support.progress import Progress, no_progress
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
    """What was set aside from the failing images, to be set aside from others as far as it is known of them.

    A nuisance is recorded or, if it is not, measured, or else unknown.

    Parameters
    ----------
    listing : ImageListing
        All of the others: how names in the table are matched depends on which images there are.
    parameters : path, optional
        The table of their recorded parameters.
    known : mapping of str to sequence of str
        What else is known of each of them, such as its class.

    Raises
    ------
    SAFEError
        The table cannot be read.
    """

    def __init__(
        self, what: SetAside, listing: ImageListing, parameters: StrPath | None, **known: Sequence[str]
    ) -> None:
        self._what, self._root = what, listing.root
        self._row = {path: row for row, path in enumerate(listing.paths)}
        texts = {**(read_texts(parameters, listing.root, listing.paths) if parameters else {}), **known}
        self._recorded = {name: texts[name] for name in what.names if any(texts.get(name, ()))}
        self._unknown = dict.fromkeys(what.names, 0)

    def of(self, paths: Sequence[str], *, progress: Progress = no_progress) -> Nuisance:
        """The same for some of the images; a SAFEError if the cache of measured attributes cannot be used."""
        rows = [self._row[path] for path in paths]
        measured = attributes_of(set(self._what.names) - set(self._recorded), self._root, paths, progress=progress)
        columns = {}
        for factor in self._what.factors:
            told = self._recorded.get(factor.name)
            texts = [told[row] for row in rows] if told else [""] * len(rows)
            column = np.array(texts, str) if factor.kind == CATEGORY else measured.get(factor.name, numbers_of(texts))
            columns[factor.name] = column
            self._unknown[factor.name] += int((~factor.known(column)).sum())
        return Nuisance(self._what, columns)

    @property
    def notes(self) -> tuple[str, ...]:
        """A sentence on each nuisance that is not known of some of the images so far."""
        return tuple(
            f"{printable(name)} was not set aside in {count(n, 'image')}, of which it is not known"
            for name, n in self._unknown.items()
            if n
        )


def attributes_of(
    names: Collection[str], root: Path, paths: Sequence[str], *, progress: Progress = no_progress
) -> dict[str, np.ndarray]:
    """Those of `names` that SAFE measures, as columns; images are only read if there are any."""
    wanted = [name for name in ATTRIBUTES if name in names]
    if not wanted:
        return {}
    rows = measured_images(root, paths, progress=progress)
    return {name: rows[:, ATTRIBUTES.index(name)].astype(np.float64) for name in wanted}
