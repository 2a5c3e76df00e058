"""Are the blind spots discovered that a network was taught, and is nothing else named?

    python -m lab.benchmarks.spotcheck --work DIR [--settings N] [--sliceline PYTHON] [--write]

Scenes are drawn and a network is trained for each of N settings (default: 20), whose numbers are their seeds. Methods
without metadata see the images, by SAFE's features (VGG16) or by the network's own activations before its last layer,
which SAFE does not offer yet, and methods with metadata a table; all know label and answer. With *squares only*, images
without a square are left out, as no blind spot has any.

A hypothesis is a set of test images. Those of RCCs are the images in the regions (`safe_dnn/rccs/spots/rates.py`) of
RCCs that are said to fail more often, or of all. With *failing* images only, those that the network gets right are left
out of every hypothesis, and RCCs are what they are.

What is computed is kept in DIR. With --write, lab/results/spotcheck.md is written.
"""

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.results import table, tell
from lab.benchmarks.spotcheck.case import IN_TABLE, LEAST_TESTED, LEAST_TRAINED, TESTED, TRAINED, Case, load_case
from lab.benchmarks.spotcheck.methods import Result, results_of
from lab.benchmarks.spotcheck.network import EPOCHS
from lab.benchmarks.spotcheck.scenes import SIDE
from lab.benchmarks.spotcheck.scores import FIRST, Score, score
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder

WANTED = 20  # settings
LEARNT = 0.02  # wrong outside of blind spots, at most
METHOD_SOURCES = (
    "lab/benchmarks/spotcheck/methods.py", "lab/benchmarks/spotcheck/scores.py", "lab/benchmarks/rivals/slices.py",
    "lab/benchmarks/reasons/rivals.py", "lab/benchmarks/reasons/slices.py", "clustering.py",
    "safe_dnn/rccs/dbscan/contrast.py", "safe_dnn/rccs/spots/rates.py", "safe_dnn/rccs/spots/search.py",
    "safe_dnn/rccs/spots/weak_spots.py",
)  # fmt: skip


def measure(case: Case, sliceline: Path | None) -> dict[str, Any]:
    """What the network learnt, and the scores of all methods."""
    blind, wrong = case.tested.scenes.blind, case.tested.wrong
    rows = []
    for one in results_of(case, sliceline):
        scores = score(one.hypotheses, one.blind), score(one.failing, one.blind)
        rows.append((one.method, one.sees, *scores, one.seconds, _wrong(one)))
    return {
        "varied": len(case.setting.varied) - 1,
        "clauses": [len(spot) - 1 for spot in case.setting.blind],
        "images": blind.sum(axis=1).tolist(),
        "failing": [float(wrong[spot].mean()) for spot in blind],
        "elsewhere": float(wrong[~blind.any(axis=0)].mean()),
        "methods": rows,
    }


def _wrong(result: Result) -> tuple[float, float]:
    """Of what the first hypotheses name, the share that is wrong; and of what is wrong, the share that they hold."""
    named = np.logical_or.reduce([np.zeros(len(result.wrong), bool), *result.hypotheses[:FIRST]])
    both, every, failing = (int(some.sum()) for some in (named & result.wrong, named, result.wrong))
    return both / max(every, 1), both / max(failing, 1)


def section(measured: Mapping[int, Mapping[str, Any]]) -> str:
    """The section of the results."""
    learnt = {number: case for number, case in measured.items() if case["elsewhere"] <= LEARNT}
    settings = [
        (
            number, case["varied"], _list(case["clauses"]), _list(case["images"]),
            _list(f"{100 * rate:.0f}" for rate in case["failing"]), f"{100 * case['elsewhere']:.1f}",
        )
        for number, case in measured.items()
    ]  # fmt: skip
    header = ("setting", "vary", "clauses", "test images", "wrong inside, %", "wrong elsewhere, %")
    short = f"only the first {len(measured)} of the {WANTED} settings are measured; " if len(measured) < WANTED else ""
    return (
        f"{_INTRODUCTION.format(n=len(measured))}\n{_methods([*measured.values()])}\n"
        f"{_ONLY.format(n=len(learnt), numbers=_list(learnt))}\n{_methods([*learnt.values()])}\n"
        f"{_SETTINGS.format(short=short)}\n{table(header, settings)}"
    )


def _methods(measured: Sequence[Mapping[str, Any]]) -> str:
    """The figures of all methods, over some settings."""
    of_method: dict[tuple[str, str], list[Sequence[Any]]] = defaultdict(list)
    for case in measured:
        for method, sees, *rest in case["methods"]:
            of_method[method, sees].append(rest)
    lines = []
    for (method, sees), rows in of_method.items():
        every, failing, seconds, wrong = zip(*rows, strict=True)
        first, second = (_figures([Score(*one) for one in of]) for of in (every, failing))
        named = sum(Score(*one).named for one in every) / len(every)
        of_wrong = [f"{share:.2f}" for share in np.mean(wrong, axis=0)]
        lines.append([method, sees, *first, f"{named:.1f}", *of_wrong, *second, f"{np.mean(seconds):.1f}"])
    figures = ("DR", "FDR", "as many as needed")
    header = (
        "method",
        "sees",
        "discovered",
        *figures,
        "named",
        "wrong",
        "held",
        "failing only: discovered",
        *figures,
        "s",
    )
    return table(header, lines, texts=2)


def _list(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


def _figures(scores: Sequence[Score]) -> list[str]:
    """Discovered of all; the mean over settings of the rates of discovery, of false ones, and of those needed."""
    discovered = f"{sum(one.discovered for one in scores)} of {sum(one.blind for one in scores)}"
    rates = (
        [one.discovered / one.blind for one in scores],
        [one.false / max(one.named, 1) for one in scores],
        [one.wasted / max(one.needed, 1) for one in scores],
    )
    return [discovered, *(f"{np.mean(rate):.2f}" for rate in rates)]


_INTRODUCTION = f"""\
## Blind spots that a network was taught

Written by `python -m lab.benchmarks.spotcheck`, which has the definitions: {{n}} settings of SpotCheck (Plumb et al.,
TMLR 2023), drawn anew with their numbers as seeds. DR is the discovery rate and FDR the false discovery rate of the
first {FIRST} hypotheses (precision and recall .8), means over settings. Methods that always name {FIRST} cannot have a
low FDR; *as many as needed* counts only the hypotheses that it takes to discover as many. On the left, hypotheses are
sets of any test images, and on the right of those that the network gets wrong, as RCCs in the paper. *Wrong* is the
share of all that is named that the network gets wrong, and *held* the share of what it gets wrong that is named. Domino
and PlaneSpot see the network's answer to an image when they place it; SAFE's regions do not, since their rates would be
too high. Seconds are of processor time, for each setting.
"""
_ONLY = f"""
### Where the network has learnt the blind spots and hardly errs elsewhere

The {{n}} settings in which it is wrong in at most {100 * LEARNT:.0f} % of the images outside of blind spots:
{{numbers}}. In the others much of what fails is in no blind spot, and whoever names it is counted as false.
"""
_SETTINGS = f"""
What differs from the paper: images have {SIDE} x {SIDE} pixels; the network is a small CNN, trained from scratch for
{EPOCHS} epochs on {TRAINED:,} scenes, where the paper has a ResNet-18 with ImageNet's weights; scenes of each blind
spot are added until there are {LEAST_TRAINED} to train and {LEAST_TESTED} to test (the paper: 400 and 50 of each
combination of what varies), and {TESTED:,} others are tested, so that there are more failures than in the paper; where
metadata of {IN_TABLE:,} are named, scenes were drawn as in the paper, without any that were added, and only the network
has seen them; PlaneSpot's plane is UMAP's, not scvis's; a spotlight is moved to the mean of its images, weighted by
loss, and not by gradients. No rival's settings were tuned on other settings.

What falls short: {{short}}{SIDE} x {SIDE} pixels and so few scenes leave the network
of some settings wrong elsewhere too.
All blind spots count, whether the network has learnt them or not. With one blind spot, *all failing images* are a
discovery as well, so that settings with more than one are those that tell methods apart.
"""


@terminal_progress()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.spotcheck")
    parser.add_argument("--work", type=Path, metavar="DIR", required=True, help="folder for what is computed")
    parser.add_argument("--settings", type=int, default=WANTED, metavar="N", help="how many (default: 20)")
    parser.add_argument("--sliceline", type=Path, metavar="PYTHON", help="a Python that has the package sliceline")
    parser.add_argument("--write", action="store_true", help="write lab/results/spotcheck.md instead of printing")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        extractor = choose_extractor("vgg16-conv", precision="auto")
        measured = {}
        for number in range(1, options.settings + 1):
            case = load_case(number, options.work, extractor)
            answers = (one.probabilities.tobytes().hex() for one in (case.tested, case.table))
            key = key_of(*answers, extractor.identity, str(options.sliceline), *METHOD_SOURCES)
            path = prepare_folder(options.work / "scores") / f"{number}.json"
            measured[number] = kept(path, key, partial(measure, case, options.sliceline))
        tell("spotcheck", section(measured), write=options.write)
    except SAFEError as error:
        print(f"spotcheck: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
