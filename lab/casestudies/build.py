"""Build a case study: `python -m lab.casestudies.build gd|oc|gd-people|oc-people|hpd|fld|od --out DIR`.

What is written is described in `safe_dnn.casestudies.build`, of a detector in `signs.build`.
"""

import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lab.casestudies.cases import CASES
from lab.casestudies.signs.build import build_detector
from safe_dnn.casestudies import build
from safe_dnn.casestudies.case import Case


def _build(case: Case, folder: Path, *, seed: int, scale: float) -> dict[str, Any]:
    of_its_task = build_detector if case.parts else build.build_network
    return of_its_task(case, folder, seed=seed, scale=scale)


build_case = partial(build.build_case, cases=CASES, build=_build)
"""As `safe_dnn.casestudies.build.build_case`, with all cases."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line of `safe_dnn.casestudies.build` with all cases."""
    return build.main(arguments, program="lab.casestudies.build", cases=CASES, build=_build)


if __name__ == "__main__":
    sys.exit(main())
