"""Do two rounds of 150 labels gain more than one of 300, and who chooses best in the second?

    python -m lab.benchmarks.retraining.rounds --case gd --data DIR [--seeds 3] [--work DIR] [--minutes N] [--report]

Half of the labels are given as SAFE chooses, the model is fine-tuned, and its failures on the test set are clustered
anew. The other half are chosen, among the images without a label, in each of `WAYS`. The original model is then
fine-tuned with all labels, so that only the choice differs. For each way of telling which images the retrained model
gets wrong, the area under the ROC curve on the images without a label is kept too. Each run is kept in the work folder
as soon as it ends. With --report, the section `retraining-rounds` of lab/results/retraining.md is written.

Source of *both answers*: MetaSel, IEEE TSE 2025, which learns from the outputs of a model and of the one fine-tuned
from it.
"""

import argparse
import functools
import json
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lab.benchmarks.results import tell
from lab.benchmarks.retraining import __main__ as benchmark
from lab.benchmarks.retraining.__main__ import Chosen, RetrainingCase, compiled_once, train
from lab.benchmarks.retraining.choice import Pool, choose_images, entropy_of, margin_of
from safe_dnn.dnn.failure_prediction import LEAST, likely_wrong
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, write_text

LABELS = 300
OURS = "SAFE by size + likely wrong"
ONE, TODAY = "one round", "as today"
WAYS = {
    ONE: "all labels in one round, as SAFE chooses",
    TODAY: "half of them in a second round, as SAFE chooses with the retrained model and its failures",
    "both answers": "the same, with likely errors predicted from the answers of the original and the retrained model",
    "most likely": "the images most likely wrong by both models' answers, of whatever RCC",
    "random": "random images",
}
RUNS_FILE = "rounds.jsonl"


class Round(NamedTuple):
    """What is known after the first round.

    Attributes
    ----------
    labelled, rest : ndarray of int
        Rows of improvement images.
    tested, after : ndarray of shape (n_images, n_classes)
        Probabilities of the retrained model for the test images and for all improvement images.
    """

    labelled: np.ndarray
    rest: np.ndarray
    tested: np.ndarray
    after: np.ndarray


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = benchmark._parser()
    parser.prog, parser.description = "python -m lab.benchmarks.retraining.rounds", __doc__.split("\n")[0]
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS), metavar="NAME")
    options = parser.parse_args(arguments)
    try:
        work = prepare_folder(options.work)
        if options.report:
            tell("retraining-rounds", section(work), write=True)
        else:
            run_case(options, prepare_folder(work / options.case))
    except SAFEError as error:
        print(f"rounds: {error}", file=sys.stderr)
        return 2
    return 0


def run_case(options: argparse.Namespace, work: Path) -> None:
    """Do the missing runs of a case."""
    started = time.monotonic()
    case = benchmark.load_retraining_case(options, work)
    before = benchmark.outputs_of(case.dnn, case.dnn.model, case.improvement)
    kept = benchmark.read_runs(work / RUNS_FILE)
    done = {(run["way"], run["seed"]) for run in kept if run["setup"] == case.about["setup"]}
    compiled: dict = {}
    for seed in range(options.seeds):
        for way in options.ways:
            if (way, seed) in done:
                continue
            if options.minutes is not None and time.monotonic() - started > 60 * options.minutes:
                return
            with compiled_once(compiled):
                run = run_once(case, before, way, seed, work, options.precision)
            kept.append({"setup": case.about["setup"], "way": way, "seed": seed, **run})
            write_text(work / RUNS_FILE, "".join(json.dumps(one) + "\n" for one in kept))
            print(json.dumps(kept[-1]), flush=True)


def run_once(case: RetrainingCase, before: np.ndarray, way: str, seed: int, work: Path, precision: str) -> dict:
    """Choose images in one of the ways, fine-tune with all and test."""
    rng = np.random.default_rng((seed, 1))
    more: dict[str, Any] = {}
    if way == ONE:
        chosen, _ = choose_images(OURS, LABELS, case.pool, rng)
    else:
        first = first_round(case, seed, work)
        fails = first.after.argmax(axis=1) != case.improvement.labels
        second, more = choose_again(case, before, first, way, rng, work / f"second-{seed}", precision)
        more["wrong"] = float(fails[second].mean())
        chosen = np.concatenate([first.labelled, second])
    trained = train(case, *sets_of(case, chosen, seed), seed)
    right = trained.outputs(case.test).argmax(axis=1) == case.test.labels
    return {
        "original": case.about["accuracy"],
        "accuracy": float(right.mean()),
        "kept": float(right[case.right].mean()),
        "seconds": round(trained.tuning.seconds, 1),
        **more,
    }


def sets_of(case: RetrainingCase, chosen: np.ndarray, seed: int) -> tuple[np.ndarray, Chosen]:
    """The training images of a seed, and the selected ones with those that stay without a label."""
    seen = np.random.default_rng((seed, 0)).permutation(len(case.train.labels))[: case.training_images]
    rest = np.setdiff1d(np.arange(len(case.improvement.labels)), chosen)
    rest = rest[benchmark.draw_unlabelled(len(rest), len(seen))]
    return seen, Chosen(case.improvement, chosen, np.zeros(len(chosen), int), rest)


def first_round(case: RetrainingCase, seed: int, work: Path) -> Round:
    """Half of the labels as SAFE chooses, and the model that is fine-tuned with them; kept in `work`."""
    labelled, _ = choose_images(OURS, LABELS // 2, case.pool, np.random.default_rng((seed, 1)))
    file = work / f"first-{seed}-{case.about['setup']}.npz"
    if not file.is_file():
        trained = train(case, *sets_of(case, labelled, seed), seed)
        np.savez(file, tested=trained.outputs(case.test), after=trained.outputs(case.improvement))
    with np.load(file) as found:
        tested, after = found["tested"], found["after"]
    return Round(labelled, np.setdiff1d(np.arange(len(after)), labelled), tested, after)


def choose_again(
    case: RetrainingCase, before: np.ndarray, first: Round, way: str, rng: np.random.Generator, work: Path,
    precision: str,
) -> tuple[np.ndarray, dict[str, Any]]:  # fmt: skip
    """The rows of the second half of the labels, and how well each prediction tells what is still wrong."""
    n, rest = LABELS - LABELS // 2, first.rest
    if way == "random":
        return rng.permutation(rest)[:n], {}
    fails = first.tested.argmax(axis=1) != case.test.labels
    alone = likely_wrong(first.after[rest], first.tested, fails)
    both = still_wrong((before[rest], first.after[rest]), (case.tested, first.tested), fails)
    truly = first.after[rest].argmax(axis=1) != case.improvement.labels[rest]
    more = {"auc": [area(truly, alone), area(truly, both)], "before": float((~fails).mean())}
    if way == "most likely":
        return rest[np.argsort(-both, kind="stable")[:n]], more
    clusters = benchmark.cluster_failures(case.test_images, ~fails, prepare_folder(work), precision=precision)
    placed = benchmark.place_images(case.improvement_images, case.listed[rest], clusters, work)
    outputs = first.after[rest]
    pool = Pool(
        **placed._asdict(), entropy=entropy_of(outputs), margin=margin_of(outputs), change=None, wrong=truly,
        likely_wrong=both if way == "both answers" else alone, sizes=clusters.sizes,
    )  # fmt: skip
    return rest[choose_images(OURS, n, pool, rng)[0]], more


def still_wrong(
    outputs: tuple[np.ndarray, np.ndarray], tested: tuple[np.ndarray, np.ndarray], wrong: np.ndarray
) -> np.ndarray:
    """How likely the retrained model is wrong, by both models' probabilities for images and for test images.

    A random forest, of their log probabilities; it learns which test images the retrained model gets wrong.
    """
    from sklearn.ensemble import RandomForestClassifier

    images, known = (np.log(np.maximum(np.hstack(both), LEAST)) for both in (outputs, tested))
    if wrong.all() or not wrong.any():
        return np.full(len(images), float(wrong.mean()))
    forest = RandomForestClassifier(300, min_samples_leaf=5, random_state=0).fit(known, wrong)
    return np.asarray(forest.predict_proba(images)[:, 1])


def area(truly: np.ndarray, score: np.ndarray) -> float | None:
    """Area under the ROC curve; None if all images are right, or all wrong."""
    from sklearn.metrics import roc_auc_score

    return None if truly.all() or not truly.any() else round(float(roc_auc_score(truly, score)), 3)


# --- The report -------------------------------------------------------------------------------------------------


def section(work: Path) -> str:
    """The section as Markdown, of all cases in a work folder."""
    lines = [
        "## Two rounds of 150 labels against one of 300",
        "",
        "Written by `python -m lab.benchmarks.retraining.rounds`. Accuracy of the original model, fine-tuned with 300 "
        "labels, and in brackets the share still right of what was right; means of seeds, of the ways after the second "
        "those of the seeds that they were run with, mostly the first. *Wrong*: share of the images "
        "chosen in the second round that the model of the first gets wrong. *Area*: under the ROC curve, for telling "
        "what that model gets wrong among images without a label, by its answers alone (as today) and by both models'.",
        "",
        *(f"- {way}: {text}" for way, text in WAYS.items()),
        "",
        f"| case | seeds | before | after 150 | {' | '.join(WAYS)} | wrong: {', '.join([*WAYS][1:])} | area |",
        f"|---|---:|---:|---:|{'---|' * len(WAYS)}---|---|",
    ]
    gains = []
    for path in sorted(work.glob(f"*/{RUNS_FILE}")):
        runs = _compared(benchmark.read_runs(path))
        if runs:
            lines.append(_row(path.parent.name, runs))
            gains.append((_mean(runs, "accuracy", TODAY) or 0) - (_mean(runs, "accuracy", ONE) or 0))
    better = sum(gain >= 0 for gain in gains)
    lines += ["", f"Two rounds, as today, are at least as good as one in {better} of {len(gains)} cases."]
    return "\n".join(lines) + "\n"


def _compared(runs: list[dict]) -> list[dict]:
    """Those of the last setup, of seeds that have both one round and two."""
    runs = [run for run in runs if run["setup"] == runs[-1]["setup"]]
    both = [{run["seed"] for run in runs if run["way"] == way} for way in (ONE, TODAY)]
    return [run for run in runs if run["seed"] in both[0] & both[1]]


def _mean(runs: list[dict], what: str, way: str = "") -> float | None:
    values = [run[what] for run in runs if run.get(what) is not None and way in ("", run["way"])]
    return statistics.mean(values) if values else None


def _row(name: str, runs: list[dict]) -> str:
    seeds = {run["seed"] for run in runs}
    mean = functools.partial(_mean, runs)

    def cells() -> Iterator[str]:
        yield from (name, str(len(seeds)), _share(runs[0].get("original")), _share(mean("before")))
        for way in WAYS:
            accuracy, still = mean("accuracy", way), mean("kept", way)
            yield "" if accuracy is None or still is None else f"{accuracy:.4f} ({still:.1%})"
        yield ", ".join(_share(mean("wrong", way), "{:.0%}") for way in [*WAYS][1:])
        areas = [run["auc"] for run in runs if run.get("auc") and run["auc"][0] is not None]
        yield ", ".join(f"{statistics.mean(one):.2f}" for one in zip(*areas, strict=True))

    return f"| {' | '.join(cells())} |"


def _share(value: float | None, form: str = "{:.3f}") -> str:
    return "–" if value is None else form.format(value)


if __name__ == "__main__":
    sys.exit(main())
