"""What `run.json` says of the run in an output folder."""

from pathlib import Path

from rccs.clusters import RootCauseClusters, run_record
from rccs.rounds import beside
from reasons.groups import group_names
from store.runs import COMPARISON, present_runs


def left_behind(out: Path) -> str:
    """A sentence on names, notes and verdicts that the run in `out` did not take over; empty if it took all."""
    return run_record(out).get("left_behind", "")


def parameter_notes(out: Path) -> list[str]:
    """Sentences on parameters that could not be used in the run in `out`."""
    return _notes_in(out, "parameters")


def prediction_notes(out: Path) -> list[str]:
    """Sentences on predictions that could not be used in the run in `out`."""
    return _notes_in(out, "predictions")


def set_aside_notes(out: Path) -> list[str]:
    """Sentences on what could not be set aside in the run in `out`."""
    return _notes_in(out, "set_aside")


def _notes_in(out: Path, entry: str) -> list[str]:
    """The notes in an entry of `run.json`."""
    return run_record(out).get(entry, {}).get("notes", [])


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
