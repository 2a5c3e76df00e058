"""The section on retraining in `lab/results/retraining.md`: all sentences are computed from the runs."""

import statistics
from collections.abc import Iterator

from lab.benchmarks.paper.measures import effect
from lab.benchmarks.results import table
from lab.benchmarks.retraining.choice import DESCRIPTIONS, NEEDS_HIDDEN_LABELS, NEEDS_NO_LABEL, STRATEGIES
from lab.benchmarks.retraining.ranks import LEVEL, Ranks, rank
from lab.benchmarks.retraining.runs import CaseRuns

OURS = ("SAFE", "SAFE by size", "SAFE by size + likely wrong")  # compared with each other strategy
MOST_CHANCE = 0.05


def retraining_section(cases: list[CaseRuns], *, further: bool = False) -> str:
    """The section as Markdown; that of further cases refers to the other one for what both explain."""
    lines = [*(_REFERENCE if further else _explanation()), *_over_all(cases)]
    for case in cases:
        lines += ["", f"### {case.about['name']}", "", _describe(case), "", _table(case), "", *_sentences(case)]
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
    ]


def _over_all(cases: list[CaseRuns]) -> Iterator[str]:
    """The ranks over all cases and numbers of labels."""
    candidates = [name for name in STRATEGIES if name not in NEEDS_NO_LABEL and name not in NEEDS_HIDDEN_LABELS]
    ranks = rank(cases, candidates)
    if ranks is None:
        return
    yield from ("", "### All cases and numbers of labels", "", _about_ranks(ranks), "")
    columns = zip(ranks.strategies, ranks.means.tolist(), ranks.worse, strict=True)
    rows = [(name, f"{mean:.2f}", _where(worse, len(ranks.blocks))) for name, mean, worse in columns]
    yield table(("strategy", "mean rank", "significantly worse than another"), rows)


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


def _table(case: CaseRuns) -> str:
    header = ("labels", "strategy", "seeds", "accuracy, mean", "sd", "gain, points", "still right", "selected, wrong")
    effects = tuple(f"{ours}: Â12, p" for ours in OURS)
    empty = [""] * (4 + len(OURS))
    rows = [["–", "original model", "–", f"{case.about['accuracy']:.4f}", *empty]]
    rows += [
        _row(case, strategy, labels, accuracy)
        for labels in (0, *case.budgets)
        for strategy in STRATEGIES
        if (accuracy := case.values(strategy, labels))
    ]
    return table((*header, *effects), rows, texts=2)


def _row(case: CaseRuns, strategy: str, labels: int, accuracy: list[float]) -> list[str]:
    wrong = [share for share in case.values(strategy, labels, what="wrong") if share is not None]
    return [
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
