"""Subgroup discovery with pysubgroup (Lemmerich & Becker, ECML PKDD 2018), run in an environment of its own.

    PYTHON subgroups.py SEARCH.npz SUBGROUPS.json

PYTHON has the package `pysubgroup` from PyPI. SEARCH and SUBGROUPS are as in `slices.py`.
"""

import json
import sys
from pathlib import Path

import numpy as np

MOST_SUBGROUPS = 10
MOST_LITERALS = 3  # as many as a weak spot may have
BEAM = 20  # the package's default
WRONG = "wrong"


def main(search: str, subgroups: str) -> None:
    import pandas as pd
    import pysubgroup as ps

    with np.load(search) as arrays:
        codes, wrong = arrays["codes"], arrays["wrong"]
    names = [f"c{place}" for place in range(codes.shape[1])]
    table = pd.DataFrame({**dict(zip(names, codes.T, strict=True)), WRONG: wrong.astype(bool)})
    selectors = [ps.EqualitySelector(name, code) for name in names for code in np.unique(table[name]).tolist()]
    task = ps.SubgroupDiscoveryTask(
        table,
        ps.BinaryTarget(WRONG, True),
        selectors,
        qf=ps.WRAccQF(),
        depth=MOST_LITERALS,
        result_set_size=MOST_SUBGROUPS,
    )
    found = []
    for quality, subgroup, _ in ps.BeamSearch(beam_width=BEAM).execute(task).results:
        if quality > 0:  # the whole test set has 0
            chosen = {one.attribute_name: int(one.attribute_value) for one in subgroup.selectors}
            found.append([chosen.get(name) for name in names])
    Path(subgroups).write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
