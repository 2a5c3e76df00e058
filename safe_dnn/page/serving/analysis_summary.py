"""What the list of analyses says about each: a few numbers and the next step, from files that are read quickly.

The files are those for people (`labels.txt`, `run.json`, tables), not the arrays: a list of many large analyses must be
there at once. What is missing or damaged is left out; the analysis's own page says what is wrong with it.
"""

import contextlib
import csv
import datetime
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from safe_dnn.pipeline.reporting.report import REPORT_FILE
from safe_dnn.rccs.clusters import LABELS_FILE
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.unsafe_set import UNSAFE_SET_FILE
from safe_dnn.store.database import DATABASE_FILE
from safe_dnn.support.files import DAMAGED, date_of, read_record, regular, state_of_file
from safe_dnn.support.run_folder import ACCURACY_FILE, FAILURES_FILE
from safe_dnn.support.text import count
from safe_dnn.training.result import RETRAINING_FILE

_FILES = (DATABASE_FILE, FAILURES_FILE, ACCURACY_FILE, LABELS_FILE, UNSAFE_SET_FILE, RETRAINING_FILE, REPORT_FILE)


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
    reported : bool
        Whether a report was written.
    """

    failures: int | None
    rccs: int | None
    unsafe: int | None
    labelled: int | None
    accuracy: tuple[float, float, int] | None
    changed: float
    reported: bool

    @property
    def step(self) -> str:
        """What is next."""
        if self.rccs is None and self.failures is None:
            return "Collect the failures, or name a folder of failing images"
        if self.rccs is None:
            return "Group failing images"
        if self.accuracy is not None:
            return "Look at what is still wrong" + ("" if self.reported else ", and write the report")
        if self.unsafe is None:
            return "Select the unsafe set"
        missing = self.unsafe - (self.labelled or 0)
        return f"Label {count(missing, 'image')}" if missing else "Retrain"

    @property
    def facts(self) -> list[tuple[str, bool]]:
        """What has been done, and whether it is a gain."""
        labelled = f", {self.labelled:,} labelled" if self.labelled else ""
        done = ((self.failures, "failure", ""), (self.rccs, "RCC", ""), (self.unsafe, "unsafe image", labelled))
        facts = [(count(number, what) + more, False) for number, what, more in done if number is not None]
        if self.accuracy:
            before, after, tested = self.accuracy
            facts.append((f"accuracy {before:.2%} → {after:.2%} of {tested:,}", after > before))
        return facts

    @property
    def date(self) -> datetime.datetime:
        """The time of the last change, here."""
        return date_of(self.changed).astimezone().replace(microsecond=0)


def stamp_of(folder: Path) -> tuple[tuple[int, int] | None, ...]:
    """What differs where the summary may."""
    return tuple(state_of_file(folder / name) for name in _FILES)


def summary_of(folder: Path, stamp: tuple[tuple[int, int] | None, ...] = ()) -> Summary:
    """Read the summary of the analysis in a folder, by default with its present stamp."""
    failures, rccs = _of_clusters(folder) or (_collected(folder), None)
    unsafe, labelled = _of_unsafe_set(folder) or (None, None)
    changed = max((found[0] for found in stamp or stamp_of(folder) if found), default=0) / 1e9
    return Summary(failures, rccs, unsafe, labelled, _accuracy(folder), changed, (folder / REPORT_FILE).is_file())


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
        with regular(folder / UNSAFE_SET_FILE).open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            labels = [(row["label"] or "").strip() for row in csv.DictReader(file, strict=True)]
    except DAMAGED:
        return None
    return len(labels), sum(map(bool, labels))


def _accuracy(folder: Path) -> tuple[float, float, int] | None:
    record = read_record(folder / RETRAINING_FILE)
    record = record.get("final") or record  # what may be claimed
    with contextlib.suppress(*DAMAGED):
        return float(record["accuracy_before"]), float(record["accuracy_after"]), int(record["test_size"])
    return None
