"""What the list of analyses says about each: a few numbers, faces and the next step, from files that are read quickly.

The files are those for people (`labels.txt`, `run.json`, tables), not the arrays: a list of many large analyses must be
there at once. What is missing or damaged is left out; the analysis's own page says what is wrong with it.
"""

import contextlib
import csv
import os
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from dbscan.outcome import NOISE
from support.files import DAMAGED, read_record, regular
from support.run_folder import (
    ACCURACY_FILE,
    ANALYSIS_FILE,
    CLUSTERS_FILE,
    EDITS_FILE,
    FAILURES_FILE,
    LABELS_FILE,
    NOTES_FILE,
    RETRAINING_FILE,
    RUN_FILE,
    SELECTION_FILE,
    UNSAFE_SET_FILE,
)
from support.tables import from_cell
from support.text import count

MOST_FACES = 4
_FILES = (CLUSTERS_FILE, FAILURES_FILE, ACCURACY_FILE, LABELS_FILE, EDITS_FILE, NOTES_FILE, SELECTION_FILE,
          UNSAFE_SET_FILE, RETRAINING_FILE, ANALYSIS_FILE)  # fmt: skip


class Summary(NamedTuple):
    """An analysis in short.

    Attributes
    ----------
    failures, rccs, unsafe, labelled : int or None
        How many; None where that step has not been taken.
    accuracy : tuple of float or None
        Before and after the retraining.
    changed : float
        When something was last done, in seconds since 1970.
    faces : tuple of Path
        An image of each of the largest RCCs or, as long as there are none, failing images.
    """

    failures: int | None
    rccs: int | None
    unsafe: int | None
    labelled: int | None
    accuracy: tuple[float, float] | None
    changed: float
    faces: tuple[Path, ...]

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
    failures, rccs, faces = _of_clusters(folder) or (_collected(folder), None, tuple(_failing(folder)))
    unsafe, labelled = _of_unsafe_set(folder) or (None, None)
    changed = max((found[0] for name in _FILES if (found := _stamp_of(folder / name))), default=0) / 1e9
    return Summary(failures, rccs, unsafe, labelled, _accuracy(folder), changed, faces)


def _of_clusters(folder: Path) -> tuple[int, int, tuple[Path, ...]] | None:
    """How many failures and RCCs there are, and an image of each of the largest RCCs."""
    sizes: Counter[int] = Counter()
    some: dict[int, list[str]] = {}
    try:
        with regular(folder / LABELS_FILE).open(encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                label, _, path = line.rstrip("\n").partition("\t")
                sizes[int(label)] += 1
                images = some.setdefault(int(label), [])
                if len(images) < MOST_FACES:
                    images.append(path)
    except DAMAGED:
        return None
    root = Path(str(read_record(folder / RUN_FILE, errors="surrogateescape").get("image_root", os.devnull)))
    rccs = [rcc for rcc, _ in sorted(sizes.items(), key=lambda item: (-item[1], item[0])) if rcc != NOISE]
    # The first of each RCC, then the second of each, and so on
    turns = zip_longest(*(some[rcc] for rcc in rccs), some.get(NOISE, []))
    faces = [root / path for turn in turns for path in turn if path is not None]
    return sizes.total(), len(rccs), tuple(faces[:MOST_FACES])


def _collected(folder: Path) -> int | None:
    """How many failures were collected."""
    failures = read_record(folder / ACCURACY_FILE).get("failures")
    if isinstance(failures, int):
        return failures
    try:
        return sum(1 for _ in _rows(folder / FAILURES_FILE))
    except DAMAGED:
        return None


def _failing(folder: Path) -> list[Path]:
    """A few of the images that were collected, from all over the list."""
    try:
        paths = [folder / from_cell(row["image"]) for row in _rows(folder / FAILURES_FILE)]
    except DAMAGED:
        return []
    return paths[:: max(1, len(paths) // MOST_FACES)][:MOST_FACES]


def _of_unsafe_set(folder: Path) -> tuple[int, int] | None:
    """How many images the unsafe set has, and how many of them have a label."""
    try:
        labels = [(row["label"] or "").strip() for row in _rows(folder / UNSAFE_SET_FILE)]
    except DAMAGED:
        return None
    return (len(labels), sum(map(bool, labels))) if (folder / SELECTION_FILE).is_file() else None


def _accuracy(folder: Path) -> tuple[float, float] | None:
    record = read_record(folder / RETRAINING_FILE)
    with contextlib.suppress(*DAMAGED):
        return float(record["accuracy_before"]), float(record["accuracy_after"])
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
