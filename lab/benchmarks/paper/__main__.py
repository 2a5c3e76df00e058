"""Evaluation of the paper's research questions: SAFE against HUDD, K-means and random groups.

    python -m lab.benchmarks.paper [--cases CASE ...] [--data CASE=DIR ...] [--work DIR] [--quick]

Writes two sections of lab/results/paper.md: `paper`, and `paper-cost` for the cases of which time and memory are
measured. Case studies are built in the work folder if no folder is given for them; photographs (`gtsrb`) must be given.
Every result is kept in the work folder: an interrupted run resumes from there, and a result is measured again when
something it depends on has changed.

Features are computed in the number format that SAFE takes by default on the machine (`--precision auto`).

All methods get the same failing images and the same features. Each method runs on all failing images, and on subsets
that leave out a random tenth of them. K-means and random groups have as many clusters as SAFE found; random groups also
have the same sizes. HUDD needs a classifier, and is left out of `fld`, a regression, and of `od`, a detector.
"""

import argparse
import dataclasses
import os
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from lab.benchmarks.kept import kept, key_of, named_paths
from lab.benchmarks.paper.cases import CASES, PaperCase, load_paper_case
from lab.benchmarks.paper.cost import measure_cost, save_alexnet
from lab.benchmarks.paper.measures import known_cause_labels, measure_outcome
from lab.benchmarks.paper.report import cost_section, paper_section
from lab.benchmarks.results import tell
from lab.benchmarks.rivals.hudd import cluster_layers, run_hudd
from lab.casestudies.build import build_case
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures, extract_features
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing, write_text

KEPT_SHARE = 0.9  # of the failing images in a repetition
# The sources that a kept result depends on
HUDD_SOURCES = ("lab/benchmarks/rivals/lrp.py", "lab/benchmarks/rivals/hudd.py")
SAFE_SOURCES = (
    "FE.py",
    *(f"safe_dnn/features/{name}.py" for name in ("extractor", "vgg16", "batches")),
    "clustering.py",
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("projection", "neighbours", "density")),
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("consensus", "tuning")),
)
MEASURE_SOURCES = ("lab/benchmarks/paper/measures.py", "lab/benchmarks/paper/cases.py")
ALEXNET_CASES = ("gd", "oc")  # in the paper, the DNN under test of these cases is AlexNet
SUBSET_SIZES = (250, 500)  # numbers of failing images


@terminal_progress()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.paper", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--data", nargs="+", metavar="CASE=DIR", default=[], help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", default=".paper", help="folder for results (default: .paper)")
    parser.add_argument("--repetitions", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--subsets", type=int, default=10, metavar="N",
        help="random subsets of each smaller number of failing images (default: 10; 0: none)",
    )  # fmt: skip
    parser.add_argument(
        "--cost-cases", nargs="*", choices=CASES, default=["gd", "oc", "gtsrb"], metavar="CASE",
        help="cases whose time and memory are measured (default: gd oc gtsrb; none if given without a CASE)",
    )  # fmt: skip
    parser.add_argument("--cost-runs", type=int, default=3, metavar="N", help="number of timed runs (default: 3)")
    parser.add_argument(
        "--quick", action="store_true", help="two subsets, no time and memory; print the section, write nothing"
    )
    options = parser.parse_args(arguments)
    if options.quick:
        options.repetitions, options.subsets, options.cost_cases = 2, 0, []
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        data, work = named_paths("--data", options.data), prepare_folder(options.work)
        if unknown := sorted(set(data) - set(CASES)):
            raise SAFEError(f"--data must name cases of {', '.join(CASES)}. Received: {', '.join(unknown)}")
        if not any(work.iterdir()):
            write_text(work / ".gitignore", "*\n")  # the default work folder is in the repository
        results = {}
        for name in options.cases:
            folder = data.get(name, work / "built" / name)
            if name == "gtsrb" and name not in data:
                print(f"{name}: left out; give its folder with --data {name}=DIR", file=sys.stderr)
                continue
            if name not in data and not folder.exists():
                build_case(name, folder)
            results[name] = measure_case(name, folder, prepare_folder(work / name), options)
        if not results:
            raise SAFEError("Expected at least one case with data. Received none; see --data.")
        tell("paper", paper_section(results), write=not options.quick)
        if text := cost_section(results):
            tell("paper-cost", text, write=True)
    except SAFEError as error:
        print(f"paper: {error}", file=sys.stderr)
        return 2
    return 0


# --- A case -----------------------------------------------------------------------------------------------------


def measure_case(name: str, data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements of a case, in the types of JSON; each is kept in `work` as soon as it is complete.

    Returns
    -------
    dict
        `case` (failing images, test images, unsafe values, extractor), `whole` and `repetitions` (an `Outcome` for each
        method), `subsets` (SAFE's results for fewer failing images) and `cost`.
    """
    case = load_paper_case(name, data, work)
    images = extract_features(case.root, choose_extractor("auto", precision="auto"))
    if images.paths != case.paths:
        raise SAFEError(f"Expected readable images in {case.root}. Received {len(images.skipped)} unreadable images.")
    distances = _kept_distances(case, work)
    key = key_of(case.digest, images.extractor.identity, *SAFE_SOURCES, *HUDD_SOURCES, *MEASURE_SOURCES)
    subsets_key = key_of(key, str(SUBSET_SIZES), str(options.subsets))
    return {
        "case": {
            "failing": len(case.paths),
            "tested": len(next(iter(case.reference.values()))),
            "values": [(value.source, value.text) for value in case.values],
            "causes": list(case.causes),
            "extractor": images.extractor.identity,
        },
        "whole": kept(work / "whole.json", key, lambda: compare_methods(case, images, distances, None)),
        "repetitions": [
            kept(work / f"repetition-{seed}.json", key, partial(compare_methods, case, images, distances, seed))
            for seed in range(options.repetitions)
        ],
        "subsets": kept(work / "subsets.json", subsets_key, lambda: _subsets(case, images, options.subsets)),
        "cost": _costs(case, work, options.cost_runs) if name in options.cost_cases else {},
    }


def compare_methods(
    case: PaperCase, images: ImageFeatures, distances: dict[str, np.ndarray], seed: int | None
) -> dict[str, dict[str, Any]]:
    """An `Outcome` for each method, on all failing images or, with a seed, without a random tenth of them."""
    n = len(case.paths)
    chosen = np.arange(n)
    if seed is not None:
        chosen = _subset(n, round(KEPT_SHARE * n), seed)
    clusters = find_root_cause_clusters(_only(images, chosen))
    found = {"SAFE": clusters.labels}
    if case.classifier:
        found["HUDD"] = cluster_layers({layer: one[np.ix_(chosen, chosen)] for layer, one in distances.items()}).labels
    if clusters.n_rccs > 1:
        found["K-means"] = KMeans(clusters.n_rccs, n_init=10, random_state=seed or 0).fit_predict(clusters.points)
    else:
        found["K-means"] = np.zeros(len(chosen), int)
    found["random"] = np.random.default_rng(seed or 0).permutation(clusters.labels)
    if case.causes:
        found["known causes"] = known_cause_labels(case.causes)[chosen]
    failing = _columns(case, chosen)
    return {
        method: measure_outcome(labels, failing, case.reference, case.values)._asdict()
        for method, labels in found.items()
    }


def _only(images: ImageFeatures, chosen: np.ndarray) -> ImageFeatures:
    paths = tuple(images.paths[i] for i in chosen.tolist())
    return dataclasses.replace(images, paths=paths, features=images.features[chosen])


def _columns(case: PaperCase, chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[chosen] for name, column in case.failing.items()}


def _subset(n: int, size: int, seed: int | list[int]) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def _subsets(case: PaperCase, images: ImageFeatures, per_size: int) -> list[dict[str, Any]]:
    """SAFE's results for fewer failing images: the fields of an `Outcome` and the `size` of each subset."""
    n = len(case.paths)
    found = []
    for size in [size for size in SUBSET_SIZES if size < n]:
        for seed in range(per_size):
            chosen = _subset(n, size, [size, seed])
            labels = find_root_cause_clusters(_only(images, chosen)).labels
            outcome = measure_outcome(labels, _columns(case, chosen), case.reference, case.values)
            found.append({"size": size, **outcome._asdict()})
    return found


def _kept_distances(case: PaperCase, work: Path) -> dict[str, np.ndarray]:
    """Distances between heatmaps, computed only once; none for a regression."""
    if not case.classifier:
        return {}
    path = work / f"heatmap-distances-{key_of(case.digest, *HUDD_SOURCES)}.npz"
    if not path.is_file():
        _, distances, _ = run_hudd(case.model, case.root, case.paths, store="disk")
        for old in work.glob("heatmap-distances-*.npz"):
            old.unlink()
        with replacing(path) as temporary:
            np.savez(temporary, **dict[str, Any](distances))
    with np.load(path, allow_pickle=False) as stored:
        return {layer: stored[layer] for layer in stored.files}


def _costs(case: PaperCase, work: Path, runs: int) -> dict[str, list[dict[str, Any]]]:
    """Cost of each method on a case; that of HUDD also on AlexNet, for the cases in which the paper uses it."""
    tasks = [("SAFE", "safe", case.model), ("SAFE, bfloat16", "safe-bfloat16", case.model)]
    if case.classifier:
        tasks.append(("HUDD", "hudd", case.model))
    if case.name in ALEXNET_CASES:
        alexnet = work / "alexnet.keras"
        if not alexnet.is_file():
            save_alexnet(alexnet, 8)
        tasks.append(("HUDD, AlexNet", "hudd", alexnet))
    costs: dict[str, list[dict[str, Any]]] = {}
    for label, method, model in tasks:
        sources = HUDD_SOURCES if method == "hudd" else SAFE_SOURCES
        key = key_of(case.digest, str(runs), *sources, "lab/benchmarks/paper/cost.py")
        file = work / f"cost-{label.replace(', ', '-').lower()}.json"
        costs[label] = kept(file, key, partial(measure_cost, method, model, case.root, runs=runs))
    return costs


if __name__ == "__main__":
    sys.exit(main())
