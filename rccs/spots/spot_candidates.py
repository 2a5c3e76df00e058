"""Improvement images in weak spots: for which of them a weak spot's conditions hold, and the nearest of these.

In: weak spots with their failing images, and improvement images as points. Out: the images to take for each weak spot.
A weak spot may hold what an RCC cannot: images that do not look alike, but fail for the same reason. Used by
`selection.py`.

Improvement images have no label, so not all conditions can be checked. One on a recorded parameter can if there is a
table of the improvement images' parameters, one on what SAFE measures always, and one on the predicted class with the
model. Those that cannot be checked are left out, and a weak spot without any other as well.
"""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from features.attributes import ATTRIBUTES
from rccs.clusters import RootCauseClusters
from rccs.dbscan.neighbours import Points
from rccs.parameters import find_parameters, numbers_of, read_texts
from rccs.projected import attributes_of
from rccs.spots.conditions import Literal
from rccs.spots.weak_spots import WeakSpot
from rccs.unsafe_set import UnsafeImage
from support.errors import SAFEError
from support.images import ImageListing
from support.text import printable, some

LABEL, PREDICTED = "label", "predicted"
RECORDED, MEASURED = "recorded", "measured"
SLACK = 1000  # candidates kept beyond twice the number wanted: sorting for every image would take too long

Predict = Callable[[Path, Sequence[str]], np.ndarray]
"""The predicted classes of images, given by a folder and paths in it: str of shape (n_images,), empty if unknown."""


class SpotsSought(NamedTuple):
    """Weak spots to select images for.

    Attributes
    ----------
    spots : tuple of WeakSpot
        The most important first.
    images : tuple of ndarray of int
        The failing images in each, as rows of the clusters.
    predict : callable, optional
        Such as `dnn.failure_prediction.FailurePrediction.predicted`.
    within : path, optional
        A table of the improvement images' parameters is only read inside this folder.
    """

    spots: tuple[WeakSpot, ...]
    images: tuple[np.ndarray, ...]
    predict: Predict | None = None
    within: Path | None = None


class SpotCandidates:
    """The `keep` nearest candidates of each weak spot, of any number of images that are added.

    Candidates are improvement images for which all of its conditions hold that can be checked. Near means near to the
    core points among its failing images; if there are none, to these images.

    Parameters
    ----------
    sought : SpotsSought
    clusters : RootCauseClusters
    listing : ImageListing
        All improvement images.
    keep : int
    leave_out : collection of int
        RCCs whose candidates are not taken for a weak spot either.

    Raises
    ------
    SAFEError
        The table of parameters cannot be read, or nothing can be checked of any weak spot.
    """

    def __init__(
        self,
        sought: SpotsSought,
        clusters: RootCauseClusters,
        listing: ImageListing,
        *,
        keep: int,
        leave_out: Collection[int] = (),
    ):
        self._sought, self._root, self._keep, self._leave_out = sought, listing.root, keep, set(leave_out)
        self._row = {path: row for row, path in enumerate(listing.paths)}
        asked = {literal.column for spot in sought.spots for literal in spot.literals}
        source = find_parameters(listing.root, within=sought.within)
        texts = read_texts(source, listing.root, listing.paths) if source else {}
        self._texts = {name: texts[name] for name in asked - {LABEL, PREDICTED} if any(texts.get(name, ()))}
        # For each weak spot, its conditions by what they are checked with, "" if they cannot be
        self._by_source: list[dict[str, list[Literal]]] = []
        for spot, rows in zip(sought.spots, sought.images, strict=True):
            by_source: dict[str, list[Literal]] = {}
            for literal in spot.literals:
                by_source.setdefault(self._known_by(literal, clusters, rows), []).append(literal)
            self._by_source.append(by_source)
        self._used = [i for i, by in enumerate(self._by_source) if len(sought.images[i]) and by.keys() - {""}]
        if not self._used:
            raise SAFEError(
                "Expected a weak spot whose conditions can be checked on improvement images. Received none: neither "
                f"recorded nor measured of them is what `{printable(sought.spots[0].where)}` asks for. Put a "
                "parameters.csv about them into their folder, give the model, or select without weak spots."
            )
        self._points = {}
        for i in self._used:
            cores = sought.images[i][clusters.is_core[sought.images[i]]]
            rows = cores if len(cores) else sought.images[i]
            self._points[i] = Points(np.unique(clusters.points[rows], axis=0))
        self._kept: dict[int, list[tuple[float, UnsafeImage]]] = {i: [] for i in self._used}
        self._taken: dict[int, int] = {}

    def _known_by(self, literal: Literal, clusters: RootCauseClusters, rows: np.ndarray) -> str:
        """What a condition can be checked with; empty if nothing is."""
        if literal.column in (LABEL, PREDICTED):
            return PREDICTED if literal.column == PREDICTED and self._sought.predict else ""
        if literal.column in self._texts:
            return RECORDED
        # A parameter may have the name of an attribute. It is what was measured only if that is so in the weak spot's
        # failing images, for all of which the condition holds.
        if literal.column in ATTRIBUTES and clusters.attributes is not None:
            column = clusters.attributes[rows, ATTRIBUTES.index(literal.column)].astype(np.float64)
            return MEASURED if literal.holds(column).all() else ""
        return ""

    def add(self, images: Sequence[UnsafeImage], points: np.ndarray) -> None:
        """Add improvement images, with their RCCs, and as points of the projection."""
        rows = [row for row, image in enumerate(images) if image.rcc not in self._leave_out]
        images, points = [images[row] for row in rows], points[rows]
        held = self._holds([image.image for image in images])
        for i, holds in zip(self._used, held, strict=True):
            # Rounded as in selection: further digits depend on an image's place in its batch.
            distances = self._points[i].nearest_to(points[holds])[1].astype(float).round(5)
            at = np.flatnonzero(holds)
            self._kept[i] += [(d, images[row]) for d, row in zip(distances.tolist(), at.tolist(), strict=True)]
            if len(self._kept[i]) >= 2 * self._keep + SLACK:
                self._kept[i] = self._best(i)

    def _best(self, i: int) -> list[tuple[float, UnsafeImage]]:
        return sorted(self._kept[i], key=lambda pair: (pair[0], pair[1].image))[: self._keep]

    def _holds(self, paths: list[str]) -> np.ndarray:
        """For which images each weak spot holds: bool of shape (n_used, n_images).

        What takes long is found out only of images for which all else holds.
        """
        held = np.ones((len(self._used), len(paths)), bool)
        for source in (RECORDED, MEASURED, PREDICTED):
            literals = [self._by_source[i].get(source, []) for i in self._used]
            asking = np.array([bool(each) for each in literals])
            rows = np.flatnonzero(held[asking].any(axis=0))
            if not len(rows):
                continue
            some_paths = [paths[row] for row in rows.tolist()]
            columns = self._columns(source, {literal.column for each in literals for literal in each}, some_paths)
            for at, each in enumerate(literals):
                for literal in each:
                    column = columns[literal.column]
                    if source == RECORDED and not isinstance(literal.value, str):
                        column = numbers_of(column.tolist())
                    held[at, rows] &= literal.holds(column)
        return held

    def _columns(self, source: str, names: Collection[str], paths: list[str]) -> dict[str, np.ndarray]:
        """What is known of images from one source; recorded values are texts."""
        if source == MEASURED:
            return attributes_of(names, self._root, paths)  # cached since extraction
        if source == PREDICTED and self._sought.predict:
            return {PREDICTED: self._sought.predict(self._root, paths)}
        places = [self._row[path] for path in paths]
        return {name: np.array([self._texts[name][place] for place in places], str) for name in names}

    def choose(self, n: int) -> list[UnsafeImage]:
        """Take n images, fewer if there are no more: weak spots take turns, each with the nearest that is left.

        Parameters
        ----------
        n : int
            At most `keep`: of so many candidates, the others cannot have taken all.

        Returns
        -------
        list of UnsafeImage
            Each with the weak spot as its reason, and the RCC of its nearest core point.
        """
        waiting = {i: iter(self._best(i)) for i in self._used}
        chosen: dict[str, UnsafeImage] = {}
        self._taken = dict.fromkeys(self._used, 0)
        while waiting and len(chosen) < n:
            for i in list(waiting):
                if len(chosen) == n:
                    break
                image = next((own for _, own in waiting[i] if own.image not in chosen), None)
                if image is None:
                    del waiting[i]
                else:
                    chosen[image.image] = image._replace(reason=self._sought.spots[i].where)
                    self._taken[i] += 1
        return list(chosen.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences: how many images were taken for each weak spot, and which conditions were not checked."""
        each = ", ".join(f"{n:,} for weak spot {i + 1}" for i, n in self._taken.items())
        notes = [f"{sum(self._taken.values()):,} selected by weak spots: {each}"]
        texts = [f"{literal} (weak spot {i + 1})" for i in self._used for literal in self._by_source[i].get("", [])]
        if texts:
            notes.append(f"not checked, since unknown of improvement images: {printable(some(texts))}")
        left = [f"{i + 1}, {spot.where}" for i, spot in enumerate(self._sought.spots) if i not in self._used]
        if left:
            notes.append(f"weak spots of which nothing can be checked are left out: {printable(some(left))}")
        return tuple(notes)
