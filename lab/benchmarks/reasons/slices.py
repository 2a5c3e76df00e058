"""SliceLine (Sagadeeva & Boehm, SIGMOD 2021), run in an environment of its own, since SAFE does not need it.

    PYTHON slices.py SEARCH.npz SLICES.json [MOST_LITERALS]

PYTHON has the package `sliceline` from PyPI. SEARCH has `codes`, of shape (n_images, n_columns), int, and `wrong`, of
shape (n_images,). SLICES becomes a list with the code of each column in each slice, null where any value will do.
"""

import json
import sys
from pathlib import Path

import numpy as np

MOST_SLICES = 10
MOST_LITERALS = 2  # three take minutes for a test set of 1,800 images
ALPHA = 0.95  # of the paper; with the default of the package, .6, it finds nothing in some cases


def main(search: str, slices: str, most_literals: str = str(MOST_LITERALS)) -> None:
    from sliceline.slicefinder import Slicefinder

    with np.load(search) as arrays:
        codes, wrong = arrays["codes"], arrays["wrong"]
    finder = Slicefinder(alpha=ALPHA, k=MOST_SLICES, max_l=int(most_literals), verbose=False).fit(
        codes, wrong.astype(float)
    )
    found = [[None if code is None else int(code) for code in one] for one in finder.top_slices_]
    Path(slices).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
