"""Numeric targets of a regression, read from a table; they correspond to the class folders of a classifier."""

import csv
import math
import os
import posixpath
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dnn.model import DnnOptions
from dnn.predictions import LabelledImages
from support.entries import path_of
from support.errors import SAFEError
from support.files import regular
from support.images import Skipped, find_images
from support.tables import number_in, parse_table
from support.text import some


class Targets(NamedTuple):
    """A table of numeric targets.

    Attributes
    ----------
    file : Path
    names : tuple of str
        The numeric columns, in the order of the model's outputs.
    rows : dict of str to tuple of float
        Targets by image, named relative to an image folder or to the table's folder.
    """

    file: Path
    names: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]

    def key(self, root: Path, path: str) -> str | None:
        """The name of a folder's image in the table; None if the table does not have the image.

        Raises
        ------
        SAFEError
            The table has the image under both names, with different targets.
        """
        from_table = Path(os.path.relpath(root / path, self.file.parent)).as_posix()
        names = [name for name in (from_table, path) if name in self.rows]
        # Relative to the table's folder, the same name may belong to another image.
        if len({self.rows[name] for name in names}) > 1 and not (self.file.parent / path).exists():
            raise _contradiction(self.file, path, f"one named {from_table}, one named {path}")
        return names[0] if names else None


def _contradiction(file: Path, image: str, where: str) -> SAFEError:
    return SAFEError(
        f"Expected the same targets in all rows for {image} in {file}. Received different ones, {where}. "
        "Remove the wrong row; if they belong to two images, name both relative to the table's folder."
    )


def read_targets(table: str | os.PathLike) -> Targets:
    """Read a table (CSV, UTF-8) whose first line names its columns: `image` and a numeric column for each target.

    Raises
    ------
    SAFEError
        The file is missing or not such a table, or two rows contradict each other.
    """
    file = path_of(table, "a table of targets (CSV)")
    try:
        header, lines, decimal_comma = parse_table(regular(file).read_bytes())
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SAFEError(f"Expected a table of targets (CSV). Received: {file} ({reason}).") from error
    if "image" not in header or len(header) < 2:
        raise SAFEError(
            f"Expected the columns image and at least one target in {file}. Received the columns: {some(header)}"
        )
    at = header.index("image")
    rows: dict[str, tuple[float, ...]] = {}
    row_of: dict[str, int] = {}
    for number, line in enumerate(lines, start=2):
        numbers = tuple(number_in(text, decimal_comma=decimal_comma) for i, text in enumerate(line) if i != at)
        if len(line) != len(header) or not all(map(math.isfinite, numbers)):
            raise SAFEError(
                f"Expected {len(header) - 1} finite numbers besides the image in row {number} of {file}. "
                f"Received: {some(line)}"
            )
        image = posixpath.normpath(line[at].replace("\\", "/"))
        if rows.setdefault(image, numbers) != numbers:
            raise _contradiction(file, image, f"in rows {row_of[image]} and {number}")
        row_of.setdefault(image, number)
    return Targets(file, tuple(name for i, name in enumerate(header) if i != at), rows)


def with_targets(folder: str | os.PathLike, targets: Targets) -> LabelledImages:
    """List the images of a folder that have a row in a table of targets.

    Raises
    ------
    SAFEError
        There are no images, or none of them has a row.
    """
    listing = find_images(folder)
    if not path_of(folder, "a folder of images").is_dir():
        raise SAFEError(f"Expected a folder of images. Received the file: {folder}")
    keys = [targets.key(listing.root, path) for path in listing.paths]
    known = [(path, key) for path, key in zip(listing.paths, keys, strict=True) if key is not None]
    missing = [path for path, key in zip(listing.paths, keys, strict=True) if key is None]
    if not known:
        raise SAFEError(
            f"Expected rows for the images of {listing.root}, named relative to it or to the table's folder. "
            f"Received no such row in {targets.file}; the first image is {listing.paths[0]}."
        )
    return LabelledImages(
        root=listing.root,
        paths=tuple(path for path, _ in known),
        classes=targets.names,
        labels=np.array([targets.rows[key] for _, key in known], np.float32),
        skipped=(*listing.skipped, *(Skipped(path, "no row in the table of targets") for path in missing)),
    )


def images_with_targets(folder: str | os.PathLike, options: DnnOptions) -> tuple[LabelledImages, str]:
    """The images of a regression, and the assumption about them as a sentence.

    Raises
    ------
    SAFEError
        The targets or the threshold are not given, or as of `read_targets` and `with_targets`.
    """
    if options.targets is None:
        raise SAFEError("Expected a table of targets, since the model is a regression. Give it with --targets.")
    if options.threshold is None:
        raise SAFEError(
            "Expected a threshold, since the model is a regression: an error above it is a failure. Give it with "
            "--threshold, in the unit of the targets."
        )
    images = with_targets(folder, read_targets(options.targets))
    names = ", ".join(f"output {i} is {name}" for i, name in enumerate(images.classes))
    return images, (
        f"Targets: in the order of the table's columns, {names}. An error (root mean square over the outputs) above "
        f"{options.threshold:g} is a failure."
    )
