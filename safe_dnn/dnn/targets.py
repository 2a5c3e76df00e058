"""Numeric targets of a regression, read from a table; they correspond to the class folders of a classifier."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.model import DnnOptions
from safe_dnn.dnn.predictions import LabelledImages
from safe_dnn.dnn.tested import IMAGE, AnswerTable
from safe_dnn.rccs.parameters import ANGLE_SUFFIX
from safe_dnn.support.entries import StrPath, existing_folder, path_of
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.images import Skipped, find_images
from safe_dnn.support.matching import check_matched, rows_by_image
from safe_dnn.support.tables import read_table
from safe_dnn.support.text import some


class Targets(NamedTuple):
    """A table of numeric targets.

    Attributes
    ----------
    table : AnswerTable
    names : tuple of str
        The numeric columns, in the order of the model's outputs.
    rows : ndarray of shape (n_rows, n_targets), float64
        The targets in each row.
    """

    table: AnswerTable
    names: tuple[str, ...]
    rows: np.ndarray

    def rows_of(self, root: Path, paths: Sequence[str]) -> dict[str, int]:
        """The row of each image of a folder that has one (see `support.matching.rows_by_image`).

        Raises
        ------
        SAFEError
            The table has several rows for an image, with different targets.
        """
        found = rows_by_image(self.table.texts(IMAGE), self.table.source.parent, root, paths)
        for image, rows in found.items():
            for row in rows:
                if (self.rows[row] != self.rows[rows[0]]).any():
                    raise SAFEError(
                        f"Expected the same targets in all rows for {image} in {self.table.source}. Received different "
                        f"ones, in lines {self.table.lines[rows[0]]} and {self.table.lines[row]}. Remove the wrong "
                        "line; if they are of two images, name both relative to the table's folder."
                    )
        return {image: rows[0] for image, rows in found.items()}


def read_targets(table: StrPath) -> Targets:
    """Read a table (CSV) whose first line names its columns: `image` and a numeric column for each target.

    Raises
    ------
    SAFEError
        The file is missing or not such a table.
    """
    cells = AnswerTable(**vars(read_table(path_of(table, "a table of targets (CSV)"), "targets")))
    names = tuple(name for name in cells.header if name != IMAGE)
    if len(names) == len(cells.header) or not names:
        raise SAFEError(
            f"Expected the columns image and at least one target in {cells.source}. Received the columns: "
            f"{some(cells.header)}"
        )
    return Targets(cells, names, cells.numbers(names, range(len(cells.rows)), "a number (each column is a target)"))


def with_targets(folder: StrPath, targets: Targets, *, partial: bool = False) -> LabelledImages:
    """List the images of a folder that have a row in a table of targets, which may have others as well.

    Parameters
    ----------
    partial : bool
        Whether more than a tenth of the images may be without a row.

    Raises
    ------
    SAFEError
        There are no images, or none of them has a row, or too few have.
    """
    listing = find_images(folder)
    existing_folder(folder, "a folder of images")
    row_of = targets.rows_of(listing.root, listing.paths)
    if not row_of:
        raise SAFEError(
            f"Expected rows for the images of {listing.root}, named relative to it or to the table's folder. "
            f"Received no such row in {targets.table.source}; the first image is {listing.paths[0]}."
        )
    missing = check_matched(targets.table.source, listing.root, listing.paths, row_of, partial=partial)
    return LabelledImages(
        root=listing.root,
        paths=tuple(row_of),
        classes=targets.names,
        labels=targets.rows[[*row_of.values()]],
        skipped=(*listing.skipped, *(Skipped(path, "no row in the table of targets") for path in missing)),
    )


def images_with_targets(folder: StrPath, options: DnnOptions) -> tuple[LabelledImages, str]:
    """The images of a regression, and the assumption about them as a sentence.

    Raises
    ------
    SAFEError
        The targets or the threshold are not given, or as of `read_targets` and `with_targets`.
    """
    if options.targets is None or options.threshold is None:
        raise SAFEError(
            f"Expected a {'threshold' if options.targets else 'table of targets'}, since the model is a regression. "
            "Give its targets and, as the threshold, the error above which it fails, in their unit."
        ).about("targets", "threshold")
    images = with_targets(folder, read_targets(options.targets), partial=options.partial)
    angles = [name for name in images.classes if name.endswith(ANGLE_SUFFIX)]
    turning = f" Angles in degrees, of which 359 and 1 are 2 apart: {some(angles)}." if angles else ""
    names = ", ".join(f"output {i} is {name}" for i, name in enumerate(images.classes))
    return images, (
        f"Targets: in the order of the table's columns, {names}. An error (root mean square over the outputs) above "
        f"{options.threshold:g} is a failure.{turning}"
    )
