"""What if the nuisance is not known? Ways to see reasons rather than looks, compared with the default.

    python -m lab.benchmarks.reasons.unknown --data NAME=DIR ... [--model NAME=FILE ...] --work DIR

Cases and work folder are as for `lab.benchmarks.reasons`, whose answers of the DNN are used if they are there.
Every way changes the features of failing and of right images (`contrasts.py`); RCCs and their rates are then found as
always. A table is printed for each case. docs/decisions/032-unknown-nuisances.md has the figures and what follows.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.paper.measures import REDUCED, reduction
from lab.benchmarks.reasons.__main__ import _named
from lab.benchmarks.reasons.cases import ReasonsCase, failing_images, images_beside, load_reasons_case
from lab.benchmarks.reasons.contrasts import (
    Both,
    contrastive,
    joined,
    whitened,
    without_centres,
    without_directions,
    without_nearest,
)
from lab.benchmarks.reasons.measures import shared_information
from lab.benchmarks.reasons.measuring import CLUSTER_SOURCES, rated_clusters
from lab.benchmarks.reasons.outside import model_of
from lab.benchmarks.reasons.report import _number, _percent, _table
from safe_dnn.casestudies.build import print_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import Extractor, comparable
from safe_dnn.features.weights import choose_extractor
from safe_dnn.rccs.clusters import INSPECTED_PER_RCC, RootCauseClusters
from safe_dnn.rccs.dbscan.set_aside import Nuisance, SetAside, fit_set_aside
from safe_dnn.rccs.spots.rates import nearest_failing
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Comparison
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder

DIMENSIONS = 512  # principal components of all tested images, in which they are compared
POINTS = "points"
SET_APART = "set apart"  # the way that SAFE has
APART_SOURCES = ("safe_dnn/rccs/dbscan/contrast.py",)
RIVAL_SOURCES = ("lab/benchmarks/reasons/contrasts.py",)
HEADER = (
    *("way", "RCCs", "inspect", "noise", "more", "causes", "NMI cause", "nuisance", "class", "predicted"),
    *("RCCs of one", "by a parameter", "its variance", "information"),
)


class Case:
    """A case with its points, each computed when it is first needed.

    Attributes
    ----------
    points : tuple of ndarray
        Scaled features of failing and right images, as they are clustered.
    reduced : tuple of ndarray
        The same in `DIMENSIONS` dimensions.
    hidden : tuple of ndarray
        What the DNN's last layer gets.
    """

    def __init__(self, case: ReasonsCase, model: Path, nuisance: str) -> None:
        self.case, self.nuisance, self._model = case, nuisance, model

    def parted(self, of_all: np.ndarray) -> Both:
        """Rows of failing and of right images."""
        return of_all[self.case.wrong], of_all[~self.case.wrong]

    @cached_property
    def points(self) -> Both:
        return self.parted(comparable(self.case.features, self.case.extractor.name))

    @cached_property
    def reduced(self) -> Both:
        from sklearn.decomposition import PCA

        scaled = comparable(self.case.features, self.case.extractor.name)
        n = min(DIMENSIONS, *scaled.shape)
        return self.parted(PCA(n, svd_solver="randomized", random_state=0).fit_transform(scaled))

    @cached_property
    def hidden(self) -> Both:
        return self.parted(last_hidden(self._model, [self.case.tested.root / path for path in self.case.tested.paths]))

    @cached_property
    def without_nuisance(self) -> Both:
        """The points without what the nuisance explains, if it is known."""
        name, column = self.nuisance, self.case.known.columns[self.nuisance]
        what = fit_set_aside(self.case.features, self.case.extractor.name, {name: column})
        return self.parted(what.apply(comparable(self.case.features, self.case.extractor.name), {name: column}))


def ways(case: Case) -> dict[str, Callable[[], Both]]:
    """What is compared, by name; `SET_APART` gets the points of the default."""
    found: dict[str, Callable[[], Both]] = {"default": lambda: case.points, SET_APART: lambda: case.points}
    column = case.case.known.columns.get(case.nuisance)
    if column is not None and not np.array_equal(column, case.case.known.columns[LABEL]):
        found[f"{case.nuisance} known and set aside"] = lambda: case.without_nuisance
    found[f"{DIMENSIONS} dimensions"] = lambda: case.reduced
    found |= {f"contrastive PCA, α = {alpha}": _on(case, contrastive, alpha=alpha) for alpha in (0.5, 1, 2)}
    found |= {f"whitened, shrunk by {part}": _on(case, whitened, shrinkage=part) for part in (0.1, 0.5, 0.9)}
    found |= {f"without {n} directions": _on(case, without_directions, n=n) for n in (5, 10, 20, 40)}
    found |= {f"without the {n} nearest": _on(case, without_nearest, n=n) for n in (5, 20)}
    found |= {f"without the nearest of {n} centres": _on(case, without_centres, n=n) for n in (10, 20, 40)}
    found |= {f"last layer, weight {weight}": partial(_with_hidden, case, weight) for weight in (0.25, 0.5, 1)}
    return found


def _on(case: Case, change: Callable[..., Both], **options: float) -> Callable[[], Both]:
    return lambda: change(*case.reduced, **options)


def _with_hidden(case: Case, weight: float) -> Both:
    return joined(case.points, case.hidden, weight=weight)


def last_hidden(path: Path, files: list[Path]) -> np.ndarray:
    """What the last layer of the DNN gets for each image, as rows: float32.

    Raises
    ------
    SAFEError
        It is no Keras model whose last layer has weights, or an image cannot be read.
    """
    import keras

    from safe_dnn.dnn.model import load_dnn, sized_for
    from safe_dnn.dnn.predictions import Pixels, batches

    dnn = sized_for(load_dnn(path), files)
    if not isinstance(dnn.model, keras.Model) or not dnn.model.layers[-1].weights:
        raise SAFEError(f"Expected a Keras model whose last layer has weights. Received: {path}")
    model: Any = dnn.model
    hidden: Any = keras.Model(model.inputs, model.layers[-1].input)
    pixels = Pixels(dnn, files, cache_bytes=0)
    rows = [
        hidden.predict_on_batch(inputs).reshape(len(kept), -1)
        for inputs, kept in batches(dnn, pixels, np.arange(len(files)), 64)
    ]
    found = np.concatenate(rows)
    if len(found) != len(files):
        raise SAFEError(f"Expected readable images. Received: {len(files) - len(found)} that are not.")
    return found


# --- Clustering -------------------------------------------------------------------------------------------------


class _Replaced(Nuisance):
    """In the place of a nuisance: images get other points, which stand in a column."""

    def without(self, scaled: np.ndarray, rows: slice) -> np.ndarray:
        return self.columns[POINTS][rows]


def _replaced(points: np.ndarray) -> _Replaced:
    nothing = SetAside("", (), np.zeros(0), np.zeros((0, 1), np.float32))
    return _Replaced(nothing, {POINTS: points})


def cluster_points(case: ReasonsCase, points: Both, *, set_apart: bool = False) -> tuple[RootCauseClusters, Comparison]:
    """The RCCs of the failing images, as always but for their points, and where the right images lie."""
    if set_apart:
        return _set_apart(case)
    failing, right = (one.astype(np.float32) for one in points)
    paths = tuple(np.array(case.tested.paths)[case.wrong].tolist())
    anything = Extractor("vgg16-fc2", case.extractor.identity, None)  # features of any dimension; they are replaced
    images = ImageFeatures(case.tested.root, paths, failing, anything, ())
    clusters = find_root_cause_clusters(images, nuisance=_replaced(failing))
    at = clusters.projection.apply(right, nuisance=_replaced(right))
    return clusters, Comparison(np.arange(len(paths)), *nearest_failing(clusters.points, at))


def _set_apart(case: ReasonsCase) -> tuple[RootCauseClusters, Comparison]:
    """The same by what sets failing images apart from right ones."""
    images, right = failing_images(case), images_beside(case)
    clusters, n = find_root_cause_clusters(images, right=right), len(images.paths)
    of_right = clusters.projection.apply(right.features, classes=right.classes[n:], names=right.names[n:])
    return clusters, Comparison(np.arange(n), *nearest_failing(clusters.points, of_right))


def measure_way(case: ReasonsCase, nuisance: str, way: str, make: Callable[[], Both]) -> dict[str, Any]:
    """The measures of `python -m lab.benchmarks.reasons`, and how well a recorded parameter describes each RCC."""
    clusters, compared = cluster_points(case, make(), set_apart=way == SET_APART)
    predicted = case.known.columns.get(PREDICTED)
    best = best_reductions(clusters.labels, clusters.n_rccs, _parameters(case, nuisance))
    rated = rated_clusters(case, clusters, compared.rates(clusters), nuisance)
    if predicted is not None:
        rated["nmi"]["predicted"] = shared_information(clusters.labels, predicted[case.wrong])
    inspected = np.minimum(np.bincount(clusters.labels[clusters.labels >= 0]), INSPECTED_PER_RCC).sum()
    return {
        **rated,
        "directions": clusters.points.shape[1],
        "inspect": float(inspected / len(clusters.labels)),
        "by a parameter": sum(one >= REDUCED for one in best) if best else None,
        "its variance": float(np.median(best)) if best else None,
    }


def _parameters(case: ReasonsCase, nuisance: str) -> dict[str, np.ndarray]:
    """The recorded numbers of the failing images."""
    left_out = {*case.known.measured, LABEL, PREDICTED, nuisance}
    return {
        name: column[case.wrong]
        for name, column in case.known.columns.items()
        if name not in left_out and column.dtype.kind == "f"
    }


def best_reductions(labels: np.ndarray, n_rccs: int, columns: dict[str, np.ndarray]) -> list[float]:
    """For each RCC, by what share the variance of the best parameter falls, relative to all failing images."""
    if not columns:
        return []
    return [max(reduction(name, col[labels == rcc], col) for name, col in columns.items()) for rcc in range(n_rccs)]


# --- The program ------------------------------------------------------------------------------------------------


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; see the module's docstring."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        data, models = _named("--data", options.data), _named("--model", options.model)
        work = prepare_folder(options.work)
        extractor = choose_extractor("vgg16-conv", precision=options.precision)
        for name, folder in data.items():
            own = prepare_folder(work / name)
            loaded = load_reasons_case(name, folder, own, extractor, model=models.get(name), progress=print_progress)
            case = Case(loaded, model_of(folder, own, models.get(name), progress=print_progress), options.nuisance)
            results = measured(case, prepare_folder(own / "unknown"), chosen=options.ways)
            print(f"\n{name}\n\n{table(results, options.nuisance)}", flush=True)
    except SAFEError as error:
        print(f"unknown: {error}", file=sys.stderr)
        return 2
    return 0


def measured(case: Case, work: Path, *, chosen: Sequence[str] | None = None) -> dict[str, dict[str, Any]]:
    """The result of every way, or of those whose names contain one of the words; each is kept in `work`."""
    found = {way: make for way, make in ways(case).items() if chosen is None or any(words in way for words in chosen)}
    return {
        way: kept(
            work / f"{way.replace(' ', '-')}.json",
            _key(case, way),
            partial(measure_way, case.case, case.nuisance, way, make),
        )
        for way, make in found.items()
    }


def _key(case: Case, way: str) -> str:
    sources = (*CLUSTER_SOURCES, *(APART_SOURCES if way == SET_APART else RIVAL_SOURCES))
    return key_of(case.case.wrong.tobytes().hex(), case.case.extractor.identity, case.nuisance, *sources)


def table(results: dict[str, dict[str, Any]], nuisance: str) -> str:
    """Markdown, a row for each way."""
    rows = []
    for way, one in results.items():
        nmi = one["nmi"]
        rows.append(
            (
                way,
                str(one["rccs"]),
                *(_percent(one[what]) for what in ("inspect", "noise")),
                str(one["verdicts"]["more"]),
                f"{len(one['causes of any'])}" if "cause" in nmi else "–",
                *(_number(nmi[what]) if what in nmi else "–" for what in ("cause", nuisance, LABEL, PREDICTED)),
                f"{one['of one']}" if nuisance in nmi else "–",
                "–" if one["by a parameter"] is None else f"{one['by a parameter']}",
                "–" if one["its variance"] is None else f"−{100 * one['its variance']:.0f} %",
                _percent(one["information"][1]),
            )
        )
    return _table(HEADER, rows)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m lab.benchmarks.reasons.unknown", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of the cases")
    parser.add_argument("--model", nargs="+", metavar="NAME=FILE", default=[], help="DNNs; default: model.keras in DIR")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for results")
    parser.add_argument("--ways", nargs="+", metavar="WORDS", help="only those whose names contain any of these")
    parser.add_argument("--nuisance", metavar="NAME", default="person", help="parameter that is no reason")
    parser.add_argument("--precision", metavar="NAME", default="float32", help="default: float32")
    return parser


if __name__ == "__main__":
    sys.exit(main())
