"""`evidence.json`: what it says, and how it is read.

It is an in-toto Statement (https://github.com/in-toto/attestation, spec v1). Its subjects are the results at the top of
the output folder; its predicate is what they rest on. Nothing of it is trusted: what SAFE would not write is refused,
such as a subject that lies elsewhere.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.store.chain import digests_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import intact, read_json

EVIDENCE_FILE = "evidence.json"
LISTS_FOLDER = "evidence"
"""With a list for each set of images, as of sha256sum: digest, two blanks, path in the folder of the set."""

# As the modules that write them name them; a test compares.
RESULTS = (
    "labels.txt", "register.csv", "scope.csv", "rcc_profiles.csv", "rcc_rates.csv", "weak_spots.csv",
    "rates.csv", "tested_images.csv", "confirmation.csv", "closure.csv", "fresh_images.csv", "probes.csv",
    "IS_filenames.txt", "unsafe_set.csv", "unsafe_images.csv", "retrained.keras", "retraining.json", "report.html",
    "export.zip", "failures.csv", "predictions.csv", "accuracy.json", "objects.csv", "parameters.csv",
    "word_*.csv",
    "gifs/RCC_*.gif", "gifs/noise.gif", "gifs/weak_spot_*.gif",
    "heatmaps/heatmaps.json", "heatmaps/RCC_*.png", "heatmaps/weak_spot_*.png",
)  # fmt: skip
_TYPE, _KIND, _VERSION = "https://in-toto.io/Statement/v1", "urn:safe-dnn:evidence", 1


class Evidence(NamedTuple):
    """What `evidence.json` says; digests are SHA-256 in hexadecimal.

    Attributes
    ----------
    subjects : dict of str to str
        The digests of the results, by path in the analysis.
    files : dict of str to str
        Of all other files, by place as `store.places` records it: of runs, lists, models, weights and tables.
    sets : dict of str to str
        The folders of the sets of images, likewise, by the path of the list.
    last : tuple of int and str
        Number and digest of the last entry.
    basis : str
        The digest of the predicate.
    """

    subjects: dict[str, str]
    files: dict[str, str]
    sets: dict[str, str]
    last: tuple[int, str]
    basis: str


def statement_text(subjects: Mapping[str, str], predicate: Mapping[str, Any]) -> str:
    """The content of `evidence.json`."""
    named = [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()]
    kind = f"{_KIND}:{_VERSION}"
    return (
        json.dumps({"_type": _TYPE, "subject": named, "predicateType": kind, "predicate": predicate}, indent=2) + "\n"
    )


def digest_of_predicate(predicate: Mapping[str, Any]) -> str:
    """The SHA-256 of a predicate as JSON in ASCII, with sorted keys and without blanks: the report names it."""
    return hashlib.sha256(json.dumps(predicate, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def read_evidence(folder: Path) -> Evidence:
    """Read `evidence.json`.

    Raises
    ------
    SAFEError
        There is none, or it is damaged, of a newer version or not SAFE's.
    """
    file = folder / EVIDENCE_FILE
    if not file.is_file():
        raise SAFEError(
            f"Expected {file}. Received an analysis without evidence: nothing says what it was. Write evidence first."
        )
    with intact(file, "Put back a copy, or write evidence anew."):
        statement = read_json(file)
        kind, _, version = statement["predicateType"].rpartition(":")
        if (statement["_type"], kind) != (_TYPE, _KIND):
            raise ValueError("it is about something else")
        if int(version) == _VERSION:
            return _evidence_from(statement["subject"], statement["predicate"])
    raise SAFEError(f"{file} has version {version}; this SAFE reads version {_VERSION}. Use a newer SAFE.")


def _evidence_from(subjects: list[dict[str, Any]], predicate: dict[str, Any]) -> Evidence:
    """One of DAMAGED if anything is invalid."""
    found = {subject["name"]: subject["digest"]["sha256"] for subject in subjects}
    files, sets, last = predicate["files"], predicate["images"], predicate["journal"]
    roots = {f"{LISTS_FOLDER}/{name}.sha256": str(one["root"]) for name, one in sets.items()}
    for path in (*found, *roots):
        if not path or path.startswith("/") or set(path) & set("\0\\") or ".." in path.split("/"):
            raise ValueError(f"the path {path!r} leads out of the analysis")
    if not all(re.fullmatch("[0-9a-f]{64}", digest) for digest in (*found.values(), *files.values())):
        raise ValueError("a digest is invalid")
    if roots.keys() - files.keys() or "\0" in "".join((*files, *roots.values())):
        raise ValueError("a list of images is invalid")
    return Evidence(
        found, dict(files), roots, (int(last["number"]), str(last["sha256"])), digest_of_predicate(predicate)
    )


def present_basis(folder: Path) -> str:
    """The digest of the predicate if the evidence is about the present entries; otherwise empty."""
    try:
        evidence = read_evidence(folder)
    except SAFEError:
        return ""
    return evidence.basis if evidence.last == last_of(digests_of(folder)) else ""


def last_of(digests: dict[int, str]) -> tuple[int, str]:
    """Number and digest of the last entry."""
    return next(reversed(digests.items()), (0, ""))


def results_in(folder: Path) -> list[str]:
    """The results that there are in an output folder, sorted."""
    found = (path for pattern in RESULTS for path in folder.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)
