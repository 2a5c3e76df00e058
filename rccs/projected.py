"""Images that were not clustered, as points beside those that were. Their features in, points of the projection out.

What was set aside from the failing images, a recorded parameter or a measured attribute, is set aside from these as
well, as far as it is known of them: in a column of the kind that it had when the clusters were found.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from features.attributes import ATTRIBUTES, measured_images
from features.batches import FeatureBatch
from rccs.dbscan.projection import Projection
from rccs.dbscan.set_aside import CATEGORY, Nuisance, SetAside
from rccs.parameters import find_parameters, numbers_of, read_texts
from support.entries import StrPath
from support.images import ImageListing, Skipped
from support.progress import Progress, no_progress
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
        columns = nuisance_columns(self._what, self._root, paths, recorded, progress=no_progress)
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


def attributes_of(
    names: Collection[str], root: Path, paths: Sequence[str], *, progress: Progress = no_progress
) -> dict[str, np.ndarray]:
    """Those of `names` that SAFE measures, as columns; images are only read if there are any."""
    wanted = [name for name in ATTRIBUTES if name in names]
    if not wanted:
        return {}
    rows = measured_images(root, paths, progress=progress)
    return {name: rows[:, ATTRIBUTES.index(name)].astype(np.float64) for name in wanted}


def recorded_texts(
    what: SetAside, root: Path, paths: Sequence[str], *, parameters: StrPath | None
) -> dict[str, list[str]]:
    """The recorded values of nuisances, as texts; a nuisance of which nothing is recorded is left out.

    Raises
    ------
    SAFEError
        The table cannot be read.
    """
    texts = read_texts(parameters, root, paths) if parameters else {}
    return {name: texts[name] for name in what.names if any(texts.get(name, ()))}


def nuisance_columns(
    what: SetAside, root: Path, paths: Sequence[str], recorded: Mapping[str, Sequence[str]], *, progress: Progress
) -> dict[str, np.ndarray]:
    """A column for each nuisance: recorded if it is, otherwise measured, or else unknown.

    Parameters
    ----------
    recorded : mapping of str to sequence of str
        Of the same images, where they are known.

    Raises
    ------
    SAFEError
        The cache of measured attributes cannot be used.
    """
    measured = attributes_of(set(what.names) - set(recorded), root, paths, progress=progress)
    columns = {}
    for factor in what.factors:
        texts = recorded.get(factor.name, [""] * len(paths))
        typed = np.array(texts, str) if factor.kind == CATEGORY else numbers_of(texts)
        columns[factor.name] = measured[factor.name] if factor.name in measured and factor.kind != CATEGORY else typed
    return columns
