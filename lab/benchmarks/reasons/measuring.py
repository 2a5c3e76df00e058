"""Measures a case: clusters and their rates, conditions, and what is found by chance."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from sklearn.cluster import KMeans

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.reasons.cases import ReasonsCase
from lab.benchmarks.reasons.measures import (
    Condition,
    causes_of_clusters,
    causes_of_conditions,
    counts,
    first_of,
    held_failures,
    holding,
    information,
    of_one_value,
    shared_information,
)
from lab.benchmarks.reasons.rivals import slice_conditions, tree_conditions
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.batches import FeatureBatch
from safe_dnn.features.extractor import Extractor
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.spots.rates import Rate
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Known, compare_with_right, weak_spots_of
from safe_dnn.support.images import ImageListing
from safe_dnn.support.progress import Progress, no_progress

# The sources that a kept result depends on
SOURCES = (
    "safe_dnn/reasons/comparison.py",
    *(f"lab/benchmarks/reasons/{name}.py" for name in ("measuring", "measures", "cases")),
)
CLUSTER_SOURCES = (
    *SOURCES,
    *("FE.py", "clustering.py", "safe_dnn/rccs/spots/rates.py"),
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("projection", "neighbours", "density", "relevance", "branches")),
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("consensus", "tuning")),
)
CONDITION_SOURCES = (
    *SOURCES,
    "safe_dnn/rccs/spots/conditions.py",
    "safe_dnn/rccs/parameters.py",
    "safe_dnn/features/attributes.py",
)
RIVAL_SOURCES = ("lab/benchmarks/reasons/rivals.py", "lab/benchmarks/reasons/slices.py")
SPOT_SOURCES = tuple(f"safe_dnn/rccs/spots/{name}.py" for name in ("weak_spots", "search", "groups"))
SOURCES_OF = {"weak spots": SPOT_SOURCES, "decision tree": RIVAL_SOURCES, "SliceLine": RIVAL_SOURCES}
WITH_A_TEST = ("weak spots", "decision tree")  # SliceLine gives its ten best slices whatever they are worth
LISTED = 10  # conditions in the section

Result = TypeVar("Result")
Finder = Callable[[ReasonsCase, np.ndarray, np.ndarray], list[Condition]]  # case, wrong, rows to search


def measure_case(
    case: ReasonsCase, work: Path, *, nuisance: str, shuffles: int, sliceline: Path | None = None
) -> dict[str, Any]:
    """All measurements of a case, in the types of JSON; each is kept in `work` as soon as it is complete.

    Parameters
    ----------
    nuisance : str
        A parameter that is no reason, if the case has it.
    shuffles : int
        How often right and wrong are dealt out at random.
    sliceline : path, optional
        A Python with the package `sliceline`.

    Returns
    -------
    dict
        `case` (images, failures, causes, columns, extractor), `clusters` and `conditions` (a dict for each method),
        `seconds`, and `chance` (of each shuffle, what is found in it: clusters, conditions).
    """
    answers = case.wrong.tobytes().hex()
    of_clusters = key_of(answers, case.extractor.identity, nuisance, *CLUSTER_SOURCES)
    finders = _finders(sliceline)
    of_conditions = {
        method: key_of(answers, ",".join(case.known.columns), *CONDITION_SOURCES, *SOURCES_OF[method])
        for method in finders
    }
    clusters = kept(work / "clusters.json", of_clusters, lambda: _clusters(case, nuisance))
    conditions = {
        method: kept(work / f"{_in_file_name(method)}.json", of_conditions[method], partial(conditions_of, case, find))
        for method, find in finders.items()
    }
    chance = [
        {
            "clusters": kept(work / f"chance-{seed}.json", of_clusters, partial(_clusters_by_chance, case, seed)),
            "conditions": {
                method: kept(
                    work / f"chance-{seed}-{_in_file_name(method)}.json",
                    of_conditions[method],
                    partial(_conditions_by_chance, case, finders[method], seed),
                )
                for method in WITH_A_TEST
            },
        }
        for seed in range(shuffles)
    ]
    return {
        "case": {
            "images": len(case.tested.paths),
            "failing": int(case.wrong.sum()),
            "causes": {name: int(has.sum()) for name, has in case.causes.items()},
            "recorded": [name for name in case.known.columns if name not in case.known.measured],
            "measured": len(case.known.measured),
            "extractor": case.extractor.identity,
        },
        "clusters": clusters["methods"],
        "conditions": conditions,
        "seconds": {"rates": clusters["seconds"], "weak spots": conditions["weak spots"]["seconds"]},
        "chance": chance,
    }


def _in_file_name(method: str) -> str:
    return method.lower().replace(" ", "-")


def _finders(sliceline: Path | None) -> dict[str, Finder]:
    finders: dict[str, Finder] = {"weak spots": _weak_spots, "decision tree": _tree}
    if sliceline:
        finders["SliceLine"] = lambda case, wrong, rows: slice_conditions(
            without_predicted(case.known), wrong, rows, python=sliceline
        )
    return finders


def _weak_spots(case: ReasonsCase, wrong: np.ndarray, rows: np.ndarray) -> list[Condition]:
    known = case.known._replace(columns={name: column[rows] for name, column in case.known.columns.items()})
    spots = weak_spots_of(_answered(case.tested, ~wrong, rows), known)
    return [
        Condition(spot.where, frozenset(one.column for one in spot.literals), spot.holds(case.known.columns))
        for spot in spots
    ]


def _tree(case: ReasonsCase, wrong: np.ndarray, rows: np.ndarray) -> list[Condition]:
    return tree_conditions(without_predicted(case.known), wrong, rows)


def without_predicted(known: Known) -> dict[str, np.ndarray]:
    """What is known of the images but for the predicted class, which the rivals do not get."""
    return {name: column for name, column in known.columns.items() if name != PREDICTED}


def _answered(tested: AnsweredImages, right: np.ndarray, rows: np.ndarray) -> AnsweredImages:
    """Some images of a test set, as if others were right."""
    paths = tuple(tested.paths[row] for row in rows.tolist())
    return replace(tested, paths=paths, answers=tested.answers.taken(rows), right=right[rows])


# --- Clusters and their rates -----------------------------------------------------------------------------------


def _clusters(case: ReasonsCase, nuisance: str) -> dict[str, Any]:
    """The RCCs and K-means clusters with their rates, and the seconds that the rates take."""
    clusters = rccs_of_wrong(case, case.wrong)
    compared, compare_seconds = _timed(lambda: compare_with_right(clusters, case.tested))  # with the cached features
    rates, rates_seconds = _timed(lambda: compared.rates(clusters))
    by_kmeans = _kmeans(clusters)
    return {
        "methods": {
            "RCCs": rated_clusters(case, clusters, rates, nuisance),
            "K-means": rated_clusters(case, by_kmeans, compared.rates(by_kmeans), nuisance),
        },
        "seconds": compare_seconds + rates_seconds,
    }


def _timed(work: Callable[[], Result]) -> tuple[Result, float]:
    began = time.perf_counter()
    return work(), time.perf_counter() - began


def rccs_of_wrong(case: ReasonsCase, wrong: np.ndarray) -> RootCauseClusters:
    """The RCCs of the images that are wrong, as SAFE finds them."""
    rows = np.flatnonzero(wrong)
    paths = tuple(case.tested.paths[row] for row in rows.tolist())
    images = ImageFeatures(case.tested.root, paths, case.features[rows], case.extractor, ())
    return find_root_cause_clusters(images)


def _kmeans(clusters: RootCauseClusters) -> RootCauseClusters:
    """As many clusters of the same points; all images are in one."""
    model = KMeans(max(1, clusters.n_rccs), n_init=3, random_state=0)
    return replace(clusters, labels=model.fit_predict(clusters.points))


def rated_clusters(
    case: ReasonsCase, clusters: RootCauseClusters, rates: tuple[Rate, ...], nuisance: str
) -> dict[str, Any]:
    """The measures of clusters with these failure rates, in the types of JSON."""
    labels = clusters.labels
    called = [rate.rcc for rate in rates if rate.verdict == "more"]
    causes = {name: has[case.wrong] for name, has in case.causes.items()}
    columns = {name: column[case.wrong] for name, column in case.known.columns.items() if name in (nuisance, LABEL)}
    rest = np.array([len(case.wrong), case.wrong.sum()]) - [
        sum(rate.tested for rate in rates),
        sum(rate.wrong for rate in rates),
    ]
    of_one = of_one_value(labels, columns[nuisance], clusters.n_rccs) if nuisance in columns else []
    return {
        "rccs": clusters.n_rccs,
        "noise": clusters.noise_share,
        "verdicts": {
            verdict: sum(rate.verdict == verdict for rate in rates)
            for verdict in ("more", "as often", "less", "too few")
        },
        "causes": causes_of_clusters(labels, causes, called),
        "causes of any": causes_of_clusters(labels, causes, range(clusters.n_rccs)),
        "holding": holding([(rate.low, rate.high) for rate in rates], 1 - case.tested.accuracy),
        "information": information(
            np.array([rest[0], *(rate.tested for rate in rates)]), np.array([rest[1], *(rate.wrong for rate in rates)])
        ),
        "nmi": {
            **({"cause": shared_information(labels, _cause_of_each(causes))} if causes else {}),
            **{name: shared_information(labels, column) for name, column in columns.items()},
        },
        "of one": len(of_one),
        "of one, more": len(set(of_one) & set(called)),
    }


def _cause_of_each(causes: dict[str, np.ndarray]) -> np.ndarray:
    """The causes of each failing image as one text."""
    names = list(causes)
    rows = np.column_stack(list(causes.values())).tolist()
    return np.array([" + ".join(name for name, has in zip(names, row, strict=True) if has) for row in rows])


# --- Conditions -------------------------------------------------------------------------------------------------


def conditions_of(case: ReasonsCase, find: Finder) -> dict[str, Any]:
    """The measures of the conditions that are found, in the types of JSON."""
    wrong, n = case.wrong, len(case.wrong)
    found, seconds = _timed(lambda: find(case, wrong, np.arange(n)))
    held, rate = held_failures(found, wrong)
    return {
        "conditions": len(found),
        "causes": causes_of_conditions(found, wrong, case.causes, case.parameters),
        "held": held,
        "rate": rate if found else None,
        "information": information(*counts(first_of(found, n), wrong)),
        "unseen": information(*_unseen(case, find)),
        "first": [(one.where, int(one.holds.sum()), int((one.holds & wrong).sum())) for one in found[:LISTED]],
        "seconds": seconds,
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
    clusters = rccs_of_wrong(case, wrong)
    tested = _answered(case.tested, ~wrong, np.arange(len(wrong)))
    compared = compare_with_right(clusters, tested, stream=_stream_of(case))
    found = {}
    for method, each in (("RCCs", clusters), ("K-means", _kmeans(clusters))):
        rates = compared.rates(each)
        found[method] = {
            "rccs": len(rates),
            "more": sum(rate.verdict == "more" for rate in rates),
            "holding": holding([(rate.low, rate.high) for rate in rates], 1 - case.tested.accuracy),
        }
    return found


def _stream_of(case: ReasonsCase) -> Callable[..., Iterator[FeatureBatch]]:
    """Serves the features that the case has, instead of reading all images again."""
    place = {path: row for row, path in enumerate(case.tested.paths)}

    def stream(
        listing: ImageListing, extractor: Extractor, *, progress: Progress = no_progress
    ) -> Iterator[FeatureBatch]:
        rows = [place[path] for path in listing.paths]
        yield FeatureBatch(listing.paths, case.features[rows], ())

    return stream
