"""What the results of an analysis rest on: the predicate of `evidence.json`; and whether they are as it says.

All of it by SHA-256: images, models, weights, tables, the files of all runs, and the last entry of the chain, which
covers all entries. It has no time of its own: the same state gives the same predicate.

`write_evidence` writes it: first what the results rest on, then the report, which names that by its digest, then the
evidence, which names the report by its digest. So each names the other, and nothing names itself.

`verify` changes, unpickles and trusts nothing.
"""

import contextlib
import hashlib
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn import CLONE
from safe_dnn.dnn.held_out import held_out_of
from safe_dnn.pipeline.reporting.evidence import statement
from safe_dnn.pipeline.reporting.export import REPORT_FILE
from safe_dnn.pipeline.reporting.report import is_current, made_from, write_report
from safe_dnn.rccs.clusters import RUN_FILE, load_clusters, run_record, versions
from safe_dnn.rccs.failure_rounds import beside
from safe_dnn.rccs.unsafe_set import SELECTION_FILE, load_unsafe_set
from safe_dnn.store.chain import check_entries, digests_of
from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER
from safe_dnn.store.output_folder import check_own, save_files, working
from safe_dnn.store.places import absolute, relative
from safe_dnn.store.runs import CLUSTERS, CONFIRMATION, RETRAINING, SELECTION, Run, all_runs, present_runs, run_file
from safe_dnn.support.entries import is_within
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import encoded, prepare_folder, read_record, regular
from safe_dnn.support.images import find_images
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES
from safe_dnn.training.result import MODELS_FOLDER, RETRAINING_FILE, load_retraining

_RECORDS = {CLUSTERS: RUN_FILE, SELECTION: SELECTION_FILE, RETRAINING: RETRAINING_FILE}
# What is copied from them; the rest is in the runs themselves, whose digests are known.
_SETTINGS = (
    "extractor", "components", "reducer", "eps", "min_samples", "group", "set_aside", "versions", "formula", "wanted",
    "quota", "left_out", "listed", "task", "threshold", "settings", "best", "repetitions",
)  # fmt: skip
_AT_A_TIME = 1000  # images
_Sets = dict[str, tuple[Path, Sequence[str]]]  # folder and paths of each
_Place = str | Path | None


def basis_of(folder: Path, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """The predicate, and the lists of images by name.

    Raises
    ------
    SAFEError
        Something that was computed is damaged or missing, so that there is nothing to rest on.
    """
    number, digest = statement.last_of(digests_of(folder))
    present, files = present_runs(folder), dict[str, str]()
    for run in all_runs(folder):
        files |= {f"{RUNS_FOLDER}/{run.number}/{name}": of_file for name, of_file in _files_of(run).items()}
    sets, others = known_sets(folder, present)
    images, lists = _images(folder, sets, progress)
    files |= {name: hashlib.sha256(encoded(text)).hexdigest() for name, text in lists.items()}
    roles = {what: relative(path, folder) for what, path in others.items() if path}
    found = {place: sha256_if_there(Path(absolute(place, folder))) for place in roles.values()}
    predicate = {
        "journal": {"number": number, "sha256": digest},
        "images": images,
        "roles": roles,
        "files": files | {place: of_file for place, of_file in found.items() if of_file},
        "settings": _settings(present),
        "made_by": versions() | {"commit": _commit()},
    }
    return predicate, lists


def _files_of(run: Run) -> dict[str, str]:
    """The digests of a run's files; a SAFEError if one is not as it was written."""
    for name in run.files:
        run_file(run, name)
    if run.files:
        return run.files
    # Of a version that kept no digests of them
    return {path.name: sha256_if_there(path) for path in sorted(run.folder.glob("*")) if path.is_file()}


def known_sets(folder: Path, runs: dict[str, Run]) -> tuple[_Sets, dict[str, _Place]]:
    """The sets of images, and the models, weights and tables by what they are, as far as the analysis knows them.

    Of a set of which it knows the folder, these are the images that lie there now.
    """
    sets, roots, files, accuracy = _Sets(), dict[str, _Place](), dict[str, _Place](), folder / ACCURACY_FILE
    if CLUSTERS in runs:
        clusters, record = load_clusters(folder), run_record(folder)
        accuracy = beside(accuracy, clusters.image_root)
        sets["failing"] = (clusters.image_root, clusters.paths)
        roots["tested"] = record.get("predictions", {}).get("tested")
        tables = {name: record.get(name, {}).get("source") for name in ("predictions", "parameters", "set_aside")}
        files |= {name: beside(table, clusters.image_root) for name, table in tables.items() if table}
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
    files |= {f"retrained model {path.name}": path for path in sorted((folder / MODELS_FOLDER).glob("[!.]*"))}
    return sets | {name: (Path(root), _images_in(root)) for name, root in roots.items() if root}, files


def _images_in(root: str | Path) -> Sequence[str]:
    with contextlib.suppress(SAFEError):
        return find_images(root).paths
    return ()


def _images(folder: Path, sets: _Sets, progress: Progress) -> tuple[dict[str, Any], dict[str, str]]:
    """What the predicate says of the sets of images, and their lists; each image is read once."""
    records, lists, digests = {}, {}, dict[Path, str]()
    for name, (root, paths) in sets.items():
        new = [root / path for path in paths if root / path not in digests]
        digests |= zip(new, sha256_of_each(new, f"Reading images, {name}", progress), strict=True)
        lines = [f"{digest}  {path}\n" for path in paths if (digest := digests[root / path])]
        lists[f"{statement.LISTS_FOLDER}/{name}.sha256"] = "".join(lines)
        missing = len(paths) - len(lines)
        records[name] = {"root": relative(root, folder), "images": len(lines), "missing": missing}
    return records, lists


def sha256_of_each(files: Sequence[Path], what: str, progress: Progress) -> Iterator[str]:
    """The result of `sha256_if_there` for each file, in their order; the cores share the work."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        for start in range(0, len(files), _AT_A_TIME):
            yield from pool.map(sha256_if_there, files[start : start + _AT_A_TIME])
            progress(what, min(start + _AT_A_TIME, len(files)), len(files))


def sha256_if_there(file: Path) -> str:
    """The SHA-256 of a file; empty if it is not a file that can be read."""
    try:
        with regular(file).open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, ValueError):  # ValueError: no file can have that name
        return ""


def _settings(runs: dict[str, Run]) -> dict[str, dict[str, Any]]:
    there = {kind: run_file(runs[kind], name) for kind, name in _RECORDS.items() if kind in runs}
    records = {kind: read_record(file) for kind, file in there.items()}
    return {kind: {name: record[name] for name in _SETTINGS if name in record} for kind, record in records.items()}


def _commit() -> str | None:
    """The commit that SAFE is at, with `-dirty` if files were changed; None where it is no clone of git's."""
    command = ["git", "-C", os.fspath(CLONE or ""), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        if CLONE and (CLONE / ".git").exists():
            return subprocess.run(command, capture_output=True, check=True, text=True, timeout=30).stdout.strip()
    return None


def write_evidence(folder: Path, *, progress: Progress = no_progress) -> dict[str, Any]:
    """Write `evidence.json` of the present state, and the report before if it is out of date or names something else.

    Returns
    -------
    dict
        What the predicate says of each set of images.

    Raises
    ------
    SAFEError
        There is no analysis, something in it is damaged, or the evidence cannot be written.
    """
    if not (folder / DATABASE_FILE).is_file():
        raise SAFEError(f"Expected the output folder of an analysis. Received: {folder}, without {DATABASE_FILE}.")
    with working(folder, "writing the evidence"):
        check_own(folder, statement.EVIDENCE_FILE)
        check_entries(folder)
        predicate, lists = basis_of(folder, progress)
        report, basis = folder / REPORT_FILE, statement.digest_of_predicate(predicate)
        named = is_current(report, lambda: made_from(folder)) and basis.encode() in report.read_bytes()
        if CLUSTERS in present_runs(folder) and not named:
            write_report(folder, basis=basis, progress=progress)
        subjects = {name: sha256_if_there(folder / name) for name in statement.results_in(folder)}
        files = {statement.EVIDENCE_FILE: statement.statement_text(subjects, predicate), **lists}
        before = prepare_folder(folder / statement.LISTS_FOLDER).iterdir()
        gone = [path.relative_to(folder).as_posix() for path in before]
        save_files(folder, files, remove=gone)
    return predicate["images"]


# --- Verification -----------------------------------------------------------------------------------------------------


MISSING, CHANGED, ADDED, CONTINUED = "missing", "changed", "added later", "continued"
_WHAT_TO_DO = {
    MISSING: "Put it back from a copy; if it is meant to be gone, write the evidence again",
    CHANGED: "Put it back from a copy; if the change is meant, write the evidence again",
    ADDED: "Remove it if it does not belong there; otherwise write the evidence again",
    CONTINUED: "Added later to the chain of entries, which holds; to include it, write the evidence again",
}
_LINE = re.compile(r"[0-9a-f]{64}  (?!(?:.*/)?\.\.(?:/|$)).+")  # of a list; no path leads out of the folder by `..`


class Finding(NamedTuple):
    """Something that is not as the evidence says; of CONTINUED, the evidence holds all the same."""

    kind: str
    about: str

    @property
    def text(self) -> str:
        """For example `changed: labels.txt. Put it back from a copy; …`."""
        return f"{self.kind}: {self.about}. {_WHAT_TO_DO[self.kind]}."


def verify(folder: Path, *, images: bool = False, progress: Progress = no_progress) -> list[Finding]:
    """All in which an analysis differs from its evidence.

    Parameters
    ----------
    images : bool
        Read every image anew, and models and tables outside of the analysis; otherwise nothing outside is read.

    Raises
    ------
    SAFEError
        There is no evidence, it is damaged or of a newer version.
    """
    evidence = statement.read_evidence(folder)
    found = [*_files(folder, evidence, images), *_entries(folder, evidence), *_added(folder, evidence)]
    return [*found, *_listed_images(folder, evidence, progress)] if images else found


def _files(folder: Path, evidence: statement.Evidence, outside: bool) -> Iterator[Finding]:
    """Results, runs, lists, models and tables; those that lie elsewhere only if they may be read."""
    for place, digest in (evidence.files | evidence.subjects).items():
        path = Path(absolute(place, folder))
        if outside or is_within(path, folder.resolve()):
            if (now := sha256_if_there(path)) != digest:
                yield Finding(CHANGED if now or path.is_file() else MISSING, place)
        elif not place.startswith(("../", "/")):
            yield Finding(CHANGED, f"{place}, perhaps: a link out of the analysis, which is read along with the images")
    report = folder / REPORT_FILE
    reported = REPORT_FILE in evidence.subjects and report.is_file() and is_within(report, folder.resolve())
    if reported and evidence.basis.encode() not in report.read_bytes():
        yield Finding(CHANGED, f"what the results rest on, of which {REPORT_FILE} names another digest")


def _entries(folder: Path, evidence: statement.Evidence) -> Iterator[Finding]:
    """The chain of entries, and whether it has the last one of then."""
    number, digest = evidence.last
    try:
        check_entries(folder)
        present = digests_of(folder)
    except SAFEError as error:
        yield Finding(CHANGED, f"{DATABASE_FILE} ({error})")
        return
    if number and present.get(number) != digest:
        kind = CHANGED if number in present else MISSING
        yield Finding(kind, f"entry {number} of {DATABASE_FILE}, the last one when the evidence was written")
    elif later := [one for one in present if one > number]:
        yield Finding(CONTINUED, f"entries {later[0]} to {later[-1]} of {DATABASE_FILE}")


def _added(folder: Path, evidence: statement.Evidence) -> Iterator[Finding]:
    """Files with a name of SAFE's that the evidence does not know."""
    own = (RUNS_FOLDER, MODELS_FOLDER, statement.LISTS_FOLDER)
    below = (path for name in own for path in (folder / name).rglob("*"))
    files = {path.relative_to(folder).as_posix() for path in below if path.is_symlink() or not path.is_dir()}
    unknown = files.union(statement.results_in(folder)) - evidence.files.keys() - evidence.subjects.keys()
    yield from (Finding(ADDED, name) for name in sorted(unknown))


def _listed_images(folder: Path, evidence: statement.Evidence, progress: Progress) -> Iterator[Finding]:
    """The images in the lists that are as they were."""
    for file, place in evidence.sets.items():
        root = Path(absolute(place, folder))
        if sha256_if_there(folder / file) != evidence.files[file]:
            continue  # said of the list
        lines = (folder / file).read_text("utf-8", "surrogateescape").split("\n")[:-1]
        if lines and not root.is_dir():
            yield Finding(MISSING, f"{place}, the folder of the images in {file}")
        elif not all(map(_LINE.fullmatch, lines)):
            yield Finding(CHANGED, f"{file}, which is no list of images")
        else:
            digests = sha256_of_each([root / line[66:] for line in lines], f"Reading images, {file}", progress)
            for line, digest in zip(lines, digests, strict=True):
                if digest != line[:64]:
                    yield Finding(CHANGED if digest else MISSING, f"{root.name}/{line[66:]} (of {file})")
