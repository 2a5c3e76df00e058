"""The known root causes of a DNN's failures."""

from collections.abc import Collection, Sequence
from typing import Any

from safe_dnn.casestudies.case import Case, Subject
from safe_dnn.support.run_folder import FAILURES

CAUSES_FILE = "causes.json"


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
                "kept_in_training": cause.share_in_training,
                "test_images": len(members),
                "failures": len(members & wrong),
                "failure_rate_inside": _rate(members, wrong),
                "failure_rate_outside": _rate(every - members, wrong),
                "failure_rate_elsewhere": elsewhere,
                "failing": [f"{FAILURES}/{test[i][0].removeprefix('test/')}" for i in sorted(members & wrong)],
            }
        )
    return described


def _rate(members: set[int], wrong: set[int]) -> float | None:
    return round(len(members & wrong) / len(members), 4) if members else None
