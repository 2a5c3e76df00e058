"""The pictures of `benchmarks/RESULTS.md`, drawn from results alone: the same results give the same files."""

from pathlib import Path

import numpy as np

from artefacts import replacing
from benchmarks.paper_figures import covered_share
from benchmarks.paper_measures import share_above

PERCENTS = tuple(range(10, 101, 10))
STYLES = {  # method: colour, dashes, marker; told apart without colour too
    "SAFE": ("#0060a8", "-", "o"),
    "HUDD": ("#c2410c", "--", "s"),
    "K-means": ("#3f7d20", "-.", "^"),
    "random": ("#6b7280", ":", "x"),
}
REDUCTION_PLOT, COVERAGE_PLOT = "paper-variance.png", "paper-coverage.png"


def draw_plots(results: dict[str, dict], folder: Path) -> None:
    """Draw the curves of RQ2 and the coverage of RQ3.

    Parameters
    ----------
    results : dict of str to dict
        Per case, what `paper.run_case` gives.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        _reductions(plt, results, folder / REDUCTION_PLOT)
        _coverage(plt, results, folder / COVERAGE_PLOT)


def _reductions(plt, results: dict[str, dict], path: Path) -> None:
    figure, axes = plt.subplots(1, len(results), figsize=(3.2 * len(results) + 1.6, 3.4), sharey=True, squeeze=False)
    for axis, (name, result) in zip(axes[0], results.items(), strict=True):
        for method, (colour, dashes, marker) in STYLES.items():
            shares = [100 * share_above(result["whole"][method]["reductions"], percent) for percent in PERCENTS]
            axis.plot(PERCENTS, shares, dashes, color=colour, marker=marker, markersize=4, label=method)
        axis.set(title=f"{name}, {result['case']['failing']:,} failures", xlim=(8, 102), ylim=(0, 103))
        axis.set_xlabel("variance reduced by more than, %")
        axis.grid(alpha=0.25)
    axes[0][0].set_ylabel("share of RCCs, %")
    axes[0][-1].legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _save(plt, figure, path)


def _coverage(plt, results: dict[str, dict], path: Path) -> None:
    figure, axis = plt.subplots(figsize=(1.8 * len(results) + 2.4, 3.4))
    for number, result in enumerate(results.values()):
        for place, (method, (colour, _, marker)) in enumerate(STYLES.items()):
            shares = [100 * covered_share(result, one[method]) for one in [result["whole"], *result["repetitions"]]]
            at = number + 0.17 * (place - 1.5)
            axis.vlines(at, min(shares), max(shares), color=colour, linewidth=5, alpha=0.3)
            axis.plot(at, np.median(shares), marker, color=colour, label=method if number == 0 else None)
    axis.set_xticks(range(len(results)), list(results))
    axis.set(ylabel="unsafe values covered, %", ylim=(-2, 103))
    axis.grid(axis="y", alpha=0.25)
    axis.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    _save(plt, figure, path)


def _save(plt, figure, path: Path) -> None:
    figure.tight_layout()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=110, metadata={"Software": None})
    plt.close(figure)
