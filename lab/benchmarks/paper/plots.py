"""The pictures of the section `paper` of `lab/results/paper.md`; the same results give the same files."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lab.benchmarks.paper.figures import PAPER_INSPECTED, Results, by_size, covered_share, growth_of
from lab.benchmarks.paper.measures import share_above
from safe_dnn.support.files import replacing

PERCENTS = tuple(range(10, 101, 10))
STYLES = {  # method: colour, dashes, marker; distinguishable without colour as well
    "SAFE": ("#0060a8", "-", "o"),
    "HUDD": ("#c2410c", "--", "s"),
    "K-means": ("#3f7d20", "-.", "^"),
    "random": ("#6b7280", ":", "x"),
}
COST_STYLES = {
    "SAFE": STYLES["SAFE"],
    "SAFE, bfloat16": ("#3b9ae1", "-", "D"),
    "HUDD, AlexNet": STYLES["HUDD"],
    "HUDD, AlexNet, one by one": ("#7a1f02", ":", "v"),
}
CASE_STYLES = (
    ("#0060a8", "o"),
    ("#c2410c", "s"),
    ("#3f7d20", "^"),
    ("#6b7280", "D"),
    ("#7a1f02", "v"),
    ("#7c3aed", "P"),
    ("#0f766e", "X"),
)
GROWTH_PLOT = "paper-growth.png"


def plot_of(section: str, what: str) -> str:
    """The file of a section's picture of `inspected` (RQ1), `variance` (RQ2) or `coverage` (RQ3)."""
    return f"{section}-{what}.png"


def draw_paper_plots(results: Results, folder: Path, *, section: str = "paper") -> None:
    """Draw the inspected share by size (RQ1), variance reductions (RQ2) and coverage (RQ3)."""
    with _plain_style() as plt:
        _reductions(plt, results, folder / plot_of(section, "variance"))
        _coverage(plt, results, folder / plot_of(section, "coverage"))
        sizes = {name: by_size(result) for name, result in results.items() if result["subsets"]}
        if sizes:
            _inspected(plt, sizes, folder / plot_of(section, "inspected"))


def draw_growth_plot(results: Results, folder: Path) -> None:
    """Draw time and memory by number of failing images (RQ4), if they were measured."""
    for result in results.values():
        if result["growth"]:
            with _plain_style() as plt:
                _growth(plt, growth_of(result["growth"]), folder / GROWTH_PLOT)


@contextmanager
def _plain_style() -> Iterator[Any]:
    """Matplotlib's pyplot without a screen, in the style of all pictures here."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        yield plt


def _reductions(plt: Any, results: Results, path: Path) -> None:
    figure, axes = plt.subplots(1, len(results), figsize=(3.2 * len(results) + 1.6, 3.4), sharey=True, squeeze=False)
    for axis, (name, result) in zip(axes[0], results.items(), strict=True):
        for method, (colour, dashes, marker) in STYLES.items():
            if method not in result["whole"]:
                continue
            shares = [100 * share_above(result["whole"][method]["reductions"], percent) for percent in PERCENTS]
            axis.plot(PERCENTS, shares, dashes, color=colour, marker=marker, markersize=4, label=method)
        axis.set(title=f"{name}, {result['case']['failing']:,} failures", xlim=(8, 102), ylim=(0, 103))
        axis.set_xlabel("variance reduced by more than, %")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("share of RCCs, %")
    axes[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _save(plt, figure, path)


def _coverage(plt: Any, results: Results, path: Path) -> None:
    figure, axis = plt.subplots(figsize=(1.8 * len(results) + 2.4, 3.4))
    for number, result in enumerate(results.values()):
        for place, (method, (colour, _, marker)) in enumerate(STYLES.items()):
            if method not in result["whole"]:
                continue
            shares = [100 * covered_share(result, one[method]) for one in [result["whole"], *result["repetitions"]]]
            at = number + 0.17 * (place - 1.5)
            axis.vlines(at, min(shares), max(shares), color=colour, linewidth=5, alpha=0.3)
            axis.plot(at, np.median(shares), marker, color=colour, label=method if number == 0 else None)
    axis.set_xticks(range(len(results)), list(results))
    axis.set(ylabel="unsafe values covered, %", ylim=(-2, 103))
    axis.grid(axis="y", alpha=0.25)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _save(plt, figure, path)


def _inspected(plt: Any, cases: dict[str, dict[int, list[dict]]], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(6.4, 3.4))
    for (name, sizes), (colour, marker) in zip(cases.items(), CASE_STYLES, strict=False):
        shares = [[one["inspect_percent"] for one in found] for found in sizes.values()]
        low, middle, high = ([figure_of(one) for one in shares] for figure_of in (min, np.median, max))
        axis.fill_between(list(sizes), low, high, color=colour, alpha=0.15)
        axis.plot(list(sizes), middle, color=colour, marker=marker, markersize=4, label=name)
    axis.axhline(PAPER_INSPECTED[1], color="#111111", linewidth=1, linestyle=(0, (4, 3)), label="median in the paper")
    axis.set(xscale="log", xlabel="failing images", ylabel="inspected, %", ylim=(0, None))
    _plain_ticks(axis, sorted({size for sizes in cases.values() for size in sizes if size % 50 == 0}))
    axis.grid(alpha=0.25)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _save(plt, figure, path)


def _growth(plt: Any, sizes: dict[int, dict[str, list[dict]]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9.8, 3.4))
    for axis, (what, unit) in zip(axes, (("seconds", "seconds, from cold"), ("python_mb", "Python, MB")), strict=True):
        for method, (colour, dashes, marker) in COST_STYLES.items():
            costs = {size: cost[method][0][what] for size, cost in sizes.items() if method in cost}
            costs = {size: cost for size, cost in costs.items() if cost}  # 0 means not measured
            axis.plot(
                list(costs), list(costs.values()), dashes, color=colour, marker=marker, markersize=4, label=method
            )
        axis.set(xscale="log", yscale="log", xlabel="failing images", ylabel=unit)
        _plain_ticks(axis, list(sizes))
        axis.grid(alpha=0.25)
    axes[1].legend(*axes[0].get_legend_handles_labels(), frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _save(plt, figure, path)


def _plain_ticks(axis: Any, at: list[int]) -> None:
    """Label the axis with numbers of images instead of powers of ten."""
    axis.set_xticks(at, [f"{one:,}" for one in at])
    axis.set_xticks([], minor=True)


def _save(plt: Any, figure: Any, path: Path) -> None:
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)
