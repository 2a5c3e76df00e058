"""Beyond the paper: set aside what does not matter, and find what does.

If RCCs are one person each and the DNN fails equally often on each person, the person is no reason for failing, but a
*nuisance*: it hides what the failures have in common. `nuisance_offer` finds such a nuisance. What it explains of the
features of tested images, right and wrong, is estimated and subtracted (`rccs/dbscan/set_aside.py`).

`what_is_set_aside` reads what is needed before the long work; its `fit` gives what the clustering takes.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.attributes import ATTRIBUTES
from safe_dnn.features.batches import Stream
from safe_dnn.rccs.answers import known_in
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.dbscan.set_aside import CATEGORY, Columns, Nuisance, check_column, fit_set_aside, kind_of
from safe_dnn.rccs.parameters import column_of, find_parameters, read_texts
from safe_dnn.rccs.projected import attributes_of
from safe_dnn.rccs.spots.conditions import fails_equally
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Compared, classes_aside, compared_images, features_of_tested
from safe_dnn.support.entries import StrPath
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import ImageListing
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.text import count, printable, some

LEAST_IMAGES = 5  # of an RCC that counts in an offer
PURITY = 0.8  # least share of an RCC's images that have the same value
FEW = 3  # values that an RCC may be made of where those of one value each are not enough
OFTEN = 0.5  # a value that more of the failing images have is that of many RCCs by chance; of several, half as much
MOST = 2 / 3  # least share of the images in RCCs that are in one of a single value
ALONE = (
    "What is set aside is estimated from the failing images alone, since it is not known which images the network gets "
    "right. A reason for failing that goes along with it is set aside as well."
)


class Fitted(NamedTuple):
    """What the clustering of failing images takes, and `run.json` says, of what is set aside; by default nothing.

    Attributes
    ----------
    nuisance : Nuisance or None
        Of the failing images.
    facts : mapping
        What is recorded of a nuisance.
    """

    nuisance: Nuisance | None = None
    facts: Mapping[str, object] = MappingProxyType({})

    def record(self) -> dict[str, object]:
        """The entry of `run.json`; empty if nothing was to be set aside."""
        return {"set_aside": dict(self.facts)} if self.facts else {}


class Values(NamedTuple):
    """The values of nuisances that are set aside, of all images that are needed.

    Attributes
    ----------
    failing : mapping of str to ndarray of shape (n_failing,)
        By name; see `rccs.dbscan.set_aside.Columns`.
    paths : tuple of str
        Those of the failing images.
    columns : mapping of str to ndarray of shape (n_compared,)
        Of the tested images `compared.rows`; the same as `failing` if it is not known which images are right.
    tested : AnsweredImages or None
    compared : Compared or None
    source : path or None
        The table of the tested images' parameters.
    """

    failing: Columns
    paths: tuple[str, ...]
    columns: Columns
    tested: AnsweredImages | None
    compared: Compared | None
    source: StrPath | None

    def fit(self, images: ImageFeatures, *, stream: Stream | None, progress: Progress) -> Fitted:
        """Estimate what nuisances explain of features, those of the images that the DNN gets right included.

        Parameters
        ----------
        images : ImageFeatures
            The failing images.
        stream : callable, optional
            As for `FE.extract_features`.

        Raises
        ------
        SAFEError
            The features of the right images cannot be extracted.
        """
        place = {path: row for row, path in enumerate(self.paths)}
        places = np.array([place[path] for path in images.paths], np.int64)
        of_failing = {name: column[places] for name, column in self.failing.items()}
        notes = []
        if self.compared is None or self.tested is None:
            features, columns, n_right = images.features, of_failing, 0
            notes.append(ALONE)
        else:
            # The failing images are extracted already; copies of them are in the test set.
            row_of = np.full(len(place), -1)
            row_of[places] = np.arange(len(places))
            failing = row_of[self.compared.failing]
            rows = self.compared.rows[len(failing) :]
            of_right, read = features_of_tested(self.tested, rows, images.extractor, stream=stream, progress=progress)
            n_right = len(of_right)
            used = np.concatenate([failing >= 0, read])
            features = np.concatenate([images.features[failing[failing >= 0]], of_right])
            columns = {name: column[used] for name, column in self.columns.items()}
        progress("Setting aside", 0, 0)
        what = fit_set_aside(features, images.extractor.name, columns)
        for factor in what.factors:
            if unknown := int((~factor.known(of_failing[factor.name])).sum()):
                notes.append(
                    f"{factor.name} is unknown of {unknown:,} of {count(len(places), 'image')}, and not set aside in "
                    "them."
                )
        facts = {
            "names": list(what.names), "source": os.fspath(self.source) if self.source else None,
            "fitted_to": len(features), "right": n_right, "notes": notes,
        }  # fmt: skip
        return Fitted(Nuisance(what, of_failing), facts=facts)


# --- What is set aside ------------------------------------------------------------------------------------------


def what_is_set_aside(
    names: Sequence[str],
    failing: ImageListing,
    tested: AnsweredImages | None,
    *,
    parameters: StrPath | None = None,
    within: Path | None = None,
    progress: Progress = no_progress,
) -> Values | None:
    """What does not matter, by the names that the engineer gave, if any: values of nuisances.

    These are classes, recorded parameters, or measured attributes, in this order.

    Parameters
    ----------
    tested : AnsweredImages or None
        The whole test set, if the DNN's answers are known.
    parameters : path, optional
        As for `rccs.parameters.read_parameters`; by default those in or beside the image folders.
    within : path, optional
        A table that is found by itself is only read inside this folder.

    Raises
    ------
    SAFEError
        A name is unknown or given twice, its values say nothing about the images (see
        `rccs.dbscan.set_aside.check_column`), or a table cannot be read.
    """
    if not names:
        return None
    if twice := [name for name in names if names.count(name) > 1]:
        raise SAFEError(f"Expected different parameters to set aside. Received twice: {printable(twice[0])}")
    if tested is not None and not (tested.right.any() and not tested.right.all()):
        tested = None
    of_failing, of_tested, source = _recorded(names, failing, tested, parameters, within)
    recorded = {name for texts in (of_failing, of_tested) for name, column in texts.items() if any(column)}
    known = sorted(recorded) + [name for name in ATTRIBUTES if name not in recorded]
    for name in names:
        if name not in known:
            raise SAFEError(
                f"Expected a recorded parameter, a measured attribute, {LABEL}, or {PREDICTED} to set aside. "
                f"Received: {printable(name)}. Known are {printable(some(known, limit=30))}."
            )
    compared = compared_images(tested, failing.root, failing.paths) if tested else None
    values: dict[str, np.ndarray] = {}
    fitted: dict[str, np.ndarray] = {}
    for name in names:
        if name in recorded:
            column = column_of(name, of_failing[name] + of_tested.get(name, []))
            values[name], whole = column[: len(failing.paths)], column[len(failing.paths) :] if tested else column
            check_column(name, whole)
            fitted[name] = whole[compared.rows] if compared else whole
        else:
            values |= attributes_of([name], failing.root, failing.paths, progress=progress)
            fitted[name] = values[name]
            if tested and compared:
                paths = [tested.paths[row] for row in compared.rows.tolist()]
                fitted |= attributes_of([name], tested.root, paths, progress=progress)
            check_column(name, fitted[name])
    return Values(values, failing.paths, fitted, tested, compared, source)


def _recorded(
    names: Sequence[str], failing: ImageListing, tested: AnsweredImages | None, parameters: StrPath | None,
    within: Path | None,
) -> tuple[dict[str, list[str]], dict[str, list[str]], StrPath | None]:  # fmt: skip
    """What is recorded of failing and of tested images, in words; and in which table."""
    source = parameters or find_parameters(failing.root, within=within)
    of_failing = read_texts(source, failing.root, failing.paths) if source else {}
    if tested is None:
        return of_failing, {}, source
    source = parameters or find_parameters(tested.root, within=within) or source
    of_tested = read_texts(source, tested.root, tested.paths) if source else {}
    classes, unknown = classes_aside(tested, names), [""] * len(failing.paths)
    rows = tested.rows_of(failing.root, failing.paths).tolist()
    for name, whole in (of_tested | classes).items():
        own = unknown if name in classes else of_failing.get(name, unknown)
        # A failing image of which nothing is recorded is as its original in the test set.
        of_failing[name] = [text or (whole[row] if row >= 0 else "") for text, row in zip(own, rows, strict=True)]
    return of_failing, of_tested | classes, source


# --- What could be set aside ------------------------------------------------------------------------------------


class Offer(NamedTuple):
    """A category that most RCCs are one value of, and that is no reason for failing."""

    name: str
    sentence: str


def nuisance_offer(
    clusters: RootCauseClusters, tested: AnsweredImages, *, parameters: StrPath | None, within: Path | None
) -> Offer | None:
    """Find a category to set aside: most RCCs are one value of it, but the DNN fails about equally often on each value.

    Values that look alike may share RCCs, so up to `FEW` of them count as well, if these are few of all.

    Parameters
    ----------
    parameters : path, optional
        The table of the images' parameters; by default those in or beside the test folder.
    within : path, optional
        One that is not given is only read inside this folder.

    Returns
    -------
    Offer or None
        The category by whose values most images are grouped.
    """
    source = parameters or find_parameters(tested.root, within=within)
    try:
        texts = read_texts(source, tested.root, tested.paths) if source else {}
    except SAFEError:
        texts = {}  # the weak spots do without it as well
    texts[LABEL] = tested.answers.label.tolist()
    rows = tested.rows_of(clusters.image_root, clusters.paths)
    taken = clusters.set_aside.names if clusters.set_aside else ()
    found: list[tuple[float, Offer]] = []
    for name in sorted(set(texts) - set(taken)):
        column = column_of(name, texts[name])
        try:
            check_column(name, column)
        except SAFEError:
            continue
        known = kind_of(name, column) == CATEGORY and known_in(column[tested.right])
        if not (known and fails_equally(column, ~tested.right)):
            continue
        of_failing = np.where(rows >= 0, column[np.maximum(rows, 0)], "")
        groups = _groups(clusters.labels, of_failing)
        images = sum(size for size, _ in groups)
        noun, n_values = printable(name), len(np.unique(column[column != ""]))
        for few, each in ((1, f"one {noun} each"), (FEW, f"of at most {FEW} of the {n_values} values of {noun} each")):
            told = [size for size, n_values in groups if n_values <= few]
            if images and sum(told) >= MOST * images:
                sentence = (
                    f"{len(told)} of {count(len(groups), 'RCC')} are {each}, and the network fails about equally often "
                    f"on each: set {noun} aside to find what else the failures have in common."
                )
                found.append((sum(told) / images, Offer(name, sentence)))
                break
    return max(found, key=lambda one: one[0])[1] if found else None


def _groups(labels: np.ndarray, column: np.ndarray) -> list[tuple[int, int]]:
    """For each RCC that counts, its images, and how many values of a category it is made of.

    These are the commonest that `PURITY` of its images have. An RCC of values that many of all failing images have is
    of as many values as it has images: it is so by chance.

    Returns
    -------
    list of (int, int)
    """
    groups = []
    for rcc in range(int(labels.max(initial=NOISE)) + 1):
        values, counts = np.unique(column[labels == rcc], return_counts=True)
        size = int(counts.sum())
        if size >= LEAST_IMAGES:
            often = np.argsort(-counts, kind="stable")
            n_values = int(np.searchsorted(np.cumsum(counts[often]), PURITY * size)) + 1
            chosen = values[often[:n_values]]
            most = OFTEN if n_values == 1 else OFTEN / 2
            by_chance = "" in chosen or np.isin(column, chosen).mean() > most
            groups.append((size, size if by_chance else n_values))
    return groups
