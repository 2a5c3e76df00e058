"""The sections on speed in `lab/results/speed.md`, and their plot: all sentences are computed from the results."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from safe_dnn.features.extractor import DIMENSIONS
from safe_dnn.support.files import replacing

HEAD = (
    "## Speed\n\n"
    "This section and those of the stages below were written by `python -m lab.benchmarks.speed`; for the measurements "
    "see `lab/benchmarks/speed/stages.py`. Each measurement ran in a separate process, SAFE and its rivals in turn, on "
    f"{os.cpu_count()} cores, possibly shared with other work: the ratios are more reliable than the seconds. Figures "
    "are medians over the given number of runs. Memory is the peak of the whole process, including Python and its "
    "libraries.\n"
)


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The power of the size with which a value grows: the slope of a line fitted to the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _tuning(result: dict) -> str:
    ours, theirs = result["ours"], result["theirs"]
    return (
        "### Tuning\n\n"
        f"{result['points']:,} generated points in 256 dimensions, {result['settings']} settings (eps, min_samples), "
        f"each with labels and silhouettes; {min(result['rccs'])} to {max(result['rccs'])} clusters.\n\n"
        "| | runs | seconds | peak, MB |\n|---|---|---|---|\n"
        f"| SAFE | {result['repeats']} | {ours['seconds']:.1f} | {ours['peak_mb']:,.0f} |\n"
        f"| scikit-learn's DBSCAN and silhouettes for each setting | {result['rival_repeats']} | "
        f"{theirs['seconds']:.1f} | {theirs['peak_mb']:,.0f} |\n\n"
        f"SAFE is {theirs['seconds'] / ours['seconds']:.1f} times as fast. In {result['equal']} of "
        f"{result['settings']} settings the core points, their clusters and the noise are the same; in "
        f"{result['border_elsewhere']} of these, some border points within reach of two clusters are assigned to the "
        "other cluster (SAFE: that of the nearest core point; scikit-learn: the one found first). If all labels are "
        f"the same, silhouettes differ by at most {result['silhouette_apart']:.1e}.\n"
    )


def _growth(result: dict) -> str:
    runs = result["runs"]
    rows = "".join(
        f"| {size:,} | {count} | {run['seconds']:.1f} | {run['processor']:.1f} | {run['peak_mb']:,.0f} | "
        f"{run['rccs']:.0f} | {run['steady']:.0f} | {run['ari']:.3f} |\n"
        for size, count, run in zip(result["sizes"], result["repeats"], runs, strict=True)
    )
    seconds, peaks = [run["seconds"] for run in runs], [run["peak_mb"] for run in runs]
    text = (
        "### Growth of clustering\n\nAll steps after PCA, with the consensus, of generated points of 40 causes in 256 "
        "dimensions. The processor's seconds do not depend on other work on the machine.\n\n"
        "| points | runs | seconds | processor, s | peak, MB | RCCs | steady | ARI with the causes |\n"
        "|---|---|---|---|---|---|---|---|\n" + rows
    )
    if len(runs) > 1:
        text += (
            f"\nTime grows with the power {exponent(result['sizes'], seconds):.2f} of the number of points "
            f"(between the two largest sizes: {exponent(result['sizes'][-2:], seconds[-2:]):.2f}), memory with the "
            f"power {exponent(result['sizes'], peaks):.2f}.\n\n"
            "![Time and memory by number of points](plots/speed.png)\n"
        )
    return text


def _selection(result: dict) -> str:
    rows = "".join(
        f"| {size:,} | {run['seconds']:.1f} | {run['peak_mb']:,.0f} |\n"
        for size, run in zip(result["sizes"], result["runs"], strict=True)
    )
    ours, theirs = result["runs"][result["sizes"].index(result["compared"])], result["theirs"]
    return (
        f"### Selection\n\nSelecting a tenth of an improvement set, with {result['cores']:,} core points in 256 "
        f"dimensions; the files are tiny and their {DIMENSIONS['vgg16-conv']:,} features cached. Medians of "
        f"{result['repeats']} runs.\n\n"
        f"| improvement images | seconds | peak, MB |\n|---|---|---|\n{rows}\n"
        f"Brute force (all features and all distances in memory) takes {theirs['seconds']:.1f} s and "
        f"{theirs['peak_mb']:,.0f} MB for {result['compared']:,} images: {theirs['seconds'] / ours['seconds']:.1f} "
        f"times SAFE's time, {theirs['peak_mb'] / ours['peak_mb']:.1f} times its memory. It selects "
        f"{'the same images in the same order' if result['same'] else '**other images**'}.\n"
    )


def _gifs(result: dict) -> str:
    ours, theirs = result["ours"], result["theirs"]
    return (
        f"### GIFs\n\nOne GIF of {result['frames']:,} frames, {ours['side']:.0f} pixels wide; medians of "
        f"{result['repeats']} runs.\n\n| | seconds | MB |\n|---|---|---|\n"
        f"| SAFE, with captions | {ours['seconds']:.1f} | {ours['mb']:.1f} |\n"
        f"| Pillow, one thread, no captions | {theirs['seconds']:.1f} | {theirs['mb']:.1f} |\n\n"
        f"SAFE is {theirs['seconds'] / ours['seconds']:.1f} times as fast.\n"
    )


def _runs(result: dict) -> str:
    return f"medians of {result['repeats']} runs" if result["repeats"] > 1 else "one run"


def _detections(result: dict) -> str:
    run = result["run"]
    return (
        f"### Detections\n\nCounting what a detector finds and misses: {run['boxes']:,.0f} objects and as many "
        f"detections in {run['images']:,.0f} images, generated; {_runs(result)}.\n\n"
        "| | seconds |\n|---|---|\n"
        f"| reading ground truth and results | {run['reading']:.1f} |\n"
        f"| matching boxes and types of failures | {run['seconds'] - run['reading']:.1f} |\n"
        f"| pycocotools alone, reading and its whole evaluation (ten overlaps, four sizes) | {run['theirs']:.1f} |\n\n"
        f"Found and false are {'as many as' if result['same'] else '**not as many as**'} in that evaluation. "
        f"Peak memory, of both: {run['peak_mb']:,.0f} MB.\n"
    )


def _extraction(result: dict) -> str:
    ours, theirs, half = result["ours"], result["theirs"], result["bfloat16"]
    rate = {
        name: run["images"] / run["seconds"]
        for name, run in result.items()
        if isinstance(run, dict) and "images" in run
    }
    noisy = result["of_bare"] > 1
    rows = [
        ("SAFE, float32", rate["ours"]),
        ("SAFE, bfloat16 (`--precision bfloat16`)", rate["bfloat16"]),
        ("bare network, float32, batches in memory", ours["images"] / ours["bare"]),
        ("bare network, bfloat16, batches in memory", half["images"] / half["bare"]),
        ("`load_img` and one `predict` per image", rate["theirs"]),
    ]
    if "pytorch" in result:
        rows.append(("PyTorch's VGG16 (random weights), batches", rate["pytorch"]))
    if "int8" in result:
        rows.insert(2, ("SAFE, int8 (`--precision int8`, OpenVINO)", rate["int8"]))
    used = rate["ours"] * theirs["gflop"]
    return (
        f"### Extraction\n\n{ours['images']:.0f} images, {result['extractor']}, nothing cached, the network "
        f"built beforehand; medians of {result['repeats']} runs.\n\n| | images per second | relative to one `predict` "
        "per image |\n"
        "|---|---|---|\n"
        + "".join(f"| {name} | {value:.2f} | {value / rate['theirs']:.2f} |\n" for name, value in rows)
        + f"\nSAFE reaches {result['of_bare']:.2f} of the bare network's speed. An image takes {theirs['gflop']:.1f} "
        f"GFLOP: in float32 SAFE computes {used:,.0f} GFLOP/s, {used / result['gemm']['gflops']:.2f} of the "
        f"{result['gemm']['gflops']:,.0f} GFLOP/s at which TensorFlow multiplies large matrices. Peak memory: "
        f"{ours['peak_mb']:,.0f} MB. Two extractions at once take "
        f"{result['at_once']['seconds'] / ours['seconds'] / 2:.2f} times as long as one after the other."
        + (
            " SAFE cannot be faster than its own network: a value above 1 means that other work disturbed this "
            "measurement.\n"
            if noisy
            else "\n"
        )
    )


def _workers(result: dict) -> str:
    one, two = result["one"], result["two"]
    return (
        "### Several workers\n\nExtraction on a Dask cluster on this machine, one core for each worker, nothing "
        f"cached, the networks loaded; medians of {result['repeats']} runs of {one['images']:.0f} images.\n\n"
        "| workers | images per second |\n|---|---|\n"
        f"| 1 | {one['images'] / one['seconds']:.2f} |\n| 2 | {two['images'] / two['seconds']:.2f} |\n\n"
        f"Two workers are {one['seconds'] / two['seconds']:.2f} times as fast as one. The rows are "
        + ("the same as without Dask, byte for byte.\n" if result["same"] else "**not the same** as without Dask.\n")
    )


def _start(result: dict) -> str:
    cached, page, whole = result["cached"], result["page"], result["whole"]
    loaded = "is loaded" if result["networks"] else "is not loaded"
    return (
        f"### Whole commands\n\nTime since the start of the process; medians of {result['repeats']} runs.\n\n"
        "| | seconds |\n|---|---|\n"
        f"| `--help` | {result['help']['seconds']:.2f} |\n"
        f"| `ui` until the server answers | {page['server']:.1f} |\n"
        f"| `ui` until a browser without a cache paints that page | {page['painted']:.1f} |\n"
        f"| `ui` until the browser shows SAFE's page | {page['seconds']:.1f} |\n"
        f"| `cluster`, {cached['images']:,.0f} images, all cached, into an empty folder | {cached['seconds']:.1f} |\n"
        f"| `cluster`, {whole['images']:,} images, nothing cached (one run) | {whole['seconds']:.1f} |\n\n"
        f"In the cached run TensorFlow {loaded}.\n"
    )


def _tested(result: dict) -> str:
    run = result["run"]
    return (
        f"### Many tested images\n\nA table of {run['images']:,.0f} answers with twelve numbers, generated, and "
        f"{run['rates']:,.0f} RCCs; the images are empty files, features are given; {_runs(result)}.\n\n"
        "| | seconds |\n|---|---|\n"
        f"| reading the table, and finding its images | {run['reading']:.1f} |\n"
        f"| weak spots | {run['searching']:.1f} |\n"
        f"| failure rates of RCCs | {run['rating']:.1f} |\n\n"
        f"The condition that was put in is {'found' if run['dark'] else '**not found**'}. Peak memory: "
        f"{run['peak_mb']:,.0f} MB.\n"
    )


def _searched(result: dict) -> str:
    runs = result["runs"]
    rows = "".join(
        f"| {run['groups']:,.0f} | {run['seconds']:.1f} | {run['processor']:.1f} | {run['spots']:,.0f} |\n"
        for run in runs
    )
    found = "in each" if all(run["dark"] for run in runs) else "**not in each**"
    return (
        f"### Searching with groups and classes\n\n{runs[0]['images']:,.0f} generated answers, seven classes and "
        f"{runs[0]['columns']:,.0f} columns: weak spots, also given the class, and the rates to expect of new images; "
        f"{_runs(result)}. The condition that was put in for all classes is found {found}.\n\n"
        f"| groups | seconds by the clock | of processors | weak spots |\n|---|---|---|---|\n{rows}"
    )


def _map(result: dict) -> str:
    rows = "".join(f"| {run['points']:,.0f} | {run['frame']:.1f} | {run['longest']:.1f} |\n" for run in result["runs"])
    return (
        "### Frames of the map\n\nThe map in 400 RCCs is moved and magnified by keys, in a browser without a graphics "
        f"card; medians of {result['repeats']} runs.\n\n"
        f"| points | a frame, ms (median) | the longest, ms |\n|---|---|---|\n{rows}"
    )


def _review(result: dict) -> str:
    runs = result["runs"]
    rows = [
        ("the whole page is there, the first window after the server's start", "first", ""),
        ("the whole page is there, further windows", "loaded", ""),
        ("from the key to the verdict on the card", "verdict", "verdict_most"),
        ("from the key to the next RCC's name and figures", "following", "following_most"),
        ("from the key to its images", "pictures", "pictures_most"),
        ("from the choice of a filter to the list", "filtered", ""),
    ]
    table = "".join(
        f"| {words} | "
        + " | ".join(f"{run[key]:.2f}" + (f" ({run[most]:.2f})" if most else "") for run in runs)
        + " |\n"
        for words, key, most in rows
    )
    head = " | ".join(f"{run['rccs']:,.0f} RCCs" for run in runs)
    return (
        f"### Many reasons\n\nGenerated RCCs of 20 images and {result['spots']:,} weak spots in a browser "
        "without a cache, judged by keys; seconds, of judgements the median (and the longest); medians of "
        f"{result['repeats']} runs.\n\n| | {head} |\n|---|{'---|' * len(runs)}\n{table}"
    )


def _idle(result: dict) -> str:
    run = result["run"]
    states = {
        "none": "no window",
        "bare": "a page with nothing but the GIF of an RCC",
        "plays": "one window, its GIF plays",
        "away": "one window, its GIF in a tab that is not in sight",
        "paused": "one window, its GIF paused",
        "many": f"{run['windows']:.0f} windows, paused",
    }
    rows = "".join(
        f"| {words} | {run[f'server_{key}']:.1f} | {run[f'browser_{key}']:.1f} |\n" for key, words in states.items()
    )
    return (
        f"### An idle page\n\nPer cent of a core, while nobody does anything: {run['rccs']:,.0f} RCCs and "
        f"{run['spots']:,.0f} weak spots, in a browser without a graphics card; {_runs(result)}.\n\n"
        f"| | server | browser |\n|---|---|---|\n{rows}"
    )


SECTIONS = {
    "tuning": _tuning,
    "growth": _growth,
    "selection": _selection,
    "gifs": _gifs,
    "detections": _detections,
    "extraction": _extraction,
    "workers": _workers,
    "tested": _tested,
    "searched": _searched,
    "map": _map,
    "start": _start,
    "review": _review,
    "idle": _idle,
}


def draw_speed_plot(kept: dict[str, dict], path: Path) -> None:
    """Time and memory by size: of tuning and, if measured, of selection."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    curves = [(kept["growth"], "clustering", "#0060a8", "o")]
    if "selection" in kept:
        curves.append((kept["selection"], "selection", "#c2410c", "s"))
    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        for result, name, colour, marker in curves:
            for ax, key in zip(axes, ("seconds", "peak_mb"), strict=True):
                ax.plot(result["sizes"], [run[key] for run in result["runs"]], color=colour, marker=marker, label=name)
        for ax, label in zip(axes, ("seconds", "peak memory, MB"), strict=True):
            ax.set(xscale="log", yscale="log", xlabel="images", ylabel=label)
            ax.legend(frameon=False)
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
        plt.close(figure)
