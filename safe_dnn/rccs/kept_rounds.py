"""Keeps failures that clusters are of, before others take their place (see `rccs/failure_rounds.py`)."""

import contextlib
import json
import os
import shutil
from pathlib import Path

from safe_dnn.rccs.clusters import load_clusters
from safe_dnn.rccs.failure_rounds import names_in
from safe_dnn.rccs.parameters import PARAMETERS_FILE
from safe_dnn.store.runs import CLUSTERS, runs_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import date_of, free_name, read_record, replacing_folder
from safe_dnn.support.run_folder import (
    ACCURACY_FILE,
    FAILURES,
    FAILURES_MARK,
    OBJECTS,
    ROUNDS_FOLDER,
    TABLES_OF_FAILURES,
)


def keep_round(folder: Path) -> Path | None:
    """Copy the failures in an output folder to `rounds/`, if clusters there, current or earlier, are of them.

    A round is named after the time, in UTC, at which its failures were collected. Copies are links to the same content
    where the file system has such: a round takes hardly any time, and no space as long as its images are failures.

    Returns
    -------
    Path or None
        The round; None if there was nothing to keep, or it was kept before.

    Raises
    ------
    SAFEError
        They cannot be written.
    """
    names = names_in(folder / FAILURES)
    if not names or not _in_use(folder, names):
        return None
    collected = (folder / FAILURES / FAILURES_MARK).stat().st_mtime
    target = folder / ROUNDS_FOLDER / date_of(collected).strftime("%Y%m%d-%H%M%S")
    if names_in(target / FAILURES) == names:
        return None  # by a run that did not get as far as replacing them
    target = free_name(target) if os.path.lexists(target) else target
    try:
        with replacing_folder(target) as new:
            _copy_round(folder, new)
    except OSError as error:
        raise SAFEError(f"Could not keep the earlier failures in {target}: {error.strerror or error}.") from error
    return target


def _in_use(folder: Path, names: frozenset[str]) -> bool:
    """Whether clusters in a folder are of the failures there."""
    home = (folder / FAILURES).resolve()
    for run in runs_of(folder, CLUSTERS):
        with contextlib.suppress(SAFEError):
            clusters = load_clusters(folder, run)
            if clusters.image_root == home and names.issuperset(clusters.paths):
                return True
    return False


def _copy_round(folder: Path, new: Path) -> None:
    record = read_record(folder / ACCURACY_FILE)
    for name in (FAILURES, OBJECTS):
        if names_in(folder / name):
            shutil.copytree(folder / name, new / name, copy_function=_link)
    for name in (*TABLES_OF_FAILURES, PARAMETERS_FILE):
        if (folder / name).is_file():
            shutil.copy2(folder / name, new / name)
    for name in ("test_root", "model"):
        recorded = str(record.get(name, ""))
        own = name == "test_root" and recorded == OBJECTS and names_in(new / OBJECTS)
        if recorded and not own and not os.path.isabs(recorded):  # noqa: PTH117, a text
            record[name] = os.path.relpath(folder / recorded, new)
    text = json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    (new / ACCURACY_FILE).write_text(text, encoding="utf-8", errors="surrogateescape")


def _link(source: str, copy: str) -> None:
    """Give a file a second name; where that is not possible, copy it."""
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)
