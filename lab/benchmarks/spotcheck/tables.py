"""Are blind spots of four to six clauses discovered, and is nothing else named?

    python -m lab.benchmarks.spotcheck.tables --data DIR [--shuffles N] [--write]

DIR holds settings of SpotCheck (Plumb, Johnson, Cabrera & Talwalkar, "Towards a More Rigorous Science of Blindspot
Discovery in Image Classification Models", TMLR 2023): of each setting N the parameters of drawn scenes in `N-meta.csv`,
answers in `N-answers.csv` (image, label, predicted), and the blind spots that each image is in, in `N-truth.json`. They
are scored as in `scores`; the answers are drawn, no network gave them. With --write, a section of
lab/results/reasons.md is written.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.benchmarks.results import table, tell
from lab.benchmarks.spotcheck.scores import score
from safe_dnn.rccs.answers import LABEL, PREDICTED
from safe_dnn.rccs.spots.weak_spots import find_weak_spots
from safe_dnn.support.errors import SAFEError


class Setting(NamedTuple):
    """Drawn scenes: what is known of each, whether it is wrong, and which are in each blind spot.

    Attributes
    ----------
    columns : dict of str to ndarray of shape (n_images,)
    wrong : ndarray of shape (n_images,), bool
    blind : ndarray of shape (n_blind, n_images), bool
    """

    columns: dict[str, np.ndarray]
    wrong: np.ndarray
    blind: np.ndarray


def read_setting(folder: Path, number: int) -> Setting:
    """A setting; SAFEError if one of its files is missing."""
    try:
        tables = []
        for name in ("meta", "answers"):
            with (folder / f"{number}-{name}.csv").open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            tables.append({key: np.array([row[key] for row in rows]) for key in rows[0]})
        truth = json.loads((folder / f"{number}-truth.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise SAFEError(f"Expected settings of SpotCheck in {folder}. Received: {error}.") from error
    meta, answers = tables
    del meta["image"], answers["image"]
    wrong = answers[LABEL] != answers.pop(PREDICTED)
    blind = np.zeros((1 + max(map(max, filter(None, truth))), len(truth)), bool)
    for image, spots in enumerate(truth):
        blind[spots, image] = True
    return Setting(answers | meta, wrong, blind)


def section(settings: Sequence[Setting], shuffles: int) -> str:
    """The section of the results."""
    rows = []
    for setting in settings:
        begin = time.process_time()
        spots = find_weak_spots(setting.columns, setting.wrong, label=LABEL)
        seconds = time.process_time() - begin
        of = score([spot.holds(setting.columns) for spot in spots], setting.blind)
        rows.append((of.blind, of.discovered, of.false, of.named, seconds))
    chance = 0
    for setting in settings:
        known = {name: column for name, column in setting.columns.items() if name != LABEL}
        for seed in range(shuffles):
            chance += bool(find_weak_spots(known, np.random.default_rng(seed).permutation(setting.wrong)))
    blind, discovered, false, named, seconds = map(sum, zip(*rows, strict=True))
    cells = [*((number, *row[:4]) for number, row in enumerate(rows, 1)), ("all", blind, discovered, false, named)]
    return (
        f"## SpotCheck\n\n`python -m lab.benchmarks.spotcheck.tables`: {len(rows)} settings of "
        f"{len(settings[0].wrong):,} drawn scenes.\n\n"
        f"{table(('setting', 'blind spots', 'discovered', 'false', 'named'), cells)}\n\n"
        f"{seconds:.1f} s of processor time. With right and wrong shuffled, something is named in {chance} of "
        f"{shuffles * len(rows)} runs."
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.spotcheck.tables")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="the folder of the settings")
    parser.add_argument("--shuffles", type=int, default=5, metavar="N", help="of each setting (default: 5)")
    parser.add_argument("--write", action="store_true", help="write lab/results/reasons.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        numbers = sorted(int(path.name.partition("-")[0]) for path in options.data.glob("*-truth.json"))
        if not numbers:
            raise SAFEError(f"Expected settings of SpotCheck. Received: {options.data}, without any N-truth.json.")
        settings = [read_setting(options.data, number) for number in numbers]
        tell("reasons-spotcheck", section(settings, options.shuffles), write=options.write)
    except SAFEError as error:
        print(f"spotcheck: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
