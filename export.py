"""RCCs to take away: a folder or ZIP file with a folder of images per RCC, and a table of all that is known of them.

RCC_03_sunglasses-at-night/   the images, under their own names
no_cluster/
labels.csv                    image, rcc, name, verdict, core, distance, file
labels.parquet                the same, where pyarrow is installed
report.html                   where it was asked for
"""

import csv
import importlib.util
import io
import os
import re
import shutil
import tempfile
import unicodedata
import zipfile
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from artefacts import cell, replacing
from clustering import RootCauseClusters
from errors import SAFEError
from FE import Progress, no_progress
from images import FORMATS, UNREADABLE, Skipped, printable, read_bytes, reason_for
from map import by_closeness
from report import REPORT_FILE
from review import RccNote
from tuning import NOISE

LABELS_TABLE, PARQUET_TABLE = "labels.csv", "labels.parquet"
COLUMNS = ("image", "rcc", "name", "verdict", "core", "distance", "file")
NOISE_FOLDER = "no_cluster"
LONGEST_SLUG = 40
LONGEST_NAME = 150  # bytes: leaves room in Windows' 260 characters for the folders above

# Names that Windows keeps for devices, whatever their ending.
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
        Whether it is a core point.
    distance : float
        From the middle of its RCC's core (see `map.by_closeness`).
    file : str
        Where it lies in the export, `/` between folders; empty where its file was gone.
    """

    image: str
    rcc: int
    name: str
    verdict: str
    core: bool
    distance: float
    file: str


class Export(NamedTuple):
    """What was written.

    Attributes
    ----------
    path : Path
        The folder or ZIP file.
    images : int
        Copied.
    missing : tuple of Skipped
        Images that could not be copied, and why.
    """

    path: Path
    images: int
    missing: tuple[Skipped, ...]


# --- What goes where --------------------------------------------------------------------------------------------


def export_rows(
    clusters: RootCauseClusters, notes: Mapping[int, RccNote], what: Collection[int] | None = None
) -> list[ExportedImage]:
    """The rows of an export: RCC by RCC, the largest first, the images nearest to the core first.

    Parameters
    ----------
    what : collection of int, optional
        The RCCs to export, `NOISE` for the images in no cluster; all by default.

    Raises
    ------
    SAFEError
        One of them is none, or nothing is to be exported.
    """
    wanted = clusters.groups if what is None else [rcc for rcc in clusters.groups if rcc in what]
    unknown = set(what or ()) - set(wanted)
    if unknown or not wanted:
        raise SAFEError(
            f"Expected RCCs to export. Received: {', '.join(map(str, sorted(unknown))) or 'none'}, "
            "which have no images. Choose from those that are shown."
        )
    core = dict(zip(clusters.paths, clusters.is_core.tolist(), strict=True))
    rows = []
    for rcc in wanted:
        note = notes.get(rcc, RccNote(rcc))
        folder = folder_name(rcc, note.name, clusters.n_rccs)
        taken: set[str] = set()
        for path, distance in by_closeness(clusters, rcc):
            file = f"{folder}/{_free(safe_name(Path(path).name), taken)}"
            rows.append(ExportedImage(path, rcc, note.name, note.verdict, core[path], round(distance, 6), file))
    return rows


def folder_name(rcc: int, name: str, n_rccs: int) -> str:
    """For example `RCC_03_sunglasses-at-night`: a name that every file system takes."""
    if rcc == NOISE:
        return NOISE_FOLDER
    slug = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", printable(name))).strip("-_")[:LONGEST_SLUG].strip("-_")
    while len(slug.encode()) > LONGEST_NAME:
        slug = slug[:-1]
    number = f"RCC_{rcc:0{max(2, len(str(max(n_rccs - 1, 0))))}d}"
    return f"{number}_{slug}" if slug else number


def safe_name(name: str) -> str:
    """A file's name, changed only where Windows or a ZIP file would not take it; shortened before its ending."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ufffd]', "_", printable(name)).rstrip(". ") or "_"
    if _DEVICES.match(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, a name alone
    while len(stem.encode()) + len(suffix.encode()) > LONGEST_NAME and stem:
        stem = stem[:-1]
    return stem + suffix


def _free(name: str, taken: set[str]) -> str:
    """The name, with a number where another file of the folder has it already; large and small letters are the same."""
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
    what: Collection[int] | None = None,
    report: str = "",
    progress: Progress = no_progress,
) -> Export:
    """Copy the images of RCCs to a folder. It appears whole or not at all; an earlier export there is replaced.

    Parameters
    ----------
    to : path
        A folder that does not exist yet, is empty, or holds an earlier export and nothing else.
    what : collection of int, optional
        The RCCs to export; all by default, and the images in no cluster.
    report : str
        HTML to write there as `report.html`.

    Raises
    ------
    SAFEError
        The folder holds something else, cannot be written to, or there is nothing to export.
    """
    rows = export_rows(clusters, notes, what)
    target = _target(to)
    check_target(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:80]}-"))
        try:
            for folder in {Path(row.file).parent for row in rows}:
                (building / folder).mkdir()
            rows, missing = _copy(clusters.image_root, rows, building, progress)
            for name, data in _tables(rows, report):
                (building / name).write_bytes(data)
            building.chmod(0o755)
            _swap(building, target)
        finally:
            shutil.rmtree(building, ignore_errors=True)
    except OSError as error:
        raise SAFEError(
            f"Could not write the export to {target}: {error.strerror or error}. Choose another folder."
        ) from error
    return Export(target, len(rows) - len(missing), missing)


def export_zip(
    clusters: RootCauseClusters,
    notes: Mapping[int, RccNote],
    to: str | os.PathLike,
    what: Collection[int] | None = None,
    report: str = "",
    progress: Progress = no_progress,
) -> Export:
    """Write the same as `export_rccs` to a ZIP file, which takes the place of an earlier one of that name.

    Raises
    ------
    SAFEError
        The file cannot be written, or there is nothing to export.
    """
    rows = export_rows(clusters, notes, what)
    target = _target(to)
    if target.suffix.lower() != ".zip":
        raise SAFEError(f"Expected a file name that ends in .zip. Received: {target.name}")
    written: list[ExportedImage] = []
    missing: list[Skipped] = []
    # Images are compressed already: stored as they are. A time before 1980, which ZIP does not know, becomes 1980.
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
    return Export(target, len(rows) - len(missing), tuple(missing))


def _target(to: str | os.PathLike) -> Path:
    text = os.fspath(to).strip()
    if not text:
        raise SAFEError("Expected a place to export to. Received: nothing.")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:  # a home directory that there is not
        raise SAFEError(f"Expected a place to export to. Received: {text} ({error}).") from error


def check_target(to: str | os.PathLike) -> None:
    """Whether a folder can take an export, to be known before long work.

    Raises
    ------
    SAFEError
        The folder is there and holds anything but an earlier export, as its own table lists it.
    """
    folder = _target(to)
    if not folder.exists():
        return
    refusal = SAFEError(
        f"Expected a folder that is new, empty, or an earlier export. Received: {folder}, which holds other things. "
        "Choose another name."
    )
    if not folder.is_dir() or folder.is_symlink():
        raise refusal
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if not found and not any(folder.iterdir()):
        return
    try:
        with (folder / LABELS_TABLE).open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            listed = {row["file"] for row in csv.DictReader(file, strict=True)}
    except (OSError, ValueError, KeyError, csv.Error) as error:
        raise refusal from error
    if found - listed - {LABELS_TABLE, PARQUET_TABLE, REPORT_FILE}:
        raise refusal


def _copy(
    root: Path, rows: list[ExportedImage], folder: Path, progress: Progress
) -> tuple[list[ExportedImage], tuple[Skipped, ...]]:
    """Copy the images; rows as they came out, and what could not be read. A full disk is an OSError."""
    written, missing = [], []
    for done, row in enumerate(rows, start=1):
        try:
            data = _image_bytes(root / row.image)
        except UNREADABLE as error:
            missing.append(Skipped(row.image, reason_for(error)))
            written.append(row._replace(file=""))
        else:
            (folder / row.file).write_bytes(data)
            written.append(row)
        progress("Copying images", done, len(rows))
    return written, tuple(missing)


def _image_bytes(path: Path) -> bytes:
    """The bytes of a file that is still an image; any of UNREADABLE where it is none, or no file that ends."""
    data = read_bytes(path)
    with Image.open(io.BytesIO(data), formats=FORMATS):
        return data


def _swap(building: Path, target: Path) -> None:
    """Put a folder in the place of another, which goes only when the new one is there."""
    if not target.exists():
        building.rename(target)
        return
    old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name[:80]}-old-"))
    target.rename(old / "export")
    try:
        building.rename(target)
    except OSError:
        (old / "export").rename(target)
        raise
    finally:
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _tables(rows: list[ExportedImage], report: str) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files beside the images."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(row._replace(image=cell(row.image), name=cell(row.name), core=str(row.core).lower()))
    yield LABELS_TABLE, table.getvalue().encode("utf-8", "surrogateescape")
    if writes_parquet():
        yield PARQUET_TABLE, _parquet(rows)
    if report:
        yield REPORT_FILE, report.encode("utf-8")


def writes_parquet() -> bool:
    """Whether exports hold a Parquet table too."""
    return importlib.util.find_spec("pyarrow") is not None


def _parquet(rows: list[ExportedImage]) -> bytes:
    import pyarrow as arrow
    from pyarrow import parquet

    kinds = (arrow.string(), arrow.int32(), arrow.string(), arrow.string(), arrow.bool_(), arrow.float64())
    schema = arrow.schema(list(zip(COLUMNS, (*kinds, arrow.string()), strict=True)))
    shown = (row._replace(image=printable(row.image)) for row in rows)  # Parquet knows valid Unicode only
    columns = [arrow.array(column, kind) for column, kind in zip(zip(*shown, strict=True), schema.types, strict=True)]
    buffer = arrow.BufferOutputStream()
    parquet.write_table(arrow.Table.from_arrays(columns, schema=schema), buffer)
    return buffer.getvalue().to_pybytes()
