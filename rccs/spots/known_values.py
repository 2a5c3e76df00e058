"""What is known of any images, such as improvement images, by which nuisances are set aside from their features.

A nuisance is a recorded parameter or a measured attribute. A folder of images in; a column for each nuisance out, of
the kind that it had when the clusters were found.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np

from features.attributes import ATTRIBUTES, measured_images
from rccs.dbscan.set_aside import CATEGORY, SetAside
from rccs.parameters import numbers_of, read_texts
from support.entries import StrPath
from support.progress import Progress, no_progress


def attributes_of(
    names: Collection[str], root: Path, paths: Sequence[str], *, progress: Progress = no_progress
) -> dict[str, np.ndarray]:
    """Those of `names` that SAFE measures, as columns; images are only read if there are any."""
    wanted = [name for name in ATTRIBUTES if name in names]
    if not wanted:
        return {}
    rows = measured_images(root, paths, progress=progress)
    return {name: rows[:, ATTRIBUTES.index(name)].astype(np.float64) for name in wanted}


def recorded_texts(
    what: SetAside, root: Path, paths: Sequence[str], *, parameters: StrPath | None
) -> dict[str, list[str]]:
    """The recorded values of nuisances, as texts; a nuisance of which nothing is recorded is left out.

    Raises
    ------
    SAFEError
        The table cannot be read.
    """
    texts = read_texts(parameters, root, paths) if parameters else {}
    return {name: texts[name] for name in what.names if any(texts.get(name, ()))}


def nuisance_columns(
    what: SetAside,
    root: Path,
    paths: Sequence[str],
    recorded: Mapping[str, Sequence[str]],
    *,
    progress: Progress = no_progress,
) -> dict[str, np.ndarray]:
    """A column for each nuisance: recorded if it is, otherwise measured, or else unknown.

    Parameters
    ----------
    recorded : mapping of str to sequence of str
        Of the same images, where they are known.

    Raises
    ------
    SAFEError
        The cache of measured attributes cannot be used.
    """
    measured = attributes_of(set(what.names) - set(recorded), root, paths, progress=progress)
    columns = {}
    for factor in what.factors:
        texts = recorded.get(factor.name, [""] * len(paths))
        typed = np.array(texts, str) if factor.kind == CATEGORY else numbers_of(texts)
        columns[factor.name] = measured[factor.name] if factor.name in measured and factor.kind != CATEGORY else typed
    return columns
