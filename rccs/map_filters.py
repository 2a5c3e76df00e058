"""Step 2 of SAFE, what the map can be filtered by: a histogram of each parameter of the failing images.

Parameters in; for each, the bin of every image out, a byte, so that the page has all of them at once and counts them
itself whenever a bin is chosen. The page's script is `page/clusters/map_filters.js`.
"""

from collections.abc import Mapping

import numpy as np

from rccs.image_map import commonest_first, packed
from support.text import printable

BINS = 16  # of a number
MOST_CATEGORIES = 60  # the others, which are rarer, share a bar
MOST_FILTERS = 40  # 20,000 images with as many are 1 MB
UNKNOWN = 255


def map_filters(columns: Mapping[str, np.ndarray]) -> list[dict]:
    """Histograms of parameters, for JSON.

    Parameters
    ----------
    columns : mapping of str to ndarray of shape (n_images,)
        Of `rccs.parameters.Parameters`. A parameter that is the same for all images, or unknown, is left out, and so
        are those after the first `MOST_FILTERS`.

    Returns
    -------
    list of dict
        `name`; `kind` ("number" or "category"); `bins`, the bin of each image, `packed` as uint8, `UNKNOWN` if there
        is none; for a category `names`, the bins as text, the commonest first; for a number `low` and `high`, the ends
        of each bin as text.
    """
    found = []
    for name, column in columns.items():
        one = _category(column) if column.dtype.kind == "U" else _number(column)
        if one is not None:
            found.append({"name": printable(name), **one})
    return found[:MOST_FILTERS]


def _category(column: np.ndarray) -> dict | None:
    names = commonest_first(column)
    if len(names) < 2:
        return None
    shown = names if len(names) <= MOST_CATEGORIES + 1 else names[:MOST_CATEGORIES]
    place = {text: min(i, len(shown)) for i, text in enumerate(names)} | {"": UNKNOWN}
    others = [] if len(shown) == len(names) else [f"{len(names) - len(shown):,} others"]
    bins = np.array([place[text] for text in column.tolist()], np.uint8)
    return {"kind": "category", "bins": packed(bins), "names": [*map(printable, shown), *others]}


def _number(column: np.ndarray) -> dict | None:
    """Bins of equal width between the 1st and 99th percentiles; what lies outside is in the first or the last one."""
    known = column[np.isfinite(column)]
    if not len(known) or known.min() == known.max():
        return None
    low, high = np.percentile(known, (1, 99))
    if low == high:  # almost all are the same, and the others are what is looked for
        low, high = known.min(), known.max()
    whole = bool((known % 1 == 0).all()) and high - low < BINS  # few integers have a bin each
    edges = np.arange(np.floor(low), np.ceil(high) + 2) if whole else np.linspace(low, high, BINS + 1)
    bins = np.searchsorted(edges[1:-1], column, side="right").astype(np.uint8)
    bins[~np.isfinite(column)] = UNKNOWN
    lows, highs = edges[:-1].copy(), edges[1:] - whole
    lows[0], highs[-1] = min(lows[0], known.min()), max(highs[-1], known.max())
    ends = {name: [f"{end:.4g}" for end in part.tolist()] for name, part in (("low", lows), ("high", highs))}
    return {"kind": "number", "bins": packed(bins), **ends}
