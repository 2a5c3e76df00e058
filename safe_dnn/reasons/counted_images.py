"""The images that rates are counted from, as a table, so that anybody can count again without SAFE.

A row for each tested or fresh image. `labels.txt` has the RCC of its `nearest` failing image, in whose region it lies
(empty if it lies in none); with all that is known of it, the conditions of weak spots can be checked.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.clusters import run_record
from safe_dnn.rccs.spots.figures import Groups
from safe_dnn.reasons.known import Known
from safe_dnn.store.runs import COMPARISON, present_runs, reading_file
from safe_dnn.support.tables import read_table, table_text

TESTED_FILE = "tested_images.csv"
FRESH_FILE = "fresh_images.csv"


def counted_text(
    images: AnsweredImages, known: Known, failing: Sequence[str], nearest: np.ndarray, groups: Groups | None
) -> str:
    """The table of images.

    Parameters
    ----------
    failing : sequence of str
        Paths of the clustered images.
    nearest : ndarray of shape (n_images,), int
        The nearest of them to each image, itself left out; −1 if the image lies in no region, or was not compared.
    groups : Groups, optional
        Numbered as they are counted; the same number is the same group.
    """
    columns: dict[str, Sequence[object]] = {
        "image": images.paths,
        "wrong": (~images.right).astype(int).tolist(),
        "group": groups.of.tolist() if groups else [""] * len(images.paths),
        "nearest": [failing[row] if row >= 0 else "" for row in nearest.tolist()],
    }
    columns |= {name: known.columns[name].tolist() for name in sorted(known.columns.keys() - columns)}
    return table_text(columns, zip(*columns.values(), strict=True))


def is_tested(folder: Path, root: Path) -> bool:
    """Whether a folder is that of the test images that an analysis was made with."""
    tested = run_record(folder).get("predictions", {}).get("tested")
    return tested is not None and Path(tested).resolve() == root.resolve()


def nearest_to_tested(folder: Path, root: Path) -> dict[str, str]:
    """The tested images of an analysis, each with the failing image in whose region it lies, empty if in none.

    Parameters
    ----------
    root : Path
        A folder of test images; nothing is known of another one's.
    """
    run = present_runs(folder).get(COMPARISON)
    if run is None or TESTED_FILE not in run.files or not is_tested(folder, root):
        return {}
    with reading_file(run, TESTED_FILE) as file:
        table = read_table(file, "images that were compared", own=True)
    return dict(zip(table.texts("image"), table.texts("nearest"), strict=True))
