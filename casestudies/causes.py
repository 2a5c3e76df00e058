"""The known root causes of a DNN's failures, and which of them SAFE finds."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from casestudies.case import Case, Subject
from support.run_folder import FAILURES

CAUSES_FILE = "causes.json"


class Match(NamedTuple):
    """The known root cause that an RCC matches.

    Attributes
    ----------
    rcc : int
    size : int
        Number of images in the RCC.
    cause : str or None
        The known root cause of more than half of the images; None if there is none.
    share : float
        Share of the images with the most frequent cause, 0 to 1, even if that is not a majority.
    """

    rcc: int
    size: int
    cause: str | None
    share: float


def describe_causes(
    case: Case, test: Sequence[tuple[str, str, Subject]], failing: Collection[int]
) -> list[dict[str, Any]]:
    """For each known root cause: how often the DNN fails inside and outside it, and on which test images.

    An image with several root causes counts for each. `failure_rate_elsewhere` is over the images without any.

    Parameters
    ----------
    test : sequence of (path, label, Subject)
    failing : collection of int
        Indices of the test images that the DNN gets wrong.
    """
    wrong, every = set(failing), set(range(len(test)))
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
                "failing": [f"{FAILURES}/{test[i][0].removeprefix('test/')}" for i in sorted(members & wrong)],
            }
        )
    return described


def match_causes(
    paths: Sequence[str], labels: Sequence[int] | np.ndarray, causes: Sequence[Mapping[str, Any]]
) -> list[Match]:
    """Find the known root cause of most of the images in each RCC.

    Parameters
    ----------
    paths : sequence of str
        The failing images, relative to the folder `failures` or to the case.
    labels : sequence of int
        Their RCCs; −1 is noise.
    causes : sequence of mapping
        The content of `causes.json`.

    Returns
    -------
    list of Match
        In the order of the RCCs. A cause that no RCC matches occurs in none of them.
    """
    causes_of: dict[str, list[str]] = {}
    for cause in causes:
        for image in cause["failing"]:
            causes_of.setdefault(image.removeprefix(f"{FAILURES}/"), []).append(cause["name"])
    rcc_of = np.asarray(labels)
    matches = []
    for rcc in np.unique(rcc_of[rcc_of >= 0]).tolist():
        members = [paths[i].removeprefix(f"{FAILURES}/") for i in np.flatnonzero(rcc_of == rcc).tolist()]
        counts = Counter(name for image in members for name in causes_of.get(image, ()))
        name, count = counts.most_common(1)[0] if counts else (None, 0)
        share = count / len(members)
        matches.append(Match(rcc, len(members), name if share > 0.5 else None, share))
    return matches


def _rate(members: set[int], wrong: set[int]) -> float | None:
    return round(len(members & wrong) / len(members), 4) if members else None
