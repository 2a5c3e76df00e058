"""Is what makes failing likelier inside a class found, and nothing where only the classes matter?

    python -m lab.benchmarks.classes --data NAME=DIR ... --work DIR [--runs N] [--write]

A case is a folder with `test/`, class folders of images, and `parameters.csv` in or beside it. No network is needed:
the classes, merged at random into seven, are wrong at seven rates and for no other reason. Then a measured property
adds 30 points inside two of them, one that is mostly wrong and one that is mostly right. With --write, a section of
lab/results/calibration.md is written.
"""

import argparse
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import hypergeom  # type: ignore[attr-defined]

from lab.benchmarks.calibration import load_tested
from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.results import tell
from safe_dnn.rccs.spots.search import ERROR_RATE
from safe_dnn.rccs.spots.weak_spots import find_weak_spots, levels_of
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Known, known_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder

RATES = (0.87, 0.6, 0.45, 0.3, 0.2, 0.1, 0.05)
MOSTLY_WRONG, MOSTLY_RIGHT = 0.6, 0.2  # the rates of the classes inside which a property matters
GAIN = 0.3
HELD = (0.15, 0.4)  # share of the class's images that have it
FIRST = 5  # of the weak spots given the class
SOURCES = (
    "safe_dnn/rccs/spots/groups.py", "safe_dnn/rccs/spots/search.py", "safe_dnn/rccs/spots/weak_spots.py",
    "safe_dnn/rccs/spots/conditions.py", "lab/benchmarks/classes.py",
)  # fmt: skip
INTRODUCTION = f"""
## What holds given the class

Written by `python -m lab.benchmarks.classes`. The classes of a real test set, merged at random into seven, are wrong
at {len(RATES)} rates from {min(RATES):.0%} to {max(RATES):.0%} and for no other reason: *false* are the runs with a
weak spot that is about more than classes. Then a measured property adds {100 * GAIN:.0f} points inside a class that is
wrong at {MOSTLY_WRONG:.0%}, and another inside one that is wrong at {MOSTLY_RIGHT:.0%}: it is *found* if one of the
first {FIRST} weak spots given the class holds more than half of these images, which are more than half of its own in
that class. *Knowing them* are the runs in which both are significant in Fisher's exact test of these very images
against the others of their class, corrected (5 %) for all that could have been planted, the outer quarters of each
measured property in each class: no search can name both much more often.
"""


def in_run(known: Known, seed: int) -> dict[str, Any]:
    """Whether anything false is found, and which of two causes inside classes are."""
    rng = np.random.default_rng(seed)
    classes, codes = np.unique(known.columns[LABEL], return_inverse=True)
    label = np.array([f"c{i}" for i in rng.permutation(len(classes)) % len(RATES)])[codes]
    names = np.unique(label)
    rates = dict(zip(names, rng.permutation(RATES), strict=False))
    chance, wrong_class = rng.random(len(label)), rng.integers(1, len(names), len(label))
    rate = np.array([rates[name] for name in label])

    def levels(wrong: np.ndarray) -> tuple[dict[str, np.ndarray], list]:
        taken_for = names[(np.searchsorted(names, label) + np.where(wrong, wrong_class, 0)) % len(names)]
        columns = {**known.columns, LABEL: label, PREDICTED: taken_for}
        spots = find_weak_spots(columns, wrong, measured=known.measured, never_together=(LABEL, PREDICTED))
        within = [spots[i] for _, level in levels_of(spots) for i in level if not spots[i].of_classes]
        return columns, within

    planted = []
    for name in (name for name in names if rates[name] in (MOSTLY_WRONG, MOSTLY_RIGHT)):
        has = _property(known, label == name, rng)
        rate = np.where(has, rate + GAIN, rate)
        planted.append((name, has))
    _, false = levels(chance < np.array([rates[name] for name in label]))
    wrong = chance < rate
    columns, within = levels(wrong)
    level = ERROR_RATE / (2 * len(names) * len(known.measured))
    found = {"known": all(_chance(has[label == name], wrong[label == name]) <= level for name, has in planted)}
    for name, has in planted:
        held = [spot.holds(columns) & (label == name) for spot in within[:FIRST]]
        which = "wrong" if rates[name] == MOSTLY_WRONG else "right"
        found[which] = any(holds[has].mean() > 0.5 and has[holds].mean() > 0.5 for holds in held if holds.any())
    return {"false": bool(false), **found}


def _chance(has: np.ndarray, wrong: np.ndarray) -> float:
    """Of as many wrong images of a class that have a property, if it does not matter (Fisher's exact test)."""
    return float(hypergeom.sf(np.count_nonzero(has & wrong) - 1, len(has), wrong.sum(), has.sum()))


def _property(known: Known, inside: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The images of a class that have the least or the most of a measured property."""
    names = sorted(known.measured)
    while True:
        column = known.columns[names[int(rng.integers(len(names)))]]
        low, high = np.nanquantile(column[inside], [0.25, 0.75])
        has = inside & (column >= high if rng.random() < 0.5 else column < low)
        if HELD[0] < has.sum() / inside.sum() < HELD[1]:
            return has


def section(results: Mapping[str, list[Mapping[str, bool]]]) -> str:
    """Markdown: a row for each case."""
    columns = ("case", "false", "found in a class mostly wrong", "mostly right", "both", "knowing them")
    lines = [INTRODUCTION.strip(), "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name, runs in results.items():
        n = len(runs)
        counts = [sum(bool(run.get(key)) for run in runs) for key in ("false", "wrong", "right")]
        both = sum(bool(run.get("wrong") and run.get("right")) for run in runs)
        counts += [both, sum(run["known"] for run in runs)]
        lines.append(f"| {name} | {' | '.join(f'{count} of {n}' for count in counts)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.classes", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for results")
    parser.add_argument("--runs", type=int, default=60, metavar="N", help="default: 60")
    parser.add_argument("--write", action="store_true", help="write lab/results/calibration.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        results = {}
        for given in options.data:
            name, _, folder = given.partition("=")
            known = known_of(load_tested(Path(folder)))
            work, key = prepare_folder(Path(options.work) / name), key_of(str(len(known.columns[LABEL])), *SOURCES)
            results[f"{name} ({len(known.columns[LABEL]):,} images)"] = [
                kept(work / f"{seed}.json", key, partial(in_run, known, seed)) for seed in range(options.runs)
            ]
        tell("calibration-classes", section(results), write=options.write)
    except SAFEError as error:
        print(f"classes: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
