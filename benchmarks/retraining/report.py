"""The section on retraining in `benchmarks/RESULTS.md`, and its plot: every sentence is computed from the runs."""

import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks.paper.measures import effect
from benchmarks.retraining.choice import DESCRIPTIONS, NEEDS_NO_LABEL, STRATEGIES
from support.errors import SAFEError
from support.files import replacing

CASE_FILE, RUNS_FILE = "case.json", "runs.jsonl"
OURS = ("SAFE", "SAFE by size")  # compared with each other choice
BASELINES = ("BL1", "BL1 counted", "BL2")
LEAST_EFFECT, MOST_CHANCE = 0.7, 0.05
MOST_LOST = 0.01
PLOT = "plots/retraining.png"
LEGEND_INCHES = 2.5
STYLES = {  # colour, dashes, marker; told apart without colour too
    "SAFE": ("#0060a8", "-", "o"),
    "SAFE by size": ("#0060a8", ":", "P"),
    "SAFE + entropy": ("#7c3aed", "-", "D"),
    "SAFE + spread": ("#0891b2", "-.", "v"),
    "SAFE + likely wrong": ("#db2777", "-", "d"),
    "BL1": ("#3f7d20", "--", "^"),
    "BL1 counted": ("#3f7d20", ":", "<"),
    "BL2": ("#6b7280", ":", "x"),
    "entropy": ("#c2410c", "--", "s"),
}


class CaseRuns(NamedTuple):
    """What is kept of a case: `about` (see `retraining.load_case`) and the runs of that setup."""

    about: dict
    runs: list[dict]

    def values(self, strategy: str, labels: int, what: str = "accuracy") -> list[float]:
        """One number of each seed, of the runs with a strategy and so many labels."""
        return [run[what] for run in self.runs if (run["strategy"], run["labels"]) == (strategy, labels)]

    @property
    def budgets(self) -> list[int]:
        """Numbers of labels, ascending; that of no labels is not among them."""
        return sorted({run["labels"] for run in self.runs} - {0})


def load_cases(work: Path) -> list[CaseRuns]:
    """The cases in a work folder, by name.

    Raises
    ------
    SAFEError
        There is no run.
    """
    cases = []
    for path in sorted(work.glob(f"*/{CASE_FILE}")):
        about = json.loads(path.read_text(encoding="utf-8"))
        lines = path.with_name(RUNS_FILE)
        runs = [run for run in read_runs(lines) if run["setup"] == about["setup"]]
        if runs:
            cases.append(CaseRuns(about, runs))
    if not cases:
        raise SAFEError(f"Expected finished runs in {work}. Received none. Run a case first.")
    return cases


def read_runs(path: Path) -> list[dict]:
    """The runs kept so far.

    Raises
    ------
    SAFEError
        The file is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SAFEError(f"{path} must hold a JSON record in each line. Received: {error}. Delete it.") from error


def write_report(cases: list[CaseRuns]) -> str:
    """The section as Markdown."""
    lines = [
        "## Does SAFE's choice pay? Retraining",
        "",
        "`python -m benchmarks.retraining` wrote this section. Improvement images are chosen in several ways, the "
        "model is fine-tuned with as many of each choice, and tested:",
        "",
        *(f"- {name}: {DESCRIPTIONS[name]}" for name in STRATEGIES),
        "",
        "All runs of a case see the same number of training images and epochs; runs of one seed also the same training "
        "images. *Chosen, wrong*: share of the chosen images that the model as it was given gets wrong. *Still right*: "
        "of the test images that it got right, the share that is right after retraining. The effect is Â12 (the chance "
        "that a run of SAFE is the more accurate one; 0.5 is none) with Mann–Whitney's two-sided p, against "
        "the choice of that row. The p-values are not corrected for their number; with three seeds no p can be below "
        "0.1, with four none below 0.028, whatever the difference.",
        "",
        f"![Accuracy against labels]({PLOT})",
    ]
    for case in cases:
        lines += ["", f"### {case.about['name']}", "", _describe(case), "", *_table(case), "", *_sentences(case)]
    return "\n".join(lines) + "\n"


def _describe(case: CaseRuns) -> str:
    about, settings = case.about, case.about["settings"]
    seconds = statistics.mean(run["seconds"] for run in case.runs)
    return (
        f"The model gets {about['accuracy']:.1%} of {about['test_images']:,} test images right; its failures form "
        f"{about['rccs']} RCCs ({about['noise']} failures in none). {_share(about, 'improvement_images')} improvement "
        f"images, of which it gets {about['wrong']:,} wrong. Fine-tuned on: {_share(about, 'training_images')} "
        f"training images and the chosen ones, {settings['epochs']} epochs, learning rate "
        f"{settings['learning_rate']:g}, batches of {settings['batch_size']}. SAFE's formula gives "
        f"{about['formula']:,} labels. {len(case.runs)} runs of {seconds:.0f} s on average."
    )


def _share(about: dict, name: str) -> str:
    n, of = about[name], about[f"of_{name}"]
    return f"{n:,} (a random part of {of:,})" if n < of else f"All {n:,}"


def _table(case: CaseRuns) -> Iterator[str]:
    effects = " | ".join(f"{ours}: Â12, p" for ours in OURS)
    yield f"| labels | choice | seeds | accuracy, mean | sd | gain, points | still right | chosen, wrong | {effects} |"
    yield f"|---:|---|---:|---:|---:|---:|---:|---:|{'---|' * len(OURS)}"
    yield f"| – | the model as given | – | {case.about['accuracy']:.4f} | | | | |{' |' * len(OURS)}"
    for labels in [0, *case.budgets]:
        for strategy in STRATEGIES:
            accuracy = case.values(strategy, labels)
            if accuracy:
                yield _row(case, strategy, labels, accuracy)


def _row(case: CaseRuns, strategy: str, labels: int, accuracy: list[float]) -> str:
    wrong = [share for share in case.values(strategy, labels, "wrong") if share is not None]
    cells = [
        f"{labels} (formula)" if labels == case.about["formula"] else str(labels),
        strategy,
        str(len(accuracy)),
        f"{statistics.mean(accuracy):.4f}",
        f"{statistics.stdev(accuracy):.4f}" if len(accuracy) > 1 else "",
        f"{gain(case, strategy, labels):+.2f}",
        f"{statistics.mean(case.values(strategy, labels, 'kept')):.1%}",
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
    """Mean accuracy over that of the model as given, in points."""
    return 100 * (statistics.mean(case.values(strategy, labels)) - case.about["accuracy"])


# --- Sentences --------------------------------------------------------------------------------------------------


def _sentences(case: CaseRuns) -> Iterator[str]:
    for labels in case.budgets:
        for ours in OURS:
            if case.values(ours, labels):
                yield f"- {labels} labels, {ours}: {compare(case, ours, labels)}"
    if case.values("none", 0):
        yield f"- Trained further without new images: {gain(case, 'none', 0):+.2f} points."
    yield f"- {_bar(case)}"
    yield f"- {_kept(case)}"


def compare(case: CaseRuns, ours: str, labels: int) -> str:
    """In words, how a choice of SAFE's fares against the others with as many labels."""
    said = [f"{gain(case, ours, labels):+.2f} points over the model as given"]
    groups: dict[str, list[str]] = {"better than": [], "worse than": [], "no difference shown from": []}
    mine = case.values(ours, labels)
    for strategy in STRATEGIES:
        theirs = case.values(strategy, labels)
        if strategy == ours or strategy in NEEDS_NO_LABEL or len(mine) < 2 or len(theirs) < 2:
            continue
        p, _ = effect(mine, theirs)
        points = 100 * (statistics.mean(mine) - statistics.mean(theirs))
        kind = "no difference shown from" if p >= MOST_CHANCE else "better than" if points > 0 else "worse than"
        groups[kind].append(f"{strategy} ({points:+.2f})")
    said += [f"{kind} {', '.join(names)}" for kind, names in groups.items() if names]
    return "; ".join(said) + "."


def _bar(case: CaseRuns) -> str:
    """Whether SAFE beats the random baselines clearly with few labels."""
    verdicts = []
    for labels in (100, 300):
        for ours in OURS:
            for baseline in BASELINES:
                mine, theirs = case.values(ours, labels), case.values(baseline, labels)
                if len(mine) < 2 or len(theirs) < 2:
                    continue
                p, a12 = effect(mine, theirs)
                met = a12 >= LEAST_EFFECT and p < MOST_CHANCE
                verdicts.append((met, f"{ours} against {baseline} at {labels}"))
    met = [text for passed, text in verdicts if passed]
    missed = [text for passed, text in verdicts if not passed]
    return (
        f"Aim, Â12 ≥ {LEAST_EFFECT:g} and p < {MOST_CHANCE:g} against the random choices at 100 and 300 labels: met by "
        f"{'; '.join(met) or 'none'}. Missed by {'; '.join(missed) or 'none'}."
    )


def _kept(case: CaseRuns) -> str:
    """How much of what was right is lost."""
    shares = {
        (strategy, labels): statistics.mean(case.values(strategy, labels, "kept"))
        for labels in case.budgets
        for strategy in OURS
        if case.values(strategy, labels)
    }
    if not shares:
        return "No run of SAFE yet."
    (strategy, labels), least = min(shares.items(), key=lambda item: item[1])
    fine = sum(share >= 1 - MOST_LOST for share in shares.values())
    return (
        f"Aim, at most {MOST_LOST:.0%} of the test images that were right are lost: met in {fine} of {len(shares)} "
        f"rows of {', '.join(OURS)}; the most is lost by {strategy} at {labels} labels, {1 - least:.1%}."
    )


# --- The plot ---------------------------------------------------------------------------------------------------


def draw_plot(cases: list[CaseRuns], path: Path) -> None:
    """Mean accuracy against labels, with one standard deviation to either side."""
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


def _draw_case(axis, case: CaseRuns) -> None:
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
    axis.axhline(case.about["accuracy"], color="black", linewidth=0.8, label="as given")
    if case.values("none", 0):
        axis.axhline(statistics.mean(case.values("none", 0)), color="black", linewidth=0.8, linestyle=":", label="none")
    axis.set_xscale("log")
    axis.set_xticks(case.budgets, [f"{labels}" for labels in case.budgets], minor=False)
    axis.minorticks_off()
    axis.set(title=case.about["name"], xlabel="labels")
    axis.grid(alpha=0.25)
