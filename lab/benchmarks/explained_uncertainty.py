"""How much uncertainty do RCCs explain beyond the class, are they steady, and are they causes?

    python -m lab.benchmarks.explained_uncertainty --data NAME=DIR ... [--model NAME=FILE ...] [--group NAME=COLUMN ...]
        --work DIR [--write]

A case is as of `lab.benchmarks.reasons`. Explained is the share of the entropy of right and wrong in one half of the
test set that rates of the other half explain, by the region in which an image lies, its class, or both
(`safe_dnn/rccs/dbscan/contrast.py`); with a group, no group is in both halves. Compared are

- RCCs by looks alone, as in the paper, and as SAFE chooses: by what sets failing images apart from right ones, if that
  explains much more (`looks` are in brackets if they were kept);
- K-means of the same looks;
- PlaneSpot and Domino (`lab/benchmarks/rivals/slices.py`), which learn from all images and their answers, and so are
  fitted to one half of them, and place the other half without its answers; both ways;
- the ceiling: a logistic regression on 64 principal components, the class, and their products.

*Steady* is the adjusted Rand index of the RCCs of all failing images and of nine tenths of them (mean of `LEFT_OUT`
parts). *More* are RCCs that are said to fail more often. *Causes* make up nine tenths of one of these, or more than
half of any RCC; *held* is the share of a cause's failing images that its best RCC of the latter kind has, averaged.
With --write, lab/results/explained_uncertainty.md is written. The rows of a case are kept in the work folder.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score

from lab.benchmarks.kept import kept, key_of, named_paths
from lab.benchmarks.reasons.cases import ReasonsCase, failing_images, images_beside, load_reasons_case
from lab.benchmarks.reasons.measures import causes_of_clusters
from lab.benchmarks.results import table, tell
from lab.benchmarks.rivals.slices import AnsweredSet, domino, plane_spot
from safe_dnn.cli.terminal import terminal_progress
from safe_dnn.clustering import find_root_cause_clusters
from safe_dnn.FE import ImageFeatures
from safe_dnn.features.extractor import comparable
from safe_dnn.features.vgg16 import choose_extractor
from safe_dnn.rccs.answers import CONFIDENCE
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.dbscan.contrast import HALVINGS, RightImages, uncertainty_coefficient
from safe_dnn.rccs.parameters import find_parameters, read_texts
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.rccs.spots.rates import failure_rates, nearest_failing, regions
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import prepare_folder
from safe_dnn.support.progress import report_progress

RIVALS = {"PlaneSpot": plane_spot, "Domino": domino}
WAYS = {"looks": "pca", "as SAFE chooses": "auto"}
K_MEANS = 12
SOURCES = (
    "clustering.py", "safe_dnn/rccs/dbscan/contrast.py", "safe_dnn/rccs/dbscan/projection.py",
    "lab/benchmarks/rivals/slices.py", "lab/benchmarks/explained_uncertainty.py",
)  # fmt: skip
LEFT_OUT = 3
COMPONENTS = 64
HEADER = (
    "case", "failing, right", "way", "RCCs", "largest", "in none", "RCCs tell", "class", "both", "beyond the class",
    "more", "causes, pure", "causes, mostly", "held", "steady",
)  # fmt: skip


class Compared(NamedTuple):
    """A case as it is clustered; `units` are those of no group in both halves, or None."""

    name: str
    case: ReasonsCase
    images: ImageFeatures
    right: RightImages
    units: np.ndarray | None

    @property
    def wrong(self) -> np.ndarray:
        """Failing images, then right ones."""
        return np.arange(len(self.right.names)) < len(self.images.paths)


def rows_of(compared: Compared) -> list[list[str]]:
    """The rows of the table for a case."""
    looks, chosen = rows_of_way(compared)
    clusters = find_root_cause_clusters(compared.images, right=compared.right, reducer=WAYS["looks"])
    points = _points(compared, clusters)
    n = len(points[0])
    k_means = KMeans(min(K_MEANS, n), n_init=5, random_state=0).fit(points[0]).labels_
    rows = [looks, _row(compared, f"K-means of looks, {K_MEANS}", k_means, *_near(k_means, *points), None)]
    for name in RIVALS:
        slices = _of_failing(placed_unseen(name, compared), n)
        rows.append(_row(compared, name, slices[:n], slices[:n], slices[n:], None))
    return [*rows, chosen, _ceiling(compared)]


def rows_of_way(compared: Compared) -> list[list[str]]:
    """A row for each way in which SAFE clusters."""
    rows = []
    for way, reducer in WAYS.items():
        clusters = find_root_cause_clusters(compared.images, right=compared.right, reducer=reducer)
        explained = clusters.beyond_class
        way += " (looks)" if reducer == "auto" and not (explained and explained.is_contrast) else ""
        placed = _near(clusters.labels, *_points(compared, clusters))
        rows.append(_row(compared, way, clusters.labels, *placed, _steady(compared, reducer)))
    return rows


def _near(labels: np.ndarray, failing: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In whose region failing and right images lie."""
    of_failing, of_right = (regions(nearest, labels) for nearest in nearest_failing(failing, right))
    return of_failing, of_right


def placed_unseen(rival: str, compared: Compared) -> np.ndarray:
    """The slice of each image, of those that were fitted to images of other units; failing images come first."""
    tested, units = set_for_rivals(compared), compared.right.units
    first = (np.random.default_rng(0).permutation(int(units.max()) + 1) % 2 == 0)[units]
    here, there = (RIVALS[rival](tested, ~half).of_unanswered for half in (first, ~first))
    return np.where(first, here, int(here.max()) + 1 + there)


def _of_failing(slices: np.ndarray, n_failing: int) -> np.ndarray:
    """Numbers from 0 of the slices that have a failing image, and -1 of all others; failing images come first."""
    known = np.unique(slices[:n_failing])
    return np.where(np.isin(slices, known), np.searchsorted(known, slices), -1)


def set_for_rivals(compared: Compared) -> AnsweredSet:
    """Failing images, then right ones. Of a regression, the answer is whether it is right."""
    case, order = compared.case, np.argsort(~compared.case.wrong, kind="stable")
    features = comparable(case.features[order], case.extractor.name)
    tested, classes = case.tested, compared.right.classes
    labels, predicted = np.zeros(len(order), int), compared.wrong.astype(int)
    if tested.answers.kind == CONFIDENCE:
        names = np.concatenate([classes, tested.answers.predicted[order]])
        labels, predicted = np.unique(names, return_inverse=True)[1].reshape(2, -1)
    probabilities = np.eye(int(max(labels.max(), predicted.max())) + 1)[predicted]
    if tested.probabilities is not None:
        place = {name: number for number, name in enumerate(tested.classes)}
        labels, probabilities = np.array([place[name] for name in classes.tolist()]), tested.probabilities[order]
    return AnsweredSet(features, labels, probabilities, compared.wrong)


def _points(compared: Compared, clusters: RootCauseClusters) -> tuple[np.ndarray, np.ndarray]:
    """Failing and right images in the space of clusters."""
    right, n = compared.right, len(compared.images.paths)
    return clusters.points, clusters.projection.apply(right.features, classes=right.classes[n:], names=right.names[n:])


def _steady(compared: Compared, reducer: str) -> float:
    """See the module's docstring."""
    n, rng = len(compared.images.paths), np.random.default_rng(0)

    def labels_of(rows: np.ndarray) -> np.ndarray:
        images = compared.images
        paths = tuple(images.paths[row] for row in rows)
        some = ImageFeatures(images.root, paths, images.features[rows], images.extractor, ())
        return find_root_cause_clusters(some, right=compared.right.beside(rows, n), reducer=reducer).labels

    everything = labels_of(np.arange(n))
    parts = [np.sort(rng.permutation(n)[: round(0.9 * n)]) for _ in range(LEFT_OUT)]
    return float(np.mean([adjusted_rand_score(everything[part], labels_of(part)) for part in parts]))


def _row(
    compared: Compared, way: str, labels: np.ndarray, of_failing: np.ndarray, of_right: np.ndarray, steady: float | None
) -> list[str]:
    of_class = np.unique(compared.right.classes, return_inverse=True)[1]
    of_region = np.concatenate([of_failing, of_right]) + 1
    both = np.unique(np.column_stack([of_region, of_class]), axis=0, return_inverse=True)[1].ravel()
    by_region = uncertainty_coefficient(of_region, compared.wrong, compared.units)
    by_class = uncertainty_coefficient(of_class, compared.wrong, compared.units)
    by_both = uncertainty_coefficient(both, compared.wrong, compared.units, of_class)
    groups = None if compared.units is None else Groups("group", compared.units)
    n_rccs = int(labels.max(initial=-1)) + 1
    rates = failure_rates(of_failing, of_right, n_rccs, labels=labels, groups=groups, classes=of_class)
    more = [rate.rcc for rate in rates if rate.verdict == "more"]
    causes = {name: has[compared.case.wrong] for name, has in compared.case.causes.items()}
    mostly_of = {
        name: [rcc for rcc in range(n_rccs) if has[labels == rcc].mean() > 0.5] for name, has in causes.items()
    }
    held = [
        max((has[labels == rcc].sum() / has.sum() for rcc in mostly_of[name]), default=0)
        for name, has in causes.items()
    ]
    of_causes = ["–"] * 3
    if causes:
        mostly = f"{np.count_nonzero(held)} of {len(causes)}"
        pure = f"{len(causes_of_clusters(labels, causes, more))} of {len(causes)}"
        of_causes = [pure, mostly, f"{np.mean(held):.2f}"]
    n = len(labels)
    largest = np.bincount(labels[labels >= 0], minlength=1).max() / n
    return [
        compared.name, f"{n:,}, {len(of_right):,}", way, f"{n_rccs}", f"{largest:.2f}", f"{np.mean(labels < 0):.2f}",
        *(f"{100 * share:.1f}" for share in (by_region, by_class, by_both, by_both - by_class)), f"{len(more)}",
        *of_causes, "–" if steady is None else f"{steady:.2f}",
    ]  # fmt: skip


def _ceiling(compared: Compared) -> list[str]:
    """The row of a logistic regression, by halves like those of `uncertainty_coefficient`."""
    features = np.concatenate([compared.images.features, compared.right.features])
    points = PCA(min(COMPONENTS, *features.shape), random_state=0).fit_transform(
        comparable(features, compared.images.extractor.name)
    )
    points /= points.std(axis=0).max()
    classes, of_class = np.unique(compared.right.classes, return_inverse=True)
    of_each = np.eye(len(classes))[of_class]
    products = [points * of_each[:, [one]] for one in range(len(classes))] if len(classes) <= COMPONENTS // 4 else []
    inputs = np.concatenate([points, of_each, *products], axis=1)
    wrong, units = compared.wrong, compared.units
    units = np.arange(len(wrong)) if units is None else units
    rng, shares = np.random.default_rng(0), []
    for _ in range(HALVINGS // 2):
        first = (rng.permutation(int(units.max()) + 1) % 2 == 0)[units]
        for here, there in ((first, ~first), (~first, first)):
            fitted = LogisticRegression(max_iter=1000).fit(inputs[here], wrong[here])
            chance = np.clip(fitted.predict_proba(inputs[there])[:, 1], 1e-4, 1 - 1e-4)
            base = np.full(len(chance), wrong[here].mean())
            losses = [-np.log(np.where(wrong[there], one, 1 - one)).mean() for one in (chance, base)]
            shares.append(1 - losses[0] / losses[1])
    by_class = uncertainty_coefficient(of_class, wrong, compared.units)
    both = float(np.mean(shares))
    figures = [f"{100 * share:.1f}" for share in (by_class, both, both - by_class)]
    return [compared.name, "", "ceiling", *["–"] * 4, *figures, *["–"] * 5]


def section_of(cases: Sequence[Compared], work: Path) -> str:
    """The section as Markdown; the rows of each case are kept in the folder `work`."""
    rows = []
    for place, compared in enumerate(cases):
        report_progress(f"Measuring {compared.name}", place, len(cases))
        key = key_of(compared.name, compared.case.tested.digest, *SOURCES)
        rows += kept(work / compared.name / "explained_uncertainty.json", key, partial(rows_of, compared))
    return (
        "## Explained uncertainty\n\nWritten by `python -m lab.benchmarks.explained_uncertainty`, which has the "
        "definitions: per cent of the entropy of right and wrong that regions and classes explain on held-out halves "
        "of the test set.\n\n"
        f"{table(HEADER, rows, texts=3)}\n"
    )


@terminal_progress()
def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="explained_uncertainty", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", nargs="+", metavar="NAME=DIR", required=True, help="folders of the cases")
    parser.add_argument("--model", nargs="+", metavar="NAME=FILE", default=[], help="DNNs; default: model.keras in DIR")
    parser.add_argument("--group", nargs="+", metavar="NAME=COLUMN", default=[], help="parameters that name groups")
    parser.add_argument("--work", metavar="DIR", required=True, help="folder for the DNNs' answers")
    parser.add_argument("--precision", metavar="NAME", default="auto", help="default: auto")
    parser.add_argument(
        "--write", action="store_true", help="write lab/results/explained_uncertainty.md instead of printing"
    )
    options = parser.parse_args(arguments)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    groups = dict(one.split("=", 1) for one in options.group)
    try:
        extractor = choose_extractor("vgg16-conv", precision=options.precision)
        models, cases = named_paths("--model", options.model), []
        for name, folder in named_paths("--data", options.data).items():
            own = prepare_folder(Path(options.work) / name)
            case = load_reasons_case(name, folder, own, extractor, model=models.get(name))
            units = _units(case, groups[name]) if name in groups else None
            right = images_beside(case, units)
            cases.append(Compared(name, case, failing_images(case), right, None if units is None else right.units))
        tell("explained_uncertainty", section_of(cases, Path(options.work)), write=options.write)
    except SAFEError as error:
        print(f"explained_uncertainty: {error}", file=sys.stderr)
        return 2
    return 0


def _units(case: ReasonsCase, column: str) -> np.ndarray:
    """The group of each image by a column of the test set's parameters."""
    source = find_parameters(case.tested.root)
    texts = read_texts(source, case.tested.root, case.tested.paths) if source else {}
    if column not in texts:
        raise SAFEError(f"--group must name a parameter of the test images. Received: {column}")
    return np.unique(texts[column], return_inverse=True)[1]


if __name__ == "__main__":
    sys.exit(main())
