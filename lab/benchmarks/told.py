"""What do RCCs tell of right and wrong that the class does not tell?

    python -m lab.benchmarks.told --analysis NAME=DIR ... [--write]

DIR is an analysis whose RCCs were compared with the images that the DNN gets right. Measured is the share of the
entropy of right and wrong that is known once one knows in whose region an image lies (that of the nearest failing
image, itself left out), its class, or both: rates are those of one half of the test set, drawn to the rate of all (of
both: to that of the class) as if by `DRAWN` images, and looked at in the other; the mean of `HALVINGS` halvings, in
both directions. With groups, no group is in both halves. Below zero, what is seen in one half misleads in the other.

Beside the RCCs stand K-means clusters of the same points, and of these points with one further axis: how far each
failing image lies in the direction in which failing images differ from right ones of their class, as SAFE finds it in
folds (see `reasons/order.py`), in standard deviations, times a weight. With --write, a section of lab/results/told.md
is written.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from sklearn.cluster import KMeans

from lab.benchmarks.results import tell
from safe_dnn.rccs.review.review import load_review
from safe_dnn.reasons.comparison import Comparison, load_reasons
from safe_dnn.support.errors import SAFEError

HALVINGS = 10
DRAWN = 4  # images
NUMBERS = (8, 12)  # of K-means clusters
WEIGHTS = (0.5, 1.0, 2.0)  # of the direction, where the points' root mean square is 1


def share_told(
    cells: np.ndarray, wrong: np.ndarray, groups: np.ndarray | None = None, within: np.ndarray | None = None
) -> float:
    """The share of the entropy of right and wrong in one half that rates of cells in the other half tell.

    Parameters
    ----------
    cells : ndarray of shape (n_images,), int
        From 0.
    wrong : ndarray of shape (n_images,), bool
    groups : ndarray of shape (n_images,), int, optional
        From 0; no group is in both halves.
    within : ndarray of shape (n_images,), int, optional
        From 0: coarser cells, to whose rate that of each cell is drawn.
    """
    units = np.arange(len(wrong)) if groups is None else groups
    rng, shares = np.random.default_rng(0), list[float]()
    for _ in range(HALVINGS):
        first = (rng.permutation(int(units.max()) + 1) % 2 == 0)[units]
        for here, there in ((first, ~first), (~first, first)):
            base = np.full(len(wrong), wrong[here].mean())
            drawn_to = base if within is None else _rates(within, wrong, here, base)
            entropy = _loss(base, wrong, there)
            if entropy > 0:
                shares.append(1 - _loss(_rates(cells, wrong, here, drawn_to), wrong, there) / entropy)
    return float(np.mean(shares)) if shares else 0.0


def _rates(cells: np.ndarray, wrong: np.ndarray, here: np.ndarray, drawn_to: np.ndarray) -> np.ndarray:
    """The rate of each image's cell, counted in a part of the images."""
    n = int(cells.max()) + 1
    tested, failing = (np.bincount(cells[rows], minlength=n)[cells] for rows in (here, here & wrong))
    return (failing + DRAWN * drawn_to) / (tested + DRAWN)


def _loss(rates: np.ndarray, wrong: np.ndarray, there: np.ndarray) -> float:
    """The mean surprise, in nats, at what is right and wrong in a part of the images."""
    with np.errstate(divide="ignore"):
        return float(-np.log(np.where(wrong, rates, 1 - rates)[there]).mean())


def rows_of(name: str, folder: Path) -> Iterator[list[str]]:
    """The rows of the table for an analysis; SAFEError if its RCCs were not compared with right images."""
    review = load_review(folder)
    clusters, found = review.clusters, load_reasons(folder, review.original).comparison
    if found is None:
        raise SAFEError(f"Expected RCCs that were compared with images that are right. Received: {folder}")
    points = np.asarray(clusters.points, float)
    points /= np.sqrt((points**2).sum(axis=1).mean())
    yield _row(name, "RCCs", clusters.labels, found)
    for number in NUMBERS:
        yield _row(name, f"K-means, {number}", _k_means(points, number), found)
    if found.places is None:
        return
    direction = np.zeros(len(points))
    direction[found.failing] = (found.places - found.places.mean()) / found.places.std()
    for weight in WEIGHTS:
        for number in NUMBERS:
            labels = _k_means(np.column_stack([points, weight * direction]), number)
            yield _row(name, f"K-means, {number}, with {weight:g} × the direction", labels, found)


def _k_means(points: np.ndarray, number: int) -> np.ndarray:
    return KMeans(min(number, len(points)), n_init=5, random_state=0).fit(points).labels_


def _row(name: str, method: str, labels: np.ndarray, found: Comparison) -> list[str]:
    nearest = np.concatenate([found.of_failing, found.of_right])
    wrong = np.arange(len(nearest)) < len(found.of_failing)
    regions = labels[nearest] - labels.min()
    classes = np.zeros(len(wrong), int) if found.classes is None else np.unique(found.classes, return_inverse=True)[1]
    both = np.unique(np.column_stack([regions, classes]), axis=0, return_inverse=True)[1].ravel()
    cells = (regions, None), (classes, None), (both, classes)
    figures = []
    for groups in (None, found.groups.of if found.groups else None):
        figures += [f"{share_told(one, wrong, groups, within):.1%}" for one, within in cells]
    named = labels[labels >= 0]
    largest = np.bincount(named).max(initial=0) / len(labels)
    return [name, method, *(figures if found.groups else [*figures[:3], *"–––"]), f"{largest:.0%}"]


def told_section(analyses: dict[str, Path]) -> str:
    """The section as Markdown."""
    of = ("RCC regions", "class", "both")
    header = ["case", "clusters", *of, *(f"{one}, halves by group" for one in of), "largest"]
    rows = [row for name, folder in analyses.items() for row in rows_of(name, folder)]
    lines = [header, ["---", "---", *["---:"] * (len(header) - 2)], *rows]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        "## What clusters tell of right and wrong\n\nWritten by `python -m lab.benchmarks.told`, which "
        "has the definitions: the share of the entropy of right and wrong that regions and classes tell of unseen "
        f"halves of the test set.\n\n{table}\n"
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="told", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--analysis", nargs="+", required=True, metavar="NAME=DIR", help="analyses of the cases")
    parser.add_argument("--write", action="store_true", help="write lab/results/told.md instead of printing")
    options = parser.parse_args(arguments)
    try:
        given = (one.partition("=") for one in options.analysis)
        tell("told", told_section({name: Path(folder) for name, _, folder in given}), write=options.write)
    except SAFEError as error:
        print(f"told: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
