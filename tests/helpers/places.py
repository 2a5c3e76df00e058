"""Ports, folders, and tables in them."""

import csv
import hashlib
import socket
from pathlib import Path

from safe_dnn.store.database import DATABASE_FILE, RUNS_FOLDER, entries, reading
from safe_dnn.store.output_folder import LOCK_FILE, WORK_FILE
from safe_dnn.store.runs import present_runs


def closed_port() -> int:
    """A port of this machine on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rows_in(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


OWN = {DATABASE_FILE, LOCK_FILE, WORK_FILE}


def names_in(folder: Path) -> list[str]:
    """The names of what lies in a folder, sorted; those that every output folder has are left out."""
    return sorted(path.name for path in folder.iterdir() if path.name not in OWN)


def in_run(folder: Path, name: str) -> Path:
    """The file with this name in the present runs of an analysis; a test may damage it."""
    file = next(run.folder / name for run in present_runs(folder).values() if (run.folder / name).is_file())
    file.chmod(0o644)
    return file


def check_entries(folder: Path) -> None:
    """The database of an analysis is sound, and all of its entries can be read."""
    with reading(folder) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        for _ in entries(db, "true"):
            pass


def digests_of(folder: Path) -> dict[str, str]:
    """Digests of all files below a folder, by path: whether anything there has changed."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def runs_as_they_are(folder: Path) -> dict[str, str]:
    """Digests of all that was computed in an analysis."""
    return digests_of(folder / RUNS_FOLDER)
