"""The unsafe set, that is, the images to label: the record of a selection, and its files. Used by `selection.py`.

`IS_filenames.txt` is the paper's file, `unsafe_set.csv` adds distances and labels, and `unsafe_set.json` describes the
selection.
"""

import csv
import hashlib
import io
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from support.errors import SAFEError
from support.files import DAMAGED, read_record
from support.images import Skipped
from support.output_folder import Writer, save_files
from support.run_folder import FILENAMES_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from support.tables import cell, from_cell

COLUMNS = ("image", "rcc", "distance", "within_eps", "label")
# One more column each, of sets that were also selected by weak spots or by the DNN's likely errors
REASON = "reason"
LIKELY_WRONG = "likely_wrong"
QUOTAS = ("equal", "size")
QUOTA = "size"


class UnsafeImage(NamedTuple):
    """A row of `unsafe_set.csv`.

    Attributes
    ----------
    image : str
        Path relative to the improvement folder.
    rcc : int
    distance : float
        To the nearest core point, in the space of PCA.
    within_eps : bool
        Whether that distance is at most the RCC's reach, which replaces DBSCAN's eps in that space (see
        `rccs.clusters.rcc_reach`): the image is as near to a core point as the RCC's own images.
    label : str
        The class; empty if the image is not labelled.
    reason : str
        The weak spot, in words, that the image was selected for; empty if it was selected for its RCC.
    likely_wrong : float or None
        How likely the DNN is wrong on it, if it was selected by that (see `dnn.failure_prediction`).
    """

    image: str
    rcc: int
    distance: float
    within_eps: bool
    label: str = ""
    reason: str = ""
    likely_wrong: float | None = None

    @property
    def why(self) -> str:
        """Why the image was selected, in words."""
        if self.reason:
            return f"weak spot: {self.reason}"
        if self.likely_wrong is not None:
            return f"near RCC {self.rcc}, {self.likely_wrong:.0%} of similar answers wrong"
        return f"among the nearest to RCC {self.rcc}"


@dataclass(frozen=True)
class UnsafeSet:
    """The images to label.

    Attributes
    ----------
    improvement_root : Path
    images : tuple of UnsafeImage
        By RCC, the nearest first within each.
    wanted : int
        Requested size; more than `len(images)` if there were not enough candidates.
    formula : str
        How that size was computed, in words.
    n_improvement : int
        Readable images of the improvement set.
    candidates : tuple of int
        Number of improvement images nearest to each RCC.
    skipped : tuple of Skipped
    clusters : str
        Fingerprint of the RCCs that the selection belongs to (see `rccs.clusters.fingerprint`).
    left_out : tuple of int
        RCCs that no images were selected for, by the engineer's choice.
    quota : "equal" or "size"
        How the images were divided among the RCCs (see `selection.quotas`).
    model : str
        The DNN whose likely errors half of the images were chosen by, or the table of its answers; empty if there was
        none.
    run : str
        Fingerprint of those clusters as they were found, without the engineer's edits; empty in sets of older versions.
    labels : str
        A sentence on the labels of the previous set; empty if there were none.
    notes : tuple of str
        What could not be set aside in improvement images, as it was in the failing ones; how many images were selected
        by weak spots, and which of their conditions could not be checked.
    listed : bool
        Whether the improvement images were those of a list; its folder may hold others.
    """

    improvement_root: Path
    images: tuple[UnsafeImage, ...]
    wanted: int
    formula: str
    n_improvement: int
    candidates: tuple[int, ...]
    skipped: tuple[Skipped, ...]
    clusters: str
    left_out: tuple[int, ...] = ()
    quota: str = QUOTA
    model: str = ""
    run: str = ""
    labels: str = ""
    notes: tuple[str, ...] = ()
    listed: bool = False


# --- The files --------------------------------------------------------------------------------------------------


def save_unsafe_set(unsafe: UnsafeSet, folder: Path) -> None:
    """Write the files of `unsafe_set_files`."""
    save_files(folder, unsafe_set_files(unsafe))


def unsafe_set_files(unsafe: UnsafeSet) -> dict[str, Writer]:
    """`IS_filenames.txt`, `unsafe_set.csv` and `unsafe_set.json`, by name."""
    record = {
        "improvement_root": os.fspath(unsafe.improvement_root),
        "selected": len(unsafe.images),
        "wanted": unsafe.wanted,
        "formula": unsafe.formula,
        "n_improvement": unsafe.n_improvement,
        "candidates": unsafe.candidates,
        "skipped": [skip._asdict() for skip in unsafe.skipped],
        "clusters": unsafe.clusters,
        "left_out": unsafe.left_out,
        "quota": unsafe.quota,
        "model": unsafe.model,
        "run": unsafe.run,
        "labels": unsafe.labels,
        "images": _digest(unsafe.images),
        **({"notes": unsafe.notes} if unsafe.notes else {}),
        **({"listed": True} if unsafe.listed else {}),
    }
    return {
        FILENAMES_FILE: "".join(f"{image.image}\n" for image in unsafe.images),
        UNSAFE_SET_FILE: unsafe_table(unsafe),
        SELECTION_FILE: json.dumps(record, indent=2) + "\n",
    }


def unsafe_table(unsafe: UnsafeSet) -> str:
    """The content of `unsafe_set.csv`, the only file that labelling changes."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    more: dict[str, list] = {}
    if any(image.reason for image in unsafe.images):
        more[REASON] = [cell(image.reason) for image in unsafe.images]
    if any(image.likely_wrong is not None for image in unsafe.images):
        more[LIKELY_WRONG] = ["" if image.likely_wrong is None else image.likely_wrong for image in unsafe.images]
    writer.writerow([*COLUMNS, *more])
    for i, image in enumerate(unsafe.images):
        within = str(image.within_eps).lower()
        row = [cell(image.image), image.rcc, image.distance, within, cell(image.label)]
        writer.writerow([*row, *(column[i] for column in more.values())])
    return table.getvalue()


def set_key(unsafe: UnsafeSet) -> str:
    """Identifies an unsafe set, independently of its labels."""
    return f"{unsafe.clusters}-{_digest(unsafe.images)}"


def _digest(images: Sequence[UnsafeImage]) -> str:
    """Identifies a selection: the images and their RCCs, in any order."""
    rows = sorted(f"{image.rcc}\t{image.image}\n" for image in images)
    return hashlib.blake2b("".join(rows).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def load_unsafe_set(folder: Path) -> UnsafeSet:
    """Read the unsafe set in a folder.

    Raises
    ------
    SAFEError
        There is no unsafe set, or it is damaged.
    """
    path = folder / UNSAFE_SET_FILE
    if not path.is_file() or not (folder / SELECTION_FILE).is_file():
        raise SAFEError(f"Expected an unsafe set. Received none in {folder}. Select it first.")
    try:
        # Engineers fill in the labels with a spreadsheet, which may add a byte order mark and write TRUE for true.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        images = tuple(map(_image_of, rows))
        if not images:
            raise ValueError("no images")
        if len({image.image for image in images}) < len(images):
            raise ValueError("the same image twice")
        record = json.loads((folder / SELECTION_FILE).read_text(encoding="utf-8"))
        if "images" in record and record["images"] != _digest(images):
            raise ValueError(f"{SELECTION_FILE} and {UNSAFE_SET_FILE} have different images")
        if record.get("quota", "equal") not in QUOTAS:
            raise ValueError(f"an invalid quota: {record['quota']}")
        candidates = tuple(map(int, record["candidates"]))
        if max(image.rcc for image in images) >= len(candidates):
            raise ValueError("an RCC that does not exist")
        return UnsafeSet(
            improvement_root=Path(record["improvement_root"]),
            images=images,
            wanted=int(record["wanted"]),
            formula=str(record["formula"]),
            n_improvement=int(record["n_improvement"]),
            candidates=candidates,
            skipped=tuple(Skipped(skip["path"], skip["reason"]) for skip in record["skipped"]),
            clusters=str(record["clusters"]),
            left_out=tuple(map(int, record.get("left_out", ()))),
            quota=record.get("quota", "equal"),  # older versions had no other
            model=str(record.get("model", "")),
            run=str(record.get("run", "")),
            labels=str(record.get("labels", "")),
            notes=tuple(map(str, record.get("notes", ()))),
            listed=bool(record.get("listed", False)),
        )
    except DAMAGED as error:
        raise SAFEError(f"The unsafe set in {folder} is damaged ({error}). Select it again.") from error


def selection_run(folder: Path) -> str:
    """Fingerprint of the unedited clusters that the unsafe set in a folder belongs to; empty if unknown."""
    return str(read_record(folder / SELECTION_FILE).get("run", ""))


def _image_of(row: Mapping[str, str]) -> UnsafeImage:
    """A row of `unsafe_set.csv`; a ValueError if it is invalid."""
    image, label = from_cell(row["image"] or ""), from_cell((row["label"] or "").strip())
    rcc, distance = int(row["rcc"]), float(row["distance"])
    if not image or set(image) & set("\0\r\n") or rcc < 0 or not 0 <= distance < math.inf:
        raise ValueError(f"an invalid row: {image!r}, {rcc}, {distance}")
    likely = (row.get(LIKELY_WRONG) or "").strip()
    share = float(likely) if likely else None
    if share is not None and not 0 <= share <= 1:
        raise ValueError(f"an invalid row: {image!r}, {LIKELY_WRONG} {likely}")
    within = row["within_eps"].strip().lower() == "true"
    return UnsafeImage(image, rcc, distance, within, label, from_cell(row.get(REASON) or ""), share)
