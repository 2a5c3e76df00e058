"""The reasons of an analysis by name, as the engineer calls them: `weak spot 1`, `RCC 0`."""

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.rccs.clusters import rccs_of
from safe_dnn.rccs.gifs import gif_path, spot_gif_path
from safe_dnn.rccs.profiles import Profile
from safe_dnn.rccs.review.review import Review
from safe_dnn.reasons.comparison import Reasons
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.text import some


class Reason(NamedTuple):
    """An RCC or a weak spot.

    Attributes
    ----------
    name : str
        For example `weak spot 1` or `RCC 0`, as they are numbered.
    subject : str
        What it is, by content: its conditions, or its images (see `rccs.clusters.subjects_of`).
    where : str
        The condition in words; empty of an RCC.
    file : str
        The name that its files have, such as `RCC_00`.
    stated : set of str
        Columns that its condition or card names.
    rate : float
        How often the DNN fails there; NaN if it is not known.
    more : bool
        Whether that is more often than elsewhere.
    images : sequence of str
        Its failing images.
    """

    name: str
    subject: str
    where: str = ""
    file: str = ""
    stated: Collection[str] = ()
    rate: float = np.nan
    more: bool = True
    images: Sequence[str] = ()


def reasons_of(review: Review, reasons: Reasons, folder: Path, profiles: Sequence[Profile] = ()) -> list[Reason]:
    """All weak spots, then all RCCs, the largest first; what the cards of these say is taken from their profiles."""
    clusters, rates = review.clusters, reasons.rates(review.clusters)
    words = {one.rcc: one.mentioned for one in profiles}
    found = []
    for rank, (spot, rows) in enumerate(zip(reasons.spots, reasons.images, strict=True), 1):
        images, stated = [clusters.paths[row] for row in rows.tolist()], {one.column for one in spot.literals}
        file = spot_gif_path(folder, rank).stem
        found.append(Reason(f"weak spot {rank}", spot.conditions, spot.where, file, stated, spot.rate, images=images))
    for rcc in rccs_of(clusters):
        rate, file = rates.get(rcc), gif_path(folder, rcc, clusters.n_rccs).stem
        figures = (rate.rate, rate.verdict == "more") if rate else (np.nan, False)
        stated = {one.parameter for one in words.get(rcc, ())}
        found.append(Reason(f"RCC {rcc}", review.subjects[rcc], "", file, stated, *figures, clusters.members(rcc)))
    return found


def chosen(listed: Sequence[Reason], names: Collection[str]) -> list[Reason]:
    """Those with these names, spelled as `RCC 3` or, as their files are, `RCC_03`.

    Raises
    ------
    SAFEError
        There is no such reason.
    """
    wanted = {_spelled(name): name for name in names}
    if missing := {*wanted} - {_spelled(one.name) for one in listed}:
        received = some(sorted(wanted[name] for name in missing))
        raise SAFEError(
            f"Expected reasons such as `weak spot 1` or `RCC 0`. Received: {received}; there are "
            f"{some([one.name for one in listed])}."
        )
    return [one for one in listed if _spelled(one.name) in wanted]


def _spelled(name: str) -> str:
    return re.sub(r" 0+(?=\d)", " ", name.replace("_", " ").lower())
