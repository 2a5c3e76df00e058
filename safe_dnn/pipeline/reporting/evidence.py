"""What the results of an analysis rest on, by SHA-256: `SHA256SUMS` is written and checked.

It has a line for each result, each file of a run and each input (images, models, weights, tables), with paths relative
to the analysis: `sha256sum -c SHA256SUMS`, run in that folder, checks them as well. `evidence.txt`, which it lists, has
the versions that made the results, and says what the inputs are. The same state gives the same bytes.

The database is not listed: its file changes when it is only read. The report and `register.csv` have what people said.
"""

import contextlib
import hashlib
import itertools
import os
import re
import subprocess
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from safe_dnn import CLONE
from safe_dnn.dnn.held_out import held_out_of
from safe_dnn.rccs.clusters import load_clusters, run_record, versions
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.store.output_folder import check_own, save_files, working
from safe_dnn.store.places import absolute
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, RETRAINING, SELECTION, Run, all_runs, present_runs, run_file
from safe_dnn.support.entries import is_within
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import encoded, intact, read_record, regular
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from safe_dnn.support.text import count
from safe_dnn.training.result import load_retraining

SUMS_FILE = "SHA256SUMS"
EVIDENCE_FILE = "evidence.txt"

# As the modules that write them name them; a test compares.
RESULTS = (
    "labels.txt", "register.csv", "scope.csv", "rcc_profiles.csv", "rcc_rates.csv", "weak_spots.csv",
    "rates.csv", "tested_images.csv", "confirmation.csv", "closure.csv", "fresh_images.csv", "probes.csv",
    "IS_filenames.txt", "unsafe_set.csv", "unsafe_images.csv", "retrained.keras", "retraining.json", "report.html",
    "export.zip", "failures.csv", "predictions.csv", "accuracy.json", "objects.csv", "parameters.csv",
    "word_*.csv",
    "gifs/RCC_*.gif", "gifs/noise.gif", "gifs/weak_spot_*.gif",
    "heatmaps/heatmaps.json", "heatmaps/RCC_*.png", "heatmaps/weak_spot_*.png",
    "runs/[1-9]*/*",
)  # fmt: skip
_LINE = re.compile(r"(\\?)([0-9a-f]{64})  (.+)")
_AT_A_TIME = 1000  # files
_Sets = dict[str, tuple[Path, Sequence[str]]]  # folder and paths of each
_Place = str | Path | None


# --- What there is ----------------------------------------------------------------------------------------------------


def results_in(folder: Path) -> list[str]:
    """The results and runs that there are in an output folder, sorted."""
    found = (path for pattern in RESULTS for path in folder.glob(pattern) if path.is_file())
    return sorted(path.relative_to(folder).as_posix() for path in found)


def known_sets(folder: Path, runs: dict[str, Run]) -> tuple[_Sets, dict[str, _Place]]:
    """The sets of images, and the models, weights and tables by what they are, as far as the analysis knows them.

    Of a set of which it knows the folder, these are the images that lie there now.
    """
    sets, roots, files, accuracy = _Sets(), dict[str, _Place](), dict[str, _Place](), folder / ACCURACY_FILE
    if CLUSTERS in runs:
        clusters, record = load_clusters(folder), run_record(folder)
        sets["failing"] = (clusters.image_root, clusters.paths)
        roots["tested"] = record.get("predictions", {}).get("tested")
        tables = {name: record.get(name, {}).get("source") for name in ("predictions", "parameters", "set_aside")}
        files |= {name: Path(table) for name, table in tables.items() if table}
        files["weights"] = clusters.recalled_extractor().weights
    known, place = read_record(accuracy), accuracy.parent
    files["model under test"] = absolute(str(known.get("model", "")), place)
    roots["tested"] = roots.get("tested") or absolute(str(known.get("test_root", "")), place)
    if CONFIRMATION in runs:
        named = {"tested": "", "source": "predictions", "after": "later predictions", "parameters": "parameters"}
        places = {what: absolute(runs[CONFIRMATION].facts.get(name, ""), folder) for name, what in named.items()}
        roots["fresh"] = places.pop("")
        files |= {f"fresh {what}": place for what, place in places.items()}
    if SELECTION in runs:
        unsafe = load_unsafe_set(folder)
        files["selected by"] = unsafe.model
        sets["unsafe"] = (unsafe.improvement_root, unsafe.paths)
        if not unsafe.listed:  # otherwise the list is not known, and the folder may hold others
            roots["improvement"] = unsafe.improvement_root
    if RETRAINING in runs:
        result = load_retraining(folder)
        files |= {"model before": result.model, "answers after": result.after}
        roots |= {"training": result.train_root, "test": result.test_root}
        if final := result.final:
            failures = clusters.image_root if CLUSTERS in runs else folder / FAILURES
            held = held_out_of(failures) if final.held_out else None
            sets["final-test"] = held or (final.root, _images_in(final.root))
    return sets | {name: (Path(root), _images_in(root)) for name, root in roots.items() if root}, files


def _images_in(root: str | Path) -> Sequence[str]:
    with contextlib.suppress(SAFEError):
        return find_images(root).paths
    return ()


def _inputs_of(folder: Path, within: Path | None) -> dict[str, list[str]]:
    """The paths of the inputs in each role, relative to the folder; `within` as of `write_evidence`."""
    sets, files = known_sets(folder, present_runs(folder))
    single = {name: (Path(path).parent, [Path(path).name]) for name, path in files.items() if path}
    home, found = folder.resolve(), dict[str, list[str]]()
    for name, (root, paths) in (sets | single).items():
        place = Path(os.path.realpath(root))  # since `..` of a link leads to where that points
        relative = [os.path.relpath(place / path, home) for path in paths]
        found[name] = [path for path in relative if is_within(home / path, within)]
    return found


def sha256_if_there(file: Path) -> str:
    """The SHA-256 of a file; empty if it is not a file that can be read."""
    try:
        with regular(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: no file can have that name
        return ""


def _digests(folder: Path, names: Collection[str], progress: Progress) -> dict[str, str]:
    """The digests of those that can be read; the cores share the work."""
    paths, found = [folder / name for name in names], list[str]()
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for start in range(0, len(paths), _AT_A_TIME):
            found += pool.map(sha256_if_there, paths[start : start + _AT_A_TIME])
            progress("Reading files", len(found), len(paths))
    return {name: digest for name, digest in zip(names, found, strict=True) if digest}


# --- Writing ----------------------------------------------------------------------------------------------------------


def write_evidence(folder: Path, *, within: Path | None = None, progress: Progress = no_progress) -> list[str]:
    """Write `SHA256SUMS` and `evidence.txt` of the present state.

    Parameters
    ----------
    within : path, optional
        Leave out files outside of this folder, all links followed.

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
        for run in all_runs(folder):
            for name in run.files:
                run_file(run, name)
        inputs = _inputs_of(folder, within)
        names = dict.fromkeys(itertools.chain(results_in(folder), *inputs.values()))
        digests = _digests(folder, names, progress)
        lines = [_line_on(role, paths, digests) for role, paths in inputs.items() if paths]
        made_by = versions() | {"commit": _commit()}
        text = "\n".join([*(f"{name} {version}" for name, version in made_by.items() if version), "", *lines, ""])
        digests[EVIDENCE_FILE] = hashlib.sha256(encoded(text)).hexdigest()
        sums = "".join(f"{_sum_line(name, digest)}\n" for name, digest in sorted(digests.items()))
        save_files(folder, {EVIDENCE_FILE: text, SUMS_FILE: sums})
    return lines


def _line_on(role: str, paths: Sequence[str], digests: Collection[str]) -> str:
    """For example `test: 2 files in ../test`."""
    unread = sum(path not in digests for path in paths)
    where = paths[0] if len(paths) == 1 else f"{count(len(paths), 'file')} in {os.path.commonpath(paths) or '.'}"
    return f"{role}: {where}{f', {unread:,} unreadable' if unread else ''}"


def _sum_line(name: str, digest: str) -> str:
    """A line as `sha256sum` writes it: where a name is escaped, it begins with a backslash."""
    escaped = name.replace("\\", r"\\").replace("\n", r"\n").replace("\r", r"\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}"


def _commit() -> str | None:
    """The commit that SAFE is at, with `-dirty` if files were changed; None where it is no clone of git's."""
    command = ["git", "-C", os.fspath(CLONE or ""), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if CLONE and (CLONE / ".git").exists():
            return subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout.strip()
    return None


# --- Verification -----------------------------------------------------------------------------------------------------


MISSING, CHANGED, NEW, OUTSIDE = "missing", "changed", "new", "not read"
_WHAT_TO_DO = {
    MISSING: "Put it back from a copy; if it is meant to be gone, write the evidence again",
    CHANGED: "Put it back from a copy; if the change is meant, write the evidence again",
    NEW: "Remove it if it does not belong there; otherwise write the evidence again",
    OUTSIDE: "It lies outside of the folder that may be read here",
}


class Finding(NamedTuple):
    """Something that is not as the evidence says."""

    kind: str
    about: str

    @property
    def text(self) -> str:
        """For example `changed: labels.txt. Put it back from a copy; …`."""
        return f"{self.kind}: {self.about}. {_WHAT_TO_DO[self.kind]}."


def verify(folder: Path, *, within: Path | None = None, progress: Progress = no_progress) -> list[Finding]:
    """All in which an analysis differs from its evidence; nothing is changed, unpickled or trusted.

    New are results, and images and tables of the present runs, that are not listed. `within` as of `write_evidence`.

    Raises
    ------
    SAFEError
        There is no evidence, or it is damaged.
    """
    listed = _read_sums(folder / SUMS_FILE)
    readable = [name for name in listed if is_within(folder / name, within)]
    now, present = _digests(folder, readable, progress), {*results_in(folder)}
    with contextlib.suppress(SAFEError):  # what is damaged is listed, and has changed
        present.update(*_inputs_of(folder, within).values())
    found = [Finding(OUTSIDE, name) for name in listed.keys() - {*readable}]
    found += [Finding(CHANGED if name in now else MISSING, name) for name in readable if now.get(name) != listed[name]]
    found += [Finding(NEW, name) for name in present - listed.keys() if (folder / name).is_file()]
    return sorted(found)


def _read_sums(file: Path) -> dict[str, str]:
    """The digests by name; SAFEError if there are none, or a line is invalid."""
    if not file.is_file():
        raise SAFEError(
            f"Expected {file}. Received an analysis without evidence: nothing says what it was. Write evidence first."
        )
    found = {}
    with intact(file, "Put back a copy, or write evidence anew."):
        for line in regular(file).read_bytes().decode("utf-8", "surrogateescape").removesuffix("\n").split("\n"):
            if not (parts := _LINE.fullmatch(line)):
                raise ValueError(f"a line is invalid: {line[:80]!r}")
            escaped, digest, name = parts.groups()
            found[_unescaped(name) if escaped else name] = digest
    return found


def _unescaped(name: str) -> str:
    """The name that `_sum_line` has escaped; one of `DAMAGED` if it is invalid."""
    characters = {r"\\": "\\", r"\n": "\n", r"\r": "\r"}
    return re.sub(r"\\.", lambda match: characters[match[0]], name)
