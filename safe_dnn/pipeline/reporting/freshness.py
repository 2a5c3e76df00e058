"""What a report was made from, and whether it has changed since.

The report says in two `meta` elements when it was begun and which runs and entries it was made from. They are read from
the beginning of the file, or of the `report.html` in an export.
"""

import csv
import datetime
import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from safe_dnn.pipeline.reporting.export import LABELS_TABLE, REPORT_FILE
from safe_dnn.rccs.review.journal import KINDS
from safe_dnn.rccs.unsafe_set import LABEL
from safe_dnn.store.chain import last_number
from safe_dnn.store.database import reading
from safe_dnn.store.runs import CLUSTERS, COMPARISON, CONFIRMATION, PROBES, RETRAINING, SELECTION, present_runs
from safe_dnn.store.runs import KINDS as RUN_KINDS
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import date_of, intact, regular

PARTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "clusters": ("the root cause clusters", (CLUSTERS,)),
    "judgements": ("names, judgements and edits", tuple(kind for kind in KINDS if kind != "scope")),
    "scope": ("the scope", ("scope",)),
    "comparison": ("the failure rates and weak spots", (COMPARISON,)),
    "confirmation": ("what a fresh test set says", (CONFIRMATION,)),
    "probes": ("what would change the answers", (PROBES,)),
    "unsafe-set": ("the unsafe set and its labels", (SELECTION, LABEL)),
    "model": ("the retrained model", (RETRAINING,)),
}
"""What a report is made from: the name of each part, in words and as kinds of entries."""
_BEGINNING = 4096  # bytes, within which the elements stand


class Made(NamedTuple):
    """A report or an export that was written.

    Attributes
    ----------
    time : datetime
        When it was begun; in the local time zone.
    changed : tuple of str or None
        What has changed since, in words. None if it does not say what it was made from.
    missing : int
        Images that an export lacks, since they could not be read.
    """

    time: datetime.datetime
    changed: tuple[str, ...] | None
    missing: int = 0


def made_from(folder: Path) -> dict[str, str]:
    """What a report on the present state is made from, by part: the numbers of the runs and of the last entries."""
    runs = present_runs(folder)
    with reading(folder) as db:

        def number_of(kind: str) -> int:
            return (runs[kind].number if kind in runs else 0) if kind in RUN_KINDS else last_number(db, kind)

        return {part: "-".join(str(number_of(kind)) for kind in kinds) for part, (_, kinds) in PARTS.items()}


def made_elements(digests: dict[str, str], now: datetime.datetime) -> str:
    """The `meta` elements for these digests."""
    listed = " ".join(f"{part}={digest}" for part, digest in digests.items())
    time = now.isoformat(timespec="seconds")
    return f"<meta name='safe-made' content='{time}'><meta name='safe-from' content='{listed}'>"


def when_made(file: Path, digests: Callable[[], Mapping[str, str]]) -> Made | None:
    """Read when a report, or an export with one (`.zip`), was made, and what has changed in the folder since.

    Parameters
    ----------
    digests : callable
        Gives those that `made_from` gives of the folder now. It is called only if they are needed.

    Returns
    -------
    Made or None
        None if there is no such file.

    Raises
    ------
    SAFEError
        It is damaged.
    """
    try:
        modified = regular(file).stat().st_mtime
    except OSError:
        return None
    with intact(file, "Make it again."):
        if file.suffix == ".zip":
            beginning, missing = _of_export(file)
        else:
            with file.open("rb") as report:
                beginning, missing = report.read(_BEGINNING), 0
    return _made(beginning.decode("utf-8", "replace"), modified, digests)._replace(missing=missing)


def _made(text: str, modified: float, digests: Callable[[], Mapping[str, str]]) -> Made:
    then, listed = (_content(text, name) for name in ("safe-made", "safe-from"))
    known = dict(pair.split("=", 1) for pair in listed.split() if "=" in pair)
    try:
        time = datetime.datetime.fromisoformat(then)
    except ValueError:
        time, known = date_of(modified), {}
    changed = None
    if known.keys() == PARTS.keys():
        now = digests()
        changed = tuple(words for part, (words, _) in PARTS.items() if known[part] != now[part])
    return Made(time.astimezone(), changed)


def _of_export(file: Path) -> tuple[bytes, int]:
    """The beginning of an export's report, and how many images the export lacks."""
    with zipfile.ZipFile(file) as archive, archive.open(REPORT_FILE) as report, archive.open(LABELS_TABLE) as table:
        rows = csv.DictReader(io.TextIOWrapper(table, "utf-8-sig", newline=""))
        return report.read(_BEGINNING), sum(not row["file"] for row in rows)


def is_current(report: Path, digests: Callable[[], Mapping[str, str]]) -> bool:
    """Whether there is a report, and nothing that it is made from has changed since (`digests` as for `when_made`)."""
    try:
        made = when_made(report, digests)
    except SAFEError:
        return False
    return made is not None and made.changed == ()


def _content(text: str, name: str) -> str:
    found = re.search(rf"<meta name='{name}' content='([^'<>]*)'>", text)
    return found[1] if found else ""
