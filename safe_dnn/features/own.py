"""Features that the engineer brings: of another network, in a file that says which row is of which image. Step 1.

The file is a `.npz` with the arrays `paths` and `features`, or a Parquet file with the column `image` (or `path`) and a
numeric column for each feature. The features are compared as they are: whoever made them has scaled them.
"""

import filecmp
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.features import batches
from safe_dnn.features.attributes import measured
from safe_dnn.features.extractor import OWN, Extractor
from safe_dnn.support.errors import SAFEError, StrPath, path_of
from safe_dnn.support.files import DAMAGED, read_arrays
from safe_dnn.support.images import ImageListing, digest_of
from safe_dnn.support.matching import in_slashes, rows_by_image
from safe_dnn.support.text import count, printable, some

KEYS = ("image", "path")
EXPECTED = "features in a .npz file with the arrays paths and features, or in a .parquet file"


class OwnFeatures(NamedTuple):
    """The content of a file: `names` of n images, and `rows` of shape (n, dimension), float32."""

    names: list[str]
    rows: np.ndarray


def own_extractor(file: StrPath) -> Extractor:
    """The stand-in for a network whose features are in a file; its identity has the file's digest.

    Raises
    ------
    SAFEError
        The file cannot be read, or does not have finite features of at least one image.
    """
    path = path_of(file, EXPECTED).absolute()
    dimension = read_features(path).rows.shape[1]
    return Extractor(OWN, f"{OWN}-{dimension}-{digest_of(path)[:16]}-float32", path)


def read_features(path: Path) -> OwnFeatures:
    """Read a file of features; SAFEError as of `own_extractor`."""
    readers = {".npz": _in_arrays, ".parquet": _in_columns}
    try:
        if path.suffix.lower() not in readers:
            raise ValueError("which is neither")
        names, rows = readers[path.suffix.lower()](path)
        if rows.ndim != 2 or not rows.size or rows.dtype.kind not in "fiu":
            raise ValueError(f"with features of the shape {rows.shape} and type {rows.dtype}, not a row for each image")
        if len(names) != len(rows):
            raise ValueError(f"with {count(len(names), 'path')} and {count(len(rows), 'row')} of features")
        with np.errstate(over="ignore"):
            rows = rows.astype(np.float32)
        if len(odd := np.flatnonzero(~np.isfinite(rows).all(axis=1))):
            raise ValueError(f"with NaN or infinity for {count(len(odd), 'image')}, the first {names[odd[0]]}")
    except DAMAGED as error:
        reason = printable(getattr(error, "strerror", None) or str(error) or type(error).__name__)
        raise SAFEError(f"Expected {EXPECTED}. Received: {path}, {reason}.").about("features") from error
    return OwnFeatures(names, rows)


def _in_arrays(path: Path) -> tuple[list[str], np.ndarray]:
    arrays = read_arrays(path)
    if not {"paths", "features"} <= arrays.keys():
        raise ValueError(f"with {some(arrays) or 'no arrays'}")
    if arrays["paths"].dtype.kind != "U" or arrays["paths"].ndim != 1:
        raise ValueError("whose paths are no text, as of np.array(paths, str)")
    return arrays["paths"].tolist(), arrays["features"]


def _in_columns(path: Path) -> tuple[list[str], np.ndarray]:
    import pandas

    try:
        table = pandas.read_parquet(path)
    except ImportError as error:
        raise ValueError("which needs a package to be read: pip install pyarrow") from error
    keys = [name for name in KEYS if name in table]
    if len(keys) != 1:
        raise ValueError(f"with {' and '.join(keys) or 'none'} of the columns {' and '.join(KEYS)}")
    columns = table.drop(columns=keys)
    if texts := [name for name in columns if columns[name].dtype.kind not in "fiu"]:
        raise ValueError(f"whose column {texts[0]} has no numbers")
    return table[keys[0]].astype(str).tolist(), columns.to_numpy()


def own_loader(
    listing: ImageListing, extractor: Extractor, source_folder: Path | None, attributes: batches.FeatureCache
) -> Callable[[str], batches.Loaded]:
    """What loads an image with its row of the file; what it shows is measured, unless that is cached.

    Parameters
    ----------
    source_folder : path, optional
        Another folder, of whose images these are copies with the same paths.

    Raises
    ------
    SAFEError
        The file has changed since the extractor was made, or has several rows for an image, which differ; of the
        loader: it has none for an image that can be read.
    """
    source = extractor.weights or Path()
    names, rows = read_features(source)
    if digest_of(source)[:16] != extractor.digest:
        raise SAFEError(
            f"Expected the features that the clusters were found with. Received: {source}, which has changed since. "
            "Restore the file, or generate the clusters again."
        ).about("features")
    roots = [root for root in (listing.root, source_folder) if root]
    found = max((rows_by_image(names, source.parent, root, listing.paths) for root in roots), key=len)
    for image, (first, *repeated) in found.items():
        if any((rows[row] != rows[first]).any() for row in repeated):
            raise SAFEError(
                f"Expected features of {printable(image)} once. Received {1 + len(repeated)} rows in {source}, which "
                "differ. If they are of several images, name each relative to the file's folder."
            ).about("features")
    row_of = {
        image: first
        for image, (first, *_) in found.items()
        if _is_of(source.parent / in_slashes(names[first]), listing.root / image, in_place=extractor.in_place)
    }

    def load(path: str) -> batches.Loaded:
        loaded = batches.load_image(path, root=listing.root, cache=attributes, decode=measured)
        if path in row_of or loaded.reason:
            return loaded if loaded.reason else loaded._replace(row=rows[row_of[path]])
        missing = [printable(image) for image in listing.paths if image not in row_of]
        named = ", by paths that are absolute or relative to that file" if extractor.in_place else ""
        raise SAFEError(
            f"Expected features of all images in {listing.root}. Received none for {len(missing):,} of "
            f"{count(len(listing.paths), 'image')} ({some(missing, limit=3)}) in {source}{named}. "
            "Give a file that has them."
        ).about("features")

    return load


def _is_of(place: Path, image: Path, *, in_place: bool) -> bool:
    """Whether a row is about an image, given where its name leads on this machine."""
    try:
        if place.exists():
            return place.samefile(image) or (not in_place and filecmp.cmp(place, image, shallow=False))
        return not in_place
    except OSError:  # the image is gone
        return False
