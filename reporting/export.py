"""Exported RCCs: a folder or ZIP file with a folder of images per RCC, and a table of the images.

RCC_03_sunglasses-at-night/   the images, under their own names
no_cluster/
labels.csv                    a row for each image, see `ExportedImage`
labels.parquet                the same, if pyarrow is installed
report.html                   if requested
.safe-export                  names and digests of these files; `b2sum -l 128 -c .safe-export` checks them

Only an export that has not been changed since SAFE wrote it is ever replaced. In a ZIP file, the comment shows that.
"""

import csv
import hashlib
import importlib.util
import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from dbscan.outcome import NOISE
from rccs.clusters import RootCauseClusters
from rccs.confidence import confidence, place_of
from rccs.nearness import by_closeness
from rccs.notes import RccNote
from support.entries import path_of
from support.errors import SAFEError
from support.files import DAMAGED, free_name, put_back, regular, replacing, replacing_folder
from support.images import FORMATS, UNREADABLE, Skipped, read_bytes, reason_for
from support.progress import Progress, no_progress
from support.run_folder import EXPORT_MARK, REPORT_FILE
from support.tables import cell
from support.text import printable

LABELS_TABLE, PARQUET_TABLE = "labels.csv", "labels.parquet"
NOISE_FOLDER = "no_cluster"
LONGEST_SLUG = 40
LONGEST_NAME = 150  # bytes; of the 260 characters of Windows' paths, this leaves some for the folders

# Names that Windows reserves for devices, with any extension.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE)


class ExportedImage(NamedTuple):
    """A row of `labels.csv`.

    Attributes
    ----------
    image : str
        Path relative to the image folder.
    rcc : int
    name, verdict : str
        Of the RCC.
    core : bool
        Whether the image is a core point.
    distance : float
        From the middle of the RCC's core (see `rccs.nearness.by_closeness`).
    file : str
        Path in the export, with `/` between folders; empty if the image could not be copied.
    label, predicted : str
        The true class and the one that the DNN gave; for a regression, numbers. Empty if unknown.
    score : float or None
        The DNN's confidence; for a regression, its error. None if unknown.
    rcc_confidence : float or None
        How often two images of the RCC are together (see `rccs.confidence.confidence`). None if unknown.
    together, beside, together_beside
        As in `rccs.confidence.Place`.
    """

    image: str
    rcc: int
    name: str
    verdict: str
    core: bool
    distance: float
    file: str
    label: str = ""
    predicted: str = ""
    score: float | None = None
    rcc_confidence: float | None = None
    together: float | None = None
    beside: int | None = None
    together_beside: float | None = None


COLUMNS = ExportedImage._fields  # of the table


class Export(NamedTuple):
    """The result of an export.

    Attributes
    ----------
    path : Path
        The folder or ZIP file.
    images : int
        Number of images copied.
    missing : tuple of Skipped
        Images that could not be copied, and why.
    """

    path: Path
    images: int
    missing: tuple[Skipped, ...]


# --- The table --------------------------------------------------------------------------------------------------


def export_rows(
    clusters: RootCauseClusters, notes: Mapping[int, RccNote], *, what: Collection[int] | None = None
) -> list[ExportedImage]:
    """The rows of an export by RCC, the largest first, and within each the images nearest to its core first.

    Parameters
    ----------
    what : collection of int, optional
        The RCCs to export, `NOISE` for the images in no cluster; all by default.

    Raises
    ------
    SAFEError
        One of them does not exist, or there is nothing to export.
    """
    wanted = clusters.groups if what is None else [rcc for rcc in clusters.groups if rcc in what]
    unknown = set(what or ()) - set(wanted)
    if unknown or not wanted:
        raise SAFEError(
            f"Expected RCCs to export. Received: {', '.join(map(str, sorted(unknown))) or 'none'}, "
            "which have no images. Choose from those that are displayed."
        )
    row_of = {path: row for row, path in enumerate(clusters.paths)}
    answers = _answers(clusters)
    rows = []
    for rcc in wanted:
        note = notes.get(rcc, RccNote(rcc))
        folder = folder_name(rcc, note.name, clusters.n_rccs)
        taken: set[str] = set()
        for path, distance in by_closeness(clusters, rcc):
            file = f"{folder}/{unused_name(safe_name(Path(path).name), taken)}"
            core, place = bool(clusters.is_core[row_of[path]]), place_of(clusters, row_of[path])
            row = ExportedImage(path, rcc, note.name, note.verdict, core, round(distance, 6), file)
            if path in answers:
                row = row._replace(**answers[path])
            rows.append(
                row._replace(
                    rcc_confidence=_rounded(confidence(clusters, rcc)),
                    together=_rounded(place.together),
                    beside=place.beside,
                    together_beside=_rounded(place.together_beside),
                )
            )
    return rows


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def _answers(clusters: RootCauseClusters) -> dict[str, dict[str, Any]]:
    """Label, prediction and score of each image whose answer is known."""
    if clusters.answers is None:
        return {}
    label, predicted, score, *_ = clusters.answers
    scores = [None if np.isnan(one) else round(one, 6) for one in score.tolist()]
    columns = zip(label.tolist(), predicted.tolist(), scores, strict=True)
    answers = ({"label": one, "predicted": given, "score": how} for one, given, how in columns)
    return dict(zip(clusters.paths, answers, strict=True))


def folder_name(rcc: int, name: str, n_rccs: int) -> str:
    """For example `RCC_03_sunglasses-at-night`, a name that is valid on every file system."""
    if rcc == NOISE:
        return NOISE_FOLDER
    slug = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", printable(name))).strip("-_")[:LONGEST_SLUG].strip("-_")
    while len(slug.encode()) > LONGEST_NAME:
        slug = slug[:-1]
    number = f"RCC_{rcc:0{max(2, len(str(max(n_rccs - 1, 0))))}d}"
    return f"{number}_{slug}" if slug else number


def safe_name(name: str) -> str:
    """A file name, changed only if it is invalid on Windows or in a ZIP file; long stems are shortened."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ufffd]', "_", printable(name)).rstrip(". ") or "_"
    if _DEVICES.match(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, a name alone
    while len(stem.encode()) + len(suffix.encode()) > LONGEST_NAME and stem:
        stem = stem[:-1]
    return stem + suffix


def unused_name(name: str, taken: set[str]) -> str:
    """The name, with a number if it is already taken in the folder, ignoring case."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, a name alone
    number = 2
    while unicodedata.normalize("NFC", name).casefold() in taken:
        name, number = f"{stem}_{number}{suffix}", number + 1
    taken.add(unicodedata.normalize("NFC", name).casefold())
    return name


# --- Writing ----------------------------------------------------------------------------------------------------


def export_rccs(
    clusters: RootCauseClusters,
    notes: Mapping[int, RccNote],
    to: str | os.PathLike,
    *,
    what: Collection[int] | None = None,
    report: str = "",
    progress: Progress = no_progress,
) -> Export:
    """Copy the images of RCCs to a folder, completely or not at all; an earlier export there is replaced.

    Parameters
    ----------
    to : path
        A folder that does not exist, is empty, or is an earlier export (see `check_target`).
    what : collection of int, optional
        The RCCs to export; by default all, and the images in no cluster.
    report : str
        HTML to write as `report.html`.

    Raises
    ------
    SAFEError
        The folder contains something else or cannot be written to, or there is nothing to export.
    """
    rows = export_rows(clusters, notes, what=what)
    return write_copies(to, clusters.image_root, rows, lambda written: _tables(written, report), progress=progress)


def write_copies(
    to: str | os.PathLike,
    root: Path,
    rows: Sequence[Any],
    tables: Callable[[list[Any]], Iterator[tuple[str, bytes]]],
    *,
    progress: Progress = no_progress,
) -> Export:
    """Copy images to a folder, completely or not at all; an earlier export there is replaced.

    Parameters
    ----------
    root : Path
        What the images' paths are relative to.
    rows : sequence of named tuples with the fields `image` and `file`
        Path of each image, and where to copy it, relative to the folder: a folder and a name.
    tables : callable
        Names and contents of further files, for the rows that were written. A row whose image could not be copied has
        no `file`.

    Raises
    ------
    SAFEError
        The folder contains something else or cannot be written to.
    """
    target = _target(to)
    check_target(target)
    try:
        with replacing_folder(target) as building:
            for folder in {Path(row.file).parent for row in rows}:
                (building / folder).mkdir()
            written, missing, digests = _copy(root, rows, building, progress)
            for name, data in tables(written):
                (building / name).write_bytes(data)
                digests[name] = _digest(io.BytesIO(data))
            (building / EXPORT_MARK).write_bytes("".join(f"{d}  {name}\n" for name, d in digests.items()).encode())
            check_target(target)  # again, since copying takes time
    except OSError as error:
        raise SAFEError(
            f"Could not write the export to {target}: {error.strerror or error}. Choose another folder."
        ) from error
    return Export(target, len(rows) - len(missing), missing)


def export_zip(
    clusters: RootCauseClusters,
    notes: Mapping[int, RccNote],
    to: str | os.PathLike,
    *,
    what: Collection[int] | None = None,
    report: str = "",
    progress: Progress = no_progress,
) -> Export:
    """Write the same as `export_rccs` to a ZIP file, which replaces an earlier export of that name.

    Raises
    ------
    SAFEError
        The name is taken by another file, the file cannot be written, or there is nothing to export.
    """
    rows = export_rows(clusters, notes, what=what)
    target = _target(to)
    if target.suffix.lower() != ".zip":
        raise SAFEError(f"Expected a file name that ends in .zip. Received: {target.name}")
    check_target(target)
    written: list[ExportedImage] = []
    missing: list[Skipped] = []
    # Images are already compressed, so they are only stored. ZIP has no times before 1980: they become 1980.
    with (
        replacing(target) as temporary,
        zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED, strict_timestamps=False) as archive,
    ):
        for done, row in enumerate(rows, start=1):
            try:
                data = _image_bytes(clusters.image_root / row.image)
            except UNREADABLE as error:
                missing.append(Skipped(row.image, reason_for(error)))
                written.append(row._replace(file=""))
            else:
                archive.writestr(row.file, data)
                written.append(row)
            progress("Packing images", done, len(rows))
        for name, data in _tables(written, report):
            archive.writestr(name, data, zipfile.ZIP_DEFLATED)
        archive.comment = _zip_mark(archive)
        check_target(target)
    return Export(target, len(rows) - len(missing), tuple(missing))


def _target(to: str | os.PathLike) -> Path:
    return path_of(to, "a place to export to")


# --- What may be replaced ---------------------------------------------------------------------------------------


def check_target(to: str | os.PathLike) -> None:
    """Check, before long work, that an export can be written to a folder or to a file name that ends in .zip.

    Raises
    ------
    SAFEError
        It exists and is not an unchanged export by SAFE. Exports by versions that left no mark cannot be distinguished
        from the engineer's own folders.
    """
    target = _target(to)
    put_back(target)
    if not os.path.lexists(target):
        return
    is_zip = target.suffix.lower() == ".zip"
    try:
        fault = _fault_of_zip(target) if is_zip else _fault_of_folder(target)
    except OSError as error:
        fault = f"unreadable: {error.strerror or error}"
    if fault:
        raise SAFEError(
            f"Expected a new {'file' if is_zip else 'or empty folder'}, or an unchanged export by SAFE. Received: "
            f"{target} ({fault}). Choose another name, such as {free_name(target).name}."
        )


def _fault_of_folder(folder: Path) -> str:
    """Why a folder is not an unchanged export by SAFE; empty if it is one, or an empty folder."""
    if folder.is_symlink() or not folder.is_dir():
        return "not a folder"
    if not any(folder.iterdir()):
        return ""
    try:
        mark = regular(folder / EXPORT_MARK).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return f"without SAFE's mark, {EXPORT_MARK}"
    written = {name: digest for digest, _, name in (line.partition("  ") for line in mark.split("\n"))}
    for place, subfolders, names in os.walk(folder):
        # os.walk counts links to folders as folders.
        for path in (Path(place, name) for name in (*names, *subfolders)):
            name = path.relative_to(folder).as_posix()
            if name == EXPORT_MARK or (path.is_dir() and not path.is_symlink()):
                continue
            if name not in written:
                return f"{printable(name)} is not from SAFE"
            if path.is_symlink() or _digest_of_file(path) != written[name]:
                return f"{printable(name)} was changed"
    return ""


def _fault_of_zip(path: Path) -> str:
    """Why a file is not an unchanged ZIP file by SAFE; empty if it is one."""
    if path.is_symlink():
        return "a link"
    try:
        with regular(path).open("rb") as file, zipfile.ZipFile(file) as archive:
            return "" if archive.comment == _zip_mark(archive) else "without SAFE's mark, or changed"
    except DAMAGED:
        return "not a ZIP file by SAFE"


def _zip_mark(archive: zipfile.ZipFile) -> bytes:
    """The comment of a ZIP file by SAFE: a digest of the names, lengths and checksums of its contents."""
    parts = sorted(f"{part.filename}\0{part.file_size}\0{part.CRC}\0" for part in archive.infolist())
    return f"SAFE export {_digest(io.BytesIO(''.join(parts).encode('utf-8', 'surrogateescape')))}".encode()


def _digest(file: io.BytesIO | io.BufferedReader) -> str:
    return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _digest_of_file(path: Path) -> str:
    with regular(path).open("rb") as file:
        return _digest(file)


# --- Copying ----------------------------------------------------------------------------------------------------


def _copy(
    root: Path, rows: Sequence[Any], folder: Path, progress: Progress
) -> tuple[list[Any], tuple[Skipped, ...], dict[str, str]]:
    """Copy the images (OSError if the disk is full).

    Returns
    -------
    list
        All rows; those that could not be copied have no file.
    tuple of Skipped
        Images that could not be copied.
    dict of str to str
        Digests of the files.
    """
    written, missing, digests = [], [], {}
    for done, row in enumerate(rows, start=1):
        try:
            data = _image_bytes(root / row.image)
        except UNREADABLE as error:
            missing.append(Skipped(row.image, reason_for(error)))
            written.append(row._replace(file=""))
        else:
            (folder / row.file).write_bytes(data)
            digests[row.file] = _digest(io.BytesIO(data))
            written.append(row)
        progress("Copying images", done, len(rows))
    return written, tuple(missing), digests


def _image_bytes(path: Path) -> bytes:
    """The content of an image file; one of UNREADABLE if it is no longer a readable image."""
    data = read_bytes(path)
    with Image.open(io.BytesIO(data), formats=FORMATS):
        return data


def _tables(rows: list[ExportedImage], report: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files other than the images."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        texts = {name: cell(getattr(row, name)) for name in ("image", "name", "label", "predicted")}
        values = row._asdict() | texts | {"core": str(row.core).lower()}
        writer.writerow(["" if value is None else value for value in values.values()])
    yield LABELS_TABLE, table.getvalue().encode("utf-8", "surrogateescape")
    if writes_parquet():
        yield PARQUET_TABLE, _parquet(rows)
    if report:
        yield REPORT_FILE, report.encode("utf-8")


def writes_parquet() -> bool:
    """Whether exports also contain a Parquet table."""
    return importlib.util.find_spec("pyarrow") is not None


def _parquet(rows: list[ExportedImage]) -> bytes:
    import pyarrow as arrow
    from pyarrow import parquet

    text, whole, number = arrow.string(), arrow.int32(), arrow.float64()
    kinds = (text, whole, text, text, arrow.bool_(), number, text, text, text, number, number, number, whole, number)
    schema = arrow.schema(list(zip(COLUMNS, kinds, strict=True)))
    valid = (  # Parquet requires valid Unicode
        row._replace(image=printable(row.image), label=printable(row.label), predicted=printable(row.predicted))
        for row in rows
    )
    columns = [arrow.array(column, kind) for column, kind in zip(zip(*valid, strict=True), schema.types, strict=True)]
    buffer = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_arrays(columns, schema=schema), buffer)
    return buffer.getvalue().to_pybytes()
