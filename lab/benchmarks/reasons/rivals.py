"""Other ways to conditions under which a DNN fails: a decision tree, SliceLine, and pysubgroup.

All get the columns of the weak spots without the predicted class: with it and the true class they would only find out
which images are wrong, which they cannot be told not to.
"""

import itertools
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lab.benchmarks.reasons.measures import Condition
from safe_dnn.rccs.spots.conditions import LEAST_TESTED
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.intervals import clopper_pearson

DEPTH = 3  # of the tree: as many conditions as a weak spot may have
PARTS = 10  # into which SliceLine's numbers are cut
SCRIPTS = {  # by the package that they need
    "sliceline": Path(__file__).with_name("slices.py"),
    "pysubgroup": Path(__file__).with_name("subgroups.py"),
}


def tree_conditions(
    columns: Mapping[str, np.ndarray], wrong: np.ndarray, rows: np.ndarray, *, depth: int = DEPTH
) -> list[Condition]:
    """The leaves of a decision tree that fail more often, the one with the most failures above the base rate first.

    A leaf counts if the 95 % interval of its rate lies above the base rate, without correction.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
    wrong : ndarray of shape (n_images,), bool
    rows : ndarray of int
        The images that the tree is fitted to.
    """
    from sklearn.tree import DecisionTreeClassifier

    matrix, meaning = _one_hot(columns)
    model = DecisionTreeClassifier(max_depth=depth, min_samples_leaf=LEAST_TESTED, random_state=0)
    leaves = model.fit(matrix[rows], wrong[rows]).apply(matrix)
    base = wrong[rows].mean()
    found = []
    for leaf in np.unique(leaves[rows]).tolist():
        here = wrong[rows][leaves[rows] == leaf]
        low, _ = clopper_pearson(np.array([here.sum()]), np.array([len(here)]))
        if low[0] > base:
            literals = _path(model.tree_, leaf, meaning)
            where = " and ".join(text for text, _ in literals)
            condition = Condition(where, frozenset(column for _, column in literals), leaves == leaf)
            found.append((here.sum() - base * len(here), condition))
    return [condition for _, condition in sorted(found, key=lambda pair: -pair[0])]


def _one_hot(columns: Mapping[str, np.ndarray]) -> tuple[np.ndarray, list[tuple[str, str]]]:
    """Numbers as they are, and zeros and ones for each value of a category; with the column and value of each."""
    parts, meaning = [], []
    for name, column in columns.items():
        if column.dtype.kind in "fiub":
            parts.append(column.astype(np.float64))
            meaning.append((name, ""))
            continue
        for value in np.unique(column[column != ""]).tolist():
            if np.count_nonzero(column == value) >= LEAST_TESTED:
                parts.append((column == value).astype(np.float64))
                meaning.append((name, str(value)))
    return np.column_stack(parts), meaning


def _path(tree, leaf: int, meaning: list[tuple[str, str]]) -> list[tuple[str, str]]:  # type: ignore[no-untyped-def]
    """What must hold on the way from the root of scikit-learn's tree to a leaf: text and column of each split."""
    above = {int(child): node for node in range(tree.node_count) for child in _children(tree, node) if child >= 0}
    literals: list[tuple[str, str]] = []
    while leaf in above:
        node = above[leaf]
        column, value = meaning[tree.feature[node]]
        left = int(tree.children_left[node]) == leaf
        sign = ("!=" if left else "=") if value else ("<=" if left else ">")
        literals.insert(0, (f"{column} {sign} {value or format(tree.threshold[node], '.4g')}", column))
        leaf = node
    return literals


def _children(tree, node: int) -> tuple[int, int]:  # type: ignore[no-untyped-def]
    return int(tree.children_left[node]), int(tree.children_right[node])


def slice_conditions(
    columns: Mapping[str, np.ndarray],
    wrong: np.ndarray,
    rows: np.ndarray,
    *,
    python: Path,
    package: str = "sliceline",
    most_literals: int | None = None,
) -> list[Condition]:
    """The slices of SliceLine, or the subgroups of pysubgroup, in its order; the scripts have their settings.

    Parameters
    ----------
    columns, wrong, rows
        As for `tree_conditions`.
    python : path
        A Python that has the package.
    package : "sliceline" or "pysubgroup"
    most_literals : int, optional
        Of a slice; by default as many as in the script.

    Raises
    ------
    SAFEError
        It does not run.
    """
    coded = {name: _codes(name, column) for name, column in columns.items()}
    coded = {name: pair for name, pair in coded.items() if len(np.unique(pair[0])) > 1}  # else each slice is repeated
    codes = np.column_stack([code for code, _ in coded.values()])
    with tempfile.TemporaryDirectory() as folder:
        search, slices = Path(folder, "search.npz"), Path(folder, "slices.json")
        np.savez(search, codes=codes[rows], wrong=wrong[rows])
        command: list[str | Path] = [
            python,
            SCRIPTS[package],
            search,
            slices,
            *([str(most_literals)] if most_literals else []),
        ]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise SAFEError(
                f"Expected a Python with the package {package}. Received {python}, which says: {run.stderr[-300:]}"
            )
        found = json.loads(slices.read_text(encoding="utf-8"))
    conditions = []
    for one in found:
        chosen = [(name, code) for name, code in zip(coded, one, strict=True) if code is not None]
        holds = np.logical_and.reduce([coded[name][0] == code for name, code in chosen])
        where = " and ".join(coded[name][1][code] for name, code in chosen)
        conditions.append(Condition(where, frozenset(name for name, _ in chosen), holds))
    return conditions


def _codes(name: str, column: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """A code for each value of a category, or for each tenth of a number; and each code in words. 0 is unknown."""
    if column.dtype.kind not in "fiub":
        values, codes = np.unique(np.append(column, ""), return_inverse=True)  # "" comes first, also if all are known
        return codes[:-1], [f"{name} unknown", *(f"{name} = {value}" for value in values[1:])]
    known = np.isfinite(column)
    cuts = np.unique(np.quantile(column[known], np.arange(1, PARTS) / PARTS)) if known.any() else np.zeros(0)
    codes = np.where(known, np.searchsorted(cuts, column, side="right") + 1, 0)
    ends = ["the lowest", *(f"{cut:.4g}" for cut in cuts), "the highest"]
    pairs = itertools.pairwise(ends)
    return codes, [f"{name} unknown", *(f"{name} from {low} to {high}" for low, high in pairs)]
