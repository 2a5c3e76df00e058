"""Does `reasons` name the factors that real networks fail by, and which published error ratios hold?

    python -m lab.benchmarks.imagenetx --data DIR [--metaclasses CSV] [--halves N] [--shuffles N] [--write]

DIR holds `factors.csv`, what people said of validation images of ImageNet (image, and a column of yes and no for each
factor), and a CSV of the answers of each network (image, label, predicted). Both are made from ImageNet-X (Idrissi et
al., "ImageNet-X: Understanding Model Mistakes with Factor of Variation Annotations", ICLR 2023, CC BY-NC 4.0): the
package `imagenet-x` has the factors in `annotations/imagenet_x_val_multi_factor.jsonl`, the repository
`facebookresearch/imagenetx` the answers. CSV is the package's `imagenet_1k_classes_to_100_metaclasses.csv`: a row with
a `name` for each class in order. No image is needed. With --write, lab/results/imagenetx.md is written.
"""

import argparse
import csv
import itertools
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.benchmarks.memory import peak_resident_mb
from lab.benchmarks.new_images import LEAST_NEW, Pool, spots_in_run
from lab.benchmarks.results import tell
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.pipeline.explaining import find_reasons
from safe_dnn.pipeline.run_record import GivenAnswers
from safe_dnn.rccs.spots.groups import chance_given_class, given_class
from safe_dnn.rccs.spots.rates import corrected
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots
from safe_dnn.reasons.comparison import LABEL, PREDICTED, Known
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.intervals import LEFT_OUT, clopper_pearson
from safe_dnn.training.certainty import NOT_SHOWN, certainties, count_pairs

FACTORS_FILE = "factors.csv"
YES = "yes"
LEAST_RATIO = 1.2  # of factors that should be named
LEAST_IMAGES = 90  # with them
SHUFFLED = 8_000  # images in each shuffle
RUNS = 5  # of which time and memory are the medians
# Those of the paper; all others are one.
METACLASSES = (
    "bird", "commodity", "covering", "device", "dog", "equipment", "food", "furniture", "insect", "natural_object",
    "primate", "snake", "structure", "vehicle", "vessel", "wheeled_vehicle",
)  # fmt: skip


class Network(NamedTuple):
    """A network's answers, what is known of the images, and what `reasons` finds.

    Attributes
    ----------
    classes : ndarray of shape (n_images,), int
        From 0.
    """

    name: str
    tested: AnsweredImages
    known: Known
    spots: tuple[WeakSpot, ...]
    classes: np.ndarray

    @property
    def wrong(self) -> np.ndarray:
        """Which images it gets wrong: bool of shape (n_images,)."""
        return ~self.tested.right

    def factors(self) -> dict[str, np.ndarray]:
        """Which images have each factor."""
        columns = self.known.columns.items()
        return {name: column == YES for name, column in columns if name not in (LABEL, PREDICTED)}


class Factor(NamedTuple):
    """How often a network fails on images with a factor.

    Attributes
    ----------
    ratio : float
        As published: the rate over that of all images.
    rate, low, high : float
        Of the images with it, and its 95 % interval.
    expected : float
        The rate that their classes alone would give.
    p : float
        How likely so much more, or less where the ratio is below 1, is given the class; corrected for all factors.
    """

    name: str
    images: int
    ratio: float
    rate: float
    low: float
    high: float
    expected: float
    p: float

    @property
    def matters(self) -> bool:
        """Whether it should be named."""
        return self.ratio >= LEAST_RATIO and self.images >= LEAST_IMAGES

    @property
    def holds(self) -> bool:
        """Whether its ratio is on the same side of 1 given the class, beyond chance, and its interval, too."""
        return self.p < LEFT_OUT and not self.low <= self.expected <= self.high


def load_networks(folder: Path, work: Path) -> list[Network]:
    """Each network with its reasons, as the command `reasons` finds them; SAFEError if a table is missing or wrong."""
    names = sorted(path.stem for path in folder.glob("*.csv") if path.name != FACTORS_FILE)
    if not names:
        raise SAFEError(f"Expected {FACTORS_FILE} and a CSV of answers for each network. Received: {folder}")
    networks = []
    for name in names:
        given = GivenAnswers(folder / f"{name}.csv")
        tested, found = find_reasons(given, work / name, parameters=folder / FACTORS_FILE)
        classes = np.unique(found.known.columns[LABEL], return_inverse=True)[1]
        networks.append(Network(name, tested, found.known, found.spots, classes))
    if any(other.tested.paths != networks[0].tested.paths for other in networks):
        raise SAFEError(f"Expected answers of each network to the same images. Received others in {folder}")
    return networks


def factors_of(network: Network, classes: np.ndarray) -> list[Factor]:
    """All factors, the highest ratio first, given these classes."""
    wrong, chances, rows = network.wrong, [], []
    for name, holds in network.factors().items():
        rate, images = float(wrong[holds].mean()), int(holds.sum())
        (low,), (high,) = clopper_pearson(np.array([wrong[holds].sum()]), np.array([images]))
        ratio, expected = rate / float(wrong.mean()), given_class(classes, wrong, holds).expected or 0.0
        chances.append(chance_given_class(classes, wrong if ratio > 1 else ~wrong, holds[None])[0])
        rows.append(Factor(name, images, ratio, rate, float(low), float(high), expected, 1.0))
    told = zip(rows, corrected(np.array(chances)).tolist(), strict=True)
    return sorted((row._replace(p=p) for row, p in told), key=lambda row: -row.ratio)


def place_of(network: Network, factor: str) -> tuple[int, str] | None:
    """The place of the first condition on a factor in the list of reasons, and what it is with; None if there is none.

    A condition that images have the factor comes before one that they lack it.
    """
    places = []
    for place, spot in enumerate(network.spots, 1):
        for literal in spot.literals:
            if literal.column == factor:
                others = " and ".join(str(other) for other in spot.literals if other != literal)
                with_others = f" with `{others}`" if others else ""
                places.append(
                    (literal.value != YES, place, f" ({literal.value})" * (literal.value != YES) + with_others)
                )
    return min(places)[1:] if places else None


def is_named(network: Network, factor: str) -> bool:
    """Whether a condition says that the images have the factor."""
    return any(literal[:3] == (factor, "=", YES) for spot in network.spots for literal in spot.literals)


def metaclasses_of(network: Network, table: Path) -> np.ndarray:
    """The metaclass of each image, by the digits of its class; SAFEError if the table cannot be read."""
    try:
        with table.open(encoding="utf-8", newline="") as file:
            names = [row["name"] if row["name"] in METACLASSES else "" for row in csv.DictReader(file)]
        rows = [int("".join(filter(str.isdigit, label))) for label in network.known.columns[LABEL].tolist()]
        return np.unique([names[row] for row in rows], return_inverse=True)[1]
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise SAFEError(f"Expected a table with a name for each class by its number. Received: {table}") from error


def section(networks: Sequence[Network], metaclasses: Path | None) -> str:
    """The section of the results on factors."""
    lines = [
        "## Factors\n",
        f"`python -m lab.benchmarks.imagenetx`: {len(networks[0].tested.paths):,} validation images of ImageNet with "
        f"{len(networks[0].factors())} factors, by tables alone. *Ratio* is the error ratio as published: the error "
        "rate of the images with a factor over that of all. *Given the class* is the rate, with its 95 % interval, "
        "over the rate that the classes of these images alone would give; the *p* of being so far on its side of 1 "
        "is corrected for all factors (Holm)"
        + ("; *metaclass* are both given the metaclass. " if metaclasses else ". ")
        + f"*Named* is the place in the list of `reasons`. Factors with a ratio of {LEAST_RATIO} or more and at least "
        f"{LEAST_IMAGES} images, which should be named, are bold.",
    ]
    for network in networks:
        rows = factors_of(network, network.classes)
        coarse = (
            {row.name: row for row in factors_of(network, metaclasses_of(network, metaclasses))} if metaclasses else {}
        )
        head = (
            "| factor | images | ratio | rate | given the class | p |" + " metaclass | p |" * bool(coarse) + " named |"
        )
        lines += [
            f"\n### {network.name}: {network.wrong.mean():.1%} are wrong\n",
            head,
            "|---" * (head.count("|") - 1) + "|",
        ]
        for row in rows:
            cells = [f"**{row.name}**" if row.matters else row.name, f"{row.images:,}", f"{row.ratio:.2f}"]
            cells += [f"{row.rate:.1%} ({row.low:.1%}–{row.high:.1%})", *_given(row)]
            cells += _given(coarse[row.name]) if coarse else []
            place = place_of(network, row.name)
            lines.append(f"| {' | '.join([*cells, '{}{}'.format(*place) if place else '–'])} |")
        lines.append(f"\n{_summary(network, rows, coarse)}")
    return "\n".join(lines)


def _given(row: Factor) -> list[str]:
    ends = "–".join(f"{end / row.expected:.2f}" for end in (row.low, row.high))
    return [f"{row.rate / row.expected:.2f} ({ends})", f"{row.p:.1g}" if row.p >= 1e-4 else "< .0001"]


def _summary(network: Network, rows: Sequence[Factor], coarse: dict[str, Factor]) -> str:
    matter = [row.name for row in rows if row.matters]
    named = [name for name in matter if is_named(network, name)]
    missing = ", ".join(sorted({*matter} - {*named}))
    further = [row.name for row in rows if not row.matters and is_named(network, row.name)]
    doubtful = [f"{row.name} ({row.ratio:.2f})" for row in rows if not row.holds]
    holding = [f"{row.name} ({row.ratio:.2f})" for row in rows if row.holds and coarse and not coarse[row.name].holds]
    inside = sum(not spot.of_classes for spot in network.spots)
    sentences = [
        f"{network.name}: {len(named)} of {len(matter)} factors that should be named are"
        + (f", not {missing}" if missing else "")
        + f", by {inside} of the {len(network.spots)} conditions; the others are about classes.",
        f"Further factors named: {', '.join(further) or 'none'}.",
        f"Ratios that do not hold given the class, by p or interval: {', '.join(doubtful) or 'none'}.",
        *([f"Given the metaclass alone, neither do: {', '.join(holding)}."] if holding else []),
    ]
    return " ".join(sentences)


def pairs_section(networks: Sequence[Network]) -> str:
    """The section of the results on what two networks differ in, by their answers to the same images."""
    lines = [
        "## Two networks\n",
        "How many points more of the images with a factor the second network gets right than the first, with the 95 % "
        "interval of answers to the same images (Tango) and what is beyond doubt after correction for all factors "
        "(McNemar, Holm), as `compare` has it. *Beyond others* is by how many points this is more than on images of "
        "the same class without the factor (the normal interval, p corrected).",
    ]
    for first, second in itertools.combinations(networks, 2):
        factors = first.factors()
        names, gain = list(factors), first.wrong.astype(float) - second.wrong
        right = first.tested.right, second.tested.right
        sure = certainties([count_pairs(*(each[factors[name]] for each in right)) for name in names])
        beyond = [beyond_others(gain, factors[name], first.classes) for name in names]
        p = corrected(np.array([each[2] for each in beyond])).tolist()
        lines += [
            f"\n### {first.name} and {second.name}\n",
            "| factor | gain | beyond doubt | beyond others | p |",
            "|---" * 5 + "|",
        ]
        for name, each, (more, half, _), chance in zip(names, sure, beyond, p, strict=True):
            verdict = "–" if each.verdict == NOT_SHOWN else each.verdict.split()[0]
            cells = [name, f"{100 * each.gain:+.1f} ({100 * each.low:+.1f} to {100 * each.high:+.1f})", verdict]
            cells += [f"{100 * more:+.1f} ({100 * (more - half):+.1f} to {100 * (more + half):+.1f})"]
            lines.append(f"| {' | '.join([*cells, f'{chance:.1g}' if chance >= 1e-4 else '< .0001'])} |")
        differ = [name for name, each in zip(names, sure, strict=True) if each.verdict != NOT_SHOWN]
        apart = [name for name, chance in zip(names, p, strict=True) if chance < LEFT_OUT]
        same = [name for name in names if name not in differ]
        lines.append(
            f"\nOf all images, {second.name} gets {100 * gain.mean():+.1f} points more right. They differ beyond doubt "
            f"in {', '.join(differ) or 'none'}, and not in {', '.join(same) or 'none'}; by more or less than on other "
            f"images of the same class in {', '.join(apart) or 'none'}."
        )
    return "\n".join(lines)


def beyond_others(gain: np.ndarray, holds: np.ndarray, classes: np.ndarray) -> tuple[float, float, float]:
    """The mean gain where a factor holds less that of other images of the same classes.

    Returns
    -------
    difference, half : float
        With half of its 95 % interval.
    p : float
        Two-sided.
    """
    from scipy.special import ndtr, ndtri

    there, others = (np.bincount(classes[rows], minlength=classes.max() + 1) for rows in (holds, ~holds))
    compared = (there > 0) & (others > 0)
    share = np.where(compared, there, 0) / there[compared].sum()
    means = [np.bincount(classes, gain * rows) / np.maximum(n, 1) for rows, n in ((holds, there), (~holds, others))]
    spread = [
        ((gain - mean[classes])[rows] ** 2).sum() / max(int((n - 1).clip(0).sum()), 1)
        for rows, n, mean in zip((holds, ~holds), (there, others), means, strict=True)
    ]
    difference = float((share * (means[0] - means[1])).sum())
    parts = (share[compared] ** 2 * (spread[0] / there[compared] + spread[1] / others[compared])).sum()
    error = float(np.sqrt(parts)) or np.inf
    return difference, float(ndtri(1 - LEFT_OUT / 2)) * error, float(2 * ndtr(-abs(difference) / error))


def fresh_section(networks: Sequence[Network], halves: int) -> str:
    """The section of the results on images that were not searched."""
    lines = [
        "## Fresh images\n",
        f"Conditions are found in a random half of the images and counted in the other one, {halves} times. *Held* are "
        "conditions given the class whose 95 % interval for new images holds the rate in the other half; *both* would, "
        "were it of as many images as the difference of both rates is worth, since the other half's rate is uncertain "
        f"itself. Conditions with fewer than {LEAST_NEW} images there are left out.\n",
        "| network | conditions | seen | expected | fresh | held | both |",
        "|---" * 7 + "|",
    ]
    for network in networks:
        pool = Pool(network.tested, network.known, len(network.tested.paths) // 2, None, False)
        runs = [spot for run in range(halves) for spot in spots_in_run(pool, run)]
        spots = [each for each in runs if each["of"] >= LEAST_NEW and not {LABEL, PREDICTED} & {*each["where"].split()}]
        rates = [each["new"] / each["of"] for each in spots]
        told = [[each[key] for each in spots] for key in ("seen", "new_rate")]
        cells = [f"{np.mean(each):.1%}" if spots else "–" for each in (*told, rates)]
        held = [
            sum(each[f"{which}_low"] <= rate <= each[f"{which}_high"] for each, rate in zip(spots, rates, strict=True))
            for which in ("new", "both")
        ]
        lines.append(f"| {' | '.join([network.name, str(len(spots)), *cells, *map(str, held)])} |")
    return "\n".join(lines)


def shuffled_section(networks: Sequence[Network], shuffles: int) -> str:
    """The section of the results on what is found where nothing is."""
    lines = [
        "## Shuffled\n",
        f"In how many of {shuffles} shuffles of a random {SHUFFLED:,} images a condition is named: right and wrong "
        "dealt out among all images, or among those of each class (conditions given the class), or the factors that no "
        "condition is about dealt out among all images (conditions on them alone).\n",
        "| network | all | in each class | factors |",
        "|---" * 4 + "|",
    ]
    for network in networks:
        counts = np.sum([_shuffled(network, seed) for seed in range(shuffles)], axis=0)
        lines.append(f"| {network.name} | {' | '.join(str(each) for each in counts.tolist())} |")
    return "\n".join(lines)


def _shuffled(network: Network, seed: int) -> list[bool]:
    """Whether anything is found, for each kind of shuffle."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(network.wrong))[:SHUFFLED])
    columns = {name: column[rows] for name, column in network.known.columns.items() if name != PREDICTED}
    wrong, classes = network.wrong[rows], network.classes[rows]
    within, order = wrong.copy(), rng.permutation(len(rows))
    within[np.argsort(classes, kind="stable")] = wrong[order[np.argsort(classes[order], kind="stable")]]
    free = {name for name in network.factors() if not place_of(network, name)}
    dealt = rng.permutation(len(rows))
    kinds = (
        (columns, rng.permutation(wrong), {*columns}),
        (columns, within, {*columns}),
        ({name: column[dealt] if name in free else column for name, column in columns.items()}, wrong, free),
    )
    found = []
    for number, (known, failing, names) in enumerate(kinds):
        spots = find_weak_spots(known, failing, never_together=(LABEL, PREDICTED))
        found.append(any({one.column for one in s.literals} <= names and not (number and s.of_classes) for s in spots))
    return found


def time_section(folder: Path, names: Sequence[str], work: Path) -> str:
    """The section of the results on time and memory of the command, each run in a process of its own."""
    lines = [
        "## Time and memory\n\n`reasons` on all images, as a process of its own: seconds of processor time, with its "
        f"imports, and the peak of memory; the median and the range of {RUNS} runs. Other work on the machine makes it "
        "slower.\n",
        "| network | seconds | MB |\n|---|---|---|",
    ]
    for name in names:
        runs = []
        for run in range(RUNS):
            given = ["--predictions", folder / f"{name}.csv", "--parameters", folder / FACTORS_FILE]
            command = ["reasons", *given, "--out", work / f"timed-{name}-{run}"]
            ran = subprocess.run(
                [sys.executable, "-m", "lab.benchmarks.imagenetx", "--command", *map(str, command)],
                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
            )  # fmt: skip
            runs.append([float(figure) for figure in ran.stdout.split()[-2:]])
        seconds, peaks = zip(*runs, strict=True)
        cells = (
            f"{statistics.median(of):.{digits}f} ({min(of):.{digits}f} to {max(of):.{digits}f})"
            for of, digits in ((seconds, 1), (peaks, 0))
        )
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.imagenetx")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="the folder of the tables")
    parser.add_argument("--metaclasses", type=Path, metavar="CSV", help="a name for each class, as of the package")
    parser.add_argument("--halves", type=int, default=5, metavar="N", help="random halves (default: 5)")
    parser.add_argument("--shuffles", type=int, default=20, metavar="N", help="of each kind (default: 20)")
    parser.add_argument("--write", action="store_true", help="write lab/results/imagenetx.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as work:
            networks = load_networks(options.data, Path(work))
            tell("imagenetx", section(networks, options.metaclasses), write=options.write)
            if len(networks) > 1:
                tell("imagenetx-pairs", pairs_section(networks), write=options.write)
            tell("imagenetx-fresh", fresh_section(networks, options.halves), write=options.write)
            tell("imagenetx-shuffled", shuffled_section(networks, options.shuffles), write=options.write)
            names = [network.name for network in networks]
            tell("imagenetx-time", time_section(options.data, names, Path(work)), write=options.write)
    except SAFEError as error:
        print(f"imagenetx: {error}", file=sys.stderr)
        return 2
    return 0


def run_command(arguments: list[str]) -> None:
    """Run a command of SAFE in this process, and print its processor time in seconds and its peak memory in MB."""
    from safe_dnn.SAFE_Tool import main as run

    run(arguments)
    print(time.process_time(), peak_resident_mb())


if __name__ == "__main__":
    if sys.argv[1:2] == ["--command"]:
        run_command(sys.argv[2:])
    else:
        sys.exit(main())
