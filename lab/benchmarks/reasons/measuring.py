"""Measures a case: clusters and their rates, conditions, and what is found by chance."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.reasons.cases import ReasonsCase, failing_images
from lab.benchmarks.reasons.measures import (
    Condition,
    causes_of_clusters,
    causes_of_conditions,
    counts,
    first_of,
    held_failures,
    holding,
    information,
)
from lab.benchmarks.reasons.rivals import slice_conditions, tree_conditions
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.features.batches import FeatureBatch, streaming
from safe_dnn.features.extractor import Extractor
from safe_dnn.rccs.answers import PREDICTED
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.spots.rates import Rate
from safe_dnn.reasons.comparison import compare_with_right
from safe_dnn.reasons.known import weak_spots_of
from safe_dnn.support.images import ImageListing

# The sources that a kept result depends on
SOURCES = (
    "clustering.py",
    "safe_dnn/reasons/comparison.py",
    "safe_dnn/features/attributes.py",
    *(f"lab/benchmarks/reasons/{name}.py" for name in ("measuring", "measures", "cases", "rivals")),
    *(f"safe_dnn/rccs/spots/{name}.py" for name in ("weak_spots", "search", "figures", "conditions", "rates")),
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("projection", "density", "consensus", "tuning")),
)
WITH_A_TEST = ("weak spots", "decision tree")  # SliceLine gives its ten best slices whatever they are worth
LISTED = 10  # conditions in the section

Finder = Callable[[ReasonsCase, np.ndarray, np.ndarray], list[Condition]]  # case, wrong, rows to search


def measure_case(
    case: ReasonsCase, work: Path, *, shuffles: int, rivals: dict[str, Path] | None = None
) -> dict[str, Any]:
    """All measurements of a case, in the types of JSON; each is kept in `work` as soon as it is complete.

    Parameters
    ----------
    shuffles : int
        How often right and wrong are dealt out at random.
    rivals : dict of str to path, optional
        A Python that has the package, for "SliceLine" and "pysubgroup".

    Returns
    -------
    dict
        `case` (images, failures, causes, columns, extractor), `clusters` and `conditions` (a dict for each method),
        and `chance` (of each shuffle, what is found in it: clusters, conditions).
    """
    key = key_of(case.wrong.tobytes().hex(), ",".join(case.known.columns), case.extractor.identity, *SOURCES)
    finders: dict[str, Finder] = {"weak spots": _weak_spots, "decision tree": _tree}
    finders |= {name: partial(_slices, name, python) for name, python in (rivals or {}).items()}

    def once(name: str, compute: Callable[[], object]) -> Any:
        return kept(work / f"{name.lower().replace(' ', '-')}.json", key, compute)

    return {
        "case": {
            "images": len(case.tested.paths),
            "failing": int(case.wrong.sum()),
            "causes": {name: int(has.sum()) for name, has in case.causes.items()},
            "recorded": [name for name in case.known.columns if name not in case.known.measured],
            "measured": len(case.known.measured),
            "extractor": case.extractor.identity,
        },
        "clusters": once("clusters", partial(_clusters, case)),
        "conditions": {name: once(name, partial(conditions_of, case, find)) for name, find in finders.items()},
        "chance": [
            {
                "clusters": once(f"chance-{seed}", partial(_clusters_by_chance, case, seed)),
                "conditions": {
                    name: once(f"chance-{seed}-{name}", partial(_conditions_by_chance, case, finders[name], seed))
                    for name in WITH_A_TEST
                },
            }
            for seed in range(shuffles)
        ],
    }


def _weak_spots(case: ReasonsCase, wrong: np.ndarray, rows: np.ndarray) -> list[Condition]:
    known = case.known._replace(columns={name: column[rows] for name, column in case.known.columns.items()})
    spots = weak_spots_of(_answered(case.tested, ~wrong, rows), known)
    return [
        Condition(spot.where, frozenset(one.column for one in spot.literals), spot.holds(case.known.columns))
        for spot in spots
    ]


def _tree(case: ReasonsCase, wrong: np.ndarray, rows: np.ndarray) -> list[Condition]:
    return tree_conditions(_without_predicted(case), wrong, rows)


def _slices(name: str, python: Path, case: ReasonsCase, wrong: np.ndarray, rows: np.ndarray) -> list[Condition]:
    return slice_conditions(_without_predicted(case), wrong, rows, python=python, package=name.lower())


def _without_predicted(case: ReasonsCase) -> dict[str, np.ndarray]:
    """What is known of the images but for the predicted class, which the rivals do not get."""
    return {name: column for name, column in case.known.columns.items() if name != PREDICTED}


def _answered(tested: AnsweredImages, right: np.ndarray, rows: np.ndarray) -> AnsweredImages:
    """Some images of a test set, as if others were right."""
    paths = tuple(tested.paths[row] for row in rows.tolist())
    return replace(tested, paths=paths, answers=tested.answers.taken(rows), right=right[rows])


# --- Clusters and their rates -----------------------------------------------------------------------------------


def _clusters(case: ReasonsCase) -> dict[str, Any]:
    """The RCCs and K-means clusters with their rates."""
    clusters = find_root_cause_clusters(failing_images(case))
    compared = compare_with_right(clusters, case.tested)  # with the cached features
    return {
        name: _rated(case, each, compared.rates(each))
        for name, each in (("RCCs", clusters), ("K-means", _kmeans(clusters)))
    }


def _kmeans(clusters: RootCauseClusters) -> RootCauseClusters:
    """As many clusters of the same points; all images are in one."""
    model = KMeans(max(1, clusters.n_rccs), n_init=3, random_state=0)
    return replace(clusters, labels=model.fit_predict(clusters.points))


def _rated(case: ReasonsCase, clusters: RootCauseClusters, rates: tuple[Rate, ...]) -> dict[str, Any]:
    """The measures of clusters with these failure rates, in the types of JSON."""
    called = [rate.rcc for rate in rates if rate.verdict == "more"]
    causes = {name: has[case.wrong] for name, has in case.causes.items()}
    tested, wrong = np.array([rate.figures[:2] for rate in rates], int).reshape(-1, 2).T
    rest = [len(case.wrong) - tested.sum()], [case.wrong.sum() - wrong.sum()]
    return {
        "rccs": clusters.n_rccs,
        "noise": clusters.noise_share,
        "verdicts": {
            verdict: sum(rate.verdict == verdict for rate in rates)
            for verdict in ("more", "as often", "less", "too few")
        },
        "causes": causes_of_clusters(clusters.labels, causes, called),
        "causes of any": causes_of_clusters(clusters.labels, causes, range(clusters.n_rccs)),
        "holding": holding([rate.figures[2:4] for rate in rates], 1 - case.tested.accuracy),
        "information": information(np.concatenate([rest[0], tested]), np.concatenate([rest[1], wrong])),
    }


# --- Conditions -------------------------------------------------------------------------------------------------


def conditions_of(case: ReasonsCase, find: Finder) -> dict[str, Any]:
    """The measures of the conditions that are found, in the types of JSON."""
    wrong, n = case.wrong, len(case.wrong)
    found = find(case, wrong, np.arange(n))
    held, rate = held_failures(found, wrong)
    return {
        "conditions": len(found),
        "causes": causes_of_conditions(found, wrong, case.causes, case.parameters),
        "held": held,
        "rate": rate if found else None,
        "information": information(*counts(first_of(found, n), wrong)),
        "unseen": information(*_unseen(case, find)),
        "first": [(one.where, int(one.holds.sum()), int((one.holds & wrong).sum())) for one in found[:LISTED]],
    }


def _unseen(case: ReasonsCase, find: Finder) -> tuple[np.ndarray, np.ndarray]:
    """Counts of the cells that conditions make in the half of the test set in which they were not searched."""
    order = np.random.default_rng(0).permutation(len(case.wrong))
    halves = np.sort(order[::2]), np.sort(order[1::2])
    cells = []
    for rows, others in (halves, halves[::-1]):
        found = find(case, case.wrong, rows)
        cells.append(counts(first_of(found, len(case.wrong))[others], case.wrong[others]))
    tested, wrong = (np.concatenate(parts) for parts in zip(*cells, strict=True))
    return tested, wrong


# --- Chance -----------------------------------------------------------------------------------------------------


def _shuffled(case: ReasonsCase, seed: int) -> np.ndarray:
    """Right and wrong dealt out at random, so that there is nothing to find."""
    return np.random.default_rng(seed).permutation(case.wrong)


def _conditions_by_chance(case: ReasonsCase, find: Finder, seed: int) -> int:
    return len(find(case, _shuffled(case, seed), np.arange(len(case.wrong))))


def _clusters_by_chance(case: ReasonsCase, seed: int) -> dict[str, Any]:
    """The images that are wrong by chance are clustered anew."""
    wrong = _shuffled(case, seed)
    tested = _answered(case.tested, ~wrong, np.arange(len(wrong)))
    clusters = find_root_cause_clusters(failing_images(case._replace(tested=tested)))
    with streaming(_stream_of(case)):
        compared = compare_with_right(clusters, tested)
    found = {}
    for method, each in (("RCCs", clusters), ("K-means", _kmeans(clusters))):
        rates = compared.rates(each)
        found[method] = {
            "rccs": len(rates),
            "more": sum(rate.verdict == "more" for rate in rates),
            "holding": holding([rate.figures[2:4] for rate in rates], 1 - case.tested.accuracy),
        }
    return found


def _stream_of(case: ReasonsCase) -> Callable[..., Iterator[FeatureBatch]]:
    """Serves the features that the case has, instead of reading all images again."""
    place = {path: row for row, path in enumerate(case.tested.paths)}

    def stream(listing: ImageListing, extractor: Extractor) -> Iterator[FeatureBatch]:
        rows = [place[path] for path in listing.paths]
        yield FeatureBatch(listing.paths, case.features[rows], ())

    return stream
