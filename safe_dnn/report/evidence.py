"""What the results of an analysis rest on, by SHA-256: `SHA256SUMS` is written and checked.

It has a line for each result, each file of a run and each input (images, models, weights, tables), with paths relative
to the analysis: `sha256sum -c SHA256SUMS`, run in that folder, checks them as well. `evidence.txt`, which it lists, has
the versions that made the results, and says what the inputs are. The same state gives the same bytes. The database is
not listed: reading it changes the file. The report and `register.csv` contain its entries.
"""

import contextlib
import hashlib
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from safe_dnn.rccs.clusters import load_clusters, versions
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import check_own, save_files, working
from safe_dnn.store.places import absolute
from safe_dnn.store.runs import CLUSTERS, SELECTION, Run, present_runs
from safe_dnn.support.errors import SAFEError, may_open
from safe_dnn.support.files import encoded, intact, read_record, regular
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import report_progress
from safe_dnn.support.run_folder import ACCURACY_FILE
from safe_dnn.support.text import count
from safe_dnn.support.version import CLONE

SUMS_FILE = "SHA256SUMS"
EVIDENCE_FILE = "evidence.txt"
MISSING, CHANGED, NEW, OUTSIDE = "missing", "changed", "new", "not read, since it lies outside"

_RESULTS = ("*", "gifs/*", "heatmaps/*", "runs/[1-9]*/*")
# Hidden, the database, signatures of the sums, or a training under way
_NO_RESULTS = re.compile(rf"(.*/)?\.|{DATABASE_FILE}|{SUMS_FILE}|[^/]*\.npz$")
_PATHS = {"model", "source", "tested", "after", "parameters", "targets", "test_root", "train_root", "root"}
"""Fields of records that hold the path of an input."""
_ROLES = {
    "retraining model": "model before", "retraining train_root": "training", "retraining test_root": "test",
    "retraining final root": "final-test",
}  # fmt: skip
"""Names of some of them, the others have those of the records and fields."""
_LINE = re.compile(r"(\\?)([0-9a-f]{64})  (.+)")
_ESCAPES = {"\\": r"\\", "\n": r"\n", "\r": r"\r"}  # as `sha256sum` writes them
_Sets = dict[str, tuple[Path, Sequence[str]]]  # folder and paths of each


def results_in(folder: Path) -> list[str]:
    """The results and runs that there are in an output folder, sorted: visible files but for the database."""
    names = (path.relative_to(folder).as_posix() for which in _RESULTS for path in folder.glob(which) if path.is_file())
    return sorted(name for name in names if not _NO_RESULTS.match(name))


def known_sets(folder: Path, runs: Mapping[str, Run]) -> tuple[_Sets, dict[str, Path]]:
    """The sets of images, and the models, weights and tables by what they are, as far as the analysis knows them.

    If it knows the folder of a set, these are the images that are in it now.
    """
    sets, files = _Sets(), dict[str, Path]()
    if CLUSTERS in runs:
        clusters = load_clusters(folder)
        sets["failing"] = (clusters.image_root, clusters.paths)
        if weights := clusters.recalled_extractor().weights:
            files["features" if clusters.own_features else "weights"] = weights
    if SELECTION in runs:
        unsafe = load_unsafe_set(folder)
        sets["unsafe"] = (unsafe.improvement_root, unsafe.paths)
        if unsafe.extractor and unsafe.extractor.weights:
            files["improvement features"] = unsafe.extractor.weights
        if not unsafe.listed:  # otherwise the list is not known, and the folder may hold others
            sets["improvement"] = _images_in(unsafe.improvement_root)
    records: dict[str, Any] = {"failures": read_record(folder / ACCURACY_FILE)}
    for kind, run in runs.items():
        records[kind] = dict(run.facts)
        for name in run.files:
            records[kind] |= read_record(run.folder / name) if name.endswith(".json") else {}
    for field, recorded in _named(records):
        role, place = _ROLES.get(field, field), Path(absolute(recorded, folder))
        if place.is_dir():
            sets[role] = _images_in(place)
        else:
            files[role] = place
    return sets, files


def _named(record: Mapping[str, Any], of: str = "") -> Iterator[tuple[str, str]]:
    """The paths of inputs that a record names, each with the fields that lead to it."""
    for field, value in record.items():
        if isinstance(value, dict):
            yield from _named(value, f"{of}{field} ")
        elif field in _PATHS and value and isinstance(value, str):
            yield f"{of}{field}", value


def _images_in(root: Path) -> tuple[Path, Sequence[str]]:
    with contextlib.suppress(SAFEError):
        return root, find_images(root).paths
    return root, ()


def _inputs_of(folder: Path) -> dict[str, list[str]]:
    """The paths of the inputs in each role, relative to the folder."""
    sets, files = known_sets(folder, present_runs(folder))
    home, inputs = folder.resolve(), dict[str, list[str]]()
    for role, (root, paths) in (sets | {role: (file.parent, [file.name]) for role, file in files.items()}).items():
        place = Path(os.path.realpath(root))  # since `..` of a link leads to where that points
        names = [os.path.relpath(place / path, home) for path in paths]
        inputs[role] = [name for name in names if may_open(home / name)]
    return inputs


def _digests(folder: Path, names: Collection[str]) -> dict[str, str]:
    """The digests of those that can be read."""
    digests = {}
    for done, name in enumerate(names, start=1):
        # ValueError: no file can have that name
        with contextlib.suppress(OSError, ValueError), regular(folder / name).open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
        report_progress("Reading files", done, len(names))
    return digests


def write_evidence(folder: Path) -> list[str]:
    """Write `SHA256SUMS` and `evidence.txt` of the present state.

    Returns
    -------
    list of str
        What the inputs are, a line for each role.

    Raises
    ------
    SAFEError
        There is no analysis, something in it is damaged, or the files cannot be written.
    """
    if not (folder / DATABASE_FILE).is_file():
        raise SAFEError(f"Expected the output folder of an analysis. Received: {folder}, without {DATABASE_FILE}.")
    with working(folder, "writing the evidence"):
        check_own(folder, SUMS_FILE, EVIDENCE_FILE)
        inputs = _inputs_of(folder)
        digests = _digests(folder, dict.fromkeys(itertools.chain(results_in(folder), *inputs.values())))
        lines = [_line_on(role, paths, digests) for role, paths in inputs.items() if paths]
        made_by = versions() | {"commit": _commit()}
        text = "\n".join([*(f"{name} {version}" for name, version in made_by.items() if version), "", *lines, ""])
        digests[EVIDENCE_FILE] = hashlib.sha256(encoded(text)).hexdigest()
        sums = "".join(_sum_line(name, digest) for name, digest in sorted(digests.items()))
        save_files(folder, {EVIDENCE_FILE: text, SUMS_FILE: sums})
    return lines


def _line_on(role: str, paths: Sequence[str], digests: Collection[str]) -> str:
    """For example `test: 2 files in ../test`."""
    unread = sum(path not in digests for path in paths)
    where = paths[0] if len(paths) == 1 else f"{count(len(paths), 'file')} in {os.path.commonpath(paths) or '.'}"
    return f"{role}: {where}{f', {unread:,} unreadable' if unread else ''}"


def _sum_line(name: str, digest: str) -> str:
    """A line as `sha256sum` writes it: where a name is escaped, it begins with a backslash."""
    escaped = re.sub(r"[\\\n\r]", lambda match: _ESCAPES[match[0]], name)
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n"


def _commit() -> str | None:
    """The commit that SAFE is at, with `-dirty` if files were changed; None where it is no clone of git's."""
    if not CLONE or not (CLONE / ".git").exists() or not shutil.which("git"):
        return None
    command = ["git", "-C", os.fspath(CLONE), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    return subprocess.run(command, capture_output=True, check=False, text=True).stdout.strip()


def verify_evidence(folder: Path) -> list[tuple[str, str]]:
    """The differences between an analysis and its evidence; nothing is changed, unpickled or trusted.

    Each has a kind and the name of the file. Results, and images and tables of the present runs, that are not listed
    are new.

    Raises
    ------
    SAFEError
        There is no evidence, or it is damaged.
    """
    listed = _read_sums(folder / SUMS_FILE)
    readable = [name for name in listed if may_open(folder / name)]
    now, present = _digests(folder, readable), {*results_in(folder)}
    with contextlib.suppress(SAFEError):  # what is damaged is listed, and has changed
        present.update(*_inputs_of(folder).values())
    differences = [(OUTSIDE, name) for name in listed.keys() - {*readable}]
    differences += [(CHANGED if name in now else MISSING, name) for name in readable if now.get(name) != listed[name]]
    differences += [(NEW, name) for name in present - listed.keys() if (folder / name).is_file()]
    return sorted(differences)


def _read_sums(file: Path) -> dict[str, str]:
    """The digests by name; SAFEError if there are none, or a line is invalid."""
    if not file.is_file():
        raise SAFEError(
            f"Expected {file}. Received an analysis without evidence: nothing says what it was. Write evidence first."
        )
    digests, characters = dict[str, str](), {escape: character for character, escape in _ESCAPES.items()}
    with intact(file, "Put back a copy, or write evidence anew."):
        for line in regular(file).read_bytes().decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
            if not (parts := _LINE.fullmatch(line)):
                raise ValueError(f"a line is invalid: {line[:80]!r}")
            escaped, digest, name = parts.groups()
            digests[re.sub(r"\\.", lambda match: characters[match[0]], name) if escaped else name] = digest
    return digests
