"""The section on retraining in `lab/results/retraining.md`, and its plot: all sentences are computed from the runs."""

import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab.benchmarks.paper.measures import effect
from lab.benchmarks.retraining.choice import DESCRIPTIONS, NEEDS_HIDDEN_LABELS, NEEDS_NO_LABEL, STRATEGIES
from lab.benchmarks.retraining.ranks import LEVEL, Ranks, rank
from lab.benchmarks.retraining.runs import CaseRuns
from safe_dnn.support.files import replacing

OURS = ("SAFE", "SAFE by size", "SAFE by size + likely wrong")  # compared with each other strategy
BASELINES = ("BL1", "BL1 counted", "BL2")
LEAST_EFFECT, MOST_CHANCE = 0.7, 0.05
MOST_LOST = 0.01
PLOT = "plots/retraining.png"
LEGEND_INCHES = 2.5
STYLES = {  # colour, dashes, marker; distinguishable without colour as well
    "SAFE": ("#0060a8", "-", "o"),
    "SAFE by size": ("#0060a8", ":", "P"),
    "SAFE + entropy": ("#7c3aed", "-", "D"),
    "SAFE + spread": ("#0891b2", "-.", "v"),
    "SAFE + likely wrong": ("#db2777", ":", "d"),
    "SAFE by size + likely wrong": ("#db2777", "-", "d"),
    "BL1": ("#3f7d20", "--", "^"),
    "BL1 counted": ("#3f7d20", ":", "<"),
    "BL2": ("#6b7280", ":", "x"),
    "entropy": ("#c2410c", "--", "s"),
    "margin": ("#c2410c", ":", "*"),
    "consistency": ("#a16207", "--", ">"),
    "k-centre": ("#0891b2", ":", "h"),
}


def retraining_section(cases: list[CaseRuns], *, further: bool = False) -> str:
    """The section as Markdown; that of further cases refers to the other one for what both explain."""
    lines = [*(_REFERENCE if further else _explanation()), *_over_all(cases)]
    for case in cases:
        lines += ["", f"### {case.about['name']}", "", _describe(case), "", *_table(case), "", *_sentences(case)]
    return "\n".join(lines) + "\n"


_REFERENCE = [
    "## Retraining: further cases",
    "",
    "This section was written by `python -m lab.benchmarks.retraining --further`, with runs of a work folder of their "
    "own. The section on retraining above explains the strategies and columns.",
]


def _explanation() -> list[str]:
    return [
        "## Does SAFE's selection pay off? Retraining",
        "",
        "This section was written by `python -m lab.benchmarks.retraining`. Improvement images are selected with "
        "several strategies, and the model is fine-tuned with the same number of images of each and tested:",
        "",
        *(f"- {name}: {DESCRIPTIONS[name]}" for name in STRATEGIES),
        "",
        "All runs of a case use the same number of training images and epochs, and runs with the same seed the same "
        "training images. *Selected, wrong*: share of the selected images that the original model misclassifies. "
        "*Still right*: of the test images that it classified correctly, the share that is still correct after "
        "retraining. The effect size is Â12 (the probability that a run of SAFE is more accurate than one of the "
        "strategy in that row; 0.5 means no effect), with Mann–Whitney's two-sided p. The p-values are not corrected "
        "for multiple comparisons; with three seeds p cannot be below 0.1, with four not below 0.028, whatever the "
        "difference.",
        "",
        f"![Accuracy by number of labels]({PLOT})",
    ]


def _over_all(cases: list[CaseRuns]) -> Iterator[str]:
    """The ranks over all cases and numbers of labels."""
    candidates = [name for name in STRATEGIES if name not in NEEDS_NO_LABEL and name not in NEEDS_HIDDEN_LABELS]
    ranks = rank(cases, candidates)
    if ranks is None:
        return
    yield from ("", "### All cases and numbers of labels", "", _about_ranks(ranks), "")
    yield "| strategy | mean rank | significantly worse than another |"
    yield "|---|---:|---|"
    for name, mean, worse in zip(ranks.strategies, ranks.means.tolist(), ranks.worse, strict=True):
        yield f"| {name} | {mean:.2f} | {_where(worse, len(ranks.blocks))} |"


def _where(worse: tuple[str, ...], n_blocks: int) -> str:
    """The blocks in which a strategy is worse; only how many if they are more than two."""
    blocks = {one.partition(" (")[0] for one in worse}
    return f"in {len(blocks)} of {n_blocks} blocks" if len(blocks) > 2 else "; ".join(worse) or "nowhere"


def _about_ranks(ranks: Ranks) -> str:
    return (
        f"In each of the {len(ranks.blocks)} blocks, a case with a number of labels and three strategies or more, the "
        f"{len(ranks.strategies)} strategies that use no label but those of the selected images, and were run in all "
        f"blocks, are ranked by mean accuracy (1 is the best). Friedman's p is {ranks.p:.1g}; by Nemenyi's test, mean "
        f"ranks less than {ranks.critical:.2f} apart may differ by chance (level {LEVEL:g}). The last column has the "
        f"blocks in which a strategy is significantly worse than another (Mann–Whitney, p < {LEVEL:g}, not corrected "
        "for the many comparisons)."
    )


def _describe(case: CaseRuns) -> str:
    about, settings = case.about, case.about["settings"]
    seconds = statistics.mean(run["seconds"] for run in case.runs)
    epochs = sorted({run.get("epochs", settings["epochs"]) for run in case.runs})  # if not given, more for fewer images
    told = f"{epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else f"{epochs[0]}"
    again = " and as many in a second pass" if settings.get("unlabelled") else ""
    return (
        f"The model classifies {about['accuracy']:.1%} of {about['test_images']:,} test images correctly; its failures "
        f"form {about['rccs']} RCCs ({about['noise']} failures are noise). {_share(about, 'improvement_images')} "
        f"improvement images, {about['wrong']:,} of them misclassified. Fine-tuning: "
        f"{_share(about, 'training_images')} training images and the selected ones, {told} epochs{again}, "
        f"learning rate {settings['learning_rate']:g}, batches of {settings['batch_size']}. SAFE's formula gives "
        f"{about['formula']:,} labels. {len(case.runs)} runs, {seconds:.0f} s each on average."
    )


def _share(about: dict, name: str) -> str:
    n, of = about[name], about[f"of_{name}"]
    return f"{n:,} (a random part of {of:,})" if n < of else f"All {n:,}"


def _table(case: CaseRuns) -> Iterator[str]:
    effects = " | ".join(f"{ours}: Â12, p" for ours in OURS)
    yield (
        "| labels | strategy | seeds | accuracy, mean | sd | gain, points | still right | selected, wrong | "
        f"{effects} |"
    )
    yield f"|---:|---|---:|---:|---:|---:|---:|---:|{'---|' * len(OURS)}"
    yield f"| – | original model | – | {case.about['accuracy']:.4f} | | | | |{' |' * len(OURS)}"
    for labels in [0, *case.budgets]:
        for strategy in STRATEGIES:
            accuracy = case.values(strategy, labels)
            if accuracy:
                yield _row(case, strategy, labels, accuracy)


def _row(case: CaseRuns, strategy: str, labels: int, accuracy: list[float]) -> str:
    wrong = [share for share in case.values(strategy, labels, what="wrong") if share is not None]
    cells = [
        f"{labels} (formula)" if labels == case.about["formula"] else str(labels),
        strategy,
        str(len(accuracy)),
        f"{statistics.mean(accuracy):.4f}",
        f"{statistics.stdev(accuracy):.4f}" if len(accuracy) > 1 else "",
        f"{gain(case, strategy, labels):+.2f}",
        f"{statistics.mean(case.values(strategy, labels, what='kept')):.1%}",
        f"{statistics.mean(wrong):.0%}" if wrong else "",
        *(_effect_cell(case, ours, strategy, labels) for ours in OURS),
    ]
    return f"| {' | '.join(cells)} |"


def _effect_cell(case: CaseRuns, ours: str, strategy: str, labels: int) -> str:
    if ours == strategy or strategy in NEEDS_NO_LABEL:
        return ""
    mine, theirs = case.values(ours, labels), case.values(strategy, labels)
    if len(mine) < 2 or len(theirs) < 2:
        return ""
    p, a12 = effect(mine, theirs)
    return f"{a12:.2f}, {p:.3f}"


def gain(case: CaseRuns, strategy: str, labels: int) -> float:
    """Gain of the mean accuracy over the original model, in percentage points."""
    return 100 * (statistics.mean(case.values(strategy, labels)) - case.about["accuracy"])


# --- Sentences --------------------------------------------------------------------------------------------------


def _sentences(case: CaseRuns) -> Iterator[str]:
    for labels in case.budgets:
        for ours in OURS:
            if case.values(ours, labels):
                yield f"- {labels} labels, {ours}: {compare(case, ours, labels)}"
    if case.values("none", 0):
        yield f"- Further training without new images: {gain(case, 'none', 0):+.2f} points."
    yield f"- {_effect_aim(case)}"
    yield f"- {_loss_aim(case)}"


def compare(case: CaseRuns, ours: str, labels: int) -> str:
    """A sentence that compares a strategy of SAFE with the others for the same number of labels."""
    parts = [f"{gain(case, ours, labels):+.2f} points over the original model"]
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "no significant difference from": []}
    mine = case.values(ours, labels)
    for strategy in STRATEGIES:
        theirs = case.values(strategy, labels)
        if strategy == ours or strategy in NEEDS_NO_LABEL or len(mine) < 2 or len(theirs) < 2:
            continue
        p, _ = effect(mine, theirs)
        points = 100 * (statistics.mean(mine) - statistics.mean(theirs))
        kind = "no significant difference from" if p >= MOST_CHANCE else "better than" if points > 0 else "worse than"
        groups[kind].append(f"{strategy} ({points:+.2f})")
    parts += [f"{kind} {', '.join(names)}" for kind, names in groups.items() if names]
    return "; ".join(parts) + "."


def _effect_aim(case: CaseRuns) -> str:
    """Whether SAFE is clearly better than the random baselines with few labels."""
    met: list[str] = []
    missed: list[str] = []
    for labels in (100, 300):
        for ours in OURS:
            for baseline in BASELINES:
                mine, theirs = case.values(ours, labels), case.values(baseline, labels)
                if len(mine) < 2 or len(theirs) < 2:
                    continue
                p, a12 = effect(mine, theirs)
                passed = a12 >= LEAST_EFFECT and p < MOST_CHANCE
                (met if passed else missed).append(f"{ours} against {baseline} at {labels}")
    return (
        f"Aim, Â12 ≥ {LEAST_EFFECT:g} and p < {MOST_CHANCE:g} against the random strategies at 100 and 300 labels: met "
        f"by {'; '.join(met) or 'none'}. Missed by {'; '.join(missed) or 'none'}."
    )


def _loss_aim(case: CaseRuns) -> str:
    """Whether few of the correct predictions are lost."""
    shares = {
        (strategy, labels): statistics.mean(case.values(strategy, labels, what="kept"))
        for labels in case.budgets
        for strategy in OURS
        if case.values(strategy, labels)
    }
    if not shares:
        return "There is no run of SAFE yet."
    (strategy, labels), least = min(shares.items(), key=lambda item: item[1])
    fine = sum(share >= 1 - MOST_LOST for share in shares.values())
    return (
        f"Aim, at most {MOST_LOST:.0%} of the correct predictions on test images are lost: met in {fine} of "
        f"{len(shares)} rows of {', '.join(OURS)}; the largest loss is that of {strategy} at {labels} labels, "
        f"{1 - least:.1%}."
    )


# --- The plot ---------------------------------------------------------------------------------------------------


def draw_retraining_plot(cases: list[CaseRuns], path: Path) -> None:
    """Mean accuracy by number of labels, with one standard deviation on either side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure, axes = plt.subplots(1, len(cases), figsize=(4 * len(cases) + LEGEND_INCHES, 3.8), squeeze=False)
        for axis, case in zip(axes[0], cases, strict=True):
            _draw_case(axis, case)
        axes[0][0].set_ylabel("accuracy on the test set")
        handles = {label: handle for axis in axes[0] for handle, label in zip(*axis.get_legend_handles_labels())}  # noqa: B905
        figure.legend(handles.values(), handles.keys(), frameon=False, loc="center right")
        figure.tight_layout(rect=(0, 0, 1 - LEGEND_INCHES / (4 * len(cases) + LEGEND_INCHES), 1))
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png", dpi=110, metadata={"Software": None})
        plt.close(figure)


def _draw_case(axis: Any, case: CaseRuns) -> None:
    for place, (strategy, (colour, dashes, marker)) in enumerate(STYLES.items()):
        found = [(labels, case.values(strategy, labels)) for labels in case.budgets]
        found = [(labels, accuracy) for labels, accuracy in found if accuracy]
        if found:
            axis.errorbar(
                [labels * (1 + 0.02 * (place - 3.5)) for labels, _ in found],  # side by side
                [statistics.mean(accuracy) for _, accuracy in found],
                [statistics.stdev(accuracy) if len(accuracy) > 1 else 0 for _, accuracy in found],
                color=colour, linestyle=dashes, marker=marker, markersize=4, capsize=2, linewidth=1.2, label=strategy,
            )  # fmt: skip
    axis.axhline(case.about["accuracy"], color="black", linewidth=0.8, label="original")
    if case.values("none", 0):
        axis.axhline(statistics.mean(case.values("none", 0)), color="black", linewidth=0.8, linestyle=":", label="none")
    axis.set_xscale("log")
    axis.set_xticks(case.budgets, [f"{labels}" for labels in case.budgets], minor=False)
    axis.minorticks_off()
    axis.set(title=case.about["name"], xlabel="labels")
    axis.grid(alpha=0.25)
