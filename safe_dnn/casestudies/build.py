"""Build a case study: `python -m safe_dnn.casestudies.build gd|oc --out DIR`.

Written to DIR: `train/`, `improvement/` and `test/`, with a folder per class; the DNN under test, `model.keras`; the
test images that it gets wrong, `failures/` (again in class folders) and `failures.csv`; `predictions.csv`, its
answers to all test images; `parameters.csv`, which describes every image; `causes.json`, the known root causes with the
failures of each; `accuracy.json`, written last. A regression has no class folders, but `targets.csv`, the true numbers
of every image, and `accuracy.json` has the threshold on the error. Everything is built under a hidden name beside DIR
and renamed at the end, so a folder DIR is always a finished case. What a killed build leaves under the hidden name is
removed by the next build.
"""

import argparse
import csv
import importlib.metadata
import os
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from safe_dnn.casestudies.camera import SIDE
from safe_dnn.casestudies.case import Case
from safe_dnn.casestudies.cases import CASES, find_case
from safe_dnn.casestudies.causes import CAUSES_FILE, describe_causes
from safe_dnn.casestudies.networks import run_model, train_model
from safe_dnn.casestudies.sets import MODEL_FILE, Rows, lay_out_all, render_images, write_json
from safe_dnn.casestudies.table import write_subjects
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.dnn.predictions import errors_of
from safe_dnn.dnn.tested import AnsweredImages, predictions_text
from safe_dnn.rccs.answers import CONFIDENCE, ERROR, Answers
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, replacing, write_text
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES, FAILURES_FILE, PREDICTIONS_FILE
from safe_dnn.support.tables import IMAGE

TARGETS_FILE = "targets.csv"


class Build(Protocol):
    """Builds a case in an empty folder; returns the content of `accuracy.json`."""

    def __call__(self, case: Case, folder: Path, *, seed: int, scale: float) -> dict[str, Any]: ...


def build_network(case: Case, folder: Path, *, seed: int, scale: float) -> dict[str, Any]:
    """Build a case with a classifier or a regression, as the module's docstring has it."""
    started = time.monotonic()
    sets = lay_out_all(case, seed=seed, scale=scale)
    rows = [row for part in sets.values() for row in part]
    images = np.empty((len(rows), SIDE, SIDE, 3), np.uint8)
    for row, image in enumerate(render_images(case, folder, rows)):
        images[row] = image
    truth = true_answers(case, rows)
    train, test = slice(len(sets["train"])), slice(len(rows) - len(sets["test"]), None)

    model = train_model(case, images[train], truth[train], seed=seed)
    with replacing(folder / MODEL_FILE) as temporary:
        model.save(temporary)
    outputs = run_model(model, images[test])
    correct = _correct(case, outputs, truth[test])
    answers = _answers(case, truth[test], outputs)
    wrong = np.flatnonzero(~correct)
    collected = collect_failures(folder, [sets["test"][i] for i in wrong.tolist()], answers.taken(wrong))
    tested = tuple(path.removeprefix("test/") for path, _, _ in sets["test"])
    table = folder / PREDICTIONS_FILE
    write_text(table, predictions_text(AnsweredImages(table, folder / "test", tested, answers, correct)))
    write_subjects(folder / PARAMETERS_FILE, rows + collected, case.kind)
    if case.regression:
        write_text(folder / TARGETS_FILE, _targets_text(case, rows, truth))
    write_json(folder / CAUSES_FILE, describe_causes(case, sets["test"], set(wrong.tolist())))
    accuracy = {
        "case": case.name,
        "seed": seed,
        "test_accuracy": float(correct.mean()),
        "test_size": len(correct),
        "failures": len(wrong),
        "training_accuracy": float(_correct(case, run_model(model, images[train]), truth[train]).mean()),
        "test_root": "test",
        **({"threshold": case.regression.threshold} if case.regression else {}),
        "sizes": {part: len(part_rows) for part, part_rows in sets.items()},
        "classes": list(case.classes),
        "seconds": round(time.monotonic() - started, 1),
        "versions": {name: importlib.metadata.version(name) for name in ("keras", "tensorflow", "numpy", "pillow")},
    }
    write_json(folder / ACCURACY_FILE, accuracy)
    return accuracy


def build_case(
    name: str,
    out: str | os.PathLike,
    *,
    cases: Mapping[str, Case] = CASES,
    build: Build = build_network,
    seed: int = 0,
    scale: float = 1.0,
) -> dict[str, Any]:
    """Build a case study in a folder that is new or empty.

    Parameters
    ----------
    name : str
        One of `cases`.
    build : callable
        Fills the folder.
    seed : int
        Determines the images and, on the same kind of machine, the DNN.
    scale : float
        Factor on the sizes of the sets, for quick trials.

    Returns
    -------
    dict
        The content of `accuracy.json`.

    Raises
    ------
    SAFEError
        The name is unknown, or the folder is not empty or cannot be written.
    """
    case = find_case(name, cases)
    if scale <= 0:
        raise SAFEError(f"scale must be above 0. Received: {scale}")
    out = Path(out).expanduser().absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise SAFEError(
            f"Expected a folder that does not exist or is empty. Received: {out}. Remove it, or choose another."
        )
    folder = prepare_folder(out.parent) / f".{out.name}-building"
    try:
        shutil.rmtree(folder, ignore_errors=True)  # what a killed build left
        folder.mkdir()
        accuracy = build(case, folder, seed=seed, scale=scale)
        folder.replace(out)
    except OSError as error:
        raise SAFEError(f"Could not build the case {name} in {out}: {error.strerror or error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return accuracy


def true_answers(case: Case, rows: Rows) -> np.ndarray:
    """What the DNN should say: int of shape (n_images,), or the targets as float32 of shape (n_images, n_targets)."""
    if case.regression is None:
        return np.array([case.classes.index(label) for _, label, _ in rows])
    # As in the table of targets, and as other frameworks would read them from there.
    return np.array([case.regression.targets(subject) for _, _, subject in rows]).round(2).astype(np.float32)


def _correct(case: Case, outputs: np.ndarray, truth: np.ndarray) -> np.ndarray:
    if case.regression is None:
        return outputs.argmax(axis=1) == truth
    return errors_of(outputs, truth) <= case.regression.threshold


def _answers(case: Case, truth: np.ndarray, outputs: np.ndarray) -> Answers:
    """The DNN's answers to the test images, as `dnn.failures` writes them."""
    if case.regression:
        labels, predicted = (np.array([_numbers(row) for row in array]) for array in (truth, outputs))
        return Answers(labels, predicted, errors_of(outputs, truth).astype(np.float32), ERROR)
    classes = np.array(case.classes)
    return Answers(classes[truth], classes[outputs.argmax(axis=1)], outputs.max(axis=1), CONFIDENCE)


def _numbers(row: np.ndarray) -> str:
    return " ".join(f"{number:.6g}" for number in row)


def _targets_text(case: Case, rows: Rows, truth: np.ndarray) -> str:
    """`targets.csv`, for `--targets`."""
    lines = [
        f"{path},{','.join(f'{number:.2f}' for number in targets)}"
        for (path, _, _), targets in zip(rows, truth, strict=True)
    ]
    return "\n".join([f"{IMAGE},{','.join(case.classes)}", *lines, ""])


def collect_failures(folder: Path, failing: Rows, answers: Answers) -> Rows:
    """Copy the failing images to `failures/` and list them in `failures.csv`; return the rows of the copies."""
    collected = []
    (folder / FAILURES).mkdir()
    with replacing(folder / FAILURES_FILE) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["image", "source", "label", "predicted", answers.kind])
        for i, (path, label, subject) in enumerate(failing):
            copy = f"{FAILURES}/{path.removeprefix('test/')}"
            (folder / copy).parent.mkdir(exist_ok=True)
            shutil.copyfile(folder / path, folder / copy)
            score = round(float(answers.score[i]), 4)
            writer.writerow([copy, path, answers.label[i], answers.predicted[i], score])
            collected.append((copy, label, subject))
    return collected


def main(
    arguments: Sequence[str] | None = None,
    *,
    program: str = "safe_dnn.casestudies.build",
    cases: Mapping[str, Case] = CASES,
    build: Build = build_network,
) -> int:
    """Run the command line; return 0 on success, 2 after an error that the user can correct (one line on stderr)."""
    parser = argparse.ArgumentParser(prog=f"python -m {program}", description="Render a case study and train its DNN.")
    parser.add_argument(
        "case", choices=list(cases), help="; ".join(f"{case.name}: {case.title}" for case in cases.values())
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="output folder, which must be new or empty")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of images and training (default: 0)")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # TensorFlow's messages would hide the progress
    try:
        with terminal_progress():
            accuracy = build_case(options.case, options.out, cases=cases, build=build, seed=options.seed)
    except SAFEError as error:
        print(f"casestudies: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\ncasestudies: stopped; nothing was written.", file=sys.stderr)
        return 130
    print(
        f"{options.out}: accuracy {accuracy['test_accuracy']:.1%}, {accuracy['failures']} failures of "
        f"{accuracy['test_size']}, {accuracy['seconds']:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
