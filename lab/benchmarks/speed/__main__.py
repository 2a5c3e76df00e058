"""Speed of SAFE compared with rivals in the same run, and growth of its cost.

    python -m lab.benchmarks.speed [--only STAGE ...] [--images DIR] [--work DIR]

Stages: `tuning` (compared with scikit-learn's DBSCAN and silhouettes for each setting), `growth` (of time and memory
with the number of failing images), `selection` (compared with brute force, and its growth), `gifs` (compared with
Pillow alone), `detections` (compared with the evaluation of COCO), `extraction` (compared with one `predict` per image,
PyTorch if installed, the bare network, and the machine's rate of matrix multiplication), `workers` (a Dask cluster with
one worker and with two; needs requirements/scale.txt), `tested` (weak spots and rates of very many tested images),
`searched` (weak spots with groups and classes), `map` (frames of a map of very many points; needs Chromium), `start`
(whole commands, and the page until its first paint), `review` (the page with many reasons: until all of it is there,
and until a judgement is shown; needs Chromium) and `idle` (what the page takes while nobody does anything; needs
Chromium and psutil).
Each measurement runs in a separate process; SAFE and its rival take turns, and ratios are between medians. Results are
kept in the work folder, a file for each stage. The section of each stage found there is written to
lab/results/speed.md; sections of other stages are unchanged.
"""

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from lab.benchmarks.results import RESULTS, write_section
from lab.benchmarks.speed.report import HEAD, SECTIONS, draw_speed_plot
from lab.benchmarks.speed.stages import compare_settings, grid
from safe_dnn.features.extractors import EXTRACTORS
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, write_text

ROOT = Path(__file__).parents[3]
IDLE_SECONDS = 20  # of each measurement of `idle`


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    options = _parser().parse_args(arguments)
    try:
        work = prepare_folder(options.work)
        for stage in options.only:
            if not options.report:
                result = STAGES[stage](options, prepare_folder(work / stage).absolute())
                write_text(work / f"{stage}.json", json.dumps(result, indent=2) + "\n")
        kept = {
            stage: json.loads((work / f"{stage}.json").read_text())
            for stage in STAGES
            if (work / f"{stage}.json").exists()
        }
        if not kept:
            raise SAFEError(f"Expected results in {work}. Received none. Run a stage first.")
        write_section("speed", HEAD, folder=options.results)
        for stage, result in kept.items():
            write_section(f"speed-{stage}", SECTIONS[stage](result), folder=options.results)
        if "growth" in kept:
            draw_speed_plot(kept, options.results / "plots" / "speed.png")
    except SAFEError as error:
        print(f"speed: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.speed", description=__doc__.split("\n")[0])
    parser.add_argument(
        "--only", nargs="+", choices=STAGES, default=list(STAGES), metavar="STAGE",
        help=f"stages to run: {', '.join(STAGES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--repeats", type=_count, default=3, metavar="N", help="runs of each measurement (default: 3)")
    parser.add_argument(
        "--rival-repeats", type=_count, default=1, metavar="N",
        help="runs of scikit-learn in `tuning` and of the two largest sizes in `growth`, which are slow (default: 1)",
    )  # fmt: skip
    parser.add_argument("--points", type=_count, default=5_000, metavar="N", help="of `tuning` (default: 5000)")
    parser.add_argument("--settings", type=_count, default=102, metavar="N", help="of `tuning` (default: 102)")
    parser.add_argument(
        "--growth", type=_count, nargs="+", default=[1_000, 5_000, 20_000, 50_000, 100_000], metavar="N",
        help="numbers of points in `growth` (default: 1000 5000 20000 50000 100000)",
    )  # fmt: skip
    parser.add_argument(
        "--improvement", type=_count, nargs="+", default=[1_000, 10_000, 100_000], metavar="N",
        help="numbers of improvement images; brute force runs on the second smallest (default: 1000 10000 100000)",
    )  # fmt: skip
    parser.add_argument(
        "--cores", type=_count, default=5_000, metavar="N", help="core points of `selection` (default: 5000)"
    )
    parser.add_argument("--images", metavar="DIR", help="images for `gifs`, `extraction`, `workers` and `start`")
    parser.add_argument("--frames", type=_count, default=100, metavar="N", help="of a GIF, at most 100 (default: 100)")
    parser.add_argument(
        "--extracted", type=_count, default=200, metavar="N", help="images of `extraction` (default: 200)"
    )
    parser.add_argument(
        "--detected", type=_count, nargs=2, default=[5_000, 40_000], metavar="N",
        help="images, and boxes of objects in them, of `detections` (default: 5000 40000)",
    )  # fmt: skip
    parser.add_argument("--tested", type=_count, default=1_000_000, metavar="N", help="images of `tested` (a million)")
    parser.add_argument("--searched", type=_count, default=20_000, metavar="N", help="images of `searched` (20000)")
    parser.add_argument(
        "--mapped",
        type=_count,
        nargs="+",
        default=[20_000, 100_000],
        metavar="N",
        help="of `map` (20000 100000)",
    )
    parser.add_argument("--cached", type=_count, default=1_200, metavar="N", help="images in `start` (default: 1200)")
    parser.add_argument(
        "--rccs",
        type=_count,
        nargs="+",
        default=[40, 400],
        metavar="N",
        help="RCCs of `review`, the fewest of `idle` (40 400)",
    )
    parser.add_argument("--spots", type=_count, default=200, metavar="N", help="weak spots of both (default: 200)")
    parser.add_argument("--extractor", choices=[*EXTRACTORS][1:], default="vgg16-conv", help="default: vgg16-conv")
    parser.add_argument("--work", metavar="DIR", default=".speed", help="folder for results (default: .speed)")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="DIR", help="default: lab/results")
    parser.add_argument("--report", action="store_true", help="only write the report, from the results in --work")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number, 1 or more, received {text}")
    return int(text)


def run_apart(name: str, *arguments: object, cache: Path | None = None) -> dict:
    """Run a function of `stages.MEASURED` in a separate process; return its result with `peak_mb`."""
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"} | ({"SAFE_CACHE": str(cache)} if cache else {})
    ran = subprocess.run(
        [sys.executable, "-m", "lab.benchmarks.speed.stages", name, json.dumps(arguments)],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    found = json.loads(ran.stdout.splitlines()[-1])
    print(name, {key: value for key, value in found.items() if isinstance(value, float)}, file=sys.stderr, flush=True)
    return found


def middle(runs: list[dict]) -> dict:
    """The medians of all numbers over the runs of a measurement."""
    return {key: median(run[key] for run in runs) for key, value in runs[0].items() if isinstance(value, int | float)}


def run_tuning(options: argparse.Namespace, work: Path) -> dict:
    """Tuning compared with scikit-learn."""
    settings = grid(options.points, options.settings)
    files = str(work / "ours.npz"), str(work / "theirs.npz")
    ours, theirs = [], []
    for repeat in range(max(options.repeats, options.rival_repeats)):
        if repeat < options.repeats:
            ours.append(run_apart("try_settings", options.points, settings, files[0]))
        if repeat < options.rival_repeats:
            theirs.append(run_apart("try_settings_with_scikit_learn", options.points, settings, files[1]))
    return {
        "points": options.points,
        "repeats": len(ours),
        "rival_repeats": len(theirs),
        "ours": middle(ours),
        "theirs": middle(theirs),
        **compare_settings(*files),
    }


def run_growth(options: argparse.Namespace, work: Path) -> dict:
    """Time and memory of clustering by number of points."""
    sizes = sorted(options.growth)
    repeats = [options.rival_repeats if size in sizes[-2:] else options.repeats for size in sizes]
    runs = [
        middle([run_apart("cluster_generated", size) for _ in range(count)])
        for size, count in zip(sizes, repeats, strict=True)
    ]
    return {"sizes": sizes, "repeats": repeats, "runs": runs}


def run_selection(options: argparse.Namespace, work: Path) -> dict:
    """Selection by number of improvement images, and compared with brute force."""
    sizes = sorted(options.improvement)
    cache = work / "cache"
    made = work / f"made-{sizes[-1]}-{options.cores}"
    if not made.exists():
        run_apart("make_improvement_set", str(work), sizes[-1], options.cores, cache=cache)
        made.touch()
    compared = sizes[min(1, len(sizes) - 1)]
    ours, theirs, same = [], [], True
    for _ in range(options.repeats):
        ours.append(run_apart("select_generated", str(work), compared, cache=cache))
        theirs.append(run_apart("select_by_brute_force", str(work), compared, cache=cache))
        same &= _images(ours[-1]) == _images(theirs[-1])
    runs = [
        middle(
            ours
            if size == compared
            else [run_apart("select_generated", str(work), size, cache=cache) for _ in range(options.repeats)]
        )
        for size in sizes
    ]
    return {
        "sizes": sizes, "cores": options.cores, "repeats": options.repeats, "compared": compared,
        "runs": runs, "theirs": middle(theirs), "same": same,
    }  # fmt: skip


def _images(run: dict) -> list[str]:
    return json.loads(Path(run["images"]).read_text(encoding="utf-8"))


def run_gifs(options: argparse.Namespace, work: Path) -> dict:
    """Writing a GIF compared with Pillow alone."""
    images = _needed(options)
    ours, theirs = [], []
    for repeat in range(options.repeats):
        ours.append(run_apart("draw_gif", images, options.frames, str(work / f"ours-{repeat}")))
        theirs.append(
            run_apart("draw_gif_with_pillow", images, options.frames, ours[-1]["side"], str(work / f"theirs-{repeat}"))
        )
        for gif in [*work.glob("*/*.gif"), *work.glob("*/gifs/*.gif")]:
            gif.unlink()
    return {"frames": options.frames, "repeats": options.repeats, "ours": middle(ours), "theirs": middle(theirs)}


def run_detections(options: argparse.Namespace, work: Path) -> dict:
    """Counting what a detector finds and misses, compared with the evaluation of COCO."""
    images, boxes = options.detected
    runs = [run_apart("count_detections", images, boxes, str(work)) for _ in range(options.repeats)]
    return {"repeats": options.repeats, "same": all(run["same"] for run in runs), "run": middle(runs)}


def run_tested(options: argparse.Namespace, work: Path) -> dict:
    """Weak spots and rates of very many tested images."""
    runs = [run_apart("compare_tested", options.tested, str(work)) for _ in range(options.repeats)]
    return {"repeats": options.repeats, "run": middle(runs)}


def run_searched(options: argparse.Namespace, work: Path) -> dict:
    """Weak spots by number of groups."""
    n = options.searched
    runs = [
        middle([run_apart("search_with_groups", n, groups) for _ in range(options.repeats)])
        for groups in (0, 18, n // 10, n // 2)
    ]
    return {"repeats": options.repeats, "runs": runs}


def run_map(options: argparse.Namespace, work: Path) -> dict:
    """Frames of the map by number of points."""
    runs = [middle([run_apart("draw_map", n) for _ in range(options.repeats)]) for n in options.mapped]
    return {"repeats": options.repeats, "runs": runs}


def run_extraction(options: argparse.Namespace, work: Path) -> dict:
    """Extraction compared with one `predict` per image, the bare network, PyTorch and matrix multiplication."""
    images = _needed(options)
    given = images, options.extracted, options.extractor
    runs: dict[str, list[dict]] = {}
    for _ in range(options.repeats):
        for name, function, *more in (
            ("ours", "extract_images", "float32", str(work)),
            ("theirs", "extract_images_plainly"),
            ("bfloat16", "extract_images", "bfloat16", str(work)),
            *([("int8", "extract_images", "int8", str(work))] if importlib.util.find_spec("openvino") else []),
            *([("pytorch", "extract_images_with_pytorch")] if importlib.util.find_spec("torchvision") else []),
        ):
            runs.setdefault(name, []).append(run_apart(function, *given, *more))
        runs.setdefault("gemm", []).append(run_apart("multiply_matrices"))
        with ThreadPoolExecutor(2) as pool:  # each waits for a process of its own
            at_once = [pool.submit(run_apart, "extract_images", *given, "float32", str(work)) for _ in range(2)]
            runs.setdefault("at_once", []).append(middle([future.result() for future in at_once]))
    return {
        "extractor": options.extractor,
        "repeats": options.repeats,
        **{name: middle(measured) for name, measured in runs.items()},
        "of_bare": median(run["bare"] / run["seconds"] for run in runs["ours"]),
    }


def run_workers(options: argparse.Namespace, work: Path) -> dict:
    """Extraction on a Dask cluster with one worker and with two."""
    given = _needed(options), options.extracted, options.extractor
    if not importlib.util.find_spec("distributed"):
        raise SAFEError("`workers` needs dask.distributed. Run: pip install -r requirements/scale.txt")
    runs: dict[int, list[dict]] = {1: [], 2: []}
    for _ in range(options.repeats):
        for workers, measured in runs.items():
            measured.append(run_apart("extract_on_workers", *given, workers, str(work)))
    digests = {run["digest"] for measured in runs.values() for run in measured}
    here = run_apart("digest_here", *given, str(work))["digest"]
    return {
        "repeats": options.repeats, "one": middle(runs[1]), "two": middle(runs[2]), "same": digests == {here},
    }  # fmt: skip


def run_start(options: argparse.Namespace, work: Path) -> dict:
    """Whole commands, and the page until its first paint."""
    images = _needed(options)
    cache = prepare_folder(work / "cache")
    given = images, options.cached, options.extractor, str(work / "out")
    run_apart("run_command", *given, cache=cache)
    traced = run_apart("run_command", *given, True, cache=cache)
    cached, pages, helps = [], [], []
    for _ in range(options.repeats):
        cached.append(run_apart("run_command", *given, cache=cache))
        pages.append(run_apart("open_page", str(work / "page"), cache=cache))
        helps.append(run_apart("start_help"))
    with TemporaryDirectory(dir=work) as empty:
        whole = run_apart("run_command", images, options.extracted, *given[2:], cache=Path(empty))
    return {
        "repeats": options.repeats, "cached": middle(cached), "page": middle(pages), "help": middle(helps),
        "whole": whole, "networks": traced["networks"],
    }  # fmt: skip


def run_review(options: argparse.Namespace, work: Path) -> dict:
    """The page by number of RCCs."""
    runs = {
        n: [
            run_apart("review_page", str(work / f"{n}-{options.spots}"), n, options.spots)
            for _ in range(options.repeats)
        ]
        for n in options.rccs
    }
    return {"spots": options.spots, "repeats": options.repeats, "runs": [middle(run) for run in runs.values()]}


def run_idle(options: argparse.Namespace, work: Path) -> dict:
    """The page while nobody does anything."""
    n = min(options.rccs)
    given = str(work / f"{n}-{options.spots}"), n, options.spots, IDLE_SECONDS
    return {"repeats": options.repeats, "run": middle([run_apart("idle_page", *given) for _ in range(options.repeats)])}


def _needed(options: argparse.Namespace) -> str:
    if not options.images:
        raise SAFEError(
            "Expected a folder of images for `gifs`, `extraction`, `workers` and `start`. Give --images, or choose "
            "other stages with --only."
        )
    return str(Path(options.images).absolute())


STAGES: dict[str, Callable[[argparse.Namespace, Path], dict]] = {
    "tuning": run_tuning,
    "growth": run_growth,
    "selection": run_selection,
    "gifs": run_gifs,
    "detections": run_detections,
    "extraction": run_extraction,
    "workers": run_workers,
    "tested": run_tested,
    "searched": run_searched,
    "map": run_map,
    "start": run_start,
    "review": run_review,
    "idle": run_idle,
}


if __name__ == "__main__":
    sys.exit(main())
