"""The kept runs of the benchmark: their records and how they are read."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.support.errors import SAFEError

CASE_FILE, RUNS_FILE = "case.json", "runs.jsonl"


class CaseRuns(NamedTuple):
    """The kept results of a case: `about` (see `load_retraining_case`) and the runs of that setup."""

    about: dict[str, Any]
    runs: list[dict[str, Any]]

    def values(self, strategy: str, labels: int, *, what: str = "accuracy") -> list[float]:
        """One figure of the runs with a strategy and a number of labels, for each seed."""
        return [run[what] for run in self.runs if (run["strategy"], run["labels"]) == (strategy, labels)]

    @property
    def budgets(self) -> list[int]:
        """Numbers of labels above 0, ascending."""
        return sorted({run["labels"] for run in self.runs} - {0})


def load_cases(work: Path) -> list[CaseRuns]:
    """The cases in a work folder, by name.

    Raises
    ------
    SAFEError
        There are no runs.
    """
    cases = []
    for path in sorted(work.glob(f"*/{CASE_FILE}")):
        about = json.loads(path.read_text(encoding="utf-8"))
        lines = path.with_name(RUNS_FILE)
        runs = [run for run in read_runs(lines) if run["setup"] == about["setup"]]
        if runs:
            cases.append(CaseRuns(about, runs))
    if not cases:
        raise SAFEError(f"Expected finished runs in {work}. Received none. Run a case first.")
    return cases


def read_runs(path: Path) -> list[dict]:
    """Read the runs kept so far.

    Raises
    ------
    SAFEError
        The file is damaged.
    """
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SAFEError(f"{path} must contain a JSON record in each line. Received: {error}. Delete it.") from error
