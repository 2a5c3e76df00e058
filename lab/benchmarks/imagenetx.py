"""Does `reasons` name the factors that real networks fail by, and which published error ratios hold?

    python -m lab.benchmarks.imagenetx --data DIR [--halves N] [--shuffles N] [--write]

DIR holds `factors.csv`, what people said of validation images of ImageNet (image, and a column of yes and no for each
factor), and a CSV of the answers of each network (image, label, predicted). Both are made from ImageNet-X (Idrissi et
al., "ImageNet-X: Understanding Model Mistakes with Factor of Variation Annotations", ICLR 2023, CC BY-NC 4.0): the
package `imagenet-x` has the factors in `annotations/imagenet_x_val_multi_factor.jsonl`, the repository
`facebookresearch/imagenetx` the answers. No image is needed. With --write, lab/results/imagenetx.md is written.
"""

import argparse
import itertools
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lab.benchmarks.results import table, tell
from safe_dnn import api
from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.answers import LABEL, PREDICTED
from safe_dnn.rccs.spots.figures import chance_given_class, corrected, given_class
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots
from safe_dnn.reasons.known import Known, known_of, weak_spots_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.intervals import LEFT_OUT, clopper_pearson
from safe_dnn.training.certainty import NOT_SHOWN, certainties, count_pairs

FACTORS_FILE = "factors.csv"
YES = "yes"
LEAST_RATIO = 1.2  # of factors that should be named
LEAST_IMAGES = 90  # with them
SHUFFLED = 8_000  # images in each shuffle
LEAST_NEW = 20  # images of the other half under a condition; of fewer, the rate says little


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
        found = api.reasons(folder / f"{name}.csv", work / name, parameters=folder / FACTORS_FILE).value
        known = known_of(found.failures, parameters=folder / FACTORS_FILE)
        classes = np.unique(known.columns[LABEL], return_inverse=True)[1]
        networks.append(Network(name, found.failures, known, found.reasons.spots, classes))
    if any(other.tested.paths != networks[0].tested.paths for other in networks):
        raise SAFEError(f"Expected answers of each network to the same images. Received others in {folder}")
    return networks


def factors_of(network: Network) -> list[Factor]:
    """All factors, the highest ratio first, given the class."""
    wrong, classes, chances, rows = network.wrong, network.classes, [], list[Factor]()
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


def section(networks: Sequence[Network]) -> str:
    """The section of the results on factors."""
    lines = [
        "## Factors\n",
        f"`python -m lab.benchmarks.imagenetx`: {len(networks[0].tested.paths):,} validation images of ImageNet with "
        f"{len(networks[0].factors())} factors, by tables alone. *Ratio* is the error ratio as published: the error "
        "rate of the images with a factor over that of all. *Given the class* is the rate, with its 95 % interval, "
        "over the rate that the classes of these images alone would give; the *p* of being so far on its side of 1 "
        "is corrected for all factors (Holm). *Named* is the place in the list of `reasons`. Factors with a ratio of "
        f"{LEAST_RATIO} or more and at least {LEAST_IMAGES} images, which should be named, are bold.",
    ]
    for network in networks:
        factors, rows = factors_of(network), []
        for row in factors:
            ends = "–".join(f"{end / row.expected:.2f}" for end in (row.low, row.high))
            place = place_of(network, row.name)
            rows.append(
                (
                    f"**{row.name}**" if row.matters else row.name,
                    f"{row.images:,}",
                    f"{row.ratio:.2f}",
                    f"{row.rate:.1%} ({row.low:.1%}–{row.high:.1%})",
                    f"{row.rate / row.expected:.2f} ({ends})",
                    _chance(row.p),
                    "{}{}".format(*place) if place else "–",
                )
            )
        lines += [
            f"\n### {network.name}: {network.wrong.mean():.1%} are wrong\n",
            table(("factor", "images", "ratio", "rate", "given the class", "p", "named"), rows),
            f"\n{_summary(network, factors)}",
        ]
    return "\n".join(lines)


def _chance(p: float) -> str:
    return f"{p:.1g}" if p >= 1e-4 else "< .0001"


def _summary(network: Network, rows: Sequence[Factor]) -> str:
    matter = [row.name for row in rows if row.matters]
    named = [name for name in matter if is_named(network, name)]
    missing = ", ".join(sorted({*matter} - {*named}))
    further = [row.name for row in rows if not row.matters and is_named(network, row.name)]
    doubtful = [f"{row.name} ({row.ratio:.2f})" for row in rows if not row.holds]
    inside = sum(spot.class_rate is not None for spot in network.spots)
    return (
        f"{network.name}: {len(named)} of {len(matter)} factors that should be named are"
        + (f", not {missing}" if missing else "")
        + f", by {inside} of the {len(network.spots)} conditions; the others are about classes. Further factors named: "
        f"{', '.join(further) or 'none'}. Ratios that do not hold given the class, by p or interval: "
        f"{', '.join(doubtful) or 'none'}."
    )


def pairs_section(networks: Sequence[Network]) -> str:
    """The section of the results on what two networks differ in, by their answers to the same images."""
    lines = [
        "## Two networks\n",
        "How many points more of the images with a factor the second network gets right than the first, with the 95 % "
        "interval of answers to the same images (Tango) and what is beyond doubt after correction for all factors "
        "(McNemar, Holm), as `compare` has it.",
    ]
    for first, second in itertools.combinations(networks, 2):
        factors, gain = first.factors(), first.wrong.mean() - second.wrong.mean()
        right = first.tested.right, second.tested.right
        sure = certainties([count_pairs(*(each[holds] for each in right)) for holds in factors.values()])
        verdicts = dict(zip(factors, sure, strict=True))
        rows = [
            (
                name,
                f"{100 * each.gain:+.1f} ({100 * each.low:+.1f} to {100 * each.high:+.1f})",
                "–" if each.verdict == NOT_SHOWN else each.verdict.split()[0],
            )
            for name, each in verdicts.items()
        ]
        differ = [name for name, each in verdicts.items() if each.verdict != NOT_SHOWN]
        same = [name for name in factors if name not in differ]
        lines += [
            f"\n### {first.name} and {second.name}\n",
            table(("factor", "gain", "beyond doubt"), rows),
            f"\nOf all images, {second.name} gets {100 * gain:+.1f} points more right. They differ beyond doubt in "
            f"{', '.join(differ) or 'none'}, and not in {', '.join(same) or 'none'}.",
        ]
    return "\n".join(lines)


def fresh_section(networks: Sequence[Network], halves: int) -> str:
    """The section of the results on images that were not searched."""
    rows = []
    for network in networks:
        spots = [spot for run in range(halves) for spot in spots_on_fresh_images(network, run)]
        cells = [f"{np.mean(each):.1%}" for each in list(zip(*spots, strict=True))[:3]] if spots else ["–"] * 3
        held = [sum(getattr(spot, name) for spot in spots) for name in ("held", "held_with_both")]
        rows.append((network.name, len(spots), *cells, *held))
    return (
        "## Fresh images\n\n"
        f"Conditions are found in a random half of the images and counted in the other one, {halves} times. *Held* are "
        "conditions given the class whose 95 % interval for new images holds the rate in the other half; *both* would, "
        "were it of as many images as the difference of both rates is worth, since the other half's rate is uncertain "
        f"itself. Conditions with fewer than {LEAST_NEW} images there are left out.\n\n"
        + table(("network", "conditions", "seen", "expected", "fresh", "held", "both"), rows)
    )


class FreshSpot(NamedTuple):
    """The rate of a weak spot where it was found, as expected of new images, and in other images."""

    seen: float
    expected: float
    fresh: float
    held: bool
    held_with_both: bool


def spots_on_fresh_images(network: Network, run: int) -> list[FreshSpot]:
    """The weak spots given the class in a half of the images, with enough images in the other one.

    The halves of two runs, an even one and the next, are those of one permutation.
    """
    n, columns = len(network.wrong), network.known.columns
    order = np.argsort(np.random.default_rng(run // 2).permutation(n), kind="stable")
    searched = np.zeros(n, bool)
    searched[order[run % 2 * (n // 2) :][: n // 2]] = True
    known = network.known._replace(columns={name: column[searched] for name, column in columns.items()})
    spots = []
    for spot in weak_spots_of(network.tested.taken(searched), known):
        holds = spot.holds(columns)
        fresh = network.wrong[holds & ~searched]
        if len(fresh) < LEAST_NEW or {LABEL, PREDICTED} & {one.column for one in spot.literals}:
            continue
        expected, rate = spot.new_rate or spot.figures.rate, float(fresh.mean())
        both = 1 / (1 / np.count_nonzero(holds & searched) + 1 / len(fresh))
        low, high = clopper_pearson(np.array([expected, spot.figures.rate]) * both, np.full(2, both))
        held = spot.figures.low <= rate <= spot.figures.high
        spots.append(FreshSpot(spot.figures.rate, expected, rate, held, bool(low[0] <= rate <= high[1])))
    return spots


def shuffled_section(networks: Sequence[Network], shuffles: int) -> str:
    """The section of the results on what is found where nothing is."""
    rows = [
        (network.name, *np.sum([_shuffled(network, seed) for seed in range(shuffles)], axis=0)) for network in networks
    ]
    return (
        f"## Shuffled\n\nIn how many of {shuffles} shuffles of a random {SHUFFLED:,} images a condition is named: "
        "right and wrong dealt out among all images, or among those of each class (conditions given the class), or the "
        "factors that no condition is about dealt out among all images (conditions on them alone).\n\n"
        + table(("network", "all", "in each class", "factors"), rows)
    )


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
        spots = find_weak_spots(known, failing, label=LABEL)
        about = [s for s in spots if {one.column for one in s.literals} <= names]
        found.append(any(not number or s.class_rate is not None for s in about))
    return found


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.imagenetx")
    parser.add_argument("--data", type=Path, metavar="DIR", required=True, help="the folder of the tables")
    parser.add_argument("--halves", type=int, default=5, metavar="N", help="random halves (default: 5)")
    parser.add_argument("--shuffles", type=int, default=20, metavar="N", help="of each kind (default: 20)")
    parser.add_argument("--write", action="store_true", help="write lab/results/imagenetx.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory() as work:
            networks = load_networks(options.data, Path(work))
            tell("imagenetx", section(networks), write=options.write)
            if len(networks) > 1:
                tell("imagenetx-pairs", pairs_section(networks), write=options.write)
            tell("imagenetx-fresh", fresh_section(networks, options.halves), write=options.write)
            tell("imagenetx-shuffled", shuffled_section(networks, options.shuffles), write=options.write)
    except SAFEError as error:
        print(f"imagenetx: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
