"""Which known root causes a DNN's failures have, and which of them SAFE finds."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from casestudies.cases import Case
from casestudies.parameters import Eye

FILE = "causes.json"
FAILURES = "failures"


class Match(NamedTuple):
    """What an RCC is about.

    Attributes
    ----------
    rcc : int
    size : int
        Images in it.
    cause : str or None
        The known root cause of more than half of them; None where there is none.
    share : float
        Share of the images with the most frequent cause, 0 to 1, be it a majority or not.
    """

    rcc: int
    size: int
    cause: str | None
    share: float


def describe_causes(case: Case, test: Sequence[tuple[str, str, Eye]], wrong: Collection[int]) -> list[dict]:
    """For each known root cause: how often the DNN fails inside and outside of it, and on which test images.

    An image in several root causes counts in each. `failure_rate_elsewhere` is over the images in none of them.

    Parameters
    ----------
    test : sequence of (path, label, Eye)
    wrong : collection of int
        Which of them the DNN gets wrong.
    """
    wrong, every = set(wrong), set(range(len(test)))
    inside = {cause.name: {i for i in every if cause.holds(test[i][2])} for cause in case.root_causes}
    elsewhere = _rate(every.difference(*inside.values()), wrong)
    described = []
    for cause in case.root_causes:
        members = inside[cause.name]
        described.append(
            {
                "name": cause.name,
                "description": cause.description,
                "parameters": list(cause.parameters),
                "kept_in_training": cause.kept,
                "test_images": len(members),
                "failures": len(members & wrong),
                "failure_rate_inside": _rate(members, wrong),
                "failure_rate_outside": _rate(every - members, wrong),
                "failure_rate_elsewhere": elsewhere,
                "failing": [f"{FAILURES}/{test[i][1]}/{Path(test[i][0]).name}" for i in sorted(members & wrong)],
            }
        )
    return described


def match_causes(paths: Sequence[str], labels: Sequence[int], causes: Sequence[Mapping]) -> list[Match]:
    """Say for each RCC which known root cause most of its images have.

    Parameters
    ----------
    paths : sequence of str
        The failing images, relative to the folder `failures` or to the case.
    labels : sequence of int
        Their RCCs; −1 is noise.
    causes : sequence of mapping
        What `causes.json` holds.

    Returns
    -------
    list of Match
        In the order of the RCCs. The causes that no RCC is about are those which occur in none of them.
    """
    causes_of: dict[str, list[str]] = {}
    for cause in causes:
        for image in cause["failing"]:
            causes_of.setdefault(image.removeprefix(f"{FAILURES}/"), []).append(cause["name"])
    labels = np.asarray(labels)
    matches = []
    for rcc in np.unique(labels[labels >= 0]).tolist():
        members = [paths[i].removeprefix(f"{FAILURES}/") for i in np.flatnonzero(labels == rcc)]
        counts = Counter(name for image in members for name in causes_of.get(image, ()))
        name, count = counts.most_common(1)[0] if counts else (None, 0)
        share = count / len(members)
        matches.append(Match(rcc, len(members), name if share > 0.5 else None, share))
    return matches


def _rate(members: set[int], wrong: set[int]) -> float | None:
    return round(len(members & wrong) / len(members), 4) if members else None
