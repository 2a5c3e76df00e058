"""Rivals that need what SAFE does without: the inside of the DNN (HUDD), or another Python (pysubgroup).

HUDD's clusters get the same failure rates as RCCs (`safe_dnn/rccs/spots/rates.py`): a tested image lies in the region
of the cluster of the nearest other failing image, by the distance of the heatmaps of the layer that HUDD chose.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.paper.cases import trained_cnn
from lab.benchmarks.reasons.cases import ReasonsCase
from lab.benchmarks.reasons.measures import Condition
from lab.benchmarks.reasons.measuring import (
    CLUSTER_SOURCES,
    CONDITION_SOURCES,
    RIVAL_SOURCES,
    conditions_of,
    rated_clusters,
    rccs_of_wrong,
    without_predicted,
)
from lab.benchmarks.reasons.rivals import slice_conditions
from lab.benchmarks.rivals.hudd import BATCH, Hudd, cluster_layers, heatmap_distances
from lab.benchmarks.rivals.lrp import Lrp, prepare_lrp
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.rccs.answers import CONFIDENCE
from safe_dnn.reasons.comparison import Comparison
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.progress import Progress, no_progress

SUBGROUP_SOURCES = (*RIVAL_SOURCES, "lab/benchmarks/reasons/outside.py", "lab/benchmarks/reasons/subgroups.py")
HUDD_SOURCES = ("lab/benchmarks/reasons/outside.py", "lab/benchmarks/rivals/hudd.py", "lab/benchmarks/rivals/lrp.py")

Batches = Callable[[np.ndarray], Iterator[np.ndarray]]  # rows of the test set to inputs of the DNN


def model_of(data: Path, work: Path, given: Path | None, *, progress: Progress = no_progress) -> Path:
    """The DNN of a case, as `load_reasons_case` takes it; a small CNN is trained if there is none."""
    model = given or data / MODEL_FILE
    return model if model.is_file() else trained_cnn(data / "train", work, progress)


def with_rivals(
    result: Mapping[str, Any],
    case: ReasonsCase,
    work: Path,
    *,
    nuisance: str,
    model: Path,
    pysubgroup: Path | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """A result of `measure_case` with HUDD among its clusters and, if there is a Python for it, pysubgroup.

    Parameters
    ----------
    work : path
        Where results are kept.
    nuisance : str
        As for `measure_case`.
    model : path
        The DNN.
    pysubgroup : path, optional
        A Python with the package `pysubgroup`.

    Returns
    -------
    dict
        HUDD is None if the DNN is a regression or a detector, or its relevance cannot be propagated through it;
        otherwise as of another method, with the chosen `layer`.
    """
    answers = case.wrong.tobytes().hex()
    of_model = hashlib.blake2b(model.read_bytes(), digest_size=8).hexdigest()
    hudd = kept(
        work / "hudd.json",
        key_of(answers, of_model, nuisance, *CLUSTER_SOURCES, *HUDD_SOURCES),
        lambda: _hudd(case, model, nuisance, progress),
    )
    conditions = dict(result["conditions"])
    if pysubgroup:
        conditions["pysubgroup"] = kept(
            work / "pysubgroup.json",
            key_of(answers, ",".join(case.known.columns), *CONDITION_SOURCES, *SUBGROUP_SOURCES),
            lambda: conditions_of(case, lambda *search: _subgroups(*search, python=pysubgroup)),
        )
    return {**result, "clusters": {**result["clusters"], "HUDD": hudd}, "conditions": conditions}


def _subgroups(case: ReasonsCase, wrong: np.ndarray, rows: np.ndarray, *, python: Path) -> list[Condition]:
    return slice_conditions(without_predicted(case.known), wrong, rows, python=python, package="pysubgroup")


# --- HUDD -------------------------------------------------------------------------------------------------------


def _hudd(case: ReasonsCase, model: Path, nuisance: str, progress: Progress) -> dict[str, Any] | None:
    from safe_dnn.dnn.model import load_dnn, sized_for
    from safe_dnn.dnn.predictions import Pixels, batches

    if case.tested.answers.kind != CONFIDENCE or case.detector:
        return None  # HUDD needs a classifier of whole images
    files = [case.tested.root / path for path in case.tested.paths]
    dnn = sized_for(load_dnn(model), files)
    try:
        lrp = prepare_lrp(dnn.model)
    except SAFEError:
        return None
    pixels = Pixels(dnn, files, cache_bytes=0)

    def read(rows: np.ndarray) -> Iterator[np.ndarray]:
        return (inputs for inputs, _ in batches(dnn, pixels, rows, BATCH))

    hudd, compared = hudd_regions(lrp, read, case.wrong, progress=progress)
    clusters = replace(rccs_of_wrong(case, case.wrong), labels=hudd.labels)  # of RCCs, only the paths remain
    rated = rated_clusters(case, clusters, compared.rates(clusters), nuisance)
    return {**rated, "layer": hudd.layers[hudd.chosen].layer}


def hudd_regions(
    lrp: Lrp, read: Batches, wrong: np.ndarray, *, progress: Progress = no_progress
) -> tuple[Hudd, Comparison]:
    """HUDD's clusters of the failing images, and the nearest other failing image of each tested one.

    Parameters
    ----------
    read : callable
        Inputs of the DNN in batches, for rows of the test set.
    wrong : ndarray of shape (n_images,), bool
    """
    failing, right = np.flatnonzero(wrong), np.flatnonzero(~wrong)
    distances = heatmap_distances(lrp, read(failing), len(failing), store="disk", progress=progress)
    hudd = cluster_layers(distances)
    place = hudd.chosen
    apart = distances[lrp.layers[place]].copy()
    np.fill_diagonal(apart, np.inf)
    of_failing = apart.argmin(axis=1) if len(failing) > 1 else np.full(len(failing), -1)
    rows = np.concatenate([_heatmaps(lrp, batch, place) for batch in read(failing)])
    nearest = [np.zeros(0, int)]
    for batch in read(right):
        nearest.append(nearest_rows(_heatmaps(lrp, batch, place), rows))
        progress("Heatmaps of right images", sum(map(len, nearest)), len(right))
    return hudd, Comparison(np.arange(len(failing)), of_failing, np.concatenate(nearest))


def _heatmaps(lrp: Lrp, batch: np.ndarray, place: int) -> np.ndarray:
    return lrp.heatmaps(batch)[place].numpy().reshape(len(batch), -1)


def nearest_rows(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The nearest row of each point, by Euclidean distance; the first of equal ones.

    Both are centred first, as in `euclidean_distances`.

    Parameters
    ----------
    points, rows : ndarray of shape (n_points, dimension) and (n_rows, dimension), float32
    """
    mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = rows - mean
    squares = np.einsum("ij,ij->i", rows, rows)
    return (squares - 2 * ((points - mean) @ rows.T)).argmin(axis=1)
