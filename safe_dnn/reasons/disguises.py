"""The answer under another name: columns that explain right and wrong so well that they can hardly be a cause.

A table of parameters may hold the network's answer itself: a copy, its loss or score, "a->b", a flag of an earlier
evaluation. As a condition it would be the only reason, and hide all true ones. Such a column is recognized by its
content, not by its name: together with the class it explains more than half of the uncertainty of right and wrong that
the class leaves, on unseen halves of the test set. On eight real test sets no true column explains much more than a
quarter, and most disguises explain two thirds or more.
"""

from collections.abc import Mapping

import numpy as np

from safe_dnn.rccs.dbscan.contrast import uncertainty_coefficient
from safe_dnn.rccs.spots.conditions import parts_of
from safe_dnn.rccs.spots.figures import Groups

PARTS = 24  # of equally many images, into which a number is cut
MOST_EXPLAINED = 0.5  # of the uncertainty that the class leaves
MOST_IMAGES = 10_000  # of more, a random part says as much


def disguised(
    columns: Mapping[str, np.ndarray], wrong: np.ndarray, *, classes: np.ndarray | None = None,
    groups: Groups | None = None,
) -> dict[str, float]:  # fmt: skip
    """Columns that may be the answer under another name, with the share of the uncertainty that each explains.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        Texts, empty if unknown, or numbers, NaN if unknown; the class is none of them.
    wrong : ndarray of shape (n_images,), bool
    classes : ndarray of shape (n_images,), int, optional
    groups : Groups, optional
        None is in both halves.
    """
    rows = np.sort(np.random.default_rng(0).permutation(len(wrong))[:MOST_IMAGES])
    wrong = wrong[rows]
    of_class = np.zeros(len(rows), int) if classes is None else np.unique(classes[rows], return_inverse=True)[1]
    units = groups.taken(rows).of if groups else None
    by_class = uncertainty_coefficient(of_class, wrong, units)
    found = {}
    for name, column in columns.items():
        parts = parts_of(column[rows], PARTS)
        if 1 < int(parts.max(initial=0)) + 1 <= len(wrong) / 2:
            both = np.unique(of_class * (int(parts.max()) + 1) + parts, return_inverse=True)[1]
            explained = (uncertainty_coefficient(both, wrong, units, of_class) - by_class) / max(1 - by_class, 1e-9)
            if explained > MOST_EXPLAINED:
                found[name] = float(explained)
    return found
