"""Are weak spots and RCCs found where nothing matters but the person, track or series that an image is of?

    python -m lab.benchmarks.calibration --data NAME=DIR:COLUMN ... --work DIR [--runs N] [--rccs N] [--shuffles N]

A case is a folder with `test/`, class folders of images, and `parameters.csv` in or beside it; COLUMN says which images
are of one group (A+B: two together). No network is needed: each group gets a failure rate, drawn from a beta
distribution with mean .2 and an intra-group correlation of failing of 0 to .4; its images are wrong with this
probability and for no other reason. Thus every weak spot and every RCC that is said to fail more often is a false one,
unless it is a group. With --shuffles, a small network is trained, or taken from DIR, and its own right and wrong
answers are dealt out anew between groups. With --write, sections of lab/results/calibration.md are written.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.reasons.cases import answered_test
from lab.benchmarks.results import tell
from safe_dnn.casestudies.build import print_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.FE import ImageFeatures, extract_features
from safe_dnn.features.weights import choose_extractor
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.parameters import find_parameters
from safe_dnn.rccs.spots.groups import Groups, counted, tally
from safe_dnn.rccs.spots.rates import Placed, among_failing, nearest_failing
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Comparison, Known, known_of
from safe_dnn.reasons.known_groups import named_groups
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.images import find_images

CORRELATIONS = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4)
MEAN = 0.2
SOURCES = ("safe_dnn/rccs/spots/groups.py",)
SPOT_SOURCES = (
    "safe_dnn/rccs/spots/weak_spots.py",
    "safe_dnn/rccs/spots/search.py",
    "safe_dnn/rccs/spots/conditions.py",
)
RCC_SOURCES = (
    "safe_dnn/rccs/spots/rates.py",
    "clustering.py",
    "safe_dnn/rccs/dbscan/tuning.py",
    "safe_dnn/rccs/dbscan/consensus.py",
)
GAIN = 0.4  # by which failing is made likelier, to see whether it is found
HELD = 0.25  # least share of the images where it is
LEAST_HELD = 20  # images for which a condition holds, for its interval to be counted
INTRODUCTION = f"""
## Images that are not independent

Written by `python -m lab.benchmarks.calibration`. Failing is drawn by a rate for each group (beta, mean {MEAN}) and by
nothing else. *False* are the runs with a weak spot that is no group, in which groups are known, and in brackets those
in which images count as independent; *RCCs* are the runs in which an RCC that is not nearly all of one group is said to
fail more often, in the same way. *Found* are the runs in which a recorded parameter that varies within groups is found,
where it makes failing likelier by {100 * GAIN:.0f} points.
"""
SHUFFLED = f"""
## Real answers, dealt out anew between groups

Written by `python -m lab.benchmarks.calibration --shuffles N`. Each group gets the right and wrong answers of a group
drawn at random, of those that a network trained on the case's own images gives: of any group, so that nothing matters,
or of one of the same class, so that classes alone matter. *False* are the runs with a weak spot that is no group;
*given the class*, those with one that is about more than classes; *RCCs*, those in which an RCC that is not nearly all
of one group is said to fail more often. *Intervals* is the share of 95 % intervals that hold the true rate, where any
group's answers are drawn: those of all values and outer quarters of all columns that hold for {LEAST_HELD} images or
more; and, after a semicolon, those of RCCs.
"""


class Case(NamedTuple):
    """A test set without answers, what is known of its images, and their groups."""

    tested: AnsweredImages
    known: Known
    groups: Groups

    @property
    def about(self) -> str:
        """How many images and groups."""
        return f"{len(self.groups.of):,} images, {int(self.groups.of.max()) + 1:,} groups by {self.groups.name}"

    def of_a_group(self, spot: WeakSpot) -> bool:
        """Whether a weak spot is about one group alone, which is no false one."""
        return [literal.column for literal in spot.literals] == [self.groups.column]


def load_tested(data: Path) -> AnsweredImages:
    """The test set of a folder, with each answer right.

    Raises
    ------
    SAFEError
        There is none, or no table of parameters.
    """
    listing = find_images(data / "test")
    table = find_parameters(listing.root)
    if table is None:
        raise SAFEError(f"Expected parameters.csv in or beside {listing.root}. Received none.")
    label = np.array([path.partition("/")[0] for path in listing.paths])
    answers = Answers(label, label, np.full(len(label), np.float32(np.nan)), CONFIDENCE)
    return AnsweredImages(table, listing.root, listing.paths, answers, np.ones(len(label), bool))


def load_case(data: Path, column: str, answered: AnsweredImages | None = None) -> Case:
    """The test set of a folder, and its groups (SAFEError if there is none, or the column is not known)."""
    tested = answered or load_tested(data)
    names = column.split("+")
    found = named_groups(names, tested, parameters=None)
    if found is None:
        raise SAFEError(f"Expected NAME=DIR:COLUMN. Received no column for {data}.")
    return Case(tested, known_of(tested, groups=names, progress=print_progress), found.groups)


def draw_rates(groups: Groups, correlation: float, rng: np.random.Generator) -> np.ndarray:
    """A failure rate for each image, that of its group."""
    n = int(groups.of.max()) + 1
    if not correlation:
        return np.full(len(groups.of), MEAN)
    parts = 1 / correlation - 1
    return np.asarray(rng.beta(MEAN * parts, (1 - MEAN) * parts, n)[groups.of])


def spots_in_run(case: Case, correlation: float, seed: int) -> dict[str, bool]:
    """Whether anything false is found, with groups and without, and whether a cause is that varies within groups."""
    rng = np.random.default_rng(seed)
    rates, chance = draw_rates(case.groups, correlation, rng), rng.random(len(case.groups.of))
    columns = {name: column for name, column in case.known.columns.items() if name != PREDICTED}
    result = {
        name: any(
            not case.of_a_group(spot)
            for spot in find_weak_spots(columns, chance < rates, measured=case.known.measured, groups=groups)
        )
        for name, groups in (("false", case.groups), ("independent", None))
    }
    if cause := within_groups(case, rng):
        name, holds = cause
        wrong = chance < rates + GAIN * holds
        spots = find_weak_spots(columns, wrong, measured=case.known.measured, groups=case.groups)
        result["found"] = any(literal.column == name for spot in spots for literal in spot.literals)
    return result


def within_groups(case: Case, rng: np.random.Generator) -> tuple[str, np.ndarray] | None:
    """A condition on a recorded parameter that holds in a part of most groups' images; None if there is none."""
    told = tally(case.groups.of, np.zeros(len(case.groups.of), bool)).sizes
    possible = []
    for name, column in case.known.columns.items():
        if name in case.known.measured or name in (case.groups.column, PREDICTED, "label"):
            continue
        if column.dtype.kind == "U":
            values, counts = np.unique(column[column != ""], return_counts=True)
            holds = column == values[np.argmax(counts >= np.sort(counts)[len(counts) // 2])]
        else:
            holds = column >= np.nanquantile(column, 1 - HELD)
        part = np.bincount(case.groups.of, holds, minlength=len(told)) / told
        if holds.any() and ((part > 0) & (part < 1)).mean() > 0.5:
            possible.append((name, holds))
    return possible[int(rng.integers(len(possible)))] if possible else None


def rccs_in_run(case: Case, images: ImageFeatures, correlation: float, seed: int) -> dict[str, bool]:
    """Whether any RCC is said to fail more often that is not of one group, with groups and without."""
    rng = np.random.default_rng(seed)
    known, clusters = rccs_of(case, images, rng.random(len(case.groups.of)) < draw_rates(case.groups, correlation, rng))
    one = {rate.rcc for rate in known.rates(clusters) if rate.groups == 1}
    return {
        name: any(rate.verdict == "more" and rate.rcc not in one for rate in compared.rates(clusters))
        for name, compared in (("false", known), ("independent", known._replace(groups=None)))
    }


def rccs_of(case: Case, images: ImageFeatures, wrong: np.ndarray) -> tuple[Comparison, RootCauseClusters]:
    """The RCCs of the images that are wrong, compared with the others."""
    rows = np.flatnonzero(wrong)
    failing = ImageFeatures(
        images.root, tuple(images.paths[row] for row in rows.tolist()), images.features[rows], images.extractor, ()
    )
    clusters = find_root_cause_clusters(failing)
    right = clusters.projection.apply(images.features[~wrong])
    groups = case.groups.taken(np.concatenate([rows, np.flatnonzero(~wrong)]))
    nearest = np.concatenate(nearest_failing(clusters.points, right))
    placed = Placed(np.concatenate([clusters.points, right]), np.zeros(len(nearest), int), groups.of)
    nearest[~among_failing(placed, placed, np.arange(len(nearest)) < len(rows))] = -1
    of_failing, of_right = np.split(nearest, [len(rows)])
    return Comparison(np.arange(len(rows)), of_failing, of_right, groups=groups), clusters


def dealt_out(groups: np.ndarray, classes: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """For each image another one, whose answer it gets: all images of a group get those of one, drawn at random.

    Parameters
    ----------
    groups : ndarray of shape (n_images,), int
    classes : ndarray of shape (n_images,), or None
        If given, only images of the same class are drawn.
    """
    within = np.zeros(len(groups), int) if classes is None else np.unique(classes, return_inverse=True)[1]
    units, of = np.unique(np.column_stack([within, groups]), axis=0, return_inverse=True)
    drawn = np.empty(len(groups), np.int64)
    for unit, (kind, _) in enumerate(units):
        here, giver = np.flatnonzero(of == unit), rng.choice(np.flatnonzero(units[:, 0] == kind))
        drawn[here] = rng.choice(np.flatnonzero(of == giver), len(here))
    return drawn


def shuffled_spots_in_run(case: Case, seed: int) -> dict[str, Any]:
    """What is said of answers that are dealt out anew, all of it false, and how many intervals hold the true rate."""
    rng = np.random.default_rng(seed)
    of, wrong = case.groups.of, ~case.tested.right
    columns = {name: column for name, column in case.known.columns.items() if name != PREDICTED}
    drawn, truth = wrong[dealt_out(of, None, rng)], true_rate(case)
    conditions = [holds for column in columns.values() for holds in simple_conditions(column)]
    correlation = tally(of, drawn).correlation
    told = [counted(holds, drawn, of, correlation) for holds in conditions]
    spots = find_weak_spots(columns, drawn, measured=case.known.measured, groups=case.groups)
    result: dict[str, Any] = {
        "false": any(not case.of_a_group(spot) for spot in spots),
        "held": [
            sum(one.low <= truth <= one.high for one in told if one.groups > 1),
            sum(one.groups > 1 for one in told),
        ],
    }
    giver = dealt_out(of, columns[LABEL], rng)
    spots = find_weak_spots(
        {**columns, PREDICTED: case.tested.answers.predicted[giver]},
        wrong[giver],
        measured=case.known.measured,
        never_together=(LABEL, PREDICTED),
        groups=case.groups,
    )
    result["within"] = any(not spot.of_classes and not case.of_a_group(spot) for spot in spots)
    return result


def shuffled_rccs_in_run(case: Case, images: ImageFeatures, seed: int) -> dict[str, Any]:
    """The same of RCCs, which do not change with the search for weak spots."""
    drawn = ~case.tested.right[dealt_out(case.groups.of, None, np.random.default_rng(seed))]
    known, clusters = rccs_of(case, images, drawn)
    rates, truth = [rate for rate in known.rates(clusters) if rate.groups > 1], true_rate(case)
    return {
        "rccs": any(rate.verdict == "more" for rate in rates),
        "rccs_held": [sum(rate.low <= truth <= rate.high for rate in rates), len(rates)],
    }


def true_rate(case: Case) -> float:
    """The failure rate where each group's answers are drawn alike."""
    return float((np.bincount(case.groups.of, ~case.tested.right) / np.bincount(case.groups.of)).mean())


def simple_conditions(column: np.ndarray) -> list[np.ndarray]:
    """For which images each value holds, or each outer quarter, of those that hold for enough."""
    if column.dtype.kind == "U":
        all_of_it = [column == value for value in np.unique(column[column != ""])]
    else:
        low, high = np.quantile(column[np.isfinite(column)], (0.25, 0.75)) if np.isfinite(column).any() else (0, 0)
        all_of_it = [column < low, column >= high]
    return [holds for holds in all_of_it if LEAST_HELD <= holds.sum() < len(column)]


def shuffle(case: Case, work: Path, images: ImageFeatures | None, runs: int) -> list[dict[str, Any]]:
    """What each run says; kept in `work`, weak spots and RCCs apart, as soon as it is complete."""
    results = []
    for run in range(runs):
        file, key = f"{run}.json", key_of(case.about, *SOURCES, *SPOT_SOURCES)
        result = kept(prepare_folder(work / "shuffles") / file, key, partial(shuffled_spots_in_run, case, run))
        if images:
            key = key_of(case.about, *SOURCES, *RCC_SOURCES)
            of_run = partial(shuffled_rccs_in_run, case, images, run)
            result |= kept(prepare_folder(work / "shuffles-rccs") / file, key, of_run)
        results.append(result)
    return results


def measure(case: Case, work: Path, images: ImageFeatures | None, *, runs: int, rccs: int) -> dict[str, Any]:
    """The shares of runs, by correlation; each is kept in `work` as soon as it is complete."""
    by_correlation: dict[str, Any] = {}
    for correlation in CORRELATIONS:
        key = key_of(case.groups.column, str(len(case.groups.of)), *SOURCES)
        spots = [
            kept(
                prepare_folder(work / f"spots-{correlation}") / f"{seed}.json",
                key_of(key, *SPOT_SOURCES),
                partial(spots_in_run, case, correlation, seed),
            )
            for seed in range(runs)
        ]
        of_rccs = [
            kept(
                prepare_folder(work / f"rccs-{correlation}") / f"{seed}.json",
                key_of(key, *RCC_SOURCES),
                partial(rccs_in_run, case, images, correlation, seed),
            )
            for seed in range(rccs)
            if images
        ]
        by_correlation[str(correlation)] = {"spots": spots, "rccs": of_rccs}
    return {"about": case.about, "runs": by_correlation}


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each case and correlation."""
    lines = [INTRODUCTION.strip(), "", "| case | correlation | false | found | RCCs |", "|---|---|---|---|---|"]
    for name, result in results.items():
        about = f"{name} ({result['about']})"
        for correlation, run in result["runs"].items():
            spots, rccs = run["spots"], run["rccs"]
            cells = (
                _share(spots, "false", "independent"),
                _share(spots, "found"),
                _share(rccs, "false", "independent"),
            )
            lines.append(f"| {about} | {correlation} | {' | '.join(cells)} |")
            about = ""
    return "\n".join(lines)


def shuffle_section(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Markdown: a row for each case."""
    lines = [SHUFFLED.strip(), "", "| case | false | given the class | RCCs | intervals |", "|---|---|---|---|---|"]
    for about, runs in results.items():
        held = "; ".join(filter(None, (_held(runs, "held"), _held(runs, "rccs_held"))))
        lines.append(f"| {about} | {' | '.join(_share(runs, name) for name in ('false', 'within', 'rccs'))} | {held} |")
    return "\n".join(lines)


def _held(runs: Sequence[Mapping[str, Any]], name: str) -> str:
    """For example `96.1 % of 1,200`; empty if there are none."""
    held, of = np.sum([run[name] for run in runs if name in run] or [[0, 0]], axis=0).tolist()
    return f"{held / of:.1%} of {of:,}".replace("%", " %") if of else ""


def _share(runs: Sequence[Mapping[str, Any]], name: str, beside: str = "") -> str:
    """For example `1 of 200 (140)`."""
    those = [run for run in runs if name in run]
    if not those:
        return "–"
    also = f" ({sum(run[beside] for run in those)})" if beside else ""
    return f"{sum(run[name] for run in those)} of {len(those)}{also}"


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.calibration", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR:COLUMN", required=True, help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for results")
    parser.add_argument("--runs", type=int, default=200, metavar="N", help="default: 200")
    parser.add_argument(
        "--rccs", type=int, default=0, metavar="N", help="runs with RCCs, which take longer; default: 0"
    )
    parser.add_argument("--shuffles", type=int, default=0, metavar="N", help="of a network's answers; default: 0")
    parser.add_argument("--write", action="store_true", help="write lab/results/calibration.md instead of printing")
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        extractor = choose_extractor("vgg16-conv", precision="bfloat16") if options.rccs else None
        results, shuffled = {}, {}
        for given in options.data:
            name, _, rest = given.partition("=")
            folder, _, column = rest.rpartition(":")
            work = prepare_folder(Path(options.work) / name)
            answered = answered_test(Path(folder), work, None, print_progress) if options.shuffles else None
            case = load_case(Path(folder), column, answered)
            images = extract_features(case.tested.root, extractor, progress=print_progress) if extractor else None
            if options.runs:
                results[name] = measure(case, work, images, runs=options.runs, rccs=options.rccs)
            if options.shuffles:
                shuffled[f"{name} ({case.about})"] = shuffle(case, work, images, options.shuffles)
        if results:
            tell("calibration", section(results), write=options.write)
        if shuffled:
            tell("calibration-shuffles", shuffle_section(shuffled), write=options.write)
    except SAFEError as error:
        print(f"calibration: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
