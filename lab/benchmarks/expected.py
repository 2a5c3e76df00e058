"""Is the rate that is expected without a reason right, where it is known by construction?

    python -m lab.benchmarks.expected [--tables N] [--write]

Tables of causes that overlap are drawn: each fails by itself, whatever else holds (noisy or), and causes go together by
a common factor. Images are of 1 to 50 classes with rates of their own and, in some tables, of groups. Thus it is known
how often the images of each cause would be wrong without it. This is compared with what SAFE expects

- given the true causes: how far it is off, and how often its 95 % interval holds the truth;
- for the conditions that SAFE finds itself, from numbers and categories: how far it is off, how many causes are listed
  without a clause of another one, and how many conditions name none;
- with right and wrong shuffled among all images, within classes, or by group: how often anything is listed.

Along a number, failing begins or ends gradually, as a logistic curve. A limit is right if the curve there is between a
quarter and three quarters of its height. With --write, lab/results/expected.md is written.
"""

import argparse
import math
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lab.benchmarks.results import table, tell
from safe_dnn.rccs.spots.expected import FailureModel
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.rccs.spots.weak_spots import WeakSpot, find_weak_spots

KINDS: dict[str, dict[str, int]] = {
    "1 class": {"classes": 1},
    "5 classes": {"classes": 5},
    "50 classes": {"classes": 50},
    "5 classes, 40 groups": {"classes": 5, "groups": 40},
    "10 classes, 5 causes": {"classes": 10, "causes": 5},
}
IMAGES = 4000
CURVED = (300, 500, 1000, 2000, 5000)  # images of a logistic curve
ALIKE = 0.7  # of the images of a cause and of a condition together, that both hold: the condition names the cause


class Drawn(NamedTuple):
    """A table with known causes.

    Attributes
    ----------
    columns : dict of str to ndarray of shape (n_images,)
        The class, numbers, and categories; the first ones are about a cause each, in their order.
    holds : ndarray of shape (n_causes, n_images), bool
    wrong : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int
    groups : ndarray of shape (n_images,), int, or None
    without : ndarray of shape (n_causes, n_images), float64
        The probability of a wrong answer without each cause.
    """

    columns: dict[str, np.ndarray]
    holds: np.ndarray
    wrong: np.ndarray
    classes: np.ndarray
    groups: np.ndarray | None
    without: np.ndarray

    @property
    def expected(self) -> np.ndarray:
        """The rate of each cause's images without it."""
        return np.array([chance[holds].mean() for chance, holds in zip(self.without, self.holds, strict=True)])

    def causes_of(self, spot: WeakSpot) -> list[int]:
        """The causes that the columns of a condition are about."""
        names = [*self.columns][: len(self.holds)]
        return [names.index(one.column) for one in spot.literals if one.column in names]


def drawn(seed: int, *, classes: int = 5, groups: int = 0, causes: int = 3, images: int = IMAGES) -> Drawn:
    """Draw a table of causes that overlap."""
    rng = np.random.default_rng(seed)
    of_class, factor = rng.integers(classes, size=images), rng.normal(size=images)
    right = 1 - rng.uniform(0.02, 0.2, size=classes)[of_class]
    of_group = rng.integers(groups, size=images) if groups else None
    if of_group is not None:
        right *= 1 - 0.5 * rng.beta(0.5, 4.5, size=groups)[of_group]
    columns, holds, kept = {}, np.zeros((causes, images), bool), np.ones((causes, images))
    for cause in range(causes):
        strength = factor + rng.normal(size=images)
        limit = np.quantile(strength, rng.uniform(0.6, 0.9))
        holds[cause] = strength >= limit
        kept[cause] = np.where(holds[cause], 1 - rng.uniform(0.3, 0.8), 1)
        grades = np.searchsorted(np.quantile(strength, [0.2, 0.4]), strength)
        named = np.where(holds[cause], "strong", np.array(["none", "weak", "some"])[grades])
        columns[f"cause_{cause}"] = named if cause % 3 == 2 else strength
    columns |= {f"other_{i}": factor + rng.normal(size=images) for i in range(3)}
    columns |= {"site": rng.choice(["north", "south", "west"], images)}
    wrong = rng.random(images) >= right * kept.prod(axis=0)
    without = 1 - right * kept.prod(axis=0) / kept
    columns["label"] = np.char.add("class_", of_class.astype(str))
    return Drawn(columns, holds, wrong, of_class, of_group, without)


class Given(NamedTuple):
    """What is expected given the true causes: by how much it is off, and whether its interval holds the truth."""

    errors: np.ndarray
    held: np.ndarray


def given_causes(tables: Sequence[Drawn]) -> Given:
    """The expected rate of each true cause, against the truth."""
    errors, held = list[float](), list[bool]()
    for one in tables:
        model = FailureModel(one.holds, one.wrong, one.classes if one.classes.any() else None, one.groups)
        for cause, truth in enumerate(one.expected):
            expected = model.expected(one.holds[cause], [cause])
            low, high = expected.limits()
            errors.append(abs(expected.rate - truth))
            held.append(bool(low <= truth <= high))
    return Given(np.array(errors), np.array(held))


class Found(NamedTuple):
    """What SAFE lists by itself: by how much it is off, how many causes stand alone, and conditions that name none."""

    errors: list[float]
    alone: int
    mixed: int
    causes: int
    false: int


def found_causes(one: Drawn) -> Found:
    """The conditions found in a table, against its causes."""
    listed = [spot for spot in search(one, one.wrong) if not spot.may_be_chance]
    errors, alone, mixed, false = list[float](), set[int](), set[int](), 0
    for spot in listed:
        named, images = one.causes_of(spot), spot.holds(one.columns)
        if not named:
            false += any(literal.column != "label" for literal in spot.literals)
            continue
        if len(named) == 1 and len(spot.literals) == 1:
            both = np.count_nonzero(images & one.holds[named[0]])
            if both >= ALIKE * np.count_nonzero(images | one.holds[named[0]]):
                alone.add(named[0])
            errors.append(abs(spot.figures.expected - float(one.without[named[0]][images].mean())))
        elif len(named) > 1:
            mixed.update(named)
    return Found(errors, len(alone), len(mixed - alone), len(one.holds), false)


def search(one: Drawn, wrong: np.ndarray) -> list[WeakSpot]:
    """The conditions that SAFE finds in a table."""
    groups = None if one.groups is None else Groups("person", one.groups)
    return find_weak_spots(one.columns, wrong, label="label", groups=groups)


def shuffled(one: Drawn, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Right and wrong dealt out at random, among all images, within classes, and group by group."""
    of_class = rng.permutation(len(one.wrong))
    within = one.wrong[of_class[np.argsort(one.classes[of_class], kind="stable")]]
    dealt = {"among all": rng.permutation(one.wrong), "within classes": np.empty(len(one.wrong), bool)}
    dealt["within classes"][np.argsort(one.classes, kind="stable")] = within
    if one.groups is not None:  # each group has the rate of another one
        rates = np.bincount(one.groups, one.wrong) / np.maximum(np.bincount(one.groups), 1)
        dealt["by group"] = rng.random(len(one.wrong)) < rng.permutation(rates)[one.groups]
    return dealt


# --- Limits -------------------------------------------------------------------------------------------------------


def curve(seed: int, images: int) -> tuple[np.ndarray, np.ndarray, float, float]:
    """A number with a failure rate that falls as a logistic curve: values, wrong, and where it is at 3/4 and 1/4."""
    rng = np.random.default_rng(seed)
    values = rng.uniform(0, 100, images)
    bend, width = rng.uniform(20, 60), rng.uniform(2, 10)
    low, high = rng.uniform(0.03, 0.15), rng.uniform(0.6, 0.95)
    rates = low + (high - low) / (1 + np.exp((values - bend) / width))
    return values, rng.random(images) < rates, bend - math.log(3) * width, bend + math.log(3) * width


def is_at_bend(seed: int, images: int) -> bool:
    """Whether the first condition's limit lies between three quarters and a quarter of the height of the curve."""
    values, wrong, first, last = curve(seed, images)
    spots = find_weak_spots({"level": values}, wrong)
    if not spots or spots[0].literals[0].sign != "<":
        return False
    limit = spots[0].literals[0].value
    return isinstance(limit, float) and first <= limit <= last


# --- The page -----------------------------------------------------------------------------------------------------


def share(values: Sequence[bool] | np.ndarray) -> str:
    """For example `95.3 %`."""
    return f"{100 * float(np.mean(values)):.1f} %"


def page(n_tables: int, progress: Callable[[str], None]) -> str:
    """The figures as a page in Markdown."""
    known, found, chance = list[tuple[object, ...]](), list[tuple[object, ...]](), list[tuple[object, ...]]()
    rng = np.random.default_rng(0)
    for name, kind in KINDS.items():
        progress(name)
        tables = [drawn(seed, **kind) for seed in range(n_tables)]
        given = given_causes(tables)
        errors = 100 * given.errors
        known.append((name, f"{errors.mean():.2f}", f"{np.quantile(errors, 0.95):.1f}", share(given.held)))
        each = [found_causes(one) for one in tables]
        off = 100 * np.concatenate([one.errors for one in each])
        causes = sum(one.causes for one in each)
        counts = (f"{sum(getattr(one, what) for one in each)} of {causes}" for what in ("alone", "mixed"))
        found.append((name, f"{off.mean():.2f}", *counts, sum(one.false for one in each)))
        listed = [(how, search(one, wrong)) for one in tables[:20] for how, wrong in shuffled(one, rng).items()]
        named = [any(not spot.may_be_chance for spot in spots) for _, spots in listed]
        chance.append((name, f"{sum(named)} of {len(named)}"))
    progress("curves")
    bends = [(n, share([is_at_bend(seed, n) for seed in range(10 * len(CURVED))])) for n in CURVED]
    return "\n\n".join(_sections(n_tables, known, found, chance, bends))


def _sections(n_tables: int, *tables: Sequence[Sequence[object]]) -> Iterator[str]:
    known, found, chance, bends = tables
    yield "## The rate that is expected without a reason"
    yield (
        f"`python -m lab.benchmarks.expected`: {n_tables} drawn tables of each kind, of {IMAGES:,} images and three "
        "causes that overlap. Errors are in points."
    )
    yield table(("given the true causes", "mean error", "95 % within", "interval holds"), known)
    yield table(("found by SAFE", "mean error", "causes alone", "with another's clause", "false"), found)
    yield "With right and wrong shuffled, so many searches list a reason:"
    yield table(("", "with a reason"), chance)
    yield "Along a logistic curve, so many limits lie at its bend:"
    yield table(("images", "at the bend"), bends)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print or write the page."""
    parser = argparse.ArgumentParser(prog="python -m lab.benchmarks.expected", description=__doc__.split("\n")[0])
    parser.add_argument("--tables", type=int, default=40, metavar="N", help="of each kind (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="write lab/results/expected.md instead of printing")
    options = parser.parse_args(arguments)
    tell("expected", page(options.tables, lambda text: print(text, file=sys.stderr)), write=options.write)
    return 0


if __name__ == "__main__":
    sys.exit(main())
