"""Image folders that were moved: an analysis is told once where they lie now, and looks at the images before."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from safe_dnn.dnn.failures import load_failures
from safe_dnn.features.attributes import measured_images
from safe_dnn.pipeline.descriptions import show_present
from safe_dnn.rccs.clusters import RootCauseClusters, load_clusters
from safe_dnn.rccs.unsafe_set import load_unsafe_set
from safe_dnn.store.output_folder import writing
from safe_dnn.store.places import point
from safe_dnn.store.runs import CLUSTERS, SELECTION, present_runs
from safe_dnn.support.errors import SAFEError
from safe_dnn.support.run_folder import FAILURES, FAILURES_FILE
from safe_dnn.support.text import count, printable, some

LOOKED_AT = 100  # images of a folder, whose content is compared


class _Images(NamedTuple):
    """Images of an analysis in one folder: what they are, and which of some there are others in another folder."""

    what: str
    root: Path
    paths: Sequence[str]
    others: Callable[[Path, Sequence[str]], Sequence[str]]


def missing_folder(out: Path) -> Path | None:
    """The folder that is no longer there of those that images of an analysis lie in, or the one around several."""
    gone = [images.root for images in _image_folders(out) if not images.root.is_dir()]
    around = Path(os.path.commonpath(gone)) if gone else None
    return gone[0] if around and around.is_dir() else around


def moved_around(old: Path, new: Path) -> tuple[Path, Path]:
    """The outermost folders that were moved: what lay beside the images, as a table of parameters, has moved along."""
    while old.name == new.name and not old.parent.is_dir():
        old, new = old.parent, new.parent
    return old, new


def take_new_place(out: Path, old: Path, new: Path, *, within: Path | None = None) -> list[str]:
    """Record that what lay in a folder lies in another one by now; a sentence on the images of each kind found there.

    What could not be described without it is described again.

    Up to `LOOKED_AT` images of each kind are compared by what they show, or byte by byte with SAFE's own copies;
    improvement images by their names alone.

    Raises
    ------
    SAFEError
        No images of the analysis are missing there, or the new folder holds others.
    """
    folders = _image_folders(out)
    moved = [images for images in folders if images.root.is_relative_to(old) and not images.root.is_dir()]
    if not moved:
        missing = sorted({str(images.root) for images in folders if not images.root.is_dir()})
        raise SAFEError(
            f"Expected a folder with images of this analysis that is no longer there: "
            f"{printable(some(missing)) or 'none is missing'}. Received {old}."
        )
    for images in moved:
        place = new / images.root.relative_to(old)
        step = max(1, -(-len(images.paths) // LOOKED_AT))
        lacking = [path for path in images.paths if not (place / path).is_file()]
        others = lacking or images.others(place, images.paths[::step])
        if others:
            raise SAFEError(
                f"Expected the {images.what} of {images.root} in {place}. Received "
                f"{count(len(others), 'image')} that {'are missing' if lacking else 'show something else'}, such as "
                f"{printable(others[0])}. Name the folder in which they lie now."
            )
    with writing(out):
        point(out, old, new)
    if CLUSTERS in present_runs(out):
        show_present(out, within=within)
    return [f"{count(len(images.paths), images.what.removesuffix('s'))} found" for images in moved]


def _image_folders(out: Path) -> list[_Images]:
    runs, found = present_runs(out), []
    if CLUSTERS in runs:
        clusters = load_clusters(out)
        others = partial(_looking_otherwise, clusters)
        found.append(_Images("failing images", clusters.image_root, clusters.paths, others))
    if SELECTION in runs:
        unsafe = load_unsafe_set(out)
        found.append(_Images("improvement images", unsafe.improvement_root, unsafe.paths, lambda *_: []))
    if (out / FAILURES_FILE).is_file():
        failures = load_failures(out)
        found.append(_Images("test images", failures.root, failures.failing, partial(_not_as_copied, out)))
    return found


def _looking_otherwise(clusters: RootCauseClusters, root: Path, paths: Sequence[str]) -> list[str]:
    if clusters.attributes is None:
        return []
    known = clusters.attributes[np.isin(clusters.paths, paths)]
    same = np.isclose(measured_images(root, paths), known, equal_nan=True).all(axis=1)
    return [path for path, as_known in zip(paths, same.tolist(), strict=True) if not as_known]


def _not_as_copied(out: Path, root: Path, paths: Sequence[str]) -> list[str]:
    copies = {path: out / FAILURES / path for path in paths}
    return [p for p, copy in copies.items() if copy.is_file() and copy.read_bytes() != (root / p).read_bytes()]
