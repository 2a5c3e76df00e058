"""The images that rates are counted from, as a table, so that anybody can count again without SAFE.

A row for each tested or fresh image. `labels.txt` has the RCC of its `nearest` failing image, in whose region it lies
(empty if it lies in none); with all that is known of it, the conditions of weak spots can be checked.
"""

from collections.abc import Sequence

import numpy as np

from safe_dnn.dnn.tested import AnsweredImages
from safe_dnn.rccs.spots.groups import Groups
from safe_dnn.reasons.comparison import Known
from safe_dnn.support.tables import table_text

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
