"""What the list of analyses says about each: a few numbers and the next step, from files that are read quickly.

The files are those for people (`labels.txt`, `run.json`, tables), not the arrays: a list of many large analyses must be
there at once. What is missing or damaged is left out; the analysis's own page says what is wrong with it.
"""

import contextlib
import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rccs.clusters import LABELS_FILE
from rccs.dbscan.outcome import NOISE
from rccs.unsafe_set import UNSAFE_SET_FILE
from store.database import DATABASE_FILE
from support.files import DAMAGED, read_record, regular
from support.run_folder import ACCURACY_FILE, FAILURES_FILE
from support.text import count
from training.result import RETRAINING_FILE

_FILES = (DATABASE_FILE, FAILURES_FILE, ACCURACY_FILE, LABELS_FILE, UNSAFE_SET_FILE, RETRAINING_FILE)


class Summary(NamedTuple):
    """An analysis in short.

    Attributes
    ----------
    failures, rccs, unsafe, labelled : int or None
        How many; None where that step has not been taken.
    accuracy : tuple of float, float and int, or None
        Before and after the retraining, and of how many images.
    changed : float
        When something was last done, in seconds since 1970.
    """

    failures: int | None
    rccs: int | None
    unsafe: int | None
    labelled: int | None
    accuracy: tuple[float, float, int] | None
    changed: float

    @property
    def step(self) -> str:
        """What is next."""
        if self.rccs is None:
            return (
                "Collect the failures, or name a folder of failing images"
                if self.failures is None
                else "Find the reasons"
            )
        if self.accuracy is not None:
            return "Look at what is still wrong, and write the report"
        if self.unsafe is None:
            return "Select the unsafe set"
        missing = self.unsafe - (self.labelled or 0)
        return f"Label {count(missing, 'image')}" if missing else "Retrain"


class Summaries:
    """Summaries that are read once and kept as long as the files stay the same."""

    def __init__(self) -> None:
        self._kept: dict[Path, tuple[tuple, Summary]] = {}

    def of(self, folder: Path) -> Summary:
        """The summary of the analysis in a folder."""
        stamp = tuple(_stamp_of(folder / name) for name in _FILES)
        kept = self._kept.get(folder)
        if kept is None or kept[0] != stamp:
            kept = self._kept[folder] = (stamp, summary_of(folder))
        return kept[1]


def summary_of(folder: Path) -> Summary:
    """Read the summary of the analysis in a folder."""
    failures, rccs = _of_clusters(folder) or (_collected(folder), None)
    unsafe, labelled = _of_unsafe_set(folder) or (None, None)
    changed = max((found[0] for name in _FILES if (found := _stamp_of(folder / name))), default=0) / 1e9
    return Summary(failures, rccs, unsafe, labelled, _accuracy(folder), changed)


def _of_clusters(folder: Path) -> tuple[int, int] | None:
    """How many failures and RCCs there are."""
    try:
        with regular(folder / LABELS_FILE).open(encoding="utf-8", errors="surrogateescape") as lines:
            sizes = Counter(int(line.partition("\t")[0]) for line in lines)
    except DAMAGED:
        return None
    return sizes.total(), len(sizes.keys() - {NOISE})


def _collected(folder: Path) -> int | None:
    """How many failures were collected."""
    failures = read_record(folder / ACCURACY_FILE).get("failures")
    return failures if isinstance(failures, int) else None


def _of_unsafe_set(folder: Path) -> tuple[int, int] | None:
    """How many images the unsafe set has, and how many of them have a label."""
    try:
        labels = [(row["label"] or "").strip() for row in _rows(folder / UNSAFE_SET_FILE)]
    except DAMAGED:
        return None
    return len(labels), sum(map(bool, labels))


def _accuracy(folder: Path) -> tuple[float, float, int] | None:
    record = read_record(folder / RETRAINING_FILE)
    record = record.get("final") or record  # what may be claimed
    with contextlib.suppress(*DAMAGED):
        return float(record["accuracy_before"]), float(record["accuracy_after"]), int(record["test_size"])
    return None


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with regular(path).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        yield from csv.DictReader(file, strict=True)


def _stamp_of(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_mtime_ns, state.st_size
