"""Is what a retraining gains larger on the images that chose it than on others?

    python -m lab.benchmarks.proof --data NAME=DIR[:COLUMN] ... --work DIR [--runs N] [--write]

A case is a folder with `train/`, `improvement/` and `test/`, class folders of images, and perhaps `model.keras`. Its
test images are halved at random, by the groups of COLUMN: with the *used* half, failures, RCCs, the unsafe set and the
retraining are made as by SAFE, and the *unused* half is the final test set. Then the halves change places. With
--write, a section of lab/results/calibration.md is written.
"""

import argparse
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.new_images import Pool, load_pool, parts
from lab.benchmarks.paper.cases import trained_cnn
from lab.benchmarks.results import tell
from safe_dnn.casestudies.build import print_progress
from safe_dnn.casestudies.sets import MODEL_FILE
from safe_dnn.dnn.failures import find_failures
from safe_dnn.pipeline.generation import ClusteringSettings, generate_clusters
from safe_dnn.pipeline.improvement import select_images
from safe_dnn.pipeline.retraining import retrain_apart
from safe_dnn.selection import SelectionSettings
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.training.labels import Labelling
from safe_dnn.training.material import ImageSets
from safe_dnn.training.settings import Wishes

SOURCES = ("selection.py", "retrain.py", "safe_dnn/training/second_pass.py", "safe_dnn/training/finetuning.py")
INTRODUCTION = """
## What a retraining gains on images that chose it, and on others

Written by `python -m lab.benchmarks.proof`. The test images are halved by groups; one half, *used*, gives failures,
RCCs, the unsafe set and the second pass, and the other, *unused*, is looked at once. Accuracy before and the gain in
points, means over the runs; ± is the standard error of the mean of their difference, by halvings.
"""


def in_run(pool: Pool, data: Path, model: Path, work: Path, run: int) -> dict[str, Any]:
    """The accuracy of both networks on used and on unused images."""
    folder = prepare_folder(work / f"run-{run}")
    for name, rows in zip(("used", "unused"), parts(pool, run), strict=True):
        for path in (pool.tested.paths[row] for row in rows.tolist()):
            prepare_folder((folder / name / path).parent)
            shutil.copyfile(pool.tested.root / path, folder / name / path)
    used, unused, out = folder / "used", folder / "unused", folder / "out"
    find_failures(model, used, out, train=data / "train")
    generate_clusters(out / "failures", out, ClusteringSettings(extractor="vgg16-conv"), progress=print_progress)
    unsafe = select_images(data / "improvement", out, SelectionSettings(), progress=print_progress)
    result = retrain_apart(
        model, ImageSets(data / "train", used, unused, Labelling(data / "improvement")), out, wishes=Wishes(seed=run)
    )
    shutil.rmtree(folder)
    final = result.final
    return {
        "labels": len(unsafe.images),
        "used": (result.accuracy_before, result.accuracy_after),
        "unused": (final.accuracy_before, final.accuracy_after) if final else (result.accuracy_before,) * 2,
    }


def section(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: a row for each case."""
    lines = [
        INTRODUCTION.strip(),
        "",
        "| case | runs | labels | used: before | gain | unused: before | gain | difference of gains |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, runs in results.items():
        used, unused = (100 * np.array([run[half] for run in runs]) for half in ("used", "unused"))
        gains = [half[:, 1] - half[:, 0] for half in (used, unused)]
        halvings = (gains[0] - gains[1])[: len(runs) // 2 * 2].reshape(-1, 2).mean(axis=1)
        error = f" ± {halvings.std(ddof=1) / np.sqrt(len(halvings)):.1f}" if len(halvings) > 1 else ""
        labels = np.mean([run["labels"] for run in runs])
        figures = [f"{used[:, 0].mean():.1f} %", f"{gains[0].mean():+.1f}"]
        figures += [f"{unused[:, 0].mean():.1f} %", f"{gains[1].mean():+.1f}", f"{halvings.mean():+.1f}{error}"]
        lines.append(f"| {name} | {len(runs)} | {labels:.0f} | {' | '.join(figures)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.proof", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR[:COLUMN]", required=True, help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for models and results")
    parser.add_argument("--runs", type=int, default=6, metavar="N", help="two for each halving; default: 6")
    parser.add_argument("--write", action="store_true", help="write lab/results/calibration.md instead of printing")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        results = {}
        for given in options.data:
            name, _, rest = given.partition("=")
            folder, _, column = rest.partition(":")
            data, work = Path(folder), prepare_folder(Path(options.work) / name)
            pool = load_pool(data, work, column, fresh=0)
            model = data / MODEL_FILE
            if not model.is_file():
                model = trained_cnn(data / "train", work, print_progress)
            key = key_of(name, column, *SOURCES)
            results[name] = [
                kept(prepare_folder(work / "proof") / f"{run}.json", key, partial(in_run, pool, data, model, work, run))
                for run in range(options.runs)
            ]
        tell("calibration-proof", section(results), write=options.write)
    except SAFEError as error:
        print(f"proof: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
