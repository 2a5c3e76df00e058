"""The paper's research questions measured again: SAFE against HUDD, K-means and random groups.

    python -m benchmarks.paper [--cases gd oc gtsrb gd-large oc-large] [--data CASE=DIR ...] [--work DIR] [--quick]

Writes the section `paper` of benchmarks/RESULTS.md and the pictures in benchmarks/plots/. `gd` and `oc` are built in
the work folder where no folder is given for them; photographs (`gtsrb`) must be given. Every result is kept in the work
folder: a run that was stopped goes on from there, and a result is measured anew when what it depends on has changed.

All methods get the same failing images and the same features. Each is run on all failing images, and again on
repetitions that leave a random tenth of them out; K-means and random groups have as many clusters as SAFE found,
random groups also the same sizes.
"""

import argparse
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from benchmarks.paper import cost as paper_cost
from benchmarks.paper.cases import BUILT_FROM, CASES, PaperCase, load_case
from benchmarks.paper.measures import known_cause_labels, measure
from benchmarks.paper.plots import draw_plots
from benchmarks.paper.report import write_report
from benchmarks.results import RESULTS_FILE, write_section
from benchmarks.rivals.hudd import cluster_layers, run_hudd
from clustering import find_root_cause_clusters
from FE import ImageFeatures, extract_features
from features.weights import choose_extractor
from support.errors import SAFEError
from support.files import prepare_folder, replacing, write_text

ROOT = Path(__file__).parents[2]
PLOTS = Path(__file__).parents[1] / "plots"
KEPT_SHARE = 0.9  # of the failing images in a repetition
# What a kept result depends on
HUDD_SOURCES = ("benchmarks/rivals/lrp.py", "benchmarks/rivals/hudd.py")
SAFE_SOURCES = (
    "FE.py",
    *(f"features/{name}.py" for name in ("extractor", "weights", "network", "batches")),
    "clustering.py",
    *(
        f"dbscan/{name}.py"
        for name in ("projection", "neighbours", "density", "branches", "relevance", "silhouettes", "tuning")
    ),
)
MEASURE_SOURCES = ("benchmarks/paper/measures.py", "benchmarks/paper/cases.py")
ALEXNET_CASES = ("gd", "oc")  # in the paper, these have AlexNet for the DNN under test
SUBSET_SIZES = (250, 500, 1000, 2000, 3000)  # failing images of which RCCs are inspected
SUBSETS = 10  # random ones of each size
GROWTH_CASE = "gd-large"
ONE_BY_ONE_UP_TO = 2000  # images; from there on it takes hours
VGG16_IMAGES = 100  # VGG16's heatmaps take 60 MB an image


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's text."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        data = _data_folders(options.data)
        work = prepare_folder(options.work)
        if not any(work.iterdir()):
            write_text(work / ".gitignore", "*\n")  # results are kept beside the sources, and not committed
        results = {}
        for name in options.cases:
            folder = _case_data(name, data, work)
            if folder is None:
                print(f"{name}: left out; name its folder with --data {BUILT_FROM[name]}=DIR", file=sys.stderr)
                continue
            results[name] = run_case(name, folder, prepare_folder(work / name), options)
        if not results:
            raise SAFEError("Expected at least one case. Received none that has its data; see --data.")
        text = write_report(results)
        if options.quick:
            print(text)
            return 0
        PLOTS.mkdir(exist_ok=True)
        draw_plots(results, PLOTS)
        write_section("paper", text)
    except SAFEError as error:
        print(f"paper: {error}", file=sys.stderr)
        return 2
    print(f"Written: {RESULTS_FILE} and {PLOTS}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paper", description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), help="default: all")
    parser.add_argument("--data", nargs="+", metavar="CASE=DIR", default=[], help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", default=".paper", help="where results are kept (default: .paper)")
    parser.add_argument("--repetitions", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument(
        "--cost-runs",
        type=int,
        default=3,
        metavar="N",
        help="times each run is timed (default: 3; 0: together with its memory)",
    )
    parser.add_argument(
        "--cost-cases",
        nargs="*",
        choices=CASES,
        default=["gd", "oc", "gtsrb"],
        metavar="CASE",
        help="of which to measure time and memory (default: gd oc gtsrb; --cost-cases alone: none)",
    )
    parser.add_argument(
        "--growth-sizes",
        nargs="*",
        type=int,
        default=[VGG16_IMAGES, 500, 1000, 2000],
        metavar="N",
        help=f"failing images of {GROWTH_CASE} with which time and memory are measured (--growth-sizes alone: none)",
    )
    parser.add_argument(
        "--quick", action="store_true", help="two repetitions, no time and memory; print the section, write nothing"
    )
    return parser


def _data_folders(given: list[str]) -> dict[str, Path]:
    folders = {}
    for one in given:
        name, _, folder = one.partition("=")
        if name not in CASES or not folder:
            raise SAFEError(f"--data must be CASE=DIR, CASE one of {', '.join(CASES)}. Received: {one}")
        folders[name] = Path(folder).expanduser().absolute()
    return folders


def _case_data(name: str, data: dict[str, Path], work: Path) -> Path | None:
    source = BUILT_FROM[name]
    if source in data or source == "gtsrb":
        return data.get(source)
    folder = work / "built" / source
    if not folder.exists():
        from casestudies.build import build_case

        build_case(source, folder, progress=_progress)
    return folder


# --- A case -----------------------------------------------------------------------------------------------------


def run_case(name: str, data: Path, work: Path, options: argparse.Namespace) -> dict:
    """Everything that is measured on a case, as JSON would hold it; kept in `work`, piece by piece.

    Returns
    -------
    dict
        `case` (failing images, test images, unsafe values, extractor), `whole` and `repetitions` (an `Outcome` for each
        method), `subsets` (of smaller numbers of failing images: what SAFE finds), `layers` (of HUDD), `cost` and
        `growth` (what the methods cost with more and more images).
    """
    case = load_case(name, data, work, _progress)
    images = extract_features(case.root, choose_extractor("auto"), progress=_progress)
    if images.paths != case.paths:
        raise SAFEError(f"Expected readable images in {case.root}. Received {len(images.skipped)} that are not.")
    distances = _kept_distances(case, work)
    key = _key(case.digest, images.extractor.identity, *SAFE_SOURCES, *HUDD_SOURCES, *MEASURE_SOURCES)
    whole = _kept(work / "whole.json", key, lambda: run_methods(case, images, distances, None))
    repetitions = [
        _kept(work / f"repetition-{seed}.json", key, lambda seed=seed: run_methods(case, images, distances, seed))
        for seed in range(2 if options.quick else options.repetitions)
    ]
    subsets_key = _key(key, str(SUBSET_SIZES), str(SUBSETS))
    subsets = _kept(work / "subsets.json", subsets_key, lambda: _subsets(case, images))
    layers = _kept(work / "layers.json", key, lambda: _layers(case, distances))
    about = {
        "failing": len(case.paths),
        "tested": len(next(iter(case.reference.values()))),
        "values": [(value.source, value.text) for value in case.values],
        "causes": list(case.causes),
        "extractor": images.extractor.identity,
    }
    cost = {} if options.quick or name not in options.cost_cases else _costs(case, work, options.cost_runs)
    growth = [] if options.quick or name != GROWTH_CASE else _growth(case, work, options.growth_sizes)
    return {
        "case": about,
        "whole": whole,
        "repetitions": repetitions,
        "subsets": subsets,
        "layers": layers,
        "cost": cost,
        "growth": growth,
    }


def run_methods(case: PaperCase, images: ImageFeatures, distances: dict[str, np.ndarray], seed: int | None) -> dict:
    """All methods on all failing images, or (`seed`) without a random tenth of them: an `Outcome` for each."""
    n = len(case.paths)
    chosen = np.arange(n)
    if seed is not None:
        chosen = _subset(n, round(KEPT_SHARE * n), seed)
    clusters = find_root_cause_clusters(_only(images, chosen))
    found = {"SAFE": clusters.labels}
    found["HUDD"] = cluster_layers({layer: one[np.ix_(chosen, chosen)] for layer, one in distances.items()}).labels
    if clusters.n_rccs > 1:
        found["K-means"] = KMeans(clusters.n_rccs, n_init=10, random_state=seed or 0).fit_predict(clusters.points)
    else:
        found["K-means"] = np.zeros(len(chosen), int)
    found["random"] = np.random.default_rng(seed or 0).permutation(clusters.labels)
    if case.causes:
        found["known causes"] = known_cause_labels(case.causes)[chosen]
    failing = _columns(case, chosen)
    return {method: measure(labels, failing, case.reference, case.values)._asdict() for method, labels in found.items()}


def _only(images: ImageFeatures, chosen: np.ndarray) -> ImageFeatures:
    paths = tuple(images.paths[i] for i in chosen.tolist())
    return dataclasses.replace(images, paths=paths, features=images.features[chosen])


def _columns(case: PaperCase, chosen: np.ndarray) -> dict[str, np.ndarray]:
    return {name: column[chosen] for name, column in case.failing.items()}


def _subset(n: int, size: int, seed: int | list[int]) -> np.ndarray:
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def _subsets(case: PaperCase, images: ImageFeatures) -> list[dict]:
    """What SAFE finds in fewer failing images: an `Outcome` for each subset, and of how many images it is."""
    n = len(case.paths)
    found = []
    for size in [size for size in SUBSET_SIZES if size < n]:
        for seed in range(SUBSETS):
            chosen = _subset(n, size, [size, seed])
            labels = find_root_cause_clusters(_only(images, chosen)).labels
            outcome = measure(labels, _columns(case, chosen), case.reference, case.values)
            found.append({"size": size, **outcome._asdict()})
    return found


def _kept_distances(case: PaperCase, work: Path) -> dict[str, np.ndarray]:
    """Distances between heatmaps, computed once."""
    path = work / f"heatmap-distances-{_key(case.digest, *HUDD_SOURCES)}.npz"
    if not path.is_file():
        _, distances, _ = run_hudd(case.model, case.root, case.paths, "disk", _progress)
        for old in work.glob("heatmap-distances-*.npz"):
            old.unlink()
        with replacing(path) as temporary:
            np.savez(temporary, **distances)
    with np.load(path, allow_pickle=False) as stored:
        return {layer: stored[layer] for layer in stored.files}


def _layers(case: PaperCase, distances: dict[str, np.ndarray]) -> list[dict]:
    """What each layer of the DNN would have given HUDD."""
    hudd = cluster_layers(distances)
    return [
        {
            "layer": one.layer,
            "chosen": i == hudd.chosen,
            **measure(one.labels, case.failing, case.reference, case.values)._asdict(),
        }
        for i, one in enumerate(hudd.layers)
    ]


# --- Time and memory --------------------------------------------------------------------------------------------


def _costs(case: PaperCase, work: Path, runs: int) -> dict:
    """Cost of each method on a case; HUDD also on AlexNet, where the paper has it."""
    costs = {}
    tasks = [("SAFE", "safe", case.model), ("HUDD", "hudd", case.model), ("HUDD, disk", "hudd-disk", case.model)]
    if case.name in ALEXNET_CASES:
        tasks.append(("HUDD, AlexNet", "hudd", _saved(work / "alexnet.keras", paper_cost.save_alexnet)))
    for label, method, model in tasks:
        file = work / f"cost-{_in_file_name(label)}.json"
        costs[label] = _kept(
            file,
            _cost_key(case, method, runs),
            lambda method=method, model=model: [
                cost._asdict() for cost in paper_cost.measure_cost(method, model, case.root, runs)
            ],
        )
    return costs


def _saved(path: Path, save: Callable[[Path, int], None]) -> Path:
    if not path.is_file():
        save(path, 8)
    return path


def _in_file_name(label: str) -> str:
    return label.replace(", ", "-").replace(" ", "-").lower()


def _cost_key(case: PaperCase, method: str, runs: int) -> str:
    sources = SAFE_SOURCES if method.startswith("safe") else HUDD_SOURCES
    return _key(case.digest, str(runs), *sources, "benchmarks/paper/cost.py")


def _growth(case: PaperCase, work: Path, sizes: list[int]) -> list[dict]:
    """Cost of each method on random subsets of the failing images of a case: `size`, `label` and a `Cost` each.

    One run each, but of the heatmaps one by one only the time, which grows with n² and soon is hours.
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
    for size, label, method, model in sorted(tasks, key=lambda task: task[2] == "hudd-one-by-one"):  # the longest last
        listing = work / f"images-{size}.txt"
        chosen = _subset(len(case.paths), size, [size, 0]).tolist()
        write_text(listing, "".join(f"{case.root / case.paths[i]}\n" for i in chosen))
        file = work / f"growth-{size}-{_in_file_name(label)}.json"
        trace = method != "hudd-one-by-one"
        cost = _kept(
            file,
            _cost_key(case, method, 1),
            lambda task=(method, model, listing), trace=trace: paper_cost.measure_cost(*task, 1, trace)[0]._asdict(),
        )
        measured.append({"size": size, "label": label, **cost})
    return measured


# --- Kept results -----------------------------------------------------------------------------------------------


def _key(*parts: str) -> str:
    """A text that changes when one of the parts does; of a source file, when its content does."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        file = ROOT / part
        digest.update(file.read_bytes() if part.endswith(".py") and file.is_file() else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _kept(path: Path, key: str, compute: Callable[[], object]) -> object:
    """The result in a file, if it was computed under the same key; otherwise computed and kept."""
    if path.is_file():
        record = json.loads(path.read_text(encoding="utf-8"))
        if record["key"] == key:
            return record["result"]
    _progress(f"{path.parent.name}: {path.stem}", 1, 1)
    result = json.loads(json.dumps(compute()))
    write_text(path, json.dumps({"key": key, "result": result}, indent=1) + "\n")
    return result


def _progress(what: str, done: int, total: int) -> None:
    if done == total:
        print(f"{what} {done}/{total}" if total > 1 else what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
