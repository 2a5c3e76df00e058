"""What `run.json` says of the run in an output folder. People may have edited it: what is not as expected is absent."""

from pathlib import Path

from nuisances import Offer
from rccs.clusters import RootCauseClusters
from rccs.confidence import why_unknown
from rccs.rounds import beside
from support.files import read_record
from support.run_folder import RUN_FILE


def left_behind(out: Path) -> str:
    """A sentence on names, notes and verdicts that the run in `out` did not take over; empty if it took all."""
    text = read_record(out / RUN_FILE).get("left_behind", "")
    return text if isinstance(text, str) else ""


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
    try:
        return [str(note) for note in read_record(out / RUN_FILE).get(entry, {}).get("notes", [])]
    except (AttributeError, TypeError):
        return []  # people may have edited run.json


def given_predictions(out: Path) -> tuple[str, str]:
    """The table and the test folder that the engineer gave for the run in `out`; empty if SAFE found them, or none."""
    record = read_record(out / RUN_FILE).get("predictions", {})
    if not isinstance(record, dict) or record.get("given") is not True:
        return "", ""
    return str(record.get("source", "")), str(record.get("tested", ""))


def nuisance_of(out: Path) -> tuple[str, str] | None:
    """A parameter that most RCCs of the run in `out` are one value of, but that does not matter; and a sentence.

    None if there is none, or the images have not been compared with those that the DNN gets right.
    """
    offer = read_record(out / RUN_FILE).get("offer")
    if not isinstance(offer, dict) or not all(isinstance(offer.get(key), str) for key in Offer._fields):
        return None
    return offer["name"], offer["sentence"]


def not_measured(out: Path, clusters: RootCauseClusters) -> str:
    """Why it is not known how steady the RCCs of the run in `out` are, a sentence (see `why_unknown`); may be empty.

    Parameters
    ----------
    clusters : RootCauseClusters
        As the clustering found them.
    """
    return why_unknown(clusters, read_record(out / RUN_FILE))


def parameters_source(out: Path, clusters: RootCauseClusters) -> Path | None:
    """The table of parameters with which the run in a folder was described."""
    return _source_in(out, "parameters", clusters)


def nuisance_source(out: Path, clusters: RootCauseClusters) -> Path | None:
    """The table of the tested images' parameters by which something was set aside in the run in a folder."""
    return _source_in(out, "set_aside", clusters)


def _source_in(out: Path, entry: str, clusters: RootCauseClusters) -> Path | None:
    """The table that an entry of `run.json` names, where it is by now."""
    record = read_record(out / RUN_FILE).get(entry, {})
    source = record.get("source") if isinstance(record, dict) else None
    return beside(source, clusters.image_root) if isinstance(source, str) else None
