"""Analyses that have moved: what they say about their own files is put right.

Records name images and models by absolute paths, and some of those lie in the output folder itself: the copies of
failing images, the crops of a detector's objects, the retrained model. Where an analysis last lay is written in it
(`.safe-analysis.json`). If it lies elsewhere when it is opened, since it was renamed, copied, restored or moved by
hand, each path that began with the old place begins with the new one, provided that this leads to something.
"""

import contextlib
import csv
import dataclasses
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rccs.clusters import cluster_files, load_clusters
from rccs.rounds import rounds_in
from support.errors import SAFEError
from support.files import DAMAGED, read_record, write_text
from support.output_folder import own_files, save_files, save_text, writing
from support.run_folder import (
    ACCURACY_FILE,
    ANALYSIS_FILE,
    CLUSTERS_FILE,
    FORMS_FILE,
    KEPT_LABELS_FILE,
    RETRAINING_FILE,
    RUN_FILE,
    RUNS_FOLDER,
    SELECTION_FILE,
)

_RECORDS = (RUN_FILE, SELECTION_FILE, RETRAINING_FILE, ACCURACY_FILE, FORMS_FILE)


def at_home(folder: Path, *, deleted: str = "") -> str:
    """What an analysis's file says: where it lies and, in the bin, since when."""
    record = {"about": "An analysis of SAFE.", "home": os.fspath(folder), **({"deleted": deleted} if deleted else {})}
    return json.dumps(record, indent=1) + "\n"


def settle_in(folder: Path) -> None:
    """Put right what the records of an analysis say about its own files; where it last lay is this folder, then.

    A process that is killed meanwhile leaves some of it to the next call.

    Raises
    ------
    SAFEError
        The folder cannot be written to.
    """
    record = read_record(folder / ANALYSIS_FILE)
    home = record.get("home")
    if home == os.fspath(folder) and "deleted" not in record:
        return
    with writing(folder):
        if isinstance(home, str) and len(Path(home).parts) > 1 and home != os.fspath(folder):
            move = _Move(home.rstrip("/"), os.fspath(folder))
            for place in (folder, *sorted((folder / RUNS_FOLDER).glob("*"))):
                if place.is_dir():
                    _relocate(place, move)
            for kept in rounds_in(folder):
                if (kept / ACCURACY_FILE).is_file():
                    _relocate_record(kept / ACCURACY_FILE, move)
        save_text(folder, ANALYSIS_FILE, at_home(folder))


class _Move:
    """From one place to another, for texts that may be paths."""

    def __init__(self, old: str, new: str):
        self._old, self._new = old, new
        self._is_gone = not os.path.lexists(old)

    def text(self, text: str) -> str:
        """The same text; where it is a path below the old place, that below the new one if there is one."""
        if text == self._old:
            return self._new if self._is_gone else text
        if not text.startswith(f"{self._old}/"):
            return text
        moved = self._new + text.removeprefix(self._old)
        try:
            return moved if os.path.lexists(moved) else text
        except ValueError:
            return text

    def value(self, value: Any) -> Any:
        """The same for all texts of a JSON value."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, dict):
            return {key: self.value(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.value(inner) for inner in value]
        return value


def _relocate(folder: Path, move: _Move) -> None:
    """Each file that changes is replaced; its date stays, by which the page says when something was done."""
    for name in own_files(folder, _RECORDS):
        _relocate_record(folder / name, move)
    for name in own_files(folder, [KEPT_LABELS_FILE]):
        _relocate_table(folder, name, move)
    for name in own_files(folder, [CLUSTERS_FILE]):
        try:
            clusters = load_clusters(folder)
        except SAFEError:
            continue  # damaged, and shown as such
        root, weights = move.text(os.fspath(clusters.image_root)), move.text(clusters.weights)
        if (root, weights) != (os.fspath(clusters.image_root), clusters.weights):
            moved = dataclasses.replace(clusters, image_root=Path(root), weights=weights)
            with _keeping_date(folder / name):
                save_files(folder, {name: cluster_files(moved)[name]})


def _relocate_record(path: Path, move: _Move) -> None:
    before = read_record(path, errors="surrogateescape")
    after = move.value(before)
    if after != before:
        with _keeping_date(path):
            write_text(path, json.dumps(after, indent=2) + "\n")


def _relocate_table(folder: Path, name: str, move: _Move) -> None:
    try:
        text = (folder / name).read_text(encoding="utf-8-sig", errors="surrogateescape")
        rows = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    except DAMAGED:
        return
    moved = [[move.text(cell) for cell in row] for row in rows]
    if moved != rows:
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(moved)
        with _keeping_date(folder / name):
            save_text(folder, name, table.getvalue())


@contextlib.contextmanager
def _keeping_date(path: Path) -> Iterator[None]:
    state = path.stat()
    yield
    with contextlib.suppress(OSError):
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
