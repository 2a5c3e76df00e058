"""Does SAFE's selection pay off? Retraining with SAFE's unsafe set compared with other selections of the same size.

    python -m lab.benchmarks.retraining --case gd --data DIR [--seeds 10] [--budgets 50 100 300 formula] [--work DIR]

A case is a folder with `train`, `improvement` and `test`, each with class folders, and `model.keras` (or --model). The
failing images are clustered, improvement images are selected with several strategies, the model is fine-tuned with them
(`fine_tune_twice`, as in the tool), and its accuracy on the test set is measured. All
strategies get the same number of labels, the same training images and the same number of epochs; in the second pass,
each learns from the improvement images that it has not selected, without their labels. The seed determines the random
selections, the training images, their order, and dropout.

All runs of seed 0 come before those of seed 1. Each run is kept in the work folder as soon as it ends, so an
interrupted benchmark resumes from there, and additional seeds cost only the new runs. The section `retraining` of
lab/results/retraining.md covers all cases in the work folder; with --further, it is a section of its own.
"""

import argparse
import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lab.benchmarks.results import write_section
from lab.benchmarks.retraining.choice import (
    CONSISTENCY,
    NEEDS_NO_LABEL,
    STRATEGIES,
    Pool,
    choose_images,
    entropy_of,
    margin_of,
    output_change,
    transformed,
)
from lab.benchmarks.retraining.report import retraining_section
from lab.benchmarks.retraining.runs import CASE_FILE, RUNS_FILE, load_cases, read_runs
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.failure_prediction import likely_wrong
from safe_dnn.dnn.model import Dnn, load_dnn, sized_for
from safe_dnn.dnn.predictions import LabelledImages, Pixels, check_classes, labelled_images, run_model
from safe_dnn.FE import extract_features, stream_features
from safe_dnn.features.extractor import PRECISIONS
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.options import SelectionSettings, Wishes
from safe_dnn.rccs.clusters import RootCauseClusters, load_clusters, save_clusters
from safe_dnn.selection import select_unsafe_set, unsafe_set_size
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, write_text
from safe_dnn.support.images import find_images
from safe_dnn.training import finetuning
from safe_dnn.training.finetuning import (
    TRAINING,
    UNLABELLED,
    FineTuning,
    TrainingData,
    draw_unlabelled,
    fine_tune_twice,
)
from safe_dnn.training.settings import AIM, AIMS, UNSAFE_SHARE, SetSizes, Settings, choose_settings
from tests.helpers.small_models import Ready

LIST_FILE = "improvement.txt"
FORMULA = "formula"


class Part(NamedTuple):
    """A set of images in memory: uint8 of shape (n, height, width, channels), and their classes."""

    pixels: np.ndarray
    labels: np.ndarray


class RetrainingCase(NamedTuple):
    """What the runs of a case have in common.

    Attributes
    ----------
    dnn : Dnn
    train, improvement, test : Part
    pool : Pool
        What the strategies know about the improvement images.
    tested : ndarray of shape (n_test, n_classes), float32
        Outputs of the original model for the test images.
    right : ndarray of shape (n_test,), bool
        Whether the original model classifies the test image correctly.
    wishes : Wishes
        Of fine-tuning, except for the seed.
    training_images : int
        Number of training images in a run.
    about : dict
        Facts about the case for the report.
    """

    dnn: Dnn
    train: Part
    improvement: Part
    test: Part
    pool: Pool
    tested: np.ndarray
    right: np.ndarray
    wishes: Wishes
    training_images: int
    about: dict[str, Any]


@terminal_progress()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    options = _parser().parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Running several cases at a time uses the cores better than several threads on one small network.
    os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
    try:
        work = prepare_folder(options.work)
        if not options.report:
            if not options.case or not options.data:
                raise SAFEError("Expected --case and --data, or --report. Received only one of the former, or neither.")
            run_case(options, prepare_folder(work / options.case))
        name = "retraining-further" if options.further else "retraining"
        write_section(name, retraining_section(load_cases(work), further=options.further))
    except SAFEError as error:
        print(f"retraining: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.retraining", description=__doc__.split("\n")[0])
    parser.add_argument("--case", metavar="NAME", help="name of the case in the report, for example gd, oc or gtsrb")
    parser.add_argument("--data", metavar="DIR", help="folder of the case, with train, improvement and test")
    parser.add_argument("--model", metavar="FILE", help="the Keras model (default: model.keras in DIR)")
    parser.add_argument("--seeds", type=int, default=10, metavar="N", help="seeds 0 to N - 1 (default: 10)")
    parser.add_argument(
        "--budgets", nargs="+", default=["50", "100", "300", FORMULA], metavar="N", type=_budget,
        help="numbers of labels; `formula` is the size given by SAFE's formula (default: 50 100 300 formula)",
    )  # fmt: skip
    parser.add_argument(
        "--strategies", nargs="+", choices=STRATEGIES, default=list(STRATEGIES), metavar="NAME",
        help=f"strategies: {', '.join(STRATEGIES)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--epochs", type=int, metavar="N", help="epochs of fine-tuning (default: that of the tool)")
    parser.add_argument("--aim", choices=AIMS, default=AIM, help=f"as of the tool (default: {AIM})")
    parser.add_argument(
        "--training-images", type=int, metavar="N",
        help="training images in a run, drawn for each seed (default: all)",
    )  # fmt: skip
    parser.add_argument(
        "--improvement-images", type=int, metavar="N",
        help="size of a random, fixed part of the improvement set (default: all)",
    )  # fmt: skip
    parser.add_argument("--work", metavar="DIR", default=".retraining", help="results folder (default: .retraining)")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="default: float32")
    parser.add_argument("--further", action="store_true", help="a section of its own, beside that of other cases")
    parser.add_argument("--report", action="store_true", help="only write the report, from the results in --work")
    return parser


def _budget(text: str) -> str:
    if text != FORMULA and not (text.isdecimal() and int(text) > 0):
        raise argparse.ArgumentTypeError(f"expected a number of labels or `{FORMULA}`, received {text}")
    return text


# --- A case -----------------------------------------------------------------------------------------------------


def run_case(options: argparse.Namespace, work: Path) -> None:
    """Do the missing runs of a case; each is kept in `work`."""
    case = load_retraining_case(options, work)
    budgets = [case.about["formula"] if budget == FORMULA else int(budget) for budget in options.budgets]
    limit = case.about["improvement_images"]
    if max(budgets) > limit:
        print(f"{options.case}: at most {limit:,} images can be selected; larger budgets are left out", file=sys.stderr)
    write_text(work / CASE_FILE, json.dumps(case.about, indent=1) + "\n")
    kept = read_runs(work / RUNS_FILE)
    done = {(run["strategy"], run["labels"], run["seed"]) for run in kept if run["setup"] == case.about["setup"]}
    wanted = plan(options.seeds, [budget for budget in budgets if budget <= limit], options.strategies)
    compiled: dict = {}
    for strategy, labels, seed in wanted:
        if (strategy, labels, seed) in done:
            continue
        with compiled_once(compiled):
            run = run_once(case, strategy, labels, seed)
        kept.append(run)
        write_text(work / RUNS_FILE, "".join(json.dumps(one) + "\n" for one in kept))
        print(
            f"{options.case} {strategy} {labels} seed {seed}: {run['accuracy']:.4f}, still right {run['kept']:.4f}, "
            f"{run['seconds']:.0f} s",
            flush=True,
        )


def plan(seeds: int, budgets: Iterable[int], strategies: Sequence[str]) -> Iterator[tuple[str, int, int]]:
    """Strategy, labels and seed of each run, in order: a seed is finished before the next one begins.

    A strategy that needs no labels runs once for each seed.
    """
    labelling = [strategy for strategy in strategies if strategy not in NEEDS_NO_LABEL]
    sizes = dict.fromkeys(budgets)
    for seed in range(seeds):
        yield from ((strategy, 0, seed) for strategy in strategies if strategy in NEEDS_NO_LABEL)
        for labels in sizes:
            yield from ((strategy, labels, seed) for strategy in labelling)


def run_once(case: RetrainingCase, strategy: str, labels: int, seed: int) -> dict[str, Any]:
    """Select images, fine-tune with them and test the model."""
    order = np.random.default_rng((seed, 0)).permutation(len(case.train.labels))
    seen, unseen = order[: case.training_images], order[case.training_images :]
    if strategy in NEEDS_NO_LABEL:
        # In place of the unsafe set: images of the training set
        source, n = case.train, round(UNSAFE_SHARE * len(seen))
        chosen, rccs = np.resize(unseen if len(unseen) else seen, n), np.zeros(n, int)
        rest = np.empty(0, int)
    else:
        source = case.improvement
        chosen, rccs = choose_images(strategy, labels, case.pool, np.random.default_rng((seed, 1)))
        rest = np.setdiff1d(np.arange(len(source.labels)), chosen)
        rest = rest[draw_unlabelled(len(rest), len(seen))]
    tuning, settings = train(case, seen, source, chosen, rccs, rest, seed)
    right = outputs_of(case.dnn, tuning.model, case.test).argmax(axis=1) == case.test.labels
    return {
        "setup": case.about["setup"],
        "strategy": strategy,
        "labels": labels,
        "seed": seed,
        "accuracy": float(right.mean()),
        "kept": float(right[case.right].mean()),
        "wrong": None if strategy in NEEDS_NO_LABEL else float(case.pool.wrong[chosen].mean()),
        "epochs": settings.epochs,
        "best": tuning.best,
        "stopped": tuning.stopped,
        "seconds": round(tuning.seconds, 1),
    }


def train(
    case: RetrainingCase,
    seen: np.ndarray,
    source: Part,
    chosen: np.ndarray,
    groups: np.ndarray,
    rest: np.ndarray,
    seed: int,
) -> tuple[FineTuning, Settings]:
    """Fine-tune the original network with some training images and those that were selected.

    Parameters
    ----------
    seen : ndarray of int
        Training images.
    chosen, rest : ndarray of int
        Images of `source` to label, and those that stay without a label.
    groups : ndarray of int
        Of the chosen images, as returned by `choose_images`.
    """
    settings = choose_settings(case.dnn, case.wishes._replace(seed=seed), SetSizes(len(seen), len(chosen), len(rest)))
    if not settings.unlabelled:
        rest = rest[:0]
    pixels = case.train.pixels[seen], source.pixels[chosen], source.pixels[rest]
    data = TrainingData(
        Ready(case.dnn, np.concatenate(pixels)),
        np.concatenate([case.train.labels[seen], source.labels[chosen], np.zeros(len(rest), int)]),
        np.concatenate([np.full(len(seen), TRAINING), groups, np.full(len(rest), UNLABELLED)]),
    )
    wrong = partial(likely_wrong, tested=case.tested, wrong=~case.right)
    return fine_tune_twice(case.dnn, data, settings, likely_wrong=wrong), settings


@contextlib.contextmanager
def compiled_once(kept: dict) -> Iterator[None]:
    """Inside this context, `fine_tune` reuses one compiled copy of a model for all runs with the same number of steps.

    For a small network, building the training graph takes longer than the training. The weights, the state of the
    optimizer and the seeds of dropout are reset, so the result is that of a new copy (a test compares them), but each
    run overwrites the model returned by the previous one.

    Parameters
    ----------
    kept : dict
        The copies; filled by this function.
    """
    make = finetuning._compiled_copy

    def reuse(dnn: Dnn, settings: Settings, steps: int) -> Any:
        key = (settings._replace(seed=0), steps)
        if key not in kept:
            model = make(dnn, settings, steps)
            model.optimizer.build(model.trainable_variables)
            kept[key] = model, [variable.numpy() for variable in model.optimizer.variables]
        model, begin = kept[key]
        model.set_weights(dnn.model.get_weights())
        for variable, value in zip(model.optimizer.variables, begin, strict=True):
            variable.assign(value)
        seeds = [variable for variable in model.variables if "seed_generator_state" in variable.path]
        for i, variable in enumerate(seeds):
            variable.assign(np.array([settings.seed, i << 20], variable.dtype))
        return model

    finetuning._compiled_copy = reuse
    try:
        yield
    finally:
        finetuning._compiled_copy = make


def outputs_of(dnn: Dnn, model: Any, part: Part) -> np.ndarray:
    """Probabilities of shape (n_images, n_classes)."""
    return run_model(dnn, model, Ready(dnn, part.pixels), np.arange(len(part.labels)))[1]


# --- Loading ----------------------------------------------------------------------------------------------------


def load_retraining_case(options: argparse.Namespace, work: Path) -> RetrainingCase:
    """Read the images, cluster the failing ones, and assign the improvement images to RCCs.

    Raises
    ------
    SAFEError
        A folder or the model is missing, or they do not match.
    """
    data = Path(options.data).expanduser().absolute()
    folders = {name: labelled_images(data / name) for name in ("train", "test", "improvement")}
    classes = folders["train"].classes
    folders = {name: images if name == "train" else labelled_images(data / name, classes=classes)
               for name, images in folders.items()}  # fmt: skip
    dnn = load_dnn(options.model or data / MODEL_FILE)
    dnn = sized_for(dnn, folders["train"].files)
    check_classes(dnn, folders["train"])
    parts = {name: read_part(dnn, images) for name, images in folders.items()}
    tested = outputs_of(dnn, dnn.model, parts["test"])
    right = tested.argmax(axis=1) == parts["test"].labels
    clusters = cluster_failures(folders["test"], right, work, precision=options.precision)

    listed = part_of(folders["improvement"], options.improvement_images)
    improvement = Part(*(array[listed] for array in parts["improvement"]))
    outputs = outputs_of(dnn, dnn.model, improvement)
    placed = place_images(folders["improvement"], listed, clusters, work)
    change = None
    if CONSISTENCY in options.strategies:
        copies = [improvement._replace(pixels=pixels) for pixels in transformed(improvement.pixels)]
        change = output_change(outputs, [outputs_of(dnn, dnn.model, copy) for copy in copies])
    pool = Pool(
        **placed._asdict(),
        entropy=entropy_of(outputs),
        likely_wrong=likely_wrong(outputs, tested, ~right),
        wrong=outputs.argmax(axis=1) != improvement.labels,
        sizes=clusters.sizes,
        margin=margin_of(outputs),
        change=change,
    )

    wishes = Wishes(epochs=options.epochs, aim=options.aim)
    # With sizes, so that those of the second pass are among them; the epochs depend on the number of labels.
    settings = choose_settings(dnn, wishes, SetSizes(1, 1, 1))._replace(epochs=choose_settings(dnn, wishes).epochs)
    training_images = min(options.training_images or len(folders["train"].labels), len(folders["train"].labels))
    size, _ = unsafe_set_size(float(right.mean()), int((~right).sum()), test_size=len(right))
    about = {
        "name": options.case,
        "accuracy": float(right.mean()),
        "test_images": len(right),
        "rccs": clusters.n_rccs,
        "noise": int((clusters.labels < 0).sum()),
        "formula": size,
        "improvement_images": len(listed),
        "of_improvement_images": len(folders["improvement"].labels),
        "wrong": int(pool.wrong.sum()),
        "training_images": training_images,
        "of_training_images": len(folders["train"].labels),
        "settings": settings._asdict(),
    }
    model = hashlib.blake2b(Path(dnn.path).read_bytes(), digest_size=8).hexdigest()
    record = json.dumps([model, about, clusters.labels.tolist(), placed.rcc.tolist()], sort_keys=True)
    setup = hashlib.blake2b(record.encode(), digest_size=8).hexdigest()
    return RetrainingCase(
        dnn, parts["train"], improvement, parts["test"], pool, tested, right, wishes, training_images,
        {**about, "setup": setup},
    )  # fmt: skip


class Placed(NamedTuple):
    """Where images lie: the RCC of the nearest core point, the distance to it, and the point, as of `Pool`."""

    rcc: np.ndarray
    distance: np.ndarray
    points: np.ndarray


def place_images(images: LabelledImages, rows: np.ndarray, clusters: RootCauseClusters, work: Path) -> Placed:
    """Place some of the images, which are listed in a file in `work` for the selection."""
    files = [images.files[row] for row in rows.tolist()]
    write_text(work / LIST_FILE, "".join(f"{file}\n" for file in files))
    nearest = select_unsafe_set(work / LIST_FILE, clusters, SelectionSettings(size=len(rows)))
    found = {image.image: image for image in nearest.images}
    points: dict[str, np.ndarray] = {}
    extractor = clusters.recalled_extractor()
    for batch in stream_features(find_images(work / LIST_FILE), extractor):
        points.update(zip(batch.paths, clusters.projection.apply(batch.features), strict=True))
    names = [os.fspath(file) for file in files]
    return Placed(
        np.array([found[name].rcc for name in names]),
        np.array([found[name].distance for name in names]),
        np.array([points[name] for name in names], np.float32),
    )


def read_part(dnn: Dnn, images: LabelledImages) -> Part:
    """Read all images of a folder.

    Raises
    ------
    SAFEError
        One cannot be read.
    """
    pixels = Pixels(dnn, images.files, cache_bytes=0)
    read = [image for i in range(len(images.paths)) if (image := pixels.one(i)) is not None]
    if pixels.unreadable:
        n_unreadable = len(pixels.unreadable)
        raise SAFEError(f"Expected readable images in {images.root}. Received {n_unreadable} unreadable images.")
    return Part(np.stack(read), images.labels)


def cluster_failures(test: LabelledImages, right: np.ndarray, work: Path, *, precision: str) -> RootCauseClusters:
    """The RCCs of the test images that the model misclassifies; kept in `work` for these images."""
    lines = "".join(f"{file}\n" for file, fine in zip(test.files, right, strict=True) if not fine)
    listed = work / "failures.txt"
    known = listed.is_file() and listed.read_text(encoding="utf-8") == lines
    if known:
        with contextlib.suppress(SAFEError):  # a run that was ended had none yet
            return load_clusters(work)
    write_text(listed, lines)
    extractor = choose_extractor("auto", precision=precision)
    clusters = find_root_cause_clusters(extract_features(listed, extractor))
    save_clusters(clusters, work)
    return clusters


def part_of(images: LabelledImages, n: int | None) -> np.ndarray:
    """Sorted indices of a random but fixed part of images; a smaller part is always contained in a larger one."""
    return np.sort(np.random.default_rng(0).permutation(len(images.paths))[:n])


if __name__ == "__main__":
    sys.exit(main())
