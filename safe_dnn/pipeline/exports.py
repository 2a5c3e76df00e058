"""The images of an output folder for use elsewhere, with a table of them, in a new folder or ZIP file.

RCC_03_sunglasses-at-night/   the images of an RCC, those nearest to its core first in the table
no_cluster/
labels.csv                    a row for each image (docs/files.md)
report.html, weak_spots.csv…  the report, the tables, and the GIFs in gifs/, unless only some RCCs are exported

The labelled unsafe set, for training with another framework, has a folder for each class.
"""

import contextlib
import csv
import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from safe_dnn.dnn.predictions import class_folders
from safe_dnn.pipeline.reporting.evidence import results_in
from safe_dnn.pipeline.reporting.report import REPORT_FILE, report_html
from safe_dnn.pipeline.word_reasons import present_reasons
from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.confidence import confidence, place_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.nearness import by_closeness
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.review.review import load_review
from safe_dnn.rccs.unsafe_set import UnsafeSet, load_unsafe_set
from safe_dnn.store.output_folder import check_own, foreign_files, save_files, writing
from safe_dnn.support.entries import StrPath, existing_folder, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import encoded, free_name, intact, new_folder, regular
from safe_dnn.support.images import FORMATS, UNREADABLE, Skipped, read_bytes, reason_for
from safe_dnn.support.progress import Progress, no_progress
from safe_dnn.support.run_folder import GIF_FOLDER
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import printable, some
from safe_dnn.training import labels

EXPORT_FOLDER = "export"
EXPORT_ZIP = "export.zip"
"""The same as one file, which the page packs anew each time."""
LABELS_TABLE = "labels.csv"
NOISE_FOLDER = "no_cluster"
LONGEST_SLUG = 40

Row = dict[str, Any]
"""Of `labels.csv`, by column: `image` is the path in the image folder, `file` that of the copy in the export."""


class Export(NamedTuple):
    """A folder or ZIP file, the number of images in it, and those that could not be copied."""

    path: Path
    images: int
    missing: tuple[Skipped, ...]


def export_results(
    out: Path, to: StrPath, *, rccs: Sequence[int] | None = None, progress: Progress = no_progress
) -> Export:
    """Copy the images of the RCCs in the folder `out` to a folder per RCC, with a table; the engineer's edits count.

    Parameters
    ----------
    to : path
        A folder that does not exist yet, or a file whose name ends in `.zip`.
    rccs : sequence of int, optional
        The RCCs to export, `NOISE` for the images in no cluster; by default all of them, with the report, GIFs and
        tables of the analysis, from which all rates can be counted again.

    Raises
    ------
    SAFEError
        `to` exists or cannot be written, there is nothing to export, or no image can be read.
    """
    review = load_review(out)
    _check_new(to)
    rows = export_rows(review.clusters, review.notes, rccs=rccs or None)
    more = {} if rccs else {REPORT_FILE: encoded(report_html(out, progress=progress)), **_files_of(out)}
    return write_copies(to, review.clusters.image_root, rows, more=more, progress=progress)


def _files_of(out: Path) -> dict[str, bytes]:
    """The tables and GIFs in the folder that SAFE has written, by name."""
    kinds = {"": (".csv", ".txt", ".json"), GIF_FOLDER: (".gif",)}
    named = [(name, name.rpartition("/")) for name in results_in(out)]
    names = [name for name, (folder, _, file) in named if Path(file).suffix in kinds.get(folder, ())]
    theirs = foreign_files(out, names)
    return {name: regular(out / name).read_bytes() for name in names if name not in theirs}


def spot_name(rank: int) -> str:
    """What the folder and the ZIP file of a weak spot's images are called."""
    return f"weak_spot_{rank}"


def export_spot(out: Path, rank: int, to: StrPath, *, progress: Progress = no_progress) -> Export:
    """Copy the failing images in a weak spot of the run in `out`, with a table that names their RCCs.

    Raises
    ------
    SAFEError
        There is no such weak spot, or as of `export_results`.
    """
    review = load_review(out)
    images = present_reasons(out, review).images
    if not 0 < rank <= len(images):
        raise SAFEError(f"Expected the rank of a weak spot, from 1 to {len(images)}. Received: {rank}.")
    clusters, taken = review.clusters, set[str]()
    wanted = {clusters.paths[row] for row in images[rank - 1].tolist()}
    rows = [row for row in export_rows(clusters, review.notes) if row["image"] in wanted]
    rows = [row | {"file": f"{spot_name(rank)}/{_file_name(row['image'], taken)}"} for row in rows]
    return write_copies(to, clusters.image_root, rows, progress=progress)


def export_here(out: Path, *, progress: Progress = no_progress) -> Export:
    """Write what `export_results` does to `export.zip` in the folder `out` itself, which replaces the one before."""
    check_own(out, EXPORT_ZIP)
    try:
        with new_folder(out / EXPORT_ZIP) as building:
            made = export_results(out, building / EXPORT_ZIP, progress=progress)
            save_files(out, {EXPORT_ZIP: made.path.replace})
    except OSError as error:
        raise SAFEError(f"Could not write {out / EXPORT_ZIP}: {error.strerror or error}.") from error
    return made._replace(path=out / EXPORT_ZIP)


def missing_in(packed: Path) -> int:
    """How many images a ZIP file lacks, since they could not be read; SAFEError if it is damaged."""
    with intact(packed, "Pack it again."), zipfile.ZipFile(packed) as archive, archive.open(LABELS_TABLE) as table:
        rows = csv.DictReader(io.TextIOWrapper(table, "utf-8-sig", newline=""))
        return sum(not row["file"] for row in rows)


# --- The table --------------------------------------------------------------------------------------------------------


def export_rows(
    clusters: RootCauseClusters, notes: Mapping[int, Note], *, rccs: Sequence[int] | None = None
) -> list[Row]:
    """The rows by RCC, the largest first, and within each the images nearest to its core first.

    Raises
    ------
    SAFEError
        One of the RCCs does not exist, or there is nothing to export.
    """
    wanted = clusters.groups if rccs is None else [rcc for rcc in clusters.groups if rcc in rccs]
    unknown = {*(rccs or ())} - {*wanted}
    if unknown or not wanted:
        raise SAFEError(
            f"Expected RCCs to export. Received: {', '.join(map(str, sorted(unknown))) or 'none'}, "
            "which have no images. Choose from those that are displayed."
        )
    row_of, answers = {path: row for row, path in enumerate(clusters.paths)}, clusters.answers
    rows = []
    for rcc in wanted:
        note, taken = notes.get(rcc, Note(rcc)), set[str]()
        folder = folder_name(rcc, note.name, clusters.n_rccs)
        for path, distance in by_closeness(clusters, rcc):
            row = row_of[path]
            place = place_of(clusters, row)
            label, predicted, score = ("", "", None) if answers is None else (one[row].item() for one in answers[:3])
            rows.append({
                "image": path, "rcc": rcc, "name": note.name, "verdict": note.verdict,
                "core": str(clusters.is_core[row]).lower(), "distance": distance,
                "file": f"{folder}/{_file_name(path, taken)}",
                "label": label, "predicted": predicted, "score": score, "rcc_confidence": confidence(clusters, rcc),
                "together": place.together, "beside": place.beside, "together_beside": place.together_beside,
            })  # fmt: skip
    return rows


def folder_name(rcc: int, name: str, n_rccs: int) -> str:
    """For example `RCC_03_sunglasses-at-night`."""
    if rcc == NOISE:
        return NOISE_FOLDER
    slug = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", printable(name))).strip("-_")[:LONGEST_SLUG].strip("-_")
    number = f"RCC_{rcc:0{max(2, len(str(max(n_rccs - 1, 0))))}d}"
    return f"{number}_{slug}" if slug else number


def _safe_name(name: str) -> str:
    """A file name, changed only where a ZIP file or another system takes no such name."""
    return re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ufffd]', "_", printable(name)).rstrip(". ") or "_"


def _file_name(path: str, taken: set[str]) -> str:
    """The name of an image's copy, with a number if it is already taken in the folder, ignoring case."""
    name = _safe_name(Path(path).name)
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, a name alone
    number = 2
    while unicodedata.normalize("NFC", name).casefold() in taken:
        name, number = f"{stem}_{number}{suffix}", number + 1
    taken.add(unicodedata.normalize("NFC", name).casefold())
    return name


# --- Writing ----------------------------------------------------------------------------------------------------------


def _check_new(to: StrPath) -> Path:
    """The path of a folder or file that does not exist; SAFEError if it does."""
    target = path_of(to, "a place to export to")
    if os.path.lexists(target):
        free = f", such as {free_name(target).name}" if target.name else ""
        raise SAFEError(
            f"Expected a new folder or ZIP file to export to. Received: {target}, which exists. "
            f"Choose another name{free}."
        )
    return target


def write_copies(
    to: StrPath, root: Path, rows: Sequence[Row], *, more: Mapping[str, bytes] | None = None, progress: Progress
) -> Export:
    """Copy images to a new folder or ZIP file, with a table of the rows and further files: all of it or nothing.

    A row whose image cannot be read has no `file` in the table. SAFEError as of `export_results`.
    """
    target, written, missing = _check_new(to), list[Row](), list[Skipped]()
    try:
        with new_folder(target) as building, contextlib.ExitStack() as opened:
            made = building / target.name
            is_zip = target.suffix.lower() == ".zip"
            archive = opened.enter_context(zipfile.ZipFile(made, "w")) if is_zip else None

            def put(name: str, data: bytes) -> None:
                if archive:
                    archive.writestr(name, data)
                else:
                    (made / name).parent.mkdir(parents=True, exist_ok=True)
                    (made / name).write_bytes(data)

            for done, row in enumerate(rows, start=1):
                try:
                    data = read_bytes(root / row["image"])
                    Image.open(io.BytesIO(data), formats=FORMATS).close()
                except UNREADABLE as error:
                    missing.append(Skipped(row["image"], reason_for(error)))
                    written.append(row | {"file": ""})
                else:
                    put(row["file"], data)
                    written.append(row)
                progress("Copying images", done, len(rows))
            if len(missing) == len(rows) > 0:
                raise SAFEError(
                    f"Expected the images that the results are of. Received none of {len(rows):,} in {root}; the "
                    f"first, {missing[0].path}: {missing[0].reason}. Were they moved or deleted?"
                )
            cells = ([round(one, 6) if isinstance(one, float) else one for one in row.values()] for row in written)
            put(LABELS_TABLE, encoded(table_text(rows[0], cells)))
            for name, data in (more or {}).items():
                put(name, data)
            opened.close()
            made.rename(_check_new(target))
    except OSError as error:
        raise SAFEError(
            f"Could not write the export to {target}: {error.strerror or error}. Choose another folder."
        ) from error
    return Export(target, len(rows) - len(missing), tuple(missing))


# --- The labelled unsafe set, for training with another framework -----------------------------------------------------


def export_labelled_set(
    out: Path, to: StrPath, labelling: labels.Labelling = labels.AS_LABELLED, *, progress: Progress = no_progress
) -> tuple[Export, int]:
    """Copy the labelled images of the unsafe set in the folder `out` to class folders, for training elsewhere.

    Parameters
    ----------
    to : path
        As of `export_results`.
    labelling : labels.Labelling
        Sources of further labels, which are saved in `unsafe_set.csv`. Class folders are labels only in a folder that
        is given here: those of the improvement folder may be something else.

    Returns
    -------
    Export
    int
        Number of images of the set that have no label, and are left out.
    """
    _check_new(to)
    improvement = labelling.improvement
    classes = [] if improvement is None else class_folders(existing_folder(improvement, "the improvement folder"))
    with writing(out):
        labels.take_typed_labels(out)
        before = load_unsafe_set(out)
        unsafe = labels.label_unsafe_set(before, classes, improvement=improvement, labels=labelling.labels)
        rows = _labelled_rows(unsafe)
        if unsafe.images != before.images:
            labels.save_labels(unsafe, out)
    done = write_copies(to, unsafe.improvement_root, rows, progress=progress)
    return done, len(labels.unlabelled(unsafe))


def _labelled_rows(unsafe: UnsafeSet) -> list[Row]:
    """By class, and within each as in the unsafe set; SAFEError without labels that can be names of folders."""
    labelled = sorted((image for image in unsafe.images if image.label), key=lambda image: image.label)
    if not labelled:
        raise SAFEError(
            "Expected labelled images in the unsafe set. Received none. Label them, or give a table or class folders."
        ).about("labels", "improvement")
    names = {image.label for image in labelled}
    if odd := sorted(name for name in names if _safe_name(name) != name or name.startswith(".")):
        raise SAFEError(
            f"Expected labels that are valid names of folders. Received: {printable(some(map(repr, odd)))}. Rename "
            "them."
        )
    # Classes that differ only in case share a folder on some file systems, where their images must not either.
    taken: dict[str, set[str]] = {name.casefold(): set() for name in names}
    return [
        {
            "image": image.image, "label": image.label, "rcc": image.rcc,
            "file": f"{image.label}/{_file_name(image.image, taken[image.label.casefold()])}",
        }
        for image in labelled
    ]  # fmt: skip
