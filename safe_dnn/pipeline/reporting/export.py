"""Exported RCCs: a folder or ZIP file with a folder of images per RCC, and a table of the images.

RCC_03_sunglasses-at-night/   the images, under their own names
no_cluster/
labels.csv                    a row for each image, see `ExportedImage`
report.html, weak_spots.csv…  the report, the tables, and the GIFs in gifs/, if requested
.safe-export                  names and digests of these files; `b2sum -l 128 -c .safe-export` checks them

The labelled unsafe set, for training with another framework, has a folder for each class, and a row for each
`LabelledImage` in the table.

Only an export that has not been changed since SAFE wrote it is ever replaced. In a ZIP file, the comment shows that.
"""

import io
import os
import re
import unicodedata
import zipfile
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from safe_dnn.rccs.clusters import RootCauseClusters
from safe_dnn.rccs.confidence import confidence, place_of
from safe_dnn.rccs.dbscan.outcome import NOISE
from safe_dnn.rccs.nearness import by_closeness
from safe_dnn.rccs.review.notes import Note
from safe_dnn.rccs.unsafe_set import UnsafeSet
from safe_dnn.support.contents import content_key
from safe_dnn.support.entries import StrPath, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.files import DAMAGED, encoded, free_name, put_back, regular, replacing, replacing_folder
from safe_dnn.support.images import FORMATS, UNREADABLE, Skipped, read_bytes, reason_for
from safe_dnn.support.progress import Progress
from safe_dnn.support.run_folder import EXPORT_MARK
from safe_dnn.support.tables import table_text
from safe_dnn.support.text import printable, some

REPORT_FILE = "report.html"
EXPORT_FOLDER = "export"
EXPORT_ZIP = "export.zip"
"""The same as one file, which the page makes."""

LABELS_TABLE = "labels.csv"
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
    core : "true" or "false"
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
    core: str
    distance: float
    file: str
    label: str = ""
    predicted: str = ""
    score: float | None = None
    rcc_confidence: float | None = None
    together: float | None = None
    beside: int | None = None
    together_beside: float | None = None


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
    clusters: RootCauseClusters, notes: Mapping[int, Note], *, what: Collection[int] | None = None
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
    rows = []
    for rcc in wanted:
        note = notes.get(rcc, Note(rcc))
        folder = folder_name(rcc, note.name, clusters.n_rccs)
        taken: set[str] = set()
        for path, distance in by_closeness(clusters, rcc):
            row = row_of[path]
            place = place_of(clusters, row)
            exported = ExportedImage(
                path, rcc, note.name, note.verdict, str(clusters.is_core[row]).lower(), round(distance, 6),
                file=f"{folder}/{file_name(path, taken)}",
                rcc_confidence=_rounded(confidence(clusters, rcc)),
                together=_rounded(place.together),
                beside=place.beside,
                together_beside=_rounded(place.together_beside),
            )  # fmt: skip
            if clusters.answers is not None:
                label, predicted, score = (column[row].item() for column in clusters.answers[:3])
                exported = exported._replace(label=label, predicted=predicted, score=round(score, 6))
            rows.append(exported)
    return rows


def spot_name(rank: int) -> str:
    """What the folder and the ZIP file of a weak spot's images are called."""
    return f"weak_spot_{rank}"


def _rounded(share: float | None) -> float | None:
    return None if share is None else round(share, 6)


def folder_name(rcc: int, name: str, n_rccs: int) -> str:
    """For example `RCC_03_sunglasses-at-night`, a name that is valid on every file system."""
    if rcc == NOISE:
        return NOISE_FOLDER
    slug = re.sub(r"[^\w]+", "-", unicodedata.normalize("NFC", printable(name))).strip("-_")[:LONGEST_SLUG].strip("-_")
    slug = _cut(slug, LONGEST_NAME)
    number = f"RCC_{rcc:0{max(2, len(str(max(n_rccs - 1, 0))))}d}"
    return f"{number}_{slug}" if slug else number


def safe_name(name: str) -> str:
    """A file name, changed only if it is invalid on Windows or in a ZIP file; long stems are shortened."""
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ufffd]', "_", printable(name)).rstrip(". ") or "_"
    if _DEVICES.match(name):
        name = f"_{name}"
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, a name alone
    return _cut(stem, max(LONGEST_NAME - len(suffix.encode()), 0)) + suffix


def _cut(text: str, longest: int) -> str:
    """As much of a text as has so many bytes."""
    return text.encode()[:longest].decode(errors="ignore")


def file_name(path: str, taken: set[str]) -> str:
    """The name of an image's copy, with a number if it is already taken in the folder, ignoring case."""
    name = safe_name(Path(path).name)
    stem, suffix = os.path.splitext(name)  # noqa: PTH122, a name alone
    number = 2
    while unicodedata.normalize("NFC", name).casefold() in taken:
        name, number = f"{stem}_{number}{suffix}", number + 1
    taken.add(unicodedata.normalize("NFC", name).casefold())
    return name


# --- Writing ----------------------------------------------------------------------------------------------------


def write_copies(
    to: StrPath, root: Path, rows: Sequence[Any], columns: Sequence[str], *, progress: Progress,
    more: Mapping[str, bytes] | None = None,
) -> Export:  # fmt: skip
    """Copy images to a folder or ZIP file, completely or not at all; an earlier export there is replaced.

    Parameters
    ----------
    to : path
        A folder that does not exist, is empty, or is an earlier export; or a name that ends in .zip (see
        `check_target`).
    root : Path
        What the images' paths are relative to.
    rows : sequence of named tuples with the fields `image` and `file`
        Path of each image, and where to copy it, relative to the folder: a folder and a name.
    columns : sequence of str
        The fields, for the table of the rows. A row whose image could not be copied has no `file` there.
    more : mapping of str to bytes, optional
        Further files, by name.

    Raises
    ------
    SAFEError
        There is something else, or it cannot be written to.
    """
    target = check_target(to)
    missing: list[Skipped] = []

    def files() -> Iterator[tuple[str, bytes]]:
        """Names and contents: the images, then what there is besides."""
        written = []
        for done, row in enumerate(rows, start=1):
            try:
                data = _image_bytes(root / row.image)
            except UNREADABLE as error:
                missing.append(Skipped(row.image, reason_for(error)))
                written.append(row._replace(file=""))
            else:
                yield row.file, data
                written.append(row)
            progress("Copying images", done, len(rows))
        if len(missing) == len(rows) > 0:
            raise SAFEError(
                f"Expected the images that the results are of. Received none of {len(rows):,} in {root}; the first, "
                f"{missing[0].path}: {missing[0].reason}. Were they moved or deleted?"
            )
        yield LABELS_TABLE, encoded(table_text(columns, written))
        yield from (more or {}).items()

    write = _write_zip if target.suffix.lower() == ".zip" else _write_folder
    write(target, files())
    return Export(target, len(rows) - len(missing), tuple(missing))


def _write_folder(target: Path, files: Iterable[tuple[str, bytes]]) -> None:
    try:
        with replacing_folder(target) as building:
            digests = {}
            for name, data in files:
                (building / name).parent.mkdir(exist_ok=True)
                (building / name).write_bytes(data)
                digests[name] = content_key(data).hex()
            (building / EXPORT_MARK).write_bytes("".join(f"{d}  {name}\n" for name, d in digests.items()).encode())
            check_target(target)  # again, since copying takes time
    except OSError as error:
        raise SAFEError(
            f"Could not write the export to {target}: {error.strerror or error}. Choose another folder."
        ) from error


def _write_zip(target: Path, files: Iterable[tuple[str, bytes]]) -> None:
    with replacing(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in files:
            # Images, which are in folders, are compressed already.
            archive.writestr(name, data, zipfile.ZIP_STORED if "/" in name else zipfile.ZIP_DEFLATED)
        archive.comment = _zip_mark(archive)
        check_target(target)


# --- What may be replaced ---------------------------------------------------------------------------------------


def check_target(to: StrPath) -> Path:
    """The folder, or the file whose name ends in .zip, to export to; checked before long work.

    Raises
    ------
    SAFEError
        It exists and is not an unchanged export by SAFE. Exports by versions that left no mark cannot be distinguished
        from the engineer's own folders.
    """
    target = path_of(to, "a place to export to")
    if not target.name:
        raise SAFEError(f"Expected a new folder to export to. Received: {target}. Choose one below it.")
    put_back(target)
    if not os.path.lexists(target):
        return target
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
    return target


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
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name == EXPORT_MARK or (path.is_dir() and not path.is_symlink()):
            continue
        if name not in written:
            return f"{printable(name)} is not from SAFE"
        if path.is_symlink() or content_key(regular(path).read_bytes()).hex() != written[name]:
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
    return f"SAFE export {content_key(encoded(''.join(parts))).hex()}".encode()


# --- Copying ----------------------------------------------------------------------------------------------------


def _image_bytes(path: Path) -> bytes:
    """The content of an image file; one of UNREADABLE if it is no longer a readable image."""
    data = read_bytes(path)
    with Image.open(io.BytesIO(data), formats=FORMATS):
        return data


# --- The labelled unsafe set, for training with another framework ------------------------------------------------


class LabelledImage(NamedTuple):
    """A row of `labels.csv`.

    Attributes
    ----------
    image : str
        Path relative to the improvement folder, as in `IS_filenames.txt`.
    label : str
    rcc : int
        The RCC that the image was selected for.
    file : str
        The copy, relative to the export; empty if the image could not be copied.
    """

    image: str
    label: str
    rcc: int
    file: str


def check_labelled(unsafe: UnsafeSet) -> None:
    """Make sure that there are labels, and that they can be the names of folders.

    Raises
    ------
    SAFEError
        No image has a label, or a label is not valid as the name of a folder.
    """
    labels = {image.label for image in unsafe.images if image.label}
    if not labels:
        raise SAFEError(
            "Expected labelled images in the unsafe set. Received none. Label them, or give a table or class folders."
        ).about("labels", "improvement")
    odd = sorted(label for label in labels if safe_name(label) != label or label.startswith("."))
    if odd:
        raise SAFEError(
            f"Expected labels that are valid names of folders. Received: {printable(some(map(repr, odd)))}. Rename "
            "them."
        )


def labelled_rows(unsafe: UnsafeSet) -> list[LabelledImage]:
    """By class, and within each as in the unsafe set."""
    # Classes that differ only in case share a folder on some file systems, where their images must not either.
    taken: dict[str, set[str]] = {}
    rows = []
    for image in sorted((image for image in unsafe.images if image.label), key=lambda image: image.label):
        name = file_name(image.image, taken.setdefault(image.label.casefold(), set()))
        rows.append(LabelledImage(image.image, image.label, image.rcc, f"{image.label}/{name}"))
    return rows
