"""The labelled unsafe set for training with another framework: class folders and a table.

<class>/      its images, under their own names
labels.csv    a row for each image, see `LabelledImage`
.safe-export  names and digests of these files, by which an unchanged export is replaced (see `reporting/export.py`)
"""

import csv
import io
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rccs.unsafe_set import UnsafeSet
from reporting.export import LABELS_TABLE, Export, safe_name, unused_name, write_copies
from support.errors import SAFEError
from support.progress import Progress, no_progress
from support.tables import cell
from support.text import printable, some


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


def export_labelled(unsafe: UnsafeSet, to: str | os.PathLike, *, progress: Progress = no_progress) -> Export:
    """Copy the images of the unsafe set that have a label to class folders, completely or not at all.

    Parameters
    ----------
    to : path
        A folder that does not exist, is empty, or is an earlier export.

    Raises
    ------
    SAFEError
        As of `check_labelled`, or the folder contains something else or cannot be written to.
    """
    check_labelled(unsafe)
    return write_copies(to, unsafe.improvement_root, _rows(unsafe), _table, progress=progress)


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
            "Expected labelled images in the unsafe set. Received none. Label them on the page, or give --labels or "
            "--improvement."
        )
    odd = sorted(label for label in labels if safe_name(label) != label or label.startswith("."))
    if odd:
        raise SAFEError(
            f"Expected labels that are valid names of folders. Received: {printable(some(map(repr, odd)))}. Rename "
            "them."
        )


def _rows(unsafe: UnsafeSet) -> list[LabelledImage]:
    """By class, and within each as in the unsafe set."""
    # Classes that differ only in case share a folder on some file systems, where their images must not either.
    taken: dict[str, set[str]] = {}
    rows = []
    for image in sorted((image for image in unsafe.images if image.label), key=lambda image: image.label):
        name = unused_name(safe_name(Path(image.image).name), taken.setdefault(image.label.casefold(), set()))
        rows.append(LabelledImage(image.image, image.label, image.rcc, f"{image.label}/{name}"))
    return rows


def _table(rows: Sequence[LabelledImage]) -> Iterator[tuple[str, bytes]]:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(LabelledImage._fields)
    writer.writerows([cell(row.image), cell(row.label), row.rcc, cell(row.file)] for row in rows)
    yield LABELS_TABLE, table.getvalue().encode("utf-8", "surrogateescape")
