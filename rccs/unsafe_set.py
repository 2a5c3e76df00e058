"""The unsafe set: the record of a selection, and the files that keep it. Steps 3 and 4, for `selection.py`.

`IS_filenames.txt` is the paper's, `unsafe_set.csv` the same with distances and labels, `unsafe_set.json` says how the
selection came about.
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
from support.files import DAMAGED, regular
from support.images import Skipped
from support.output_folder import Writer, save_files
from support.run_folder import FILENAMES_FILE, SELECTION_FILE, UNSAFE_SET_FILE
from support.tables import cell, from_cell

COLUMNS = ("image", "rcc", "distance", "within_eps", "label")
QUOTAS = ("equal", "size")
QUOTA = "equal"


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
        Whether that distance is at most the RCC's reach, the counterpart of DBSCAN's eps in that space (see
        `rccs.clusters.rcc_reach`): as near to a core point as the RCC's own images are.
    label : str
        The class, where the engineer has given it.
    """

    image: str
    rcc: int
    distance: float
    within_eps: bool
    label: str = ""


@dataclass(frozen=True)
class UnsafeSet:
    """The images worth labelling.

    Attributes
    ----------
    improvement_root : Path
    images : tuple of UnsafeImage
        By RCC, nearest first within each.
    wanted : int
        Size asked for; more than `len(images)` where the improvement set did not hold as many.
    formula : str
        How that number came about.
    n_improvement : int
        Readable images of the improvement set.
    candidates : tuple of int
        Improvement images nearest to each RCC.
    skipped : tuple of Skipped
    clusters : str
        Fingerprint of the RCCs that the selection belongs to (see `rccs.clusters.fingerprint`).
    left_out : tuple of int
        RCCs that no image was selected for, because the engineer wanted none.
    quota : "equal" or "size"
        How the images were divided among the RCCs (see `quotas`).
    model : str
        The DNN of which images that it is likely to get wrong were preferred, if there was one.
    run : str
        Fingerprint of those clusters as they were found, without the engineer's edits; empty in sets of older versions.
    labels : str
        What became of the labels of the set before, in words.
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


# --- The files --------------------------------------------------------------------------------------------------


def save_unsafe_set(unsafe: UnsafeSet, folder: Path) -> None:
    """Write the files of `unsafe_set_files`."""
    save_files(folder, unsafe_set_files(unsafe))


def unsafe_set_files(unsafe: UnsafeSet) -> dict[str, Writer]:
    """`IS_filenames.txt`, `unsafe_set.csv` and, with how they came about, `unsafe_set.json`."""
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
    }
    return {
        FILENAMES_FILE: "".join(f"{image.image}\n" for image in unsafe.images),
        UNSAFE_SET_FILE: unsafe_table(unsafe),
        SELECTION_FILE: json.dumps(record, indent=2) + "\n",
    }


def unsafe_table(unsafe: UnsafeSet) -> str:
    """What `unsafe_set.csv` holds: the one file of the set that labelling changes."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for image in unsafe.images:
        within = str(image.within_eps).lower()
        writer.writerow(image._replace(image=cell(image.image), within_eps=within, label=cell(image.label)))
    return table.getvalue()


def set_key(unsafe: UnsafeSet) -> str:
    """Tells one unsafe set from another, whatever its labels are."""
    return f"{unsafe.clusters}-{_digest(unsafe.images)}"


def _digest(images: Sequence[UnsafeImage]) -> str:
    """Tells the table of one selection from that of another: which images, of which RCCs, in any order."""
    rows = sorted(f"{image.rcc}\t{image.image}\n" for image in images)
    return hashlib.blake2b("".join(rows).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()


def load_unsafe_set(folder: Path) -> UnsafeSet:
    """Read what `save_unsafe_set` wrote.

    Raises
    ------
    SAFEError
        There is none, or it is damaged.
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
            raise ValueError("no image in it")
        if len({image.image for image in images}) < len(images):
            raise ValueError("an image in it twice")
        record = json.loads((folder / SELECTION_FILE).read_text(encoding="utf-8"))
        if "images" in record and record["images"] != _digest(images):
            raise ValueError(f"{SELECTION_FILE} is of other images than {UNSAFE_SET_FILE}")
        if record.get("quota", "equal") not in QUOTAS:
            raise ValueError(f"a quota that is none: {record['quota']}")
        candidates = tuple(map(int, record["candidates"]))
        if max(image.rcc for image in images) >= len(candidates):
            raise ValueError("an RCC that there is not")
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
            quota=record.get("quota", "equal"),  # those of older versions were
            model=str(record.get("model", "")),
            run=str(record.get("run", "")),
            labels=str(record.get("labels", "")),
        )
    except DAMAGED as error:
        raise SAFEError(f"The unsafe set in {folder} is damaged ({error}). Select it again.") from error


def selection_run(folder: Path) -> str:
    """The fingerprint of the clusters, as found, that the unsafe set in a folder belongs to; empty where unknown."""
    try:
        return str(json.loads(regular(folder / SELECTION_FILE).read_text(encoding="utf-8"))["run"])
    except DAMAGED:
        return ""


def _image_of(row: Mapping[str, str]) -> UnsafeImage:
    """A row of `unsafe_set.csv`; a ValueError where it is none."""
    image, label = from_cell(row["image"] or ""), from_cell((row["label"] or "").strip())
    rcc, distance = int(row["rcc"]), float(row["distance"])
    if not image or set(image) & set("\0\r\n") or rcc < 0 or not 0 <= distance < math.inf:
        raise ValueError(f"a row that is none: {image!r}, {rcc}, {distance}")
    return UnsafeImage(image, rcc, distance, row["within_eps"].strip().lower() == "true", label)
