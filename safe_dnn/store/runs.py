"""What was computed: a folder for each run, `runs/<number>/`, put in place by one rename and never changed afterwards.

Each has an entry of the database, whose number is its name, with its kind, the clusters that it rests on (see
`rccs.clusters.run_of`), and the digests of its files: SAFE does not read a changed file (`run_file`). The present run,
the other ones and those that may be removed are queries. The files in the output folder itself are copies of the
present state.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from safe_dnn.store.database import RUN, RUNS_FOLDER, Entry, append, changing, entries, last_entry, marks, reading
from safe_dnn.store.output_folder import Writer, fill
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import intact, new_folder, regular, umask
from safe_dnn.support.images import digest_of

CLUSTERS, COMPARISON, CONFIRMATION, PROBES, MAP, SELECTION, RETRAINING = KINDS = (
    "clusters", "comparison", "confirmation", "probes", "map", "selection", "retraining"
)  # fmt: skip
HEATMAP = "heatmap"
"""The kind of a run beside these: there is one for each reason (see `report/drawings.py`)."""
REASONS = "reasons"
"""The kind of a run that rests on a table of answers, with or without clusters (see `reasons/listed.py`)."""
DRAWING = "images to ask about a word"
"""The kind of a run that rests on a table of answers: there is one for each word (see `reasons/words/tagging.py`)."""
OPENING = "open"
"""The kind of an entry by which earlier clusters are the present ones again."""


Files = Mapping[str, Writer]
"""Name to content."""


class Run(NamedTuple):
    """Something that was computed.

    Attributes
    ----------
    number : int
        Of its entry, from 1.
    kind : one of KINDS
    time : str
        When it was put in place; ISO 8601, UTC.
    clusters : str
        What identifies the clusters that it rests on or, of clusters, themselves; empty if it rests on none. What also
        rests on how they were described, as a comparison does, names their run (see `itself`).
    facts : dict
        A summary; its content depends on the kind.
    files : dict of str to str
        The SHA-256 of each of its files, by name.
    folder : Path
    """

    number: int
    kind: str
    time: str
    clusters: str
    facts: dict[str, Any]
    files: dict[str, str]
    folder: Path

    @property
    def itself(self) -> str:
        """What identifies this run, for what rests on it and on no other one of the same clusters."""
        return f"run {self.number}"

    @property
    def again(self) -> str:
        """What to do if it is damaged."""
        return f"Compute the {self.kind} again."


def add_run(
    folder: Path, kind: str, files: Files, *, clusters: str = "", facts: Mapping[str, Any] | None = None,
    instead_of: Run | None = None,
) -> Run:  # fmt: skip
    """Write a run; it is the present one of its kind from then on, all of it or nothing.

    Parameters
    ----------
    folder : Path
        Of the analysis.
    files : mapping of str to Writer
        Name to content.
    clusters, facts
        As of `Run`.
    instead_of : Run, optional
        What was computed before, and is removed: it says less of the same.

    Raises
    ------
    SAFEError
        It cannot be written; nothing is changed.
    """
    runs = folder / RUNS_FOLDER
    try:
        with new_folder(runs / "run") as building, contextlib.ExitStack() as undone:
            digests = {}
            for name, content in files.items():
                fill(building / name, content)
                with (building / name).open("rb") as written:
                    os.fsync(written.fileno())
                    digests[name] = hashlib.file_digest(written, "sha256").hexdigest()
                (building / name).chmod(0o444 & ~umask())
            with changing(folder) as db:
                # Above all folders: a copy of the database that was put back does not know the last ones.
                taken = (int(path.name) for path in runs.iterdir() if RUN.fullmatch(path.name))
                least = 1 + max(taken, default=0)
                number = append(db, kind, "", {**(facts or {}), "files": digests}, run=clusters, number=least)
                target = building.rename(runs / str(number))
                undone.callback(shutil.rmtree, target, ignore_errors=True)
                (entry,) = entries(db, "number = ?", number)
            undone.pop_all()
    except OSError as error:
        raise SAFEError(f"Could not write to {runs}: {error.strerror or error}. Nothing was changed.") from error
    if instead_of:
        shutil.rmtree(instead_of.folder, ignore_errors=True)
    return _run_of(entry, folder)


def copy_database(folder: Path, to: Path) -> None:
    """Copy the database of an analysis as it is at one moment; errors are those of `reading`."""
    with reading(folder) as db, contextlib.closing(sqlite3.connect(to)) as copy:
        db.backup(copy)


def present_runs(folder: Path, clusters: Run | None = None) -> dict[str, Run]:
    """The present clusters, or others, and what rests on them, the latest of each kind, by kind.

    Without clusters: what rests on none.
    """
    with reading(folder) as db:
        clusters = clusters or _present_clusters(db, folder)
        runs = {CLUSTERS: clusters} if clusters else {}
        rests_on = (clusters.clusters, clusters.itself) if clusters else ("", "")
        latest = f"SELECT max(number) FROM entry WHERE run IN (?, ?) AND kind IN {marks(KINDS[1:])} GROUP BY kind"
        latest_entries = entries(db, f"number IN ({latest})", *rests_on, *KINDS[1:])
        runs |= {entry.kind: _run_of(entry, folder) for entry in latest_entries}
    return {kind: run for kind, run in runs.items() if run.folder.is_dir()}


def runs_of(folder: Path, kind: str) -> tuple[Run, ...]:
    """The runs of a kind that are still there, the oldest first."""
    with reading(folder) as db:
        runs = [_run_of(entry, folder) for entry in entries(db, "kind = ?", kind)]
    return tuple(run for run in runs if run.folder.is_dir())


def earlier_runs(folder: Path) -> list[Run]:
    """The clusters of an analysis but for the present ones, the newest first."""
    present = present_runs(folder).get(CLUSTERS)
    return [run for run in reversed(runs_of(folder, CLUSTERS)) if run != present]


def run_file(run: Run, name: str) -> Path:
    """A file of a run, as it was written; what it holds need not be checked again.

    Raises
    ------
    SAFEError
        It is missing, or was changed since.
    """
    path = run.folder / name
    try:
        digest = digest_of(regular(path))
    except OSError as error:
        raise SAFEError(f"{path} cannot be read ({error.strerror}). {run.again}") from error
    if digest != run.files.get(name):
        raise SAFEError(f"{path} is damaged: it is not as SAFE wrote it. {run.again}")
    return path


def texts_of(run: Run | None, *names: str) -> dict[str, str]:
    """The texts of a run's files, as far as they are there, by name."""
    paths = [run.folder / name for name in names] if run else []
    there = (path for path in paths if path.is_file())
    return {path.name: path.read_text(encoding="utf-8", errors="surrogateescape") for path in there}


@contextlib.contextmanager
def reading_file(run: Run, name: str) -> Iterator[Path]:
    """A file of a run, to be read in the block; what fails there (`DAMAGED`) is a SAFEError, as in `run_file`."""
    path = run_file(run, name)
    with intact(path, run.again):
        yield path


def open_clusters(folder: Path, number: int) -> None:
    """Make earlier clusters the present ones, with all that rests on them."""
    with changing(folder) as db:
        append(db, OPENING, "", number)


def _present_clusters(db: sqlite3.Connection, folder: Path) -> Run | None:
    last = last_entry(db, CLUSTERS, OPENING)
    if last and last.kind == OPENING:
        (last,) = entries(db, "number = ?", last.value)
    return _run_of(last, folder) if last else None


def _run_of(entry: Entry, folder: Path) -> Run:
    place = folder / RUNS_FOLDER / str(entry.number)
    files, facts = entry.value.get("files", {}), {name: one for name, one in entry.value.items() if name != "files"}
    return Run(entry.number, entry.kind, entry.time, entry.run, facts, files, place)
