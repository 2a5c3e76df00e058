"""What `run.json` says of the run in an output folder."""

from pathlib import Path

from safe_dnn.rccs.clusters import RootCauseClusters, run_record
from safe_dnn.rccs.failure_rounds import beside
from safe_dnn.reasons.known_groups import group_names
from safe_dnn.store.runs import COMPARISON, present_runs


def left_behind(out: Path) -> str:
    """A sentence on names, notes and verdicts that the run in `out` did not take over; empty if it took all."""
    return run_record(out).get("left_behind", "")


def notes_of(out: Path) -> list[str]:
    """Sentences on parameters and predictions that could not be used in the run in `out`, or not be set aside."""
    record = run_record(out)
    entries = ("parameters", "predictions", "set_aside")
    return [f"{name.replace('_', ' ')}: {note}" for name in entries for note in record.get(name, {}).get("notes", [])]


def given_predictions(out: Path) -> tuple[str, str]:
    """The table and the test folder that the engineer gave for the run in `out`; empty if SAFE found them, or none."""
    return _given(out, "predictions", "source"), _given(out, "predictions", "tested")


def given_parameters(out: Path) -> str:
    """The table of parameters that the engineer gave for the run in `out`; empty if SAFE found one, or none."""
    return _given(out, "parameters", "source")


def _given(out: Path, entry: str, name: str) -> str:
    record = run_record(out).get(entry, {})
    return record.get(name, "") if record.get("given") else ""


def nuisance_of(out: Path) -> tuple[str, str] | None:
    """A parameter that most RCCs of the run in `out` are one value of, but that does not matter; and a sentence.

    None if there is none, or the images have not been compared with those that the DNN gets right.
    """
    comparison = present_runs(out).get(COMPARISON)
    offer = comparison.facts.get("offer") if comparison else None
    return (offer["name"], offer["sentence"]) if offer else None


def groups_of(out: Path) -> tuple[str, ...]:
    """The columns by which images are of one group in the run in `out`."""
    return group_names(run_record(out))


def table_of(out: Path, entry: str, clusters: RootCauseClusters) -> Path | None:
    """The table of parameters that an entry of `run.json` names, where it is by now.

    Parameters
    ----------
    entry : str
        `parameters`, with which the run was described, or `set_aside`, by which something was set aside.
    """
    source = run_record(out).get(entry, {}).get("source")
    return beside(source, clusters.image_root) if source else None
