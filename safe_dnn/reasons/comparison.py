"""Beyond the paper: why the DNN fails, in comparison with the images that it gets right.

RCCs say what failing images look like. If the DNN's answers to its whole test set are known, SAFE also says

- how often the DNN fails on images like those of an RCC, and whether it fails more often than elsewhere
  (`rccs/spots/rates.py`);
- under which conditions it does, in words: weak spots (`rccs/spots/weak_spots.py`);
- how often, over the range of what is known of the images (`rccs/spots/curves.py`).

RCCs and answers in; rates and weak spots out. `api.explaining.explain_failures` writes them to the output folder.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import ImageFeatures, stream_features
from safe_dnn.features.extractor import Extractor
from safe_dnn.rccs.answers import LABEL
from safe_dnn.rccs.clusters import RootCauseClusters, fingerprint
from safe_dnn.rccs.dbscan.contrast import RightImages
from safe_dnn.rccs.dbscan.neighbours import Points
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.parameters import Aside, find_parameters
from safe_dnn.rccs.spots.conditions import of_classes
from safe_dnn.rccs.spots.curves import CURVES_FILE, Bin, curves_text, load_curves
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.rccs.spots.rates import Placed, Rate, among_failing, failure_rates, nearest_failing, regions
from safe_dnn.rccs.spots.weak_spots import WEAK_SPOTS_FILE, WeakSpot, load_spots, spots_text
from safe_dnn.reasons.known import Known, class_names, known_classes
from safe_dnn.reasons.known_groups import KnownGroups, notes_of
from safe_dnn.store.output_folder import Writer
from safe_dnn.store.places import packed, unpacked
from safe_dnn.store.runs import COMPARISON, Run, add_run, present_runs, reading_file
from safe_dnn.support.errors import SAFEError, StrPath
from safe_dnn.support.images import ImageListing
from safe_dnn.support.progress import report_progress
from safe_dnn.support.text import count, rate_text

COMPARISON_FILE = "comparison.npz"

NEARLY_ALL = 0.8  # of an RCC's images, for it to lie in a weak spot
MOST_COMPARED = 10_000  # tested images; of more, a random part is compared


class Comparison(NamedTuple):
    """Where the tested images lie among the failing ones; it holds whatever RCCs these are in.

    Attributes
    ----------
    failing : ndarray of shape (n_compared_failing,), int
        The failing images that are compared, as rows of the clusters.
    of_failing : ndarray of shape (n_compared_failing,), int
        For each of them, the row of the nearest other failing image; −1 if it lies in no region (see `rates`).
    of_right : ndarray of shape (n_compared_right,), int
        The same for images that the DNN gets right.
    notes : tuple of str
        Sentences on what was left out.
    right_in_spots : ndarray of shape (n_spots, n_compared_right), bool, or None
        For which images that the DNN gets right each weak spot holds; None if that is not known.
    groups : Groups or None
        Of the compared failing images, then of the right ones; None if they are not known.
    classes : ndarray of int, or None
        As `groups.of`: the true class, or of what a detector finds where nothing is, that which it is taken for.
    rows : ndarray of shape (n_compared,), int
        Rows of the test set, as in `groups`.
    right_points : ndarray of shape (n_compared_right, n_components), float32
        Images that the DNN gets right, in the space of the clusters.
    """

    failing: np.ndarray
    of_failing: np.ndarray
    of_right: np.ndarray
    notes: tuple[str, ...] = ()
    right_in_spots: np.ndarray | None = None
    groups: Groups | None = None
    classes: np.ndarray | None = None
    rows: np.ndarray = np.zeros(0, int)
    right_points: np.ndarray = np.zeros((0, 0), np.float32)

    def rates(
        self, clusters: RootCauseClusters, spots: np.ndarray | None = None, others: Sequence[Collection[int]] = (),
        whole: Collection[int] = (),
    ) -> tuple[Rate, ...]:  # fmt: skip
        """The error rates of RCCs, as the engineer has edited them; the rest as in `failure_rates`."""
        of_failing, of_right = self.regions(clusters.labels)
        labels = clusters.labels[self.failing]
        return failure_rates(
            of_failing, of_right, clusters.n_rccs, labels=labels, groups=self.groups, classes=self.classes, spots=spots,
            others=others, whole=whole,
        )  # fmt: skip

    def regions(self, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The RCC in whose region each compared image lies, of the failing and of the right ones."""
        return regions(self.of_failing, labels), regions(self.of_right, labels)

    def limits(self, clusters: RootCauseClusters, new: Placed, classes: np.ndarray) -> np.ndarray:
        """Which new images lie in any region: bool of shape (n_new,).

        Parameters
        ----------
        classes : ndarray of shape (n_tested,), int
            Of the test set, numbered as those of the new images.
        """
        points = np.concatenate([clusters.points[self.failing], self.right_points])
        wrong = np.arange(len(points)) < len(self.failing)
        return among_failing(new, Placed(points, classes[self.rows], np.arange(len(points))), wrong)


class Compared(NamedTuple):
    """Tested images that are compared: of a very large test set, a random part.

    Attributes
    ----------
    failing : ndarray of shape (n_failing,), int
        Rows of the failing images.
    rows : ndarray of shape (n_failing + n_right,), int
        Rows of the test set: those of `failing`, in that order, then those of images that the DNN gets right.
    notes : tuple of str
        Sentences on what was left out.
    """

    failing: np.ndarray
    rows: np.ndarray
    notes: tuple[str, ...]


def compare_with_right(
    clusters: RootCauseClusters, tested: AnsweredImages, *, parameters: StrPath | None = None,
    known_groups: KnownGroups | None = None, weights: StrPath | None = None,
) -> Comparison:  # fmt: skip
    """Extract the features of the images that are right, and find the nearest failing image of each tested image.

    Parameters
    ----------
    parameters : path, optional
        The table of the tested images' parameters, if a nuisance was subtracted.
    known_groups : KnownGroups, optional
        Of all tested images.
    weights
        As for `selection.select_unsafe_set`.

    Raises
    ------
    SAFEError
        No failing image of the clusters is among the tested images, or the features cannot be extracted.
    """
    compared = compared_images(tested, clusters.image_root, clusters.paths)
    right = compared.rows[len(compared.failing) :]
    points, read = points_of_tested(clusters, tested, right, clusters.recalled_extractor(weights), parameters)
    report_progress("Comparing with images that are right", 0, 0)
    of_failing, of_right = nearest_failing(clusters.points, points)
    notes = (*compared.notes, *notes_of(known_groups))
    rows = np.concatenate([compared.rows[: len(compared.failing)], right[read]])
    of_classes = known_classes(tested)
    given = known_groups and known_groups.named
    of_rows = None if of_classes is None else of_classes[rows]
    every = np.concatenate([clusters.points[compared.failing], points])
    one_class = np.zeros(len(every), int)
    units = known_groups.groups.of[rows] if known_groups and given else np.arange(len(every))
    placed = Placed(every, one_class if of_rows is None else of_rows, units)
    n, nearest = len(compared.failing), np.concatenate([of_failing[compared.failing], of_right])
    nearest[~among_failing(placed, placed, np.arange(len(every)) < n)] = NOISE
    return Comparison(
        compared.failing, nearest[:n], nearest[n:], tuple(filter(None, notes)), classes=of_rows, rows=rows,
        right_points=points, groups=known_groups.groups.taken(rows) if known_groups and given else None,
    )  # fmt: skip


def compared_images(tested: AnsweredImages, image_root: Path, paths: Sequence[str]) -> Compared:
    """The tested images to compare, given the failing ones.

    Raises
    ------
    SAFEError
        None of the failing images is among the wrong ones of the test set.
    """
    row_of = tested.rows_of(image_root, paths)
    failing = np.flatnonzero(row_of >= 0)  # rows of the failing images
    failing = failing[~tested.right[row_of[failing]]]
    failing = failing[np.sort(np.unique(row_of[failing], return_index=True)[1])]  # of copies the first
    if not len(failing):
        raise SAFEError(
            f"Expected failing images of the clusters among the wrong ones of {tested.source}. Received none. Is it "
            "the table of this DNN and test set?"
        )
    right = np.flatnonzero(tested.right)  # rows of the test set
    notes = []
    others = int((~tested.right).sum()) - len(failing)
    if others > 0:
        notes.append(f"{count(others, 'image')} that the network gets wrong are not among the clustered ones.")
    n_tested = len(failing) + len(right)
    if n_tested > MOST_COMPARED:
        drawn = np.sort(np.random.default_rng(0).permutation(n_tested)[:MOST_COMPARED])
        failing, right = failing[drawn[drawn < len(failing)]], right[drawn[drawn >= len(failing)] - len(failing)]
        notes.append(f"Rates are those of {MOST_COMPARED:,} of {n_tested:,} tested images, drawn at random.")
    return Compared(failing, np.concatenate([row_of[failing], right]), tuple(notes))


def points_of_tested(
    clusters: RootCauseClusters, tested: AnsweredImages, rows: np.ndarray, extractor: Extractor,
    parameters: StrPath | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Tested images as points of the clusters, in the order of `rows`, without unreadable ones; and which are readable.

    Parameters
    ----------
    parameters
        As for `compare_with_right`.
    extractor : Extractor
        That of the clusters, for these images.
    """
    features, read = features_of_tested(tested, rows, extractor)
    names, nuisance = [tested.paths[row] for row in rows[read].tolist()], None
    if clusters.set_aside:
        nuisance = Aside(clusters.set_aside, ImageListing(tested.root, tested.paths, ()), parameters).of(names)
    classes = class_names(tested)[rows[read]]
    return clusters.projection.apply(features, nuisance=nuisance, classes=classes, names=names), read


def nearest_to_fresh(
    clusters: RootCauseClusters, comparison: Comparison, first: AnsweredImages, fresh: AnsweredImages, *,
    weights: StrPath | None = None, features: StrPath | None = None,
) -> np.ndarray:  # fmt: skip
    """The failing image that each of some other images is nearest to, as a row of the clusters; −1 in no region.

    Parameters
    ----------
    comparison : Comparison
        Of these clusters, with the images of `first`.
    first, fresh : AnsweredImages
        The test set, and the other images.
    weights, features
        As for `RootCauseClusters.extractor_of_others`.

    Raises
    ------
    SAFEError
        Features cannot be extracted, or are not like those of the clusters.
    """
    extractor = clusters.extractor_of_others(weights, features)
    every, nearest = np.arange(len(fresh.paths)), np.full(len(fresh.paths), -1)  # also of images that cannot be read
    points, read = points_of_tested(clusters, fresh, every, extractor, find_parameters(fresh.root))
    nearest[read] = Points(clusters.points).nearest_to(points)[0]
    numbers = known_classes(first, fresh)
    both = np.zeros(len(first.paths) + len(fresh.paths), int) if numbers is None else numbers
    here, there = np.split(both, [len(first.paths)])
    placed = Placed(points, there[read], np.full(len(points), NOISE))
    nearest[np.flatnonzero(read)[~comparison.limits(clusters, placed, here)]] = -1
    return nearest


def right_images(tested: AnsweredImages, images: ImageFeatures, known_groups: KnownGroups | None) -> RightImages | None:
    """The images that the DNN gets right, to compare failing ones with; None if there are none, or only these.

    Parameters
    ----------
    images : ImageFeatures
        Of the failing images.

    Raises
    ------
    SAFEError
        None of the failing images is a wrong one of the test set, or features cannot be extracted.
    """
    if tested.right.all() or not tested.right.any():
        return None
    compared = compared_images(tested, images.root, images.paths)
    rows = compared.rows[len(compared.failing) :]
    features, read = features_of_tested(tested, rows, images.extractor)
    row_of = np.concatenate([tested.rows_of(images.root, images.paths), rows[read]])
    known = row_of >= 0  # a failing image may be none of the test set
    names = [tested.paths[row] for row in row_of]
    for place, path in enumerate(images.paths):
        names[place] = names[place] if known[place] else path
    units = np.arange(len(row_of)) + len(tested.paths)
    units[known] = known_groups.groups.of[row_of[known]] if known_groups and known_groups.named else row_of[known]
    classes = np.where(known, class_names(tested)[row_of], "")
    return RightImages(features, classes, tuple(names), np.unique(units, return_inverse=True)[1])


def features_of_tested(tested: AnsweredImages, rows: np.ndarray, extractor: Extractor) -> tuple[np.ndarray, np.ndarray]:
    """Features of tested images, in the order of `rows`, without the unreadable ones; and which are readable."""
    place = {tested.paths[row]: i for i, row in enumerate(rows.tolist())}
    listing = ImageListing(tested.root, tuple(sorted(place)), ())
    features = np.empty((len(rows), extractor.dimension), np.float32)
    read = np.zeros(len(rows), bool)
    for batch in stream_features(listing, extractor):
        at = [place[path] for path in batch.paths]
        features[at], read[at] = batch.features, True
    return features[read], read


# --- The files --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Reasons:
    """What the comparison has found for the run in a folder, and what follows for RCCs as they are now.

    Attributes
    ----------
    spots : tuple of WeakSpot
        The most important first.
    images : tuple of ndarray of int
        The failing images in each weak spot, as rows of the clusters.
    comparison : Comparison or None
        None as long as the images that are right have not been compared.
    base : float
        The share of all tested images that the DNN gets wrong.
    curves : tuple of Bin
        How often it is wrong over the range of each column, in the order of the columns.
    tested : int
        All tested images.
    clusters : RootCauseClusters or None
        As the engineer has edited them (see `on`).
    noun : str
        What was tested, as of `dnn.tested.AnsweredImages.noun`.
    """

    spots: tuple[WeakSpot, ...] = ()
    images: tuple[np.ndarray, ...] = ()
    comparison: Comparison | None = None
    base: float = 0.0
    curves: tuple[Bin, ...] = ()
    tested: int = 0
    clusters: RootCauseClusters | None = None
    noun: str = "image"

    def on(self, clusters: RootCauseClusters) -> "Reasons":
        """The same for edited RCCs."""
        return replace(self, clusters=clusters)

    @cached_property
    def rates(self) -> dict[int, Rate]:
        """The error rate of each RCC; empty if nothing was compared."""
        if self.comparison is None or self.clusters is None:
            return {}
        whole = {rcc for rcc, spot in self.same_as.items() if of_classes(self.spots[spot].literals, LABEL)}
        holds, counted = self._holds, [spot for spot in self.spots if not spot.figures.answers]  # words come last
        taken = {row for row, spot in enumerate(counted) if takes(spot)}
        others = [taken - {self.same_as.get(rcc)} for rcc in range(self.clusters.n_rccs)] if holds is not None else ()
        return {rate.rcc: rate for rate in self.comparison.rates(self.clusters, holds, others, whole)}

    @cached_property
    def _holds(self) -> np.ndarray | None:
        """Of which compared images, failing and right ones, each weak spot holds; None if it is not known.

        Of which right images a reason of another kind holds, such as a word, is not known of all: of none here.
        """
        if self.comparison is None or self.comparison.right_in_spots is None:
            return None
        right, failing = self.comparison.right_in_spots, self.comparison.failing
        holds = np.zeros((len(self.spots), len(failing) + right.shape[1]), bool)
        for row, images in enumerate(self.images[: len(right)]):  # those of other kinds come after
            holds[row] = np.concatenate([np.isin(failing, images), right[row]])
        return holds

    @property
    def where_none_holds(self) -> tuple[int, int]:
        """Wrong and all compared images for which no reason holds: no weak spot beyond chance, and the image is in the
        region of no RCC that fails more often. Zeros if that is not known."""
        holds = self._holds
        if holds is None or self.comparison is None or self.clusters is None:
            return 0, 0
        more = [rcc for rcc, rate in self.rates.items() if rate.verdict == "more"]
        regions = np.concatenate(self.comparison.regions(self.clusters.labels))
        certain = np.array([not spot.may_be_chance for spot in self.spots], bool)
        free = ~np.isin(regions, more) & ~holds[certain].any(axis=0)
        return int(np.count_nonzero(free[: len(self.comparison.failing)])), int(np.count_nonzero(free))

    @cached_property
    def inside(self) -> dict[int, int]:
        """RCCs nearly all of whose images lie in a weak spot, given as an index, which they are not the same as.

        Of several, the one with the highest error rate.
        """
        pairs = sorted(self._nearly_all, key=lambda pair: (self.spots[pair[0]].figures.rate, -pair[0]))
        return {rcc: spot for spot, rcc, *_ in pairs if rcc not in self.same_as and not self.spots[spot].may_be_chance}

    @cached_property
    def same_as(self) -> dict[int, int]:
        """RCCs that are about the same failing images as a weak spot, which is given as an index.

        `NEARLY_ALL` of the RCC's images lie in it, and at least half of its failing images are in the RCC. Of several,
        those that have most in common; each is that of one alone.
        """
        same = dict[int, int]()
        for spot, rcc, held, _ in sorted(self._nearly_all, key=lambda pair: (-pair[3], *pair)):
            if held >= len(self.images[spot]) / 2 and rcc not in same and spot not in same.values():
                same[rcc] = spot
        return same

    @cached_property
    def _nearly_all(self) -> list[tuple[int, int, int, float]]:
        """Weak spots with an RCC, nearly all of whose images lie in it: how many, and what share of both together."""
        sizes, pairs = [] if self.clusters is None else self.clusters.sizes.tolist(), []
        for spot, rows in enumerate(self.images):
            for rcc, held in self.overlaps(spot):
                if held >= NEARLY_ALL * sizes[rcc]:
                    pairs.append((spot, rcc, held, held / (sizes[rcc] + len(rows) - held)))
        return pairs

    def text_of(self, rcc: int) -> str:
        """The error rate of an RCC in words, and the weak spot that its images are in; empty if neither is known.

        Of one that is about the same images as a weak spot, it is the rate of that: a reason has one.
        """
        rate, spot = self.rates.get(rcc), (self.inside | self.same_as).get(rcc)
        if rcc in self.same_as:
            one = self.spots[self.same_as[rcc]]
            images = f"{one.figures.wrong:,} of {one.figures.images(f'tested {self.noun}')} with {one.where}"
            place = self.same_as[rcc] + 1
            return f"The same reason as weak spot {place}: {images} are wrong ({rate_text(one.figures.rate)})."
        texts = [rate.in_words(self.noun)] if rate else []
        if spot is not None and self.clusters is not None:
            share = np.isin(np.flatnonzero(self.clusters.labels == rcc), self.images[spot]).mean()
            who = "All" if share == 1 else f"{math.floor(100 * share)}%"
            texts.append(f"{who} of them have {self.spots[spot].where} (weak spot {spot + 1}).")
        return " ".join(texts)

    def overlaps(self, spot: int) -> list[tuple[int, int]]:
        """The RCCs with which a weak spot has failing images in common, and how many, the most first; not noise."""
        if self.clusters is None:
            return []
        labels = self.clusters.labels[self.images[spot]]
        rccs, counts = np.unique(labels[labels != NOISE], return_counts=True)
        return sorted(zip(rccs.tolist(), counts.tolist(), strict=True), key=lambda pair: (-pair[1], pair[0]))


def takes(spot: WeakSpot) -> bool:
    """Whether other reasons are compared given it: it is about more than classes, and no chance."""
    return not spot.may_be_chance and not of_classes(spot.literals, LABEL)


def reasons_of(
    clusters: RootCauseClusters, tested: AnsweredImages, known: Known, spots: tuple[WeakSpot, ...]
) -> Reasons:
    """Weak spots with their failing images among those of the clusters."""
    row_of = tested.rows_of(clusters.image_root, clusters.paths)
    images = tuple(np.flatnonzero((row_of >= 0) & spot.holds(known.columns)[row_of]) for spot in spots)
    base, n = 1 - tested.accuracy, len(tested.paths)
    return Reasons(spots, images, None, base, tested=n, clusters=clusters, noun=tested.noun)


def save_reasons(
    reasons: Reasons, clusters: RootCauseClusters, folder: Path, run: Run, *, images: Mapping[str, Writer] | None = None
) -> None:
    """Write `weak_spots.csv`, `rates.csv` and `comparison.npz` as a run of an analysis, in place of an earlier one.

    Parameters
    ----------
    clusters : RootCauseClusters
        As they were found.
    run : Run
        Of these clusters.
    images : mapping, optional
        `tested_images.csv`, as in `reasons.known`.

    Raises
    ------
    SAFEError
        They cannot be written; nothing is changed.
    """
    before = present_runs(folder, run).get(COMPARISON)
    files: dict[str, Writer] = {
        WEAK_SPOTS_FILE: spots_text(reasons.spots),
        **({CURVES_FILE: curves_text(reasons.curves)} if reasons.curves else {}),
        COMPARISON_FILE: packed(replace(reasons, spots=(), curves=(), clusters=None), folder),
        **(images or {}),
    }
    add_run(folder, COMPARISON, files, clusters=run.itself, facts={"of": fingerprint(clusters)}, instead_of=before)


def load_reasons(folder: Path, clusters: RootCauseClusters, run: Run | None = None) -> Reasons:
    """What was found for clusters, as they were found (see `Reasons.on`); empty if nothing was.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    run : Run, optional
        Of the clusters; by default the present ones.

    Raises
    ------
    SAFEError
        A file is damaged.
    """
    found = present_runs(folder, run).get(COMPARISON)
    if found is None or found.facts["of"] != fingerprint(clusters):
        return Reasons()
    with reading_file(found, COMPARISON_FILE) as path:
        reasons: Reasons = unpacked(Reasons, path, folder)
    return replace(reasons, spots=load_spots(found), curves=load_curves(found), clusters=clusters)
