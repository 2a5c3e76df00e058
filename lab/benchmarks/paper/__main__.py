"""Evaluation of the paper's research questions: SAFE against HUDD, K-means and random groups.

    python -m lab.benchmarks.paper [--cases CASE ...] [--data CASE=DIR ...] [--work DIR] [--quick]

Writes sections of lab/results/paper.md: `paper` for the paper's cases, `paper-large` for those with as many failures
as in the paper, `paper-cost` if time and memory are measured, `paper-growth` if they are by number of failures; and the
pictures in lab/results/plots/. A section of which no case is measured stays as it is; with --cost-only, only time and
memory are measured. Case studies are built in the work folder if no folder is given for them;
photographs (`gtsrb`) must be given. Every result is kept in the work folder: an interrupted run resumes from there, and
a result is measured again when something it depends on has changed.

Features are computed in the number format that SAFE takes by default on the machine (`--precision auto`).

All methods get the same failing images and the same features. Each method runs on all failing images, and on subsets
that leave out a random tenth of them. K-means and random groups have as many clusters as SAFE found; random groups also
have the same sizes. HUDD needs a classifier, and is left out of `fld`, a regression, and of `od`, a detector.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.paper import cost as paper_cost
from lab.benchmarks.paper.cases import BUILT_FROM, CASES, LARGE_TEST_SETS, PaperCase, load_paper_case
from lab.benchmarks.paper.measures import known_cause_labels, measure_outcome
from lab.benchmarks.paper.plots import draw_growth_plot, draw_paper_plots
from lab.benchmarks.paper.report import cost_section, growth_section, paper_section
from lab.benchmarks.results import PLOTS, write_section
from lab.benchmarks.rivals.hudd import cluster_layers, run_hudd
from safe_dnn.casestudies.build import print_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures, extract_features
from safe_dnn.features.weights import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing, write_text

KEPT_SHARE = 0.9  # of the failing images in a repetition
# The sources that a kept result depends on
HUDD_SOURCES = ("lab/benchmarks/rivals/lrp.py", "lab/benchmarks/rivals/hudd.py")
SAFE_SOURCES = (
    "FE.py",
    *(f"safe_dnn/features/{name}.py" for name in ("extractor", "weights", "network", "batches")),
    "clustering.py",
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("projection", "neighbours", "density", "relevance", "branches")),
    *(f"safe_dnn/rccs/dbscan/{name}.py" for name in ("consensus", "tuning")),
)
MEASURE_SOURCES = ("lab/benchmarks/paper/measures.py", "lab/benchmarks/paper/cases.py")
ALEXNET_CASES = ("gd", "oc")  # in the paper, the DNN under test of these cases is AlexNet
SUBSET_SIZES = (250, 500, 1000, 2000, 3000)  # numbers of failing images
GROWTH_CASE = "gd-large"
ONE_BY_ONE_UP_TO = 2000  # images; more would take hours
VGG16_IMAGES = 100  # VGG16's heatmaps take 60 MB per image


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        data = _data_folders(options.data)
        work = prepare_folder(options.work)
        if not any(work.iterdir()):
            write_text(work / ".gitignore", "*\n")  # the default work folder is in the repository
        results = {}
        for name in options.cases:
            folder = _case_data(name, data, work)
            if folder is None:
                print(f"{name}: left out; give its folder with --data {BUILT_FROM[name]}=DIR", file=sys.stderr)
                continue
            results[name] = measure_case(name, folder, prepare_folder(work / name), options)
        if not results:
            raise SAFEError("Expected at least one case with data. Received none; see --data.")
        _report(results, options.quick)
    except SAFEError as error:
        print(f"paper: {error}", file=sys.stderr)
        return 2
    return 0


def _report(results: dict[str, dict[str, Any]], quick: bool) -> None:
    """Write the sections and their pictures; with `quick`, only print the sections."""
    groups: dict[str, dict[str, dict[str, Any]]] = {}
    for name, result in results.items():
        if "whole" in result:
            groups.setdefault("paper-large" if name in LARGE_TEST_SETS else "paper", {})[name] = result
    sections = {section: paper_section(group, section=section) for section, group in groups.items()}
    sections |= {"paper-cost": cost_section(results), "paper-growth": growth_section(results)}
    sections = {section: text for section, text in sections.items() if text}
    if quick:
        print(*sections.values(), sep="\n")
        return
    PLOTS.mkdir(exist_ok=True)
    for section, group in groups.items():
        draw_paper_plots(group, PLOTS, section=section)
    draw_growth_plot(results, PLOTS)
    for section, text in sections.items():
        print(f"Written: {section} in {write_section(section, text)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.paper", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--data", nargs="+", metavar="CASE=DIR", default=[], help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", default=".paper", help="folder for results (default: .paper)")
    parser.add_argument("--repetitions", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--subsets",
        type=int,
        default=10,
        metavar="N",
        help="random subsets of each smaller number of failing images (default: 10; 0: none)",
    )
    parser.add_argument(
        "--cost-runs",
        type=int,
        default=3,
        metavar="N",
        help="number of timed runs (default: 3; 0: measure the time in the run that measures the memory)",
    )
    parser.add_argument(
        "--cost-cases",
        nargs="*",
        choices=CASES,
        default=["gd", "oc", "gtsrb"],
        metavar="CASE",
        help="cases whose time and memory are measured (default: gd oc gtsrb; none if given without a CASE)",
    )
    parser.add_argument(
        "--growth-sizes",
        nargs="*",
        type=int,
        default=[VGG16_IMAGES, 500, 1000, 2000],
        metavar="N",
        help=f"numbers of failing images of {GROWTH_CASE} for which time and memory are measured (default: 100 500 "
        "1000 2000; none if given without an N)",
    )
    parser.add_argument(
        "--cost-only", action="store_true", help="measure time and memory only; the other sections stay as they are"
    )
    parser.add_argument(
        "--quick", action="store_true", help="two subsets, no time and memory; print the section, write nothing"
    )
    return parser


def _data_folders(given: list[str]) -> dict[str, Path]:
    folders = {}
    for one in given:
        name, _, folder = one.partition("=")
        if name not in CASES or not folder:
            raise SAFEError(f"--data must be CASE=DIR, with a CASE of {', '.join(CASES)}. Received: {one}")
        folders[name] = Path(folder).expanduser().absolute()
    return folders


def _case_data(name: str, data: dict[str, Path], work: Path) -> Path | None:
    source = BUILT_FROM[name]
    if source in data or source == "gtsrb":
        return data.get(source)
    folder = work / "built" / source
    if not folder.exists():
        from lab.casestudies.build import build_case

        build_case(source, folder, progress=print_progress)
    return folder


# --- A case -----------------------------------------------------------------------------------------------------


def measure_case(name: str, data: Path, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All measurements of a case, in the types of JSON; each is kept in `work` as soon as it is complete.

    Returns
    -------
    dict
        `case` (failing images, test images, unsafe values, extractor), `whole` and `repetitions` (an `Outcome` for each
        method), `subsets` (SAFE's results for fewer failing images), `layers` (of HUDD), `cost`, and `growth` (the cost
        of the methods by number of images); with `cost_only`, the last two.
    """
    case = load_paper_case(name, data, work, progress=print_progress)
    measured = {} if options.cost_only else _quality(case, work, options)
    cost = {} if options.quick or name not in options.cost_cases else _costs(case, work, options.cost_runs)
    growth = [] if options.quick or name != GROWTH_CASE else _growth(case, work, options.growth_sizes)
    return {**measured, "cost": cost, "growth": growth}


def _quality(case: PaperCase, work: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All that is measured of a case but time and memory."""
    images = extract_features(case.root, choose_extractor("auto", precision="auto"), progress=print_progress)
    if images.paths != case.paths:
        raise SAFEError(f"Expected readable images in {case.root}. Received {len(images.skipped)} unreadable images.")
    distances = _kept_distances(case, work)
    key = key_of(case.digest, images.extractor.identity, *SAFE_SOURCES, *HUDD_SOURCES, *MEASURE_SOURCES)
    whole = kept(work / "whole.json", key, lambda: compare_methods(case, images, distances, None))
    repetitions = [
        kept(work / f"repetition-{seed}.json", key, partial(compare_methods, case, images, distances, seed))
        for seed in range(2 if options.quick else options.repetitions)
    ]
    per_size = 0 if options.quick else options.subsets
    subsets_key = key_of(key, str(SUBSET_SIZES), str(per_size))
    subsets = kept(work / "subsets.json", subsets_key, lambda: _subsets(case, images, per_size)) if per_size else []
    layers = kept(work / "layers.json", key, lambda: _layers(case, distances))
    about = {
        "failing": len(case.paths),
        "tested": len(next(iter(case.reference.values()))),
        "values": [(value.source, value.text) for value in case.values],
        "causes": list(case.causes),
        "extractor": images.extractor.identity,
    }
    return {"case": about, "whole": whole, "repetitions": repetitions, "subsets": subsets, "layers": layers}


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
        _, distances, _ = run_hudd(case.model, case.root, case.paths, store="disk", progress=print_progress)
        for old in work.glob("heatmap-distances-*.npz"):
            old.unlink()
        with replacing(path) as temporary:
            np.savez(temporary, **dict[str, Any](distances))
    with np.load(path, allow_pickle=False) as stored:
        return {layer: stored[layer] for layer in stored.files}


def _layers(case: PaperCase, distances: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """HUDD's results for each layer of the DNN; none for a regression."""
    if not case.classifier:
        return []
    hudd = cluster_layers(distances)
    return [
        {
            "layer": one.layer,
            "chosen": i == hudd.chosen,
            **measure_outcome(one.labels, case.failing, case.reference, case.values)._asdict(),
        }
        for i, one in enumerate(hudd.layers)
    ]


# --- Time and memory --------------------------------------------------------------------------------------------


def _costs(case: PaperCase, work: Path, runs: int) -> dict[str, list[dict[str, Any]]]:
    """Cost of each method on a case; that of HUDD also on AlexNet, for the cases in which the paper uses it."""
    costs: dict[str, list[dict[str, Any]]] = {}
    tasks = [("SAFE", "safe", case.model), ("SAFE, bfloat16", "safe-bfloat16", case.model)]
    tasks += [("HUDD", "hudd", case.model), ("HUDD, disk", "hudd-disk", case.model)]
    if case.name in ALEXNET_CASES:
        tasks.append(("HUDD, AlexNet", "hudd", _saved(work / "alexnet.keras", paper_cost.save_alexnet)))
    for label, method, model in tasks:
        if label.startswith("HUDD") and not case.classifier:
            continue
        file = work / f"cost-{_in_file_name(label)}.json"
        costs[label] = kept(
            file, _cost_key(case, method, runs), partial(_cost_records, method, model, case.root, runs, trace=True)
        )
    return costs


def _cost_records(method: str, model: Path, images: Path, runs: int, *, trace: bool) -> list[dict[str, Any]]:
    return [cost._asdict() for cost in paper_cost.measure_cost(method, model, images, runs=runs, trace=trace)]


def _saved(path: Path, save: Callable[[Path, int], None]) -> Path:
    if not path.is_file():
        save(path, 8)
    return path


def _in_file_name(label: str) -> str:
    return label.replace(", ", "-").replace(" ", "-").lower()


def _cost_key(case: PaperCase, method: str, runs: int) -> str:
    sources = SAFE_SOURCES if method.startswith("safe") else HUDD_SOURCES
    return key_of(case.digest, str(runs), *sources, "lab/benchmarks/paper/cost.py")


def _growth(case: PaperCase, work: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Cost of each method on random subsets of a case's failing images: `size`, `label` and the fields of a `Cost`.

    One run each. For heatmaps one by one, only the time is measured, since it grows with n² and soon reaches hours.
    """
    alexnet = _saved(work / "alexnet.keras", paper_cost.save_alexnet)
    vgg16 = _saved(work / "vgg16.keras", paper_cost.save_vgg16)
    tasks = []
    for size in sorted({min(size, len(case.paths)) for size in sizes}):
        tasks += [(size, "SAFE", "safe", case.model), (size, "SAFE, bfloat16", "safe-bfloat16", case.model)]
        tasks.append((size, "HUDD, AlexNet", "hudd", alexnet))
        if size <= VGG16_IMAGES:
            tasks.append((size, "HUDD, VGG16", "hudd", vgg16))
        if size <= ONE_BY_ONE_UP_TO:
            tasks.append((size, "HUDD, AlexNet, one by one", "hudd-one-by-one", alexnet))
    measured = []
    for size, label, method, model in sorted(tasks, key=lambda task: task[2] == "hudd-one-by-one"):  # slowest last
        listing = work / f"images-{size}.txt"
        chosen = _subset(len(case.paths), size, [size, 0]).tolist()
        write_text(listing, "".join(f"{case.root / case.paths[i]}\n" for i in chosen))
        file = work / f"growth-{size}-{_in_file_name(label)}.json"
        trace = method != "hudd-one-by-one"
        (cost,) = kept(file, _cost_key(case, method, 1), partial(_cost_records, method, model, listing, 1, trace=trace))
        measured.append({"size": size, "label": label, **cost})
    return measured


if __name__ == "__main__":
    sys.exit(main())
