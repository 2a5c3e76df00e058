"""Do the rates that are expected of new images hold on new images?

    python -m lab.benchmarks.new_images --data NAME=DIR[:COLUMN] ... --work DIR [--runs N ...] [--rccs N ...] [--write]

A case is a classifier of `lab.casestudies.build`, of which as many fresh images are drawn as wanted, once, and its DNN
is run on them; or a folder with `test/`, and `model.keras` or `train/`, whose test images are all there is; of a
regression, also with `targets.csv`, and `accuracy.json` with the threshold. Weak spots
are found in a part of the images, as large as the test set of a case study or half of all, and counted in the others.
COLUMN says which images are of one group; of a folder, no group is then in both parts. With --rccs, the same is done of
RCCs instead, among so many fresh images of each case, whose features take long. With --write, a section of
lab/results/calibration.md is written.
"""

import argparse
import json
import math
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from lab.benchmarks.kept import kept, key_of
from lab.benchmarks.reasons.cases import answered_test
from lab.benchmarks.results import tell
from lab.casestudies.cases import CASES
from safe_dnn.casestudies.build import print_progress, true_answers
from safe_dnn.casestudies.case import Case
from safe_dnn.casestudies.networks import run_model
from safe_dnn.casestudies.sets import MODEL_FILE, Rows, lay_out, render_images
from safe_dnn.casestudies.table import write_subjects
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.dnn.tested import AnsweredImages, predictions_text, read_predictions
from safe_dnn.FE import ImageFeatures, stream_features
from safe_dnn.features.extractor import Extractor
from safe_dnn.features.weights import choose_extractor
from safe_dnn.rccs.answers import CONFIDENCE, Answers
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.rccs.spots.groups import share_of, tally
from safe_dnn.rccs.spots.rates import Rate, failure_rates, nearest_failing, regions
from safe_dnn.rccs.spots.weak_spots import WeakSpot
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Known, known_of, weak_spots_of
from safe_dnn.reasons.known_groups import KnownGroups, named_groups
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder, write_text
from safe_dnn.support.images import ImageListing
from safe_dnn.support.intervals import clopper_pearson
from safe_dnn.support.run_folder import ACCURACY_FILE, PREDICTIONS_FILE

SEED = 1000  # of fresh images: no case study is built with it
SOURCES = (
    "safe_dnn/rccs/spots/new_images.py",
    "safe_dnn/rccs/spots/weak_spots.py",
    "safe_dnn/rccs/spots/search.py",
    "safe_dnn/rccs/spots/groups.py",
)
RCC_SOURCES = (
    "safe_dnn/rccs/spots/rates.py",
    "safe_dnn/rccs/spots/groups.py",
    "clustering.py",
    "safe_dnn/rccs/dbscan/consensus.py",
)
LEAST_NEW = 20  # new images under a condition; of fewer, the rate says little
INTRODUCTION = f"""
## Weak spots on new images

Written by `python -m lab.benchmarks.new_images`. Weak spots are found in some images and counted in others: *fresh*
images of a simulator, or the other half of a test set. *Seen*, *expected* and *new* are mean failure rates where they
were found, as expected of new images, and in new images. *Held* are the weak spots whose 95 % interval holds the rate
in new images: that of the counted rate, and that for new images. The rate in half of a test set is itself uncertain,
so that hardly more than 83 % can hold it; *both* is the share whose interval would, were it of as many images as the
difference of both rates is worth. Weak spots with fewer than {LEAST_NEW} new images are left out, and those about
classes where each group is of one, since halves have no class in common then.
"""
OF_RCCS = f"""
## RCCs on new images

Written by `python -m lab.benchmarks.new_images --rccs N`. The failing images of a part are clustered, and fresh images
counted in whose region they lie. *Held* are the RCCs whose 95 % interval holds the rate in fresh images; *both* would,
were it of as many images as the difference of both rates is worth: the fresh images' rate is uncertain itself. ± is
the standard error by runs: RCCs of different runs are often of the same images. RCCs with fewer than {LEAST_NEW} fresh
images are left out.
"""


Part: TypeAlias = tuple[AnsweredImages, Known, KnownGroups | None]


class Pool(NamedTuple):
    """Images with answers, of which some are searched and the others counted.

    Attributes
    ----------
    searched : int
        How many are searched at once.
    groups : KnownGroups or None
    apart : bool
        Whether images of a group are all searched or all counted.
    """

    tested: AnsweredImages
    known: Known
    searched: int
    groups: KnownGroups | None
    apart: bool

    def taken(self, rows: np.ndarray) -> Part:
        """Some of the images."""
        columns = {name: column[rows] for name, column in self.known.columns.items()}
        groups = self.groups._replace(groups=self.groups.groups.taken(rows)) if self.groups else None
        tested = AnsweredImages(
            self.tested.source,
            self.tested.root,
            tuple(self.tested.paths[row] for row in rows.tolist()),
            self.tested.answers.taken(rows),
            self.tested.right[rows],
        )
        return tested, self.known._replace(columns=columns), groups


def load_pool(data: Path, work: Path, column: str, *, fresh: int, measured: bool = True) -> Pool:
    """The images of a case; on request, with what is known of them.

    Raises
    ------
    SAFEError
        The folder is no case, or the column is not known.
    """
    record = json.loads((data / ACCURACY_FILE).read_text(encoding="utf-8")) if (data / ACCURACY_FILE).is_file() else {}
    drawn = "case" in record  # that of a regression has its threshold
    tested = draw_images(data, work, fresh) if drawn else answered_test(data, work, None, print_progress)
    names = column.split("+") if column else []
    groups = named_groups(names, tested, parameters=None) if names else None
    searched = len(tested.right) // 2
    if drawn:
        searched = min(searched, record["test_size"])
    known = known_of(tested, groups=names, progress=print_progress) if measured else Known({}, frozenset())
    return Pool(tested, known, searched, groups, not drawn)


def draw_images(data: Path, work: Path, count: int) -> AnsweredImages:
    """Fresh test images of a case study with the answers of its DNN, drawn once and kept in `work`."""
    if not (work / PREDICTIONS_FILE).is_file():
        case = CASES[json.loads((data / ACCURACY_FILE).read_text(encoding="utf-8"))["case"]]
        rows = list(lay_out(case, "test", count, SEED))
        predicted: list[int] = []
        key = key_of(case.name, str(count), str(SEED))
        for start in range(0, count, 1000):  # all of them would not fit into memory
            of_some = partial(_predicted, case, data / MODEL_FILE, work, rows[start : start + 1000])
            predicted += kept(prepare_folder(work / "drawn") / f"{start}.json", key, of_some)
        classes, truth, answered = np.array(case.classes), true_answers(case, rows), np.array(predicted)
        answers = Answers(classes[truth], classes[answered], np.full(count, np.float32(np.nan)), CONFIDENCE)
        write_subjects(work / PARAMETERS_FILE, rows, case.kind)
        paths = tuple(path.removeprefix("test/") for path, _, _ in rows)
        tested = AnsweredImages(work / PREDICTIONS_FILE, work / "test", paths, answers, truth == answered)
        write_text(tested.source, predictions_text(tested))
    return read_predictions(work / PREDICTIONS_FILE, work / "test")


def _predicted(case: Case, model: Path, work: Path, rows: Rows) -> list[int]:
    """Draw images, and run the DNN on them."""
    import keras

    images = np.stack(list(render_images(case, work, rows, progress=print_progress)))
    predicted: list[int] = run_model(keras.models.load_model(model), images).argmax(axis=1).tolist()
    return predicted


def parts(pool: Pool, run: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are searched and those that are counted: parts of one permutation after the other."""
    of = pool.groups.groups.of if pool.groups and pool.apart else np.arange(len(pool.tested.right))
    times = max(1, len(of) // pool.searched)
    place = np.random.default_rng(run // times).permutation(int(of.max()) + 1)[of]
    order, start = np.argsort(place, kind="stable"), (run % times) * pool.searched
    searched = np.isin(of, of[order[start : start + pool.searched]])
    return np.flatnonzero(searched), np.flatnonzero(~searched)


def spots_in_run(pool: Pool, run: int) -> list[dict[str, Any]]:
    """Each weak spot that is found in a part of the images, and its rate in the others."""
    here, there = (pool.taken(rows) for rows in parts(pool, run))
    spots = weak_spots_of(*here)
    of_classes = pool.apart and pool.tested.answers.kind == CONFIDENCE  # targets of a regression are hardly the same
    if of_classes and not set(here[1].columns[LABEL]) & set(there[1].columns[LABEL]):
        spots = tuple(spot for spot in spots if not {LABEL, PREDICTED} & {one.column for one in spot.literals})
    return [_on_new_images(spot, here, there) for spot in spots]


def _on_new_images(spot: WeakSpot, here: Part, there: Part) -> dict[str, Any]:
    figures = ("low", "high", "new_rate", "new_low", "new_high")
    (_, worth), (wrong, worth_there) = _counted(spot, here), _counted(spot, there)
    both = 1 / (1 / worth + 1 / max(worth_there, 1))
    rates = np.array([spot.new_rate or spot.rate, spot.rate])
    low, high = clopper_pearson(rates * both, np.full(2, both))
    return {
        "where": spot.where,
        "seen": spot.rate,
        **{name: getattr(spot, name) for name in figures},
        "both_low": float(low[0]),
        "both_high": float(high[1]),
        "new": int(wrong.sum()),
        "of": len(wrong),
    }


def _counted(spot: WeakSpot, part: Part) -> tuple[np.ndarray, float]:
    """Which images are wrong where a weak spot holds, and how many independent ones they are worth."""
    tested, known, groups = part
    holds = spot.holds(known.columns)
    wrong, share = ~tested.right[holds], 1.0
    if groups:
        share = share_of(groups.groups.of[holds], wrong, tally(groups.groups.of, ~tested.right).correlation)
    return wrong, share * len(wrong)


def rccs_in_run(pool: Pool, features: np.ndarray, extractor: Extractor, run: int) -> list[dict[str, Any]]:
    """Each RCC of a part of the images, and the rate of the others in its region."""
    here, there = parts(pool, run)
    wrong = ~pool.tested.right
    rows, right = here[wrong[here]], here[~wrong[here]]
    paths = tuple(pool.tested.paths[row] for row in rows.tolist())
    clusters = find_root_cause_clusters(ImageFeatures(pool.tested.root, paths, features[rows], extractor, ()))

    def placed(others: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        of_failing, of_others = nearest_failing(clusters.points, clusters.projection.apply(features[others]))
        return regions(of_failing, clusters.labels), regions(of_others, clusters.labels)

    groups = pool.groups.groups.taken(np.concatenate([rows, right])) if pool.groups else None
    rates = failure_rates(*placed(right), clusters.n_rccs, labels=clusters.labels, groups=groups)
    fresh = placed(there)[1]
    return [_in_region(rate, wrong[there[fresh == rate.rcc]]) for rate in rates if rate.tested]


def rccs_of_run(some: Callable[[], tuple[Pool, np.ndarray]], extractor: Extractor, run: int) -> list[dict[str, Any]]:
    """As `rccs_in_run`, of images whose features are read only if a run is not kept."""
    return rccs_in_run(*some(), extractor, run)


def _in_region(rate: Rate, wrong: np.ndarray) -> dict[str, Any]:
    wider = math.sqrt(1 + rate.tested / max(len(wrong), 1))
    both = {f"both_{name}": rate.rate + wider * (getattr(rate, name) - rate.rate) for name in ("low", "high")}
    told = {"verdict": rate.verdict, "tested": rate.tested, "seen": rate.rate, "low": rate.low, "high": rate.high}
    return {**told, **both, "new": int(wrong.sum()), "of": len(wrong)}


def with_features(pool: Pool, extractor: Extractor, among: int) -> tuple[Pool, np.ndarray]:
    """Some of the fresh images, the same ones each time, of which a third is searched at most, and their features."""
    rows = np.sort(np.random.default_rng(0).permutation(len(pool.tested.right))[:among])
    tested, known, groups = pool.taken(rows)
    listing = ImageListing(tested.root, tested.paths, ())
    batches = [batch.features for batch in stream_features(listing, extractor, progress=print_progress)]
    some = pool._replace(tested=tested, known=known, groups=groups, searched=min(pool.searched, among // 3))
    return some, np.concatenate(batches)


def section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: a row for each case."""
    lines = [
        INTRODUCTION.strip(),
        "",
        "| case | searched | counted | runs | weak spots | seen | expected | new | held | held, new | both |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        spots = [spot for run in result["runs"] for spot in run if spot["of"] >= LEAST_NEW]
        cells = [name, f"{result['searched']:,}", f"{result['counted']:,}", str(len(result["runs"])), str(len(spots))]
        if spots:
            rates = [np.mean([spot[key] for spot in spots]) for key in ("seen", "new_rate")]
            rates.append(np.mean([spot["new"] / spot["of"] for spot in spots]))
            rates += [_held(spots, which) for which in ("", "new_", "both_")]
            cells += [f"{100 * rate:.1f} %" for rate in rates]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rcc_section(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Markdown: two rows for each case."""
    lines = [
        OF_RCCS.strip(),
        "",
        "| case | runs | verdict | RCCs | images in a region | fresh ones | seen | fresh | held | both |",
        "|---|---:|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name, result in results.items():
        told = [[rcc for rcc in run if rcc["of"] >= LEAST_NEW] for run in result["runs"]]
        for verdict in ("more", "others"):
            runs = [[rcc for rcc in run if (rcc["verdict"] == "more") == (verdict == "more")] for run in told]
            those = [rcc for run in runs for rcc in run]
            cells = [name, str(len(runs)), verdict, str(len(those))]
            if those:
                cells += [f"{np.mean([rcc[key] for rcc in those]):.0f}" for key in ("tested", "of")]
                rates = [np.mean([rcc["seen"] for rcc in those]), np.mean([rcc["new"] / rcc["of"] for rcc in those])]
                cells += [f"{100 * rate:.1f} %" for rate in rates]
                held = [(_held(those, which), _error(runs, which)) for which in ("", "both_")]
                cells += [f"{100 * share:.1f} ± {100 * error:.1f} %" for share, error in held]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _held(spots: Sequence[Mapping[str, Any]], which: str) -> float:
    """The share of weak spots whose interval holds the rate in new images."""
    return float(np.mean([spot[f"{which}low"] <= spot["new"] / spot["of"] <= spot[f"{which}high"] for spot in spots]))


def _error(runs: Sequence[Sequence[Mapping[str, Any]]], which: str) -> float:
    """The standard error of `_held`, that of a ratio of what the runs hold."""
    held, of = np.array([[_held(run, which) * len(run), len(run)] for run in runs if run]).T
    return float(np.linalg.norm(held - of * held.sum() / of.sum()) / of.sum())


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.new_images", description=__doc__.split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR[:COLUMN]", required=True, help="folders of the cases")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for fresh images and results")
    parser.add_argument("--fresh", type=int, default=20_000, metavar="N", help="fresh images; default: 20000")
    parser.add_argument("--runs", type=int, nargs="+", default=[10], metavar="N", help="of all cases, or of each")
    parser.add_argument("--rccs", type=int, nargs="+", default=[], metavar="N", help="images for RCCs, of each case")
    parser.add_argument("--write", action="store_true", help="write lab/results/calibration.md instead of printing")
    options = parser.parse_args(arguments)
    if options.rccs and len(options.rccs) != len(options.data):
        parser.error("--rccs needs a number for each case")
    each = options.runs * len(options.data) if len(options.runs) == 1 else options.runs
    if len(each) != len(options.data):
        parser.error("--runs needs one number, or one for each case")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    try:
        results = {}
        extractor = choose_extractor("vgg16-conv", precision="bfloat16") if options.rccs else None
        for given, among, n_runs in zip(options.data, options.rccs or [0] * len(options.data), each, strict=True):
            name, _, rest = given.partition("=")
            folder, _, column = rest.partition(":")
            work = prepare_folder(Path(options.work) / name)
            pool = load_pool(Path(folder), work, column, fresh=options.fresh, measured=not extractor)
            if extractor:
                key, kind = key_of(column, str(among), extractor.identity, *RCC_SOURCES), "rccs"
                of_run = partial(rccs_of_run, cache(partial(with_features, pool, extractor, among)), extractor)
            else:
                key, kind = key_of(str(len(pool.tested.right)), column, *SOURCES), "spots"
                of_run = partial(spots_in_run, pool)
            counted = len(pool.tested.right) - pool.searched
            runs = [
                kept(prepare_folder(work / kind) / f"{run}.json", key, partial(of_run, run)) for run in range(n_runs)
            ]
            results[name] = {"searched": pool.searched, "counted": counted, "runs": runs}
        if extractor:
            tell("calibration-rccs", rcc_section(results), write=options.write)
        else:
            tell("calibration-new-images", section(results), write=options.write)
    except SAFEError as error:
        print(f"new_images: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
